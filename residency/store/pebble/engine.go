package pebble

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

const (
	queueLength  = 4096             // commits that wait for the sequencer
	marks        = 1024             // how finely "has this been written to lately" is remembered; a power of two
	closeTimeout = 10 * time.Second // how long Close waits for an engine that hangs
)

// engine is one Pebble database and the two goroutines through which every
// commit passes: the sequencer, which settles the order, and the acknowledger,
// which waits for the log's fsync. README.md tells the life of a commit.
type engine struct {
	db    *pebble.DB
	fs    vfs.FS
	dir   string
	log   *slog.Logger
	clock func() time.Time
	locks *lock.Table

	queue   chan *commit // to the sequencer
	ordered chan *group  // from the sequencer to the acknowledger, in commit order
	stopped chan struct{}
	groups  sync.Pool

	last  uint64 // the newest place; the sequencer's alone
	count uint64 // groups applied; the sequencer's alone

	newest atomic.Uint64 // the sequence number that the engine gave the newest batch

	first        atomic.Uint64 // the place of the oldest entry that was not dropped, durably
	dropping     chan struct{} // holds one token while entries are dropped
	durablePlace atomic.Uint64 // the newest place whose entry is durable
	durable      atomic.Uint64 // the newest group that is durable, by its count
	seed         maphash.Seed
	applied      [marks]atomic.Uint64 // by hash of what a commit wrote to: the count of the newest group
	latest       atomic.Int64         // the newest time given out, in nanoseconds since 1970

	rows *rowCache

	readOnly bool // nothing is ever written

	opening    atomic.Bool  // the database is being opened; a failure then ends that
	complained atomic.Int64 // when a failure of background work was last logged

	failure  atomic.Pointer[error]
	down     chan struct{} // closed once failed
	ops      atomic.Int64
	closing  atomic.Bool
	idle     chan struct{} // closed when closing and no operation is under way
	idleOnce sync.Once
}

// open opens or creates the database of a role, for example "cluster", and
// refuses one of another role or of a format that it does not know.
func open(dir, role string, o Options) (*engine, error) {
	e := newEngine(o)
	e.opening.Store(true)
	options := o.engineOptions(e)
	e.fs, e.dir = options.FS, dir
	type opened struct {
		db  *pebble.DB
		err error
	}
	result := make(chan opened, 1)
	go func() {
		db, err := pebble.Open(dir, options)
		result <- opened{db, err}
	}()
	var db *pebble.DB
	var err error
	select {
	case r := <-result:
		db, err = r.db, r.err
	case <-e.down: // Pebble does not come back from that
		err = e.failed()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: opening the %s database: %w", store.ErrUnavailable, role, err)
	}
	e.opening.Store(false)
	e.db = db
	if err := e.checkFormat(role); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := e.openOutbox(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go e.sequence()
	go e.acknowledge()
	return e, nil
}

func newEngine(o Options) *engine {
	e := &engine{
		log: o.Logger, clock: o.Clock, locks: lock.New(), rows: newRowCache(), seed: maphash.MakeSeed(), readOnly: o.readOnly,
		queue: make(chan *commit, queueLength), ordered: make(chan *group, queueLength),
		groups:   sync.Pool{New: func() any { return new(group) }},
		dropping: make(chan struct{}, 1), stopped: make(chan struct{}), down: make(chan struct{}), idle: make(chan struct{}),
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	return e
}

// now is the wall clock, except that it never runs backwards.
func (e *engine) now() time.Time {
	t := e.clock().UnixNano()
	for {
		last := e.latest.Load()
		if t <= last {
			return time.Unix(0, last).UTC()
		}
		if e.latest.CompareAndSwap(last, t) {
			return time.Unix(0, t).UTC()
		}
	}
}

// enter begins an operation; unless it returns an error, leave must follow.
func (e *engine) enter() error {
	e.ops.Add(1)
	if e.closing.Load() {
		e.leave()
		return fmt.Errorf("%w: the database", store.ErrClosed)
	}
	if err := e.failed(); err != nil {
		e.leave()
		return err
	}
	return nil
}

func (e *engine) leave() {
	if e.ops.Add(-1) == 0 && e.closing.Load() {
		e.idleOnce.Do(func() { close(e.idle) })
	}
}

// failed says whether the engine is out of service.
func (e *engine) failed() error {
	if p := e.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail puts the engine out of service for good. What was applied but not
// acknowledged may or may not be durable, so nothing is read from it either.
func (e *engine) fail(cause error) {
	err := fmt.Errorf("%w: the storage engine stopped: %w", store.ErrUnavailable, cause)
	if e.failure.CompareAndSwap(nil, &err) {
		e.log.Error("storage engine: out of service until the process restarts", "err", cause)
		close(e.down)
	}
}

// close stops the engine once no operation is under way. An engine that failed
// or hangs is left as it is; its files stay locked until the process ends.
func (e *engine) close() error {
	if e.closing.Swap(true) {
		return fmt.Errorf("%w: the database", store.ErrClosed)
	}
	if e.ops.Load() == 0 {
		e.idleOnce.Do(func() { close(e.idle) })
	}
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	select {
	case <-e.idle:
	case <-late.C:
		return fmt.Errorf("%w: operations are still under way", store.ErrUnavailable)
	}
	close(e.queue)
	select {
	case <-e.stopped:
	case <-late.C:
		return fmt.Errorf("%w: a commit is still under way", store.ErrUnavailable)
	}
	if err := e.failed(); err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() { closed <- e.db.Close() }()
	select {
	case err := <-closed:
		return wrap(err)
	case <-late.C:
		return fmt.Errorf("%w: background work is still under way", store.ErrUnavailable)
	}
}

// mark is where the newest commit that wrote to a thing is remembered.
func (e *engine) mark(tenant store.Tenant) *atomic.Uint64 {
	return &e.applied[maphash.Comparable(e.seed, tenant)%marks]
}

// settled returns when everything that a reader of mark's thing can have seen
// is durable, so that nobody is told of a write that a power failure takes back.
func (e *engine) settled(ctx context.Context, mark *atomic.Uint64) error {
	if mark.Load() <= e.durable.Load() {
		return e.failed()
	}
	return e.submit(ctx, new(commit))
}

// wrap gives an engine's error one of the store's kinds.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	case errors.Is(err, pebble.ErrClosed):
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
