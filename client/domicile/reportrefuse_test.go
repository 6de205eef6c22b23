package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// refusedReport runs a report that must fail, and gives what it says.
func refusedReport(t *testing.T, code int, args ...string) string {
	t.Helper()
	out, errs, got := try(t, append([]string{"audit", "report"}, args...)...)
	if got != code || out != "" {
		t.Errorf("exit code %d, want %d\n%s%s", got, code, out, errs)
	}
	return errs
}

// There is no report on a log that does not verify: not the beginning of one, nor a file.
func TestReportRefusesWhatDoesNotVerify(t *testing.T) {
	w := newReportWorld("ch", "CH")
	w.live(600)
	l := writeLog(t, "domicile.test/ch/ch-1", w.entries)
	bundle := filepath.Join(l.dir, "tile", "entries", "001")
	b, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b[5000] ^= 1
	if err := os.WriteFile(bundle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report")
	if errs := refusedReport(t, exitError, l.args("--month", "2026-11", file)...); !strings.Contains(errs, "is not verified") || !strings.Contains(errs, "edited at place") {
		t.Error(errs)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a report was written: %v", err)
	}
}

// What is given beside the logs has to fit them.
func TestReportRefusesWhatDoesNotBelong(t *testing.T) {
	l, w := smallReport(t)
	other := writeLog(t, "domicile.test/us/us-1", w.entries)
	dir := t.TempDir()
	earlier, fork, strange := filepath.Join(dir, "earlier"), filepath.Join(dir, "fork"), filepath.Join(dir, "strange")
	writeTestFile(t, earlier, l.checkpointOf(t, "domicile.test/ch/ch-1", w.entries[:20]))
	writeTestFile(t, fork, l.checkpointOf(t, "domicile.test/ch/ch-1", w.entries[1:20]))
	writeTestFile(t, strange, l.checkpointOf(t, "domicile.test/us/us-1", w.entries[:20]))
	for _, c := range []struct {
		name string
		code int
		args []string
		says string
	}{
		{"no log", exitUsage, nil, "--log and --key, or --region"},
		{"no key", exitUsage, []string{"--log", l.dir}, "--key is missing"},
		{"another's key", exitUsage, []string{"--log", l.dir, "--key", other.key}, "none is of the log"},
		{"half a key", exitUsage, []string{"--log", l.dir, "--key", l.key[:40]}, "--key"},
		{"a log twice", exitUsage, l.args("--log", l.dir), "counted twice"},
		{"a log and a region", exitUsage, l.args("--region", "ch"), "--log or --region"},
		{"a cluster of no region", exitUsage, l.args("--cluster", "ch-1"), "--cluster"},
		{"two formats", exitUsage, l.args("--format", "csv", "-o", "json"), "not both"},
		{"a fork", exitError, l.args("--checkpoint", fork), "forked"},
		{"another log's checkpoint", exitUsage, l.args("--checkpoint", strange), "not about"},
		{"no such folder", exitError, []string{"--log", dir + "/none", "--key", l.key}, "none"},
		{"a file that is there", exitError, l.args("--checkpoint", earlier, earlier), "exists"},
		{"two periods", exitUsage, l.args("--month", "2026-11", "--year", "2026"), "one way"},
		{"half a period", exitUsage, l.args("--from", "2026-11-01"), "go together"},
		{"a period that ends before it begins", exitUsage, l.args("--from", "2026-11-02", "--to", "2026-11-02"), "after"},
		{"a month that is none", exitUsage, l.args("--month", "2026-13"), "2026-11"},
		{"too many parts", exitUsage, l.args("--from", "2020-01-01", "--to", "2026-01-01", "--by", "day"), "1000 parts"},
	} {
		if errs := refusedReport(t, c.code, c.args...); !strings.Contains(errs, c.says) {
			t.Errorf("%s: want %q in\n%s", c.name, c.says, errs)
		}
	}
	if out := reported(t, l.args("--checkpoint", earlier, "--month", "2026-11")...); !strings.Contains(out, "consistent with earlier checkpoints of 20 entries") {
		t.Errorf("not compared:\n%s", out)
	}
}

// A log is read behind a URL too. When the report was made is said on request only.
func TestReportOverHTTP(t *testing.T) {
	l, _ := smallReport(t)
	server := httptest.NewServer(http.FileServer(http.Dir(l.dir)))
	defer server.Close()
	there := reported(t, "--log", server.URL, "--key", l.key, "--month", "2026-11")
	if here := reported(t, l.args("--month", "2026-11")...); there != here {
		t.Errorf("want\n%s\ngot\n%s", here, there)
	}
	stamped := reported(t, l.args("--month", "2026-11", "--stamped")...)
	if !strings.Contains(stamped, "\nmade "+time.Now().UTC().Format("2006-")) || strings.Contains(there, "\nmade ") {
		t.Errorf("made when:\n%s", stamped[:200])
	}
}

// A period in which nothing happened says so, in every format.
func TestReportOfAnEmptyPeriod(t *testing.T) {
	l, _ := smallReport(t)
	for _, flags := range [][]string{nil, {"--format", "html"}} {
		if out := reported(t, l.args(append(flags, "--year", "2025")...)...); !strings.Contains(out, noEntries) || strings.Contains(out, "Transfers") {
			t.Errorf("%s", out)
		}
	}
	r := parseReport(t, reported(t, l.args("--year", "2025", "-o", "json")...))
	if region := r.Periods[0].Regions[0]; region["region"] != "ch" || region["complete"] != true || len(sortedCounts(r.flat())) != 0 {
		t.Errorf("%v", region)
	}
	empty := writeLog(t, "domicile.test/ch/ch-1", nil)
	if out := reported(t, empty.args()...); !strings.Contains(out, noEntries) || !strings.Contains(out, "size          0 entries") {
		t.Errorf("%s", out)
	}
}

// Of entries that were dropped the report says that they are not in it, for the periods that they may be of.
func TestReportOnDroppedEntries(t *testing.T) {
	w := newReportWorld("ch", "CH")
	w.live(600)
	w.now = time.Date(2026, 11, 4, 0, 1, 1, 0, time.UTC) // by when all of the day before is in the log
	w.append(entryValues{3: idOf("last"), 4: uint64(1), 5: "/residency.v1.GatewayService/GetGateway", 12: uint64(1)})
	l := writeLog(t, "domicile.test/ch/ch-1", w.entries)
	if err := os.Remove(filepath.Join(l.dir, "tile", "entries", "000")); err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, reported(t, l.args("--from", "2026-11-02", "--to", "2026-11-05", "--by", "day", "-o", "json")...))
	if r.Logs[0].Dropped != 256 || r.Logs[0].Verified != uint64(len(w.entries)-256) {
		t.Errorf("%+v", r.Logs[0])
	}
	kept, err := proof.ParseEntry(w.entries[256])
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Periods {
		from, err := time.Parse(time.DateOnly, p.From)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Regions[0]["complete"], from.After(kept.Time) && p.From != "2026-11-04"; got != want {
			t.Errorf("%s: complete is %v, and the oldest entry is of %s", p.From, got, kept.Time)
		}
	}
	if r.Logs[0].Missing != "1 to 256 dropped or withheld, known by their hashes alone" {
		t.Errorf("missing: %q", r.Logs[0].Missing)
	}
	for _, format := range []string{"table", "csv", "html"} {
		out := reported(t, l.args("--month", "2026-11", "--format", format)...)
		if !strings.Contains(out, "1 to 256 dropped or withheld") || !strings.Contains(out, "dropped when their time was over, or withheld") {
			t.Errorf("%s does not say that entries may be withheld:\n%s", format, out)
		}
	}
	out := reported(t, l.args("--month", "2026-11")...)
	if !strings.Contains(out, "! Incomplete: ") || !strings.Contains(out, "1 to 256 dropped") {
		t.Errorf("%s", out)
	}
}

// A period is complete once an entry from after its end shows that it is over, in every log of the region; until then the report
// says until when it reaches.
func TestReportSaysUntilWhenItReaches(t *testing.T) {
	end := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	logUntil := func(cluster string, last time.Time) keyedLog {
		w := newReportWorld("ch", "CH")
		w.now = last.Add(-time.Nanosecond)
		e := entryValues{2: uint64(last.UnixNano()), 3: idOf(cluster), 4: uint64(1), 5: "/residency.v1.GatewayService/GetGateway", 7: "ch", 8: "gw-1", 12: uint64(1)}
		return writeLog(t, "domicile.test/ch/"+cluster, [][]byte{e.encode(1)})
	}
	before, after := logUntil("ch-1", end.Add(outOfOrder-time.Nanosecond)), logUntil("ch-2", end.Add(outOfOrder))
	empty := writeLog(t, "domicile.test/ch/ch-3", nil)
	for name, c := range map[string]struct {
		logs     []string
		complete bool
		reaches  string
		says     string
	}{
		"after the end":      {after.args(), true, "2026-11-03T00:00:00Z", ""},
		"just before":        {before.args(), false, "2026-11-02T23:59:59Z", "reaches until 2026-11-02T23:59:59Z"},
		"one of two, before": {after.args(before.args()...), false, "2026-11-02T23:59:59Z", "reaches until 2026-11-02T23:59:59Z"},
		"one of two, empty":  {after.args(empty.args()...), false, "", "without entries"},
	} {
		args := append(c.logs, "--from", "2026-11-02", "--to", "2026-11-03")
		r := parseReport(t, reported(t, append(args, "-o", "json")...))
		if region := r.Periods[0].Regions[0]; region["complete"] != c.complete || region["reaches"] != c.reaches {
			t.Errorf("%s: complete is %v, reaches until %v", name, region["complete"], region["reaches"])
		}
		for _, format := range []string{"table", "csv", "html"} {
			out := reported(t, append(args, "--format", format)...)
			if strings.Contains(out, "Incomplete: ") == c.complete || !strings.Contains(out, c.says) {
				t.Errorf("%s, %s: want %q\n%s", name, format, c.says, out)
			}
		}
	}
}

// What a report holds in memory is bounded, and what it leaves uncounted it says.
func TestReportIsBounded(t *testing.T) {
	c := newReportCounter([]span{{worldBegins.AddDate(0, 0, -1), worldBegins.AddDate(1, 0, 0)}})
	c.room = reportRoom{rows: 20, distinct: 3}
	w := newReportWorld("ch", "CH")
	entry := func(v entryValues) error {
		w.entries = nil
		w.call("RecordService/GetRecord", v.with(entryValues{23: uint64(2), 24: uint64(1)}))
		e, err := proof.ParseEntry(bytes.Clone(w.entries[0]))
		if err != nil {
			t.Fatal(err)
		}
		return c.entry(&e)
	}
	for n := range 5 {
		if err := entry(entryValues{9: idOf("tenant", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if totals := c.parts[0]["ch"].totals(); totals.count(&reportSections[inTotals], totalTenants) != "3+" {
		t.Errorf("%s tenants", totals.count(&reportSections[inTotals], totalTenants))
	}
	var err error
	for n := range 30 {
		if err = entry(denied(5, "clause "+string(rune('a'+n)))); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "choose a shorter period") {
		t.Errorf("%v", err)
	}
}
