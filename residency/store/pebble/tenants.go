package pebble

import (
	"sync"
	"sync/atomic"

	"github.com/domicile-project/domicile/residency/store"
)

// registrations keeps the rows that every transaction reads, one per tenant:
// the registrations. A row in it is what the database has, or newer: the
// sequencer changes it between a commit's becoming visible and the release of the commit's locks.
type registrations struct {
	mu   sync.RWMutex
	rows map[store.Tenant][]byte // never changed once they are in
	gen  atomic.Uint64           // counts the sequencer's changes
}

// maxRegistrations bounds the rows that are kept; then it starts afresh.
const maxRegistrations = 1 << 16

// registration reads a tenant's row.
func (e *engine) registration(t store.Tenant, key []byte) ([]byte, error) {
	r := &e.registrations
	r.mu.RLock()
	row, ok := r.rows[t]
	r.mu.RUnlock()
	if ok {
		return append([]byte{}, row...), nil
	}
	before := r.gen.Load()
	row, err := e.get(key)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gen.Load() == before { // else it may be older than a change that was not kept
		if r.rows == nil || len(r.rows) >= maxRegistrations {
			r.rows = make(map[store.Tenant][]byte)
		}
		r.rows[t] = append([]byte{}, row...)
	}
	return row, nil
}

// registered forgets the rows that a visible commit has written.
func (e *engine) registered(c *commit) {
	for i := range c.writes {
		if key := c.writes[i].key; len(key) == rowIDAt && key[0] == prefixRow && store.Kind(key[rowIDAt-1]) == store.KindTenant {
			r := &e.registrations
			r.mu.Lock()
			r.gen.Add(1)
			delete(r.rows, c.tenant)
			r.mu.Unlock()
		}
	}
}
