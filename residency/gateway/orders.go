package gateway

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	// maxOrders is how many legal orders, informal requests and abuse cases a tenant may have on
	// record, of each: none is ever removed.
	maxOrders = 10_000

	maxScope       = 100 // people, and drives, that one order or request names
	orderApprovals = 2   // how many people an order needs, neither of them the one who recorded it
)

func (o *Order) layout(f *fields) {
	f.text(1, &o.ID)
	f.text(2, &o.Authority)
	f.jurisdiction(3, &o.Jurisdiction)
	f.text(4, &o.LegalBasis)
	f.text(5, &o.Reference)
	f.texts(6, &o.Scope.Subjects)
	f.texts(7, &o.Scope.Drives)
	number(f, 8, &o.Scope.Classes)
	f.time(9, &o.Scope.From)
	f.time(10, &o.Scope.To)
	f.time(11, &o.ValidFrom)
	f.time(12, &o.ValidUntil)
	number(f, 13, &o.State)
	rows(f, 14, &o.Approvals)
	f.text(15, &o.Recipient)
	f.text(16, &o.Recorder)
	f.time(17, &o.Recorded)
	f.time(18, &o.Ended)
}

func (a *Approval) layout(f *fields) {
	f.text(1, &a.By)
	f.time(2, &a.At)
}

// settle says where an order stands at a moment. What was rejected or revoked stays so.
func (o *Order) settle(now time.Time) {
	switch {
	case o.State == OrderRejected || o.State == OrderRevoked:
	case !now.Before(o.ValidUntil):
		o.State = OrderExpired
	case len(o.Approvals) >= orderApprovals:
		o.State = OrderApproved
	default:
		o.State = OrderRecorded
	}
}

// check refuses an order that could never take effect; whether it may is decided when it is approved.
func (o *Order) check(op string) error {
	_, nowhere := residency.ParseJurisdiction(o.Jurisdiction.String())
	s := &o.Scope
	switch {
	case o.Authority == "" || o.LegalBasis == "" || o.Reference == "":
		return residency.Bad(op, "order", "must state the authority, the legal basis and the reference")
	case nowhere != nil:
		return residency.Bad(op, "order.jurisdiction", "must be an officially assigned ISO 3166-1 alpha-2 code in upper case")
	case s.Classes == 0 || s.Classes.Has(residency.AccountData):
		return residency.Bad(op, "order.scope.data_classes", "must be PERSONAL_INFORMATION, VIRTUAL_DRIVE_DATA or both")
	case len(s.Subjects) > maxScope || len(s.Drives) > maxScope:
		return residency.Bad(op, "order.scope", "must name at most 100 people and 100 drives")
	case !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To):
		return residency.Bad(op, "order.scope.to_time", "must be after from_time")
	}
	return refuseCards(op, text{"order.authority", o.Authority}, text{"order.legal_basis", o.LegalBasis}, text{"order.reference", o.Reference})
}

// RecordLegalOrder records an order as it came in (clause legal-order), whatever its
// jurisdiction: that is looked at when it is approved, and when it is acted on.
func (g *Gateway) RecordLegalOrder(ctx context.Context, call *Call, req RecordOrder) (Order, error) {
	const op = "gateway.RecordLegalOrder"
	if err := req.Order.check(op); err != nil {
		return Order{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Order{}, residency.E(op, residency.Internal, err)
	}
	var out Order
	_, err = g.decide(ctx, &act{call: call, op: op, tenant: req.Tenant, governs: true, suspended: true}, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&req.Order))) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = req.Order
			return t.recordOrder(id, &out)
		})
	})
	if err != nil {
		return Order{}, err
	}
	return out, nil
}

func (t *txn) recordOrder(id uuid.UUID, o *Order) error {
	o.ID, o.Recorder, o.Recorded = id.String(), t.a.call.Caller.ID, t.now
	o.State, o.Approvals, o.Ended = OrderRecorded, nil, time.Time{}
	if o.ValidFrom.IsZero() {
		o.ValidFrom = t.now
	}
	switch {
	case !o.ValidUntil.After(t.now):
		return residency.Bad(t.a.op, "order.valid_until", "must be in the future")
	case !o.ValidUntil.After(o.ValidFrom):
		return residency.Bad(t.a.op, "order.valid_until", "must be after valid_from")
	}
	if err := t.room(store.KindOrder, "", maxOrders); err != nil {
		return err
	}
	return t.putOrder(o)
}

// readOrder reads an order; ok is false when the tenant has none of that name.
func (t *txn) readOrder(orderID string) (o Order, ok bool, err error) {
	if ok, err = readGoverned(t, store.KindOrder, orderID, &o); ok {
		o.settle(t.now)
	}
	return o, ok, err
}

func (t *txn) putOrder(o *Order) error {
	t.decision.OrderID = o.ID // the log names it
	return putGoverned(t, store.KindOrder, o.ID, o)
}

// readGoverned reads what is kept under an identifier that the gateway made and the tenant's keys.
func readGoverned(t *txn, kind store.Kind, id string, r row) (ok bool, err error) {
	key, made := rowOf(id)
	if !made {
		return false, nil
	}
	_, ok, err = t.getRow(t.tk, kind, key, r)
	return ok, err
}

func putGoverned(t *txn, kind store.Kind, id string, r row) error {
	key, made := rowOf(id)
	if !made {
		return residency.E(t.a.op, residency.Internal, nil)
	}
	return t.putRow(t.tk, kind, key, 1, r)
}

// GetLegalOrder gives one order.
func (g *Gateway) GetLegalOrder(ctx context.Context, call *Call, tenant, order string) (Order, error) {
	const op = "gateway.GetLegalOrder"
	var out Order
	_, err := g.decide(ctx, &act{call: call, op: op, tenant: tenant, suspended: true}, func(t *txn) error {
		o, ok, err := t.readOrder(order)
		if err == nil && !ok {
			err = residency.E(op, residency.NotFound, nil)
		}
		out, t.decision.OrderID = o, o.ID
		return err
	})
	if err != nil {
		return Order{}, err
	}
	return out, nil
}

// ListLegalOrders lists a tenant's orders, newest first.
func (g *Gateway) ListLegalOrders(ctx context.Context, call *Call, req ListOrders) ([]Order, string, error) {
	return listRows(ctx, g, &act{call: call, op: "gateway.ListLegalOrders", tenant: req.Tenant, suspended: true}, req.Page, store.KindOrder,
		func(t *txn, o *Order) bool {
			o.settle(t.now)
			return req.State == OrderStateUnspecified || req.State == o.State
		}, strconv.Itoa(int(req.State)))
}

// ApproveLegalOrder approves an order; the second approval lets it take effect.
func (g *Gateway) ApproveLegalOrder(ctx context.Context, call *Call, req GovernanceCall) (Order, error) {
	return g.changeOrder(ctx, call, "gateway.ApproveLegalOrder", req, (*txn).mayApprove, func(t *txn, o *Order) {
		if len(o.Approvals) < orderApprovals {
			o.Approvals = append(o.Approvals, Approval{By: t.a.call.Caller.ID, At: t.now})
		}
	})
}

// mayApprove says why the caller may not approve an order; nil = they may.
func (t *txn) mayApprove(o *Order) *refusal {
	switch {
	case o.Jurisdiction != t.home.region.Jurisdiction:
		return t.orderRefusal(residency.LegalOrderWrongJurisdiction)
	case o.State == OrderRejected || o.State == OrderRevoked || o.State == OrderExpired:
		return t.orderRefusal(residency.LegalOrderExpired)
	case o.Recorder == t.a.call.Caller.ID,
		slices.ContainsFunc(o.Approvals, func(a Approval) bool { return a.By == t.a.call.Caller.ID }):
		return t.orderRefusal(residency.ApproverNotDistinct)
	}
	return nil
}

func (t *txn) orderRefusal(reason residency.Kind) *refusal {
	return &refusal{reason: reason, missing: residency.Set(residency.RequireLegalOrder), clause: t.clause("legal-order")}
}

// clause gives the id under which the policy has a clause: a rule that its text does not state is the product's.
func (t *txn) clause(id string) string { return clauseOf(t.policy, id) }

func clauseOf(p *policy.Policy, id string) string {
	own := "product/" + id
	if slices.ContainsFunc(p.Clauses, func(c policy.Clause) bool { return c.ID == own }) {
		return own
	}
	return id
}

// RejectLegalOrder rejects an order that nobody may act on yet, for good.
func (g *Gateway) RejectLegalOrder(ctx context.Context, call *Call, req GovernanceCall) (Order, error) {
	standing := func(t *txn, o *Order) *refusal {
		if o.State != OrderRecorded {
			return t.orderRefusal(residency.LegalOrderExpired)
		}
		return nil
	}
	return g.changeOrder(ctx, call, "gateway.RejectLegalOrder", req, standing, func(t *txn, o *Order) {
		o.State, o.Ended = OrderRejected, t.now
	})
}

// RevokeLegalOrder records that an order was revoked, for good. Disclosures under it are cut when
// their leases are renewed. Revoking again, or what was rejected, changes nothing.
func (g *Gateway) RevokeLegalOrder(ctx context.Context, call *Call, req GovernanceCall) (Order, error) {
	anyTime := func(*txn, *Order) *refusal { return nil }
	return g.changeOrder(ctx, call, "gateway.RevokeLegalOrder", req, anyTime, func(t *txn, o *Order) {
		if o.State != OrderRevoked && o.State != OrderRejected {
			o.State, o.Ended = OrderRevoked, t.now
		}
		t.cutStreamsUnder(o.ID, residency.LegalOrderExpired)
	})
}

// cutStreamsUnder ends what this gateway is doing under an order or a case. Others find out when they renew the leases.
func (t *txn) cutStreamsUnder(id string, reason residency.Kind) {
	tenant := t.home.tenant
	t.later(func(context.Context) {
		t.g.keeper.cutWhere(reason, func(s *stream) bool { return s.home.tenant == tenant && s.decision.OrderID == id })
	})
}

// changeOrder changes an order that is there, unless may refuses it. It goes on while the tenant is
// suspended: an order obliges the company all the same.
func (g *Gateway) changeOrder(
	ctx context.Context, call *Call, op string, req GovernanceCall, may func(*txn, *Order) *refusal, change func(*txn, *Order),
) (Order, error) {
	digest := func(t *txn) store.ID { return t.tk.ID(op, req.ID) }
	a := &act{call: call, op: op, tenant: req.Tenant, governs: true, suspended: true}
	a.refuse = func(t *txn) (*refusal, error) {
		o, ok, err := t.readOrder(req.ID)
		if err != nil || !ok || t.repeats(req.RequestID, digest) {
			return nil, err
		}
		t.decision.OrderID = o.ID
		return may(t, &o), nil
	}
	var out Order
	_, err := g.decide(ctx, a, func(t *txn) error {
		return once(t, req.RequestID, func() store.ID { return digest(t) }, &out, func() error {
			o, ok, err := t.readOrder(req.ID)
			if err == nil && !ok {
				err = residency.E(op, residency.NotFound, nil)
			}
			if err != nil {
				return err
			}
			change(t, &o)
			o.settle(t.now)
			out = o
			return t.putOrder(&o)
		})
	})
	if err != nil {
		return Order{}, err
	}
	return out, nil
}

// repeats reports whether the call repeats, or misuses, an earlier one's request_id: its body answers
// then, and whether the change may be made was decided the first time.
func (t *txn) repeats(requestID string, digest func(*txn) store.ID) bool {
	found, err := t.replay(requestID, func() store.ID { return digest(t) }, func([]byte) {})
	return found || err != nil
}
