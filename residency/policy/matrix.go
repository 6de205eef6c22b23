package policy

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/domicile-project/domicile/residency"
)

// Matrix is a policy's border as a table that a lawyer can read: a column for home, for
// each jurisdiction that the file names and for any other; a row for each group of accesses
// that get the same answers. It covers every cell, but for those that are malformed everywhere
// (BAD_REQUEST).
type Matrix struct {
	Policy  *Policy  // whose it is; nil or not parsed = everything is refused, and there are no rows
	Columns []string // names of the places, home first
	Rows    []MatrixRow
}

// MatrixRow is a group of accesses and what is answered.
type MatrixRow struct {
	Action  residency.Action
	Class   residency.DataClass
	Who     string   // who asks or receives, and what for
	Answers []string // for each column: "yes", "no: " and the reason, or "needs " and the requirements
}

// NewMatrix makes a policy's matrix.
func NewMatrix(p *Policy) Matrix {
	if p == nil || len(p.table.cells) == 0 {
		return Matrix{}
	}
	m := Matrix{Policy: p, Columns: p.table.columns(p.Jurisdiction)}
	for action := range uint8(numActions) {
		for class := range uint8(numClasses) {
			m.Rows = append(m.Rows, p.table.rows(cell{byAction: action, byClass: class})...)
		}
	}
	return m
}

// Heading says whose matrix it is, in a line.
func (m Matrix) Heading() string {
	p := m.Policy
	if p == nil {
		return "No policy: everything is refused."
	}
	return fmt.Sprintf("%s, %s (%s), in force from %s", p.Version, p.Jurisdiction, p.Controller, p.Effective.Format("2006-01-02 15:04 MST"))
}

// WriteText writes the matrix as a plain-text table. It returns the writer's error.
func (m Matrix) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintln(w, m.Heading()); err != nil || len(m.Rows) == 0 {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nACTION\tDATA\tWHO AND WHAT FOR\t"+strings.ToUpper(strings.Join(m.Columns, "\t")))
	for _, r := range m.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Action, r.Class, r.Who, strings.Join(r.Answers, "\t"))
	}
	return t.Flush()
}

// columns names the places of a table.
func (t *table) columns(home residency.Jurisdiction) []string {
	out := []string{"within " + home.String(), "to any other"}
	if len(t.named) == 0 {
		out[1] = "abroad"
	}
	for _, j := range t.named {
		out = append(out, "to "+j.String())
	}
	return out
}

// row is a group of accesses of one action and data class that get the same answers.
type row struct {
	recipients []string
	rest       string // source, party and purposes
	answers    string // one after the other, separated by tabs
}

// rows makes the rows of one action and data class. Recipients whose rows are
// the same share them.
func (t *table) rows(c cell) []MatrixRow {
	var rows []*row
	matters := t.matters(c)
	for c[byRecipient] = 0; c[byRecipient] < t.bound(byRecipient, matters); c[byRecipient]++ {
		for c[bySource] = 0; c[bySource] < t.bound(bySource, matters); c[bySource]++ {
			for c[byParty] = 0; c[byParty] < t.bound(byParty, matters); c[byParty]++ {
				rows = t.merge(rows, c, matters)
			}
		}
	}
	out := make([]MatrixRow, len(rows))
	for i, r := range rows {
		out[i] = MatrixRow{residency.Action(c[byAction] + 1), residency.DataClass(c[byClass] + 1), r.rest, strings.Split(r.answers, "\t")}
		if matters[byRecipient] {
			out[i].Who = "to " + strings.Join(r.recipients, ", ") + "; " + r.rest
		}
	}
	return out
}

// bound is how many values of a dimension have to be looked at: one when it does not matter.
func (t *table) bound(d dimension, matters [numDimensions]bool) uint8 {
	if matters[d] {
		return t.sizes[d]
	}
	return 1
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

// merge adds a row for each group of purposes that get the same answers, or the
// recipient to a row that says the same already.
func (t *table) merge(rows []*row, c cell, matters [numDimensions]bool) []*row {
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
		rest := strings.Join(append(circumstances(t.query(c), matters), purposesWord(groups[answers])), "; ")
		i := slices.IndexFunc(rows, func(r *row) bool { return r.rest == rest && r.answers == answers })
		if i < 0 {
			i, rows = len(rows), append(rows, &row{rest: rest, answers: answers})
		}
		rows[i].recipients = append(rows[i].recipients, recipientWord(c[byRecipient]))
	}
	return rows
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

func recipientWord(r uint8) string {
	if r == 0 {
		return "nobody"
	}
	return residency.RecipientKind(r).String()
}

func circumstances(q Query, matters [numDimensions]bool) []string {
	var out []string
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
	any := "any stated purpose"
	var lacks []string
	for p := range uint8(numPurposes) {
		switch word := purposeWord(p); {
		case slices.Contains(group, word):
			if p == 0 {
				any = "any purpose or none"
			}
		case p != 0:
			lacks = append(lacks, word)
		}
	}
	switch {
	case len(lacks) == 0:
		return any
	case len(lacks) < len(group):
		return any + " but " + strings.Join(lacks, ", ")
	}
	return strings.Join(group, ", ")
}
