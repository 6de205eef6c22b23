package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

func TestGiveNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		n := Notice{Subject: "s1", Recipient: "shop", Purposes: residency.PurposeSet(residency.Payments)}
		_, err := d.notice(n)
		d.wantKind(err, residency.NotFound)
		d.register(aRecipient("shop", residency.ThirdParty, ch, contacts(residency.Payments)))
		got, err := d.notice(n)
		d.ok(err)
		if !got.Given.Equal(time.Now()) || got.PeriodEnds.Sub(got.Given) != noticePeriod || uuid.Validate(got.ID) != nil {
			t.Errorf("gave %+v", got)
		}
		n.PeriodEnds = time.Now()
		_, err = d.notice(n)
		d.wantField(err, "notice.period_end_time")
		n.PeriodEnds, n.WholeTenant = time.Time{}, true
		_, err = d.notice(n)
		d.wantField(err, "notice.scope")
		n.Subject = ""
		_, err = d.notice(n)
		d.ok(err)
		n.Purposes = 0
		_, err = d.notice(n)
		d.wantField(err, "notice.purposes")
		d.revokeRecipient("shop")
		n.Purposes = residency.PurposeSet(residency.Payments)
		_, err = d.notice(n)
		d.wantKind(err, residency.NotFound)
	})
}

func TestObjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		start := time.Now()
		o := d.object(Objection{Subject: "s1", Recipient: "shop"})
		if time.Since(start) < d.g.limits.Lease {
			t.Error("the answer does not wait for streams that were judged before")
		}
		if !o.Objected.Equal(start) || !o.Lifted.IsZero() {
			t.Errorf("recorded %+v", o)
		}
		d.object(Objection{WholeTenant: true})
		d.wantKind(d.lift(uuid.NewString()), residency.NotFound)
		d.wantKind(d.lift("s1"), residency.NotFound)
		time.Sleep(time.Hour)
		lifted := time.Now()
		for range 2 { // the second changes nothing
			got, err := d.g.LiftObjection(t.Context(), d.by("admin", "LiftObjection"), GovernanceCall{Tenant: d.id, ID: o.ID})
			d.ok(err)
			if !got.Lifted.Equal(lifted) || got.Subject != "s1" {
				t.Errorf("lifted %+v", got)
			}
			time.Sleep(time.Hour)
		}
		_, err := d.g.RecordObjection(t.Context(), d.by("admin", "RecordObjection"), RecordObjection{Tenant: d.id})
		d.wantField(err, "objection.scope")
	})
}

// A repeated objection is one objection, and is known to be about the person that it was about.
func TestObjectionRequestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		req := RecordObjection{Tenant: d.id, Objection: Objection{Subject: "s1"}, RequestID: newRequestID()}
		first, err := d.g.RecordObjection(t.Context(), d.by("admin", "RecordObjection"), req)
		d.ok(err)
		again, err := d.g.RecordObjection(t.Context(), d.by("admin", "RecordObjection"), req)
		d.ok(err)
		if again.ID != first.ID || d.rows("ch", d.id, store.KindObjection) != 2 { // itself, and where it is
			t.Errorf("repeated: %+v", again)
		}
		req.Objection.Subject = "s2"
		_, err = d.g.RecordObjection(t.Context(), d.by("admin", "RecordObjection"), req)
		d.wantKind(err, residency.RequestIDReused)
	})
}

func TestNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("shop", residency.ThirdParty, ch, contacts(residency.Payments)))
		n := Notice{Subject: "s1", Recipient: "shop", Purposes: residency.PurposeSet(residency.Payments)}
		for range maxNotices {
			_, err := d.notice(n)
			d.ok(err)
		}
		_, err := d.notice(n)
		d.wantKind(err, residency.QuotaExceeded)
		n.Subject = "s2"
		_, err = d.notice(n)
		d.ok(err)
	})
}

// A notice to everybody went to those of whom something was held then (clause choice).
func TestNoticeBeforeThePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("shop", residency.ThirdParty, ch, contacts(residency.Payments)))
		everybody := Notice{WholeTenant: true, Recipient: "shop", Purposes: residency.PurposeSet(residency.Payments), PeriodEnds: time.Now().Add(time.Minute)}
		_, err := d.notice(everybody)
		d.ok(err)
		time.Sleep(time.Hour)
		_, _, err = d.put(ch, d.id, aRecord("late", "r1"), nil)
		d.ok(err)
		d.discloses(to("shop", residency.Payments))
		late := Disclose{Recipient: "shop", Subject: "late", Purpose: residency.Payments}
		d.refuses(late, residency.NoticeRequired, "choice")
		everybody.PeriodEnds = time.Now().Add(time.Minute)
		_, err = d.notice(everybody)
		d.ok(err)
		d.refuses(late, residency.NoticePeriodOpen, "choice")
		time.Sleep(time.Minute)
		d.discloses(late)
	})
}
