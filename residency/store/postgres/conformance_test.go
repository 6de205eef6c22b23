package postgres

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestRows(t *testing.T) {
	s := sharedServer(t)
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		c := openAt(t, s.location(t, RoleCluster))
		return c, c
	})
}

func TestDirectory(t *testing.T) {
	s := sharedServer(t)
	storetest.RunDirectory(t, func(t *testing.T) store.Directory {
		d, err := OpenDirectory(t.Context(), s.location(t, RoleDirectory), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closer(t, d)
		return d
	})
}

func TestKeys(t *testing.T) {
	s := sharedServer(t)
	storetest.RunKeys(t, func(t *testing.T) store.Keys {
		k, err := OpenKeys(t.Context(), s.location(t, RoleKeys), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closer(t, k)
		return k
	})
}

// replicas are two processes' clusters over one schema, used in turn.
type replicas struct {
	one, two *Cluster
	turn     atomic.Uint64
}

func (r *replicas) next() *Cluster {
	if r.turn.Add(1)%2 == 0 {
		return r.one
	}
	return r.two
}

func (r *replicas) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return r.next().Update(ctx, s, fn)
}

func (r *replicas) View(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	return r.next().View(ctx, s, fn)
}

func (r *replicas) Due(ctx context.Context, limit int) ([]store.Task, error) {
	return r.next().Due(ctx, limit)
}

// Now is the later of the two: a clock is only promised not to run backwards within one process.
func (r *replicas) Now() time.Time {
	one, two := r.one.clock.now(), r.two.clock.now()
	if one.After(two) {
		return r.two.clock.read(one)
	}
	return r.one.clock.read(two)
}

func (r *replicas) Entry(ctx context.Context, place uint64) ([]byte, error) {
	return r.next().Entry(ctx, place)
}

func (r *replicas) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	return r.next().Entries(ctx, from, yield)
}

func (r *replicas) Last(ctx context.Context) (uint64, error) { return r.next().Last(ctx) }

// Two replicas keep every promise that one does: their locks exclude each other,
// and each sees what the other wrote.
func TestRowsOfReplicas(t *testing.T) {
	s := sharedServer(t)
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		location := s.location(t, RoleCluster)
		r := &replicas{one: openAt(t, location), two: openAt(t, location)}
		return r, r
	})
}
