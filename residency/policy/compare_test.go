package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

// noFunction drops a requirement, so that one kind of change runs through many answers.
var noFunction = []string{
	"FRAUD_PARTNER, THIRD_PARTY]\n    require: [registered, function]", "FRAUD_PARTNER, THIRD_PARTY]\n    require: registered",
}

func TestCompareShipped(t *testing.T) {
	first := shippedPolicies(t)["CH"]
	for name, c := range map[string]struct {
		to   *Policy
		want []Change
	}{
		"the same":     {first, nil},
		"another time": {later(t, "ch-2012-05-02"), nil},
		"less is asked": {later(t, "ch-2012-05-02", noFunction...), []Change{
			{Looser, "DISCLOSE PERSONAL_INFORMATION anywhere for any but [BUSINESS_TRANSFER, LEGAL_OBLIGATION, INSPECTION], recipient [ASSOCIATE_OFFICE, AGENT, SUBCONTRACTOR, THIRD_PARTY]", 528,
				"permitted when met, beside what stays: function (processors)", "permitted without"},
			{Looser, "DISCLOSE PERSONAL_INFORMATION anywhere for [FRAUD_PREVENTION, CREDIT_RISK], recipient FRAUD_PARTNER", 24,
				"permitted when met, beside what stays: function (processors)", "permitted without"},
		}},
		"a neighbour without consent": {later(t, "ch-2012-05-02",
			"  - action: USE\n    data: PERSONAL_INFORMATION\n    to: abroad\n    require: consent",
			"  - action: USE\n    data: PERSONAL_INFORMATION\n    to: [US, NO]\n    require: consent"), []Change{
			{Looser, "USE PERSONAL_INFORMATION abroad but to [US, NO] for any but [BUSINESS_TRANSFER, LEGAL_OBLIGATION, INSPECTION]", 66,
				"permitted when met, beside what stays: consent (product/border)", "permitted without"},
		}},
		"no exports": {later(t, "ch-2012-05-02", "  - action: EXPORT\n    data: PERSONAL_INFORMATION\n    to: home\n    allow: true", "  - action: EXPORT\n    data: PERSONAL_INFORMATION\n    to: home\n    deny: RESTRICTED"), []Change{
			{Stricter, "EXPORT PERSONAL_INFORMATION at home", 6, "permitted (clause product/export)", "refused: RESTRICTED, that use was restricted (clause product/export)"},
		}},
		"another reason": {later(t, "ch-2012-05-02", "    deny: PURPOSE_NOT_PERMITTED\n    clause: fraud-exchange", "    deny: RESTRICTED\n    clause: fraud-exchange"), []Change{
			{Otherwise, "DISCLOSE PERSONAL_INFORMATION anywhere for any but [FRAUD_PREVENTION, CREDIT_RISK], recipient FRAUD_PARTNER", 144,
				"refused: PURPOSE_NOT_PERMITTED, the data was not provided for that purpose, or the policy has no such use (clause fraud-exchange)", "refused: RESTRICTED, that use was restricted (clause fraud-exchange)"},
		}},
	} {
		d := Compare(first, c.to)
		if !slices.Equal(d.Changes, c.want) {
			t.Errorf("%s: got\n%s", name, d)
		}
		if d.From != first.Version || d.To != c.to.Version || d.Effective != c.to.Effective || d.Compared < 48600 {
			t.Errorf("%s: heading %s → %s, %v, %d compared", name, d.From, d.To, d.Effective, d.Compared)
		}
		if len(d.Voided) != 0 && name != "a neighbour without consent" {
			t.Errorf("%s: voided %v", name, d.Voided)
		}
	}
	if d := Compare(nil, first); d.Compared != 0 || len(d.Changes) != 0 {
		t.Errorf("no policy: %+v", d)
	}
}

func TestCompareVoided(t *testing.T) {
	first := shippedPolicies(t)["CH"]
	for name, c := range map[string]struct {
		to   *Policy
		want string
	}{
		"a purpose abroad": {later(t, "ch-2012-05-02", "\nrules:\n", noMarketingAbroad), "BORDER_CROSSING  PERSONAL_INFORMATION  abroad  choice  MARKETING\n"},
		"one country":      {later(t, "ch-2012-05-02", "\nrules:\n", strings.ReplaceAll(noMarketingAbroad, "abroad", "US")), "BORDER_CROSSING  PERSONAL_INFORMATION  US  choice  MARKETING\n"},
		"all but one": {later(t, "ch-2012-05-02", "  - action: USE\n    data: VIRTUAL_DRIVE_DATA\n    to: abroad\n    party: TENANT\n    require: consent",
			"  - action: USE\n    data: VIRTUAL_DRIVE_DATA\n    to: DE\n    party: TENANT\n    require: consent"), ""}, // drives are still moved by consent
		"a kind": {later(t, "ch-2012-05-02", "\nclauses:\n", "\nvoids: INSPECTION_PERMISSION\n\nclauses:\n"), "INSPECTION_PERMISSION  VIRTUAL_DRIVE_DATA  home  revisions  INSPECTION\n"},
		"inspections": {later(t, "ch-2012-05-02", "    require: permission\n    clause: no-inspection", "    deny: RESTRICTED\n    clause: no-inspection"),
			"INSPECTION_PERMISSION  VIRTUAL_DRIVE_DATA  home  no-inspection  INSPECTION\n"},
	} {
		got := ""
		d := Compare(first, c.to)
		for _, v := range d.Voided {
			got += fmt.Sprintf("%s  %s  %s  %s  %s\n", v.Kind, v.DataClass, v.To, v.Clause, v.Purpose)
		}
		if got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
		if text := d.String(); strings.Contains(text, "No recorded consent is voided.") != (c.want == "") {
			t.Errorf("%s: %s", name, text)
		}
	}
	m := &comparison{places: []residency.Jurisdiction{{}, de, us, {'N', 'O'}}}
	for want, places := range map[string][]int{
		"home": {0}, "abroad": {1, 2, 3}, "US": {2}, "US NO": {2, 3}, "abroad but US": {1, 3}, "abroad but [US, NO]": {1}, "home abroad": {0, 1, 2, 3},
	} {
		if got := strings.Join(m.destinations(places), " "); got != want {
			t.Errorf("%v: got %q, want %q", places, got, want)
		}
	}
}

func TestCompareRestated(t *testing.T) {
	first := shippedPolicies(t)["US"]
	to := later(t, "us-2011-10-07", "controller: CloudSigma Inc", "controller: Other Inc", "consent_months: 12 ", "consent_months: 24 ",
		"minimum_age: 13 ", "minimum_age: 16 ", "\nclauses:\n", "\nvoids: PARENTAL\nclauses:\n",
		"  - residence: any\n    default: false", "  - residence: [DE, FR]\n    default: true\n    agreement: true\n    clause: product/placement\n  - residence: any\n    default: false",
		"    title: A person may be handed their own file.", "    title: A person gets their file.",
		"  - says: Erasing at home is always possible.", "  - says: Erasing at home always works.")
	want := []Restated{
		{"controller", "CloudSigma Inc", "Other Inc"},
		{"consent_months", "12", "24"},
		{"minimum_age", "13", "16"},
		{"voids", "", "PARENTAL"},
		{"placement of residents of DE, FR", "permitted, only by recorded agreement (clause product/placement)", "by default, only by recorded agreement (clause product/placement)"},
		{"clause product/export", "A person may be handed their own file.", "A person gets their file."},
		{"invariant of clause stop-holding", "Erasing at home is always possible.", ""},
		{"invariant of clause stop-holding", "", "Erasing at home always works."},
	}
	d := Compare(first, to)
	if !slices.Equal(d.Restated, want) {
		t.Errorf("got %q", d.Restated)
	}
	for _, r := range want {
		if text := d.String(); !strings.Contains(text, r.What) || !strings.Contains(text, r.Before) || !strings.Contains(text, r.After) {
			t.Errorf("%v is not in\n%s", r, text)
		}
	}
	if d := Compare(first, shippedPolicies(t)["CH"]); !slices.Contains(d.Restated, Restated{
		"placement of residents of the EU and EEA (30)", "permitted, only by recorded agreement (clause product/placement)", "by default, only by recorded agreement (clause eu-residents)",
	}) {
		t.Errorf("the EEA's placement: got %q", d.Restated)
	}
	all := residency.Jurisdictions()
	if got := countryWords(all); got != "any country" {
		t.Error(got)
	}
	if got := countryWords(slices.DeleteFunc(all, func(j residency.Jurisdiction) bool { return j == ch || j.InEEA() })); got != "any country but the EU and EEA (30), CH" {
		t.Error(got)
	}
}

// TestCompareCountsEveryCell: of any two policies every decision that differs is in one
// change, and a change's direction and texts are those of what it holds.
func TestCompareCountsEveryCell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawPolicy(t), drawPolicy(t)
		d := Compare(from, to)
		differ, looser := 0, 0
		i := 0
		from.table.each(func(cell) {
			x, y := from.table.verdicts[from.table.cells[i]], to.table.verdicts[to.table.cells[i]]
			if x != y {
				differ++
				if !x.allow && y.allow || x.allow && y.allow && x.requires != y.requires && x.requires|y.requires == x.requires {
					looser++
				}
			}
			i++
		})
		held, heldLooser := 0, 0
		for _, c := range d.Changes {
			held += c.Decisions
			if c.Direction == Looser {
				heldLooser += c.Decisions
			}
			if c.Decisions == 0 || c.Before == c.After || c.Accesses == "" {
				t.Fatalf("%+v", c)
			}
		}
		if d.Compared != i || d.Changed != differ || held+d.Unlisted != differ || d.Unlisted == 0 && heldLooser != looser {
			t.Fatalf("%d of %d differ, %d looser: got %d of %d, in changes %d, looser %d", differ, i, looser, d.Changed, d.Compared, held, heldLooser)
		}
	})
}

// TestBoxesAreMaximal: a box holds nothing that changes otherwise, and no value can be added to it.
func TestBoxesAreMaximal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := changeMap{sizes: cell{2, 1, 3, 3, 1, 2, 2}}
		n := 2 * 1 * 3 * 3 * 1 * 2 * 2
		for range n {
			m.ways = append(m.ways, rapid.SampledFrom([]int32{1, 1, 1, 1, 1, 1, 2, anyway, unchanged}).Draw(t, "way"))
		}
		grid := table{sizes: m.sizes}
		i := 0
		grid.each(func(c cell) {
			way, before := m.ways[i], slices.Clone(m.ways)
			i++
			if way <= 0 {
				return
			}
			box, decisions := m.grow(c, way)
			if !box.matches(c) {
				t.Fatal("the box does not hold the cell that it grew from")
			}
			after := m.ways
			m.ways = before
			if !m.fits(box, way, false) {
				t.Fatal("the box holds what changes otherwise")
			}
			for d := range dimension(numDimensions) {
				for v := range m.sizes[d] {
					wider := box
					wider[d] = 1 << v
					if box[d]&(1<<v) == 0 && m.fits(wider, way, hollow[d]) {
						t.Fatalf("value %d of dimension %d could be added", v, d)
					}
				}
			}
			m.ways = after
			if decisions == 0 || slices.Equal(before, after) {
				t.Fatal("nothing is covered")
			}
		})
		if slices.Contains(m.ways, 1) || slices.Contains(m.ways, 2) {
			t.Fatal("a change is in no box")
		}
	})
}

func TestCompareIsDeterministic(t *testing.T) {
	p := shippedPolicies(t)
	want := Compare(p["CH"], p["US"]).String()
	for range 5 {
		if got := Compare(shippedPolicies(t)["CH"], shippedPolicies(t)["US"]).String(); got != want {
			t.Fatal("two comparisons of the same files differ")
		}
	}
}

// crowded makes a policy of as many rules and places as a file may have, at random.
func crowded(seed uint64, named []residency.Jurisdiction) *Policy {
	r := rand.New(rand.NewPCG(seed, seed))
	sizes := sizesOf(len(named))
	var rules []rule
	for i := range maxRules - 1 {
		x := rule{match: matchAll(), effect: effect(1 + i%3), clause: string(rune('a' + i%7))}
		for d := range x.match {
			if r.IntN(2) == 0 {
				x.match[d] = r.Uint64() & (1<<sizes[d] - 1)
			}
		}
		if x.requires = 0; x.effect == effectRequire {
			x.requires = residency.Set(residency.Requirement(i % 4))
		}
		if x.effect == effectDeny {
			x.reason = residency.Restricted
			x.match[byAction] &= 1 << r.IntN(numActions)
			x.match[byPurpose] &= 1 << r.IntN(numPurposes)
		}
		rules = append(rules, x)
	}
	rules = append(rules, rule{match: matchAll(), effect: effectOtherwise, reason: residency.PurposeNotPermitted, clause: "last"})
	return &Policy{Jurisdiction: ch, rules: rules, table: compile(rules, ch, named)}
}

func BenchmarkCompare(b *testing.B) {
	p := shippedPolicies(b)["CH"]
	to := later(b, "ch-2012-05-02", noFunction...)
	all := slices.DeleteFunc(residency.Jurisdictions(), func(j residency.Jurisdiction) bool { return j == ch })
	x, y := crowded(1, all[:maxPlaces]), crowded(2, all[maxPlaces:2*maxPlaces])
	for name, pair := range map[string][2]*Policy{"shipped": {p, to}, "crowded": {x, y}} {
		b.Run(name, func(b *testing.B) {
			changes := 0
			for b.Loop() {
				changes = len(Compare(pair[0], pair[1]).Changes)
			}
			b.ReportMetric(float64(changes), "changes")
		})
	}
}
