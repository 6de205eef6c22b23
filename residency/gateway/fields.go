package gateway

import (
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/tlv"
)

// row is a stored value whose fields are described once, for writing and for reading. FORMAT.md has the tags.
type row interface{ layout(f *fields) }

// fields writes every field that a layout names, or reads the one that the decoder is at.
type fields struct {
	out *tlv.Encoder
	in  *tlv.Decoder // nil while writing
}

func encodeRow(r row) []byte {
	e := tlv.NewEncoder(make([]byte, 0, 256), rowVersion)
	r.layout(&fields{out: &e})
	return e.Encoded()
}

func decodeRow(b []byte, r row) error {
	d := tlv.NewDecoder(b, rowVersion)
	f := &fields{in: d}
	for d.Next() {
		r.layout(f)
	}
	return d.Err()
}

func (f *fields) at(tag uint64) bool { return f.in != nil && f.in.Tag == tag }

func (f *fields) text(tag uint64, v *string) {
	switch {
	case f.in == nil:
		f.out.String(tag, *v)
	case f.at(tag):
		*v = f.in.String()
	}
}

func (f *fields) texts(tag uint64, list *[]string) {
	switch {
	case f.in == nil:
		for _, s := range *list {
			f.out.StringItem(tag, s)
		}
	case f.at(tag):
		*list = append(*list, f.in.String())
	}
}

func (f *fields) bytes(tag uint64, v *[]byte) {
	switch {
	case f.in == nil:
		f.out.Bytes(tag, *v)
	case f.at(tag):
		*v = append([]byte(nil), f.in.Value...)
	}
}

func (f *fields) time(tag uint64, v *time.Time) {
	switch {
	case f.in == nil:
		f.out.Time(tag, *v)
	case f.at(tag):
		*v = f.in.Time()
	}
}

func (f *fields) uint(tag uint64, v *uint64) {
	switch {
	case f.in == nil:
		f.out.Uint(tag, *v)
	case f.at(tag):
		*v = f.in.Uint()
	}
}

func (f *fields) int(tag uint64, v *int64) {
	switch {
	case f.in == nil:
		f.out.Uint(tag, uint64(*v)) //nolint:gosec // never negative
	case f.at(tag):
		*v = f.in.Int64()
	}
}

func (f *fields) flag(tag uint64, v *bool) {
	switch {
	case f.in == nil && *v:
		f.out.Uint(tag, 1)
	case f.at(tag):
		*v = f.in.Uint() == 1
	}
}

func (f *fields) jurisdiction(tag uint64, v *residency.Jurisdiction) {
	switch {
	case f.in == nil:
		f.out.String(tag, v.String())
	case f.at(tag):
		copy(v[:], f.in.Value)
	}
}

// small is a value of a closed set, or a set of purposes.
type small interface{ ~uint8 | ~uint32 }

func number[T small](f *fields, tag uint64, v *T) {
	switch {
	case f.in == nil:
		f.out.Uint(tag, uint64(*v))
	case f.at(tag):
		n := f.in.Uint32()
		if *v = T(n); uint32(*v) != n {
			f.in.Fail(errors.New("a number beyond its set"))
		}
	}
}

// rows is a list of rows within a row.
func rows[T any, P interface {
	*T
	row
}](f *fields, tag uint64, list *[]T) {
	switch {
	case f.in == nil:
		for i := range *list {
			f.out.Item(tag, encodeRow(P(&(*list)[i])))
		}
	case f.at(tag):
		var v T
		if err := decodeRow(f.in.Value, P(&v)); err != nil {
			f.in.Fail(err)
			return
		}
		*list = append(*list, v)
	}
}
