package postgres

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/domicile-project/domicile/residency/store"
)

// A statement writes at most this many rows, or about this many bytes.
const (
	statementRows  = 1000
	statementBytes = 4 << 20
)

// commit sends what the transaction wrote and commits it, without waiting for
// the disk: one round trip, or two when it asks for its entries' places. It gives the newest place that it made.
func (t *tx) commit() (last uint64, again bool, err error) {
	b := &pgx.Batch{}
	t.queueRows(b)
	t.queueTasks(b)
	if s, ok := t.splice(); ok {
		s.queue(b, t, &last)
	} else if len(t.appended) > 0 {
		b.Queue(t.cluster.sql.head, len(t.appended), milliseconds(maxIdleHead)).QueryRow(func(r pgx.Row) error { return r.Scan(&last, nil) })
		if err := t.conn.SendBatch(t.ctx, b).Close(); err != nil {
			err = t.fail(err)
			return 0, passes(err), err
		}
		b = &pgx.Batch{}
		t.queueEntries(b, last-uint64(len(t.appended))+1)
	}
	var tag pgconn.CommandTag
	b.Queue("commit").Exec(func(ct pgconn.CommandTag) error { tag = ct; return nil })
	err = t.conn.SendBatch(t.ctx, b).Close()
	switch {
	case err != nil && certain(err):
		err = t.fail(err)
		return 0, passes(err), err
	case err != nil && tag.String() != "COMMIT":
		return 0, false, fmt.Errorf("whether it was committed is not known: %w", t.fail(err))
	case tag.String() != "COMMIT":
		return 0, false, fmt.Errorf("%w: the server rolled the transaction back", store.ErrUnavailable)
	}
	return last, false, nil
}

// splice takes the transaction's entries apart, unless there are none or the
// server cannot put them together.
func (t *tx) splice() (spliced, bool) {
	if len(t.appended) == 0 || t.asking {
		return spliced{}, false
	}
	return splice(t.appended, t.cluster.durable.Load()+uint64(len(t.appended)))
}

// queueRows adds the statements that write rows, in ascending order of the rows.
func (t *tx) queueRows(b *pgx.Batch) {
	order := make([]store.Row, 0, len(t.rows))
	for r := range t.rows {
		order = append(order, r)
	}
	slices.SortFunc(order, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(string(a.ID), string(b.ID)))
	})
	var put, remove columns
	for _, r := range order {
		w, c := t.rows[r], &put
		if w.deleted {
			c = &remove
		}
		c.add(0, int16(r.Kind), r.ID, w.value)
		if c.full() {
			t.flushRows(b, &put, &remove)
		}
	}
	t.flushRows(b, &put, &remove)
}

func (t *tx) flushRows(b *pgx.Batch, put, remove *columns) {
	if len(put.ids) > 0 {
		b.Queue(t.cluster.sql.put, t.tenant[:], put.kinds, put.ids, put.values)
	}
	if len(remove.ids) > 0 {
		b.Queue(t.cluster.sql.remove, t.tenant[:], remove.kinds, remove.ids)
	}
	*put, *remove = columns{}, columns{}
}

// queueTasks adds the statements that write tasks.
func (t *tx) queueTasks(b *pgx.Batch) {
	order := make([]task, 0, len(t.tasks))
	for k := range t.tasks {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b task) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), strings.Compare(string(a.id), string(b.id)))
	})
	var plan, unplan columns
	for _, k := range order {
		w, c := t.tasks[k], &plan
		if w.deleted {
			c = &unplan
		}
		c.add(k.at, int16(k.kind), k.id, w.value)
		if c.full() {
			t.flushTasks(b, &plan, &unplan)
		}
	}
	t.flushTasks(b, &plan, &unplan)
}

func (t *tx) flushTasks(b *pgx.Batch, plan, unplan *columns) {
	if len(plan.ids) > 0 {
		b.Queue(t.cluster.sql.plan, t.tenant[:], plan.ats, plan.kinds, plan.ids, plan.values)
	}
	if len(unplan.ids) > 0 {
		b.Queue(t.cluster.sql.unplan, t.tenant[:], unplan.ats, unplan.kinds, unplan.ids)
	}
	*plan, *unplan = columns{}, columns{}
}

// columns are the rows of one statement, column by column, as unnest takes them.
type columns struct {
	ats         []int64
	kinds       []int16
	ids, values [][]byte
	bytes       int
}

func (c *columns) add(at int64, kind int16, id store.ID, value []byte) {
	c.ats, c.kinds = append(c.ats, at), append(c.kinds, kind)
	c.ids, c.values = append(c.ids, []byte(id)), append(c.values, value)
	c.bytes += len(id) + len(value)
}

func (c *columns) full() bool { return len(c.ids) >= statementRows || c.bytes >= statementBytes }

// queueEntries builds the entries, the first at a place, and adds the statements
// that append them and write what finds them.
func (t *tx) queueEntries(b *pgx.Batch, first uint64) {
	built := make([][]byte, len(t.appended))
	var index columns
	for i, a := range t.appended {
		place := first + uint64(i)
		if built[i] = a.build(place); built[i] == nil {
			built[i] = []byte{}
		}
		if a.index == "" {
			continue
		}
		at := slices.IndexFunc(index.ids, func(id []byte) bool { return bytes.Equal(id, []byte(a.index)) })
		if at < 0 {
			index.add(0, 0, a.index, nil)
			at = len(index.ids) - 1
		}
		index.values[at] = binary.BigEndian.AppendUint64(index.values[at], place)
	}
	b.Queue(t.cluster.sql.append, int64(first), built)
	if len(index.ids) > 0 {
		b.Queue(t.cluster.sql.index, t.tenant[:], int16(store.KindDecision), index.ids, index.values)
	}
}
