package gateway

import (
	"errors"
	"fmt"
	"slices"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// refusal is a denial that the policy's table does not hold: placement, approvals.
type refusal struct {
	reason  residency.Kind
	missing residency.Requirements
	clause  string
}

// judge decides, in the order in which reasons apply: the border before
// anything is looked up, then the tenant, then what the policy requires.
func (t *txn) judge() error {
	if t.policy = t.home.region.inForce(t.now); t.policy == nil {
		return residency.E(t.a.op, residency.PolicyUnavailable, fmt.Errorf("no policy of region %s is in force", t.home.region.Name))
	}
	legs := t.legs()
	for _, q := range legs {
		if t.a.prepare != nil && q.To.IsZero() {
			continue // what it depends on is not known yet, and nothing crosses
		}
		facts := allMet
		if err := t.border(q, &facts); err != nil {
			return err
		}
		if t.decision = t.policy.Decide(q, &facts); !t.decision.Allow {
			t.entered(q.To)
			return nil
		}
	}
	if err := t.load(); err != nil {
		return err
	}
	if !t.served() { // run answers that, before any requirement is looked at
		if t.a.prepare != nil && legs[0].To.IsZero() { // nothing was decided yet
			t.decision = t.policy.Decide(legs[0], &allMet)
		}
		return nil
	}
	if t.subject != "" {
		if _, err := t.subjectKeys(t.ctx); err != nil {
			return err
		}
	}
	if t.a.prepare != nil {
		if err := t.a.prepare(t); err != nil {
			return err
		}
		legs = t.legs()
	}
	t.consents = nil // the border is decided again, with what is known now
	for _, q := range legs {
		facts := allMet
		if err := t.gather(q, &facts); err != nil {
			return err
		}
		if t.decision = t.policy.Decide(q, &facts); !t.decision.Allow {
			t.entered(q.To)
			return nil
		}
	}
	if t.a.clause != "" {
		t.decision.Clause = t.a.clause
	}
	if t.a.refuse == nil {
		return nil
	}
	r, err := t.a.refuse(t)
	if err == nil && r != nil {
		t.decision.Allow, t.decision.Reason, t.decision.Missing, t.decision.Clause = false, r.reason, r.missing, r.clause
	}
	return err
}

var allMet = func() (f policy.Facts) {
	for i := range f {
		f[i].Met = true
	}
	return f
}()

// legs lists what must each be allowed: the act at home, and every place
// outside the home where plaintext would exist.
func (t *txn) legs() []policy.Query {
	a, from := t.a, t.home.region.Jurisdiction
	class := a.class
	if class == residency.DataClassUnspecified {
		class = a.call.Class
	}
	q := policy.Query{Action: a.call.Action, DataClass: class, Purpose: a.purpose, Source: a.source, Recipient: t.recipient, Party: a.call.Caller.Party}
	legs := make([]policy.Query, 0, 4)
	if a.inbound {
		legs = append(legs, q)
		if a.answers && q.Action == residency.Collect {
			q.Action, q.Purpose = residency.Use, residency.Records
		}
	}
	abroad := func(j residency.Jurisdiction) {
		if j.IsZero() || j == from || slices.ContainsFunc(legs, func(l policy.Query) bool { return l.To == j }) {
			return
		}
		q.To = j
		legs = append(legs, q)
	}
	for _, via := range a.call.Via {
		if !a.inbound || a.answers || via != a.call.Caller.Jurisdiction {
			abroad(via)
		}
	}
	if !a.inbound || a.answers {
		abroad(a.call.Caller.Jurisdiction)
	}
	abroad(t.target)
	if len(legs) == 0 {
		legs = append(legs, q)
	}
	return legs
}

// border finds the consent that a crossing needs, and nothing else.
func (t *txn) border(q policy.Query, facts *policy.Facts) error {
	if !t.policy.Requirements(q).Has(residency.RequireConsent) {
		return nil
	}
	purpose := q.Purpose
	if t.a.consentPurpose != residency.PurposeUnspecified {
		purpose = t.a.consentPurpose
	}
	asked := consent.Query{
		Kind: residency.BorderCrossing, Class: q.DataClass,
		From: t.home.region.Jurisdiction, To: q.To, Purpose: purpose,
	}
	if q.To == t.target { // it reaches the recipient itself, whom the consent must name
		asked.Recipient = t.recipientID
	}
	f, err := t.findConsent(asked, t.subject)
	if err != nil {
		return err
	}
	facts[residency.RequireConsent] = t.rely(f)
	return nil
}

// rely turns what the consents say into a fact, and remembers a consent that
// the decision rests on.
func (t *txn) rely(f consent.Finding) policy.Finding {
	if f.Active && !slices.ContainsFunc(t.consents, func(r relied) bool { return r.id == f.ID }) {
		t.consents = append(t.consents, relied{id: f.ID, until: f.Until})
	}
	return policy.Finding{Met: f.Active, Reason: f.Reason(), Ref: f.ID}
}

// gather finds every fact that a leg requires.
func (t *txn) gather(q policy.Query, facts *policy.Facts) error {
	if err := t.border(q, facts); err != nil {
		return err
	}
	needs := t.policy.Requirements(q)
	for r := range residency.Requirement(residency.NumRequirements) {
		if r == residency.RequireConsent || !needs.Has(r) {
			continue
		}
		f, err := t.fact(q, r)
		if err != nil {
			return err
		}
		facts[r] = f
	}
	return nil
}

// fact finds one fact. A requirement that nothing knows how to meet is not met.
func (t *txn) fact(q policy.Query, r residency.Requirement) (policy.Finding, error) {
	if t.a.fact != nil {
		if f, ok, err := t.a.fact(t, r); ok || err != nil {
			return f, err
		}
	}
	home := t.home.region.Jurisdiction
	switch r {
	case residency.RequireOptIn:
		f, err := t.findConsent(consent.Query{
			Kind: residency.MarketingOptIn, Class: q.DataClass, From: home, To: home, Purpose: residency.Marketing,
		}, t.subject)
		return t.rely(f), err
	case residency.RequirePermission:
		f, err := t.findConsent(consent.Query{
			Kind: residency.InspectionPermission, Class: q.DataClass, From: home, To: home, Purpose: residency.InspectionPurpose,
		}, t.subject)
		return t.rely(f), err
	case residency.RequireNotRestricted:
		return t.unrestricted(q)
	case residency.RequireCollection:
		return t.collectable()
	case residency.RequireAgreement:
		return t.agreed(q)
	}
	return policy.Finding{}, nil
}

// load reads the tenant's row.
func (t *txn) load() error {
	if t.tk == nil {
		return nil
	}
	sealed, err := t.Get(store.KindTenant, "")
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.g.rows.get(t.home.tenant, sealed, &t.row, &t.version) {
		t.exists = true
		return nil
	}
	plain, version, err := t.tk.OpenFact(store.KindTenant, "", sealed)
	if err != nil {
		return err
	}
	if t.row, err = decodeTenant(plain); err != nil {
		return residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	t.exists, t.version = true, version
	t.g.rows.put(t.home.tenant, sealed, t.row, version)
	return nil
}

// served reports whether there is a tenant to serve, or the act is about none.
func (t *txn) served() bool { return t.tenantProblem() == nil }

// tenantProblem says why an allowed act finds no tenant to serve.
func (t *txn) tenantProblem() error {
	switch {
	case t.a.tenant == "" || t.a.region != nil || t.a.erased:
		return nil
	case !t.exists:
		return residency.E(t.a.op, residency.NotFound, nil)
	case t.row.State == TenantSuspended && t.a.suspended:
		return nil
	case t.row.State == TenantSuspended:
		return residency.E(t.a.op, residency.TenantSuspended, nil)
	case t.row.State == TenantRelocating, t.row.State == TenantMoved:
		return residency.E(t.a.op, residency.TenantRelocating, nil)
	case t.row.State != TenantActive:
		return residency.E(t.a.op, residency.NotFound, nil)
	}
	return nil
}

// newPermit makes the permit that opening and sealing take: for a subject, a
// drive's incarnation or, with "", everything of the tenant and the class that was decided
// about. It is made here alone, after the decision, within its transaction.
func (t *txn) newPermit(object store.ID) seal.Permit {
	if !t.decision.Allow {
		return seal.Permit{}
	}
	return seal.NewPermit(t.home.tenant, t.decision.DataClass, object)
}
