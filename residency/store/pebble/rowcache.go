package pebble

import (
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/domicile-project/domicile/residency/store"
)

// rowCache keeps rows that were read or written, as they are stored, that there
// is no such row, and all rows of a scope, so that what calls ask for again and
// again is found without a search through the engine's levels. What is in it
// is what the database has: the sequencer puts in what a commit writes,
// between the commit's becoming visible and the release of its locks.
type rowCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 64
	shardBytes  = 1 << 20 // of keys and values in one shard, at the most
	rowOverhead = 64      // what a row costs beside its bytes, about
	biggest     = shardBytes / 16

	scopeSize = 16 // bytes at the start of an ID that say which scope a row is of
	scopeRows = 64 // a scope of more rows is not kept
)

// cacheShard is a part of the cache. Its generation counts what was written,
// so that a reader that was overtaken by a commit does not put an old row in.
// Values and lists are never changed once they are in.
type cacheShard struct {
	mu     sync.RWMutex
	rows   map[string]cachedRow
	scopes map[string][]scopedRow // by the beginning of the keys: all that are there, in order
	size   int
	gen    uint64
	_      [24]byte // its own cache line
}

type cachedRow struct {
	value  []byte
	absent bool
}

type scopedRow struct {
	id    store.ID
	value []byte
}

func newRowCache() *rowCache {
	c := &rowCache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].rows, c.shards[i].scopes = map[string]cachedRow{}, map[string][]scopedRow{}
	}
	return c
}

func (c *rowCache) shard(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
}

// read gives a copy of a row, from the cache or, through load, from the database.
func (c *rowCache) read(key []byte, load func([]byte) ([]byte, error)) ([]byte, error) {
	s := c.shard(key)
	s.mu.RLock()
	row, ok := s.rows[string(key)]
	before := s.gen
	s.mu.RUnlock()
	switch {
	case ok && row.absent:
		return nil, store.ErrNotFound
	case ok:
		return append(make([]byte, 0, len(row.value)), row.value...), nil
	}
	value, err := load(key)
	absent := errors.Is(err, store.ErrNotFound)
	if err != nil && !absent {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen == before {
		s.put(key, value, absent)
	}
	return value, err
}

// put keeps a copy of a row, or that there is none. The shard's mutex is held.
func (s *cacheShard) put(key, value []byte, absent bool) {
	s.drop(string(key))
	cost := len(key) + len(value) + rowOverhead
	if cost > biggest {
		return
	}
	s.makeRoom(cost)
	s.rows[string(key)] = cachedRow{append(make([]byte, 0, len(value)), value...), absent}
	s.size += cost
}

func (s *cacheShard) drop(key string) {
	if row, ok := s.rows[key]; ok {
		delete(s.rows, key)
		s.size -= len(key) + len(row.value) + rowOverhead
	}
}

// makeRoom takes rows and scopes out, any will do, until there is room.
func (s *cacheShard) makeRoom(cost int) {
	for key := range s.rows {
		if s.size+cost <= shardBytes {
			return
		}
		s.drop(key)
	}
	for key := range s.scopes {
		if s.size+cost <= shardBytes {
			return
		}
		s.dropScope(key)
	}
}

// scope gives all rows whose key begins with a prefix, if they are kept; else
// the generation to keep them with.
func (c *rowCache) scope(prefix []byte) (rows []scopedRow, ok bool, gen uint64) {
	s := c.shard(prefix)
	s.mu.RLock()
	defer s.mu.RUnlock()
	rows, ok = s.scopes[string(prefix)]
	return rows, ok, s.gen
}

// keepScope keeps all rows whose key begins with a prefix, which were read after
// scope gave the generation.
func (c *rowCache) keepScope(prefix []byte, rows []scopedRow, gen uint64) {
	s := c.shard(prefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen == gen {
		s.putScope(string(prefix), rows)
	}
}

func (s *cacheShard) putScope(prefix string, rows []scopedRow) {
	s.dropScope(prefix)
	cost := scopeCost(prefix, rows)
	if len(rows) > scopeRows || cost > biggest {
		return
	}
	s.makeRoom(cost)
	s.scopes[prefix] = rows
	s.size += cost
}

func (s *cacheShard) dropScope(prefix string) {
	if rows, ok := s.scopes[prefix]; ok {
		delete(s.scopes, prefix)
		s.size -= scopeCost(prefix, rows)
	}
}

func scopeCost(prefix string, rows []scopedRow) int {
	cost := len(prefix) + rowOverhead
	for _, r := range rows {
		cost += len(r.id) + len(r.value) + rowOverhead
	}
	return cost
}

// settle puts in what a commit, which is visible now, has written.
func (c *rowCache) settle(commit *commit) {
	for i := range commit.writes {
		w := &commit.writes[i]
		if cached(w.key) {
			s := c.shard(w.key)
			s.mu.Lock()
			s.gen++
			s.put(w.key, w.value, w.deleted)
			s.mu.Unlock()
		}
		if scoped(w.key) {
			c.settleScope(w)
		}
	}
}

func (c *rowCache) settleScope(w *write) {
	prefix := w.key[:rowIDAt+scopeSize]
	s := c.shard(prefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if rows, ok := s.scopes[string(prefix)]; ok {
		s.putScope(string(prefix), with(rows, w))
	}
}

// with gives a copy of a scope's rows as a write makes them.
func with(rows []scopedRow, w *write) []scopedRow {
	id := store.ID(w.key[rowIDAt:])
	i, there := slices.BinarySearchFunc(rows, id, func(r scopedRow, id store.ID) int { return strings.Compare(string(r.id), string(id)) })
	out := append(make([]scopedRow, 0, len(rows)+1), rows[:i]...)
	if !w.deleted {
		out = append(out, scopedRow{id, slices.Clone(w.value)})
	}
	if there {
		i++
	}
	return append(out, rows[i:]...)
}

// cached reports whether a key is that of a row of a kind that the cache keeps:
// those that calls read one by one.
func cached(key []byte) bool {
	switch kindOf(key) {
	case store.KindTenant, store.KindSubject, store.KindRecord, store.KindDrive, store.KindRestriction:
		return true
	}
	return false
}

// scoped reports whether a key is that of a row, or the beginning of those, of a
// kind whose rows calls read scope by scope, and names the scope.
func scoped(key []byte) bool {
	switch kindOf(key) {
	case store.KindConsent, store.KindNotice, store.KindObjection:
		return len(key) >= rowIDAt+scopeSize
	}
	return false
}

// kindOf gives the kind of a row's key; 0 for a key of something else.
func kindOf(key []byte) store.Kind {
	if len(key) < rowIDAt || key[0] != prefixRow {
		return 0
	}
	return store.Kind(key[rowIDAt-1])
}
