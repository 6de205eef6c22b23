package gateway

import (
	"context"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// CheckTransfer decides, and records, whether data could move to a region now.
// A refusal is its answer, not an error. For a caller abroad the answer itself
// must be allowed to reach the caller, or it is that refusal.
func (g *Gateway) CheckTransfer(ctx context.Context, call *Call, req CheckTransfer) (residency.Decision, error) {
	const op = "gateway.CheckTransfer"
	target := g.jurisdictionOf(req.To)
	switch {
	case target.IsZero():
		return residency.Decision{}, residency.Bad(op, "to_region", "must be one of "+g.knownRegions())
	case req.Subject != "" && req.Class != residency.PersonalInformation:
		return residency.Decision{}, residency.Bad(op, "data_class", "must be PERSONAL_INFORMATION for a subject")
	case req.Drive != "" && req.Class == residency.PersonalInformation:
		return residency.Decision{}, residency.Bad(op, "data_class", "must be VIRTUAL_DRIVE_DATA or ACCOUNT_DATA for a drive")
	}
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Subject, drive: req.Drive,
		class: req.Class, purpose: req.Purpose, to: target,
		// Of a person's records those move that the purpose may see.
		fact: func(_ *txn, r residency.Requirement) (policy.Finding, bool, error) {
			return policy.Finding{Met: true}, r == residency.RequirePurpose, nil
		},
	}
	t, err := g.decide(ctx, a, func(t *txn) error {
		if req.Drive == "" {
			return nil
		}
		_, _, err := t.readDrive()
		return err
	})
	if t != nil && t.decision.ID != "" && !t.decision.Allow {
		d := t.decision
		if call.Caller.Jurisdiction != d.From { // a refused caller abroad learns of no consent
			d.ConsentID = ""
		}
		return d, nil
	}
	if err != nil {
		return residency.Decision{}, err
	}
	return t.decision, nil
}
