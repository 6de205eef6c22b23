package gateway

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// exportRows is how many rows of a file are read in one transaction, and so held
// in memory; maxPageBytes bounds them too.
const exportRows = 500

// ExportSubject sends everything that is held about a person: what they asked
// for, their records, consents, disclosures and the decisions about them. The stream's
// lease is looked at before each piece. It costs a look at every decision about the
// tenant: entries name a person by a pseudonym that nothing is sorted by.
func (g *Gateway) ExportSubject(ctx context.Context, call *Call, req SubjectCall, send func(FilePiece) error) error {
	const op = "gateway.ExportSubject"
	ctx, cancel := context.WithTimeout(ctx, g.limits.StreamLifetime)
	defer cancel()
	s := g.newStream(op, call)
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Subject,
		suspended: true, consentPurpose: residency.Records, stream: s,
	}
	var subject store.ID
	_, err := g.decide(ctx, a, func(t *txn) error {
		if t.sk == nil {
			return residency.E(op, residency.NotFound, nil)
		}
		subject = t.subject
		return nil
	})
	if err != nil {
		return err
	}
	g.keeper.add(s)
	defer g.keeper.remove(s)
	x := &export{stream: s, subject: subject, send: send}
	if err := x.file(ctx); err != nil {
		err = s.broke(err)
		return errors.Join(err, s.end(ctx, audit.Cut, residency.KindOf(err), nil, nil))
	}
	return s.end(ctx, audit.Completed, residency.OK, nil, nil)
}

// export is a person's file on its way out.
type export struct {
	stream  *stream
	subject store.ID
	send    func(FilePiece) error
}

// exportedPiece is a piece of a file and how many bytes of personal information it carries.
type exportedPiece struct {
	FilePiece
	bytes uint64
	row   store.ID
}

// file sends the whole file, in the order that the API states.
func (x *export) file(ctx context.Context) error {
	_, err := x.page(ctx, func(t *txn) ([]exportedPiece, error) {
		r, _, err := t.restrictions()
		return []exportedPiece{{FilePiece: FilePiece{Restrictions: &r.Restrictions}}}, err
	})
	for _, part := range []struct {
		kind   store.Kind
		prefix store.ID
		read   func(t *txn, id store.ID, value []byte) (*exportedPiece, error)
	}{
		{store.KindRecord, x.subject, (*txn).recordPiece},
		{store.KindConsent, x.subject, (*txn).consentPiece},
		{store.KindDisclosure, x.subject, (*txn).disclosurePiece},
		{store.KindDecision, "", (*txn).decisionPiece},
	} {
		if err == nil {
			err = x.rows(ctx, part.kind, part.prefix, part.read)
		}
	}
	return err
}

// rows sends every row of a kind under a prefix that read gives a piece for.
func (x *export) rows(ctx context.Context, kind store.Kind, prefix store.ID, read func(*txn, store.ID, []byte) (*exportedPiece, error)) error {
	after, next := store.ID(""), store.ID("")
	for more := true; more; after = next {
		stale, err := x.page(ctx, func(t *txn) (list []exportedPiece, err error) {
			var failed error
			n, bytes := 0, uint64(0)
			more, next = false, after
			err = t.Scan(kind, prefix, after, func(id store.ID, value []byte) bool {
				if n >= exportRows || bytes >= maxPageBytes {
					more = true
					return false
				}
				var p *exportedPiece
				if p, failed = read(t, id, value); failed != nil {
					return false
				}
				if n, next = n+1, id; p != nil {
					p.row = id
					list, bytes = append(list, *p), bytes+p.bytes
				}
				return true
			})
			if failed != nil {
				err = failed
			}
			return list, err
		})
		if err != nil {
			return err
		}
		if stale != "" {
			next, more = stale, true
		}
	}
	return nil
}

// page reads pieces in one transaction and sends them after it. Once what it read is a lease old,
// however slowly it is taken, it sends no more of it and gives the row of the last piece that
// left, to go on from: what is deleted meanwhile, or ends, does not leave any more. Else it gives "".
func (x *export) page(ctx context.Context, read func(*txn) ([]exportedPiece, error)) (last store.ID, err error) {
	g, began := x.stream.g, x.stream.g.elapsed()
	list, err := x.read(ctx, read)
	if err != nil {
		return "", err
	}
	for i := range list {
		if err := x.stream.check(ctx); err != nil {
			return "", err
		}
		if i > 0 && g.elapsed()-began >= g.limits.Lease {
			return list[i-1].row, nil
		}
		if err := x.send(list[i].FilePiece); err != nil {
			return "", err
		}
		x.stream.bytes.Add(list[i].bytes)
	}
	return "", nil
}

// read runs a transaction of the export, in which the person must still be there.
func (x *export) read(ctx context.Context, read func(*txn) ([]exportedPiece, error)) (list []exportedPiece, err error) {
	s := x.stream
	if err := s.check(ctx); err != nil { // what is read now is read under a lease
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.g.limits.Decide)
	defer cancel()
	var failed error
	scope := store.Scope{Tenant: s.home.tenant, Objects: []store.Lock{{Object: x.subject}}}
	err = s.home.cluster.Rows.View(ctx, scope, func(tx store.Tx) error {
		t := s.txn(ctx, tx)
		t.subject = x.subject
		if t.sk, failed = t.keysOf(ctx, x.subject); failed == nil && t.sk == nil {
			failed = residency.E(s.op, residency.NotFound, nil)
		}
		if failed == nil {
			list, failed = read(t)
		}
		return failed
	})
	if failed == nil {
		failed = err
	}
	if failed != nil && !errors.Is(failed, context.Canceled) {
		failed = residency.E(s.op, residency.RegionUnavailable, failed)
	}
	return list, failed
}

func (t *txn) recordPiece(id store.ID, row []byte) (*exportedPiece, error) {
	head, err := headOf(row)
	if err != nil || head.expired(t.now) {
		return nil, err
	}
	before := t.bytes
	r, err := t.openRecord(t.sk, id, row)
	return &exportedPiece{FilePiece: FilePiece{Record: &r}, bytes: t.bytes - before}, err
}

func (t *txn) consentPiece(id store.ID, sealed []byte) (*exportedPiece, error) {
	c, _, err := openConsent(t.sk, id, sealed)
	if err != nil {
		return nil, err
	}
	t.revise(&c)
	now := t.standing(c)
	return &exportedPiece{FilePiece: FilePiece{Consent: &now}, bytes: uint64(len(sealed))}, nil
}

func (t *txn) disclosurePiece(id store.ID, sealed []byte) (*exportedPiece, error) {
	var d Disclosure
	if _, err := t.openRow(t.sk, store.KindDisclosure, id, sealed, &d); err != nil {
		return nil, err
	}
	return &exportedPiece{FilePiece: FilePiece{Disclosure: &d}, bytes: uint64(len(sealed))}, nil
}

// decisionPiece gives a decision if it is about the person: its first entry says so.
func (t *txn) decisionPiece(row store.ID, places []byte) (*exportedPiece, error) {
	id, err := fromNewestFirst(row)
	if err != nil || len(places) < 8 {
		return nil, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a decision's index is damaged"))
	}
	first, err := t.readEntry(id, binary.BigEndian.Uint64(places))
	if residency.KindOf(err) == residency.NotFound { // not durable yet, or dropped
		return nil, nil //nolint:nilnil // nothing to hand over
	}
	if err != nil || first.Subject != t.sk.Pseudonym() {
		return nil, err
	}
	r, err := t.readDecision(id, places)
	return &exportedPiece{FilePiece: FilePiece{Decision: &r}}, err
}
