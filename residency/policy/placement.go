package policy

import "github.com/domicile-project/domicile/residency"

// placementRule says how residents of some jurisdictions may be homed here.
type placementRule struct {
	residences map[residency.Jurisdiction]bool // nil = every jurisdiction
	placement  Placement
}

// Placement says whether a tenant that resides in a jurisdiction may be homed in
// this policy's region, by the first of the file's placement rules that names its residence. What is
// no jurisdiction, and what no rule names, is not permitted.
func (p *Policy) Placement(residence residency.Jurisdiction) Placement {
	if p == nil || p.table.placeOf(residence) == placeNone || residence.IsZero() {
		return Placement{}
	}
	for _, r := range p.placement {
		if r.residences == nil || r.residences[residence] {
			return r.placement
		}
	}
	return Placement{}
}
