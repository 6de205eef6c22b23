package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// RunRows holds a backend against the contracts of store.Rows, store.Tx and
// store.Outbox. open gives an empty cluster and closes it by t.Cleanup.
func RunRows(t *testing.T, open func(t *testing.T) (store.Rows, store.Outbox)) {
	groups := []map[string]func(fixture){rowTests, aheadTests, scanTests, outcomeTests, agendaTests, clockTests, outboxTests, dropTests, tenantTests, lockTests, leaderTests}
	for _, tests := range groups {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				rows, outbox := open(t)
				test(fixture{t, contextFor(t), rows, outbox})
			})
		}
	}
}

// awkward is identifiers in ascending byte order, as a case-folding, trimming,
// collating or text-only backend would not keep them.
var awkward = []store.ID{
	"\x00", "\x00\x00", "\x00\xff", "\n", " ", " a", "%", "-", "/", "0", "10", "9", "A", "AA", "Aa", "B", "Z", "_",
	"a", "a\x00", "a ", "aA", "aa", "b", "z", "\x7f", "\x80", "\xc3\x84", "\xe0", "\xff", "\xff\x00", "\xff\xff",
}

var rowTests = map[string]func(fixture){
	"an absent row is not found": func(f fixture) {
		f.update(func(tx store.Tx) { f.wantNoRow(tx, store.KindRecord, "a") })
		f.view(func(tx store.Tx) { f.wantNoRow(tx, store.KindTenant, "") })
	},
	"a row is there until deleted": func(f fixture) {
		f.update(func(tx store.Tx) {
			must(f.t, tx.Put(store.KindTenant, "", []byte("one")))
			f.wantRow(tx, store.KindTenant, "", []byte("one"))
		})
		f.update(func(tx store.Tx) {
			f.wantRow(tx, store.KindTenant, "", []byte("one"))
			must(f.t, tx.Put(store.KindTenant, "", []byte("two")))
			f.wantRow(tx, store.KindTenant, "", []byte("two"))
		})
		f.update(func(tx store.Tx) {
			f.wantRow(tx, store.KindTenant, "", []byte("two"))
			must(f.t, tx.Delete(store.KindTenant, ""))
			f.wantNoRow(tx, store.KindTenant, "")
		})
		f.view(func(tx store.Tx) { f.wantNoRow(tx, store.KindTenant, "") })
	},
	"the last write of a transaction counts": func(f fixture) {
		f.update(func(tx store.Tx) {
			must(f.t, tx.Put(store.KindRecord, "kept", []byte("1")))
			must(f.t, tx.Delete(store.KindRecord, "kept"))
			must(f.t, tx.Put(store.KindRecord, "kept", []byte("a longer value")))
			must(f.t, tx.Put(store.KindRecord, "gone", []byte("1")))
			must(f.t, tx.Delete(store.KindRecord, "gone"))
		})
		f.view(func(tx store.Tx) {
			f.wantRow(tx, store.KindRecord, "kept", []byte("a longer value"))
			f.wantNoRow(tx, store.KindRecord, "gone")
		})
	},
	"deleting what is not there is no error": func(f fixture) {
		f.update(func(tx store.Tx) { must(f.t, tx.Delete(store.KindRecord, "a")) })
	},
	"an empty value is a value": func(f fixture) {
		f.update(func(tx store.Tx) {
			must(f.t, tx.Put(store.KindRecord, "nil", nil))
			must(f.t, tx.Put(store.KindRecord, "empty", []byte{}))
			f.wantRow(tx, store.KindRecord, "nil", nil)
		})
		f.view(func(tx store.Tx) {
			f.wantRow(tx, store.KindRecord, "nil", nil)
			f.wantRow(tx, store.KindRecord, "empty", nil)
			if got := f.scan(tx, store.KindRecord, "", ""); len(got) != 2 {
				f.t.Fatalf("a scan gives %q, want both rows", got)
			}
		})
	},
	"values are any bytes of any length": func(f fixture) {
		value := bytes.Repeat([]byte{0, 1, 0xff, '\n', 0x80}, 200<<10)
		f.update(func(tx store.Tx) { must(f.t, tx.Put(store.KindRecord, "a", value)) })
		f.view(func(tx store.Tx) { f.wantRow(tx, store.KindRecord, "a", value) })
	},
	"identifiers are any bytes and compared byte for byte": func(f fixture) {
		f.update(func(tx store.Tx) {
			for i, id := range awkward {
				must(f.t, tx.Put(store.KindRecord, id, []byte{byte(i)}))
			}
		})
		f.view(func(tx store.Tx) {
			for i, id := range awkward {
				f.wantRow(tx, store.KindRecord, id, []byte{byte(i)})
			}
			f.wantNoRow(tx, store.KindRecord, "AB")
			f.wantNoRow(tx, store.KindRecord, "")
		})
	},
	"tenants and kinds are apart": func(f fixture) {
		for n := byte(1); n <= 2; n++ {
			must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: tenant(n)}, func(tx store.Tx) error {
				for kind := store.KindTenant; kind <= store.KindStream; kind++ {
					must(f.t, tx.Put(kind, "a", []byte{n, byte(kind)}))
				}
				return nil
			}))
		}
		for n := byte(1); n <= 2; n++ {
			must(f.t, f.rows.View(f.ctx, store.Scope{Tenant: tenant(n)}, func(tx store.Tx) error {
				for kind := store.KindTenant; kind <= store.KindStream; kind++ {
					f.wantRow(tx, kind, "a", []byte{n, byte(kind)})
					if got := f.scan(tx, kind, "", ""); len(got) != 1 {
						f.t.Fatalf("a scan of kind %d gives %q, want one row", kind, got)
					}
				}
				return nil
			}))
		}
		must(f.t, f.rows.View(f.ctx, store.Scope{Tenant: tenant(3)}, func(tx store.Tx) error {
			f.wantNoRow(tx, store.KindTenant, "a")
			return nil
		}))
	},
	"slices belong to who made or got them": func(f fixture) {
		value := []byte("value")
		f.update(func(tx store.Tx) {
			must(f.t, tx.Put(store.KindRecord, "a", value))
			value[0] = 'X'
			got, err := tx.Get(store.KindRecord, "a")
			must(f.t, err)
			got[0] = 'Y'
			f.wantRow(tx, store.KindRecord, "a", []byte("value"))
		})
		var kept []byte
		f.view(func(tx store.Tx) {
			var err error
			kept, err = tx.Get(store.KindRecord, "a")
			must(f.t, err)
		})
		f.update(func(tx store.Tx) { must(f.t, tx.Put(store.KindRecord, "a", []byte("other"))) })
		if string(kept) != "value" {
			f.t.Fatalf("a slice that Get gave became %q", kept)
		}
	},
	"a transaction may write very many rows": func(f fixture) {
		const n = 3000
		f.update(func(tx store.Tx) {
			for i := range n {
				must(f.t, tx.Put(store.KindExtent, store.ID(fmt.Sprintf("%06d", i)), []byte("0")))
			}
			for i := range n {
				must(f.t, tx.Put(store.KindExtent, store.ID(fmt.Sprintf("%06d", i)), []byte("1")))
			}
			f.wantRow(tx, store.KindExtent, "000000", []byte("1"))
		})
		f.view(func(tx store.Tx) {
			if got := len(f.scan(tx, store.KindExtent, "", "")); got != n {
				f.t.Fatalf("got %d rows, want %d", got, n)
			}
			f.wantRow(tx, store.KindExtent, "002999", []byte("1"))
		})
	},
}

var scanTests = map[string]func(fixture){
	"a scan goes in ascending byte order": func(f fixture) {
		f.update(func(tx store.Tx) {
			for i := range awkward {
				id := awkward[(i*7+3)%len(awkward)]
				must(f.t, tx.Put(store.KindRecord, id, []byte(id)))
			}
			f.wantIDs(f.scan(tx, store.KindRecord, "", ""), awkward)
		})
		f.view(func(tx store.Tx) {
			f.wantIDs(f.scan(tx, store.KindRecord, "", ""), awkward)
			must(f.t, tx.Scan(store.KindRecord, "", "", func(id store.ID, value []byte) bool {
				if string(value) != string(id) {
					f.t.Fatalf("row %q has the value %q", id, value)
				}
				return true
			}))
		})
	},
	"a scan takes what has the prefix and is after": func(f fixture) {
		f.update(func(tx store.Tx) {
			for _, id := range awkward {
				must(f.t, tx.Put(store.KindRecord, id, nil))
			}
		})
		f.view(func(tx store.Tx) {
			for _, prefix := range append([]store.ID{"", "nothing", "\xff\xff\xff"}, awkward...) {
				for _, after := range append([]store.ID{"", "AB", "\xff\xff\xff"}, awkward...) {
					f.wantIDs(f.scan(tx, store.KindRecord, prefix, after), expected(prefix, after))
				}
			}
		})
	},
	"a scan stops when told to": func(f fixture) {
		f.update(func(tx store.Tx) {
			for _, id := range []store.ID{"a", "b", "c"} {
				must(f.t, tx.Put(store.KindRecord, id, nil))
			}
		})
		f.view(func(tx store.Tx) {
			calls := 0
			must(f.t, tx.Scan(store.KindRecord, "", "", func(store.ID, []byte) bool { calls++; return calls < 2 }))
			if calls != 2 {
				f.t.Fatalf("yield was called %d times, want 2", calls)
			}
		})
	},
	"a scan sees the transaction's own writes": func(f fixture) {
		f.update(func(tx store.Tx) {
			for _, id := range []store.ID{"b", "d", "f", "h"} {
				must(f.t, tx.Put(store.KindRecord, id, []byte("old")))
			}
		})
		f.update(func(tx store.Tx) {
			must(f.t, tx.Put(store.KindRecord, "a", []byte("new")))
			must(f.t, tx.Put(store.KindRecord, "d", []byte("new")))
			must(f.t, tx.Put(store.KindRecord, "e", []byte("new")))
			must(f.t, tx.Put(store.KindRecord, "i", []byte("new")))
			must(f.t, tx.Put(store.KindRecord, "g", []byte("new")))
			must(f.t, tx.Delete(store.KindRecord, "f"))
			must(f.t, tx.Delete(store.KindRecord, "g"))
			must(f.t, tx.Delete(store.KindRecord, "h"))
			must(f.t, tx.Put(store.KindConsent, "c", []byte("another kind")))
			var got []string
			must(f.t, tx.Scan(store.KindRecord, "", "", func(id store.ID, v []byte) bool {
				got = append(got, string(id)+" "+string(v))
				return true
			}))
			if want := []string{"a new", "b old", "d new", "e new", "i new"}; !slices.Equal(got, want) {
				f.t.Fatalf("got %q, want %q", got, want)
			}
			f.wantIDs(f.scan(tx, store.KindRecord, "", "b"), []store.ID{"d", "e", "i"})
			f.wantIDs(f.scan(tx, store.KindRecord, "e", ""), []store.ID{"e"})
		})
	},
}

func expected(prefix, after store.ID) []store.ID {
	var out []store.ID
	for _, id := range awkward {
		if bytes.HasPrefix([]byte(id), []byte(prefix)) && (after == "" || id > after) {
			out = append(out, id)
		}
	}
	return out
}

func (f fixture) wantIDs(got, want []store.ID) {
	f.t.Helper()
	if !slices.Equal(got, want) {
		f.t.Fatalf("a scan gives %q, want %q", got, want)
	}
}

// everything writes one of each: a row, a task and an entry.
func everything(t testing.TB, tx store.Tx, at time.Time) {
	must(t, tx.Put(store.KindRecord, "row", []byte("value")))
	must(t, tx.Schedule(store.Task{At: at, Tenant: tenant(1), Kind: store.TaskSweepDrive, ID: "task"}))
	must(t, tx.Append("index", func(uint64) []byte { return []byte("entry") }))
}

// wantEverything checks that what everything writes is all there or not at all, and gives which.
func (f fixture) wantEverything() bool {
	f.t.Helper()
	entries := f.entries()
	tasks, err := f.rows.Due(f.ctx, 10)
	must(f.t, err)
	row, index := false, false
	f.view(func(tx store.Tx) {
		_, err := tx.Get(store.KindRecord, "row")
		row = err == nil
		_, err = tx.Get(store.KindDecision, "index")
		index = err == nil
	})
	there := len(entries) > 0
	if (len(tasks) > 0) != there || row != there || index != there {
		f.t.Fatalf("a part of a transaction is there: %d entries, %d tasks, row %v, index %v", len(entries), len(tasks), row, index)
	}
	return there
}

var errOfFn = errors.New("fn does not want to")

var outcomeTests = map[string]func(fixture){
	"what fn returns is returned as it is and nothing is written": func(f fixture) {
		err := f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
			everything(f.t, tx, f.rows.Now())
			return errOfFn
		})
		if err != errOfFn {
			f.t.Fatalf("got the error %v, want that of fn itself", err)
		}
		if f.wantEverything() {
			f.t.Fatal("a transaction that failed has been written")
		}
		err = f.rows.View(f.ctx, store.Scope{Tenant: tenant(1)}, func(store.Tx) error { return errOfFn })
		if err != errOfFn {
			f.t.Fatalf("got the error %v, want that of fn itself", err)
		}
	},
	"a transaction is all there": func(f fixture) {
		f.update(func(tx store.Tx) { everything(f.t, tx, f.rows.Now()) })
		if !f.wantEverything() {
			f.t.Fatal("an acknowledged transaction is not there")
		}
	},
	"a transaction whose fn panics is not there and holds nothing": func(f fixture) {
		func() {
			defer func() {
				if recover() == nil {
					f.t.Fatal("the panic is gone")
				}
			}()
			_ = f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1), Exclusive: true}, func(tx store.Tx) error {
				everything(f.t, tx, f.rows.Now())
				panic("of fn")
			})
		}()
		if f.wantEverything() {
			f.t.Fatal("a transaction that panicked has been written")
		}
		f.update(func(store.Tx) {})
	},
	"a view refuses to write": func(f fixture) {
		f.view(func(tx store.Tx) {
			task := store.Task{At: tx.Now(), Tenant: tenant(1), Kind: store.TaskSweepDrive, ID: "task"}
			for what, err := range map[string]error{
				"Put":        tx.Put(store.KindRecord, "row", nil),
				"Delete":     tx.Delete(store.KindRecord, "row"),
				"Schedule":   tx.Schedule(task),
				"Unschedule": tx.Unschedule(task),
				"Append":     tx.Append("index", func(uint64) []byte { return nil }),
			} {
				if err == nil {
					f.t.Errorf("%s in a View succeeded", what)
				}
			}
			f.wantNoRow(tx, store.KindRecord, "row")
		})
		if f.wantEverything() {
			f.t.Fatal("a View has written")
		}
	},
	"a view sees every acknowledged update": func(f fixture) {
		for i := range 50 {
			f.update(func(tx store.Tx) { must(f.t, tx.Put(store.KindRecord, "a", []byte{byte(i)})) })
			f.view(func(tx store.Tx) { f.wantRow(tx, store.KindRecord, "a", []byte{byte(i)}) })
		}
	},
	"a transaction is dead once fn has returned": func(f fixture) {
		var kept store.Tx
		f.update(func(tx store.Tx) { kept = tx })
		if err := kept.Put(store.KindRecord, "a", nil); err == nil {
			f.t.Error("Put on a dead transaction succeeded")
		}
		if _, err := kept.Get(store.KindRecord, "a"); err == nil || errors.Is(err, store.ErrNotFound) {
			f.t.Errorf("Get on a dead transaction gave %v, want another error than not found", err)
		}
		if err := kept.Scan(store.KindRecord, "", "", func(store.ID, []byte) bool { return true }); err == nil {
			f.t.Error("Scan on a dead transaction succeeded")
		}
		f.view(func(tx store.Tx) { f.wantNoRow(tx, store.KindRecord, "a") })
	},
	"a context that has ended writes nothing": func(f fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		scope := store.Scope{Tenant: tenant(1)}
		err := f.rows.Update(ctx, scope, func(tx store.Tx) error { everything(f.t, tx, f.rows.Now()); return nil })
		wantErr(f.t, err, store.ErrUnavailable, context.Canceled)
		if f.wantEverything() {
			f.t.Fatal("a transaction without a context has been written")
		}
		err = f.rows.View(ctx, scope, func(store.Tx) error { return nil })
		wantErr(f.t, err, store.ErrUnavailable, context.Canceled)
	},
	"a context that ends during fn writes all or nothing": func(f fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		err := f.rows.Update(ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
			everything(f.t, tx, f.rows.Now())
			cancel()
			return nil
		})
		there := f.wantEverything()
		if err == nil && !there {
			f.t.Fatal("an acknowledged transaction is not there")
		}
		if err != nil {
			wantErr(f.t, err, store.ErrUnavailable)
		}
	},
	"an update that writes nothing succeeds": func(f fixture) {
		f.update(func(tx store.Tx) { f.wantNoRow(tx, store.KindTenant, "") })
		if f.wantEverything() {
			f.t.Fatal("something has been written")
		}
	},
}
