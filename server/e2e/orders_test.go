package e2e

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// Each way in which a legal order can fail to oblige has a reason of its own.
func TestLegalOrders(t *testing.T) {
	d := approvers(t)
	for _, home := range []country{switzerland, unitedStates} {
		t.Run(home.region, func(t *testing.T) {
			people := d.callers(t, home)
			for name, test := range map[string]func(*clause){
				"approvers": testApprovers, "time": testOrderTime, "ended": testOrderEnded, "scope": testOrderScope,
				"jurisdiction": testOrderJurisdiction, "drive": testOrderDrive, "another-tenant": testOrderOfAnother,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c := newClause(t, d, home, people, "legal-order")
					c.hold("s", "r", payments)
					c.authority("police", police)
					test(c)
				})
			}
		})
	}
}

// testApprovers: two distinct people approve, neither of them the one who filed the order.
func testApprovers(c *clause) {
	id := c.file(c.order("s"))
	c.deny("nobody approved", c.ordered("police", id, nil), "LEGAL_ORDER_UNAPPROVED", c.id)
	c.deny("who filed it", c.approving(c.admin, id), "APPROVER_NOT_DISTINCT", c.id)
	c.allow("the first", c.approving(c.officer, id), "")
	c.deny("the first again", c.approving(c.officer, id), "APPROVER_NOT_DISTINCT", c.id)
	c.deny("who filed it, as the second", c.approving(c.admin, id), "APPROVER_NOT_DISTINCT", c.id)
	c.state(id, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_RECORDED, 1)
	c.deny("one approved", c.ordered("police", id, nil), "LEGAL_ORDER_UNAPPROVED", c.id)
	c.allow("the second", c.approving(c.counsel, id), "")
	c.state(id, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_APPROVED, 2)
	c.allow("two approved", c.ordered("police", id, nil), c.id)
	c.deny("rejecting what is in effect", c.rejecting(id), "LEGAL_ORDER_EXPIRED", c.id)
	c.forbidden("the tenant's software, which may not file", func(o grpc.CallOption) error {
		_, err := c.app.Disclosures.RecordLegalOrder(c.Context(), &residencyv1.RecordLegalOrderRequest{TenantId: c.tenant, Order: c.order("s")}, o)
		return err
	})
	preset := c.order("s")
	preset.State, preset.Approvals = residencyv1.LegalOrderState_LEGAL_ORDER_STATE_APPROVED, []*residencyv1.Approval{{Approver: "a"}, {Approver: "b"}}
	if r, err := c.admin.Disclosures.RecordLegalOrder(c.Context(), &residencyv1.RecordLegalOrderRequest{TenantId: c.tenant, Order: preset}); err == nil {
		c.deny("an order that says itself that it is approved", c.ordered("police", r.Order.OrderId, nil), "LEGAL_ORDER_UNAPPROVED", c.id)
	}
}

// state checks where an order stands, and that it is listed there.
func (c *clause) state(id string, want residencyv1.LegalOrderState, approvals int) {
	c.Helper()
	got, err := c.officer.Disclosures.GetLegalOrder(c.Context(), &residencyv1.GetLegalOrderRequest{TenantId: c.tenant, OrderId: id})
	if err != nil || got.Order.State != want || len(got.Order.Approvals) != approvals {
		c.Errorf("the order stands at %v with %d approvals (%v), want %v with %d",
			got.GetOrder().GetState(), len(got.GetOrder().GetApprovals()), err, want, approvals)
	}
	list, err := c.officer.Disclosures.ListLegalOrders(c.Context(), &residencyv1.ListLegalOrdersRequest{TenantId: c.tenant, State: want})
	if err != nil || !slices.ContainsFunc(list.Orders, func(o *residencyv1.LegalOrder) bool { return o.OrderId == id }) {
		c.Errorf("not listed as %v (%v)", want, err)
	}
}

func (c *clause) rejecting(id string) call {
	return func(o grpc.CallOption) error {
		_, err := c.officer.Disclosures.RejectLegalOrder(c.Context(), &residencyv1.RejectLegalOrderRequest{TenantId: c.tenant, OrderId: id}, o)
		return err
	}
}

// testOrderTime: an order obliges from its beginning until its end.
func testOrderTime(c *clause) {
	short, early := c.order("s"), c.order("s")
	end := time.Now().Add(3 * time.Second)
	short.ValidUntil, early.ValidFrom = timestamppb.New(end), timestamppb.New(time.Now().Add(30*time.Minute))
	id, late := c.approved(short), c.file(short)
	c.allow("while it is valid", c.ordered("police", id, nil), c.id)
	c.deny("before it begins", c.ordered("police", c.approved(early), nil), "LEGAL_ORDER_EXPIRED", c.id)
	time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
	c.deny("after its end", c.ordered("police", id, nil), "LEGAL_ORDER_EXPIRED", c.id)
	c.deny("approving after its end", c.approving(c.officer, late), "LEGAL_ORDER_EXPIRED", c.id)
	c.deny("unapproved, after its end", c.ordered("police", late, nil), "LEGAL_ORDER_EXPIRED", c.id)
	c.state(id, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_EXPIRED, 2)
}

// testOrderEnded: an order that a court revoked, or that was rejected, obliges no more, for good.
func testOrderEnded(c *clause) {
	id := c.approved(c.order("s"))
	c.allow("in force", c.ordered("police", id, nil), c.id)
	if _, err := c.admin.Disclosures.RevokeLegalOrder(c.Context(), &residencyv1.RevokeLegalOrderRequest{TenantId: c.tenant, OrderId: id}); err != nil {
		c.Fatal(err)
	}
	c.deny("revoked", c.ordered("police", id, nil), "LEGAL_ORDER_EXPIRED", c.id)
	c.deny("approving what was revoked", c.approving(c.officer, id), "LEGAL_ORDER_EXPIRED", c.id)
	c.state(id, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_REVOKED, 2)
	refused := c.file(c.order("s"))
	c.allow("rejecting", c.rejecting(refused), "")
	c.deny("approving what was rejected", c.approving(c.counsel, refused), "LEGAL_ORDER_EXPIRED", c.id)
	c.deny("rejected", c.ordered("police", refused, nil), "LEGAL_ORDER_EXPIRED", c.id)
	c.state(refused, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_REJECTED, 0)
}

// testOrderScope: an order covers the people, the time and the recipient that it names.
func testOrderScope(c *clause) {
	c.hold("bystander", "r", payments)
	c.authority("other-police", police)
	id := c.approved(c.order("s"))
	c.allow("whom it names", c.ordered("police", id, nil), c.id)
	c.deny("whom it does not name", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "bystander"}, Purpose: obliged, OrderId: id,
	}, nil), "LEGAL_ORDER_OUT_OF_SCOPE", c.id)
	before, bound := c.order("s"), c.order("s")
	before.Scope.ToTime, bound.RecipientId = timestamppb.New(time.Now().Add(-time.Hour)), "police"
	c.deny("what was collected after the time that it names", c.ordered("police", c.approved(before), nil), "LEGAL_ORDER_OUT_OF_SCOPE", c.id)
	boundID := c.approved(bound)
	c.allow("the authority that it names", c.ordered("police", boundID, nil), c.id)
	c.deny("another authority", c.ordered("other-police", boundID, nil), "LEGAL_ORDER_OUT_OF_SCOPE", c.id)
}

// testOrderJurisdiction: an order of another jurisdiction obliges to nothing here, and makes no
// crossing lawful.
func testOrderJurisdiction(c *clause) {
	abroad := c.order("s")
	abroad.Jurisdiction = c.abroad
	id := c.file(abroad)
	c.deny("approving it", c.approving(c.officer, id), "LEGAL_ORDER_WRONG_JURISDICTION", c.id)
	c.deny("disclosing under it", c.ordered("police", id, nil), "LEGAL_ORDER_WRONG_JURISDICTION", c.id)
	domestic := c.approved(c.order("s"))
	c.recipientIn("foreign", c.abroad, police)
	c.deny("an authority abroad", c.ordered("foreign", domestic, nil), "LEGAL_ORDER_WRONG_JURISDICTION", c.id)
	var denied *client.Denied
	err := c.disclose(c.foreignAdmin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: obliged, OrderId: domestic,
	}, nil)(grpc.EmptyCallOption{})
	if !errors.As(err, &denied) || denied.Reason != "LEGAL_ORDER_WRONG_JURISDICTION" {
		c.Errorf("carried by somebody abroad: %v", err)
	}
}

// testOrderDrive: in Switzerland an order reaches the drives that it names; in the United States
// none does.
func testOrderDrive(c *clause) {
	c.drive("d", []byte("a drive"))
	id := c.approved(forDrive(c.order("s"), "d"))
	var p parcel
	if c.region == unitedStates.region {
		c.deny("a drive", c.orderedDrive("police", id, &p), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
		if len(p.data) != 0 {
			c.Errorf("%d bytes left", len(p.data))
		}
		return
	}
	c.allow("a drive", c.orderedDrive("police", id, &p), "third-party-order")
	if string(p.data) != "a drive" {
		c.Errorf("disclosed was %q", p.data)
	}
	c.deny("a drive that it does not name", c.orderedDrive("police", c.approved(c.order("s")), nil), "LEGAL_ORDER_OUT_OF_SCOPE", "third-party-order")
}

// testOrderOfAnother: an order of another tenant looks like one that does not exist.
func testOrderOfAnother(c *clause) {
	another := *c
	another.tenant = c.register(c.jurisdiction, nil)
	there := another.approved(c.order("s"))
	const nowhere = "00000000-0000-7000-8000-000000000000"
	seen := make(map[string][]string)
	for _, id := range []string{there, nowhere} {
		c.deny("disclosing", c.ordered("police", id, nil), "LEGAL_ORDER_REQUIRED", c.id)
		for _, f := range []call{
			c.ordered("police", id, nil), c.approving(c.officer, id), c.rejecting(id),
			func(o grpc.CallOption) error {
				_, err := c.admin.Disclosures.GetLegalOrder(c.Context(), &residencyv1.GetLegalOrderRequest{TenantId: c.tenant, OrderId: id}, o)
				return err
			},
			func(o grpc.CallOption) error {
				_, err := c.admin.Disclosures.RevokeLegalOrder(c.Context(), &residencyv1.RevokeLegalOrderRequest{TenantId: c.tenant, OrderId: id}, o)
				return err
			},
		} {
			seen[id] = append(seen[id], anonymous(f(grpc.EmptyCallOption{})))
		}
	}
	if !slices.Equal(seen[there], seen[nowhere]) {
		c.Errorf("another tenant's order answers\n%v\nand one that does not exist\n%v", seen[there], seen[nowhere])
	}
	another.state(there, residencyv1.LegalOrderState_LEGAL_ORDER_STATE_APPROVED, 2)
}

// anonymous is all that an error tells but its decision's identifier.
func anonymous(err error) string {
	var denied *client.Denied
	var failed *client.Error
	switch {
	case errors.As(err, &denied):
		d := *denied
		d.DecisionID = ""
		return d.Error() + " missing " + slices.Concat(d.Missing, []string{""})[0]
	case errors.As(err, &failed):
		e := *failed
		e.DecisionID = ""
		return e.Code.String() + " " + e.Error()
	}
	return "no error"
}
