package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

const keptFor = 400 * 24 * time.Hour

// archive is a world in which the Swiss region's entries are dropped after a time. Nothing does background work by itself.
// Years pass by the cluster's clock alone: the ids of decisions, which go by the process's, never go back, and other tests read them.
type archive struct {
	*world
	log  bytes.Buffer
	c    *Cluster
	aged atomic.Int64 // by how much the cluster's clock is ahead
}

func newArchive(t *testing.T) *archive {
	a := &archive{}
	m := storetest.NewMemory(func() time.Time { return time.Now().Add(time.Duration(a.aged.Load())) })
	a.world = newWorld(t, signed, func(c *Config) {
		r := &c.Regions[0]
		r.AuditRetention = keptFor
		r.Clusters[0].Rows, r.Clusters[0].Outbox, r.Clusters[0].Blobs = m.Rows(), m.Outbox(), m.Blobs()
		c.Log = slog.New(slog.NewTextHandler(&a.log, nil))
	})
	a.mem["ch"] = m
	a.c = a.cluster("ch")
	last, err := uuid.NewV7()
	a.ok(err)
	a.aged.Add(int64(time.Until(time.Unix(last.Time().UnixTime())) + time.Minute)) // ids of earlier tests' times are not of the future
	return a
}

// pass makes the cluster's clock go on, during which, if it is long, something is recorded now and then.
func (a *archive) pass(d time.Duration) {
	a.t.Helper()
	if d > 2*maxLeap {
		a.aged.Add(int64(d - 3*maxLeap/2))
		a.record(a.c.Rows.Now())
		a.aged.Add(int64(3 * maxLeap / 4))
		a.record(a.c.Rows.Now())
		d = 3 * maxLeap / 4
	}
	a.aged.Add(int64(d))
}

// record makes an entry of a time.
func (a *archive) record(at time.Time) {
	a.t.Helper()
	a.ok(a.c.Rows.Update(a.t.Context(), store.Scope{}, func(tx store.Tx) error {
		return tx.Append("", func(place uint64) []byte {
			e := audit.Entry{Place: place, Time: at, DecisionID: newRequestID(), Phase: audit.Decided, Region: "ch", Method: "m", Caller: "urn:c", Gateway: "g", Reason: residency.CrossBorderConsentRequired}
			return e.Append(nil)
		})
	}))
}

// calls makes decisions about a tenant and gives their ids.
func (a *archive) calls(tenant string, n int) (ids []string) {
	a.t.Helper()
	for i := range n {
		_, call, err := a.put(ch, tenant, aRecord("anna", fmt.Sprintf("r%d", i)), nil)
		a.ok(err)
		ids = append(ids, call.Decision.ID)
	}
	return ids
}

// settle takes every entry into the tree, signs it and counts its usage.
func (a *archive) settle() {
	a.t.Helper()
	for more := true; more; {
		var err error
		more, err = a.g.extendLog(a.t.Context(), a.c)
		a.ok(err)
	}
	for more := true; more; {
		var err error
		more, err = (&rollUp{c: a.c}).count(a.t.Context())
		a.ok(err)
	}
}

func (a *archive) first() uint64 {
	a.t.Helper()
	first, err := a.c.Outbox.First(a.t.Context())
	a.ok(err)
	return first
}

// look is a look by a new leader.
func (a *archive) look() (dropped, error) {
	return (&retention{c: a.c, keep: keptFor}).look(a.t.Context())
}

// indexed gives the newest place that each row of a tenant's index leads to, by decision.
func (a *archive) indexed(tenant string) map[string]uint64 {
	a.t.Helper()
	out := map[string]uint64{}
	a.ok(a.c.Rows.View(a.t.Context(), store.Scope{Tenant: a.tenantKeys(tenant)}, func(tx store.Tx) error {
		return tx.Scan(store.KindDecision, "", "", func(row store.ID, places []byte) bool {
			id, err := fromNewestFirst(row)
			a.ok(err)
			out[id.String()] = binary.BigEndian.Uint64(places[len(places)-8:])
			return true
		})
	}))
	return out
}

// wantIndex fails the test unless what the index lead to before is in it exactly where an entry is left.
func (a *archive) wantIndex(tenant string, before map[string]uint64, first uint64) {
	a.t.Helper()
	want := maps.Clone(before)
	maps.DeleteFunc(want, func(_ string, place uint64) bool { return place < first })
	if got := a.indexed(tenant); !maps.Equal(got, want) {
		a.t.Fatalf("%s: the index has %d rows, want %d of the %d that there were", tenant, len(got), len(want), len(before))
	}
}

// listed gives every decision that ListDecisions shows.
func (a *archive) listed(tenant string) map[string]bool {
	a.t.Helper()
	out := map[string]bool{}
	for token := ""; ; {
		call := as(ch, "ListDecisions", residency.Govern, residency.PersonalInformation)
		list, next, err := a.g.ListDecisions(a.t.Context(), call, ListDecisions{Tenant: tenant, Page: Page{Size: 100, Token: token}})
		a.ok(err)
		for _, r := range list {
			out[r.Decision.ID] = true
		}
		if token = next; token == "" {
			return out
		}
	}
}

// exported is the log as ExportLog hands it over.
func (a *archive) exported() fstest.MapFS {
	a.t.Helper()
	files := fstest.MapFS{}
	call := as(ch, "ExportLog", residency.Govern, residency.AccountData)
	call.Caller.SeesAll = true
	a.ok(a.g.ExportLog(a.t.Context(), call, ExportLog{Region: "ch"}, func(path string, data []byte) error {
		files[path] = &fstest.MapFile{Data: bytes.Clone(data)}
		return nil
	}))
	return files
}

// key is what the log is verified with.
func (a *archive) key() proof.Key {
	a.t.Helper()
	key, err := proof.ParseKey(a.c.Signer.Verifier())
	a.ok(err)
	return key
}

// What is older than the retention is gone from every reading, in whole bundles; what is left is found, listed, proved and
// exported as before, and the log verifies without what was dropped.
func TestOldEntriesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		for _, tenant := range []string{"alpen", "berg"} {
			a.tenant(tenant, ch)
		}
		old := append(a.calls("alpen", 300), a.calls("berg", 400)...)
		n := uint64(len(a.entries("ch")))
		a.pass(keptFor)
		kept := append(a.calls("alpen", 50), a.calls("berg", 50)...)
		a.settle()
		index := map[string]map[string]uint64{"alpen": a.indexed("alpen"), "berg": a.indexed("berg")}
		kinds := a.rows("ch", "alpen", store.KindRecord)

		want := n/256*256 + 1
		d, err := a.look()
		a.ok(err)
		if first := a.first(); first != want || d.first != want || d.entries != want-1 || d.rows == 0 || d.until.After(a.c.Rows.Now().Add(-keptFor)) {
			t.Fatalf("the log begins at %d after %+v, want %d", first, d, want)
		}
		for tenant, was := range index {
			a.wantIndex(tenant, was, want)
		}
		if n := a.rows("ch", "alpen", store.KindRecord); n != kinds {
			t.Errorf("%d records are left of %d", n, kinds)
		}

		ask := func(method string) *Call { return as(ch, method, residency.Govern, residency.PersonalInformation) }
		_, err = a.g.GetDecision(t.Context(), ask("GetDecision"), "alpen", old[0])
		a.wantKind(err, residency.NotFound)
		_, err = a.g.GetReceipt(t.Context(), ask("GetReceipt"), "alpen", old[0])
		a.wantKind(err, residency.NotFound)
		shown := a.listed("berg")
		for id, place := range index["berg"] {
			if shown[id] != (place >= want) {
				t.Fatalf("the decision at place %d is listed: %v", place, shown[id])
			}
		}
		_, err = a.g.GetDecision(t.Context(), ask("GetDecision"), "berg", kept[99])
		a.ok(err)
		a.settle()
		receipt, err := a.g.GetReceipt(t.Context(), ask("GetReceipt"), "berg", kept[99])
		a.ok(err)
		if _, err := a.key().VerifyReceipts(receipt); err != nil {
			t.Errorf("the receipt of a decision that is kept: %v", err)
		}
		a.verifies(want - 1)
		if d, err := a.look(); d.entries != 0 || d.rows != 0 || err != nil {
			t.Errorf("a second look dropped %+v: %v", d, err)
		}
	})
}

// verifies fails the test unless the exported log verifies without so many entries at its beginning, and a bundle that is
// missing behind them is noticed.
func (a *archive) verifies(without uint64) {
	t := a.t.(*testing.T)
	t.Helper()
	files := a.exported()
	r, err := proof.VerifyLog(t.Context(), proof.Dir(files), a.key(), proof.Options{})
	if err != nil || r.Dropped != without || r.Verified != r.Checkpoint.Size-without {
		t.Fatalf("of %d entries %d are verified and %d dropped, want %d: %v", r.Checkpoint.Size, r.Verified, r.Dropped, without, err)
	}
	for n := without / 256; n*256 < r.Checkpoint.Size; n++ {
		path := audit.TilePath(-1, n, int(min(r.Checkpoint.Size-n*256, 256)))
		bundle := files[path]
		delete(files, path)
		r, err := proof.VerifyLog(t.Context(), proof.Dir(files), a.key(), proof.Options{})
		var f *proof.Fault
		switch {
		case n == without/256 && err == nil && r.Dropped == without+256: // as if it had been dropped too, and said so
		case errors.As(err, &f) && f.Kind == proof.Missing && f.Path == path:
		default:
			t.Errorf("without %s: %+v, %v", path, r, err)
		}
		files[path] = bundle
	}
}

// A checkpoint must hold an entry, and its usage be counted, before it is dropped.
func TestOnlyWhatIsSignedAndCountedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		a.tenant("alpen", ch)
		a.calls("alpen", 600)
		want := func(first uint64) {
			t.Helper()
			if d, err := a.look(); err != nil || a.first() != first || d.first != first {
				t.Fatalf("the log begins at %d after %+v, want %d: %v", a.first(), d, first, err)
			}
		}
		a.pass(2 * keptFor)
		want(1)
		_, err := a.g.extendLog(t.Context(), a.c)
		a.ok(err)
		want(1)
		a.calls("alpen", 256)
		_, err = (&rollUp{c: a.c}).count(t.Context())
		a.ok(err)
		want(513)
		a.pass(2 * keptFor)
		want(513)
		a.settle()
		want(769)
	})
}

// Of a bundle in which one entry is young nothing is dropped, nor of those after it: times do not strictly ascend.
func TestABundleWaitsForItsYoungestEntry(t *testing.T) {
	for _, young := range []int{0, 100, 255, 256, 300, 511, 512} {
		synctest.Test(t, func(t *testing.T) {
			a := newArchive(t)
			for i := range 768 {
				at := a.c.Rows.Now()
				if i == young {
					at = at.Add(time.Hour)
				}
				a.record(at)
			}
			a.pass(keptFor)
			a.settle()
			_, err := a.look()
			a.ok(err)
			if want := uint64(young/256*256 + 1); a.first() != want {
				t.Errorf("entry %d is young: the log begins at %d, want %d", young, a.first(), want)
			}
			a.pass(time.Hour)
			_, err = a.look()
			a.ok(err)
			if a.first() != 769 {
				t.Errorf("when it is old too the log begins at %d", a.first())
			}
		})
	}
}

// A leader that stops anywhere between making the first place durable and the last row of the index leaves what the next
// one finishes.
func TestTheNextLeaderFinishesADrop(t *testing.T) {
	for _, stop := range []struct {
		op    storetest.Op
		fault storetest.Fault
		first uint64 // of the log right after
	}{
		{storetest.OpDrop, storetest.FaultFail, 1},
		{storetest.OpDrop, storetest.FaultFailPersisted, 513},
		{storetest.OpRemove, storetest.FaultFail, 513},
		{storetest.OpRemove, storetest.FaultFailPersisted, 513},
		{storetest.OpTenants, storetest.FaultFail, 513},
		{storetest.OpUpdate, storetest.FaultFail, 513},
		{storetest.OpUpdate, storetest.FaultFailPersisted, 513},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newArchive(t)
			a.tenant("alpen", ch)
			a.calls("alpen", 600)
			a.pass(2 * keptFor)
			a.settle()
			index := a.indexed("alpen")
			a.mem["ch"].Fail(stop.op, storetest.Once(stop.fault))
			if _, err := a.look(); !errors.Is(err, store.ErrUnavailable) || a.first() != stop.first {
				t.Fatalf("%s, fault %d: the log begins at %d: %v", stop.op, stop.fault, a.first(), err)
			}
			for id := range index { // nothing is lost for good, and nobody is told that it is
				_, err := a.g.GetDecision(t.Context(), as(ch, "GetDecision", residency.Govern, residency.PersonalInformation), "alpen", id)
				if k := residency.KindOf(err); k != residency.OK && k != residency.NotFound {
					t.Fatalf("%s, fault %d: %v", stop.op, stop.fault, err)
				}
			}
			index = a.indexed("alpen")
			_, err := a.look()
			a.ok(err)
			a.wantIndex("alpen", index, 513)
			a.settle()
			a.verifies(512)
		})
	}
}

// overtaken is an outbox whose leader is followed by another right before or after its first drop.
type overtaken struct {
	store.Outbox
	before, after func()
	drops         int
}

func (o *overtaken) Drop(ctx context.Context, upTo, epoch uint64) error {
	if o.drops++; o.drops > 1 {
		return o.Outbox.Drop(ctx, upTo, epoch)
	}
	o.before()
	err := o.Outbox.Drop(ctx, upTo, epoch)
	o.after()
	return err
}

// A leader that was deposed drops nothing more, neither entries nor what finds them, however late it was deposed.
func TestADeposedLeaderDropsNothingMore(t *testing.T) {
	for first, when := range map[uint64]string{1: "before", 513: "after"} {
		t.Run(when, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { deposedLeader(t, first) }) })
	}
}

// deposedLeader deposes a leader right before its first drop, or right after, where the log begins then.
func deposedLeader(t *testing.T, first uint64) {
	a := newArchive(t)
	a.tenant("alpen", ch)
	a.calls("alpen", 600)
	a.pass(2 * keptFor)
	a.settle()
	lead := func(holder string) uint64 {
		t.Helper()
		time.Sleep(leadFor + time.Second)
		epoch, err := a.c.Rows.Lead(t.Context(), holder, leadFor)
		a.ok(err)
		return epoch
	}
	ended := 0
	own := *a.c
	rows := &termRows{Rows: a.c.Rows, epoch: lead("one"), deposed: func() { ended++ }}
	o := &overtaken{Outbox: a.c.Outbox, before: func() {}, after: func() {}}
	if first == 1 {
		o.before = func() { lead("two") }
	} else {
		o.after = func() { lead("two") }
	}
	own.Rows, own.Outbox = rows, &termOutbox{o, rows}
	index := a.indexed("alpen")
	r := &retention{c: &own, keep: keptFor}
	for range 3 {
		if _, err := r.look(t.Context()); !errors.Is(err, store.ErrDeposed) {
			t.Fatalf("a leader that was deposed goes on: %v", err)
		}
	}
	if o.drops != 1 || ended != 3 || a.first() != first || !maps.Equal(a.indexed("alpen"), index) {
		t.Errorf("%d drops, told %d times, the log begins at %d, %d rows of the index of %d", o.drops, ended, a.first(), len(a.indexed("alpen")), len(index))
	}
	_, err := a.look()
	a.ok(err)
	a.wantIndex("alpen", index, 513)
}

// Whoever leads looks at once, and tells what was dropped, from which log and up to when, once. A region without a retention keeps all.
func TestTheLeaderDropsAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		a.tenant("alpen", ch)
		a.tenant("prairie", us)
		a.calls("alpen", 300)
		for range 300 {
			_, _, err := a.put(us, "prairie", aRecord("anna", "r"), nil)
			a.ok(err)
		}
		until := a.c.Rows.Now().UTC().Format("2006-01-02")
		a.pass(2 * keptFor)
		a.settle()
		a.background()
		time.Sleep(2*retentionEvery + time.Minute)
		if a.first() != 257 {
			t.Errorf("the log begins at %d", a.first())
		}
		if first, err := a.cluster("us").Outbox.First(t.Context()); first != 1 || err != nil {
			t.Errorf("the log of a region without a retention begins at %d: %v", first, err)
		}
		log := a.log.String()
		if strings.Count(log, "audit entries were dropped") != 1 {
			t.Errorf("the log tells of the drop %d times", strings.Count(log, "audit entries were dropped"))
		}
		for _, want := range []string{"entries=256", "first=257", "until=" + until, "log=example.org/ch/ch-1", "region=ch", "cluster=ch-1"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not say %s:\n%s", want, log)
			}
		}
	})
}

// A retention below the least keeps a gateway from being made.
func TestARetentionBelowTheLeastIsRefused(t *testing.T) {
	for keep, good := range map[time.Duration]bool{
		0: true, MinAuditRetention: true, MinAuditRetention + 1: true,
		-1: false, 1: false, MinAuditRetention - 1: false, -MinAuditRetention: false,
	} {
		var cfg Config
		newWorld(t, func(c *Config) { cfg = *c })
		cfg.Regions[0].AuditRetention = keep
		if _, err := New(cfg); (err == nil) != good {
			t.Errorf("a retention of %v: %v", keep, err)
		}
	}
}

// By a clock that goes ahead nothing is old, not even once there are entries of its times, until a day has passed by it. Set right
// before that, it has done nothing.
func TestAClockThatWentAheadDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		a.tenant("alpen", ch)
		a.calls("alpen", 600)
		a.settle()
		look := func(what string, first uint64) {
			t.Helper()
			d, err := a.look()
			a.ok(err)
			if a.first() != first || (first == 1) == (d.leapt == leap{}) {
				t.Fatalf("%s: the log begins at %d, want %d: %+v", what, a.first(), first, d)
			}
		}
		a.aged.Add(int64(2 * keptFor))
		look("the clock went ahead", 1)
		for range 3 {
			a.calls("alpen", 100)
			a.settle()
			look("there are entries of its times", 1)
			a.aged.Add(int64(maxLeap / 3))
		}
		a.calls("alpen", 1)
		a.settle()
		look("a day has passed", 513)
	})
}

// A leap is where the day begins between two entries that are far from each other. Times are hours from now, in the order of the log.
func TestTheLogTellsOfALeap(t *testing.T) {
	const year = 365 * 24
	for name, tt := range map[string]struct {
		hours []int
		leapt bool
	}{
		"no entry":                      {nil, false},
		"young entries alone":           {[]int{-9, -8, -1}, false},
		"entries of every day":          {[]int{-900, -60, -40, -20, -1}, false},
		"days before without any":       {[]int{-year, -30, -20, -1}, false},
		"a day without any":             {[]int{-60, -40, -25}, true},
		"nothing for days, then again":  {[]int{-60, -50, -20, -1}, true},
		"far ahead":                     {[]int{-year - 2, -year - 1, -year, -2, -1, -1, -1, -1}, true},
		"far ahead, a day ago":          {[]int{-year - 1, -year, -25, -12, -1}, false},
		"far ahead, and set right":      {[]int{-40, -30, year, year, year, -28, -20, -1}, false},
		"all of it of the future":       {[]int{year, year + 1}, false},
		"out of order, within the hour": {[]int{-40, -26, -25, -26, -23, -24, -1, -2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArchive(t)
				a.aged.Store(int64(2 * year * time.Hour))
				now := a.c.Rows.Now()
				for _, h := range tt.hours {
					a.record(now.Add(time.Duration(h) * time.Hour))
				}
				l, err := (&retention{c: a.c, keep: keptFor}).leapt(t.Context(), now)
				if a.ok(err); (l != leap{}) != tt.leapt {
					t.Errorf("it tells of %+v", l)
				}
			})
		})
	}
}

// The leader says once why it drops nothing.
func TestTheLeaderTellsOfALeapOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		a.tenant("alpen", ch)
		a.calls("alpen", 300)
		a.aged.Add(int64(2 * keptFor))
		a.calls("alpen", 1)
		a.settle()
		ctx, stop := context.WithTimeout(t.Context(), 5*retentionEvery)
		defer stop()
		a.ok(a.g.Run(ctx))
		if log := a.log.String(); a.first() != 1 || strings.Count(log, "until the log shows that a day has passed") != 1 {
			t.Errorf("the log begins at %d:\n%s", a.first(), log)
		}
	})
}
