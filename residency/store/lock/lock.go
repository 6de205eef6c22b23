// Package lock knows how a transaction's scope is locked within one process:
// in which order, how fairly, and at what cost.
//
// A scope's tenant comes first, then its objects in ascending byte order, so
// that no two scopes wait for each other in a circle. A lock is granted in the
// order of asking: whoever asks for shared mode waits behind an earlier request
// for exclusive mode, so a stream of readers cannot starve a writer.
//
// A scope that names an epoch takes the leadership's lock first, in shared mode: who
// waits for a change of leaders holds nothing that a call could need.
package lock

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/domicile-project/domicile/residency/store"
)

// MaxObjects is how many objects a scope may lock (store.Scope).
const MaxObjects = 64

// shards is how many parts the table has; a power of two.
const shards = 64

// Table is the locks that are held or waited for. A lock takes no memory once
// nobody holds it or waits for it. Safe for concurrent use.
type Table struct {
	seed   maphash.Seed
	shards [shards]shard
}

// New makes an empty table.
func New() *Table {
	t := &Table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].locks = make(map[key]*entry)
	}
	return t
}

// key names a lock: a tenant's own, that of one of its objects, or one of the leadership's two.
type key struct {
	tenant store.Tenant
	of     what
	object store.ID
}

type what uint8

const (
	ofTenant what = iota
	ofObject
	ofLeadership
	ofRenewal
)

// maxFree is how many unused entries a shard keeps for the next lock.
const maxFree = 64

type shard struct {
	mu    sync.Mutex
	locks map[key]*entry
	free  []*entry
	_     [64]byte // keeps shards on cache lines of their own
}

// entry is one lock. Its shard's mutex guards it.
type entry struct {
	key     key
	shared  int  // how many hold it in shared mode
	taken   bool // whether somebody holds it in exclusive mode
	waiters []*waiter
}

// waiter is one request that could not be granted at once.
type waiter struct {
	exclusive bool
	granted   chan struct{} // closed, under the shard's mutex, once granted
}

// Held is the locks of one scope. The zero Held holds nothing.
type Held struct {
	few  [4]hold
	more []hold
	n    int
}

type hold struct {
	shard     *shard
	entry     *entry
	exclusive bool
}

// Acquire takes a scope's locks and returns when it has all of them. When the
// context ends before that it holds none, and the error wraps
// store.ErrUnavailable and the context's. shared takes every lock in shared
// mode, whatever the scope asks for. held must hold nothing.
func (t *Table) Acquire(ctx context.Context, scope store.Scope, shared bool, held *Held) error {
	if len(scope.Objects) > MaxObjects {
		return fmt.Errorf("store: a scope locks at most %d objects, not %d", MaxObjects, len(scope.Objects))
	}
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	if scope.Epoch != 0 {
		if err := t.take(ctx, key{of: ofLeadership}, false, held); err != nil {
			return err
		}
	}
	if err := t.take(ctx, key{tenant: scope.Tenant}, scope.Exclusive && !shared, held); err != nil {
		held.Release()
		return err
	}
	var buf [4]store.Lock
	for _, o := range inOrder(buf[:0], scope.Objects) {
		k := key{tenant: scope.Tenant, of: ofObject, object: o.Object}
		if err := t.take(ctx, k, o.Exclusive && !shared, held); err != nil {
			held.Release()
			return err
		}
	}
	return nil
}

// AcquireLeadership takes the lock under which a leader renews its time and, to follow another, the
// leadership's before it, which excludes every scope that names an epoch. Errors are as for Acquire.
func (t *Table) AcquireLeadership(ctx context.Context, follow bool, held *Held) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	if follow {
		if err := t.take(ctx, key{of: ofLeadership}, true, held); err != nil {
			return err
		}
	}
	if err := t.take(ctx, key{of: ofRenewal}, true, held); err != nil {
		held.Release()
		return err
	}
	return nil
}

// inOrder gives the objects in ascending order, each once and in the stronger
// of its modes, in buf or, if that is too short, in a new slice.
func inOrder(buf, objects []store.Lock) []store.Lock {
	if len(objects) < 2 {
		return objects
	}
	out := append(buf, objects...)
	slices.SortFunc(out, func(a, b store.Lock) int { return strings.Compare(string(a.Object), string(b.Object)) })
	n := 0
	for _, o := range out[1:] {
		if o.Object == out[n].Object {
			out[n].Exclusive = out[n].Exclusive || o.Exclusive
			continue
		}
		n++
		out[n] = o
	}
	return out[:n+1]
}

func unavailable(cause error) error {
	return fmt.Errorf("%w: waiting for a lock: %w", store.ErrUnavailable, cause)
}

func (t *Table) take(ctx context.Context, k key, exclusive bool, held *Held) error {
	s := &t.shards[maphash.Comparable(t.seed, k)%shards]
	s.mu.Lock()
	e := s.entry(k)
	if len(e.waiters) == 0 && e.admits(exclusive) {
		e.grant(exclusive)
		s.mu.Unlock()
		held.add(hold{s, e, exclusive})
		return nil
	}
	w := &waiter{exclusive: exclusive, granted: make(chan struct{})}
	e.waiters = append(e.waiters, w)
	s.mu.Unlock()
	select {
	case <-w.granted:
		held.add(hold{s, e, exclusive})
		return nil
	case <-ctx.Done():
		s.giveUp(e, w)
		return unavailable(ctx.Err())
	}
}

// giveUp takes a waiter out of its queue, or gives back what it was granted meanwhile.
func (s *shard) giveUp(e *entry, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(e.waiters, w); i >= 0 {
		e.waiters = slices.Delete(e.waiters, i, i+1)
		s.settle(e)
		return
	}
	s.drop(e, w.exclusive)
}

// entry finds a lock or makes it. The shard's mutex is held.
func (s *shard) entry(k key) *entry {
	e := s.locks[k]
	if e != nil {
		return e
	}
	if n := len(s.free); n > 0 {
		e, s.free = s.free[n-1], s.free[:n-1]
	} else {
		e = new(entry)
	}
	e.key = k
	s.locks[k] = e
	return e
}

// drop gives a lock back. The shard's mutex is held.
func (s *shard) drop(e *entry, exclusive bool) {
	if exclusive {
		e.taken = false
	} else {
		e.shared--
	}
	s.settle(e)
}

// settle grants what can be granted, in order, and forgets a lock that nobody
// holds or waits for. The shard's mutex is held.
func (s *shard) settle(e *entry) {
	n := 0
	for n < len(e.waiters) && e.admits(e.waiters[n].exclusive) {
		e.grant(e.waiters[n].exclusive)
		close(e.waiters[n].granted)
		n++
	}
	e.waiters = slices.Delete(e.waiters, 0, n)
	if e.taken || e.shared > 0 || len(e.waiters) > 0 {
		return
	}
	delete(s.locks, e.key)
	if len(s.free) < maxFree {
		e.key = key{}
		s.free = append(s.free, e)
	}
}

func (e *entry) admits(exclusive bool) bool {
	return !e.taken && (!exclusive || e.shared == 0)
}

func (e *entry) grant(exclusive bool) {
	if exclusive {
		e.taken = true
	} else {
		e.shared++
	}
}

func (h *Held) add(l hold) {
	if h.n < len(h.few) {
		h.few[h.n] = l
	} else {
		h.more = append(h.more, l)
	}
	h.n++
}

// Release gives every lock back. Releasing what holds nothing does nothing.
func (h *Held) Release() {
	for i := range h.n {
		l := h.few[i%len(h.few)]
		if i >= len(h.few) {
			l = h.more[i-len(h.few)]
		}
		l.shard.mu.Lock()
		l.shard.drop(l.entry, l.exclusive)
		l.shard.mu.Unlock()
	}
	*h = Held{}
}

// Len is how many locks are held or waited for now.
func (t *Table) Len() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.locks)
		s.mu.Unlock()
	}
	return n
}
