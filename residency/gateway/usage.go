package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	usageEvery = time.Second // how often what a checkpoint newly holds is counted
	usageBatch = 4096        // entries that one transaction counts
	usageKept  = 1 << 14     // totals that a term remembers
)

// rollUp counts a cluster's log into totals, as its leader, and remembers the totals of the days that it counted last:
// nobody else writes them while it leads. One that is not there is read.
type rollUp struct {
	c    *Cluster // a term's
	last map[store.ID]dayUsage
}

// keepUsage counts what is new in the cluster's log, until the term ends. It follows the checkpoints, so that
// nothing is billed that the log could lose again, and holds up nothing: the log grows without it.
func (l *leadership) keepUsage(t *term) {
	if l.cluster.Signer == nil {
		return
	}
	u := &rollUp{c: t.cluster}
	every(t.ctx, usageEvery, func() {
		for more := true; more && t.ctx.Err() == nil; {
			var err error
			if more, err = u.count(t.ctx); err != nil && t.ctx.Err() == nil {
				l.g.log.Error("usage is not counted", "region", string(l.region.Name), "cluster", l.cluster.Name, "err", err)
				return
			}
		}
	})
}

// count counts entries of the signed log, some at a time; more is true when there are others. That each
// is counted once rests on one transaction: the totals are written with how far the log is counted, if that is still what it was.
func (u *rollUp) count(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	was, err := u.c.usageNow(ctx)
	if err != nil {
		return false, err
	}
	log, err := u.c.logNow(ctx) // after it: a checkpoint is signed before its entries are counted
	if err != nil || was.Through == log.Signed {
		return false, err
	}
	if was.Through > log.Signed {
		return false, residency.E("gateway.count", residency.IntegrityFailure,
			fmt.Errorf("entries are counted up to place %d, and the newest checkpoint holds %d: the log went back", was.Through, log.Signed))
	}
	now, sums, err := u.c.sums(ctx, was, min(log.Signed, was.Through+usageBatch))
	if err != nil {
		return false, err
	}
	return now.Through < log.Signed, u.write(ctx, was, now, sums)
}

// usageNow reads how far a cluster's log is counted.
func (c *Cluster) usageNow(ctx context.Context) (s usageState, err error) {
	err = c.Rows.View(ctx, usageScope, func(tx store.Tx) (err error) {
		s, err = readUsageState(tx)
		return err
	})
	return s, err
}

// sums adds up the entries behind those that are counted, up to a place: how far that is, and what each tenant's day gains.
func (c *Cluster) sums(ctx context.Context, s usageState, end uint64) (usageState, map[store.ID]dayUsage, error) {
	sums := make(map[store.ID]dayUsage)
	var failed error
	err := c.Outbox.Entries(ctx, s.Through+1, func(place uint64, entry []byte) bool {
		if s.From == 0 { // what was dropped before is nobody's to count
			s.From, s.Through = place, place-1
			end = max(end, place)
		}
		if place != s.Through+1 {
			failed = fmt.Errorf("the entry at place %d is missing", s.Through+1)
			return false
		}
		if failed = addEntry(sums, entry); failed != nil {
			return false
		}
		s.Through = place
		return place < end
	})
	if failed != nil {
		failed = residency.E("gateway.sums", residency.IntegrityFailure, failed)
	}
	return s, sums, errors.Join(err, failed)
}

func addEntry(sums map[store.ID]dayUsage, entry []byte) error {
	e, err := audit.ParseVolume(entry)
	if err != nil {
		return err
	}
	return addVolume(sums, &e)
}

// addVolume adds what an entry says to the sum of its tenant's day.
func addVolume(sums map[store.ID]dayUsage, e *audit.Entry) error {
	if e.DataClass >= residency.NumDataClasses || e.Action >= residency.NumActions {
		return errors.New("an entry is of no known class or action")
	}
	v, counted := volumeOf(e)
	if !counted {
		return nil
	}
	tenant, err := logPseudonym(e.Tenant)
	if err != nil {
		return err
	}
	var gains dayUsage
	gains[e.DataClass][directionOf(e.Action)] = v
	id := usageID(tenant, dayOf(e.Time))
	sum := sums[id]
	sum.add(&gains)
	sums[id] = sum
	return nil
}

// write adds sums to the totals, together with how far the log is counted then.
func (u *rollUp) write(ctx context.Context, was, now usageState, sums map[store.ID]dayUsage) error {
	totals := make(map[store.ID]dayUsage, len(sums))
	err := u.c.Rows.Update(ctx, usageScope, func(tx store.Tx) error {
		there, err := readUsageState(tx)
		if err == nil && there != was {
			err = fmt.Errorf("%w: how far the log is counted", store.ErrConflict)
		}
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(sums)) {
			total, err := u.total(tx, id)
			if err != nil {
				return err
			}
			sum := sums[id]
			total.add(&sum)
			if err := tx.Put(store.KindUsage, id, total.encode()); err != nil {
				return err
			}
			totals[id] = total
		}
		return tx.Put(store.KindUsage, "", encodeRow(&now))
	})
	if err != nil || len(u.last)+len(totals) > usageKept { // after an error nobody knows what is there
		u.last = nil
	}
	if err != nil {
		return err
	}
	if u.last == nil {
		u.last = make(map[store.ID]dayUsage)
	}
	maps.Copy(u.last, totals)
	return nil
}

// total gives a day's total before it is added to.
func (u *rollUp) total(tx store.Tx, id store.ID) (dayUsage, error) {
	if total, ok := u.last[id]; ok {
		return total, nil
	}
	b, err := tx.Get(store.KindUsage, id)
	if errors.Is(err, store.ErrNotFound) {
		return dayUsage{}, nil
	}
	if err != nil {
		return dayUsage{}, err
	}
	total, err := decodeUsage(b)
	if err != nil {
		err = residency.E("gateway.total", residency.IntegrityFailure, err)
	}
	return total, err
}
