package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// places is the value of an index row.
func places(of ...uint64) []byte {
	var b []byte
	for _, p := range of {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	return b
}

// labelled builds an entry that says its label and its place.
func labelled(label string) func(uint64) []byte {
	return func(place uint64) []byte { return fmt.Appendf(nil, "%s@%d", label, place) }
}

func (f fixture) wantEntries(want ...string) {
	f.t.Helper()
	var got []string
	for _, e := range f.entries() {
		got = append(got, string(e))
	}
	if !slices.Equal(got, want) {
		f.t.Fatalf("the outbox holds %q, want %q", got, want)
	}
}

var outboxTests = map[string]func(fixture){
	"an empty outbox": func(f fixture) {
		f.wantEntries()
		for _, place := range []uint64{0, 1, 2, 1 << 63} {
			_, err := f.outbox.Entry(f.ctx, place)
			wantErr(f.t, err, store.ErrNotFound)
		}
	},
	"places ascend from one without a gap": func(f fixture) {
		f.update(func(tx store.Tx) { must(f.t, tx.Append("", labelled("a"))) })
		f.update(func(tx store.Tx) {
			must(f.t, tx.Append("", labelled("b")))
			must(f.t, tx.Append("", labelled("c")))
		})
		err := f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
			must(f.t, tx.Append("", labelled("refused")))
			return errOfFn
		})
		wantErr(f.t, err, errOfFn)
		must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: tenant(2)}, func(tx store.Tx) error {
			return tx.Append("", labelled("d"))
		}))
		f.wantEntries("a@1", "b@2", "c@3", "d@4")
	},
	"an entry is read by its place": func(f fixture) {
		f.update(func(tx store.Tx) {
			must(f.t, tx.Append("", labelled("a")))
			must(f.t, tx.Append("", func(uint64) []byte { return nil }))
		})
		first, err := f.outbox.Entry(f.ctx, 1)
		must(f.t, err)
		if string(first) != "a@1" {
			f.t.Fatalf("got %q", first)
		}
		second, err := f.outbox.Entry(f.ctx, 2)
		must(f.t, err)
		if len(second) != 0 {
			f.t.Fatalf("got %q, want an empty entry", second)
		}
		_, err = f.outbox.Entry(f.ctx, 3)
		wantErr(f.t, err, store.ErrNotFound)
	},
	"entries are read from a place on until told to stop": func(f fixture) {
		for range 10 {
			f.update(func(tx store.Tx) { must(f.t, tx.Append("", labelled("e"))) })
		}
		var got []uint64
		must(f.t, f.outbox.Entries(f.ctx, 4, func(place uint64, e []byte) bool {
			if string(e) != fmt.Sprintf("e@%d", place) {
				f.t.Fatalf("place %d holds %q", place, e)
			}
			got = append(got, place)
			return place < 7
		}))
		if !slices.Equal(got, []uint64{4, 5, 6, 7}) {
			f.t.Fatalf("got the places %v, want 4 to 7", got)
		}
		must(f.t, f.outbox.Entries(f.ctx, 11, func(place uint64, _ []byte) bool {
			f.t.Fatalf("got place %d, want none", place)
			return false
		}))
	},
	"a transaction appends at most eight entries": func(f fixture) {
		f.update(func(tx store.Tx) {
			for range 8 {
				must(f.t, tx.Append("", labelled("e")))
			}
		})
		err := f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
			var err error
			for range 9 {
				err = errors.Join(err, tx.Append("", labelled("refused")))
			}
			return err
		})
		if err == nil {
			f.t.Fatal("a ninth entry was taken")
		}
		if got := len(f.entries()); got != 8 {
			f.t.Fatalf("the outbox holds %d entries, want 8", got)
		}
	},
	"an index holds the places of all its entries": func(f fixture) {
		f.update(func(tx store.Tx) {
			must(f.t, tx.Append("one", labelled("a")))
			must(f.t, tx.Append("two", labelled("b")))
			must(f.t, tx.Append("", labelled("c")))
			must(f.t, tx.Append("one", labelled("d")))
		})
		f.view(func(tx store.Tx) {
			f.wantRow(tx, store.KindDecision, "one", places(1, 4))
			f.wantRow(tx, store.KindDecision, "two", places(2))
			f.wantIDs(f.scan(tx, store.KindDecision, "", ""), []store.ID{"one", "two"})
		})
		f.update(func(tx store.Tx) { must(f.t, tx.Append("one", labelled("e"))) })
		must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: tenant(2)}, func(tx store.Tx) error {
			return tx.Append("one", labelled("f"))
		}))
		f.view(func(tx store.Tx) {
			f.wantRow(tx, store.KindDecision, "one", places(1, 4, 5))
			must(f.t, tx.Scan(store.KindDecision, "one", "", func(_ store.ID, v []byte) bool {
				if string(v) != string(places(1, 4, 5)) {
					f.t.Fatalf("a scan gives the places %x", v)
				}
				return true
			}))
		})
		must(f.t, f.rows.View(f.ctx, store.Scope{Tenant: tenant(2)}, func(tx store.Tx) error {
			f.wantRow(tx, store.KindDecision, "one", places(6))
			return nil
		}))
	},
	"an index that was deleted starts anew": func(f fixture) {
		f.update(func(tx store.Tx) { must(f.t, tx.Append("one", labelled("a"))) })
		f.update(func(tx store.Tx) {
			must(f.t, tx.Delete(store.KindDecision, "one"))
			must(f.t, tx.Append("one", labelled("b")))
		})
		f.view(func(tx store.Tx) { f.wantRow(tx, store.KindDecision, "one", places(2)) })
	},
	"concurrent appends leave no gap and no double": func(f fixture) {
		const writers, each = 16, 25
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					label := fmt.Sprintf("%02d-%02d", w, i)
					err := f.rows.Update(f.ctx, store.Scope{Tenant: tenant(byte(w % 5))}, func(tx store.Tx) error {
						if i%7 == 3 {
							if err := tx.Append("", labelled("refused")); err != nil {
								return err
							}
							return errOfFn
						}
						return errors.Join(tx.Append(store.ID(label), labelled(label)), tx.Append("", labelled("second")))
					})
					if err != nil && (i%7 != 3 || !errors.Is(err, errOfFn)) {
						f.t.Errorf("writer %d: %v", w, err)
					}
				}
			})
		}
		wg.Wait()
		entries := f.entries()
		want := 0
		for w := range writers {
			lastPlace := uint64(0)
			for i := range each {
				if i%7 == 3 {
					continue
				}
				want += 2
				label := fmt.Sprintf("%02d-%02d", w, i)
				must(f.t, f.rows.View(f.ctx, store.Scope{Tenant: tenant(byte(w % 5))}, func(tx store.Tx) error {
					v, err := tx.Get(store.KindDecision, store.ID(label))
					must(f.t, err)
					place := binary.BigEndian.Uint64(v)
					if place <= lastPlace {
						f.t.Fatalf("%s has place %d, which is not after %d", label, place, lastPlace)
					}
					lastPlace = place
					if got := string(entries[place-1]); got != fmt.Sprintf("%s@%d", label, place) {
						f.t.Fatalf("place %d holds %q, want %s", place, got, label)
					}
					if got := string(entries[place]); got != fmt.Sprintf("second@%d", place+1) {
						f.t.Fatalf("after %s comes %q, want its second entry", label, got)
					}
					return nil
				}))
			}
		}
		if len(entries) != want {
			f.t.Fatalf("the outbox holds %d entries, want %d", len(entries), want)
		}
	},
}

var agendaTests = map[string]func(fixture){
	"due tasks come earliest first, of any tenant": func(f fixture) {
		now := f.rows.Now()
		ago := func(d time.Duration) time.Time { return now.Add(-d) }
		plan := func(n byte, tasks ...store.Task) {
			must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: tenant(n)}, func(tx store.Tx) error {
				for _, task := range tasks {
					task.Tenant = tenant(n)
					must(f.t, tx.Schedule(task))
				}
				return nil
			}))
		}
		plan(2, store.Task{At: ago(5 * time.Nanosecond), Kind: store.TaskDeleteBlob, ID: "second", Value: []byte("v")})
		plan(1,
			store.Task{At: ago(6 * time.Nanosecond), Kind: store.TaskForgetRequest, ID: "first"},
			store.Task{At: ago(4 * time.Nanosecond), Kind: store.TaskCloseStream, ID: "third"},
			store.Task{At: now.Add(time.Hour), Kind: store.TaskCloseStream, ID: "an hour away"},
			store.Task{At: now, Kind: store.TaskCloseStream, ID: "fourth"})
		f.wantDue(10, "first", "second", "third", "fourth")
		f.wantDue(2, "first", "second")
		f.wantDue(0)
		got, err := f.rows.Due(f.ctx, 2)
		must(f.t, err)
		second := got[1]
		if !second.At.Equal(ago(5*time.Nanosecond)) || second.Tenant != tenant(2) || second.Kind != store.TaskDeleteBlob || string(second.Value) != "v" {
			f.t.Fatalf("a task came back changed: %+v", second)
		}
	},
	"a task is replaced by one of the same name": func(f fixture) {
		task := store.Task{At: f.rows.Now(), Tenant: tenant(1), Kind: store.TaskExpireRecord, ID: "a", Value: []byte("one")}
		f.update(func(tx store.Tx) { must(f.t, tx.Schedule(task)) })
		task.Value = []byte("two")
		f.update(func(tx store.Tx) { must(f.t, tx.Schedule(task)) })
		got, err := f.rows.Due(f.ctx, 10)
		must(f.t, err)
		if len(got) != 1 || string(got[0].Value) != "two" {
			f.t.Fatalf("got %+v, want the second task alone", got)
		}
	},
	"tasks that differ in one thing are apart": func(f fixture) {
		at := f.rows.Now().Add(-time.Second)
		f.update(func(tx store.Tx) {
			for _, task := range []store.Task{
				{At: at, Kind: store.TaskExpireRecord, ID: "a"},
				{At: at, Kind: store.TaskExpireRecord, ID: "A"},
				{At: at, Kind: store.TaskSweepDrive, ID: "a"},
				{At: at.Add(1), Kind: store.TaskExpireRecord, ID: "a"},
			} {
				task.Tenant = tenant(1)
				must(f.t, tx.Schedule(task))
			}
			must(f.t, tx.Unschedule(store.Task{At: at, Tenant: tenant(1), Kind: store.TaskExpireRecord, ID: "A"}))
		})
		got, err := f.rows.Due(f.ctx, 10)
		must(f.t, err)
		if len(got) != 3 {
			f.t.Fatalf("got %d tasks, want 3: %+v", len(got), got)
		}
	},
	"a task that was taken off is not due": func(f fixture) {
		task := store.Task{At: f.rows.Now(), Tenant: tenant(1), Kind: store.TaskSweepDrive, ID: "a", Value: []byte("v")}
		f.update(func(tx store.Tx) { must(f.t, tx.Schedule(task)) })
		f.wantDue(10, "a")
		task.Value = nil
		f.update(func(tx store.Tx) {
			must(f.t, tx.Unschedule(task))
			must(f.t, tx.Unschedule(task))
		})
		f.wantDue(10)
	},
	"a task of another tenant is refused": func(f fixture) {
		task := store.Task{At: f.rows.Now(), Tenant: tenant(2), Kind: store.TaskSweepDrive, ID: "a"}
		f.update(func(tx store.Tx) {
			if tx.Schedule(task) == nil || tx.Unschedule(task) == nil {
				f.t.Error("a task of another tenant was taken")
			}
		})
		f.wantDue(10)
	},
}

func (f fixture) wantDue(limit int, want ...store.ID) {
	f.t.Helper()
	tasks, err := f.rows.Due(f.ctx, limit)
	must(f.t, err)
	var got []store.ID
	for _, task := range tasks {
		got = append(got, task.ID)
	}
	if !slices.Equal(got, want) {
		f.t.Fatalf("due are %q, want %q", got, want)
	}
}

var clockTests = map[string]func(fixture){
	"the clock never runs backwards": func(f fixture) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				last := f.rows.Now()
				for range 2000 {
					now := f.rows.Now()
					if now.Before(last) {
						f.t.Errorf("the clock went from %v to %v", last, now)
					}
					last = now
				}
			})
		}
		wg.Wait()
	},
	"a transaction has one time": func(f fixture) {
		before := f.rows.Now()
		check := func(tx store.Tx) {
			at := tx.Now()
			for range 100 {
				f.rows.Now()
			}
			if !tx.Now().Equal(at) || at.Before(before) || f.rows.Now().Before(at) {
				f.t.Errorf("a transaction's time went from %v to %v", at, tx.Now())
			}
		}
		f.update(check)
		f.view(check)
	},
	"a transaction's time is read after its locks were taken": func(f fixture) {
		scope := store.Scope{Tenant: tenant(1), Exclusive: true}
		holding, waiting, second := make(chan struct{}), make(chan struct{}), make(chan time.Time, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			<-holding
			close(waiting)
			err := f.rows.Update(f.ctx, scope, func(tx store.Tx) error { second <- tx.Now(); return nil })
			if err != nil {
				f.t.Error(err)
				close(second)
			}
		})
		var end time.Time
		must(f.t, f.rows.Update(f.ctx, scope, func(store.Tx) error {
			close(holding)
			<-waiting
			time.Sleep(5 * time.Millisecond) // so that the other is likely to wait by now
			end = f.rows.Now()
			return nil
		}))
		if at := <-second; at.Before(end) {
			f.t.Fatalf("the second transaction's time is %v, the first held the lock until %v", at, end)
		}
		wg.Wait() // its commit needs the context that ends with the test
	},
}
