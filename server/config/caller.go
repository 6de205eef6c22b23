package config

import (
	"fmt"

	"github.com/domicile-project/domicile/residency"
)

// Identity is a caller's entry, read.
type Identity struct {
	ID           string
	Jurisdiction residency.Jurisdiction
	Party        residency.Party
	Permissions  Permissions
	AllTenants   bool
	Tenants      map[string]bool
}

// Sees reports whether the identity's tenant list holds the tenant.
func (i *Identity) Sees(tenant string) bool { return i.AllTenants || i.Tenants[tenant] }

// Identities reads the caller table. The configuration must have been
// validated; an entry that is wrong nevertheless is an error, never left out.
func (c *Config) Identities() (map[string]*Identity, error) {
	out := make(map[string]*Identity, len(c.Callers))
	for i, entry := range c.Callers {
		id, err := entry.identity()
		if err != nil {
			return nil, fmt.Errorf("config: callers[%d]: %w", i, err)
		}
		out[id.ID] = id
	}
	return out, nil
}

func (c Caller) identity() (*Identity, error) {
	j, err := residency.ParseJurisdiction(c.Jurisdiction)
	if err != nil {
		return nil, err
	}
	party, err := parseParty(c.Party)
	if err != nil {
		return nil, err
	}
	id := &Identity{ID: c.ID, Jurisdiction: j, Party: party, Tenants: make(map[string]bool, len(c.Tenants))}
	for _, name := range c.Permissions {
		p, err := ParsePermission(name)
		if err != nil {
			return nil, err
		}
		id.Permissions = id.Permissions.With(p)
	}
	for _, t := range c.Tenants {
		if t == "*" {
			id.AllTenants = true
			continue
		}
		id.Tenants[t] = true
	}
	return id, nil
}

func parseParty(s string) (residency.Party, error) {
	switch s {
	case "provider":
		return residency.ProviderParty, nil
	case "tenant":
		return residency.TenantParty, nil
	}
	return residency.PartyUnspecified, fmt.Errorf(`want "provider" or "tenant"`)
}
