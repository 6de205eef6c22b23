package gateway

import (
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// subjectKinds are the kinds of rows about a person: their ids begin with the subject.
var subjectKinds = []store.Kind{
	store.KindRecord, store.KindSubject, store.KindConsent, store.KindRestriction,
	store.KindNotice, store.KindObjection, store.KindDisclosure,
}

// tenantKinds are the kinds of rows that go before the tenant's own: every kind
// but streams, which are closed in the log by their own tasks. Of the erasures the
// subjects' marks go; the erasures themselves stay.
var tenantKinds = []store.Kind{
	store.KindRecord, store.KindSubject, store.KindLookup, store.KindConsent, store.KindConsentID, store.KindDrive,
	store.KindExtent, store.KindRequest, store.KindRestriction, store.KindRecipient, store.KindNotice,
	store.KindObjection, store.KindOrder, store.KindInformal, store.KindCase, store.KindDisclosure,
	store.KindSnapshot, store.KindHold, store.KindDecision, store.KindErasure,
}

// someRows deletes up to eraseRows rows, from where the last ones were on.
func (e *erasing) someRows(t *txn) (n uint64, err error) {
	for e.at < len(e.kinds) && n < eraseRows {
		kind := e.kinds[e.at]
		found, err := t.firstRows(kind, e.task.ID, e.after, eraseRows-int(n)) //nolint:gosec // n is below eraseRows
		if err != nil {
			return n, err
		}
		if len(found) == 0 {
			e.at, e.after = e.at+1, ""
			continue
		}
		for _, r := range found {
			k, err := e.eraseRow(t, kind, r)
			if err != nil {
				return n, err
			}
			n += k
			e.after = r.id
			if n >= eraseRows {
				break
			}
		}
	}
	if n == 0 {
		e.at, e.after = 0, "" // the next look is at everything again
	}
	return n, nil
}

// sweptRow is a row that a scan found; of a record, its head too, which says where else it is named.
type sweptRow struct {
	id      store.ID
	head    recordHead
	damaged error
}

// firstRows reads the first rows of a kind under a prefix.
func (t *txn) firstRows(kind store.Kind, prefix, after store.ID, limit int) (list []sweptRow, err error) {
	err = t.Scan(kind, prefix, after, func(id store.ID, value []byte) bool {
		if kind == store.KindErasure && len(id) == idSize {
			return true
		}
		r := sweptRow{id: id}
		if kind == store.KindRecord {
			r.head, r.damaged = headOf(value)
		}
		list = append(list, r)
		return len(list) < limit
	})
	return list, err
}

// eraseRow deletes a row and what lies elsewhere because of it, and counts the rows.
func (e *erasing) eraseRow(t *txn, kind store.Kind, r sweptRow) (n uint64, err error) {
	err = t.Delete(kind, r.id)
	if kind == store.KindRecord {
		n, unlinked := t.unlinkRecord(r)
		return 1 + n, errors.Join(err, unlinked)
	}
	if e.row.Kind == ErasureOfTenant || len(r.id) <= idSize { // a tenant's indexes are swept as what they are
		return 1, err
	}
	switch kind {
	case store.KindConsent:
		return 2, errors.Join(err, t.Delete(store.KindConsentID, r.id[idSize:]))
	case store.KindObjection, store.KindDisclosure:
		return 2, errors.Join(err, t.Delete(kind, allScopes+r.id[idSize:]))
	}
	return 1, err
}

// unlinkRecord deletes a record's lookups, which it counts, and its place on the agenda. The
// head that says where those are lies in clear; of a damaged one they stay.
func (t *txn) unlinkRecord(r sweptRow) (n uint64, err error) {
	if r.damaged != nil {
		t.g.log.Error("a record that is erased has a damaged head", "region", string(t.home.region.Name), "err", r.damaged)
		return 0, nil //nolint:nilerr // it is logged, and the record goes all the same
	}
	for _, key := range []store.ID{r.head.Email, r.head.Phone} {
		if key != "" {
			n++
		}
	}
	return n, errors.Join(
		t.relink(r.id, r.head.Email, ""),
		t.relink(r.id, r.head.Phone, ""),
		t.reschedule(r.id, r.head.Expires, time.Time{}))
}
