package main

import (
	"cmp"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type usageCommands struct {
	Get    usageGet    `cmd:"" help:"Show how much was transmitted, by day, class of data and direction."`
	Verify usageVerify `cmd:"" help:"Compare what is billed with what the audit log says, to the byte."`
}

// usageArgs say whose totals, and of which days.
type usageArgs struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	From     string `placeholder:"DATE" help:"The first day, YEAR-MONTH-DAY in UTC (default the first of this month)."`
	To       string `placeholder:"DATE" help:"The day after the last (default tomorrow)."`
}

// ask gets the totals.
func (c *usageArgs) ask(a *app, g *client.Client) (*residencyv1.GetUsageResponse, error) {
	from, err := date("--from", c.From)
	if err != nil {
		return nil, err
	}
	to, err := date("--to", c.To)
	if err != nil {
		return nil, err
	}
	r, err := g.Usage.GetUsage(a.ctx, &residencyv1.GetUsageRequest{TenantId: c.TenantID, StartDate: from, EndDate: to}, a.decided())
	if err != nil {
		return nil, a.about(err, c.TenantID, "")
	}
	return r, nil
}

type usageGet struct{ usageArgs }

// Run shows the totals, and what they come to.
func (c *usageGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := c.ask(a, g)
		if err != nil {
			return err
		}
		if a.flags.Output == "json" {
			return a.json(r)
		}
		if err := a.usageTable(r.GetTotals()); err != nil {
			return err
		}
		return a.note(countedText(r))
	})
}

func (a *app) usageTable(totals []*residencyv1.UsageTotal) error {
	if len(totals) == 0 {
		return nil // the note says which days were looked at
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	writeRow(w, []string{"DAY", "CLASS", "DIRECTION", "BYTES", "CALLS"})
	sums := map[usageKey]*usageSum{}
	for _, t := range totals {
		k := usageKey{class: t.GetDataClass(), direction: t.GetDirection()}
		if sums[k] == nil {
			sums[k] = &usageSum{}
		}
		sums[k].bytes += t.GetBytes()
		sums[k].calls += t.GetCalls()
		writeRow(w, []string{dateText(t.GetDate()), enumText(t.GetDataClass()), enumText(t.GetDirection()), numberText(t.GetBytes()), numberText(t.GetCalls())})
	}
	for _, k := range sortedKeys(sums) {
		writeRow(w, []string{"total", enumText(k.class), enumText(k.direction), numberText(sums[k].bytes), numberText(sums[k].calls)})
	}
	return w.Flush()
}

// countedText says of which days the totals are, and how far the log is counted.
func countedText(r *residencyv1.GetUsageResponse) string {
	text := fmt.Sprintf("from %s and before %s", dateText(r.GetStartDate()), dateText(r.GetEndDate()))
	if len(r.GetTotals()) == 0 {
		text = "nothing was transmitted " + text
	}
	text += fmt.Sprintf("; counted up to place %d of the log %s/%s, %d waiting", r.GetThroughPlace(), r.GetRegion(), r.GetCluster(), r.GetPending())
	if from := r.GetCountedFromPlace(); from > 1 {
		text += fmt.Sprintf("; entries before place %d were gone when counting began", from)
	}
	return text
}

// usageKey is what a total is of. Without a day it is of all of them.
type usageKey struct {
	day       string
	class     residencyv1.DataClass
	direction residencyv1.TransferDirection
}

// usageSum is how much.
type usageSum struct{ bytes, calls int64 }

func sortedKeys[V any](m map[usageKey]V) []usageKey {
	keys := make([]usageKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b usageKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.class, b.class), cmp.Compare(a.direction, b.direction))
	})
	return keys
}

func dateText(d *residencyv1.Date) string {
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}

// beginning is when a day begins.
func beginning(d *residencyv1.Date) time.Time {
	return time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC)
}
