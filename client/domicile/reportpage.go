package main

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var reportPage string

// pageData is a report as its page shows it.
type pageData struct {
	Period, Generator, Made string
	Bases                   [][]field
	Parts                   []pagePart
}

type pagePart struct {
	Region, Period string
	Warnings       []string
	Empty          string
	Tables         []pageTable
	None           []string // what there was nothing of
}

type pageTable struct {
	Title, Explain string
	Texts, Counts  []string // heads
	Rows           []pageRow
}

type pageRow struct{ Texts, Counts []string }

// Name and Value let the page read a field.
func (f field) Name() string  { return f.name }
func (f field) Value() string { return f.value }

// writePage writes one page that needs nothing else, for a browser or for paper.
func (r *report) writePage(w io.Writer) error {
	page, err := template.New("report").Parse(reportPage)
	if err != nil {
		return err
	}
	data := pageData{Period: r.whole().text(), Generator: r.Generator, Made: r.Made}
	for _, b := range r.Bases {
		data.Bases = append(data.Bases, b.restsOn())
	}
	for at := range r.Spans {
		for _, p := range r.regions(at) {
			data.Parts = append(data.Parts, r.pagePart(at, p))
		}
	}
	return page.Execute(w, data)
}

func (r *report) pagePart(at int, p *reportPart) pagePart {
	out := pagePart{Region: p.region, Period: r.Spans[at].text(), Warnings: r.warnings(at, p)}
	if len(p.rows[inTotals]) == 0 {
		out.Empty = noEntries
		return out
	}
	for i := range reportSections {
		s := &reportSections[i]
		switch rows := p.sorted(i); {
		case i == inTotals:
			out.Tables = append(out.Tables, totalsTable(rows[0]))
		case len(rows) > 0:
			out.Tables = append(out.Tables, tableOf(s, rows))
		case shown(i):
			out.None = append(out.None, s.none)
		}
	}
	return out
}

// totalsTable stands upright: there are too many totals for a row on paper.
func totalsTable(row *reportRow) pageTable {
	s := &reportSections[inTotals]
	t := pageTable{Title: s.title, Explain: s.explain, Texts: []string{"What"}, Counts: []string{"How many"}}
	for i, c := range s.counts {
		t.Rows = append(t.Rows, pageRow{[]string{sentence(c.head)}, []string{row.count(s, i)}})
	}
	return t
}

func tableOf(s *reportSection, rows []*reportRow) pageTable {
	t := pageTable{Title: s.title, Explain: s.explain}
	for _, c := range s.texts {
		t.Texts = append(t.Texts, sentence(c.head))
	}
	for _, c := range s.counts {
		t.Counts = append(t.Counts, sentence(c.head))
	}
	for _, row := range rows {
		var cells pageRow
		for i := range s.texts {
			cells.Texts = append(cells.Texts, orDash(printable(row.texts[i])))
		}
		for i := range s.counts {
			cells.Counts = append(cells.Counts, row.count(s, i))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// sentence gives a column's head as people write it.
func sentence(head string) string {
	first, rest := head[:1], head[1:]
	return first + strings.ToLower(rest)
}
