package e2e

import (
	"bytes"
	"io"

	"google.golang.org/grpc"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// testBorder: nothing crosses the border without a recorded consent that covers it, and nothing
// once that is withdrawn; coming home needs none. A check says the same as the reads do.
func testBorder(c *clause) {
	c.hold("s", "r", payments)
	content := []byte("bytes of a drive")
	c.drive("d", content)
	abroad := personalRecord("s", "from-abroad", "anna")
	c.allow("writing from abroad comes home", c.put(c.foreignApp, abroad), "")
	c.allow("reading at home", c.get(c.app, "s", "r", payments), "purpose")
	required := "CROSS_BORDER_CONSENT_REQUIRED"
	c.deny("reading", c.get(c.foreignApp, "s", "r", payments), required, c.id)
	c.deny("reading what does not exist", c.get(c.foreignApp, "nobody", "r", payments), required, c.id)
	c.deny("a drive", c.readDrive(c.foreignApp, "d", io.Discard), required, c.id)
	c.deny("consents, which name people", func(o grpc.CallOption) error {
		_, err := c.foreignApp.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant}, o)
		return err
	}, required, c.id)
	c.movable(residencyv1.Outcome_OUTCOME_DENY)
	about := of(c.crossing(personal, payments), "s")
	about.Recipients = []string{"office"}
	person, drives := c.grant(about), c.grant(c.crossing(driveData, services))
	if r := c.allow("reading with consent", c.get(c.foreignApp, "s", "r", payments), c.id); r.Decision.ConsentId != person ||
		r.Decision.FromJurisdiction != c.jurisdiction || r.Decision.ToJurisdiction != c.abroad {
		c.Errorf("the crossing is logged as %v", r.Decision)
	}
	c.deny("another person", c.get(c.foreignApp, "other", "r", payments), required, c.id)
	c.deny("another purpose", c.get(c.foreignApp, "s", "r", enquiries), required, c.id)
	var read bytes.Buffer
	c.allow("a drive with consent", c.readDrive(c.foreignApp, "d", &read), c.id)
	if !bytes.HasPrefix(read.Bytes(), content) {
		c.Errorf("the drive reads as %q abroad", read.Bytes())
	}
	c.movable(residencyv1.Outcome_OUTCOME_ALLOW)
	c.recipientIn("office", c.abroad, residencyv1.RecipientKind_RECIPIENT_KIND_ASSOCIATE_OFFICE, payments)
	c.recipientIn("unnamed", c.abroad, residencyv1.RecipientKind_RECIPIENT_KIND_ASSOCIATE_OFFICE, payments)
	to := func(recipient string) call {
		return c.disclose(c.admin, &residencyv1.DiscloseRequest{
			RecipientId: recipient, Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: payments,
		}, nil)
	}
	c.allow("disclosing to the associate office that the consent names", to("office"), "")
	c.deny("disclosing to another", to("unnamed"), required, c.id)
	c.withdraw(person)
	c.withdraw(drives)
	c.deny("reading after the withdrawal", c.get(c.foreignApp, "s", "r", payments), "CONSENT_WITHDRAWN", c.id)
	c.deny("a drive after the withdrawal", c.readDrive(c.foreignApp, "d", io.Discard), "CONSENT_WITHDRAWN", c.id)
	c.deny("disclosing after the withdrawal", to("office"), "CONSENT_WITHDRAWN", c.id)
	c.movable(residencyv1.Outcome_OUTCOME_DENY)
}

// movable checks what the gateway says about moving a person and a drive abroad.
func (c *clause) movable(want residencyv1.Outcome) {
	c.Helper()
	for what, req := range map[string]*residencyv1.CheckTransferRequest{
		"a person": {Object: &residencyv1.CheckTransferRequest_SubjectId{SubjectId: "s"}, DataClass: personal, Purpose: payments},
		"a drive":  {Object: &residencyv1.CheckTransferRequest_DriveId{DriveId: "d"}, DataClass: driveData, Purpose: services},
	} {
		req.TenantId, req.ToRegion = c.tenant, c.abroadRegion
		r, err := c.app.Transfers.CheckTransfer(c.Context(), req)
		if err != nil {
			c.Fatalf("checking a transfer of %s: %v", what, err)
		}
		if d := r.Decision; d.Outcome != want || d.Clause != c.id {
			c.Errorf("a transfer of %s: %v under clause %s, want %v under %s", what, d.Outcome, d.Clause, want, c.id)
		}
	}
}

// registering asks to register a tenant in a region, or where its residence decides.
func (c *clause) registering(by *client.Client, residence, region string, agreement *residencyv1.Evidence, out **residencyv1.Tenant) call {
	return func(o grpc.CallOption) error {
		r, err := by.Tenants.RegisterTenant(c.Context(), &residencyv1.RegisterTenantRequest{
			TenantId: "resident-" + randomID(), Residence: residence, HomeRegion: region, Agreement: agreement,
		}, o)
		if out != nil {
			*out = r.GetTenant()
		}
		return err
	}
}

// testEUResidents: residents of the EU and the EEA are homed in Switzerland by their recorded
// agreement alone, which covers the services and never promotional offers.
func testEUResidents(c *clause) {
	for _, residence := range []string{"DE", "BG", "NO"} {
		c.misplaced("without agreement, from "+residence, c.registering(c.admin, residence, "", nil, nil), "AGREEMENT_REQUIRED", c.id)
		var tenant *residencyv1.Tenant
		if err := c.registering(c.admin, residence, "", evidence(), &tenant)(grpc.EmptyCallOption{}); err != nil {
			c.Fatalf("with agreement, from %s: %v", residence, err)
		}
		if tenant.HomeRegion != c.region {
			c.Errorf("a resident of %s is homed in %s", residence, tenant.HomeRegion)
		}
		c.tenant = tenant.TenantId
		r := c.allow("writing for a resident of "+residence, c.put(c.app, personalRecord("s", "r", "anna")), c.id)
		if r.Decision.ConsentId == "" {
			c.Error("the decision names no agreement")
		}
	}
	offers := personalRecord("s", "offers", "anna")
	offers.Purposes = []residencyv1.Purpose{promotion}
	c.allow("collecting", c.put(c.app, offers), c.id)
	c.deny("promotional use under the agreement", c.get(c.app, "s", "offers", promotion), "MARKETING_OPT_IN_REQUIRED", "marketing")
	agreement := c.consent(residencyv1.ConsentKind_CONSENT_KIND_RESIDENCE_AGREEMENT, personal, promotion)
	agreement.FromJurisdiction, agreement.ToJurisdiction = "NO", c.jurisdiction
	c.refuse("an agreement that covers promotional offers", func(o grpc.CallOption) error {
		_, err := c.app.Consents.GrantConsent(c.Context(), &residencyv1.GrantConsentRequest{TenantId: c.tenant, Consent: agreement}, o)
		return err
	}, "BAD_REQUEST")
	c.withdraw(c.agreement())
	c.deny("writing after the agreement was withdrawn", c.put(c.app, personalRecord("s", "more", "anna")), "AGREEMENT_REQUIRED", c.id)
	var swiss *residencyv1.Tenant
	if err := c.registering(c.admin, "CH", "", nil, &swiss)(grpc.EmptyCallOption{}); err != nil || swiss.HomeRegion != c.region {
		c.Errorf("a resident of Switzerland, who needs no agreement: %v (%v)", swiss, err)
	}
}

// agreement gives the tenant's agreement to where its data is held.
func (c *clause) agreement() string {
	c.Helper()
	r, err := c.app.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant})
	if err != nil {
		c.Fatal(err)
	}
	for _, consent := range r.Consents {
		if consent.Kind == residencyv1.ConsentKind_CONSENT_KIND_RESIDENCE_AGREEMENT {
			return consent.ConsentId
		}
	}
	c.Fatal("no agreement is recorded")
	return ""
}

// misplaced makes a registration that must be refused citing a clause; there is no tenant whose
// log could be read.
func (c *clause) misplaced(what string, f call, reason, cited string) {
	c.Helper()
	info := c.refuse(what, f, reason)
	if info.Metadata["clause"] != cited || info.Metadata["decision_id"] == "" {
		c.Errorf("%s: clause %q in decision %q, want clause %s", what, info.Metadata["clause"], info.Metadata["decision_id"], cited)
	}
}

// testUSResidents: a resident of the United States is homed there, and anywhere else only by a
// recorded agreement.
func testUSResidents(c *clause) {
	var tenant *residencyv1.Tenant
	if err := c.registering(c.admin, "US", "", nil, &tenant)(grpc.EmptyCallOption{}); err != nil {
		c.Fatal(err)
	}
	if tenant.HomeRegion != c.region || tenant.Jurisdiction != c.jurisdiction || tenant.Controller != c.controller {
		c.Errorf("a resident of the United States is homed in %s (%s) under %s", tenant.HomeRegion, tenant.Jurisdiction, tenant.Controller)
	}
	c.tenant = tenant.TenantId
	c.allow("writing", c.put(c.app, personalRecord("s", "r", "anna")), c.id)
	if _, err := c.app.Drives.CreateDrive(c.Context(), &residencyv1.CreateDriveRequest{TenantId: c.tenant, DriveId: "d", SizeBytes: 1}); err != nil {
		c.Fatal(err)
	}
	c.allow("writing to a drive, of which the text does not speak", c.writeDrive("d", []byte("x")), "product/placement")
	c.deny("reading from abroad", c.get(c.foreignApp, "s", "r", payments), "CROSS_BORDER_CONSENT_REQUIRED", "product/border")
	c.misplaced("elsewhere, without agreement", c.registering(c.foreignAdmin, "US", c.abroadRegion, nil, nil), "AGREEMENT_REQUIRED", "product/placement")
	var away *residencyv1.Tenant
	if err := c.registering(c.foreignAdmin, "US", c.abroadRegion, evidence(), &away)(grpc.EmptyCallOption{}); err != nil || away.HomeRegion != c.abroadRegion {
		c.Errorf("elsewhere, with agreement: %v (%v)", away, err)
	}
	c.misplaced("a resident of elsewhere, without agreement", c.registering(c.admin, "BR", c.region, nil, nil), "AGREEMENT_REQUIRED", "product/placement")
}
