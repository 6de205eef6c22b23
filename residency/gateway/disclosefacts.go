package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// grounds is what a disclosure's transaction looked up: whom it is for, and what
// it would rest on.
type grounds struct {
	recipient *Recipient // nil = not registered
	order     *Order
	informal  *Informal
}

// standIn is the kind of recipient that a disclosure is judged by at the border, where
// nothing is looked up: as far as the purpose tells.
func standIn(p residency.Purpose) residency.RecipientKind {
	switch p {
	case residency.LegalObligation:
		return residency.LawEnforcement
	case residency.FraudPrevention, residency.CreditRisk:
		return residency.FraudPartner
	case residency.BusinessTransfer:
		return residency.Acquirer
	}
	return residency.ThirdParty
}

// prepare finds the recipient. An unknown or revoked one is nobody, and the policy says so.
func (d *handover) prepare(t *txn) error {
	r, err := t.activeRecipient(d.req.Recipient)
	if err != nil {
		return err
	}
	t.grounds, t.recipient = grounds{recipient: r}, residency.NoRecipient
	if r == nil {
		return nil
	}
	t.recipient, t.recipientID = r.Kind, r.ID
	if r.Jurisdiction != t.home.region.Jurisdiction {
		t.target = r.Jurisdiction
	}
	return nil
}

// fact finds what a disclosure rests on; restrictions, opt-ins and borders are as for any access.
func (d *handover) fact(t *txn, r residency.Requirement) (f policy.Finding, ok bool, err error) {
	to := t.grounds.recipient
	if to == nil {
		to = &Recipient{} // of nobody nothing is met
	}
	ok = true
	switch r {
	case residency.RequireRegistered:
		f.Met = t.grounds.recipient != nil
	case residency.RequireFunction:
		x := to.function(d.req.Purpose)
		f.Met = x != nil && len(x.Fields) > 0
	case residency.RequireSafeguard:
		f.Met = t.now.Before(to.Safeguard.ValidUntil)
	case residency.RequirePurpose:
		f.Met, err = t.provided(d.req.Purpose)
	case residency.RequireNotice:
		f, err = t.noticed(d.req.Recipient, d.req.Purpose)
	case residency.RequireNoObjection:
		f, err = t.unopposed(d.req.Recipient)
	case residency.RequireLegalOrder:
		f, err = d.ordered(t)
	case residency.RequireInformalGrant:
		f, err = d.granted(t)
	case residency.RequireNecessity:
		f.Met = strings.TrimSpace(d.req.Necessity) != ""
	case residency.RequireAssetTransfer:
		f.Met = d.req.Stage == AssetTransfer
	default:
		ok = false
	}
	return f, ok, err
}

// function gives what a recipient needs for a purpose; nil when that is not its function.
func (r *Recipient) function(p residency.Purpose) *Function {
	i := slices.IndexFunc(r.Functions, func(x Function) bool { return x.Purpose == p })
	if i < 0 {
		return nil
	}
	return &r.Functions[i]
}

// provided says whether something about the person was provided for a purpose, or nothing is held
// at all, which is not for the policy to tell. What was provided for others stays.
func (t *txn) provided(p residency.Purpose) (bool, error) {
	if t.subject == "" { // a drive's bytes are for the services alone
		return true, nil
	}
	some, fit := false, false
	err := t.eachHead(func(h *recordHead) bool {
		some, fit = true, h.Purposes.Has(p)
		return !fit
	})
	return fit || !some, err
}

// ordered says whether a legal order obliges the company to the disclosure.
func (d *handover) ordered(t *txn) (policy.Finding, error) {
	o, ok, err := t.readOrder(d.req.Order)
	if err != nil || !ok {
		return policy.Finding{}, err
	}
	reason := residency.OK
	switch {
	case o.Jurisdiction != t.home.region.Jurisdiction:
		reason = residency.LegalOrderWrongJurisdiction
	case o.State == OrderRecorded:
		reason = residency.LegalOrderUnapproved
	case o.State != OrderApproved || t.now.Before(o.ValidFrom):
		reason = residency.LegalOrderExpired
	default:
		covered, err := d.covered(t, &o)
		if err != nil {
			return policy.Finding{}, err
		}
		if !covered {
			reason = residency.LegalOrderOutOfScope
		}
	}
	t.grounds.order = &o
	return policy.Finding{Met: reason == residency.OK, Reason: reason, Ref: o.ID}, nil
}

// covered says whether every part of an order's scope that is stated covers the disclosure.
func (d *handover) covered(t *txn, o *Order) (bool, error) {
	s := &o.Scope
	switch {
	case o.Recipient != "" && o.Recipient != d.req.Recipient:
		return false, nil
	case d.req.Drive != "":
		return d.driveCovered(t, s)
	case !s.Classes.Has(residency.PersonalInformation) || !slices.Contains(s.Subjects, d.req.Subject):
		return false, nil
	case s.From.IsZero() && s.To.IsZero():
		return true, nil
	}
	some, within := false, false
	err := t.eachHead(func(h *recordHead) bool {
		some, within = true, s.holds(h.Collected)
		return !within
	})
	return within || !some, err // that nothing is held is not for the policy to tell
}

// driveCovered says the same of a drive: all of it is handed over, so all of it must be within the window.
func (d *handover) driveCovered(t *txn, s *OrderScope) (bool, error) {
	if !s.Classes.Has(residency.VirtualDriveData) || !slices.Contains(s.Drives, d.req.Drive) {
		return false, nil
	}
	row, _, err := t.readDrive()
	if residency.KindOf(err) == residency.NotFound {
		return true, nil
	}
	return s.holds(row.Created) && s.holds(row.Updated), err
}

// holds reports whether what was collected at a time is within the order's window.
func (s *OrderScope) holds(at time.Time) bool {
	return !at.Before(s.From) && (s.To.IsZero() || at.Before(s.To))
}

// granted says whether a request was granted that covers the disclosure.
func (d *handover) granted(t *txn) (policy.Finding, error) {
	i, ok, err := t.readInformal(d.req.Informal)
	if err != nil || !ok {
		return policy.Finding{}, err
	}
	t.grounds.informal = &i
	met := i.State == InformalGranted && i.Class == residency.PersonalInformation && i.Recipient == d.req.Recipient &&
		i.Purpose == d.req.Purpose && slices.Contains(i.Subjects, d.req.Subject)
	return policy.Finding{Met: met, Ref: i.ID}, nil
}

// scanRecords reads the records about the act's subject that have not ended, those after a given
// one, until yield returns false.
func (t *txn) scanRecords(after store.ID, yield func(id store.ID, h *recordHead, row []byte) (bool, error)) error {
	var failed error
	err := t.Scan(store.KindRecord, t.subject, after, func(id store.ID, row []byte) bool {
		var h recordHead
		if h, failed = headOf(row); failed != nil || h.expired(t.now) {
			return failed == nil
		}
		var on bool
		on, failed = yield(id, &h, row)
		return on && failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// eachHead reads the heads of the records about the act's subject that have not ended, until
// yield returns false.
func (t *txn) eachHead(yield func(*recordHead) bool) error {
	return t.scanRecords("", func(_ store.ID, h *recordHead, _ []byte) (bool, error) { return yield(h), nil })
}
