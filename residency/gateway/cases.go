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

const maxCaseDrives = 100

func (c *Case) layout(f *fields) {
	f.text(1, &c.ID)
	f.text(2, &c.Suspicion)
	f.texts(3, &c.Drives)
	f.time(4, &c.ValidUntil)
	f.text(5, &c.Approval.By)
	f.time(6, &c.Approval.At)
	f.text(7, &c.Opener)
	f.time(8, &c.Opened)
	f.time(9, &c.Closed)
}

// settle says where a case stands at a moment.
func (c *Case) settle(now time.Time) {
	switch {
	case !c.Closed.IsZero():
		c.State = CaseClosed
	case !now.Before(c.ValidUntil):
		c.State = CaseExpired
	case c.Approval.By != "":
		c.State = CaseApproved
	default:
		c.State = CaseOpen
	}
}

// OpenAbuseCase opens an abuse case (clause aup-inspection).
func (g *Gateway) OpenAbuseCase(ctx context.Context, call *Call, req OpenCase) (Case, error) {
	const op = "gateway.OpenAbuseCase"
	switch {
	case req.Case.Suspicion == "":
		return Case{}, residency.Bad(op, "abuse_case.suspicion", "must be stated")
	case len(req.Case.Drives) == 0 || len(req.Case.Drives) > maxCaseDrives:
		return Case{}, residency.Bad(op, "abuse_case.drive_ids", "must name 1 to 100 drives")
	}
	if err := refuseCards(op, text{"abuse_case.suspicion", req.Case.Suspicion}); err != nil {
		return Case{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Case{}, residency.E(op, residency.Internal, err)
	}
	var out Case
	_, err = g.decide(ctx, caseAct(call, op, req.Tenant), func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&req.Case))) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = req.Case
			return t.openCase(id, &out)
		})
	})
	if err != nil {
		return Case{}, err
	}
	out.State = CaseOpen // a repetition's too
	return out, nil
}

// caseAct is an act about an abuse case. What permits it is the clause on inspecting transfers,
// the product's own where the policy's text is silent.
func caseAct(call *Call, op, tenant string) *act {
	return &act{call: call, op: op, tenant: tenant, governs: true, refuse: citeCase}
}

func citeCase(t *txn) (*refusal, error) {
	t.decision.Clause = t.clause("aup-inspection")
	return nil, nil //nolint:nilnil // nothing refuses it
}

func (t *txn) openCase(id uuid.UUID, c *Case) error {
	c.ID, c.Opener, c.Opened = id.String(), t.a.call.Caller.ID, t.now
	c.Approval, c.Closed = Approval{}, time.Time{}
	if err := t.validFor("abuse_case.valid_until", c.ValidUntil); err != nil {
		return err
	}
	if err := t.room(store.KindCase, "", maxOrders); err != nil {
		return err
	}
	return t.putCase(c)
}

// readCase reads a case; ok is false when the tenant has none of that name.
func (t *txn) readCase(id string) (c Case, ok bool, err error) {
	if ok, err = readGoverned(t, store.KindCase, id, &c); ok {
		c.settle(t.now)
	}
	return c, ok, err
}

func (t *txn) putCase(c *Case) error {
	t.decision.OrderID = c.ID // the log names it
	return putGoverned(t, store.KindCase, c.ID, c)
}

// ApproveAbuseCase approves a case. Approving an approved one changes nothing.
func (g *Gateway) ApproveAbuseCase(ctx context.Context, call *Call, req GovernanceCall) (Case, error) {
	const op = "gateway.ApproveAbuseCase"
	a := caseAct(call, op, req.Tenant)
	a.refuse = func(t *txn) (*refusal, error) {
		c, ok, err := t.readCase(req.ID)
		switch {
		case err != nil:
			return nil, err
		case !ok || t.repeats(req.RequestID, caseDigest(op, req.ID)):
			return citeCase(t)
		}
		t.decision.OrderID = c.ID
		switch {
		case c.State == CaseClosed || c.State == CaseExpired:
			return t.caseRefusal(residency.InspectionPermissionRequired), nil
		case c.Opener == call.Caller.ID:
			return t.caseRefusal(residency.ApproverNotDistinct), nil
		}
		return citeCase(t)
	}
	return g.changeCase(ctx, a, req, func(t *txn, c *Case) {
		if c.State == CaseOpen {
			c.Approval = Approval{By: call.Caller.ID, At: t.now}
		}
	})
}

func (t *txn) caseRefusal(reason residency.Kind) *refusal {
	return &refusal{reason: reason, missing: residency.Set(residency.RequireAbuseCase), clause: t.clause("aup-inspection")}
}

func caseDigest(op, id string) func(*txn) store.ID {
	return func(t *txn) store.ID { return t.tk.ID(op, id) }
}

// CloseAbuseCase closes a case, for good. What is watched under it ends when the leases of that are
// renewed. Closing again changes nothing.
func (g *Gateway) CloseAbuseCase(ctx context.Context, call *Call, req GovernanceCall) (Case, error) {
	a := caseAct(call, "gateway.CloseAbuseCase", req.Tenant)
	a.suspended = true
	return g.changeCase(ctx, a, req, func(t *txn, c *Case) {
		if c.Closed.IsZero() {
			c.Closed = t.now
		}
		t.cutStreamsUnder(c.ID, residency.InspectionPermissionRequired)
	})
}

func (g *Gateway) changeCase(ctx context.Context, a *act, req GovernanceCall, change func(*txn, *Case)) (Case, error) {
	var out Case
	t, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return caseDigest(a.op, req.ID)(t) }
		return once(t, req.RequestID, digest, &out, func() error {
			c, ok, err := t.readCase(req.ID)
			if err == nil && !ok {
				err = residency.E(a.op, residency.NotFound, nil)
			}
			if err != nil {
				return err
			}
			change(t, &c)
			out = c
			return t.putCase(&c)
		})
	})
	if err != nil {
		return Case{}, err
	}
	out.settle(t.now)
	return out, nil
}

// ListAbuseCases lists a tenant's abuse cases, newest first.
func (g *Gateway) ListAbuseCases(ctx context.Context, call *Call, req ListCases) ([]Case, string, error) {
	a := caseAct(call, "gateway.ListAbuseCases", req.Tenant)
	a.suspended = true
	a.governs = false
	return listRows(ctx, g, a, req.Page, store.KindCase, func(t *txn, c *Case) bool {
		c.settle(t.now)
		return req.State == CaseStateUnspecified || req.State == c.State
	}, strconv.Itoa(int(req.State)))
}

// caseCovers says whether an abuse case allows watching a drive's transfers now.
func (t *txn) caseCovers(caseID, drive string) (policy.Finding, error) {
	c, ok, err := t.readCase(caseID)
	met := ok && c.State == CaseApproved && slices.Contains(c.Drives, drive)
	return policy.Finding{Met: met, Reason: residency.InspectionPermissionRequired, Ref: c.ID}, err
}
