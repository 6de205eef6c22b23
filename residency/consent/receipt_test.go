package consent

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

var update = flag.Bool("update", false, "rewrite testdata/receipt.json")

// receiptOf gives a consent that a receipt can be made of.
func receiptOf() (Consent, ReceiptFacts) {
	c := border()
	c.ID, c.GrantedBy, c.PolicyVersion = "018f2b6e-7a10-7c3e-9a41-0d5a3c1f7b22", "spiffe://example.org/ch/app", "ch-2012-05-02"
	c.Granted, c.Expires = now.Add(-time.Hour), now.AddDate(1, 0, 0)
	c.Evidence = Evidence{
		Method: "signed form", Grantor: "Anna Muster <\"&>", NoticeLanguage: "de-CH",
		NoticeDigest: "sha256:" + strings.Repeat("ab", 32), Stated: now.Add(-2 * time.Hour),
	}
	f := ReceiptFacts{
		Tenant: "acme", Controller: "CloudSigma AG", Region: "ch", Jurisdiction: ch,
		PolicyVersion: c.PolicyVersion, PolicyDigest: "sha256:" + strings.Repeat("0", 64),
		Issued: now, Issuer: "zrh-1", DecisionID: "018f2b6e-7a11-7000-8000-000000000001",
	}
	return c, f
}

// fullReceipt gives a consent whose receipt has every field.
func fullReceipt() (Consent, ReceiptFacts) {
	c, f := receiptOf()
	c.Classes |= residency.DataClassSet(residency.VirtualDriveData, residency.AccountData)
	c.Recipients = []string{"r1", "r2"}
	c.Supersedes, c.SupersededBy, c.Superseded = "018f2b6e-0000-7000-8000-000000000001", "018f2b6e-0000-7000-8000-000000000002", now.Add(-3*time.Minute)
	c.Withdrawn, c.WithdrawnBy = now.Add(-time.Minute), "spiffe://example.org/us/app"
	f.SupersedingCaller = "spiffe://example.org/ch/desk"
	f.PolicySuperseded, f.SupersedingVersion = now.Add(-4*time.Minute), "ch-2026-03-01"
	f.ControllerAddress, f.ControllerContact = "Example Street 1, 8000 Zurich", "privacy@example.org"
	f.Recipients = []ReceiptRecipient{{ID: "r2", Name: "Example Clearing", Kind: residency.Subcontractor, Jurisdiction: us}}
	return c, f
}

func mustReceipt(t testing.TB, c Consent, f ReceiptFacts) []byte {
	t.Helper()
	b, err := c.Receipt(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// states are the ways in which a consent stands or has ended.
var states = map[string]struct {
	change func(*Consent, *ReceiptFacts)
	state  string
	status string
	events []string
}{
	"in force": {func(*Consent, *ReceiptFacts) {}, "ACTIVE", "dpv:ConsentGiven", []string{"RECORDED"}},
	"withdrawn": {func(c *Consent, _ *ReceiptFacts) {
		c.Withdrawn, c.WithdrawnBy = now.Add(-time.Minute), "w"
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "WITHDRAWN"}},
	"at its end": {func(c *Consent, f *ReceiptFacts) {
		c.Expires = f.Issued
	}, "EXPIRED", "dpv:ConsentExpired", []string{"RECORDED", "EXPIRED"}},
	"just before its end": {func(c *Consent, f *ReceiptFacts) {
		c.Expires = f.Issued.Add(1)
	}, "ACTIVE", "dpv:ConsentGiven", []string{"RECORDED"}},
	"superseded": {func(c *Consent, _ *ReceiptFacts) {
		c.Superseded, c.SupersededBy = now.Add(-time.Minute), "c2"
	}, "SUPERSEDED", "dpv:ConsentInvalidated", []string{"RECORDED", "SUPERSEDED"}},
	"superseded, then withdrawn, past its end": {func(c *Consent, _ *ReceiptFacts) {
		c.Superseded, c.SupersededBy = now.Add(-3*time.Minute), "c2"
		c.Withdrawn, c.WithdrawnBy = now.Add(-2*time.Minute), "w"
		c.Expires = now.Add(-time.Minute)
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "SUPERSEDED", "WITHDRAWN"}},
	"withdrawn, then superseded": { // the gateway replaces active consents alone; the order is time's all the same
		func(c *Consent, _ *ReceiptFacts) {
			c.Withdrawn, c.WithdrawnBy = now.Add(-3*time.Minute), "w"
			c.Superseded, c.SupersededBy = now.Add(-2*time.Minute), "c2"
		}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "WITHDRAWN", "SUPERSEDED"},
	},
	"expired, then withdrawn": {func(c *Consent, _ *ReceiptFacts) {
		c.Expires = now.Add(-2 * time.Minute)
		c.Withdrawn, c.WithdrawnBy = now.Add(-time.Minute), "w"
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "EXPIRED", "WITHDRAWN"}},
	"expired and withdrawn at one moment": {func(c *Consent, _ *ReceiptFacts) {
		c.Expires, c.Withdrawn, c.WithdrawnBy = now, now, "w"
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "EXPIRED", "WITHDRAWN"}},
	"voided by a revision": {func(_ *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now, "ch-2"
	}, "SUPERSEDED", "dpv:ConsentInvalidated", []string{"RECORDED", "POLICY_REVISED"}},
	"voided by a revision, past its end": {func(c *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now.Add(-2*time.Minute), "ch-2"
		c.Expires = now.Add(-time.Minute)
	}, "SUPERSEDED", "dpv:ConsentInvalidated", []string{"RECORDED", "POLICY_REVISED"}},
	"voided by a revision, then withdrawn": {func(c *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now.Add(-2*time.Minute), "ch-2"
		c.Withdrawn, c.WithdrawnBy = now.Add(-time.Minute), "w"
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "POLICY_REVISED", "WITHDRAWN"}},
	"a revision to come": {func(_ *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now.Add(1), "ch-2"
	}, "ACTIVE", "dpv:ConsentGiven", []string{"RECORDED"}},
	"withdrawn before the revision": {func(c *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now.Add(-time.Minute), "ch-2"
		c.Withdrawn, c.WithdrawnBy = now.Add(-2*time.Minute), "w"
	}, "WITHDRAWN", "dpv:ConsentWithdrawn", []string{"RECORDED", "WITHDRAWN"}},
	"expired before the revision": {func(c *Consent, f *ReceiptFacts) {
		f.PolicySuperseded, f.SupersedingVersion = now.Add(-time.Minute), "ch-2"
		c.Expires = now.Add(-2 * time.Minute)
	}, "EXPIRED", "dpv:ConsentExpired", []string{"RECORDED", "EXPIRED"}},
}

// read is what the tests look at in a receipt.
type read struct {
	Identifier string `json:"dct:identifier"`
	Language   string `json:"dct:language"`
	Record     struct {
		Status  term    `json:"dpv:hasStatus"`
		Kind    term    `json:"domicile:consentKind"`
		Notice  notice  `json:"dpv:hasNotice"`
		Process process `json:"dpv:hasProcess"`
		Events  []event `json:"dpv:hasConsentStatus"`
	} `json:"dpv:hasRecordOfActivity"`
	FieldLabels []term `json:"domicile:fieldLabel"`
}

func readReceipt(t testing.TB, b []byte) read {
	t.Helper()
	var r read
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func changes(r read) []string {
	var out []string
	for i := range r.Record.Events {
		out = append(out, r.Record.Events[i].Change)
	}
	return out
}

// Where a consent stands and what brought it there.
func TestReceiptHistory(t *testing.T) {
	for name, want := range states {
		c, f := receiptOf()
		want.change(&c, &f)
		r := readReceipt(t, mustReceipt(t, c, f))
		if r.Record.Status.Identifier != want.state || r.Record.Status.Type != want.status {
			t.Errorf("%s: %+v, want %s", name, r.Record.Status, want.state)
		}
		if got := changes(r); !slices.Equal(got, want.events) {
			t.Errorf("%s: events %v, want %v", name, got, want.events)
		}
		if !slices.IsSortedFunc(r.Record.Events, func(a, b event) int { return strings.Compare(a.Recorded, b.Recorded) }) {
			t.Errorf("%s: the events are not in the order in which they were recorded", name)
		}
	}
}

// Each event says who and when.
func TestReceiptSaysWhoAndWhen(t *testing.T) {
	c, f := fullReceipt()
	events := readReceipt(t, mustReceipt(t, c, f)).Record.Events
	want := []struct{ change, at, by, recordedBy string }{
		{"RECORDED", "2026-03-01T11:00:00Z", "Anna Muster <\"&>", "spiffe://example.org/ch/app"},
		{"POLICY_REVISED", "2026-03-01T11:56:00Z", "CloudSigma AG", ""},
		{"SUPERSEDED", "2026-03-01T11:57:00Z", c.SupersededBy, "spiffe://example.org/ch/desk"},
		{"WITHDRAWN", "2026-03-01T11:59:00Z", "spiffe://example.org/us/app", ""},
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, e := range events {
		w := want[i]
		by := e.IndicatedBy.Name + e.IndicatedBy.Identifier
		var recordedBy string
		if e.RecordedBy != nil {
			recordedBy = e.RecordedBy.Identifier
		}
		if e.Change != w.change || e.Recorded != w.at || by != w.by || recordedBy != w.recordedBy {
			t.Errorf("event %d is %s, %s, by %s, recorded by %s: want %v", i, e.Change, e.Recorded, by, recordedBy, w)
		}
	}
	if e := events[0]; e.Indicated != "2026-03-01T10:00:00Z" || e.Method != "signed form" || e.IndicatedBy.AssertedBy != c.GrantedBy {
		t.Errorf("the evidence is not what was recorded: %+v", e)
	}
	if e := events[1]; e.PolicyVersion != "ch-2026-03-01" {
		t.Errorf("the revision is %q", e.PolicyVersion)
	}
}

// A later receipt has the events of an earlier one and perhaps more.
func TestReceiptHistoryOnlyGrows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, f := receiptOf()
		minute := func(label string) time.Time {
			return c.Granted.Add(time.Duration(rapid.IntRange(0, 6).Draw(rt, label)) * time.Minute)
		}
		c.Expires = minute("expires")
		withdrawn, superseded := minute("withdrawn"), minute("superseded")
		acts := rapid.IntRange(0, 3).Draw(rt, "acts")
		if rapid.Bool().Draw(rt, "revised") {
			f.PolicySuperseded, f.SupersedingVersion = minute("revision"), "ch-2"
		}
		if !superseded.Before(c.Expires) || !superseded.Before(withdrawn) {
			acts &^= 2 // only an active consent is replaced
		}
		var before []event
		for m := range 8 {
			f.Issued = c.Granted.Add(time.Duration(m) * time.Minute)
			if acts&1 != 0 && !f.Issued.Before(withdrawn) {
				c.Withdrawn, c.WithdrawnBy = withdrawn, "w"
			}
			if acts&2 != 0 && !f.Issued.Before(superseded) {
				c.Superseded, c.SupersededBy = superseded, "c2"
			}
			events := readReceipt(t, mustReceipt(t, c, f)).Record.Events
			if len(events) < len(before) {
				rt.Fatalf("minute %d: %d events after %d", m, len(events), len(before))
			}
			for i := range before {
				if events[i].Change != before[i].Change || events[i].Recorded != before[i].Recorded {
					rt.Fatalf("minute %d: event %d was %s and is %s", m, i, before[i].Change, events[i].Change)
				}
			}
			before = events
		}
	})
}

// Every field has a name in the notice's language, and every value of ours too.
func TestReceiptLanguages(t *testing.T) {
	for notice, want := range map[string]struct{ language, purposes, state string }{
		"en":     {"en", "Purposes", "withdrawn"},
		"en-GB":  {"en-GB", "Purposes", "withdrawn"},
		"de":     {"de", "Zwecke", "widerrufen"},
		"de-CH":  {"de-CH", "Zwecke", "widerrufen"},
		"bg":     {"bg", "Цели", "оттеглено"},
		"BG-bg":  {"BG-bg", "Цели", "оттеглено"},
		"fr":     {"en", "Purposes", "withdrawn"},
		"gsw-CH": {"en", "Purposes", "withdrawn"},
		"deu":    {"en", "Purposes", "withdrawn"}, // not the code that BCP 47 has for German
	} {
		c, f := fullReceipt()
		c.Evidence.NoticeLanguage = notice
		b := mustReceipt(t, c, f)
		r := readReceipt(t, b)
		if r.Language != want.language || r.Record.Notice.Language != notice || r.Record.Status.Label != want.state {
			t.Errorf("%s: document %s, notice %s, %q", notice, r.Language, r.Record.Notice.Language, r.Record.Status.Label)
		}
		named := map[string]string{}
		for _, l := range r.FieldLabels {
			named[l.ID] = l.Label
		}
		if named["dpv:hasPurpose"] != want.purposes {
			t.Errorf("%s: purposes are called %q", notice, named["dpv:hasPurpose"])
		}
		walk(parse(t, b).(map[string]any)["dpv:hasRecordOfActivity"], "", func(path string, _, _ func()) {
			key := path[strings.LastIndex(path, "/")+1:]
			if key[0] != '@' && key != "skos:prefLabel" && named[key] == "" {
				t.Errorf("%s: %s has no name", notice, key)
			}
		})
	}
	for _, all := range []int{0, 1, 2} {
		for key, l := range valueLabels {
			if l[all] == "" {
				t.Errorf("%s has no label in %s", key, labelLanguages[all])
			}
		}
		for _, l := range receiptFields {
			if l.label[all] == "" {
				t.Errorf("%s has no label in %s", l.name, labelLanguages[all])
			}
		}
	}
}

// Every value of the closed sets has a label and a concept.
func TestReceiptTermsAreComplete(t *testing.T) {
	var keys []string
	for p := residency.Purpose(1); p < residency.NumPurposes; p++ {
		keys = append(keys, "purpose:"+p.String())
		if !strings.HasPrefix(purposeConcepts[p], "dpv:") {
			t.Errorf("%v has no concept", p)
		}
	}
	for k := residency.ConsentKind(1); k < residency.NumConsentKinds; k++ {
		keys = append(keys, "consent-kind:"+k.String())
		if len(operations[k]) == 0 {
			t.Errorf("%v permits no operation", k)
		}
	}
	for s := residency.ConsentState(1); s < residency.NumConsentStates; s++ {
		keys = append(keys, "consent-state:"+s.String())
		if stateConcepts[s] == "" {
			t.Errorf("%v has no concept", s)
		}
	}
	for d := residency.DataClass(1); d < residency.NumDataClasses; d++ {
		keys = append(keys, "data-class:"+d.String())
		if dataConcepts[d] == "" {
			t.Errorf("%v has no concept", d)
		}
	}
	for _, r := range append(append([]right{withdrawal}, subjectRights...), tenantRights...) {
		keys = append(keys, r.name)
	}
	for _, key := range keys {
		if valueLabels[key] == (labels{}) {
			t.Errorf("%s has no label", key)
		}
	}
}

// The methods that a receipt sends people to are in the interface.
func TestReceiptNamesMethodsThatExist(t *testing.T) {
	protos, err := filepath.Glob("../../proto/residency/v1/*_service.proto")
	if err != nil || len(protos) == 0 {
		t.Fatalf("no service is defined where the test looks: %v", err)
	}
	there := map[string]bool{}
	for _, file := range protos {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		service := regexp.MustCompile(`(?m)^service (\w+) `).FindSubmatch(b)
		if service == nil {
			t.Fatalf("%s defines no service", file)
		}
		for _, m := range regexp.MustCompile(`(?m)^  rpc (\w+)\(`).FindAllSubmatch(b, -1) {
			there[string(service[1])+"/"+string(m[1])] = true
		}
	}
	for _, r := range append(append([]right{withdrawal}, subjectRights...), tenantRights...) {
		if !there[r.method] {
			t.Errorf("%s: there is no method %s", r.name, r.method)
		}
	}
}

// What the policy does not say is never attributed to it.
func TestReceiptAttributesNothingOfOursToThePolicy(t *testing.T) {
	c, f := receiptOf()
	r := readReceipt(t, mustReceipt(t, c, f))
	if r.Record.Kind.RuleOf != product {
		t.Error("the consent to cross a border is not named as the product's rule")
	}
	values(parse(t, mustReceipt(t, c, f)), func(key, value string) {
		if key == "domicile:ruleOf" && value != product {
			t.Errorf("a rule is attributed to %s", value)
		}
	})
}

// A receipt that could not say what it has to is not made, and the error gives
// nothing away.
func TestReceiptRefuses(t *testing.T) {
	for name, change := range map[string]func(*Consent, *ReceiptFacts){
		"no identifier":             func(c *Consent, _ *ReceiptFacts) { c.ID = "" },
		"no kind":                   func(c *Consent, _ *ReceiptFacts) { c.Kind = 0 },
		"an unknown kind":           func(c *Consent, _ *ReceiptFacts) { c.Kind = residency.NumConsentKinds },
		"no scope":                  func(c *Consent, _ *ReceiptFacts) { c.Subject = "" },
		"two scopes":                func(c *Consent, _ *ReceiptFacts) { c.WholeTenant = true },
		"no class":                  func(c *Consent, _ *ReceiptFacts) { c.Classes = 0 },
		"no purpose":                func(c *Consent, _ *ReceiptFacts) { c.Purposes = 0 },
		"no origin":                 func(c *Consent, _ *ReceiptFacts) { c.From = residency.Jurisdiction{} },
		"no destination":            func(c *Consent, _ *ReceiptFacts) { c.To = residency.Jurisdiction{} },
		"never recorded":            func(c *Consent, _ *ReceiptFacts) { c.Granted = time.Time{} },
		"recorded by nobody":        func(c *Consent, _ *ReceiptFacts) { c.GrantedBy = "" },
		"without an end":            func(c *Consent, _ *ReceiptFacts) { c.Expires = time.Time{} },
		"withdrawn by nobody":       func(c *Consent, _ *ReceiptFacts) { c.Withdrawn = now },
		"superseded by nothing":     func(c *Consent, _ *ReceiptFacts) { c.Superseded = now },
		"no method":                 func(c *Consent, _ *ReceiptFacts) { c.Evidence.Method = "" },
		"no grantor":                func(c *Consent, _ *ReceiptFacts) { c.Evidence.Grantor = "" },
		"no time of statement":      func(c *Consent, _ *ReceiptFacts) { c.Evidence.Stated = time.Time{} },
		"no language":               func(c *Consent, _ *ReceiptFacts) { c.Evidence.NoticeLanguage = "" },
		"a language that is none":   func(c *Consent, _ *ReceiptFacts) { c.Evidence.NoticeLanguage = "de_CH\"" },
		"no digest of the notice":   func(c *Consent, _ *ReceiptFacts) { c.Evidence.NoticeDigest = "" },
		"no tenant":                 func(_ *Consent, f *ReceiptFacts) { f.Tenant = "" },
		"no controller":             func(_ *Consent, f *ReceiptFacts) { f.Controller = "" },
		"no region":                 func(_ *Consent, f *ReceiptFacts) { f.Region = "" },
		"no jurisdiction":           func(_ *Consent, f *ReceiptFacts) { f.Jurisdiction = residency.Jurisdiction{} },
		"no policy":                 func(_ *Consent, f *ReceiptFacts) { f.PolicyVersion = "" },
		"another policy's version":  func(_ *Consent, f *ReceiptFacts) { f.PolicyVersion = "us-2011-10-07" },
		"no digest of the policy":   func(_ *Consent, f *ReceiptFacts) { f.PolicyDigest = "" },
		"no time of issue":          func(_ *Consent, f *ReceiptFacts) { f.Issued = time.Time{} },
		"no issuer":                 func(_ *Consent, f *ReceiptFacts) { f.Issuer = "" },
		"a revision without a name": func(_ *Consent, f *ReceiptFacts) { f.PolicySuperseded = now },
		"a revision at no time":     func(_ *Consent, f *ReceiptFacts) { f.SupersedingVersion = "ch-2" },
		"a revision from before": func(c *Consent, f *ReceiptFacts) {
			f.PolicySuperseded, f.SupersedingVersion = c.Granted.Add(-1), "ch-2"
		},
		"a recipient half known": func(_ *Consent, f *ReceiptFacts) { f.Recipients = []ReceiptRecipient{{ID: "r1", Name: "Anna"}} },
	} {
		c, f := receiptOf()
		change(&c, &f)
		b, err := c.Receipt(f)
		if err == nil || b != nil {
			t.Errorf("%s: a receipt was made", name)
			continue
		}
		if residency.KindOf(err) != residency.Internal || strings.Contains(err.Error(), "Anna") || strings.Contains(err.Error(), "_CH") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each receipt has a name of its own, which says nothing about anybody.
func TestReceiptIdentifier(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	c, f := receiptOf()
	seen := map[string]string{}
	for name, change := range map[string]func(){
		"the first":       func() {},
		"of another call": func() { f.DecisionID = "d2" },
		"a moment later":  func() { f.Issued = f.Issued.Add(1) },
		"another gateway": func() { f.Issuer = "zrh-2" },
		"another consent": func() { c.ID = "c2" },
		"without a call":  func() { f.DecisionID = "" },
	} {
		c, f = receiptOf()
		change()
		id := readReceipt(t, mustReceipt(t, c, f)).Identifier
		if !form.MatchString(id) || seen[id] != "" {
			t.Errorf("%s: %s (also %s)", name, id, seen[id])
		}
		seen[id] = name
	}
	c, f = receiptOf()
	one := receiptID(&c, &f)
	c.Evidence.Grantor, c.Subject = "Somebody Else", "s2"
	if receiptID(&c, &f) != one {
		t.Error("the name tells who gave the consent")
	}
}

// The document as it stood when its form was set.
func TestGoldenReceipt(t *testing.T) {
	const file = "testdata/receipt.json"
	c, f := fullReceipt()
	got := mustReceipt(t, c, f)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the receipt is not %s any more (-update rewrites it):\n%s", file, got)
	}
}
