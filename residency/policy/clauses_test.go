package policy

import (
	"slices"
	"strings"
	"testing"
)

// mark says what a column of the clause table has of a clause.
type mark uint8

const (
	absent mark = iota // it does not apply
	said               // the policy's own words
	own                // the product's rule where the policy is silent
	both               // said of personal information, the product's rule for drives
)

// promised are the clauses of both texts, as they are numbered for people: what each
// column says. Those that the product adds are under product/ already.
var promised = []struct {
	id     string
	ch, us mark
}{
	{"controller", said, said},
	{"pi-fields", said, said},
	{"pi-sources", said, said},
	{"drive-storage", said, said},
	{"drive-cipher", said, own},
	{"no-inspection", said, own},
	{"metering", said, own},
	{"aup-inspection", said, own},
	{"purpose", said, said},
	{"purposes", said, said},
	{"processors", said, said},
	{"protection", said, said},
	{"marketing", said, said},
	{"business-transfer", said, said},
	{"fraud-exchange", said, said},
	{"choice", said, said},
	{"third-party-order", said, own},
	{"drive-never-shared", said, said},
	{"product/border", own, own},
	{"eu-residents", said, absent},
	{"us-residents", absent, said},
	{"implied-acceptance", said, said},
	{"security", said, said},
	{"no-card-data", said, said},
	{"cookies", said, said},
	{"decline-cookies", said, said},
	{"legal-order", said, said},
	{"informal-request", said, said},
	{"children", absent, said},
	{"revisions", said, said},
	{"stop-holding", said, both},
	{"change-use", said, said},
	{"languages", said, said},
}

// added are the product's own rules that no row of the texts' clauses asks for: who else
// may be homed in a region, where what governs data is kept, and what the table needs to be whole.
var added = []string{"product/placement", "product/governance", "product/export", "product/form", "product/default"}

// ids gives the ids that a file must declare for a mark.
func (m mark) ids(id string) []string {
	switch m {
	case said:
		return []string{id}
	case own:
		if strings.HasPrefix(id, ours) {
			return []string{id}
		}
		return []string{ours + id}
	case both:
		return []string{id, ours + id}
	}
	return nil
}

// TestClauseIDs: each shipped file declares the clauses of its column, those that are the
// product's as the product's, and no other.
func TestClauseIDs(t *testing.T) {
	for home, p := range shippedPolicies(t) {
		want := slices.Clone(added)
		for _, row := range promised {
			m := row.ch
			if home == "US" {
				m = row.us
			}
			want = append(want, m.ids(row.id)...)
		}
		var got []string
		for _, c := range p.Clauses {
			got = append(got, c.ID)
			if c.Said == strings.HasPrefix(c.ID, ours) {
				t.Errorf("%s: clause %s: said is %v", p.Version, c.ID, c.Said)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Errorf("%s lacks clause %s", p.Version, id)
			}
		}
		for _, id := range got {
			if !slices.Contains(want, id) {
				t.Errorf("%s has clause %s, which its column does not", p.Version, id)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d clauses, want %d", p.Version, len(got), len(want))
		}
	}
}
