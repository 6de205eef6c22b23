// Package consent knows what a recorded consent means: where it stands at a
// moment, what it covers, and whose word wins when a person and a tenant
// disagree. It is pure: consents and the time come in, a finding comes out.
package consent

import (
	"time"

	"github.com/domicile-project/domicile/residency"
)

// Evidence is how it is known that somebody agreed. Method and Grantor are
// personal information.
type Evidence struct {
	Method         string
	Grantor        string
	NoticeLanguage string    // a BCP 47 tag
	NoticeDigest   string    // "sha256:" and 64 hexadecimal digits
	Stated         time.Time // when the statement was made
}

// Consent is a recorded consent with its history: recorded, then possibly
// superseded, withdrawn, or past its end. Nothing recorded is ever removed.
type Consent struct {
	ID            string
	Kind          residency.ConsentKind
	Subject       string // the person; "" when it is the whole tenant's
	WholeTenant   bool
	Classes       residency.DataClasses
	From          residency.Jurisdiction
	To            residency.Jurisdiction
	Purposes      residency.Purposes
	Recipients    []string
	Supersedes    string
	Evidence      Evidence
	PolicyVersion string
	Granted       time.Time
	GrantedBy     string    // the caller that recorded it
	Expires       time.Time // never zero in a recorded consent
	Withdrawn     time.Time // zero = not
	WithdrawnBy   string
	Superseded    time.Time // zero = not
	SupersededBy  string    // the consent that replaced it
}

// State says where the consent stands at a moment. A withdrawal outweighs
// everything; a consent whose end is not stated is treated as expired.
func (c *Consent) State(now time.Time) residency.ConsentState {
	switch {
	case !c.Withdrawn.IsZero():
		return residency.ConsentWithdrawn
	case !c.Superseded.IsZero():
		return residency.ConsentSuperseded
	case !now.Before(c.Expires):
		return residency.ConsentExpired
	case c.Granted.IsZero():
		return residency.ConsentStateUnspecified
	}
	return residency.ConsentActive
}

// Query is what a consent would have to cover. Unset members are covered by
// nothing, except Recipient, which is empty when nobody outside the company receives.
type Query struct {
	Kind      residency.ConsentKind
	Class     residency.DataClass
	From, To  residency.Jurisdiction
	Purpose   residency.Purpose
	Recipient string
}

// Covers reports whether the consent, were it active, permits what is asked.
func (c *Consent) Covers(q Query) bool {
	if q.Kind == residency.ConsentKindUnspecified || c.Kind != q.Kind {
		return false
	}
	if q.From.IsZero() || q.To.IsZero() || c.From != q.From || c.To != q.To {
		return false
	}
	if !c.Classes.Has(q.Class) || !c.Purposes.Has(q.Purpose) {
		return false
	}
	return q.Recipient == "" || contains(c.Recipients, q.Recipient)
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// Finding is what the consents say about a query.
type Finding struct {
	Active bool
	ID     string                 // the consent relied on or, when none is active, the one that no longer holds
	State  residency.ConsentState // of that consent; unspecified when none ever covered the query
	Until  time.Time              // when the consent relied on expires
}

// Find looks for an active consent that covers the query, among a person's own
// consents and the whole tenant's. The person's own word wins: an own consent
// that was withdrawn, or replaced by one that says less, with no own active one
// beside it, outweighs the tenant's.
// Among several the one that was granted last is named.
func Find(q Query, now time.Time, own, tenant []Consent) Finding {
	mine := newest(q, now, own)
	if mine.Active || mine.State == residency.ConsentWithdrawn || mine.State == residency.ConsentSuperseded {
		return mine
	}
	theirs := newest(q, now, tenant)
	if rankOf(theirs.State) > rankOf(mine.State) || mine.ID == "" {
		return theirs
	}
	return mine
}

// newest picks the active consent that was granted last; without one, a
// withdrawn one before an expired or superseded one.
func newest(q Query, now time.Time, list []Consent) Finding {
	var best Finding
	var at time.Time
	rank := 0
	for i := range list {
		c := &list[i]
		if !c.Covers(q) {
			continue
		}
		state := c.State(now)
		r := rankOf(state)
		if r > rank || r == rank && c.Granted.After(at) {
			best = Finding{Active: state == residency.ConsentActive, ID: c.ID, State: state, Until: c.Expires}
			rank, at = r, c.Granted
		}
	}
	return best
}

func rankOf(s residency.ConsentState) int {
	switch s {
	case residency.ConsentActive:
		return 4
	case residency.ConsentWithdrawn:
		return 3
	case residency.ConsentSuperseded:
		return 2
	case residency.ConsentExpired:
		return 1
	}
	return 0
}

// Reason gives the kind that a refusal for want of this consent carries.
func (f Finding) Reason() residency.Kind {
	switch f.State {
	case residency.ConsentWithdrawn:
		return residency.ConsentIsWithdrawn
	case residency.ConsentExpired:
		return residency.ConsentIsExpired
	case residency.ConsentSuperseded:
		return residency.ConsentIsSuperseded
	}
	return residency.OK
}
