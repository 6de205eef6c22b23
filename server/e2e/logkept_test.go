package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// verify exports the log and holds it, without asking a gateway any more, against all that was kept.
func (l *keptLog) verify(t *testing.T, d *daemon, kills int) {
	t.Helper()
	x := exportLog(t, d, "ch")
	var earlier []proof.Checkpoint
	for text := range l.checkpoints {
		earlier = append(earlier, x.checkpoint(t, []byte(text)))
	}
	for _, r := range x.receipts(t, l.receipts) {
		earlier = append(earlier, r.Checkpoint)
	}
	report := x.verify(t, earlier)
	told, repeated := x.told(t, l.acknowledged)
	if len(earlier) < kills/2 || len(l.receipts) < kills/2 || told == 0 {
		t.Errorf("%d checkpoints, %d receipts and %d acknowledged decisions are too few to show anything", len(earlier), len(l.receipts), told)
	}
	if l.pending == 0 && kills >= 50 { // in a few cycles the looks may all fall between
		t.Error("no entry was ever seen to wait, so that none waits shows nothing")
	}
	t.Logf("%d kills of who kept the log: %d entries, of which %d acknowledged to %d callers, each once and in its caller's order, %d twice; %d checkpoints in %d looks and %d receipts agree with the log; at most %.0f entries were seen to wait, then 0",
		kills, report.Verified, told, len(l.acknowledged), repeated, len(l.checkpoints), l.looks, len(l.receipts), l.pending)
}

// exported is a log as an auditor has it.
type exported struct {
	folder  string
	key     proof.Key
	raw     [][]byte // its entries, in order
	entries []proof.Entry
}

// exportLog takes a region's log into a folder, through the gateway, once a checkpoint holds all that is in it.
func exportLog(t *testing.T, d *daemon, region string) *exported {
	t.Helper()
	c := d.dialOnce(t, "admin-"+region)
	defer c.Close()
	var signed *residencyv1.GetCheckpointResponse
	eventually(t, "a checkpoint of all", func() (whole bool) {
		var err error
		signed, err = c.Audit.GetCheckpoint(t.Context(), &residencyv1.GetCheckpointRequest{Region: region})
		return err == nil && signed.Pending == 0
	})
	x := &exported{folder: t.TempDir()}
	var err error
	if x.key, err = proof.ParseKey(signed.VerifierKey); err != nil {
		t.Fatal(err)
	}
	err = c.ExportLog(t.Context(), &residencyv1.ExportLogRequest{Region: region}, func(path string, data []byte) error {
		file := filepath.Join(x.folder, filepath.FromSlash(path))
		if strings.HasPrefix(path, "tile/entries/") { // which come in their order
			x.bundle(t, data)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// bundle reads a bundle's entries (residency/audit/LOG.md).
func (x *exported) bundle(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		e, err := proof.ParseEntry(b[2:n])
		if err != nil {
			t.Fatal(err)
		}
		x.raw, x.entries, b = append(x.raw, b[2:n]), append(x.entries, e), b[n:]
	}
}

func (x *exported) checkpoint(t *testing.T, text []byte) proof.Checkpoint {
	t.Helper()
	c, err := x.key.OpenCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify verifies the log from its entries up, and that it continues what was kept earlier.
func (x *exported) verify(t *testing.T, earlier []proof.Checkpoint) proof.Report {
	t.Helper()
	report, err := proof.VerifyLog(t.Context(), proof.Dir(os.DirFS(x.folder)), x.key, proof.Options{Remembered: earlier})
	if err != nil {
		t.Fatal(err)
	}
	if report.Verified == 0 || report.Verified != uint64(len(x.entries)) || report.Caveat() != "" {
		t.Errorf("of %d entries %d were verified; %s", len(x.entries), report.Verified, report.Caveat())
	}
	return report
}

// receipts verifies receipts, whose entries must be the log's.
func (x *exported) receipts(t *testing.T, files [][]byte) (all []proof.Receipt) {
	t.Helper()
	for _, file := range files {
		list, err := x.key.VerifyReceipts(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.Index >= uint64(len(x.raw)) || !bytes.Equal(x.raw[r.Index], r.Encoded) {
				t.Errorf("the receipt of place %d is of another entry than the log has there", r.Index+1)
			}
		}
		all = append(all, list...)
	}
	return all
}

// told holds the log against what callers were told: each decision has one entry, and a caller's come in their order. It gives
// how many there were, and how many of the log's decisions have an entry twice that should have one.
func (x *exported) told(t *testing.T, callers map[string][]string) (n, repeated int) {
	t.Helper()
	places := make(map[string][]uint64)
	for _, e := range x.entries {
		if e.Phase == "DECIDED" {
			places[e.DecisionID] = append(places[e.DecisionID], e.Place)
		}
	}
	for decision, at := range places {
		if len(at) != 1 {
			t.Errorf("decision %s is at the places %d", decision, at)
			repeated++
		}
	}
	for caller, decisions := range callers {
		n += len(decisions)
		var order []uint64
		for _, decision := range decisions {
			if len(places[decision]) == 0 {
				t.Errorf("caller %s was told of decision %s, which is not in the log", caller, decision)
			}
			order = append(order, places[decision]...)
		}
		if !slices.IsSorted(order) {
			t.Errorf("the decisions that caller %s was told one after another are at the places %d", caller, order)
		}
	}
	return n, repeated
}

// seriesIn reads a series' value out of a page of metrics.
func seriesIn(page io.Reader, series string) (float64, bool) {
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			return v, err == nil
		}
	}
	return 0, false
}
