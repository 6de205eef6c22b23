package seal_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"pgregory.net/rapid"
)

func TestIDs(t *testing.T) {
	v := newVault(t)
	a, b := tenantKeys(t, v, tenantA), tenantKeys(t, v, tenantB)
	if a.ID("x", "1") == b.ID("x", "1") {
		t.Error("two tenants have an id in common")
	}
	lists := [][]string{{""}, {"", ""}, {"ab"}, {"a", "b"}, {"", "ab"}, {"ab", ""}, {"a", "", "b"}, {"\x01a", "b"}, {"a", "\x01b"}, {strings.Repeat("a", 500)}}
	seen := map[store.ID][]string{}
	for _, l := range lists {
		id := a.ID(l[0], l[1:]...)
		if len(id) != 16 || id != a.ID(l[0], l[1:]...) {
			t.Errorf("%q: id of %d bytes", l, len(id))
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q have one id", l, other)
		}
		seen[id] = l
	}
}

func TestSameEmail(t *testing.T) {
	same := [][]string{
		{"anna.muster@example.ch", "Anna.Muster@EXAMPLE.ch", " anna.muster@example.ch\n", "anna.muster @ example.ch", "anna.muster\u00a0@example.ch", "ANNA.MUSTER@example.ch\u2003"},
		{"zoë@example.ch", "ZOË@example.ch"},
		{"k@example.ch", "K@example.ch", "\u212a@example.ch"}, // Kelvin sign
		{"σας@example.ch", "ΣΑΣ@example.ch"},
		{"not an address", "NOTANADDRESS"},
	}
	check(t, "e-mail", same, seal.SameEmail, (*seal.TenantKeys).LookupEmail,
		[]string{"a.b@x.ch", "ab@x.ch", "a.b+tag@x.ch", "a.b@x.ch.", "zoe\u0308@x.ch", "zo\u00eb@x.ch", "a-b@x.ch"},
		[]string{"", " ", "\t\n", "\xff", "anna\xff@example.ch"})
}

func TestSamePhone(t *testing.T) {
	same := [][]string{
		{"+41446681800", "+41 44 668 18 00", "0041446681800", "00 41 44 668-18-00", "(+41) 44/668.18.00", "+41 (0)44 668 18 00", "\u202a+41 44 668 18 00\u202c", "0041 (0)44 668 18 00"},
		{"0446681800", "044 668 18 00", "(044) 668-18-00"},
		{"1-800-FLOWERS", "1 800 flowers"},
	}
	check(t, "phone", same, seal.SamePhone, (*seal.TenantKeys).LookupPhone,
		[]string{"+41446681800", "0446681800", "446681800", "41446681800", "+410446681800", "1-800-FLOWERS", "1-800-TAXICAB", "1800", "00", "0", "911 x 5", "911"},
		[]string{"", " ", "-", "()", "+", "\xff", "+41\xff", "+ "})
}

// check holds that the members of each group of same are alike and find each other,
// that no two of different are, and that none has no normal form.
func check(t *testing.T, what string, same [][]string, alike func(a, b string) bool,
	look func(*seal.TenantKeys, string) (store.ID, error), different, none []string) {
	v := newVault(t)
	a, b := tenantKeys(t, v, tenantA), tenantKeys(t, v, tenantB)
	equal := func(x, y string) bool {
		digest := must(look(a, x))(t) == must(look(a, y))(t)
		if digest != alike(x, y) {
			t.Errorf("%s: %q and %q: the digests say %t, the comparison %t", what, x, y, digest, alike(x, y))
		}
		return digest
	}
	for _, group := range same {
		for _, s := range group {
			if !equal(group[0], s) {
				t.Errorf("%s: %q and %q are not alike", what, group[0], s)
			}
		}
		if must(look(a, group[0]))(t) == must(look(b, group[0]))(t) {
			t.Errorf("%s: two tenants have a digest in common", what)
		}
	}
	for i, x := range different {
		for _, y := range different[:i] {
			if equal(x, y) {
				t.Errorf("%s: %q and %q are alike", what, x, y)
			}
		}
	}
	for _, s := range none {
		_, err := look(a, s)
		wantKind(t, err, residency.BadRequest, what)
		if alike(s, s) {
			t.Errorf("%s: %q is alike to itself", what, s)
		}
	}
}

// TestLookupsKeepApart: an address and a number of the same text have digests unlike each other
// and unlike any row's id.
func TestLookupsKeepApart(t *testing.T) {
	tk := tenantKeys(t, newVault(t), tenantA)
	email, phone := must(tk.LookupEmail("123"))(t), must(tk.LookupPhone("123"))(t)
	if email == phone || email == tk.ID("email/1", "123") {
		t.Error("digests of different things are equal")
	}
	_, err := tk.LookupEmail(canary + "\xff")
	wantKind(t, err, residency.BadRequest, "no text")
}

// TestNormalForms: case and spaces never matter, whatever the text.
func TestNormalForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringN(1, 64, -1).Draw(t, "s") + "1"
		spread := rapid.SampledFrom([]string{" ", "\t", "\u00a0", "\u2009"}).Draw(t, "space")
		other := strings.Map(func(r rune) rune {
			if rapid.Bool().Draw(t, "swap") {
				return unicode.SimpleFold(r)
			}
			return r
		}, s)
		if !seal.SameEmail(s, spread+other+spread) {
			t.Fatalf("e-mail: %q and %q are not alike", s, other)
		}
		if !seal.SamePhone(s, spread+other+spread) {
			t.Fatalf("phone: %q and %q are not alike", s, other)
		}
	})
}

func TestObjectPseudonyms(t *testing.T) {
	v := newVault(t)
	tk, s1, s2 := tenantKeys(t, v, tenantA), subjectKeys(t, v, tenantA, subject1), subjectKeys(t, v, tenantA, subject2)
	seen := map[string]bool{}
	for _, p := range [][]byte{
		tk.ObjectPseudonym(record), tk.ObjectPseudonym(drive1), s1.ObjectPseudonym(record), s2.ObjectPseudonym(record),
		tenantKeys(t, v, tenantB).ObjectPseudonym(record),
	} {
		if len(p) != 16 || seen[string(p)] {
			t.Errorf("%x has %d bytes or is another's", p, len(p))
		}
		seen[string(p)] = true
	}
	for _, p := range []string{tk.Pseudonym(), s1.Pseudonym(), s2.Pseudonym()} {
		if len(p) != 32 || seen[p] || strings.ToLower(p) != p {
			t.Errorf("pseudonym %q", p)
		}
		seen[p] = true
	}
}
