package gateway

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// Whoever is registered under an id stays who they are: each field that tells is refused by name, also once revoked.
func TestRecipientStaysItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		r := aRecipient("r", residency.Subcontractor, ch, contacts(residency.Payments))
		d.register(r)
		check := func() {
			t.Helper()
			for field, change := range map[string]func(*Recipient){
				"recipient.name":         func(r *Recipient) { r.Name = "Data Broker Ltd" },
				"recipient.kind":         func(r *Recipient) { r.Kind = residency.Agent },
				"recipient.jurisdiction": func(r *Recipient) { r.Jurisdiction = us },
			} {
				other := r
				change(&other)
				d.wantField(d.update(other), field)
			}
		}
		check()
		d.revokeRecipient("r")
		check()
		list, _, err := d.g.ListRecipients(t.Context(), d.by("admin", "ListRecipients"), d.id, Page{})
		d.ok(err)
		if len(list) != 1 || list[0].State != RecipientRevoked || list[0].Version != 2 || list[0].Name != r.Name {
			t.Errorf("after refusals: %+v", list)
		}
		d.ok(d.update(r))

		var e *residency.Error
		whole := aRecipient("r", residency.Agent, us, contacts(residency.Payments))
		whole.Name = "Data Broker Ltd"
		if err := d.update(whole); !errors.As(err, &e) || e.Kind != residency.BadRequest || len(e.Violations) != 3 {
			t.Errorf("another altogether: %v", err)
		}
	})
}

// A notice given of one company is no notice of another.
func TestNoticeOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.ThirdParty, ch, contacts(residency.Payments)))
		_, err := d.notice(Notice{WholeTenant: true, Recipient: "r", Purposes: residency.PurposeSet(residency.Payments)})
		d.ok(err)
		time.Sleep(31 * 24 * time.Hour)
		d.discloses(to("r", residency.Payments))

		other := aRecipient("r", residency.ThirdParty, ch, contacts(residency.Payments))
		other.Name = "Data Broker Ltd"
		d.wantField(d.update(other), "recipient.name")
		other.ID = "broker"
		d.register(other)
		d.refuses(to("broker", residency.Payments), residency.NoticeRequired, "choice")
	})
}

// A consent that names one company lets nothing across to another.
func TestConsentForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.Subcontractor, us, contacts(residency.Payments)))
		c := border("s1", residency.PersonalInformation, residency.Payments)
		c.Recipients = []string{"r"}
		_, err := d.g.GrantConsent(t.Context(), d.by("admin", "GrantConsent"), GrantConsent{Tenant: d.id, Consent: c})
		d.ok(err)
		d.discloses(to("r", residency.Payments))

		other := aRecipient("r", residency.Agent, us, contacts(residency.Payments))
		d.wantField(d.update(other), "recipient.kind")
		other.ID = "broker"
		d.register(other)
		d.refuses(to("broker", residency.Payments), residency.CrossBorderConsentRequired, "product/border")
	})
}

// A request that was granted to one agency is no grant to another.
func TestGrantForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		d.register(aRecipient("r", residency.PublicAuthority, us))
		i, err := d.informal(request("r"))
		d.ok(err)
		_, err = d.grantInformal("officer", i.ID)
		d.ok(err)
		req := to("r", residency.FraudPrevention)
		req.Informal = i.ID
		d.discloses(req)

		other := aRecipient("r", residency.LawEnforcement, us)
		d.wantField(d.update(other), "recipient.kind")
		other.ID = "agency"
		d.register(other)
		req.Recipient = "agency"
		d.refuses(req, residency.InformalRequestRefused, "informal-request")
	})
}
