package gateway

import (
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// getRow reads a row that is sealed under a scope's keys; ok is false when there is none.
func (t *txn) getRow(keys scopeKeys, kind store.Kind, id store.ID, r row) (version uint64, ok bool, err error) {
	sealed, err := t.Get(kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	version, err = t.openRow(keys, kind, id, sealed, r)
	return version, err == nil, err
}

// openRow opens a row that a scan found.
func (t *txn) openRow(keys scopeKeys, kind store.Kind, id store.ID, sealed []byte, r row) (version uint64, err error) {
	plain, version, err := keys.OpenFact(kind, id, sealed)
	if err != nil {
		return 0, err
	}
	if err := decodeRow(plain, r); err != nil {
		return 0, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return version, nil
}

// putRow seals a row under a scope's keys and writes it.
func (t *txn) putRow(keys scopeKeys, kind store.Kind, id store.ID, version uint64, r row) error {
	return t.Put(kind, id, keys.SealFact(kind, id, version, encodeRow(r)))
}

// restrictionRow is what a person asked for (clauses change-use, decline-cookies).
type restrictionRow struct{ Restrictions }

func (r *restrictionRow) layout(f *fields) {
	number(f, 1, &r.Purposes)
	f.flag(2, &r.Declined)
	f.time(3, &r.Updated)
}

// restrictions reads what the transaction's subject asked for; a person of whom nothing is known asked for nothing.
func (t *txn) restrictions() (r restrictionRow, version uint64, err error) {
	sk := t.sk // the act's; a listing over many has none of its own
	if sk == nil {
		if sk, err = t.keysOf(t.ctx, t.subject); err != nil || sk == nil {
			return r, 0, err
		}
	}
	version, _, err = t.getRow(sk, store.KindRestriction, t.subject, &r)
	return r, version, err
}

// unrestricted says whether a purpose was taken away: by the person or, of a
// drive, by the tenant (clause change-use).
func (t *txn) unrestricted(q policy.Query) (policy.Finding, error) {
	switch {
	case q.DataClass == residency.VirtualDriveData && t.drive != "":
		row, _, err := t.readDrive()
		if residency.KindOf(err) == residency.NotFound { // the act says so itself
			return policy.Finding{Met: true}, nil
		}
		return policy.Finding{Met: !row.Restricted.Has(q.Purpose)}, err
	case t.subject != "" && t.tk != nil:
		r, _, err := t.restrictions()
		return policy.Finding{Met: !r.Purposes.Has(q.Purpose)}, err
	}
	return policy.Finding{Met: true}, nil
}

// collectable says whether automatic collection was declined (clause decline-cookies).
func (t *txn) collectable() (policy.Finding, error) {
	if t.subject == "" || t.tk == nil {
		return policy.Finding{Met: true}, nil
	}
	r, _, err := t.restrictions()
	return policy.Finding{Met: !r.Declined}, err
}

// agreed says whether the tenant agreed to where its data is held, when the
// policy takes residents of its place by agreement only (clauses eu-residents, us-residents).
func (t *txn) agreed(q policy.Query) (policy.Finding, error) {
	placement := t.policy.Placement(t.row.Residence)
	if !placement.Agreement {
		return policy.Finding{Met: placement.Permitted || placement.Default, Clause: placementClause(placement, q.DataClass)}, nil
	}
	f, err := t.findConsent(consent.Query{
		Kind: residency.ResidenceAgreement, Class: q.DataClass,
		From: t.row.Residence, To: t.home.region.Jurisdiction, Purpose: residency.ServiceProvision,
	}, "")
	finding := t.rely(f)
	finding.Reason, finding.Clause = residency.AgreementRequired, placementClause(placement, q.DataClass)
	return finding, err
}

// clauseUSResidents is about the personal information of residents of the United States alone.
const clauseUSResidents = "us-residents"

// placementClause gives the clause under which a class of data is held where a placement has it; "" leaves it
// to the rule that asks. So nothing is attributed to a text that speaks of personal information alone.
func placementClause(p policy.Placement, class residency.DataClass) string {
	if p.Clause == clauseUSResidents && class != residency.PersonalInformation {
		return ""
	}
	return p.Clause
}
