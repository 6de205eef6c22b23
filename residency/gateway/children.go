package gateway

import (
	"context"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/store"
)

const clauseChildren = "children"

// parentalFor looks for a parent's consent to each of some purposes; Active says
// that there is one for all of them.
func (t *txn) parentalFor(purposes residency.Purposes) (consent.Finding, error) {
	home := t.home.region.Jurisdiction
	var last consent.Finding
	for _, p := range purposes.List() {
		f, err := t.findConsent(consent.Query{
			Kind: residency.Parental, Class: residency.PersonalInformation, From: home, To: home, Purpose: p,
		}, t.subject)
		if err != nil || !f.Active {
			return consent.Finding{}, err
		}
		last = f
	}
	return last, nil
}

// heldFor gives the purposes that the records of the act's subject were
// provided for; held is false when there are none.
func (t *txn) heldFor() (purposes residency.Purposes, held bool, err error) {
	var failed error
	err = t.Scan(store.KindRecord, t.subject, "", func(_ store.ID, row []byte) bool {
		head, damaged := headOf(row)
		switch {
		case damaged != nil:
			failed = damaged
		case !head.expired(t.now):
			purposes, held = purposes|head.Purposes, true
		}
		return failed == nil && purposes != allPurposes
	})
	if failed != nil {
		err = failed
	}
	return purposes, held, err
}

// parentConsented gives the consent under which the information about a child
// may be held: a parent's, to every purpose that there are records for. Without records it is
// one to any purpose.
func (t *txn) parentConsented() (consent.Finding, error) {
	purposes, held, err := t.heldFor()
	if err != nil {
		return consent.Finding{}, err
	}
	if held {
		return t.parentalFor(purposes)
	}
	for _, p := range allPurposes.List() {
		if f, err := t.parentalFor(residency.PurposeSet(p)); f.Active || err != nil {
			return f, err
		}
	}
	return consent.Finding{}, nil
}

// ReportChild says that a person is a child (clause children): without a parent's
// recorded consent everything about them is erased, as EraseSubject does.
func (g *Gateway) ReportChild(ctx context.Context, call *Call, req SubjectCall) (ChildReported, error) {
	a := &act{
		call: call, op: "gateway.ReportChild", tenant: req.Tenant, subject: req.Subject,
		exclusive: true, suspended: true, consentPurpose: residency.Records, clause: clauseChildren,
		refuse: func(t *txn) (*refusal, error) {
			if t.policy.MinimumAge > 0 {
				return nil, nil
			}
			return &refusal{reason: residency.PurposeNotPermitted, clause: "product/default"}, nil
		},
	}
	var row erasureRow
	var kept string
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		row, kept, err = t.reportChild(req)
		return err
	})
	if err != nil {
		return ChildReported{}, err
	}
	if kept != "" {
		return ChildReported{Consent: kept}, nil
	}
	e, err := g.destroyed(ctx, t, &row)
	if err != nil {
		return ChildReported{}, err
	}
	return ChildReported{Erasure: &e}, nil
}

// reportChild finds the consent under which a child's information is kept, or begins the erasure.
func (t *txn) reportChild(req SubjectCall) (row erasureRow, kept string, err error) {
	digest := func() store.ID { return t.tk.ID("report-child", req.Subject) }
	found, err := t.replay(req.RequestID, digest, func(b []byte) { kept = string(b) })
	if err != nil || found && kept != "" {
		return row, kept, err
	}
	mark, err := t.marked(t.subject)
	if mark != "" || err != nil {
		if err == nil {
			row, err = t.begun(mark, req.RequestID)
		}
		return row, "", err
	}
	if t.sk == nil {
		return row, "", residency.E(t.a.op, residency.NotFound, nil)
	}
	f, err := t.parentConsented()
	if err != nil {
		return row, "", err
	}
	if f.Active {
		t.decision.ConsentID = f.ID
		return row, f.ID, t.remember(req.RequestID, []byte(f.ID))
	}
	if err := t.remember(req.RequestID, nil); err != nil {
		return row, "", err
	}
	row, err = t.beginErasure(ErasureOfSubject, clauseChildren, req.RequestID)
	return row, "", err
}

// learnedOfChild begins the erasure of a person about whom records are held when
// a refused write says that they are a child, unless a parent consented to what
// is held. A write from abroad begins none: who may not know whether somebody is held must not
// learn it by destroying them.
func (t *txn) learnedOfChild(r *Record) error {
	if t.a.call.Caller.Jurisdiction != t.home.region.Jurisdiction {
		return nil
	}
	if t.decision.Reason != residency.ParentalConsentRequired || !r.BirthDate.under(t.policy.MinimumAge, t.now) || t.sk == nil {
		return nil
	}
	_, held, err := t.heldFor()
	if err != nil || !held {
		return err
	}
	f, err := t.parentConsented()
	if err != nil || f.Active {
		return err
	}
	row, err := t.beginErasure(ErasureOfSubject, clauseChildren, "")
	if err != nil {
		return err
	}
	t.later(func(ctx context.Context) {
		_, _ = t.g.destroyed(ctx, t, &row) // the task on the agenda does it again
	})
	return nil
}
