package gateway

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func (w *world) snapshot(j residency.Jurisdiction, req SnapshotDrive) (Snapshot, *Call, error) {
	c := as(j, "SnapshotDrive", residency.Collect, residency.AccountData)
	out, err := w.g.SnapshotDrive(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) restore(j residency.Jurisdiction, req SnapshotCall) (Drive, *Call, error) {
	c := as(j, "RestoreDrive", residency.Collect, residency.AccountData)
	out, err := w.g.RestoreDrive(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) deleteSnapshot(j residency.Jurisdiction, req SnapshotCall) (*Call, error) {
	c := as(j, "DeleteSnapshot", residency.Erase, residency.VirtualDriveData)
	return c, w.g.DeleteSnapshot(w.t.Context(), c, req)
}

func (w *world) snapshots(j residency.Jurisdiction, tenant, drive string, page Page) ([]Snapshot, string, error) {
	return w.g.ListSnapshots(w.t.Context(), as(j, "ListSnapshots", residency.Use, residency.AccountData), tenant, drive, page)
}

// wantBytes fails unless a Swiss tenant's drive begins with some bytes.
func (w *world) wantBytes(drive string, offset int64, want string) {
	w.t.Helper()
	got, err := w.read(ch, "alpen", drive, offset, int64(len(want)))
	if err != nil || string(got) != want {
		w.t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func (w *world) mustWrite(drive string, offset int64, data string) DriveWritten {
	w.t.Helper()
	out, err := w.write(ch, "alpen", drive, offset, []byte(data))
	w.ok(err)
	return out
}

// withDrive is a world with a drive of 16 MiB that says "one" at its start and
// "far" in its third chunk.
func withDrive(t testing.TB, options ...option) *world {
	w := newWorld(t, options...)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 16<<20)
	w.mustWrite("d1", 0, "one")
	w.mustWrite("d1", 2*chunkSize, "far")
	return w
}

// settle lets all that is due later happen.
func (w *world) settle() {
	for range 3 {
		time.Sleep(2 * w.g.limits.StreamLifetime)
		w.g.sweepAll(w.t.Context())
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	w := withDrive(t)
	req := SnapshotDrive{Tenant: "alpen", Drive: "d1", Name: "before"}
	s, call, err := w.snapshot(ch, req)
	w.ok(err)
	if s.Drive != "d1" || s.Name != "before" || s.Version != 3 || s.Size != 16<<20 || s.Created.IsZero() || s.ID == "" || !call.Decision.Allow {
		t.Errorf("snapshot %+v, decision %+v", s, call.Decision)
	}
	w.mustWrite("d1", 0, "two")
	w.mustWrite("d1", chunkSize, "new")
	w.wantBytes("d1", 0, "two")
	d, call, err := w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID, Expected: ptr(uint64(5))})
	w.ok(err)
	if d.Version != 6 || d.Size != 16<<20 || !call.Decision.Allow {
		t.Errorf("restored %+v, decision %+v", d, call.Decision)
	}
	w.wantBytes("d1", 0, "one")
	w.wantBytes("d1", 2*chunkSize, "far")
	w.wantBytes("d1", chunkSize, "\x00\x00\x00") // the snapshot knew nothing of it
	w.mustWrite("d1", 1, "ther")
	w.wantBytes("d1", 0, "other")
	_, _, err = w.restore(us, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID}) // account data alone is told
	w.ok(err)
	w.wantBytes("d1", 0, "one\x00\x00")
}

func TestSnapshotsAreListed(t *testing.T) {
	w := withDrive(t)
	var want []string
	for i := range 7 {
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1", Name: fmt.Sprint("s", i)})
		w.ok(err)
		want = append([]string{s.Name}, want...)
		time.Sleep(2 * time.Millisecond) // identifiers are ordered by the millisecond
	}
	w.drive("alpen", "d2", 10)
	_, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d2", Name: "another drive's"})
	w.ok(err)
	var got []string
	page := Page{Size: 3}
	for {
		list, next, err := w.snapshots(us, "alpen", "d1", page)
		w.ok(err)
		for _, s := range list {
			got = append(got, s.Name)
		}
		if page.Token = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	_, next, err := w.snapshots(ch, "alpen", "d1", Page{Size: 3})
	w.ok(err)
	_, _, err = w.snapshots(ch, "alpen", "d2", Page{Token: next})
	w.wantKind(err, residency.BadRequest)
	_, _, err = w.snapshots(ch, "alpen", "d3", Page{})
	w.wantKind(err, residency.NotFound)
}

func TestSnapshotsRefuse(t *testing.T) {
	w := withDrive(t)
	s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
	w.ok(err)
	w.drive("alpen", "d2", 16<<20)
	type step struct {
		drive, snapshot string
		expected        *uint64
		want            residency.Kind
	}
	for name, tt := range map[string]step{
		"absent drive":            {"d3", s.ID, nil, residency.NotFound},
		"another drive's":         {"d2", s.ID, nil, residency.NotFound},
		"absent snapshot":         {"d1", newRequestID(), nil, residency.NotFound},
		"no identifier of ours":   {"d1", "latest", nil, residency.NotFound},
		"another way to write it": {"d1", strings.ToUpper(s.ID), nil, residency.NotFound},
		"another version":         {"d1", s.ID, ptr(uint64(1)), residency.VersionMismatch},
	} {
		_, _, err := w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: tt.drive, Snapshot: tt.snapshot, Expected: tt.expected})
		if residency.KindOf(err) != tt.want {
			t.Errorf("restore, %s: %v, want %v", name, err, tt.want)
		}
		if tt.expected == nil {
			_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: tt.drive, Snapshot: tt.snapshot})
			if residency.KindOf(err) != tt.want {
				t.Errorf("delete, %s: %v, want %v", name, err, tt.want)
			}
		}
	}
	_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d3"})
	w.wantKind(err, residency.NotFound)
	_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "nobody", Drive: "d1"})
	w.wantKind(err, residency.NotFound)
	w.suspend("alpen")
	_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
	w.wantKind(err, residency.TenantSuspended)
	_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
	w.wantKind(err, residency.TenantSuspended)
	_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
	w.wantKind(err, residency.TenantSuspended)
}

func TestSnapshotsRepeated(t *testing.T) {
	w := withDrive(t)
	req := SnapshotDrive{Tenant: "alpen", Drive: "d1", Name: "n", RequestID: newRequestID()}
	first, _, err := w.snapshot(ch, req)
	w.ok(err)
	w.mustWrite("d1", 0, "two")
	again, _, err := w.snapshot(ch, req)
	w.ok(err)
	if !again.Created.Equal(first.Created) || again.ID != first.ID || again.Version != first.Version || w.rows("ch", "alpen", store.KindSnapshot) != 1 {
		t.Errorf("first %+v, then %+v, %d of them", first, again, w.rows("ch", "alpen", store.KindSnapshot))
	}
	req.Name = "m"
	_, _, err = w.snapshot(ch, req)
	w.wantKind(err, residency.RequestIDReused)

	back := SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: first.ID, Expected: ptr(uint64(4)), RequestID: newRequestID()}
	restored, _, err := w.restore(ch, back)
	w.ok(err)
	w.mustWrite("d1", 0, "new")
	replayed, _, err := w.restore(ch, back)
	w.ok(err)
	if replayed.Version != restored.Version || !replayed.Updated.Equal(restored.Updated) {
		t.Errorf("restored %+v, then %+v", restored, replayed)
	}
	w.wantBytes("d1", 0, "new")

	gone := SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: first.ID, RequestID: newRequestID()}
	for range 2 {
		_, err = w.deleteSnapshot(ch, gone)
		w.ok(err)
	}
	gone.RequestID = ""
	_, err = w.deleteSnapshot(ch, gone)
	w.wantKind(err, residency.NotFound)
}

// wantQuota fails unless an error names the bound that would be passed.
func wantQuota(t *testing.T, err error, says string) {
	t.Helper()
	if residency.KindOf(err) != residency.QuotaExceeded || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want QUOTA_EXCEEDED, %s", err, says)
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	w := withDrive(t)
	var last Snapshot
	for range maxSnapshots {
		var err error
		last, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
	}
	_, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
	wantQuota(t, err, "delete one")
	_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: last.ID})
	w.ok(err)
	_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
	w.ok(err)
}

// A drive with more extents than one transaction takes is neither kept nor put back.
func TestSnapshotOfALargeDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no deadline is missed for want of processors
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", maxDriveSize)
		w.extents("d1", maxExtents)
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		if n := w.rows("ch", "alpen", store.KindHold); n != maxExtents {
			t.Errorf("%d holds", n)
		}
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		w.mustWrite("d1", maxExtents*chunkSize, "one more")
		_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		wantQuota(t, err, "64 GiB")
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		wantQuota(t, err, "64 GiB")
		if n := w.rows("ch", "alpen", store.KindSnapshot); n != 1 {
			t.Errorf("%d snapshots", n)
		}
	})
}

// extents makes the first chunks of a Swiss tenant's drive look written, without blobs.
func (w *world) extents(drive string, n int64) {
	w.t.Helper()
	region := &w.g.cfg.Regions[0]
	cluster := &region.Clusters[0]
	tenant := w.tenantKeys("alpen")
	tk, err := region.Vault.Tenant(w.t.Context(), tenant)
	w.ok(err)
	w.ok(cluster.Rows.Update(w.t.Context(), store.Scope{Tenant: tenant}, func(tx store.Tx) error {
		t := &txn{Tx: tx, ctx: w.t.Context(), g: w.g, tk: tk, a: &act{op: "test"}, drive: tk.ID("drive", drive)}
		row, version, err := t.readDrive()
		for chunk := range n {
			x := extentRow{Blob: fmt.Sprintf("%s/none/%06x", tenant, chunk), Length: 1}
			if err == nil {
				err = t.putExtent(extentID(row.Self, chunk), version, &x)
			}
		}
		return err
	}))
}

// A read that is under way goes on with what it began with, whatever is written,
// put back, deleted and swept meanwhile.
func TestReadKeepsItsImageAcrossARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		defer w.renewing()()
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		w.mustWrite("d1", 2*chunkSize, "two")
		var got []byte
		err = w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func(b []byte) error {
				if len(got) == 0 { // the third chunk's blob is not open yet
					_, _, err := w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
					w.ok(err)
					_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
					w.ok(err)
					w.mustWrite("d1", 2*chunkSize, "new")
					time.Sleep(50 * time.Minute)
					w.g.sweepAll(t.Context())
				}
				got = append(got, b...)
				return nil
			})
		w.ok(err)
		if !bytes.HasPrefix(got, []byte("one")) || string(got[2*chunkSize:2*chunkSize+3]) != "two" {
			t.Errorf("read %q … %q", got[:3], got[2*chunkSize:2*chunkSize+3])
		}
		w.settle()
		w.wantReferred("after all")
		w.wantBytes("d1", 2*chunkSize, "new")
	})
}

// A blob that a restore brings back, and that is replaced again, outlives the
// deletion that could have been due for its first replacement, or for the end of
// another snapshot.
func TestReplacedTwiceOutlivesTheFirstDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		defer w.renewing()()
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		other, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		w.mustWrite("d1", 2*chunkSize, "two")
		_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: other.ID})
		w.ok(err)
		w.g.sweepAll(t.Context())
		time.Sleep(40 * time.Minute)
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		w.g.sweepAll(t.Context())
		first := true
		err = w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
				if first {
					first = false
					w.mustWrite("d1", 2*chunkSize, "new")
					time.Sleep(30 * time.Minute)
					w.g.sweepAll(t.Context())
				}
				return nil
			})
		w.ok(err)
		w.settle()
		w.wantReferred("after all")
	})
}

// A write that began before a restore is refused at its end.
func TestWriteAcrossARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		defer w.renewing()()
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		finish := make(chan struct{})
		ended := w.writing("d1", finish)
		time.Sleep(time.Second)
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		close(finish)
		w.wantKind(<-ended, residency.VersionMismatch)
		w.wantBytes("d1", 0, "one")
		w.settle()
		w.wantReferred("after a refused write")
	})
}

// A write that began before a snapshot is not part of it, and is not refused for it.
func TestWriteAcrossASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		defer w.renewing()()
		finish := make(chan struct{})
		ended := w.writing("d1", finish)
		time.Sleep(time.Second)
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		close(finish)
		w.ok(<-ended)
		w.settle()
		w.wantReferred("after the write")
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		w.wantBytes("d1", 0, "one")
	})
}

// A deleted drive takes its snapshots with it, and everything that they kept.
func TestDeletedDriveTakesItsSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		for range 3 {
			_, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
			w.ok(err)
			w.mustWrite("d1", 0, "two")
		}
		kept, _, err := w.snapshots(ch, "alpen", "d1", Page{})
		w.ok(err)
		w.deleteDrive("alpen", "d1")
		w.drive("alpen", "d1", 16<<20)
		if list, _, err := w.snapshots(ch, "alpen", "d1", Page{}); err != nil || len(list) != 0 {
			t.Errorf("a new drive of the name has %d snapshots, %v", len(list), err)
		}
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: kept[0].ID})
		w.wantKind(err, residency.NotFound)
		w.settle()
		for _, kind := range []store.Kind{store.KindSnapshot, store.KindHold, store.KindExtent} {
			if n := w.rows("ch", "alpen", kind); n != 0 {
				t.Errorf("%d rows of kind %d are left", n, kind)
			}
		}
		if n := w.blobs("ch"); n != 0 {
			t.Errorf("%d blobs are left", n)
		}
	})
}

// The sweep of a large snapshot takes several transactions, and stops and goes on anywhere.
func TestSweepOfALargeSnapshotIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", maxDriveSize)
		w.extents("d1", 3*sweepBatch+5)
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		w.mem["ch"].Fail(storetest.OpUpdate, nth(2, storetest.FaultFail))
		w.g.sweepAll(t.Context())
		if n := w.rows("ch", "alpen", store.KindHold); n == 0 || n == 3*sweepBatch+5 {
			t.Errorf("%d holds are left of an interrupted sweep", n)
		}
		w.mem["ch"].Fail(storetest.OpUpdate, nth(1, storetest.FaultFailPersisted))
		w.settle()
		if n := w.rows("ch", "alpen", store.KindHold); n != 0 {
			t.Errorf("%d holds are left", n)
		}
		if n := w.rows("ch", "alpen", store.KindExtent); n != 3*sweepBatch+5 {
			t.Errorf("the drive has %d extents", n)
		}
	})
}

// nth is a fault at the nth time, counted from 1, and none else.
func nth(n int64, f storetest.Fault) func() storetest.Fault {
	var count atomic.Int64
	return func() storetest.Fault {
		if count.Add(1) == n {
			return f
		}
		return storetest.FaultNone
	}
}

// A deletion that is due for a blob that is referred to does not happen.
func TestReferredBlobsAreNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := withDrive(t)
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		w.mustWrite("d1", 0, "two") // one blob is the drive's, one the snapshot's, one both's
		tenant := w.tenantKeys("alpen")
		for blob, x := range w.referred() {
			w.ok(w.mem["ch"].Rows().Update(t.Context(), store.Scope{Tenant: tenant}, func(tx store.Tx) error {
				return tx.Schedule(store.Task{At: tx.Now(), Tenant: tenant, Kind: store.TaskDeleteBlob, ID: store.ID(blob), Value: []byte(x)})
			}))
		}
		w.settle()
		w.wantReferred("after deletions that were due by mistake")
		w.wantBytes("d1", 0, "two")
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.ok(err)
		w.wantBytes("d1", 0, "one")
	})
}

// referred lists the blobs that some extent of a Swiss tenant refers to, and the
// extent of the drive where they are or were.
func (w *world) referred() map[string]store.ID {
	w.t.Helper()
	region := &w.g.cfg.Regions[0]
	tk, err := region.Vault.Tenant(w.t.Context(), w.tenantKeys("alpen"))
	w.ok(err)
	out := make(map[string]store.ID)
	w.ok(w.mem["ch"].Rows().View(w.t.Context(), store.Scope{Tenant: w.tenantKeys("alpen")}, func(tx store.Tx) error {
		t := &txn{Tx: tx, g: w.g, tk: tk, a: &act{op: "test"}, drive: tk.ID("drive", "d1")}
		row, _, err := t.readDrive()
		if residency.KindOf(err) == residency.NotFound {
			err = nil
		}
		var failed error
		scanned := tx.Scan(store.KindExtent, "", "", func(id store.ID, sealed []byte) bool {
			var x extentRow
			if x, failed = t.openExtent(id, sealed); failed == nil {
				out[x.Blob] = row.Self + id[idSize:]
			}
			return failed == nil
		})
		return firstError(err, failed, scanned)
	}))
	return out
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wantReferred fails unless the region's blobs are those that an extent refers
// to, and each snapshot's extent has its hold.
func (w *world) wantReferred(when string) {
	w.t.Helper()
	if problem := w.unreferred(); problem != "" {
		w.t.Fatalf("%s: %s", when, problem)
	}
}

func (w *world) unreferred() string {
	w.t.Helper()
	var there []string
	w.ok(w.mem["ch"].Blobs().List(w.t.Context(), "", func(name string) bool { there = append(there, name); return true }))
	want := slices.Sorted(maps.Keys(w.referred()))
	if !slices.Equal(there, want) {
		return fmt.Sprintf("blobs %v, extents refer to %v", there, want)
	}
	return ""
}

func TestSnapshotRowComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := snapshotRow{
			ID: rapid.String().Draw(t, "id"), Name: rapid.String().Draw(t, "name"), Version: rapid.Uint64().Draw(t, "version"),
			Size: rapid.Int64Range(0, maxDriveSize).Draw(t, "size"), Created: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "created")).UTC(),
		}
		var got snapshotRow
		if err := decodeRow(encodeRow(&row), &got); err != nil || got.public("d") != row.public("d") {
			t.Fatalf("%+v became %+v, %v", row, got, err)
		}
		answer := driveAnswer{Drive: rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "drive"), Version: row.Version}
		var back driveAnswer
		if err := decodeRow(encodeRow(&answer), &back); err != nil || !bytes.Equal(back.Drive, answer.Drive) || back.Version != answer.Version {
			t.Fatalf("%+v became %+v, %v", answer, back, err)
		}
	})
}

// Without an entry there is no snapshot, and no change.
func TestSnapshotsWithoutAnEntry(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFull} {
		w := withDrive(t)
		s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.ok(err)
		w.mustWrite("d1", 0, "two")
		w.mem["ch"].Fail(storetest.OpAppend, storetest.Always(fault))
		_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		w.wantKind(err, residency.AuditUnavailable)
		_, _, err = w.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.wantKind(err, residency.AuditUnavailable)
		_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: s.ID})
		w.wantKind(err, residency.AuditUnavailable)
		w.mem["ch"].Fail(storetest.OpAppend, nil)
		w.wantBytes("d1", 0, "two")
		if list, _, err := w.snapshots(ch, "alpen", "d1", Page{}); err != nil || len(list) != 1 {
			t.Errorf("fault %d: %d snapshots, %v", fault, len(list), err)
		}
	}
}
