package e2e

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// testPurpose: what was provided for one purpose is not used for another, in no way of reading.
func testPurpose(c *clause) {
	r := c.hold("s", "r", payments, enquiries)
	c.allow("a purpose it was provided for", c.get(c.app, "s", "r", payments), c.id)
	c.allow("another purpose it was provided for", c.get(c.app, "s", "r", enquiries), c.id)
	c.deny("a purpose it was not provided for", c.get(c.app, "s", "r", services), "PURPOSE_NOT_PERMITTED", c.id)
	list, err := c.app.Records.ListRecords(c.Context(), &residencyv1.ListRecordsRequest{TenantId: c.tenant, SubjectId: "s", Purpose: services})
	if err != nil || len(list.Records) != 0 {
		c.Errorf("listed for another purpose: %d records (%v)", len(list.GetRecords()), err)
	}
	found, err := c.app.Records.FindRecords(c.Context(), &residencyv1.FindRecordsRequest{
		TenantId: c.tenant, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: r.Personal.EmailAddress}, Purpose: services,
	})
	if err != nil || len(found.Records) != 0 {
		c.Errorf("found for another purpose: %d records (%v)", len(found.GetRecords()), err)
	}
	r.Purposes = append(r.Purposes, services)
	c.allow("providing it for one more", c.put(c.app, r), "")
	c.allow("the purpose that was added", c.get(c.app, "s", "r", services), c.id)
}

// testPurposes: every use states a purpose of the closed list, and those that belong to orders,
// inspections and transactions are none of use.
func testPurposes(c *clause) {
	var all []residencyv1.Purpose
	for n := range residencyv1.Purpose_name {
		if n != 0 {
			all = append(all, residencyv1.Purpose(n))
		}
	}
	slices.Sort(all)
	if len(all) != 14 {
		c.Errorf("%d purposes, want 14", len(all))
	}
	c.hold("s", "r", all...)
	for _, p := range all {
		switch p {
		case residencyv1.Purpose_PURPOSE_BUSINESS_TRANSFER, obliged, looking:
			c.deny("use for "+p.String(), c.get(c.app, "s", "r", p), "PURPOSE_NOT_PERMITTED", c.id)
		case promotion:
			c.deny("use for "+p.String(), c.get(c.app, "s", "r", p), "MARKETING_OPT_IN_REQUIRED", "marketing")
		default:
			c.allow("use for "+p.String(), c.get(c.app, "s", "r", p), "purpose")
		}
	}
	c.refuse("use for nothing", c.get(c.app, "s", "r", 0), "PURPOSE_REQUIRED")
	c.refuse("a purpose that is not on the list", c.get(c.app, "s", "r", 99), "BAD_REQUEST")
	without := personalRecord("s", "none", "anna")
	without.Purposes = nil
	c.refuse("collecting for nothing", c.put(c.app, without), "BAD_REQUEST")
}

// testMarketing: promotional use needs a consent in advance, which ends at once when it is
// withdrawn; ordinary communication about the service does not.
func testMarketing(c *clause) {
	communication := residencyv1.Purpose_PURPOSE_COMMUNICATION
	c.hold("s", "r", promotion, communication)
	c.deny("promotional use", c.get(c.app, "s", "r", promotion), "MARKETING_OPT_IN_REQUIRED", c.id)
	c.allow("service communication", c.get(c.app, "s", "r", communication), "purpose")
	optIn := func(subject string) string {
		return c.grant(of(c.consent(residencyv1.ConsentKind_CONSENT_KIND_MARKETING_OPT_IN, personal, promotion), subject))
	}
	optIn("another")
	c.deny("another person's opt-in", c.get(c.app, "s", "r", promotion), "MARKETING_OPT_IN_REQUIRED", c.id)
	id := optIn("s")
	if r := c.allow("after the opt-in", c.get(c.app, "s", "r", promotion), c.id); r.Decision.ConsentId != id {
		c.Errorf("the decision rests on consent %q, want %q", r.Decision.ConsentId, id)
	}
	c.withdraw(id)
	c.deny("after the withdrawal", c.get(c.app, "s", "r", promotion), "CONSENT_WITHDRAWN", c.id)
	c.allow("service communication still", c.get(c.app, "s", "r", communication), "purpose")
	optIn("s")
	c.allow("opted in again", c.get(c.app, "s", "r", promotion), c.id)
}

// testStopHolding: who asks for it is no longer held: unreadable and not found at once, and
// never collected about again; a drive that is deleted is gone with its key.
func testStopHolding(c *clause) {
	r := c.hold("s", "r", payments)
	c.hold("stays", "r", payments)
	consent := c.grant(of(c.crossing(personal, payments), "s"))
	var erasure *residencyv1.Erasure
	erase := func(o grpc.CallOption) error {
		r, err := c.admin.Records.EraseSubject(c.Context(), &residencyv1.EraseSubjectRequest{TenantId: c.tenant, SubjectId: "s"}, o)
		erasure = r.GetErasure()
		return err
	}
	c.forbidden("the tenant's software, without the permission", func(o grpc.CallOption) error {
		_, err := c.app.Records.EraseSubject(c.Context(), &residencyv1.EraseSubjectRequest{TenantId: c.tenant, SubjectId: "s"}, o)
		return err
	})
	c.allow("erasing", erase, c.id)
	if erasure.Clause != c.id || erasure.Kind != residencyv1.ErasureKind_ERASURE_KIND_SUBJECT || erasure.PolicyVersion != c.version {
		c.Errorf("the erasure is %v, want clause %s", erasure, c.id)
	}
	c.gone("s", r.Personal.EmailAddress, consent)
	c.allow("somebody else", c.get(c.app, "stays", "r", payments), "")
	eventually(c, "the erasure is done", func() bool {
		r, err := c.admin.Tenants.GetErasure(c.Context(), &residencyv1.GetErasureRequest{TenantId: c.tenant, ErasureId: erasure.ErasureId})
		return err == nil && r.Erasure.State == residencyv1.ErasureState_ERASURE_STATE_DONE && r.Erasure.RowsErased > 0
	})
	c.gone("s", r.Personal.EmailAddress, consent)
	c.deleteDrive()
}

// gone checks that nothing of an erased person is found in any way of reading, and that nothing
// is written about them.
func (c *clause) gone(subject, email, consent string) {
	c.Helper()
	c.absent("getting a record", c.get(c.app, subject, "r", payments))
	list, err := c.app.Records.ListRecords(c.Context(), &residencyv1.ListRecordsRequest{TenantId: c.tenant, SubjectId: subject, Purpose: payments})
	if len(list.GetRecords()) != 0 || err != nil && !isNotFound(err) {
		c.Errorf("listing records: %d (%v)", len(list.GetRecords()), err)
	}
	found, err := c.app.Records.FindRecords(c.Context(), &residencyv1.FindRecordsRequest{
		TenantId: c.tenant, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: email}, Purpose: payments,
	})
	if err != nil || len(found.Records) != 0 {
		c.Errorf("finding by e-mail: %d (%v)", len(found.GetRecords()), err)
	}
	subjects, err := c.app.Records.ListSubjects(c.Context(), &residencyv1.ListSubjectsRequest{TenantId: c.tenant, Purpose: payments})
	if err != nil || slices.ContainsFunc(subjects.Subjects, func(s *residencyv1.Subject) bool { return s.SubjectId == subject }) {
		c.Errorf("listed as a subject (%v)", err)
	}
	c.absent("a consent of theirs", func(o grpc.CallOption) error {
		_, err := c.app.Consents.GetConsent(c.Context(), &residencyv1.GetConsentRequest{TenantId: c.tenant, ConsentId: consent}, o)
		return err
	})
	if items, err := c.export(c.admin, subject); !isNotFound(err) || len(items) != 0 {
		c.Errorf("exporting: %d items (%v), want NOT_FOUND", len(items), err)
	}
	c.refuse("writing about them", c.put(c.app, personalRecord(subject, "new", "anna")), "ERASED")
}

// export reads a person's whole file.
func (c *clause) export(by *client.Client, subject string) (items []*residencyv1.ExportSubjectResponse, err error) {
	s, err := by.Records.ExportSubject(c.Context(), &residencyv1.ExportSubjectRequest{TenantId: c.tenant, SubjectId: subject})
	for err == nil {
		var item *residencyv1.ExportSubjectResponse
		if item, err = s.Recv(); err == nil {
			items = append(items, item)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return items, err
}

// isNotFound reports whether a call answered NOT_FOUND.
func isNotFound(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Reason == "NOT_FOUND"
}

// deleteDrive: a deleted drive is not found any more. Where the text speaks of personal
// information alone, the product's own rule has it destroyed.
func (c *clause) deleteDrive() {
	c.Helper()
	cited := c.id
	if c.region == unitedStates.region {
		cited = "product/" + c.id
	}
	c.drive("d", []byte("what nobody needs any longer"))
	c.allow("deleting a drive", func(o grpc.CallOption) error {
		_, err := c.app.Drives.DeleteDrive(c.Context(), &residencyv1.DeleteDriveRequest{TenantId: c.tenant, DriveId: "d"}, o)
		return err
	}, cited)
	c.absent("reading the deleted drive", c.readDrive(c.app, "d", io.Discard))
}

// testChangeUse: a purpose can be taken away from what is stored, and given back; drives' too
// where the text says so.
func testChangeUse(c *clause) {
	c.hold("s", "r", payments, enquiries)
	c.allow("before", c.get(c.app, "s", "r", payments), "")
	c.allow("restricting", func(o grpc.CallOption) error {
		_, err := c.admin.Records.RestrictSubject(c.Context(), &residencyv1.RestrictSubjectRequest{
			TenantId: c.tenant, SubjectId: "s", Purposes: []residencyv1.Purpose{payments},
		}, o)
		return err
	}, c.id)
	c.deny("restricted", c.get(c.app, "s", "r", payments), "RESTRICTED", c.id)
	c.allow("another purpose", c.get(c.app, "s", "r", enquiries), "purpose")
	c.recipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	c.deny("disclosing for what is restricted", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "agent", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: payments,
	}, nil), "RESTRICTED", c.id)
	c.allow("lifting", func(o grpc.CallOption) error {
		_, err := c.admin.Records.LiftRestriction(c.Context(), &residencyv1.LiftRestrictionRequest{
			TenantId: c.tenant, SubjectId: "s", Purposes: []residencyv1.Purpose{payments},
		}, o)
		return err
	}, c.id)
	c.allow("lifted", c.get(c.app, "s", "r", payments), "purpose")
	c.restrictDrive()
}

func (c *clause) restrictDrive() {
	c.Helper()
	c.drive("d", []byte("bytes"))
	restrict := func(o grpc.CallOption) error {
		_, err := c.app.Drives.RestrictDrive(c.Context(), &residencyv1.RestrictDriveRequest{
			TenantId: c.tenant, DriveId: "d", Purposes: []residencyv1.Purpose{services},
		}, o)
		return err
	}
	if c.region == unitedStates.region { // the text speaks of personal information alone
		c.deny("restricting a drive", restrict, "PURPOSE_NOT_PERMITTED", "product/default")
		c.allow("reading the drive", c.readDrive(c.app, "d", io.Discard), "")
		return
	}
	c.allow("restricting a drive", restrict, c.id)
	c.deny("reading the restricted drive", c.readDrive(c.app, "d", io.Discard), "RESTRICTED", c.id)
	c.allow("lifting it", func(o grpc.CallOption) error {
		_, err := c.app.Drives.LiftDriveRestriction(c.Context(), &residencyv1.LiftDriveRestrictionRequest{
			TenantId: c.tenant, DriveId: "d", Purposes: []residencyv1.Purpose{services},
		}, o)
		return err
	}, c.id)
	c.allow("reading the drive again", c.readDrive(c.app, "d", io.Discard), "")
}
