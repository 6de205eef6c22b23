package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// spoilt is a checked world in which something is made wrong. What is made wrong is the Swiss region's.
type spoilt struct {
	*checkedWorld
	self store.Tenant
	tk   *seal.TenantKeys
}

func newSpoilt(t *testing.T) *spoilt {
	w := &spoilt{checkedWorld: newCheckedWorld(t)}
	w.self = w.tenantKeys(w.id)
	tk, err := w.g.region("ch").Vault.Tenant(t.Context(), w.self)
	w.ok(err)
	w.tk = tk
	return w
}

// update changes the tenant's rows.
func (w *spoilt) update(fn func(tx store.Tx) error) { w.updateOf(w.self, fn) }

func (w *spoilt) updateOf(t store.Tenant, fn func(tx store.Tx) error) {
	w.t.Helper()
	w.ok(w.mem["ch"].Rows().Update(context.Background(), store.Scope{Tenant: t, Exclusive: true}, fn))
}

// all reads the tenant's rows of a kind.
func (w *spoilt) all(kind store.Kind, prefix store.ID) (list []foundRow) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		return tx.Scan(kind, prefix, "", func(id store.ID, value []byte) bool {
			list = append(list, foundRow{id, bytes.Clone(value)})
			return true
		})
	})
	if len(list) == 0 {
		w.t.Fatalf("there is no row of kind %d", kind)
	}
	return list
}

func (w *spoilt) remove(kind store.Kind, id store.ID) {
	w.t.Helper()
	w.update(func(tx store.Tx) error { return tx.Delete(kind, id) })
}

func (w *spoilt) write(kind store.Kind, id store.ID, value []byte) {
	w.t.Helper()
	w.update(func(tx store.Tx) error { return tx.Put(kind, id, value) })
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

// flip changes a byte of the first row of a kind under a prefix.
func flip(kind store.Kind, prefix store.ID) func(*spoilt) {
	return func(w *spoilt) {
		r := w.all(kind, prefix)[0]
		w.write(kind, r.id, flipped(r.value))
	}
}

// drop removes the first row of a kind.
func drop(kind store.Kind) func(*spoilt) {
	return func(w *spoilt) { w.remove(kind, w.all(kind, "")[0].id) }
}

// swap puts the first two rows of a kind in one another's place.
func swap(kind store.Kind) func(*spoilt) {
	return func(w *spoilt) {
		rows := w.all(kind, "")
		w.write(kind, rows[0].id, rows[1].value)
		w.write(kind, rows[1].id, rows[0].value)
	}
}

// key gives the name of a key of the tenant.
func (w *spoilt) key(kind seal.KeyKind, id store.ID) string {
	name := append(w.self[:len(w.self):len(w.self)], byte(kind))
	if kind != seal.TenantKey {
		name = append(append(name, byte(len(id))), id...)
	}
	return string(name)
}

func (w *spoilt) wrapped(name string) []byte {
	w.t.Helper()
	b, err := w.mem["ch"].Keys().Get(context.Background(), name)
	w.ok(err)
	return b
}

// setKey puts wrapped bytes in place of a key; nil takes it away.
func (w *spoilt) setKey(name string, wrapped []byte) {
	w.t.Helper()
	keys := w.mem["ch"].Keys()
	if wrapped == nil {
		w.ok(keys.Destroy(context.Background(), name))
		return
	}
	w.ok(keys.Destroy(context.Background(), name))
	_, err := keys.Create(context.Background(), name, wrapped)
	w.ok(err)
}

func (w *spoilt) driveSelf() store.ID {
	w.t.Helper()
	row, _, err := (&txn{tk: w.tk, a: &act{op: "test"}}).openDrive(w.tk.ID("drive", "d1"), w.all(store.KindDrive, w.tk.ID("drive", "d1"))[0].value)
	w.ok(err)
	return row.Self
}

// blobOf gives the name of the blob of the first chunk of d1.
func (w *spoilt) blobOf() string {
	w.t.Helper()
	r := w.all(store.KindExtent, w.driveSelf())[0]
	x, err := (&txn{tk: w.tk, a: &act{op: "test"}}).openExtent(r.id, r.value)
	w.ok(err)
	return x.Blob
}

// setBlob puts bytes in place of a blob; nil takes it away.
func (w *spoilt) setBlob(name string, change func([]byte) []byte) {
	w.t.Helper()
	blobs := w.mem["ch"].Blobs()
	var b []byte
	if r, err := blobs.Open(context.Background(), name, 0, 64<<20); err == nil {
		b, _ = io.ReadAll(r)
		w.ok(r.Close())
	}
	w.ok(blobs.Delete(context.Background(), name))
	if b = change(b); b == nil {
		return
	}
	out, err := blobs.Create(context.Background(), name)
	w.ok(err)
	_, err = out.Write(b)
	w.ok(err)
	w.ok(out.Commit())
}

func gone([]byte) []byte { return nil }

func something([]byte) []byte { return []byte("something") }

// spoiltOutbox is an outbox in which entries are other than they were; nil = not there. Those behind last are lost.
type spoiltOutbox struct {
	store.Outbox
	entries map[uint64][]byte
	last    uint64 // 0 = none is lost
}

func (o *spoiltOutbox) Last(ctx context.Context) (uint64, error) {
	if o.last > 0 {
		return o.last, nil
	}
	return o.Outbox.Last(ctx)
}

func (o *spoiltOutbox) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	return o.Outbox.At(ctx, places, func(place uint64, entry []byte) bool {
		other, spoilt := o.entries[place]
		switch {
		case o.last > 0 && place > o.last || spoilt && other == nil:
			return true
		case spoilt:
			entry = other
		}
		return yield(place, entry)
	})
}

// entry makes the entry at a place another.
func (w *spoilt) entry(place uint64, change func([]byte) []byte) {
	w.t.Helper()
	c := w.cluster("ch")
	b, err := c.Outbox.Entry(context.Background(), place)
	w.ok(err)
	c.Outbox = &spoiltOutbox{Outbox: c.Outbox, entries: map[uint64][]byte{place: change(b)}}
}

// otherwise is an entry that says something else.
func otherwise(b []byte) []byte {
	e, err := audit.Parse(b)
	if err != nil {
		panic(err)
	}
	e.Gateway = "another"
	return e.Append(nil)
}

// foreign is an entry as another region's log could have it.
func foreign(b []byte) []byte {
	e, err := audit.Parse(b)
	if err != nil {
		panic(err)
	}
	e.Region = "us"
	return e.Append(nil)
}

// changeLog changes the row that says how far the log goes.
func (w *spoilt) changeLog(change func(*logState)) {
	w.t.Helper()
	w.updateOf(store.Tenant{}, func(tx store.Tx) error {
		s, err := readLog(tx)
		if err != nil {
			return err
		}
		change(&s)
		return tx.Put(store.KindLog, "", encodeRow(&s))
	})
}

// placed changes the tenant's placement.
func (w *spoilt) placed(change func(*store.Placement)) {
	w.t.Helper()
	old, err := w.dir.Directory().Find(context.Background(), w.self)
	w.ok(err)
	now := old
	change(&now)
	w.ok(w.dir.Directory().Update(context.Background(), w.self, old, now))
}

// unknown makes the directory forget the tenant.
func (w *spoilt) unknown() {
	w.t.Helper()
	fresh := storetest.NewMemory(time.Now).Directory()
	for _, r := range []residency.Region{"ch", "us"} {
		w.ok(w.dir.Directory().List(context.Background(), r, store.Tenant{}, func(t store.Tenant, p store.Placement) bool {
			if t != w.self {
				_, err := fresh.Reserve(context.Background(), t, p)
				w.ok(err)
			}
			return true
		}))
	}
	w.g.cfg.Directory = fresh
}

// eraseAnna erases a person, to whom something comes back that was read before.
func (w *spoilt) eraseAnna() {
	w.t.Helper()
	_, _, err := w.eraseSubject(ch, w.id, "anna", newRequestID())
	w.ok(err)
	w.g.sweepAll(context.Background())
	w.sign("ch")
}

func anID() store.ID {
	id := uuid.New()
	return store.ID(id[:])
}

// spoiling is a way in which stores come to be wrong, and what is found.
type spoiling struct {
	name  string
	spoil func(w *spoilt)
	want  []FsckCode // a code once for each finding
}

func spoiltRows() []spoiling {
	list := []spoiling{
		{"two consents changed places", swap(store.KindConsent), []FsckCode{RowDamaged, RowDamaged}},
		{"two extents changed places", swap(store.KindExtent), []FsckCode{RowDamaged, RowDamaged}},
		{"a subject's row is gone", func(w *spoilt) { w.remove(store.KindSubject, w.subjectID(w.id, "s1")) }, []FsckCode{SubjectMissing}},
		{"a subject's records are gone", func(w *spoilt) {
			subject := w.subjectID(w.id, "s1")
			for _, r := range w.all(store.KindRecord, subject) {
				w.remove(store.KindRecord, r.id)
			}
			for _, r := range w.all(store.KindLookup, "") {
				if r.id[idSize:2*idSize] == subject {
					w.remove(store.KindLookup, r.id)
				}
			}
		}, []FsckCode{SubjectEmpty}},
		{"a lookup is gone", drop(store.KindLookup), []FsckCode{LookupMissing}},
		{"a lookup leads nowhere", func(w *spoilt) { w.write(store.KindLookup, anID()+anID()+anID(), nil) }, []FsckCode{LookupOrphan}},
		{"a lookup leads to a record that has another", func(w *spoilt) { w.write(store.KindLookup, anID()+w.all(store.KindRecord, "")[0].id, nil) }, []FsckCode{LookupOrphan}},
		{"a record is gone", func(w *spoilt) { w.remove(store.KindRecord, w.all(store.KindRecord, w.subjectID(w.id, "s1"))[0].id) }, []FsckCode{LookupOrphan, LookupOrphan}},
		{"a consent's index is gone", drop(store.KindConsentID), []FsckCode{IndexMissing}},
		{"a consent is gone", drop(store.KindConsent), []FsckCode{IndexOrphan}},
		{"a disclosure is gone", drop(store.KindDisclosure), []FsckCode{IndexOrphan}},
		{"an objection's index is gone", func(w *spoilt) { w.remove(store.KindObjection, w.all(store.KindObjection, allScopes)[0].id) }, []FsckCode{IndexMissing}},
		{"a decision leads to another's entry", func(w *spoilt) {
			r := w.all(store.KindDecision, "")[0]
			w.write(store.KindDecision, r.id, binary.BigEndian.AppendUint64(nil, 1))
		}, []FsckCode{DecisionDamaged}},
		{"a decision leads behind the last entry", func(w *spoilt) {
			r := w.all(store.KindDecision, "")[0]
			w.write(store.KindDecision, r.id, binary.BigEndian.AppendUint64(r.value, 1<<40))
		}, []FsckCode{DecisionDamaged}},
		{"an erasure is cut short", func(w *spoilt) {
			for _, r := range w.all(store.KindErasure, "") {
				if len(r.id) == idSize {
					w.write(store.KindErasure, r.id, r.value[:3])
				}
			}
		}, []FsckCode{RowDamaged}},
		{"a stream that nobody closes", func(w *spoilt) {
			entry := w.entries("ch")[0]
			entry.Place = 1
			id, err := uuid.Parse(entry.DecisionID)
			w.ok(err)
			row := streamRow{Intent: entry.Append(nil), Renewed: time.Now(), Check: time.Now()}
			w.write(store.KindStream, newestFirst(id), row.encode())
		}, []FsckCode{TaskMissing}},
	}
	for kind, prefix := range map[store.Kind]store.ID{
		store.KindTenant: "", store.KindSubject: "", store.KindRecord: "", store.KindConsent: "", store.KindConsentID: "", store.KindDrive: "",
		store.KindExtent: "", store.KindRestriction: "", store.KindRecipient: "", store.KindNotice: "", store.KindObjection: wholeTenant,
		store.KindOrder: "", store.KindCase: "", store.KindDisclosure: "", store.KindSnapshot: "",
	} {
		want := []FsckCode{RowDamaged}
		if kind == store.KindConsentID { // its value is where the consent is
			want = []FsckCode{IndexMissing, IndexOrphan}
		}
		list = append(list, spoiling{"a byte of a row of kind " + string(rune('0'+kind/10)) + string(rune('0'+kind%10)), flip(kind, prefix), want})
	}
	return list
}

func spoiltDrives() []spoiling {
	return []spoiling{
		{"a drive's row is gone", func(w *spoilt) { w.remove(store.KindDrive, w.tk.ID("drive", "d1")) }, []FsckCode{DriveMissing}},
		{"an extent of nothing", func(w *spoilt) {
			id := extentID(anID(), 0)
			x := extentRow{Blob: w.self.String() + "/stream/000000", Length: 1}
			w.write(store.KindExtent, id, w.tk.SealFact(store.KindExtent, id, 1, x.encode()))
		}, []FsckCode{ExtentOrphan}},
		{"a hold is gone", drop(store.KindHold), []FsckCode{HoldMissing}},
		{"a hold for nothing", func(w *spoilt) { w.write(store.KindHold, anID()+anID(), make([]byte, 8)) }, []FsckCode{HoldOrphan}},
		{"a hold on another blob", func(w *spoilt) {
			r := w.all(store.KindHold, "")[0]
			w.write(store.KindHold, anID()+r.id[idSize:], r.value)
		}, []FsckCode{HoldOrphan}},
		{"a blob is gone", func(w *spoilt) { w.setBlob(w.blobOf(), gone) }, []FsckCode{BlobMissing}},
		{"a blob's byte", func(w *spoilt) { w.setBlob(w.blobOf(), flipped) }, []FsckCode{BlobDamaged}},
		{"a blob is cut short", func(w *spoilt) { w.setBlob(w.blobOf(), func(b []byte) []byte { return b[:len(b)-1] }) }, []FsckCode{BlobDamaged}},
		{"a blob that nothing refers to", func(w *spoilt) { w.setBlob(w.self.String()+"/stream/000000", something) }, []FsckCode{BlobOrphan}},
		{"a blob of nobody", func(w *spoilt) { w.setBlob(store.Tenant{1}.String()+"/stream/000000", something) }, []FsckCode{BlobStray}},
		{"a blob that is no gateway's", func(w *spoilt) { w.setBlob("letters/one", something) }, []FsckCode{BlobStray}},
	}
}

func spoiltKeys() []spoiling {
	subject := func(w *spoilt) string { return w.key(seal.SubjectKey, w.subjectID(w.id, "s1")) }
	drive := func(w *spoilt) string { return w.key(seal.DriveKey, w.driveSelf()) }
	tenant := func(w *spoilt) string { return w.key(seal.TenantKey, "") }
	lose := func(name func(*spoilt) string) func(*spoilt) { return func(w *spoilt) { w.setKey(name(w), nil) } }
	damage := func(name func(*spoilt) string) func(*spoilt) {
		return func(w *spoilt) { w.setKey(name(w), flipped(w.wrapped(name(w)))) }
	}
	return []spoiling{
		{"a subject's key is gone", lose(subject), []FsckCode{KeyMissing}},
		{"a drive's key is gone", lose(drive), []FsckCode{KeyMissing}},
		{"a tenant's key is gone", lose(tenant), []FsckCode{KeyMissing}},
		{"a subject's key is damaged", damage(subject), []FsckCode{KeyDamaged}},
		{"a drive's key is damaged", damage(drive), []FsckCode{KeyDamaged}},
		{"a tenant's key is damaged", damage(tenant), []FsckCode{KeyDamaged}},
		{"a key of nobody", func(w *spoilt) {
			_, err := w.g.region("ch").Vault.CreateSubject(context.Background(), w.tk, anID())
			w.ok(err)
		}, []FsckCode{KeyUnused}},
		{"a key of no drive", func(w *spoilt) {
			_, err := w.g.region("ch").Vault.CreateDrive(context.Background(), w.tk, anID())
			w.ok(err)
		}, []FsckCode{KeyUnused}},
		{"a key of no tenant", func(w *spoilt) {
			_, err := w.g.region("ch").Vault.CreateTenant(context.Background(), store.Tenant{1})
			w.ok(err)
		}, []FsckCode{KeyUnused}},
		{"an erased subject's key came back", func(w *spoilt) {
			name := w.key(seal.SubjectKey, w.subjectID(w.id, "anna"))
			was := w.wrapped(name)
			w.eraseAnna()
			w.setKey(name, was)
		}, []FsckCode{ErasedKey}},
		{"an erased subject's record came back", func(w *spoilt) {
			r := w.all(store.KindRecord, w.subjectID(w.id, "anna"))[0]
			w.eraseAnna()
			w.write(store.KindRecord, r.id, r.value)
		}, []FsckCode{ErasedRows}},
		{"an erased tenant's row came back", func(w *spoilt) {
			w.updateOf(w.tenantKeys("leaving"), func(tx store.Tx) error { return tx.Put(store.KindTenant, "", []byte("row")) })
		}, []FsckCode{ErasedRows}},
		{"the ledger has forgotten", func(w *spoilt) {
			name := append(append(make([]byte, idSize), 1), w.self[:]...)
			w.setKey(string(append(append(name, idSize), w.subjectID(w.id, "erased")...)), nil)
		}, []FsckCode{LedgerMissing}},
		{"an erasure that nobody ends", func(w *spoilt) {
			for _, r := range w.all(store.KindErasure, "") {
				var row erasureRow
				if len(r.id) == idSize && decodeRow(r.value, &row) == nil {
					row.State = ErasureSweeping
					w.write(store.KindErasure, r.id, encodeRow(&row))
				}
			}
		}, []FsckCode{TaskMissing}},
	}
}

func spoiltPlaces() []spoiling {
	return []spoiling{
		{"the directory has forgotten", (*spoilt).unknown, []FsckCode{DirectoryMissing}},
		{"another cluster", func(w *spoilt) { w.placed(func(p *store.Placement) { p.Cluster = "ch-9" }) }, []FsckCode{DirectoryDiffers}},
		{"another epoch", func(w *spoilt) { w.placed(func(p *store.Placement) { p.Epoch = 7 }) }, []FsckCode{EpochDiffers}},
		{"only reserved", func(w *spoilt) { w.placed(func(p *store.Placement) { p.State = store.PlacementReserved }) }, []FsckCode{DirectoryReserved}},
		{"reserved for nobody", func(w *spoilt) {
			_, err := w.dir.Directory().Reserve(context.Background(), store.Tenant{1}, store.Placement{
				Region: "ch", Cluster: "ch-1", Epoch: 1, State: store.PlacementReserved, Time: time.Now(),
			})
			w.ok(err)
		}, []FsckCode{ReservationStale}},
		{"placed and not there", func(w *spoilt) {
			_, err := w.dir.Directory().Reserve(context.Background(), store.Tenant{1}, store.Placement{
				Region: "ch", Cluster: "ch-1", Epoch: 1, State: store.PlacementActive, Time: time.Now(),
			})
			w.ok(err)
		}, []FsckCode{TenantMissing}},
		{"the tenant's row is gone", drop(store.KindTenant), []FsckCode{TenantMissing}},
		{"a task of nobody", func(w *spoilt) {
			w.updateOf(store.Tenant{1}, func(tx store.Tx) error {
				return tx.Schedule(store.Task{At: time.Now().Add(time.Hour), Tenant: store.Tenant{1}, Kind: store.TaskForgetRequest, ID: "a"})
			})
		}, []FsckCode{TaskOrphan}},
	}
}

func spoiltLogs() []spoiling {
	const full, partial = 100, 300 // places in a tile that is full, and in one that is not
	entry := func(place uint64, change func([]byte) []byte) func(*spoilt) {
		return func(w *spoilt) { w.entry(place, change) }
	}
	return []spoiling{
		{"how far the log goes", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error { return tx.Put(store.KindLog, "", []byte("?")) })
		}, []FsckCode{LogDamaged}},
		{"entries at the end are lost", func(w *spoilt) {
			c := w.cluster("ch")
			c.Outbox = &spoiltOutbox{Outbox: c.Outbox, last: partial}
		}, []FsckCode{LogAhead}},
		{"another root", func(w *spoilt) {
			w.changeLog(func(s *logState) {
				s.Edge[1] = flipped(s.Edge[1])
				s.Head = s.Root()
			})
		}, []FsckCode{LogRoot}},
		{"another root was signed", func(w *spoilt) {
			w.changeLog(func(s *logState) {
				s.SignedHead[0] ^= 1
				s.Checkpoint, _ = w.cluster("ch").Signer.Checkpoint(s.Signed, s.SignedHead)
			})
		}, []FsckCode{LogRoot}},
		{"an entry is gone from a full tile", entry(full, gone), []FsckCode{EntryMissing}},
		{"an entry is gone from the last tile", entry(partial, gone), []FsckCode{EntryMissing}},
		{"an entry of a full tile is damaged", entry(full, something), []FsckCode{EntryDamaged}},
		{"an entry of the last tile is damaged", entry(partial, something), []FsckCode{EntryDamaged}},
		{"an entry of a full tile is another region's", entry(full, foreign), []FsckCode{EntryDamaged}},
		{"an entry of a full tile is another", entry(full, otherwise), []FsckCode{EntryChanged}},
		{"an entry of the last tile is another", entry(partial, otherwise), []FsckCode{EntryChanged}},
		{"a tile is gone", func(w *spoilt) { w.setBlob(tileBlob(0, 0), gone) }, []FsckCode{TileMissing}},
		{"a tile's byte", func(w *spoilt) { w.setBlob(tileBlob(0, 0), flipped) }, []FsckCode{TileDamaged}},
		{"a tile is cut short", func(w *spoilt) { w.setBlob(tileBlob(0, 0), func(b []byte) []byte { return b[:32] }) }, []FsckCode{TileDamaged}},
		{"another key's checkpoint", func(w *spoilt) {
			other, err := audit.NewSigner(w.cluster("ch").Signer.Name(), bytes.Repeat([]byte{9}, audit.SeedSize))
			w.ok(err)
			w.changeLog(func(s *logState) { s.Checkpoint, _ = other.Checkpoint(s.Signed, s.SignedHead) })
		}, []FsckCode{CheckpointDamaged}},
		{"a checkpoint of another size", func(w *spoilt) {
			w.changeLog(func(s *logState) { s.Checkpoint, _ = w.cluster("ch").Signer.Checkpoint(s.Signed-1, s.SignedHead) })
		}, []FsckCode{CheckpointDamaged}},
	}
}

// Every code is found where it belongs, and nothing else is.
func TestStoresThatAreSpoilt(t *testing.T) {
	all := slices.Concat(spoiltRows(), spoiltDrives(), spoiltKeys(), spoiltPlaces(), spoiltLogs(), spoiltUsage(), spoiltOwn())
	codes := make(map[FsckCode]bool)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSpoilt(t)
				s.spoil(w)
				time.Sleep(2 * seal.MaxAge) // no key is remembered, and no reservation is fresh
				found, checked := w.check(FsckOptions{Deep: true})
				got := make([]FsckCode, len(found))
				leftovers := uint64(0)
				for i, f := range found {
					got[i] = f.Code
					if f.Code.Severity() == Leftover {
						leftovers++
					}
					if f.Region != "ch" || f.What == "" || f.Detail == "" || f.Code.Do() == "" {
						t.Errorf("%+v", f)
					}
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(s.want))
				if !slices.Equal(got, want) {
					t.Errorf("found %+v, want %q", found, want)
				}
				if checked.Leftovers != leftovers || checked.Damage != uint64(len(found))-leftovers {
					t.Errorf("of %d findings it counted %+v", len(found), checked)
				}
			})
		})
		for _, code := range s.want {
			codes[code] = true
		}
	}
	for _, code := range FsckCodes() {
		if !codes[code] {
			t.Errorf("nothing is spoilt so that %s is found", code)
		}
	}
	if len(codes) != len(FsckCodes()) {
		t.Errorf("codes that are not listed: %v", slices.Sorted(maps.Keys(codes)))
	}
}
