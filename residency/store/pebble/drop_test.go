package pebble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// append1 appends an entry that says its place.
func append1(ctx context.Context, c *Cluster) error {
	return c.Update(ctx, one, func(tx store.Tx) error {
		return tx.Append("", func(place uint64) []byte { return fmt.Append(nil, place) })
	})
}

// checkKept fails the test unless the outbox gives every entry between its two ends, which it gives back.
func checkKept(t *testing.T, c *Cluster) (first, last uint64) {
	t.Helper()
	first, err := c.First(t.Context())
	last, lastErr := c.Last(t.Context())
	if err := errors.Join(err, lastErr); err != nil {
		t.Fatal(err)
	}
	want := first
	err = c.Entries(t.Context(), 1, func(place uint64, entry []byte) bool {
		if place != want || string(entry) != fmt.Sprint(place) {
			t.Fatalf("place %d holds %q, want place %d", place, entry, want)
		}
		want++
		return true
	})
	if err != nil || want != last+1 {
		t.Fatalf("the outbox goes from %d to %d and gives entries up to %d: %v", first, last, want-1, err)
	}
	return first, last
}

// stored counts the entries that the database still has, given or not.
func stored(t *testing.T, c *Cluster) (n int) {
	t.Helper()
	it, err := c.engine.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixOutbox}, UpperBound: []byte{prefixOutbox + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// A process that dies between making the first place durable and removing what is before it leaves entries that
// nobody is given, and that the next drop removes. Dropped whole, the outbox still knows where it was.
func TestADropGoesOnAfterACrash(t *testing.T) {
	o := memory()
	reopen := func(then func(c *Cluster)) {
		t.Helper()
		c, err := OpenCluster("db", o)
		if err != nil {
			t.Fatal(err)
		}
		then(c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(c *Cluster, first, last uint64, left int) {
		t.Helper()
		if f, l := checkKept(t, c); f != first || l != last || stored(t, c) != left {
			t.Fatalf("the outbox goes from %d to %d and %d entries are stored, want %d to %d and %d", f, l, stored(t, c), first, last, left)
		}
	}
	reopen(func(c *Cluster) {
		for range 10 {
			if err := append1(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.engine.forget(t.Context(), 6, 0); err != nil {
			t.Fatal(err)
		}
		want(c, 7, 10, 10)
	})
	reopen(func(c *Cluster) {
		want(c, 7, 10, 10)
		if err := c.Drop(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
		want(c, 7, 10, 4)
		if err := c.Drop(t.Context(), 10, 0); err != nil {
			t.Fatal(err)
		}
	})
	reopen(func(c *Cluster) {
		want(c, 11, 10, 0)
		if err := append1(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want(c, 11, 11, 1)
	})
}

// A hole after the first place is damage, at the end too.
func TestAHoleIsNotTakenForADrop(t *testing.T) {
	for _, hole := range []uint64{3, 4, 6} {
		c := openTest(t, memory())
		for range 6 {
			if err := append1(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Drop(t.Context(), 2, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.engine.db.Delete(outboxKey(nil, hole), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		given := uint64(2)
		err := c.Entries(t.Context(), 1, func(place uint64, _ []byte) bool { given = place; return true })
		if !errors.Is(err, store.ErrCorrupt) || given != hole-1 {
			t.Fatalf("without place %d the entries up to %d were given: %v", hole, given, err)
		}
	}
}

// A power failure while entries are appended and dropped: what was dropped stays dropped, what was appended is there,
// and the outbox has no gap between its ends.
func TestPowerLossWhileEntriesAreDropped(t *testing.T) {
	clones := storetest.Sample(t, "power failures", 100, 2000)
	for run := uint64(0); clones > 0; run++ {
		powerLossOfDrops(t, run, min(clones, crashesPerRun))
		clones -= crashesPerRun
	}
}

func powerLossOfDrops(t *testing.T, seed uint64, clones int) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	o := memory()
	o.FS, o.Logger, o.memTableBytes = unnested{fs}, quiet, 64<<10
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var appended, dropped, dropping atomic.Uint64 // acknowledged, acknowledged, begun
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint64(1); ctx.Err() == nil; n++ {
			if err := append1(context.Background(), c); err != nil {
				t.Error(err)
				return
			}
			appended.Store(n)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			upTo := max(appended.Load(), 20) - 20
			dropping.Store(upTo)
			if err := c.Drop(context.Background(), upTo, 0); err != nil {
				t.Error(err)
				return
			}
			dropped.Store(upTo)
			runtime.Gosched()
		}
	})
	r := rand.New(rand.NewPCG(seed, 8))
	for range clones {
		for target := appended.Load() + uint64(r.IntN(40)); appended.Load() < target && !t.Failed(); {
			runtime.Gosched()
		}
		atLeast, first := appended.Load(), dropped.Load()+1
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 70, 100}[r.IntN(4)], RNG: r})
		checkDropClone(t, clone, first, dropping.Load()+1, atLeast)
	}
	stop()
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkDropClone opens what a power failure left. The first place is between two, the last is at least atLeast.
func checkDropClone(t *testing.T, fs *vfs.MemFS, least, most, atLeast uint64) {
	t.Helper()
	o := memory()
	o.FS, o.Logger = fs, quiet
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatalf("after a power failure: %v", err)
	}
	first, last := checkKept(t, c)
	if first < least || first > most || last < atLeast {
		t.Fatalf("after a power failure the outbox goes from %d to %d, want it to begin between %d and %d and to end at %d or later", first, last, least, most, atLeast)
	}
	if err := c.Drop(t.Context(), last, 0); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, c); n != 0 {
		t.Fatalf("%d entries are stored after all were dropped", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
