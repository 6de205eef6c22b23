package policy

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestMatrix(t *testing.T) {
	drives := map[string][2]string{"CH": {"needs not-restricted", "needs consent, not-restricted"}, "US": {"yes", "needs consent"}}
	for home, p := range shippedPolicies(t) {
		var b strings.Builder
		if err := NewMatrix(p).WriteText(&b); err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(" {2,}").ReplaceAllString(b.String(), " | ")
		for _, want := range []string{
			p.Version + ", " + home,
			"ACTION | DATA | WHO AND WHAT FOR | WITHIN " + home + " | ABROAD",
			"USE | VIRTUAL_DRIVE_DATA | by PROVIDER; SERVICE_PROVISION | " + drives[home][0] + " | no: DRIVE_DATA_NEVER_SHARED",
			"USE | VIRTUAL_DRIVE_DATA | by TENANT; SERVICE_PROVISION | " + drives[home][0] + " | " + drives[home][1],
			"USE | PERSONAL_INFORMATION | MARKETING | needs purpose, not-restricted, opt-in | needs consent, purpose, not-restricted, opt-in",
			"GOVERN | ACCOUNT_DATA | no purpose | yes | yes",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", p.Version, want, text)
			}
		}
		if n := strings.Count(text, "\n"); n > 80 {
			t.Errorf("%s: %d lines: nobody reads that", p.Version, n)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestMatrixGivesTheWritersError(t *testing.T) {
	for _, p := range []*Policy{nil, shippedPolicies(t)["CH"]} {
		if NewMatrix(p).WriteText(full{}) == nil {
			t.Error("a failed write is not reported")
		}
	}
}
