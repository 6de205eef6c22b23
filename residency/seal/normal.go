package seal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The versions of the normal forms, digested with them: a change of a rule is a
// new version, and lookups of the old one are made anew.
const (
	emailForm = "email/1"
	phoneForm = "phone/1"
)

// LookupEmail gives the blind index of an e-mail address: a keyed digest of its
// normal form, by which equal addresses are found without being stored. Verify with SameEmail
// after opening: a digest is a hint. Errors: of kind BadRequest when the text has no normal form.
func (k *TenantKeys) LookupEmail(s string) (store.ID, error) {
	n, ok := normalEmail(s)
	if !ok {
		return "", residency.Bad("seal.LookupEmail", "email_address", "needs UTF-8 text with at least one character that is no space")
	}
	return k.blind(emailForm, n), nil
}

// LookupPhone gives the blind index of a phone number, as LookupEmail does.
func (k *TenantKeys) LookupPhone(s string) (store.ID, error) {
	n, ok := normalPhone(s)
	if !ok {
		return "", residency.Bad("seal.LookupPhone", "phone_number", "needs UTF-8 text with at least one digit or letter")
	}
	return k.blind(phoneForm, n), nil
}

func (k *TenantKeys) blind(form, normal string) store.ID {
	s := k.lookup.begin()
	s.in = appendPart(s.in, form)
	s.in = appendPart(s.in, normal)
	id := store.ID(s.end()[:digestSize])
	k.lookup.release(s)
	return id
}

// SameEmail reports whether two e-mail addresses have the same normal form.
func SameEmail(a, b string) bool { return same(normalEmail, a, b) }

// SamePhone reports whether two phone numbers have the same normal form.
func SamePhone(a, b string) bool { return same(normalPhone, a, b) }

func same(normal func(string) (string, bool), a, b string) bool {
	x, okX := normal(a)
	y, okY := normal(b)
	return okX && okY && x == y
}

// normalEmail gives form 1 of an address: without white space, every character
// folded to the smallest of those that differ from it in case only (Unicode simple
// folding). Dots, tags and composed accents count as they are written. False when nothing is left.
func normalEmail(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	n := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return fold(r)
	}, s)
	return n, n != ""
}

// normalPhone gives form 1 of a number: its digits and letters, folded as in an
// address and in their order. A number that begins, but for punctuation, with a
// plus or with 00 is an international one: it begins with a plus in the form, and
// "(0)" is left out, since that is dialled only without the plus. No country's own
// rules are known here. False when nothing is left.
func normalPhone(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	start := strings.IndexFunc(s, func(r rune) bool { return r == '+' || isSign(r) })
	if start < 0 {
		return "", false
	}
	plus := s[start] == '+'
	if !plus && !strings.HasPrefix(signs(s), "00") {
		return signs(s), true
	}
	n := signs(strings.Replace(s, "(0)", "", 1))
	if !plus {
		n = strings.TrimPrefix(n, "00")
	}
	if n == "" { // nothing but the sign of an international number
		n = signs(s)
		return n, n != ""
	}
	return "+" + n, true
}

// signs gives the digits and letters of a text, folded.
func signs(s string) string {
	return strings.Map(func(r rune) rune {
		if isSign(r) {
			return fold(r)
		}
		return -1
	}, s)
}

func isSign(r rune) bool { return unicode.IsDigit(r) || unicode.IsLetter(r) }

// fold gives the smallest of the characters that differ from r in case only.
func fold(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}
