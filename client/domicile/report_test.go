package main

import (
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

var updateReports = flag.Bool("update-reports", false, "rewrite testdata/report.*")

// reported runs a report that must succeed.
func reported(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := try(t, append([]string{"audit", "report"}, args...)...)
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	return out
}

func (l keyedLog) args(more ...string) []string {
	return append([]string{"--log", l.dir, "--key", l.key}, more...)
}

// jsonReport is what the test reads of a report in JSON.
type jsonReport struct {
	Logs    []reportBase `json:"logs"`
	Periods []struct {
		From    string           `json:"from"`
		To      string           `json:"to"`
		Regions []map[string]any `json:"regions"`
	} `json:"periods"`
}

func parseReport(t *testing.T, text string) (r jsonReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

// flat gives a report's counts as the reference has them.
func (r *jsonReport) flat() map[string]uint64 {
	out := map[string]uint64{}
	for _, p := range r.Periods {
		for _, region := range p.Regions {
			where := fmt.Sprintf("%s/%s|%s", p.From, p.To, region["region"])
			for i := range reportSections {
				s := &reportSections[i]
				rows, ok := region[s.name].([]any)
				if !ok {
					rows = []any{region[s.name]}
				}
				for _, row := range rows {
					s.flatten(out, where, row.(map[string]any))
				}
			}
		}
	}
	return out
}

func (s *reportSection) flatten(out map[string]uint64, where string, row map[string]any) {
	var texts []string
	for _, c := range s.texts {
		texts = append(texts, row[c.name].(string))
	}
	for _, c := range s.counts {
		out[strings.Join([]string{where, s.name, strings.Join(texts, "|"), c.name}, "|")] = uint64(row[c.name].(float64))
	}
}

// A report on two regions' logs of some thousand calls each says what was noted down when the calls were made, whichever of the formats that hold everything is read.
func TestReportCountsWhatHappened(t *testing.T) {
	var args []string
	want := map[string]uint64{}
	for region, home := range map[string]string{"ch": "CH", "us": "US"} {
		w := newReportWorld(region, home)
		w.live(3000)
		args = append(args, writeLog(t, "domicile.test/"+region+"/"+region+"-1", w.entries).args()...)
		for key, n := range w.want.counts {
			want[key] += n
		}
	}
	args = append(args, "--from", "2026-11-01", "--to", "2026-11-05", "--by", "day")
	got := parseReport(t, reported(t, append(args, "-o", "json")...))
	if len(got.Periods) != 4 || len(got.Logs) != 2 || got.Logs[0].Origin != "domicile.test/ch/ch-1" {
		t.Errorf("%d periods, %d logs", len(got.Periods), len(got.Logs))
	}
	diffCounts(t, "JSON", got.flat(), want)
	diffCounts(t, "CSV", flatCSV(t, reported(t, append(args, "--format", "csv")...)), want)
}

func diffCounts(t *testing.T, name string, got, want map[string]uint64) {
	t.Helper()
	g, w := sortedCounts(got), sortedCounts(want)
	if slices.Equal(g, w) {
		return
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			t.Errorf("%s: got %s", name, line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			t.Errorf("%s: want %s", name, line)
		}
	}
}

// flatCSV gives the counts of a flat file.
func flatCSV(t *testing.T, text string) map[string]uint64 {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, line := range lines[1:] {
		cells := map[string]string{}
		for i, name := range lines[0] {
			cells[name] = line[i]
		}
		for i := range reportSections {
			if s := &reportSections[i]; s.name == cells["section"] {
				var texts []string
				for _, c := range s.texts {
					texts = append(texts, cells[c.name])
				}
				for _, c := range s.counts {
					n, err := strconv.ParseUint(cells[c.name], 10, 64)
					if err != nil {
						t.Fatalf("%s of %s: %v", c.name, s.name, err)
					}
					out[strings.Join([]string{cells["period"], cells["region"], s.name, strings.Join(texts, "|"), c.name}, "|")] = n
				}
			}
		}
	}
	return out
}

// smallReport is a log of each kind of call once, and the flags that report on it.
func smallReport(t *testing.T) (l keyedLog, w *reportWorld) {
	t.Helper()
	w = newReportWorld("ch", "CH")
	w.live(len(worldCalls))
	return writeLog(t, "domicile.test/ch/ch-1", w.entries), w
}

// The bytes of every format are the same for the same log.
func TestReportFormats(t *testing.T) {
	l, _ := smallReport(t)
	period := []string{"--from", "2026-11-02", "--to", "2026-11-04"}
	for name, flags := range map[string][]string{
		"report.txt": nil, "report.json": {"-o", "json"}, "report.csv": {"--format", "csv"}, "report.html": {"--format", "html"},
	} {
		got := strings.ReplaceAll(reported(t, l.args(append(period, flags...)...)...), "\r\n", "\n") // as files are kept in the repository
		golden := filepath.Join("testdata", name)
		if *updateReports {
			writeTestFile(t, golden, []byte(got))
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not as before; go test -update-reports writes it anew:\n%s", golden, got)
		}
	}
}

func TestReportTablesFitTheTerminal(t *testing.T) {
	l, _ := smallReport(t)
	for line := range strings.SplitSeq(reported(t, l.args("--month", "2026-11")...), "\n") {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// Nothing in the page is fetched from elsewhere or runs, and its tables can be read out.
func TestReportPageStandsAlone(t *testing.T) {
	l, _ := smallReport(t)
	page := reported(t, l.args("--month", "2026-11", "--format", "html")...)
	external := regexp.MustCompile(`(?i)<(script|link|iframe|img|object|embed|base|form)\b|\b(src|href|action|srcset|on[a-z]+)\s*=|url\(|@import|https?:|javascript:`)
	if found := external.FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	tables := strings.Count(page, "<table>")
	if tables < 10 || strings.Count(page, "<caption>") != tables || strings.Count(page, `<thead><tr><th scope="col">`) != tables {
		t.Errorf("%d tables, %d captions", tables, strings.Count(page, "<caption>"))
	}
	for _, want := range []string{`<html lang="en">`, "<main>", "@page { size: A4", "domicile.test/ch/ch-1", l.key[len(l.key)-30:], "domicile devel"} {
		if !strings.Contains(page, strings.ReplaceAll(want, "+", "&#43;")) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// What an entry says is shown as text, whatever it is.
func TestReportsTakeTextsAsTexts(t *testing.T) {
	w := newReportWorld("ch", "CH")
	for _, clause := range []string{"<script>alert(1)</script>", `=HYPERLINK("x")`, "+1", "-1", "@SUM(A1)", "\tx", "a,\"b\"\r\nc", "\x1b[31mred"} {
		w.call("RecordService/GetRecord", denied(5, clause).with(entryValues{23: uint64(2), 24: uint64(1)}))
	}
	l := writeLog(t, "domicile.test/ch/ch-1", w.entries)
	if page := reported(t, l.args("--month", "2026-11", "--format", "html")...); strings.Contains(page, "<script") || !strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("a clause became part of the page:\n%s", page)
	}
	if table := reported(t, l.args("--month", "2026-11")...); strings.Contains(table, "\x1b") || !strings.Contains(table, `\x1b[31mred`) {
		t.Errorf("a clause reached the terminal as it is:\n%q", table)
	}
	file := reported(t, l.args("--month", "2026-11", "--format", "csv")...)
	lines, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, line := range lines {
		for _, cell := range line {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("a spreadsheet takes %q for a formula", cell)
			}
			if strings.HasPrefix(cell, "'") {
				found++
			}
		}
	}
	if found < 5 || !strings.Contains(file, "\r\n") {
		t.Errorf("%d cells are guarded", found)
	}
}

// Every method of the interface, and every value that entries can have, is one that the report knows.
func TestReportKnowsAllThatEntriesSay(t *testing.T) {
	methods := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("residency.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for k := range s.Methods().Len() {
				name := string(s.Name()) + "/" + string(s.Methods().Get(k).Name())
				if methods++; !classified(name, phaseDecided, "", "USE", "") {
					t.Errorf("%s is not in reportMethods: say there what a report makes of its entries", name)
				}
			}
		}
		return true
	})
	if methods < 60 {
		t.Errorf("only %d methods", methods)
	}
	for tag, known := range map[int]func(*proof.Entry) bool{
		4:  func(e *proof.Entry) bool { return slices.Contains(reportPhases, e.Phase) },
		29: func(e *proof.Entry) bool { return slices.Contains(reportEnds, e.End) },
		23: func(e *proof.Entry) bool { return slices.Contains(reportActions, e.Action) },
		24: func(e *proof.Entry) bool { return slices.Contains(reportClasses, e.DataClass) },
	} {
		n := uint64(1)
		for ; ; n++ {
			e, err := proof.ParseEntry(knownEntry(tag, n))
			if err != nil {
				break
			}
			if !known(&e) {
				t.Errorf("the report does not know value %d of field %d", n, tag)
			}
		}
		if n < 4 {
			t.Errorf("only %d values of field %d", n-1, tag)
		}
	}
	if classified("RecordService/Unheard", phaseDecided, "", "USE", "") || classified("RecordService/GetRecord", "UNHEARD", "", "USE", "") {
		t.Error("what nobody knows is classified")
	}
}

// knownEntry makes an entry with a value of one field. An end is that of a stream.
func knownEntry(tag int, n uint64) []byte {
	e := entryValues{2: uint64(1), 3: idOf(1), 4: uint64(1), 5: "/residency.v1.RecordService/GetRecord", 7: "ch"}
	switch {
	case tag == 4 && n == 3:
		e[29] = uint64(1)
	case tag == 29:
		e[4] = uint64(3)
	}
	e[tag] = n
	return e.encode(1)
}

// Every entry of the vectors is of a kind that the report knows, and is counted.
func TestReportClassifiesTheVectors(t *testing.T) {
	text, err := os.ReadFile("../../residency/audit/testdata/entries.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name    string `json:"name"`
		Encoded string `json:"encoded"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) < 10 {
		t.Fatalf("%v, %d vectors", err, len(vectors))
	}
	for _, v := range vectors {
		b, err := hex.DecodeString(v.Encoded)
		if err != nil {
			t.Fatal(err)
		}
		e, err := proof.ParseEntry(b)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		c := newReportCounter([]span{{time.Unix(0, 0), e.Time.Add(time.Hour)}})
		if err := c.entry(&e); err != nil {
			t.Fatal(err)
		}
		p := c.parts[0][e.Region]
		known := len(p.rows[inUnclassified]) == 0
		if strange := !strings.HasPrefix(e.Method, "/residency.v1."); known == strange || p.totals().counts[totalEntries] != 1 {
			t.Errorf("%s: method %q, classified: %v", v.Name, e.Method, known)
		}
	}
}
