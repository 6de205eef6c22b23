package gateway

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

const doesNotOpen = "it does not open"

// checkPeople looks at what is held about people.
func (c *tenantCheck) checkPeople(ctx context.Context) error {
	subjects := &idCursor{c: c, kind: store.KindSubject}
	if err := subjects.next(ctx); err != nil {
		return err
	}
	records := rowCheck{kind: store.KindRecord, near: nearRecord, lock: firstID, look: c.record,
		seen: func(ctx context.Context, id store.ID) error { return c.passSubjects(ctx, subjects, firstID(id)) }}
	if err := c.each(ctx, records); err != nil {
		return err
	}
	if err := c.passSubjects(ctx, subjects, ""); err != nil {
		return err
	}
	for _, check := range []rowCheck{
		{kind: store.KindSubject, lock: firstID, look: c.subjectRow},
		{kind: store.KindLookup, look: c.lookup,
			near: func(id store.ID, _ []byte) []store.Row {
				return []store.Row{{Kind: store.KindRecord, ID: id[min(idSize, len(id)):]}}
			},
			lock: func(id store.ID) store.ID { return firstID(id[min(idSize, len(id)):]) }},
		{kind: store.KindConsent, lock: firstID, look: c.consent,
			near: func(id store.ID, _ []byte) []store.Row {
				return []store.Row{{Kind: store.KindConsentID, ID: id[min(idSize, len(id)):]}}
			}},
		{kind: store.KindConsentID, look: c.consentID,
			near: func(id store.ID, value []byte) []store.Row {
				return []store.Row{{Kind: store.KindConsent, ID: store.ID(value) + id}}
			}},
		{kind: store.KindRestriction, lock: firstID, look: c.sealedRow(store.KindRestriction, idSize, func() row { return &restrictionRow{} })},
		{kind: store.KindNotice, lock: firstID, look: c.sealedRow(store.KindNotice, 2*idSize, func() row { return &Notice{} })},
		{kind: store.KindObjection, look: c.scoped(store.KindObjection, func() row { return &Objection{} }), near: nearScoped(store.KindObjection)},
		{kind: store.KindDisclosure, look: c.scoped(store.KindDisclosure, func() row { return &Disclosure{} }), near: nearScoped(store.KindDisclosure)},
	} {
		if err := c.each(ctx, check); err != nil {
			return err
		}
	}
	return nil
}

// firstID is the digest that a row's identifier begins with.
func firstID(id store.ID) store.ID { return id[:min(idSize, len(id))] }

// idCursor goes through the identifiers of a kind.
type idCursor struct {
	c    *tenantCheck
	kind store.Kind
	page []foundRow
	last store.ID
	at   store.ID // the one it is at; "" = behind the last
	end  bool
}

func (k *idCursor) next(ctx context.Context) (err error) {
	if len(k.page) == 0 && !k.end {
		if k.page, err = k.c.page(ctx, k.kind, k.last); err != nil {
			return err
		}
		k.end = len(k.page) < fsckPage
	}
	k.at = ""
	if len(k.page) > 0 {
		k.at, k.last, k.page = k.page[0].id, k.page[0].id, k.page[1:]
	}
	return nil
}

// passSubjects goes on to a subject ("" = to the end) and suspects those between, of whom there is no record.
func (c *tenantCheck) passSubjects(ctx context.Context, subjects *idCursor, to store.ID) error {
	for subjects.at != "" && (to == "" || subjects.at <= to) {
		if subjects.at != to {
			if err := c.suspectRow(ctx, rowCheck{kind: store.KindSubject, lock: firstID, look: c.withoutRecords}, subjects.at); err != nil {
				return err
			}
		}
		if subjects.at == to && to != "" { // the next record may be of the same
			return subjects.next(ctx)
		}
		if err := subjects.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *tenantCheck) withoutRecords(t *txn, id store.ID, _ []byte) ([]problem, error) {
	gone, err := t.gone(id)
	if gone || err != nil {
		return nil, err
	}
	there, err := anyRow(t.Tx, store.KindRecord, id)
	if there || err != nil {
		return nil, err
	}
	return wrong(SubjectEmpty, "the subject's row goes with the last record, and there is none: a record is lost"), nil
}

// keysOfScope gives the keys that a scope's rows are under; nil when they cannot be looked at, with what is wrong unless another
// check says so.
func (c *tenantCheck) keysOfScope(t *txn, scope store.ID) (scopeKeys, []problem, error) {
	if scope == wholeTenant {
		return c.tk, nil, nil
	}
	sk, problems, err := c.subjectKeys(t, scope)
	if sk == nil {
		return nil, problems, err
	}
	return sk, nil, nil
}

func (c *tenantCheck) subjectKeys(t *txn, subject store.ID) (*seal.SubjectKeys, []problem, error) {
	if len(subject) != idSize {
		return nil, wrong(RowDamaged, "its identifier has another length than those of its kind"), nil
	}
	sk, err := c.region.Vault.Subject(t.ctx, c.tk, subject)
	if err == nil {
		return sk, nil, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, nil, unlessDamaged(err)
	}
	gone, err := t.gone(subject)
	if err != nil {
		return nil, nil, err
	}
	if gone {
		return nil, nil, c.awaitErased(t.ctx, subject)
	}
	return nil, []problem{{KeyMissing, whatSubject(c.home.tenant, subject), "there are rows about the subject and no key: they cannot be opened"}}, nil
}

func (c *tenantCheck) awaitErased(ctx context.Context, subject store.ID) error {
	finding := c.finding(ErasedRows, whatSubject(c.home.tenant, subject), "the subject was erased, rows about them are there, and no task sees to it")
	return c.await(ctx, c.home.tenant, subject, finding, func(ctx context.Context) (there bool, err error) {
		err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) (err error) {
			there, err = anyOf(tx, subjectKinds, subject)
			return err
		})
		return there, err
	})
}

// nearRecord is a record's subject and its lookups.
func nearRecord(id store.ID, value []byte) []store.Row {
	near := []store.Row{{Kind: store.KindSubject, ID: firstID(id)}}
	head, err := headOf(value)
	if err != nil {
		return near
	}
	for _, key := range []store.ID{head.Email, head.Phone} {
		if key != "" {
			near = append(near, store.Row{Kind: store.KindLookup, ID: key + id})
		}
	}
	return near
}

func (c *tenantCheck) record(t *txn, id store.ID, value []byte) ([]problem, error) {
	if len(id) != 2*idSize {
		return wrong(RowDamaged, "its identifier has another length than a record's"), nil
	}
	sk, problems, err := c.subjectKeys(t, id[:idSize])
	if sk == nil || err != nil {
		return problems, err
	}
	head, ok := recordOpens(sk, id, value)
	if !ok {
		return wrong(RowDamaged, doesNotOpen), nil
	}
	if _, there, err := has(t.Tx, store.KindSubject, id[:idSize]); err != nil {
		return nil, err
	} else if !there {
		problems = append(problems, problem{SubjectMissing, whatSubject(c.home.tenant, id[:idSize]), "there are records of the subject, and its row is not there"})
	}
	for _, key := range []store.ID{head.Email, head.Phone} {
		if key == "" {
			continue
		}
		if _, there, err := has(t.Tx, store.KindLookup, key+id); err != nil {
			return nil, err
		} else if !there {
			problems = append(problems, problem{LookupMissing, "", "it is not found by its e-mail address or phone number"})
		}
	}
	return problems, nil
}

// recordOpens reports whether a record opens under its subject's keys, its head bound to it.
func recordOpens(sk *seal.SubjectKeys, id store.ID, value []byte) (head recordHead, ok bool) {
	b, sealed, err := splitRecord(value)
	if err != nil {
		return head, false
	}
	if head, err = decodeHead(b); err != nil {
		return head, false
	}
	version, err := sk.Verify(store.KindRecord, id+store.ID(b), sealed)
	return head, err == nil && version == head.Version
}

func (c *tenantCheck) subjectRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	sk, problems, err := c.subjectKeys(t, id)
	if sk == nil || err != nil {
		return problems, err
	}
	plain, _, err := sk.OpenFact(store.KindSubject, id, value)
	if err != nil {
		return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
	}
	if row, err := decodeSubject(plain); err != nil || c.tk.ID("subject", row.ID) != id {
		return wrong(RowDamaged, "it is the row of another subject"), nil //nolint:nilerr // it is found
	}
	return nil, nil
}

func (c *tenantCheck) lookup(t *txn, id store.ID, _ []byte) ([]problem, error) {
	if len(id) != 3*idSize {
		return wrong(RowDamaged, "its identifier has another length than a lookup's"), nil
	}
	key, record := id[:idSize], id[idSize:]
	value, there, err := has(t.Tx, store.KindRecord, record)
	if err != nil {
		return nil, err
	}
	if !there {
		return wrong(LookupOrphan, "it leads to a record that is not there: record "+hex.EncodeToString([]byte(record))), nil
	}
	if head, err := headOf(value); err == nil && (head.Email == key || head.Phone == key) {
		return nil, nil
	}
	sk, _, err := c.subjectKeys(t, record[:idSize])
	if sk == nil || err != nil {
		return nil, err
	}
	if _, ok := recordOpens(sk, record, value); !ok { // what its head says does not count, and the check of records says so
		return nil, nil
	}
	return wrong(LookupOrphan, "it leads to a record that does not lead back"), nil
}

func (c *tenantCheck) consent(t *txn, id store.ID, value []byte) ([]problem, error) {
	if len(id) != 2*idSize {
		return wrong(RowDamaged, "its identifier has another length than a consent's"), nil
	}
	keys, problems, err := c.keysOfScope(t, id[:idSize])
	if keys == nil || err != nil {
		return problems, err
	}
	var there consent.Consent
	if there, _, err = openConsent(keys, id, value); err != nil {
		return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
	}
	if own, ok := rowOf(there.ID); !ok || own != id[idSize:] {
		return wrong(RowDamaged, "it is another consent"), nil
	}
	return c.indexed(t, store.KindConsentID, "", id)
}

// indexed looks whether the index finds a row by its identifier alone.
func (c *tenantCheck) indexed(t *txn, kind store.Kind, prefix, id store.ID) ([]problem, error) {
	scope, there, err := has(t.Tx, kind, prefix+id[idSize:])
	if err != nil || there && store.ID(scope) == id[:idSize] {
		return nil, err
	}
	return wrong(IndexMissing, "it is not found by its identifier"), nil
}

// leads looks whether an index row leads to a row.
func (c *tenantCheck) leads(t *txn, kind store.Kind, id store.ID, scope []byte) ([]problem, error) {
	if len(scope) != idSize || len(id) != idSize {
		return wrong(RowDamaged, "it leads to no scope"), nil
	}
	_, there, err := has(t.Tx, kind, store.ID(scope)+id)
	if err != nil || there {
		return nil, err
	}
	return wrong(IndexOrphan, "it leads to a row that is not there"), nil
}

func (c *tenantCheck) consentID(t *txn, id store.ID, value []byte) ([]problem, error) {
	return c.leads(t, store.KindConsent, id, value)
}

// sealedRow looks whether a row of its scope's opens.
func (c *tenantCheck) sealedRow(kind store.Kind, length int, into func() row) func(*txn, store.ID, []byte) ([]problem, error) {
	return func(t *txn, id store.ID, value []byte) ([]problem, error) {
		if len(id) != length {
			return wrong(RowDamaged, "its identifier has another length than those of its kind"), nil
		}
		keys, problems, err := c.keysOfScope(t, id[:idSize])
		if keys == nil || err != nil {
			return problems, err
		}
		if _, err := t.openRow(keys, kind, id, value, into()); err != nil {
			return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
		}
		return nil, nil
	}
}

// nearScoped is the index row of a row in a scope, or the row that an index row leads to.
func nearScoped(kind store.Kind) func(store.ID, []byte) []store.Row {
	return func(id store.ID, value []byte) []store.Row {
		if firstID(id) == allScopes {
			return []store.Row{{Kind: kind, ID: store.ID(value) + id[idSize:]}}
		}
		return []store.Row{{Kind: kind, ID: allScopes + id[min(idSize, len(id)):]}}
	}
}

// scoped looks at what putScoped wrote.
func (c *tenantCheck) scoped(kind store.Kind, into func() row) func(*txn, store.ID, []byte) ([]problem, error) {
	opens := c.sealedRow(kind, 2*idSize, into)
	return func(t *txn, id store.ID, value []byte) ([]problem, error) {
		if firstID(id) == allScopes {
			return c.leads(t, kind, id[idSize:], value)
		}
		problems, err := opens(t, id, value)
		if len(problems) > 0 || err != nil {
			return problems, err
		}
		return c.indexed(t, kind, allScopes, id)
	}
}
