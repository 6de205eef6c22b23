package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/embedded"
)

// forgetLog lets the witnesses of the regions that are served here sign a log anew that was set back rightly.
func forgetLog(ctx context.Context, f *flags, stdout io.Writer, log *slog.Logger) error {
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
		defer home.Close() //nolint:errcheck // it is a lock
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	known, err := witnessedLogs(ctx, s.cfg, f.Region, log)
	if err != nil {
		return err
	}
	if err := inFull(f.Origin, known); err != nil {
		return &usageError{err}
	}
	for _, w := range known {
		if w.Origin != f.Origin {
			continue
		}
		if err := w.forget(ctx, s.cfg, stdout, log); err != nil {
			return err
		}
	}
	return nil
}

// knownLog is a log that a region's witness knows.
type knownLog struct {
	gateway.WitnessedLog
	by string // the region
}

// witnessedLogs lists what the witnesses of one region, or of all that are served here, know.
func witnessedLogs(ctx context.Context, c *config.Config, only string, log *slog.Logger) (list []knownLog, err error) {
	for _, name := range regionNames(c) {
		if c.Regions[name].Peer != nil || only != "" && name != only {
			continue
		}
		s := &stores{log: log}
		opened, err := s.readRows(c.Regions[name].Clusters[0].Rows)
		var some []gateway.WitnessedLog
		if err == nil {
			some, err = gateway.WitnessedLogs(ctx, opened.Rows)
		}
		if err = errors.Join(err, s.close()); err != nil {
			return nil, fmt.Errorf("region %s: %w%s", name, err, whoHasIt(c.Regions[name].Clusters[0].Rows))
		}
		for _, w := range some {
			list = append(list, knownLog{w, name})
		}
	}
	return list, nil
}

// whoHasIt reminds of why a folder may not open.
func whoHasIt(rows string) string {
	if config.IsPostgres(rows) {
		return ""
	}
	return " (rows in a folder belong to one process: stop the gateway first)"
}

// inFull wants the whole name of a log that is known: what it leads to cannot be undone.
func inFull(origin string, known []knownLog) error {
	var names []string
	for _, w := range known {
		if w.Origin == origin {
			return nil
		}
		names = append(names, fmt.Sprintf("%s (by region %s)", w.Origin, w.by))
	}
	if len(names) == 0 {
		return errors.New("the witnesses here know no log yet: there is nothing to forget")
	}
	if origin == "" {
		return errors.New("want the log's origin in full, one of: " + strings.Join(names, ", "))
	}
	return errors.New("the witnesses here know no log of that name; they know: " + strings.Join(names, ", "))
}

// forget lets the witness forget the log, and says what it knew.
func (w knownLog) forget(ctx context.Context, c *config.Config, stdout io.Writer, log *slog.Logger) (err error) {
	r := c.Regions[w.by]
	s := &stores{log: log, metrics: newStoreMetrics(prometheus.NewRegistry())}
	defer func() { err = errors.Join(err, s.close()) }()
	opened, err := s.openRows(w.by, r.Clusters[0].Rows, log)
	if err != nil {
		return fmt.Errorf("region %s: %w%s", w.by, err, whoHasIt(r.Clusters[0].Rows))
	}
	was, err := gateway.ForgetLog(ctx, opened.Rows, w.Of, w.Origin)
	if err != nil {
		return fmt.Errorf("region %s: %w", w.by, err)
	}
	log.Warn("a witness was made to forget an audit log: it signs the next checkpoint, whatever that holds", "witness_region", w.by, "region", string(was.Of),
		"log", was.Origin, "size", was.Size, "root", was.Root.String(), "signed", was.Signed, "contradicted", was.Conflict != nil)
	_, err = io.WriteString(stdout, forgottenText(was, w.by, r.WitnessName(w.by), r.Clusters[0].Name))
	return err
}

// forgottenText says what a witness knew, where that is kept, and whom to tell.
func forgottenText(was gateway.WitnessedLog, by, witness, cluster string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log        %s\nwitness    %s\nsize       %d\nroot       %s\nsigned     %s\n", was.Origin, witness, was.Size, was.Root, was.Signed.UTC().Format(time.RFC3339))
	if was.Conflict != nil {
		fmt.Fprintf(&b, "contradicted by a checkpoint that was shown %s\n", was.ConflictAt.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, `
The witness signs the next checkpoint of this log under the key that it knows, whatever it holds, and from then on what is consistent with that.
What it knew is kept for good, as a row of kind %d in region %s, cluster %s. Next:
  1. Keep what stands below, and the gateway's line of the log that says that the log is cosigned anew.
  2. Tell whoever verifies this log: that it was restored, from what moment, that the witness was made to forget it and when, and the size
     and root above. What they have kept of later than that moment does not fit the log any more, and proves what was there until then.
  3. Do the same at the log's other witnesses.

The checkpoint that was signed last:

%s`, store.KindForgotten, by, cluster, was.Checkpoint)
	if was.Conflict != nil {
		fmt.Fprintf(&b, "\nThe checkpoint that contradicted it:\n\n%s", was.Conflict)
	}
	return b.String()
}
