package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// clusters reads the entries of a cluster, whomever they are about. A position is a place.
func (r *entryReader) clusters(t *txn, c *Cluster, p Page) (err error) {
	words := append([]string{c.Name}, r.filter.words()...)
	if r.pager, err = newPager(t.a, p, defaultEntries, maxEntries, t.g.regionMAC(t.a, words...)); err != nil {
		return err
	}
	first, last, err := c.places(t.ctx)
	if err != nil {
		return unanswered(t.a.op, err)
	}
	if done := r.pager.after; len(done) == 8 {
		last = min(last, placeOf(done)-1)
	} else if !r.filter.Before.IsZero() {
		if last, err = c.lastBefore(t.ctx, first, last, r.filter.Before.Add(clockMargin)); err != nil {
			return unanswered(t.a.op, err)
		}
	}
	for last >= first {
		from := first
		if last-first >= entriesAtOnce {
			from = last - entriesAtOnce + 1
		}
		list, err := c.between(t.ctx, from, last)
		if err != nil {
			return unanswered(t.a.op, err)
		}
		for i := range slices.Backward(list) {
			if e := &list[i]; e.Time.Before(r.filter.Since.Add(-clockMargin)) || !r.one(e) {
				return nil
			}
		}
		if last = from - 1; r.enough() && last >= first {
			r.next = r.pager.token(placeID(from))
			return nil
		}
	}
	return nil
}

// one looks at one entry; false = the page has ended.
func (r *entryReader) one(e *parsedEntry) bool {
	r.looked++
	if !r.filter.within(e.Time) || !r.filter.holds(&e.Entry) {
		return true
	}
	return r.add(e, placeID(e.Place))
}

// places gives the first place and the last that there is an entry at; last < first = there is none.
func (c *Cluster) places(ctx context.Context) (first, last uint64, err error) {
	if last, err = c.Outbox.Last(ctx); err == nil {
		first, err = c.Outbox.First(ctx)
	}
	return first, last, err
}

// between reads the entries from one place to another, those of them that were not dropped.
func (c *Cluster) between(ctx context.Context, from, to uint64) (list []parsedEntry, err error) {
	var damage error
	err = c.Outbox.Entries(ctx, from, func(place uint64, b []byte) bool {
		if place > to {
			return false
		}
		var e parsedEntry
		if e, damage = c.parseAt(place, b); damage != nil {
			return false
		}
		list = append(list, e)
		return place < to
	})
	return list, errors.Join(damage, err)
}

// lastBefore gives a place behind which every entry is of a time or later, among those from first to last: the one before the
// first that is. Times ascend with places as far as clockMargin goes, which the caller leaves.
func (c *Cluster) lastBefore(ctx context.Context, first, last uint64, t time.Time) (uint64, error) {
	if last < first {
		return last, nil
	}
	var failed error
	n := sort.Search(int(last-first+1), func(i int) bool { //nolint:gosec // as many as there are entries
		if failed != nil {
			return true
		}
		b, err := c.Outbox.Entry(ctx, first+uint64(i)) //nolint:gosec // not negative
		if errors.Is(err, store.ErrNotFound) {
			return false // it was dropped meanwhile: it is old
		}
		var e parsedEntry
		if err == nil {
			e, err = c.parseAt(first+uint64(i), b) //nolint:gosec // not negative
		}
		failed = err
		return err == nil && !e.Time.Before(t)
	})
	return first + uint64(n) - 1, failed //nolint:gosec // not negative
}

// parsedEntry is an entry, and how many bytes the log has of it.
type parsedEntry struct {
	audit.Entry
	size int
}

// foundEntries are entries by their places.
type foundEntries map[uint64]parsedEntry

func (f foundEntries) has(place uint64) bool { _, ok := f[place]; return ok }

// parseAt reads an entry and holds it to be that of its place, and of the region whose log it is.
func (c *Cluster) parseAt(place uint64, b []byte) (parsedEntry, error) {
	e, err := audit.Parse(b)
	switch of := c.witnesses.region.Name; {
	case err != nil:
	case e.Place != place:
		err = errors.New("it says that it has another place")
	case e.Region != of:
		err = fmt.Errorf("it is of region %s, and stands in a log of region %s", e.Region, of)
	}
	if err != nil {
		return parsedEntry{}, residency.E("gateway.parseAt", residency.IntegrityFailure, fmt.Errorf("the entry at place %d: %w", place, err))
	}
	return parsedEntry{e, len(b)}, nil
}

// entriesAt reads the entries at places. Those that were dropped, and those that are not durable yet, are left out: they are
// visible in an index with the commit, and here once they are durable. Any other that is missing is lost.
func (c *Cluster) entriesAt(ctx context.Context, places []uint64) (foundEntries, error) {
	found := make(foundEntries, len(places))
	if err := c.readAt(ctx, places, found); err != nil || len(found) == len(places) {
		return found, err
	}
	last, err := c.Outbox.Last(ctx)
	if err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(slices.Clone(places), func(place uint64) bool { return found.has(place) || place > last })
	if err := c.readAt(ctx, missing, found); err != nil || len(missing) == 0 { // some have become durable meanwhile
		return found, err
	}
	first, err := c.Outbox.First(ctx)
	if err != nil {
		return nil, err
	}
	for _, place := range missing {
		if place >= first && !found.has(place) {
			return nil, residency.E("gateway.entriesAt", residency.IntegrityFailure, fmt.Errorf("the entry at place %d is missing", place))
		}
	}
	return found, nil
}

// readAt reads the entries at places into found, as many at once as the store takes.
func (c *Cluster) readAt(ctx context.Context, places []uint64, found foundEntries) error {
	for some := range slices.Chunk(places, store.MaxPlaces) {
		var damage error
		err := c.Outbox.At(ctx, some, func(place uint64, b []byte) bool {
			var e parsedEntry
			if e, damage = c.parseAt(place, b); damage != nil {
				return false
			}
			found[place] = e
			return true
		})
		if err := errors.Join(damage, err); err != nil {
			return err
		}
	}
	return nil
}
