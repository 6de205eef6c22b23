package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// firstKey is where a cluster keeps the place of its oldest entry that was not dropped.
var firstKey = []byte{prefixFirst}

// firstPlace reads that place; 1 when nothing was dropped.
func (e *engine) firstPlace() (uint64, error) {
	b, err := e.get(firstKey)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 1, nil
	case err != nil:
		return 0, err
	case len(b) != 8 || binary.BigEndian.Uint64(b) == 0:
		return 0, fmt.Errorf("%w: the first place has %d bytes or is 0", store.ErrCorrupt, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// openOutbox finds where the outbox begins and ends. When every entry was dropped only the first place tells the end.
func (e *engine) openOutbox() error {
	first, err := e.firstPlace()
	if err != nil {
		return err
	}
	if e.last, err = e.newestPlace(); err != nil {
		return err
	}
	e.last = max(e.last, first-1)
	e.first.Store(first)
	e.durablePlace.Store(e.last)
	return nil
}

// Entry is store.Outbox. It gives durable entries only.
func (c *Cluster) Entry(ctx context.Context, place uint64) ([]byte, error) {
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	return e.entry(place)
}

func (e *engine) entry(place uint64) ([]byte, error) {
	if place < e.first.Load() || place > e.durablePlace.Load() {
		return nil, fmt.Errorf("%w: no entry at place %d", store.ErrNotFound, place)
	}
	v, err := e.get(outboxKey(nil, place))
	if err != nil {
		return nil, fmt.Errorf("the entry at place %d: %w", place, err)
	}
	return v, nil
}

// At is store.Outbox. The slice that yield gets is its to keep.
func (c *Cluster) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	defer c.timed("at")()
	if err := store.CheckPlaces(places); err != nil {
		return err
	}
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	for _, place := range places {
		v, err := e.entry(place)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return err
		}
		if !yield(place, v) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return nil
}

// Entries is store.Outbox. The slice that yield gets is its to keep. It sees
// the entries that were durable when it was called.
func (c *Cluster) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	defer c.timed("entries")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	last := e.durablePlace.Load()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: outboxKey(nil, 0), UpperBound: outboxKey(nil, last+1)})
	if err != nil {
		return wrap(err)
	}
	defer it.Close()
	// Read after the iterator was made: what it does not see any more was removed after this was set.
	want := max(from, e.first.Load())
	if want > last {
		return nil
	}
	for ok := it.SeekGE(outboxKey(nil, want)); ok; ok = it.Next() {
		place, err := placeOf(it.Key())
		if err != nil {
			return err
		}
		if place != want {
			return missing(want)
		}
		want++
		if !yield(place, append([]byte{}, it.Value()...)) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	if err := it.Error(); err != nil {
		return wrap(err)
	}
	if want <= last {
		return missing(want)
	}
	return nil
}

func missing(place uint64) error {
	return fmt.Errorf("%w: the entry at place %d is missing", store.ErrCorrupt, place)
}

// First is store.Outbox.
func (c *Cluster) First(ctx context.Context) (uint64, error) {
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.leave()
	return e.first.Load(), nil
}

// Last is store.Outbox. It gives the newest durable place.
func (c *Cluster) Last(ctx context.Context) (uint64, error) {
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.leave()
	return e.durablePlace.Load(), nil
}

// Drop is store.Outbox: one commit for the first place and one that removes what is before it.
func (c *Cluster) Drop(ctx context.Context, upTo, epoch uint64) error {
	defer c.timed("drop")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	if err := store.CheckDrop(upTo, e.durablePlace.Load()); err != nil {
		return err
	}
	select {
	case e.dropping <- struct{}{}:
		defer func() { <-e.dropping }()
	case <-ctx.Done():
		return fmt.Errorf("%w: another drop is under way: %w", store.ErrUnavailable, ctx.Err())
	}
	if err := e.forget(ctx, upTo, epoch); err != nil {
		return err
	}
	return e.remove(ctx)
}

// forget makes it durable that the entries up to a place are not there any more, unless it is already. The caller
// has e.dropping.
func (e *engine) forget(ctx context.Context, upTo, epoch uint64) error {
	held := new(lock.Held)
	if err := e.acquire(ctx, store.Scope{Epoch: epoch}, true, held); err != nil {
		return err
	}
	defer held.Release()
	if upTo < e.first.Load() {
		return nil
	}
	value := binary.BigEndian.AppendUint64(nil, upTo+1)
	err := e.submit(ctx, &commit{mark: e.mark(store.Tenant{}), writes: []write{{key: firstKey, value: value}}})
	if err == nil {
		e.first.Store(upTo + 1)
	}
	return err
}

// remove removes the entries before the first place, if there are any.
func (e *engine) remove(ctx context.Context) error {
	start, end := outboxKey(nil, 0), outboxKey(nil, e.first.Load())
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return wrap(err)
	}
	found := it.First()
	if err := it.Close(); err != nil || !found {
		return wrap(err)
	}
	return e.submit(ctx, &commit{mark: e.mark(store.Tenant{}), writes: []write{{key: start, end: end}}})
}
