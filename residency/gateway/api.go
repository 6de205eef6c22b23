package gateway

import (
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
)

// Caller is who calls, as the gate recognised it. Its jurisdiction comes from
// the configured caller table, never from the request.
type Caller struct {
	ID           string // the identity's URI
	Jurisdiction residency.Jurisdiction
	Party        residency.Party
	Sees         func(tenant string) bool // the caller's tenant list; nil sees none
	SeesAll      bool                     // the list holds every tenant there is and will be
}

// Call is one call on its way through the gateway: who calls what, by which
// way, and what was decided about it. A Call serves one request.
type Call struct {
	Caller    Caller
	Method    string                   // the full method, for example "/residency.v1.RecordService/GetRecord"
	Action    residency.Action         // the method's annotated action
	Class     residency.DataClass      // the method's annotated data class
	Via       []residency.Jurisdiction // gateways on the way that do not serve the home region themselves
	Peer      string                   // the identity of the gateway that forwarded the call here; "" = it came directly
	Elsewhere residency.Region         // where the call was forwarded, unless it is decided here
	Decided   func(residency.Decision) // called once, when the decision is durable and before any data moves; may be nil

	// Sent waits until the transport has passed on what a stream gave it, or stop is closed; an error ends
	// the stream. Its lease is looked at after it, so that what waits for a slow caller waits
	// where it can still be held back. May be nil.
	Sent func(stop <-chan struct{}) error

	// Decision is what was decided, for the trailer: set as soon as the decision
	// is durable, whether the call then succeeds or not. Its ID is empty until then.
	Decision residency.Decision

	// Lease is how long from the call's begin its answer may be passed on, when it tells what is there; 0 =
	// for as long as one likes. Of a stream it is what it begins with (see Leases). It is set with Decision.
	Lease time.Duration
}

// TenantState is whether a tenant is served.
type TenantState uint8

// The states, numbered as in the protos.
const (
	TenantStateUnspecified TenantState = iota
	TenantActive
	TenantSuspended
	TenantRelocating
	TenantMoved
	TenantErasing
)

// Tenant is a registered tenant.
type Tenant struct {
	ID            string
	Residence     residency.Jurisdiction
	Home          residency.Region
	Jurisdiction  residency.Jurisdiction // the home region's
	Controller    string
	PolicyVersion string
	State         TenantState
	Created       time.Time
	Version       uint64 // counts the registration's changes, from 1
}

// NewTenant asks to register a tenant.
type NewTenant struct {
	ID        string
	Residence residency.Jurisdiction
	Home      residency.Region // "" = as the residence decides
	Agreement *consent.Evidence
	RequestID string
}

// Date is a calendar date; the zero Date is none.
type Date struct{ Year, Month, Day int }

// Record is one record about one person. All of it but the identifiers, the
// source, the purposes and the times is personal information.
type Record struct {
	ID          string
	Subject     string
	FullName    string
	Address     string
	Phone       string
	Email       string
	Attributes  map[string]string
	Source      residency.Source
	SourceParty string
	Purposes    residency.Purposes
	BirthDate   Date
	Residence   residency.Jurisdiction
	Collected   time.Time
	Expires     time.Time // zero = never
	Version     uint64
	Controller  string // the legal entity that controls the information; set by the gateway
}

// PutRecord asks to create or replace a record. Expected is the version that is
// replaced: nil = whatever is there, 0 = the record must not exist.
type PutRecord struct {
	Tenant    string
	Record    Record
	Expected  *uint64
	RequestID string
}

// RecordWritten is what a write answers. A blind write from abroad answers the
// identifier alone.
type RecordWritten struct {
	ID        string
	Version   uint64
	Collected time.Time
}

// GetRecord asks for a record.
type GetRecord struct {
	Tenant, Subject, Record string
	Purpose                 residency.Purpose
}

// DeleteRecord asks to delete a record. Expected is the version that is
// deleted; nil = whatever is there.
type DeleteRecord struct {
	Tenant, Subject, Record string
	Expected                *uint64
	RequestID               string
}

// Page asks for a part of a list.
type Page struct {
	Size  int    // 0 = 100, at most 1000
	Token string // "" = the first page
}

// ListRecords asks for a subject's records.
type ListRecords struct {
	Tenant, Subject string
	Purpose         residency.Purpose
	Page            Page
}

// ListSubjects asks for a tenant's subjects.
type ListSubjects struct {
	Tenant  string
	Purpose residency.Purpose
	Page    Page
}

// Subject is a person that a tenant holds records about.
type Subject struct {
	ID      string
	Created time.Time
}

// FindRecords asks for records by an e-mail address or a phone number; one of
// the two is set.
type FindRecords struct {
	Tenant       string
	Email, Phone string
	Purpose      residency.Purpose
	Page         Page
}

// Drive is a virtual drive.
type Drive struct {
	ID      string
	Name    string
	Size    int64 // bytes
	Version uint64
	Created time.Time
	Updated time.Time

	Restricted residency.Purposes // taken away
}

// NewDrive asks to create a drive.
type NewDrive struct {
	Tenant, ID, Name string
	Size             int64
	RequestID        string
}

// DeleteDrive asks to delete a drive. Expected is the version that is deleted;
// nil = whatever is there.
type DeleteDrive struct {
	Tenant, Drive string
	Expected      *uint64
	RequestID     string
}

// WriteDrive asks to write a range of bytes.
type WriteDrive struct {
	Tenant, Drive string
	Offset        int64
	Purpose       residency.Purpose
	RequestID     string
}

// DriveWritten is what a write answers.
type DriveWritten struct {
	Bytes   int64
	Version uint64
}

// ReadDrive asks for a range of bytes. Length 0 = to the end of the drive.
type ReadDrive struct {
	Tenant, Drive  string
	Offset, Length int64
	Purpose        residency.Purpose
}

// GrantConsent asks to record a consent. Its identifier, state and times are
// set by the gateway.
type GrantConsent struct {
	Tenant    string
	Consent   consent.Consent
	RequestID string
}

// ListConsents asks for consents, newest first.
type ListConsents struct {
	Tenant  string
	Subject string // "" = all
	State   residency.ConsentState
	Page    Page
}

// ConsentNow is a consent and where it stands by the store's clock.
type ConsentNow struct {
	consent.Consent
	State      residency.ConsentState
	Controller string // the legal entity that it is given to
}

// WithdrawConsent asks to take a consent back.
type WithdrawConsent struct {
	Tenant, Consent string
	RequestID       string
}

// ConsentWithdrawn is what a withdrawal answers. It names no person.
type ConsentWithdrawn struct {
	ID        string
	State     residency.ConsentState
	Withdrawn time.Time
}

// CheckTransfer asks whether data may move. Neither a subject nor a drive =
// everything that the tenant has of the class.
type CheckTransfer struct {
	Tenant         string
	Subject, Drive string
	Class          residency.DataClass
	To             residency.Region
	Purpose        residency.Purpose
}

// PolicyVersion is a policy of a region.
type PolicyVersion struct {
	Region residency.Region
	Policy *policy.Policy
	Active bool
}

// Explain asks how a region's policy decides a kind of access.
type Explain struct {
	Region  residency.Region
	Version string // "" = the one in force
	Query   policy.Query
}

// DecisionRecord is a decision and what came of it.
type DecisionRecord struct {
	Decision residency.Decision
	Consents []string // every consent relied on, Decision.ConsentID first; when refused, the one that no longer holds
	Caller   string
	Method   string
	Place    uint64
	Result   residency.Kind // OK = the call succeeded
	Stream   *StreamResult  // nil unless the call is a stream that ended
}

// StreamResult is how a stream ended.
type StreamResult struct {
	End   string // "completed", "cut" or "unknown"
	Bytes uint64
	Time  time.Time
}

// ListDecisions asks for the decisions about a tenant, newest first.
type ListDecisions struct {
	Tenant string
	Only   Outcomes
	Page   Page
}

// Outcomes says which decisions a listing holds.
type Outcomes uint8

// Which decisions.
const (
	AllOutcomes Outcomes = iota
	OnlyAllowed
	OnlyDenied
)

// RegionStatus is a region as this gateway sees it.
type RegionStatus struct {
	Name          residency.Region
	Jurisdiction  residency.Jurisdiction
	Controller    string
	Served        bool
	Up            bool
	PolicyVersion string
	PolicyDigest  string
}

// Checkpoint is the newest signed state of a cluster's audit log.
type Checkpoint struct {
	Cluster  string
	Text     []byte // a signed note (C2SP tlog-checkpoint)
	Verifier string // the log's public key: ORIGIN+HASH+BASE64
	Size     uint64 // how many entries it is of
	Signed   time.Time
	Pending  uint64 // entries behind it
}
