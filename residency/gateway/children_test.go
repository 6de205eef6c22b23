package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func (w *world) reportChild(j residency.Jurisdiction, tenant, subject, request string) (ChildReported, *Call, error) {
	c := erasureCall(j, "ReportChild")
	out, err := w.g.ReportChild(w.t.Context(), c, SubjectCall{Tenant: tenant, Subject: subject, RequestID: request})
	return out, c, err
}

// parent grants a parent's consent about a subject for some purposes.
func (w *world) parent(tenant, subject string, purposes ...residency.Purpose) ConsentNow {
	w.t.Helper()
	out, err := w.g.GrantConsent(w.t.Context(), as(us, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: tenant, Consent: consent.Consent{
			Kind: residency.Parental, Subject: subject, From: us, Classes: residency.DataClassSet(residency.PersonalInformation),
			Purposes: residency.PurposeSet(purposes...), Evidence: border("", residency.PersonalInformation, residency.Payments).Evidence,
		}})
	w.ok(err)
	return out
}

// child is a record about somebody who is ten years old.
func child(subject, id string) Record {
	r := aRecord(subject, id)
	born := time.Now().UTC().AddDate(-10, 0, 0)
	r.BirthDate = Date{born.Year(), int(born.Month()), born.Day()}
	return r
}

// Clause children: reporting a child erases what is held, unless a parent has
// consented to all of it.
func TestReportChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("prairie", us)
		for _, s := range []string{"s1", "s2", "s3"} {
			_, _, err := w.put(us, "prairie", aRecord(s, "r1"), nil)
			w.ok(err)
		}
		w.parent("prairie", "s2", residency.Payments) // to one of two purposes
		both := w.parent("prairie", "s3", residency.Payments, residency.ServiceProvision)
		for _, s := range []string{"s1", "s2"} {
			request := newRequestID()
			out, call, err := w.reportChild(us, "prairie", s, request)
			w.ok(err)
			if out.Erasure == nil || out.Consent != "" || out.Erasure.Clause != "children" || out.Erasure.ID != call.Decision.ID || call.Decision.Clause != "children" {
				t.Fatalf("%s: %+v under %+v", s, out, call.Decision)
			}
			_, _, err = w.get(us, "prairie", s, "r1")
			w.wantKind(err, residency.NotFound)
			again, _, err := w.reportChild(us, "prairie", s, request)
			w.ok(err)
			if again.Erasure == nil || again.Erasure.ID != out.Erasure.ID {
				t.Fatalf("%s: the repeated call got %+v", s, again)
			}
			_, _, err = w.reportChild(us, "prairie", s, "")
			w.wantKind(err, residency.NotFound)
		}
		request := newRequestID()
		for range 2 {
			out, call, err := w.reportChild(us, "prairie", "s3", request)
			w.ok(err)
			if out.Erasure != nil || out.Consent != both.ID || call.Decision.Clause != "children" {
				t.Fatalf("with a parent's consent: %+v under %+v", out, call.Decision)
			}
		}
		_, _, err := w.get(us, "prairie", "s3", "r1")
		w.ok(err)
		w.ok(w.withdraw(us, "prairie", both.ID))
		out, _, err := w.reportChild(us, "prairie", "s3", "")
		w.ok(err)
		if out.Erasure == nil {
			t.Fatal("kept under a consent that was withdrawn")
		}
		w.g.sweepAll(t.Context())
		now, err := w.erasure(us, "prairie", out.Erasure.ID)
		w.ok(err)
		if now.State != ErasureDone || now.Controller != "CloudSigma Inc" {
			t.Fatalf("after the sweep: %+v", now)
		}
	})
}

func TestReportChildRefuses(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.tenant("prairie", us)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	_, call, err := w.reportChild(ch, "alpen", "s1", "") // the Swiss policy says nothing of children
	w.wantKind(err, residency.PurposeNotPermitted)
	if call.Decision.Clause != "product/default" {
		t.Fatalf("refused under %q", call.Decision.Clause)
	}
	_, _, err = w.get(ch, "alpen", "s1", "r1")
	w.ok(err)
	_, _, err = w.reportChild(us, "prairie", "nobody", "")
	w.wantKind(err, residency.NotFound)
	for _, tenant := range []string{"prairie", "absent"} {
		_, _, err = w.reportChild(ch, tenant, "s1", "")
		w.wantKind(err, residency.CrossBorderConsentRequired)
	}
}

// Clause children: learning from a write that somebody is a child refuses the
// write and erases what was held. A write from abroad is refused and erases nobody:
// it would learn whether somebody is held by destroying them.
func TestLearningOfAChildErases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("prairie", us)
		_, _, err := w.put(us, "prairie", aRecord("s1", "r1"), nil)
		w.ok(err)
		for _, subject := range []string{"s1", "nobody"} {
			_, _, err = w.put(ch, "prairie", child(subject, "r2"), nil)
			w.wantKind(err, residency.ParentalConsentRequired)
			_, _, err = w.put(ch, "prairie", aRecord(subject, "r3"), nil)
			w.ok(err)
		}
		_, _, err = w.get(us, "prairie", "s1", "r1")
		w.ok(err)
		_, call, err := w.put(us, "prairie", child("s1", "r2"), nil)
		w.wantKind(err, residency.ParentalConsentRequired)
		_, _, err = w.get(us, "prairie", "s1", "r1")
		w.wantKind(err, residency.NotFound)
		_, _, err = w.put(us, "prairie", aRecord("s1", "r1"), nil)
		w.wantKind(err, residency.Erased)
		w.g.sweepAll(t.Context())
		now, err := w.erasure(us, "prairie", call.Decision.ID)
		w.ok(err)
		if now.State != ErasureDone || now.Clause != "children" || now.Rows == 0 {
			t.Fatalf("the erasure is %+v", now)
		}
		d, err := w.g.GetDecision(t.Context(), as(us, "GetDecision", residency.Govern, residency.PersonalInformation), "prairie", call.Decision.ID)
		w.ok(err)
		for _, e := range w.entries("us") {
			if e.DecisionID == call.Decision.ID && e.Subject != "" {
				t.Fatalf("the erasure can be traced to a pseudonym: %+v", e)
			}
		}
		if d.Decision.Allow || d.Stream != nil { // the refusal stays one
			t.Fatalf("the refused write reads as %+v", d)
		}
	})
}

// A refused write erases nobody of whom nothing is held, or what is held of with a parent's consent.
func TestLearningOfAChildSpares(t *testing.T) {
	w := newWorld(t)
	w.tenant("prairie", us)
	_, call, err := w.put(us, "prairie", child("s1", "r1"), nil)
	w.wantKind(err, residency.ParentalConsentRequired)
	_, err = w.erasure(us, "prairie", call.Decision.ID)
	w.wantKind(err, residency.NotFound)
	_, _, err = w.put(us, "prairie", aRecord("s1", "r1"), nil)
	w.ok(err)

	w.parent("prairie", "s2", residency.Payments, residency.ServiceProvision)
	_, _, err = w.put(us, "prairie", child("s2", "r1"), nil)
	w.ok(err)
	wider := child("s2", "r2")
	wider.Purposes |= residency.PurposeSet(residency.Personalisation)
	_, call, err = w.put(us, "prairie", wider, nil)
	w.wantKind(err, residency.ParentalConsentRequired)
	_, err = w.erasure(us, "prairie", call.Decision.ID)
	w.wantKind(err, residency.NotFound)
	_, _, err = w.get(us, "prairie", "s2", "r1")
	w.ok(err)
	// From abroad it is not told that a parent has consented, and nothing is erased either.
	_, _, err = w.put(ch, "prairie", child("s2", "r3"), nil)
	w.wantKind(err, residency.ParentalConsentRequired)
	_, _, err = w.get(us, "prairie", "s2", "r1")
	w.ok(err)
}

// A key store that fails does not keep a child's information: the task destroys the key.
func TestLearningOfAChildWithoutTheKeyStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("prairie", us)
		_, _, err := w.put(us, "prairie", aRecord("s1", "r1"), nil)
		w.ok(err)
		w.mem["us"].Fail(storetest.OpKeysDestroy, storetest.Always(storetest.FaultFail))
		_, call, err := w.put(us, "prairie", child("s1", "r1"), nil)
		w.wantKind(err, residency.ParentalConsentRequired)
		_, _, err = w.get(us, "prairie", "s1", "r1")
		w.wantKind(err, residency.NotFound)
		w.mem["us"].Fail(storetest.OpKeysDestroy, nil)
		w.g.sweepAll(t.Context())
		now, err := w.erasure(us, "prairie", call.Decision.ID)
		w.ok(err)
		if now.State != ErasureDone {
			t.Fatalf("the erasure is %+v", now)
		}
	})
}
