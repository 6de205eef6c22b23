package policy

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/domicile-project/domicile/residency"
)

// matcherKeys are the keys of a matcher, in the order of the dimensions.
var matcherKeys = []string{"action", "data", "to", "purpose", "source", "recipient", "party"}

// withMatcher gives the keys of something that has a matcher.
func withMatcher(keys ...string) []string { return append(keys, matcherKeys...) }

// matcher reads the matcher keys of a rule; one that is left out matches any value.
func (r *reader) matcher(f map[string]ast.Node) matcher {
	m := matchAll()
	for d, key := range matcherKeys {
		if n := f[key]; n != nil {
			m[d] = r.values(dimension(d), n, key)
		}
	}
	return m
}

// values reads a word or a list of words of one dimension.
func (r *reader) values(d dimension, n ast.Node, key string) uint64 {
	if bits, ok := keyword(d, word(n)); ok {
		return bits
	}
	var bits uint64
	for _, m := range r.words(n, key) {
		text := r.text(m, key)
		if r.err != nil {
			return 0
		}
		v, err := r.value(d, text)
		if err != nil {
			r.fail(m, "%s", brief(err))
			return 0
		}
		bits |= 1 << v
	}
	return bits
}

// keyword reads the words that stand for several values at once.
func keyword(d dimension, text string) (uint64, bool) {
	const zero = 1 << 0 // "home" of places, "none" of purposes and recipients
	switch {
	case d == byPlace && text == "home":
		return zero, true
	case d == byPlace && text == "abroad":
		return anything &^ zero, true
	case (d == byPurpose || d == byRecipient) && text == "none":
		return zero, true
	case (d == byPurpose || d == byRecipient) && text == "stated":
		return anything &^ zero, true
	}
	return 0, false
}

// value reads one value of a dimension and gives its index.
func (r *reader) value(d dimension, text string) (uint8, error) {
	switch d {
	case byAction:
		v, err := residency.ParseAction(text)
		return uint8(v) - 1, err
	case byClass:
		v, err := residency.ParseDataClass(text)
		return uint8(v) - 1, err
	case byPlace:
		return r.place(text)
	case byPurpose:
		v, err := residency.ParsePurpose(text)
		return uint8(v), err
	case bySource:
		v, err := residency.ParseSource(text)
		return uint8(v) - 1, err
	case byRecipient:
		v, err := residency.ParseRecipientKind(text)
		return uint8(v), err
	}
	v, err := residency.ParseParty(text)
	return uint8(v) - 1, err
}

// place gives the index of a named jurisdiction, a new one when it is named for the first time.
func (r *reader) place(code string) (uint8, error) {
	j, err := residency.ParseJurisdiction(code)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is none of home, abroad and the jurisdictions: %w", quote(code), err)
	case j == r.p.Jurisdiction:
		return 0, fmt.Errorf("%s is the policy's own jurisdiction: write home", j)
	}
	for i, known := range r.named {
		if known == j {
			return uint8(placeNamed + i), nil
		}
	}
	if len(r.named) == maxPlaces {
		return 0, fmt.Errorf("more than %d jurisdictions are named: want at most that many", maxPlaces)
	}
	r.named = append(r.named, j)
	return uint8(placeNamed + len(r.named) - 1), nil
}
