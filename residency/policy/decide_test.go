package policy

import (
	"math/bits"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency"
)

var ch, us, de = residency.Jurisdiction{'C', 'H'}, residency.Jurisdiction{'U', 'S'}, residency.Jurisdiction{'D', 'E'}

// meeting gives facts that meet a set, each by a reference named after the requirement.
func meeting(set residency.Requirements) *Facts {
	var f Facts
	for r := range residency.Requirement(residency.NumRequirements) {
		if set.Has(r) {
			f[r] = Finding{Met: true, Ref: r.String()}
		}
	}
	return &f
}

// TestDecideSubsets decides an access of every verdict with every subset of
// what it requires being met.
func TestDecideSubsets(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		decided := 0
		seen := make(map[*verdict]bool)
		p.table.each(func(c cell) {
			v := p.table.at(c)
			if seen[v] {
				return
			}
			seen[v] = true
			q := p.table.query(c)
			want := referenceOf(p).answer(q)
			for met := residency.Requirements(0); ; met = (met - v.requires) & v.requires { // the next subset
				decided++
				checkDecision(t, p, q, want, met)
				if met == v.requires {
					break
				}
			}
		})
		t.Logf("%s: %d verdicts, %d decisions", p.Version, len(seen), decided)
	}
}

func checkDecision(t *testing.T, p *Policy, q Query, want answer, met residency.Requirements) {
	t.Helper()
	d := p.Decide(q, meeting(met))
	reason, clause, missing := want.reason, want.clause, residency.Requirements(0)
	for r := range residency.Requirement(residency.NumRequirements) {
		if want.asks[r] == "" || met.Has(r) {
			continue
		}
		if missing == 0 {
			reason, clause = defaultReasons[r], want.asks[r]
		}
		missing |= residency.Set(r)
	}
	if d.Allow != (want.allow && missing == 0) || d.Reason != reason || d.Clause != clause || d.Missing != missing {
		t.Errorf("%s: %s with %v met: got %+v", p.Version, q, met.Names(), d)
	}
	if d.Allow == (d.Reason != residency.OK) {
		t.Errorf("%s: %s: allow is %v with reason %s", p.Version, q, d.Allow, d.Reason)
	}
}

func TestDecideFillsDecision(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	q := Query{Action: residency.Use, DataClass: residency.PersonalInformation, To: us, Purpose: residency.Payments, Party: residency.TenantParty}
	facts := meeting(residency.Set(residency.RequireConsent, residency.RequirePurpose, residency.RequireNotRestricted))
	facts[residency.RequireConsent].Ref = "c-1"
	got := p.Decide(q, facts)
	want := residency.Decision{
		Allow: true, Clause: "product/border", PolicyVersion: "ch-2012-05-02", PolicyDigest: p.Digest,
		Controller: "CloudSigma AG", ConsentID: "c-1", From: ch, To: us,
		Action: residency.Use, DataClass: residency.PersonalInformation, Purpose: residency.Payments,
	}
	if got != want {
		t.Errorf("allowed:\n got %+v\nwant %+v", got, want)
	}

	facts[residency.RequireConsent] = Finding{Reason: residency.ConsentIsWithdrawn, Ref: "c-1"}
	facts[residency.RequirePurpose] = Finding{}
	want.Allow, want.Reason = false, residency.ConsentIsWithdrawn
	want.Missing = residency.Set(residency.RequireConsent, residency.RequirePurpose)
	if got := p.Decide(q, facts); got != want {
		t.Errorf("withdrawn:\n got %+v\nwant %+v", got, want)
	}

	q.To = residency.Jurisdiction{}
	if d := p.Decide(q, meeting(p.Requirements(q))); !d.Allow || d.To != ch || d.ConsentID != "" {
		t.Errorf("at home: got %+v", d)
	}
	q.To = residency.Jurisdiction{'X', 'X'}
	if d := p.Decide(q, meeting(^residency.Requirements(0))); d.Allow || d.Reason != residency.BadRequest || !d.To.IsZero() {
		t.Errorf("to no jurisdiction: got %+v", d)
	}
}

// TestDecideReferences: a refusal refers only to what the deciding requirement
// was looked up under, and an order is no consent.
func TestDecideReferences(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	abroad := Query{Action: residency.Use, DataClass: residency.PersonalInformation, To: us, Purpose: residency.Marketing}
	facts := meeting(p.Requirements(abroad))
	if d := p.Decide(abroad, facts); d.ConsentID != "consent" {
		t.Errorf("the border-crossing consent comes first: got %q", d.ConsentID)
	}
	facts[residency.RequireOptIn] = Finding{Ref: "opt-in", Reason: residency.ConsentIsWithdrawn}
	if d := p.Decide(abroad, facts); d.Reason != residency.ConsentIsWithdrawn || d.ConsentID != "opt-in" || d.Clause != "marketing" {
		t.Errorf("the opt-in decides: got %+v", d)
	}
	facts[residency.RequirePurpose] = Finding{}
	if d := p.Decide(abroad, facts); d.Reason != residency.PurposeNotPermitted || d.ConsentID != "" {
		t.Errorf("the purpose decides: got %+v", d)
	}
	order := Query{Action: residency.Disclose, DataClass: residency.VirtualDriveData, Purpose: residency.LegalObligation, Recipient: residency.LawEnforcement}
	if d := p.Decide(order, meeting(p.Requirements(order))); !d.Allow || d.OrderID != "legal-order" || d.ConsentID != "" {
		t.Errorf("an order: got %+v", d)
	}
	watch := Query{Action: residency.Inspect, DataClass: residency.VirtualDriveData, Purpose: residency.FraudPrevention}
	if d := p.Decide(watch, meeting(p.Requirements(watch))); !d.Allow || d.OrderID != "abuse-case" || d.ConsentID != "" {
		t.Errorf("an abuse case: got %+v", d)
	}
	grant := Query{Action: residency.Disclose, DataClass: residency.PersonalInformation, Purpose: residency.FraudPrevention, Recipient: residency.PublicAuthority}
	american := shippedPolicies(t)["US"]
	if d := american.Decide(grant, meeting(american.Requirements(grant))); !d.Allow || d.OrderID != "informal-grant" || d.ConsentID != "" {
		t.Errorf("a granted request: got %+v", d)
	}
}

// TestDecideFindingClause: a finding may name the clause that asks in its case,
// and the decision cites it when that requirement decides.
func TestDecideFindingClause(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	q := Query{Action: residency.Collect, DataClass: residency.PersonalInformation, Source: residency.Automatic}
	facts := meeting(p.Requirements(q))
	cites := func(what, clause string, missing ...residency.Requirement) {
		t.Helper()
		if d := p.Decide(q, facts); d.Clause != clause || d.Missing != residency.Set(missing...) {
			t.Errorf("%s: got %+v, want clause %s", what, d, clause)
		}
	}
	cites("no finding names one", "eu-residents")
	facts[residency.RequireAgreement].Clause = "product/placement"
	cites("the first that is met", "product/placement")
	facts[residency.RequireAgreement].Met = false
	cites("the first that is not", "product/placement", residency.RequireAgreement)
	facts[residency.RequireAgreement].Clause = ""
	facts[residency.RequireCollection] = Finding{Clause: "cookies"}
	cites("one that does not decide", "eu-residents", residency.RequireAgreement, residency.RequireCollection)
	facts[residency.RequireAgreement].Met = true
	cites("the first that is not met", "cookies", residency.RequireCollection)
	facts[residency.RequireCollection].Met = true
	cites("one that is met, but not the first", "eu-residents")
}

func TestDecideUnknownFindingReason(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	q := Query{Action: residency.Use, DataClass: residency.PersonalInformation, To: us, Purpose: residency.Payments}
	var f Facts
	f[residency.RequireConsent].Reason = residency.Kind(residency.NumKinds)
	if d := p.Decide(q, &f); d.Allow || d.Reason != residency.CrossBorderConsentRequired {
		t.Errorf("got %+v", d)
	}
}

func TestNoPolicyDenies(t *testing.T) {
	q := Query{Action: residency.Govern, DataClass: residency.AccountData}
	for _, p := range []*Policy{nil, {}} {
		if d := p.Decide(q, meeting(^residency.Requirements(0))); d.Allow || d.Reason != residency.PolicyUnavailable {
			t.Errorf("got %+v", d)
		}
		if r := p.Requirements(q); r != 0 {
			t.Errorf("requirements of no policy: %v", r.Names())
		}
		if pl := p.Placement(ch); pl.Permitted {
			t.Errorf("placement of no policy: %+v", pl)
		}
		if p.Explain(q).Allow || p.Verify().Err() == nil {
			t.Error("no policy explains or verifies")
		}
	}
}

// TestExplainAgrees: what Explain says is what Decide does.
func TestExplainAgrees(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		p.table.each(func(c cell) {
			if c[bySource] != 0 && c[byAction] != 0 {
				return // only collecting looks at the source
			}
			q := p.table.query(c)
			e, want := p.Explain(q), referenceOf(p).answer(q)
			if answerOf(p, q) != want {
				t.Fatalf("%s: %s: %+v", p.Version, q, e)
			}
			if len(e.Requirements) != bits.OnesCount32(uint32(p.Requirements(q))) {
				t.Fatalf("%s: %s: %d requirements explained", p.Version, q, len(e.Requirements))
			}
			if rule := ruleAt(p, e.Line); rule == nil || rule.clause != e.Clause || !rule.match.matches(c) {
				t.Fatalf("%s: %s: line %d decides, %+v", p.Version, q, e.Line, rule)
			}
			if e.Sentence == "" || !strings.HasSuffix(e.Sentence, ".") {
				t.Fatalf("%s: %s: sentence %q", p.Version, q, e.Sentence)
			}
			for i, r := range e.Requirements {
				if r.Remedy == "" || r.Line == 0 || r.Reason == residency.OK || r.Clause == "" || i > 0 && r.Requirement <= e.Requirements[i-1].Requirement {
					t.Fatalf("%s: %s: requirement %+v", p.Version, q, r)
				}
			}
		})
	}
}

func ruleAt(p *Policy, line int) *rule {
	for i := range p.rules {
		if p.rules[i].line == line {
			return &p.rules[i]
		}
	}
	return nil
}

// TestDecisionText: a sentence for every reason that a decision can give, and
// no identifier in any.
func TestDecisionText(t *testing.T) {
	for k := range residency.Kind(residency.NumKinds) {
		d := residency.Decision{
			Allow: k == residency.OK, Reason: k, Clause: "purpose", ConsentID: "secret-consent", OrderID: "secret-order", ID: "secret-id",
			From: ch, To: us, Action: residency.Use, DataClass: residency.PersonalInformation, Purpose: residency.Payments,
		}
		text := DecisionText(d)
		if strings.Contains(text, "secret") || !strings.HasSuffix(text, "(clause purpose).") || strings.Count(text, ".") != 1 {
			t.Errorf("%s: %q", k, text)
		}
		if deniable[k] && strings.Contains(text, "it is not permitted") {
			t.Errorf("%s has no words of its own", k)
		}
		if !d.Allow && strings.Contains(text, "is permitted") {
			t.Errorf("%s: a refusal reads as permission: %q", k, text)
		}
	}
	if text := DecisionText(residency.Decision{}); !strings.Contains(text, "refused") {
		t.Errorf("the zero decision: %q", text)
	}
	DecisionText(residency.Decision{Action: 200, DataClass: 200, Purpose: 200, Reason: 200}) // must not panic
}

func TestDefaultReasonsAndRemedies(t *testing.T) {
	for r := range residency.Requirement(residency.NumRequirements) {
		if defaultReasons[r] == residency.OK || remedies[r] == "" {
			t.Errorf("%s lacks a default reason or a remedy", r)
		}
	}
}

// accesses are typical queries with facts, for measuring.
func accesses(p *Policy) ([]Query, []*Facts) {
	queries := []Query{
		{Action: residency.Use, DataClass: residency.PersonalInformation, Purpose: residency.Payments},
		{Action: residency.Use, DataClass: residency.PersonalInformation, To: us, Purpose: residency.Marketing},
		{Action: residency.Collect, DataClass: residency.PersonalInformation, Source: residency.Automatic},
		{Action: residency.Use, DataClass: residency.VirtualDriveData, To: us, Purpose: residency.ServiceProvision, Party: residency.TenantParty},
		{Action: residency.Use, DataClass: residency.VirtualDriveData, To: us, Purpose: residency.ServiceProvision},
		{Action: residency.Disclose, DataClass: residency.PersonalInformation, Purpose: residency.Communication, Recipient: residency.ThirdParty},
		{Action: residency.Govern, DataClass: residency.AccountData, To: us},
		{},
	}
	facts := make([]*Facts, len(queries))
	for i, q := range queries {
		facts[i] = meeting(p.Requirements(q))
	}
	return queries, facts
}

func TestDecideAllocatesNothing(t *testing.T) {
	p := shippedPolicies(t)["CH"]
	queries, facts := accesses(p)
	var sink residency.Decision
	var requires residency.Requirements
	n := testing.AllocsPerRun(1000, func() {
		for i, q := range queries {
			requires |= p.Requirements(q)
			sink = p.Decide(q, facts[i])
			sink = p.Decide(q, nil)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per run, want 0 (%v, %v)", n, sink.Reason, requires)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := shippedPolicies(b)["CH"]
	queries, facts := accesses(p)
	for i, q := range queries {
		name := strings.ReplaceAll(q.String(), " ", "_")
		for _, f := range []struct {
			name  string
			facts *Facts
		}{{"met", facts[i]}, {"unmet", new(Facts)}} {
			b.Run(name+"/"+f.name, func(b *testing.B) {
				b.ReportAllocs()
				var d residency.Decision
				for b.Loop() {
					d = p.Decide(q, f.facts)
				}
				if d.Allow && f.name == "unmet" && p.Requirements(q) != 0 {
					b.Fatal("permitted without facts")
				}
			})
		}
	}
}

func BenchmarkRequirements(b *testing.B) {
	p := shippedPolicies(b)["CH"]
	queries, _ := accesses(p)
	b.ReportAllocs()
	for b.Loop() {
		for _, q := range queries {
			p.Requirements(q)
		}
	}
}
