package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

const (
	maxEntries = 8  // entries that a transaction may append (store.Tx)
	indexFrom  = 24 // writes from which on they are looked up in a map
)

var (
	errReadOnly = errors.New("store: a View does not write")
	errDead     = fmt.Errorf("%w: the transaction is over", store.ErrClosed)
)

// tx is one transaction: its writes, until they become part of a batch. Nothing
// that it wrote is in the database before that, so a transaction that fails has
// nothing to undo.
type tx struct {
	commit // what it writes, each key once, in the order of its first write

	engine   *engine
	locks    lock.Held
	now      time.Time
	readOnly bool
	dead     bool

	key   []byte         // scratch: the key that is being looked for
	arena []byte         // holds the keys and values of writes
	index map[string]int // where a key is in writes, once there are many

	// Room for a usual transaction.
	keyRoom   [96]byte
	writeRoom [3]write
	entryRoom [2]entry
}

func newTx(e *engine, tenant store.Tenant) *tx {
	t := &tx{engine: e}
	t.tenant = tenant
	t.key, t.writes, t.appended = t.keyRoom[:0], t.writeRoom[:0], t.entryRoom[:0]
	return t
}

var _ store.Tx = (*tx)(nil)

func (t *tx) Now() time.Time { return t.now }

// find gives the index of the write to a key, or -1.
func (t *tx) find(key []byte) int {
	if t.index != nil {
		if i, ok := t.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i := range t.writes {
		if bytes.Equal(t.writes[i].key, key) {
			return i
		}
	}
	return -1
}

// keep copies b to where the transaction's writes are.
func (t *tx) keep(b []byte) []byte {
	if cap(t.arena)-len(t.arena) < len(b) {
		t.arena = make([]byte, 0, max(1<<10, 2*cap(t.arena), len(b)))
	}
	n := len(t.arena)
	t.arena = append(t.arena, b...)
	return t.arena[n:len(t.arena):len(t.arena)]
}

// write records what becomes of a key; the last word counts.
func (t *tx) write(key, value []byte, deleted bool) {
	value = t.keep(value)
	if i := t.find(key); i >= 0 {
		t.writes[i].value, t.writes[i].deleted = value, deleted
		return
	}
	w := write{key: t.keep(key), value: value, deleted: deleted}
	t.writes = append(t.writes, w)
	switch {
	case t.index != nil:
		t.index[string(w.key)] = len(t.writes) - 1
	case len(t.writes) == indexFrom:
		t.index = make(map[string]int, 2*indexFrom)
		for i := range t.writes {
			t.index[string(t.writes[i].key)] = i
		}
	}
}

func (t *tx) writable() error {
	switch {
	case t.dead:
		return errDead
	case t.readOnly:
		return errReadOnly
	}
	return nil
}

func (t *tx) Get(kind store.Kind, id store.ID) ([]byte, error) {
	if t.dead {
		return nil, errDead
	}
	t.key = rowKey(t.key[:0], t.tenant, kind, id)
	if i := t.find(t.key); i >= 0 {
		if t.writes[i].deleted {
			return nil, notFound(kind)
		}
		return append([]byte{}, t.writes[i].value...), nil
	}
	var v []byte
	var err error
	if cached(t.key) {
		v, err = t.engine.rows.read(t.key, t.engine.get)
	} else {
		v, err = t.engine.get(t.key)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(kind)
	}
	return v, err
}

func notFound(kind store.Kind) error {
	return fmt.Errorf("%w: a row of kind %d", store.ErrNotFound, kind)
}

// get reads a key and gives a copy of its value.
func (e *engine) get(key []byte) ([]byte, error) {
	v, closer, err := e.db.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, store.ErrNotFound
		}
		return nil, wrap(err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, wrap(closer.Close())
}

func (t *tx) Put(kind store.Kind, id store.ID, value []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	t.key = rowKey(t.key[:0], t.tenant, kind, id)
	t.write(t.key, value, false)
	return nil
}

func (t *tx) Delete(kind store.Kind, id store.ID) error {
	if err := t.writable(); err != nil {
		return err
	}
	t.key = rowKey(t.key[:0], t.tenant, kind, id)
	t.write(t.key, nil, true)
	return nil
}

func (t *tx) Schedule(task store.Task) error { return t.plan(task, false) }

func (t *tx) Unschedule(task store.Task) error { return t.plan(task, true) }

func (t *tx) plan(task store.Task, off bool) error {
	if err := t.writable(); err != nil {
		return err
	}
	if task.Tenant != t.tenant {
		return errors.New("store: a task must be of the transaction's own tenant")
	}
	key, err := agendaKey(task)
	if err != nil {
		return err
	}
	if off {
		task.Value = nil
	}
	t.write(key, task.Value, off)
	return nil
}

func (t *tx) Append(index store.ID, build func(place uint64) []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	if build == nil {
		return errors.New("store: an entry needs something that builds it")
	}
	if len(t.appended) == maxEntries {
		return fmt.Errorf("store: a transaction appends at most %d entries", maxEntries)
	}
	t.appended = append(t.appended, entry{index, build})
	return nil
}

func (t *tx) Scan(kind store.Kind, prefix, from store.ID, yield func(store.ID, []byte) bool) error {
	if t.dead {
		return errDead
	}
	lower := rowKey(nil, t.tenant, kind, prefix)
	upper := after(lower)
	if from != "" && from >= prefix {
		lower = append(rowKey(nil, t.tenant, kind, from), 0)
	}
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	own := t.within(lower, upper)
	if len(lower) == rowIDAt+scopeSize && scoped(lower) {
		return t.scanScope(lower, upper, own, yield)
	}
	_, err := t.scanEngine(lower, upper, own, yield, nil)
	return err
}

// scanScope scans all rows of a scope, from the cache if they are there.
func (t *tx) scanScope(lower, upper []byte, own []write, yield func(store.ID, []byte) bool) error {
	rows, ok, gen := t.engine.rows.scope(lower)
	if ok {
		_, err := merge(&kept{rows: rows}, own, yield)
		return err
	}
	whole, err := t.scanEngine(lower, upper, own, yield, &rows)
	if whole && err == nil {
		t.engine.rows.keepScope(lower, rows, gen)
	}
	return err
}

// scanEngine scans rows of the database, and notes copies of them in seen if
// that is not nil. whole is false when yield ended it.
func (t *tx) scanEngine(lower, upper []byte, own []write, yield func(store.ID, []byte) bool, seen *[]scopedRow) (whole bool, err error) {
	it, err := t.engine.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return false, wrap(err)
	}
	it.First()
	whole, err = merge(&found{it: it, seen: seen}, own, yield)
	return whole, errors.Join(err, wrap(it.Close()))
}

// cursor is at one of some rows in ascending order, or behind the last.
type cursor interface {
	// row gives where it is; ok is false behind the last. The value is good until
	// next.
	row() (id store.ID, value []byte, ok bool, err error)
	next()
}

// found is a cursor over rows of the database.
type found struct {
	it   *pebble.Iterator
	seen *[]scopedRow // gets copies of the rows, unless it is nil, but not of many more than are kept
}

func (f *found) row() (store.ID, []byte, bool, error) {
	if !f.it.Valid() {
		return "", nil, false, wrap(f.it.Error())
	}
	value, err := f.it.ValueAndErr()
	return store.ID(f.it.Key()[rowIDAt:]), value, err == nil, wrap(err)
}

func (f *found) next() {
	if f.seen != nil && len(*f.seen) <= scopeRows {
		if id, value, ok, _ := f.row(); ok {
			*f.seen = append(*f.seen, scopedRow{id, bytes.Clone(value)})
		}
	}
	f.it.Next()
}

// kept is a cursor over rows of the cache.
type kept struct {
	rows []scopedRow
	at   int
	buf  []byte // the row's bytes are handed out as a copy: they are not the reader's to keep
}

func (k *kept) row() (store.ID, []byte, bool, error) {
	if k.at == len(k.rows) {
		return "", nil, false, nil
	}
	k.buf = append(k.buf[:0], k.rows[k.at].value...)
	return k.rows[k.at].id, k.buf, true, nil
}

func (k *kept) next() { k.at++ }

// within gives the transaction's own writes in a range, in order.
func (t *tx) within(lower, upper []byte) []write {
	var own []write
	for _, w := range t.writes {
		if bytes.Compare(w.key, lower) >= 0 && bytes.Compare(w.key, upper) < 0 {
			own = append(own, w)
		}
	}
	slices.SortFunc(own, func(a, b write) int { return bytes.Compare(a.key, b.key) })
	return own
}

// merge yields the rows of a cursor with a transaction's own writes in their
// places. whole is false when yield ended it.
func merge(c cursor, own []write, yield func(store.ID, []byte) bool) (whole bool, err error) {
	id, value, ok, err := c.row()
	for err == nil && (ok || len(own) > 0) {
		order := -1 // which comes first: below 0 the cursor's row, above 0 the own write, 0 the same row
		if len(own) > 0 {
			if order = 1; ok {
				order = strings.Compare(string(id), string(own[0].key[rowIDAt:]))
			}
		}
		if order < 0 {
			if !yield(id, value) {
				return false, nil
			}
		} else {
			w := own[0]
			own = own[1:]
			if !w.deleted && !yield(store.ID(w.key[rowIDAt:]), w.value) {
				return false, nil
			}
		}
		if order <= 0 {
			c.next()
			id, value, ok, err = c.row()
		}
	}
	return err == nil, err
}
