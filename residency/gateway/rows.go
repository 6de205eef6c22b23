package gateway

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/tlv"
)

// The layouts of the values that the gateway stores, before sealing. FORMAT.md
// has them byte by byte. Tags are only ever appended.
const rowVersion = 1

// wholeTenant is the scope of a consent of the whole tenant, in place of a subject.
const wholeTenant = store.ID("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// newestFirst turns a time-ordered UUID into an ID whose ascending order is
// that of descending time.
func newestFirst(id uuid.UUID) store.ID {
	for i := range id {
		id[i] = ^id[i]
	}
	return store.ID(id[:])
}

// fromNewestFirst undoes newestFirst.
func fromNewestFirst(id store.ID) (uuid.UUID, error) {
	u, err := uuid.FromBytes([]byte(id))
	if err != nil {
		return u, err
	}
	for i := range u {
		u[i] = ^u[i]
	}
	return u, nil
}

// tenantRow is a tenant's registration: account data.
type tenantRow struct {
	ID        string
	Residence residency.Jurisdiction
	Region    residency.Region
	State     TenantState
	Epoch     uint64
	Created   time.Time
}

func (r *tenantRow) encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 128), rowVersion)
	e.String(1, r.ID)
	e.String(2, r.Residence.String())
	e.String(3, string(r.Region))
	e.Uint(4, uint64(r.State))
	e.Uint(5, r.Epoch)
	e.Time(6, r.Created)
	return e.Encoded()
}

func decodeTenant(b []byte) (tenantRow, error) {
	var r tenantRow
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			r.ID = d.String()
		case 2:
			copy(r.Residence[:], d.Value)
		case 3:
			r.Region = residency.Region(d.String())
		case 4:
			r.State = TenantState(d.Uint8())
		case 5:
			r.Epoch = d.Uint()
		case 6:
			r.Created = d.Time()
		}
	}
	return r, d.Err()
}

// subjectRow is a person that the tenant holds records about.
type subjectRow struct {
	ID      string
	Created time.Time
}

func (r *subjectRow) encode() []byte {
	e := tlv.NewEncoder(nil, rowVersion)
	e.String(1, r.ID)
	e.Time(2, r.Created)
	return e.Encoded()
}

func decodeSubject(b []byte) (subjectRow, error) {
	var r subjectRow
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			r.ID = d.String()
		case 2:
			r.Created = d.Time()
		}
	}
	return r, d.Err()
}

// recordHead is what a decision must know of a record before it may be opened.
// It is pseudonymous, stands in clear before the sealed part, and is bound into
// it: a changed head does not open.
type recordHead struct {
	Version   uint64
	Purposes  residency.Purposes
	Source    residency.Source
	Collected time.Time
	Expires   time.Time
	Email     store.ID // its blind index, or ""
	Phone     store.ID
}

func (h *recordHead) encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 96), rowVersion)
	e.Uint(1, h.Version)
	e.Uint(2, uint64(h.Purposes))
	e.Uint(3, uint64(h.Source))
	e.Time(4, h.Collected)
	e.Time(5, h.Expires)
	e.String(6, string(h.Email))
	e.String(7, string(h.Phone))
	return e.Encoded()
}

func decodeHead(b []byte) (recordHead, error) {
	var h recordHead
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			h.Version = d.Uint()
		case 2:
			h.Purposes = residency.Purposes(d.Uint32())
		case 3:
			h.Source = residency.Source(d.Uint8())
		case 4:
			h.Collected = d.Time()
		case 5:
			h.Expires = d.Time()
		case 6:
			h.Email = store.ID(d.Value)
		case 7:
			h.Phone = store.ID(d.Value)
		}
	}
	return h, d.Err()
}

// expired reports whether the record has ended (clause cookies).
func (h *recordHead) expired(now time.Time) bool {
	return !h.Expires.IsZero() && !now.Before(h.Expires)
}

// joinRecord lays a record's row out: the length of the head, the head, the sealed part.
func joinRecord(head, sealed []byte) []byte {
	row := binary.AppendUvarint(make([]byte, 0, 2+len(head)+len(sealed)), uint64(len(head)))
	row = append(row, head...)
	return append(row, sealed...)
}

func splitRecord(row []byte) (head, sealed []byte, err error) {
	n, k := binary.Uvarint(row)
	if k <= 0 || n > uint64(len(row)-k) {
		return nil, nil, fmt.Errorf("%w: record head", tlv.ErrMalformed)
	}
	row = row[k:]
	return row[:n:n], row[n:], nil
}

// encodeRecord gives the personal part of a record, which is sealed.
func encodeRecord(r *Record) []byte {
	e := tlv.NewEncoder(make([]byte, 0, 384), rowVersion)
	e.String(1, r.Subject)
	e.String(2, r.ID)
	e.String(3, r.FullName)
	e.String(4, r.Address)
	e.String(5, r.Phone)
	e.String(6, r.Email)
	for _, k := range slices.Sorted(maps.Keys(r.Attributes)) {
		e.StringItem(7, k)
		e.StringItem(7, r.Attributes[k])
	}
	e.String(8, r.SourceParty)
	e.Uint(9, uint64(r.BirthDate.Year))
	e.Uint(10, uint64(r.BirthDate.Month))
	e.Uint(11, uint64(r.BirthDate.Day))
	e.String(12, r.Residence.String())
	return e.Encoded()
}

func decodeRecord(b []byte, r *Record) error {
	d := tlv.NewDecoder(b, rowVersion)
	key, have := "", false
	for d.Next() {
		switch d.Tag {
		case 1:
			r.Subject = d.String()
		case 2:
			r.ID = d.String()
		case 3:
			r.FullName = d.String()
		case 4:
			r.Address = d.String()
		case 5:
			r.Phone = d.String()
		case 6:
			r.Email = d.String()
		case 7:
			if !have {
				key, have = d.String(), true
				continue
			}
			if r.Attributes == nil {
				r.Attributes = make(map[string]string)
			}
			r.Attributes[key], have = d.String(), false
		case 8:
			r.SourceParty = d.String()
		case 9:
			r.BirthDate.Year = int(d.Uint32())
		case 10:
			r.BirthDate.Month = int(d.Uint8())
		case 11:
			r.BirthDate.Day = int(d.Uint8())
		case 12:
			copy(r.Residence[:], d.Value)
		}
	}
	return d.Err()
}

// driveRow is a drive: account data. Its incarnation is drawn when it is
// created; the drive's key and extents go by it, so that nothing of a deleted
// drive ever meets a later one of the same name.
type driveRow struct {
	Self    store.ID // the incarnation
	ID      string
	Name    string
	Size    int64
	Created time.Time
	Updated time.Time

	Restricted residency.Purposes // the purposes that were taken away (clause change-use)
}

func (r *driveRow) encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 96), rowVersion)
	e.String(1, r.ID)
	e.String(2, r.Name)
	e.Uint(3, uint64(r.Size))
	e.Time(4, r.Created)
	e.Time(5, r.Updated)
	e.String(6, string(r.Self))
	e.Uint(7, uint64(r.Restricted))
	return e.Encoded()
}

func decodeDrive(b []byte) (driveRow, error) {
	var r driveRow
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			r.ID = d.String()
		case 2:
			r.Name = d.String()
		case 3:
			r.Size = d.Int64()
		case 4:
			r.Created = d.Time()
		case 5:
			r.Updated = d.Time()
		case 6:
			r.Self = store.ID(d.Value)
		case 7:
			r.Restricted = residency.Purposes(d.Uint32())
		}
	}
	return r, d.Err()
}

func (r *driveRow) public(version uint64) Drive {
	return Drive{ID: r.ID, Name: r.Name, Size: r.Size, Version: version, Created: r.Created, Updated: r.Updated, Restricted: r.Restricted}
}

// extentRow says which blob holds a chunk of a drive, and how much of the
// chunk, from its start; the rest of it reads as zero.
type extentRow struct {
	Blob   string
	Length int64
}

func (r *extentRow) encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 96), rowVersion)
	e.String(1, r.Blob)
	e.Uint(2, uint64(r.Length))
	return e.Encoded()
}

func decodeExtent(b []byte) (extentRow, error) {
	var r extentRow
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			r.Blob = d.String()
		case 2:
			r.Length = d.Int64()
		}
	}
	return r, d.Err()
}

// streamRow is a stream that is open: its intent entry, so that any replica can
// close it in the log, and how far it had come when its lease was last renewed.
type streamRow struct {
	Intent  []byte
	Bytes   uint64
	Renewed time.Time
	Check   time.Time // when the agenda looks at it
}

func (r *streamRow) encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 512), rowVersion)
	e.Bytes(1, r.Intent)
	e.Uint(2, r.Bytes)
	e.Time(3, r.Renewed)
	e.Time(4, r.Check)
	return e.Encoded()
}

func decodeStream(b []byte) (streamRow, error) {
	var r streamRow
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			r.Intent = slices.Clone(d.Value)
		case 2:
			r.Bytes = d.Uint()
		case 3:
			r.Renewed = d.Time()
		case 4:
			r.Check = d.Time()
		}
	}
	return r, d.Err()
}

// encode gives a write's answer as a request_id keeps it.
func (w *RecordWritten) encode() []byte {
	e := tlv.NewEncoder(nil, rowVersion)
	e.String(1, w.ID)
	e.Uint(2, w.Version)
	e.Time(3, w.Collected)
	return e.Encoded()
}

func decodeWritten(b []byte) RecordWritten {
	var w RecordWritten
	d := tlv.NewDecoder(b, rowVersion)
	for d.Next() {
		switch d.Tag {
		case 1:
			w.ID = d.String()
		case 2:
			w.Version = d.Uint()
		case 3:
			w.Collected = d.Time()
		}
	}
	return w
}
