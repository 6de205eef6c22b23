package policy

import (
	"fmt"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

// plain puts a verdict into words, with its clauses.
func (v *verdict) plain() string {
	if !v.allow {
		why := v.reason.String()
		if text := pick(reasonWords[:], uint8(v.reason)); text != "" {
			why += ", " + text
		}
		return "refused: " + why + under(v.clause)
	}
	if v.requires == 0 {
		return "permitted" + under(v.clause)
	}
	var needs []string
	for r := range residency.Requirement(residency.NumRequirements) {
		if v.requires.Has(r) {
			needs = append(needs, fmt.Sprintf("%s (%s)", r, v.clauses[r]))
		}
	}
	return "permitted when met: " + strings.Join(needs, ", ")
}

// plain puts both answers into words. Of two that permit under requirements only
// those that differ are named, so that accesses which change in the same way read the same.
func (a answers) plain() (before, after string) {
	if a.before.requires == 0 || a.after.requires == 0 {
		return a.before.plain(), a.after.plain()
	}
	return a.before.more(a.after), a.after.more(a.before)
}

// more names the requirements, by their clauses, that another verdict does not have.
func (v *verdict) more(than *verdict) string {
	var out []string
	for r := range residency.Requirement(residency.NumRequirements) {
		if v.requires.Has(r) && v.clauses[r] != than.clauses[r] {
			out = append(out, fmt.Sprintf("%s (%s)", r, v.clauses[r]))
		}
	}
	if out == nil {
		return "permitted without"
	}
	return "permitted when met, beside what stays: " + strings.Join(out, ", ")
}

// words names a box of accesses in the terms of policy files; what it does not restrict goes
// without saying.
func (m *comparison) words(box matcher) string {
	out := m.among(box, byAction, "any action") + " " + m.among(box, byClass, "any data") + " " + m.placeWords(box[byPlace])
	switch text := m.among(box, byPurpose, ""); text {
	case "":
	case "none":
		out += " without a purpose"
	case "stated":
		out += " for any stated purpose"
	default:
		out += " for " + text
	}
	for _, d := range []dimension{bySource, byRecipient, byParty} {
		if text := m.among(box, d, ""); text != "" {
			out += ", " + matcherKeys[d] + " " + text
		}
	}
	return out
}

// among names the values that a box has in a dimension, by those that it lacks when
// that is shorter; all of them as it is told.
func (m *comparison) among(box matcher, d dimension, all string) string {
	none := d == byPurpose || d == byRecipient // the first value is "none"
	hasNone := none && box[d]&1 != 0
	var has, lacks []string
	for v := range m.sizes[d] {
		switch {
		case none && v == 0:
		case box[d]&(1<<v) != 0:
			has = append(has, valueWord(d, v))
		default:
			lacks = append(lacks, valueWord(d, v))
		}
	}
	var text string
	switch {
	case len(lacks) == 0 && none == hasNone:
		return all
	case len(has) == 0:
		return "none"
	case len(lacks) == 0:
		return "stated"
	case len(has) > 3 && len(lacks) < len(has):
		text = "any but " + listWords(lacks)
	default:
		text = listWords(has)
	}
	if hasNone {
		text += " or none"
	}
	return text
}

// valueWord names a stated value of a dimension that has a closed set.
func valueWord(d dimension, v uint8) string {
	switch d {
	case byAction:
		return residency.Action(v + 1).String()
	case byClass:
		return residency.DataClass(v + 1).String()
	case byPurpose:
		return residency.Purpose(v).String()
	case bySource:
		return residency.Source(v + 1).String()
	case byRecipient:
		return residency.RecipientKind(v).String()
	}
	return residency.Party(v + 1).String()
}

// placeWords names a set of places.
func (m *comparison) placeWords(set uint64) string {
	const home, other = 1 << placeHome, 1 << placeOther
	whole := uint64(1)<<len(m.places) - 1
	switch set & whole {
	case whole:
		return "anywhere"
	case home:
		return "at home"
	case whole &^ home:
		return "abroad"
	}
	var has, lacks []string
	for place := placeNamed; place < len(m.places); place++ {
		if name := m.places[place].String(); set&(1<<place) != 0 {
			has = append(has, name)
		} else {
			lacks = append(lacks, name)
		}
	}
	text := "to " + listWords(has)
	if set&other != 0 {
		text = "abroad but to " + listWords(lacks)
	}
	if set&home != 0 {
		text = "at home and " + text
	}
	return text
}

// listWords writes a word, or a list of words, as policy files do.
func listWords(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "[" + strings.Join(words, ", ") + "]"
}
