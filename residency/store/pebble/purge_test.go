package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
)

// holding gives the files of a folder that hold some bytes.
func holding(t testing.TB, fs vfs.FS, dir string, what []byte) (found []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			continue // a file that was removed since
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, what) {
			found = append(found, name)
		}
	}
	return found
}

// fill puts n rows of a tenant, with random IDs, and a task of theirs on the agenda for each tenth.
func fill(t testing.TB, c *Cluster, tenant store.Tenant, ids []store.ID) {
	t.Helper()
	for len(ids) > 0 {
		some := ids[:min(len(ids), 500)]
		ids = ids[len(some):]
		err := c.Update(context.Background(), store.Scope{Tenant: tenant}, func(tx store.Tx) (err error) {
			for i, id := range some {
				err = errors.Join(err, tx.Put(store.KindConsent, id, bytes.Repeat([]byte{byte(i)}, 200)))
				if i%10 == 0 {
					err = errors.Join(err, tx.Schedule(taskOf(tenant, id)))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func taskOf(tenant store.Tenant, id store.ID) store.Task {
	return store.Task{At: time.Unix(1<<32, 0), Tenant: tenant, Kind: store.TaskExpireRecord, ID: id}
}

func remove(t testing.TB, c *Cluster, tenant store.Tenant, ids []store.ID) {
	t.Helper()
	err := c.Update(context.Background(), store.Scope{Tenant: tenant}, func(tx store.Tx) (err error) {
		for _, id := range ids {
			err = errors.Join(err, tx.Delete(store.KindConsent, id), tx.Unschedule(taskOf(tenant, id)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// named gives n random IDs that begin with somebody's name.
func named(t testing.TB, who []byte, n int) (ids []store.ID) {
	for range n {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(rand.Uint32()) //nolint:gosec // any bytes do
		}
		ids = append(ids, store.ID(who)+store.ID(b))
	}
	return ids
}

// Rows that were deleted are in no file after a purge: from the log alone, from one sorted file with nothing below it, from
// several levels, as first and last of all. Those of others stay.
func TestADeletedRowIsGoneFromTheFiles(t *testing.T) {
	for name, between := range map[string]func(*testing.T, *Cluster){
		"in the log": func(*testing.T, *Cluster) {},
		"in a sorted file": func(t *testing.T, c *Cluster) {
			if err := c.engine.db.Flush(); err != nil {
				t.Fatal(err)
			}
		},
		"at the bottom": func(t *testing.T, c *Cluster) {
			if err := c.engine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
				t.Fatal(err)
			}
		},
		"in many files": func(t *testing.T, c *Cluster) { fill(t, c, store.Tenant{1}, named(t, random(t, 16), 20_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			fs, o := vfs.NewMem(), memory()
			o.FS, o.Logger = fs, quiet
			c := openTest(t, o)
			gone, kept := random(t, 16), random(t, 16)
			gone[0], kept[0] = 0, 1 // the first rows, so that files begin with them
			mine := named(t, gone, 50)
			fill(t, c, store.Tenant{1}, mine)
			fill(t, c, store.Tenant{1}, named(t, kept, 50))
			between(t, c)
			remove(t, c, store.Tenant{1}, mine)
			if len(holding(t, fs, "db", gone)) == 0 {
				t.Fatal("the rows are gone already, so their absence would show nothing")
			}
			if err := c.Purge(t.Context(), []store.Tenant{{1}}); err != nil {
				t.Fatal(err)
			}
			if found := holding(t, fs, "db", gone); len(found) > 0 {
				t.Errorf("a deleted row's name is still in %v", found)
			}
			if len(holding(t, fs, "db", kept)) == 0 {
				t.Error("a kept row is in no file")
			}
			err := c.View(t.Context(), store.Scope{Tenant: store.Tenant{1}}, func(tx store.Tx) error {
				n := 0
				err := tx.Scan(store.KindConsent, store.ID(kept), "", func(store.ID, []byte) bool { n++; return true })
				if n != 50 {
					t.Errorf("%d rows are there, want 50", n)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A task that was taken off is in no file either, also where those of the agenda are not those of the rows.
func TestATaskThatWasTakenOffIsGoneFromTheFiles(t *testing.T) {
	fs, o := vfs.NewMem(), memory()
	o.FS, o.Logger = fs, quiet
	c := openTest(t, o)
	who := store.Tenant{1}
	gone := taskOf(who, store.ID(random(t, 16)))
	settle := func(what func(store.Tx) error) {
		t.Helper()
		err := c.Update(t.Context(), store.Scope{Tenant: who}, what)
		if err := errors.Join(err, c.engine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false)); err != nil {
			t.Fatal(err)
		}
	}
	settle(func(tx store.Tx) error { return tx.Schedule(gone) })
	settle(func(tx store.Tx) error { return tx.Put(store.KindConsent, "row", nil) })
	err := c.Update(t.Context(), store.Scope{Tenant: who}, func(tx store.Tx) error { return tx.Unschedule(gone) })
	if err := errors.Join(err, c.engine.db.Flush()); err != nil {
		t.Fatal(err)
	}
	if len(holding(t, fs, "db", []byte(gone.ID))) == 0 {
		t.Fatal("the task is gone already, so its absence would show nothing")
	}
	if err := c.Purge(t.Context(), []store.Tenant{who}); err != nil {
		t.Fatal(err)
	}
	if found := holding(t, fs, "db", []byte(gone.ID)); len(found) > 0 {
		t.Errorf("a task that was taken off is still in %v", found)
	}
}

// A purge beside transactions that write and delete rows of the same tenant finds its end, and what they wrote stays.
func TestAPurgeBesideTransactions(t *testing.T) {
	fs, o := vfs.NewMem(), memory()
	o.FS, o.Logger = fs, quiet
	c := openTest(t, o)
	who := store.Tenant{1}
	fill(t, c, who, named(t, []byte("before"), 5000))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	written := 0
	wg.Go(func() {
		for ; ; written++ {
			select {
			case <-stop:
				return
			default:
			}
			err := c.Update(context.Background(), store.Scope{Tenant: who}, func(tx store.Tx) error {
				return errors.Join(tx.Put(store.KindRecord, store.ID(fmt.Sprint(written)), make([]byte, 500)),
					tx.Put(store.KindRequest, store.ID(fmt.Sprint(written)), make([]byte, 500)),
					tx.Delete(store.KindRequest, store.ID(fmt.Sprint(written-50))))
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 4 {
		gone := random(t, 16)
		mine := named(t, gone, 30)
		fill(t, c, who, mine)
		remove(t, c, who, mine)
		if err := c.Purge(t.Context(), []store.Tenant{who, {2}}); err != nil {
			t.Fatal(err)
		}
		if found := holding(t, fs, "db", gone); len(found) > 0 {
			t.Errorf("a deleted row's name is still in %v", found)
		}
	}
	close(stop)
	wg.Wait()
	n := 0
	err := c.View(t.Context(), store.Scope{Tenant: who}, func(tx store.Tx) error {
		return tx.Scan(store.KindRecord, "", "", func(store.ID, []byte) bool { n++; return true })
	})
	if err != nil || n != written || n == 0 {
		t.Fatalf("%d of %d rows are there: %v", n, written, err)
	}
}

// What a reader still has open is waited for until the context ends, and gone with the next purge.
func TestAPurgeWaitsForReaders(t *testing.T) {
	fs, o := vfs.NewMem(), memory()
	o.FS, o.Logger = fs, quiet
	c := openTest(t, o)
	gone := random(t, 16)
	mine := named(t, gone, 50)
	fill(t, c, store.Tenant{1}, mine)
	if err := c.engine.db.Flush(); err != nil {
		t.Fatal(err)
	}
	it, err := c.engine.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, c, store.Tenant{1}, mine)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	wantUnavailable(t, c.Purge(ctx, []store.Tenant{{1}}))
	if len(holding(t, fs, "db", gone)) == 0 {
		t.Error("a file that is read is gone")
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Purge(t.Context(), []store.Tenant{{1}}); err != nil {
		t.Fatal(err)
	}
	if found := holding(t, fs, "db", gone); len(found) > 0 {
		t.Errorf("a deleted row's name is still in %v", found)
	}
}

// BenchmarkPurge is a purge after the deletion of ten rows, among 100,000 of 200 bytes of the same tenant.
func BenchmarkPurge(b *testing.B) {
	c := openBench(b)
	fill(b, c, store.Tenant{1}, named(b, nil, 100_000))
	written := func() (n uint64) {
		m := c.engine.db.Metrics()
		for i := range m.Levels {
			n += m.Levels[i].TableBytesFlushed + m.Levels[i].TableBytesCompacted
		}
		return n
	}
	var bytesWritten uint64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		mine := named(b, []byte("somebody"), 10)
		fill(b, c, store.Tenant{1}, mine)
		remove(b, c, store.Tenant{1}, mine)
		before := written()
		b.StartTimer()
		if err := c.Purge(context.Background(), []store.Tenant{{1}}); err != nil {
			b.Fatal(err)
		}
		bytesWritten += written() - before
	}
	b.ReportMetric(float64(bytesWritten)/float64(b.N), "written-B/op")
}
