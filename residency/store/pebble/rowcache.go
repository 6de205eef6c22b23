package pebble

import (
	"hash/maphash"
	"sync"

	"github.com/domicile-project/domicile/residency/store"
)

// rowCache keeps rows that were read, as they are stored, so that the ones that
// are read again and again, a tenant's registration above all, are found without
// a search through the engine's levels. A row in it is what the database has:
// the sequencer takes out what a commit writes, between the commit's becoming
// visible and the release of its locks.
type rowCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 64
	shardBytes  = 1 << 20 // of keys and values in one shard, at the most
	rowOverhead = 64      // what a row costs beside its bytes, about
)

// cacheShard is a part of the cache. Its generation counts what was taken out,
// so that a reader that was overtaken by a commit does not put an old row in.
type cacheShard struct {
	mu   sync.RWMutex
	rows map[string][]byte // values are never changed once they are in
	size int
	gen  uint64
	_    [32]byte // its own cache line
}

func newRowCache() *rowCache { return &rowCache{seed: maphash.MakeSeed()} }

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
	if ok {
		return append(make([]byte, 0, len(row)), row...), nil
	}
	row, err := load(key)
	if err != nil {
		return nil, err
	}
	s.put(key, row, before)
	return row, nil
}

// put keeps a copy of a row that was read when the shard was at a generation.
func (s *cacheShard) put(key, row []byte, gen uint64) {
	cost := len(key) + len(row) + rowOverhead
	if cost > shardBytes/16 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.rows[string(key)]; there || s.gen != gen {
		return
	}
	if s.rows == nil {
		s.rows = make(map[string][]byte)
	}
	for k, v := range s.rows { // any will do
		if s.size+cost <= shardBytes {
			break
		}
		s.drop(k, v)
	}
	s.rows[string(key)] = append(make([]byte, 0, len(row)), row...)
	s.size += cost
}

func (s *cacheShard) drop(key string, row []byte) {
	delete(s.rows, key)
	s.size -= len(key) + len(row) + rowOverhead
}

// forget takes out the rows that a commit, which is visible now, has written.
func (c *rowCache) forget(commit *commit) {
	for i := range commit.writes {
		key := commit.writes[i].key
		if !cached(key) {
			continue
		}
		s := c.shard(key)
		s.mu.Lock()
		s.gen++
		if row, ok := s.rows[string(key)]; ok {
			s.drop(string(key), row)
		}
		s.mu.Unlock()
	}
}

// cached reports whether a key is that of a row of a kind that the cache keeps:
// those that calls read one by one.
func cached(key []byte) bool {
	if len(key) < rowIDAt || key[0] != prefixRow {
		return false
	}
	switch store.Kind(key[rowIDAt-1]) {
	case store.KindTenant, store.KindRecord, store.KindDrive:
		return true
	}
	return false
}
