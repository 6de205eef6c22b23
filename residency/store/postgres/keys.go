package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// maxKeyName is the longest name of a key, in bytes (store.Keys).
const maxKeyName = 64

// Keys is a region's wrapped keys, in a schema of its own, which belongs into a
// database that is backed up apart from rows, for as long as erasure allows.
//
// A destroyed key is gone to every reader, durably. Its bytes stay in the table's file
// until the space is used again, and in the write-ahead log and its archive; README.md
// says what to do about that.
type Keys struct {
	*engine
	get, create, destroy, list string
}

var _ store.Keys = (*Keys)(nil)

// OpenKeys connects to the key store whose connection string is given.
func OpenKeys(ctx context.Context, location string, o Options) (*Keys, error) {
	e, err := open(ctx, location, RoleKeys, o)
	if err != nil {
		return nil, err
	}
	table := e.table("keys")
	return &Keys{
		engine:  e,
		get:     "select wrapped from " + table + " where name = $1",
		create:  "insert into " + table + " (name, wrapped) values ($1, $2) on conflict do nothing",
		destroy: "delete from " + table + " where name >= $1 and name < $2",
		list:    "select name, wrapped from " + table + " where name >= $1 and name < $2 order by name limit $3",
	}, nil
}

// Close waits for operations that are under way, at most 10 seconds, and disconnects.
func (k *Keys) Close() error { return k.close() }

func (k *Keys) begin(ctx context.Context, name string) error {
	if len(name) > maxKeyName {
		return fmt.Errorf("store: a key's name has at most %d bytes, not %d", maxKeyName, len(name))
	}
	return k.enter(ctx)
}

// Get is store.Keys.
func (k *Keys) Get(ctx context.Context, name string) (wrapped []byte, err error) {
	if err := k.begin(ctx, name); err != nil {
		return nil, err
	}
	defer k.leave()
	err = k.read(ctx, func() error { return k.pool.QueryRow(ctx, k.get, []byte(name)).Scan(&wrapped) })
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return wrapped, nil
}

// Create is store.Keys.
func (k *Keys) Create(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	if err := k.begin(ctx, name); err != nil {
		return nil, err
	}
	defer k.leave()
	var made int64
	var there []byte
	err := retry(ctx, func() (bool, error) {
		there = nil
		err := k.write(ctx, func(b *pgx.Batch) {
			b.Queue(k.create, []byte(name), append([]byte{}, wrapped...)).Exec(count(&made))
			b.Queue(k.get, []byte(name)).QueryRow(func(r pgx.Row) error {
				if err := r.Scan(&there); !errors.Is(err, pgx.ErrNoRows) {
					return err
				}
				return nil
			})
		})
		return err == nil && there == nil, err // destroyed between the two statements: nothing is there now
	})
	switch {
	case err != nil:
		return nil, err
	case made == 0:
		return there, fmt.Errorf("%w: key", store.ErrExists)
	}
	return there, nil
}

// bounds gives the names from which on and below which all have a prefix.
func bounds(prefix string) (lower, upper []byte) {
	above := successor(store.ID(prefix))
	if above == "" {
		return []byte(prefix), bytes.Repeat([]byte{0xff}, maxKeyName+1) // no name is as long
	}
	return []byte(prefix), []byte(above)
}

// Destroy is store.Keys.
func (k *Keys) Destroy(ctx context.Context, prefix string) error {
	if err := k.begin(ctx, prefix); err != nil {
		return err
	}
	defer k.leave()
	lower, upper := bounds(prefix)
	return k.write(ctx, func(b *pgx.Batch) { b.Queue(k.destroy, lower, upper) })
}

// List is store.Keys.
func (k *Keys) List(ctx context.Context, prefix string, yield func(string, []byte) bool) error {
	if err := k.begin(ctx, prefix); err != nil {
		return err
	}
	defer k.leave()
	lower, upper := bounds(prefix)
	for {
		page, err := k.page(ctx, lower, upper)
		if err != nil {
			return err
		}
		for _, f := range page {
			if !yield(string(f.id), f.value) {
				return nil
			}
		}
		if len(page) < listPage {
			return nil
		}
		lower = append([]byte(page[len(page)-1].id), 0)
	}
}

func (k *Keys) page(ctx context.Context, lower, upper []byte) (page []found, err error) {
	err = k.read(ctx, func() error {
		rows, err := k.pool.Query(ctx, k.list, lower, upper, listPage)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, readFound)
		return err
	})
	return page, err
}

// Ping is store.Keys: it asks whether a commit would be durable.
func (k *Keys) Ping(ctx context.Context) error {
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	return k.write(ctx, func(b *pgx.Batch) {
		b.Queue("select pg_logical_emit_message(true, 'domicile', '')::text")
		b.Queue(k.get, []byte{}).Query(func(r pgx.Rows) error { r.Close(); return r.Err() })
	})
}
