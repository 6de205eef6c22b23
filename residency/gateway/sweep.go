package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	sweepEvery = time.Second
	sweepBatch = 256 // tasks, and extents of one drive, at a time
)

// sweep does what is due in the cluster now and then, and when it is kicked, until the term ends.
func (l *leadership) sweep(t *term) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		l.g.sweepIn(t.ctx, l.region, t.cluster)
		select {
		case <-tick.C:
		case <-l.kicked:
		case <-t.ctx.Done():
			return
		}
	}
}

// kick makes a cluster's sweep begin at once if this gateway leads; another one looks within a second.
func (g *Gateway) kick(cluster *Cluster) {
	l := g.leads[cluster]
	if l == nil { // the sweep's own
		return
	}
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

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
			failed := g.performIn(ctx, region, cluster, task)
			if failed == nil {
				g.metrics.swept(region.Name, task.Kind, sweepDone)
			} else if ctx.Err() == nil {
				g.metrics.swept(region.Name, task.Kind, sweepLate)
				g.log.Warn("task put off", "region", string(region.Name), "kind", int(task.Kind), "err", failed)
				err = g.postpone(ctx, cluster, task)
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

// taskLimit is how long one task may take, so that a store that hangs holds up no other
// for long. One that needs longer goes on from where it got to when it is tried again.
const taskLimit = 15 * time.Second

func (g *Gateway) performIn(ctx context.Context, region *Region, cluster *Cluster, task store.Task) error {
	ctx, cancel := context.WithTimeout(ctx, taskLimit)
	defer cancel()
	return g.perform(ctx, region, cluster, task)
}

// postponed is how long a task that failed waits, so that the others come to
// their turn.
const postponed = time.Minute

func (g *Gateway) postpone(ctx context.Context, cluster *Cluster, task store.Task) error {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	return cluster.Rows.Update(ctx, store.Scope{Tenant: task.Tenant}, func(tx store.Tx) error {
		later := task
		later.At = tx.Now().Add(postponed)
		return errors.Join(tx.Unschedule(task), tx.Schedule(later))
	})
}

// perform does one task in a transaction of its tenant, which takes it off the agenda.
func (g *Gateway) perform(ctx context.Context, region *Region, cluster *Cluster, task store.Task) error {
	h := home{tenant: task.Tenant, region: region, cluster: cluster, known: true}
	if task.Kind == store.TaskEraseSubject || task.Kind == store.TaskEraseTenant {
		return g.erase(ctx, h, task)
	}
	if task.Kind == store.TaskPurge {
		return cluster.purges.takeUp(ctx, h, task)
	}
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
		about, err := t.disclosedAbout(ctx, task)
		if err != nil {
			return err
		}
		scope.Objects = append(about, streamLock(task.ID))
	case (task.Kind == store.TaskSweepDrive || task.Kind == store.TaskSweepSnapshot) && len(task.Value) >= idSize:
		scope.Objects = []store.Lock{{Object: store.ID(task.Value[:idSize]), Exclusive: true}}
	}
	if err := t.beforehand(ctx, task); err != nil {
		return err
	}
	return cluster.Rows.Update(ctx, scope, func(tx store.Tx) error {
		t.Tx, t.now = tx, tx.Now()
		return t.perform(task)
	})
}

// beforehand does what a task does outside the rows, before its transaction
// takes it off the agenda, and after a look whether this gateway still leads.
func (t *txn) beforehand(ctx context.Context, task store.Task) error {
	switch task.Kind {
	case store.TaskSweepDrive:
		if err := t.home.cluster.Rows.View(ctx, store.Scope{Tenant: task.Tenant}, func(store.Tx) error { return nil }); err != nil {
			return err
		}
		return t.home.region.Vault.DestroyDrive(ctx, task.Tenant, task.ID)
	case store.TaskDeleteBlob:
		referred, err := t.stillReferred(ctx, task)
		if referred || err != nil {
			return err
		}
		return deleteBlobs(ctx, t.home.cluster.Blobs, string(task.ID))
	}
	return nil
}

// stillReferred looks once more whether something refers to a chunk that is to
// be deleted. What is on the agenda can gain no reference, so the look stays true.
func (t *txn) stillReferred(ctx context.Context, task store.Task) (referred bool, err error) {
	name := string(task.ID)
	err = t.home.cluster.Rows.View(ctx, store.Scope{Tenant: task.Tenant}, func(tx store.Tx) error {
		t.Tx, t.now = tx, tx.Now()
		if strings.HasSuffix(name, "/") { // an abandoned write's chunks never had an extent
			return nil
		}
		var err error
		if t.tk == nil || len(task.Value) != placeSize {
			referred, err = t.held(name)
			return err
		}
		self, chunk := store.ID(task.Value[:idSize]), binary.BigEndian.Uint64(task.Value[idSize:])
		referred, err = t.referred(self, int64(chunk), name) //nolint:gosec // at most 4 Mi chunks
		return err
	})
	return referred, err
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
	case store.TaskSweepSnapshot:
		return t.sweepSnapshot(task)
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
	if e.Action == residency.Disclose {
		if err := t.abandonDisclosure(task.ID, row.Bytes); err != nil {
			return err
		}
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
	e.Caller = sweeper
	return t.append(newestFirst(id), e)
}

// someExtent is an extent that a sweep found. Its row is empty when the tenant's
// key is gone, and what the row says with it.
type someExtent struct {
	id    store.ID
	chunk int64
	row   extentRow
}

// someExtents reads the first extents of a drive's incarnation or a snapshot.
func (t *txn) someExtents(of store.ID) ([]someExtent, error) {
	var found []someExtent
	var failed error
	err := t.Scan(store.KindExtent, of, "", func(id store.ID, sealed []byte) bool {
		x := someExtent{id: id}
		if x.chunk, failed = t.chunkOf(of, id); failed == nil && t.tk != nil {
			x.row, failed = t.openExtent(id, sealed)
		}
		if failed != nil {
			return false
		}
		found = append(found, x)
		return len(found) < sweepBatch
	})
	if failed != nil {
		err = failed
	}
	return found, err
}

// sweepDrive deletes some of a deleted drive's extents and puts their blobs on
// the agenda; it stays there itself until none is left.
func (t *txn) sweepDrive(task store.Task) error {
	found, err := t.someExtents(task.ID)
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
		if err := t.release(task.ID, x.chunk, x.row.Blob); err != nil {
			return err
		}
	}
	if len(found) == sweepBatch {
		return nil
	}
	return t.Unschedule(task)
}
