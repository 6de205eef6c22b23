package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// movedByTour are the metrics that the tour moves, with the label that one of
// the series that moved must have.
var movedByTour = []struct{ name, label string }{
	{"residency_decisions_total", `outcome="ALLOW"`},
	{"residency_decisions_total", `reason="CROSS_BORDER_CONSENT_REQUIRED"`},
	{"residency_decisions_total", `reason="CONSENT_WITHDRAWN"`},
	{"residency_blocked_transfers_total", `from="CH"`},
	{"residency_blocked_by_clause_total", `clause="product/border"`},
	{"residency_border_bytes_total", `data_class="PERSONAL_INFORMATION"`},
	{"residency_border_bytes_total", `data_class="VIRTUAL_DRIVE_DATA"`},
	{"residency_decision_seconds_count", ""},
	{"residency_store_seconds_count", `region="ch"`},
	{"residency_store_seconds_count", `region="us"`},
	{"residency_store_seconds_count", `store="keys"`},
	{"residency_store_seconds_count", `store="directory"`},
	{"residency_region_up", `region="ch"`},
	{"residency_region_up", `region="us"`},
	{"residency_consents", `state="WITHDRAWN"`},
	{"residency_consent_changes_total", `change="granted"`},
	{"residency_consent_changes_total", `change="withdrawn"`},
	{"residency_revocation_seconds_count", ""},
	{"residency_streams_cut_total", `reason="CONSENT_WITHDRAWN"`},
	{"residency_audit_entries_total", `region="ch"`},
	{"residency_audit_entries_total", `region="us"`},
	{"residency_audit_checkpoint_entries", `region="us"`},
	{"residency_audit_checkpoint_timestamp_seconds", `region="ch"`},
	{"residency_audit_witnessed_timestamp_seconds", `region="ch"`},
	{"residency_limit", `limit="in_flight"`},
	{"residency_drive_bytes_total", `direction="read"`},
	{"residency_drive_bytes_total", `direction="write"`},
	{"residency_keys_cached", `region="ch"`},
	{"residency_certificate_expiry_seconds", `use=`},
	{"residency_policy_info", `version="ch-2012-05-02"`},
	{"grpc_server_started_total", `grpc_method="GetRecord"`},
	{"grpc_server_handled_total", `grpc_code="PermissionDenied"`},
	{"grpc_server_handling_seconds_count", `grpc_method="GetRecord"`},
	{"go_goroutines", ""},
	{"process_resident_memory_bytes", ""},
}

// labels are all that a residency metric may have: each from a closed set, none
// that names a tenant, a person, a caller or an object.
var labels = []string{
	"action", "change", "clause", "data_class", "direction", "from", "kind", "le", "limit", "operation", "outcome", "reason",
	"region", "result", "state", "store", "to", "use", "version", "what", "goversion", "revision",
}

// After the tour the metrics have moved, name nobody, and satisfy promtool.
func TestMetricsAfterTheTour(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "data"))
	d.must(t, "", "tour")
	var text []byte
	for range 480 { // gauges are counted from time to time
		text = scrape(t, d.admin)
		if len(unmoved(text)) == 0 {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	if missing := unmoved(text); len(missing) > 0 {
		t.Fatalf("not moved by the tour: %s\n%s", strings.Join(missing, ", "), residencyLines(text))
	}
	checkLabels(t, text)
	promtoolCheck(t, text)
}

func unmoved(text []byte) []string {
	var missing []string
	for _, want := range movedByTour {
		if !moved(text, want.name, want.label) {
			missing = append(missing, want.name+"{"+want.label+"}")
		}
	}
	return missing
}

// moved reports whether a series of the name and label has a value above zero.
func moved(text []byte, name, label string) bool {
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		rest, ok := strings.CutPrefix(s, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		if v, err := strconv.ParseFloat(s[strings.LastIndexByte(s, ' ')+1:], 64); err == nil && v > 0 {
			return true
		}
	}
	return false
}

// checkLabels refuses labels that are not from a closed set.
func checkLabels(t *testing.T, text []byte) {
	t.Helper()
	for line := range bytes.Lines(text) {
		s := string(line)
		open, end := strings.IndexByte(s, '{'), strings.LastIndexByte(s, '}')
		if !strings.HasPrefix(s, "residency_") || open < 0 || end < open {
			continue
		}
		for pair := range strings.SplitSeq(s[open+1:end], ",") {
			name, value, ok := strings.Cut(pair, "=")
			known := false
			for _, l := range labels {
				known = known || l == name
			}
			if ok && !known {
				t.Errorf("label %s of %s is not one of the closed sets", name, s[:open])
			}
			if strings.Contains(value, "alpine-") || strings.Contains(value, "prairie-") || strings.Contains(value, "spiffe:") {
				t.Errorf("%s names somebody: %s", s[:open], value)
			}
		}
	}
}

func residencyLines(text []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("residency_")) && !bytes.Contains(line, []byte("_bucket{")) {
			b.Write(line)
		}
	}
	return b.String()
}

// promtoolCheck passes the metrics to promtool, which the Makefile installs.
func promtoolCheck(t *testing.T, text []byte) {
	t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("DOMICILE_TOOLS") != "" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed; make test installs it")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool check metrics: %v", err)
	}
	for line := range bytes.Lines(out) { // it also reviews what the Go client library names
		if bytes.HasPrefix(line, []byte("residency_")) || bytes.HasPrefix(line, []byte("grpc_")) {
			t.Errorf("promtool: %s", bytes.TrimSpace(line))
		}
	}
}

func scrape(t *testing.T, admin string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v", answer.Status, err)
	}
	return text
}
