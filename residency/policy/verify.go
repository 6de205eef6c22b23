package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

// Report is what Verify found.
type Report struct {
	Version     string
	Digest      string
	Rules       int // "otherwise" included
	Verdicts    int // how many different answers the table gives
	Cells       int // how many accesses it tells apart: Allowed + Conditional + Denied
	Allowed     int // permitted outright
	Conditional int // permitted once requirements are met
	Denied      int
	Claims      []Claim // the built-in ones, then the file's invariants in its order
}

// Claim is something claimed about a policy, and whether it holds over every cell.
type Claim struct {
	Says       string // what is claimed
	Clause     string // the clause that promises it; "" for the built-in checks
	Checked    int    // how many cells, rules or clauses it was checked over
	Violations int    // how many of them contradict it
	Example    *Query // the first cell that does, when cells were checked
	Finding    string // what was found, in plain language; "" when it holds
}

// Err gives an error that names every violated claim with its counter-example,
// or nil when all hold.
func (r Report) Err() error {
	var errs []error
	for _, c := range r.Claims {
		if c.Violations > 0 {
			errs = append(errs, fmt.Errorf("policy %s: %q does not hold: %s (%d of %d)", r.Version, c.Says, c.Finding, c.Violations, c.Checked))
		}
	}
	return errors.Join(errs...)
}

// Verify looks at every cell of the table. It proves, or refutes with a
// counter-example, that the table says what the rules say, that nothing is permitted which no rule names,
// that every rule and every cited clause has an effect, and each invariant that the file states.
func (p *Policy) Verify() Report {
	if p == nil || len(p.table.cells) == 0 {
		return Report{Claims: []Claim{{Says: "there is a policy", Checked: 1, Violations: 1, Finding: "it was not parsed"}}}
	}
	r := Report{Version: p.Version, Digest: p.Digest, Rules: len(p.rules), Verdicts: len(p.table.verdicts)}
	p.table.each(func(c cell) { r.count(p.table.at(c)) })
	all := make(judged)
	r.Claims = append(r.Claims, p.checkTable(all), p.checkNamed(), p.checkRules(all), p.checkClauses())
	for i := range p.promises {
		r.Claims = append(r.Claims, p.checkPromise(&p.promises[i]))
	}
	return r
}

func (r *Report) count(v *verdict) {
	r.Cells++
	switch {
	case !v.allow:
		r.Denied++
	case v.requires == 0:
		r.Allowed++
	default:
		r.Conditional++
	}
}

// matching gives the rules that match a cell, without the help of the compiled table.
func (p *Policy) matching(c cell) ruleSet {
	var set ruleSet
	for i := range p.rules {
		if p.rules[i].match.matches(c) {
			set.add(i)
		}
	}
	return set
}

// judged is the verdict of every set of rules that together match some cell.
type judged map[ruleSet]verdict

// checkTable compares the compiled table with the rules, cell by cell. It
// collects the verdicts of the rules into all.
func (p *Policy) checkTable(all judged) Claim {
	k := Claim{Says: "the table says what the rules say"}
	p.table.each(func(c cell) {
		set := p.matching(c)
		v, ok := all[set]
		if !ok {
			v = judge(set.of(p.rules))
			all[set] = v
		}
		k.cell(p, c, *p.table.at(c) == v)
	})
	return k
}

// checkNamed proves that what is permitted is permitted by a rule that names it.
func (p *Policy) checkNamed() Claim {
	var naming ruleSet
	for i := range p.rules {
		if e := p.rules[i].effect; e == effectAllow || e == effectRequire {
			naming.add(i)
		}
	}
	k := Claim{Says: "nothing is permitted that no rule names"}
	p.table.each(func(c cell) {
		k.cell(p, c, !p.table.at(c).allow || p.matching(c).and(naming) != ruleSet{})
	})
	return k
}

// checkRules proves that the file would decide something differently without any one
// of its rules. The last rule of otherwise is exempt: it has to be there.
func (p *Policy) checkRules(all judged) Claim {
	k := Claim{Says: "every rule has an effect"}
	for i := range p.rules[:len(p.rules)-1] {
		k.Checked++
		if p.equalWithout(i, all) {
			k.violate(fmt.Sprintf("without the rule on line %d every decision would be the same", p.rules[i].line))
		}
	}
	return k
}

func (p *Policy) equalWithout(i int, all judged) bool {
	for set, v := range all {
		if rest, had := set.without(i); had && judge(rest.of(p.rules)) != v {
			return false
		}
	}
	return true
}

// checkClauses proves that every clause that a rule cites decides something.
func (p *Policy) checkClauses() Claim {
	k := Claim{Says: "every clause that a rule cites decides something"}
	deciding := make(map[string]bool)
	for i := range p.table.verdicts {
		v := &p.table.verdicts[i]
		deciding[v.clause] = true
		for _, c := range v.clauses {
			deciding[c] = true
		}
	}
	for i := range p.rules {
		k.Checked++
		if c := p.rules[i].clause; !deciding[c] {
			k.violate(fmt.Sprintf("clause %s, cited on line %d, decides no access", c, p.rules[i].line))
		}
	}
	return k
}

// checkPromise proves an invariant over the cells that it is about.
func (p *Policy) checkPromise(m *promise) Claim {
	k := Claim{Says: m.says, Clause: m.clause}
	p.table.each(func(c cell) {
		if m.about(c) {
			k.cell(p, c, m.keptBy(p.table.at(c)))
		}
	})
	if k.Checked == 0 {
		k.violate(fmt.Sprintf("the invariant on line %d is about no access at all", m.line))
	}
	return k
}

// cell counts a checked cell and keeps the first that contradicts.
func (k *Claim) cell(p *Policy, c cell, holds bool) {
	k.Checked++
	if holds {
		return
	}
	if k.Violations == 0 {
		q := p.table.query(c)
		k.Example = &q
		k.violate(fmt.Sprintf("%s: %s", q, p.Explain(q).Sentence))
		return
	}
	k.Violations++
}

func (k *Claim) violate(finding string) {
	if k.Violations == 0 {
		k.Finding = finding
	}
	k.Violations++
}

// query gives a query that a cell decides.
func (t *table) query(c cell) Query {
	return Query{
		Action:    residency.Action(c[byAction] + 1),
		DataClass: residency.DataClass(c[byClass] + 1),
		To:        t.example(c[byPlace]),
		Purpose:   residency.Purpose(c[byPurpose]),
		Source:    residency.Source(c[bySource] + 1),
		Recipient: residency.RecipientKind(c[byRecipient]),
		Party:     residency.Party(c[byParty] + 1),
	}
}

// example gives a jurisdiction of a place; the zero value for home.
func (t *table) example(place uint8) residency.Jurisdiction {
	if place == placeHome {
		return residency.Jurisdiction{}
	}
	for _, j := range residency.Jurisdictions() {
		if t.placeOf(j) == place {
			return j
		}
	}
	return residency.Jurisdiction{}
}

// String gives the query's stated values, for example
// "USE PERSONAL_INFORMATION to US for PAYMENTS, source PROVIDED, party TENANT".
func (q Query) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", q.Action, q.DataClass)
	if q.To.IsZero() {
		b.WriteString(" at home")
	} else {
		fmt.Fprintf(&b, " to %s", q.To)
	}
	if q.Purpose != residency.PurposeUnspecified {
		fmt.Fprintf(&b, " for %s", q.Purpose)
	}
	if q.Source != residency.SourceUnspecified {
		fmt.Fprintf(&b, ", source %s", q.Source)
	}
	if q.Recipient != residency.NoRecipient {
		fmt.Fprintf(&b, ", recipient %s", q.Recipient)
	}
	if q.Party != residency.PartyUnspecified {
		fmt.Fprintf(&b, ", party %s", q.Party)
	}
	return b.String()
}
