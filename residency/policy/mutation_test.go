package policy

import (
	"fmt"
	"testing"

	"github.com/domicile-project/domicile/residency"
)

// mutant is a policy whose rules were broken on purpose.
type mutant struct {
	name  string
	rules []rule
}

// mutants breaks each rule of a policy in every simple way: left out, turned into its opposite, widened
// in each dimension, one requirement dropped, the reason or the clause changed.
func mutants(p *Policy) []mutant {
	var out []mutant
	add := func(i int, how string, change func(*rule)) {
		rules := append([]rule(nil), p.rules...)
		change(&rules[i])
		out = append(out, mutant{fmt.Sprintf("line %d: %s", p.rules[i].line, how), rules})
	}
	for i, r := range p.rules {
		if i < len(p.rules)-1 { // the last rule of otherwise has to be there
			rest := append(append([]rule(nil), p.rules[:i]...), p.rules[i+1:]...)
			out = append(out, mutant{fmt.Sprintf("line %d: removed", r.line), rest})
		}
		if r.effect != effectAllow {
			add(i, "turned into allow", func(r *rule) { r.effect = effectAllow })
		}
		if r.effect == effectAllow || r.effect == effectRequire {
			add(i, "turned into deny", func(r *rule) { r.effect, r.reason = effectDeny, residency.Restricted })
		}
		for d := range r.match {
			if r.match[d] != anything {
				add(i, "any "+matcherKeys[d], func(r *rule) { r.match[d] = anything })
			}
		}
		for q := range residency.Requirement(residency.NumRequirements) {
			if r.requires.Has(q) && r.requires != residency.Set(q) {
				add(i, "without "+q.String(), func(r *rule) { r.requires &^= residency.Set(q) })
			}
		}
		if r.effect == effectDeny || r.effect == effectOtherwise {
			add(i, "another reason", func(r *rule) { r.reason = residency.Restricted })
		}
		add(i, "another clause", func(r *rule) { r.clause = "languages" })
	}
	return out
}

func (m mutant) policy(p *Policy) *Policy {
	broken := *p
	broken.rules = m.rules
	broken.table = compile(m.rules, p.Jurisdiction, p.table.named)
	return &broken
}

// looser reports whether a broken policy permits anything that the sound one
// denies, or asks for less.
func looser(broken, sound *Policy) bool {
	for i := range sound.table.cells {
		b, s := broken.table.verdicts[broken.table.cells[i]], sound.table.verdicts[sound.table.cells[i]]
		if b.allow && (!s.allow || s.requires&^b.requires != 0) {
			return true
		}
	}
	return false
}

// TestMutants: the comparison with the reference, which TestReferenceTable
// makes, notices every broken rule that changes any decision; and the file's own
// invariants refute every one that permits more or asks for less, each with a counter-example.
func TestMutants(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		expected := expectations(p)
		var same, noticed, loose, refuted int
		for _, m := range mutants(p) {
			broken := m.policy(p)
			if equalTables(broken, p) {
				same++
				continue
			}
			if q, ok := firstDifference(broken, expected); ok {
				noticed++
				if refuted == 0 {
					t.Logf("for example %s: noticed by %s", m.name, q)
				}
			} else {
				t.Errorf("%s: %s: the reference does not notice", p.Version, m.name)
			}
			if !looser(broken, p) {
				continue
			}
			loose++
			if c, ok := refutes(t, broken); ok {
				refuted++
			} else if c != "" {
				t.Errorf("%s: %s: %s is refuted without a counter-example", p.Version, m.name, c)
			} else {
				t.Errorf("%s: %s: permits more, and no invariant says so", p.Version, m.name)
			}
		}
		t.Logf("%s: %d mutants without effect, %d noticed by the reference; of %d that permit more, the invariants refute %d", p.Version, same, noticed, loose, refuted)
	}
}

func equalTables(a, b *Policy) bool {
	for i := range a.table.cells {
		if a.table.verdicts[a.table.cells[i]] != b.table.verdicts[b.table.cells[i]] {
			return false
		}
	}
	return true
}

// expectations asks the reference about every cell, in the order of each.
func expectations(p *Policy) []answer {
	f := referenceOf(p)
	var out []answer
	p.table.each(func(c cell) { out = append(out, f.answer(p.table.query(c))) })
	return out
}

func firstDifference(p *Policy, expected []answer) (Query, bool) {
	var found *Query
	i := 0
	p.table.each(func(c cell) {
		if v := p.table.at(c); found == nil && (answer{v.allow, v.reason, v.clause, v.clauses}) != expected[i] {
			q := p.table.query(c)
			found = &q
		}
		i++
	})
	if found == nil {
		return Query{}, false
	}
	return *found, true
}

// refutes checks the file's own invariants against a broken policy. It gives the claim
// that is refuted, and whether the access that it names really contradicts.
func refutes(t *testing.T, broken *Policy) (string, bool) {
	t.Helper()
	for i := range broken.promises {
		m := &broken.promises[i]
		k := broken.checkPromise(m)
		if k.Violations == 0 {
			continue
		}
		return k.Says, k.Example != nil && k.Finding != "" && !m.keptBy(broken.find(*k.Example))
	}
	return "", false
}
