// Package policy knows what a privacy policy permits. It turns a policy file
// into a finite table over the closed sets of package residency, and decides an access
// by looking one cell up and comparing what the cell asks for with the facts.
//
// It reads no clock and no store: time, consents and orders come in as facts. The same
// file, query and facts always give the same decision. Whatever it does not
// know (an unset value, an unknown value, a cell that no rule names) is denied.
package policy

import (
	"time"

	"github.com/domicile-project/domicile/residency"
)

// Policy is one version of one region's privacy policy, parsed, checked and
// compiled. It never changes and is safe for concurrent use. The zero Policy and the
// nil Policy deny everything with PolicyUnavailable.
type Policy struct {
	Version       string                 // as the file states it: 1 to 64 of [A-Za-z0-9._-]
	Digest        string                 // "sha256:" and the hex digest of the file
	Controller    string                 // the legal entity that controls the information
	Jurisdiction  residency.Jurisdiction // where the region is: home
	Effective     time.Time              // from when the version applies
	Clauses       []Clause               // in the file's order
	ConsentMonths int                    // how long a consent without an end is valid, in calendar months
	MinimumAge    int                    // a person's age in years from which no parental consent is needed; 0 = no rule

	file      []byte
	table     table
	rules     []rule
	placement []placementRule
	promises  []promise
	voids     uint8 // the kinds of consents that no longer hold, a bit each
}

// File gives the policy's file, byte for byte. The caller must not change it.
func (p *Policy) File() []byte { return p.file }

// Clause is one clause that a decision may cite.
type Clause struct {
	ID    string // for example "purpose"; "product/…" where the policy's text is silent
	Title string // what it promises, in a sentence
	Said  bool   // whether the policy's own text says it; else it is the product's rule
}

// Query is an access to be decided, without any identifier of a tenant or person.
type Query struct {
	Action    residency.Action
	DataClass residency.DataClass
	To        residency.Jurisdiction  // where the data would be; zero = it stays home
	Purpose   residency.Purpose       // zero where the action has none
	Source    residency.Source        // zero = Provided
	Recipient residency.RecipientKind // zero = nobody outside the company
	Party     residency.Party         // zero = the provider's own service
}

// Finding is what is known about one requirement. The zero Finding is "not met".
type Finding struct {
	Met    bool
	Reason residency.Kind // why it is not met; OK = the requirement's default reason
	Ref    string         // the consent or order that meets it or no longer does
	Clause string         // the clause that asks for it in this case; "" = the rule's
}

// Facts is what is known about every requirement. The zero Facts meet nothing.
type Facts [residency.NumRequirements]Finding

// Placement is what a policy says about homing a tenant in its region. The
// zero Placement is "not permitted".
type Placement struct {
	Default   bool   // residents of that jurisdiction are homed here unless they choose otherwise
	Permitted bool   // they may be homed here at all
	Agreement bool   // only with their recorded agreement
	Clause    string // the clause that says so
}
