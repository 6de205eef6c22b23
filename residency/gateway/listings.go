package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// filtered says of a listing that its purpose is a filter: each record is shown
// only where it was provided for it, so the requirement is met by leaving out.
func filtered(_ *txn, r residency.Requirement) (policy.Finding, bool, error) {
	return policy.Finding{Met: true}, r == residency.RequirePurpose, nil
}

// filteredBySubject says the same of a listing over all subjects, each of whom
// is decided about in turn.
func filteredBySubject(t *txn, r residency.Requirement) (policy.Finding, bool, error) {
	if r == residency.RequireOptIn {
		return policy.Finding{Met: true}, true, nil
	}
	return filtered(t, r)
}

// ListRecords lists a subject's records, those that the purpose may see.
func (g *Gateway) ListRecords(ctx context.Context, call *Call, req ListRecords) ([]Record, string, error) {
	a := &act{
		call: call, op: "gateway.ListRecords", tenant: req.Tenant, subject: req.Subject, purpose: req.Purpose, fact: filtered,
	}
	var list []Record
	var next string
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		p, err := t.page(req.Page, "records", req.Subject)
		if err != nil {
			return err
		}
		sk, err := t.subjectKeys(t.ctx)
		if err != nil {
			return err
		}
		if sk == nil {
			if gone, err := t.gone(t.subject); gone || err != nil {
				return err
			}
		}
		next, err = walkShown(p, t, &list, store.KindRecord, t.subject, func(id store.ID, row []byte) (bool, error) {
			return t.show(&list, sk, id, row)
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// show opens a record onto a list if the act's purpose may see it.
func (t *txn) show(list *[]Record, sk *seal.SubjectKeys, id store.ID, row []byte) (bool, error) {
	head, err := headOf(row)
	if err != nil {
		return false, err
	}
	if head.expired(t.now) || !head.Purposes.Has(t.a.purpose) {
		return false, nil
	}
	r, err := t.openRecord(sk, id, row)
	if err != nil {
		return false, err
	}
	*list = append(*list, r)
	return true, nil
}

// permits decides again about one subject of a listing over many: a person's
// own word outweighs what was decided for the whole tenant.
func (t *txn) permits(subject store.ID) (bool, error) {
	was := t.subject
	t.subject = subject
	defer func() { t.subject = was }()
	for _, q := range t.legs() {
		facts := allMet
		if err := t.gather(q, &facts); err != nil {
			return false, err
		}
		// The purpose is compared record by record.
		facts[residency.RequirePurpose].Met = true
		if t.policy.Requirements(q).Has(residency.RequireOptIn) {
			f, err := t.findConsent(consent.Query{
				Kind: residency.MarketingOptIn, Class: q.DataClass, Purpose: residency.Marketing,
				From: t.home.region.Jurisdiction, To: t.home.region.Jurisdiction,
			}, subject)
			if err != nil {
				return false, err
			}
			facts[residency.RequireOptIn] = t.rely(f)
		}
		if d := t.policy.Decide(q, &facts); !d.Allow {
			return false, nil
		}
	}
	return true, nil
}

// ListSubjects lists a tenant's subjects. Those about whom the same call would be
// refused are left out.
func (g *Gateway) ListSubjects(ctx context.Context, call *Call, req ListSubjects) ([]Subject, string, error) {
	a := &act{call: call, op: "gateway.ListSubjects", tenant: req.Tenant, purpose: req.Purpose, fact: filteredBySubject}
	var list []Subject
	var next string
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		p, err := t.page(req.Page, "subjects")
		if err != nil {
			return err
		}
		next, err = walkShown(p, t, &list, store.KindSubject, "", func(id store.ID, sealed []byte) (bool, error) {
			return t.showSubject(&list, id, sealed)
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

func (t *txn) showSubject(list *[]Subject, id store.ID, sealed []byte) (bool, error) {
	if ok, err := t.permits(id); !ok || err != nil {
		return false, err
	}
	sk, err := t.keysOf(t.ctx, id)
	if err != nil {
		return false, err
	}
	if sk == nil {
		return false, t.leftOut(id)
	}
	plain, _, err := sk.OpenFact(store.KindSubject, id, sealed)
	if err != nil {
		return false, err
	}
	row, err := decodeSubject(plain)
	if err != nil {
		return false, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	t.bytes += uint64(len(row.ID))
	*list = append(*list, Subject(row))
	return true, nil
}

// leftOut is nil when a subject without a key was erased, and so is left out.
func (t *txn) leftOut(subject store.ID) error {
	if err := t.keyless(subject); residency.KindOf(err) != residency.NotFound {
		return err
	}
	return nil
}

// FindRecords finds records by an exact e-mail address or phone number, through
// a blind index, and verifies each after opening it. Subjects about whom the
// same call would be refused are left out.
func (g *Gateway) FindRecords(ctx context.Context, call *Call, req FindRecords) ([]Record, string, error) {
	a := &act{call: call, op: "gateway.FindRecords", tenant: req.Tenant, purpose: req.Purpose, fact: filteredBySubject}
	var list []Record
	var next string
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		key, err := t.lookupKey(&req)
		if err != nil {
			return err
		}
		p, err := t.page(req.Page, "find", string(key))
		if err != nil {
			return err
		}
		next, err = walkShown(p, t, &list, store.KindLookup, key, func(id store.ID, _ []byte) (bool, error) {
			return t.found(&list, &req, id[len(key):])
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

func (t *txn) lookupKey(req *FindRecords) (store.ID, error) {
	if req.Email != "" {
		key, err := t.tk.LookupEmail(req.Email)
		if err != nil {
			return "", residency.Bad(t.a.op, "email_address", "must be an e-mail address")
		}
		return key, nil
	}
	key, err := t.tk.LookupPhone(req.Phone)
	if err != nil {
		return "", residency.Bad(t.a.op, "phone_number", "must be a phone number")
	}
	return key, nil
}

// found adds a record that a lookup led to, if it may be shown and is what was asked for.
func (t *txn) found(list *[]Record, req *FindRecords, id store.ID) (bool, error) {
	if len(id) < idSize {
		return false, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a lookup is cut short"))
	}
	subject := id[:idSize]
	head, row, there, err := t.readHead(id)
	if err != nil || !there || !head.Purposes.Has(t.a.purpose) {
		return false, err
	}
	if ok, err := t.permits(subject); !ok || err != nil {
		return false, err
	}
	sk, err := t.keysOf(t.ctx, subject)
	if err != nil {
		return false, err
	}
	if sk == nil {
		return false, t.leftOut(subject)
	}
	r, err := t.openRecord(sk, id, row)
	if err != nil {
		return false, err
	}
	if !sameKey(&r, req) {
		return false, nil
	}
	*list = append(*list, r)
	return true, nil
}

func sameKey(r *Record, req *FindRecords) bool {
	if req.Email != "" {
		return seal.SameEmail(r.Email, req.Email)
	}
	return seal.SamePhone(r.Phone, req.Phone)
}
