package postgres

import (
	"context"
	"fmt"
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

func (r *replicas) Lead(ctx context.Context, holder string, ttl time.Duration) (uint64, error) {
	return r.next().Lead(ctx, holder, ttl)
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

func (r *replicas) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	return r.next().At(ctx, places, yield)
}

func (r *replicas) First(ctx context.Context) (uint64, error) { return r.next().First(ctx) }

func (r *replicas) Drop(ctx context.Context, upTo, epoch uint64) error {
	return r.next().Drop(ctx, upTo, epoch)
}

func (r *replicas) Tenants(ctx context.Context, after store.Tenant, yield func(store.Tenant) bool) error {
	return r.next().Tenants(ctx, after, yield)
}

func (r *replicas) Purge(ctx context.Context, tenants []store.Tenant) error {
	return r.next().Purge(ctx, tenants)
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

// The tables may be partitioned by tenant: no statement minds.
func TestRowsPartitionedByTenant(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	c := openAt(t, location)
	rows := c.table("rows")
	sql := []string{
		"alter table " + rows + " rename to rows_before",
		"create table " + rows + " (like " + c.table("rows_before") + " including storage, primary key (tenant, kind, id)) partition by hash (tenant)",
	}
	for n := range 4 {
		sql = append(sql, fmt.Sprintf("create table %s partition of %s for values with (modulus 4, remainder %d)", c.table(fmt.Sprintf("rows_%d", n)), rows, n))
	}
	must(t, s.Exec("domicile", "domicile", sql...))
	l := writers(t, 8, c, openAt(t, location))
	l.more(100)
	l.check(c)
	var used int
	must(t, c.pool.QueryRow(t.Context(), "select count(distinct tableoid) from "+rows).Scan(&used))
	if used < 2 {
		t.Errorf("%d partitions hold the rows of %d tenants", used, loadTenants)
	}
}
