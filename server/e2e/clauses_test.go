package e2e

import (
	"slices"
	"strings"
	"testing"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// mark says what a column of the clause table has of a clause.
type mark uint8

const (
	silent mark = iota // the clause does not apply there
	said               // the policy's own words
	ours               // the product's rule, since the policy is silent
	both               // said of personal information, the product's rule for drives
)

// clauseRows are the clauses of both privacy policies and what each is tested by. A test runs
// in every column that is not silent. Those that look at whole folders run alone.
var clauseRows = []struct {
	id     string
	ch, us mark
	test   func(*clause)
	alone  bool
}{
	{id: "controller", ch: said, us: said, test: testController},
	{id: "pi-fields", ch: said, us: said, test: testPersonalFields, alone: true},
	{id: "pi-sources", ch: said, us: said, test: testSources},
	{id: "drive-storage", ch: said, us: said, test: testDriveStorage, alone: true},
	{id: "drive-cipher", ch: said, us: ours, test: testDriveCipher},
	{id: "no-inspection", ch: said, us: ours, test: testNoInspection},
	{id: "metering", ch: said, us: ours, test: testMetering},
	{id: "aup-inspection", ch: said, us: ours, test: testAbuseInspection},
	{id: "purpose", ch: said, us: said, test: testPurpose},
	{id: "purposes", ch: said, us: said, test: testPurposes},
	{id: "processors", ch: said, us: said, test: testProcessors},
	{id: "protection", ch: said, us: said, test: testProtection},
	{id: "marketing", ch: said, us: said, test: testMarketing},
	{id: "business-transfer", ch: said, us: said, test: testBusinessTransfer},
	{id: "fraud-exchange", ch: said, us: said, test: testFraudExchange},
	{id: "choice", ch: said, us: said, test: testChoice},
	{id: "third-party-order", ch: said, us: ours, test: testThirdPartyOrder},
	{id: "drive-never-shared", ch: said, us: said, test: testDriveNeverShared},
	{id: "product/border", ch: ours, us: ours, test: testBorder},
	{id: "eu-residents", ch: said, us: silent, test: testEUResidents},
	{id: "us-residents", ch: silent, us: said, test: testUSResidents},
	{id: "implied-acceptance", ch: said, us: said, test: testImpliedAcceptance},
	{id: "security", ch: said, us: said, test: testSecurity},
	{id: "no-card-data", ch: said, us: said, test: testNoCardData},
	{id: "cookies", ch: said, us: said, test: testCookies},
	{id: "decline-cookies", ch: said, us: said, test: testDeclineCookies},
	{id: "legal-order", ch: said, us: said, test: testLegalOrder},
	{id: "informal-request", ch: said, us: said, test: testInformalRequest},
	{id: "children", ch: silent, us: said, test: testChildren},
	{id: "revisions", ch: said, us: said, test: testRevisions},
	{id: "stop-holding", ch: said, us: both, test: testStopHolding},
	{id: "change-use", ch: said, us: said, test: testChangeUse},
	{id: "languages", ch: said, us: said, test: testLanguages},
}

// added are the product's own rules that no row asks for: who else may be homed in a region,
// where what governs data is kept, and what a table of decisions needs to be whole.
var added = []string{"product/placement", "product/governance", "product/export", "product/form", "product/default"}

// ids are the ids under which a region's policy has a clause.
func (m mark) ids(id string) []string {
	switch m {
	case said:
		return []string{id}
	case ours:
		return []string{"product/" + strings.TrimPrefix(id, "product/")}
	case both:
		return []string{id, "product/" + id}
	}
	return nil
}

// TestClauses shows every clause of both privacy policies at work: each in each region whose
// policy has it, on the allowed and on the denied side, through the running gateway.
func TestClauses(t *testing.T) { testClauses(t, gateway(t)) }

// TestClausesOnServers shows the same where PostgreSQL and S3 servers keep the data.
func TestClausesOnServers(t *testing.T) { testClauses(t, onServers(t)) }

func testClauses(t *testing.T, d *daemon) {
	for _, home := range []country{switzerland, unitedStates} {
		t.Run(home.region, func(t *testing.T) {
			people := d.callers(t, home)
			for _, row := range clauseRows {
				m := row.ch
				if home.region == unitedStates.region {
					m = row.us
				}
				if m == silent {
					continue
				}
				t.Run(row.id, func(t *testing.T) {
					if !row.alone {
						t.Parallel()
					}
					row.test(newClause(t, d, home, people, m.ids(row.id)[0]))
				})
			}
		})
	}
}

// TestClausesMatchThePolicies: the clauses that are tested are those of the policies in force,
// and no policy claims that its text says what is the product's own rule.
func TestClausesMatchThePolicies(t *testing.T) {
	d := gateway(t)
	for _, home := range []country{switzerland, unitedStates} {
		want := slices.Clone(added)
		for _, row := range clauseRows {
			m := row.ch
			if home.region == unitedStates.region {
				m = row.us
			}
			want = append(want, m.ids(row.id)...)
		}
		r, err := d.dial(t, "sre").Policies.ListPolicies(t.Context(), &residencyv1.ListPoliciesRequest{Region: home.region})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Policies) != 1 || !r.Policies[0].Active {
			t.Fatalf("%s: %d policies, want the one in force", home.region, len(r.Policies))
		}
		var got []string
		for _, c := range r.Policies[0].Clauses {
			got = append(got, c.ClauseId)
			if c.Said == strings.HasPrefix(c.ClauseId, "product/") {
				t.Errorf("%s: clause %s: said is %v", home.region, c.ClauseId, c.Said)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the policy has the clauses\n%s\nwant\n%s", home.region, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}
