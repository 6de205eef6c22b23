package gateway

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// wrongRows is rows whose transactions are wrong in one way.
type wrongRows struct {
	store.Rows
	wrap func(store.Tx) store.Tx
}

func (r wrongRows) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return r.Rows.Update(ctx, s, func(tx store.Tx) error { return fn(r.wrap(tx)) })
}

func (r wrongRows) View(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return r.Rows.View(ctx, s, func(tx store.Tx) error { return fn(r.wrap(tx)) })
}

// collated orders identifiers as a locale does: letters of either case together.
type collated struct{ store.Tx }

func (c collated) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	type row struct {
		id    string
		value []byte
	}
	var rows []row
	err := c.Tx.Scan(kind, prefix, after, func(id store.ID, v []byte) bool {
		rows = append(rows, row{string(id), bytes.Clone(v)})
		return true
	})
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(strings.ToLower(a.id), strings.ToLower(b.id)) })
	for _, r := range rows {
		if !yield(store.ID(r.id), r.value) {
			break
		}
	}
	return err
}

// inclusive begins a scan at a row instead of after it.
type inclusive struct{ store.Tx }

func (i inclusive) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	if after != "" {
		if v, err := i.Get(kind, after); err == nil && !yield(after, v) {
			return nil
		}
	}
	return i.Tx.Scan(kind, prefix, after, yield)
}

// stubborn keeps a record as it was first written.
type stubborn struct{ store.Tx }

func (s stubborn) Put(kind store.Kind, id store.ID, value []byte) error {
	if _, err := s.Get(kind, id); err == nil && kind == store.KindRecord {
		return nil
	}
	return s.Tx.Put(kind, id, value)
}

// forgetful puts nothing on the agenda, so that an erasure is never done.
type forgetful struct{ store.Tx }

func (forgetful) Schedule(store.Task) error { return nil }

// zeroed gives zeros for what an object holds from a place on.
type zeroed struct{ store.Blobs }

func (z zeroed) Open(ctx context.Context, name string, from, length int64) (io.ReadCloser, error) {
	r, err := z.Blobs.Open(ctx, name, from, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if len(b) > 0 {
		b[len(b)-1] = 0
	}
	return io.NopCloser(bytes.NewReader(b)), err
}

// unordered lists placements of any region.
type unordered struct{ store.Directory }

func (u unordered) List(ctx context.Context, _ residency.Region, after store.Tenant, yield func(store.Tenant, store.Placement) bool) error {
	return u.Directory.List(ctx, "ch", after, yield)
}

// undying keeps wrapped keys that were destroyed.
type undying struct{ store.Keys }

func (undying) Destroy(context.Context, string) error { return nil }

// A trace notices stores that are wrong in one way only, by what callers are told.
func TestTraceNotices(t *testing.T) {
	if testing.Short() {
		t.Skip("what is wrong in one way shows late")
	}
	rows := func(wrap func(store.Tx) store.Tx) func(*traceStores) {
		return func(s *traceStores) {
			for _, r := range traceRegions {
				s.rows[r] = wrongRows{s.rows[r], wrap}
			}
		}
	}
	for name, spoil := range map[string]func(*traceStores){
		"an order by locale":            rows(func(tx store.Tx) store.Tx { return collated{tx} }),
		"pages that overlap":            rows(func(tx store.Tx) store.Tx { return inclusive{tx} }),
		"records that stay as they are": rows(func(tx store.Tx) store.Tx { return stubborn{tx} }),
		"an agenda that forgets":        rows(func(tx store.Tx) store.Tx { return forgetful{tx} }),
		"objects with other bytes":      func(s *traceStores) { s.blobs["ch"] = zeroed{s.blobs["ch"]} },
		"a directory of one region":     func(s *traceStores) { s.directory = unordered{s.directory} },
		"keys that are never gone":      func(s *traceStores) { s.keys["ch"] = undying{s.keys["ch"]} },
		"the outbox of another region":  func(s *traceStores) { s.outbox["us"] = s.outbox["ch"] },
	} {
		t.Run(name, func(t *testing.T) {
			rings, shared := t.TempDir(), &sharedKeys{made: map[string][]byte{}}
			spoiled := traceMemory()
			spoiled.name = name
			spoil(&spoiled)
			err := replay(t.Context(), traceSeed, tracePerRound, &counter{}, newTraced(t, traceMemory(), rings, shared), newTraced(t, spoiled, rings, shared))
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "seed 20111007") {
				t.Fatalf("not noticed: %v", err)
			}
			where, _, _ := strings.Cut(err.Error(), " of ")
			t.Log(where)
		})
	}
}
