package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// How a power-loss test works: writers write, and note what was acknowledged.
// Meanwhile the file system is cloned as a power failure would leave it: what
// was synced is there, and a random part of what was not. Each clone is opened and checked.
const (
	crashWriters   = 6
	crashesPerRun  = 25 // clones of one database; then the next one begins
	crashRowsEvery = 3  // every so many transactions a writer's oldest row is deleted
)

// TestPowerLoss clones a database under load and checks in every clone that no
// acknowledged transaction is lost, that each is there whole or not at all,
// and that the outbox has no gap.
func TestPowerLoss(t *testing.T) {
	clones := storetest.Sample(t, "power failures", 300, 10_000)
	var lost, transactions uint64
	for run := 0; run*crashesPerRun < clones; run++ {
		n, acknowledged := powerLossRun(t, uint64(run), min(crashesPerRun, clones-run*crashesPerRun))
		lost += n
		transactions += acknowledged
	}
	t.Logf("%d power failures, %d transactions acknowledged, %d of them lost", clones, transactions, lost)
}

// unnested reuses logs in two steps. MemFS does it in one, under a read lock
// taken twice, which hangs for good when a clone is asked for in between.
type unnested struct{ *vfs.MemFS }

func (f unnested) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(newname, c)
}

// powerLossRun checks some clones of one database, and gives how many
// acknowledged transactions were missing and how many there were.
func powerLossRun(t *testing.T, seed uint64, clones int) (lost, acknowledged uint64) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	o := memory()
	o.FS, o.Logger = unnested{fs}, quiet
	o.memTableBytes = 64 << 10 // so that logs and sorted files come and go
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var acked [crashWriters]atomic.Uint64
	var rest sync.RWMutex // held while a clone is checked, so that the database stays small
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := uint64(1); ctx.Err() == nil; n++ {
				rest.RLock()
				err := crashTransaction(c, w, n)
				rest.RUnlock()
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				acked[w].Store(n)
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 7))
	for range clones {
		for target := acked[0].Load() + uint64(r.IntN(12)); acked[0].Load() < target && !t.Failed(); {
			runtime.Gosched() // the writers get on by their own count, not by the clock
		}
		var before [crashWriters]uint64
		for w := range before {
			before[w] = acked[w].Load()
		}
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 70, 100}[r.IntN(4)], RNG: r})
		rest.Lock()
		lost += checkClone(t, clone, before)
		rest.Unlock()
	}
	stop()
	wg.Wait()
	for w := range acked {
		acknowledged += acked[w].Load()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return lost, acknowledged
}

func crashLabel(w int, n uint64, part int) string { return fmt.Sprintf("%d/%06d/%d", w, n, part) }

func crashID(n uint64) store.ID { return store.ID(binary.BigEndian.AppendUint64(nil, n)) }

// crashTransaction is a writer's n-th transaction: two rows, a deletion, a task
// and two entries; every fifth time, one that changes its mind comes before it.
func crashTransaction(c *Cluster, w int, n uint64) error {
	t := store.Tenant{byte(w)}
	s := store.Scope{Tenant: t, Objects: []store.Lock{{Object: "a", Exclusive: true}}}
	changed := errors.New("changed its mind")
	write := func(tx store.Tx) error {
		err := errors.Join(
			tx.Put(store.KindRecord, crashID(n), make([]byte, 100+n%700)),
			tx.Put(store.KindTenant, "", []byte(crashID(n))),
			tx.Schedule(store.Task{At: tx.Now(), Tenant: t, Kind: store.TaskSweepDrive, ID: crashID(n)}),
			tx.Append(crashID(n), func(uint64) []byte { return []byte(crashLabel(w, n, 1)) }),
			tx.Append("", func(uint64) []byte { return []byte(crashLabel(w, n, 2)) }))
		if n%crashRowsEvery == 0 {
			err = errors.Join(err, tx.Delete(store.KindRecord, crashID(n/crashRowsEvery)))
		}
		return err
	}
	if n%5 == 0 {
		err := c.Update(context.Background(), s, func(tx store.Tx) error { return errors.Join(write(tx), changed) })
		if !errors.Is(err, changed) {
			return err
		}
	}
	return c.Update(context.Background(), s, write)
}

// checkClone opens what a power failure left and gives how many acknowledged
// transactions are missing from it.
func checkClone(t *testing.T, fs *vfs.MemFS, acked [crashWriters]uint64) (lost uint64) {
	t.Helper()
	o := memory()
	o.FS, o.Logger = fs, quiet
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatalf("after a power failure: %v", err)
	}
	// What has been seen must survive the next power failure too.
	again := fs.CrashClone(vfs.CrashCloneCfg{})
	last := checkOutbox(t, c)
	for w, last := range last {
		if last < acked[w] {
			t.Errorf("writer %d: transaction %d was acknowledged, %d is the newest there", w, acked[w], last)
			lost += acked[w] - last
		}
		checkRows(t, c, w, last)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = again
	if c, err = OpenCluster("db", o); err != nil {
		t.Fatalf("after a second power failure: %v", err)
	}
	if now := checkOutbox(t, c); now != last {
		t.Errorf("after a second power failure the newest transactions are %v, they were %v", now, last)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return lost
}

// checkOutbox checks that the outbox has every transaction's two entries after
// one another and in the writers' order, without a gap, and gives each writer's newest.
func checkOutbox(t *testing.T, c *Cluster) (last [crashWriters]uint64) {
	t.Helper()
	pending := "" // what must come next, as the second entry of a transaction
	want := uint64(0)
	err := c.Entries(t.Context(), 1, func(place uint64, entry []byte) bool {
		want++
		var w, part int
		var n uint64
		if _, err := fmt.Sscanf(string(entry), "%d/%d/%d", &w, &n, &part); err != nil || place != want {
			t.Fatalf("place %d, want %d, holds %q", place, want, entry)
		}
		switch {
		case pending != "" && string(entry) != pending, pending == "" && (part != 1 || n != last[w]+1):
			t.Fatalf("place %d holds %q after transaction %d, pending %q", place, entry, last[w], pending)
		case part == 1:
			pending = crashLabel(w, n, 2)
		default:
			pending, last[w] = "", n
		}
		return true
	})
	if newest, lastErr := c.Last(t.Context()); err != nil || lastErr != nil || pending != "" || newest != want {
		t.Fatalf("the outbox ends at %d of %d, pending %q: %v, %v", want, newest, pending, err, lastErr)
	}
	return last
}

// checkRows checks that a writer's rows are those of its transactions up to the newest, and of no other.
func checkRows(t *testing.T, c *Cluster, w int, last uint64) {
	t.Helper()
	err := c.View(t.Context(), store.Scope{Tenant: store.Tenant{byte(w)}}, func(tx store.Tx) error {
		newest, err := tx.Get(store.KindTenant, "")
		if last > 0 && (err != nil || string(newest) != string(crashID(last))) {
			t.Fatalf("writer %d: the newest row says %x (%v), the outbox %d", w, newest, err, last)
		}
		n := last / crashRowsEvery
		err = tx.Scan(store.KindRecord, "", "", func(id store.ID, v []byte) bool {
			n++
			if id != crashID(n) || len(v) != int(100+n%700) {
				t.Fatalf("writer %d: the row %x of %d bytes stands where transaction %d's should", w, id, len(v), n)
			}
			return true
		})
		if n != last || err != nil {
			t.Fatalf("writer %d: rows up to %d of %d, %v", w, n, last, err)
		}
		n = 0
		err = tx.Scan(store.KindDecision, "", "", func(id store.ID, v []byte) bool {
			n++
			e, err := c.Entry(t.Context(), binary.BigEndian.Uint64(v))
			if id != crashID(n) || len(v) != 8 || err != nil || string(e) != crashLabel(w, n, 1) {
				t.Fatalf("writer %d: the index of transaction %d leads to %q, %v", w, n, e, err)
			}
			return true
		})
		if n != last || err != nil {
			t.Fatalf("writer %d: indexes up to %d of %d, %v", w, n, last, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
