package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// MinAuditRetention is the shortest time that audit entries are kept.
const MinAuditRetention = 365 * 24 * time.Hour

const (
	retentionEvery   = time.Hour        // how often a leader looks whose time is over
	retentionBundles = 64               // bundles of entries that are dropped at once
	retentionTenants = 1024             // tenants whose index is looked at between two questions for more
	retentionRows    = 256              // rows of the index that one transaction looks at
	retentionTimeout = 15 * time.Second // for one step
	bundleEntries    = uint64(audit.TileWidth)
)

// retention drops a cluster's audit entries when their time is over, as its leader: whole bundles, so that every tile has
// all of its entries or none, and only those that a checkpoint holds. Their hashes stay, so whatever is kept can be verified as before.
type retention struct {
	c     *Cluster // a term's
	keep  time.Duration
	swept uint64 // in this term the index was rid of what led to entries before this place
}

// dropped says what one look dropped.
type dropped struct {
	entries uint64
	first   uint64    // the place of the oldest entry that is left
	until   time.Time // when the newest of those dropped was made
	rows    int       // of the index
	leapt   leap      // why nothing was dropped although its time is over; zero = it was
}

// keepRetention drops what is older than the region's retention, until the term ends.
func (l *leadership) keepRetention(t *term) {
	if l.cluster.Signer == nil || l.region.AuditRetention == 0 {
		return
	}
	r := &retention{c: t.cluster, keep: l.region.AuditRetention}
	log := l.g.log.With("region", string(l.region.Name), "cluster", l.cluster.Name, "log", l.cluster.Signer.Name())
	told := false
	every(t.ctx, retentionEvery, func() {
		d, err := r.look(t.ctx)
		if d.leapt != (leap{}) && !told {
			log.Warn("audit entries whose time is over are not dropped until the log shows that a day has passed: the cluster's clock went ahead, or nothing was recorded",
				"since", d.leapt.from, "until", d.leapt.to)
		}
		told = d.leapt != (leap{}) || told && err != nil
		if d.entries > 0 || d.rows > 0 {
			log.Info("audit entries were dropped, their time is over; their hashes stay",
				"entries", d.entries, "until", d.until, "first", d.first, "index_rows", d.rows)
		}
		if err != nil && t.ctx.Err() == nil {
			log.Error("audit entries whose time is over are not all dropped", "err", err)
		}
	})
}

// look drops everything whose time is over by now, step by step, and then what finds it.
func (r *retention) look(ctx context.Context) (d dropped, err error) {
	now := r.c.Rows.Now()
	cutoff := now.Add(-r.keep)
	for more := true; more && err == nil; {
		more, err = r.step(ctx, now, &d)
	}
	if err != nil || d.first <= max(r.swept, 1) {
		return d, err
	}
	d.rows, err = r.sweepIndex(ctx, cutoff, d.first)
	if err == nil {
		r.swept = d.first
	}
	return d, err
}

// step drops some bundles; more is true when there may be others.
func (r *retention) step(ctx context.Context, now time.Time, d *dropped) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	if d.first, err = r.c.Outbox.First(ctx); err != nil {
		return false, err
	}
	end, err := r.settled(ctx) // this is also the look whether the term goes on
	if err != nil {
		return false, err
	}
	upTo, until, err := r.over(ctx, d.first, min(end, d.first-1+retentionBundles*bundleEntries), now.Add(-r.keep))
	if err == nil && upTo >= d.first {
		d.leapt, err = r.leapt(ctx, now)
	}
	if err != nil {
		return false, err
	}
	if d.leapt != (leap{}) {
		upTo = 0
	}
	// Without anything new this ends what a leader before began.
	if err := r.c.Outbox.Drop(ctx, upTo, 0); err != nil || upTo < d.first {
		return false, err
	}
	d.entries, d.first, d.until = d.entries+upTo+1-d.first, upTo+1, until
	return true, nil
}

// settled gives the place up to which entries are needed no more by whoever reads the log in order: those that a checkpoint
// holds, and whose usage is counted.
func (r *retention) settled(ctx context.Context) (uint64, error) {
	log, err := r.c.logNow(ctx)
	if err != nil {
		return 0, err
	}
	usage, err := r.c.usageNow(ctx)
	return min(log.Signed, usage.Through), err
}

// over finds the last of the whole bundles from a place to another whose every entry is older than a time, and when its newest
// entry was made; 0 when there is none. Entries are looked at one by one: their times do not strictly ascend.
func (r *retention) over(ctx context.Context, from, end uint64, cutoff time.Time) (upTo uint64, until time.Time, err error) {
	if end < from {
		return 0, until, nil
	}
	var newest time.Time
	var damage error
	err = r.c.Outbox.Entries(ctx, from, func(place uint64, entry []byte) bool {
		var e audit.Entry
		if e, damage = audit.Parse(entry); damage != nil || e.Time.After(cutoff) {
			return false
		}
		if e.Time.After(newest) {
			newest = e.Time
		}
		if place%bundleEntries == 0 {
			upTo, until = place, newest
		}
		return place < end
	})
	if damage != nil {
		damage = residency.E("gateway.over", residency.IntegrityFailure, damage)
	}
	return upTo, until, errors.Join(err, damage)
}

// sweepIndex removes the rows that lead to nothing but entries before a place, tenant by tenant, and tells how many.
func (r *retention) sweepIndex(ctx context.Context, cutoff time.Time, first uint64) (n int, err error) {
	var last store.Tenant
	for {
		tenants, err := r.tenants(ctx, last)
		if err != nil || len(tenants) == 0 {
			return n, err
		}
		for _, last = range tenants {
			of, err := r.sweepTenant(ctx, last, cutoff, first)
			if n += of; err != nil {
				return n, err
			}
		}
	}
}

// tenants gives some of the cluster's tenants after one.
func (r *retention) tenants(ctx context.Context, after store.Tenant) (list []store.Tenant, err error) {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	err = r.c.Rows.Tenants(ctx, after, func(t store.Tenant) bool {
		list = append(list, t)
		return len(list) < retentionTenants
	})
	return list, err
}

// sweepTenant removes such rows of one tenant. The index is newest first, so those that can be old enough are at its end. One whose
// decision was made by a clock that was ahead is removed once that time is over too.
func (r *retention) sweepTenant(ctx context.Context, t store.Tenant, cutoff time.Time, first uint64) (n int, err error) {
	for after := decidedAt(cutoff.Add(clockMargin)); after != ""; {
		var of int
		of, after, err = r.sweepRows(ctx, t, after, first)
		if n += of; err != nil {
			return n, err
		}
	}
	return n, nil
}

// sweepRows removes such rows among some after one, and gives the last that it looked at; "" = there are no more. Only where there
// are any does it lock the tenant, so that no row gains a place meanwhile.
func (r *retention) sweepRows(ctx context.Context, t store.Tenant, after store.ID, first uint64) (n int, next store.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	var old []store.ID
	err = r.c.Rows.View(ctx, store.Scope{Tenant: t}, func(tx store.Tx) (err error) {
		old, next, err = oldRows(tx, after, first)
		return err
	})
	if err != nil || len(old) == 0 {
		return 0, next, err
	}
	err = r.c.Rows.Update(ctx, store.Scope{Tenant: t, Exclusive: true}, func(tx store.Tx) (err error) {
		old, next, err = oldRows(tx, after, first)
		for _, id := range old {
			err = errors.Join(err, tx.Delete(store.KindDecision, id))
		}
		return err
	})
	if err != nil {
		return 0, "", err
	}
	return len(old), next, nil
}

// oldRows gives the rows of the index, among some after one, that lead to nothing but entries before a place, and the last that it looked at.
func oldRows(tx store.Tx, after store.ID, first uint64) (old []store.ID, next store.ID, err error) {
	looked := 0
	err = tx.Scan(store.KindDecision, "", after, func(id store.ID, places []byte) bool {
		if looked == retentionRows {
			next = after
			return false
		}
		looked++
		after = id
		if n := len(places); n >= 8 && binary.BigEndian.Uint64(places[n-8:]) < first { // the newest is the last
			old = append(old, id)
		}
		return true
	})
	return old, next, err
}
