package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
)

func TestOrderLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		o := d.order(d.anOrder())
		if o.State != OrderRecorded || !o.ValidFrom.Equal(time.Now()) || o.Recorder != "spiffe://example.org/admin" {
			t.Errorf("recorded %+v", o)
		}
		_, err := d.approve("admin", o.ID)
		d.wantDecision(err, residency.ApproverNotDistinct, "legal-order")
		got, err := d.approve("officer", o.ID)
		d.ok(err)
		if got.State != OrderRecorded || len(got.Approvals) != 1 || got.Approvals[0].By != "spiffe://example.org/officer" {
			t.Errorf("approved once: %+v", got)
		}
		_, err = d.approve("officer", o.ID)
		d.wantDecision(err, residency.ApproverNotDistinct, "legal-order")
		_, err = d.approve("admin", o.ID)
		d.wantDecision(err, residency.ApproverNotDistinct, "legal-order")
		got, err = d.approve("counsel", o.ID)
		d.ok(err)
		if got.State != OrderApproved || len(got.Approvals) != 2 {
			t.Errorf("approved twice: %+v", got)
		}
		got, err = d.approve("third", o.ID) // in effect already
		d.ok(err)
		if got.State != OrderApproved || len(got.Approvals) != 2 {
			t.Errorf("approved a third time: %+v", got)
		}
		d.wantDecision(d.rejectOrder(o.ID), residency.LegalOrderExpired, "legal-order")

		d.revokeOrder(o.ID)
		ended := time.Now()
		time.Sleep(time.Hour)
		d.revokeOrder(o.ID)
		got, err = d.g.GetLegalOrder(t.Context(), d.by("admin", "GetLegalOrder"), d.id, o.ID)
		d.ok(err)
		if got.State != OrderRevoked || !got.Ended.Equal(ended) || len(got.Approvals) != 2 {
			t.Errorf("revoked: %+v", got)
		}
		_, err = d.approve("fourth", o.ID)
		d.wantDecision(err, residency.LegalOrderExpired, "legal-order")
	})
}

func TestOrderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		rejected, late := d.order(d.anOrder()), d.approved(d.anOrder())
		d.ok(d.rejectOrder(rejected.ID))
		d.revokeOrder(rejected.ID) // it stays rejected
		_, err := d.approve("officer", rejected.ID)
		d.wantDecision(err, residency.LegalOrderExpired, "legal-order")
		d.wantDecision(d.rejectOrder(rejected.ID), residency.LegalOrderExpired, "legal-order")

		unapproved := d.order(d.anOrder())
		time.Sleep(time.Until(late.ValidUntil))
		_, err = d.approve("officer", unapproved.ID)
		d.wantDecision(err, residency.LegalOrderExpired, "legal-order")
		for state, want := range map[OrderState]int{OrderRejected: 1, OrderExpired: 2, OrderApproved: 0, OrderStateUnspecified: 3} {
			list, _, err := d.g.ListLegalOrders(t.Context(), d.by("admin", "ListLegalOrders"), ListOrders{Tenant: d.id, State: state})
			d.ok(err)
			if len(list) != want {
				t.Errorf("state %v: %d orders, want %d", state, len(list), want)
			}
		}
		list, _, err := d.g.ListLegalOrders(t.Context(), d.by("admin", "ListLegalOrders"), ListOrders{Tenant: d.id})
		d.ok(err)
		if list[0].ID != unapproved.ID || list[2].ID != rejected.ID {
			t.Error("not newest first")
		}
	})
}

// A foreign order is on record, and nobody can let it take effect.
func TestForeignOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		o := d.anOrder()
		o.Jurisdiction = us
		o = d.order(o)
		for _, who := range []string{"admin", "officer"} { // before who approves is looked at
			_, err := d.approve(who, o.ID)
			d.wantDecision(err, residency.LegalOrderWrongJurisdiction, "legal-order")
		}
		d.ok(d.rejectOrder(o.ID))
		_, err := d.approve("officer", o.ID)
		d.wantDecision(err, residency.LegalOrderWrongJurisdiction, "legal-order")
	})
}

func TestOrderForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		for name, c := range map[string]struct {
			field string
			spoil func(*Order)
		}{
			"no authority":        {"order", func(o *Order) { o.Authority = "" }},
			"no such place":       {"order.jurisdiction", func(o *Order) { o.Jurisdiction = residency.Jurisdiction{'U', 'K'} }},
			"no class":            {"order.scope.data_classes", func(o *Order) { o.Scope.Classes = 0 }},
			"account data":        {"order.scope.data_classes", func(o *Order) { o.Scope.Classes = residency.DataClassSet(residency.AccountData) }},
			"too many people":     {"order.scope", func(o *Order) { o.Scope.Subjects = make([]string, maxScope+1) }},
			"a window backwards":  {"order.scope.to_time", func(o *Order) { o.Scope.From, o.Scope.To = time.Now(), time.Now() }},
			"an end in the past":  {"order.valid_until", func(o *Order) { o.ValidUntil = time.Now() }},
			"over before it was":  {"order.valid_until", func(o *Order) { o.ValidFrom = o.ValidUntil }},
			"no legal basis":      {"order", func(o *Order) { o.LegalBasis = "" }},
			"no reference at all": {"order", func(o *Order) { o.Reference = "" }},
		} {
			o := d.anOrder()
			c.spoil(&o)
			_, err := d.tryOrder(o)
			if err == nil {
				t.Errorf("%s is recorded", name)
				continue
			}
			d.wantField(err, c.field)
		}
		o := d.anOrder()
		o.Scope.Subjects, o.Scope.Drives = nil, nil // it covers nothing, and came in
		d.order(o)
	})
}

// An order that is not there and one of another tenant's are the same to every method.
func TestOrderOfAnotherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.tenant("other", ch)
		theirs := d.order(d.anOrder())
		d.id = "other"
		for _, id := range []string{theirs.ID, uuid.NewString(), "o1"} {
			_, err := d.g.GetLegalOrder(t.Context(), d.by("admin", "GetLegalOrder"), d.id, id)
			d.wantKind(err, residency.NotFound)
			_, err = d.approve("officer", id)
			d.wantKind(err, residency.NotFound)
			d.wantKind(d.rejectOrder(id), residency.NotFound)
			_, err = d.g.RevokeLegalOrder(t.Context(), d.by("admin", "RevokeLegalOrder"), GovernanceCall{Tenant: d.id, ID: id})
			d.wantKind(err, residency.NotFound)
		}
	})
}

// A repeated approval gives the first result and counts once.
func TestOrderRequestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		o, other := d.order(d.anOrder()), d.order(d.anOrder())
		req := GovernanceCall{Tenant: d.id, ID: o.ID, RequestID: newRequestID()}
		for range 2 {
			got, err := d.g.ApproveLegalOrder(t.Context(), d.by("officer", "ApproveLegalOrder"), req)
			d.ok(err)
			if len(got.Approvals) != 1 || got.State != OrderRecorded {
				t.Errorf("approved: %+v", got)
			}
		}
		req.ID = other.ID
		_, err := d.g.ApproveLegalOrder(t.Context(), d.by("officer", "ApproveLegalOrder"), req)
		d.wantKind(err, residency.RequestIDReused)
	})
}

// The log says which order was recorded, approved by whom, and refused.
func TestOrdersAreInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		o := d.approved(d.anOrder())
		_, err := d.approve("officer", o.ID)
		d.wantKind(err, residency.ApproverNotDistinct)
		log := d.entries("ch")
		for i, want := range []struct {
			by    string
			allow bool
		}{{"admin", true}, {"officer", true}, {"counsel", true}, {"officer", false}} {
			e := log[len(log)-4+i]
			if e.OrderID != o.ID || e.Caller != "spiffe://example.org/"+want.by || e.Allow != want.allow {
				t.Errorf("entry %d: %+v", i, e)
			}
		}
	})
}
