package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// A registration that is refused for its evidence leaves no tenant, and its name free.
func TestAttackRefusedRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		register := func(stated time.Time) error {
			e := anAgreement()
			e.Stated = stated
			_, err := w.g.RegisterTenant(t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData),
				NewTenant{ID: "berlin", Residence: de, Home: "ch", Agreement: e})
			return err
		}
		w.wantKind(register(time.Now().Add(time.Hour)), residency.BadRequest)
		got, err := w.g.GetTenant(t.Context(), as(ch, "GetTenant", residency.Use, residency.AccountData), "berlin")
		if err == nil {
			t.Fatalf("refused, and registered as %+v", got)
		}
		if n := w.rows("ch", "berlin", store.KindConsent); n != 0 {
			t.Errorf("%d consents of nobody's", n)
		}
		w.ok(register(time.Now()))
	})
}

// A registration that a later policy overtakes is decided on that policy's terms.
func TestAttackRegistrationAcrossARevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
		w := newWorld(t, with(revised(t, "ch-2026", day, func(s string) string {
			const agreed = "placement:\n  - residence: home\n    default: false\n    agreement: true\n    clause: eu-residents\n"
			return strings.Replace(s, "placement:\n", agreed, 1)
		})))
		time.Sleep(time.Until(day) - 100*time.Millisecond)
		w.mem["ch"].Fail(storetest.OpKeysGet, func() storetest.Fault {
			time.Sleep(200 * time.Millisecond)
			return storetest.FaultNone
		})
		call := as(ch, "RegisterTenant", residency.Collect, residency.AccountData)
		_, err := w.g.RegisterTenant(t.Context(), call, NewTenant{ID: "alpen", Residence: ch})
		if call.Decision.PolicyVersion != "ch-2026" {
			t.Fatalf("decided by %s", call.Decision.PolicyVersion)
		}
		w.wantKind(err, residency.AgreementRequired)
	})
}

// Agreements to a place of residence do not push other consents of the tenant out of sight.
func TestAttackAgreementsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)
		w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
		for err == nil {
			_, _, err = w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: de, Agreement: anAgreement()})
			if n := w.rows("ch", "alpen", store.KindConsent); n > maxConsents {
				t.Fatalf("%d consents of one scope", n)
			}
		}
		w.wantKind(err, residency.QuotaExceeded)
		_, _, err = w.get(us, "alpen", "s1", "r1")
		w.ok(err)
	})
}

// The log names the consent that was granted or withdrawn, and whose it is, when the call is repeated too.
func TestConsentsAreInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		for _, subject := range []string{"s1", ""} {
			grant := GrantConsent{Tenant: "alpen", Consent: border(subject, residency.PersonalInformation, residency.Payments), RequestID: newRequestID()}
			var c ConsentNow
			for range 2 {
				var err error
				c, err = w.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), grant)
				w.ok(err)
			}
			w.ok(w.withdraw(us, "alpen", c.ID))
			w.ok(w.withdraw(ch, "alpen", c.ID))
			log := w.entries("ch")
			log = log[len(log)-4:]
			for _, e := range log {
				if e.ConsentID != c.ID || e.Subject != log[0].Subject || (e.Subject == "") != (subject == "") || e.Phase != audit.Decided {
					t.Errorf("%s: the entry names consent %q of %q", e.Method, e.ConsentID, e.Subject)
				}
			}
		}
	})
}
