package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// A snapshot is a copy of a drive's extents under an identifier of its own,
// and a hold on each of their blobs. What refers to a blob is its drive's extent
// and the holds; a transaction that takes a reference away has the drive's
// lock exclusively, and when it was the last one it puts the blob on the agenda.
// From then on nothing can refer to it again: a restore takes from snapshots,
// a snapshot from the drive. So the time that a deletion waits, the longest that
// a stream may last, covers every stream that can be reading the blob.

const (
	maxSnapshots = 100        // of one drive
	maxExtents   = 16_384     // of a drive that is kept or put back: all of it in one transaction
	holdSize     = idSize     // bytes of a blob's digest
	sweptValue   = 2 * idSize // bytes of what a snapshot's sweep is told
)

// snapshotRow is a snapshot: account data.
type snapshotRow struct {
	ID, Name string
	Version  uint64 // the drive's
	Size     int64
	Created  time.Time
}

func (r *snapshotRow) layout(f *fields) {
	f.text(1, &r.ID)
	f.text(2, &r.Name)
	f.uint(3, &r.Version)
	f.int(4, &r.Size)
	f.time(5, &r.Created)
}

func (r *snapshotRow) public(drive string) Snapshot {
	return Snapshot{ID: r.ID, Drive: drive, Name: r.Name, Version: r.Version, Size: r.Size, Created: r.Created}
}

// holdsOf is the prefix of the holds on a blob. A blob's name is no caller's,
// so its digest needs no key, and is found when the tenant's is gone.
func holdsOf(blob string) store.ID {
	digest := sha256.Sum256([]byte(blob))
	return store.ID(digest[:holdSize])
}

// SnapshotDrive keeps a drive as it is. Writes that are under way are not part
// of it, and go on.
func (g *Gateway) SnapshotDrive(ctx context.Context, call *Call, req SnapshotDrive) (Snapshot, error) {
	const op = "gateway.SnapshotDrive"
	id, err := uuid.NewV7()
	if err != nil {
		return Snapshot{}, residency.E(op, residency.Internal, err)
	}
	a := &act{call: call, op: op, tenant: req.Tenant, drive: req.Drive, exclusive: true, inbound: true}
	var out snapshotRow
	_, err = g.decide(ctx, a, func(t *txn) error {
		var err error
		out, err = t.snapshot(id, &req)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	return out.public(req.Drive), nil
}

func (t *txn) snapshot(id uuid.UUID, req *SnapshotDrive) (snapshotRow, error) {
	var out snapshotRow
	var damage error
	digest := func() store.ID { return t.tk.ID("snapshot-drive", req.Drive, req.Name) }
	found, err := t.replay(req.RequestID, digest, func(b []byte) { damage = decodeRow(b, &out) })
	if found || err != nil {
		return out, errors.Join(err, damage)
	}
	row, version, err := t.readDrive()
	if err != nil {
		return out, err
	}
	there, err := t.snapshotsOf(row.Self)
	if err != nil {
		return out, err
	}
	if len(there) >= maxSnapshots {
		return out, t.tooMuch("has 100 snapshots, the most that there may be: delete one first")
	}
	extents, err := t.written(row.Self)
	if err != nil {
		return out, err
	}
	out = snapshotRow{ID: id.String(), Name: req.Name, Version: version, Size: row.Size, Created: t.now}
	if err := t.keep(extents, newestFirst(id)); err != nil {
		return out, err
	}
	return out, errors.Join(
		t.putRow(t.tk, store.KindSnapshot, row.Self+newestFirst(id), 1, &out),
		t.remember(req.RequestID, encodeRow(&out)))
}

// tooMuch says which bound of a drive a call would pass.
func (t *txn) tooMuch(why string) error {
	return &residency.Error{Op: t.a.op, Kind: residency.QuotaExceeded, Violations: []residency.Violation{{
		Field: "drive_id", Description: why,
	}}}
}

// snapshotsOf lists the snapshots of a drive's incarnation, newest first.
func (t *txn) snapshotsOf(self store.ID) ([]store.ID, error) {
	var list []store.ID
	err := t.Scan(store.KindSnapshot, self, "", func(id store.ID, _ []byte) bool {
		list = append(list, id[len(self):])
		return len(list) < maxSnapshots
	})
	return list, err
}

// written reads every extent of a drive's incarnation or of a snapshot, if they
// are few enough for one transaction.
func (t *txn) written(of store.ID) (map[int64]extentRow, error) {
	out := make(map[int64]extentRow)
	err := t.eachExtent(of, 0, maxDriveSize/chunkSize, func(chunk int64, x extentRow) bool {
		out[chunk] = x
		return len(out) <= maxExtents
	})
	if err == nil && len(out) > maxExtents {
		err = t.tooMuch("has more than 64 GiB written to it, too much for a snapshot or for putting it back")
	}
	return out, err
}

// keep writes a snapshot's extents and holds.
func (t *txn) keep(extents map[int64]extentRow, snapshot store.ID) error {
	for chunk, x := range extents {
		number := binary.BigEndian.AppendUint64(nil, uint64(chunk)) //nolint:gosec // never negative
		err := errors.Join(
			t.putExtent(extentID(snapshot, chunk), 1, &x),
			t.Put(store.KindHold, holdsOf(x.Blob)+snapshot, number))
		if err != nil {
			return err
		}
	}
	return nil
}

// ListSnapshots lists a drive's snapshots, newest first.
func (g *Gateway) ListSnapshots(ctx context.Context, call *Call, tenant, drive string, page Page) ([]Snapshot, string, error) {
	var list []Snapshot
	var next string
	a := &act{call: call, op: "gateway.ListSnapshots", tenant: tenant, drive: drive}
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		row, _, err := t.readDrive()
		if err != nil {
			return err
		}
		p, err := t.page(page, "snapshots", drive)
		if err != nil {
			return err
		}
		next, err = p.walk(t, store.KindSnapshot, row.Self, func(id store.ID, sealed []byte) (bool, error) {
			var s snapshotRow
			_, err := t.openRow(t.tk, store.KindSnapshot, id, sealed, &s)
			list = append(list, s.public(drive))
			return true, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// findSnapshot gives the identifier of one of a drive's snapshots, or NOT_FOUND.
func (t *txn) findSnapshot(self store.ID, name string) (store.ID, error) {
	id, malformed := uuid.Parse(name)
	if malformed != nil || id.String() != name { // no snapshot has such a name
		return "", residency.E(t.a.op, residency.NotFound, nil)
	}
	var row snapshotRow
	_, ok, err := t.getRow(t.tk, store.KindSnapshot, self+newestFirst(id), &row)
	if err == nil && !ok {
		err = residency.E(t.a.op, residency.NotFound, nil)
	}
	return newestFirst(id), err
}

// RestoreDrive puts a drive back to what a snapshot keeps. Reads that are under
// way go on with what they began with; writes that are under way are refused
// at their end with VERSION_MISMATCH.
func (g *Gateway) RestoreDrive(ctx context.Context, call *Call, req SnapshotCall) (Drive, error) {
	a := &act{call: call, op: "gateway.RestoreDrive", tenant: req.Tenant, drive: req.Drive, exclusive: true, inbound: true}
	var out Drive
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID {
			return t.tk.ID("restore-drive", req.Drive, req.Snapshot, expectation(req.Expected))
		}
		var err error
		out, err = t.changeDrive(req.Expected, req.RequestID, digest, func(row *driveRow, version uint64) (bool, error) {
			row.Updated = t.now
			return true, t.restore(row.Self, req.Snapshot, version)
		})
		return err
	})
	if err != nil {
		return Drive{}, err
	}
	return out, nil
}

// restore puts a snapshot's extents in place of the drive's.
func (t *txn) restore(self store.ID, snapshot string, version uint64) error {
	id, err := t.findSnapshot(self, snapshot)
	if err != nil {
		return err
	}
	kept, err := t.written(id)
	if err != nil {
		return err
	}
	now, err := t.written(self)
	if err != nil {
		return err
	}
	for chunk, x := range kept { // what stays as it is needs no writing
		if now[chunk] == x {
			delete(kept, chunk)
			delete(now, chunk)
		}
	}
	return t.replace(self, now, kept, version)
}

// replace puts extents in place of a drive's old ones; an old one without a new
// one goes. What nothing refers to after that is put on the agenda.
func (t *txn) replace(self store.ID, old, new map[int64]extentRow, version uint64) error {
	free, err := t.unheld(self, old) // before anything is written: a look among many own writes is slow
	if err != nil {
		return err
	}
	for chunk, x := range new {
		if err := t.putExtent(extentID(self, chunk), version, &x); err != nil {
			return err
		}
	}
	for chunk := range old {
		if _, ok := new[chunk]; ok {
			continue
		}
		if err := t.Delete(store.KindExtent, extentID(self, chunk)); err != nil {
			return err
		}
	}
	for chunk, x := range free {
		if err := t.dropBlob(self, chunk, x.Blob); err != nil {
			return err
		}
	}
	return nil
}

// unheld gives the extents of a drive whose blobs no snapshot holds. A drive
// without a snapshot is not looked at further: what the sweep of a deleted one
// still holds, nothing can bring back.
func (t *txn) unheld(self store.ID, extents map[int64]extentRow) (map[int64]extentRow, error) {
	snapshots, err := t.snapshotsOf(self)
	if err != nil || len(snapshots) == 0 {
		return extents, err
	}
	free := make(map[int64]extentRow, len(extents))
	for chunk, x := range extents {
		held, err := t.held(x.Blob)
		if err != nil {
			return nil, err
		}
		if !held {
			free[chunk] = x
		}
	}
	return free, nil
}

// DeleteSnapshot deletes a snapshot. Its row is gone when it returns; what it
// alone kept is swept after.
func (g *Gateway) DeleteSnapshot(ctx context.Context, call *Call, req SnapshotCall) error {
	a := &act{call: call, op: "gateway.DeleteSnapshot", tenant: req.Tenant, drive: req.Drive, exclusive: true, inbound: true}
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID("delete-snapshot", req.Drive, req.Snapshot) }
		found, err := t.replay(req.RequestID, digest, func([]byte) {})
		if found || err != nil {
			return err
		}
		row, _, err := t.readDrive()
		if err != nil {
			return err
		}
		id, err := t.findSnapshot(row.Self, req.Snapshot)
		if err != nil {
			return err
		}
		return errors.Join(t.dropSnapshot(row.Self, id), t.remember(req.RequestID, nil))
	})
	return err
}

// dropSnapshot deletes a snapshot's row and puts the rest of it on the agenda.
func (t *txn) dropSnapshot(self, snapshot store.ID) error {
	return errors.Join(
		t.Delete(store.KindSnapshot, self+snapshot),
		t.Schedule(store.Task{
			At: t.now, Tenant: t.home.tenant, Kind: store.TaskSweepSnapshot, ID: snapshot, Value: []byte(t.drive + self),
		}))
}

// dropSnapshots does so with all of a drive's.
func (t *txn) dropSnapshots(self store.ID) error {
	list, err := t.snapshotsOf(self)
	if err != nil {
		return err
	}
	for _, id := range list {
		if err := t.dropSnapshot(self, id); err != nil {
			return err
		}
	}
	return nil
}

// held reports whether a snapshot holds a blob.
func (t *txn) held(blob string) (bool, error) {
	held := false
	err := t.Scan(store.KindHold, holdsOf(blob), "", func(store.ID, []byte) bool {
		held = true
		return false
	})
	return held, err
}

// referred reports whether a snapshot holds a blob or its drive has it now.
func (t *txn) referred(self store.ID, chunk int64, blob string) (bool, error) {
	held, err := t.held(blob)
	if held || err != nil {
		return held, err
	}
	id := extentID(self, chunk)
	sealed, err := t.Get(store.KindExtent, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	x, err := t.openExtent(id, sealed)
	return x.Blob == blob, err
}

// release puts a chunk's blob on the agenda for deletion when nothing refers to
// it any more. The transaction has the drive's lock exclusively and has taken its
// own reference away.
func (t *txn) release(self store.ID, chunk int64, blob string) error {
	referred, err := t.referred(self, chunk, blob)
	if referred || err != nil {
		return err
	}
	return t.dropBlob(self, chunk, blob)
}

// sweepSnapshot deletes some of a deleted snapshot's extents and holds; it stays
// on the agenda until none is left.
func (t *txn) sweepSnapshot(task store.Task) error {
	if len(task.Value) != sweptValue {
		return residency.E(t.a.op, residency.IntegrityFailure, errors.New("a snapshot's sweep does not say of which drive"))
	}
	self := store.ID(task.Value[idSize:])
	found, err := t.someExtents(task.ID)
	if err != nil {
		return err
	}
	for _, x := range found {
		if err := t.Delete(store.KindExtent, x.id); err != nil {
			return err
		}
		if x.row.Blob == "" { // unreadable: the tenant's erasure takes its holds and blobs
			continue
		}
		if err := errors.Join(t.Delete(store.KindHold, holdsOf(x.row.Blob)+task.ID), t.release(self, x.chunk, x.row.Blob)); err != nil {
			return err
		}
	}
	if len(found) == sweepBatch {
		return nil
	}
	return t.Unschedule(task)
}
