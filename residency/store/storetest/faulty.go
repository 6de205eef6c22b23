package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// FaultyRows puts faults in front of any Rows: a real engine whose audit append
// fails, hangs or reports a full disk. Safe for concurrent use.
type FaultyRows struct {
	rows   store.Rows
	faults faults
}

var (
	_ store.Rows = (*FaultyRows)(nil)
	_ store.Tx   = (*faultyTx)(nil)
)

// Faulty wraps rows. Without a call of Fail it changes nothing.
func Faulty(rows store.Rows) *FaultyRows { return &FaultyRows{rows: rows} }

// Fail makes OpUpdate, OpAppend, OpView, OpDue, OpTenants, OpPurge or OpLead ask f, each time it runs, what
// to do; nil takes that back. A transaction that hangs holds its locks
// meanwhile.
func (r *FaultyRows) Fail(op Op, f func() Fault) { r.faults.set(op, f) }

// Update is store.Rows. A fault that does not persist is raised after fn has
// run and before the wrapped store commits; one that persists, after it has.
func (r *FaultyRows) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	var after Fault
	op := OpUpdate
	err := r.rows.Update(ctx, scope, func(inner store.Tx) error {
		tx := &faultyTx{Tx: inner, ctx: ctx, faults: &r.faults}
		if err := fn(tx); err != nil {
			return err
		}
		if tx.failed != nil {
			return tx.failed
		}
		op, after = OpUpdate, r.faults.next(OpUpdate)
		if tx.deferred != FaultNone {
			op, after = OpAppend, tx.deferred
		}
		if after.persists() {
			return nil
		}
		return fail(ctx, op, after)
	})
	if err != nil {
		return err
	}
	return fail(ctx, op, after)
}

// View is store.Rows.
func (r *FaultyRows) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	if err := r.faults.read(ctx, OpView); err != nil {
		return err
	}
	return r.rows.View(ctx, scope, fn)
}

// Due is store.Rows.
func (r *FaultyRows) Due(ctx context.Context, limit int) ([]store.Task, error) {
	if err := r.faults.read(ctx, OpDue); err != nil {
		return nil, err
	}
	return r.rows.Due(ctx, limit)
}

// Tenants is store.Rows.
func (r *FaultyRows) Tenants(ctx context.Context, after store.Tenant, yield func(store.Tenant) bool) error {
	if err := r.faults.read(ctx, OpTenants); err != nil {
		return err
	}
	return r.rows.Tenants(ctx, after, yield)
}

// Purge is store.Rows.
func (r *FaultyRows) Purge(ctx context.Context, tenants []store.Tenant) error {
	return r.faults.write(ctx, OpPurge, func() error { return r.rows.Purge(ctx, tenants) })
}

// Lead is store.Rows.
func (r *FaultyRows) Lead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, err error) {
	err = r.faults.write(ctx, OpLead, func() (err error) {
		epoch, err = r.rows.Lead(ctx, holder, ttl)
		return err
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// Now is store.Rows.
func (r *FaultyRows) Now() time.Time { return r.rows.Now() }

type faultyTx struct {
	store.Tx
	ctx      context.Context
	faults   *faults
	failed   error // what a failed Append made of the transaction
	deferred Fault // of an Append: done, then reported as failed
}

func (t *faultyTx) Append(index store.ID, build func(uint64) []byte) error {
	if build == nil {
		return errors.New("store: an entry needs something that builds it")
	}
	f := t.faults.next(OpAppend)
	if f.persists() {
		t.deferred = f
	} else if err := fail(t.ctx, OpAppend, f); err != nil {
		t.failed = err
		return err
	}
	return t.Tx.Append(index, build)
}
