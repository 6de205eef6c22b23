package e2e

import (
	"bytes"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

const (
	police = residencyv1.RecipientKind_RECIPIENT_KIND_LAW_ENFORCEMENT
)

// authority registers a public body of the region's own country, without any agreement.
func (c *clause) authority(id string, kind residencyv1.RecipientKind) {
	c.Helper()
	r := c.newRecipient(id, kind)
	r.Safeguard = nil
	c.registerRecipient(r)
}

// order makes an order of the region's own jurisdiction about people, for an hour.
func (c *clause) order(subjects ...string) *residencyv1.LegalOrder {
	return &residencyv1.LegalOrder{
		Authority: "the district court", Jurisdiction: c.jurisdiction, LegalBasis: "code of criminal procedure, article 265", Reference: "2026-117",
		Scope:      &residencyv1.LegalOrderScope{SubjectIds: subjects, DataClasses: []residencyv1.DataClass{personal}},
		ValidUntil: timestamppb.New(time.Now().Add(time.Hour)),
	}
}

// forDrive adds a drive to what an order covers.
func forDrive(o *residencyv1.LegalOrder, drive string) *residencyv1.LegalOrder {
	o.Scope.DriveIds, o.Scope.DataClasses = append(o.Scope.DriveIds, drive), append(o.Scope.DataClasses, driveData)
	return o
}

// file records an order and gives its id.
func (c *clause) file(order *residencyv1.LegalOrder) string {
	c.Helper()
	r, err := c.admin.Disclosures.RecordLegalOrder(c.Context(), &residencyv1.RecordLegalOrderRequest{TenantId: c.tenant, Order: order})
	if err != nil {
		c.Fatalf("recording an order: %v", err)
	}
	return r.Order.OrderId
}

// approving approves an order as somebody.
func (c *clause) approving(by *client.Client, order string) call {
	return func(o grpc.CallOption) error {
		_, err := by.Disclosures.ApproveLegalOrder(c.Context(), &residencyv1.ApproveLegalOrderRequest{TenantId: c.tenant, OrderId: order}, o)
		return err
	}
}

// approved records an order, has two people approve it, and gives its id.
func (c *clause) approved(order *residencyv1.LegalOrder) string {
	c.Helper()
	id := c.file(order)
	for _, by := range []*client.Client{c.officer, c.counsel} {
		if err := c.approving(by, id)(grpc.EmptyCallOption{}); err != nil {
			c.Fatalf("approving an order: %v", err)
		}
	}
	return id
}

// ordered discloses what is held about subject "s" under an order.
func (c *clause) ordered(recipient, order string, p *parcel) call {
	return c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: recipient, Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: obliged, OrderId: order,
	}, p)
}

// orderedDrive discloses drive "d" under an order, or without one.
func (c *clause) orderedDrive(recipient, order string, p *parcel) call {
	return c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: recipient, Object: &residencyv1.DiscloseRequest_DriveId{DriveId: "d"}, Purpose: obliged, OrderId: order,
	}, p)
}

// testLegalOrder: an order of a court or authority with jurisdiction, once two people approved
// it, obliges to disclose the personal information that it covers; in Switzerland drives too.
func testLegalOrder(c *clause) {
	r := c.hold("s", "r", payments)
	c.hold("bystander", "r", payments)
	c.authority("police", police)
	c.deny("no order", c.ordered("police", "", nil), "LEGAL_ORDER_REQUIRED", c.id)
	id := c.file(c.order("s"))
	c.deny("nobody approved it", c.ordered("police", id, nil), "LEGAL_ORDER_UNAPPROVED", c.id)
	c.allow("the first approval", c.approving(c.officer, id), "")
	c.deny("one approved it", c.ordered("police", id, nil), "LEGAL_ORDER_UNAPPROVED", c.id)
	c.allow("the second approval", c.approving(c.counsel, id), "")
	var p parcel
	if d := c.allow("two approved it", c.ordered("police", id, &p), c.id); d.Decision.OrderId != id {
		c.Errorf("the decision rests on order %q, want %q", d.Decision.OrderId, id)
	}
	if len(p.records) != 1 || p.records[0].Personal.GetFullName() != r.Personal.FullName || p.records[0].Personal.GetPhoneNumber() != r.Personal.PhoneNumber {
		c.Errorf("disclosed was %v", p.records)
	}
	c.deny("somebody whom it does not cover", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "bystander"}, Purpose: obliged, OrderId: id,
	}, nil), "LEGAL_ORDER_OUT_OF_SCOPE", c.id)
	abroad := c.order("s")
	abroad.Jurisdiction = c.abroad
	c.deny("an order of another jurisdiction", c.ordered("police", c.file(abroad), nil), "LEGAL_ORDER_WRONG_JURISDICTION", c.id)
	c.recipientIn("foreign", c.abroad, police)
	c.deny("an authority abroad", c.ordered("foreign", id, nil), "LEGAL_ORDER_WRONG_JURISDICTION", c.id)
	if r, err := c.admin.Disclosures.ListDisclosures(c.Context(), &residencyv1.ListDisclosuresRequest{TenantId: c.tenant}); err != nil ||
		len(r.Disclosures) != 1 || r.Disclosures[0].OrderId != id {
		c.Errorf("on record are %v (%v)", r.GetDisclosures(), err)
	}
	c.drive("d", []byte("a drive"))
	withDrive := c.approved(forDrive(c.order("s"), "d"))
	if c.region == unitedStates.region {
		c.deny("a drive, ordered", c.orderedDrive("police", withDrive, nil), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
		return
	}
	var image parcel
	c.allow("a drive, ordered", c.orderedDrive("police", withDrive, &image), "third-party-order")
	if !bytes.Equal(image.data, []byte("a drive")) {
		c.Errorf("disclosed was %q", image.data)
	}
	c.deny("a drive, by an order about a person", c.orderedDrive("police", id, nil), "LEGAL_ORDER_OUT_OF_SCOPE", "third-party-order")
}

// testThirdPartyOrder: nobody outside gets what was uploaded unless an order obliges the company
// to; where the text knows no such order, not under one either. The tenant itself has it always.
func testThirdPartyOrder(c *clause) {
	content := []byte("uploaded by the tenant")
	c.drive("d", content)
	c.authority("police", police)
	var own bytes.Buffer
	c.allow("the tenant", c.readDrive(c.app, "d", &own), "")
	id := c.approved(forDrive(c.order("s"), "d"))
	var p parcel
	if c.region == unitedStates.region { // drive-never-shared refuses everybody
		c.deny("without an order", c.orderedDrive("police", "", &p), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
		c.deny("under an order", c.orderedDrive("police", id, &p), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
		if len(p.data) != 0 {
			c.Errorf("disclosed was %q", p.data)
		}
		return
	}
	c.deny("without an order", c.orderedDrive("police", "", &p), "LEGAL_ORDER_REQUIRED", c.id)
	if len(p.data) != 0 {
		c.Errorf("disclosed was %q", p.data)
	}
	if r := c.allow("under an order", c.orderedDrive("police", id, &p), c.id); r.Decision.OrderId != id {
		c.Errorf("the decision rests on order %q, want %q", r.Decision.OrderId, id)
	}
	if !bytes.Equal(p.data, content) || !bytes.Equal(own.Bytes(), content) {
		c.Errorf("disclosed was %q, the tenant read %q", p.data, own.Bytes())
	}
	if _, err := c.admin.Disclosures.RevokeLegalOrder(c.Context(), &residencyv1.RevokeLegalOrderRequest{TenantId: c.tenant, OrderId: id}); err != nil {
		c.Fatal(err)
	}
	c.deny("after a court revoked it", c.orderedDrive("police", id, nil), "LEGAL_ORDER_EXPIRED", c.id)
}

// testDriveNeverShared: drive data is shared with nobody, of whatever kind and whatever was
// consented to, nor with the company's own services abroad.
func testDriveNeverShared(c *clause) {
	c.drive("d", []byte("never shared"))
	kinds := make([]residencyv1.RecipientKind, 0, len(residencyv1.RecipientKind_name))
	for n := range residencyv1.RecipientKind_name {
		if k := residencyv1.RecipientKind(n); n != 0 && (k != police || c.region == unitedStates.region) {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	consent := c.crossing(driveData, services, obliged)
	for _, kind := range kinds {
		for _, where := range []string{c.jurisdiction, c.abroad} {
			consent.Recipients = append(consent.Recipients, kind.String()+"-"+where)
			c.recipientIn(kind.String()+"-"+where, where, kind, services, obliged)
		}
	}
	c.grant(consent)
	for _, recipient := range consent.Recipients {
		var p parcel
		c.deny("to "+recipient, c.disclose(c.admin, &residencyv1.DiscloseRequest{
			RecipientId: recipient, Object: &residencyv1.DiscloseRequest_DriveId{DriveId: "d"}, Purpose: services,
		}, &p), "DRIVE_DATA_NEVER_SHARED", c.id)
		if len(p.data) != 0 {
			c.Errorf("to %s: %d bytes left", recipient, len(p.data))
		}
	}
	c.deny("to the company's own services abroad", c.readDrive(c.foreignAdmin, "d", io.Discard), "DRIVE_DATA_NEVER_SHARED", c.id)
	c.allow("to the tenant's own software abroad, by consent", c.readDrive(c.foreignApp, "d", io.Discard), "product/border")
	c.allow("to the tenant at home", c.readDrive(c.app, "d", io.Discard), "")
}

// informal is an authority's request about subject "s" that obliges nobody.
func (c *clause) informal(class residencyv1.DataClass, fields ...string) *residencyv1.InformalRequest {
	return &residencyv1.InformalRequest{
		RecipientId: "police", DataClass: class, SubjectIds: []string{"s"}, Fields: fields, Purpose: fraud,
		Reference: "by telephone", ValidUntil: timestamppb.New(time.Now().Add(time.Hour)),
	}
}

// asking records an informal request; id is set to its identifier.
func (c *clause) asking(req *residencyv1.InformalRequest, id *string) call {
	return func(o grpc.CallOption) error {
		r, err := c.admin.Disclosures.RecordInformalRequest(c.Context(), &residencyv1.RecordInformalRequestRequest{
			TenantId: c.tenant, InformalRequest: req,
		}, o)
		*id = r.GetInformalRequest().GetInformalRequestId()
		return err
	}
}

// granting grants an informal request as somebody.
func (c *clause) granting(by *client.Client, id string) call {
	return func(o grpc.CallOption) error {
		_, err := by.Disclosures.ApproveInformalRequest(c.Context(), &residencyv1.ApproveInformalRequestRequest{TenantId: c.tenant, InformalRequestId: id}, o)
		return err
	}
}

// answering discloses what is held about subject "s" on an informal request.
func (c *clause) answering(id string, p *parcel) call {
	return c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: fraud, InformalRequestId: id,
	}, p)
}

// testInformalRequest: what an authority asks for without obliging the company is refused in
// Switzerland; in the United States somebody may grant it, for personal information.
func testInformalRequest(c *clause) {
	c.hold("s", "r", payments, fraud)
	c.recipient("police", police)
	var id, ignored string
	var p parcel
	if c.region == switzerland.region {
		c.deny("asking", c.asking(c.informal(personal, "full_name"), &id), "INFORMAL_REQUEST_REFUSED", c.id)
		c.deny("disclosing regardless", c.answering("", nil), "INFORMAL_REQUEST_REFUSED", c.id)
		order := c.approved(c.order("s"))
		c.allow("under an order", c.ordered("police", order, &p), "legal-order")
	} else {
		c.allow("asking", c.asking(c.informal(personal, "full_name"), &id), "")
		c.deny("before it is granted", c.answering(id, nil), "INFORMAL_REQUEST_REFUSED", c.id)
		c.allow("granting", c.granting(c.officer, id), "")
		if r := c.allow("once it is granted", c.answering(id, &p), c.id); r.Decision.OrderId != id {
			c.Errorf("the decision rests on %q, want the request %q", r.Decision.OrderId, id)
		}
	}
	if len(p.records) != 1 {
		c.Errorf("disclosed were %d records", len(p.records))
	}
	c.deny("asking for drives", c.asking(c.informal(driveData, "full_name"), &ignored), "DRIVE_DATA_NEVER_SHARED", c.driveClause())
}

// driveClause is what a refusal of drive data on request cites.
func (c *clause) driveClause() string {
	if c.region == switzerland.region {
		return "third-party-order"
	}
	return "drive-never-shared"
}
