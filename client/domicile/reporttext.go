package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What a report says in sentences, on a terminal and on paper.

// restsOn is what there is to say about a log, for people.
func (b *reportBase) restsOn() []field {
	believed := "the key, which was given"
	if b.KeySource == keyGateway {
		believed = "the gateway's own word for the key: compare it with one that came by another way"
	}
	entries := fmt.Sprintf("%d verified", b.Verified)
	if b.Missing != "" {
		entries += "; " + b.Missing
	}
	compared := b.Caveat
	if compared == "" {
		sizes := make([]string, len(b.Compared))
		for i, n := range b.Compared {
			sizes[i] = strconv.FormatUint(n, 10)
		}
		compared = "consistent with earlier checkpoints of " + strings.Join(sizes, ", ") + " entries"
	}
	out := []field{
		{"log", b.Origin}, {"size", fmt.Sprintf("%d entries", b.Size)}, {"root", b.Root}, {"entries", entries},
		{"compared", compared}, {"witness", strings.Join(b.Witness, "; ")}, {"key", b.Key}, {"on trust", believed},
	}
	if b.Verified > 0 {
		out = append(out, field{"oldest entry", b.First}, field{"newest entry", b.Last})
	}
	return out
}

// warnings are what the reader of a part must know before its numbers.
func (r *report) warnings(at int, p *reportPart) (out []string) {
	out = r.incomplete(at, p.region)
	if n := p.unfounded(); n > 0 {
		out = append(out, fmt.Sprintf("Of what was permitted and crossed a border, %s nothing in the log that permits it (basis none).", countHas(n)))
	}
	return out
}

// incomplete says what of a period is not in a region's logs, or may not be; nothing when it is complete.
func (r *report) incomplete(at int, region string) (out []string) {
	if !r.kept(at, region) {
		out = append(out, "Incomplete: entries that may be of this period were dropped when their time was over, or withheld.")
	}
	switch until := r.reaches(region); {
	case until.IsZero():
		out = append(out, "Incomplete: there is a log without entries, which does not show that the period is over.")
	case until.Before(r.Spans[at].to):
		out = append(out, "Incomplete: the log reaches until "+until.Format(time.RFC3339)+"; what was done from then on is not in it, or not all.")
	}
	return out
}

func countHas(n uint64) string {
	if n == 1 {
		return "1 access has"
	}
	return strconv.FormatUint(n, 10) + " accesses have"
}

// shown reports whether a section is shown for people although it has no rows.
func shown(section int) bool { return section != inUnclassified }

const noEntries = "There are no entries of this period."

// writeTables writes the report for a terminal of 120 columns.
func (r *report) writeTables(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Report on the audit log, %s (UTC), by %s\n", r.whole().text(), r.Generator)
	if r.Made != "" {
		fmt.Fprintf(&b, "made %s\n", r.Made)
	}
	for _, base := range r.Bases {
		b.WriteString("\n")
		for _, f := range base.restsOn() {
			fmt.Fprintf(&b, "  %-13s %s\n", f.name, printable(f.value))
		}
	}
	for at := range r.Spans {
		for _, p := range r.regions(at) {
			r.writePart(&b, at, p)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writePart(b *strings.Builder, at int, p *reportPart) {
	title := fmt.Sprintf("Region %s, %s", p.region, r.Spans[at].text())
	fmt.Fprintf(b, "\n%s\n%s\n", title, strings.Repeat("=", utf8.RuneCountInString(title)))
	for _, text := range r.warnings(at, p) {
		fmt.Fprintf(b, "! %s\n", text)
	}
	if len(p.rows[inTotals]) == 0 {
		fmt.Fprintln(b, noEntries)
		return
	}
	for i := range reportSections {
		s := &reportSections[i]
		switch rows := p.sorted(i); {
		case i == inTotals:
			writeTotals(b, rows[0])
		case len(rows) > 0:
			fmt.Fprintf(b, "\n%s\n", s.title)
			writeReportTable(b, s, rows)
		case shown(i):
			fmt.Fprintf(b, "\n%s\n  %s\n", s.title, s.none)
		}
	}
}

// writeTotals writes each total on a line: there are too many for one.
func writeTotals(b *strings.Builder, row *reportRow) {
	s := &reportSections[inTotals]
	for i, c := range s.counts {
		fmt.Fprintf(b, "  %-24s %s\n", strings.ToLower(c.head), row.count(s, i))
	}
}

// writeReportTable writes a section's rows under those of their texts that are too wide for a column.
func writeReportTable(b *strings.Builder, s *reportSection, rows []*reportRow) {
	cells := [][]string{nil}
	for _, c := range s.texts {
		if !c.group {
			cells[0] = append(cells[0], c.head)
		}
	}
	texts := len(cells[0])
	for _, c := range s.counts {
		cells[0] = append(cells[0], c.head)
	}
	for _, row := range rows {
		cells = append(cells, rowCells(s, row))
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	writeCells(b, cells[0], widths, texts)
	group := ""
	for i, row := range rows {
		if g := groupText(s, row); g != group {
			group = g
			fmt.Fprintf(b, "  %s\n", g)
		}
		writeCells(b, cells[i+1], widths, texts)
	}
}

func rowCells(s *reportSection, row *reportRow) (out []string) {
	for i, c := range s.texts {
		if !c.group {
			out = append(out, orDash(printable(row.texts[i])))
		}
	}
	for i := range s.counts {
		out = append(out, row.count(s, i))
	}
	return out
}

// groupText gives the texts that stand above the rows that share them.
func groupText(s *reportSection, row *reportRow) string {
	var out []string
	for i, c := range s.texts {
		if c.group {
			out = append(out, strings.ToLower(c.head)+" "+orDash(printable(row.texts[i])))
		}
	}
	return strings.Join(out, ", ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// writeCells writes a line: texts to the left, counts to the right of their columns.
func writeCells(b *strings.Builder, cells []string, widths []int, texts int) {
	line := "  "
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < texts {
			line += cell + pad + "  "
		} else {
			line += pad + cell + "  "
		}
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
