package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/domicile-project/domicile/residency/store"
)

// Which scopes exclude each other, cancellation, fairness to writers and freedom
// from deadlock are held by the conformance suite in storetest, which every
// backend that uses the table runs. Here is what a backend cannot show.

var shared, exclusive = store.Scope{}, store.Scope{Exclusive: true}

// acquire takes locks that must be free.
func acquire(t *testing.T, table *Table, s store.Scope) *Held {
	t.Helper()
	held := new(Held)
	if err := table.Acquire(t.Context(), s, false, held); err != nil {
		t.Fatal(err)
	}
	return held
}

// queue asks for locks in the background and gives a channel that gets them.
func queue(ctx context.Context, table *Table, s store.Scope) <-chan *Held {
	got := make(chan *Held, 1)
	go func() {
		held := new(Held)
		if table.Acquire(ctx, s, false, held) != nil {
			held = nil
		}
		got <- held
	}()
	synctest.Wait()
	return got
}

// waiting fails the test unless nobody of these has been served.
func waiting(t *testing.T, queues ...<-chan *Held) {
	t.Helper()
	synctest.Wait()
	for i, q := range queues {
		if len(q) > 0 {
			t.Fatalf("number %d did not wait", i)
		}
	}
}

func TestLocksAreGrantedInTheOrderOfAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New()
		first := acquire(t, table, shared)
		writer := queue(t.Context(), table, exclusive)
		reader1 := queue(t.Context(), table, shared)
		reader2 := queue(t.Context(), table, shared)
		writer2 := queue(t.Context(), table, exclusive)
		reader3 := queue(t.Context(), table, shared)
		waiting(t, writer, reader1, reader2, writer2, reader3)
		first.Release()
		w := <-writer
		waiting(t, reader1, reader2, writer2, reader3)
		w.Release()
		r1, r2 := <-reader1, <-reader2
		waiting(t, writer2, reader3)
		r1.Release()
		waiting(t, writer2, reader3)
		r2.Release()
		(<-writer2).Release()
		(<-reader3).Release()
		if n := table.Len(); n != 0 {
			t.Fatalf("%d locks are left over", n)
		}
	})
}

func TestWhoStopsWaitingLetsTheNextOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New()
		first := acquire(t, table, shared)
		ctx, cancel := context.WithCancel(t.Context())
		writer := queue(ctx, table, exclusive)
		reader := queue(t.Context(), table, shared)
		waiting(t, writer, reader)
		cancel()
		if <-writer != nil {
			t.Fatal("the writer got its locks")
		}
		(<-reader).Release()
		first.Release()
		if n := table.Len(); n != 0 {
			t.Fatalf("%d locks are left over", n)
		}
	})
}

func TestTheErrorOfWhoStopsWaiting(t *testing.T) {
	table := New()
	defer acquire(t, table, exclusive).Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := table.Acquire(ctx, shared, false, new(Held))
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got the error %v, want one that wraps ErrUnavailable and Canceled", err)
	}
}

func TestNoMemoryIsKept(t *testing.T) {
	table := New()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				s := store.Scope{Tenant: store.Tenant{byte(r.IntN(3))}, Exclusive: r.IntN(8) == 0}
				for range r.IntN(9) {
					id := store.ID(strings.Repeat("x", r.IntN(5)))
					s.Objects = append(s.Objects, store.Lock{Object: id, Exclusive: r.IntN(2) == 0})
				}
				go cancel()
				var held Held
				if table.Acquire(ctx, s, r.IntN(2) == 0, &held) == nil {
					held.Release()
				} else if held.n != 0 {
					t.Error("a scope that was not granted holds something")
				}
				held.Release() // does nothing
			}
		})
	}
	wg.Wait()
	if n := table.Len(); n != 0 {
		t.Fatalf("%d locks are left over", n)
	}
}

func TestAnUncontendedLockMakesNoGarbage(t *testing.T) {
	table := New()
	s := store.Scope{Objects: []store.Lock{{Object: "a", Exclusive: true}, {Object: "b"}}}
	var held Held
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		if err := table.Acquire(ctx, s, false, &held); err != nil {
			t.Fatal(err)
		}
		held.Release()
	})
	if n != 0 {
		t.Fatalf("%v allocations, want none", n)
	}
}

func BenchmarkAcquire(b *testing.B) {
	b.ReportAllocs()
	table := New()
	b.RunParallel(func(p *testing.PB) {
		s := store.Scope{Objects: []store.Lock{{Object: "a", Exclusive: true}}}
		s.Tenant[0] = byte(rand.Uint32())
		var held Held
		for p.Next() {
			if err := table.Acquire(b.Context(), s, false, &held); err != nil {
				b.Fatal(err)
			}
			held.Release()
		}
	})
}

// Who waits for a change of leaders holds nothing, and a renewal waits for no scope.
func TestLeadershipComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New()
		ofEpoch := store.Scope{Exclusive: true, Epoch: 1}
		running := acquire(t, table, store.Scope{Tenant: store.Tenant{1}, Epoch: 1})
		follower := make(chan *Held, 1)
		go func() {
			held := new(Held)
			if err := table.AcquireLeadership(t.Context(), true, held); err != nil {
				t.Error(err)
			}
			follower <- held
		}()
		synctest.Wait()
		behind := queue(t.Context(), table, ofEpoch)
		waiting(t, follower, behind)
		call := acquire(t, table, exclusive) // of the tenant that the scope behind the follower is about
		renewal := new(Held)
		if err := table.AcquireLeadership(t.Context(), false, renewal); err != nil {
			t.Fatal(err)
		}
		renewal.Release()
		call.Release()
		running.Release()
		held := <-follower
		waiting(t, behind)
		held.Release()
		(<-behind).Release()
		if n := table.Len(); n != 0 {
			t.Errorf("%d locks are left", n)
		}
	})
}
