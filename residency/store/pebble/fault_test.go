package pebble

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/domicile-project/domicile/residency/store"
)

// disk is a file system in memory whose log can be made to hang or fail.
type disk struct {
	mem *vfs.MemFS

	mu   sync.Mutex
	hang chan struct{} // while not nil, a sync of the log waits until it is closed
	sync error         // what a sync of the log fails with
	full error         // what a write of the log fails with
}

func (d *disk) inject(op errorfs.Op) error {
	if !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	d.mu.Lock()
	hang, sync, full := d.hang, d.sync, d.full
	d.mu.Unlock()
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if hang != nil {
			<-hang
		}
		return sync
	case errorfs.OpFileWrite:
		return full
	}
	return nil
}

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func openFaulty(t *testing.T) (*Cluster, *disk) {
	t.Helper()
	d := &disk{mem: vfs.NewCrashableMem()}
	o := memory()
	o.FS, o.Logger = errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.inject)), quiet
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

var one = store.Scope{Tenant: store.Tenant{1}, Exclusive: true}

// put writes a row and an entry.
func put1(c *Cluster, ctx context.Context, name store.ID) error {
	return c.Update(ctx, one, func(tx store.Tx) error {
		return errors.Join(tx.Put(store.KindRecord, name, []byte(name)),
			tx.Append(name, func(uint64) []byte { return []byte(name) }))
	})
}

func has(c *Cluster, ctx context.Context, name store.ID) (bool, error) {
	there := false
	err := c.View(ctx, one, func(tx store.Tx) error {
		_, err := tx.Get(store.KindRecord, name)
		there = err == nil
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return there, err
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("got the error %v, want one that wraps ErrUnavailable", err)
	}
}

// soon is a context that ends long after everything that works has been done.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestAHangingDisk(t *testing.T) {
	c, d := openFaulty(t)
	closer(t, c)
	if err := put1(c, t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	d.set(func() { d.hang = hang })
	wantUnavailable(t, put1(c, soon(t), "during"))

	// Its locks are free, but nobody is told of what is not durable.
	_, err := has(c, soon(t), "during")
	wantUnavailable(t, err)
	wantUnavailable(t, c.Update(soon(t), one, func(store.Tx) error { return nil }))
	if last, err := c.Last(t.Context()); last != 1 || err != nil {
		t.Fatalf("the newest durable place is %d, %v; want 1", last, err)
	}
	if _, err := c.Entry(t.Context(), 2); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("an entry that is not durable was read: %v", err)
	}
	// Another tenant's rows, which nobody has written to, can be read.
	if err := c.View(t.Context(), store.Scope{Tenant: store.Tenant{2}}, func(store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}

	d.set(func() { d.hang = nil })
	close(hang)
	if there, err := has(c, t.Context(), "during"); !there || err != nil {
		t.Fatalf("what was written before the disk hung: %v, %v", there, err)
	}
	if err := put1(c, t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	if last, err := c.Last(t.Context()); last != 3 || err != nil {
		t.Fatalf("the newest place is %d, %v; want 3", last, err)
	}
	if n := c.engine.locks.Len(); n != 0 {
		t.Fatalf("%d locks are left over", n)
	}
}

// TestADiskThatHangsForLong fills every queue between the callers and the disk.
func TestADiskThatHangsForLong(t *testing.T) {
	c, d := openFaulty(t)
	closer(t, c)
	hang := make(chan struct{})
	d.set(func() { d.hang = hang })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			value := make([]byte, 32<<10)
			s := store.Scope{Tenant: store.Tenant{byte(w)}}
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(ctx, time.Millisecond)
				err := c.Update(one, s, func(tx store.Tx) error { return tx.Put(store.KindRecord, "a", value) })
				cancel()
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("got the error %v, want one that wraps ErrUnavailable", err)
					return
				}
			}
		})
	}
	wg.Wait()
	d.set(func() { d.hang = nil })
	close(hang)
	if err := put1(c, t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	if n := c.engine.locks.Len(); n != 0 {
		t.Fatalf("%d locks are left over", n)
	}
}

func TestABrokenLog(t *testing.T) {
	faults := map[string]func(*disk){
		"a sync fails":     func(d *disk) { d.sync = syscall.EIO },
		"the disk is full": func(d *disk) { d.full = syscall.ENOSPC },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			c, d := openFaulty(t)
			if err := put1(c, t.Context(), "before"); err != nil {
				t.Fatal(err)
			}
			d.set(func() { fault(d) })
			wantUnavailable(t, put1(c, t.Context(), "during"))
			d.set(func() { d.sync, d.full = nil, nil })

			// A log that has failed once is not trusted again.
			<-c.Failed()
			wantUnavailable(t, c.Err())
			for range 10 {
				wantUnavailable(t, put1(c, t.Context(), "after"))
			}
			_, err := has(c, t.Context(), "before")
			wantUnavailable(t, err)
			_, err = c.Due(t.Context(), 1)
			wantUnavailable(t, err)
			_, err = c.Last(t.Context())
			wantUnavailable(t, err)
			wantUnavailable(t, c.Close())
			wantAllOrNothing(t, d.mem.CrashClone(vfs.CrashCloneCfg{}), "before", "during")
		})
	}
}

// wantAllOrNothing opens what a crash left: the first write was acknowledged,
// the second was not.
func wantAllOrNothing(t *testing.T, fs vfs.FS, acknowledged, not store.ID) {
	t.Helper()
	o := memory()
	o.FS = fs
	c := openTest(t, o)
	if there, err := has(c, t.Context(), acknowledged); !there || err != nil {
		t.Fatalf("the acknowledged write: %v, %v", there, err)
	}
	there, err := has(c, t.Context(), not)
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(1)
	if there {
		want = 2
	}
	if last, err := c.Last(t.Context()); last != want || err != nil {
		t.Fatalf("the newest place is %d, %v; want %d", last, err, want)
	}
	if err := put1(c, t.Context(), "restarted"); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Entry(t.Context(), want+1); string(e) != "restarted" || err != nil {
		t.Fatalf("the next place holds %q, %v", e, err)
	}
}

func TestAnEngineThatGivesUp(t *testing.T) {
	c, _ := openFaulty(t)
	go engineLogger{c.engine}.Fatalf("an invariant of %s does not hold", "the engine") // it never returns
	<-c.Failed()
	if err := c.Err(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "an invariant of the engine") {
		t.Fatalf("Err gives %v", err)
	}
	wantUnavailable(t, put1(c, t.Context(), "a"))
	wantUnavailable(t, c.Close())
}

func TestAPanicWhileAnEntryIsBuilt(t *testing.T) {
	c := openTest(t, memory())
	func() {
		defer func() {
			if v, _ := recover().(string); !strings.Contains(v, "of build") || !strings.Contains(v, "fault_test.go") {
				t.Errorf("recovered %q, want the panic with its stack", v)
			}
		}()
		_ = c.Update(t.Context(), one, func(tx store.Tx) error {
			return errors.Join(tx.Put(store.KindRecord, "row", nil), tx.Append("", func(uint64) []byte { return nil }),
				tx.Append("", func(uint64) []byte { panic("of build") }))
		})
	}()
	if there, err := has(c, t.Context(), "row"); there || err != nil {
		t.Fatalf("a row of a transaction that panicked: %v, %v", there, err)
	}
	if err := put1(c, t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Entry(t.Context(), 1); string(e) != "after" || err != nil {
		t.Fatalf("place 1 holds %q, %v", e, err)
	}
}

// TestACallerThatLeavesIsNotBuiltFor checks that no build runs once Update has
// returned: it may use what its caller then uses again. The race detector sees one that does.
func TestACallerThatLeavesIsNotBuiltFor(t *testing.T) {
	c := openTest(t, memory())
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
		scratch := 0
		_ = c.Update(ctx, one, func(tx store.Tx) error {
			return tx.Append("", func(uint64) []byte { scratch++; return nil })
		})
		scratch--
		cancel()
	}
}
