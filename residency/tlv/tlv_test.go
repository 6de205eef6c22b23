package tlv_test

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/tlv"
	"pgregory.net/rapid"
)

const version = 7

type field struct {
	tag   uint64
	value []byte
}

// decode lists the fields of a value, or the decoder's error.
func decode(b []byte) ([]field, error) {
	var out []field
	d := tlv.NewDecoder(b, version)
	for d.Next() {
		out = append(out, field{d.Tag, d.Value})
	}
	return out, d.Err()
}

func encode(fields []field) []byte {
	e := tlv.NewEncoder(nil, version)
	for _, f := range fields {
		e.Item(f.tag, f.value)
	}
	return e.Encoded()
}

// TestRoundTrip: what is encoded is decoded, in order, lists included.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fields []field
		tag := uint64(1)
		for range rapid.IntRange(0, 20).Draw(t, "fields") {
			tag += rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 1<<20)).Draw(t, "gap")
			fields = append(fields, field{tag, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")})
		}
		b := encode(fields)
		got, err := decode(b)
		if err != nil || len(got) != len(fields) {
			t.Fatalf("%d fields, %v; want %d", len(got), err, len(fields))
		}
		for i := range got {
			if got[i].tag != fields[i].tag || !bytes.Equal(got[i].value, fields[i].value) {
				t.Fatalf("field %d: %v, want %v", i, got[i], fields[i])
			}
		}
	})
}

// TestIntegers: integers of every size come back, in their shortest form.
func TestIntegers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "v")
		e := tlv.NewEncoder(nil, version)
		e.UintItem(1, v)
		d := tlv.NewDecoder(e.Encoded(), version)
		if !d.Next() || d.Uint() != v || d.Err() != nil {
			t.Fatalf("%d: %v", v, d.Err())
		}
		for _, narrow := range []struct {
			read func(*tlv.Decoder) uint64
			most uint64
		}{
			{func(d *tlv.Decoder) uint64 { return uint64(d.Uint8()) }, math.MaxUint8},
			{func(d *tlv.Decoder) uint64 { return uint64(d.Uint32()) }, math.MaxUint32},
			{func(d *tlv.Decoder) uint64 { return uint64(d.Int64()) }, math.MaxInt64},
		} {
			d := tlv.NewDecoder(e.Encoded(), version)
			d.Next()
			got := narrow.read(d)
			if fits := v <= narrow.most; fits != (d.Err() == nil) || fits && got != v || !fits && got != 0 {
				t.Fatalf("%d, at most %d: got %d, %v", v, narrow.most, got, d.Err())
			}
		}
	})
}

// TestTimes: times come back to the nanosecond; what is unset stays so, and a far
// end stays a far end.
func TestTimes(t *testing.T) {
	last := time.Unix(0, math.MaxInt64).UTC()
	for _, c := range []struct{ in, want time.Time }{
		{time.Time{}, time.Time{}},
		{time.Unix(0, 0), time.Time{}},
		{time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		{time.Unix(0, 1), time.Unix(0, 1).UTC()},
		{time.Date(2026, 11, 3, 4, 5, 6, 789, time.FixedZone("", 3600)), time.Date(2026, 11, 3, 3, 5, 6, 789, time.UTC)},
		{last, last},
		{last.Add(1), last},
		{time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), last},
	} {
		e := tlv.NewEncoder(nil, version)
		e.Time(3, c.in)
		d, got := tlv.NewDecoder(e.Encoded(), version), time.Time{}
		for d.Next() {
			got = d.Time()
		}
		if d.Err() != nil || got != c.want {
			t.Errorf("%v: got %v, %v; want %v", c.in, got, d.Err(), c.want)
		}
	}
}

// TestEmptyIsLeftOut: only members of lists may be empty or zero.
func TestEmptyIsLeftOut(t *testing.T) {
	e := tlv.NewEncoder(nil, version)
	e.Bytes(1, nil)
	e.String(2, "")
	e.Uint(3, 0)
	if got := e.Encoded(); !bytes.Equal(got, []byte{version}) {
		t.Errorf("got %x", got)
	}
	e.Item(4, nil)
	e.StringItem(4, "")
	e.UintItem(4, 0)
	if got, want := e.Encoded(), []byte{version, 4, 0, 4, 0, 4, 1, 0}; !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestRefusals: every way of writing a value otherwise is refused.
func TestRefusals(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":             {},
		"another version":     {version + 1, 1, 0},
		"tag zero":            {version, 0, 0},
		"descending tags":     {version, 2, 0, 1, 0},
		"long tag":            {version, 0x81, 0x00, 0},
		"long length":         {version, 1, 0x80, 0x00},
		"no length":           {version, 1},
		"unfinished tag":      {version, 0x80},
		"too short":           {version, 1, 2, 0xaa},
		"bytes left over":     {version, 1, 1, 0xaa, 0x81},
		"length of 70 bits":   {version, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"length above an int": {version, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		if fields, err := decode(b); !errors.Is(err, tlv.ErrMalformed) {
			t.Errorf("%s: got %v, %v", name, fields, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty":         {version, 1, 0},
		"longer":        {version, 1, 2, 0x81, 0x00},
		"trailing":      {version, 1, 2, 0x01, 0x01},
		"unfinished":    {version, 1, 1, 0x81},
		"above 64 bits": {version, 1, 10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
	} {
		d := tlv.NewDecoder(b, version)
		if !d.Next() || d.Uint() != 0 || !errors.Is(d.Err(), tlv.ErrMalformed) || d.Next() {
			t.Errorf("integer %s: %v", name, d.Err())
		}
	}
}

// TestOrderPanics: an encoder refuses what no decoder would read.
func TestOrderPanics(t *testing.T) {
	for _, tags := range [][]uint64{{0}, {2, 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("tags %v: no panic", tags)
				}
			}()
			e := tlv.NewEncoder(nil, version)
			for _, tag := range tags {
				e.Item(tag, nil)
			}
		}()
	}
}

// FuzzDecode: whatever is accepted encodes again to the same bytes, and reading it in
// any way never panics.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{version})
	f.Add([]byte{version, 1, 1, 5, 1, 2, 0xac, 0x02, 200, 1, 0})
	f.Add([]byte{version, 1, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := decode(b)
		if err == nil && !bytes.Equal(encode(fields), b) {
			t.Fatalf("%x decodes, but encodes to %x", b, encode(fields))
		}
		if err != nil && !errors.Is(err, tlv.ErrMalformed) {
			t.Fatalf("%x: %v does not wrap ErrMalformed", b, err)
		}
		d := tlv.NewDecoder(b, version)
		for d.Next() {
			_, _, _, _, _ = d.Uint(), d.Uint8(), d.Uint32(), d.Time(), d.String()
		}
	})
}
