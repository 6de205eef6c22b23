package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/policy"
)

const (
	swiss    = "ch-2012-05-02.yaml"
	american = "us-2011-10-07.yaml"
)

// revisedFile writes a shipped file as a later version, with some of its text replaced.
func revisedFile(t *testing.T, shipped string, changes ...string) string {
	t.Helper()
	text, ok := policy.Shipped(shipped)
	if !ok {
		t.Fatalf("no file %s", shipped)
	}
	file := string(text)
	version := strings.TrimSuffix(shipped, ".yaml")
	changes = append([]string{"version: " + version, "version: later", "effective: " + version[3:], "effective: 2030-01-01"}, changes...)
	for i := 0; i < len(changes); i += 2 {
		if strings.Count(file, changes[i]) != 1 {
			t.Fatalf("%q stands %d times in %s", changes[i], strings.Count(file, changes[i]), shipped)
		}
		file = strings.Replace(file, changes[i], changes[i+1], 1)
	}
	name := filepath.Join(t.TempDir(), "later.yaml")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// noSafeguards breaks the promise that nothing is disclosed without a safeguard.
var noSafeguards = []string{"    require: safeguard\n", "    require: registered\n"}

func TestPolicyVerbsHaveHelp(t *testing.T) {
	for _, verb := range []string{"policy check", "policy explain", "policy diff", "policy matrix"} {
		out, errs, code := try(t, append(strings.Fields(verb), "--help")...)
		if code != exitOK || !strings.Contains(out, "Usage: domicile "+verb) || errs != "" {
			t.Errorf("%s --help: exit code %d\n%s%s", verb, code, out, errs)
		}
	}
}

func TestPolicyFileMistakes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: v1\nverson: v2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args, says string
		code       int
	}{
		{"policy check", "<file>", exitUsage},
		{"policy check nope.yaml", "with the program come " + swiss, exitError},
		{"policy check " + bad, bad + ":2:1: unknown key", exitError},
		{"policy check " + filepath.Dir(bad), "is a directory", exitError},
		{"policy matrix --format pdf " + swiss, "must be one of", exitUsage},
		{"policy matrix " + bad, "unknown key", exitError},
		{"policy diff " + swiss, "<file|version>", exitUsage},
		{"policy diff --from-version v1 " + swiss + " " + swiss, "--from-version is of a region", exitUsage},
		{"policy diff --tenant acme ch v2", "--tenant goes with two files", exitUsage},
		{"policy diff " + swiss + " " + bad, "unknown key", exitError},
		{"policy diff ch ./nope.yaml", "does not exist", exitError},
		{"policy explain " + swiss + " --class account-data", "--action", exitUsage},
		{"policy explain " + swiss + " --version v1 --action use --class account-data", "--version is of a region", exitUsage},
		{"policy explain " + swiss + " --to UK --action use --class account-data", "--to", exitUsage},
		{"policy explain " + bad + " --action use --class account-data", "unknown key", exitError},
	} {
		out, errs, code := try(t, strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(errs, test.says) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", test.args, code, test.code, test.says, out, errs)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	out, errs, code := try(t, "policy", "check", swiss, american)
	if code != exitOK || errs != "" || strings.Contains(out, "VIOLATED") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{
		swiss + ": version ch-2012-05-02, sha256:", american + ": version us-2011-10-07, sha256:", " rules decide 48600 cells: ",
		"Nothing crosses a border without consent, order or not", "No recipient but law enforcement ever gets drive data.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestPolicyCheckNamesTheCounterExample(t *testing.T) {
	file := revisedFile(t, swiss, noSafeguards...)
	out, errs, code := try(t, "policy", "check", file)
	if code != exitError || !strings.Contains(errs, "3 of what the files claim does not hold") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{
		"VIOLATED", "violated: Nothing is disclosed without a safeguard agreement, orders apart.\n  564 of 4824 contradict; for example\n",
		"  DISCLOSE PERSONAL_INFORMATION at home for ENQUIRIES, source PROVIDED, recipient ASSOCIATE_OFFICE, party PROVIDER: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	out, _, code = try(t, "policy", "check", file, "-o", "json")
	var results []checked
	if err := json.Unmarshal([]byte(out), &results); err != nil || code != exitError || len(results) != 1 {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	i := slices.IndexFunc(results[0].Claims, func(c claim) bool { return !c.Holds && c.Clause == "protection" })
	if i < 0 || results[0].Claims[i].Violations != 564 || !strings.HasPrefix(results[0].Claims[i].Example, "DISCLOSE ") {
		t.Errorf("%+v", results[0].Claims)
	}
	if results[0].Cells != results[0].Allowed+results[0].Conditional+results[0].Denied || results[0].File != file {
		t.Errorf("%+v", results[0])
	}
}

// TestPolicyCheckNotesVersions: two files that could not follow one another are noted, not refused.
func TestPolicyCheckNotesVersions(t *testing.T) {
	copied := revisedFile(t, swiss, "  - says: Erasing at home is always possible.", "  - says: Erasing at home works.", "version: later", "version: ch-2012-05-02")
	if _, errs, code := try(t, "policy", "check", swiss, american, copied); code != exitOK || !strings.Contains(errs, "note: not both in one region: policy: version ch-2012-05-02 has two digests") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestPolicyExplainFile(t *testing.T) {
	ask := []string{"policy", "explain", swiss, "--action", "use", "--class", "personal-information", "--to", "US", "--purpose", "payments"}
	out, errs, code := try(t, ask...)
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	text, _ := policy.Shipped(swiss)
	lines := strings.Split(string(text), "\n")
	e := explainedOf(t, ask)
	if e.Outcome != "OUTCOME_ALLOW" || e.Reason != "" || len(e.Requirements) != 3 || e.PolicyVersion != "ch-2012-05-02" || e.Line != e.Requirements[0].Line {
		t.Errorf("%+v", e)
	}
	for _, r := range e.Requirements {
		for _, word := range []string{r.Name, r.Clause, r.Reason, r.Remedy} {
			if word == "" || !strings.Contains(out, word) {
				t.Errorf("%q is not in\n%s", word, out)
			}
		}
		rule := strings.Join(lines[r.Line-1:r.Line+6], "\n")
		if !strings.HasPrefix(rule, "  - action: ") || !strings.Contains(rule, r.Name) || !strings.Contains(rule, "clause: "+r.Clause) {
			t.Errorf("line %d is no rule that requires %s:\n%s", r.Line, r.Name, rule)
		}
	}
	for _, want := range []string{"outcome         ALLOW\n", "clause          product/border\n", "rule            " + swiss + ":", "REQUIRES ", "LINE"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	e = explainedOf(t, []string{"policy", "explain", american, "--action", "disclose", "--class", "virtual-drive-data", "--purpose", "legal-obligation", "--recipient", "law-enforcement"})
	if e.Outcome != "OUTCOME_DENY" || e.Reason != "DRIVE_DATA_NEVER_SHARED" || e.Clause != "drive-never-shared" || e.Line == 0 || len(e.Requirements) != 0 {
		t.Errorf("%+v", e)
	}
	e = explainedOf(t, []string{"policy", "explain", swiss, "--action", "collect", "--class", "personal-information", "--source", "automatic", "--party", "tenant"})
	if len(e.Requirements) != 2 || e.Requirements[1].Name != "collection" {
		t.Errorf("%+v", e)
	}
}

func explainedOf(t *testing.T, args []string) (e explained) {
	t.Helper()
	out, errs, code := try(t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
	}
	return e
}

func TestPolicyDiff(t *testing.T) {
	file := revisedFile(t, swiss, noSafeguards[0], noSafeguards[1], "\nclauses:\n", "\nvoids: INSPECTION_PERMISSION\nclauses:\n")
	out, errs, code := try(t, "policy", "diff", swiss, file)
	if code != exitOK || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	for _, want := range []string{
		"ch-2012-05-02 → later, in force from 2030-01-01 00:00 UTC\n48600 decisions compared, 564 differ\n",
		"LOOSER: DISCLOSE PERSONAL_INFORMATION anywhere for BUSINESS_TRANSFER, recipient ACQUIRER (12 decisions)\n",
		"INSPECTION_PERMISSION  VIRTUAL_DRIVE_DATA  home  revisions  INSPECTION\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	var r residencyv1.ComparePoliciesResponse
	text, _, code := try(t, "policy", "diff", "-o", "json", swiss, file)
	if err := protojson.Unmarshal([]byte(text), &r); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v\n%s", code, err, text)
	}
	if r.GetFromVersion() != "ch-2012-05-02" || r.GetToVersion() != "later" || r.GetEffectiveTime().AsTime().Year() != 2030 ||
		r.GetCompared() != 48600 || r.GetChanged() != 564 || len(r.GetChanges()) != 3 || r.GetSummary() != out {
		t.Errorf("%+v", &r)
	}
	if c := r.GetChanges()[2]; c.GetDirection() != residencyv1.ChangeDirection_CHANGE_DIRECTION_LOOSER || c.GetDecisions() != 12 || c.GetAccesses() == "" || c.GetBefore() == "" || c.GetAfter() == "" {
		t.Errorf("%+v", c)
	}
	if v := r.GetVoided(); len(v) != 1 || v[0].GetKind() != residencyv1.ConsentKind_CONSENT_KIND_INSPECTION_PERMISSION || v[0].GetTo() != "home" ||
		v[0].GetDataClass() != residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA || v[0].GetPurpose() != residencyv1.Purpose_PURPOSE_INSPECTION || v[0].GetClause() != "revisions" {
		t.Errorf("%+v", v)
	}
	if out, _, code := try(t, "policy", "diff", swiss, swiss); code != exitOK || !strings.Contains(out, "48600 decisions compared, 0 differ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestDirectionsAreTheProtos: the numbers of a change's direction are the interface's.
func TestDirectionsAreTheProtos(t *testing.T) {
	for d, want := range map[policy.Direction]residencyv1.ChangeDirection{
		policy.DirectionUnspecified: residencyv1.ChangeDirection_CHANGE_DIRECTION_UNSPECIFIED,
		policy.Looser:               residencyv1.ChangeDirection_CHANGE_DIRECTION_LOOSER,
		policy.Stricter:             residencyv1.ChangeDirection_CHANGE_DIRECTION_STRICTER,
		policy.Otherwise:            residencyv1.ChangeDirection_CHANGE_DIRECTION_OTHER,
	} {
		if residencyv1.ChangeDirection(d) != want {
			t.Errorf("%s is %d, the interface has %d", d, d, want)
		}
	}
}

func TestVoidsOfTenant(t *testing.T) {
	from, err := parsePolicy(swiss)
	if err != nil {
		t.Fatal(err)
	}
	to, err := parsePolicy(revisedFile(t, swiss, "\nclauses:\n", "\nvoids: [BORDER_CROSSING, RESIDENCE_AGREEMENT]\nclauses:\n",
		"    require: permission\n    clause: no-inspection", "    deny: RESTRICTED\n    clause: no-inspection"))
	if err != nil {
		t.Fatal(err)
	}
	consent := func(kind residencyv1.ConsentKind, class residencyv1.DataClass, way string, purpose residencyv1.Purpose, version string) *residencyv1.Consent {
		return &residencyv1.Consent{
			Kind: kind, DataClasses: []residencyv1.DataClass{class}, FromJurisdiction: way[:2], ToJurisdiction: way[2:],
			Purposes: []residencyv1.Purpose{purpose}, PolicyVersion: version,
		}
	}
	const (
		crossing   = residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING
		permission = residencyv1.ConsentKind_CONSENT_KIND_INSPECTION_PERMISSION
		agreement  = residencyv1.ConsentKind_CONSENT_KIND_RESIDENCE_AGREEMENT
		personal   = residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION
		drive      = residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA
		payments   = residencyv1.Purpose_PURPOSE_PAYMENTS
		inspection = residencyv1.Purpose_PURPOSE_INSPECTION
	)
	for what, c := range map[string]struct {
		m    *residencyv1.Consent
		want string
	}{
		"a kind that is named":         {consent(crossing, personal, "CHUS", payments, "ch-2012-05-02"), "revisions"},
		"recorded under the later one": {consent(crossing, personal, "CHUS", payments, "later"), ""},
		"into this region":             {consent(crossing, personal, "USCH", payments, "us-2011-10-07"), ""},
		"of another region":            {consent(crossing, personal, "USDE", payments, "us-2011-10-07"), ""},
		"an agreement to be held here": {consent(agreement, personal, "DECH", payments, "ch-2012-05-02"), "revisions"},
		"of no more use":               {consent(permission, drive, "CHCH", inspection, "ch-2012-05-02"), "no-inspection"},
		"of no more use, given home":   {consent(permission, drive, "CH", inspection, "ch-2012-05-02"), "no-inspection"},
		"of no more use, older":        {consent(permission, drive, "CH", inspection, "older"), "revisions"},
		"that never was of use":        {consent(permission, personal, "CH", inspection, "ch-2012-05-02"), ""},
	} {
		if got := voidedUnder(c.m, from, to); got != c.want {
			t.Errorf("%s: voided under %q, want %q", what, got, c.want)
		}
	}
}

func TestPolicyMatrix(t *testing.T) {
	out, errs, code := try(t, "policy", "matrix", swiss, american)
	if code != exitOK || errs != "" || strings.Count(out, "WHO AND WHAT FOR") != 2 || !strings.Contains(out, "WITHIN CH") || !strings.Contains(out, "WITHIN US") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, _, code = try(t, "policy", "matrix", "--format", "markdown", swiss)
	if code != exitOK || !strings.Contains(out, "| Action | Data | Who and what for | within CH | abroad |\n|---|---|---|---|---|\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for line := range strings.Lines(out) {
		if n := strings.Count(line, "|"); n != 0 && n != 6 && n != 4 && n != 3 {
			t.Errorf("%d bars: %s", n, line)
		}
	}
	out, _, code = try(t, "policy", "matrix", "-o", "json", swiss, american)
	var matrices []matrixJSON
	if err := json.Unmarshal([]byte(out), &matrices); err != nil || code != exitOK || len(matrices) != 2 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	for _, m := range matrices {
		for _, r := range m.Rows {
			if len(r.Answers) != len(m.Columns) || r.Action == "" || r.Class == "" || r.Who == "" {
				t.Errorf("%s: %+v", m.Version, r)
			}
		}
	}
}

// TestPolicyMatrixPage: the page is well formed, needs nothing from elsewhere, and every table has a
// caption, column heads and row heads.
func TestPolicyMatrixPage(t *testing.T) {
	file := revisedFile(t, swiss, "    title: A person may be handed their own file.", `    title: A <script>alert(1)</script> & "file".`)
	out, errs, code := try(t, "policy", "matrix", "--format", "html", file, american)
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	for _, outside := range []string{"http:", "https:", "src=", "href=", "url(", "@import", "<script"} {
		if strings.Contains(out, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	for _, want := range []string{`<html lang="en">`, "<title>", "prefers-color-scheme: dark", "&lt;script&gt;alert(1)", "later, CH (CloudSigma AG)", "us-2011-10-07, US (CloudSigma Inc)", "<th scope=\"row\">informal-grant</th>"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	counts := elements(t, out)
	if counts["table"] != 5 || counts["caption"] != 5 || counts["th row"] < 100 || counts["th col"] != 18 || counts["h1"] != 1 || counts["h2"] != 3 || counts["th"] != 0 {
		t.Errorf("%v", counts)
	}
}

// elements counts a page's elements, heads by what they head; the page must be well formed.
func elements(t *testing.T, page string) map[string]int {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	counts := map[string]int{}
	depth := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			depth++
			name := e.Name.Local
			for _, a := range e.Attr {
				if name == "th" && a.Name.Local == "scope" {
					name += " " + a.Value
				}
			}
			counts[name]++
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are not closed", depth)
	}
	return counts
}
