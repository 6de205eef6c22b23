package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
)

func aCase() Case {
	return Case{Suspicion: "Canary mails in bulk", Drives: []string{"d1", "d2"}, ValidUntil: time.Now().Add(longestGrant)}
}

func (d *desk) openCase(c Case) (Case, error) {
	return d.g.OpenAbuseCase(d.t.Context(), d.by("admin", "OpenAbuseCase"), OpenCase{Tenant: d.id, Case: c})
}

func (d *desk) approveCase(who, id string) (Case, error) {
	return d.g.ApproveAbuseCase(d.t.Context(), d.by(who, "ApproveAbuseCase"), GovernanceCall{Tenant: d.id, ID: id})
}

func (d *desk) closeCase(id string) (Case, error) {
	return d.g.CloseAbuseCase(d.t.Context(), d.by("admin", "CloseAbuseCase"), GovernanceCall{Tenant: d.id, ID: id})
}

// covers asks, within a transaction of the tenant, whether a case covers a drive.
func (d *desk) covers(caseID, drive string) bool {
	d.t.Helper()
	met := false
	a := &act{call: d.by("admin", "test"), op: "test", tenant: d.id}
	_, err := d.g.decide(context.Background(), a, func(t *txn) error {
		f, err := t.caseCovers(caseID, drive)
		if met = f.Met; !met && f.Reason != residency.InspectionPermissionRequired {
			d.t.Errorf("not covered for %v", f.Reason)
		}
		return err
	})
	d.ok(err)
	return met
}

func TestAbuseCaseLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			at     residency.Jurisdiction
			clause string
		}{{ch, "aup-inspection"}, {us, "product/aup-inspection"}} {
			d := newDesk(t, c.at)
			got, err := d.openCase(aCase())
			d.ok(err)
			if got.State != CaseOpen || got.Opener != "spiffe://example.org/admin" || d.covers(got.ID, "d1") {
				t.Errorf("opened %+v", got)
			}
			_, err = d.approveCase("admin", got.ID)
			d.wantDecision(err, residency.ApproverNotDistinct, c.clause)
			for _, who := range []string{"officer", "counsel"} { // the second changes nothing
				got, err = d.approveCase(who, got.ID)
				d.ok(err)
				if got.State != CaseApproved || got.Approval.By != "spiffe://example.org/officer" {
					t.Errorf("approved %+v", got)
				}
			}
			region := d.entries(residency.Region(map[residency.Jurisdiction]string{ch: "ch", us: "us"}[c.at]))
			if e := region[len(region)-1]; e.Clause != c.clause || e.OrderID != got.ID {
				t.Errorf("the log has %q about %q", e.Clause, e.OrderID)
			}
			if !d.covers(got.ID, "d1") || !d.covers(got.ID, "d2") || d.covers(got.ID, "d3") || d.covers("", "d1") || d.covers(uuid.NewString(), "d1") {
				t.Error("a case covers what it does not name, or not what it names")
			}
			closed := time.Now()
			for range 2 {
				got, err = d.closeCase(got.ID)
				d.ok(err)
				if got.State != CaseClosed || !got.Closed.Equal(closed) || d.covers(got.ID, "d1") {
					t.Errorf("closed %+v", got)
				}
				time.Sleep(time.Hour)
			}
			_, err = d.approveCase("officer", got.ID)
			d.wantDecision(err, residency.InspectionPermissionRequired, c.clause)
		}
	})
}

func TestAbuseCaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		approved, err := d.openCase(aCase())
		d.ok(err)
		_, err = d.approveCase("officer", approved.ID)
		d.ok(err)
		open, err := d.openCase(aCase())
		d.ok(err)
		time.Sleep(time.Until(open.ValidUntil) - time.Nanosecond)
		if !d.covers(approved.ID, "d1") {
			t.Error("a case ends before its time")
		}
		time.Sleep(time.Nanosecond)
		if d.covers(approved.ID, "d1") {
			t.Error("a case outlives its time")
		}
		_, err = d.approveCase("officer", open.ID)
		d.wantDecision(err, residency.InspectionPermissionRequired, "aup-inspection")
		for state, want := range map[CaseState]int{CaseExpired: 2, CaseApproved: 0, CaseStateUnspecified: 2} {
			list, _, err := d.g.ListAbuseCases(t.Context(), d.by("admin", "ListAbuseCases"), ListCases{Tenant: d.id, State: state})
			d.ok(err)
			if len(list) != want || want > 0 && list[0].ID != open.ID {
				t.Errorf("state %v: %+v", state, list)
			}
		}
	})
}

func TestAbuseCaseForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		for name, c := range map[string]struct {
			field string
			spoil func(*Case)
		}{
			"no suspicion":    {"abuse_case.suspicion", func(c *Case) { c.Suspicion = "" }},
			"no drives":       {"abuse_case.drive_ids", func(c *Case) { c.Drives = nil }},
			"too many drives": {"abuse_case.drive_ids", func(c *Case) { c.Drives = make([]string, maxCaseDrives+1) }},
			"no end":          {"abuse_case.valid_until", func(c *Case) { c.ValidUntil = time.Time{} }},
			"91 days":         {"abuse_case.valid_until", func(c *Case) { c.ValidUntil = c.ValidUntil.Add(1) }},
		} {
			v := aCase()
			c.spoil(&v)
			_, err := d.openCase(v)
			if err == nil {
				t.Errorf("%s is opened", name)
				continue
			}
			d.wantField(err, c.field)
		}
		for _, id := range []string{uuid.NewString(), "c1"} {
			_, err := d.approveCase("officer", id)
			d.wantKind(err, residency.NotFound)
			_, err = d.closeCase(id)
			d.wantKind(err, residency.NotFound)
		}
	})
}

func TestAbuseCaseRequestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		req := OpenCase{Tenant: d.id, Case: aCase(), RequestID: newRequestID()}
		first, err := d.g.OpenAbuseCase(t.Context(), d.by("admin", "OpenAbuseCase"), req)
		d.ok(err)
		approve := GovernanceCall{Tenant: d.id, ID: first.ID, RequestID: newRequestID()}
		for range 2 {
			got, err := d.g.ApproveAbuseCase(t.Context(), d.by("officer", "ApproveAbuseCase"), approve)
			d.ok(err)
			if got.State != CaseApproved {
				t.Errorf("approved %+v", got)
			}
			_, err = d.closeCase(first.ID)
			d.ok(err)
		}
		again, err := d.g.OpenAbuseCase(t.Context(), d.by("admin", "OpenAbuseCase"), req)
		d.ok(err)
		if again.ID != first.ID || again.State != CaseOpen {
			t.Errorf("repeated: %+v", again)
		}
	})
}
