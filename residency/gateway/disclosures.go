package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

func (d *Disclosure) layout(f *fields) {
	f.text(1, &d.ID)
	f.text(2, &d.Recipient)
	number(f, 3, &d.Kind)
	f.jurisdiction(4, &d.Jurisdiction)
	f.text(5, &d.Subject)
	f.text(6, &d.Drive)
	number(f, 7, &d.Purpose)
	f.text(8, &d.Order)
	f.text(9, &d.Informal)
	f.text(10, &d.Consent)
	number(f, 11, &d.Stage)
	f.texts(12, &d.Fields)
	f.uint(13, &d.Records)
	f.uint(14, &d.Bytes)
	f.time(15, &d.Disclosed)
	f.text(16, &d.End)
	f.text(17, &d.Necessity)
	f.text(18, &d.Controller)
}

// beginDisclosure records a disclosure in the transaction that permits it: what may leave, until its end says
// what left. It is sealed under the person's keys, and so goes with them.
func (t *txn) beginDisclosure(d *handover, fields []string) error {
	to := t.grounds.recipient
	row := Disclosure{
		ID: t.decision.ID, Recipient: to.ID, Kind: to.Kind, Jurisdiction: to.Jurisdiction,
		Subject: d.req.Subject, Drive: d.req.Drive, Purpose: d.req.Purpose, Consent: t.decision.ConsentID,
		Stage: d.req.Stage, Fields: fields, Disclosed: t.now, Necessity: d.req.Necessity,
		Controller: t.policy.Controller,
	}
	if t.grounds.order != nil {
		row.Order = t.grounds.order.ID
	}
	if t.grounds.informal != nil {
		row.Informal = t.grounds.informal.ID
	}
	keys, err := t.keysFor(d.scope)
	if err == nil && keys == nil {
		err = residency.E(t.a.op, residency.NotFound, nil)
	}
	if err != nil {
		return err
	}
	id, ok := rowOf(row.ID)
	if !ok {
		return residency.E(t.a.op, residency.Internal, errors.New("a decision has no identifier"))
	}
	return t.putScoped(keys, store.KindDisclosure, d.scope, id, 1, &row)
}

// changeDisclosure changes what is on record of a disclosure, unless it went with the person meanwhile.
func (t *txn) changeDisclosure(scope, id store.ID, change func(*Disclosure)) error {
	keys, err := t.keysFor(scope)
	if err != nil || keys == nil {
		return err
	}
	var row Disclosure
	version, ok, err := t.getRow(keys, store.KindDisclosure, scope+id, &row)
	if err != nil || !ok {
		return err
	}
	change(&row)
	return t.putRow(keys, store.KindDisclosure, scope+id, version+1, &row)
}

// disclosedAbout gives the lock on whose disclosure a stream is, if it is one: an erasure does
// not come in between while it is closed.
func (t *txn) disclosedAbout(ctx context.Context, task store.Task) (locks []store.Lock, err error) {
	err = t.home.cluster.Rows.View(ctx, store.Scope{Tenant: task.Tenant}, func(tx store.Tx) error {
		scope, err := tx.Get(store.KindDisclosure, allScopes+task.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		locks = []store.Lock{{Object: store.ID(scope), Exclusive: true}}
		return err
	})
	return locks, err
}

// abandonDisclosure says of a disclosure whose gateway died that its end is unknown. It was told to
// the log last how many bytes had left; of records and fields only what may have left is known.
func (t *txn) abandonDisclosure(id store.ID, bytes uint64) error {
	scope, err := t.Get(store.KindDisclosure, allScopes+id)
	if errors.Is(err, store.ErrNotFound) || t.tk == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return t.changeDisclosure(store.ID(scope), id, func(row *Disclosure) {
		row.Bytes, row.End = bytes, audit.Unknown.String()
	})
}

// ListDisclosures lists what was disclosed, newest first: about one person or about everybody, drives included.
func (g *Gateway) ListDisclosures(ctx context.Context, call *Call, req ListDisclosures) ([]Disclosure, string, error) {
	a := &act{call: call, op: "gateway.ListDisclosures", tenant: req.Tenant, subject: req.Subject, suspended: true}
	var list []Disclosure
	var next string
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		p, err := t.page(req.Page, "disclosures", req.Subject, req.Recipient)
		if err != nil {
			return err
		}
		prefix := t.subject
		if req.Subject == "" {
			prefix = allScopes
		}
		next, err = p.walk(t, store.KindDisclosure, prefix, func(id store.ID, value []byte) (bool, error) {
			row, ok, err := t.openDisclosure(prefix, id, value)
			if err != nil || !ok || req.Recipient != "" && req.Recipient != row.Recipient {
				return false, err
			}
			t.bytes += uint64(len(encodeRow(&row)))
			list = append(list, row)
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// openDisclosure opens what a listing came upon: a disclosure, or where one is. ok is false for one
// that went with the person whom it was about.
func (t *txn) openDisclosure(prefix, id store.ID, value []byte) (row Disclosure, ok bool, err error) {
	scope := prefix
	if prefix == allScopes {
		scope = store.ID(value)
	}
	keys, err := t.keysFor(scope)
	if err != nil || keys == nil {
		return row, false, err
	}
	if prefix != allScopes {
		_, err = t.openRow(keys, store.KindDisclosure, id, value, &row)
		return row, err == nil, err
	}
	t.work++
	_, ok, err = t.getRow(keys, store.KindDisclosure, scope+id[len(prefix):], &row)
	return row, ok, err
}
