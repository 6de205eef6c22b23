package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// groupBytes is from how many bytes on a group takes no further commit. One
// commit may be larger; it is then alone.
const groupBytes = 256 << 10

// write is what a commit makes of one key of the database, or of a range of
// keys, which is then removed.
type write struct {
	key, value []byte
	deleted    bool
	end        []byte // of a range: the first key behind it
}

// entry is an audit entry that has no place yet.
type entry struct {
	index store.ID
	build func(place uint64) []byte
}

// commit is what one transaction writes, on its way into the log; or, with
// nothing to write, a question whether everything before it is durable.
type commit struct {
	writes   []write
	tenant   store.Tenant
	appended []entry
	mark     *atomic.Uint64 // where it is remembered that something was written; nil if nothing is
	held     *lock.Held     // released by whoever ends the commit: the sequencer, once it is ordered

	mu        sync.Mutex // held by the sequencer while it takes the commit and builds its entries
	withdrawn bool       // the caller has gone; guarded by mu

	panicked *panicking // what build panicked with
	done     chan error // one answer
}

// panicking carries a panic to the goroutine that it belongs to.
type panicking struct {
	value any
	stack []byte
}

// group is commits that share one batch, and so one record of the log. They are
// durable together or not at all; each is in it whole.
type group struct {
	batch   *pebble.Batch // nil if there is nothing to write
	commits []*commit
	count   uint64 // how many groups were applied, this one included
	place   uint64 // the newest place after it
	key     []byte // scratch
}

// submit passes a commit through the engine and returns when it is durable, or
// when the context ends. Its locks are released once its writes are visible
// and ordered before every later commit, or when it has come to nothing.
func (e *engine) submit(ctx context.Context, c *commit) error {
	c.done = make(chan error, 1)
	if err := ctx.Err(); err != nil {
		c.release()
		return gone(err)
	}
	if e.readOnly && (len(c.writes) > 0 || len(c.appended) > 0) {
		c.release()
		return errReadOnlyStore
	}
	select {
	case e.queue <- c:
	default:
		select {
		case e.queue <- c:
		case <-ctx.Done():
			c.release()
			return gone(ctx.Err())
		case <-e.down:
			c.release()
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

// release gives the commit's locks back.
func (c *commit) release() {
	if c.held != nil {
		c.held.Release()
	}
}

// sequence takes the commits that wait, one group after another, and applies
// them. It alone writes to the database, so the order in which it does is the
// order of everything. It never waits for a group to fill.
func (e *engine) sequence() {
	defer close(e.ordered)
	for c := range e.queue {
		e.yield()
		g := e.groups.Get().(*group)
		e.add(g, c)
		for waiting := len(e.queue); waiting > 0 && !g.full(); waiting-- {
			e.add(g, <-e.queue)
		}
		e.order(g)
	}
}

// yield lets the transactions that are ready to run come to the queue before a
// group is closed, for as long as more of them do. On a busy machine groups
// become larger, and the log is made durable less often; on an idle one it
// returns at once. It waits for no time to pass.
func (e *engine) yield() {
	for waiting := -1; waiting < len(e.queue) && len(e.queue) < queueLength/2; {
		waiting = len(e.queue)
		runtime.Gosched()
	}
}

func (g *group) full() bool { return g.batch != nil && g.batch.Len() >= groupBytes }

// add puts a commit into a group. One that has come to nothing is answered and left out.
func (e *engine) add(g *group, c *commit) {
	err := e.failed()
	if err == nil {
		err = e.settle(g, c)
	}
	if err != nil {
		c.release()
		c.done <- err
		return
	}
	g.commits = append(g.commits, c)
}

// errWithdrawn says that nobody waits for a commit any more.
var errWithdrawn = fmt.Errorf("%w: withdrawn", store.ErrUnavailable)

// errPanicked goes with commit.panicked, which the caller looks at first.
var errPanicked = fmt.Errorf("%w: an entry could not be built", store.ErrUnavailable)

// settle takes a commit for good: it builds its entries after the newest place
// and puts everything into the group's batch. After an error nothing of it is
// there and it has used up no place.
func (e *engine) settle(g *group, c *commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.withdrawn {
		return errWithdrawn
	}
	var built [maxEntries][]byte
	for i, a := range c.appended {
		var ok bool
		if built[i], ok = c.build(a, e.last+uint64(i)+1); !ok {
			return errPanicked
		}
	}
	if c.mark == nil {
		return nil
	}
	if g.batch == nil {
		g.batch = e.db.NewBatch()
	}
	if err := g.put(c, built[:len(c.appended)], e.last); err != nil {
		e.fail(err) // the batch holds a part of the commit: the group must come to nothing
		return e.failed()
	}
	e.last += uint64(len(c.appended))
	return nil
}

// build builds one entry, unless that panics.
func (c *commit) build(a entry, place uint64) (built []byte, ok bool) {
	defer func() {
		if !ok {
			c.panicked = &panicking{recover(), debug.Stack()}
		}
	}()
	return a.build(place), true
}

// put writes a commit into the group's batch. A batch takes everything that is
// well formed, so an error says that the engine cannot be used.
func (g *group) put(c *commit, built [][]byte, last uint64) error {
	for _, w := range c.writes {
		var err error
		switch {
		case w.end != nil:
			err = g.batch.DeleteRange(w.key, w.end, nil)
		case w.deleted:
			err = g.batch.Delete(w.key, nil)
		default:
			err = g.batch.Set(w.key, w.value, nil)
		}
		if err != nil {
			return wrap(err)
		}
	}
	for i, b := range built {
		if err := g.enter(c.tenant, c.appended[i].index, last+uint64(i)+1, b); err != nil {
			return wrap(err)
		}
	}
	return nil
}

// enter adds one entry, and its place to the row that finds it.
func (g *group) enter(t store.Tenant, index store.ID, place uint64, built []byte) error {
	g.key = outboxKey(g.key[:0], place)
	if err := g.batch.Set(g.key, built, nil); err != nil || index == "" {
		return err
	}
	g.key = rowKey(g.key[:0], t, store.KindDecision, index)
	n := len(g.key)
	g.key = binary.BigEndian.AppendUint64(g.key, place)
	return g.batch.Merge(g.key[:n], g.key[n:], nil)
}

// order applies a group, releases its locks and passes it on to be acknowledged.
func (e *engine) order(g *group) {
	if err := e.failed(); err != nil {
		g.refuse(err)
		return
	}
	if g.batch != nil {
		// The marks come before the apply: whoever sees a write must find its mark.
		e.count++
		for _, c := range g.commits {
			if c.mark != nil {
				c.mark.Store(e.count)
			}
		}
		if err := e.apply(g.batch); err != nil {
			e.fail(err)
			g.refuse(e.failed())
			return
		}
	}
	g.count, g.place = e.count, e.last
	for _, c := range g.commits {
		e.rows.settle(c)
		c.release()
	}
	e.ordered <- g
}

// refuse answers a group that came to nothing. Its batch is not used again: the
// engine may still hold it.
func (g *group) refuse(err error) {
	for _, c := range g.commits {
		c.release()
		c.done <- err
	}
}

// apply queues a batch in the log and makes it visible. Pebble panics when its
// log is broken, and then must not be used any more.
func (e *engine) apply(b *pebble.Batch) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the engine panicked: %v", v)
		}
	}()
	if err := e.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return err
	}
	e.newest.Store(uint64(b.SeqNum()))
	return nil
}

// acknowledge waits for each group to be durable, in order, and tells its callers.
func (e *engine) acknowledge() {
	defer close(e.stopped)
	for g := range e.ordered {
		err := e.failed()
		if g.batch != nil {
			if syncErr := g.batch.SyncWait(); syncErr != nil {
				e.fail(syncErr)
				err = e.failed()
			}
		}
		if err == nil {
			e.durable.Store(g.count)
			e.durablePlace.Store(g.place)
		}
		for _, c := range g.commits {
			c.done <- err
		}
		if err == nil {
			e.reuse(g)
		}
	}
}

// reuse gives a group back. Only durable ones are: of others the engine may
// still hold the batch.
func (e *engine) reuse(g *group) {
	if g.batch != nil {
		_ = g.batch.Close() // it only goes back to its pool
	}
	clear(g.commits)
	g.batch, g.commits = nil, g.commits[:0]
	e.groups.Put(g)
}
