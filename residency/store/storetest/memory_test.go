package storetest_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestMemory(t *testing.T) {
	t.Run("Rows", func(t *testing.T) {
		storetest.RunRows(t, func(*testing.T) (store.Rows, store.Outbox) {
			m := storetest.NewMemory(nil)
			return m.Rows(), m.Outbox()
		})
	})
	t.Run("Blobs", func(t *testing.T) {
		storetest.RunBlobs(t, func(*testing.T) store.Blobs { return storetest.NewMemory(nil).Blobs() })
	})
	t.Run("Directory", func(t *testing.T) {
		storetest.RunDirectory(t, func(*testing.T) store.Directory { return storetest.NewMemory(nil).Directory() })
	})
	t.Run("Keys", func(t *testing.T) {
		storetest.RunKeys(t, func(*testing.T) store.Keys { return storetest.NewMemory(nil).Keys() })
	})
}

func TestFaultyChangesNothingByItself(t *testing.T) {
	storetest.RunRows(t, func(*testing.T) (store.Rows, store.Outbox) {
		m := storetest.NewMemory(nil)
		return storetest.Faulty(m.Rows()), m.Outbox()
	})
}

var scope = store.Scope{Tenant: store.Tenant{1}, Exclusive: true}

// failing is a store's rows and how to make them fail.
type failing struct {
	rows   store.Rows
	outbox store.Outbox
	fail   func(storetest.Op, func() storetest.Fault)
}

func eachFailing(t *testing.T, test func(*testing.T, failing)) {
	t.Run("Memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := storetest.NewMemory(nil)
			test(t, failing{m.Rows(), m.Outbox(), m.Fail})
		})
	})
	t.Run("Faulty", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := storetest.NewMemory(nil)
			r := storetest.Faulty(m.Rows())
			test(t, failing{r, m.Outbox(), r.Fail})
		})
	})
}

func TestFaultsOfACommit(t *testing.T) {
	cases := []struct {
		op       storetest.Op
		fault    storetest.Fault
		persists bool
		hangs    bool
		also     error
	}{
		{storetest.OpUpdate, storetest.FaultFail, false, false, nil},
		{storetest.OpUpdate, storetest.FaultFailPersisted, true, false, nil},
		{storetest.OpUpdate, storetest.FaultFull, false, false, syscall.ENOSPC},
		{storetest.OpUpdate, storetest.FaultHang, false, true, context.DeadlineExceeded},
		{storetest.OpUpdate, storetest.FaultHangPersisted, true, true, context.DeadlineExceeded},
		{storetest.OpAppend, storetest.FaultFail, false, false, nil},
		{storetest.OpAppend, storetest.FaultFailPersisted, true, false, nil},
		{storetest.OpAppend, storetest.FaultFull, false, false, syscall.ENOSPC},
		{storetest.OpAppend, storetest.FaultHang, false, true, context.DeadlineExceeded},
		{storetest.OpAppend, storetest.FaultHangPersisted, true, true, context.DeadlineExceeded},
	}
	for _, c := range cases {
		eachFailing(t, func(t *testing.T, f failing) {
			f.fail(c.op, storetest.Once(c.fault))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			start := time.Now()
			err := f.rows.Update(ctx, scope, func(tx store.Tx) error {
				// A caller that overlooks the error of an Append must not get its rows.
				_ = tx.Append("index", func(uint64) []byte { return []byte("entry") })
				return tx.Put(store.KindRecord, "row", []byte("value"))
			})
			if !errors.Is(err, store.ErrUnavailable) || c.also != nil && !errors.Is(err, c.also) {
				t.Fatalf("%s: got %v", c.op, err)
			}
			if hung := time.Since(start) == time.Hour; hung != c.hangs {
				t.Fatalf("%s: answered after %v", c.op, time.Since(start))
			}
			wantState(t, f, c.persists)
			if err := write(f); err != nil {
				t.Fatalf("after the fault: %v", err)
			}
		})
	}
}

func write(f failing) error {
	return f.rows.Update(context.Background(), scope, func(tx store.Tx) error {
		return errors.Join(tx.Append("", func(uint64) []byte { return []byte("more") }), tx.Put(store.KindRecord, "other", nil))
	})
}

// wantState checks all that a faulty transaction may have left.
func wantState(t *testing.T, f failing, there bool) {
	t.Helper()
	last, err := f.outbox.Last(t.Context())
	if err != nil || (last == 1) != there {
		t.Fatalf("the newest place is %d (%v), want an entry: %v", last, err, there)
	}
	err = f.rows.View(t.Context(), scope, func(tx store.Tx) error {
		_, row := tx.Get(store.KindRecord, "row")
		_, index := tx.Get(store.KindDecision, "index")
		if (row == nil) != there || (index == nil) != there {
			t.Fatalf("the row: %v, the index: %v, want them there: %v", row, index, there)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFaultsOfReads(t *testing.T) {
	eachFailing(t, func(t *testing.T, f failing) {
		f.fail(storetest.OpView, storetest.Always(storetest.FaultFail))
		f.fail(storetest.OpDue, storetest.Always(storetest.FaultHang))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.rows.View(ctx, scope, func(store.Tx) error { return nil }); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("View: %v", err)
		}
		if _, err := f.rows.Due(ctx, 1); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Due: %v", err)
		}
		f.fail(storetest.OpView, nil)
		if err := f.rows.View(t.Context(), scope, func(store.Tx) error { return nil }); err != nil {
			t.Fatalf("View, after the fault was taken back: %v", err)
		}
	})
}

func TestFaultsOfTheOthers(t *testing.T) {
	ctx := t.Context()
	for _, persisted := range []bool{false, true} {
		fault := storetest.FaultFail
		if persisted {
			fault = storetest.FaultFailPersisted
		}
		m := storetest.NewMemory(nil)
		ops := map[storetest.Op]func() error{
			storetest.OpKeysCreate: func() error { _, err := m.Keys().Create(ctx, "k", []byte("key")); return err },
			storetest.OpDirectoryReserve: func() error {
				_, err := m.Directory().Reserve(ctx, store.Tenant{1}, store.Placement{Region: "ch"})
				return err
			},
			storetest.OpBlobCommit: func() error {
				w, err := m.Blobs().Create(ctx, "b")
				if err != nil {
					return err
				}
				return w.Commit()
			},
		}
		for op, do := range ops {
			m.Fail(op, storetest.Once(fault))
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("%s: %v", op, err)
			}
			if err := do(); errors.Is(err, store.ErrExists) != persisted {
				t.Fatalf("%s, again: %v, want that it exists: %v", op, err, persisted)
			}
		}
	}
}

func TestMemoryClockStandsStillRatherThanRunBackwards(t *testing.T) {
	at := time.Unix(1000, 0)
	m := storetest.NewMemory(func() time.Time { return at })
	first := m.Rows().Now()
	at = at.Add(-time.Hour)
	if got := m.Rows().Now(); !got.Equal(first) {
		t.Fatalf("the clock went from %v to %v", first, got)
	}
}

// TestVirtualTime holds that everything that waits in the memory store waits on
// something that a synctest bubble can see.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory(time.Now)
		holding := make(chan struct{})
		go func() {
			_ = m.Rows().Update(t.Context(), scope, func(store.Tx) error {
				close(holding)
				time.Sleep(time.Hour)
				return nil
			})
		}()
		<-holding
		start := time.Now()
		if err := m.Rows().Update(t.Context(), scope, func(store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != time.Hour {
			t.Fatalf("waited %v for the lock, want an hour", waited)
		}
	})
}

// A Lead that fails changes nothing, or persists: who asks again is told.
func TestFaultsOfLeading(t *testing.T) {
	eachFailing(t, func(t *testing.T, f failing) {
		for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultHang, storetest.FaultFailPersisted, storetest.FaultHangPersisted} {
			f.fail(storetest.OpLead, storetest.Once(fault))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			epoch, err := f.rows.Lead(ctx, "one", time.Hour)
			cancel()
			if !errors.Is(err, store.ErrUnavailable) || epoch != 0 {
				t.Fatalf("fault %d: epoch %d, %v", fault, epoch, err)
			}
			persisted := fault == storetest.FaultFailPersisted || fault == storetest.FaultHangPersisted
			epoch, err = f.rows.Lead(t.Context(), "two", time.Hour)
			if persisted != errors.Is(err, store.ErrConflict) {
				t.Fatalf("fault %d: another leads in epoch %d: %v", fault, epoch, err)
			}
			for _, holder := range []string{"one", "two"} {
				_, _ = f.rows.Lead(t.Context(), holder, 0) // whoever leads gives it up
			}
		}
	})
}

// A drop that fails changed nothing, or made the first place durable, or removed everything: the entries before the
// first place are given to nobody, and dropping again ends it.
func TestFaultsOfDropping(t *testing.T) {
	cases := []struct {
		op      storetest.Op
		fault   storetest.Fault
		dropped bool
	}{
		{storetest.OpDrop, storetest.FaultFail, false},
		{storetest.OpDrop, storetest.FaultFailPersisted, true},
		{storetest.OpRemove, storetest.FaultFail, true},
		{storetest.OpRemove, storetest.FaultFailPersisted, true},
	}
	for _, c := range cases {
		m := storetest.NewMemory(nil)
		f := failing{m.Rows(), m.Outbox(), m.Fail}
		for range 3 {
			if err := write(f); err != nil {
				t.Fatal(err)
			}
		}
		m.Fail(c.op, storetest.Once(c.fault))
		if err := m.Outbox().Drop(t.Context(), 2, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("%s, fault %d: %v", c.op, c.fault, err)
		}
		wantFirst(t, m.Outbox(), map[bool]uint64{false: 1, true: 3}[c.dropped])
		if err := m.Outbox().Drop(t.Context(), 2, 0); err != nil {
			t.Fatal(err)
		}
		wantFirst(t, m.Outbox(), 3)
	}
}

// wantFirst fails the test unless an outbox of three entries begins at a place, however it is read.
func wantFirst(t *testing.T, o store.Outbox, want uint64) {
	t.Helper()
	first, err := o.First(t.Context())
	if first != want || err != nil {
		t.Fatalf("the first place is %d, want %d: %v", first, want, err)
	}
	n := uint64(0)
	count := func(uint64, []byte) bool { n++; return true }
	if err := errors.Join(o.Entries(t.Context(), 1, count), o.At(t.Context(), []uint64{1, 2, 3}, count)); err != nil || n != 2*(4-want) {
		t.Fatalf("from place %d on, %d entries were given in two readings: %v", first, n, err)
	}
	for place := uint64(1); place <= 3; place++ {
		if _, err := o.Entry(t.Context(), place); errors.Is(err, store.ErrNotFound) != (place < want) {
			t.Fatalf("the entry at place %d: %v", place, err)
		}
	}
}
