package e2e

import (
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// recipientFields are what the recipients of these tests need for their functions.
var recipientFields = []string{"full_name", "email_address"}

// newRecipient makes a recipient at home with a safeguard agreement and a function for a purpose.
func (c *clause) newRecipient(id string, kind residencyv1.RecipientKind, purposes ...residencyv1.Purpose) *residencyv1.Recipient {
	r := &residencyv1.Recipient{
		RecipientId: id, Name: "Recipient " + id, Kind: kind, Jurisdiction: c.jurisdiction,
		Safeguard: &residencyv1.Safeguard{Reference: "agreement 7", ValidUntil: timestamppb.New(time.Now().Add(time.Hour))},
	}
	for _, p := range purposes {
		r.Functions = append(r.Functions, &residencyv1.RecipientFunction{Purpose: p, Fields: recipientFields})
	}
	return r
}

func (c *clause) registerRecipient(r *residencyv1.Recipient) {
	c.Helper()
	_, err := c.admin.Disclosures.RegisterRecipient(c.Context(), &residencyv1.RegisterRecipientRequest{TenantId: c.tenant, Recipient: r})
	if err != nil {
		c.Fatalf("registering recipient %s: %v", r.RecipientId, err)
	}
}

func (c *clause) updateRecipient(r *residencyv1.Recipient) {
	c.Helper()
	_, err := c.admin.Disclosures.UpdateRecipient(c.Context(), &residencyv1.UpdateRecipientRequest{TenantId: c.tenant, Recipient: r})
	if err != nil {
		c.Fatalf("updating recipient %s: %v", r.RecipientId, err)
	}
}

// recipient registers a recipient at home.
func (c *clause) recipient(id string, kind residencyv1.RecipientKind, purposes ...residencyv1.Purpose) {
	c.Helper()
	c.registerRecipient(c.newRecipient(id, kind, purposes...))
}

// recipientIn registers a recipient elsewhere.
func (c *clause) recipientIn(id, jurisdiction string, kind residencyv1.RecipientKind, purposes ...residencyv1.Purpose) {
	c.Helper()
	r := c.newRecipient(id, kind, purposes...)
	r.Jurisdiction = jurisdiction
	c.registerRecipient(r)
}

// parcel is what a disclosure handed over.
type parcel struct {
	records []*residencyv1.PersonalRecord
	data    []byte
}

// disclose hands over what is held, and keeps what left unless the parcel is nil.
func (c *clause) disclose(by *client.Client, req *residencyv1.DiscloseRequest, p *parcel) call {
	return func(o grpc.CallOption) error {
		req.TenantId = c.tenant
		s, err := by.Disclosures.Disclose(c.Context(), req, o)
		for err == nil {
			var piece *residencyv1.DiscloseResponse
			if piece, err = s.Recv(); err != nil || p == nil {
				continue
			}
			if r := piece.GetRecord(); r != nil {
				p.records = append(p.records, r)
			}
			p.data = append(p.data, piece.GetData()...)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// discloses asks for what is held about subject "s".
func (c *clause) discloses(recipient string, purpose residencyv1.Purpose, p *parcel) call {
	return c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: recipient, Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: purpose,
	}, p)
}

// fieldsOf are the personal fields that a record has.
func fieldsOf(r *residencyv1.PersonalRecord) []string {
	has := map[string]bool{
		"full_name": r.GetPersonal().GetFullName() != "", "postal_address": r.GetPersonal().GetPostalAddress() != "",
		"phone_number": r.GetPersonal().GetPhoneNumber() != "", "email_address": r.GetPersonal().GetEmailAddress() != "",
		"attributes": len(r.GetPersonal().GetAttributes()) > 0, "birth_date": r.GetBirthDate() != nil,
		"residence": r.GetResidence() != "", "source_party": r.GetSourceParty() != "",
	}
	maps.DeleteFunc(has, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(has))
}

// processors are the kinds of recipients that do something for the company.
var processors = map[string]residencyv1.RecipientKind{
	"office": residencyv1.RecipientKind_RECIPIENT_KIND_ASSOCIATE_OFFICE,
	"agent":  residencyv1.RecipientKind_RECIPIENT_KIND_AGENT,
	"sub":    residencyv1.RecipientKind_RECIPIENT_KIND_SUBCONTRACTOR,
}

// testProcessors: associate offices, agents and subcontractors get the fields that their
// function needs, for its purpose; nobody else gets anything.
func testProcessors(c *clause) {
	c.hold("s", "r", payments, enquiries)
	for id, kind := range processors {
		c.deny(id+", not registered", c.discloses(id, payments, nil), "RECIPIENT_NOT_REGISTERED", c.id)
		c.recipient(id, kind, payments)
		var p parcel
		c.allow(id+", within its function", c.discloses(id, payments, &p), c.id)
		if len(p.records) != 1 || !slices.Equal(fieldsOf(p.records[0]), []string{"email_address", "full_name"}) {
			c.Errorf("%s got %d records, %v", id, len(p.records), p.records)
		}
		c.deny(id+", outside its function", c.discloses(id, enquiries, nil), "RECIPIENT_OUTSIDE_FUNCTION", c.id)
		c.listed(id, kind)
		if _, err := c.admin.Disclosures.RevokeRecipient(c.Context(), &residencyv1.RevokeRecipientRequest{TenantId: c.tenant, RecipientId: id}); err != nil {
			c.Fatal(err)
		}
		c.deny(id+", revoked", c.discloses(id, payments, nil), "RECIPIENT_NOT_REGISTERED", c.id)
	}
	c.forbidden("the tenant's software, which may not disclose", c.disclose(c.app, &residencyv1.DiscloseRequest{
		RecipientId: "agent", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: payments,
	}, nil))
}

// listed checks what is on record of the one disclosure to a recipient.
func (c *clause) listed(recipient string, kind residencyv1.RecipientKind) {
	c.Helper()
	r, err := c.admin.Disclosures.ListDisclosures(c.Context(), &residencyv1.ListDisclosuresRequest{TenantId: c.tenant, RecipientId: recipient})
	if err != nil || len(r.Disclosures) != 1 {
		c.Fatalf("%d disclosures to %s are on record (%v), want the one", len(r.GetDisclosures()), recipient, err)
	}
	d := r.Disclosures[0]
	if fields := slices.Sorted(slices.Values(d.Fields)); d.RecipientKind != kind || d.GetSubjectId() != "s" || d.Purpose != payments ||
		d.Records != 1 || !slices.Equal(fields, []string{"email_address", "full_name"}) {
		c.Errorf("on record is %v", d)
	}
}

// testProtection: a recipient without a safeguard agreement, or with one that is over, gets
// nothing; an authority that acts on an order needs none.
func testProtection(c *clause) {
	c.hold("s", "r", payments, fraud)
	bare := c.newRecipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	bare.Safeguard = nil
	c.registerRecipient(bare)
	c.deny("no agreement", c.discloses("agent", payments, nil), "SAFEGUARD_MISSING", c.id)
	short := c.newRecipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	end := time.Now().Add(2 * time.Second)
	short.Safeguard.ValidUntil = timestamppb.New(end)
	c.updateRecipient(short)
	c.allow("an agreement", c.discloses("agent", payments, nil), "processors")
	time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
	c.deny("an agreement that is over", c.discloses("agent", payments, nil), "SAFEGUARD_MISSING", c.id)
	partner := c.newRecipient("partner", residencyv1.RecipientKind_RECIPIENT_KIND_FRAUD_PARTNER, fraud)
	partner.Safeguard = nil
	c.registerRecipient(partner)
	c.deny("a fraud partner without one", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "partner", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: fraud, Necessity: "chargebacks",
	}, nil), "SAFEGUARD_MISSING", c.id)
	c.authority("police", residencyv1.RecipientKind_RECIPIENT_KIND_LAW_ENFORCEMENT)
	order := c.approved(c.order("s"))
	c.allow("an authority with an order, without an agreement", c.ordered("police", order, nil), "legal-order")
}

// testBusinessTransfer: an acquirer gets personal information when the business passes; in the
// due diligence before, only where the text says so.
func testBusinessTransfer(c *clause) {
	c.hold("s", "r", payments)
	sale := residencyv1.Purpose_PURPOSE_BUSINESS_TRANSFER
	c.recipient("acquirer", residencyv1.RecipientKind_RECIPIENT_KIND_ACQUIRER, sale, payments)
	at := func(stage residencyv1.TransactionStage, purpose residencyv1.Purpose) call {
		return c.disclose(c.admin, &residencyv1.DiscloseRequest{
			RecipientId: "acquirer", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: purpose, Stage: stage,
		}, nil)
	}
	diligence, transfer := residencyv1.TransactionStage_TRANSACTION_STAGE_DUE_DILIGENCE, residencyv1.TransactionStage_TRANSACTION_STAGE_ASSET_TRANSFER
	c.allow("the asset's transfer", at(transfer, sale), c.id)
	if c.region == switzerland.region {
		c.deny("due diligence", at(diligence, sale), "PURPOSE_NOT_PERMITTED", c.id)
	} else {
		c.allow("due diligence", at(diligence, sale), c.id)
	}
	c.refuse("no stage", at(0, sale), "BAD_REQUEST")
	c.deny("another purpose", at(transfer, payments), "PURPOSE_NOT_PERMITTED", c.id)
	r, err := c.admin.Disclosures.ListDisclosures(c.Context(), &residencyv1.ListDisclosuresRequest{TenantId: c.tenant, SubjectId: "s"})
	if err != nil || len(r.Disclosures) == 0 || r.Disclosures[len(r.Disclosures)-1].Stage != transfer {
		c.Errorf("on record are %v (%v)", r.GetDisclosures(), err)
	}
}

// testFraudExchange: exchanges with others are for fraud prevention and credit risk, and each
// says why it is necessary.
func testFraudExchange(c *clause) {
	credit := residencyv1.Purpose_PURPOSE_CREDIT_RISK
	c.hold("s", "r", fraud, credit, payments)
	c.recipient("partner", residencyv1.RecipientKind_RECIPIENT_KIND_FRAUD_PARTNER, fraud, credit, payments)
	exchange := func(purpose residencyv1.Purpose, necessity string) call {
		return c.disclose(c.admin, &residencyv1.DiscloseRequest{
			RecipientId: "partner", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: purpose, Necessity: necessity,
		}, nil)
	}
	c.allow("against fraud", exchange(fraud, "three chargebacks in a week"), c.id)
	c.allow("against credit risk", exchange(credit, "an unpaid balance"), c.id)
	c.deny("without necessity", exchange(fraud, ""), "PURPOSE_NOT_PERMITTED", c.id)
	c.deny("without necessity, said at length", exchange(credit, "   "), "PURPOSE_NOT_PERMITTED", c.id)
	c.deny("for another purpose", exchange(payments, "convenient"), "PURPOSE_NOT_PERMITTED", c.id)
	r, err := c.admin.Disclosures.ListDisclosures(c.Context(), &residencyv1.ListDisclosuresRequest{TenantId: c.tenant, SubjectId: "s"})
	if err != nil || len(r.Disclosures) != 2 || r.Disclosures[1].Necessity != "three chargebacks in a week" {
		c.Errorf("on record are %v (%v), want the two exchanges with their necessity", r.GetDisclosures(), err)
	}
}

// testChoice: another third party gets something once notice of it was given, its period is over
// and nobody objected; a later objection binds from then on, until it is lifted.
func testChoice(c *clause) {
	c.hold("s", "r", payments)
	for _, id := range []string{"third", "other"} {
		c.recipient(id, residencyv1.RecipientKind_RECIPIENT_KIND_THIRD_PARTY, payments)
	}
	c.deny("no notice", c.discloses("third", payments, nil), "NOTICE_REQUIRED", c.id)
	end := time.Now().Add(2 * time.Second)
	_, err := c.admin.Disclosures.GiveNotice(c.Context(), &residencyv1.GiveNoticeRequest{TenantId: c.tenant, Notice: &residencyv1.Notice{
		Scope: &residencyv1.Notice_WholeTenant{WholeTenant: true}, RecipientId: "third", Purposes: []residencyv1.Purpose{payments},
		NoticeLanguage: "en", NoticeDigest: evidence().NoticeDigest, PeriodEndTime: timestamppb.New(end),
	}})
	if err != nil {
		c.Fatal(err)
	}
	c.deny("the period is open", c.discloses("third", payments, nil), "NOTICE_PERIOD_OPEN", c.id)
	time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
	c.allow("the period is over", c.discloses("third", payments, nil), c.id)
	c.deny("another third party", c.discloses("other", payments, nil), "NOTICE_REQUIRED", c.id)
	objection, err := c.admin.Disclosures.RecordObjection(c.Context(), &residencyv1.RecordObjectionRequest{TenantId: c.tenant, Objection: &residencyv1.Objection{
		Scope: &residencyv1.Objection_SubjectId{SubjectId: "s"}, RecipientId: "third",
	}})
	if err != nil {
		c.Fatal(err)
	}
	c.deny("a later objection", c.discloses("third", payments, nil), "OBJECTION_RECORDED", c.id)
	_, err = c.admin.Disclosures.LiftObjection(c.Context(), &residencyv1.LiftObjectionRequest{
		TenantId: c.tenant, ObjectionId: objection.Objection.ObjectionId,
	})
	if err != nil {
		c.Fatal(err)
	}
	c.allow("the objection is lifted", c.discloses("third", payments, nil), c.id)
}
