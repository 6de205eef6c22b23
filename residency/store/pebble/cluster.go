// Package pebble knows how the embedded default keeps its data: a cluster's
// rows, agenda and audit outbox, the directory, and the key store, each in a
// Pebble database of its own. FORMAT.md specifies the bytes and README.md tells what is
// durable when.
//
// One process owns a database at a time; a second one is refused.
package pebble

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
)

// Cluster is a storage cluster's rows and outbox in one database.
type Cluster struct {
	engine  *engine
	observe func(operation string, took time.Duration)
}

var (
	_ store.Rows   = (*Cluster)(nil)
	_ store.Outbox = (*Cluster)(nil)
)

// OpenCluster opens the database in a folder, which it makes if there is none.
// Whatever it finds there, acknowledged or not, is durable when it returns.
func OpenCluster(dir string, o Options) (*Cluster, error) {
	o.purged = true
	e, err := open(dir, "cluster", o)
	if err != nil {
		return nil, err
	}
	return &Cluster{engine: e, observe: o.Observe}, nil
}

// Close waits for operations that are under way and closes the database; it
// gives up after 10 seconds when the engine hangs.
func (c *Cluster) Close() error { return c.engine.close() }

// Failed is closed when the engine has stopped for good, for example because
// the log could not be written. Every call then gives ErrUnavailable; only a restart of
// the process, which recovers what is durable, helps.
func (c *Cluster) Failed() <-chan struct{} { return c.engine.down }

// Err says why the engine stopped; nil while it works.
func (c *Cluster) Err() error { return c.engine.failed() }

// Now is the wall clock, except that it stands still instead of running
// backwards. A new process starts with the wall clock as it is.
func (c *Cluster) Now() time.Time { return c.engine.now() }

// timed tells the observer how long an operation took.
func (c *Cluster) timed(operation string) func() {
	if c.observe == nil {
		return func() {}
	}
	start := time.Now()
	return func() { c.observe(operation, time.Since(start)) }
}

// Update is store.Rows. fn runs once.
func (c *Cluster) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	defer c.timed("update")()
	e := c.engine
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	t := newTx(e, scope.Tenant)
	if err := e.acquire(ctx, scope, false, &t.locks); err != nil {
		return err
	}
	if err := t.run(fn); err != nil {
		return err
	}
	if len(t.writes) == 0 && len(t.appended) == 0 {
		t.locks.Release()
		return e.settled(ctx, e.mark(t.tenant))
	}
	t.held, t.mark = &t.locks, e.mark(t.tenant)
	return e.submit(ctx, &t.commit)
}

// run runs fn. The locks stay held only if it returns no error.
func (t *tx) run(fn func(store.Tx) error) (err error) {
	done := false
	defer func() {
		t.dead = true
		if !done || err != nil {
			t.locks.Release()
		}
	}()
	t.now = t.engine.now()
	err = fn(t)
	done = true
	return err
}

// View is store.Rows. It returns nil only when everything that fn can have seen
// is durable.
func (c *Cluster) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	defer c.timed("view")()
	e := c.engine
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	t := newTx(e, scope.Tenant)
	t.readOnly = true
	if err := e.acquire(ctx, scope, true, &t.locks); err != nil {
		return err
	}
	if err := t.run(fn); err != nil {
		return err
	}
	t.locks.Release()
	return e.settled(ctx, e.mark(t.tenant))
}

// Due is store.Rows.
func (c *Cluster) Due(ctx context.Context, limit int) ([]store.Task, error) {
	defer c.timed("due")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAgenda}, UpperBound: agendaEnd(e.now())})
	if err != nil {
		return nil, wrap(err)
	}
	defer it.Close()
	var due []store.Task
	for ok := it.First(); ok && len(due) < limit; ok = it.Next() {
		task, err := parseTask(it.Key(), it.Value())
		if err != nil {
			return nil, err
		}
		due = append(due, task)
	}
	return due, wrap(it.Error())
}

// Tenants is store.Rows. It goes from tenant to tenant, past all rows between.
func (c *Cluster) Tenants(ctx context.Context, from store.Tenant, yield func(store.Tenant) bool) error {
	defer c.timed("tenants")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixRow}, UpperBound: []byte{prefixRow + 1}})
	if err != nil {
		return wrap(err)
	}
	defer it.Close()
	for it.SeekGE(after(tenantKey(from))) {
		t, err := tenantOf(it.Key())
		if err != nil {
			return err
		}
		if !yield(t) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		from = t
	}
	return wrap(it.Error())
}

// begin is enter for an operation that takes no lock.
func (e *engine) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return e.enter()
}
