package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

func restrictCall(j residency.Jurisdiction, method string) *Call {
	return as(j, method, residency.Restrict, residency.PersonalInformation)
}

func (w *world) restrictSubject(j residency.Jurisdiction, req RestrictSubject) (*Restrictions, *Call, error) {
	c := restrictCall(j, "RestrictSubject")
	out, err := w.g.RestrictSubject(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) liftSubject(j residency.Jurisdiction, req RestrictSubject) (*Restrictions, *Call, error) {
	c := restrictCall(j, "LiftRestriction")
	out, err := w.g.LiftRestriction(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) decline(j residency.Jurisdiction, tenant, subject string) (*Restrictions, *Call, error) {
	c := restrictCall(j, "ObjectToCollection")
	out, err := w.g.ObjectToCollection(w.t.Context(), c, SubjectCall{Tenant: tenant, Subject: subject})
	return out, c, err
}

// Clause change-use: a purpose that a person takes away is refused from then
// on, and given back is permitted again.
func TestRestrictSubject(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	for _, s := range []string{"s1", "s2"} {
		_, _, err := w.put(ch, "alpen", aRecord(s, "r1"), nil)
		w.ok(err)
	}
	req := RestrictSubject{Tenant: "alpen", Subject: "s1", Purposes: residency.PurposeSet(residency.Payments), RequestID: newRequestID()}
	first, call, err := w.restrictSubject(ch, req)
	w.ok(err)
	if first.Purposes != req.Purposes || first.Declined || first.Updated.IsZero() || call.Decision.Clause != "change-use" {
		t.Fatalf("restricted: %+v under %+v", first, call.Decision)
	}
	_, call, err = w.get(ch, "alpen", "s1", "r1")
	w.wantKind(err, residency.Restricted)
	if call.Decision.Clause != "change-use" {
		t.Fatalf("refused under %q", call.Decision.Clause)
	}
	_, _, err = w.get(ch, "alpen", "s2", "r1")
	w.ok(err)
	subjects, _, err := w.g.ListSubjects(t.Context(), as(ch, "ListSubjects", residency.Use, residency.PersonalInformation), ListSubjects{Tenant: "alpen", Purpose: residency.Payments})
	w.ok(err)
	if len(subjects) != 1 || subjects[0].ID != "s2" {
		t.Fatalf("listed for a purpose that was taken away: %+v", subjects)
	}
	services := RestrictSubject{Tenant: "alpen", Subject: "s1", Purposes: residency.PurposeSet(residency.ServiceProvision)}
	both, _, err := w.restrictSubject(ch, services)
	w.ok(err)
	if both.Purposes != req.Purposes|services.Purposes {
		t.Fatalf("restricted: %v", both.Purposes.List())
	}
	again, _, err := w.restrictSubject(ch, req)
	w.ok(err)
	if *again != *first {
		t.Fatalf("the repeated call got %+v, the first %+v", again, first)
	}
	other := req
	other.Purposes = services.Purposes
	_, _, err = w.restrictSubject(ch, other)
	w.wantKind(err, residency.RequestIDReused)
	req.RequestID = ""
	left, _, err := w.liftSubject(ch, req)
	w.ok(err)
	if left.Purposes != services.Purposes {
		t.Fatalf("left: %v", left.Purposes.List())
	}
	_, _, err = w.get(ch, "alpen", "s1", "r1")
	w.ok(err)
}

// Clause decline-cookies: what is collected automatically is refused from whom
// declined it, whatever else is provided.
func TestObjectToCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		automatic := aRecord("s1", "cookie")
		automatic.Source, automatic.Expires = residency.Automatic, time.Now().Add(time.Hour)
		_, _, err := w.put(ch, "alpen", automatic, nil)
		w.ok(err)
		out, call, err := w.decline(ch, "alpen", "s1")
		w.ok(err)
		if !out.Declined || out.Purposes != 0 || call.Decision.Clause != "decline-cookies" {
			t.Fatalf("declined: %+v under %q", out, call.Decision.Clause)
		}
		_, call, err = w.put(ch, "alpen", automatic, nil)
		w.wantKind(err, residency.CollectionDeclined)
		if call.Decision.Clause != "decline-cookies" {
			t.Fatalf("refused under %q", call.Decision.Clause)
		}
		_, _, err = w.put(ch, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)
		out, err = w.g.WithdrawObjection(t.Context(), restrictCall(ch, "WithdrawObjection"), SubjectCall{Tenant: "alpen", Subject: "s1"})
		w.ok(err)
		if out.Declined {
			t.Fatalf("withdrawn: %+v", out)
		}
		_, _, err = w.put(ch, "alpen", automatic, nil)
		w.ok(err)
	})
}

// A wish is taken in from anywhere and about anybody; what comes back across a
// border says nothing, and lifting, whose answer does, needs a consent.
func TestRestrictionsFromAbroad(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.suspend("alpen")
	payments := RestrictSubject{Tenant: "alpen", Subject: "s1", Purposes: residency.PurposeSet(residency.Payments)}
	out, _, err := w.restrictSubject(us, payments)
	w.ok(err)
	declined, _, err := w.decline(us, "alpen", "s1")
	w.ok(err)
	if out != nil || declined != nil {
		t.Fatalf("told abroad: %+v %+v", out, declined)
	}
	for _, subject := range []string{"s1", "nobody"} {
		req := payments
		req.Subject = subject
		_, _, err = w.liftSubject(us, req)
		w.wantKind(err, residency.CrossBorderConsentRequired)
		_, err = w.g.WithdrawObjection(t.Context(), restrictCall(us, "WithdrawObjection"), SubjectCall{Tenant: "alpen", Subject: subject})
		w.wantKind(err, residency.CrossBorderConsentRequired)
	}
	_, err = w.resumeTenant("alpen", "")
	w.ok(err)
	_, _, err = w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	_, _, err = w.get(ch, "alpen", "s1", "r1") // what was taken away before the first record
	w.wantKind(err, residency.Restricted)
	w.grant("alpen", "s1", residency.PersonalInformation, residency.Records)
	left, _, err := w.liftSubject(us, payments)
	w.ok(err)
	if left == nil || left.Purposes != 0 || !left.Declined {
		t.Fatalf("lifted under a consent: %+v", left)
	}
	_, _, err = w.restrictSubject(ch, RestrictSubject{Tenant: "absent", Subject: "s1", Purposes: payments.Purposes})
	w.wantKind(err, residency.NotFound)
}

// Lifting what nobody asked for makes nobody known.
func TestLiftingNothing(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	out, _, err := w.liftSubject(ch, RestrictSubject{Tenant: "alpen", Subject: "nobody", Purposes: residency.PurposeSet(residency.Payments)})
	w.ok(err)
	if *out != (Restrictions{}) || w.rows("ch", "alpen", store.KindRestriction) != 0 {
		t.Fatalf("lifted: %+v", out)
	}
	_, _, err = w.eraseSubject(ch, "alpen", "nobody", "")
	w.wantKind(err, residency.NotFound)
}
