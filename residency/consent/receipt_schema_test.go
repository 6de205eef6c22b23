package consent

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("receipt.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every kind, state, scope and language gives a valid document.
func TestReceiptIsValid(t *testing.T) {
	s := schema(t)
	for kind := residency.BorderCrossing; kind < residency.NumConsentKinds; kind++ {
		for state, how := range states {
			for _, whole := range []bool{false, true} {
				for _, language := range []string{"en", "de", "bg", "de-CH", "BG-bg", "fr", "gsw-CH"} {
					c, f := receiptOf()
					c.Kind = kind
					if whole {
						c.WholeTenant, c.Subject = true, ""
						c.Classes |= residency.DataClassSet(residency.VirtualDriveData, residency.AccountData)
					}
					if kind != residency.BorderCrossing && kind != residency.ResidenceAgreement {
						c.To = c.From
					}
					c.Evidence.NoticeLanguage = language
					how.change(&c, &f)
					b := mustReceipt(t, c, f)
					if err := s.Validate(parse(t, b)); err != nil {
						t.Fatalf("%v, %s, whole tenant %v, %s: %v\n%s", kind, state, whole, language, err, b)
					}
				}
			}
		}
	}
	c, f := fullReceipt()
	if err := s.Validate(parse(t, mustReceipt(t, c, f))); err != nil {
		t.Errorf("the receipt with every field: %v", err)
	}
}

// Whatever is recorded, the document is valid, repeatable and UTF-8.
func TestAnyReceiptIsValid(t *testing.T) {
	s := schema(t)
	rapid.Check(t, func(rt *rapid.T) {
		c, f := receiptOf()
		c.Kind = residency.ConsentKind(rapid.IntRange(1, residency.NumConsentKinds-1).Draw(rt, "kind"))
		c.Classes = residency.DataClasses(rapid.IntRange(1, 7).Draw(rt, "classes") << 1)
		c.Purposes = residency.Purposes(rapid.IntRange(1, 1<<14-1).Draw(rt, "purposes") << 1)
		c.Evidence.Method = rapid.StringN(1, -1, -1).Draw(rt, "method")
		c.Evidence.Grantor = rapid.StringN(1, -1, -1).Draw(rt, "grantor")
		c.Recipients = rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`), 0, 3, rapid.ID).Draw(rt, "recipients")
		list := residency.Jurisdictions()
		c.From, c.To = rapid.SampledFrom(list).Draw(rt, "from"), rapid.SampledFrom(list).Draw(rt, "to")
		f.Controller = rapid.StringN(1, -1, -1).Draw(rt, "controller")
		f.Issuer = rapid.StringN(1, -1, -1).Draw(rt, "issuer")
		f.DecisionID = rapid.String().Draw(rt, "decision")
		f.PolicyVersion = rapid.StringN(1, -1, -1).Draw(rt, "version")
		c.PolicyVersion = f.PolicyVersion
		b, err := c.Receipt(f)
		if err != nil {
			rt.Fatal(err)
		}
		if !utf8.Valid(b) {
			rt.Fatal("not UTF-8")
		}
		if err := s.Validate(parse(t, b)); err != nil {
			rt.Fatalf("%v\n%s", err, b)
		}
		c.Granted, f.Issued = c.Granted.In(time.FixedZone("", 3600)), f.Issued.In(time.FixedZone("", -3600))
		if again, err := c.Receipt(f); err != nil || !bytes.Equal(again, b) {
			rt.Fatalf("the same consent and facts gave other bytes (%v)", err)
		}
	})
}

// optional are the fields that a receipt may lack, by path. All others are required.
var optional = regexp.MustCompile(`(^domicile:decision|^dpv:hasRecordOfActivity/dct:replaces|` +
	// either of the two says what data the consent is about
	`/dpv:hasProcess/(dpv:hasPersonalData|dpv:hasData)|` +
	// who recorded the consent that replaced this one may not be known
	`/dpv:hasConsentStatus/2/dpv:isImplementedByEntity)$`)

// Without any one of its required fields a receipt is not valid.
func TestMutatedReceiptIsInvalid(t *testing.T) {
	s := schema(t)
	c, f := fullReceipt()
	tenant, facts := receiptOf()
	tenant.WholeTenant, tenant.Subject, tenant.Expires = true, "", now
	tried := 0
	for _, b := range [][]byte{mustReceipt(t, c, f), mustReceipt(t, tenant, facts)} {
		doc := parse(t, b)
		walk(doc, "", func(path string, remove, restore func()) {
			if optional.MatchString(path) {
				return
			}
			remove()
			if s.Validate(doc) == nil {
				t.Errorf("valid without %s", path)
			}
			restore()
			tried++
		})
		if err := s.Validate(doc); err != nil {
			t.Fatalf("the mutations were not undone: %v", err)
		}
	}
	if tried < 400 {
		t.Errorf("only %d fields were removed", tried)
	}
}

// walk visits every member of every object below v, and says how to take it away.
func walk(v any, path string, visit func(path string, remove, restore func())) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			at := strings.TrimPrefix(path+"/"+key, "/")
			visit(at, func() { delete(v, key) }, func() { v[key] = member })
			walk(member, at, visit)
		}
	case []any:
		for i, item := range v {
			walk(item, fmt.Sprintf("%s/%d", path, i), visit)
		}
	}
}

// What is not of the form is refused too.
func TestWrongReceiptIsInvalid(t *testing.T) {
	s := schema(t)
	c, f := fullReceipt()
	good := string(mustReceipt(t, c, f))
	for name, change := range map[string][2]string{
		"a remote context":         {`"dpv": "https://w3id.org/dpv#"`, `"dpv": "https://example.org/other#"`},
		"another schema":           {"schema/dpv-27560#receipt", "schema/dpv-27560#other"},
		"a field of no standard":   {`"dct:created"`, `"mood": "good", "dct:created"`},
		"a local time":             {`"dct:created": "2026-03-01T12:00:00Z"`, `"dct:created": "2026-03-01T12:00:00+01:00"`},
		"a time that is not":       {`"dct:created": "2026-03-01T12:00:00Z"`, `"dct:created": "2026-13-01T12:00:00Z"`},
		"a country that is not":    {`"domicile:toJurisdiction": "loc:US"`, `"domicile:toJurisdiction": "loc:usa"`},
		"an unknown state":         {`"dct:identifier": "WITHDRAWN"`, `"dct:identifier": "ASLEEP"`},
		"an unknown purpose":       {`"dct:identifier": "PAYMENTS"`, `"dct:identifier": "FUN"`},
		"another digest":           {"sha256:abab", "sha256:ABAB"},
		"implied consent":          {`"dpv:ExplicitlyExpressedConsent"`, `"dpv:ImpliedConsent"`},
		"an expired one withdrawn": {`"dpv:ConsentWithdrawn"`, `"dpv:ConsentExpired"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: there is no %s", name, change[0])
		} else if s.Validate(parse(t, []byte(bad))) == nil {
			t.Errorf("%s is valid", name)
		}
	}
	if s.Validate(parse(t, []byte(strings.Replace(good, `"@context": {`, `"@context": "https://example.org/c", "x": {`, 1)))) == nil {
		t.Error("a context that has to be fetched is valid")
	}
}

// The context is in the document, and every name in the document is one that it
// explains: nothing has to be fetched to read it.
func TestReceiptContextResolves(t *testing.T) {
	c, f := fullReceipt()
	doc := parse(t, mustReceipt(t, c, f)).(map[string]any)
	context, inline := doc["@context"].(map[string]any)
	if !inline {
		t.Fatal("the context is not in the document")
	}
	resolves := func(name string) bool {
		prefix, rest, ok := strings.Cut(name, ":")
		if prefix == "urn" || prefix == "spiffe" { // whole names already
			return ok
		}
		iri, known := context[prefix].(string)
		return ok && known && rest != "" && (strings.Contains(iri, "://") || strings.HasPrefix(iri, "urn:"))
	}
	delete(doc, "@context")
	walk(doc, "", func(path string, _, _ func()) {
		key := path[strings.LastIndex(path, "/")+1:]
		if !strings.HasPrefix(key, "@") && !resolves(key) {
			t.Errorf("%s does not resolve", path)
		}
	})
	names := 0
	values(doc, func(key, value string) {
		coerced, _ := context[key].(map[string]any)
		if key == "@id" || key == "@type" || coerced["@type"] == "@id" {
			names++
			if strings.HasPrefix(value, "https://") {
				return
			}
			if !resolves(value) {
				t.Errorf("%s: %q does not resolve", key, value)
			}
		}
	})
	if names < 50 {
		t.Errorf("only %d names were looked at", names)
	}
	for key := range context {
		if !strings.HasPrefix(key, "@") && strings.Contains(key, ":") && !resolves(key) {
			t.Errorf("the context defines %s, whose prefix it does not", key)
		}
	}
}

// values visits every text below v with the key that it stands under.
func values(v any, visit func(key, value string)) {
	var under func(key string, v any)
	under = func(key string, v any) {
		switch v := v.(type) {
		case string:
			visit(key, v)
		case []any:
			for _, item := range v {
				under(key, item)
			}
		case map[string]any:
			for k, member := range v {
				under(k, member)
			}
		}
	}
	under("", v)
}
