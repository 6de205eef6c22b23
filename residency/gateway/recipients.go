package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// maxRecipients is how many recipients a tenant may have on record; none is ever removed.
const maxRecipients = 1000

func (r *Recipient) layout(f *fields) {
	f.text(1, &r.ID)
	f.text(2, &r.Name)
	number(f, 3, &r.Kind)
	f.jurisdiction(4, &r.Jurisdiction)
	rows(f, 5, &r.Functions)
	f.text(6, &r.Safeguard.Reference)
	f.time(7, &r.Safeguard.ValidUntil)
	number(f, 8, &r.State)
	f.uint(9, &r.Version)
	f.time(10, &r.Created)
}

func (x *Function) layout(f *fields) {
	number(f, 1, &x.Purpose)
	f.texts(2, &x.Fields)
}

// check refuses a recipient that is wrong in itself.
func (r *Recipient) check(op string, now time.Time) error {
	_, nowhere := residency.ParseJurisdiction(r.Jurisdiction.String())
	switch {
	case !residency.ValidID(r.ID):
		return residency.Bad(op, "recipient.recipient_id", "must be 1 to 64 of [A-Za-z0-9._-], the first a letter or digit")
	case r.Name == "":
		return residency.Bad(op, "recipient.name", "must be stated")
	case r.Kind == residency.NoRecipient || r.Kind >= residency.NumRecipientKinds:
		return residency.Bad(op, "recipient.kind", "must be stated")
	case nowhere != nil:
		return residency.Bad(op, "recipient.jurisdiction", "must be an officially assigned ISO 3166-1 alpha-2 code in upper case")
	case len(r.Functions) == 0 && !authority(r.Kind):
		return residency.Bad(op, "recipient.functions", "must name at least one, save for authorities")
	case (r.Safeguard.Reference == "") != r.Safeguard.ValidUntil.IsZero():
		return residency.Bad(op, "recipient.safeguard", "must have both a reference and an end, or be left out")
	case !r.Safeguard.ValidUntil.IsZero() && !r.Safeguard.ValidUntil.After(now):
		return residency.Bad(op, "recipient.safeguard.valid_until", "must be in the future")
	}
	if err := refuseCards(op, text{"recipient.name", r.Name}, text{"recipient.safeguard.reference", r.Safeguard.Reference}); err != nil {
		return err
	}
	return r.checkFunctions(op)
}

// authority reports whether a kind of recipient is a public body, which gets what an order or
// a granted request says rather than what a function needs.
func authority(k residency.RecipientKind) bool {
	return k == residency.LawEnforcement || k == residency.PublicAuthority
}

func (r *Recipient) checkFunctions(op string) error {
	var seen residency.Purposes
	for _, x := range r.Functions {
		switch {
		case x.Purpose == residency.PurposeUnspecified || x.Purpose >= residency.NumPurposes:
			return residency.Bad(op, "recipient.functions.purpose", "must be stated")
		case seen.Has(x.Purpose):
			return residency.Bad(op, "recipient.functions.purpose", "must not be that of another function")
		}
		seen |= residency.PurposeSet(x.Purpose)
		if err := checkFields(op, "recipient.functions.fields", x.Fields); err != nil {
			return err
		}
	}
	return nil
}

// recipientRow is the id of a recipient's row.
func (t *txn) recipientRow(recipient string) store.ID { return t.tk.ID("recipient", recipient) }

// readRecipient reads a recipient; ok is false when there never was one of that name.
func (t *txn) readRecipient(recipient string) (r Recipient, ok bool, err error) {
	_, ok, err = t.getRow(t.tk, store.KindRecipient, t.recipientRow(recipient), &r)
	return r, ok, err
}

// activeRecipient reads a recipient that is registered now; nil when there is none.
func (t *txn) activeRecipient(recipient string) (*Recipient, error) {
	r, ok, err := t.readRecipient(recipient)
	if err != nil || !ok || r.State != RecipientActive {
		return nil, err
	}
	return &r, nil
}

func (t *txn) putRecipient(r *Recipient) error {
	t.recipientID = r.ID // the log names it
	return t.putRow(t.tk, store.KindRecipient, t.recipientRow(r.ID), r.Version, r)
}

// RegisterRecipient registers a recipient (clause processors).
func (g *Gateway) RegisterRecipient(ctx context.Context, call *Call, req PutRecipient) (Recipient, error) {
	return g.putRecipient(ctx, call, "gateway.RegisterRecipient", req, (*txn).addRecipient)
}

// UpdateRecipient replaces the functions and the safeguard of a recipient; a revoked one is registered again.
// Who it is stays: notices, consents, objections and grants name its id, and would serve whoever took it over.
func (g *Gateway) UpdateRecipient(ctx context.Context, call *Call, req PutRecipient) (Recipient, error) {
	return g.putRecipient(ctx, call, "gateway.UpdateRecipient", req, (*txn).replaceRecipient)
}

func (g *Gateway) putRecipient(
	ctx context.Context, call *Call, op string, req PutRecipient, put func(*txn, *Recipient, *uint64) error,
) (Recipient, error) {
	if err := req.Recipient.check(op, time.Now()); err != nil {
		return Recipient{}, err
	}
	var out Recipient
	a := &act{call: call, op: op, tenant: req.Tenant, governs: true}
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&req.Recipient)), expectation(req.Expected)) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = req.Recipient
			return put(t, &out, req.Expected)
		})
	})
	if err != nil {
		return Recipient{}, err
	}
	return out, nil
}

func (t *txn) addRecipient(r *Recipient, _ *uint64) error {
	if _, there, err := t.readRecipient(r.ID); err != nil || there {
		if there {
			err = residency.E(t.a.op, residency.AlreadyExists, nil)
		}
		return err
	}
	if err := t.room(store.KindRecipient, "", maxRecipients); err != nil {
		return err
	}
	r.State, r.Version, r.Created = RecipientActive, 1, t.now
	return t.putRecipient(r)
}

func (t *txn) replaceRecipient(r *Recipient, expected *uint64) error {
	old, there, err := t.readRecipient(r.ID)
	switch {
	case err != nil:
		return err
	case !there:
		return residency.E(t.a.op, residency.NotFound, nil)
	case !matches(expected, there, old.Version):
		return residency.E(t.a.op, residency.VersionMismatch, nil)
	}
	if err := r.same(t.a.op, &old); err != nil {
		return err
	}
	r.State, r.Version, r.Created = RecipientActive, old.Version+1, old.Created
	return t.putRecipient(r)
}

// same refuses to make a recipient another one than it was registered as; the error names every field that differs.
func (r *Recipient) same(op string, old *Recipient) error {
	const stays = "must stay as registered: revoke this recipient and register the other under an id of its own"
	var wrong []residency.Violation
	for _, x := range []struct {
		field  string
		differ bool
	}{
		{"recipient.name", r.Name != old.Name},
		{"recipient.kind", r.Kind != old.Kind},
		{"recipient.jurisdiction", r.Jurisdiction != old.Jurisdiction},
	} {
		if x.differ {
			wrong = append(wrong, residency.Violation{Field: x.field, Description: stays})
		}
	}
	if wrong == nil {
		return nil
	}
	return &residency.Error{Op: op, Kind: residency.BadRequest, Violations: wrong}
}

// RevokeRecipient ends a registration. Disclosures under way are cut when their leases are
// renewed. Revoking again changes nothing.
func (g *Gateway) RevokeRecipient(ctx context.Context, call *Call, req RecipientCall) (Recipient, error) {
	const op = "gateway.RevokeRecipient"
	var out Recipient
	a := &act{call: call, op: op, tenant: req.Tenant, governs: true, suspended: true}
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, req.Recipient) }
		return once(t, req.RequestID, digest, &out, func() error {
			r, there, err := t.readRecipient(req.Recipient)
			if err != nil {
				return err
			}
			if !there {
				return residency.E(op, residency.NotFound, nil)
			}
			if r.State != RecipientRevoked {
				r.State, r.Version = RecipientRevoked, r.Version+1
			}
			out = r
			t.cutDisclosuresTo(r.ID)
			return t.putRecipient(&r)
		})
	})
	if err != nil {
		return Recipient{}, err
	}
	return out, nil
}

// cutDisclosuresTo ends what this gateway is disclosing to a recipient. Others find out when they renew the leases.
func (t *txn) cutDisclosuresTo(recipient string) {
	name, tenant := t.tk.ObjectPseudonym(t.recipientRow(recipient)), t.home.tenant
	t.later(func(context.Context) {
		t.g.keeper.cutWhere(residency.RecipientNotRegistered, func(s *stream) bool {
			return s.home.tenant == tenant && bytes.Equal(s.intent.Recipient, name)
		})
	})
}

// ListRecipients lists a tenant's recipients, revoked ones too.
func (g *Gateway) ListRecipients(ctx context.Context, call *Call, tenant string, page Page) ([]Recipient, string, error) {
	return listRows[Recipient](ctx, g, &act{call: call, op: "gateway.ListRecipients", tenant: tenant, suspended: true}, page,
		store.KindRecipient, func(*txn, *Recipient) bool { return true })
}

// once makes a change that a request_id makes repeatable: out is what the first call
// gave or, the first time, what change leaves there.
func once[T any, P interface {
	*T
	row
}](t *txn, requestID string, digest func() store.ID, out P, change func() error) error {
	var zero, first T
	*out = zero // the transaction may run again
	var damage error
	found, err := t.replay(requestID, digest, func(b []byte) { damage = decodeRow(b, P(&first)) })
	switch {
	case err != nil:
		return err
	case damage != nil:
		return residency.E(t.a.op, residency.IntegrityFailure, damage)
	case found:
		*out = first
		return nil
	}
	if err := change(); err != nil {
		return err
	}
	return t.remember(requestID, encodeRow(out))
}

// room refuses to go on when there are as many rows of a kind under a prefix as there may be.
func (t *txn) room(kind store.Kind, prefix store.ID, most int) error {
	n := 0
	err := t.Scan(kind, prefix, "", func(store.ID, []byte) bool {
		n++
		return n < most
	})
	if err == nil && n >= most {
		err = residency.E(t.a.op, residency.QuotaExceeded, errors.New("too many rows of one kind"))
	}
	return err
}

// listRows lists the rows of a kind that are sealed under the tenant's keys, in the order of their ids.
func listRows[T any, P interface {
	*T
	row
}](ctx context.Context, g *Gateway, a *act, page Page, kind store.Kind, show func(*txn, P) bool, filter ...string) ([]T, string, error) {
	var list []T
	var next string
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		p, err := t.page(page, append(filter, a.op)...)
		if err != nil {
			return err
		}
		next, err = p.walk(t, kind, "", func(id store.ID, sealed []byte) (bool, error) {
			var v T
			if _, err := t.openRow(t.tk, kind, id, sealed, P(&v)); err != nil {
				return false, err
			}
			t.bytes += uint64(len(sealed))
			if !show(t, P(&v)) {
				return false, nil
			}
			list = append(list, v)
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}
