package policy

import (
	"math/bits"

	"github.com/domicile-project/domicile/residency"
)

// defaultReasons are the reasons that an unmet requirement gives when its
// finding names no other.
var defaultReasons = [residency.NumRequirements]residency.Kind{
	residency.RequireConsent:         residency.CrossBorderConsentRequired,
	residency.RequireAgreement:       residency.AgreementRequired,
	residency.RequirePurpose:         residency.PurposeNotPermitted,
	residency.RequireNotRestricted:   residency.Restricted,
	residency.RequireOptIn:           residency.MarketingOptInRequired,
	residency.RequireCollection:      residency.CollectionDeclined,
	residency.RequireParentalConsent: residency.ParentalConsentRequired,
	residency.RequirePermission:      residency.InspectionPermissionRequired,
	residency.RequireAbuseCase:       residency.InspectionPermissionRequired,
	residency.RequireRegistered:      residency.RecipientNotRegistered,
	residency.RequireFunction:        residency.RecipientOutsideFunction,
	residency.RequireSafeguard:       residency.SafeguardMissing,
	residency.RequireNotice:          residency.NoticeRequired,
	residency.RequireNoObjection:     residency.ObjectionRecorded,
	residency.RequireLegalOrder:      residency.LegalOrderRequired,
	residency.RequireInformalGrant:   residency.InformalRequestRefused,
	residency.RequireNecessity:       residency.PurposeNotPermitted,
	residency.RequireAssetTransfer:   residency.PurposeNotPermitted,
}

// byConsent are the requirements that a recorded consent meets, whose
// reference a decision names as its ConsentID.
var byConsent = residency.Set(residency.RequireConsent, residency.RequireAgreement, residency.RequireOptIn,
	residency.RequireParentalConsent, residency.RequirePermission)

// byOrder are the requirements whose reference a decision names as its OrderID:
// an order, and what somebody approved in its stead.
var byOrder = residency.Set(residency.RequireLegalOrder, residency.RequireAbuseCase, residency.RequireInformalGrant)

// Requirements gives what a query's cell asks for: the facts that Decide looks
// at, and no others. It is empty for what is denied or permitted outright. It does not allocate.
func (p *Policy) Requirements(q Query) residency.Requirements { return p.find(q).requires }

// Decide decides an access. Nil facts meet nothing.
//
// It fills every member of the decision but ID and Time. Reason and Clause are
// those of the first requirement, in the order of residency.Requirement, that
// is not met; Missing has all of them. A permitted access cites the clause of the first requirement that
// it had to meet, or of the rule that permits it outright. A finding of that requirement that names a
// clause of its own is cited instead of the rule's.
//
// ConsentID is the first consent relied on; OrderID the legal order, abuse case or granted request relied on. In a refusal they are what the
// deciding requirement was looked up under: the consent or order that no longer holds.
//
// A query with an unset or unknown value is denied with BadRequest and no
// clause. Decide does not allocate.
func (p *Policy) Decide(q Query, f *Facts) (d residency.Decision) {
	v := p.find(q)
	d.Action, d.DataClass, d.Purpose = q.Action, q.DataClass, q.Purpose
	d.Reason, d.Clause = v.reason, v.clause
	if p == nil {
		return d
	}
	d.PolicyVersion, d.PolicyDigest, d.Controller = p.Version, p.Digest, p.Controller
	d.From, d.To = p.Jurisdiction, p.destination(q)
	if v.allow {
		v.weigh(f, &d)
	}
	return d
}

// destination gives the jurisdiction that a query reaches: home when it states
// none, the zero value when what it states is none.
func (p *Policy) destination(q Query) residency.Jurisdiction {
	switch {
	case q.To.IsZero():
		return p.Jurisdiction
	case p.table.placeOf(q.To) == placeNone:
		return residency.Jurisdiction{}
	}
	return q.To
}

// weigh compares the requirements with the facts.
func (v *verdict) weigh(f *Facts, d *residency.Decision) {
	for rest := v.requires; rest != 0; rest &= rest - 1 {
		r := residency.Requirement(bits.TrailingZeros32(uint32(rest)))
		if f == nil {
			v.refuse(r, &unmet, d)
		} else if !f[r].Met {
			v.refuse(r, &f[r], d)
		} else if d.Missing == 0 {
			v.rely(r, &f[r], d)
		}
	}
	d.Allow = d.Missing == 0
}

// unmet is what is known of a requirement that nothing is known about.
var unmet Finding

// rely notes the consent or order that meets a requirement and, of the one that
// is cited, the clause that its finding names.
func (v *verdict) rely(r residency.Requirement, f *Finding, d *residency.Decision) {
	refer(r, f.Ref, d)
	if f.Clause != "" && r == v.cites {
		d.Clause = f.Clause
	}
}

// refer names the consent or order that a requirement was looked up under.
func refer(r residency.Requirement, ref string, d *residency.Decision) {
	switch {
	case byConsent.Has(r) && d.ConsentID == "":
		d.ConsentID = ref
	case byOrder.Has(r) && d.OrderID == "":
		d.OrderID = ref
	}
}

// refuse notes a requirement that is not met; the first one decides.
func (v *verdict) refuse(r residency.Requirement, f *Finding, d *residency.Decision) {
	deciding := d.Missing == 0
	d.Missing |= residency.Set(r)
	if !deciding {
		return
	}
	d.Clause, d.Reason = v.clauses[r], defaultReasons[r]
	if f.Reason != residency.OK && f.Reason < residency.NumKinds {
		d.Reason = f.Reason
	}
	if f.Clause != "" {
		d.Clause = f.Clause
	}
	d.ConsentID, d.OrderID = "", ""
	refer(r, f.Ref, d)
}
