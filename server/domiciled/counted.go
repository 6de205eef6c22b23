package main

import (
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// hasty is the time below which an operation that ran into its deadline was given too little of it, and above which the store
// took too long.
const hasty = 500 * time.Millisecond

// failed reports whether an operation that began at a time failed for the store's sake: not because what it was about is or
// is not there, changed meanwhile or is led by another, nor because whoever asked went away or was in haste.
func failed(ctx context.Context, began time.Time, err error) bool {
	switch {
	case err == nil,
		errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists),
		errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrDeposed):
		return false
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return time.Since(began) >= hasty
	}
	return ctx.Err() == nil
}

// broken reports whether what a transaction's body gave back is the rows' own failure. The keys are another store's.
func broken(err error) bool {
	return residency.KindOf(err) != residency.KeysUnavailable &&
		(errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrClosed))
}

// rows is what every backend's cluster is.
type rows interface {
	store.Rows
	store.Agenda
}

// countedRows counts what fails of a cluster's rows. The backend itself tells how long they take.
type countedRows struct {
	rows
	fail func(operation string)
}

var _ rows = (*countedRows)(nil)

// Update is store.Rows.
func (r *countedRows) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	return r.transact(ctx, "update", r.rows.Update, scope, fn)
}

// View is store.Rows.
func (r *countedRows) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	return r.transact(ctx, "view", r.rows.View, scope, fn)
}

func (r *countedRows) transact(
	ctx context.Context, operation string, run func(context.Context, store.Scope, func(store.Tx) error) error, scope store.Scope, fn func(store.Tx) error,
) error {
	began := time.Now()
	var own error // of fn: most are answers and refusals
	err := run(ctx, scope, func(tx store.Tx) error {
		own = fn(tx)
		return own
	})
	if failed(ctx, began, err) && (own == nil || broken(own)) {
		r.fail(operation)
	}
	return err
}

// Due is store.Rows.
func (r *countedRows) Due(ctx context.Context, limit int) ([]store.Task, error) {
	began := time.Now()
	tasks, err := r.rows.Due(ctx, limit)
	if failed(ctx, began, err) {
		r.fail("due")
	}
	return tasks, err
}

// Lead is store.Rows.
func (r *countedRows) Lead(ctx context.Context, holder string, ttl time.Duration) (uint64, error) {
	began := time.Now()
	epoch, err := r.rows.Lead(ctx, holder, ttl)
	if failed(ctx, began, err) {
		r.fail("lead")
	}
	return epoch, err
}

// Purge is store.Rows.
func (r *countedRows) Purge(ctx context.Context, tenants []store.Tenant) error {
	began := time.Now()
	err := r.rows.Purge(ctx, tenants)
	if failed(ctx, began, err) {
		r.fail("purge")
	}
	return err
}

// countedOutbox counts what fails of a cluster's entries.
type countedOutbox struct {
	store.Outbox
	fail func(operation string)
}

var _ store.Outbox = (*countedOutbox)(nil)

// At is store.Outbox.
func (o *countedOutbox) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	began := time.Now()
	err := o.Outbox.At(ctx, places, yield)
	if failed(ctx, began, err) {
		o.fail("entries")
	}
	return err
}

// Entries is store.Outbox.
func (o *countedOutbox) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	began := time.Now()
	err := o.Outbox.Entries(ctx, from, yield)
	if failed(ctx, began, err) {
		o.fail("entries")
	}
	return err
}

// Last is store.Outbox.
func (o *countedOutbox) Last(ctx context.Context) (uint64, error) {
	began := time.Now()
	last, err := o.Outbox.Last(ctx)
	if failed(ctx, began, err) {
		o.fail("entries")
	}
	return last, err
}

// Drop is store.Outbox.
func (o *countedOutbox) Drop(ctx context.Context, upTo, epoch uint64) error {
	began := time.Now()
	err := o.Outbox.Drop(ctx, upTo, epoch)
	if failed(ctx, began, err) {
		o.fail("drop")
	}
	return err
}
