package gateway

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// foreseen holds that every decision that a test's gateway has made is one that was to be expected of its policies, for
// callers in the places that it had to do with.
func (w *world) foreseen() {
	w.t.Helper()
	var places []residency.Jurisdiction
	w.g.metrics.known.Range(func(key, _ any) bool {
		places = append(places, key.(outcome).to)
		return true
	})
	expected := map[outcome]bool{}
	w.g.foresee(places, func(r residency.Region, d *residency.Decision) { expected[outcomeOf(r, d)] = true })
	w.g.metrics.known.Range(func(key, _ any) bool {
		o := key.(outcome)
		switch {
		case len(w.g.cfg.Elsewhere) == 0 && (o.reason == residency.UseHomeEndpoint || o.action == residency.Collect && o.to != o.from):
			return true // the test's call came by a gateway that is not configured
		case o.reason == residency.PurposeRequired: // no transport lets a call without its purpose come as far as here
			return true
		}
		if !expected[o] {
			w.t.Errorf("a decision came to what the metrics did not expect: %+v (%v of %v, %v)", o, o.action, o.class, o.reason)
		}
		return true
	})
}

// decisionLabels gathers the label sets of the counted decisions.
func decisionLabels(t *testing.T, reg *prometheus.Registry) map[outcomeLabels]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[outcomeLabels]float64{}
	for _, f := range families {
		if f.GetName() != "residency_decisions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			out[labelsOf(m)] = m.GetCounter().GetValue()
		}
	}
	return out
}

type outcomeLabels struct{ action, class, from, to, outcome, reason string }

func labelsOf(m *dto.Metric) outcomeLabels {
	of := map[string]string{}
	for _, l := range m.GetLabel() {
		of[l.GetName()] = l.GetValue()
	}
	return outcomeLabels{of["action"], of["data_class"], of["from"], of["to"], of["outcome"], of["reason"]}
}

// From the start every decision that a shipped policy's table has for what calls do shows as zero, in each place that the
// gateway has to do with, and no other place, action or class does.
func TestReachableDecisionsShowAsZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, func(c *Config) { c.Metrics = reg })
	shown := decisionLabels(t, reg)
	reasons := map[outcomeLabels]bool{} // that the tables give
	for _, r := range w.g.cfg.Regions {
		for _, a := range actions {
			for _, to := range []residency.Jurisdiction{ch, us} {
				if a.comesHome() && to != r.Jurisdiction {
					continue // no gateway of another place is configured
				}
				eachDecision(r.Policies[0], policy.Query{Action: a.action, DataClass: a.class, To: to}, a.shape, func(d *residency.Decision) {
					verdict := "DENY"
					if d.Allow {
						verdict = "ALLOW"
					}
					reasons[outcomeLabels{d.Action.String(), d.DataClass.String(), d.From.String(), d.To.String(), verdict, d.Reason.String()}] = true
				})
			}
		}
	}
	for want := range reasons {
		if n, there := shown[want]; !there || n != 0 {
			t.Errorf("%+v does not show as zero", want)
		}
	}
	for got := range shown {
		if !reasons[got] && !ofFact(got) {
			t.Errorf("%+v shows, and nothing comes to it", got)
		}
	}
	t.Logf("%d decisions, %d of them by the tables alone", len(shown), len(reasons))
}

// ofFact reports whether a decision is one that only a finding or an act can give.
func ofFact(l outcomeLabels) bool {
	k, err := residency.ParseKind(l.reason)
	if err != nil || l.outcome != "DENY" {
		return false
	}
	for _, of := range findings {
		if slices.Contains(of, k) {
			return true
		}
	}
	for _, a := range actions {
		if a.action.String() == l.action && a.class.String() == l.class {
			return slices.ContainsFunc(a.refusals, func(r refusal) bool { return r.reason == k }) || a.action == residency.Govern
		}
	}
	return false
}

// eachDecision decides a query with every purpose, source, recipient and party of its shape, with everything met and with each requirement
// alone not met.
func eachDecision(p *policy.Policy, q policy.Query, shape policy.Shape, f func(*residency.Decision)) {
	for q.Purpose = range residency.Purpose(residency.NumPurposes) {
		for q.Source = residency.Provided; q.Source < residency.NumSources; q.Source++ {
			for q.Recipient = range residency.RecipientKind(residency.NumRecipientKinds) {
				for q.Party = residency.ProviderParty; q.Party < residency.NumParties; q.Party++ {
					if shape.Purpose != (q.Purpose != 0) || !shape.Source && q.Source != residency.Provided || shape.Recipient != (q.Recipient != 0) {
						continue
					}
					needs := p.Requirements(q)
					d := p.Decide(q, &allMet)
					f(&d)
					for r := range residency.Requirement(residency.NumRequirements) {
						if needs.Has(r) {
							facts := allMet
							facts[r] = policy.Finding{}
							d := p.Decide(q, &facts)
							f(&d)
						}
					}
				}
			}
		}
	}
}

// Callers of another place bring decisions about that place, and nothing else.
func TestExpectAddsThePlacesOfCallers(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, func(c *Config) { c.Metrics = reg })
	before := decisionLabels(t, reg)
	de := residency.Jurisdiction{'D', 'E'}
	w.g.Expect([]residency.Jurisdiction{de, ch})
	after := decisionLabels(t, reg)
	if len(after) <= len(before) {
		t.Fatalf("%d decisions show, %d before", len(after), len(before))
	}
	for l := range after {
		if _, there := before[l]; !there && l.to != "DE" {
			t.Errorf("%+v shows, which is not about DE", l)
		}
		if l.from == "DE" {
			t.Errorf("%+v shows, and no region is at home in DE", l)
		}
	}
}

// A long list of places does not make the metrics grow without bound.
func TestExpectIsBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, func(c *Config) { c.Metrics = reg })
	w.g.Expect(residency.Jurisdictions())
	places := map[string]bool{}
	for l := range decisionLabels(t, reg) {
		places[l.to] = true
	}
	if want := 2 + maxExpected; len(places) != want {
		t.Errorf("decisions about %d places show, want %d", len(places), want)
	}
}
