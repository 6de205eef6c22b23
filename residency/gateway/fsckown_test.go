package gateway

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// own changes a row of the Swiss cluster's own; nil takes it away.
func (w *spoilt) own(kind store.Kind, id store.ID, change func([]byte) []byte) {
	w.t.Helper()
	w.updateOf(store.Tenant{}, func(tx store.Tx) error {
		b, err := tx.Get(kind, id)
		if err != nil {
			return err
		}
		if b = change(b); b == nil {
			return tx.Delete(kind, id)
		}
		return tx.Put(kind, id, b)
	})
}

// owns gives the identifiers of the Swiss cluster's own rows of a kind.
func (w *spoilt) owns(kind store.Kind) (ids []store.ID) {
	w.t.Helper()
	w.updateOf(store.Tenant{}, func(tx store.Tx) error {
		return tx.Scan(kind, "", "", func(id store.ID, _ []byte) bool {
			if id != "" {
				ids = append(ids, id)
			}
			return true
		})
	})
	if len(ids) == 0 {
		w.t.Fatalf("the cluster has no row of kind %d", kind)
	}
	return ids
}

// counted changes how far the log is said to be counted.
func counted(change func(*usageState)) func(*spoilt) {
	return func(w *spoilt) {
		_, s := w.billed("ch")
		change(&s)
		setUsage(w.world, &s)
	}
}

// total changes a total that is of reads of records.
func total(change func(*volume)) func(*spoilt) {
	return func(w *spoilt) {
		for _, id := range w.owns(store.KindUsage) {
			done := false
			w.own(store.KindUsage, id, func(b []byte) []byte {
				u, err := decodeUsage(b)
				w.ok(err)
				if v := &u[residency.PersonalInformation][DirectionWrite]; v.Calls > 0 {
					change(v)
					done = true
				}
				return u.encode()
			})
			if done {
				return
			}
		}
		w.t.Fatal("nothing was written")
	}
}

func spoiltUsage() []spoiling {
	lose := func([]byte) []byte { return nil }
	return []spoiling{
		{"how far the log is counted is gone", func(w *spoilt) { setUsage(w.world, nil) }, []FsckCode{UsageStateMissing}},
		{"all of the usage is gone, and entries were dropped", func(w *spoilt) {
			setUsage(w.world, nil)
			for _, id := range w.owns(store.KindUsage) {
				w.own(store.KindUsage, id, lose)
			}
			w.ok(w.mem["ch"].Outbox().Drop(context.Background(), 256, 0))
		}, []FsckCode{UsageStateMissing}},
		{"how far the log is counted", func(w *spoilt) { w.own(store.KindUsage, "", something) }, []FsckCode{UsageDamaged}},
		{"counted up to before its beginning", counted(func(s *usageState) { s.From, s.Through = 9, 8 }), []FsckCode{UsageDamaged}},
		{"counted from nowhere", counted(func(s *usageState) { s.From = 0 }), []FsckCode{UsageDamaged}},
		{"counted beyond the checkpoint", counted(func(s *usageState) { s.Through++ }), []FsckCode{UsageDamaged}},
		{"counted from behind the beginning", func(w *spoilt) {
			counted(func(s *usageState) { s.From = s.Through })(w)
			for _, id := range w.owns(store.KindUsage)[1:] {
				w.own(store.KindUsage, id, lose)
			}
			w.own(store.KindUsage, w.owns(store.KindUsage)[0], lose)
		}, []FsckCode{UsageDamaged}},
		{"a total is gone", func(w *spoilt) { w.own(store.KindUsage, w.owns(store.KindUsage)[0], lose) }, []FsckCode{UsageDiffers}},
		{"a byte less is billed", total(func(v *volume) { v.Bytes-- }), []FsckCode{UsageDiffers}},
		{"a call more is billed", total(func(v *volume) { v.Calls++ }), []FsckCode{UsageDiffers}},
		{"a total that says nothing", func(w *spoilt) { w.own(store.KindUsage, w.owns(store.KindUsage)[0], something) }, []FsckCode{UsageDamaged}},
		{"a total of no day", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error { return tx.Put(store.KindUsage, "total", (&dayUsage{}).encode()) })
		}, []FsckCode{UsageDamaged}},
		{"a total of nobody", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error {
				return tx.Put(store.KindUsage, usageID([idSize]byte{1}, dayOf(time.Now())), (&dayUsage{}).encode())
			})
		}, []FsckCode{UsageDiffers}},
		{"a total of a day to come", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error {
				return tx.Put(store.KindUsage, usageID([idSize]byte{1}, dayOf(time.Now())+9), (&dayUsage{}).encode())
			})
		}, []FsckCode{UsageDamaged}},
	}
}

func spoiltOwn() []spoiling {
	lose := func([]byte) []byte { return nil }
	seen := func(change func(w *spoilt, seen *witnessed)) func(*spoilt) { // by the witness of the other region
		return func(w *spoilt) {
			log, err := w.cluster("ch").logNow(context.Background())
			w.ok(err)
			is := witnessed{Of: "ch", Key: w.cluster("ch").Signer.Verifier(), Size: log.Signed, Head: log.SignedHead, SeenAt: log.SignedAt}
			change(w, &is)
			is.Seen, err = w.cluster("ch").Signer.Checkpoint(is.Size, is.Head)
			w.ok(err)
			w.witnessed("us", is)
		}
	}
	policyRowOf := func(change func(*policyRow)) func(*spoilt) {
		return func(w *spoilt) {
			w.own(store.KindPolicy, w.owns(store.KindPolicy)[0], func(b []byte) []byte {
				var r policyRow
				w.ok(decodeRow(b, &r))
				change(&r)
				return encodeRow(&r)
			})
		}
	}
	return []spoiling{
		{"how far the tree goes is gone", func(w *spoilt) {
			w.own(store.KindLog, "", lose)
		}, []FsckCode{LogStateMissing}},
		{"how far the tree goes is gone, and what is counted", func(w *spoilt) {
			w.own(store.KindLog, "", lose)
			setUsage(w.world, &usageState{})
			for _, id := range w.owns(store.KindUsage) {
				w.own(store.KindUsage, id, lose)
			}
			w.ok(w.mem["ch"].Outbox().Drop(context.Background(), 256, 0))
		}, []FsckCode{LogStateMissing, UsageStateMissing}},
		{"how far the tree goes is gone, and all that is counted, and nothing was dropped", func(w *spoilt) {
			w.own(store.KindLog, "", lose)
			setUsage(w.world, &usageState{})
			for _, id := range w.owns(store.KindUsage) {
				w.own(store.KindUsage, id, lose)
			}
			w.setBlob(tileBlob(0, 16), something)
		}, []FsckCode{LogStateMissing}},
		{"a part of a bundle was dropped", func(w *spoilt) { w.ok(w.mem["ch"].Outbox().Drop(context.Background(), 100, 0)) }, []FsckCode{LogFirst}},
		{"what is not signed was dropped", func(w *spoilt) {
			w.changeLog(func(s *logState) {
				s.Signed, s.Checkpoint = 0, nil
			})
			setUsage(w.world, &usageState{})
			for _, id := range w.owns(store.KindUsage) {
				w.own(store.KindUsage, id, lose)
			}
			w.ok(w.mem["ch"].Outbox().Drop(context.Background(), 256, 0))
		}, []FsckCode{LogFirst, UsageStateMissing}},
		{"what is not counted was dropped", func(w *spoilt) {
			counted(func(s *usageState) { s.Through = 255 })(w)
			w.ok(w.mem["ch"].Outbox().Drop(context.Background(), 256, 0))
		}, []FsckCode{LogFirst}},
		{"what a witness has seen", func(w *spoilt) { w.own(store.KindWitnessed, w.owns(store.KindWitnessed)[0], something) }, []FsckCode{WitnessDamaged}},
		{"a witness has seen another log in its place", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error {
				b, err := tx.Get(store.KindWitnessed, w.usLog())
				w.ok(err)
				return tx.Put(store.KindWitnessed, anID(), b)
			})
		}, []FsckCode{WitnessDamaged}},
		{"a witness has kept another size", func(w *spoilt) {
			w.own(store.KindWitnessed, w.usLog(), func(b []byte) []byte {
				var is witnessed
				w.ok(decodeRow(b, &is))
				is.Size++
				return encodeRow(&is)
			})
		}, []FsckCode{WitnessDamaged}},
		{"a witness has seen another root", seen(func(_ *spoilt, is *witnessed) { is.Size, is.Head[0] = is.Size-10, is.Head[0]^1 }), []FsckCode{WitnessDiffers}},
		{"a witness has seen more", seen(func(_ *spoilt, is *witnessed) { is.Size += 10 }), []FsckCode{WitnessDiffers}},
		{"what a witness had seen of a log that it forgot", func(w *spoilt) {
			_, err := ForgetLog(context.Background(), w.cluster("ch").Rows, "us", w.cluster("us").Signer.Name())
			w.ok(err)
			if found, _ := w.check(FsckOptions{}); len(found) != 0 {
				w.t.Errorf("a log that was forgotten: found %+v", found)
			}
			id := w.owns(store.KindForgotten)[0]
			w.updateOf(store.Tenant{}, func(tx store.Tx) error {
				b, err := tx.Get(store.KindForgotten, id)
				w.ok(err)
				return tx.Put(store.KindForgotten, id[:idSize]+"12345678", b)
			})
		}, []FsckCode{WitnessDamaged}},
		{"a policy version", func(w *spoilt) { w.own(store.KindPolicy, w.owns(store.KindPolicy)[0], something) }, []FsckCode{PolicyDamaged}},
		{"a policy version without a digest", policyRowOf(func(r *policyRow) { r.Digest = "" }), []FsckCode{PolicyDamaged}},
		{"a policy version in another's place", policyRowOf(func(r *policyRow) { r.Version += "x" }), []FsckCode{PolicyDamaged}},
		{"a policy version in force before its time", policyRowOf(func(r *policyRow) { r.Recorded = r.Effective.Add(-1) }), []FsckCode{PolicyDamaged}},
		{"a policy version of another file", policyRowOf(func(r *policyRow) { r.Digest = "0" + r.Digest[1:] + "0" }), []FsckCode{PolicyDiffers}},
		{"an announcement of nobody", func(w *spoilt) {
			w.updateOf(store.Tenant{}, func(tx store.Tx) error {
				r := policyRow{Version: "v9", Digest: "d"}
				return tx.Put(store.KindAnnounced, announcementID(&r), encodeRow(&r))
			})
		}, []FsckCode{PolicyDamaged}},
	}
}

// usLog names the row of what the Swiss region's witness knows of the other's log.
func (w *spoilt) usLog() store.ID { return witnessedRow("us", w.cluster("us").Signer.Name()) }

// countsMeanwhile is an outbox behind which a leader counts, right before the entries are read.
type countsMeanwhile struct {
	store.Outbox
	count func()
}

func (o *countsMeanwhile) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	o.count()
	return o.Outbox.At(ctx, places, yield)
}

// A total to which a leader adds during the check is no finding, nor is one that the sums were too many for; one that lacks something is.
func TestTotalsThatGrowMeanwhile(t *testing.T) {
	for name, o := range map[string]FsckOptions{"all at once": {}, "one sum at a time": {usageSet: 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSpoilt(t)
				_, before := w.billed("ch")
				c := w.cluster("ch")
				own := *c
				c.Outbox = &countsMeanwhile{Outbox: c.Outbox, count: func() {
					_, _, err := w.put(ch, w.id, aRecord("anna", "meanwhile"), nil)
					w.ok(err)
					_, err = w.g.extendLog(t.Context(), &own)
					w.ok(err)
					_, err = (&rollUp{c: &own}).count(t.Context())
					w.ok(err)
				}}
				if found, _ := w.check(o); len(found) != 0 {
					t.Errorf("found %+v", found)
				}
				if _, after := w.billed("ch"); after.Through <= before.Through {
					t.Error("nothing was counted meanwhile")
				}
				w.own(store.KindUsage, w.owns(store.KindUsage)[0], func([]byte) []byte { return nil })
				if found, _ := w.check(o); !slices.Equal(codesOf(found), []string{string(UsageDiffers)}) {
					t.Errorf("a total is gone: found %+v", found)
				}
			})
		})
	}
}
