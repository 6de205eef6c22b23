package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// An entry states its place, and which it gets is known only once the
// outbox's head is locked. Were it asked for, every other writer of the cluster would wait
// for that round trip too. So the server is sent what is before the place and what is after it, and puts the
// place in between itself: locking the head, appending and committing are one message.
//
// It can do so where the place is a varint, which an entry of package audit's is. Whether it is, is
// found out for each entry, by building it at the least and at the greatest place of a width: the
// bytes must differ in that varint alone. An entry that is otherwise is built in between.

// maxWidth is how many bytes the varint of the greatest place has: 63 bits.
const maxWidth = 9

// widthBounds gives the least and the greatest place whose varint has so many bytes.
func widthBounds(width int) (least, greatest uint64) {
	if width == 1 {
		return 1, 1<<7 - 1
	}
	return 1 << (7 * (width - 1)), 1<<(7*width) - 1
}

// widthOf is how many bytes the varint of a place has.
func widthOf(place uint64) int { return len(binary.AppendUvarint(nil, place)) }

// spliced are entries without their places, for places of one width, and what finds them.
type spliced struct {
	width         int
	before, after [][]byte
	indexes       [][]byte
	indexed       []int64 // which entry each index finds, from 1
}

// splice takes entries apart for places near one; ok is false when one is not made so.
func splice(appended []entry, near uint64) (s spliced, ok bool) {
	s.width = widthOf(near)
	if s.width > maxWidth {
		return s, false
	}
	for i, a := range appended {
		before, after, ok := apart(a.build, s.width)
		if !ok {
			return s, false
		}
		s.before, s.after = append(s.before, before), append(s.after, after)
		if a.index != "" {
			s.indexes, s.indexed = append(s.indexes, []byte(a.index)), append(s.indexed, int64(i+1))
		}
	}
	return s, true
}

// apart gives what an entry has before and after the varint of its place.
func apart(build func(uint64) []byte, width int) (before, after []byte, ok bool) {
	least, greatest := widthBounds(width)
	low, high := build(least), build(greatest)
	at := 0
	for at < len(low) && at < len(high) && low[at] == high[at] {
		at++
	}
	if len(low) != len(high) || len(low) < at+width ||
		!bytes.Equal(low[at:at+width], binary.AppendUvarint(nil, least)) ||
		!bytes.Equal(high[at:at+width], binary.AppendUvarint(nil, greatest)) ||
		!bytes.Equal(low[at+width:], high[at+width:]) {
		return nil, nil, false
	}
	return low[:at:at], low[at+width:], true
}

// queue adds the statement that takes the places, appends the entries and writes
// what finds them. last is set to the newest place.
func (s *spliced) queue(b *pgx.Batch, t *tx, last *uint64) {
	if s.indexes == nil {
		s.indexes, s.indexed = [][]byte{}, []int64{}
	}
	b.Queue(t.cluster.sql.spliced[s.width], len(s.before), milliseconds(maxIdleHead), s.before, s.after,
		t.tenant[:], int16(store.KindDecision), s.indexes, s.indexed).QueryRow(func(r pgx.Row) error { return r.Scan(last, nil) })
}

// splicedSQL makes the statement for places whose varints have so many bytes. At
// a place of another width there is no entry, which the table refuses (codeNoEntry).
func splicedSQL(rows, outbox, head string, width int) string {
	least, greatest := widthBounds(width)
	const place = "h.last - $1 + w.n"
	return fmt.Sprintf(`with h as (update %s set last = last + $1 returning last, set_config('idle_in_transaction_session_timeout', $2, true) as held),
	o as (insert into %s (place, entry) select %[4]s, case when %[4]s between %[5]d and %[6]d then w.before || %[7]s || w.after end
		from h, unnest($3::bytea[], $4::bytea[]) with ordinality as w(before, after, n)),
	i as (insert into %[3]s as r (tenant, kind, id, value) select $5, $6, w.id, string_agg(int8send(%[4]s), ''::bytea order by w.n)
		from h, unnest($7::bytea[], $8::bigint[]) as w(id, n) group by w.id
		on conflict (tenant, kind, id) do update set value = r.value || excluded.value)
	select last, held from h`, head, outbox, rows, place, least, greatest, varintSQL("("+place+")", width))
}

// varintSQL is the varint of a number that has so many bytes.
func varintSQL(n string, width int) string {
	sql := fmt.Sprintf(`'\x%0*x'::bytea`, 2*width, 0)
	for i := range width {
		more := 128
		if i == width-1 {
			more = 0
		}
		sql = fmt.Sprintf("set_byte(%s, %d, (((%s >> %d) & 127) | %d)::int)", sql, i, n, 7*i, more)
	}
	return sql
}

// codeNoEntry is what the table answers to a place without an entry.
const codeNoEntry = "23502" // not_null_violation
