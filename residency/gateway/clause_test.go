package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/domicile-project/domicile/residency"
)

// A decision cites the text for what the text says alone: the recorded acts that consents are cite it, what else
// governs data does not, nor does a drive where the text speaks of personal information.
func TestWhatTheTextSays(t *testing.T) {
	for _, at := range []residency.Jurisdiction{ch, us} {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, at)
				call := d.by("admin", "GrantConsent")
				c := border("s1", residency.PersonalInformation, residency.Payments)
				if c.From, c.To = at, ch; at == ch {
					c.To = us
				}
				given, err := d.g.GrantConsent(t.Context(), call, GrantConsent{Tenant: d.id, Consent: c})
				d.ok(err)
				d.cites("granting a consent", call, "implied-acceptance")

				call = d.by("admin", "WithdrawConsent")
				_, err = d.g.WithdrawConsent(t.Context(), call, WithdrawConsent{Tenant: d.id, Consent: given.ID})
				d.ok(err)
				d.cites("withdrawing it", call, "implied-acceptance")

				call = d.by("admin", "GetConsent")
				_, err = d.g.GetConsent(t.Context(), call, d.id, given.ID)
				d.ok(err)
				d.cites("looking at it", call, "product/governance")

				call = d.by("admin", "RegisterRecipient")
				_, err = d.g.RegisterRecipient(t.Context(), call, PutRecipient{Tenant: d.id, Recipient: aRecipient("police", residency.LawEnforcement, at)})
				d.ok(err)
				d.cites("registering a recipient", call, "product/governance")

				call = d.by("admin", "RecordLegalOrder")
				_, err = d.g.RecordLegalOrder(t.Context(), call, RecordOrder{Tenant: d.id, Order: d.anOrder()})
				d.ok(err)
				d.cites("recording an order", call, "product/governance")
			})
		})
	}
}

func (d *desk) cites(what string, call *Call, want string) {
	d.t.Helper()
	if got := call.Decision.Clause; !call.Decision.Allow || got != want {
		d.t.Errorf("%s: allowed %v under clause %q, want %q", what, call.Decision.Allow, got, want)
	}
}

// Where data is held is the Swiss text's word for records and drives alike; the other text's for records alone.
func TestHeldUnder(t *testing.T) {
	for _, c := range []struct {
		residence, home residency.Jurisdiction
		record, drive   string
	}{
		{ch, ch, "product/placement", "product/placement"},
		{de, ch, "eu-residents", "eu-residents"},
		{us, ch, "product/placement", "product/placement"},
		{us, us, "us-residents", "product/placement"},
		{de, us, "product/placement", "product/placement"},
	} {
		t.Run(fmt.Sprint(c.residence, " in ", c.home), func(t *testing.T) {
			w := newWorld(t)
			tenant := NewTenant{ID: "t", Residence: c.residence, Home: map[residency.Jurisdiction]residency.Region{ch: "ch", us: "us"}[c.home]}
			if c.residence != c.home {
				e := border("s", 1, 1).Evidence
				tenant.Agreement = &e
			}
			_, err := w.g.RegisterTenant(t.Context(), as(c.home, "RegisterTenant", residency.Collect, residency.AccountData), tenant)
			w.ok(err)
			_, call, err := w.put(c.home, "t", aRecord("s", "r"), nil)
			w.ok(err)
			w.drive("t", "d", 1)
			_, err = w.write(c.home, "t", "d", 0, []byte{1})
			w.ok(err)
			log := w.entries(tenant.Home)
			written := ""
			for _, e := range log {
				if e.DataClass == residency.VirtualDriveData {
					written = e.Clause
				}
			}
			if call.Decision.Clause != c.record || written != c.drive {
				t.Errorf("a record under %s, a drive under %s; want %s and %s", call.Decision.Clause, written, c.record, c.drive)
			}
		})
	}
}
