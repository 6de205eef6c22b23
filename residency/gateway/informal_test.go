package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The same request, two answers (clause informal-request).
func TestInformalRequestInBothRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		swiss := newDesk(t, ch)
		swiss.register(aRecipient("agency", residency.PublicAuthority, ch))
		_, err := swiss.informal(request("agency"))
		swiss.wantDecision(err, residency.InformalRequestRefused, "informal-request")
		if n := swiss.rows("ch", swiss.id, store.KindInformal); n != 0 {
			t.Errorf("%d requests are on record", n)
		}

		d := newDesk(t, us)
		d.register(aRecipient("agency", residency.PublicAuthority, us))
		got, err := d.informal(request("agency"))
		d.ok(err)
		if got.State != InformalRecorded || got.Recorder != "spiffe://example.org/admin" || got.Approval.By != "" {
			t.Errorf("recorded %+v", got)
		}
		_, err = d.grantInformal("admin", got.ID)
		d.wantDecision(err, residency.ApproverNotDistinct, "informal-request")
		for _, who := range []string{"officer", "counsel"} { // the second changes nothing
			granted, err := d.grantInformal(who, got.ID)
			d.ok(err)
			if granted.State != InformalGranted || granted.Approval.By != "spiffe://example.org/officer" {
				t.Errorf("granted %+v", granted)
			}
		}
		for _, id := range []string{uuid.NewString(), "i1"} {
			_, err = d.grantInformal("officer", id)
			d.wantKind(err, residency.NotFound)
		}
		gone, err := d.informal(request("agency"))
		d.ok(err)
		d.revokeRecipient("agency")
		_, err = d.grantInformal("officer", gone.ID)
		d.wantDecision(err, residency.RecipientNotRegistered, "processors")
		d.ok(d.update(aRecipient("agency", residency.PublicAuthority, us)))
		late, err := d.informal(request("agency"))
		d.ok(err)
		time.Sleep(time.Until(late.ValidUntil))
		_, err = d.grantInformal("officer", late.ID)
		d.wantDecision(err, residency.InformalRequestRefused, "informal-request")
	})
}

func TestInformalRequestThatNobodyGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, j := range []residency.Jurisdiction{ch, us} {
			d := newDesk(t, j)
			d.register(aRecipient("police", residency.LawEnforcement, j))
			d.register(aRecipient("shop", residency.ThirdParty, j, contacts(residency.FraudPrevention)))
			d.register(aRecipient("former", residency.LawEnforcement, j))
			d.revokeRecipient("former")
			for _, id := range []string{"nobody", "shop", "former"} {
				_, err := d.informal(request(id))
				d.wantDecision(err, residency.RecipientNotRegistered, "processors")
			}
			i := request("police")
			i.Purpose = residency.LegalObligation
			_, err := d.informal(i)
			d.wantDecision(err, residency.InformalRequestRefused, "informal-request")
			i.Class = residency.VirtualDriveData
			_, err = d.informal(i)
			d.wantDecision(err, residency.DriveDataNeverShared, map[residency.Jurisdiction]string{ch: "third-party-order", us: "drive-never-shared"}[j])
			i.Purpose = residency.FraudPrevention
			_, err = d.informal(i)
			d.wantKind(err, residency.DriveDataNeverShared)
		}
	})
}

func TestForeignInformalRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		d.register(aRecipient("polizei", residency.LawEnforcement, ch))
		_, err := d.informal(request("polizei"))
		d.wantDecision(err, residency.LegalOrderWrongJurisdiction, "legal-order")
	})
}

func TestInformalRequestForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		d.register(aRecipient("police", residency.LawEnforcement, us))
		for name, c := range map[string]struct {
			field string
			spoil func(*Informal)
		}{
			"no class":     {"informal_request.data_class", func(i *Informal) { i.Class = 0 }},
			"no purpose":   {"informal_request.purpose", func(i *Informal) { i.Purpose = 0 }},
			"no people":    {"informal_request.subject_ids", func(i *Informal) { i.Subjects = nil }},
			"no fields":    {"informal_request.fields", func(i *Informal) { i.Fields = nil }},
			"no reference": {"informal_request.reference", func(i *Informal) { i.Reference = "" }},
			"no end":       {"informal_request.valid_until", func(i *Informal) { i.ValidUntil = time.Time{} }},
			"over":         {"informal_request.valid_until", func(i *Informal) { i.ValidUntil = time.Now() }},
			"91 days":      {"informal_request.valid_until", func(i *Informal) { i.ValidUntil = time.Now().Add(longestGrant + 1) }},
		} {
			i := request("police")
			c.spoil(&i)
			_, err := d.informal(i)
			if err == nil {
				t.Errorf("%s is recorded", name)
				continue
			}
			d.wantField(err, c.field)
		}
		i := request("police")
		i.ValidUntil = time.Now().Add(longestGrant)
		_, err := d.informal(i)
		d.ok(err)
	})
}

func TestInformalRequestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		d.register(aRecipient("police", residency.LawEnforcement, us))
		req := RecordInformal{Tenant: d.id, Informal: request("police"), RequestID: newRequestID()}
		first, err := d.g.RecordInformalRequest(t.Context(), d.by("admin", "RecordInformalRequest"), req)
		d.ok(err)
		grant := GovernanceCall{Tenant: d.id, ID: first.ID, RequestID: newRequestID()}
		for range 2 {
			got, err := d.g.ApproveInformalRequest(t.Context(), d.by("officer", "ApproveInformalRequest"), grant)
			d.ok(err)
			if got.State != InformalGranted {
				t.Errorf("granted %+v", got)
			}
		}
		again, err := d.g.RecordInformalRequest(t.Context(), d.by("admin", "RecordInformalRequest"), req)
		d.ok(err)
		if again.ID != first.ID || again.State != InformalRecorded {
			t.Errorf("repeated: %+v", again)
		}
	})
}
