package storetest

import (
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// aheadScope names rows of every sort ahead: one that is there, one with an empty value, absent
// ones, and one twice.
var aheadScope = store.Scope{Tenant: tenant(1), Objects: []store.Lock{{Object: "o", Exclusive: true}}, Ahead: []store.Row{
	{Kind: store.KindRecord, ID: "there"}, {Kind: store.KindRecord, ID: "absent"}, {Kind: store.KindRecord, ID: "empty"},
	{Kind: store.KindSubject, ID: "there"}, {Kind: store.KindRecord, ID: "there"},
}}

// putAhead writes the rows that are there, and one that is not named.
func (f fixture) putAhead() {
	f.t.Helper()
	f.update(func(tx store.Tx) {
		for id, value := range map[store.ID]string{"there": "value", "empty": "", "other": "unnamed"} {
			must(f.t, tx.Put(store.KindRecord, id, []byte(value)))
		}
	})
}

// wantAhead checks what putAhead wrote, and spoils what it was given.
func (f fixture) wantAhead(tx store.Tx) error {
	f.t.Helper()
	for _, want := range []struct{ id, value string }{{"there", "value"}, {"empty", ""}, {"other", "unnamed"}, {"there", "value"}} {
		got, err := tx.Get(store.KindRecord, store.ID(want.id))
		must(f.t, err)
		if string(got) != want.value {
			f.t.Errorf("%s: got %q, want %q", want.id, got, want.value)
		}
		clear(got)
	}
	_, err := tx.Get(store.KindRecord, "absent")
	wantErr(f.t, err, store.ErrNotFound)
	_, err = tx.Get(store.KindSubject, "there")
	wantErr(f.t, err, store.ErrNotFound)
	return nil
}

var aheadTests = map[string]func(fixture){
	"a row that is named ahead is got as any other": func(f fixture) {
		f.putAhead()
		must(f.t, f.rows.View(f.ctx, aheadScope, f.wantAhead))
		must(f.t, f.rows.Update(f.ctx, aheadScope, f.wantAhead))
		foreign := store.Scope{Tenant: tenant(2), Ahead: aheadScope.Ahead}
		must(f.t, f.rows.View(f.ctx, foreign, func(tx store.Tx) error {
			_, err := tx.Get(store.KindRecord, "there")
			wantErr(f.t, err, store.ErrNotFound)
			return nil
		}))
	},
	"a transaction gets its own writes to rows that it named ahead": func(f fixture) {
		f.putAhead()
		must(f.t, f.rows.Update(f.ctx, aheadScope, func(tx store.Tx) error {
			must(f.t, tx.Put(store.KindRecord, "absent", []byte("own")))
			must(f.t, tx.Delete(store.KindRecord, "there"))
			f.wantRow(tx, store.KindRecord, "absent", []byte("own"))
			_, err := tx.Get(store.KindRecord, "there")
			wantErr(f.t, err, store.ErrNotFound)
			return nil
		}))
	},
	"a row that is named ahead is as it was left by whom the locks were waited for": func(f fixture) {
		f.putAhead()
		inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
		go func() {
			done <- f.rows.Update(f.ctx, aheadScope, func(tx store.Tx) error {
				close(inside)
				<-leave
				return tx.Put(store.KindRecord, "there", []byte("after"))
			})
		}()
		<-inside
		go func() {
			done <- f.rows.View(f.ctx, aheadScope, func(tx store.Tx) error {
				f.wantRow(tx, store.KindRecord, "there", []byte("after"))
				return nil
			})
		}()
		time.Sleep(aMoment)
		close(leave)
		must(f.t, <-done)
		must(f.t, <-done)
	},
}
