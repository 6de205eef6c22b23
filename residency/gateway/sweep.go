package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	sweepEvery = 5 * time.Second
	sweepBatch = 256 // tasks, and extents of one drive, at a time
)

// sweepIn does what is due in one cluster, until nothing is.
func (g *Gateway) sweepIn(ctx context.Context, region *Region, cluster *Cluster) {
	for ctx.Err() == nil {
		tasks, err := cluster.Rows.Due(ctx, sweepBatch)
		if err == nil && len(tasks) == 0 {
			return
		}
		for _, task := range tasks {
			if err != nil {
				break
			}
			if failed := g.perform(ctx, region, cluster, task); failed != nil && ctx.Err() == nil {
				g.log.Warn("task put off", "region", string(region.Name), "kind", int(task.Kind), "err", failed)
				err = postpone(ctx, cluster, task)
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				g.log.Warn("sweep stopped", "region", string(region.Name), "cluster", cluster.Name, "err", err)
			}
			return
		}
	}
}

// postponed is how long a task that failed waits, so that the others come to
// their turn.
const postponed = time.Minute

func postpone(ctx context.Context, cluster *Cluster, task store.Task) error {
	return cluster.Rows.Update(ctx, store.Scope{Tenant: task.Tenant}, func(tx store.Tx) error {
		later := task
		later.At = tx.Now().Add(postponed)
		return errors.Join(tx.Unschedule(task), tx.Schedule(later))
	})
}

// perform does one task in a transaction of its tenant, which takes it off the agenda.
func (g *Gateway) perform(ctx context.Context, region *Region, cluster *Cluster, task store.Task) error {
	if task.Kind == store.TaskDeleteBlob {
		if err := deleteBlobs(ctx, cluster.Blobs, string(task.ID)); err != nil {
			return err
		}
	}
	h := home{tenant: task.Tenant, region: region, cluster: cluster, known: true}
	t := &txn{g: g, a: &act{op: "gateway.sweep", call: &Call{Method: "sweep"}}, home: h, ctx: ctx}
	tk, err := region.Vault.Tenant(ctx, task.Tenant)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	t.tk = tk
	scope := store.Scope{Tenant: task.Tenant}
	switch {
	case task.Kind == store.TaskExpireRecord && len(task.ID) >= idSize:
		scope.Objects = []store.Lock{{Object: task.ID[:idSize], Exclusive: true}}
	case task.Kind == store.TaskCloseStream:
		scope.Objects = []store.Lock{streamLock(task.ID)}
	}
	if task.Kind == store.TaskSweepDrive {
		if err := region.Vault.DestroyDrive(ctx, task.Tenant, task.ID); err != nil {
			return err
		}
	}
	return cluster.Rows.Update(ctx, scope, func(tx store.Tx) error {
		t.Tx, t.now = tx, tx.Now()
		return t.perform(task)
	})
}

func (t *txn) perform(task store.Task) error {
	switch task.Kind {
	case store.TaskCloseStream:
		return t.closeAbandoned(task)
	case store.TaskForgetRequest:
		return errors.Join(t.Delete(store.KindRequest, task.ID), t.Unschedule(task))
	case store.TaskExpireRecord:
		return t.expireRecord(task)
	case store.TaskSweepDrive:
		return t.sweepDrive(task)
	}
	return t.Unschedule(task)
}

// deleteBlobs deletes a blob or, for a name that ends in a slash, all under it.
func deleteBlobs(ctx context.Context, blobs store.Blobs, name string) error {
	if !strings.HasSuffix(name, "/") {
		return blobs.Delete(ctx, name)
	}
	var names []string
	err := blobs.List(ctx, name, func(n string) bool {
		names = append(names, n)
		return true
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := blobs.Delete(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// closeAbandoned closes a stream whose gateway died: its lease was not renewed
// for long. From then on that gateway, should it live after all, can commit
// nothing under the stream.
func (t *txn) closeAbandoned(task store.Task) error {
	b, err := t.Get(store.KindStream, task.ID)
	if errors.Is(err, store.ErrNotFound) {
		return t.Unschedule(task)
	}
	if err != nil {
		return err
	}
	row, err := decodeStream(b)
	if err != nil {
		return err
	}
	if t.now.Sub(row.Renewed) < streamStale {
		next := task
		next.At = t.now.Add(streamCheck)
		row.Check = next.At
		return errors.Join(t.Unschedule(task), t.Schedule(next), t.Put(store.KindStream, task.ID, row.encode()))
	}
	e, err := audit.Parse(row.Intent)
	if err != nil {
		return err
	}
	e.Phase, e.Time, e.End, e.Bytes = audit.Ended, t.now, audit.Unknown, row.Bytes
	e.Result = residency.Internal
	err = t.Schedule(store.Task{
		At: t.now, Tenant: t.home.tenant, Kind: store.TaskDeleteBlob,
		ID: store.ID(blobPrefix(t.home.tenant, e.DecisionID)),
	})
	if err != nil {
		return err
	}
	t.g.metrics.streamsCut.WithLabelValues("ABANDONED").Inc()
	return t.close(task.ID, task, &e)
}

// expireRecord deletes a record that has ended (clause cookies) and says so in the log.
func (t *txn) expireRecord(task store.Task) error {
	if len(task.ID) < idSize {
		return t.Unschedule(task)
	}
	row, err := t.Get(store.KindRecord, task.ID)
	if errors.Is(err, store.ErrNotFound) {
		return t.Unschedule(task)
	}
	if err != nil {
		return err
	}
	head, err := headOf(row)
	if err != nil {
		return err
	}
	if !head.expired(t.now) { // it was given a later end; that has a task of its own
		return t.Unschedule(task)
	}
	if err := errors.Join(t.removeRecord(task.ID, head), t.Unschedule(task)); err != nil {
		return err
	}
	return t.recordExpiry(task)
}

// recordExpiry appends the entry of an expiry: nobody called, the clause did.
func (t *txn) recordExpiry(task store.Task) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	p := t.home.region.inForce(t.now)
	if p == nil {
		return residency.E(t.a.op, residency.PolicyUnavailable, nil)
	}
	t.decision = residency.Decision{
		ID: id.String(), Allow: true, Clause: "cookies", PolicyVersion: p.Version, PolicyDigest: p.Digest,
		Controller: p.Controller, From: p.Jurisdiction, To: p.Jurisdiction,
		Action: residency.Erase, DataClass: residency.PersonalInformation, Time: t.now,
	}
	sk, err := t.keysOf(t.ctx, task.ID[:idSize])
	if err != nil {
		return err
	}
	t.exists, t.sk = t.tk != nil, sk
	e := t.entry(residency.OK)
	e.Caller = "urn:domicile:sweep"
	return t.append(newestFirst(id), e)
}

// sweepDrive deletes some of a deleted drive's extents and puts their blobs on
// the agenda; it stays there itself until none is left.
func (t *txn) sweepDrive(task store.Task) error {
	type extent struct {
		id  store.ID
		row extentRow
	}
	var found []extent
	var failed error
	err := t.Scan(store.KindExtent, task.ID, "", func(id store.ID, sealed []byte) bool {
		x := extent{id: id}
		if t.tk != nil { // else the tenant's key is gone, and what the row says with it
			if x.row, failed = t.openExtent(id, sealed); failed != nil {
				return false
			}
		}
		found = append(found, x)
		return len(found) < sweepBatch
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return err
	}
	for _, x := range found {
		if err := t.Delete(store.KindExtent, x.id); err != nil {
			return err
		}
		if x.row.Blob == "" {
			continue
		}
		if err := t.dropBlob(x.row.Blob); err != nil {
			return err
		}
	}
	if len(found) == sweepBatch {
		return nil
	}
	return t.Unschedule(task)
}
