package gateway

import (
	"context"
	"errors"
	"slices"
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
	// eraseLimit is how long it may take at the most, so that a store that hangs holds up no other task for long.
	eraseLimit = 15 * time.Second
	// eraseWait is how long a sweep waits for streams that are still open.
	eraseWait = time.Second
)

// subjectKinds are the kinds of rows about a person: their ids begin with the subject.
var subjectKinds = []store.Kind{
	store.KindRecord, store.KindSubject, store.KindConsent, store.KindRestriction,
	store.KindNotice, store.KindObjection, store.KindDisclosure,
}

// tenantKinds are the kinds of rows that go before the tenant's own: every kind
// but streams, which are closed in the log by their own tasks. Of the erasures the
// subjects' marks go; the erasures themselves stay.
var tenantKinds = []store.Kind{
	store.KindRecord, store.KindSubject, store.KindLookup, store.KindConsent, store.KindConsentID, store.KindDrive,
	store.KindExtent, store.KindRequest, store.KindRestriction, store.KindRecipient, store.KindNotice,
	store.KindObjection, store.KindOrder, store.KindInformal, store.KindCase, store.KindDisclosure,
	store.KindSnapshot, store.KindHold, store.KindDecision, store.KindErasure,
}

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
	ctx, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
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

// someRows deletes up to eraseRows rows, from where the last ones were on.
func (e *erasing) someRows(t *txn) (n uint64, err error) {
	for e.at < len(e.kinds) && n < eraseRows {
		kind := e.kinds[e.at]
		found, err := t.firstRows(kind, e.task.ID, e.after, eraseRows-int(n)) //nolint:gosec // n is below eraseRows
		if err != nil {
			return n, err
		}
		if len(found) == 0 {
			e.at, e.after = e.at+1, ""
			continue
		}
		for _, r := range found {
			k, err := e.eraseRow(t, kind, r)
			if err != nil {
				return n, err
			}
			n += k
			e.after = r.id
			if n >= eraseRows {
				break
			}
		}
	}
	if n == 0 {
		e.at, e.after = 0, "" // the next look is at everything again
	}
	return n, nil
}

// sweptRow is a row that a scan found, with its value where that is needed to delete it.
type sweptRow struct {
	id    store.ID
	value []byte
}

// firstRows reads the first rows of a kind under a prefix.
func (t *txn) firstRows(kind store.Kind, prefix, after store.ID, limit int) (list []sweptRow, err error) {
	err = t.Scan(kind, prefix, after, func(id store.ID, value []byte) bool {
		if kind == store.KindErasure && len(id) == idSize {
			return true
		}
		r := sweptRow{id: id}
		if kind == store.KindRecord {
			r.value = slices.Clone(value)
		}
		list = append(list, r)
		return len(list) < limit
	})
	return list, err
}

// eraseRow deletes a row and what lies elsewhere because of it, and counts the rows.
func (e *erasing) eraseRow(t *txn, kind store.Kind, r sweptRow) (n uint64, err error) {
	err = t.Delete(kind, r.id)
	if kind == store.KindRecord {
		n, unlinked := t.unlinkRecord(r)
		return 1 + n, errors.Join(err, unlinked)
	}
	if e.row.Kind == ErasureOfTenant || len(r.id) <= idSize { // a tenant's indexes are swept as what they are
		return 1, err
	}
	switch kind {
	case store.KindConsent:
		return 2, errors.Join(err, t.Delete(store.KindConsentID, r.id[idSize:]))
	case store.KindObjection, store.KindDisclosure:
		return 2, errors.Join(err, t.Delete(kind, allScopes+r.id[idSize:]))
	}
	return 1, err
}

// unlinkRecord deletes a record's lookups, which it counts, and its place on the agenda. The
// head that says where those are lies in clear; of a damaged one they stay.
func (t *txn) unlinkRecord(r sweptRow) (n uint64, err error) {
	head, damaged := headOf(r.value)
	if damaged != nil {
		t.g.log.Error("a record that is erased has a damaged head", "region", string(t.home.region.Name), "err", damaged)
		return 0, nil
	}
	for _, key := range []store.ID{head.Email, head.Phone} {
		if key != "" {
			n++
		}
	}
	return n, errors.Join(
		t.relink(r.id, head.Email, ""),
		t.relink(r.id, head.Phone, ""),
		t.reschedule(r.id, head.Expires, time.Time{}))
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
		return errors.Join(putErasure(t.Tx, e.id, &e.row), t.Unschedule(e.task), t.recordErased(&e.row))
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
// The pseudonyms in the first entry are gone with the keys; of an erased tenant nothing may point here either.
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
