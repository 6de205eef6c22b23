package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// commit is one batch on its way into the log, or, without a batch, a question
// whether everything before it is durable.
type commit struct {
	batch    *pebble.Batch
	tenant   store.Tenant
	appended []entry
	mark     *atomic.Uint64 // where to remember that tenant was written to
	held     *lock.Held     // released by whoever ends the commit: the sequencer, once it is ordered

	mu        sync.Mutex // held by the sequencer while it takes the commit and builds its entries
	withdrawn bool       // the caller has gone; guarded by mu

	count    uint64     // its number among the commits
	place    uint64     // the newest place when it was applied
	panicked *panicking // what build panicked with
	done     chan error // one answer, from the acknowledger
}

// entry is an audit entry that has no place yet.
type entry struct {
	index store.ID
	build func(place uint64) []byte
}

// panicking carries a panic to the goroutine that it belongs to.
type panicking struct {
	value any
	stack []byte
}

func newCommit(batch *pebble.Batch) *commit {
	return &commit{batch: batch, done: make(chan error, 1)}
}

// submit passes a commit through the engine and returns when it is durable, or
// when the context ends. Either way the commit's locks are released, by the
// time its writes are visible to all and ordered before every later commit.
func (e *engine) submit(ctx context.Context, c *commit) error {
	if err := ctx.Err(); err != nil {
		c.drop()
		return gone(err)
	}
	select {
	case e.queue <- c:
	default:
		select {
		case e.queue <- c:
		case <-ctx.Done():
			c.drop()
			return gone(ctx.Err())
		case <-e.down:
			c.drop()
			return e.failed()
		}
	}
	select {
	case err := <-c.done:
		if c.panicked != nil {
			panic(fmt.Sprintf("%v, while an audit entry was built\n%s", c.panicked.value, c.panicked.stack))
		}
		return err
	case <-ctx.Done():
		c.withdraw()
		return gone(ctx.Err())
	case <-e.down:
		c.withdraw()
		return e.failed()
	}
}

func gone(cause error) error {
	return fmt.Errorf("%w: the commit was not acknowledged in time: %w", store.ErrUnavailable, cause)
}

// withdraw takes a commit back unless the sequencer has it, and returns when no
// build function of it runs any more.
func (c *commit) withdraw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.withdrawn = true
}

// drop ends a commit that writes nothing.
func (c *commit) drop() {
	if c.held != nil {
		c.held.Release()
	}
	if c.batch != nil {
		_ = c.batch.Close() // it only goes back to its pool
	}
}

// sequence takes commits one after another, gives their entries places and
// applies them. It alone writes to the database, so the order in which it does
// is the order of everything.
func (e *engine) sequence() {
	defer close(e.ordered)
	for c := range e.queue {
		switch err := e.order(c); {
		case err == errWithdrawn:
			c.drop()
		case err != nil:
			c.drop()
			c.done <- err
		default:
			e.ordered <- c
		}
	}
}

// errWithdrawn says that nobody waits for a commit any more.
var errWithdrawn = fmt.Errorf("%w: withdrawn", store.ErrUnavailable)

// order applies a commit and releases its locks. After an error nothing of the
// commit is visible and it has used up no place.
func (e *engine) order(c *commit) error {
	places, err := c.settle(e.last)
	if err != nil {
		return err
	}
	if err := e.failed(); err != nil {
		return err
	}
	if c.batch != nil {
		// Before the apply: whoever sees the writes must find the mark.
		c.mark.Store(e.count + 1)
		if err := e.apply(c.batch); err != nil {
			e.fail(err)
			c.batch = nil // never back to the pool: the engine may still hold it
			return e.failed()
		}
		e.last = places
		e.count++
	}
	c.count, c.place = e.count, e.last
	if c.held != nil {
		c.held.Release()
	}
	return nil
}

// settle takes a commit for good and builds its entries after the newest
// place, and gives the newest place then.
func (c *commit) settle(last uint64) (place uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.withdrawn {
		return 0, errWithdrawn
	}
	defer func() {
		if v := recover(); v != nil {
			c.panicked = &panicking{v, debug.Stack()}
			err = errPanicked
		}
	}()
	place = last
	for _, a := range c.appended {
		place++
		if err := c.enter(a, place); err != nil {
			return 0, err
		}
	}
	return place, nil
}

// errPanicked goes with commit.panicked, which the caller looks at first.
var errPanicked = fmt.Errorf("%w: an entry could not be built", store.ErrUnavailable)

// enter adds one entry, and its place to the row that finds it.
func (c *commit) enter(a entry, place uint64) error {
	if err := c.batch.Set(outboxKey(place), a.build(place), nil); err != nil {
		return wrap(err)
	}
	if a.index == "" {
		return nil
	}
	key := rowKey(nil, c.tenant, store.KindDecision, a.index)
	return wrap(c.batch.Merge(key, binary.BigEndian.AppendUint64(nil, place), nil))
}

// apply queues a batch in the log and makes it visible. Pebble panics when its
// log is broken, and then must not be used any more.
func (e *engine) apply(b *pebble.Batch) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the engine panicked: %v", v)
		}
	}()
	return e.db.ApplyNoSyncWait(b, pebble.Sync)
}

// acknowledge waits for each commit to be durable, in order, and tells its caller.
func (e *engine) acknowledge() {
	defer close(e.stopped)
	for c := range e.ordered {
		err := e.failed()
		if c.batch != nil {
			if syncErr := c.batch.SyncWait(); syncErr != nil {
				e.fail(syncErr)
				err = e.failed()
			}
			if err == nil {
				_ = c.batch.Close() // it only goes back to its pool
			}
		}
		if err == nil {
			e.durable.Store(c.count)
			e.durablePlace.Store(c.place)
		}
		c.done <- err
	}
}
