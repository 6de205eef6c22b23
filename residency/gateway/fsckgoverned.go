package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// checkGoverned looks at what the tenant has on record beside people and drives.
func (c *tenantCheck) checkGoverned(ctx context.Context) error {
	for _, check := range []rowCheck{
		{kind: store.KindRecipient, look: c.tenantRow(store.KindRecipient, func() row { return &Recipient{} })},
		{kind: store.KindOrder, look: c.tenantRow(store.KindOrder, func() row { return &Order{} })},
		{kind: store.KindInformal, look: c.tenantRow(store.KindInformal, func() row { return &Informal{} })},
		{kind: store.KindCase, look: c.tenantRow(store.KindCase, func() row { return &Case{} })},
		{kind: store.KindRequest, look: c.request},
		{kind: store.KindStream, look: c.stream},
	} {
		if err := c.each(ctx, check); err != nil {
			return err
		}
	}
	return nil
}

// tenantRow looks whether a row under the tenant's keys opens.
func (c *tenantCheck) tenantRow(kind store.Kind, into func() row) func(*txn, store.ID, []byte) ([]problem, error) {
	return func(t *txn, id store.ID, value []byte) ([]problem, error) {
		if _, err := t.openRow(c.tk, kind, id, value, into()); err != nil {
			return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
		}
		return nil, nil
	}
}

// request looks at the form of a result. Whose key it is under nothing tells: it may be any person's.
func (c *tenantCheck) request(_ *txn, id store.ID, value []byte) ([]problem, error) {
	if len(id) != idSize || len(value) < idSize+seal.RowOverhead {
		return wrong(RowDamaged, "it is too short for a result"), nil
	}
	return nil, nil
}

// stream looks at a stream that is open: a task must see to it, should its gateway die.
func (c *tenantCheck) stream(t *txn, id store.ID, value []byte) ([]problem, error) {
	decision, err := fromNewestFirst(id)
	if err != nil {
		return wrong(RowDamaged, "its identifier has another length than a stream's"), nil //nolint:nilerr // it is found
	}
	row, err := decodeStream(value)
	if err == nil {
		var intent audit.Entry
		if intent, err = audit.Parse(row.Intent); err == nil && intent.DecisionID != decision.String() {
			err = errors.New("another decision's")
		}
	}
	if err != nil {
		return wrong(RowDamaged, "its intent is damaged or another stream's"), nil //nolint:nilerr // it is found
	}
	finding := c.problem(store.KindStream, id, problem{TaskMissing, "", "a stream is open, and no task closes it should its gateway die"})
	return nil, c.await(t.ctx, c.home.tenant, id, finding, func(ctx context.Context) (bool, error) { return c.rowThere(ctx, store.KindStream, id) })
}

func (c *tenantCheck) rowThere(ctx context.Context, kind store.Kind, id store.ID) (there bool, err error) {
	err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) (err error) {
		_, there, err = has(tx, kind, id)
		return err
	})
	return there, err
}

// checkDecisions looks whether decisions lead to their entries. Entries that are missing are the log's own check's to find.
func (c *tenantCheck) checkDecisions(ctx context.Context) error {
	after := store.ID("")
	for {
		page, err := c.page(ctx, store.KindDecision, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			problems, err := c.decision(ctx, r)
			if err != nil {
				return err
			}
			for _, p := range problems { // a place that is given stays so: nothing of this is under way
				c.tell(c.problem(store.KindDecision, r.id, p))
			}
		}
		after = page[len(page)-1].id
		c.checked.Rows += uint64(len(page))
	}
}

func (c *tenantCheck) decision(ctx context.Context, r foundRow) (problems []problem, err error) {
	decision, malformed := fromNewestFirst(r.id)
	if malformed != nil || len(r.value) == 0 || len(r.value)%8 != 0 || len(r.value) > 8*store.MaxPlaces {
		return wrong(DecisionDamaged, "it names no places of entries"), nil //nolint:nilerr // it is found
	}
	places := make([]uint64, 0, len(r.value)/8)
	for b := r.value; len(b) > 0; b = b[8:] {
		places = append(places, binary.BigEndian.Uint64(b))
	}
	last, err := c.cluster.Outbox.Last(ctx)
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		if place == 0 || place > max(last, c.logSize) { // entries that are lost at the end are the log's own check's to find
			problems = append(problems, problem{DecisionDamaged, "", fmt.Sprintf("it leads to place %d, the newest entry is at place %d", place, last)})
		}
	}
	err = c.cluster.Outbox.At(ctx, places, func(place uint64, b []byte) bool {
		e, err := audit.Parse(b)
		if err == nil && !c.leadsTo(&e, decision) {
			problems = append(problems, problem{DecisionDamaged, "", fmt.Sprintf("it leads to place %d, where another decision's entry is", place)})
		}
		return true
	})
	return problems, err
}

// leadsTo reports whether an entry is a decision's about this tenant.
func (c *tenantCheck) leadsTo(e *audit.Entry, decision uuid.UUID) bool {
	return e.DecisionID == decision.String() && e.Tenant == c.tk.Pseudonym()
}
