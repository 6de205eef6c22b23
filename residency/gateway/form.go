package gateway

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// check refuses a record that is wrong in itself, whatever the policy says.
func (r *Record) check(op string, now time.Time) error {
	switch {
	case r.Source == residency.SourceUnspecified:
		return residency.Bad(op, "record.source", "must be stated")
	case r.Purposes == 0:
		return residency.Bad(op, "record.purposes", "must name at least one")
	case r.Source == residency.Automatic && r.Expires.IsZero():
		return residency.Bad(op, "record.expire_time", "must be stated for a record collected automatically")
	case r.Source == residency.FromThirdParty && r.SourceParty == "":
		return residency.Bad(op, "record.source_party", "must name the third party that the record came from")
	case r.Source != residency.FromThirdParty && r.SourceParty != "":
		return residency.Bad(op, "record.source_party", "must be empty unless the record came from a third party")
	case !r.Expires.IsZero() && !r.Expires.After(now):
		return residency.Bad(op, "record.expire_time", "must be in the future")
	case r.BirthDate != Date{} && !r.BirthDate.valid():
		return residency.Bad(op, "record.birth_date", "must be a date of the calendar")
	case r.BirthDate != Date{} && r.BirthDate.at().After(now):
		return residency.Bad(op, "record.birth_date", "must not be in the future")
	}
	return r.checkCards(op)
}

// checkCards refuses payment-card numbers in any personal field but the phone
// number (clause no-card-data). Passwords cannot be recognised.
func (r *Record) checkCards(op string) error {
	fields := []struct{ name, value string }{
		{"full_name", r.FullName}, {"postal_address", r.Address}, {"email_address", r.Email},
	}
	for _, k := range slices.Sorted(maps.Keys(r.Attributes)) {
		fields = append(fields, struct{ name, value string }{"attributes", k}, struct{ name, value string }{"attributes", r.Attributes[k]})
	}
	bad := func(field string) error {
		return &residency.Error{Op: op, Kind: residency.CardDataRefused, Violations: []residency.Violation{{
			Field: field, Description: "must not hold a payment-card number",
		}}}
	}
	for _, f := range fields {
		if holdsCard(f.value) {
			return bad("record.personal." + f.name)
		}
	}
	if holdsCard(r.SourceParty) {
		return bad("record.source_party")
	}
	return nil
}

// holdsCard reports whether a text holds a payment-card number: a run of digits, spaces
// and dashes between them allowed, with the length and prefix of an issuer
// (ISO/IEC 7812) and a correct check digit (Luhn, ISO/IEC 7812-1 annex B).
func holdsCard(s string) bool {
	digits := make([]byte, 0, 32)
	for i := 0; i <= len(s); i++ {
		switch {
		case i < len(s) && '0' <= s[i] && s[i] <= '9':
			digits = append(digits, s[i]-'0')
		case i < len(s) && (s[i] == ' ' || s[i] == '-') && len(digits) > 0:
		default:
			if runHoldsCard(digits) {
				return true
			}
			digits = digits[:0]
		}
	}
	return false
}

// runHoldsCard looks at every stretch of a run that could be a card number, so
// that digits before or after one do not hide it.
func runHoldsCard(digits []byte) bool {
	for from := range digits {
		for n := 13; n <= 19 && from+n <= len(digits); n++ {
			if d := digits[from : from+n]; issued(d) && luhn(d) {
				return true
			}
		}
	}
	return false
}

// issued reports whether a number has the prefix and length of a card issuer.
func issued(d []byte) bool {
	prefix := func(n int) (v int) {
		for _, c := range d[:n] {
			v = v*10 + int(c)
		}
		return v
	}
	n, p2, p3, p4 := len(d), prefix(2), prefix(3), prefix(4)
	switch {
	case d[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case p2 >= 51 && p2 <= 55, p4 >= 2221 && p4 <= 2720: // Mastercard
		return n == 16
	case p2 == 34 || p2 == 37: // American Express
		return n == 15
	case p2 == 36, p2 == 38, p2 == 39, p3 >= 300 && p3 <= 305: // Diners Club
		return n >= 14 && n <= 19
	case p4 == 6011, p2 == 65, p3 >= 644 && p3 <= 649: // Discover
		return n >= 16 && n <= 19
	case p4 >= 3528 && p4 <= 3589: // JCB
		return n >= 16 && n <= 19
	case p2 == 62, p2 == 81: // UnionPay
		return n >= 16 && n <= 19
	case p2 == 50, p2 >= 56 && p2 <= 58, p2 == 63, p2 == 67: // Maestro
		return n >= 13 && n <= 19
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i])
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

func (d Date) at() time.Time {
	return time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC)
}

func (d Date) valid() bool {
	if d.Year < 1 || d.Year > 9999 {
		return false
	}
	t := d.at()
	return t.Year() == d.Year && int(t.Month()) == d.Month && t.Day() == d.Day
}

// under reports whether somebody born on the date is younger than the given
// age on the day of now, in UTC. An unknown date is not.
func (d Date) under(years int, now time.Time) bool {
	return d != Date{} && years > 0 && now.UTC().Before(d.at().AddDate(years, 0, 0))
}

// String hides the date: it is personal information.
func (d Date) String() string { return fmt.Sprintf("%T(redacted)", d) }
