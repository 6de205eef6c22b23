package e2e

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// logReport is what the test reads of `domicile audit report -o json`.
type logReport struct {
	Logs []struct {
		Origin     string   `json:"origin"`
		Key        string   `json:"key"`
		KeySource  string   `json:"key_source"`
		Caveat     string   `json:"caveat"`
		Consistent []uint64 `json:"consistent_with"`
	} `json:"logs"`
	Periods []struct {
		Regions []logReportPart `json:"regions"`
	} `json:"periods"`
}

type logReportPart struct {
	Totals      map[string]any   `json:"totals"`
	Transfers   []map[string]any `json:"transfers"`
	Disclosures []map[string]any `json:"disclosures"`
	Denials     []map[string]any `json:"denials"`
	Checks      []map[string]any `json:"checks"`
	Erasures    []map[string]any `json:"erasures"`
	Rights      []map[string]any `json:"rights"`
	Authorities []map[string]any `json:"authorities"`
	Streams     []map[string]any `json:"streams"`
	Unknown     []map[string]any `json:"unclassified"`
}

// sum adds a count up over the rows that have some texts.
func sum(rows []map[string]any, count string, texts ...string) (n int) {
	for _, row := range rows {
		matches := true
		for i := 0; i < len(texts); i += 2 {
			matches = matches && row[texts[i]] == texts[i+1]
		}
		if matches {
			n += int(row[count].(float64))
		}
	}
	return n
}

func parseLogReport(t *testing.T, text string) (r logReport, part logReportPart) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil || len(r.Logs) != 1 || len(r.Periods) != 1 || len(r.Periods[0].Regions) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	return r, r.Periods[0].Regions[0]
}

// A report on the log of a gateway that was used for a while says what was done, and what the gateway's own counters say: asked
// for online, and from what was exported, with the log's key alone.
func TestReportSaysWhatWasDone(t *testing.T) {
	t.Parallel()
	c := alone(t, filepath.Join(t.TempDir(), "data"), switzerland)
	c.d.must(t, "", "tour") // blocked reads, a consent, reads, a stream that is cut by its withdrawal, blocked reads
	c.hold("s", "r", payments)
	c.hold("other", "r", payments)
	c.authority("police", police)
	c.deny("no order", c.ordered("police", "", nil), "LEGAL_ORDER_REQUIRED", "legal-order")
	order := c.approved(c.order("s"))
	for range 2 {
		c.allow("under an order", c.ordered("police", order, nil), "legal-order")
	}
	if _, err := c.app.Transfers.CheckTransfer(t.Context(), &residencyv1.CheckTransferRequest{
		TenantId: c.tenant, ToRegion: "us", DataClass: personal, Purpose: payments, Object: &residencyv1.CheckTransferRequest_SubjectId{SubjectId: "other"},
	}); err != nil {
		t.Fatal(err)
	}
	c.untilDone(c.erase("other"))
	counters := scrape(t, c.d.admin)

	period := []string{"--from", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "--to", time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly), "-o", "json"}
	var r logReport
	var online logReportPart
	eventually(t, "a checkpoint holds the erasure's end", func() bool {
		out, _, code := c.d.domicile(t, "admin-ch", append([]string{"audit", "report", "--region", "ch"}, period...)...)
		if code != 0 {
			return false // nothing is signed yet
		}
		r, online = parseLogReport(t, out)
		return sum(online.Erasures, "done", "what", "subject") == 1
	})
	if log := r.Logs[0]; log.KeySource != "gateway" || !strings.Contains(log.Caveat, "with itself only") {
		t.Errorf("online it rests on %+v", log)
	}
	checkReport(t, &online, order)
	sameAsCounters(t, &online, counters)

	dir := t.TempDir()
	checkpoint, log := filepath.Join(dir, "checkpoint"), filepath.Join(dir, "log")
	c.d.must(t, "admin-ch", "audit", "checkpoint", "ch", checkpoint)
	c.d.must(t, "admin-ch", "audit", "export", "ch", log)
	out := c.d.must(t, "", append([]string{"audit", "report", "--log", log, "--key", r.Logs[0].Key, "--checkpoint", checkpoint}, period...)...)
	r, offline := parseLogReport(t, out)
	if log := r.Logs[0]; log.KeySource != "given" || log.Caveat != "" || len(log.Consistent) != 1 {
		t.Errorf("offline it rests on %+v", log)
	}
	checkReport(t, &offline, order)
	sameAsCounters(t, &offline, counters)
}

// checkReport holds a report to the story.
func checkReport(t *testing.T, p *logReportPart, order string) {
	t.Helper()
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"blocked crossings", sum([]map[string]any{p.Totals}, "crossings_denied"), 4},
		{"blocked without a consent", sum(p.Denials, "denied", "reason", "CROSS_BORDER_CONSENT_REQUIRED", "to", "US"), 2},
		{"blocked since the consent was withdrawn", sum(p.Denials, "denied", "reason", "CONSENT_WITHDRAWN", "to", "US"), 2},
		{"crossings by consent", sum(p.Transfers, "accesses", "from", "CH", "to", "US", "basis", "consent"), 3},
		{"records read abroad rest on consents", sum(p.Transfers, "consents", "to", "US", "data_class", "PERSONAL_INFORMATION"), 1},
		{"crossings without basis", sum([]map[string]any{p.Totals}, "crossings_without_basis"), 0},
		{"consents granted", sum(p.Rights, "done", "what", "consent-granted"), 1},
		{"consents withdrawn", sum(p.Rights, "done", "what", "consent-withdrawn"), 1},
		{"streams cut", sum(p.Streams, "streams", "end", "cut", "result", "CONSENT_WITHDRAWN"), 1},
		{"disclosures under the order", sum(p.Disclosures, "completed", "order", order, "basis", "order", "purpose", "LEGAL_OBLIGATION"), 2},
		{"disclosures without one", sum(p.Disclosures, "denied", "order", ""), 1},
		{"orders recorded", sum(p.Authorities, "done", "kind", "legal-order", "step", "recorded"), 1},
		{"approvals", sum(p.Authorities, "done", "kind", "legal-order", "step", "approved"), 2},
		{"transfers asked about", sum(p.Checks, "checks", "outcome", "DENY", "to", "US"), 1},
		{"people whose erasure began", sum(p.Erasures, "begun", "what", "subject"), 1},
		{"people erased", sum(p.Erasures, "done", "what", "subject"), 1},
		{"tenants", sum([]map[string]any{p.Totals}, "tenants"), 2},
		{"unknown entries", sum(p.Unknown, "entries"), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	if sum(p.Disclosures, "bytes", "order", order) == 0 || sum(p.Transfers, "bytes", "to", "US") < 8<<20 {
		t.Errorf("bytes: %v, %v", p.Disclosures, p.Transfers)
	}
}

var decisionsLine = regexp.MustCompile(`^residency_decisions_total\{(.*)\} ([0-9.e+]+)$`)

// sameAsCounters compares a report with what the gateway counted as it decided, looking at the log and the gateway apart, which
// went on in between.
func sameAsCounters(t *testing.T, p *logReportPart, text []byte) {
	t.Helper()
	counted := map[string]int{}
	for line := range bytes.Lines(text) {
		m := decisionsLine.FindStringSubmatch(strings.TrimSpace(string(line)))
		if m == nil || !strings.Contains(m[1], `from="CH"`) || strings.Contains(m[1], `action="GOVERN",data_class="ACCOUNT_DATA"`) {
			continue
		}
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, outcome := range []string{"ALLOW", "DENY"} {
			if strings.Contains(m[1], `outcome="`+outcome+`"`) {
				counted[outcome] += int(n)
			}
		}
	}
	allowed := sum(p.Transfers, "accesses") - sum(p.Transfers, "accesses", "action", "GOVERN", "data_class", "ACCOUNT_DATA") + sum(p.Checks, "checks", "outcome", "ALLOW")
	denied := sum(p.Denials, "denied") + sum(p.Checks, "checks", "outcome", "DENY")
	if allowed != counted["ALLOW"] || denied != counted["DENY"] || allowed == 0 || denied == 0 {
		t.Errorf("the report has %d allowed and %d denied, the gateway counted %v", allowed, denied, counted)
	}
}
