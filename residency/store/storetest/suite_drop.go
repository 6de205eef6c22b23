package storetest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// appends appends entries until there are n.
func (f fixture) appends(n uint64) {
	f.t.Helper()
	for last := f.last(); last < n; last++ {
		f.update(func(tx store.Tx) { must(f.t, tx.Append("", labelled("e"))) })
	}
}

func (f fixture) last() uint64 {
	f.t.Helper()
	last, err := f.outbox.Last(f.ctx)
	must(f.t, err)
	return last
}

// wantKept fails the test unless the outbox gives the entries from one place to another, and in no way any other.
func (f fixture) wantKept(first, last uint64) {
	f.t.Helper()
	got, err := f.outbox.First(f.ctx)
	must(f.t, err)
	if newest := f.last(); got != first || newest != last {
		f.t.Fatalf("the outbox goes from %d to %d, want %d to %d", got, newest, first, last)
	}
	var want []uint64
	for place := first; place <= last; place++ {
		want = append(want, place)
	}
	for _, from := range []uint64{0, 1, first - 1, first} {
		f.wantPlaces(fmt.Sprintf("read from %d", from), want, func(yield func(uint64, []byte) bool) error {
			return f.outbox.Entries(f.ctx, from, yield)
		})
	}
	var all []uint64
	for place := max(last+3, store.MaxPlaces) - store.MaxPlaces; place < last+3; place++ {
		all = append(all, place)
		if _, err := f.outbox.Entry(f.ctx, place); place < first || place > last {
			wantErr(f.t, err, store.ErrNotFound)
		} else {
			must(f.t, err)
		}
	}
	if first < all[0] {
		want = want[all[0]-first:]
	}
	f.wantPlaces("read at places", want, func(yield func(uint64, []byte) bool) error { return f.outbox.At(f.ctx, all, yield) })
}

// wantPlaces fails the test unless a reading gives these entries in this order.
func (f fixture) wantPlaces(what string, want []uint64, read func(yield func(uint64, []byte) bool) error) {
	f.t.Helper()
	var got []uint64
	must(f.t, read(func(place uint64, entry []byte) bool {
		if string(entry) != fmt.Sprintf("e@%d", place) {
			f.t.Fatalf("%s, place %d holds %q", what, place, entry)
		}
		got = append(got, place)
		return true
	}))
	if !slices.Equal(got, want) {
		f.t.Fatalf("%s, got the places %v, want %v", what, got, want)
	}
}

// wantDropRefused fails the test unless dropping in an epoch is refused, for that reason, and changes nothing.
func (f fixture) wantDropRefused(upTo, epoch uint64) {
	f.t.Helper()
	before, err := f.outbox.First(f.ctx)
	must(f.t, err)
	wantErr(f.t, f.outbox.Drop(f.ctx, upTo, epoch), store.ErrDeposed)
	f.wantKept(before, f.last())
}

var dropTests = map[string]func(fixture){
	"nothing is dropped at first": func(f fixture) {
		f.wantKept(1, 0)
		must(f.t, f.outbox.Drop(f.ctx, 0, 0))
		f.wantKept(1, 0)
		f.appends(3)
		must(f.t, f.outbox.Drop(f.ctx, 0, 0))
		f.wantKept(1, 3)
	},
	"what was dropped is gone and its places stay taken": func(f fixture) {
		f.appends(6)
		must(f.t, f.outbox.Drop(f.ctx, 2, 0))
		f.wantKept(3, 6)
		for _, again := range []uint64{2, 1, 0} {
			must(f.t, f.outbox.Drop(f.ctx, again, 0))
			f.wantKept(3, 6)
		}
		must(f.t, f.outbox.Drop(f.ctx, 5, 0))
		f.wantKept(6, 6)
		f.appends(8)
		f.wantKept(6, 8)
	},
	"an outbox that was dropped whole goes on where it was": func(f fixture) {
		f.appends(4)
		must(f.t, f.outbox.Drop(f.ctx, 4, 0))
		f.wantKept(5, 4)
		must(f.t, f.outbox.Drop(f.ctx, 4, 0))
		f.appends(6)
		f.wantKept(5, 6)
	},
	"many entries are dropped at once": func(f fixture) {
		for range 300 {
			f.update(func(tx store.Tx) {
				for range 8 {
					must(f.t, tx.Append("", labelled("e")))
				}
			})
		}
		must(f.t, f.outbox.Drop(f.ctx, 2395, 0))
		f.wantKept(2396, 2400)
	},
	"what is not there yet is not dropped": func(f fixture) {
		f.appends(2)
		for _, place := range []uint64{3, math.MaxInt64, math.MaxUint64} {
			if f.outbox.Drop(f.ctx, place, 0) == nil {
				f.t.Fatalf("entries up to place %d of 2 were dropped", place)
			}
		}
		f.wantKept(1, 2)
	},
	"only the leader of the epoch drops": func(f fixture) {
		f.appends(6)
		f.wantDropRefused(1, 1)
		f.lead("one", 20*time.Millisecond, 1)
		must(f.t, f.outbox.Drop(f.ctx, 1, 1))
		f.wantDropRefused(2, 2)
		f.passed(30 * time.Millisecond)
		must(f.t, f.outbox.Drop(f.ctx, 2, 1)) // nobody has followed
		f.lead("two", aTerm, 2)
		f.wantDropRefused(3, 1)
		f.wantDropRefused(0, 1)
		f.wantKept(3, 6)
		must(f.t, f.outbox.Drop(f.ctx, 3, 2))
		must(f.t, f.outbox.Drop(f.ctx, 4, 0))
		f.wantKept(5, 6)
	},
	"an index outlives its entries": func(f fixture) {
		f.update(func(tx store.Tx) { must(f.t, tx.Append("one", labelled("e"))) })
		must(f.t, f.outbox.Drop(f.ctx, 1, 0))
		f.update(func(tx store.Tx) { must(f.t, tx.Append("one", labelled("e"))) })
		f.view(func(tx store.Tx) { f.wantRow(tx, store.KindDecision, "one", places(1, 2)) })
		f.wantKept(2, 2)
	},
	"entries are dropped while others are appended and read": func(f fixture) {
		const all = 400
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for f.last() < all {
					err := f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error { return tx.Append("", labelled("e")) })
					if err != nil {
						f.t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for f.last() < all && !f.t.Failed() {
				f.readWhileDropped()
			}
		})
		dropped := uint64(0)
		for dropped < all && !f.t.Failed() {
			if last := f.last(); last > dropped {
				dropped += (last - dropped + 1) / 2
				must(f.t, f.outbox.Drop(f.ctx, dropped, 0))
				must(f.t, f.outbox.Drop(f.ctx, dropped/2, 0))
			}
		}
		wg.Wait()
		f.wantKept(dropped+1, f.last())
	},
	"entries at places come in the order asked for": func(f fixture) {
		f.appends(5)
		must(f.t, f.outbox.Drop(f.ctx, 1, 0))
		at := func(places ...uint64) func(func(uint64, []byte) bool) error {
			return func(yield func(uint64, []byte) bool) error { return f.outbox.At(f.ctx, places, yield) }
		}
		f.wantPlaces("at none", nil, at())
		f.wantPlaces("at absent places", nil, at(0, 1, 6, math.MaxInt64, math.MaxUint64))
		f.wantPlaces("at several", []uint64{5, 2, 5, 3}, at(5, 1, 2, 5, 9, 3))
		stopped := 0
		must(f.t, at(4, 3, 2)(func(uint64, []byte) bool { stopped++; return stopped < 2 }))
		if stopped != 2 {
			f.t.Fatalf("%d entries came, want 2", stopped)
		}
		most := make([]uint64, store.MaxPlaces)
		for i := range most {
			most[i] = 7 + uint64(i)
		}
		most[store.MaxPlaces-1] = 4
		f.wantPlaces("at as many as may be", []uint64{4}, at(most...))
		if at(append(slices.Clone(most), 3)...)(func(uint64, []byte) bool { return true }) == nil {
			f.t.Fatal("a place too many was taken")
		}
	},
	"an entry that is read is the reader's": func(f fixture) {
		f.appends(2)
		scribble := func(_ uint64, entry []byte) bool { clear(entry); return true }
		must(f.t, f.outbox.At(f.ctx, []uint64{1, 1, 2}, scribble))
		must(f.t, f.outbox.Entries(f.ctx, 1, scribble))
		f.wantKept(1, 2)
	},
}

// readWhileDropped reads the outbox from its start and fails the test on a gap.
func (f fixture) readWhileDropped() {
	before := uint64(0)
	err := f.outbox.Entries(f.ctx, 1, func(place uint64, entry []byte) bool {
		if before > 0 && place <= before || string(entry) != fmt.Sprintf("e@%d", place) {
			f.t.Errorf("place %d, which holds %q, came after %d", place, entry, before)
		}
		before = place
		return true
	})
	if err != nil {
		f.t.Errorf("read while entries were dropped: %v", err)
	}
}

var tenantTests = map[string]func(fixture){
	"there are no tenants at first": func(f fixture) { f.wantTenants(store.Tenant{}, 10) },
	"tenants with rows come in ascending order": func(f fixture) {
		all := []store.Tenant{{15: 1}, {15: 2}, {15: 0xff}, {14: 1}, {0: 0x41}, {0: 0x41, 1: 1}, {0: 0x61}, {0: 0x7f}, {0: 0x80}, full(0xff)}
		for i := range all {
			f.rowsOf(all[len(all)-1-i], i%4 == 0)
		}
		f.rowsOf(store.Tenant{}, true)
		f.wantTenants(store.Tenant{}, 100, all...)
		f.wantTenants(store.Tenant{}, 3, all[:3]...)
		for i, after := range all {
			f.wantTenants(after, 100, all[i+1:]...)
		}
		f.wantTenants(store.Tenant{0: 0x50}, 2, all[6:8]...)
	},
	"a tenant without a row any more is none": func(f fixture) {
		f.rowsOf(tenant(1), true)
		f.rowsOf(tenant(2), false)
		f.update(func(tx store.Tx) {
			for _, kind := range []store.Kind{store.KindTenant, store.KindRecord, store.KindLog} {
				for _, id := range awkward {
					must(f.t, tx.Delete(kind, id))
				}
			}
			must(f.t, tx.Append("", labelled("e")))
			must(f.t, tx.Schedule(store.Task{At: tx.Now(), Tenant: tenant(1), Kind: store.TaskSweepDrive}))
		})
		f.wantTenants(store.Tenant{}, 10, tenant(2))
	},
	"many tenants": func(f fixture) {
		var all []store.Tenant
		for i := range 600 {
			all = append(all, store.Tenant{3: byte(i >> 8), 9: byte(i), 12: 7})
			f.rowsOf(all[i], false)
		}
		f.wantTenants(store.Tenant{}, 1000, all...)
	},
}

// full is a tenant of nothing but one byte.
func full(b byte) (t store.Tenant) {
	for i := range t {
		t[i] = b
	}
	return t
}

// rowsOf writes one row of a tenant, or many of several kinds.
func (f fixture) rowsOf(t store.Tenant, many bool) {
	f.t.Helper()
	must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: t}, func(tx store.Tx) error {
		if !many {
			return tx.Put(store.KindRecord, "\xff", nil)
		}
		for _, kind := range []store.Kind{store.KindTenant, store.KindRecord, store.KindLog} {
			for _, id := range awkward {
				must(f.t, tx.Put(kind, id, nil))
			}
		}
		return nil
	}))
}

// wantTenants fails the test unless so many tenants at the most after one are these.
func (f fixture) wantTenants(after store.Tenant, most int, want ...store.Tenant) {
	f.t.Helper()
	var got []store.Tenant
	must(f.t, f.rows.Tenants(f.ctx, after, func(t store.Tenant) bool {
		got = append(got, t)
		return len(got) < most
	}))
	if !slices.Equal(got, want) {
		f.t.Fatalf("after %s come %v, want %v", after, got, want)
	}
}
