package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

// restated lists what two files say differently beside the decisions.
func restated(from, to *Policy) []Restated {
	var out []Restated
	add := func(what, before, after string) {
		if before != after {
			out = append(out, Restated{what, before, after})
		}
	}
	add("jurisdiction", from.Jurisdiction.String(), to.Jurisdiction.String())
	add("controller", from.Controller, to.Controller)
	add("consent_months", numberWord(from.ConsentMonths), numberWord(to.ConsentMonths))
	add("minimum_age", numberWord(from.MinimumAge), numberWord(to.MinimumAge))
	add("voids", from.voidsWords(), to.voidsWords())
	out = append(out, replaced(from, to)...)
	for _, c := range from.Clauses {
		add("clause "+c.ID, c.Title, to.title(c.ID))
	}
	for _, c := range to.Clauses {
		if from.title(c.ID) == "" {
			add("clause "+c.ID, "", c.Title)
		}
	}
	for _, m := range from.promises {
		if !to.claims(&m) {
			add("invariant of clause "+m.clause, m.says, "")
		}
	}
	for _, m := range to.promises {
		if !from.claims(&m) {
			add("invariant of clause "+m.clause, "", m.says)
		}
	}
	return out
}

func numberWord(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (p *Policy) voidsWords() string {
	var kinds []string
	for kind := residency.ConsentKind(1); kind < residency.NumConsentKinds; kind++ {
		if p.voids&(1<<kind) != 0 {
			kinds = append(kinds, kind.String())
		}
	}
	return strings.Join(kinds, ", ")
}

// title gives a clause's title, "" when there is no such clause.
func (p *Policy) title(id string) string {
	for _, c := range p.Clauses {
		if c.ID == id {
			return c.Title
		}
	}
	return ""
}

// claims reports whether the file states an invariant, wherever it stands.
func (p *Policy) claims(m *promise) bool {
	return slices.ContainsFunc(p.promises, func(o promise) bool {
		return o.says == m.says && o.clause == m.clause && o.over == m.over && o.kind == m.kind && o.needs == m.needs &&
			slices.Equal(o.except, m.except)
	})
}

// replaced lists whose placement differs, those who fare the same together.
func replaced(from, to *Policy) []Restated {
	type fate struct{ before, after Placement }
	var order []fate
	who := make(map[fate][]residency.Jurisdiction)
	for _, j := range residency.Jurisdictions() {
		f := fate{from.Placement(j), to.Placement(j)}
		if f.before == f.after {
			continue
		}
		if who[f] == nil {
			order = append(order, f)
		}
		who[f] = append(who[f], j)
	}
	out := make([]Restated, 0, len(order))
	for _, f := range order {
		out = append(out, Restated{"placement of residents of " + countryWords(who[f]), f.before.words(), f.after.words()})
	}
	return out
}

func (p Placement) words() string {
	if !p.Permitted {
		return "not permitted" + under(p.Clause)
	}
	text := "permitted"
	if p.Default {
		text = "by default"
	}
	if p.Agreement {
		text += ", only by recorded agreement"
	}
	return text + under(p.Clause)
}

// manyCountries is from how many countries on a list names those that it lacks.
const manyCountries = 120

// countryWords names a set of jurisdictions, the members of the EEA together.
func countryWords(set []residency.Jurisdiction) string {
	all := residency.Jurisdictions()
	if len(set) == len(all) {
		return "any country"
	}
	if len(set) >= manyCountries {
		lacks := slices.DeleteFunc(all, func(j residency.Jurisdiction) bool { return slices.Contains(set, j) })
		return "any country but " + countryWords(lacks)
	}
	var members, others []string
	for _, j := range set {
		if j.InEEA() {
			members = append(members, j.String())
		} else {
			others = append(others, j.String())
		}
	}
	if eea := slices.DeleteFunc(all, func(j residency.Jurisdiction) bool { return !j.InEEA() }); len(members) == len(eea) {
		members = []string{fmt.Sprintf("the EU and EEA (%d)", len(eea))}
	}
	return strings.Join(append(members, others...), ", ")
}
