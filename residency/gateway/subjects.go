package gateway

import (
	"context"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// RestrictSubject takes purposes away from what is held, and will be held, about
// a person (clause change-use). A nil result = the call came from abroad and is told nothing.
func (g *Gateway) RestrictSubject(ctx context.Context, call *Call, req RestrictSubject) (*Restrictions, error) {
	a := &act{call: call, op: "gateway.RestrictSubject", tenant: req.Tenant, subject: req.Subject, inbound: true}
	return g.restrict(ctx, a, req.RequestID, req.Purposes, func(r *Restrictions) { r.Purposes |= req.Purposes })
}

// LiftRestriction gives purposes back. Its answer tells what was there, so from
// abroad it needs a consent.
func (g *Gateway) LiftRestriction(ctx context.Context, call *Call, req RestrictSubject) (*Restrictions, error) {
	a := &act{call: call, op: "gateway.LiftRestriction", tenant: req.Tenant, subject: req.Subject, consentPurpose: residency.Records}
	return g.restrict(ctx, a, req.RequestID, req.Purposes, func(r *Restrictions) { r.Purposes &^= req.Purposes })
}

// ObjectToCollection declines automatic collection about a person (clause
// decline-cookies). A nil result = the call came from abroad and is told nothing.
func (g *Gateway) ObjectToCollection(ctx context.Context, call *Call, req SubjectCall) (*Restrictions, error) {
	a := &act{call: call, op: "gateway.ObjectToCollection", tenant: req.Tenant, subject: req.Subject, inbound: true, clause: "decline-cookies"}
	return g.restrict(ctx, a, req.RequestID, 0, func(r *Restrictions) { r.Declined = true })
}

// WithdrawObjection allows automatic collection again, as LiftRestriction gives purposes back.
func (g *Gateway) WithdrawObjection(ctx context.Context, call *Call, req SubjectCall) (*Restrictions, error) {
	a := &act{
		call: call, op: "gateway.WithdrawObjection", tenant: req.Tenant, subject: req.Subject,
		consentPurpose: residency.Records, clause: "decline-cookies",
	}
	return g.restrict(ctx, a, req.RequestID, 0, func(r *Restrictions) { r.Declined = false })
}

// restrict changes what a person asked for. It goes on while the tenant is
// suspended, and about a person of whom nothing is held yet.
func (g *Gateway) restrict(ctx context.Context, a *act, requestID string, purposes residency.Purposes, change func(*Restrictions)) (*Restrictions, error) {
	a.exclusive, a.suspended = true, true
	var out restrictionRow
	t, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID("restrict", a.op, a.subject, fmt.Sprint(uint32(purposes))) }
		out = restrictionRow{}
		var damaged error
		found, err := t.replay(requestID, digest, func(b []byte) { damaged = decodeRow(b, &out) })
		if found || err != nil {
			return integrity(a.op, damaged, err)
		}
		if out, err = t.changeRestrictions(change); err != nil {
			return err
		}
		return t.remember(requestID, encodeRow(&out))
	})
	if err != nil {
		return nil, err
	}
	if a.inbound && a.call.Caller.Jurisdiction != t.home.region.Jurisdiction {
		return nil, nil
	}
	return &out.Restrictions, nil
}

// integrity gives the error of a call that read a row: err, or that the row is damaged.
func integrity(op string, damaged, err error) error {
	if err == nil && damaged != nil {
		err = residency.E(op, residency.IntegrityFailure, damaged)
	}
	return err
}

// changeRestrictions changes the row of what a person asked for. Where nothing
// changes nothing is written: lifting what nobody asked for makes nobody known.
func (t *txn) changeRestrictions(change func(*Restrictions)) (restrictionRow, error) {
	row, version, err := t.restrictions()
	if err != nil {
		return row, err
	}
	was := row
	change(&row.Restrictions)
	if row == was {
		return row, t.unerased()
	}
	sk, err := t.createSubject(t.ctx)
	if err != nil {
		return row, err
	}
	row.Updated = t.now
	return row, t.putRow(sk, store.KindRestriction, t.subject, version+1, &row)
}

// unerased is ERASED when the act's subject was erased.
func (t *txn) unerased() error {
	if t.sk != nil {
		return nil
	}
	gone, err := t.gone(t.subject)
	if err == nil && gone {
		return residency.E(t.a.op, residency.Erased, nil)
	}
	return err
}
