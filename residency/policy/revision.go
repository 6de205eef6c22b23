package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/domicile-project/domicile/residency"
)

// revised is the clause under which a file voids whole kinds of consents.
const revised = "revisions"

// metBy gives the requirement that a kind of consent meets.
var metBy = [residency.NumConsentKinds]residency.Requirement{
	residency.BorderCrossing:       residency.RequireConsent,
	residency.MarketingOptIn:       residency.RequireOptIn,
	residency.Parental:             residency.RequireParentalConsent,
	residency.InspectionPermission: residency.RequirePermission,
	residency.ResidenceAgreement:   residency.RequireAgreement,
}

// nothing is the number of no cell.
const nothing = -1

// resting says for each kind of consent, data class, place and purpose which access rests on
// such a consent: the number of the table's first, or nothing.
type resting []int32

func newResting(places uint8) resting {
	s := make(resting, (residency.NumConsentKinds-1)*numClasses*int(places)*numPurposes)
	for i := range s {
		s[i] = nothing
	}
	return s
}

// restAt gives the place in a table's resting.
func (t *table) restAt(kind residency.ConsentKind, class, place, purpose uint8) int {
	return ((int(kind-1)*numClasses+int(class))*int(t.sizes[byPlace])+int(place))*numPurposes + int(purpose)
}

// rest notes which consents the access of a cell rests on. An access without
// a purpose rests on a crossing for RECORDS, and on other consents whatever purpose they state. Other consents are
// given at home, wherever the access leads.
func (t *table) rest(c cell, number int32, v *verdict) {
	if v.requires&byConsent == 0 {
		return
	}
	for kind := residency.ConsentKind(1); kind < residency.NumConsentKinds; kind++ {
		if !v.requires.Has(metBy[kind]) {
			continue
		}
		place, first, last := c[byPlace], c[byPurpose], c[byPurpose]
		if kind != residency.BorderCrossing {
			place = placeHome
		}
		if first == 0 {
			first, last = 1, numPurposes-1
			if kind == residency.BorderCrossing {
				first, last = uint8(residency.Records), uint8(residency.Records)
			}
		}
		for purpose := first; purpose <= last; purpose++ {
			if i := t.restAt(kind, c[byClass], place, purpose); t.resting[i] == nothing {
				t.resting[i] = number
			}
		}
	}
}

// rests gives the number of an access that rests on a consent, or nothing.
func (p *Policy) rests(kind residency.ConsentKind, class residency.DataClass, to residency.Jurisdiction, purpose residency.Purpose) int32 {
	if p == nil || len(p.table.cells) == 0 || kind-1 >= residency.NumConsentKinds-1 || class-1 >= numClasses ||
		purpose == residency.PurposeUnspecified || purpose >= numPurposes {
		return nothing
	}
	place := p.table.placeOf(to)
	if place == placeNone || place != placeHome && kind != residency.BorderCrossing {
		return nothing
	}
	return p.table.resting[p.table.restAt(kind, uint8(class-1), place, uint8(purpose))]
}

// Serves reports whether a consent of that kind and shape is of any use: whether some access that
// the policy permits rests on it. A zero destination and the policy's own jurisdiction are home,
// where all consents but border crossings are given. An access that has no purpose rests on a crossing for
// RECORDS, and on another consent whatever purpose that states. It does not allocate.
func (p *Policy) Serves(kind residency.ConsentKind, class residency.DataClass, to residency.Jurisdiction, purpose residency.Purpose) bool {
	return p.rests(kind, class, to, purpose) != nothing
}

// Voids reports whether the policy, once in force, voids a consent that was recorded under
// an earlier version, and the clause under which (clause revisions): the file names the consent's kind under voids, or
// of what the consent covers and the earlier version had a use for, it has a use for nothing.
//
// Of an unknown earlier version, nil, every use is assumed. A version voids nothing that was recorded under
// itself. Voids compares two versions only: see Voided for all that came between. It does not allocate.
func (p *Policy) Voids(earlier *Policy, kind residency.ConsentKind, classes residency.DataClasses, to residency.Jurisdiction, purposes residency.Purposes) (voided bool, clause string) {
	if p == nil || len(p.table.cells) == 0 || p.is(earlier) {
		return false, ""
	}
	if p.voids&(1<<kind) != 0 {
		return true, revised
	}
	if earlier == nil || len(earlier.table.cells) == 0 {
		if p.servesAny(kind, classes, to, purposes) {
			return false, ""
		}
		return true, revised
	}
	lost := int32(nothing)
	for class := residency.DataClass(1); class < residency.NumDataClasses; class++ {
		for purpose := residency.Purpose(1); purpose < residency.NumPurposes; purpose++ {
			if !classes.Has(class) || !purposes.Has(purpose) {
				continue
			}
			n := earlier.rests(kind, class, to, purpose)
			if n == nothing {
				continue
			}
			if p.Serves(kind, class, to, purpose) {
				return false, ""
			}
			if lost == nothing {
				lost = n
			}
		}
	}
	if lost == nothing {
		return false, ""
	}
	return true, p.clauseFor(earlier, lost, kind, to)
}

// is reports whether two policies are one version.
func (p *Policy) is(o *Policy) bool {
	return p == o || o != nil && p.Digest != "" && p.Digest == o.Digest
}

func (p *Policy) servesAny(kind residency.ConsentKind, classes residency.DataClasses, to residency.Jurisdiction, purposes residency.Purposes) bool {
	for class := residency.DataClass(1); class < residency.NumDataClasses; class++ {
		for purpose := residency.Purpose(1); purpose < residency.NumPurposes; purpose++ {
			if classes.Has(class) && purposes.Has(purpose) && p.Serves(kind, class, to, purpose) {
				return true
			}
		}
	}
	return false
}

// clauseFor gives the clause under which the policy decides an access that
// rested on a consent under an earlier version.
func (p *Policy) clauseFor(earlier *Policy, number int32, kind residency.ConsentKind, to residency.Jurisdiction) string {
	c := earlier.table.cellOf(number)
	q := Query{
		Action:    residency.Action(c[byAction] + 1),
		DataClass: residency.DataClass(c[byClass] + 1),
		Purpose:   residency.Purpose(c[byPurpose]),
		Source:    residency.Source(c[bySource] + 1),
		Recipient: residency.RecipientKind(c[byRecipient]),
		Party:     residency.Party(c[byParty] + 1),
	}
	switch {
	case kind == residency.BorderCrossing:
		q.To = to
	case c[byPlace] != placeHome:
		q.To = earlier.table.example(c[byPlace])
	}
	return p.find(q).clause
}

// cellOf gives the cell of a number.
func (t *table) cellOf(number int32) cell {
	var c cell
	n := int(number)
	for d := numDimensions - 1; d >= 0; d-- {
		c[d] = uint8(n % int(t.sizes[d]))
		n /= int(t.sizes[d])
	}
	return c
}

// Voided reports whether a consent recorded under a version has been voided since, by which version and under which
// clause: by the first that came into force after it and voids it. What one version voids, no later one
// revives. Of a version that is not among those known, only what the version in force has no use for is
// void, and the kinds that it voids. It does not allocate.
func Voided(versions []*Policy, now time.Time, version string, kind residency.ConsentKind, classes residency.DataClasses, to residency.Jurisdiction, purposes residency.Purposes) (by *Policy, clause string) {
	recorded := named(versions, version)
	if recorded == nil {
		active := Active(versions, now)
		if voided, clause := active.Voids(nil, kind, classes, to, purposes); voided {
			return active, clause
		}
		return nil, ""
	}
	for _, p := range versions {
		if p == nil || !p.Effective.After(recorded.Effective) || p.Effective.After(now) || by != nil && p.Effective.After(by.Effective) {
			continue
		}
		if voided, under := p.Voids(recorded, kind, classes, to, purposes); voided {
			by, clause = p, under
		}
	}
	return by, clause
}

func named(versions []*Policy, version string) *Policy {
	for _, p := range versions {
		if p != nil && p.Version == version {
			return p
		}
	}
	return nil
}

// consentKinds reads the kinds of consents that a version voids.
func (r *reader) consentKinds(n ast.Node) uint8 {
	if n == nil {
		return 0
	}
	var set uint8
	for _, m := range r.words(n, "voids") {
		kind, err := residency.ParseConsentKind(r.text(m, "a kind of consent"))
		if err != nil {
			r.fail(m, "%s", brief(err))
		}
		set |= 1 << kind
	}
	if r.clauses[revised] == nil {
		r.fail(n, "voids rests on clause %q, which is not declared: want it under clauses", revised)
	}
	return set
}
