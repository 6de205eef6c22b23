package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// entriesPage is how many entries are read at once.
const entriesPage = 256

// First is store.Outbox.
func (c *Cluster) First(ctx context.Context) (uint64, error) {
	first, _, err := c.ends(ctx)
	return first, err
}

// Last is store.Outbox. It gives the newest durable place.
func (c *Cluster) Last(ctx context.Context) (uint64, error) {
	_, last, err := c.ends(ctx)
	return last, err
}

// ends gives the first place and the last, once both are durable.
func (c *Cluster) ends(ctx context.Context) (first, last uint64, err error) {
	if err := c.enter(ctx); err != nil {
		return 0, 0, err
	}
	defer c.leave()
	err = retry(ctx, func() (again bool, err error) {
		first, last, again, err = c.endsOnce(ctx)
		return again, err
	})
	if err != nil {
		return 0, 0, err
	}
	return first, last, nil
}

func (c *Cluster) endsOnce(ctx context.Context) (first, last uint64, again bool, err error) {
	s, err := c.flusher.session(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	var server, now time.Time
	if err := c.pool.QueryRow(ctx, c.sql.ends).Scan(&server, &now, &first, &last); err != nil {
		err = wrap(ctx, err)
		return 0, 0, passes(err), err
	}
	c.clock.read(now)
	if !server.Equal(s.server) {
		c.flusher.elsewhere(s)
		return 0, 0, true, wrap(ctx, errElsewhere)
	}
	err = c.settle(ctx, s, last)
	return first, last, passes(err), err
}

// Entry is store.Outbox. It gives durable entries only.
func (c *Cluster) Entry(ctx context.Context, place uint64) ([]byte, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	last, err := c.known(ctx, place)
	if err != nil {
		return nil, err
	}
	if place > last {
		return nil, noEntry(place)
	}
	var entry []byte
	err = retry(ctx, func() (bool, error) {
		err := wrap(ctx, c.pool.QueryRow(ctx, c.sql.entryAt, int64(place)).Scan(&entry))
		return passes(err) && !errors.Is(err, pgx.ErrNoRows), err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noEntry(place)
	}
	return entry, err
}

// known gives a place up to which entries are durable. Where a place beyond what is known
// is wanted it asks: another process may have made the entry.
func (c *Cluster) known(ctx context.Context, wanted uint64) (uint64, error) {
	if known := c.durable.Load(); wanted <= known {
		return known, nil
	}
	return c.Last(ctx)
}

func noEntry(place uint64) error {
	return fmt.Errorf("%w: no entry at place %d", store.ErrNotFound, place)
}

// At is store.Outbox, in one statement. The slice that yield gets is its to keep.
func (c *Cluster) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	defer c.timed("at")()
	if err := store.CheckPlaces(places); err != nil || len(places) == 0 {
		return err
	}
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	last, err := c.known(ctx, slices.Max(places))
	if err != nil {
		return err
	}
	wanted := make([]int64, 0, len(places))
	for _, place := range places {
		if place <= last {
			wanted = append(wanted, int64(place))
		}
	}
	found, err := c.read(ctx, c.sql.at, wanted)
	if err != nil {
		return err
	}
	at := make(map[uint64][]byte, len(found))
	for _, e := range found {
		at[e.place] = e.entry
	}
	for _, place := range places {
		if e, ok := at[place]; ok && !yield(place, bytes.Clone(e)) {
			return nil
		}
	}
	return nil
}

// Entries is store.Outbox. The slice that yield gets is its to keep. It sees
// the entries that were durable when it was called.
func (c *Cluster) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	defer c.timed("entries")()
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	first, last, err := c.ends(ctx)
	if err != nil {
		return err
	}
	for want := max(from, first); want <= last; {
		page, err := c.read(ctx, c.sql.entriesAt, int64(want), int64(last), entriesPage)
		if err != nil {
			return err
		}
		whole := len(page) > 0
		for _, e := range page {
			if whole = e.place == want; !whole {
				break
			}
			want++
			if !yield(e.place, e.entry) {
				return nil
			}
		}
		if whole {
			continue
		}
		if first, err = c.First(ctx); err != nil {
			return err
		}
		if first <= want {
			return missing(want)
		}
		want = first // it was dropped meanwhile
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

// read gives the places and entries that a query finds.
func (c *Cluster) read(ctx context.Context, sql string, args ...any) (found []placed, err error) {
	err = retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, sql, args...)
		if err == nil {
			found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p placed, err error) {
				err = r.Scan(&p.place, &p.entry)
				return p, err
			})
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return found, err
}
