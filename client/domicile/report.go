package main

import (
	"io"
	"maps"
	"slices"
	"time"
)

type auditReport struct {
	File string `arg:"" optional:"" default:"-" help:"The file to write, which must not exist (default the standard output)."`

	Log        []string `sep:"none" placeholder:"DIR|URL" help:"A log to report on: a folder, as audit export writes it, or a URL under which one is served. Repeat it for more clusters and regions."`
	Region     []string `sep:"none" placeholder:"REGION" help:"Instead of --log, a region whose log the gateway is asked for. Repeat it for more."`
	Cluster    string   `placeholder:"CLUSTER" help:"With --region, the storage cluster (default the region's only one)."`
	Key        []string `sep:"none" placeholder:"KEY|@FILE" help:"A log's public key, ORIGIN+HASH+BASE64, or a file that holds it. Repeat it for more logs, and for the keys before one, by which earlier checkpoints were signed: a log's own key comes first. With --region it may be left out: then the key is the gateway's own word."`
	Checkpoint []string `sep:"none" placeholder:"FILE" help:"An earlier checkpoint that its log must contain. Repeat it for more."`
	Witness    []string `sep:"none" placeholder:"KEY|@FILE" help:"A witness that must have cosigned every log, NAME+HASH+BASE64. Repeat it for more."`

	periodFlags

	Format  string `enum:"table,csv,html" default:"table" placeholder:"FORMAT" help:"table, csv: one flat file, or html: one page with everything in it, for a browser or paper. With -o json, JSON."`
	Stamped bool   `help:"Say in the report when it was made. Without, the same log gives the same bytes."`
}

// report is what is reported, in whatever format.
type report struct {
	Generator string
	Made      string // when; "" = it is not said
	By        string
	Bases     []*reportBase
	Spans     []span

	parts []map[string]*reportPart
}

// Run verifies the logs and reports what their entries say. It writes nothing about a log that does not verify.
func (c *auditReport) Run(a *app) error {
	if err := c.check(a); err != nil {
		return err
	}
	now := time.Now()
	spans, err := c.spans(now)
	if err != nil {
		return err
	}
	trust, err := c.trust()
	if err != nil {
		return err
	}
	count := newReportCounter(spans)
	bases, err := c.readAll(a, trust, count)
	if err != nil {
		return err
	}
	r := &report{Generator: "domicile " + version, By: c.By, Bases: bases, Spans: spans, parts: count.parts}
	if c.Stamped {
		r.Made = now.UTC().Format(time.RFC3339)
	}
	return a.writeFile(c.File, func(w io.Writer) error {
		switch {
		case a.flags.Output == "json":
			return r.writeJSON(w)
		case c.Format == "csv":
			return r.writeCSV(w)
		case c.Format == "html":
			return r.writePage(w)
		}
		return r.writeTables(w)
	})
}

func (c *auditReport) check(a *app) error {
	switch {
	case len(c.Log) == 0 && len(c.Region) == 0:
		return usagef("nothing to report on: give --log and --key, or --region")
	case len(c.Log) > 0 && len(c.Region) > 0:
		return usagef("give --log or --region: exported logs, or those that a gateway is asked for")
	case len(c.Log) > 0 && len(c.Key) == 0:
		return usagef("--key is missing: an exported log is believed by its public key alone")
	case c.Cluster != "" && len(c.Region) != 1:
		return usagef("--cluster goes with one --region")
	case a.flags.Output == "json" && c.Format != "table":
		return usagef("give --format or -o json, not both")
	}
	return nil
}

// whole gives the period of all spans.
func (r *report) whole() span { return span{r.Spans[0].from, r.Spans[len(r.Spans)-1].to} }

// regions gives the parts of a span, by region.
func (r *report) regions(at int) []*reportPart {
	var out []*reportPart
	for _, name := range slices.Sorted(maps.Keys(r.parts[at])) {
		out = append(out, r.parts[at][name])
	}
	return out
}

// complete reports whether all that a region did in a span is in its logs: none of it was dropped or withheld, and the span
// was over before their newest entries.
func (r *report) complete(at int, region string) bool {
	return r.kept(at, region) && !r.reaches(region).Before(r.Spans[at].to)
}

// kept reports whether a region's logs still have all that they had of a span.
func (r *report) kept(at int, region string) bool {
	return !slices.ContainsFunc(r.Bases, func(b *reportBase) bool { return b.Region == region && !b.kept(r.Spans[at]) })
}

// reaches gives the time until when all of a region's logs have everything.
func (r *report) reaches(region string) (until time.Time) {
	first := true
	for _, b := range r.Bases {
		if b.Region == region && (first || b.reaches().Before(until)) {
			first, until = false, b.reaches()
		}
	}
	return until
}

// reachesText is that time as programs read it; "" when there is none.
func (r *report) reachesText(region string) string {
	if until := r.reaches(region); !until.IsZero() {
		return until.Format(time.RFC3339)
	}
	return ""
}

// unfounded reports whether anything crossed a border with nothing in the log that permits it.
func (p *reportPart) unfounded() uint64 { return p.totals().counts[totalWithoutBasis] }

// totals gives the row of totals, all zero when there were no entries.
func (p *reportPart) totals() *reportRow {
	if rows := p.sorted(inTotals); len(rows) > 0 {
		return rows[0]
	}
	return &reportRow{counts: make([]uint64, len(reportSections[inTotals].counts))}
}
