package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// maxEntries is how many entries a transaction may append (store.Tx).
const maxEntries = 8

var (
	errReadOnly = errors.New("store: a View does not write")
	errDead     = fmt.Errorf("%w: the transaction is over", store.ErrClosed)
)

type rowKey struct {
	tenant store.Tenant
	kind   store.Kind
	id     store.ID
}

type taskKey struct {
	at     int64 // nanoseconds since 1970
	tenant store.Tenant
	kind   store.TaskKind
	id     store.ID
}

func keyOf(t store.Task) taskKey { return taskKey{t.At.UnixNano(), t.Tenant, t.Kind, t.ID} }

func (k taskKey) compare(o taskKey) int {
	switch {
	case k.at < o.at:
		return -1
	case k.at > o.at:
		return 1
	}
	if c := bytes.Compare(k.tenant[:], o.tenant[:]); c != 0 {
		return c
	}
	if c := int(k.kind) - int(o.kind); c != 0 {
		return c
	}
	return strings.Compare(string(k.id), string(o.id))
}

// memoryRows is a cluster's rows and outbox. mu guards the maps and the
// entries, and is never held while anything waits.
type memoryRows struct {
	faults *faults
	clock  func() time.Time
	last   ratchet
	locks  *lock.Table

	mu      sync.Mutex
	rows    map[rowKey][]byte
	agenda  map[taskKey]store.Task
	entries [][]byte // the entry at place p is entries[p-1]; nil once it was removed
	dropped uint64   // how many were dropped
	leader  leader
}

var (
	_ store.Rows = (*memoryRows)(nil)
	_ store.Tx   = (*memoryTx)(nil)
)

func (r *memoryRows) Now() time.Time { return r.last.now(r.clock) }

func (r *memoryRows) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	var held lock.Held
	if err := r.locks.Acquire(ctx, scope, false, &held); err != nil {
		return err
	}
	defer held.Release()
	if err := r.mayRun(scope); err != nil {
		return err
	}
	tx := r.begin(ctx, scope.Tenant, false)
	defer tx.end()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.failed != nil {
		return tx.failed
	}
	return tx.finish()
}

func (r *memoryRows) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	var held lock.Held
	if err := r.locks.Acquire(ctx, scope, true, &held); err != nil {
		return err
	}
	defer held.Release()
	if err := r.faults.read(ctx, OpView); err != nil {
		return err
	}
	if err := r.mayRun(scope); err != nil {
		return err
	}
	tx := r.begin(ctx, scope.Tenant, true)
	defer tx.end()
	return fn(tx)
}

func (r *memoryRows) begin(ctx context.Context, tenant store.Tenant, readOnly bool) *memoryTx {
	return &memoryTx{
		ctx: ctx, rows: r, tenant: tenant, readOnly: readOnly, now: r.Now(),
		written: make(map[rowKey][]byte), tasks: make(map[taskKey]*store.Task),
	}
}

func (r *memoryRows) Due(ctx context.Context, limit int) ([]store.Task, error) {
	if err := r.faults.read(ctx, OpDue); err != nil {
		return nil, err
	}
	now := r.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []store.Task
	for k, t := range r.agenda {
		if k.at <= now {
			t.Value = bytes.Clone(t.Value)
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b store.Task) int { return keyOf(a).compare(keyOf(b)) })
	return due[:min(max(limit, 0), len(due))], nil
}

// Purge has nothing to do: what is deleted is nowhere.
func (r *memoryRows) Purge(ctx context.Context, _ []store.Tenant) error {
	return r.faults.write(ctx, OpPurge, func() error { return nil })
}

func (r *memoryRows) Tenants(ctx context.Context, after store.Tenant, yield func(store.Tenant) bool) error {
	if err := r.faults.read(ctx, OpTenants); err != nil {
		return err
	}
	compare := func(a, b store.Tenant) int { return bytes.Compare(a[:], b[:]) }
	all := make(map[store.Tenant]bool)
	r.mu.Lock()
	for k := range r.rows {
		if compare(k.tenant, after) > 0 {
			all[k.tenant] = true
		}
	}
	r.mu.Unlock()
	for _, t := range slices.SortedFunc(maps.Keys(all), compare) {
		if !yield(t) {
			return nil
		}
	}
	return nil
}

// memoryTx is a transaction: what it wrote, until that is applied.
type memoryTx struct {
	ctx      context.Context
	rows     *memoryRows
	tenant   store.Tenant
	readOnly bool
	dead     bool
	now      time.Time
	written  map[rowKey][]byte       // nil = deleted
	tasks    map[taskKey]*store.Task // nil = taken off
	appended []memoryAppend
	failed   error // what a failed Append made of the transaction
	deferred Fault // of an Append: done, then reported as failed
}

type memoryAppend struct {
	index store.ID
	build func(uint64) []byte
}

func (t *memoryTx) end() { t.dead = true }

// finish applies the transaction as the faults of a commit say.
func (t *memoryTx) finish() error {
	if err := t.ctx.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, OpUpdate, err)
	}
	if t.deferred != FaultNone {
		t.apply()
		return fail(t.ctx, OpAppend, t.deferred)
	}
	return t.rows.faults.write(t.ctx, OpUpdate, func() error { t.apply(); return nil })
}

// apply makes the writes visible, all at once.
func (t *memoryTx) apply() {
	r := t.rows
	r.mu.Lock()
	defer r.mu.Unlock()
	place := uint64(len(r.entries))
	built := make([][]byte, 0, len(t.appended))
	for _, a := range t.appended {
		place++
		built = append(built, append([]byte{}, a.build(place)...))
	}
	for k, v := range t.written {
		if v == nil {
			delete(r.rows, k)
		} else {
			r.rows[k] = v
		}
	}
	for k, task := range t.tasks {
		if task == nil {
			delete(r.agenda, k)
		} else {
			r.agenda[k] = *task
		}
	}
	for i, a := range t.appended {
		r.entries = append(r.entries, built[i])
		if a.index != "" {
			k := rowKey{t.tenant, store.KindDecision, a.index}
			r.rows[k] = binary.BigEndian.AppendUint64(slices.Clip(r.rows[k]), uint64(len(r.entries)))
		}
	}
}

func (t *memoryTx) Now() time.Time { return t.now }

func (t *memoryTx) Get(kind store.Kind, id store.ID) ([]byte, error) {
	if t.dead {
		return nil, errDead
	}
	k := rowKey{t.tenant, kind, id}
	if v, ok := t.written[k]; ok {
		if v == nil {
			return nil, notFound(kind)
		}
		return bytes.Clone(v), nil
	}
	t.rows.mu.Lock()
	defer t.rows.mu.Unlock()
	if v, ok := t.rows.rows[k]; ok {
		return append([]byte{}, v...), nil
	}
	return nil, notFound(kind)
}

func notFound(kind store.Kind) error {
	return fmt.Errorf("%w: a row of kind %d", store.ErrNotFound, kind)
}

func (t *memoryTx) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	if t.dead {
		return errDead
	}
	found := t.matching(kind, prefix, after)
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if !yield(id, found[id]) {
			return nil
		}
	}
	return nil
}

// matching copies the rows that a Scan is to see.
func (t *memoryTx) matching(kind store.Kind, prefix, after store.ID) map[store.ID][]byte {
	in := func(k rowKey) bool {
		return k.tenant == t.tenant && k.kind == kind && strings.HasPrefix(string(k.id), string(prefix)) &&
			(after == "" || k.id > after)
	}
	found := make(map[store.ID][]byte)
	t.rows.mu.Lock()
	for k, v := range t.rows.rows {
		if in(k) {
			found[k.id] = bytes.Clone(v)
		}
	}
	t.rows.mu.Unlock()
	for k, v := range t.written {
		if !in(k) {
			continue
		}
		if v == nil {
			delete(found, k.id)
		} else {
			found[k.id] = bytes.Clone(v)
		}
	}
	return found
}

func (t *memoryTx) writable() error {
	switch {
	case t.dead:
		return errDead
	case t.readOnly:
		return errReadOnly
	}
	return nil
}

func (t *memoryTx) Put(kind store.Kind, id store.ID, value []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	t.written[rowKey{t.tenant, kind, id}] = append([]byte{}, value...)
	return nil
}

func (t *memoryTx) Delete(kind store.Kind, id store.ID) error {
	if err := t.writable(); err != nil {
		return err
	}
	t.written[rowKey{t.tenant, kind, id}] = nil
	return nil
}

func (t *memoryTx) Schedule(task store.Task) error {
	if err := t.mayPlan(task); err != nil {
		return err
	}
	task.Value = bytes.Clone(task.Value)
	task.At = task.At.Round(0).UTC()
	t.tasks[keyOf(task)] = &task
	return nil
}

func (t *memoryTx) Unschedule(task store.Task) error {
	if err := t.mayPlan(task); err != nil {
		return err
	}
	t.tasks[keyOf(task)] = nil
	return nil
}

func (t *memoryTx) mayPlan(task store.Task) error {
	if err := t.writable(); err != nil {
		return err
	}
	if task.Tenant != t.tenant {
		return errors.New("store: a task must be of the transaction's own tenant")
	}
	return nil
}

func (t *memoryTx) Append(index store.ID, build func(uint64) []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	if len(t.appended) == maxEntries {
		return fmt.Errorf("store: a transaction appends at most %d entries", maxEntries)
	}
	f := t.rows.faults.next(OpAppend)
	if f.persists() {
		t.deferred = f
	} else if err := fail(t.ctx, OpAppend, f); err != nil {
		t.failed = err
		return err
	}
	t.appended = append(t.appended, memoryAppend{index, build})
	return nil
}
