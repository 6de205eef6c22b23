package audit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"pgregory.net/rapid"
)

// vector is an entry and its bytes, computed apart from this package by FORMAT.md.
type vector struct {
	Name  string `json:"name"`
	Entry struct {
		Place         uint64                 `json:"place"`
		TimeNS        int64                  `json:"time_ns"`
		DecisionID    string                 `json:"decision_id"`
		Phase         audit.Phase            `json:"phase"`
		Method        string                 `json:"method"`
		Caller        string                 `json:"caller"`
		Region        residency.Region       `json:"region"`
		Gateway       string                 `json:"gateway"`
		Tenant        string                 `json:"tenant"`
		Subject       string                 `json:"subject"`
		Object        string                 `json:"object"`
		Allow         bool                   `json:"allow"`
		Reason        residency.Kind         `json:"reason"`
		Missing       residency.Requirements `json:"missing"`
		Clause        string                 `json:"clause"`
		PolicyVersion string                 `json:"policy_version"`
		PolicyDigest  string                 `json:"policy_digest"`
		Controller    string                 `json:"controller"`
		ConsentID     string                 `json:"consent_id"`
		OrderID       string                 `json:"order_id"`
		From          string                 `json:"from"`
		To            string                 `json:"to"`
		Action        residency.Action       `json:"action"`
		DataClass     residency.DataClass    `json:"data_class"`
		Purpose       residency.Purpose      `json:"purpose"`
		Via           []string               `json:"via"`
		Result        residency.Kind         `json:"result"`
		Bytes         uint64                 `json:"bytes"`
		End           audit.StreamEnd        `json:"end"`
		Recipient     string                 `json:"recipient"`
		Consents      []string               `json:"consents"`
	} `json:"entry"`
	Encoded string `json:"encoded"`
}

func code(s string) (j residency.Jurisdiction) {
	copy(j[:], s)
	return j
}

// entry is the vector's entry.
func (v *vector) entry(t testing.TB) audit.Entry {
	in := &v.Entry
	e := audit.Entry{
		Place: in.Place, Time: time.Unix(0, in.TimeNS).UTC(), DecisionID: in.DecisionID, Phase: in.Phase,
		Method: in.Method, Caller: in.Caller, Region: in.Region, Gateway: in.Gateway, Tenant: in.Tenant, Subject: in.Subject,
		Allow: in.Allow, Reason: in.Reason, Missing: in.Missing, Clause: in.Clause,
		PolicyVersion: in.PolicyVersion, PolicyDigest: in.PolicyDigest, Controller: in.Controller,
		ConsentID: in.ConsentID, OrderID: in.OrderID, From: code(in.From), To: code(in.To),
		Action: in.Action, DataClass: in.DataClass, Purpose: in.Purpose,
		Result: in.Result, Bytes: in.Bytes, End: in.End, Consents: in.Consents,
	}
	if in.Object != "" {
		e.Object = unhex(t, in.Object)
	}
	if in.Recipient != "" {
		e.Recipient = unhex(t, in.Recipient)
	}
	for _, j := range in.Via {
		e.Via = append(e.Via, code(j))
	}
	return e
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/entries.json")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(raw, &vs); err != nil || len(vs) == 0 {
		t.Fatalf("%d vectors, %v", len(vs), err)
	}
	return vs
}

// TestVectors holds the bytes still.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			e, want := v.entry(t), unhex(t, v.Encoded)
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			if got := e.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("encodes to\n%x, want\n%x", got, want)
			}
			got, err := audit.Parse(want)
			if err != nil || !reflect.DeepEqual(got, e) {
				t.Errorf("parses to\n%+v, %v; want\n%+v", got, err, e)
			}
			t.Logf("%d bytes", len(want))
		})
	}
}

// What a volume is counted from is read as Parse reads it, and nothing else.
func TestVolumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		e.Place = max(e.Place, 1)
		b := e.Append(nil)
		whole, err := audit.Parse(b)
		if err != nil {
			t.Skip(err)
		}
		want := audit.Entry{
			Time: whole.Time, Phase: whole.Phase, Caller: whole.Caller, Tenant: whole.Tenant, Allow: whole.Allow,
			Action: whole.Action, DataClass: whole.DataClass, Result: whole.Result, Bytes: whole.Bytes, End: whole.End,
		}
		if got, err := audit.ParseVolume(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		if _, err := audit.ParseVolume(b[:len(b)-1]); !errors.Is(err, audit.ErrMalformed) {
			t.Fatalf("cut short: %v", err)
		}
	})
}

func BenchmarkParseVolume(b *testing.B) {
	for _, v := range vectors(b)[:1] {
		entry := unhex(b, v.Encoded)
		for name, parse := range map[string]func([]byte) (audit.Entry, error){"all": audit.Parse, "volume": audit.ParseVolume} {
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := parse(entry); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// drawEntry draws a valid entry.
func drawEntry(t *rapid.T) audit.Entry {
	text := rapid.OneOf(rapid.Just(""), rapid.StringN(0, -1, 1024))
	pseudonym := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[0-9a-f]{32}`))
	jurisdiction := rapid.Custom(func(t *rapid.T) residency.Jurisdiction {
		return code(rapid.StringMatching(`[A-Z]{2}`).Draw(t, "code"))
	})
	anywhere := rapid.OneOf(rapid.Just(residency.Jurisdiction{}), jurisdiction)
	e := audit.Entry{
		Place:         rapid.Uint64Min(1).Draw(t, "place"),
		Time:          time.Unix(0, rapid.Int64Min(1).Draw(t, "time")).UTC(),
		DecisionID:    rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "id"),
		Phase:         rapid.SampledFrom([]audit.Phase{audit.Decided, audit.Intent, audit.Ended}).Draw(t, "phase"),
		Method:        "/" + rapid.StringN(0, -1, 1023).Draw(t, "method"),
		Caller:        text.Draw(t, "caller"),
		Region:        residency.Region(rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "region")),
		Gateway:       text.Draw(t, "gateway"),
		Tenant:        pseudonym.Draw(t, "tenant"),
		Subject:       pseudonym.Draw(t, "subject"),
		Allow:         rapid.Bool().Draw(t, "allow"),
		Reason:        residency.Kind(rapid.IntRange(0, residency.NumKinds-1).Draw(t, "reason")),
		Missing:       residency.Requirements(rapid.Uint32Max(1<<residency.NumRequirements-1).Draw(t, "missing")),
		Clause:        text.Draw(t, "clause"),
		PolicyVersion: text.Draw(t, "version"),
		PolicyDigest:  rapid.OneOf(rapid.Just(""), rapid.StringMatching(`sha256:[0-9a-f]{64}`)).Draw(t, "digest"),
		Controller:    text.Draw(t, "controller"),
		ConsentID:     text.Draw(t, "consent"),
		OrderID:       text.Draw(t, "order"),
		From:          anywhere.Draw(t, "from"),
		To:            anywhere.Draw(t, "to"),
		Action:        residency.Action(rapid.IntRange(0, residency.NumActions-1).Draw(t, "action")),
		DataClass:     residency.DataClass(rapid.IntRange(0, residency.NumDataClasses-1).Draw(t, "class")),
		Purpose:       residency.Purpose(rapid.IntRange(0, residency.NumPurposes-1).Draw(t, "purpose")),
		Result:        residency.Kind(rapid.IntRange(0, residency.NumKinds-1).Draw(t, "result")),
		Bytes:         rapid.Uint64().Draw(t, "bytes"),
	}
	if rapid.Bool().Draw(t, "object") {
		e.Object = rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "object")
	}
	if rapid.Bool().Draw(t, "disclosed") {
		e.Recipient = rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "recipient")
	}
	if via := rapid.SliceOfN(jurisdiction, 0, audit.MaxVia).Draw(t, "via"); len(via) > 0 {
		e.Via = via
	}
	if e.Allow {
		id := rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
		if ids := rapid.SliceOfNDistinct(id, 0, audit.MaxConsents, rapid.ID[string]).Draw(t, "consents"); len(ids) > 0 {
			e.Consents = ids
		}
	}
	if e.Phase == audit.Ended {
		e.End = rapid.SampledFrom([]audit.StreamEnd{audit.Completed, audit.Cut, audit.Unknown}).Draw(t, "end")
	}
	return e
}

// TestRoundTrip: every valid entry comes back as it was, from one encoding of
// bounded length, and no change of a byte gives the same entry.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		b := e.Append(nil)
		got, err := audit.Parse(b)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("got\n%+v, %v; want\n%+v", got, err, e)
		}
		if len(b) > audit.MaxEncoded {
			t.Fatalf("%d bytes are more than %d", len(b), audit.MaxEncoded)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if other, err := audit.Parse(b); err == nil && reflect.DeepEqual(other, e) {
			t.Fatal("two encodings of one entry")
		}
	})
}

// TestLongest: the bound on an entry's length is exact enough to be of use, and holds.
func TestLongest(t *testing.T) {
	e := longest()
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	if n := len(e.Append(nil)); n > audit.MaxEncoded || n < audit.MaxEncoded-128 {
		t.Errorf("the longest entry has %d bytes, MaxEncoded is %d", n, audit.MaxEncoded)
	}
}

func longest() audit.Entry {
	text := strings.Repeat("x", 1024)
	hex32, zz := strings.Repeat("f", 32), code("ZZ")
	return audit.Entry{
		Place: 1<<64 - 1, Time: time.Unix(0, 1<<63-1), DecisionID: "ffffffff-ffff-ffff-ffff-ffffffffffff",
		Phase: audit.Ended, Method: text, Caller: text, Region: residency.Region(text[:32]), Gateway: text,
		Tenant: hex32, Subject: hex32, Object: make([]byte, 16), Allow: true, Reason: residency.NumKinds - 1,
		Missing: 1<<residency.NumRequirements - 1, Clause: text, PolicyVersion: text, PolicyDigest: "sha256:" + hex32 + hex32,
		Controller: text, ConsentID: text, OrderID: text, From: zz, To: zz, Action: 1, DataClass: 1, Purpose: 1,
		Via: []residency.Jurisdiction{zz, zz, zz, zz, zz, zz, zz, zz}, Result: 1, Bytes: 1<<64 - 1, End: audit.Unknown,
		Recipient: make([]byte, 16), Consents: consents(audit.MaxConsents),
	}
}

// consents gives identifiers of n consents.
func consents(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("0197a3f0-0000-7e3f-8a4b-%012x", i))
	}
	return list
}

// typical is an allowed read of a record across a border.
func typical() audit.Entry {
	return audit.Entry{
		Place: 1_000_000, Time: time.Unix(1_793_664_000, 123456789).UTC(), DecisionID: "0197a3f0-1c2d-7e3f-8a4b-5c6d7e8f9012",
		Phase: audit.Decided, Method: "/residency.v1.RecordService/GetRecord", Caller: "spiffe://domicile/app-us",
		Region: "ch", Gateway: "zrh-1", Tenant: "00112233445566778899aabbccddeeff", Subject: "ffeeddccbbaa99887766554433221100",
		Object: bytes.Repeat([]byte{7}, 16), Allow: true, Clause: "product/border", PolicyVersion: "2012-05-02",
		PolicyDigest: "sha256:" + strings.Repeat("5a", 32), Controller: "CloudSigma AG", ConsentID: "0197a3f0-2222-7e3f-8a4b-5c6d7e8f9012",
		From: code("CH"), To: code("US"), Action: residency.Use, DataClass: residency.PersonalInformation,
		Purpose: residency.ServiceProvision, Bytes: 512,
	}
}

// TestRefusals: what Validate refuses, Parse refuses too, and neither echoes the value.
func TestRefusals(t *testing.T) {
	const canary = "canary"
	long := strings.Repeat(canary, 200)
	for name, spoil := range map[string]func(*audit.Entry){
		"too many consents":          func(e *audit.Entry) { e.Consents = consents(audit.MaxConsents + 1) },
		"a consent by name":          func(e *audit.Entry) { e.Consents = []string{canary} },
		"an empty consent":           func(e *audit.Entry) { e.Consents = []string{""} },
		"a consent in upper case":    func(e *audit.Entry) { e.Consents = []string{strings.ToUpper(e.ConsentID)} },
		"a consent twice":            func(e *audit.Entry) { e.Consents = append(consents(2), consents(1)...) },
		"the consent again":          func(e *audit.Entry) { e.Consents = []string{e.ConsentID} },
		"consents to a refusal":      func(e *audit.Entry) { e.Allow, e.Consents = false, consents(1) },
		"no time":                    func(e *audit.Entry) { e.Time = time.Time{} },
		"time before 1970":           func(e *audit.Entry) { e.Time = time.Unix(-1, 0) },
		"time after 2262":            func(e *audit.Entry) { e.Time = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no decision":                func(e *audit.Entry) { e.DecisionID = "" },
		"decision of 16 bytes":       func(e *audit.Entry) { e.DecisionID = "0123456789abcdef" },
		"decision in upper case":     func(e *audit.Entry) { e.DecisionID = strings.ToUpper(e.DecisionID) },
		"decision without dashes":    func(e *audit.Entry) { e.DecisionID = strings.ReplaceAll(e.DecisionID, "-", "0") },
		"no phase":                   func(e *audit.Entry) { e.Phase = 0 },
		"unknown phase":              func(e *audit.Entry) { e.Phase = 4 },
		"no method":                  func(e *audit.Entry) { e.Method = "" },
		"long method":                func(e *audit.Entry) { e.Method = long },
		"method that is no text":     func(e *audit.Entry) { e.Method = canary + "\xff" },
		"long caller":                func(e *audit.Entry) { e.Caller = long },
		"no region":                  func(e *audit.Entry) { e.Region = "" },
		"region in upper case":       func(e *audit.Entry) { e.Region = "CH" },
		"long gateway":               func(e *audit.Entry) { e.Gateway = long },
		"tenant by name":             func(e *audit.Entry) { e.Tenant = canary },
		"tenant in upper case":       func(e *audit.Entry) { e.Tenant = strings.ToUpper(e.Tenant) },
		"subject by name":            func(e *audit.Entry) { e.Subject = canary },
		"subject of 16 bytes":        func(e *audit.Entry) { e.Subject = "0123456789abcdef" },
		"object of 15 bytes":         func(e *audit.Entry) { e.Object = e.Object[1:] },
		"object by name":             func(e *audit.Entry) { e.Object = []byte(canary) },
		"recipient of 17 bytes":      func(e *audit.Entry) { e.Recipient = make([]byte, 17) },
		"recipient by name":          func(e *audit.Entry) { e.Recipient = []byte(canary) },
		"unknown reason":             func(e *audit.Entry) { e.Reason = residency.NumKinds },
		"unknown requirement":        func(e *audit.Entry) { e.Missing = 1 << residency.NumRequirements },
		"long clause":                func(e *audit.Entry) { e.Clause = long },
		"long policy version":        func(e *audit.Entry) { e.PolicyVersion = long },
		"digest without its name":    func(e *audit.Entry) { e.PolicyDigest = e.PolicyDigest[7:] },
		"digest in upper case":       func(e *audit.Entry) { e.PolicyDigest = strings.ToUpper(e.PolicyDigest) },
		"long controller":            func(e *audit.Entry) { e.Controller = long },
		"long consent":               func(e *audit.Entry) { e.ConsentID = long },
		"long order":                 func(e *audit.Entry) { e.OrderID = long },
		"from in lower case":         func(e *audit.Entry) { e.From = code("ch") },
		"to of one letter":           func(e *audit.Entry) { e.To = code("U") },
		"unknown action":             func(e *audit.Entry) { e.Action = residency.NumActions },
		"unknown data class":         func(e *audit.Entry) { e.DataClass = residency.NumDataClasses },
		"unknown purpose":            func(e *audit.Entry) { e.Purpose = residency.NumPurposes },
		"too many gateways":          func(e *audit.Entry) { e.Via = make([]residency.Jurisdiction, audit.MaxVia+1) },
		"a gateway nowhere":          func(e *audit.Entry) { e.Via = make([]residency.Jurisdiction, 1) },
		"unknown result":             func(e *audit.Entry) { e.Result = residency.NumKinds },
		"an end without a stream":    func(e *audit.Entry) { e.End = audit.Completed },
		"a stream without an end":    func(e *audit.Entry) { e.Phase = audit.Ended },
		"a stream with another end":  func(e *audit.Entry) { e.Phase, e.End = audit.Ended, 4 },
		"an intent that has its end": func(e *audit.Entry) { e.Phase, e.End = audit.Intent, audit.Cut },
	} {
		e := typical()
		spoil(&e)
		err := e.Validate()
		if !errors.Is(err, audit.ErrMalformed) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: Validate gives %v", name, err)
		}
		if name == "time after 2262" {
			continue // is encoded as the last time there is
		}
		if got, err := audit.Parse(e.Append(nil)); !errors.Is(err, audit.ErrMalformed) || strings.Contains(err.Error(), canary) || !reflect.DeepEqual(got, audit.Entry{}) {
			t.Errorf("%s: Parse gives %v", name, err)
		}
	}
}

// TestOneForm: other ways of writing the same fields are refused.
func TestOneForm(t *testing.T) {
	e := typical()
	b := e.Append(nil)
	noPlace := typical()
	noPlace.Place = 0
	for name, other := range map[string][]byte{
		"no place":          noPlace.Append(nil),
		"an unknown field":  append(bytes.Clone(b), 32, 1, 1),
		"an explicit zero":  append(bytes.Clone(b), 29, 1, 0),
		"an empty field":    append(bytes.Clone(b), 29, 0),
		"no recipient":      append(bytes.Clone(b), 30, 0),
		"no consent":        append(bytes.Clone(b), 31, 0),
		"a field twice":     append(bytes.Clone(b), 28, 1, 1),
		"allowed, sort of":  bytes.Replace(b, []byte{12, 1, 1}, []byte{12, 1, 2}, 1),
		"another version":   append([]byte{2}, b[1:]...),
		"one byte less":     b[:len(b)-1],
		"nothing":           nil,
		"only the version":  b[:1],
		"something else":    []byte("not an entry"),
		"a byte at the end": append(bytes.Clone(b), 0),
	} {
		if _, err := audit.Parse(other); !errors.Is(err, audit.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoPersonalField lists the fields that an entry may have. None holds personal
// information: whoever adds one must show the same of it, here and in FORMAT.md.
func TestNoPersonalField(t *testing.T) {
	allowed := map[string]string{
		"Place": "uint64", "Time": "time.Time", "DecisionID": "string", "Phase": "audit.Phase", "Method": "string",
		"Caller": "string", "Region": "residency.Region", "Gateway": "string",
		"Tenant": "string", "Subject": "string", "Object": "[]uint8", // pseudonyms
		"Allow": "bool", "Reason": "residency.Kind", "Missing": "residency.Requirements", "Clause": "string",
		"PolicyVersion": "string", "PolicyDigest": "string", "Controller": "string", "ConsentID": "string", "OrderID": "string",
		"From": "residency.Jurisdiction", "To": "residency.Jurisdiction", "Action": "residency.Action",
		"DataClass": "residency.DataClass", "Purpose": "residency.Purpose", "Via": "[]residency.Jurisdiction",
		"Result": "residency.Kind", "Bytes": "uint64", "End": "audit.StreamEnd",
		"Recipient": "[]uint8", // a pseudonym
		"Consents":  "[]string",
	}
	typ := reflect.TypeFor[audit.Entry]()
	for f := range typ.Fields() {
		if allowed[f.Name] != f.Type.String() {
			t.Errorf("field %s %s is not one of those that an entry may have", f.Name, f.Type)
		}
		delete(allowed, f.Name)
	}
	for name := range allowed {
		t.Errorf("field %s is gone", name)
	}
}

// TestDecision: an entry holds all of a decision, whatever fields it has.
func TestDecision(t *testing.T) {
	d := residency.Decision{
		ID: "0197a3f0-1c2d-7e3f-8a4b-5c6d7e8f9012", Allow: true, Reason: 1, Missing: 3, Clause: "c", PolicyVersion: "v",
		PolicyDigest: "sha256:" + strings.Repeat("a", 64), Controller: "k", ConsentID: "i", OrderID: "o",
		From: code("CH"), To: code("US"), Action: 1, DataClass: 1, Purpose: 1, Time: time.Unix(5, 6).UTC(),
	}
	for i := range reflect.TypeOf(d).NumField() {
		if reflect.ValueOf(d).Field(i).IsZero() {
			t.Fatalf("the test leaves out %s", reflect.TypeOf(d).Field(i).Name)
		}
	}
	e := audit.Entry{Place: 1, Phase: audit.Decided, Method: "m", Region: "ch"}
	e.SetDecision(&d)
	got, err := audit.Parse(e.Append(nil))
	if err != nil || got.DecisionOf() != d {
		t.Errorf("got %+v, %v; want %+v", got.DecisionOf(), err, d)
	}
	if (&audit.Entry{}).DecisionOf().Allow {
		t.Error("the zero entry allows")
	}
}

// TestNames: every phase and end has a name, and what is none says so.
func TestNames(t *testing.T) {
	if got := []string{audit.Decided.String(), audit.Intent.String(), audit.Ended.String(), audit.Phase(9).String()}; !reflect.DeepEqual(got, []string{"DECIDED", "INTENT", "ENDED", "invalid"}) {
		t.Errorf("phases: %q", got)
	}
	if got := []string{audit.NotEnded.String(), audit.Completed.String(), audit.Cut.String(), audit.Unknown.String(), audit.StreamEnd(9).String()}; !reflect.DeepEqual(got, []string{"", "completed", "cut", "unknown", "invalid"}) {
		t.Errorf("ends: %q", got)
	}
}

// TestAppendAllocatesNothing where dst has room.
func TestAppendAllocatesNothing(t *testing.T) {
	for _, e := range []audit.Entry{typical(), longest()} {
		dst := make([]byte, 0, audit.MaxEncoded)
		if n := testing.AllocsPerRun(100, func() { e.Append(dst) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e := typical()
	dst := make([]byte, 0, audit.MaxEncoded)
	b.ReportAllocs()
	for b.Loop() {
		e.Append(dst)
	}
	b.ReportMetric(float64(len(e.Append(dst))), "B/entry")
}

func BenchmarkParse(b *testing.B) {
	e := typical()
	enc := e.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.Parse(enc); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParse: what is accepted is what Append writes, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.Encoded))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := audit.Parse(b)
		switch {
		case err != nil && !errors.Is(err, audit.ErrMalformed):
			t.Fatalf("%v does not wrap ErrMalformed", err)
		case err == nil && !bytes.Equal(e.Append(nil), b):
			t.Fatalf("%x is accepted, but %x is its encoding", b, e.Append(nil))
		case err == nil && e.Validate() != nil:
			t.Fatalf("accepted, but not valid: %v", e.Validate())
		}
	})
}
