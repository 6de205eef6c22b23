package policy

import (
	"testing"

	"github.com/domicile-project/domicile/residency"
)

// What follows is a second reading of the two privacy policies, clause by
// clause, written as plain code. It shares nothing with the parser, the rules or the compiler: it is what
// the shipped files are compared with, over every access there can be.

// answer is what the reference says about an access.
type answer struct {
	allow  bool
	reason residency.Kind
	clause string
	asks   [residency.NumRequirements]string // the clause that asks for each requirement
}

func refused(reason residency.Kind, clause string) answer {
	return answer{reason: reason, clause: clause}
}

func permitted(clause string) answer { return answer{allow: true, clause: clause} }

// asking adds a requirement under a clause.
func (a answer) asking(clause string, rs ...residency.Requirement) answer {
	a.allow = true
	for _, r := range rs {
		a.asks[r] = clause
	}
	a.clause = a.asks[a.cites()]
	return a
}

// cites gives the requirement whose clause is cited when all are met.
func (a answer) cites() residency.Requirement {
	for _, r := range cited {
		if a.asks[r] != "" {
			return r
		}
	}
	return 0
}

// cited says which clause a permitted access cites: the border's; what was ordered, granted or
// permitted for it; what a kind of recipient needs alone; then what all of them do; then what
// stored data is held and used on.
var cited = []residency.Requirement{
	residency.RequireConsent, residency.RequireLegalOrder, residency.RequireInformalGrant, residency.RequirePermission,
	residency.RequireAbuseCase, residency.RequireAssetTransfer, residency.RequireNecessity, residency.RequireNotice,
	residency.RequireNoObjection, residency.RequireOptIn, residency.RequireRegistered, residency.RequireFunction,
	residency.RequireSafeguard, residency.RequireAgreement, residency.RequireCollection, residency.RequireParentalConsent,
	residency.RequirePurpose, residency.RequireNotRestricted,
}

// reference is one region's reading.
type reference struct {
	home residency.Jurisdiction
	us   bool
}

// own gives the id of a clause that the United States text does not have.
func (f reference) own(id string) string {
	if f.us {
		return "product/" + id
	}
	return id
}

func (f reference) answer(q Query) answer {
	if !wellFormed(q) {
		return refused(residency.BadRequest, "")
	}
	abroad := !q.To.IsZero() && q.To != f.home
	if q.Recipient != residency.NoRecipient && q.Action != residency.Disclose {
		return refused(residency.BadRequest, "product/form")
	}
	if a, done := f.purposeForm(q); done {
		return a
	}
	switch q.DataClass {
	case residency.AccountData:
		return f.account(q)
	case residency.VirtualDriveData:
		return f.drive(q, abroad)
	}
	return f.personal(q, abroad)
}

// wellFormed: an unset or unknown value anywhere is refused; a source, recipient
// and party need not be stated.
func wellFormed(q Query) bool {
	return q.Action >= residency.Collect && q.Action <= residency.Govern &&
		q.DataClass >= residency.PersonalInformation && q.DataClass <= residency.AccountData &&
		q.Purpose <= residency.InspectionPurpose && q.Source <= residency.FromThirdParty &&
		q.Recipient <= residency.ThirdParty && q.Party <= residency.TenantParty &&
		(q.To.IsZero() || isCode(q.To))
}

func isCode(j residency.Jurisdiction) bool {
	for _, known := range residency.Jurisdictions() {
		if known == j {
			return true
		}
	}
	return false
}

// purposeForm: clause purposes. Uses, transfers, disclosures and inspections of data state a purpose, and
// so does what is written to a drive; measuring, erasing, exporting and governing have none.
func (f reference) purposeForm(q Query) (answer, bool) {
	stated := q.Purpose != residency.PurposeUnspecified
	switch q.Action {
	case residency.Meter, residency.Erase, residency.Export, residency.Govern:
		if stated {
			return refused(residency.BadRequest, "product/form"), true
		}
	case residency.Use, residency.Transfer, residency.Disclose, residency.Inspect:
		if !stated && q.DataClass != residency.AccountData {
			return refused(residency.PurposeRequired, "purposes"), true
		}
	case residency.Collect:
		if !stated && q.DataClass == residency.VirtualDriveData {
			return refused(residency.PurposeRequired, "purposes"), true
		}
	}
	return answer{}, false
}

// account: it names nobody and may be seen from the other region (product/border).
// It is neither disclosed nor inspected: no clause speaks of that.
func (f reference) account(q Query) answer {
	switch q.Action {
	case residency.Disclose:
		if q.Recipient == residency.NoRecipient {
			return refused(residency.RecipientNotRegistered, "processors")
		}
		return refused(residency.PurposeNotPermitted, "product/default")
	case residency.Inspect:
		return refused(residency.InspectionPermissionRequired, f.own("no-inspection"))
	case residency.Meter:
		return permitted(f.own("metering"))
	case residency.Collect, residency.Use, residency.Transfer:
		if q.Purpose == residency.Marketing {
			return answer{}.asking("marketing", residency.RequireOptIn)
		}
	}
	return permitted("product/border")
}

// drive: clauses drive-never-shared, third-party-order, purpose, no-inspection,
// aup-inspection, metering, stop-holding and change-use.
func (f reference) drive(q Query, abroad bool) answer {
	switch q.Action {
	case residency.Collect, residency.Use:
		return f.driveUse(q, abroad)
	case residency.Transfer:
		a := permitted("product/border")
		if abroad {
			a = a.asking("product/border", residency.RequireConsent)
		}
		if q.Purpose == residency.Marketing {
			a = a.asking("marketing", residency.RequireOptIn)
		}
		return a
	case residency.Disclose:
		return f.driveDisclose(q, abroad)
	case residency.Inspect:
		switch {
		case abroad:
		case q.Purpose == residency.InspectionPurpose: // what is stored
			return answer{}.asking(f.own("no-inspection"), residency.RequirePermission)
		case q.Purpose == residency.FraudPrevention: // transfers as they pass
			return answer{}.asking(f.own("aup-inspection"), residency.RequireAbuseCase)
		}
		return refused(residency.InspectionPermissionRequired, f.own("no-inspection"))
	case residency.Meter:
		if !abroad {
			return permitted(f.own("metering"))
		}
	case residency.Erase:
		return permitted(f.own("stop-holding"))
	case residency.Restrict:
		if !f.us && abroad {
			return answer{}.asking("product/border", residency.RequireConsent)
		}
		if !f.us {
			return permitted("change-use")
		}
	}
	return refused(residency.PurposeNotPermitted, "product/default")
}

// driveUse: drives are for the services alone; abroad, reading is the tenant's
// own software's, by consent, and writing passes a third place by consent. The Swiss text lets
// a drive's use be changed; the other speaks of personal information alone.
func (f reference) driveUse(q Query, abroad bool) answer {
	provider := q.Party != residency.TenantParty
	switch {
	case abroad && provider && q.Action == residency.Use:
		return refused(residency.DriveDataNeverShared, "drive-never-shared")
	case q.Purpose != residency.ServiceProvision:
		return refused(residency.PurposeNotPermitted, "purpose")
	}
	a := permitted("purpose")
	if abroad {
		a = a.asking("product/border", residency.RequireConsent)
	}
	switch {
	case q.Action == residency.Collect:
		a = a.asking(f.agreement(), residency.RequireAgreement)
	case !f.us:
		a = a.asking("change-use", residency.RequireNotRestricted)
	}
	return a
}

// agreement gives the clause under which data is held only by agreement: the
// Swiss text has it of the residents of the EU, elsewhere it is the product's rule.
func (f reference) agreement() string {
	if f.us {
		return "product/placement"
	}
	return "eu-residents"
}

// driveDisclose: never, but for a Swiss order to law enforcement at home.
func (f reference) driveDisclose(q Query, abroad bool) answer {
	switch {
	case f.us, abroad:
		return refused(residency.DriveDataNeverShared, "drive-never-shared")
	case q.Recipient == residency.LawEnforcement && q.Purpose == residency.LegalObligation:
		return answer{}.asking("third-party-order", residency.RequireLegalOrder)
	case q.Recipient == residency.LawEnforcement, q.Recipient == residency.NoRecipient:
		return refused(residency.DriveDataNeverShared, "third-party-order")
	}
	return refused(residency.DriveDataNeverShared, "drive-never-shared")
}

func (f reference) personal(q Query, abroad bool) answer {
	switch q.Action {
	case residency.Collect:
		return f.collect(q, abroad)
	case residency.Use:
		return f.use(q, abroad)
	case residency.Transfer:
		a := permitted("product/border")
		if abroad {
			a = a.asking("product/border", residency.RequireConsent).asking("purpose", residency.RequirePurpose)
		}
		if q.Purpose == residency.Marketing {
			a = a.asking("marketing", residency.RequireOptIn)
		}
		return a
	case residency.Disclose:
		return f.disclose(q, abroad)
	case residency.Inspect:
		return refused(residency.InspectionPermissionRequired, f.own("no-inspection"))
	case residency.Erase:
		return f.ownFile(abroad, "stop-holding")
	case residency.Export:
		return f.ownFile(abroad, "product/export")
	case residency.Restrict:
		return f.ownFile(abroad, "change-use")
	case residency.Govern:
		if abroad {
			return refused(residency.CrossBorderConsentRequired, "product/border")
		}
		return permitted("product/governance")
	}
	return refused(residency.PurposeNotPermitted, "product/default")
}

// ownFile: what people may ask for is done at home; abroad the answer tells what was there.
func (f reference) ownFile(abroad bool, clause string) answer {
	if abroad {
		return answer{}.asking("product/border", residency.RequireConsent)
	}
	return permitted(clause)
}

// collect: clauses eu-residents, decline-cookies, children, marketing.
func (f reference) collect(q Query, abroad bool) answer {
	a := answer{}.asking(f.agreement(), residency.RequireAgreement)
	if abroad {
		a = a.asking("product/border", residency.RequireConsent)
	}
	if q.Source == residency.Automatic {
		a = a.asking("decline-cookies", residency.RequireCollection)
	}
	if f.us {
		a = a.asking("children", residency.RequireParentalConsent)
	}
	if q.Purpose == residency.Marketing {
		a = a.asking("marketing", residency.RequireOptIn)
	}
	return a
}

// use: clauses purpose, change-use, marketing.
func (f reference) use(q Query, abroad bool) answer {
	switch q.Purpose {
	case residency.BusinessTransfer, residency.LegalObligation, residency.InspectionPurpose:
		return refused(residency.PurposeNotPermitted, "purposes")
	}
	a := answer{}.asking("purpose", residency.RequirePurpose).asking("change-use", residency.RequireNotRestricted)
	if q.Purpose == residency.Marketing {
		a = a.asking("marketing", residency.RequireOptIn)
	}
	if abroad {
		a = a.asking("product/border", residency.RequireConsent)
	}
	return a
}

// disclose: each kind of recipient has a clause of its own.
func (f reference) disclose(q Query, abroad bool) answer {
	switch q.Recipient {
	case residency.NoRecipient:
		return refused(residency.RecipientNotRegistered, "processors")
	case residency.LawEnforcement, residency.PublicAuthority:
		return f.authority(q, abroad)
	case residency.FraudPartner:
		if q.Purpose != residency.FraudPrevention && q.Purpose != residency.CreditRisk {
			return refused(residency.PurposeNotPermitted, "fraud-exchange")
		}
		return f.registered(abroad).asking("fraud-exchange", residency.RequireNecessity)
	case residency.Acquirer:
		if q.Purpose != residency.BusinessTransfer {
			return refused(residency.PurposeNotPermitted, "business-transfer")
		}
		a := f.registered(abroad).asking("business-transfer", residency.RequireRegistered, residency.RequireFunction)
		if !f.us { // the Swiss text does not speak of due diligence
			a = a.asking("business-transfer", residency.RequireAssetTransfer)
		}
		return a
	}
	switch q.Purpose {
	case residency.BusinessTransfer, residency.LegalObligation, residency.InspectionPurpose:
		return refused(residency.PurposeNotPermitted, "purposes")
	}
	a := f.registered(abroad).asking("purpose", residency.RequirePurpose)
	if q.Purpose == residency.Marketing {
		a = a.asking("marketing", residency.RequireOptIn)
	}
	if q.Recipient == residency.ThirdParty {
		a = a.asking("choice", residency.RequireNotice, residency.RequireNoObjection)
	}
	return a
}

// registered: clauses processors, protection, change-use and, abroad, product/border.
func (f reference) registered(abroad bool) answer {
	a := answer{}.asking("processors", residency.RequireRegistered, residency.RequireFunction).
		asking("protection", residency.RequireSafeguard).
		asking("change-use", residency.RequireNotRestricted)
	if abroad {
		a = a.asking("product/border", residency.RequireConsent)
	}
	return a
}

// authority: clauses legal-order and informal-request. Orders are domestic.
func (f reference) authority(q Query, abroad bool) answer {
	switch {
	case abroad:
		return refused(residency.LegalOrderWrongJurisdiction, "legal-order")
	case q.Recipient == residency.LawEnforcement && q.Purpose == residency.LegalObligation:
		return answer{}.asking("legal-order", residency.RequireLegalOrder)
	case f.us && q.Purpose == residency.FraudPrevention:
		return answer{}.asking("informal-request", residency.RequireInformalGrant).asking("protection", residency.RequireSafeguard)
	}
	return refused(residency.InformalRequestRefused, "informal-request")
}

func referenceOf(p *Policy) reference {
	return reference{home: p.Jurisdiction, us: p.Jurisdiction.String() == "US"}
}

// place of the reference placement: clauses eu-residents, us-residents, product/placement.
func (f reference) placement(residence residency.Jurisdiction) Placement {
	switch {
	case !isCode(residence):
		return Placement{}
	case residence == f.home && f.us:
		return Placement{Default: true, Permitted: true, Clause: "us-residents"}
	case residence == f.home:
		return Placement{Default: true, Permitted: true, Clause: "product/placement"}
	case !f.us && residence.InEEA():
		return Placement{Default: true, Permitted: true, Agreement: true, Clause: "eu-residents"}
	}
	return Placement{Permitted: true, Agreement: true, Clause: "product/placement"}
}

// answerOf reads what a policy says about an access in the reference's terms.
func answerOf(p *Policy, q Query) answer {
	e := p.Explain(q)
	a := answer{allow: e.Allow, reason: e.Reason, clause: e.Clause}
	for _, d := range e.Requirements {
		a.asks[d.Requirement] = d.Clause
	}
	return a
}

// queries calls f with every access there can be: each value of each set, the
// unset one and one beyond the last; each kind of destination and two that are none.
func queries(f func(Query)) {
	places := []residency.Jurisdiction{{}, {'C', 'H'}, {'U', 'S'}, {'D', 'E'}, {'X', 'X'}, {'c', 'h'}}
	for action := range residency.Action(residency.NumActions + 1) {
		for class := range residency.DataClass(residency.NumDataClasses + 1) {
			for purpose := range residency.Purpose(residency.NumPurposes + 1) {
				for source := range residency.Source(residency.NumSources + 1) {
					for recipient := range residency.RecipientKind(residency.NumRecipientKinds + 1) {
						for party := range residency.Party(residency.NumParties + 1) {
							for _, to := range places {
								f(Query{action, class, to, purpose, source, recipient, party})
							}
						}
					}
				}
			}
		}
	}
}

// TestReferenceTable compares each shipped file with the reference: over every cell of its
// table, and over every query there can be, malformed ones included.
func TestReferenceTable(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		f := referenceOf(p)
		cells, asked, differ := 0, 0, 0
		compare := func(q Query) {
			if got, want := tableAnswer(p, q), f.answer(q); got != want {
				if differ++; differ <= 20 {
					t.Errorf("%s: %s:\n got %+v\nwant %+v", p.Version, q, got, want)
				}
			}
		}
		p.table.each(func(c cell) { cells++; compare(p.table.query(c)) })
		queries(func(q Query) { asked++; compare(q) })
		t.Logf("%s: %d cells and %d queries compared, %d differ", p.Version, cells, asked, differ)
	}
}

// tableAnswer is answerOf without the sentences, for comparing millions.
func tableAnswer(p *Policy, q Query) answer {
	v := p.find(q)
	return answer{allow: v.allow, reason: v.reason, clause: v.clause, asks: v.clauses}
}

func TestReferencePlacement(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		f := referenceOf(p)
		for a := byte(0); a < 128; a++ {
			for b := byte(0); b < 128; b++ {
				j := residency.Jurisdiction{a, b}
				if got, want := p.Placement(j), f.placement(j); got != want {
					t.Fatalf("%s: %q: got %+v, want %+v", p.Version, j, got, want)
				}
			}
		}
	}
}
