package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/tlv"
)

// ErrMalformed is what every error of Parse and Validate wraps.
var ErrMalformed = errors.New("malformed audit entry")

// entryVersion is the first byte of an entry. It changes when a field's meaning does. A
// field may be added without: a reader that does not know it refuses the entry.
const entryVersion = 1

// The tags of the fields, in the order of Entry's. They are never reused.
const (
	tagPlace         = 1
	tagTime          = 2
	tagDecision      = 3
	tagPhase         = 4
	tagMethod        = 5
	tagCaller        = 6
	tagRegion        = 7
	tagGateway       = 8
	tagTenant        = 9
	tagSubject       = 10
	tagObject        = 11
	tagAllow         = 12
	tagReason        = 13
	tagMissing       = 14
	tagClause        = 15
	tagPolicyVersion = 16
	tagPolicyDigest  = 17
	tagController    = 18
	tagConsent       = 19
	tagOrder         = 20
	tagFrom          = 21
	tagTo            = 22
	tagAction        = 23
	tagDataClass     = 24
	tagPurpose       = 25
	tagVia           = 26
	tagResult        = 27
	tagBytes         = 28
	tagEnd           = 29
	tagRecipient     = 30
	tagConsents      = 31
)

const (
	maxText       = 1024 // bytes of any one text
	pseudonymSize = 16
	digestPrefix  = "sha256:"
	digestSize    = 32
)

// Append appends the entry's encoding to dst and returns the extended buffer.
// It allocates nothing when dst has room; MaxEncoded bytes are enough for any valid entry.
//
// It never fails, since it runs where nothing may: an identifier that has not its form is
// encoded as a mark that Parse refuses. Validate says beforehand whether there is one.
func (e *Entry) Append(dst []byte) []byte {
	w := tlv.NewEncoder(dst, entryVersion)
	w.Uint(tagPlace, e.Place)
	w.Time(tagTime, e.Time)
	putUUID(&w, tagDecision, e.DecisionID)
	w.Uint(tagPhase, uint64(e.Phase))
	w.String(tagMethod, e.Method)
	w.String(tagCaller, e.Caller)
	w.String(tagRegion, string(e.Region))
	w.String(tagGateway, e.Gateway)
	putPseudonym(&w, tagTenant, e.Tenant)
	putPseudonym(&w, tagSubject, e.Subject)
	w.Bytes(tagObject, e.Object)
	if e.Allow {
		w.Uint(tagAllow, 1)
	}
	w.Uint(tagReason, uint64(e.Reason))
	w.Uint(tagMissing, uint64(e.Missing))
	w.String(tagClause, e.Clause)
	w.String(tagPolicyVersion, e.PolicyVersion)
	putDigest(&w, tagPolicyDigest, e.PolicyDigest)
	w.String(tagController, e.Controller)
	w.String(tagConsent, e.ConsentID)
	w.String(tagOrder, e.OrderID)
	putJurisdiction(&w, tagFrom, e.From)
	putJurisdiction(&w, tagTo, e.To)
	w.Uint(tagAction, uint64(e.Action))
	w.Uint(tagDataClass, uint64(e.DataClass))
	w.Uint(tagPurpose, uint64(e.Purpose))
	for i := range e.Via {
		w.Item(tagVia, e.Via[i][:])
	}
	w.Uint(tagResult, uint64(e.Result))
	w.Uint(tagBytes, e.Bytes)
	w.Uint(tagEnd, uint64(e.End))
	w.Bytes(tagRecipient, e.Recipient)
	for _, id := range e.Consents {
		putItem(&w, tagConsents, id)
	}
	return w.Encoded()
}

// MaxEncoded is the length in bytes that no valid entry exceeds: the version,
// eight texts, a region, five identifiers, a digest, twelve integers, the
// jurisdictions and the further consents, each with its tag and length.
const MaxEncoded = 1 + 8*(maxText+3) + 34 + 5*18 + 34 + 12*12 + (2+MaxVia)*4 + MaxConsents*18

// malformed is the value that marks an identifier without its form: of a length that none has.
var malformed = []byte{0}

func putUUID(w *tlv.Encoder, tag uint64, s string) {
	if s != "" {
		putItem(w, tag, s)
	}
}

// putItem adds a UUID to a list, in which an empty one has no place.
func putItem(w *tlv.Encoder, tag uint64, s string) {
	var b [16]byte
	if decodeUUID(&b, s) {
		w.Item(tag, b[:])
	} else {
		w.Item(tag, malformed)
	}
}

func putPseudonym(w *tlv.Encoder, tag uint64, s string) {
	var b [pseudonymSize]byte
	switch {
	case s == "":
	case decodeHex(b[:], s):
		w.Item(tag, b[:])
	default:
		w.Item(tag, malformed)
	}
}

func putDigest(w *tlv.Encoder, tag uint64, s string) {
	var b [digestSize]byte
	switch {
	case s == "":
	case strings.HasPrefix(s, digestPrefix) && decodeHex(b[:], s[len(digestPrefix):]):
		w.Item(tag, b[:])
	default:
		w.Item(tag, malformed)
	}
}

func putJurisdiction(w *tlv.Encoder, tag uint64, j residency.Jurisdiction) {
	if !j.IsZero() {
		w.Item(tag, j[:])
	}
}

// decodeUUID reads the form 8-4-4-4-12 of lower-case hexadecimal digits.
func decodeUUID(dst *[16]byte, s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		decodeHex(dst[:4], s[:8]) && decodeHex(dst[4:6], s[9:13]) && decodeHex(dst[6:8], s[14:18]) &&
		decodeHex(dst[8:10], s[19:23]) && decodeHex(dst[10:], s[24:])
}

// decodeHex reads exactly as many lower-case hexadecimal digits as fill dst.
func decodeHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := digits[s[2*i]], digits[s[2*i+1]]
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

// digits gives the value of a lower-case hexadecimal digit, and 0xff for all else.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

// Parse reads an entry. It accepts what Append gives for a valid entry whose place is
// set and nothing else: no unknown field, no other order or form, no value
// outside its closed set. Errors wrap ErrMalformed and echo no value.
func Parse(b []byte) (Entry, error) {
	e, err := decode(b)
	if err == nil && e.Place == 0 {
		err = errors.New("it has no place")
	}
	if err == nil {
		err = e.check()
	}
	if err == nil && !bytes.Equal(e.Append(make([]byte, 0, len(b))), b) {
		err = errors.New("it is not in the canonical form")
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, nil
}

// decode reads the fields; what they may be together is check's.
func decode(b []byte) (Entry, error) {
	var e Entry
	r := reader{d: tlv.NewDecoder(b, entryVersion)}
	for r.d.Next() && r.err == nil {
		r.field(&e)
	}
	if err := r.d.Err(); err != nil {
		return Entry{}, err
	}
	return e, r.err
}

// ParseVolume reads of an entry what its volume is counted from and whom it is counted for: time, phase, caller, tenant,
// outcome, action, class, result, bytes and end. All other fields stay empty, and what they hold is not looked at: it is
// for entries whose form was seen to when they were made, a few times cheaper than Parse. Errors wrap ErrMalformed.
func ParseVolume(b []byte) (Entry, error) {
	var e Entry
	r := reader{d: tlv.NewDecoder(b, entryVersion)}
	for r.d.Next() && r.err == nil {
		switch r.d.Tag {
		case tagTime, tagPhase, tagCaller, tagTenant, tagAllow, tagAction, tagDataClass, tagResult, tagBytes, tagEnd:
			r.field(&e)
		}
	}
	if err := errors.Join(r.d.Err(), r.err); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, nil
}

// reader reads one entry's fields and keeps the first thing wrong with them.
type reader struct {
	d   *tlv.Decoder
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("field %d %s", r.d.Tag, what)
	}
}

func (r *reader) field(e *Entry) {
	switch r.d.Tag {
	case tagPlace:
		e.Place = r.d.Uint()
	case tagTime:
		e.Time = r.d.Time()
	case tagDecision:
		e.DecisionID = r.uuid()
	case tagPhase:
		e.Phase = Phase(r.d.Uint8())
	case tagMethod:
		e.Method = r.d.String()
	case tagCaller:
		e.Caller = r.d.String()
	case tagRegion:
		e.Region = residency.Region(r.d.String())
	case tagGateway:
		e.Gateway = r.d.String()
	case tagTenant:
		e.Tenant = hex.EncodeToString(r.exactly(pseudonymSize))
	case tagSubject:
		e.Subject = hex.EncodeToString(r.exactly(pseudonymSize))
	case tagObject:
		e.Object = bytes.Clone(r.exactly(pseudonymSize))
	case tagResult:
		e.Result = residency.Kind(r.d.Uint8())
	case tagBytes:
		e.Bytes = r.d.Uint()
	case tagEnd:
		e.End = StreamEnd(r.d.Uint8())
	case tagRecipient:
		e.Recipient = bytes.Clone(r.exactly(pseudonymSize))
	default:
		r.decisionField(e)
	}
}

func (r *reader) decisionField(e *Entry) {
	switch r.d.Tag {
	case tagAllow:
		e.Allow = r.d.Uint() == 1
	case tagReason:
		e.Reason = residency.Kind(r.d.Uint8())
	case tagMissing:
		e.Missing = residency.Requirements(r.d.Uint32())
	case tagClause:
		e.Clause = r.d.String()
	case tagPolicyVersion:
		e.PolicyVersion = r.d.String()
	case tagPolicyDigest:
		e.PolicyDigest = digestPrefix + hex.EncodeToString(r.exactly(digestSize))
	case tagController:
		e.Controller = r.d.String()
	case tagConsent:
		e.ConsentID = r.d.String()
	case tagOrder:
		e.OrderID = r.d.String()
	case tagFrom:
		e.From = r.jurisdiction()
	case tagTo:
		e.To = r.jurisdiction()
	case tagAction:
		e.Action = residency.Action(r.d.Uint8())
	case tagDataClass:
		e.DataClass = residency.DataClass(r.d.Uint8())
	case tagPurpose:
		e.Purpose = residency.Purpose(r.d.Uint8())
	case tagVia:
		e.Via = append(e.Via, r.jurisdiction())
	case tagConsents:
		e.Consents = append(e.Consents, r.uuid())
	default:
		r.fail("is unknown: a newer program wrote it")
	}
}

// exactly gives the current field, which must have n bytes.
func (r *reader) exactly(n int) []byte {
	if len(r.d.Value) != n {
		r.fail(fmt.Sprintf("has not %d bytes", n))
		return make([]byte, n)
	}
	return r.d.Value
}

func (r *reader) jurisdiction() residency.Jurisdiction {
	return residency.Jurisdiction(r.exactly(2))
}

func (r *reader) uuid() string {
	b := r.exactly(16)
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// Validate reports whether the entry, once its place is set, is one that Parse
// accepts. Errors wrap ErrMalformed, name the field and what would be right, and echo no value.
func (e *Entry) Validate() error {
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func (e *Entry) check() error {
	return errors.Join(e.checkForms(), e.checkSets(), e.checkTexts(), e.checkConsents())
}

// latest is the last moment that a time field can hold.
var latest = time.Unix(0, 1<<63-1)

// checkForms holds each identifier to its form.
func (e *Entry) checkForms() error {
	var id [16]byte
	var digest [digestSize]byte
	_, regionErr := residency.ParseRegion(string(e.Region))
	switch {
	case !e.Time.After(time.Unix(0, 0)) || e.Time.After(latest):
		return errors.New("field Time is not after 1970 and before 2262-04-12")
	case !decodeUUID(&id, e.DecisionID):
		return errors.New("field DecisionID is not a UUID in lower case")
	case e.Tenant != "" && !decodeHex(id[:], e.Tenant):
		return errors.New("field Tenant is not of 32 hexadecimal digits in lower case")
	case e.Subject != "" && !decodeHex(id[:], e.Subject):
		return errors.New("field Subject is not of 32 hexadecimal digits in lower case")
	case len(e.Object) != 0 && len(e.Object) != pseudonymSize:
		return errors.New("field Object has not 16 bytes")
	case len(e.Recipient) != 0 && len(e.Recipient) != pseudonymSize:
		return errors.New("field Recipient has not 16 bytes")
	case e.PolicyDigest != "" && !(strings.HasPrefix(e.PolicyDigest, digestPrefix) && decodeHex(digest[:], e.PolicyDigest[len(digestPrefix):])):
		return errors.New("field PolicyDigest is not sha256: and 64 hexadecimal digits in lower case")
	case regionErr != nil:
		return fmt.Errorf("field Region: %w", regionErr)
	}
	return nil
}

// checkSets holds each value to its closed set. A code of a jurisdiction is held to its form
// only: an entry outlives the list of those that are assigned.
func (e *Entry) checkSets() error {
	switch {
	case e.Phase == PhaseUnspecified || e.Phase >= numPhases:
		return errors.New("field Phase is not one of DECIDED, INTENT, ENDED")
	case e.End >= numEnds || (e.End != NotEnded) != (e.Phase == Ended):
		return errors.New("field End says how the stream ended when Phase is ENDED, and nothing else does")
	case e.Reason >= residency.NumKinds:
		return errors.New("field Reason is not in the catalogue")
	case e.Result >= residency.NumKinds:
		return errors.New("field Result is not in the catalogue")
	case e.Missing >= 1<<residency.NumRequirements:
		return errors.New("field Missing names an unknown requirement")
	case e.Action >= residency.NumActions:
		return errors.New("field Action is unknown")
	case e.DataClass >= residency.NumDataClasses:
		return errors.New("field DataClass is unknown")
	case e.Purpose >= residency.NumPurposes:
		return errors.New("field Purpose is unknown")
	case len(e.Via) > MaxVia:
		return fmt.Errorf("field Via names more than %d gateways", MaxVia)
	}
	return e.checkJurisdictions()
}

func (e *Entry) checkJurisdictions() error {
	for _, j := range e.Via {
		if !isCode(j) {
			return errors.New("field Via names something that is no code of two upper-case letters")
		}
	}
	if !e.From.IsZero() && !isCode(e.From) || !e.To.IsZero() && !isCode(e.To) {
		return errors.New("fields From and To are codes of two upper-case letters")
	}
	return nil
}

// checkConsents holds the further consents to their form and number, and each to be named once.
func (e *Entry) checkConsents() error {
	if len(e.Consents) > MaxConsents {
		return fmt.Errorf("field Consents names more than %d consents", MaxConsents)
	}
	if len(e.Consents) > 0 && !e.Allow {
		return errors.New("field Consents names what a permitted access relied on, and nothing else does")
	}
	var b [16]byte
	for i, id := range e.Consents {
		if !decodeUUID(&b, id) {
			return errors.New("field Consents holds something that is no UUID in lower case")
		}
		if id == e.ConsentID || slices.Contains(e.Consents[:i], id) {
			return errors.New("fields ConsentID and Consents name one consent twice")
		}
	}
	return nil
}

func isCode(j residency.Jurisdiction) bool {
	return 'A' <= j[0] && j[0] <= 'Z' && 'A' <= j[1] && j[1] <= 'Z'
}

// checkTexts bounds the texts.
func (e *Entry) checkTexts() error {
	for _, t := range [...]struct{ field, text string }{
		{"Method", e.Method}, {"Caller", e.Caller}, {"Gateway", e.Gateway}, {"Clause", e.Clause},
		{"PolicyVersion", e.PolicyVersion}, {"Controller", e.Controller}, {"ConsentID", e.ConsentID}, {"OrderID", e.OrderID},
	} {
		if len(t.text) > maxText || !utf8.ValidString(t.text) {
			return fmt.Errorf("field %s is not UTF-8 text of at most %d bytes", t.field, maxText)
		}
	}
	if e.Method == "" {
		return errors.New("field Method is empty")
	}
	return nil
}
