package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

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
	get, getMarked, create, destroy, list string

	proven atomic.Pointer[mark] // nil = nothing is known yet
}

// markSQL gives what a mark holds: every transaction before the oldest that is
// still running has ended, and is in the log before whatever follows.
const markSQL = "select pg_postmaster_start_time(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

var _ store.Keys = (*Keys)(nil)

// OpenKeys connects to the key store whose connection string is given.
func OpenKeys(ctx context.Context, location string, o Options) (*Keys, error) {
	e, err := open(ctx, location, RoleKeys, o)
	if err != nil {
		return nil, err
	}
	table := e.table("keys")
	return &Keys{
		engine:    e,
		get:       "select wrapped from " + table + " where name = $1",
		getMarked: "select wrapped, pg_postmaster_start_time() = $2::timestamptz and age(xmin) > age($3::text::xid) from " + table + " where name = $1",
		create:    "insert into " + table + " (name, wrapped) values ($1, $2) on conflict do nothing",
		destroy:   "delete from " + table + " where name >= $1 and name < $2",
		list:      "select name, wrapped from " + table + " where name >= $1 and name < $2 order by name limit $3",
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

// Get is store.Keys. A key that is not known to be durable is not given: what it
// would seal, durably and perhaps on another server, would be lost with it. Nor is it said that there is none by a
// server that was left behind by a failover.
func (k *Keys) Get(ctx context.Context, name string) (wrapped []byte, err error) {
	if err := k.begin(ctx, name); err != nil {
		return nil, err
	}
	defer k.leave()
	wrapped, durable, err := k.look(ctx, name)
	if !durable && (err == nil || errors.Is(err, store.ErrNotFound)) {
		wrapped, err = k.prove(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return wrapped, nil
}

// mark is up to where a server's transactions are known to be durable.
type mark struct {
	server time.Time // when the server was started
	xid    uint32    // every transaction before it
	time   time.Time // when that was found out
}

// maxMark is how long a mark is good for: transactions' numbers come around again, after two thousand million.
const maxMark = time.Hour

// look reads a key, and whether it is known to be durable because what made it is
// before the mark, on the same server. It is never known that a key is not there.
func (k *Keys) look(ctx context.Context, name string) (wrapped []byte, durable bool, err error) {
	m := k.proven.Load()
	if m == nil || time.Since(m.time) > maxMark {
		return nil, false, nil
	}
	err = k.read(ctx, func() error {
		return k.pool.QueryRow(ctx, k.getMarked, []byte(name), m.server, strconv.FormatUint(uint64(m.xid), 10)).Scan(&wrapped, &durable)
	})
	return wrapped, durable, err
}

// prove reads a key in a transaction that is durable, and sets the mark.
func (k *Keys) prove(ctx context.Context, name string) (wrapped []byte, err error) {
	var found bool
	m := mark{}
	err = retry(ctx, func() (bool, error) {
		found, m.time = false, time.Now()
		err := k.write(ctx, func(b *pgx.Batch) {
			b.Queue(markSQL).QueryRow(func(r pgx.Row) error {
				var xid int64
				err := r.Scan(&m.server, &xid)
				m.xid = uint32(xid) //nolint:gosec // its lower half is what rows have
				return err
			})
			b.Queue(k.get, []byte(name)).QueryRow(func(r pgx.Row) error {
				err := r.Scan(&wrapped)
				if found = err == nil; errors.Is(err, pgx.ErrNoRows) {
					return nil
				}
				return err
			})
		})
		return err != nil && passes(err), err
	})
	if err != nil {
		return nil, err
	}
	k.proven.Store(&m)
	if !found {
		return nil, store.ErrNotFound
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
		b.Queue(k.get, []byte{}).Query(func(r pgx.Rows) error { r.Close(); return r.Err() })
	})
}
