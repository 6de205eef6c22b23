package proof

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// MaxEntry is the most bytes that an entry has.
const MaxEntry = 8703

// Entry is what one entry of the log says (FORMAT.md). Numbers of closed sets are shown by their names. Whoever
// is in it is there by a pseudonym, in hexadecimal digits, that only the gateway's keys could resolve.
type Entry struct {
	Place      uint64    `json:"place"` // in the log, from 1
	Time       time.Time `json:"time"`
	DecisionID string    `json:"decision_id"` // all entries of one call have the same
	Phase      string    `json:"phase"`       // DECIDED; of streams INTENT and ENDED
	Method     string    `json:"method"`
	Caller     string    `json:"caller"`
	Region     string    `json:"region"`
	Gateway    string    `json:"gateway"`
	Tenant     string    `json:"tenant,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Object     string    `json:"object,omitempty"`
	Recipient  string    `json:"recipient,omitempty"`

	Allow         bool     `json:"allow"`
	Reason        string   `json:"reason,omitempty"` // why it was refused
	Missing       []string `json:"missing,omitempty"`
	Clause        string   `json:"clause,omitempty"`
	PolicyVersion string   `json:"policy_version,omitempty"`
	PolicyDigest  string   `json:"policy_digest,omitempty"`
	Controller    string   `json:"controller,omitempty"`
	Consents      []string `json:"consents,omitempty"` // the one that the decision names first; as the caller asserted them
	OrderID       string   `json:"order_id,omitempty"`
	From          string   `json:"from,omitempty"`
	To            string   `json:"to,omitempty"`
	Via           []string `json:"via,omitempty"`
	Action        string   `json:"action,omitempty"`
	DataClass     string   `json:"data_class,omitempty"`
	Purpose       string   `json:"purpose,omitempty"`

	Result string `json:"result,omitempty"` // what the call gave in the end, when it failed
	Bytes  uint64 `json:"bytes,omitempty"`
	End    string `json:"end,omitempty"` // how a stream ended: completed, cut or unknown
}

const (
	entryVersion = 1
	maxText      = 1024
	maxList      = 8 // jurisdictions on the way, and likewise further consents
)

// The tags that other code than fields names.
const (
	tagVia      = 26
	tagConsents = 31
)

// ParseEntry reads an entry. It takes the one form of each and refuses all else.
func ParseEntry(b []byte) (Entry, error) {
	e, err := parseEntry(b)
	if err != nil {
		return Entry{}, fmt.Errorf("what stands there is no audit entry: %w", err)
	}
	return e, nil
}

func parseEntry(b []byte) (Entry, error) {
	if len(b) == 0 || len(b) > MaxEntry || b[0] != entryVersion {
		return Entry{}, errors.New("it is empty, too long or of another version than 1")
	}
	r := &entryReader{}
	var last uint64
	for b = b[1:]; len(b) > 0; {
		tag, value, rest, err := nextField(b)
		repeats := tag == last && (tag == tagVia || tag == tagConsents)
		switch {
		case err != nil:
			return Entry{}, err
		case tag <= last && !repeats:
			return Entry{}, fmt.Errorf("field %d stands after field %d", tag, last)
		case len(value) == 0:
			return Entry{}, fmt.Errorf("field %d is empty", tag)
		}
		last, b = tag, rest
		if r.field(tag, value); r.err != nil {
			return Entry{}, fmt.Errorf("field %d %w", tag, r.err)
		}
	}
	return r.e, r.complete()
}

// nextField reads a tag, a length and that many bytes.
func nextField(b []byte) (tag uint64, value, rest []byte, err error) {
	tag, n := uvarint(b)
	if n == 0 {
		return 0, nil, nil, errors.New("a tag is not an integer in its shortest form")
	}
	size, m := uvarint(b[n:])
	b = b[n+m:]
	if m == 0 || size > uint64(len(b)) {
		return 0, nil, nil, fmt.Errorf("the length of field %d is wrong", tag)
	}
	return tag, b[:size], b[size:], nil
}

// uvarint reads an unsigned LEB128 integer in its shortest form; n is 0 when there is none.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

// entryReader fills an entry and keeps what was wrong with the field at hand.
type entryReader struct {
	e       Entry
	further int // how many fields 31 there were
	err     error
}

func (r *entryReader) field(tag uint64, v []byte) { //nolint:gocyclo // one line a field
	e := &r.e
	switch tag {
	case 1:
		e.Place = r.integer(v)
	case 2:
		e.Time = r.time(v)
	case 3:
		e.DecisionID = r.uuid(v)
	case 4:
		e.Phase = r.name(v, phases)
	case 5:
		e.Method = r.text(v)
	case 6:
		e.Caller = r.text(v)
	case 7:
		e.Region = r.region(v)
	case 8:
		e.Gateway = r.text(v)
	case 9:
		e.Tenant = hex.EncodeToString(r.exactly(v, 16))
	case 10:
		e.Subject = hex.EncodeToString(r.exactly(v, 16))
	case 11:
		e.Object = hex.EncodeToString(r.exactly(v, 16))
	case 27:
		e.Result = r.name(v, reasons)
	case 28:
		e.Bytes = r.integer(v)
	case 29:
		e.End = r.name(v, ends)
	case 30:
		e.Recipient = hex.EncodeToString(r.exactly(v, 16))
	default:
		r.decisionField(tag, v)
	}
}

func (r *entryReader) decisionField(tag uint64, v []byte) { //nolint:gocyclo // one line a field
	e := &r.e
	switch tag {
	case 12:
		if e.Allow = r.integer(v) == 1; !e.Allow {
			r.fail("is neither 1 nor left out")
		}
	case 13:
		e.Reason = r.name(v, reasons)
	case 14:
		e.Missing = r.set(v, requirements)
	case 15:
		e.Clause = r.text(v)
	case 16:
		e.PolicyVersion = r.text(v)
	case 17:
		e.PolicyDigest = "sha256:" + hex.EncodeToString(r.exactly(v, 32))
	case 18:
		e.Controller = r.text(v)
	case 19:
		e.Consents = append(e.Consents, r.text(v))
	case 20:
		e.OrderID = r.text(v)
	case 21:
		e.From = r.jurisdiction(v)
	case 22:
		e.To = r.jurisdiction(v)
	case 23:
		e.Action = r.name(v, actions)
	case 24:
		e.DataClass = r.name(v, dataClasses)
	case 25:
		e.Purpose = r.name(v, purposes)
	case tagVia:
		e.Via = append(e.Via, r.jurisdiction(v))
	case tagConsents:
		r.consent(r.uuid(v))
	default:
		r.fail("is unknown: a newer program wrote it")
	}
}

func (r *entryReader) fail(what string) {
	if r.err == nil {
		r.err = errors.New(what)
	}
}

func (r *entryReader) integer(v []byte) uint64 {
	i, n := uvarint(v)
	if n != len(v) || i == 0 {
		r.fail("is not an integer of at least 1 in its shortest form")
	}
	return i
}

func (r *entryReader) time(v []byte) time.Time {
	ns := r.integer(v)
	if ns > 1<<63-1 {
		r.fail("is later than a time can be")
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}

func (r *entryReader) name(v []byte, names []string) string {
	i := r.integer(v)
	if i >= uint64(len(names)) {
		r.fail("has a number that has no name here: a newer program wrote it")
		return ""
	}
	return names[i]
}

func (r *entryReader) set(v []byte, names []string) (out []string) {
	bits := r.integer(v)
	if bits>>len(names) != 0 {
		r.fail("has a number that has no name here: a newer program wrote it")
	}
	for i, name := range names {
		if bits>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}

func (r *entryReader) text(v []byte) string {
	if len(v) > maxText || !utf8.Valid(v) {
		r.fail(fmt.Sprintf("is not UTF-8 of at most %d bytes", maxText))
	}
	return string(v)
}

func (r *entryReader) region(v []byte) string {
	if !isRegion(v) {
		r.fail("is not of 1 to 32 of a-z, 0-9 and -")
	}
	return string(v)
}

// isRegion reports whether what is not empty can be a region's name.
func isRegion(v []byte) bool {
	other := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' }
	return len(v) <= 32 && !bytes.ContainsFunc(v, other) && v[0] != '-'
}

func (r *entryReader) jurisdiction(v []byte) string {
	if b := r.exactly(v, 2); !isLetter(b[0]) || !isLetter(b[1]) {
		r.fail("is not a code of two upper-case letters")
	}
	return string(v)
}

func isLetter(c byte) bool { return 'A' <= c && c <= 'Z' }

func (r *entryReader) exactly(v []byte, n int) []byte {
	if len(v) != n {
		r.fail(fmt.Sprintf("has %d bytes, want %d", len(v), n))
		return make([]byte, n)
	}
	return v
}

func (r *entryReader) uuid(v []byte) string {
	s := hex.EncodeToString(r.exactly(v, 16))
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// consent adds a further consent, of which none may be named twice.
func (r *entryReader) consent(id string) {
	for _, other := range r.e.Consents {
		if other == id {
			r.fail("names a consent twice")
		}
	}
	r.e.Consents = append(r.e.Consents, id)
	r.further++
}

// complete holds the fields together.
func (r *entryReader) complete() error {
	e := &r.e
	switch {
	case e.Place == 0 || e.Time.IsZero() || e.DecisionID == "" || e.Phase == "" || e.Method == "" || e.Region == "":
		return errors.New("it says not even place, time, decision, phase, method and region")
	case (e.End != "") != (e.Phase == ended):
		return errors.New("field 29 says how a stream ended when the phase is 3, and nothing else does")
	case len(e.Via) > maxList:
		return fmt.Errorf("field %d stands more than %d times", tagVia, maxList)
	case r.further > maxList || r.further > 0 && !e.Allow:
		return fmt.Errorf("field %d stands at most %d times, and only where access was permitted", tagConsents, maxList)
	}
	return nil
}
