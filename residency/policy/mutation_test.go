package policy

import (
	"fmt"
	"strings"
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

// pairs calls f once with each pair of verdicts that some cell has in two tables
// over the same cells, and with the first such cell, until it returns false.
func pairs(a, b *table, f func(a, b *verdict, c cell) bool) {
	seen := make([]bool, len(a.verdicts)*len(b.verdicts))
	i, done := 0, false
	a.each(func(c cell) {
		x, y := int(a.cells[i]), int(b.cells[i])
		if pair := x*len(b.verdicts) + y; !done && !seen[pair] {
			seen[pair] = true
			done = !f(&a.verdicts[x], &b.verdicts[y], c)
		}
		i++
	})
}

// changes compares a broken policy with the sound one: whether any decision
// differs, and whether any access is permitted that was denied, or for which less is asked.
func changes(broken, sound *Policy) (any, looser bool) {
	pairs(&broken.table, &sound.table, func(b, s *verdict, _ cell) bool {
		any = any || *b != *s
		looser = looser || b.allow && (!s.allow || s.requires&^b.requires != 0)
		return true
	})
	return any, looser
}

// TestMutants: the comparison with the reference, which TestReferenceTable
// makes, notices every broken rule that changes any decision; and the file's own
// invariants refute every one that permits more or asks for less, each with a counter-example.
func TestMutants(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		expected := expectation(p)
		if q, ok := firstDifference(p, expected); ok {
			t.Fatalf("%s: the sound policy differs from the reference: %s", p.Version, q)
		}
		var same, noticed, loose, refuted int
		for _, m := range mutants(p) {
			broken := m.policy(p)
			any, looser := changes(broken, p)
			if !any {
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
			if !looser {
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

// expectation puts the reference's answers about every cell into a table.
func expectation(p *Policy) *table {
	t := table{sizes: p.table.sizes, named: p.table.named}
	f, numbers := referenceOf(p), make(map[verdict]uint16)
	p.table.each(func(c cell) {
		a := f.answer(p.table.query(c))
		t.cells = append(t.cells, t.number(verdict{allow: a.allow, reason: a.reason, clause: a.clause, requires: a.requires(), cites: a.cites(), clauses: a.asks}, numbers))
	})
	return &t
}

func (a answer) requires() residency.Requirements {
	var set residency.Requirements
	for r, c := range a.asks {
		if c != "" {
			set |= residency.Set(residency.Requirement(r))
		}
	}
	return set
}

func firstDifference(p *Policy, expected *table) (Query, bool) {
	var found *Query
	pairs(&p.table, expected, func(got, want *verdict, c cell) bool {
		if *got != *want {
			q := p.table.query(c)
			found = &q
		}
		return found == nil
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

// TestUselessRulesAreFound: a rule that changes nothing, and a clause that
// decides nothing, are named by their lines.
func TestUselessRulesAreFound(t *testing.T) {
	useless := "  - action: USE\n    data: PERSONAL_INFORMATION\n    purpose: none\n    allow: true\n    clause: security\n"
	p, err := Parse([]byte(strings.Replace(small, "rules:\n", "rules:\n"+useless, 1)))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(p.Verify().Err())
	for _, want := range []string{"without the rule on line 20 every decision would be the same", "clause security, cited on line 20, decides no access"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// TestBrokenPromiseIsReported: an invariant that does not hold is reported with
// its clause, an access that contradicts it, and how often.
func TestBrokenPromiseIsReported(t *testing.T) {
	p, err := Parse([]byte(strings.Replace(small, "    to: [US, NO]\n    needs", "    action: USE\n    needs", 1)))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Verify()
	last := r.Claims[len(r.Claims)-1]
	if r.Err() == nil || last.Clause != "product/border" || last.Example == nil || last.Violations == 0 || last.Violations >= last.Checked {
		t.Fatalf("got %+v", last)
	}
	if q := *last.Example; !p.Explain(q).Allow || p.Requirements(q).Has(residency.RequireConsent) {
		t.Errorf("%s does not contradict", q)
	}
	if r.Cells != r.Allowed+r.Conditional+r.Denied {
		t.Errorf("counts do not add up: %+v", r)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := shippedPolicies(b)["CH"]
	for b.Loop() {
		p.Verify()
	}
}

func BenchmarkParse(b *testing.B) {
	file, _ := Shipped("ch-2012-05-02.yaml")
	for b.Loop() {
		if _, err := Parse(file); err != nil {
			b.Fatal(err)
		}
	}
}
