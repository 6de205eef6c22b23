package gateway

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
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
	err := refuseCards(op, text{"record.personal.full_name", r.FullName}, text{"record.personal.postal_address", r.Address},
		text{"record.personal.email_address", r.Email}, text{"record.source_party", r.SourceParty})
	for k, v := range r.Attributes {
		if err == nil {
			err = refuseCards(op, text{"record.personal.attributes", k}, text{"record.personal.attributes", v})
		}
	}
	return err
}

// text is a field of a request that may hold personal information.
type text struct{ field, value string }

// refuseCards refuses texts that hold a payment-card number (clause no-card-data).
func refuseCards(op string, texts ...text) error {
	for _, t := range texts {
		if holdsCard(t.value) {
			return &residency.Error{Op: op, Kind: residency.CardDataRefused, Violations: []residency.Violation{{
				Field: t.field, Description: "must not hold a payment-card number",
			}}}
		}
	}
	return nil
}

// refuseCardsIn does so for how it is known that somebody agreed; nil = it is not said.
func refuseCardsIn(op, field string, e *consent.Evidence) error {
	if e == nil {
		return nil
	}
	return refuseCards(op, text{field + ".method", e.Method}, text{field + ".grantor", e.Grantor})
}

// holdsCard reports whether a text holds a payment-card number: a run of digits
// of any script, spaces and dashes of any kind between them allowed, with the length and
// prefix of an issuer (ISO/IEC 7812) and a correct check digit (Luhn, ISO/IEC 7812-1 annex B).
func holdsCard(s string) bool {
	var room [32]byte
	digits := room[:0]
	for _, r := range s {
		if d, ok := digitOf(r); ok {
			digits = append(digits, d)
			continue
		}
		if len(digits) == 0 || separates(r) {
			continue
		}
		if runHoldsCard(digits) {
			return true
		}
		digits = digits[:0]
	}
	return runHoldsCard(digits)
}

// digitOf gives a decimal digit's value. Unicode has them in tens, from zero on.
func digitOf(r rune) (byte, bool) {
	if r < utf8.RuneSelf {
		return byte(r - '0'), '0' <= r && r <= '9'
	}
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10), true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10), true
		}
	}
	return 0, false
}

// separates reports whether a number may be written with r between its digits.
func separates(r rune) bool {
	switch {
	case r == ' ' || r == '-' || r == '\t' || r == '\n':
		return true
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Pd, r) || unicode.Is(unicode.Cf, r) || r == '\u2212' // minus
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
