package seal

import (
	"container/list"
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// sweepGap is the shortest time between two sweeps of a cache: a key that is
// not asked for again leaves memory at most this long after its age is over.
const sweepGap = time.Second

// cache holds expanded keys by the name of their wrapped form, the least
// recently used making room, none served when older than maxAge. Concurrent misses of one
// name are answered by one load.
type cache struct {
	clock   func() time.Time
	maxAge  time.Duration
	maxKeys int

	mu      sync.Mutex
	entries map[string]*list.Element // of *entry
	used    list.List                // most recently used first
	flights map[flightName]*flight
	sweeper *time.Timer // nil while no sweep is due
}

type entry struct {
	name    string
	keys    any
	fetched time.Time
}

// flightName tells loads apart that may create the key from those that may not.
type flightName struct {
	name   string
	create bool
}

type flight struct {
	done chan struct{}
	keys any
	err  error
}

func newCache(clock func() time.Time, maxAge time.Duration, maxKeys int) *cache {
	return &cache{
		clock: clock, maxAge: maxAge, maxKeys: maxKeys,
		entries: make(map[string]*list.Element), flights: make(map[flightName]*flight),
	}
}

// get gives the keys of a name unless they are absent or too old.
func (c *cache) get(name []byte) (any, bool) {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.entries[string(name)]
	if !ok {
		return nil, false
	}
	return c.use(at, now)
}

// use gives an entry's keys, or drops it when it is too old.
func (c *cache) use(at *list.Element, now time.Time) (any, bool) {
	e := at.Value.(*entry)
	if c.expired(e, now) {
		c.remove(at)
		return nil, false
	}
	c.used.MoveToFront(at)
	return e.keys, true
}

// expired treats a clock that went backwards as one that cannot be relied on.
func (c *cache) expired(e *entry, now time.Time) bool {
	age := now.Sub(e.fetched)
	return age >= c.maxAge || age < 0
}

// load gives the keys of a name from the cache, from a load that is under way,
// or from load. A caller whose own context is alive is never failed by
// the end of another's.
func (c *cache) load(ctx context.Context, name string, create bool, load func() (any, error)) (any, error) {
	id := flightName{name, create}
	for {
		now := c.clock()
		c.mu.Lock()
		if at, ok := c.entries[name]; ok {
			if keys, ok := c.use(at, now); ok {
				c.mu.Unlock()
				return keys, nil
			}
		}
		f, joined := c.flights[id]
		if !joined {
			f = &flight{done: make(chan struct{}), err: errLoadPanicked}
			c.flights[id] = f
		}
		c.mu.Unlock()
		if !joined {
			return c.lead(id, f, now, load)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !isContextEnd(f.err) || ctx.Err() != nil {
			return f.keys, f.err
		}
	}
}

var errLoadPanicked = errors.New("seal: loading a key did not finish")

func isContextEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// lead runs a load and keeps its keys, unless they were dropped meanwhile.
func (c *cache) lead(id flightName, f *flight, now time.Time, load func() (any, error)) (any, error) {
	defer func() {
		c.mu.Lock()
		if c.flights[id] == f {
			delete(c.flights, id)
			if f.err == nil {
				c.insert(&entry{id.name, f.keys, now})
			}
		}
		c.mu.Unlock()
		close(f.done)
	}()
	f.keys, f.err = load()
	return f.keys, f.err
}

// insert keeps an entry, aged from when its load began.
func (c *cache) insert(e *entry) {
	if old, ok := c.entries[e.name]; ok {
		c.remove(old)
	}
	c.entries[e.name] = c.used.PushFront(e)
	for len(c.entries) > c.maxKeys {
		c.remove(c.used.Back())
	}
	if c.sweeper == nil {
		c.sweeper = time.AfterFunc(c.maxAge, c.sweepAndRearm)
	}
}

func (c *cache) remove(at *list.Element) {
	delete(c.entries, c.used.Remove(at).(*entry).name)
}

// drop forgets every key whose name starts with prefix, those that are being
// loaded included: a load that began before drop returned is not kept and not joined.
func (c *cache) drop(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, at := range c.entries {
		if strings.HasPrefix(name, prefix) {
			c.remove(at)
		}
	}
	for id := range c.flights {
		if strings.HasPrefix(id.name, prefix) {
			delete(c.flights, id)
		}
	}
}

// size counts the keys that are not too old.
func (c *cache) size() int {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(now)
	return len(c.entries)
}

// sweep drops what is too old and gives the time until the next is.
func (c *cache) sweep(now time.Time) time.Duration {
	next := c.maxAge
	for at := c.used.Front(); at != nil; {
		e, after := at.Value.(*entry), at.Next()
		if c.expired(e, now) {
			c.remove(at)
		} else {
			next = min(next, c.maxAge-now.Sub(e.fetched))
		}
		at = after
	}
	return next
}

func (c *cache) sweepAndRearm() {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.sweep(now)
	c.sweeper = nil
	if len(c.entries) > 0 {
		c.sweeper = time.AfterFunc(max(next, sweepGap), c.sweepAndRearm)
	}
}
