package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reportFormat names the layout of a report in JSON.
const reportFormat = "domicile.audit-report/1"

// object is a JSON object whose members have an order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// writeJSON writes the report for programs.
func (r *report) writeJSON(w io.Writer) error {
	whole := r.whole()
	out := object{{"format", reportFormat}, {"generator", r.Generator}}
	if r.Made != "" {
		out = append(out, member{"made", r.Made})
	}
	var periods []object
	for at, s := range r.Spans {
		regions := []object{}
		for _, p := range r.regions(at) {
			regions = append(regions, r.regionJSON(at, p))
		}
		periods = append(periods, object{{"from", s.from.Format(time.DateOnly)}, {"to", s.to.Format(time.DateOnly)}, {"regions", regions}})
	}
	out = append(out,
		member{"from", whole.from.Format(time.DateOnly)}, member{"to", whole.to.Format(time.DateOnly)}, member{"by", r.By},
		member{"logs", r.Bases}, member{"periods", periods})
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func (r *report) regionJSON(at int, p *reportPart) object {
	out := object{
		{"region", p.region}, {"complete", r.complete(at, p.region)}, {"reaches", r.reachesText(p.region)}, {"incomplete", append([]string{}, r.incomplete(at, p.region)...)},
		{reportSections[inTotals].name, rowJSONOf(&reportSections[inTotals], p.totals())},
	}
	for i := inTotals + 1; i < numSections; i++ {
		s := &reportSections[i]
		rows := []object{}
		for _, row := range p.sorted(i) {
			rows = append(rows, rowJSONOf(s, row))
		}
		out = append(out, member{s.name, rows})
	}
	return out
}

func rowJSONOf(s *reportSection, row *reportRow) object {
	var out object
	for i, c := range s.texts {
		out = append(out, member{c.name, row.texts[i]})
	}
	for i, c := range s.counts {
		out = append(out, member{c.name, row.counts[i]})
		if c.distinct {
			out = append(out, member{atLeast(c), row.more})
		}
	}
	return out
}

// atLeast names the column that says that there are more of something than were counted.
func atLeast(c reportColumn) string { return c.name + "_at_least" }

// The columns of the flat file that are not a section's.
var (
	csvFirst = []string{"section", "period", "region", "complete"}
	csvBase  = []string{
		"generator", "made", "origin", "size", "root", "witness", "key", "key_source", "entries_verified", "entries_dropped",
		"first_entry", "last_entry", "consistent_with", "caveat", "entries_missing", "reaches", "incomplete",
	}
)

// csvColumns are all columns of the flat file: those of all sections, each name once.
func csvColumns() []string {
	out := slices.Concat(csvFirst, csvBase)
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for i := range reportSections {
		for _, c := range reportSections[i].texts {
			add(c.name)
		}
		for _, c := range reportSections[i].counts {
			add(c.name)
			if c.distinct {
				add(atLeast(c))
			}
		}
	}
	return out
}

// csvFile writes rows of named cells as RFC 4180 has them.
type csvFile struct {
	*csv.Writer
	columns []string
}

func (f *csvFile) row(cells map[string]string) error {
	out := make([]string, len(f.columns))
	for i, name := range f.columns {
		out[i] = guarded(cells[name])
	}
	return f.Write(out)
}

// guarded keeps a spreadsheet from taking a text for a formula.
func guarded(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// writeCSV writes the report as one flat file: what it rests on, then a line for each row of each section.
func (r *report) writeCSV(w io.Writer) error {
	f := &csvFile{csv.NewWriter(w), csvColumns()}
	f.UseCRLF = true
	if err := f.Write(f.columns); err != nil {
		return err
	}
	for _, b := range r.Bases {
		if err := f.row(r.baseCSV(b)); err != nil {
			return err
		}
	}
	for at := range r.Spans {
		for _, p := range r.regions(at) {
			if err := r.partCSV(f, at, p); err != nil {
				return err
			}
		}
	}
	f.Flush()
	return f.Error()
}

func (r *report) baseCSV(b *reportBase) map[string]string {
	sizes := make([]string, len(b.Compared))
	for i, n := range b.Compared {
		sizes[i] = strconv.FormatUint(n, 10)
	}
	return map[string]string{
		"section": "log", "period": r.whole().String(), "region": b.Region, "generator": r.Generator, "made": r.Made,
		"origin": b.Origin, "size": strconv.FormatUint(b.Size, 10), "root": b.Root, "witness": strings.Join(b.Witness, "; "),
		"key": b.Key, "key_source": b.KeySource, "entries_verified": strconv.FormatUint(b.Verified, 10),
		"entries_dropped": strconv.FormatUint(b.Dropped, 10), "first_entry": b.First, "last_entry": b.Last,
		"consistent_with": strings.Join(sizes, " "), "caveat": b.Caveat, "entries_missing": b.Missing,
	}
}

func (r *report) partCSV(f *csvFile, at int, p *reportPart) error {
	for i := range reportSections {
		rows := p.sorted(i)
		if i == inTotals {
			rows = []*reportRow{p.totals()}
		}
		for _, row := range rows {
			s := &reportSections[i]
			cells := map[string]string{
				"section": s.name, "period": r.Spans[at].String(), "region": p.region, "complete": yesText(r.complete(at, p.region)),
			}
			if i == inTotals { // once is enough
				cells["reaches"], cells["incomplete"] = r.reachesText(p.region), strings.Join(r.incomplete(at, p.region), " ")
			}
			for k, c := range s.texts {
				cells[c.name] = row.texts[k]
			}
			for k, c := range s.counts {
				cells[c.name] = strconv.FormatUint(row.counts[k], 10)
				if c.distinct {
					cells[atLeast(c)] = yesText(row.more)
				}
			}
			if err := f.row(cells); err != nil {
				return err
			}
		}
	}
	return nil
}
