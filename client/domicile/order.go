package main

import (
	"strings"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type orderCommands struct {
	Record  orderRecord  `cmd:"" help:"Record a court or administrative order as it came in."`
	Get     orderGet     `cmd:"" help:"Show one order."`
	Approve orderApprove `cmd:"" help:"Approve an order; it takes effect with the approvals of two people who did not record it."`
	Reject  orderReject  `cmd:"" help:"Reject an order that is not approved yet, for good; an approved one is revoked."`
	Revoke  orderRevoke  `cmd:"" help:"Record that a court revoked an order, for good."`
	List    orderList    `cmd:"" help:"List a tenant's orders, newest first."`
}

type orderRecord struct {
	TenantID      string                        `arg:"" name:"tenant" help:"The tenant."`
	From          string                        `placeholder:"FILE" help:"A LegalOrder in JSON, - for the standard input; flags go on top. Unlike flags, files are seen by nobody else on this machine."`
	Authority     string                        `placeholder:"TEXT" help:"Who ordered."`
	Jurisdiction  string                        `placeholder:"CODE" help:"The authority's jurisdiction (ISO 3166-1 alpha-2)."`
	LegalBasis    string                        `placeholder:"TEXT" help:"The law that it rests on."`
	Reference     string                        `placeholder:"TEXT" help:"What the authority files it under."`
	ValidFrom     moment                        `placeholder:"TIME" help:"From when it is in effect: a duration such as 24h, or an RFC 3339 time (default now)."`
	ValidUntil    moment                        `placeholder:"TIME" help:"Until when."`
	Recipient     string                        `placeholder:"ID" help:"The recipient that it names (default any registered law-enforcement agency of the jurisdiction)."`
	Class         []enum[residencyv1.DataClass] `placeholder:"CLASS" help:"Which data; may be repeated: PERSONAL_INFORMATION, VIRTUAL_DRIVE_DATA." group:"What it covers"`
	Subject       []string                      `placeholder:"ID" help:"A person; may be repeated." group:"What it covers"`
	Drive         []string                      `placeholder:"ID" help:"A drive; may be repeated." group:"What it covers"`
	CollectedFrom moment                        `placeholder:"TIME" help:"Only what was collected from then on (default whatever its age)." group:"What it covers"`
	CollectedTo   moment                        `placeholder:"TIME" help:"Only what was collected before then (default until now)." group:"What it covers"`
	requestFlag
}

// Run records the order.
func (c *orderRecord) Run(a *app) error {
	order, err := c.order(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RecordLegalOrder(a.ctx, &residencyv1.RecordLegalOrderRequest{
			TenantId: c.TenantID, Order: order, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetOrder()); err != nil {
			return err
		}
		return a.afterOrder(c.TenantID, r.GetOrder())
	})
}

func (c *orderRecord) order(a *app) (*residencyv1.LegalOrder, error) {
	m := &residencyv1.LegalOrder{}
	if err := a.jsonInto(c.From, m); err != nil {
		return nil, err
	}
	setText(&m.Authority, c.Authority)
	setText(&m.Jurisdiction, c.Jurisdiction)
	setText(&m.LegalBasis, c.LegalBasis)
	setText(&m.Reference, c.Reference)
	setText(&m.RecipientId, c.Recipient)
	if t := c.ValidFrom.timestamp(); t != nil {
		m.ValidFrom = t
	}
	if t := c.ValidUntil.timestamp(); t != nil {
		m.ValidUntil = t
	}
	if m.Scope == nil {
		m.Scope = &residencyv1.LegalOrderScope{}
	}
	c.scope(m.GetScope())
	return m, nil
}

func (c *orderRecord) scope(s *residencyv1.LegalOrderScope) {
	if len(c.Class) > 0 {
		s.DataClasses = values(c.Class)
	}
	if len(c.Subject) > 0 {
		s.SubjectIds = c.Subject
	}
	if len(c.Drive) > 0 {
		s.DriveIds = c.Drive
	}
	if t := c.CollectedFrom.timestamp(); t != nil {
		s.FromTime = t
	}
	if t := c.CollectedTo.timestamp(); t != nil {
		s.ToTime = t
	}
}

// orderApprovals is how many approvals let an order take effect.
const orderApprovals = 2

// afterOrder says what an order needs next.
func (a *app) afterOrder(tenant string, o *residencyv1.LegalOrder) error {
	switch missing := orderApprovals - len(o.GetApprovals()); {
	case o.GetState() == residencyv1.LegalOrderState_LEGAL_ORDER_STATE_APPROVED:
		return a.next("what it covers can be disclosed, as far as the policy lets an order reach it:", a.commandAs(a.beside("admin"),
			"disclosure", "disclose", tenant, orElse(o.GetRecipientId(), "RECIPIENT"))+orderObject(o)+" --order "+o.GetOrderId())
	case o.GetState() != residencyv1.LegalOrderState_LEGAL_ORDER_STATE_RECORDED:
		return nil
	case missing >= orderApprovals:
		return a.next("it needs two approvals, by two people who did not record it:", a.approvals(orderApprovals, "order", "approve", tenant, o.GetOrderId())...)
	default:
		return a.next("it needs one more approval, by somebody else:", a.approvals(missing, "order", "approve", tenant, o.GetOrderId())...)
	}
}

func orderObject(o *residencyv1.LegalOrder) string {
	if s := o.GetScope().GetSubjectIds(); len(s) > 0 {
		return " --subject " + quoted(s[0])
	}
	if d := o.GetScope().GetDriveIds(); len(d) > 0 {
		return " --drive " + quoted(d[0])
	}
	return " --subject ID"
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// orderArgs name an order.
type orderArgs struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	OrderID  string `arg:"" name:"order" help:"The order."`
}

type orderGet struct{ orderArgs }

// Run shows the order.
func (c *orderGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.GetLegalOrder(a.ctx, &residencyv1.GetLegalOrderRequest{TenantId: c.TenantID, OrderId: c.OrderID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetOrder())
	})
}

type orderApprove struct {
	orderArgs
	requestFlag
}

// Run approves the order.
func (c *orderApprove) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.ApproveLegalOrder(a.ctx, &residencyv1.ApproveLegalOrderRequest{
			TenantId: c.TenantID, OrderId: c.OrderID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetOrder()); err != nil {
			return err
		}
		return a.afterOrder(c.TenantID, r.GetOrder())
	})
}

type orderReject struct {
	orderArgs
	requestFlag
}

// Run rejects the order.
func (c *orderReject) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RejectLegalOrder(a.ctx, &residencyv1.RejectLegalOrderRequest{
			TenantId: c.TenantID, OrderId: c.OrderID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetOrder())
	})
}

type orderRevoke struct {
	orderArgs
	requestFlag
}

// Run records that the order was revoked.
func (c *orderRevoke) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RevokeLegalOrder(a.ctx, &residencyv1.RevokeLegalOrderRequest{
			TenantId: c.TenantID, OrderId: c.OrderID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetOrder())
	})
}

type orderList struct {
	TenantID string                            `arg:"" name:"tenant" help:"The tenant."`
	State    enum[residencyv1.LegalOrderState] `placeholder:"STATE" help:"Only those that stand so now: ${orderstates}."`
	limitFlag
}

// Run lists the orders.
func (c *orderList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllLegalOrders(a.ctx, &residencyv1.ListLegalOrdersRequest{
			TenantId: c.TenantID, State: c.State.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListLegalOrdersResponse{Orders: items}, items, []column[*residencyv1.LegalOrder]{
			{"ORDER", (*residencyv1.LegalOrder).GetOrderId},
			{"AUTHORITY", (*residencyv1.LegalOrder).GetAuthority},
			{"IN", (*residencyv1.LegalOrder).GetJurisdiction},
			{"REFERENCE", (*residencyv1.LegalOrder).GetReference},
			{"COVERS", func(o *residencyv1.LegalOrder) string {
				return strings.Join(append(append([]string(nil), o.GetScope().GetSubjectIds()...), o.GetScope().GetDriveIds()...), ",")
			}},
			{"STATE", func(o *residencyv1.LegalOrder) string { return enumText(o.GetState()) }},
			{"APPROVALS", func(o *residencyv1.LegalOrder) string { return numberText(int64(len(o.GetApprovals()))) }},
			{"UNTIL", func(o *residencyv1.LegalOrder) string { return timeText(o.GetValidUntil()) }},
		})
	})
}
