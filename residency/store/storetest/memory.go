// Package storetest knows what every storage backend must do: the conformance
// suite that holds each "must" of package store against a backend, a backend in
// memory that passes it, and faults that can be put in front of any of them.
//
// Nothing here is for production: the memory backend forgets everything when
// the process ends.
package storetest

import (
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// Memory is one cluster's rows, outbox and blobs, a directory and a key store,
// in memory. Safe for concurrent use, and for use inside a testing/synctest
// bubble: whoever waits, waits on a channel, and no goroutine is started.
type Memory struct {
	faults    faults
	rows      memoryRows
	blobs     memoryBlobs
	directory memoryDirectory
	keys      memoryKeys
}

// NewMemory makes an empty store. clock is the store's clock; nil is time.Now.
// A clock that runs backwards stands still for the store until it has caught up.
func NewMemory(clock func() time.Time) *Memory {
	if clock == nil {
		clock = time.Now
	}
	m := &Memory{}
	m.rows = memoryRows{
		faults: &m.faults, clock: clock, locks: lock.New(),
		rows: make(map[rowKey][]byte), agenda: make(map[taskKey]store.Task),
	}
	m.blobs = memoryBlobs{faults: &m.faults, objects: make(map[string][]byte)}
	m.directory = memoryDirectory{faults: &m.faults, placements: make(map[store.Tenant]store.Placement)}
	m.keys = memoryKeys{faults: &m.faults, wrapped: make(map[string][]byte)}
	return m
}

// Rows is the cluster's rows.
func (m *Memory) Rows() store.Rows { return &m.rows }

// Outbox is the cluster's audit entries.
func (m *Memory) Outbox() store.Outbox { return &m.rows }

// Blobs is the cluster's objects.
func (m *Memory) Blobs() store.Blobs { return &m.blobs }

// Directory is the directory.
func (m *Memory) Directory() store.Directory { return &m.directory }

// Keys is the key store.
func (m *Memory) Keys() store.Keys { return &m.keys }

// Fail makes an operation ask f, each time it runs, what to do; nil takes that
// back. f may be called from several goroutines at once.
func (m *Memory) Fail(op Op, f func() Fault) { m.faults.set(op, f) }

// ratchet is a clock that never runs backwards. The zero value is ready for use.
type ratchet struct {
	mu   sync.Mutex
	last time.Time
}

func (r *ratchet) now(clock func() time.Time) time.Time {
	t := clock().Round(0).UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.After(r.last) {
		r.last = t
	}
	return r.last
}
