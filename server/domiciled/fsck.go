package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/embedded"
)

// fsck checks the stores against each other and says what is wrong with them. It returns an error when something is
// damaged, or the check did not come to its end.
func fsck(ctx context.Context, f *flags, stdout io.Writer, log *slog.Logger) (err error) {
	s, err := configure(f, false)
	if err != nil {
		return err
	}
	if f.Region != "" {
		if _, _, err := servedRegion(s.cfg, f.Region); err != nil {
			return &usageError{err}
		}
	}
	if f.Config == "" {
		home, err := embedded.Inspect(f.Data)
		if err != nil {
			return err
		}
		defer home.Close() //nolint:errcheck // nothing was written
	}
	opened, err := readStores(s.cfg, f.Region, log)
	if err != nil {
		return fmt.Errorf("%w%s", err, whoElse(s.cfg))
	}
	defer func() { _ = opened.close() }() // nothing was written
	g, err := gateway.New(gateway.Config{
		Name: s.cfg.Gateway.Name, Regions: opened.regions, Directory: opened.directory, DirectoryKey: opened.directoryKey, Log: log,
	})
	if err != nil {
		return err
	}
	out := newFindings(f.Output, stdout)
	checked, err := g.Fsck(ctx, gateway.FsckOptions{
		Region: residency.Region(f.Region), Deep: f.Deep, Settle: settleOf(s.cfg), Progress: tellProgress(log),
	}, out.take)
	if err != nil {
		return fmt.Errorf("the check did not come to its end: %w", err)
	}
	if err := out.end(checked); err != nil {
		return err
	}
	if checked.Damage > 0 {
		return fmt.Errorf("fsck: %d findings of damage", checked.Damage)
	}
	return nil
}

// alone reports whether the stores are all this machine's folders, which no gateway uses while they are open here.
func alone(c *config.Config) bool {
	shared := config.IsPostgres(c.Directory)
	for _, r := range c.Regions {
		shared = shared || r.KeyStore != ""
		for _, cl := range r.Clusters {
			shared = shared || config.IsPostgres(cl.Rows) || config.IsS3(cl.Blobs)
		}
	}
	return !shared
}

// settleOf is how long what looks wrong is left alone.
func settleOf(c *config.Config) time.Duration {
	if alone(c) {
		return 0
	}
	return fsckSettle
}

// whoElse reminds of why a folder may not open.
func whoElse(c *config.Config) string {
	if alone(c) {
		return " (stores in folders are checked while no gateway uses them: stop it first)"
	}
	return ""
}

// progressEvery is how often lines about progress are written at the most.
const progressEvery = 5 * time.Second

// tellProgress says now and then how far the check is.
func tellProgress(log *slog.Logger) func(gateway.FsckProgress) {
	var said time.Time
	return func(p gateway.FsckProgress) {
		if time.Since(said) < progressEvery {
			return
		}
		said = time.Now()
		log.Info("checking", "region", string(p.Region), "cluster", p.Cluster, "phase", p.Phase, "done", p.Done)
	}
}

// shown is how many findings of one code are shown to people.
const shown = 20

// findings writes findings: each at once as a line of JSON, or grouped for people in the end.
type findings struct {
	w     io.Writer
	json  *json.Encoder // nil = for people
	err   error
	some  map[gateway.FsckCode][]gateway.Finding // the first of each code
	count map[gateway.FsckCode]int
}

func newFindings(form string, w io.Writer) *findings {
	o := &findings{w: w, some: make(map[gateway.FsckCode][]gateway.Finding), count: make(map[gateway.FsckCode]int)}
	if form == "json" {
		o.json = json.NewEncoder(w)
		o.json.SetEscapeHTML(false)
	}
	return o
}

// findingLine is a finding as scripts read it.
type findingLine struct {
	Code     gateway.FsckCode `json:"code"`
	Severity string           `json:"severity"`
	Region   residency.Region `json:"region"`
	Cluster  string           `json:"cluster,omitempty"`
	What     string           `json:"what"`
	Detail   string           `json:"detail"`
	Do       string           `json:"do"`
}

// summaryLine is the last line that scripts read.
type summaryLine struct {
	Summary    bool   `json:"summary"`
	Damage     uint64 `json:"damage"`
	Leftovers  uint64 `json:"leftovers"`
	Entries    uint64 `json:"entries"`
	Placements uint64 `json:"placements"`
	Tenants    uint64 `json:"tenants"`
	Rows       uint64 `json:"rows"`
	Blobs      uint64 `json:"blobs"`
	Keys       uint64 `json:"keys"`
	Tasks      uint64 `json:"tasks"`
}

// take is told of a finding.
func (o *findings) take(f gateway.Finding) {
	if o.json == nil {
		if o.count[f.Code]++; o.count[f.Code] <= shown {
			o.some[f.Code] = append(o.some[f.Code], f)
		}
		return
	}
	if o.err == nil {
		o.err = o.json.Encode(findingLine{f.Code, f.Code.Severity().String(), f.Region, f.Cluster, f.What, f.Detail, f.Code.Do()})
	}
}

// end writes what the check came to.
func (o *findings) end(c gateway.FsckChecked) error {
	switch {
	case o.err != nil:
		return o.err
	case o.json != nil:
		return o.json.Encode(summaryLine{true, c.Damage, c.Leftovers, c.Entries, c.Placements, c.Tenants, c.Rows, c.Blobs, c.Keys, c.Tasks})
	}
	for _, severity := range []gateway.Severity{gateway.Damage, gateway.Leftover} {
		for _, code := range slices.Sorted(maps.Keys(o.some)) {
			if code.Severity() == severity {
				o.group(code)
			}
		}
	}
	verdict := "all is well"
	switch {
	case c.Damage > 0:
		verdict = fmt.Sprintf("%d findings of damage, %d leftovers", c.Damage, c.Leftovers)
	case c.Leftovers > 0:
		verdict = fmt.Sprintf("nothing is damaged; %d leftovers, which harm nothing", c.Leftovers)
	}
	o.printf("%s: %d entries, %d placements, %d tenants, %d rows, %d blobs, %d keys, %d tasks were checked\n",
		verdict, c.Entries, c.Placements, c.Tenants, c.Rows, c.Blobs, c.Keys, c.Tasks)
	return o.err
}

// group writes the findings of one code.
func (o *findings) group(code gateway.FsckCode) {
	o.printf("%s (%s): %d\n", code, code.Severity(), o.count[code])
	for _, f := range o.some[code] {
		where := string(f.Region)
		if f.Cluster != "" {
			where += "/" + f.Cluster
		}
		o.printf("  %s: %s: %s\n", where, f.What, f.Detail)
	}
	if more := o.count[code] - len(o.some[code]); more > 0 {
		o.printf("  and %d more; -o json lists all\n", more)
	}
	o.printf("  what to do: %s\n\n", code.Do())
}

func (o *findings) printf(format string, args ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, format, args...)
	}
}
