package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

// drawMatcher draws a matcher that leaves most dimensions unrestricted.
func drawMatcher(t *rapid.T) matcher {
	m := matchAll()
	sizes := sizesOf(1)
	for d := range m {
		if rapid.Bool().Draw(t, "restricted") {
			m[d] = rapid.Uint64Range(1, 1<<sizes[d]-1).Draw(t, "values")
		}
	}
	return m
}

func drawRule(t *rapid.T) rule {
	r := rule{match: drawMatcher(t), effect: effect(rapid.IntRange(0, int(effectDeny)).Draw(t, "effect"))}
	r.clause = rapid.StringMatching("[a-c]").Draw(t, "clause")
	switch r.effect {
	case effectRequire:
		r.requires = residency.Requirements(rapid.Uint32Range(1, 1<<residency.NumRequirements-1).Draw(t, "requires"))
	case effectDeny, effectOtherwise:
		r.reason = residency.Restricted
	}
	return r
}

func drawPolicy(t *rapid.T) *Policy {
	rules := rapid.SliceOfN(rapid.Custom(drawRule), 0, 12).Draw(t, "rules")
	rules = append(rules, rule{match: matchAll(), effect: effectOtherwise, reason: residency.PurposeNotPermitted, clause: "last"})
	return &Policy{Jurisdiction: ch, rules: rules, table: compile(rules, ch, []residency.Jurisdiction{us})}
}

func drawQuery(t *rapid.T) Query {
	return Query{
		Action:    residency.Action(rapid.Uint8Range(1, residency.NumActions-1).Draw(t, "action")),
		DataClass: residency.DataClass(rapid.Uint8Range(1, residency.NumDataClasses-1).Draw(t, "class")),
		To:        rapid.SampledFrom([]residency.Jurisdiction{{}, ch, us, de}).Draw(t, "to"),
		Purpose:   residency.Purpose(rapid.Uint8Range(0, residency.NumPurposes-1).Draw(t, "purpose")),
		Source:    residency.Source(rapid.Uint8Range(0, residency.NumSources-1).Draw(t, "source")),
		Recipient: residency.RecipientKind(rapid.Uint8Range(0, residency.NumRecipientKinds-1).Draw(t, "recipient")),
		Party:     residency.Party(rapid.Uint8Range(0, residency.NumParties-1).Draw(t, "party")),
	}
}

func drawFacts(t *rapid.T) residency.Requirements {
	return residency.Requirements(rapid.Uint32Range(0, 1<<residency.NumRequirements-1).Draw(t, "met"))
}

// TestDenyBeatsAll: with a deny rule that matches added anywhere, nothing is permitted.
func TestDenyBeatsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPolicy(t), drawQuery(t)
		deny := rule{match: matchAll(), effect: effectDeny, reason: residency.Restricted, clause: "no"}
		at := rapid.IntRange(0, len(p.rules)).Draw(t, "at")
		rules := append(append(append([]rule(nil), p.rules[:at]...), deny), p.rules[at:]...)
		denied := &Policy{Jurisdiction: ch, rules: rules, table: compile(rules, ch, p.table.named)}
		if d := denied.Decide(q, meeting(^residency.Requirements(0))); d.Allow {
			t.Fatalf("%s is permitted: %+v", q, d)
		}
	})
}

// TestMoreFactsNeverDeny: meeting more requirements never turns permission into refusal, and the
// requirements that a query asks for are all that Decide looks at.
func TestMoreFactsNeverDeny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q, some, more := drawPolicy(t), drawQuery(t), drawFacts(t), drawFacts(t)
		less, all := p.Decide(q, meeting(some)), p.Decide(q, meeting(some|more))
		if less.Allow && !all.Allow {
			t.Fatalf("%s: more facts deny", q)
		}
		if less.Missing|all.Missing != less.Missing {
			t.Fatalf("%s: more facts leave more missing", q)
		}
		if d := p.Decide(q, meeting(some&p.Requirements(q))); d != less {
			t.Fatalf("%s: a fact that is not required matters", q)
		}
	})
}

// TestMoreRequirementsNeverPermit: adding a require rule to what other rules
// permit never permits an access that was refused with the same facts.
func TestMoreRequirementsNeverPermit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q, met := drawPolicy(t), drawQuery(t), drawFacts(t)
		if !p.find(q).allow {
			return
		}
		extra := rule{match: matchAll(), effect: effectRequire, requires: drawFacts(t) | 1, clause: "more"}
		rules := append([]rule{extra}, p.rules...)
		stricter := &Policy{Jurisdiction: ch, rules: rules, table: compile(rules, ch, p.table.named)}
		if stricter.Decide(q, meeting(met)).Allow && !p.Decide(q, meeting(met)).Allow {
			t.Fatalf("%s: a requirement permits", q)
		}
	})
}

// TestTableIsItsRules: the compiled table is the rules, for any rules.
func TestTableIsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPolicy(t), drawQuery(t)
		i, ok := p.table.locate(q)
		if !ok {
			t.Fatalf("%s is in no cell", q)
		}
		n := 0
		p.table.each(func(c cell) {
			if n == i && *p.table.at(c) != judge(p.matching(c).of(p.rules)) {
				t.Fatalf("%s: the table and the rules differ", q)
			}
			n++
		})
		if n != len(p.table.cells) {
			t.Fatalf("%d cells, %d places", n, len(p.table.cells))
		}
	})
}

func TestActive(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2012, 5, n, 0, 0, 0, 0, time.UTC) }
	old, cur, next := &Policy{Version: "old", Effective: day(1)}, &Policy{Version: "cur", Effective: day(5)}, &Policy{Version: "next", Effective: day(9)}
	versions := []*Policy{cur, next, nil, old}
	for _, c := range []struct {
		now  time.Time
		want *Policy
	}{
		{day(1).Add(-time.Nanosecond), nil}, {day(1), old}, {day(5).Add(-time.Nanosecond), old}, {day(5), cur}, {day(8), cur}, {day(9), next}, {day(30), next},
	} {
		if got := Active(versions, c.now); got != c.want {
			t.Errorf("at %v: got %v, want %v", c.now, got, c.want)
		}
	}
	if Active(nil, day(1)) != nil {
		t.Error("something is in force of nothing")
	}
}

func TestCheck(t *testing.T) {
	p := func(version, digest string, day int, j residency.Jurisdiction, controller string) *Policy {
		return &Policy{Version: version, Digest: digest, Jurisdiction: j, Controller: controller,
			Effective: time.Date(2012, 5, day, 0, 0, 0, 0, time.UTC), table: table{cells: []uint16{0}}}
	}
	a := p("a", "1", 1, ch, "AG")
	for name, c := range map[string]struct {
		versions []*Policy
		ok       bool
	}{
		"none":                 {nil, false},
		"one":                  {[]*Policy{a}, true},
		"the same twice":       {[]*Policy{a, p("a", "1", 1, ch, "AG")}, true},
		"two":                  {[]*Policy{a, p("b", "2", 2, ch, "AG")}, true},
		"two digests":          {[]*Policy{a, p("a", "2", 2, ch, "AG")}, false},
		"the same time":        {[]*Policy{a, p("b", "2", 1, ch, "AG")}, false},
		"two jurisdictions":    {[]*Policy{a, p("b", "2", 2, us, "AG")}, false},
		"two controllers":      {[]*Policy{a, p("b", "2", 2, ch, "Inc")}, false},
		"one that is missing":  {[]*Policy{a, nil}, false},
		"one that is no table": {[]*Policy{{Version: "z"}}, false},
	} {
		if err := Check(c.versions); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
