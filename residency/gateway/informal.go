package gateway

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// longestGrant is how long a granted informal request, and an abuse case, may be valid.
const longestGrant = 90 * 24 * time.Hour

func (i *Informal) layout(f *fields) {
	f.text(1, &i.ID)
	f.text(2, &i.Recipient)
	number(f, 3, &i.Class)
	f.texts(4, &i.Subjects)
	f.texts(5, &i.Fields)
	number(f, 6, &i.Purpose)
	f.text(7, &i.Reference)
	f.time(8, &i.ValidUntil)
	f.text(9, &i.Approval.By)
	f.time(10, &i.Approval.At)
	f.text(11, &i.Recorder)
	f.time(12, &i.Recorded)
}

// settle says where a request stands at a moment.
func (i *Informal) settle(now time.Time) {
	switch {
	case !now.Before(i.ValidUntil):
		i.State = InformalExpired
	case i.Approval.By != "":
		i.State = InformalGranted
	default:
		i.State = InformalRecorded
	}
}

func (i *Informal) check(op string) error {
	switch {
	case i.Class == residency.DataClassUnspecified || i.Class >= residency.NumDataClasses:
		return residency.Bad(op, "informal_request.data_class", "must be stated")
	case i.Purpose == residency.PurposeUnspecified || i.Purpose >= residency.NumPurposes:
		return residency.Bad(op, "informal_request.purpose", "must be stated")
	case len(i.Subjects) == 0 || len(i.Subjects) > maxScope:
		return residency.Bad(op, "informal_request.subject_ids", "must name 1 to 100 people")
	case i.Reference == "":
		return residency.Bad(op, "informal_request.reference", "must be stated")
	}
	if err := refuseCards(op, text{"informal_request.reference", i.Reference}); err != nil {
		return err
	}
	return checkFields(op, "informal_request.fields", i.Fields)
}

// validFor refuses an end that is not in the future, or too far in it.
func (t *txn) validFor(field string, end time.Time) error {
	if !end.After(t.now) || end.After(t.now.Add(longestGrant)) {
		return residency.Bad(t.a.op, field, "must be in the future, at most 90 days from now")
	}
	return nil
}

// RecordInformalRequest records an authority's request that obliges nobody (clause
// informal-request). Where the policy never grants one it is refused, and nothing is recorded but that.
func (g *Gateway) RecordInformalRequest(ctx context.Context, call *Call, req RecordInformal) (Informal, error) {
	const op = "gateway.RecordInformalRequest"
	if err := req.Informal.check(op); err != nil {
		return Informal{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Informal{}, residency.E(op, residency.Internal, err)
	}
	a := &act{
		call: call, op: op, tenant: req.Tenant, governs: true,
		refuse: func(t *txn) (*refusal, error) { return t.grantable(&req.Informal) },
	}
	var out Informal
	_, err = g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&req.Informal))) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = req.Informal
			return t.recordInformal(id, &out)
		})
	})
	if err != nil {
		return Informal{}, err
	}
	out.settle(out.Recorded)
	return out, nil
}

func (t *txn) recordInformal(id uuid.UUID, i *Informal) error {
	i.ID, i.Recorder, i.Recorded, i.Approval = id.String(), t.a.call.Caller.ID, t.now, Approval{}
	if err := t.validFor("informal_request.valid_until", i.ValidUntil); err != nil {
		return err
	}
	if err := t.room(store.KindInformal, "", maxOrders); err != nil {
		return err
	}
	return t.putInformal(i)
}

// grantable says why nobody could ever grant a request: it is no registered authority's, or the policy
// has no disclosure for it that a grant permits.
func (t *txn) grantable(i *Informal) (*refusal, error) {
	r, err := t.activeRecipient(i.Recipient)
	if err != nil {
		return nil, err
	}
	if r == nil || !authority(r.Kind) {
		return &refusal{residency.RecipientNotRegistered, residency.Set(residency.RequireRegistered), t.clause("processors")}, nil
	}
	q := policy.Query{Action: residency.Disclose, DataClass: i.Class, Purpose: i.Purpose, Recipient: r.Kind, Party: t.a.call.Caller.Party}
	if d := t.policy.Decide(q, &allMet); !d.Allow {
		return &refusal{reason: d.Reason, missing: d.Missing, clause: d.Clause}, nil
	}
	if !t.policy.Requirements(q).Has(residency.RequireInformalGrant) { // a court may oblige to it, a request may not
		if i.Class == residency.VirtualDriveData {
			return &refusal{reason: residency.DriveDataNeverShared, clause: t.clause("third-party-order")}, nil
		}
		return t.informalRefusal(residency.InformalRequestRefused), nil
	}
	if r.Jurisdiction != t.home.region.Jurisdiction {
		q.To = r.Jurisdiction
		if d := t.policy.Decide(q, &allMet); !d.Allow {
			return &refusal{reason: d.Reason, missing: d.Missing, clause: d.Clause}, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing refuses it
}

func (t *txn) informalRefusal(reason residency.Kind) *refusal {
	return &refusal{reason: reason, missing: residency.Set(residency.RequireInformalGrant), clause: t.clause("informal-request")}
}

// readInformal reads a request; ok is false when the tenant has none of that name.
func (t *txn) readInformal(id string) (i Informal, ok bool, err error) {
	if ok, err = readGoverned(t, store.KindInformal, id, &i); ok {
		i.settle(t.now)
	}
	return i, ok, err
}

func (t *txn) putInformal(i *Informal) error {
	t.decision.OrderID, t.recipientID = i.ID, i.Recipient // the log names both
	return putGoverned(t, store.KindInformal, i.ID, i)
}

// ApproveInformalRequest grants a request. Granting a granted one changes nothing.
func (g *Gateway) ApproveInformalRequest(ctx context.Context, call *Call, req GovernanceCall) (Informal, error) {
	const op = "gateway.ApproveInformalRequest"
	digest := func(t *txn) store.ID { return t.tk.ID(op, req.ID) }
	a := &act{call: call, op: op, tenant: req.Tenant, governs: true}
	a.refuse = func(t *txn) (*refusal, error) {
		i, ok, err := t.readInformal(req.ID)
		if err != nil || !ok || t.repeats(req.RequestID, digest) {
			return nil, err
		}
		t.decision.OrderID = i.ID
		return t.mayGrant(&i)
	}
	var out Informal
	_, err := g.decide(ctx, a, func(t *txn) error {
		return once(t, req.RequestID, func() store.ID { return digest(t) }, &out, func() error {
			i, ok, err := t.readInformal(req.ID)
			if err == nil && !ok {
				err = residency.E(op, residency.NotFound, nil)
			}
			if err != nil {
				return err
			}
			if i.State == InformalRecorded {
				i.Approval = Approval{By: call.Caller.ID, At: t.now}
			}
			i.settle(t.now)
			out = i
			return t.putInformal(&i)
		})
	})
	if err != nil {
		return Informal{}, err
	}
	out.State = InformalGranted // a repetition's too
	return out, nil
}

// mayGrant says why the caller may not grant a request now.
func (t *txn) mayGrant(i *Informal) (*refusal, error) {
	switch {
	case i.State == InformalExpired:
		return t.informalRefusal(residency.InformalRequestRefused), nil
	case i.Recorder == t.a.call.Caller.ID:
		return t.informalRefusal(residency.ApproverNotDistinct), nil
	}
	return t.grantable(i) // the policy, or the recipient, may have changed
}
