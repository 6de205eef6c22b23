package policy

import "github.com/domicile-project/domicile/residency"

// dimension is one of the closed sets that a decision is made over.
type dimension uint8

const (
	byAction dimension = iota
	byClass
	byPlace
	byPurpose
	bySource
	byRecipient
	byParty
	numDimensions = iota
)

// The places that data can be in. A file's named jurisdictions follow.
const (
	placeHome  = 0
	placeOther = 1 // any jurisdiction that the file does not name
	placeNamed = 2
)

// maxPlaces bounds how many jurisdictions rules may name, so that the set of places
// of two files fits a word and the table stays below two megabytes.
const maxPlaces = 31

// cell is a point of the table: the index of a value in each dimension.
// Actions, classes, sources and parties count from the first stated value; purposes and
// recipients count "none" as 0.
type cell [numDimensions]uint8

// anything matches every value of a dimension.
const anything = ^uint64(0)

// matcher is a set of cells: a bit for each value in each dimension.
type matcher [numDimensions]uint64

func matchAll() matcher {
	var m matcher
	for d := range m {
		m[d] = anything
	}
	return m
}

func (m *matcher) matches(c cell) bool {
	for d, v := range c {
		if m[d]&(1<<v) == 0 {
			return false
		}
	}
	return true
}

// all reports whether the matcher leaves no dimension restricted.
func (m *matcher) all() bool { return *m == matchAll() }

// effect is what a rule does to the cells that it matches. A greater effect beats a lesser.
type effect uint8

const (
	effectOtherwise effect = iota // deny, when nothing else matches
	effectAllow
	effectRequire
	effectDeny
)

// rule is one rule of a policy file.
type rule struct {
	match    matcher
	effect   effect
	requires residency.Requirements // for effectRequire
	reason   residency.Kind         // for effectDeny and effectOtherwise
	clause   string
	line     int // where the file has it
}

// verdict is what a cell says.
type verdict struct {
	allow    bool           // permitted once every requirement is met
	reason   residency.Kind // why not, when it is not
	clause   string         // the clause that decides when nothing is missing
	requires residency.Requirements
	cites    residency.Requirement             // of those, the one whose clause a permitted access cites
	clauses  [residency.NumRequirements]string // the clause that asks for each requirement
}

// citing is the order in which a permitted access cites the clause of one of its requirements:
// the border first, then what is particular to a few accesses before what is asked of many. So a
// disclosure on a granted request cites the request's clause, not that of the safeguard which
// every recipient needs.
var citing = [...]residency.Requirement{
	residency.RequireConsent,
	residency.RequireLegalOrder, residency.RequireInformalGrant, residency.RequirePermission, residency.RequireAbuseCase,
	residency.RequireAssetTransfer, residency.RequireNecessity, residency.RequireNotice, residency.RequireNoObjection,
	residency.RequireOptIn, residency.RequireRegistered, residency.RequireFunction, residency.RequireSafeguard,
	residency.RequireAgreement, residency.RequireCollection, residency.RequireParentalConsent,
	residency.RequirePurpose, residency.RequireNotRestricted,
}

// judge combines the rules that match a cell, in the file's order: deny beats
// require beats allow, and what nothing matches is denied. The first rule of the effect that
// prevails decides; requirements accumulate, each under the first rule that asks for it.
func judge(matching []*rule) verdict {
	var strongest *rule
	for _, r := range matching {
		if strongest == nil || r.effect > strongest.effect {
			strongest = r
		}
	}
	if strongest == nil {
		return verdict{reason: residency.BadRequest}
	}
	switch strongest.effect {
	case effectAllow:
		return verdict{allow: true, clause: strongest.clause}
	case effectRequire:
		return demand(matching)
	}
	return verdict{reason: strongest.reason, clause: strongest.clause}
}

// demand accumulates the requirements. The first in the order of citing gives the clause under
// which an access with all of them met is permitted.
func demand(matching []*rule) verdict {
	v := verdict{allow: true}
	for _, r := range matching {
		if r.effect != effectRequire {
			continue
		}
		for q := range residency.Requirement(residency.NumRequirements) {
			if r.requires.Has(q) && !v.requires.Has(q) {
				v.requires |= residency.Set(q)
				v.clauses[q] = r.clause
			}
		}
	}
	for _, q := range citing {
		if v.requires.Has(q) {
			v.cites, v.clause = q, v.clauses[q]
			break
		}
	}
	return v
}
