package gateway

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// checkedWorld is a world in which everything that is stored is there: a desk's tenant with people, drives and what governs
// disclosures, a tenant in the other region, one that was erased, a person who was; and a log of more than a tile.
type checkedWorld struct {
	*desk
	consent string
}

func newCheckedWorld(t *testing.T) *checkedWorld {
	t.Helper()
	w := &checkedWorld{desk: newDesk(t, ch, signed)}
	w.tenant("others", us)
	_, _, err := w.put(us, "others", aRecord("bob", "r1"), nil)
	w.ok(err)
	w.consent = w.person(w.id, "anna").ID
	w.grant(w.id, "", residency.VirtualDriveData, residency.ServiceProvision)
	w.govern()
	w.store()
	w.forget()
	for i := range 300 { // more than a tile
		_, _, err := w.get(ch, w.id, "anna", fmt.Sprint("none", i))
		w.wantKind(err, residency.NotFound)
	}
	w.g.sweepAll(t.Context())
	for _, region := range []residency.Region{"ch", "us"} {
		w.count(region)
	}
	w.ok(w.g.Prepare(t.Context()))
	w.witness("ch", "us")
	w.witness("us", "ch")
	return w
}

// witness lets a region's witness have seen the checkpoint that another's log has.
func (w *checkedWorld) witness(by, of residency.Region) {
	w.t.Helper()
	log, err := w.cluster(of).logNow(w.t.Context())
	w.ok(err)
	w.witnessed(by, witnessed{
		Of: string(of), Key: w.cluster(of).Signer.Verifier(), Size: log.Signed, Head: log.SignedHead, Seen: log.Checkpoint, SeenAt: log.SignedAt,
	})
}

// witnessed writes what a region's witness knows.
func (w *checkedWorld) witnessed(by residency.Region, seen witnessed) {
	w.t.Helper()
	id := witnessedRow(residency.Region(seen.Of), w.cluster(residency.Region(seen.Of)).Signer.Name())
	w.ok(w.cluster(by).Rows.Update(w.t.Context(), witnessScope, func(tx store.Tx) error {
		return tx.Put(store.KindWitnessed, id, encodeRow(&seen))
	}))
}

// govern records what governs disclosures, and discloses.
func (w *checkedWorld) govern() {
	w.t.Helper()
	w.register(aRecipient("billing", residency.Subcontractor, ch, contacts(residency.Payments)))
	w.register(aRecipient("police", residency.LawEnforcement, ch))
	w.discloses(Disclose{Recipient: "billing", Subject: "s1", Purpose: residency.Payments})
	_, err := w.notice(Notice{Subject: "s1", Recipient: "billing", Purposes: residency.PurposeSet(residency.Payments)})
	w.ok(err)
	_, err = w.notice(Notice{WholeTenant: true, Recipient: "billing", Purposes: residency.PurposeSet(residency.Payments)})
	w.ok(err)
	w.object(Objection{Subject: "anna", Recipient: "billing"})
	w.object(Objection{WholeTenant: true, Recipient: "police"})
	w.approved(w.anOrder())
	others := &desk{world: w.world, at: us, id: "others"}
	others.register(aRecipient("police", residency.LawEnforcement, us))
	_, err = others.informal(request("police"))
	w.ok(err)
	_, err = w.openCase(aCase())
	w.ok(err)
}

// store writes drives, keeps and puts back what they held, and deletes some.
func (w *checkedWorld) store() {
	w.t.Helper()
	for _, id := range []string{"d1", "d2", "gone"} {
		w.drive(w.id, id, 64<<20)
		_, err := w.write(ch, w.id, id, 0, make([]byte, 300<<10))
		w.ok(err)
		_, err = w.write(ch, w.id, id, 3*chunkSize-5, []byte("over the edge"))
		w.ok(err)
	}
	for range 2 {
		_, _, err := w.snapshot(ch, SnapshotDrive{Tenant: w.id, Drive: "d1"})
		w.ok(err)
	}
	s, _, err := w.snapshot(ch, SnapshotDrive{Tenant: w.id, Drive: "d1"})
	w.ok(err)
	_, err = w.write(ch, w.id, "d1", 0, []byte("changed"))
	w.ok(err)
	_, _, err = w.restore(ch, SnapshotCall{Tenant: w.id, Drive: "d1", Snapshot: s.ID})
	w.ok(err)
	_, err = w.write(ch, w.id, "d1", 0, []byte("changed again"))
	w.ok(err)
	_, err = w.deleteSnapshot(ch, SnapshotCall{Tenant: w.id, Drive: "d1", Snapshot: s.ID})
	w.ok(err)
	_, err = w.write(ch, w.id, "d2", 0, []byte("replaced"))
	w.ok(err)
	w.ok(w.g.DeleteDrive(w.t.Context(), as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData), DeleteDrive{Tenant: w.id, Drive: "gone"}))
}

// forget erases a person and a tenant, and lets a record go.
func (w *checkedWorld) forget() {
	w.t.Helper()
	w.person(w.id, "erased")
	_, _, err := w.eraseSubject(ch, w.id, "erased", newRequestID())
	w.ok(err)
	w.tenant("leaving", ch)
	w.person("leaving", "anna")
	w.drive("leaving", "d1", 1<<20)
	_, err = w.write(ch, "leaving", "d1", 0, []byte("data"))
	w.ok(err)
	_, _, err = w.eraseTenant(ch, "leaving", newRequestID())
	w.ok(err)
	w.ok(w.g.DeleteRecord(w.t.Context(), as(ch, "DeleteRecord", residency.Erase, residency.PersonalInformation),
		DeleteRecord{Tenant: w.id, Subject: "anna", Record: "r1"}))
}

// check checks the stores and gives what was found: the code, and what it is about.
func (w *checkedWorld) check(o FsckOptions) (found []Finding, checked FsckChecked) {
	w.t.Helper()
	checked, err := w.g.Fsck(w.t.Context(), o, func(f Finding) { found = append(found, f) })
	w.ok(err)
	return found, checked
}

func codesOf(found []Finding) []string {
	codes := make([]string, len(found))
	for i, f := range found {
		codes[i] = string(f.Code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func TestStoresThatAreWhole(t *testing.T) { synctest.Test(t, storesThatAreWhole) }

func storesThatAreWhole(t *testing.T) {
	w := newCheckedWorld(t)
	for _, o := range []FsckOptions{{}, {Deep: true}, {Region: "ch"}} {
		found, checked := w.check(o)
		if len(found) != 0 {
			t.Errorf("%+v: %+v", o, found)
		}
		if checked.Entries < 300 || checked.Tenants < 2 || checked.Placements < 2 || checked.Rows < 350 || checked.Blobs < 5 || checked.Keys < 5 || checked.Tasks == 0 {
			t.Errorf("%+v: it looked at %+v", o, checked)
		}
	}
	w.settle()
	w.sign("ch")
	if found, _ := w.check(FsckOptions{Deep: true}); len(found) != 0 {
		t.Errorf("once all is swept: %+v", found)
	}
}

func TestOnlyARegionThatIsServedIsChecked(t *testing.T) {
	w := newWorld(t)
	if _, err := w.g.Fsck(t.Context(), FsckOptions{Region: "de"}, func(Finding) {}); residency.KindOf(err) != residency.BadRequest {
		t.Fatalf("got %v", err)
	}
}

// A tenant's blobs that are too many to be held at once are looked at in shares.
func TestBlobsInShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSpoilt(t)
		for i := range 40 {
			_, err := w.world.write(ch, w.id, "d2", int64(i%8)*chunkSize, []byte("data"))
			w.ok(err)
		}
		w.sign("ch")
		_, whole := w.check(FsckOptions{})
		found, shares := w.check(FsckOptions{blobSet: 4})
		if len(found) != 0 || shares.Blobs != whole.Blobs || shares.Rows != whole.Rows {
			t.Errorf("found %+v; it looked at %+v, in one go at %+v", found, shares, whole)
		}
		w.setBlob(w.blobOf(), gone)
		w.setBlob(w.self.String()+"/stream/000000", something)
		if found, _ = w.check(FsckOptions{blobSet: 4}); !slices.Equal(codesOf(found), []string{string(BlobMissing), string(BlobOrphan)}) {
			t.Errorf("found %+v", found)
		}
	})
}

// Entries that were dropped are not missed: the tiles have their leaves.
func TestALogWhoseHeadWasDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSpoilt(t)
		w.ok(w.mem["ch"].Outbox().Drop(t.Context(), 256, 0))
		if found, _ := w.check(FsckOptions{}); len(found) != 0 {
			t.Errorf("found %+v", found)
		}
		w.setBlob(tileBlob(0, 0), flipped)
		if found, _ := w.check(FsckOptions{}); !slices.Equal(codesOf(found), []string{string(LogRoot), string(WitnessDiffers)}) {
			t.Errorf("a byte of the tile: found %+v", found)
		}
		w.setBlob(tileBlob(0, 0), gone)
		if found, _ := w.check(FsckOptions{}); !slices.Equal(codesOf(found), []string{string(TileMissing)}) {
			t.Errorf("without the tile: found %+v", found)
		}
	})
}
