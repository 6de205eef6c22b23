package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
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
		Expires: head.Expires, Version: head.Version, Controller: t.home.region.Controller,
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
			id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(call.Caller.ID+"\x00"+req.Tenant+"\x00"+strings.ToLower(req.RequestID)))
		}
		req.Record.ID = id.String()
	}
	if err := req.Record.check(op, time.Now()); err != nil {
		return RecordWritten{}, err
	}
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Record.Subject, exclusive: true,
		inbound: true, answers: req.Expected != nil, source: req.Record.Source, consentPurpose: residency.Records,
		ahead: func(t *txn) []store.Row {
			rows := []store.Row{{Kind: store.KindRecord, ID: t.recordID(req.Record.Subject, req.Record.ID)}, {Kind: store.KindSubject, ID: t.subject}}
			if req.RequestID != "" {
				rows = append(rows, store.Row{Kind: store.KindRequest, ID: t.requestKey(req.RequestID)})
			}
			return rows
		},
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
		denied: func(t *txn) error { return t.learnedOfChild(&req.Record) },
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
	if t.a.call.Caller.Jurisdiction != t.home.region.Jurisdiction {
		return policy.Finding{}, nil // whether a parent has consented is not told abroad
	}
	f, err := t.parentalFor(r.Purposes)
	if err != nil || !f.Active {
		return policy.Finding{}, err
	}
	return t.rely(f), nil
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
		return out, t.mismatch()
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

// mismatch says why a version is not the expected one: of somebody erased there is none.
func (t *txn) mismatch() error {
	if t.sk == nil {
		if gone, err := t.gone(t.subject); err != nil {
			return err
		} else if gone {
			return residency.E(t.a.op, residency.Erased, nil)
		}
	}
	return residency.E(t.a.op, residency.VersionMismatch, nil)
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
		row = nil
		head, found, there, err := t.readHead(t.recordID(req.Subject, req.Record))
		if err != nil || !there {
			return head, err
		}
		if t.sk == nil { // erased: the row waits for the sweep
			if gone, err := t.gone(t.subject); gone || err != nil {
				return head, err
			}
		}
		row = found
		return head, nil
	}
	a := &act{
		call: call, op: "gateway.GetRecord", tenant: req.Tenant, subject: req.Subject, purpose: req.Purpose,
		ahead: func(t *txn) []store.Row {
			return []store.Row{{Kind: store.KindRecord, ID: t.recordID(req.Subject, req.Record)}}
		},
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

const idSize = 16 // of a keyed digest

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
		if there && t.sk == nil {
			return t.keyless(t.subject)
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
