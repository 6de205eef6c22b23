package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestRegisterRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		want := aRecipient("bank", residency.Subcontractor, us, contacts(residency.Payments))
		got := d.register(want)
		if got.State != RecipientActive || got.Version != 1 || !got.Created.Equal(time.Now()) || got.Name != want.Name || len(got.Functions) != 1 {
			t.Errorf("registered %+v", got)
		}
		_, err := d.tryRegister(want)
		d.wantKind(err, residency.AlreadyExists)
		d.register(aRecipient("police", residency.LawEnforcement, ch)) // authorities need no function

		attributes := contacts(residency.Payments)
		attributes.Fields = []string{"attributes", "attributes.x", "birth_date", "residence", "source_party", "postal_address"}
		d.register(aRecipient("wide", residency.Agent, ch, attributes, contacts(residency.Records)))
	})
}

func TestRecipientForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		for field, spoil := range map[string]func(*Recipient){
			"recipient.recipient_id":          func(r *Recipient) { r.ID = "-" },
			"recipient.name":                  func(r *Recipient) { r.Name = "" },
			"recipient.kind":                  func(r *Recipient) { r.Kind = residency.NoRecipient },
			"recipient.jurisdiction":          func(r *Recipient) { r.Jurisdiction = residency.Jurisdiction{'X', 'X'} },
			"recipient.functions":             func(r *Recipient) { r.Functions = nil },
			"recipient.functions.purpose":     func(r *Recipient) { r.Functions = append(r.Functions, r.Functions[0]) },
			"recipient.functions.fields":      func(r *Recipient) { r.Functions[0].Fields = []string{"full_name", "full_name"} },
			"recipient.functions.fields ":     func(r *Recipient) { r.Functions[0].Fields = nil },
			"recipient.functions.fields  ":    func(r *Recipient) { r.Functions[0].Fields = []string{"attributes."} },
			"recipient.functions.fields   ":   func(r *Recipient) { r.Functions[0].Fields = []string{"version"} },
			"recipient.functions.purpose ":    func(r *Recipient) { r.Functions[0].Purpose = 0 },
			"recipient.safeguard":             func(r *Recipient) { r.Safeguard.Reference = "" },
			"recipient.safeguard ":            func(r *Recipient) { r.Safeguard.ValidUntil = time.Time{} },
			"recipient.safeguard.valid_until": func(r *Recipient) { r.Safeguard.ValidUntil = time.Now() },
		} {
			r := aRecipient("r", residency.Agent, ch, contacts(residency.Payments))
			spoil(&r)
			_, err := d.tryRegister(r)
			d.wantField(err, strings.TrimSpace(field))
			d.wantField(d.update(r), strings.TrimSpace(field))
		}
		r := aRecipient("bare", residency.Agent, ch, contacts(residency.Payments))
		r.Safeguard = Safeguard{}
		d.register(r)
	})
}

// A payment-card number is refused wherever somebody can write something (clause no-card-data).
func TestGovernanceRefusesCards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const card = "paid by 4111 1111 1111 1111"
		d := newDesk(t, us)
		d.register(aRecipient("agency", residency.PublicAuthority, us))
		name, safeguard := aRecipient("r", residency.PublicAuthority, us), aRecipient("r", residency.PublicAuthority, us)
		name.Name, safeguard.Safeguard.Reference = card, card
		authority, basis, reference := d.anOrder(), d.anOrder(), d.anOrder()
		authority.Authority, basis.LegalBasis, reference.Reference = card, card, card
		asked, suspected := request("agency"), aCase()
		asked.Reference, suspected.Suspicion = card, card
		for what, call := range map[string]func() error{
			"a name":        func() error { _, err := d.tryRegister(name); return err },
			"a safeguard":   func() error { _, err := d.tryRegister(safeguard); return err },
			"an update":     func() error { name.ID = "agency"; return d.update(name) },
			"an authority":  func() error { _, err := d.tryOrder(authority); return err },
			"a legal basis": func() error { _, err := d.tryOrder(basis); return err },
			"a reference":   func() error { _, err := d.tryOrder(reference); return err },
			"a request's":   func() error { _, err := d.informal(asked); return err },
			"a suspicion":   func() error { _, err := d.openCase(suspected); return err },
			"a disclosure's": func() error {
				_, err := d.disclose(Disclose{Recipient: "r", Subject: "s1", Necessity: card})
				return err
			},
		} {
			if err := call(); residency.KindOf(err) != residency.CardDataRefused || strings.Contains(err.Error(), "4111") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// wantField wants BAD_REQUEST about one field.
func (w *world) wantField(err error, field string) {
	w.t.Helper()
	w.wantKind(err, residency.BadRequest)
	var e *residency.Error
	if !errors.As(err, &e) || len(e.Violations) != 1 || e.Violations[0].Field != field {
		w.t.Errorf("got %v, want %s", err, field)
	}
}

func TestUpdateAndRevokeRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		r := aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments))
		d.wantKind(d.update(r), residency.NotFound)
		_, err := d.g.RevokeRecipient(t.Context(), d.by("admin", "RevokeRecipient"), RecipientCall{Tenant: d.id, Recipient: "bank"})
		d.wantKind(err, residency.NotFound)
		created := d.register(r).Created
		time.Sleep(time.Hour)

		req := PutRecipient{Tenant: d.id, Recipient: r, Expected: ptr(uint64(2))}
		_, err = d.g.UpdateRecipient(t.Context(), d.by("admin", "UpdateRecipient"), req)
		d.wantKind(err, residency.VersionMismatch)
		more := aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments), contacts(residency.Records))
		more.Safeguard.Reference = "A-2"
		req.Expected, req.Recipient = ptr(uint64(1)), more
		got, err := d.g.UpdateRecipient(t.Context(), d.by("admin", "UpdateRecipient"), req)
		d.ok(err)
		if got.Version != 2 || len(got.Functions) != 2 || got.Safeguard.Reference != "A-2" || !got.Created.Equal(created) {
			t.Errorf("updated to %+v", got)
		}

		for range 2 { // revoking again changes nothing
			d.revokeRecipient("bank")
		}
		list, next, err := d.g.ListRecipients(t.Context(), d.by("admin", "ListRecipients"), d.id, Page{})
		d.ok(err)
		if len(list) != 1 || next != "" || list[0].State != RecipientRevoked || list[0].Version != 3 {
			t.Errorf("listed %+v", list)
		}
		other := r
		other.Name = "Other"
		d.wantField(d.update(other), "recipient.name") // nor is somebody else registered in its place
		d.ok(d.update(r))
		list, _, err = d.g.ListRecipients(t.Context(), d.by("admin", "ListRecipients"), d.id, Page{})
		d.ok(err)
		if list[0].State != RecipientActive || list[0].Version != 4 {
			t.Errorf("registered again as %+v", list[0])
		}
	})
}

func TestListRecipientsInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		for i := range 5 {
			d.register(aRecipient(fmt.Sprint("r", i), residency.Agent, ch, contacts(residency.Payments)))
		}
		seen, token := map[string]bool{}, ""
		for {
			list, next, err := d.g.ListRecipients(t.Context(), d.by("admin", "ListRecipients"), d.id, Page{Size: 2, Token: token})
			d.ok(err)
			for _, r := range list {
				seen[r.ID] = true
			}
			if token = next; token == "" {
				break
			}
		}
		if len(seen) != 5 {
			t.Errorf("saw %v", seen)
		}
	})
}

func TestRecipientsAreBounded(t *testing.T) {
	d := newDesk(t, ch)
	for i := range maxRecipients {
		d.register(aRecipient(fmt.Sprint("r", i), residency.LawEnforcement, ch))
	}
	_, err := d.tryRegister(aRecipient("more", residency.LawEnforcement, ch))
	d.wantKind(err, residency.QuotaExceeded)
	d.ok(d.update(aRecipient("r7", residency.LawEnforcement, ch)))
}

// A repetition gives the first result, whatever happened since; another request under its request_id is refused.
func TestRecipientRequestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		req := PutRecipient{
			Tenant: d.id, RequestID: newRequestID(),
			Recipient: aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments)),
		}
		first, err := d.g.RegisterRecipient(t.Context(), d.by("admin", "RegisterRecipient"), req)
		d.ok(err)
		d.revokeRecipient("bank")
		again, err := d.g.RegisterRecipient(t.Context(), d.by("admin", "RegisterRecipient"), req)
		d.ok(err)
		if again.State != RecipientActive || again.Version != 1 || !again.Created.Equal(first.Created) {
			t.Errorf("repeated: %+v", again)
		}
		req.Recipient.Name = "Other"
		_, err = d.g.RegisterRecipient(t.Context(), d.by("admin", "RegisterRecipient"), req)
		d.wantKind(err, residency.RequestIDReused)
	})
}

// governing is one call of every method that governs disclosures, by a caller somewhere of some tenant.
func (d *desk) governing(at residency.Jurisdiction, tenant string) map[string]func() error {
	ctx, id := d.t.Context(), newRequestID()
	by := func(method string) *Call { return as(at, method, residency.Govern, residency.PersonalInformation) }
	agency := aRecipient("agency", residency.LawEnforcement, d.at)
	return map[string]func() error{
		"RegisterRecipient": func() error {
			_, err := d.g.RegisterRecipient(ctx, by("RegisterRecipient"), PutRecipient{Tenant: tenant, Recipient: agency})
			return err
		},
		"UpdateRecipient": func() error {
			_, err := d.g.UpdateRecipient(ctx, by("UpdateRecipient"), PutRecipient{Tenant: tenant, Recipient: agency})
			return err
		},
		"ListRecipients": func() error {
			_, _, err := d.g.ListRecipients(ctx, by("ListRecipients"), tenant, Page{})
			return err
		},
		"RevokeRecipient": func() error {
			_, err := d.g.RevokeRecipient(ctx, by("RevokeRecipient"), RecipientCall{Tenant: tenant, Recipient: "agency"})
			return err
		},
		"GiveNotice": func() error {
			_, err := d.g.GiveNotice(ctx, by("GiveNotice"), GiveNotice{Tenant: tenant, Notice: Notice{
				WholeTenant: true, Recipient: "agency", Purposes: residency.PurposeSet(residency.Payments)}})
			return err
		},
		"RecordObjection": func() error {
			_, err := d.g.RecordObjection(ctx, by("RecordObjection"), RecordObjection{Tenant: tenant, Objection: Objection{Subject: "s1"}})
			return err
		},
		"LiftObjection": func() error {
			_, err := d.g.LiftObjection(ctx, by("LiftObjection"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"RecordLegalOrder": func() error {
			_, err := d.g.RecordLegalOrder(ctx, by("RecordLegalOrder"), RecordOrder{Tenant: tenant, Order: d.anOrder()})
			return err
		},
		"GetLegalOrder": func() error {
			_, err := d.g.GetLegalOrder(ctx, by("GetLegalOrder"), tenant, id)
			return err
		},
		"ApproveLegalOrder": func() error {
			_, err := d.g.ApproveLegalOrder(ctx, by("ApproveLegalOrder"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"RejectLegalOrder": func() error {
			_, err := d.g.RejectLegalOrder(ctx, by("RejectLegalOrder"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"RevokeLegalOrder": func() error {
			_, err := d.g.RevokeLegalOrder(ctx, by("RevokeLegalOrder"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"ListLegalOrders": func() error {
			_, _, err := d.g.ListLegalOrders(ctx, by("ListLegalOrders"), ListOrders{Tenant: tenant})
			return err
		},
		"RecordInformalRequest": func() error {
			_, err := d.g.RecordInformalRequest(ctx, by("RecordInformalRequest"), RecordInformal{Tenant: tenant, Informal: request("agency")})
			return err
		},
		"ApproveInformalRequest": func() error {
			_, err := d.g.ApproveInformalRequest(ctx, by("ApproveInformalRequest"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"OpenAbuseCase": func() error {
			_, err := d.g.OpenAbuseCase(ctx, by("OpenAbuseCase"), OpenCase{Tenant: tenant, Case: aCase()})
			return err
		},
		"ApproveAbuseCase": func() error {
			_, err := d.g.ApproveAbuseCase(ctx, by("ApproveAbuseCase"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"CloseAbuseCase": func() error {
			_, err := d.g.CloseAbuseCase(ctx, by("CloseAbuseCase"), GovernanceCall{Tenant: tenant, ID: id})
			return err
		},
		"ListAbuseCases": func() error {
			_, _, err := d.g.ListAbuseCases(ctx, by("ListAbuseCases"), ListCases{Tenant: tenant})
			return err
		},
		"ListDisclosures": func() error {
			_, _, err := d.g.ListDisclosures(ctx, by("ListDisclosures"), ListDisclosures{Tenant: tenant, Subject: "s1"})
			return err
		},
	}
}

// What governs disclosures names people: abroad nobody governs, and is told alike of a tenant that is there,
// one that is not, and one that is the caller's neighbour.
func TestGoverningStaysHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		for _, tenant := range []string{d.id, "absent"} {
			for method, call := range d.governing(ch, tenant) {
				if err := call(); residency.KindOf(err) != residency.CrossBorderConsentRequired {
					t.Errorf("%s of %s from abroad: %v", method, tenant, err)
				}
			}
		}
		if n := d.rows("us", d.id, store.KindRecipient) + d.rows("us", d.id, store.KindOrder) + d.rows("us", d.id, store.KindObjection); n != 0 {
			t.Errorf("%d rows were written from abroad", n)
		}
	})
}

// While a tenant is suspended nothing new is begun, orders apart; looking and what protects people go on.
func TestGoverningASuspendedTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("agency", residency.LawEnforcement, ch))
		d.setState(d.id, TenantSuspended)
		want := map[string]residency.Kind{ // the others: TENANT_SUSPENDED
			"RevokeRecipient": residency.OK, "RecordObjection": residency.OK,
			"RejectLegalOrder": residency.NotFound, "RevokeLegalOrder": residency.NotFound, "CloseAbuseCase": residency.NotFound,
			"RecordLegalOrder": residency.OK, "ApproveLegalOrder": residency.NotFound, "GetLegalOrder": residency.NotFound,
			"ListLegalOrders": residency.OK, "ListRecipients": residency.OK, "ListAbuseCases": residency.OK, "ListDisclosures": residency.OK,
		}
		for method, call := range d.governing(ch, d.id) {
			kind, goesOn := want[method]
			if !goesOn {
				kind = residency.TenantSuspended
			}
			if err := call(); residency.KindOf(err) != kind {
				t.Errorf("%s: %v, want %v", method, err, kind)
			}
		}
	})
}

// When a decision cannot be written down nothing is changed by it, and what was not acknowledged is there whole or not at all.
func TestGoverningNeedsItsEntry(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, ch)
			d.register(aRecipient("agency", residency.LawEnforcement, ch))
			o := d.order(d.anOrder())
			d.mem["ch"].Fail(storetest.OpAppend, storetest.Always(fault))
			for method, call := range d.governing(ch, d.id) {
				if err := call(); residency.KindOf(err) != residency.AuditUnavailable {
					t.Errorf("%s: %v", method, err)
				}
			}
			_, err := d.approve("officer", o.ID)
			d.wantKind(err, residency.AuditUnavailable)
			d.mem["ch"].Fail(storetest.OpAppend, nil)
			got, err := d.g.GetLegalOrder(t.Context(), d.by("admin", "GetLegalOrder"), d.id, o.ID)
			d.ok(err)
			if most := map[storetest.Fault]int{storetest.FaultFail: 0, storetest.FaultFailPersisted: 1}[fault]; len(got.Approvals) != most {
				t.Errorf("%d approvals, want %d", len(got.Approvals), most)
			}
		})
	}
}
