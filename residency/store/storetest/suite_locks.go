package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// aMoment is how long a transaction is watched that must not get on. A backend
// that wrongly lets it can go unnoticed; one that rightly does not never fails.
const aMoment = 15 * time.Millisecond

// started runs a transaction in the background until release is closed, and
// returns once it holds its locks.
func (f fixture) started(begin func(context.Context, store.Scope, func(store.Tx) error) error, scope store.Scope) (release func()) {
	f.t.Helper()
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- begin(f.ctx, scope, func(store.Tx) error {
			close(inside)
			<-leave
			return nil
		})
	}()
	select {
	case <-inside:
	case err := <-done:
		f.t.Fatalf("a transaction did not get its locks: %v", err)
	}
	return func() {
		f.t.Helper()
		close(leave)
		must(f.t, <-done)
	}
}

// excludes reports whether a transaction with the second scope must wait for one with the first.
func (f fixture) wantExcludes(name string, first, second store.Scope, want bool) {
	f.t.Helper()
	release := f.started(f.rows.Update, first)
	inside, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- f.rows.Update(f.ctx, second, func(store.Tx) error { close(inside); return nil })
	}()
	if !want {
		<-inside
	} else {
		select {
		case <-inside:
			f.t.Errorf("%s: the second did not wait for the first", name)
		case <-time.After(aMoment):
		}
	}
	release()
	must(f.t, <-done)
}

func object(id store.ID, exclusive bool) store.Lock {
	return store.Lock{Object: id, Exclusive: exclusive}
}

func scope(exclusive bool, objects ...store.Lock) store.Scope {
	return store.Scope{Tenant: tenant(1), Exclusive: exclusive, Objects: objects}
}

var lockTests = map[string]func(fixture){
	"which scopes exclude each other": func(f fixture) {
		cases := []struct {
			name          string
			first, second store.Scope
			want          bool
		}{
			{"tenant exclusive, exclusive", scope(true), scope(true), true},
			{"tenant exclusive, shared", scope(true), scope(false), true},
			{"tenant shared, exclusive", scope(false), scope(true), true},
			{"tenant shared, shared", scope(false), scope(false), false},
			{"another tenant", scope(true), store.Scope{Tenant: tenant(2), Exclusive: true}, false},
			{"tenant exclusive, an object", scope(true), scope(false, object("a", false)), true},
			{"an object, tenant exclusive", scope(false, object("a", false)), scope(true), true},
			{"object exclusive, exclusive", scope(false, object("a", true)), scope(false, object("a", true)), true},
			{"object exclusive, shared", scope(false, object("a", true)), scope(false, object("a", false)), true},
			{"object shared, exclusive", scope(false, object("a", false)), scope(false, object("a", true)), true},
			{"object shared, shared", scope(false, object("a", false)), scope(false, object("a", false)), false},
			{"another object", scope(false, object("a", true)), scope(false, object("b", true)), false},
			{"the same object in other letters", scope(false, object("a", true)), scope(false, object("A", true)), false},
			{"no object is not the object with an empty name", scope(false, object("", true)), scope(false), false},
			{"object exclusive, no object", scope(false, object("a", true)), scope(false), false},
			{"the object of another tenant", scope(false, object("a", true)),
				store.Scope{Tenant: tenant(2), Objects: []store.Lock{object("a", true)}}, false},
			{"a duplicate takes the stronger mode", scope(false, object("a", false), object("b", false), object("a", true)),
				scope(false, object("a", false)), true},
			{"a duplicate in the other order", scope(false, object("a", true), object("a", false)), scope(false, object("a", false)), true},
			{"one of many", scope(false, object("a", false), object("b", true), object("c", false)),
				scope(false, object("c", false), object("b", false)), true},
		}
		for _, c := range cases {
			f.wantExcludes(c.name, c.first, c.second, c.want)
		}
	},
	"a view takes shared locks whatever it asks for": func(f fixture) {
		all := scope(true, object("a", true))
		one := f.started(f.rows.View, all)
		two := f.started(f.rows.View, all)
		inside, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- f.rows.Update(f.ctx, scope(false, object("a", true)), func(store.Tx) error { close(inside); return nil })
		}()
		one()
		select {
		case <-inside:
			f.t.Error("an update did not wait for a view")
		case <-time.After(aMoment):
		}
		two()
		must(f.t, <-done)
	},
	"a scope locks at most 64 objects": func(f fixture) {
		many := make([]store.Lock, 65)
		for i := range many {
			many[i] = object(store.ID(fmt.Sprintf("%03d", 64-i)), i%2 == 0)
		}
		must(f.t, f.rows.Update(f.ctx, scope(false, many[:64]...), func(store.Tx) error { return nil }))
		must(f.t, f.rows.View(f.ctx, scope(false, many[:64]...), func(store.Tx) error { return nil }))
		if err := f.rows.Update(f.ctx, scope(false, many...), func(store.Tx) error { return nil }); err == nil {
			f.t.Fatal("65 objects were taken")
		}
	},
	"whoever stops waiting holds nothing": func(f fixture) {
		release := f.started(f.rows.Update, scope(false, object("b", true)))
		ctx, cancel := context.WithCancel(f.ctx)
		done := make(chan error, 1)
		go func() {
			done <- f.rows.Update(ctx, scope(false, object("a", true), object("b", true)), func(store.Tx) error {
				f.t.Error("fn ran without its locks")
				return nil
			})
		}()
		time.Sleep(time.Millisecond)
		cancel()
		wantErr(f.t, <-done, store.ErrUnavailable, context.Canceled)
		must(f.t, f.rows.Update(f.ctx, scope(false, object("a", true)), func(store.Tx) error { return nil }))
		release()
		f.update(func(store.Tx) {})
	},
	"a deadline is kept while a lock is waited for": func(f fixture) {
		release := f.started(f.rows.Update, scope(true))
		ctx, cancel := context.WithTimeout(f.ctx, 20*time.Millisecond)
		defer cancel()
		err := f.rows.Update(ctx, scope(false), func(store.Tx) error { return nil })
		wantErr(f.t, err, store.ErrUnavailable, context.DeadlineExceeded)
		err = f.rows.View(ctx, scope(false), func(store.Tx) error { return nil })
		wantErr(f.t, err, store.ErrUnavailable, context.DeadlineExceeded)
		release()
	},
	"readers do not starve a writer": func(f fixture) {
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					err := f.rows.View(f.ctx, scope(false, object("a", false)), func(store.Tx) error {
						time.Sleep(time.Millisecond)
						return nil
					})
					if err != nil {
						f.t.Error(err)
						return
					}
				}
			})
		}
		for range 5 {
			must(f.t, f.rows.Update(f.ctx, scope(false, object("a", true)), func(store.Tx) error { return nil }))
		}
		close(stop)
		readers.Wait()
	},
	"no update is lost": func(f fixture) {
		const writers, each = 12, 20
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					id := store.ID([]byte{byte(w % 3)})
					err := f.rows.Update(f.ctx, scope(false, object(id, true)), func(tx store.Tx) error {
						n := uint64(0)
						if v, err := tx.Get(store.KindRecord, id); err == nil {
							n = binary.BigEndian.Uint64(v)
						}
						return tx.Put(store.KindRecord, id, binary.BigEndian.AppendUint64(nil, n+1))
					})
					if err != nil {
						f.t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		f.view(func(tx store.Tx) {
			for id := range byte(3) {
				f.wantRow(tx, store.KindRecord, store.ID([]byte{id}), binary.BigEndian.AppendUint64(nil, writers/3*each))
			}
		})
	},
	"a reader sees all of a transaction or nothing": func(f fixture) {
		var wg sync.WaitGroup
		var over atomic.Bool
		for w := range 4 {
			wg.Go(func() {
				for i := range 25 {
					err := f.rows.Update(f.ctx, scope(false, object("a", true)), func(tx store.Tx) error {
						for id := range byte(5) {
							if err := tx.Put(store.KindRecord, store.ID([]byte{id}), []byte{byte(w), byte(i)}); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						f.t.Error(err)
					}
				}
				over.Store(true)
			})
			wg.Go(func() {
				for !over.Load() {
					err := f.rows.View(f.ctx, scope(false, object("a", false)), func(tx store.Tx) error {
						seen := map[string]int{}
						for id := range byte(5) {
							v, _ := tx.Get(store.KindRecord, store.ID([]byte{id}))
							seen[string(v)]++
						}
						if len(seen) != 1 {
							f.t.Errorf("a reader saw parts of several transactions: %v", seen)
						}
						return nil
					})
					if err != nil {
						f.t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	},
	"random scopes never wait in a circle": func(f fixture) {
		n := Sample(f.t, "transactions with random scopes", 2000, 100_000)
		const workers = 16
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 1))
				for range n / workers {
					err := f.rows.View(f.ctx, randomScope(r), func(store.Tx) error { return nil })
					if err == nil {
						err = f.rows.Update(f.ctx, randomScope(r), func(store.Tx) error { return nil })
					}
					if err != nil {
						f.t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	},
}

// randomScope locks some of few objects, in no order and with duplicates.
func randomScope(r *rand.Rand) store.Scope {
	s := store.Scope{Tenant: tenant(byte(r.IntN(2))), Exclusive: r.IntN(10) == 0}
	for range r.IntN(6) {
		s.Objects = append(s.Objects, object(store.ID([]byte{byte('a' + r.IntN(6))}), r.IntN(2) == 0))
	}
	return s
}
