package storetest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// mutant is rows whose transactions are wrong in one way.
type mutant struct {
	store.Rows
	wrap func(store.Tx) store.Tx
}

func (m mutant) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return m.Rows.Update(ctx, s, func(tx store.Tx) error { return fn(m.wrap(tx)) })
}

func (m mutant) View(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return m.Rows.View(ctx, s, func(tx store.Tx) error { return fn(m.wrap(tx)) })
}

// collated orders identifiers as a locale does: letters of either case together.
type collated struct{ store.Tx }

func (c collated) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	type row struct {
		id    store.ID
		value []byte
	}
	var rows []row
	err := c.Tx.Scan(kind, prefix, after, func(id store.ID, v []byte) bool {
		rows = append(rows, row{id, bytes.Clone(v)})
		return true
	})
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Compare(strings.ToLower(string(a.id)), strings.ToLower(string(b.id)))
	})
	for _, r := range rows {
		if !yield(r.id, r.value) {
			break
		}
	}
	return err
}

// hollow takes an empty value for none.
type hollow struct{ store.Tx }

func (h hollow) Put(kind store.Kind, id store.ID, value []byte) error {
	if len(value) == 0 {
		return h.Tx.Delete(kind, id)
	}
	return h.Tx.Put(kind, id, value)
}

// textual ends an identifier at a zero byte.
type textual struct{ store.Tx }

func (x textual) Put(kind store.Kind, id store.ID, value []byte) error {
	cut, _, _ := strings.Cut(string(id), "\x00")
	return x.Tx.Put(kind, store.ID(cut), value)
}

// unbounded appends an entry too many.
type unbounded struct{ store.Tx }

func (u unbounded) Append(index store.ID, build func(uint64) []byte) error {
	_ = u.Tx.Append(index, build) // the ninth is dropped, and nobody is told
	return nil
}

// lasting writes what an undone transaction wrote.
type lasting struct{ store.Rows }

func (l lasting) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	var undone error
	err := l.Rows.Update(ctx, s, func(tx store.Tx) error {
		undone = fn(tx)
		return nil
	})
	return errors.Join(err, undone)
}

// unfenced lets a transaction run under an epoch that is over.
type unfenced struct{ store.Rows }

func (u unfenced) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	s.Epoch = 0
	return u.Rows.Update(ctx, s, fn)
}

// newest keeps the later of two objects of a name, and says so to nobody.
type newest struct{ store.Blobs }

func (n newest) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	if err := n.Delete(ctx, name); err != nil {
		return nil, err
	}
	return n.Blobs.Create(ctx, name)
}

// eager replaces a placement whatever was there.
type eager struct{ store.Directory }

func (e eager) Update(ctx context.Context, t store.Tenant, old, p store.Placement) error {
	if there, err := e.Find(ctx, t); err == nil {
		old = there
	}
	return e.Directory.Update(ctx, t, old, p)
}

// shallow destroys one key and leaves those whose names begin with its name.
type shallow struct{ store.Keys }

func (s shallow) Destroy(ctx context.Context, prefix string) error {
	if _, err := s.Get(ctx, prefix); err != nil {
		return nil //nolint:nilerr // that is what is wrong with it
	}
	return s.Keys.Destroy(ctx, prefix)
}

// greedy drops an entry more than it was told to.
type greedy struct{ store.Outbox }

func (g greedy) Drop(ctx context.Context, upTo, epoch uint64) error {
	if err := g.Outbox.Drop(ctx, upTo, epoch); err != nil || upTo == 0 {
		return err
	}
	_ = g.Outbox.Drop(ctx, upTo+1, epoch) // unless there is none
	return nil
}

// keeping says that entries were dropped, and gives them all the same.
type keeping struct{ store.Outbox }

func (keeping) Drop(context.Context, uint64, uint64) error { return nil }

// sorted gives entries in the order of their places instead of the one asked for.
type sorted struct{ store.Outbox }

func (s sorted) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	return s.Outbox.At(ctx, slices.Sorted(slices.Values(places)), yield)
}

// inclusive gives the tenant too after which others were asked for.
type inclusive struct{ store.Rows }

func (i inclusive) Tenants(ctx context.Context, after store.Tenant, yield func(store.Tenant) bool) error {
	if after[15] > 0 {
		after[15]--
	}
	return i.Rows.Tenants(ctx, after, yield)
}

// A trace notices a store that is wrong in one way only, and tells how to see it again.
func TestTraceNotices(t *testing.T) {
	rows := func(wrap func(store.Tx) store.Tx) func(*storetest.Setup) {
		return func(s *storetest.Setup) { s.Rows = mutant{s.Rows, wrap} }
	}
	for name, spoil := range map[string]func(*storetest.Setup){
		"an order by locale":           rows(func(tx store.Tx) store.Tx { return collated{tx} }),
		"empty values dropped":         rows(func(tx store.Tx) store.Tx { return hollow{tx} }),
		"identifiers cut at a zero":    rows(func(tx store.Tx) store.Tx { return textual{tx} }),
		"entries dropped":              rows(func(tx store.Tx) store.Tx { return unbounded{tx} }),
		"undone and written":           func(s *storetest.Setup) { s.Rows = lasting{s.Rows} },
		"no fence":                     func(s *storetest.Setup) { s.Rows = unfenced{s.Rows} },
		"an entry too many dropped":    func(s *storetest.Setup) { s.Outbox = greedy{s.Outbox} },
		"nothing dropped":              func(s *storetest.Setup) { s.Outbox = keeping{s.Outbox} },
		"entries in another order":     func(s *storetest.Setup) { s.Outbox = sorted{s.Outbox} },
		"a tenant too many":            func(s *storetest.Setup) { s.Rows = inclusive{s.Rows} },
		"objects overwritten":          func(s *storetest.Setup) { s.Blobs = newest{s.Blobs} },
		"placements replaced blindly":  func(s *storetest.Setup) { s.Directory = eager{s.Directory} },
		"keys destroyed by name alone": func(s *storetest.Setup) { s.Keys = shallow{s.Keys} },
	} {
		spoiled := storetest.NewMemory(nil).Setup()
		spoiled.Name = name
		spoil(&spoiled)
		err := storetest.Trace(t.Context(), traceSeed, 10_000, storetest.NewMemory(nil).Setup(), spoiled)
		var d *storetest.Divergence
		if !errors.As(err, &d) {
			t.Errorf("%s: not noticed (%v)", name, err)
			continue
		}
		if d.Seed != traceSeed || d.Operation == "" || d.Answers[0] == d.Answers[1] || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: noticed as %v", name, err)
		}
		t.Logf("%s: noticed at step %d", name, d.Step)
	}
}
