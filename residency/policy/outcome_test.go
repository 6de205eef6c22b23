package policy

import (
	"testing"

	"github.com/domicile-project/domicile/residency"
)

// Of every shipped policy and for accesses of every shape, what any access can be decided is among the outcomes, with nothing met, with everything met and
// with each requirement alone not met; and no outcome is there that none of these decisions has.
func TestOutcomesAreThoseOfTheDecisions(t *testing.T) {
	for name, p := range shippedPolicies(t) {
		abroad := residency.Jurisdiction{'D', 'E'}
		for a := residency.Action(1); a < residency.NumActions; a++ {
			for c := residency.DataClass(1); c < residency.NumDataClasses; c++ {
				for _, to := range []residency.Jurisdiction{{}, p.Jurisdiction, abroad} {
					for bits := range 8 {
						shape := Shape{Purpose: bits&1 != 0, Source: bits&2 != 0, Recipient: bits&4 != 0}
						compareOutcomes(t, name, p, Query{Action: a, DataClass: c, To: to}, shape)
					}
				}
			}
		}
	}
}

func compareOutcomes(t *testing.T, name string, p *Policy, q Query, shape Shape) {
	t.Helper()
	decided := map[Outcome]bool{}
	eachQuery(q, func(q Query) {
		if shape.Purpose != (q.Purpose != 0) || !shape.Source && q.Source != residency.Provided || shape.Recipient != (q.Recipient != 0) {
			return
		}
		for unmet := range residency.Requirement(residency.NumRequirements + 1) {
			var f Facts
			for r := range f {
				f[r].Met = residency.Requirement(r) != unmet //nolint:gosec // of 18
			}
			d := p.Decide(q, &f)
			decided[Outcome{Allow: d.Allow, Reason: d.Reason, Unmet: d.Missing, Clause: d.Clause}] = true
		}
		d := p.Decide(q, nil)
		if !d.Allow && !decided[Outcome{Reason: d.Reason, Unmet: d.Missing & -d.Missing, Clause: d.Clause}] {
			t.Errorf("%s: %+v with nothing met gives %v under %s, which no single requirement does", name, q, d.Reason, d.Clause)
		}
	})
	listed := p.Outcomes(q.Action, q.DataClass, q.To, shape)
	for _, o := range listed {
		if !decided[o] {
			t.Errorf("%s: %v of %v in %q, %+v, lists %+v, which no decision comes to", name, q.Action, q.DataClass, q.To, shape, o)
		}
		delete(decided, o)
	}
	for o := range decided {
		t.Errorf("%s: %v of %v in %q, %+v, does not list %+v", name, q.Action, q.DataClass, q.To, shape, o)
	}
}

// eachQuery calls f with every purpose, source, recipient and party of an access.
func eachQuery(q Query, f func(Query)) {
	for q.Purpose = range residency.Purpose(residency.NumPurposes) {
		for q.Source = residency.Provided; q.Source < residency.NumSources; q.Source++ {
			for q.Recipient = range residency.RecipientKind(residency.NumRecipientKinds) {
				for q.Party = residency.ProviderParty; q.Party < residency.NumParties; q.Party++ {
					f(q)
				}
			}
		}
	}
}

// An action, a class or a place that there is not has no outcome, nor has a policy that is not there.
func TestOutcomesOfNothing(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	for _, got := range [][]Outcome{
		p.Outcomes(residency.ActionUnspecified, residency.PersonalInformation, p.Jurisdiction, Shape{Purpose: true}),
		p.Outcomes(residency.Use, residency.NumDataClasses, p.Jurisdiction, Shape{Purpose: true}),
		p.Outcomes(residency.Use, residency.PersonalInformation, residency.Jurisdiction{'X', 'X'}, Shape{}),
		(*Policy)(nil).Outcomes(residency.Use, residency.PersonalInformation, p.Jurisdiction, Shape{Purpose: true}),
		new(Policy).Outcomes(residency.Use, residency.PersonalInformation, p.Jurisdiction, Shape{Purpose: true}),
	} {
		if len(got) != 0 {
			t.Errorf("%+v, want none", got)
		}
	}
}
