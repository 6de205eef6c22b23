package policy

import "github.com/domicile-project/domicile/residency"

// Outcome is what a decision can come to, as far as the table alone tells.
type Outcome struct {
	Allow  bool
	Reason residency.Kind         // why it is refused: what the cell says, or the default of the requirement that is not met
	Unmet  residency.Requirements // the requirement that is not met, alone; empty = the cell itself decides
	Clause string                 // the clause that decides, unless a finding names another
}

// Shape says which dimensions an action's accesses have; the others keep the zero value that a Query has there.
type Shape struct{ Purpose, Source, Recipient bool }

// Outcomes gives every outcome, once, that Decide can come to for an action on a class of data in a place (zero = home),
// whatever the facts are, the party, and what the shape lets vary; a purpose or a recipient that varies is stated. What facts may add is for who finds
// them: a finding's own reason, and its own clause. A query with an unset or unknown value has no outcome here.
func (p *Policy) Outcomes(a residency.Action, c residency.DataClass, to residency.Jurisdiction, shape Shape) []Outcome {
	if p == nil || len(p.table.cells) == 0 {
		return nil
	}
	if _, ok := p.table.locate(Query{Action: a, DataClass: c, To: to}); !ok {
		return nil
	}
	var out []Outcome
	known, verdicts := make(map[Outcome]bool), make(map[*verdict]bool)
	shape.each(Query{Action: a, DataClass: c, To: to}, func(q Query) {
		v := p.find(q)
		if verdicts[v] {
			return
		}
		verdicts[v] = true
		for _, o := range v.outcomes() {
			if !known[o] {
				known[o] = true
				out = append(out, o)
			}
		}
	})
	return out
}

// each calls f with every access of the shape.
func (s Shape) each(q Query, f func(Query)) {
	purposes, sources, recipients := span(s.Purpose, numPurposes), span(s.Source, residency.NumSources), span(s.Recipient, numRecipients)
	for _, purpose := range purposes {
		for _, source := range sources {
			for _, recipient := range recipients {
				for party := residency.ProviderParty; party < residency.NumParties; party++ {
					q.Purpose, q.Source = residency.Purpose(purpose), residency.Source(source)
					q.Recipient, q.Party = residency.RecipientKind(recipient), party
					f(q)
				}
			}
		}
	}
}

// span gives the values of a dimension: the stated ones, or the zero value alone.
func span(varies bool, values uint8) []uint8 {
	if !varies {
		return []uint8{0}
	}
	var out []uint8
	for v := uint8(1); v < values; v++ {
		out = append(out, v)
	}
	return out
}

// outcomes gives what a cell can come to.
func (v *verdict) outcomes() []Outcome {
	if !v.allow {
		return []Outcome{{Reason: v.reason, Clause: v.clause}}
	}
	out := []Outcome{{Allow: true, Clause: v.clause}}
	for r := range residency.Requirement(residency.NumRequirements) {
		if v.requires.Has(r) {
			out = append(out, Outcome{Reason: defaultReasons[r], Unmet: residency.Set(r), Clause: v.clauses[r]})
		}
	}
	return out
}
