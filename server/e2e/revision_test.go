package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// stricter is a rule that a later version of the Swiss policy has besides: nothing crosses the
// border for enquiries any more, consent or not.
const stricter = `  # --- across the border
  - action: [COLLECT, USE, TRANSFER, DISCLOSE, RESTRICT]
    data: PERSONAL_INFORMATION
    to: abroad
    purpose: ENQUIRIES
    deny: PURPOSE_NOT_PERMITTED
    clause: purposes
`

// revise writes the Swiss policy and a later version of it, in force from a time, into a folder.
func revise(t *testing.T, folder string, from time.Time) (old, later string) {
	t.Helper()
	r, err := gateway(t).dial(t, "sre").Policies.GetPolicy(t.Context(), &residencyv1.GetPolicyRequest{Region: "ch", Version: switzerland.version})
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.File)
	for was, is := range map[string]string{
		"version: " + switzerland.version + "\n": "version: ch-revised\n",
		"effective: 2012-05-02 ":                 "effective: " + from.UTC().Format(time.RFC3339Nano) + " ",
		"  # --- across the border\n":            stricter,
	} {
		if strings.Count(text, "\n"+was) != 1 {
			t.Fatalf("the policy has %q %d times", was, strings.Count(text, "\n"+was))
		}
		text = strings.Replace(text, "\n"+was, "\n"+is, 1)
	}
	old, later = filepath.Join(folder, "old.yaml"), filepath.Join(folder, "later.yaml")
	for file, content := range map[string]string{old: string(r.File), later: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return old, later
}

// A version of the policy comes into force while the gateway runs and people call it: at its
// time, without a restart and without a dropped call. Consents that it has no use for are
// superseded; the others stay.
func TestPolicyRevision(t *testing.T) {
	c, from, voided, kept := beforeRevision(t)
	calls := c.callAcross(from)
	c.version = "ch-revised"
	c.inForce(c.version)
	c.deny("enquiries from abroad", c.get(c.foreignApp, "s", "r", enquiries), "PURPOSE_NOT_PERMITTED", "purposes")
	c.allow("enquiries at home", c.get(c.app, "s", "r", enquiries), "purpose")
	c.allow("payments from abroad", c.get(c.foreignApp, "s", "r", payments), "product/border")
	for id, want := range map[string]residencyv1.ConsentState{
		voided: residencyv1.ConsentState_CONSENT_STATE_SUPERSEDED, kept: residencyv1.ConsentState_CONSENT_STATE_ACTIVE,
	} {
		r, err := c.app.Consents.GetConsent(t.Context(), &residencyv1.GetConsentRequest{TenantId: c.tenant, ConsentId: id})
		if err != nil || r.Consent.State != want {
			t.Errorf("a consent for %v is %v (%v), want %v", r.GetConsent().GetPurposes(), r.GetConsent().GetState(), err, want)
		}
	}
	before, after := c.eachByItsTime(from)
	if before == 0 || after == 0 {
		t.Errorf("%d decisions before the switch and %d after, want some of both", before, after)
	}
	t.Logf("%d calls across the switch, none dropped; %d decisions under the old version, %d under the new", calls, before, after)
}

// beforeRevision starts a gateway that has a later version to come, and gives the time that it
// will come into force and two consents: one that it will void, and one that it will keep.
func beforeRevision(t *testing.T) (c *clause, from time.Time, voided, kept string) {
	t.Helper()
	for wait := 5 * time.Second; wait < startLimit; wait *= 2 {
		folder := t.TempDir()
		from = time.Now().Add(wait).Truncate(time.Millisecond)
		old, later := revise(t, folder, from)
		text := strings.Replace(printed(t, filepath.Join(folder, "data")), "- ch-2012-05-02.yaml", "- "+old+"\n    - "+later, 1)
		d := configured(t, text)
		if time.Until(from) < wait/2 {
			continue // the machine is busy: with more time
		}
		c = newClause(t, d, switzerland, d.callers(t, switzerland), "revisions")
		c.hold("s", "r", payments, enquiries)
		voided, kept = c.grant(of(c.crossing(personal, enquiries), "s")), c.grant(of(c.crossing(personal, payments), "s"))
		c.inForce(switzerland.version)
		c.allow("enquiries from abroad", c.get(c.foreignApp, "s", "r", enquiries), "product/border")
		return c, from, voided, kept
	}
	t.Fatal("the gateway starts too slowly to see a switch")
	return nil, from, "", ""
}

// inForce checks which version of the policy is in force.
func (c *clause) inForce(version string) {
	c.Helper()
	r, err := c.admin.Policies.ListPolicies(c.Context(), &residencyv1.ListPoliciesRequest{Region: c.region})
	if err != nil || len(r.Policies) != 2 {
		c.Fatalf("%d policies (%v), want both", len(r.GetPolicies()), err)
	}
	for _, p := range r.Policies {
		if p.Active != (p.Version == version) {
			c.Errorf("version %s: in force is %v", p.Version, p.Active)
		}
	}
}

// callAcross calls without pause until a while after the switch, each caller making one attempt
// of each call. Whatever is not answered or refused by the policy is a dropped call.
func (c *clause) callAcross(from time.Time) int64 {
	c.Helper()
	ctx, stop := context.WithDeadline(c.Context(), from.Add(1500*time.Millisecond))
	defer stop()
	var calls atomic.Int64
	var wg sync.WaitGroup
	for _, identity := range []string{"app-" + c.region, "app-" + c.abroadRegion} {
		for _, purpose := range []residencyv1.Purpose{payments, enquiries} {
			once, err := client.Dial(c.Context(), client.Options{
				Address: c.d.grpc, Identity: client.EmbeddedIdentity(c.d.data, identity), MaxAttempts: 1,
			})
			if err != nil {
				c.Fatal(err)
			}
			defer once.Close()
			wg.Go(func() {
				for ctx.Err() == nil {
					err := c.get(once, "s", "r", purpose)(grpc.EmptyCallOption{})
					var denied *client.Denied
					if err != nil && !errors.As(err, &denied) {
						c.Errorf("%s for %v: %v", identity, purpose, err)
						return
					}
					calls.Add(1)
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	wg.Wait()
	return calls.Load()
}

// eachByItsTime reads every decision about the tenant: each was made under the version that was
// in force at its time, and enquiries from abroad were allowed under the old one alone.
func (c *clause) eachByItsTime(from time.Time) (before, after int) {
	c.Helper()
	req := &residencyv1.ListDecisionsRequest{TenantId: c.tenant, PageSize: 1000}
	for {
		r, err := c.admin.Audit.ListDecisions(c.Context(), req)
		if err != nil {
			c.Fatal(err)
		}
		for _, record := range r.Records {
			d := record.Decision
			revised := !d.DecideTime.AsTime().Before(from)
			want := switzerland.version
			if revised {
				want, after = "ch-revised", after+1
			} else {
				before++
			}
			abroad := d.Action == residencyv1.Action_ACTION_USE && d.ToJurisdiction == c.abroad && d.Purpose == enquiries
			if d.PolicyVersion != want || abroad && (d.Outcome == residencyv1.Outcome_OUTCOME_DENY) != revised {
				c.Errorf("at %v, with the switch at %v: %v under version %s", d.DecideTime.AsTime(), from, d.Outcome, d.PolicyVersion)
			}
		}
		if req.PageToken = r.NextPageToken; req.PageToken == "" {
			return before, after
		}
	}
}

// The command line tells of the same two files, without a gateway, what changes and which
// consents are voided; of one file and itself, nothing.
func TestPolicyDiff(t *testing.T) {
	old, later := revise(t, t.TempDir(), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	d := gateway(t)
	out := d.must(t, "", "policy", "diff", old, later)
	for _, want := range []string{switzerland.version, "ch-revised", "ENQUIRIES", "PURPOSE_NOT_PERMITTED", "BORDER_CROSSING"} {
		if !strings.Contains(out, want) {
			t.Errorf("the difference lacks %s:\n%s", want, out)
		}
	}
	if out := d.must(t, "", "policy", "diff", old, old); !strings.Contains(out, " 0 differ") {
		t.Errorf("a file differs from itself:\n%s", out)
	}
	file, err := os.ReadFile(later)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.dial(t, "sre").Policies.ComparePolicies(t.Context(), &residencyv1.ComparePoliciesRequest{
		Region: "ch", FromVersion: switzerland.version, To: &residencyv1.ComparePoliciesRequest_Candidate{Candidate: file},
	})
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("%d decisions compared, %d differ", r.Compared, r.Changed)
	if r.Changed == 0 || !strings.Contains(out, said) {
		t.Errorf("the gateway says %q, the command line\n%s", said, out)
	}
	if !slices.ContainsFunc(r.Voided, func(v *residencyv1.VoidedConsents) bool {
		return v.Kind == residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING && v.DataClass == personal && v.Purpose == enquiries
	}) || slices.ContainsFunc(r.Voided, func(v *residencyv1.VoidedConsents) bool { return v.Purpose == payments }) {
		t.Errorf("voided are %v", r.Voided)
	}
}
