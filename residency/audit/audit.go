// Package audit knows what an audit entry is and how its bytes are laid out:
// which decision was made, over which call, and what came of it, naming
// people, tenants and objects by pseudonyms only.
//
// It leaves the order and durability of entries to store.Outbox, in which they
// are appended by the deciding transaction. An entry has exactly one encoding,
// so that a digest of the bytes is a digest of what they say: a Merkle tree over
// the log takes the encoded entry, unchanged, as its leaf (RFC 6962: SHA-256 of
// a zero byte and the entry). The entry states its own place, so that it cannot be shown
// as another's. FORMAT.md specifies every byte and publishes how many there are.
package audit

import (
	"time"

	"github.com/domicile-project/domicile/residency"
)

// Phase is which of a call's entries an entry is.
type Phase uint8

// The phases. The zero value is none and is refused.
const (
	PhaseUnspecified Phase = iota
	Decided                // a unary act: this one entry is intent and outcome
	Intent                 // a stream's first, written before its first byte
	Ended                  // a stream's last: its outcome
	numPhases        = iota
)

// String gives the phase's name, for example "DECIDED".
func (p Phase) String() string { return nameOf(phaseNames[:], uint8(p)) }

var phaseNames = [numPhases]string{"UNSPECIFIED", "DECIDED", "INTENT", "ENDED"}

// StreamEnd is how a stream ended.
type StreamEnd uint8

// The ends. The zero value is that of entries in a phase other than Ended.
const (
	NotEnded  StreamEnd = iota
	Completed           // everything was carried
	Cut                 // it ended before; Entry.Result says why
	Unknown             // the gateway that served it is gone; Entry.Bytes is its last count
	numEnds   = iota
)

// String gives the end's name as the API has it, for example "completed"; "" for NotEnded.
func (e StreamEnd) String() string { return nameOf(endNames[:], uint8(e)) }

var endNames = [numEnds]string{"", "completed", "cut", "unknown"}

func nameOf(names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "invalid"
}

// Entry is one entry of a storage cluster's audit log. No field holds personal
// information; a test lists the fields that may exist.
type Entry struct {
	Place      uint64    // its place in the cluster's log, from 1; set when it is appended
	Time       time.Time // the storage cluster's clock, to the nanosecond: of the decision or, when Ended, of the end
	DecisionID string    // a UUID in lower case; all entries of one call have the same
	Phase      Phase
	Method     string           // for example "/residency.v1.RecordService/GetRecord"
	Caller     string           // the caller's identity, a URI
	Region     residency.Region // whose log it is: the tenant's home
	Gateway    string           // the name of the gateway that decided
	Tenant     string           // the tenant's pseudonym: 32 hexadecimal digits in lower case; "" when there is no such tenant
	Subject    string           // the subject's pseudonym, likewise; "" when the call is about none or it is unknown
	Object     []byte           // the pseudonym of the record or drive, 16 bytes; nil when there is none

	Allow         bool                   // whether the access was permitted
	Reason        residency.Kind         // why it was refused; OK when permitted
	Missing       residency.Requirements // the requirements that were not met
	Clause        string                 // the clause that decided
	PolicyVersion string
	PolicyDigest  string // "sha256:" and 64 hexadecimal digits in lower case; "" when there was no policy
	Controller    string // the legal entity that controls the data
	ConsentID     string // the consent relied on or, when refused, the one that no longer holds
	OrderID       string // the legal order, abuse case or granted request relied on
	From          residency.Jurisdiction
	To            residency.Jurisdiction
	Action        residency.Action
	DataClass     residency.DataClass
	Purpose       residency.Purpose
	Via           []residency.Jurisdiction // the gateways on the way, from the home on; at most 8

	Result residency.Kind // what the call gave in the end; OK = success
	Bytes  uint64         // how many bytes of data it carried
	End    StreamEnd      // how the stream ended; NotEnded unless Phase is Ended

	Recipient []byte // the pseudonym of the recipient whom the call is about, 16 bytes; nil when there is none or it is unknown

	// Consents are those that a permitted access relied on beside ConsentID, UUIDs in lower case, in the order in which it
	// did; no two are the same. Of more than MaxConsents the first are here, so that as many mean that there may be more.
	Consents []string
}

// MaxVia is how many gateways an entry names at the most.
const MaxVia = 8

// MaxConsents is how many consents an entry names at the most beside ConsentID.
const MaxConsents = 8

// SetDecision copies a decision into the entry: all of it, its time included.
func (e *Entry) SetDecision(d *residency.Decision) {
	e.Time, e.DecisionID = d.Time, d.ID
	e.Allow, e.Reason, e.Missing = d.Allow, d.Reason, d.Missing
	e.Clause, e.PolicyVersion, e.PolicyDigest, e.Controller = d.Clause, d.PolicyVersion, d.PolicyDigest, d.Controller
	e.ConsentID, e.OrderID = d.ConsentID, d.OrderID
	e.From, e.To = d.From, d.To
	e.Action, e.DataClass, e.Purpose = d.Action, d.DataClass, d.Purpose
}

// DecisionOf gives the decision that the entry records. Its time is the entry's;
// that of the decision of a stream is in its Intent.
func (e *Entry) DecisionOf() residency.Decision {
	return residency.Decision{
		ID: e.DecisionID, Allow: e.Allow, Reason: e.Reason, Missing: e.Missing,
		Clause: e.Clause, PolicyVersion: e.PolicyVersion, PolicyDigest: e.PolicyDigest, Controller: e.Controller,
		ConsentID: e.ConsentID, OrderID: e.OrderID, From: e.From, To: e.To,
		Action: e.Action, DataClass: e.DataClass, Purpose: e.Purpose, Time: e.Time,
	}
}
