package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/domicile-project/domicile/residency/store"
)

const maxEntries = 8 // entries that a transaction may append (store.Tx)

var (
	errReadOnly = errors.New("store: a View does not write")
	errDead     = fmt.Errorf("%w: the transaction is over", store.ErrClosed)
)

// task names a task of the transaction's tenant.
type task struct {
	at   int64 // nanoseconds since 1970
	kind store.TaskKind
	id   store.ID
}

// write is what becomes of a row or a task; the last word counts.
type write struct {
	value   []byte
	deleted bool
}

// entry is an audit entry that has no place yet.
type entry struct {
	index store.ID
	build func(place uint64) []byte
}

// tx is one transaction. What it writes stays here until the end, and then goes
// to the server together with the commit: one round trip instead of one per
// write, and nothing to undo on the server's tables when fn fails. Reads look here first.
type tx struct {
	cluster *Cluster
	ctx     context.Context //nolint:containedctx // a transaction is one call's, and store.Tx passes no context
	conn    *pgxpool.Conn
	tenant  store.Tenant

	server time.Time // when the server that it runs on was started
	now    time.Time
	epoch  uint64 // the leadership's, if the scope names one

	ahead    map[store.Row][]byte // what was read with the locks; nil = it is not there
	rows     map[store.Row]write
	tasks    map[task]write
	appended []entry

	readOnly bool
	asking   bool // for the entries' places, since they were of another width than thought
	dead     bool
	failed   error // the first thing that went wrong on the connection; nothing goes on after it
}

var _ store.Tx = (*tx)(nil)

// fail notes that the transaction cannot go on.
func (t *tx) fail(err error) error {
	if t.failed == nil {
		t.failed = wrap(t.ctx, err)
	}
	return t.failed
}

func (t *tx) Now() time.Time { return t.now }

func (t *tx) readable() error {
	if t.dead {
		return errDead
	}
	return t.failed
}

func (t *tx) writable() error {
	if !t.dead && t.readOnly {
		return errReadOnly
	}
	return t.readable()
}

func notFound(kind store.Kind) error {
	return fmt.Errorf("%w: a row of kind %d", store.ErrNotFound, kind)
}

func (t *tx) Get(kind store.Kind, id store.ID) ([]byte, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	r := store.Row{Kind: kind, ID: id}
	if w, ok := t.rows[r]; ok {
		if w.deleted {
			return nil, notFound(kind)
		}
		return append([]byte{}, w.value...), nil
	}
	if value, ok := t.ahead[r]; ok {
		if value == nil {
			return nil, notFound(kind)
		}
		return append([]byte{}, value...), nil
	}
	var value []byte
	err := t.conn.QueryRow(t.ctx, t.cluster.sql.get, t.tenant[:], int16(kind), []byte(id)).Scan(&value)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, notFound(kind)
	case err != nil:
		return nil, t.fail(err)
	}
	return value, nil
}

// readAhead keeps the rows that were read with the locks.
func (t *tx) readAhead(rows []store.Row, values [][]byte) {
	if len(rows) == 0 || len(rows) != len(values) {
		return
	}
	t.ahead = make(map[store.Row][]byte, len(rows))
	for i, r := range rows {
		t.ahead[r] = values[i]
	}
}

func (t *tx) Put(kind store.Kind, id store.ID, value []byte) error {
	return t.write(store.Row{Kind: kind, ID: id}, write{value: append([]byte{}, value...)})
}

func (t *tx) Delete(kind store.Kind, id store.ID) error {
	return t.write(store.Row{Kind: kind, ID: id}, write{deleted: true})
}

func (t *tx) write(r store.Row, w write) error {
	if err := t.writable(); err != nil {
		return err
	}
	if t.rows == nil {
		t.rows = make(map[store.Row]write)
	}
	t.rows[r] = w
	return nil
}

func (t *tx) Schedule(of store.Task) error {
	return t.plan(of, write{value: append([]byte{}, of.Value...)})
}

func (t *tx) Unschedule(of store.Task) error { return t.plan(of, write{deleted: true}) }

// The times that a task may have: what 63 bits of nanoseconds since 1970 hold.
var (
	minAt = time.Unix(0, 0)
	maxAt = time.Unix(0, 1<<63-1)
)

func (t *tx) plan(of store.Task, w write) error {
	if err := t.writable(); err != nil {
		return err
	}
	if of.Tenant != t.tenant {
		return errors.New("store: a task must be of the transaction's own tenant")
	}
	if of.At.Before(minAt) || of.At.After(maxAt) {
		return errors.New("store: a task's time must be between the years 1970 and 2262")
	}
	if t.tasks == nil {
		t.tasks = make(map[task]write)
	}
	t.tasks[task{of.At.UnixNano(), of.Kind, of.ID}] = w
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

// Rows are read in pages. The first is small, since most scans end soon.
const (
	firstPage = 32
	lastPage  = 256
)

// found is a row that a scan has found.
type found struct {
	id    store.ID
	value []byte
}

func (t *tx) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	if err := t.readable(); err != nil {
		return err
	}
	lower, upper := prefix, successor(prefix)
	if after != "" && after >= prefix {
		lower = after + "\x00"
	}
	own := t.within(kind, lower, upper)
	for size := firstPage; ; size = min(2*size, lastPage) {
		page, err := t.page(kind, lower, upper, size)
		if err != nil {
			return err
		}
		whole := len(page) < size
		for _, f := range page {
			// The transaction's own writes have their places among the rows.
			for len(own) > 0 && own[0].id < f.id {
				if !t.yieldOwn(kind, own[0].id, yield) {
					return t.readable()
				}
				own = own[1:]
			}
			if len(own) > 0 && own[0].id == f.id {
				continue
			}
			if !yield(f.id, f.value) {
				return t.readable()
			}
		}
		if whole {
			break
		}
		lower = page[len(page)-1].id + "\x00"
	}
	for _, o := range own {
		if !t.yieldOwn(kind, o.id, yield) {
			break
		}
	}
	return t.readable()
}

// yieldOwn yields what the transaction wrote to a row, unless it deleted it.
func (t *tx) yieldOwn(kind store.Kind, id store.ID, yield func(store.ID, []byte) bool) bool {
	w := t.rows[store.Row{Kind: kind, ID: id}]
	return w.deleted || yield(id, append([]byte{}, w.value...))
}

// successor gives the lowest identifier that is above all with a prefix; "" when there is none.
func successor(prefix store.ID) store.ID {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			return prefix[:i] + store.ID([]byte{prefix[i] + 1})
		}
	}
	return ""
}

// within lists the rows of a range that the transaction wrote to, in order.
func (t *tx) within(kind store.Kind, lower, upper store.ID) []found {
	var own []found
	for r := range t.rows {
		if r.Kind == kind && r.ID >= lower && (upper == "" || r.ID < upper) {
			own = append(own, found{id: r.ID})
		}
	}
	slices.SortFunc(own, func(a, b found) int { return strings.Compare(string(a.id), string(b.id)) })
	return own
}

// page reads some rows of a range from the server.
func (t *tx) page(kind store.Kind, lower, upper store.ID, size int) ([]found, error) {
	var rows pgx.Rows
	var err error
	if upper == "" {
		rows, err = t.conn.Query(t.ctx, t.cluster.sql.scan, t.tenant[:], int16(kind), []byte(lower), size)
	} else {
		rows, err = t.conn.Query(t.ctx, t.cluster.sql.scanTo, t.tenant[:], int16(kind), []byte(lower), size, []byte(upper))
	}
	if err != nil {
		return nil, t.fail(err)
	}
	page, err := pgx.CollectRows(rows, readFound)
	if err != nil {
		return nil, t.fail(err)
	}
	return page, nil
}

// readFound reads an identifier and a value.
func readFound(r pgx.CollectableRow) (f found, err error) {
	var id []byte
	err = r.Scan(&id, &f.value)
	f.id = store.ID(id)
	return f, err
}
