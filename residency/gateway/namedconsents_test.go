package gateway

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
)

// cross records a consent for a Swiss tenant's information to reach a place.
func (w *world) cross(tenant, subject string, to residency.Jurisdiction, recipients ...string) string {
	w.t.Helper()
	c := border(subject, residency.PersonalInformation, residency.Payments)
	c.To, c.Recipients = to, recipients
	out, err := w.g.GrantConsent(w.t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: tenant, Consent: c})
	w.ok(err)
	return out.ID
}

// wantNamed fails unless every entry of a decision, and the decision as it is told, name these consents: the
// one that the decision names first.
func (w *world) wantNamed(tenant string, call *Call, want ...string) {
	w.t.Helper()
	found := false
	for _, e := range w.entries("ch") {
		if e.DecisionID != call.Decision.ID {
			continue
		}
		found = true
		if got := append([]string{e.ConsentID}, e.Consents...); !slices.Equal(got, want) {
			w.t.Errorf("the entry %v of %s names %q, want %q", e.Phase, e.Method, got, want)
		}
	}
	r, err := w.g.GetDecision(w.t.Context(), as(ch, "GetDecision", residency.Govern, residency.PersonalInformation), tenant, call.Decision.ID)
	if err != nil || !found || !slices.Equal(r.Consents, want) || r.Decision.ConsentID != want[0] {
		w.t.Errorf("the decision is told with %q, %q, want %q (%v)", r.Decision.ConsentID, r.Consents, want, err)
	}
}

// A disclosure that one place carries and another receives names the consent to each, at its
// intent and at its end.
func TestTwoBordersNameTwoConsents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.Subcontractor, de, contacts(residency.Payments)))
		carried, received := d.cross(d.id, "s1", us), d.cross(d.id, "s1", de, "r")
		out, err := d.discloseFrom(us, to("r", residency.Payments))
		d.ok(err)
		d.wantNamed(d.id, out.call, received, carried)

		d.ok(d.withdraw(ch, d.id, carried))
		out, err = d.discloseFrom(us, to("r", residency.Payments))
		d.wantKind(err, residency.ConsentIsWithdrawn)
		d.wantNamed(d.id, out.call, carried) // and not the other, on which nothing rested
	})
}

// Where a consent that names nobody lets the caller see, and another the recipient, one place has two; the
// disclosure rests on the one that names the recipient alone.
func TestOnlyTheConsentsOfTheLastLookAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.Subcontractor, us, contacts(residency.Payments)))
		received := d.cross(d.id, "s1", us, "r")
		d.cross(d.id, "s1", us)
		out, err := d.discloseFrom(us, to("r", residency.Payments))
		d.ok(err)
		d.wantNamed(d.id, out.call, received)
	})
}

// A read through a gateway in a third place names the consent for that place too.
func TestAThirdPlaceNamesItsConsent(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	caller, passed := w.cross("alpen", "s1", us), w.cross("alpen", "", de)
	call := as(us, "GetRecord", residency.Use, residency.PersonalInformation)
	call.Via = []residency.Jurisdiction{de}
	_, err = w.g.GetRecord(t.Context(), call, GetRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Purpose: residency.Payments})
	w.ok(err)
	w.wantNamed("alpen", call, caller, passed)
}

// A listing abroad names the consents of those whom it shows, and of nobody else; of more than there is room for, the first.
func TestAListingNamesTheConsentsOfThoseItShows(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	all := w.cross("alpen", "", us)
	own := map[string]string{}
	person := func(i int) {
		subject := fmt.Sprintf("s%d", i)
		_, _, err := w.put(ch, "alpen", aRecord(subject, "r1"), nil)
		w.ok(err)
		own[subject] = w.cross("alpen", subject, us)
	}
	list := func(size int) ([]Subject, *Call) {
		call := as(us, "ListSubjects", residency.Use, residency.PersonalInformation)
		shown, _, err := w.g.ListSubjects(t.Context(), call, ListSubjects{Tenant: "alpen", Purpose: residency.Payments, Page: Page{Size: size}})
		w.ok(err)
		return shown, call
	}
	for i := range 3 {
		person(i)
	}
	w.ok(w.withdraw(ch, "alpen", own["s2"]))
	person(3)
	for size := 1; size <= 4; size++ {
		shown, call := list(size)
		want := []string{all}
		for _, s := range shown {
			want = append(want, own[s.ID])
		}
		if len(shown) != min(size, 3) {
			t.Fatalf("%d are shown on a page of %d", len(shown), size)
		}
		w.wantNamed("alpen", call, want...)
	}
	for i := 4; i < 4+audit.MaxConsents; i++ {
		person(i)
	}
	shown, call := list(0)
	want := []string{all}
	for _, s := range shown[:audit.MaxConsents] {
		want = append(want, own[s.ID])
	}
	w.wantNamed("alpen", call, want...)
}

// A stream that crosses two borders ends with either consent.
func TestAStreamEndsWithAnyOfItsConsents(t *testing.T) {
	for _, which := range []residency.Jurisdiction{us, de} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			stop := w.renewing()
			defer stop()
			w.tenant("alpen", ch)
			w.drive("alpen", "d1", 1<<20)
			ids := map[residency.Jurisdiction]string{}
			for _, to := range []residency.Jurisdiction{us, de} {
				c := border("", residency.VirtualDriveData, residency.ServiceProvision)
				c.To = to
				out, err := w.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: "alpen", Consent: c})
				w.ok(err)
				ids[to] = out.ID
			}
			call := as(us, "ReadDrive", residency.Use, residency.VirtualDriveData)
			call.Via = []residency.Jurisdiction{de}
			err := w.g.ReadDrive(t.Context(), call, ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
				return w.withdraw(ch, "alpen", ids[which])
			})
			w.wantKind(err, residency.ConsentIsWithdrawn)
			w.wantNamed("alpen", call, ids[us], ids[de])
		})
	}
}
