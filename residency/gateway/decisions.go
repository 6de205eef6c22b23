package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

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
		list, next, err = t.listDecisions(p, req.Only)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// listDecisions lists decisions until the page is full, and gives the token of the next page, or "" when nothing is left.
func (t *txn) listDecisions(p *pager, only Outcomes) (list []DecisionRecord, next string, err error) {
	for after := p.after; ; {
		some := max(p.size-len(list)+1, defaultPage) // one further, so that it is known whether there is one
		rows, err := t.decisionRows(after, "", some)
		if err != nil {
			return nil, "", err
		}
		found, err := t.entriesOf(rows)
		if err != nil {
			return nil, "", err
		}
		for i := range rows {
			if len(list) == p.size || t.work >= maxLook {
				return list, p.token(after), nil
			}
			t.work++
			after = rows[i].row
			r, ok := rows[i].record(found)
			if ok && (only == AllOutcomes || (only == OnlyAllowed) == r.Decision.Allow) {
				list = append(list, r)
			}
		}
		if len(rows) < some {
			return list, "", nil
		}
	}
}

// decisionRow is where the entries of a decision are: a row of the index, which is not sealed.
type decisionRow struct {
	row    store.ID
	id     string
	places []uint64 // ascending, at least one
}

func (t *txn) decisionRow(row store.ID, value []byte) (decisionRow, error) {
	id, err := fromNewestFirst(row)
	if err == nil && (len(value) < 8 || len(value)%8 != 0) {
		err = errors.New("a decision's index is damaged")
	}
	if err != nil {
		return decisionRow{}, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	out := decisionRow{row: row, id: id.String(), places: make([]uint64, 0, len(value)/8)}
	for ; len(value) > 0; value = value[8:] {
		out.places = append(out.places, binary.BigEndian.Uint64(value))
	}
	return out, nil
}

// decisionRows gives up to so many rows of the tenant's index behind one, the newest first, up to the
// last that is not greater than end ("" = any).
func (t *txn) decisionRows(after, end store.ID, most int) (list []decisionRow, err error) {
	var damage error
	err = t.Scan(store.KindDecision, "", after, func(row store.ID, value []byte) bool {
		if damage = t.ctx.Err(); damage != nil || end != "" && row[:min(len(row), len(end))] > end {
			return false
		}
		var r decisionRow
		if r, damage = t.decisionRow(row, value); damage == nil {
			list = append(list, r)
		}
		return damage == nil && len(list) < most
	})
	return list, errors.Join(damage, err)
}

// entriesOf reads the entries of decisions, those of them that are there, and holds each to be
// one of its decision and of the tenant.
func (t *txn) entriesOf(rows []decisionRow) (foundEntries, error) {
	places := make([]uint64, 0, len(rows))
	for i := range rows {
		places = append(places, rows[i].places...)
	}
	found, err := t.home.cluster.entriesAt(t.ctx, places)
	if err != nil {
		return nil, err
	}
	tenant := t.tk.Pseudonym()
	for i := range rows {
		for _, place := range rows[i].places {
			if e, ok := found[place]; ok && (e.DecisionID != rows[i].id || e.Tenant != tenant) {
				return nil, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a decision's index leads to another entry"))
			}
		}
	}
	return found, nil
}

// readDecision reads the entries of one decision. What is not durable yet has not happened, and what was dropped
// is gone: NOT_FOUND for a decision, and a stream whose end is not there is still open.
func (t *txn) readDecision(id uuid.UUID, places []byte) (DecisionRecord, error) {
	row, err := t.decisionRow(newestFirst(id), places)
	if err != nil {
		return DecisionRecord{}, err
	}
	found, err := t.entriesOf([]decisionRow{row})
	if err != nil {
		return DecisionRecord{}, err
	}
	out, ok := row.record(found)
	if !ok {
		return DecisionRecord{}, residency.E(t.a.op, residency.NotFound, nil)
	}
	return out, nil
}

// record gives a decision from its entries: the first has the decision, the last how it ended. Without the
// first there is none.
func (r *decisionRow) record(found foundEntries) (out DecisionRecord, ok bool) {
	first, ok := found[r.places[0]]
	if !ok {
		return out, false
	}
	out = DecisionRecord{
		Decision: first.DecisionOf(), Consents: consentsOf(&first.Entry),
		Caller: first.Caller, Method: first.Method, Place: first.Place, Result: first.Result,
	}
	if first.Phase != audit.Intent { // what a refusal set off is no result of the refused call
		return out, true
	}
	for _, place := range slices.Backward(r.places[1:]) {
		if last, ok := found[place]; ok {
			out.Result = last.Result
			out.Stream = &StreamResult{End: endNames[last.End], Bytes: last.Bytes, Time: last.Time}
			break
		}
	}
	return out, true
}

// decided gives when it was decided, by the first entry that is there.
func (r *decisionRow) decided(found foundEntries) (t time.Time, ok bool) {
	for _, place := range r.places {
		if e, ok := found[place]; ok {
			return e.Time, true
		}
	}
	return t, false
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
// that it was looked for under: the index is not sealed. NOT_FOUND = it is not durable yet, or was dropped when its time was over.
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
// durable: one beyond the last is on its way, one before the first was dropped, any other that is missing is lost.
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
		err = t.home.cluster.gone(t.ctx, place, err)
	}
	return b, err
}

// gone says why an entry that was durable is not there: NOT_FOUND of one that was dropped, else damage.
func (c *Cluster) gone(ctx context.Context, place uint64, cause error) error {
	const op = "gateway.gone"
	first, err := c.Outbox.First(ctx)
	switch {
	case err != nil:
		return err
	case place < first:
		return residency.E(op, residency.NotFound, nil)
	}
	return residency.E(op, residency.IntegrityFailure, cause)
}
