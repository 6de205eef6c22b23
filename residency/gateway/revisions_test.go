package gateway

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// revised gives the Swiss policy as a later version, changed.
func revised(t *testing.T, version string, effective time.Time, change func(string) string) *policy.Policy {
	t.Helper()
	file, _ := policy.Shipped("ch-2012-05-02.yaml")
	text := strings.Replace(string(file), "version: ch-2012-05-02", "version: "+version, 1)
	text = strings.Replace(text, "effective: 2012-05-02", "effective: "+effective.UTC().Format("2006-01-02"), 1)
	p, err := policy.Parse([]byte(change(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(s string) string { return s }

// voidsCrossings makes a version under which earlier border crossings no longer hold.
func voidsCrossings(s string) string {
	return strings.Replace(s, "\nclauses:\n", "\nvoids: [BORDER_CROSSING]\n\nclauses:\n", 1)
}

func with(versions ...*policy.Policy) option {
	return func(c *Config) { c.Regions[0].Policies = append(c.Regions[0].Policies, versions...) }
}

// A version comes into force at its time, without a restart; the consents that it
// voids are superseded by it, the streams that rest on them end, and new ones hold.
func TestRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
		w := newWorld(t, with(revised(t, "ch-2026", day, voidsCrossings)))
		w.tenant("acme", ch)
		if _, _, err := w.put(ch, "acme", aRecord("s1", "r1"), nil); err != nil {
			t.Fatal(err)
		}
		old := w.grant("acme", "s1", residency.PersonalInformation, residency.Payments)
		_, call, err := w.get(us, "acme", "s1", "r1")
		if err != nil || call.Decision.PolicyVersion != "ch-2012-05-02" {
			t.Fatalf("before the revision: %v under %s", err, call.Decision.PolicyVersion)
		}
		time.Sleep(time.Until(day))
		_, call, err = w.get(us, "acme", "s1", "r1")
		if residency.KindOf(err) != residency.ConsentIsSuperseded || call.Decision.PolicyVersion != "ch-2026" {
			t.Fatalf("after the revision: %v under %s", err, call.Decision.PolicyVersion)
		}
		got, err := w.g.GetConsent(t.Context(), as(ch, "GetConsent", residency.Govern, residency.PersonalInformation), "acme", old.ID)
		if err != nil || got.State != residency.ConsentSuperseded || got.SupersededBy != "ch-2026" || !got.Superseded.Equal(day) {
			t.Errorf("the voided consent: %v, %v by %q at %v", err, got.State, got.SupersededBy, got.Superseded)
		}
		w.grant("acme", "s1", residency.PersonalInformation, residency.Payments)
		if _, _, err := w.get(us, "acme", "s1", "r1"); err != nil {
			t.Errorf("a consent under the new version: %v", err)
		}
	})
}

// What was in force is on record: the same version with another digest keeps the gateway from
// serving, and a later version that another gateway has makes the region unavailable here.
func TestPolicyRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
		w := newWorld(t)
		other := func(versions ...*policy.Policy) *Gateway {
			t.Helper()
			cfg := w.g.cfg
			cfg.Regions = slices.Clone(cfg.Regions)
			cfg.Regions[0].Policies = versions
			g, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		shippedOne := w.g.cfg.Regions[0].Policies[0]
		if err := w.g.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.tenant("acme", ch)

		changed := revised(t, "ch-2012-05-02", shippedOne.Effective, func(s string) string { return s + "# changed\n" })
		err := other(changed).Prepare(t.Context())
		if residency.KindOf(err) != residency.PolicyUnavailable || !strings.Contains(err.Error(), changed.Digest) {
			t.Errorf("a changed file under the same version: %v", err)
		}
		ahead := other(shippedOne, revised(t, "ch-2026", day, same))
		if err := ahead.Prepare(t.Context()); err != nil {
			t.Errorf("a version that is not in force yet: %v", err)
		}
		get := func(g *Gateway) error {
			_, err := g.GetTenant(t.Context(), as(ch, "GetTenant", residency.Use, residency.AccountData), "acme")
			return err
		}
		time.Sleep(time.Until(day))
		for _, g := range []*Gateway{ahead, w.g} {
			g.watchPolicies(t.Context(), &g.cfg.Regions[0], &g.cfg.Regions[0].Clusters[0])
		}
		if err := get(ahead); err != nil {
			t.Errorf("who has the version in force: %v", err)
		}
		if err := get(w.g); residency.KindOf(err) != residency.PolicyUnavailable {
			t.Errorf("who does not have the version in force: %v", err)
		}
	})
}

// A receipt tells what became of the consent, a revision included.
func TestReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
		w := newWorld(t, with(revised(t, "ch-2026", day, voidsCrossings)))
		w.tenant("acme", ch)
		c := w.grant("acme", "s1", residency.PersonalInformation, residency.Payments)
		govern := func(j residency.Jurisdiction) *Call {
			return as(j, "GetConsentReceipt", residency.Govern, residency.PersonalInformation)
		}
		before, err := w.g.GetConsentReceipt(t.Context(), govern(ch), "acme", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(day))
		after, err := w.g.GetConsentReceipt(t.Context(), govern(ch), "acme", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{before, after} {
			if !json.Valid(b) || !strings.Contains(string(b), c.ID) || !strings.Contains(string(b), "CloudSigma AG") {
				t.Errorf("the receipt is not one: %s", b)
			}
		}
		if strings.Contains(string(before), "ch-2026") || !strings.Contains(string(after), "ch-2026") {
			t.Error("the revision is told before it is in force, or not after")
		}
		if _, err := w.g.GetConsentReceipt(t.Context(), govern(us), "acme", c.ID); residency.KindOf(err) != residency.CrossBorderConsentRequired {
			t.Errorf("from abroad: %v", err)
		}
		if _, err := w.g.GetConsentReceipt(t.Context(), govern(ch), "acme", "0"); residency.KindOf(err) != residency.NotFound {
			t.Errorf("an absent one: %v", err)
		}
	})
}
