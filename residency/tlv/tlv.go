// Package tlv knows how stored values are laid out: a version byte, then fields
// of a tag, a length and that many bytes, in ascending order of their tags.
//
// The encoding is canonical: one value has exactly one encoding, so that a
// digest of the bytes is a digest of the value. A tag may repeat (a list); its
// fields keep their order. Integers are unsigned LEB128 varints in their
// shortest form. A field with an empty or zero value is left out unless it is a
// member of a list. Decoders skip tags that they do not know, so fields can be
// added; the version changes only when a meaning does.
//
// A Decoder refuses tags out of order, integers that could be shorter and bytes left over: the
// fields that it gives encode again to the same bytes. Which tags are lists only
// the value's own type knows; where another encoding of the same value would do harm, the reader
// encodes what it read and compares.
package tlv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrMalformed is what every decoding failure wraps.
var ErrMalformed = errors.New("malformed value")

// Encoder appends fields to a buffer. Fields must be added in ascending order
// of their tags; adding one out of order is a programming error and panics.
type Encoder struct {
	buf  []byte
	last uint64
}

// NewEncoder starts a value of the given version, appended to buf, which may be nil.
func NewEncoder(buf []byte, version byte) Encoder {
	return Encoder{buf: append(buf, version)}
}

// Encoded gives the buffer.
func (e *Encoder) Encoded() []byte { return e.buf }

func (e *Encoder) tag(tag uint64) {
	if tag == 0 || tag < e.last {
		panic(fmt.Sprintf("tlv: tag %d after %d", tag, e.last))
	}
	e.last = tag
	e.buf = binary.AppendUvarint(e.buf, tag)
}

// Item adds a field even when v is empty: a member of a list.
func (e *Encoder) Item(tag uint64, v []byte) {
	e.tag(tag)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(v)))
	e.buf = append(e.buf, v...)
}

// StringItem adds a field even when v is empty: a member of a list.
func (e *Encoder) StringItem(tag uint64, v string) {
	e.tag(tag)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(v)))
	e.buf = append(e.buf, v...)
}

// Bytes adds a field, or nothing when v is empty.
func (e *Encoder) Bytes(tag uint64, v []byte) {
	if len(v) > 0 {
		e.Item(tag, v)
	}
}

// String adds a field, or nothing when v is empty.
func (e *Encoder) String(tag uint64, v string) {
	if v != "" {
		e.StringItem(tag, v)
	}
}

// Uint adds a field, or nothing when v is zero.
func (e *Encoder) Uint(tag uint64, v uint64) {
	if v != 0 {
		e.UintItem(tag, v)
	}
}

// UintItem adds a field even when v is zero: a member of a list.
func (e *Encoder) UintItem(tag uint64, v uint64) {
	e.tag(tag)
	var b [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(b[:], v)
	e.buf = append(e.buf, byte(n))
	e.buf = append(e.buf, b[:n]...)
}

// latest is the last time that nanoseconds in 63 bits reach: 2262-04-11T23:47:16.854775807Z.
var latest = time.Unix(0, math.MaxInt64)

// Time adds a field of nanoseconds since 1970-01-01T00:00:00Z, or nothing for
// the zero time. Times up to 1970-01-01T00:00:00Z are not representable and are
// left out; those after 2262-04-11T23:47:16.854775807Z are stored as that one.
func (e *Encoder) Time(tag uint64, t time.Time) {
	switch {
	case !t.After(time.Unix(0, 0)):
	case t.After(latest):
		e.Uint(tag, math.MaxInt64)
	default:
		e.Uint(tag, uint64(t.UnixNano()))
	}
}

// Decoder reads fields. After a failure every further call does nothing and
// Err says what was wrong.
type Decoder struct {
	rest []byte
	last uint64
	err  error

	// Tag and Value are the field that Next found. Value aliases the input.
	Tag   uint64
	Value []byte
}

// NewDecoder starts reading a value, which must be of the given version.
func NewDecoder(b []byte, version byte) *Decoder {
	d := &Decoder{}
	switch {
	case len(b) == 0:
		d.err = fmt.Errorf("%w: empty", ErrMalformed)
	case b[0] != version:
		d.err = fmt.Errorf("%w: version %d, want %d", ErrMalformed, b[0], version)
	default:
		d.rest = b[1:]
	}
	return d
}

// Next moves to the next field and reports whether there is one.
func (d *Decoder) Next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	tag := d.uvarint()
	n := d.uvarint()
	switch {
	case d.err != nil:
	case tag == 0 || tag < d.last:
		d.fail("tag %d after %d", tag, d.last)
	case n > uint64(len(d.rest)):
		d.fail("field %d has %d bytes, %d are left", tag, n, len(d.rest))
	default:
		d.Tag, d.last = tag, tag
		d.Value, d.rest = d.rest[:n:n], d.rest[n:]
		return true
	}
	return false
}

func (d *Decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// Fail notes a failure of who reads: a field that holds what it must not. The first failure stands.
func (d *Decoder) Fail(err error) { d.fail("field %d: %w", d.Tag, err) }

func (d *Decoder) uvarint() uint64 {
	v, n := shortest(d.rest)
	if n <= 0 {
		d.fail("bad integer")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// shortest reads a varint and refuses one that could have been shorter.
func shortest(b []byte) (uint64, int) {
	v, n := binary.Uvarint(b)
	if n > 1 && b[n-1] == 0 {
		return 0, -1
	}
	return v, n
}

// String gives the current field as text.
func (d *Decoder) String() string { return string(d.Value) }

// Uint gives the current field as an integer.
func (d *Decoder) Uint() uint64 {
	v, n := shortest(d.Value)
	if n <= 0 || n != len(d.Value) {
		d.fail("field %d is not an integer", d.Tag)
		return 0
	}
	return v
}

// Uint8 gives the current field as a small integer.
func (d *Decoder) Uint8() uint8 {
	v := d.Uint()
	if v > math.MaxUint8 {
		d.fail("field %d is above %d", d.Tag, math.MaxUint8)
		return 0
	}
	return uint8(v)
}

// Uint32 gives the current field as an integer of 32 bits.
func (d *Decoder) Uint32() uint32 {
	v := d.Uint()
	if v > math.MaxUint32 {
		d.fail("field %d is above %d", d.Tag, uint32(math.MaxUint32))
		return 0
	}
	return uint32(v)
}

// Int64 gives the current field as a non-negative signed integer.
func (d *Decoder) Int64() int64 {
	v := d.Uint()
	if v > math.MaxInt64 {
		d.fail("field %d is above %d", d.Tag, int64(math.MaxInt64))
		return 0
	}
	return int64(v)
}

// Time gives the current field as a time.
func (d *Decoder) Time() time.Time {
	return time.Unix(0, d.Int64()).UTC()
}

// Err says what was wrong, or nil. Call it after the last field.
func (d *Decoder) Err() error { return d.err }
