package rpc

import (
	"sync/atomic"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// Callers is the caller table: which identities may call and what they may do.
// It is replaced as a whole while calls look things up in it. Safe for concurrent
// use. The zero table knows nobody.
type Callers struct {
	table atomic.Pointer[map[string]*caller]
}

// caller is an entry with what every call of it needs.
type caller struct {
	*config.Identity
	known gateway.Caller
}

// Replace puts a new table in place. Calls that begin after it returned go by it.
func (c *Callers) Replace(identities map[string]*config.Identity) {
	table := make(map[string]*caller, len(identities))
	for id, entry := range identities {
		table[id] = newCaller(entry)
	}
	c.table.Store(&table)
}

func newCaller(entry *config.Identity) *caller {
	return &caller{Identity: entry, known: gateway.Caller{
		ID: entry.ID, Jurisdiction: entry.Jurisdiction, Party: entry.Party, Sees: entry.Sees, SeesAll: entry.AllTenants,
	}}
}

// find gives the entry of an identity, or nil.
func (c *Callers) find(identity string) *caller {
	table := c.table.Load()
	if table == nil || identity == "" {
		return nil
	}
	return (*table)[identity]
}
