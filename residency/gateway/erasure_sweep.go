package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	// eraseRows is how many rows one transaction of a sweep deletes, so that each
	// is short and whoever waits for its locks waits little.
	eraseRows = 2000
	// eraseBlobs is how many blobs are deleted between two notes of how far the sweep has come.
	eraseBlobs = 64
	// eraseRun is how long one erasure is swept before other tasks come to their turn.
	eraseRun = time.Second
	// eraseWait is how long a sweep waits for streams that are still open.
	eraseWait = time.Second
)

// erasing is the sweep of one erasure.
type erasing struct {
	g    *Gateway
	home home
	task store.Task
	id   store.ID // of the erasure's row
	row  erasureRow
	tk   *seal.TenantKeys // nil: gone with the tenant

	kinds []store.Kind
	at    int      // how many of the kinds are swept
	after store.ID // up to where the next one is
}

// erase sweeps an erasure for a while, or to its end. What it deletes is
// unreadable before: the keys are destroyed first, again if need be.
func (g *Gateway) erase(ctx context.Context, h home, task store.Task) error {
	e := &erasing{g: g, home: h, task: task, id: store.ID(task.Value), kinds: subjectKinds}
	if task.Kind == store.TaskEraseTenant {
		e.kinds = tenantKinds
	}
	err := h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) (err error) {
		e.row, err = readErasure(tx, e.id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && e.row.State == ErasureDone {
		return e.drop(ctx)
	}
	if err != nil {
		return err
	}
	if e.row.State == ErasurePending {
		if err := h.region.destroyKeys(ctx, h.tenant, task.ID, &e.row); err != nil {
			return err
		}
	}
	if e.tk, err = h.region.Vault.Tenant(ctx, h.tenant); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return e.sweep(ctx)
}

// drop takes a task off the agenda whose erasure is not there.
func (e *erasing) drop(ctx context.Context) error {
	return e.home.cluster.Rows.Update(ctx, store.Scope{Tenant: e.home.tenant}, func(tx store.Tx) error {
		return tx.Unschedule(e.task)
	})
}

// sweep deletes until nothing is left or the time is up; the task stays on the
// agenda until nothing is.
func (e *erasing) sweep(ctx context.Context) error {
	began := e.g.elapsed()
	for e.g.elapsed()-began < eraseRun && ctx.Err() == nil {
		more, err := e.step(ctx)
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

// step deletes some rows or some blobs; more is false when the erasure is done or has to wait.
func (e *erasing) step(ctx context.Context) (more bool, err error) {
	n, err := e.rows(ctx)
	if n > 0 || err != nil {
		return err == nil, err
	}
	if e.row.Kind == ErasureOfTenant {
		n, err = e.blobs(ctx)
		if n > 0 || err != nil {
			return err == nil, err
		}
		// A drive that was being created elsewhere may have had a key made since.
		if err := e.home.region.destroyKeys(ctx, e.home.tenant, "", &e.row); err != nil {
			return false, err
		}
	}
	return e.finish(ctx)
}

// update runs a transaction of the sweep and takes over what it made of the
// row and of how far the sweep has come.
func (e *erasing) update(ctx context.Context, f func(*erasing, *txn) error) error {
	scope := store.Scope{Tenant: e.home.tenant, Exclusive: e.row.Kind == ErasureOfTenant}
	if e.row.Kind == ErasureOfSubject {
		scope.Objects = []store.Lock{{Object: e.task.ID, Exclusive: true}, {Object: e.id, Exclusive: true}}
	}
	var next erasing
	err := e.home.cluster.Rows.Update(ctx, scope, func(tx store.Tx) error {
		t := &txn{
			Tx: tx, ctx: ctx, now: tx.Now(), g: e.g, home: e.home, tk: e.tk,
			a: &act{op: "gateway.erase", tenant: "?", call: &Call{Method: "sweep", Caller: Caller{ID: sweeper}}},
		}
		next = *e
		return f(&next, t)
	})
	if err == nil {
		*e = next
	}
	return err
}

// rows deletes some rows.
func (e *erasing) rows(ctx context.Context) (n uint64, err error) {
	err = e.update(ctx, func(e *erasing, t *txn) error {
		if n, err = e.someRows(t); err != nil {
			return err
		}
		e.row.Rows += n
		e.row.State = ErasureSweeping
		return putErasure(t.Tx, e.id, &e.row)
	})
	return n, err
}

// blobs deletes some of an erased tenant's blobs.
func (e *erasing) blobs(ctx context.Context) (n uint64, err error) {
	waiting, err := e.streams(ctx)
	if waiting || err != nil {
		return 0, err
	}
	names, err := blobsUnder(ctx, e.home.cluster.Blobs, e.home.tenant.String()+"/", eraseBlobs)
	for _, name := range names {
		if err == nil {
			err = e.home.cluster.Blobs.Delete(ctx, name)
		}
	}
	if n = uint64(len(names)); n == 0 || err != nil {
		return 0, err
	}
	return n, e.update(ctx, func(e *erasing, t *txn) error {
		e.row.Blobs += n
		return putErasure(t.Tx, e.id, &e.row)
	})
}

// blobsUnder gives the first names that start with a prefix.
func blobsUnder(ctx context.Context, blobs store.Blobs, prefix string, limit int) (names []string, err error) {
	err = blobs.List(ctx, prefix, func(name string) bool {
		names = append(names, name)
		return len(names) < limit
	})
	return names, err
}

// streams reports whether streams of an erased tenant are still open: their
// blobs come and go until they are closed.
func (e *erasing) streams(ctx context.Context) (open bool, err error) {
	err = e.home.cluster.Rows.View(ctx, store.Scope{Tenant: e.home.tenant}, func(tx store.Tx) (err error) {
		open, err = anyRow(tx, store.KindStream, "")
		return err
	})
	return open, err
}

// anyRow reports whether there is a row of a kind under a prefix.
func anyRow(tx store.Tx, kind store.Kind, prefix store.ID) (there bool, err error) {
	err = tx.Scan(kind, prefix, "", func(store.ID, []byte) bool {
		there = true
		return false
	})
	return there, err
}

// finish ends an erasure of which nothing is left: the tenant's own row goes
// last. more is true when something has come up since; a stream that is still open is waited for.
func (e *erasing) finish(ctx context.Context) (more bool, err error) {
	err = e.update(ctx, func(e *erasing, t *txn) error {
		n, err := e.someRows(t)
		if err != nil || n > 0 {
			more = true
			e.row.Rows += n
			return errors.Join(err, putErasure(t.Tx, e.id, &e.row))
		}
		more = false
		if e.row.Kind == ErasureOfTenant {
			open, err := anyRow(t.Tx, store.KindStream, "")
			if err != nil {
				return err
			}
			if open {
				return e.wait(t)
			}
			e.row.Rows++
			if err := t.Delete(store.KindTenant, ""); err != nil {
				return err
			}
		}
		e.row.State, e.row.Finished = ErasureDone, t.now
		return errors.Join(putErasure(t.Tx, e.id, &e.row), t.Unschedule(e.task),
			t.Schedule(purgeTask(e.home, t.now)), t.recordErased(&e.row))
	})
	if err == nil && e.row.State == ErasureDone {
		region := string(e.home.region.Name)
		e.g.metrics.erasures.WithLabelValues(region, erasureKinds[e.row.Kind]).Inc()
		e.g.metrics.auditEntries.WithLabelValues(region).Inc()
	}
	return more, err
}

// wait puts the task off for a moment.
func (e *erasing) wait(t *txn) error {
	later := e.task
	later.At = t.now.Add(eraseWait)
	return errors.Join(t.Unschedule(e.task), t.Schedule(later))
}

// sweeper is who acts when nobody called.
const sweeper = "urn:domicile:sweep"

var erasureKinds = [...]string{ErasureOfSubject: "SUBJECT", ErasureOfTenant: "TENANT"}

// recordErased appends the entry that ends an erasure, under its decision's id.
// It names no person, nor did the first; of an erased tenant nothing may point here either.
func (t *txn) recordErased(row *erasureRow) error {
	if err := t.load(); err != nil {
		return err
	}
	t.decision = residency.Decision{
		ID: row.ID, Allow: true, Clause: row.Clause, PolicyVersion: row.PolicyVersion, Controller: row.Controller,
		From: t.home.region.Jurisdiction, To: t.home.region.Jurisdiction,
		Action: residency.Erase, DataClass: residency.PersonalInformation, Time: t.now,
	}
	for _, p := range t.home.region.Policies {
		if p.Version == row.PolicyVersion {
			t.decision.PolicyDigest = p.Digest
		}
	}
	e := t.entry(residency.OK)
	e.Phase, e.End = audit.Ended, audit.Completed
	index := store.ID("")
	if t.exists {
		index, _ = rowOf(row.ID)
	}
	return t.append(index, e)
}
