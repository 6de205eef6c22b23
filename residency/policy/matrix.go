package policy

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/domicile-project/domicile/residency"
)

// Matrix writes the policy's border as a plain-text table that a lawyer can
// read: a column for home, for each jurisdiction that the file names and for any other; a row for each
// group of accesses that get the same answers. It covers every cell, but for those that are
// malformed everywhere (BAD_REQUEST). It returns the writer's error.
func Matrix(p *Policy, w io.Writer) error {
	if p == nil || len(p.table.cells) == 0 {
		_, err := fmt.Fprintln(w, "No policy: everything is refused.")
		return err
	}
	_, err := fmt.Fprintf(w, "%s, %s (%s), in force from %s\n\n", p.Version, p.Jurisdiction, p.Controller, p.Effective.Format("2006-01-02 15:04 MST"))
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACTION\tDATA\tWHO AND WHAT FOR\t"+strings.Join(p.table.columns(p.Jurisdiction), "\t"))
	for action := range uint8(numActions) {
		for class := range uint8(numClasses) {
			p.table.rows(t, cell{byAction: action, byClass: class})
		}
	}
	return t.Flush()
}

// columns names the places of a table.
func (t *table) columns(home residency.Jurisdiction) []string {
	out := []string{"WITHIN " + home.String(), "TO ANY OTHER"}
	if len(t.named) == 0 {
		out[1] = "ABROAD"
	}
	for _, j := range t.named {
		out = append(out, "TO "+j.String())
	}
	return out
}

// rows writes the rows of one action and data class.
func (t *table) rows(w io.Writer, c cell) {
	matters := t.matters(c)
	for c[byRecipient] = 0; c[byRecipient] < t.sizes[byRecipient]; c[byRecipient]++ {
		for c[bySource] = 0; c[bySource] < t.sizes[bySource]; c[bySource]++ {
			for c[byParty] = 0; c[byParty] < t.sizes[byParty]; c[byParty]++ {
				if c[byRecipient] > 0 && !matters[byRecipient] || c[bySource] > 0 && !matters[bySource] || c[byParty] > 0 && !matters[byParty] {
					continue
				}
				t.purposeRows(w, c, matters)
			}
		}
	}
}

// matters says which of the lesser dimensions any well-formed access of one action and
// data class depends on.
func (t *table) matters(of cell) [numDimensions]bool {
	var out [numDimensions]bool
	t.each(func(c cell) {
		if c[byAction] != of[byAction] || c[byClass] != of[byClass] || t.at(c).reason == residency.BadRequest {
			return
		}
		for _, d := range []dimension{bySource, byRecipient, byParty} {
			first := c
			first[d] = 0
			v := t.at(first)
			out[d] = out[d] || v.reason != residency.BadRequest && v.words() != t.at(c).words()
		}
	})
	return out
}

// purposeRows writes a row for each group of purposes that get the same answers.
func (t *table) purposeRows(w io.Writer, c cell, matters [numDimensions]bool) {
	var order []string
	groups := make(map[string][]string)
	for c[byPurpose] = 0; c[byPurpose] < t.sizes[byPurpose]; c[byPurpose]++ {
		answers, wellFormed := t.answers(c)
		if !wellFormed {
			continue
		}
		if groups[answers] == nil {
			order = append(order, answers)
		}
		groups[answers] = append(groups[answers], purposeWord(c[byPurpose]))
	}
	for _, answers := range order {
		q := t.query(c)
		who := strings.Join(append(circumstances(q, matters), purposesWord(groups[answers])), "; ")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", q.Action, q.DataClass, who, answers)
	}
}

// answers gives what a cell says at each place, and whether it is well formed at any.
func (t *table) answers(c cell) (string, bool) {
	words := make([]string, t.sizes[byPlace])
	wellFormed := false
	for c[byPlace] = 0; c[byPlace] < t.sizes[byPlace]; c[byPlace]++ {
		v := t.at(c)
		wellFormed = wellFormed || v.reason != residency.BadRequest
		words[c[byPlace]] = v.words()
	}
	return strings.Join(words, "\t"), wellFormed
}

// words puts a verdict into a table's cell.
func (v *verdict) words() string {
	switch {
	case !v.allow:
		return "no: " + v.reason.String()
	case v.requires == 0:
		return "yes"
	}
	return "needs " + strings.Join(v.requires.Names(), ", ")
}

func circumstances(q Query, matters [numDimensions]bool) []string {
	var out []string
	if matters[byRecipient] {
		kind := "nobody"
		if q.Recipient != residency.NoRecipient {
			kind = q.Recipient.String()
		}
		out = append(out, "to "+kind)
	}
	if matters[bySource] {
		out = append(out, "from "+q.Source.String())
	}
	if matters[byParty] {
		out = append(out, "by "+q.Party.String())
	}
	return out
}

func purposeWord(p uint8) string {
	if p == 0 {
		return "no purpose"
	}
	return residency.Purpose(p).String()
}

// purposesWord names a group of purposes, by what it lacks when that is shorter.
func purposesWord(group []string) string {
	has := make(map[string]bool, len(group))
	for _, g := range group {
		has[g] = true
	}
	var lacks []string
	for p := range uint8(numPurposes) {
		if !has[purposeWord(p)] {
			lacks = append(lacks, purposeWord(p))
		}
	}
	switch {
	case len(lacks) == 0:
		return "any purpose or none"
	case len(lacks) < len(group):
		return "any purpose but " + strings.Join(lacks, ", ")
	}
	return strings.Join(group, ", ")
}
