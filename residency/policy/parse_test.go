package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// small is a policy file that is right and short; the tests break it.
const small = `version: v1
effective: 2012-05-02
jurisdiction: CH
controller: Example AG
consent_months: 12
clauses:
  - id: purpose
    title: Only for its purposes.
  - id: product/border
    title: Nothing crosses a border without consent.
  - id: security
    title: It is protected.
    elsewhere: everything
placement:
  - residence: any
    default: false
    agreement: true
    clause: product/border
rules:
  - action: USE
    data: PERSONAL_INFORMATION
    require: purpose
    clause: purpose
  - action: USE
    data: PERSONAL_INFORMATION
    to: [US, NO]
    require: [consent]
    clause: product/border
  - action: USE
    data: PERSONAL_INFORMATION
    purpose: none
    deny: PURPOSE_REQUIRED
    clause: purpose
otherwise:
  - deny: PURPOSE_NOT_PERMITTED
    clause: purpose
invariants:
  - says: No crossing to the named without consent.
    clause: product/border
    to: [US, NO]
    needs: consent
`

func TestParseSmall(t *testing.T) {
	p, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != "v1" || p.Jurisdiction != ch || p.Controller != "Example AG" || p.ConsentMonths != 12 || p.MinimumAge != 0 {
		t.Errorf("heading: %+v", p)
	}
	if want := time.Date(2012, 5, 2, 0, 0, 0, 0, time.UTC); !p.Effective.Equal(want) {
		t.Errorf("effective %v, want %v", p.Effective, want)
	}
	want := []Clause{{"purpose", "Only for its purposes.", true}, {"product/border", "Nothing crosses a border without consent.", false}, {"security", "It is protected.", true}}
	if fmt.Sprint(p.Clauses) != fmt.Sprint(want) {
		t.Errorf("clauses %v", p.Clauses)
	}
	if err := p.Verify().Err(); err != nil {
		t.Error(err)
	}
	norway := residency.Jurisdiction{'N', 'O'}
	q := Query{Action: residency.Use, DataClass: residency.PersonalInformation, Purpose: residency.Records}
	for to, needs := range map[residency.Jurisdiction]bool{us: true, norway: true, de: false, ch: false} {
		if q.To = to; p.Requirements(q).Has(residency.RequireConsent) != needs {
			t.Errorf("to %s: consent required is %v, want %v", to, !needs, needs)
		}
	}
}

func TestParseDigestIsOfTheBytes(t *testing.T) {
	a, errA := Parse([]byte(small))
	b, errB := Parse([]byte(small + "# a comment\n"))
	if errA != nil || errB != nil || a.Digest == b.Digest || !strings.HasPrefix(a.Digest, "sha256:") || len(a.Digest) != len("sha256:")+64 {
		t.Errorf("%v %v: digests %q, %q", errA, errB, a.Digest, b.Digest)
	}
}

func TestParseEffectiveTime(t *testing.T) {
	p, err := Parse([]byte(strings.Replace(small, "2012-05-02", "2012-05-02T00:30:00+02:00", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2012, 5, 1, 22, 30, 0, 0, time.UTC); !p.Effective.Equal(want) || p.Effective.Location() != time.UTC {
		t.Errorf("effective %v, want %v", p.Effective, want)
	}
}

// TestParseRefuses: each change of the small file is refused, at its place, with
// a word of what would be right.
func TestParseRefuses(t *testing.T) {
	cases := []struct {
		name, old, new string
		line, column   int
		says           string
	}{
		{"unknown key", "controller: Example AG", "controller: Example AG\ncontroler: x", 5, 1, `unknown key "controler" in the file: want one of version`},
		{"key twice", "controller: Example AG", "controller: Example AG\ncontroller: x", 5, 1, "stands twice"},
		{"missing key", "controller: Example AG\n", "", 1, 1, `lacks the key "controller"`},
		{"empty value", "controller: Example AG", "controller:", 4, 1, "has no value"},
		{"version's form", "version: v1", `version: "a b"`, 1, 10, "want a version of 1 to 64"},
		{"version a number", "version: v1", "version: 1", 1, 10, "want version: a text"},
		{"date", "2012-05-02", "02.05.2012", 2, 12, "want effective: a date like"},
		{"date that is none", "2012-05-02", "2012-02-30", 2, 12, "want effective"},
		{"jurisdiction", "jurisdiction: CH", "jurisdiction: UK", 3, 15, "officially assigned"},
		{"jurisdiction's case", "jurisdiction: CH", "jurisdiction: ch", 3, 15, "upper case"},
		{"months", "consent_months: 12", "consent_months: 0", 5, 17, "from 1 to 120"},
		{"months as text", "consent_months: 12", "consent_months: a year", 5, 17, "a whole number"},
		{"months in hexadecimal", "consent_months: 12", "consent_months: 0x0c", 5, 17, "a whole number"},
		{"clause twice", "  - id: security", "  - id: purpose", 11, 9, `clause "purpose" is declared twice`},
		{"clause's form", "  - id: security", "  - id: Security", 11, 9, "want an id of"},
		{"clause unused", "    elsewhere: everything\n", "", 11, 5, "is cited by nothing"},
		{"clause undeclared", "    require: purpose\n    clause: purpose", "    require: purpose\n    clause: porpoise", 23, 13, `clause "porpoise" is not declared`},
		{"no clause", "    require: purpose\n    clause: purpose", "    require: purpose", 20, 5, `lacks the key "clause"`},
		{"action", "  - action: USE\n    data: PERSONAL_INFORMATION\n    require: purpose", "  - action: READ\n    data: PERSONAL_INFORMATION\n    require: purpose", 20, 13, "want one of COLLECT, USE"},
		{"action's case", "  - action: USE\n    data: PERSONAL_INFORMATION\n    require: purpose", "  - action: use\n    data: PERSONAL_INFORMATION\n    require: purpose", 20, 13, "want one of COLLECT"},
		{"unspecified", "    purpose: none", "    purpose: UNSPECIFIED", 31, 14, "want one of ENQUIRIES"},
		{"keyword in a list", "    purpose: none", "    purpose: [none, RECORDS]", 31, 15, "want one of ENQUIRIES"},
		{"empty list", "    purpose: none", "    purpose: []", 31, 14, "is empty"},
		{"twice in a list", "    purpose: none", "    purpose: [RECORDS, RECORDS]", 31, 24, "stands twice in purpose"},
		{"a list in a list", "    purpose: none", "    purpose: [[RECORDS]]", 31, 15, "a text"},
		{"own jurisdiction", "    to: [US, NO]\n    require", "    to: [US, CH]\n    require", 26, 14, "write home"},
		{"no jurisdiction", "    to: [US, NO]\n    require", "    to: [US, EU]\n    require", 26, 14, "none of home, abroad"},
		{"requirement", "require: [consent]", "require: [consents]", 27, 15, "unknown requirement"},
		{"reason", "deny: PURPOSE_REQUIRED", "deny: PURPOSE", 32, 11, "want one of CROSS_BORDER_CONSENT_REQUIRED"},
		{"reason that is no policy's", "deny: PURPOSE_REQUIRED", "deny: NOT_FOUND", 32, 11, "not a reason that a policy gives"},
		{"allow false", "deny: PURPOSE_REQUIRED", "allow: false", 32, 12, "want allow: true"},
		{"allow in quotes", "deny: PURPOSE_REQUIRED", `allow: "true"`, 32, 12, "true or false"},
		{"two effects", "deny: PURPOSE_REQUIRED", "deny: PURPOSE_REQUIRED\n    allow: true", 29, 5, "says 2 of allow, deny and require"},
		{"no effect", "    deny: PURPOSE_REQUIRED\n", "", 29, 5, "says 0 of allow, deny and require"},
		{"otherwise not of everything", "  - deny: PURPOSE_NOT_PERMITTED", "  - deny: PURPOSE_NOT_PERMITTED\n    action: USE", 35, 5, "match everything"},
		{"otherwise of everything first", "  - deny: PURPOSE_NOT_PERMITTED", "  - deny: PURPOSE_NOT_PERMITTED\n    clause: purpose\n  - deny: PURPOSE_NOT_PERMITTED", 35, 5, "match everything"},
		{"otherwise allows", "  - deny: PURPOSE_NOT_PERMITTED", "  - allow: true", 35, 5, `unknown key "allow"`},
		{"invariant without a claim", "    needs: consent\n", "", 38, 5, "says 0 of never, needs and always"},
		{"parental consent without an age", "require: purpose", "require: parental-consent", 20, 3, "want minimum_age"},
		{"an age without parental consent", "consent_months: 12", "consent_months: 12\nminimum_age: 13", 6, 14, "no rule requires parental-consent"},
		{"placement's residence", "residence: any", "residence: [CH, UK]", 15, 21, "officially assigned"},
		{"a merge key", "controller: Example AG", "<<: {controller: x}", 4, 1, "want one of version"},
		{"an anchor", "controller: Example AG", "controller: &a Example", 4, 13, "a text"},
		{"an alias", "controller: Example AG", "controller: *a", 4, 13, "a text"},
		{"a tag", "controller: Example AG", "controller: !!str x", 4, 13, "a text"},
		{"two documents", "version: v1", "---\nversion: v0\n---\nversion: v1", 1, 1, "exactly one YAML document"},
		{"a tab", "controller: Example AG", "controller:\tExample AG", 4, 12, "a control character"},
		{"a carriage return", "version: v1", "version: v1\r", 1, 12, "a control character"},
		{"bad YAML", "controller: Example AG", "controller: 'Example AG", 4, 13, "not YAML"},
		{"a long text", "Example AG", strings.Repeat("x", maxText+1), 4, 13, "1 to 512 bytes"},
		{"a long line", "Example AG", strings.Repeat("x", maxLine+1), 4, maxLine + 1, "want at most 1024"},
		{"deep brackets", "    purpose: none", "    purpose: " + strings.Repeat("[", maxDepth+1), 31, 14 + maxDepth, "nest deeper"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file := strings.Replace(small, c.old, c.new, 1)
			if file == small {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse([]byte(file))
			var e *FileError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a FileError", err)
			}
			if e.Line != c.line || e.Column != c.column || !strings.Contains(e.Problem, c.says) {
				t.Errorf("got %v\nwant line %d, column %d: …%s…", err, c.line, c.column, c.says)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	rule := "  - allow: true\n    clause: purpose\n"
	many := strings.Replace(small, "rules:\n", "rules:\n"+strings.Repeat(rule, maxRules), 1)
	for name, file := range map[string]string{
		"nothing":          "",
		"a comment":        "# nothing\n",
		"a word":           "policy",
		"a list":           "- a\n- b\n",
		"null":             "null",
		"not UTF-8":        "version: \xff",
		"more than 1 MiB":  small + "#" + strings.Repeat("\n", maxFile),
		"too many lines":   small + strings.Repeat("\n", maxLines),
		"too many rules":   many,
		"too many clauses": strings.Replace(small, "clauses:\n", "clauses:\n"+manyClauses(maxClauses), 1),
		"too many places":  strings.Replace(small, "[US, NO]", "["+manyPlaces(maxPlaces+1)+"]", 1),
	} {
		var e *FileError
		if _, err := Parse([]byte(file)); !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
			t.Errorf("%s: got %v, want a FileError with a place", name, err)
		}
	}
	full := strings.ReplaceAll(small, "[US, NO]", "["+manyPlaces(maxPlaces)+"]")
	p, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify().Err(); err != nil {
		t.Error(err)
	}
	t.Logf("%d places: %d cells", maxPlaces, len(p.table.cells))
}

// TestParseTooManyAnswers: requirements under clauses of their own for every
// value multiply; the file is refused before the table grows.
func TestParseTooManyAnswers(t *testing.T) {
	var rules strings.Builder
	for d, names := range map[string][]string{
		"purpose": names[residency.Purpose](residency.NumPurposes), "action": names[residency.Action](residency.NumActions),
		"recipient": names[residency.RecipientKind](residency.NumRecipientKinds), "to": strings.Split(manyPlaces(maxPlaces-2), ", "),
	} {
		requirement := map[string]string{"purpose": "purpose", "action": "consent", "recipient": "function", "to": "agreement"}[d]
		for i, n := range names {
			fmt.Fprintf(&rules, "  - %s: %s\n    require: %s\n    clause: c%d\n", d, n, requirement, i)
		}
	}
	file := strings.Replace(small, "rules:\n", "rules:\n"+rules.String(), 1)
	file = strings.Replace(file, "clauses:\n", "clauses:\n"+manyClauses(maxPlaces), 1)
	if _, err := Parse([]byte(file)); err == nil || !strings.Contains(err.Error(), "different answers") {
		t.Errorf("got %v", err)
	}
}

// names lists the stated values of an enumeration.
func names[T interface {
	~uint8
	String() string
}](count int) []string {
	var out []string
	for v := 1; v < count; v++ {
		out = append(out, T(v).String())
	}
	return out
}

func manyClauses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - id: c%d\n    title: x\n    elsewhere: x\n", i)
	}
	return b.String()
}

func manyPlaces(n int) string {
	var codes []string
	for _, j := range residency.Jurisdictions() {
		if j != ch && len(codes) < n {
			codes = append(codes, j.String())
		}
	}
	return strings.Join(codes, ", ")
}

// TestParseErrorsAreShort: an error quotes a file's word, never a file's worth.
func TestParseErrorsAreShort(t *testing.T) {
	long := strings.Repeat("Y", maxText)
	for _, old := range []string{"USE", "purpose: none", "PURPOSE_REQUIRED", "[consent]", "[US, NO]"} {
		_, err := Parse([]byte(strings.Replace(small, old, strings.Split(old, " ")[0][:0]+long, 1)))
		if err == nil || len(err.Error()) > 3*maxText {
			t.Errorf("%s: error of %d bytes: %v", old, len(fmt.Sprint(err)), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	for _, name := range ShippedNames() {
		file, _ := Shipped(name)
		f.Add(file)
	}
	for _, seed := range []string{"", "a: [", "- - - -", "{}", "version: &a [*a]", "a: |\n  x\n b", "? x\n: y", "'", "\"\\x", "<<: 1", "%YAML 1.2\n---\na: 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := Parse(file)
		if err != nil {
			var e *FileError
			if p != nil || !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || len(err.Error()) > 8<<10 {
				t.Fatalf("got %v, %v: want a FileError with a place", p, err)
			}
			return
		}
		if len(p.table.named) > 3 || len(p.rules) > 64 {
			return // verified elsewhere; too slow here
		}
		for _, c := range p.Verify().Claims[:2] { // the table says what the rules say; nothing unnamed is permitted
			if c.Violations != 0 {
				t.Fatalf("%s: %s", c.Says, c.Finding)
			}
		}
		if d := p.Decide(Query{}, meeting(^residency.Requirements(0))); d.Allow {
			t.Fatal("an empty query is permitted")
		}
	})
}
