package storetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// soak is the environment variable that makes heavy tests run their full count.
const soak = "DOMICILE_SOAK"

// Sample gives how often a heavy test runs: few, or all when the environment
// variable DOMICILE_SOAK is 1; and logs it.
func Sample(t testing.TB, what string, few, all int) int {
	t.Helper()
	n := few
	if os.Getenv(soak) == "1" {
		n = all
	}
	t.Logf("%d %s (%d with %s=1)", n, what, all, soak)
	return n
}

// patience bounds what must not take for ever; a test that reaches it fails.
const patience = time.Minute

func contextFor(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails the test unless the error wraps all of want.
func wantErr(t testing.TB, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("got the error %v, want one that wraps %q", err, w)
		}
	}
}

// tenant gives a tenant's pseudonym.
func tenant(n byte) store.Tenant { return store.Tenant{n, 15: n} }

// fixture is a store under test.
type fixture struct {
	t      testing.TB
	ctx    context.Context
	rows   store.Rows
	outbox store.Outbox
}

// update runs an Update of tenant 1 under its exclusive lock, which must succeed.
func (f fixture) update(fn func(tx store.Tx)) {
	f.t.Helper()
	must(f.t, f.rows.Update(f.ctx, store.Scope{Tenant: tenant(1), Exclusive: true}, func(tx store.Tx) error {
		fn(tx)
		return nil
	}))
}

// view runs a View of tenant 1, which must succeed.
func (f fixture) view(fn func(tx store.Tx)) {
	f.t.Helper()
	must(f.t, f.rows.View(f.ctx, store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
		fn(tx)
		return nil
	}))
}

func (f fixture) wantRow(tx store.Tx, kind store.Kind, id store.ID, want []byte) {
	f.t.Helper()
	got, err := tx.Get(kind, id)
	must(f.t, err)
	if got == nil || !bytes.Equal(got, want) {
		f.t.Fatalf("row %d %q: got %q (nil: %v), want %q", kind, id, got, got == nil, want)
	}
}

func (f fixture) wantNoRow(tx store.Tx, kind store.Kind, id store.ID) {
	f.t.Helper()
	got, err := tx.Get(kind, id)
	if got != nil {
		f.t.Fatalf("row %d %q: got %q, want none", kind, id, got)
	}
	wantErr(f.t, err, store.ErrNotFound)
}

// scan gives what a Scan yields.
func (f fixture) scan(tx store.Tx, kind store.Kind, prefix, after store.ID) []store.ID {
	f.t.Helper()
	var ids []store.ID
	must(f.t, tx.Scan(kind, prefix, after, func(id store.ID, _ []byte) bool {
		ids = append(ids, id)
		return true
	}))
	return ids
}

// entries gives the whole outbox and fails on a gap.
func (f fixture) entries() [][]byte {
	f.t.Helper()
	var all [][]byte
	must(f.t, f.outbox.Entries(f.ctx, 0, func(place uint64, entry []byte) bool {
		if place != uint64(len(all))+1 {
			f.t.Fatalf("the outbox has place %d after place %d", place, len(all))
		}
		all = append(all, bytes.Clone(entry))
		return true
	}))
	last, err := f.outbox.Last(f.ctx)
	must(f.t, err)
	if last != uint64(len(all)) {
		f.t.Fatalf("the newest place is %d, but there are %d entries", last, len(all))
	}
	return all
}
