package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// billed is a total, by whom and what it is of.
type billed struct {
	tenant, day, class, direction string
}

// audited adds up a region's log: what the totals must be.
func (w *world) audited(r residency.Region, through uint64) map[billed]volume {
	w.t.Helper()
	out := map[billed]volume{}
	for _, e := range w.entries(r) {
		if e.Tenant == "" || e.Phase == audit.Intent || e.Place > through {
			continue
		}
		k := billed{e.Tenant, e.Time.UTC().Format(time.DateOnly), e.DataClass.String(), "READ"}
		if e.Action == residency.Collect {
			k.direction = "WRITE"
		}
		v := out[k]
		v.Bytes += e.Bytes
		if e.Allow && e.Caller != "urn:domicile:sweep" && (e.Phase == audit.Ended || e.Result == residency.OK) {
			v.Calls++
		}
		if v != (volume{}) {
			out[k] = v
		}
	}
	return out
}

// billed gives every total of a region as it is stored.
func (w *world) billed(r residency.Region) (out map[billed]volume, s usageState) {
	w.t.Helper()
	out = map[billed]volume{}
	w.ok(w.cluster(r).Rows.View(w.t.Context(), usageScope, func(tx store.Tx) (err error) {
		if s, err = readUsageState(tx); err != nil {
			return err
		}
		return tx.Scan(store.KindUsage, "", "", func(id store.ID, b []byte) bool {
			if id == "" {
				return true
			}
			u, err := decodeUsage(b)
			w.ok(err)
			for _, c := range u.cells() {
				day, err := usageDay(id)
				w.ok(err)
				d := dateOf(day)
				k := billed{hex.EncodeToString([]byte(id[:16])), fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day), c.Class.String(), "WRITE"}
				if c.Direction == DirectionRead {
					k.direction = "READ"
				}
				out[k] = c.volume
			}
			return true
		})
	}))
	return out, s
}

// reconciled compares what is billed with what the log says, and gives the differences.
func (w *world) reconciled(r residency.Region) (differences []string) {
	w.t.Helper()
	got, s := w.billed(r)
	want := w.audited(r, s.Through)
	for k := range want {
		if got[k] != want[k] {
			differences = append(differences, fmt.Sprintf("%v: billed %v, audited %v", k, got[k], want[k]))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			differences = append(differences, fmt.Sprintf("%v: billed %v, audited nothing", k, got[k]))
		}
	}
	return differences
}

// wantReconciled holds the totals, of a whole log, against its entries.
func (w *world) wantReconciled(r residency.Region) {
	w.t.Helper()
	for _, d := range w.reconciled(r) {
		w.t.Error(d)
	}
	_, s := w.billed(r)
	if last, err := w.mem[r].Outbox().Last(w.t.Context()); err != nil || s.Through != last || s.From != 1 {
		w.t.Errorf("entries %d to %d are counted, want 1 to %d (%v)", s.From, s.Through, last, err)
	}
}

// count signs a region's log and counts all of it.
func (w *world) count(r residency.Region) {
	w.t.Helper()
	w.sign(r)
	u := &rollUp{c: w.cluster(r)}
	for more := true; more; {
		var err error
		more, err = u.count(w.t.Context())
		w.ok(err)
	}
}

// sign brings a region's log up to its entries.
func (w *world) sign(r residency.Region) {
	w.t.Helper()
	for more := true; more; {
		var err error
		more, err = w.g.extendLog(w.t.Context(), w.cluster(r))
		w.ok(err)
	}
}

func (w *world) usage(j residency.Jurisdiction, req GetUsage) (Usage, *Call, error) {
	c := as(j, "GetUsage", residency.Meter, residency.AccountData)
	out, err := w.g.GetUsage(w.t.Context(), c, req)
	return out, c, err
}

// move makes calls of many kinds, most of which carry something.
func (w *world) move(tenant string, n int) {
	w.t.Helper()
	content := make([]byte, 1<<20)
	for i := range n {
		record := aRecord(fmt.Sprint("s", i%7), fmt.Sprint("r", i))
		record.Address = fmt.Sprintf("%0*d", 1+rand.IntN(200), i)
		_, _, err := w.put(ch, tenant, record, nil)
		w.ok(err)
		_, _, err = w.get(ch, tenant, record.Subject, record.ID)
		w.ok(err)
		_, _, err = w.get(us, tenant, record.Subject, record.ID)
		w.wantKind(err, residency.CrossBorderConsentRequired)
		_, _, err = w.get(ch, tenant, "nobody", record.ID)
		w.wantKind(err, residency.NotFound)
		part := int64(1 + rand.IntN(1<<20-1))
		_, err = w.write(ch, tenant, "d", 0, content[:part])
		w.ok(err)
		_, err = w.read(ch, tenant, "d", 0, part)
		w.ok(err)
		w.readSome(tenant)
	}
}

// readSome reads a drive and goes away in the middle.
func (w *world) readSome(tenant string) {
	w.t.Helper()
	gone := errors.New("gone")
	pieces := 0
	err := w.g.ReadDrive(w.t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
		ReadDrive{Tenant: tenant, Drive: "d", Purpose: residency.ServiceProvision},
		func([]byte) error {
			if pieces++; pieces == 2 {
				return gone
			}
			return nil
		})
	if !errors.Is(err, gone) {
		w.t.Fatalf("a read whose caller goes gives %v", err)
	}
}

// Day by day, and over midnight, what is billed is what is in the log, for each tenant, class and direction.
func TestUsageIsWhatTheLogSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		for _, tenant := range []string{"alpen", "bern"} {
			w.tenant(tenant, ch)
			w.drive(tenant, "d", 1<<20)
		}
		first := time.Now().UTC()
		for day := range 5 {
			if day > 0 {
				time.Sleep(24 * time.Hour)
			}
			w.move("alpen", 1+day)
			if day%2 == 0 {
				w.move("bern", 2)
			}
			w.count("ch")
			w.wantReconciled("ch")
		}
		got, call, err := w.usage(ch, GetUsage{Tenant: "alpen", Start: dateOf(dayOf(first)), End: dateOf(dayOf(first) + 5)})
		w.ok(err)
		if call.Decision.Clause != "metering" || call.Decision.Action != residency.Meter {
			t.Errorf("decided as %v under %s", call.Decision.Action, call.Decision.Clause)
		}
		days := map[Date]int{}
		for _, total := range got.Totals {
			days[total.Day]++
		}
		if len(days) != 5 || got.Region != "ch" || got.Cluster != "ch-1" || got.Pending != 1 || got.From != 1 || got.First != 1 || !got.Oldest.Equal(w.entries("ch")[0].Time) {
			t.Errorf("the answer is %+v", got)
		}
		w.wantAnswered(got, "alpen")
		part, _, err := w.usage(us, GetUsage{Tenant: "alpen", Start: dateOf(dayOf(first) + 2), End: dateOf(dayOf(first) + 3)}) // from abroad
		w.ok(err)
		for _, total := range part.Totals {
			if total.Day != dateOf(dayOf(first)+2) {
				t.Errorf("of another day: %+v", total)
			}
		}
		if len(part.Totals) == 0 || len(part.Totals) != days[dateOf(dayOf(first)+2)] {
			t.Errorf("%d totals of the third day, want %d", len(part.Totals), days[dateOf(dayOf(first)+2)])
		}
	})
}

// wantAnswered holds an answer against the log.
func (w *world) wantAnswered(got Usage, tenant string) {
	w.t.Helper()
	tk, err := w.g.region(got.Region).Vault.Tenant(w.t.Context(), w.tenantKeys(tenant))
	w.ok(err)
	want := w.audited(got.Region, got.Through)
	maps.DeleteFunc(want, func(k billed, _ volume) bool { return k.tenant != tk.Pseudonym() })
	for _, total := range got.Totals {
		k := billed{tk.Pseudonym(), fmt.Sprintf("%04d-%02d-%02d", total.Day.Year, total.Day.Month, total.Day.Day), total.Class.String(), [...]string{"", "WRITE", "READ"}[total.Direction]}
		if want[k] != (volume{total.Bytes, total.Calls}) {
			w.t.Errorf("%v: told %d bytes of %d calls, the log says %v", k, total.Bytes, total.Calls, want[k])
		}
		delete(want, k)
	}
	if len(want) > 0 {
		w.t.Errorf("not told: %v", want)
	}
}

// A stream counts on the day on which it ends, whole.
func TestAStreamOverMidnightCountsWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		time.Sleep(time.Until(midnight) - 200*time.Millisecond)
		var n int
		w.ok(w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d", Purpose: residency.ServiceProvision},
			func(b []byte) error { n += len(b); time.Sleep(100 * time.Millisecond); return nil }))
		w.count("ch")
		w.wantReconciled("ch")
		for day, want := range map[uint32]uint64{dayOf(midnight) - 1: 0, dayOf(midnight): uint64(n)} {
			got, _, err := w.usage(ch, GetUsage{Tenant: "alpen", Start: dateOf(day), End: dateOf(day + 1)})
			w.ok(err)
			sum := uint64(0)
			for _, total := range got.Totals {
				if total.Class == residency.VirtualDriveData {
					sum += total.Bytes
				}
			}
			if sum != want {
				t.Errorf("%v: %d bytes, want %d", dateOf(day), sum, want)
			}
		}
	})
}

// A leader that stops at any step of counting, or is told that its transaction failed when it did not, leaves totals that
// the next goes on with: each entry is counted once.
func TestTheNextLeaderGoesOnCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		ctx, c := t.Context(), w.cluster("ch")
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		leaders := []*rollUp{{c: c}, {c: c}}
		failed := 0
		for i := range 80 {
			w.move("alpen", 1)
			if i%9 == 0 {
				time.Sleep(7 * time.Hour)
			}
			w.sign("ch")
			u := leaders[i/10%2]
			if i%10 == 0 { // it follows another: what it remembers is from before
				u.last = nil
			}
			fault := []storetest.Fault{storetest.FaultNone, storetest.FaultFail, storetest.FaultFailPersisted, storetest.FaultHang, storetest.FaultHangPersisted}[i%5]
			w.mem["ch"].Fail(storetest.OpUpdate, storetest.Always(fault))
			_, err := u.count(ctx)
			w.mem["ch"].Fail(storetest.OpUpdate, nil)
			if (err == nil) != (fault == storetest.FaultNone) {
				t.Fatalf("with fault %d counting gives %v", fault, err)
			}
			if err != nil {
				failed++
			}
			for _, d := range w.reconciled("ch") {
				t.Fatalf("after %d steps, %v: %s", i, fault, d)
			}
		}
		w.count("ch")
		w.wantReconciled("ch")
		t.Logf("%d of 80 transactions failed", failed)
	})
}

// Of two that count at once, one that does not know that it leads no more included, one counts.
func TestTwoCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		ctx, c := t.Context(), w.cluster("ch")
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		w.move("alpen", 3)
		w.sign("ch")
		was, err := c.usageNow(ctx)
		w.ok(err)
		now, sums, err := c.sums(ctx, was, 1<<40)
		w.ok(err)
		first, second := &rollUp{c: c}, &rollUp{c: c}
		w.ok(first.write(ctx, was, now, sums))
		if err := second.write(ctx, was, now, sums); !errors.Is(err, store.ErrConflict) {
			t.Errorf("counted twice: %v", err)
		}
		w.wantReconciled("ch")

		old, err := c.Rows.Lead(ctx, "the first", time.Second)
		w.ok(err)
		time.Sleep(2 * time.Second)
		_, err = c.Rows.Lead(ctx, "the second", time.Hour)
		w.ok(err)
		w.move("alpen", 1)
		w.sign("ch")
		deposed := false
		own := *c
		own.Rows = &termRows{Rows: c.Rows, epoch: old, deposed: func() { deposed = true }}
		if _, err := (&rollUp{c: &own}).count(ctx); !errors.Is(err, store.ErrDeposed) || !deposed {
			t.Errorf("counted by who was deposed: %v", err)
		}
		w.count("ch")
		w.wantReconciled("ch")
	})
}

// A total that somebody changed is found, to the byte, and so is one that was taken away or made up.
func TestAFalsifiedTotalIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		w.move("alpen", 2)
		w.count("ch")
		w.wantReconciled("ch")
		tk, err := w.g.region("ch").Vault.Tenant(t.Context(), w.tenantKeys("alpen"))
		w.ok(err)
		tenant, err := logPseudonym(tk.Pseudonym())
		w.ok(err)
		id := usageID(tenant, dayOf(time.Now()))
		for name, spoil := range map[string]func(tx store.Tx, u dayUsage) error{
			"one byte less": func(tx store.Tx, u dayUsage) error {
				u[residency.VirtualDriveData][DirectionRead].Bytes--
				return tx.Put(store.KindUsage, id, u.encode())
			},
			"one call more": func(tx store.Tx, u dayUsage) error {
				u[residency.PersonalInformation][DirectionWrite].Calls++
				return tx.Put(store.KindUsage, id, u.encode())
			},
			"in the other direction": func(tx store.Tx, u dayUsage) error {
				d := &u[residency.VirtualDriveData]
				d[DirectionRead], d[DirectionWrite] = d[DirectionWrite], d[DirectionRead]
				return tx.Put(store.KindUsage, id, u.encode())
			},
			"on another day": func(tx store.Tx, u dayUsage) error {
				return errors.Join(tx.Delete(store.KindUsage, id), tx.Put(store.KindUsage, usageID(tenant, dayOf(time.Now())+1), u.encode()))
			},
			"gone": func(tx store.Tx, _ dayUsage) error { return tx.Delete(store.KindUsage, id) },
		} {
			var was []byte
			change := func(f func(store.Tx) error) {
				t.Helper()
				w.ok(w.cluster("ch").Rows.Update(t.Context(), usageScope, f))
			}
			change(func(tx store.Tx) (err error) {
				if was, err = tx.Get(store.KindUsage, id); err != nil {
					return err
				}
				u, err := decodeUsage(was)
				return errors.Join(err, spoil(tx, u))
			})
			if len(w.reconciled("ch")) == 0 {
				t.Errorf("%s: not found", name)
			}
			change(func(tx store.Tx) error {
				return errors.Join(tx.Delete(store.KindUsage, usageID(tenant, dayOf(time.Now())+1)), tx.Put(store.KindUsage, id, was))
			})
		}
		w.wantReconciled("ch")
	})
}

// A total that is damaged stops the counting, and is told as such; the log goes on without it.
func TestADamagedTotalStopsCountingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		c := w.cluster("ch")
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		w.move("alpen", 1)
		w.count("ch")
		w.ok(c.Rows.Update(t.Context(), usageScope, func(tx store.Tx) error {
			var ids []store.ID
			err := tx.Scan(store.KindUsage, "", "", func(id store.ID, _ []byte) bool { ids = append(ids, id); return true })
			for _, id := range ids {
				if id != "" {
					err = errors.Join(err, tx.Put(store.KindUsage, id, []byte{9, 9}))
				}
			}
			return err
		}))
		_, before := w.counted()
		w.move("alpen", 1)
		w.sign("ch")
		_, err := (&rollUp{c: c}).count(t.Context())
		w.wantKind(err, residency.IntegrityFailure)
		_, _, err = w.usage(ch, GetUsage{Tenant: "alpen"})
		w.wantKind(err, residency.IntegrityFailure)
		if signedSize, after := w.counted(); after != before || signedSize <= before {
			t.Errorf("counted up to %d, before up to %d; signed up to %d", after, before, signedSize)
		}
	})
}

// Whoever does not know how far the log was counted, and finds totals, counts nothing: not what was counted once more. The
// leader's log says so, and who asks is told of damage. Once the row is back, counting goes on.
func TestALostStateIsNotCountedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, signed, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		c := w.cluster("ch")
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		w.move("alpen", 1)
		w.count("ch")
		totals, state := w.billed("ch")
		setUsage(w, nil)
		w.move("alpen", 1)
		w.sign("ch")
		_, err := (&rollUp{c: c}).count(t.Context())
		w.wantKind(err, residency.IntegrityFailure)
		_, _, err = w.usage(ch, GetUsage{Tenant: "alpen"})
		w.wantKind(err, residency.IntegrityFailure)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		w.ok(w.g.Run(ctx))
		setUsage(w, &state)
		if got, now := w.billed("ch"); !maps.Equal(got, totals) || now != state {
			t.Errorf("counted anew: %v, before %v", got, totals)
		}
		if told := log.String(); !strings.Contains(told, "usage is not counted") || !strings.Contains(told, errUsageLost.Error()) {
			t.Errorf("the log does not say that the state is lost:\n%s", told)
		}
		w.count("ch")
		w.wantReconciled("ch")
	})
}

// Where more is counted than the newest checkpoint holds, the log went back: nothing that may be others' entries now is left out silently.
func TestALogThatWentBackIsNotCountedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		w.count("ch")
		_, state := w.billed("ch")
		state.Through++
		setUsage(w, &state)
		_, err := (&rollUp{c: w.cluster("ch")}).count(t.Context())
		w.wantKind(err, residency.IntegrityFailure)
	})
}

// setUsage writes how far the Swiss log is counted; nil takes it away.
func setUsage(w *world, s *usageState) {
	w.t.Helper()
	w.ok(w.cluster("ch").Rows.Update(w.t.Context(), usageScope, func(tx store.Tx) error {
		if s == nil {
			return tx.Delete(store.KindUsage, "")
		}
		return tx.Put(store.KindUsage, "", encodeRow(s))
	}))
}

// counted gives how much of the Swiss log is signed, and how far it is counted.
func (w *world) counted() (size, through uint64) {
	w.t.Helper()
	log, err := w.cluster("ch").logNow(w.t.Context())
	w.ok(err)
	s, err := w.cluster("ch").usageNow(w.t.Context())
	w.ok(err)
	return log.Signed, s.Through
}

// A log that was there before anything was counted is counted from its oldest entry on, some at a time.
func TestALongLogIsCountedFromItsOldestEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		for i := range usageBatch + 100 {
			_, _, err := w.put(ch, "alpen", aRecord("anna", fmt.Sprint("r", i)), nil)
			w.ok(err)
		}
		w.sign("ch")
		w.ok(w.mem["ch"].Outbox().Drop(t.Context(), 42, 0))
		u := &rollUp{c: w.cluster("ch")}
		more, err := u.count(t.Context())
		w.ok(err)
		if _, through := w.counted(); !more || through != usageBatch {
			t.Errorf("counted up to %d at once; more %v", through, more)
		}
		for more {
			more, err = u.count(t.Context())
			w.ok(err)
		}
		got, s := w.billed("ch")
		want := map[billed]volume{}
		for k, v := range w.audited("ch", s.Through) { // which has not what was dropped either
			want[k] = v
		}
		if size, through := w.counted(); s.From != 43 || through != size || !maps.Equal(got, want) {
			t.Errorf("counted from %d to %d of %d:\n%v, want\n%v", s.From, through, size, got, want)
		}
	})
}

// An erased tenant's totals stay, without a name, and are nobody's to ask for.
func TestTotalsOutliveTheirTenantWithoutAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		w.move("alpen", 1)
		w.count("ch")
		before, _ := w.billed("ch")
		_, _, err := w.eraseTenant(ch, "alpen", newRequestID())
		w.ok(err)
		for range 10 {
			time.Sleep(time.Minute)
			w.g.sweepAll(t.Context())
		}
		_, _, err = w.usage(ch, GetUsage{Tenant: "alpen"})
		w.wantKind(err, residency.NotFound)
		w.count("ch")
		w.wantReconciled("ch")
		after, _ := w.billed("ch")
		for k, v := range before {
			if after[k].Bytes < v.Bytes || after[k].Calls < v.Calls {
				t.Errorf("%v: %v was billed, after the erasure %v", k, v, after[k])
			}
		}
	})
}

// What cannot be answered is refused, clearly, and by default it is the current month.
func TestUsageIsAskedForByDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		today := dateOf(dayOf(time.Now()))
		for name, req := range map[string]GetUsage{
			"no day":             {Start: today, End: today},
			"back":               {Start: dateOf(dayOf(time.Now()) + 1), End: today},
			"more than a year":   {Start: today, End: dateOf(dayOf(time.Now()) + 367)},
			"from tomorrow":      {Start: dateOf(dayOf(time.Now()) + 1)},
			"until before today": {End: Date{2020, 1, 1}},
			"since long":         {Start: Date{2020, 1, 1}},
			"since before 1970":  {Start: Date{1900, 1, 1}, End: Date{1969, 1, 1}},
		} {
			req.Tenant = "alpen"
			_, _, err := w.usage(ch, req)
			if residency.KindOf(err) != residency.BadRequest {
				t.Errorf("%s: %v", name, err)
				continue
			}
			w.wantField(err, "end_date")
		}
		for _, req := range []GetUsage{{Start: Date{1969, 1, 1}, End: Date{1970, 1, 1}}, {Start: Date{9999, 1, 1}, End: Date{9999, 12, 31}}} {
			req.Tenant = "alpen"
			if got, _, err := w.usage(ch, req); err != nil || len(got.Totals) > 0 {
				t.Errorf("%v: %v, %v", req, got, err)
			}
		}
		time.Sleep(9 * 24 * time.Hour)
		got, _, err := w.usage(ch, GetUsage{Tenant: "alpen"})
		w.ok(err)
		if want := time.Now().UTC(); got.Start != (Date{want.Year(), int(want.Month()), 1}) || got.End != dateOf(dayOf(want)+1) || got.Through != 0 || got.Pending == 0 {
			t.Errorf("the month is %+v", got)
		}
		_, _, err = w.usage(ch, GetUsage{Tenant: "nobody"})
		w.wantKind(err, residency.NotFound)

		w = newWorld(t) // whose log nobody signs
		w.tenant("alpen", ch)
		_, call, err := w.usage(ch, GetUsage{Tenant: "alpen"})
		w.wantKind(err, residency.AuditUnavailable)
		var e *residency.Error
		if !errors.As(err, &e) || e.Decision == nil || e.Decision.ID != call.Decision.ID {
			t.Errorf("the refusal names no decision: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = w.g.GetUsage(ctx, as(ch, "GetUsage", residency.Meter, residency.AccountData), GetUsage{Tenant: "alpen"})
		w.wantKind(err, residency.Canceled)
	})
}

// The background work counts by itself, soon.
func TestUsageIsCountedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.background()
		w.tenant("alpen", ch)
		w.drive("alpen", "d", 1<<20)
		for range 5 {
			w.move("alpen", 1)
			time.Sleep(3 * time.Second)
			w.wantReconciled("ch")
		}
	})
}
