package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// entriesPage is how many entries are read at once.
const entriesPage = 256

// Last is store.Outbox. It gives the newest durable place.
func (c *Cluster) Last(ctx context.Context) (uint64, error) {
	if err := c.enter(ctx); err != nil {
		return 0, err
	}
	defer c.leave()
	var last uint64
	err := retry(ctx, func() (again bool, err error) {
		last, again, err = c.lastOnce(ctx)
		return again, err
	})
	return last, err
}

// lastOnce reads the newest place and waits until it is durable.
func (c *Cluster) lastOnce(ctx context.Context) (last uint64, again bool, err error) {
	s, err := c.flusher.session(ctx)
	if err != nil {
		return 0, false, err
	}
	var server, now time.Time
	if err := c.pool.QueryRow(ctx, c.sql.last).Scan(&server, &now, &last); err != nil {
		err = wrap(ctx, err)
		return 0, passes(err), err
	}
	c.clock.read(now)
	if !server.Equal(s.server) {
		c.flusher.elsewhere(s)
		return 0, true, wrap(ctx, errElsewhere)
	}
	err = c.settle(ctx, s, last)
	return last, passes(err), err
}

// Entry is store.Outbox. It gives durable entries only.
func (c *Cluster) Entry(ctx context.Context, place uint64) ([]byte, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	if place > c.durable.Load() { // or another process's
		last, err := c.Last(ctx)
		if err != nil {
			return nil, err
		}
		if place > last {
			return nil, noEntry(place)
		}
	}
	var entry []byte
	err := retry(ctx, func() (bool, error) {
		err := wrap(ctx, c.pool.QueryRow(ctx, c.sql.entryAt, int64(place)).Scan(&entry))
		return passes(err) && !errors.Is(err, pgx.ErrNoRows), err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noEntry(place)
	}
	return entry, err
}

func noEntry(place uint64) error {
	return fmt.Errorf("%w: no entry at place %d", store.ErrNotFound, place)
}

// Entries is store.Outbox. The slice that yield gets is its to keep. It sees
// the entries that were durable when it was called.
func (c *Cluster) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	defer c.timed("entries")()
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	last, err := c.Last(ctx)
	if err != nil {
		return err
	}
	for want := max(from, 1); want <= last; {
		page, err := c.entries(ctx, want, last)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return missing(want)
		}
		for _, e := range page {
			if e.place != want {
				return missing(want)
			}
			want++
			if !yield(e.place, e.entry) {
				return nil
			}
		}
	}
	return nil
}

func missing(place uint64) error {
	return fmt.Errorf("%w: the entry at place %d is missing", store.ErrCorrupt, place)
}

// placed is an entry at its place.
type placed struct {
	place uint64
	entry []byte
}

// entries reads a page of entries.
func (c *Cluster) entries(ctx context.Context, from, last uint64) (page []placed, err error) {
	err = retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, c.sql.entriesAt, int64(from), int64(last), entriesPage)
		if err == nil {
			page, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p placed, err error) {
				err = r.Scan(&p.place, &p.entry)
				return p, err
			})
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return page, err
}

// Due is store.Rows.
func (c *Cluster) Due(ctx context.Context, limit int) ([]store.Task, error) {
	defer c.timed("due")()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	var due []store.Task
	err := retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, c.sql.due, c.Now().UnixNano(), max(limit, 0))
		if err == nil {
			due, err = pgx.CollectRows(rows, readTask)
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return due, err
}

func readTask(r pgx.CollectableRow) (t store.Task, err error) {
	var at int64
	var tenant, id []byte
	var kind int16
	if err := r.Scan(&at, &tenant, &kind, &id, &t.Value); err != nil {
		return t, err
	}
	if len(tenant) != len(t.Tenant) {
		return t, fmt.Errorf("%w: a task's tenant of %d bytes", store.ErrCorrupt, len(tenant))
	}
	t.At, t.Tenant, t.Kind, t.ID = time.Unix(0, at).UTC(), store.Tenant(tenant), store.TaskKind(kind), store.ID(id)
	return t, nil
}
