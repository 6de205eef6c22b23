package residency

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "A-1._z": true, "0": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "-a": false, ".a": false, "_a": false,
		"a b": false, "a/b": false, "a@b": false, "ä": false, "a\x00": false, "a\n": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v", id, got)
		}
	}
}

func TestJurisdictions(t *testing.T) {
	all := Jurisdictions()
	if len(all) != 249 {
		t.Errorf("%d codes, ISO 3166-1 has 249", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Jurisdiction) int { return strings.Compare(a.String(), b.String()) }) {
		t.Error("the codes are not in order")
	}
	for _, code := range []string{"CH", "US", "DE", "GB", "LI"} {
		if j, err := ParseJurisdiction(code); err != nil || j.String() != code {
			t.Errorf("%s: %v %v", code, j, err)
		}
	}
	for _, code := range []string{"", "C", "CHE", "ch", "UK", "EU", "XX", "AN", "ZZ", "C1"} {
		if _, err := ParseJurisdiction(code); err == nil {
			t.Errorf("%q is accepted", code)
		}
	}
	members := 0
	for _, j := range all {
		if j.InEEA() {
			members++
		}
	}
	if members != 30 {
		t.Errorf("%d members, the EU and EEA have 30", members)
	}
	if (Jurisdiction{}).InEEA() || (Jurisdiction{'C', 'H'}).InEEA() || !(Jurisdiction{'L', 'I'}).InEEA() {
		t.Error("CH is not in the EEA, LI is, nowhere is not")
	}
}

// Every value has a name of its own, and its name leads back to it.
func TestNames(t *testing.T) {
	for k := Kind(1); k < NumKinds; k++ {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("kind %d: %v %v", k, got, err)
		}
	}
	for p := Purpose(1); p < NumPurposes; p++ {
		if got, err := ParsePurpose(p.String()); err != nil || got != p {
			t.Errorf("purpose %d: %v %v", p, got, err)
		}
	}
	for a := Action(1); a < NumActions; a++ {
		if got, err := ParseAction(a.String()); err != nil || got != a {
			t.Errorf("action %d: %v %v", a, got, err)
		}
	}
	for r := range Requirement(NumRequirements) {
		if got, err := ParseRequirement(r.String()); err != nil || got != r {
			t.Errorf("requirement %d: %v %v", r, got, err)
		}
	}
	for _, bad := range []string{"", "UNSPECIFIED", "payments", "NOPE"} {
		if _, err := ParsePurpose(bad); err == nil {
			t.Errorf("purpose %q is accepted", bad)
		}
	}
	if s := Purpose(99).String(); s != "UNKNOWN(99)" {
		t.Error(s)
	}
}

func TestSetsNeverHoldTheUnspecified(t *testing.T) {
	if PurposeSet(PurposeUnspecified).Has(PurposeUnspecified) || DataClassSet(DataClassUnspecified).Has(DataClassUnspecified) {
		t.Error("unspecified is in a set")
	}
	s := PurposeSet(Payments, Marketing)
	if !slices.Equal(s.List(), []Purpose{Payments, Marketing}) {
		t.Error(s.List())
	}
	if !slices.Equal(Set(RequireLegalOrder, RequireConsent).Names(), []string{"consent", "legal-order"}) {
		t.Error("requirements are not in their order")
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	var d Decision
	if d.Allow {
		t.Error("the zero decision permits")
	}
}

func TestErrors(t *testing.T) {
	inner := &Error{Op: "store.Get", Kind: NotFound, Err: io.EOF, Decision: &Decision{ID: "d"}}
	outer := E("gateway.Get", Internal, inner)
	if outer.Kind != NotFound || outer.Decision == nil || !errors.Is(outer, io.EOF) {
		t.Errorf("%+v", outer)
	}
	if KindOf(nil) != OK || KindOf(io.EOF) != Internal || KindOf(outer) != NotFound {
		t.Error("KindOf")
	}
	if e := Bad("op", "field", "must be right"); e.Kind != BadRequest || e.Error() != "op: BAD_REQUEST: field: must be right" {
		t.Error(e)
	}
	for k := range Kind(NumKinds) {
		if k.Retryable() && (k == OK || k == Internal || k == NotFound || k == Canceled) {
			t.Errorf("%v is retryable", k)
		}
	}
}
