package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// recordID is the row of the record that the act is about: its subject's
// digest, then its own.
func (t *txn) recordID(subject, record string) store.ID {
	t.object = t.subject + t.tk.ID("record", subject, record)
	return t.object
}

// readHead reads a record's row and the head of it. ok is false when there is
// no such record, or none any more.
func (t *txn) readHead(id store.ID) (head recordHead, row []byte, ok bool, err error) {
	row, err = t.Get(store.KindRecord, id)
	if errors.Is(err, store.ErrNotFound) {
		return head, nil, false, nil
	}
	if err != nil {
		return head, nil, false, err
	}
	head, err = headOf(row)
	return head, row, err == nil && !head.expired(t.now), err
}

func headOf(row []byte) (recordHead, error) {
	b, _, err := splitRecord(row)
	if err != nil {
		return recordHead{}, residency.E("gateway.headOf", residency.IntegrityFailure, err)
	}
	h, err := decodeHead(b)
	if err != nil {
		return recordHead{}, residency.E("gateway.headOf", residency.IntegrityFailure, err)
	}
	return h, nil
}

// openRecord opens a record's row with the transaction's permit. The head is
// bound into the sealed part, so one that was changed does not open.
func (t *txn) openRecord(sk *seal.SubjectKeys, id store.ID, row []byte) (Record, error) {
	const op = "gateway.openRecord"
	if sk == nil {
		return Record{}, residency.E(op, residency.IntegrityFailure, errors.New("a record has no subject key"))
	}
	b, sealed, err := splitRecord(row)
	if err != nil {
		return Record{}, residency.E(op, residency.IntegrityFailure, err)
	}
	head, err := decodeHead(b)
	if err != nil {
		return Record{}, residency.E(op, residency.IntegrityFailure, err)
	}
	plain, version, err := sk.Open(t.permit, store.KindRecord, id+store.ID(b), sealed)
	if err != nil {
		return Record{}, residency.E(op, residency.IntegrityFailure, err)
	}
	r := Record{
		Source: head.Source, Purposes: head.Purposes, Collected: head.Collected,
		Expires: head.Expires, Version: head.Version,
	}
	if err := decodeRecord(plain, &r); err != nil {
		return Record{}, residency.E(op, residency.IntegrityFailure, err)
	}
	if version != head.Version {
		return Record{}, residency.E(op, residency.IntegrityFailure, errors.New("a record's head has another version"))
	}
	t.bytes += uint64(len(plain))
	return r, nil
}

// PutRecord creates or replaces a record. From abroad, without an expected
// version, it is a blind write: it is stored, and its answer tells nothing of
// what was there.
func (g *Gateway) PutRecord(ctx context.Context, call *Call, req PutRecord) (RecordWritten, error) {
	const op = "gateway.PutRecord"
	if req.Record.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return RecordWritten{}, residency.E(op, residency.Internal, err)
		}
		if req.RequestID != "" { // the same request must choose the same name
			id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(call.Caller.ID+"\x00"+req.Tenant+"\x00"+req.RequestID))
		}
		req.Record.ID = id.String()
	}
	if err := req.Record.check(op, time.Now()); err != nil {
		return RecordWritten{}, err
	}
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Record.Subject, exclusive: true,
		inbound: true, answers: req.Expected != nil, source: req.Record.Source, consentPurpose: residency.Records,
		fact: func(t *txn, r residency.Requirement) (policy.Finding, bool, error) {
			switch r {
			case residency.RequirePurpose:
				return policy.Finding{Met: true}, true, nil // the record states its own
			case residency.RequireParentalConsent:
				f, err := t.parental(&req.Record)
				return f, true, err
			}
			return policy.Finding{}, false, nil
		},
	}
	var out RecordWritten
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		out, err = t.putRecord(&req)
		return err
	})
	if err != nil {
		return RecordWritten{}, err
	}
	if !a.answers && call.Caller.Jurisdiction != t.home.region.Jurisdiction {
		return RecordWritten{ID: out.ID}, nil
	}
	return out, nil
}

// parental says whether a record about a child may be held (clause children):
// every purpose of it needs a parent's consent.
func (t *txn) parental(r *Record) (policy.Finding, error) {
	if !r.BirthDate.under(t.policy.MinimumAge, t.now) {
		return policy.Finding{Met: true}, nil
	}
	home := t.home.region.Jurisdiction
	if t.a.call.Caller.Jurisdiction != home {
		return policy.Finding{}, nil // whether a parent has consented is not told abroad
	}
	var last consent.Finding
	for _, p := range r.Purposes.List() {
		f, err := t.findConsent(consent.Query{
			Kind: residency.Parental, Class: residency.PersonalInformation, From: home, To: home, Purpose: p,
		}, t.subject)
		if err != nil || !f.Active {
			return policy.Finding{}, err
		}
		last = f
	}
	return t.rely(last), nil
}

// putRecord writes a record within its transaction. Everything is checked
// before anything is written.
func (t *txn) putRecord(req *PutRecord) (RecordWritten, error) {
	r := req.Record
	digest := func() store.ID {
		return t.tk.ID("put-record", string(encodeRecord(&r)), r.Source.String(),
			fmt.Sprint(uint32(r.Purposes), r.Expires.UnixNano(), expectation(req.Expected)))
	}
	var out RecordWritten
	if found, err := t.replay(req.RequestID, digest, func(b []byte) { out = decodeWritten(b) }); found || err != nil {
		return out, err
	}
	id := t.recordID(r.Subject, r.ID)
	old, _, there, err := t.readHead(id)
	if err != nil {
		return out, err
	}
	if !matches(req.Expected, there, old.Version) {
		return out, residency.E(t.a.op, residency.VersionMismatch, nil)
	}
	head, err := t.newHead(&r, old)
	if err != nil {
		return out, err
	}
	if err := t.writeRecord(id, &r, head, old); err != nil {
		return out, err
	}
	out = RecordWritten{ID: r.ID, Version: head.Version, Collected: head.Collected}
	return out, t.remember(req.RequestID, out.encode())
}

func expectation(v *uint64) string {
	if v == nil {
		return "any"
	}
	return fmt.Sprint(*v)
}

// matches compares an expected version with what is there.
func matches(expected *uint64, there bool, version uint64) bool {
	if expected == nil {
		return true
	}
	if !there {
		return *expected == 0
	}
	return *expected == version
}

// newHead makes the head of a record that takes the place of an old one.
func (t *txn) newHead(r *Record, old recordHead) (recordHead, error) {
	h := recordHead{
		Version: old.Version + 1, Purposes: r.Purposes, Source: r.Source, Collected: t.now, Expires: r.Expires,
	}
	var err error
	if r.Email != "" {
		if h.Email, err = t.tk.LookupEmail(r.Email); err != nil {
			return h, residency.Bad(t.a.op, "record.personal.email_address", "must be an e-mail address")
		}
	}
	if r.Phone != "" {
		if h.Phone, err = t.tk.LookupPhone(r.Phone); err != nil {
			return h, residency.Bad(t.a.op, "record.personal.phone_number", "must be a phone number")
		}
	}
	return h, nil
}

// writeRecord seals a record and writes it, its lookups, and its subject's row.
func (t *txn) writeRecord(id store.ID, r *Record, head, old recordHead) error {
	sk, err := t.createSubject(t.ctx)
	if err != nil {
		return err
	}
	if err := t.ensureSubject(sk, r.Subject); err != nil {
		return err
	}
	h := head.encode()
	plain := encodeRecord(r)
	sealed, err := sk.Seal(t.permit, store.KindRecord, id+store.ID(h), head.Version, plain)
	if err != nil {
		return err
	}
	t.bytes += uint64(len(plain))
	if err := t.Put(store.KindRecord, id, joinRecord(h, sealed)); err != nil {
		return err
	}
	return errors.Join(
		t.relink(id, old.Email, head.Email),
		t.relink(id, old.Phone, head.Phone),
		t.reschedule(id, old.Expires, head.Expires))
}

// relink moves a lookup from one key to another; "" is none.
func (t *txn) relink(id, from, to store.ID) error {
	if from == to {
		return nil
	}
	if from != "" {
		if err := t.Delete(store.KindLookup, from+id); err != nil {
			return err
		}
	}
	if to == "" {
		return nil
	}
	return t.Put(store.KindLookup, to+id, nil)
}

// reschedule moves a record's expiry on the agenda; the zero time is never.
func (t *txn) reschedule(id store.ID, from, to time.Time) error {
	if from.Equal(to) {
		return nil
	}
	task := store.Task{Tenant: t.home.tenant, Kind: store.TaskExpireRecord, ID: id}
	if !from.IsZero() {
		task.At = from
		if err := t.Unschedule(task); err != nil {
			return err
		}
	}
	if to.IsZero() {
		return nil
	}
	task.At = to
	return t.Schedule(task)
}

// ensureSubject writes the subject's row if it is not there.
func (t *txn) ensureSubject(sk *seal.SubjectKeys, subject string) error {
	_, err := t.Get(store.KindSubject, t.subject)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	row := subjectRow{ID: subject, Created: t.now}
	return t.Put(store.KindSubject, t.subject, sk.SealFact(store.KindSubject, t.subject, 1, row.encode()))
}

// GetRecord reads a record for one of the purposes that it was provided for.
func (g *Gateway) GetRecord(ctx context.Context, call *Call, req GetRecord) (Record, error) {
	var row []byte // nil = there is no such record
	look := func(t *txn) (recordHead, error) {
		head, found, there, err := t.readHead(t.recordID(req.Subject, req.Record))
		if row = nil; there {
			row = found
		}
		return head, err
	}
	a := &act{
		call: call, op: "gateway.GetRecord", tenant: req.Tenant, subject: req.Subject, purpose: req.Purpose,
		fact: func(t *txn, r residency.Requirement) (policy.Finding, bool, error) {
			if r != residency.RequirePurpose {
				return policy.Finding{}, false, nil
			}
			head, err := look(t)
			return policy.Finding{Met: row == nil || head.Purposes.Has(req.Purpose)}, true, err
		},
	}
	var out Record
	_, err := g.decide(ctx, a, func(t *txn) error {
		if t.object == "" { // the policy did not ask for the record's purposes
			if _, err := look(t); err != nil {
				return err
			}
		}
		if row == nil {
			return residency.E(a.op, residency.NotFound, nil)
		}
		sk, err := t.subjectKeys(t.ctx)
		if err != nil {
			return err
		}
		out, err = t.openRecord(sk, t.object, row)
		return err
	})
	if err != nil {
		return Record{}, err
	}
	return out, nil
}

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
		next, err = p.walk(t, store.KindRecord, t.subject, func(id store.ID, row []byte) (bool, error) {
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
		next, err = p.walk(t, store.KindSubject, "", func(id store.ID, sealed []byte) (bool, error) {
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
		return false, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a subject has no key"))
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
		next, err = p.walk(t, store.KindLookup, key, func(id store.ID, _ []byte) (bool, error) {
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

const idSize = 16 // of a keyed digest

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

// DeleteRecord deletes a record, and its subject's row with the last one. The
// subject's key stays: consents are under it.
func (g *Gateway) DeleteRecord(ctx context.Context, call *Call, req DeleteRecord) error {
	a := &act{
		call: call, op: "gateway.DeleteRecord", tenant: req.Tenant, subject: req.Subject,
		exclusive: true, consentPurpose: residency.Records,
	}
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID {
			return t.tk.ID("delete-record", req.Subject, req.Record, expectation(req.Expected))
		}
		if found, err := t.replay(req.RequestID, digest, func([]byte) {}); found || err != nil {
			return err
		}
		id := t.recordID(req.Subject, req.Record)
		head, _, there, err := t.readHead(id)
		if err != nil {
			return err
		}
		if !there {
			return residency.E(a.op, residency.NotFound, nil)
		}
		if !matches(req.Expected, there, head.Version) {
			return residency.E(a.op, residency.VersionMismatch, nil)
		}
		if err := t.removeRecord(id, head); err != nil {
			return err
		}
		return t.remember(req.RequestID, nil)
	})
	return err
}

// removeRecord deletes a record's row, its lookups and its place on the agenda.
func (t *txn) removeRecord(id store.ID, head recordHead) error {
	err := errors.Join(
		t.Delete(store.KindRecord, id),
		t.relink(id, head.Email, ""),
		t.relink(id, head.Phone, ""),
		t.reschedule(id, head.Expires, time.Time{}))
	if err != nil {
		return err
	}
	left := false
	err = t.Scan(store.KindRecord, id[:idSize], "", func(store.ID, []byte) bool {
		left = true
		return false
	})
	if err != nil || left {
		return err
	}
	return t.Delete(store.KindSubject, id[:idSize])
}
