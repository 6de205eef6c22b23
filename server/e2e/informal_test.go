package e2e

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// approvers starts a gateway whose administrators may approve as well, so that they could approve
// what they recorded themselves.
func approvers(t *testing.T) *daemon {
	text := printed(t, filepath.Join(t.TempDir(), "data"))
	for _, admin := range []string{"admin-ch", "admin-us"} {
		text = alsoPermitted(t, text, admin, "orders.approve")
	}
	return configured(t, text)
}

// The same calls in both regions: an authority asks for personal information without obliging
// anybody. Switzerland refuses to even record it; the United States may grant it, by somebody
// else than who recorded it, for what was asked for and no more.
func TestInformalRequest(t *testing.T) {
	d := approvers(t)
	t.Run("ch", func(t *testing.T) {
		c := newClause(t, d, switzerland, d.callers(t, switzerland), "informal-request")
		c.asked()
		var id string
		c.deny("asking", c.asking(c.informal(personal, "full_name", "email_address"), &id), "INFORMAL_REQUEST_REFUSED", c.id)
		c.absent("granting what is not on record", c.granting(c.officer, "00000000-0000-0000-0000-000000000000"))
		c.deny("disclosing", c.answering("00000000-0000-0000-0000-000000000000", nil), "INFORMAL_REQUEST_REFUSED", c.id)
		c.deny("asking for drives", c.asking(c.informal(driveData, "full_name"), &id), "DRIVE_DATA_NEVER_SHARED", "third-party-order")
	})
	t.Run("us", func(t *testing.T) {
		c := newClause(t, d, unitedStates, d.callers(t, unitedStates), "informal-request")
		c.asked()
		var id, drives string
		c.deny("asking for drives", c.asking(c.informal(driveData, "full_name"), &drives), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
		c.allow("asking", c.asking(c.informal(personal, "full_name", "email_address"), &id), "")
		c.granted(id)
		c.lapses()
	})
}

// asked is what is held about the person whom the request is about, and about somebody else.
func (c *clause) asked() {
	c.Helper()
	r := personalRecord("s", "r", "anna")
	r.Personal.PostalAddress, r.Personal.PhoneNumber = "Bahnhofstrasse 1", "+41 44 555 01 23"
	r.Personal.Attributes, r.Residence = map[string]string{"plan": "gold"}, "CH"
	r.BirthDate, r.Purposes = &residencyv1.Date{Year: 1970, Month: 1, Day: 1}, []residencyv1.Purpose{payments}
	c.allow("writing", c.put(c.app, r), "")
	c.hold("bystander", "r", payments)
	c.drive("d", []byte("a drive"))
	c.recipient("police", police)
}

// granted takes a recorded request through its grant and what may be disclosed on it.
func (c *clause) granted(id string) {
	c.Helper()
	c.deny("before it is granted", c.answering(id, nil), "INFORMAL_REQUEST_REFUSED", c.id)
	c.deny("granting what one recorded oneself", c.granting(c.admin, id), "APPROVER_NOT_DISTINCT", c.id)
	c.deny("still not granted", c.answering(id, nil), "INFORMAL_REQUEST_REFUSED", c.id)
	c.allow("granting", c.granting(c.officer, id), "")
	var p parcel
	if r := c.allow("once it is granted", c.answering(id, &p), c.id); r.Decision.OrderId != id {
		c.Errorf("the decision rests on %q, want the request %q", r.Decision.OrderId, id)
	}
	if len(p.records) != 1 || !slices.Equal(fieldsOf(p.records[0]), []string{"email_address", "full_name"}) {
		c.Errorf("disclosed was %v, want the two fields that were asked for", p.records)
	}
	other := &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "bystander"}, Purpose: fraud, InformalRequestId: id,
	}
	c.deny("somebody whom it is not about", c.disclose(c.admin, other, nil), "INFORMAL_REQUEST_REFUSED", c.id)
	c.recipient("agency", residencyv1.RecipientKind_RECIPIENT_KIND_PUBLIC_AUTHORITY)
	c.deny("another authority", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "agency", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: fraud, InformalRequestId: id,
	}, nil), "INFORMAL_REQUEST_REFUSED", c.id)
	c.deny("as if it were an order", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: obliged, OrderId: id,
	}, nil), "LEGAL_ORDER_REQUIRED", "legal-order")
	c.deny("drive data", c.disclose(c.admin, &residencyv1.DiscloseRequest{
		RecipientId: "police", Object: &residencyv1.DiscloseRequest_DriveId{DriveId: "d"}, Purpose: fraud, InformalRequestId: id,
	}, nil), "DRIVE_DATA_NEVER_SHARED", "drive-never-shared")
	r, err := c.admin.Disclosures.ListDisclosures(c.Context(), &residencyv1.ListDisclosuresRequest{TenantId: c.tenant})
	if err != nil || len(r.Disclosures) != 1 || r.Disclosures[0].InformalRequestId != id {
		c.Errorf("on record are %v (%v), want the one disclosure", r.GetDisclosures(), err)
	}
}

// lapses: a request that nobody granted in time is granted by nobody, and a grant ends.
func (c *clause) lapses() {
	c.Helper()
	end := time.Now().Add(2 * time.Second)
	var late, short string
	for _, id := range []*string{&late, &short} {
		req := c.informal(personal, "full_name")
		req.ValidUntil = timestamppb.New(end)
		c.allow("asking for a moment", c.asking(req, id), "")
	}
	c.allow("granting", c.granting(c.officer, short), "")
	c.allow("while it holds", c.answering(short, nil), c.id)
	time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
	c.deny("granting too late", c.granting(c.officer, late), "INFORMAL_REQUEST_REFUSED", c.id)
	c.deny("disclosing too late", c.answering(short, nil), "INFORMAL_REQUEST_REFUSED", c.id)
	if err := c.answering("not-an-id-at-all", nil)(grpc.EmptyCallOption{}); err == nil {
		c.Error("disclosed on no request")
	}
}
