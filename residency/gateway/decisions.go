package gateway

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// GetDecision gives one decision about a tenant, inside the home jurisdiction only.
func (g *Gateway) GetDecision(ctx context.Context, call *Call, tenant, decisionID string) (DecisionRecord, error) {
	const op = "gateway.GetDecision"
	var out DecisionRecord
	_, err := g.decide(ctx, &act{call: call, op: op, tenant: tenant, suspended: true}, func(t *txn) error {
		id, err := uuid.Parse(decisionID)
		if err != nil {
			return residency.E(op, residency.NotFound, nil)
		}
		places, err := t.Get(store.KindDecision, newestFirst(id))
		if errors.Is(err, store.ErrNotFound) {
			return residency.E(op, residency.NotFound, nil)
		}
		if err != nil {
			return err
		}
		out, err = t.readDecision(id, places)
		return err
	})
	if err != nil {
		return DecisionRecord{}, err
	}
	return out, nil
}

// ListDecisions lists the decisions about a tenant, newest first.
func (g *Gateway) ListDecisions(ctx context.Context, call *Call, req ListDecisions) ([]DecisionRecord, string, error) {
	var list []DecisionRecord
	var next string
	_, err := g.decide(ctx, &act{call: call, op: "gateway.ListDecisions", tenant: req.Tenant, suspended: true}, func(t *txn) error {
		list = nil
		filter := [...]string{AllOutcomes: "all", OnlyAllowed: "allowed", OnlyDenied: "denied"}
		p, err := t.page(req.Page, "decisions", filter[min(req.Only, OnlyDenied)])
		if err != nil {
			return err
		}
		next, err = p.walk(t, store.KindDecision, "", func(row store.ID, places []byte) (bool, error) {
			id, err := fromNewestFirst(row)
			if err != nil {
				return false, residency.E(t.a.op, residency.IntegrityFailure, err)
			}
			r, err := t.readDecision(id, places)
			if residency.KindOf(err) == residency.NotFound { // not durable yet: nobody was answered
				return false, nil
			}
			if err != nil {
				return false, err
			}
			if req.Only == OnlyAllowed && !r.Decision.Allow || req.Only == OnlyDenied && r.Decision.Allow {
				return false, nil
			}
			list = append(list, r)
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// readDecision reads the entries of one decision: the first has the decision,
// the last how it ended. What is not durable yet has not happened: NOT_FOUND for a
// decision, and a stream whose end is not is still open.
func (t *txn) readDecision(id uuid.UUID, places []byte) (DecisionRecord, error) {
	if len(places) < 8 || len(places)%8 != 0 {
		return DecisionRecord{}, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a decision's index is damaged"))
	}
	first, err := t.readEntry(id, binary.BigEndian.Uint64(places))
	if err != nil {
		return DecisionRecord{}, err
	}
	out := DecisionRecord{
		Decision: first.DecisionOf(), Consents: consentsOf(&first),
		Caller: first.Caller, Method: first.Method, Place: first.Place, Result: first.Result,
	}
	if first.Phase != audit.Intent { // what a refusal set off is no result of the refused call
		return out, nil
	}
	for n := len(places) - 8; n > 0; n -= 8 {
		last, err := t.readEntry(id, binary.BigEndian.Uint64(places[n:]))
		if residency.KindOf(err) == residency.NotFound {
			continue
		}
		if err != nil {
			return DecisionRecord{}, err
		}
		out.Result = last.Result
		out.Stream = &StreamResult{End: endNames[last.End], Bytes: last.Bytes, Time: last.Time}
		break
	}
	return out, nil
}

// consentsOf gives every consent that an entry names.
func consentsOf(e *audit.Entry) []string {
	if e.ConsentID == "" {
		return e.Consents
	}
	return append([]string{e.ConsentID}, e.Consents...)
}

var endNames = map[audit.StreamEnd]string{audit.Completed: "completed", audit.Cut: "cut", audit.Unknown: "unknown"}

// readEntry reads an entry and holds it to be one of the decision and the tenant
// that it was looked for under: the index is not sealed. NOT_FOUND = it is not durable yet.
func (t *txn) readEntry(id uuid.UUID, place uint64) (audit.Entry, error) {
	b, err := t.entryAt(place)
	if err != nil {
		return audit.Entry{}, err
	}
	e, err := audit.Parse(b)
	if err == nil && (e.DecisionID != id.String() || e.Tenant != t.tk.Pseudonym()) {
		err = errors.New("a decision's index leads to another entry")
	}
	if err != nil {
		return audit.Entry{}, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return e, nil
}

// entryAt reads the entry at a place. The index is visible with the commit, the entry once it is
// durable: one beyond the last is on its way, any other that is missing is lost.
func (t *txn) entryAt(place uint64) ([]byte, error) {
	outbox := t.home.cluster.Outbox
	b, err := outbox.Entry(t.ctx, place)
	if !errors.Is(err, store.ErrNotFound) {
		return b, err
	}
	last, err := outbox.Last(t.ctx)
	if err != nil {
		return nil, err
	}
	if place > last {
		return nil, residency.E(t.a.op, residency.NotFound, nil)
	}
	b, err = outbox.Entry(t.ctx, place) // it has become durable meanwhile
	if errors.Is(err, store.ErrNotFound) {
		err = residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return b, err
}
