package gateway

import (
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
)

// UpdateTenant asks to change a tenant's residence. Expected is the version
// that is changed; nil = whatever is there.
type UpdateTenant struct {
	Tenant    string
	Residence residency.Jurisdiction
	Agreement *consent.Evidence
	Expected  *uint64
	RequestID string
}

// ChangeTenant asks to suspend, resume or erase a tenant.
type ChangeTenant struct {
	Tenant    string
	RequestID string
}

// ErasureKind is what an erasure is about.
type ErasureKind uint8

// The kinds, numbered as in the protos.
const (
	ErasureKindUnspecified ErasureKind = iota
	ErasureOfSubject
	ErasureOfTenant
)

// ErasureState is how far an erasure has come.
type ErasureState uint8

// The states, numbered as in the protos.
const (
	ErasureStateUnspecified ErasureState = iota
	ErasurePending                       // on record; the keys are being destroyed
	ErasureSweeping                      // the keys are destroyed; rows and blobs are being deleted
	ErasureDone                          // nothing is left
)

// Erasure is the erasure of a person or a tenant. It names nobody.
type Erasure struct {
	ID            string // the decision's
	Tenant        string
	Kind          ErasureKind
	State         ErasureState
	Created       time.Time
	Finished      time.Time // zero = not yet
	Rows, Blobs   uint64    // deleted so far
	Clause        string
	PolicyVersion string
	Controller    string
}

// Restrictions is what a person asked for concerning the use of what is held
// about them. The zero value is nothing.
type Restrictions struct {
	Purposes residency.Purposes // taken away
	Declined bool               // automatic collection
	Updated  time.Time
}

// RestrictSubject asks to take purposes away, or to give them back.
type RestrictSubject struct {
	Tenant, Subject string
	Purposes        residency.Purposes
	RequestID       string
}

// SubjectCall names a person: what is asked for is the method's to say.
type SubjectCall struct {
	Tenant, Subject string
	RequestID       string
}

// ChildReported is what came of a report: an erasure, or the consent of a parent.
type ChildReported struct {
	Erasure *Erasure // nil = the information is kept
	Consent string
}

// FilePiece is a piece of a person's file; one member is set.
type FilePiece struct {
	Restrictions *Restrictions
	Record       *Record
	Consent      *ConsentNow
	Disclosure   *Disclosure
	Decision     *DecisionRecord
}

// RestrictDrive asks to take purposes away from a drive, or to give them back.
type RestrictDrive struct {
	Tenant, Drive string
	Purposes      residency.Purposes
	Expected      *uint64
	RequestID     string
}

// InspectDrive asks to look into a drive: for InspectionPurpose at what is
// stored, for FraudPrevention at transfers as they pass, under a case.
type InspectDrive struct {
	Tenant, Drive  string
	Purpose        residency.Purpose
	Offset, Length int64 // of what is stored; Length 0 = to the end
	Case           string
}

// Passing says which transfer inspected bytes belong to.
type Passing struct {
	Write    bool // else a read
	Offset   int64
	Decision string // under which the transfer runs
	Missed   int64  // bytes that passed since the last piece without being shown
}

// Snapshot is a drive as it was at a moment.
type Snapshot struct {
	ID, Drive string
	Name      string
	Version   uint64 // the drive's
	Size      int64  // bytes
	Created   time.Time
}

// SnapshotDrive asks to keep a drive as it is.
type SnapshotDrive struct {
	Tenant, Drive, Name string
	RequestID           string
}

// SnapshotCall names a snapshot, to restore or delete it.
type SnapshotCall struct {
	Tenant, Drive, Snapshot string
	Expected                *uint64 // the drive's version, to restore; nil = whatever it is
	RequestID               string
}

// RecipientState is whether a recipient is registered.
type RecipientState uint8

// The states, numbered as in the protos.
const (
	RecipientStateUnspecified RecipientState = iota
	RecipientActive
	RecipientRevoked
)

// Recipient is somebody outside the company who may receive data.
type Recipient struct {
	ID           string
	Name         string
	Kind         residency.RecipientKind
	Jurisdiction residency.Jurisdiction
	Functions    []Function
	Safeguard    Safeguard
	State        RecipientState
	Version      uint64
	Created      time.Time
}

// Function is what a recipient does and which fields of a record it needs for that.
type Function struct {
	Purpose residency.Purpose
	Fields  []string // "full_name" … or "attributes.NAME"
}

// Safeguard is an agreement to protect data; the zero value is none.
type Safeguard struct {
	Reference  string
	ValidUntil time.Time
}

// PutRecipient asks to register a recipient or to replace one.
type PutRecipient struct {
	Tenant    string
	Recipient Recipient
	Expected  *uint64 // to replace; nil = whatever is there
	RequestID string
}

// RecipientCall names a recipient.
type RecipientCall struct {
	Tenant, Recipient string
	RequestID         string
}

// Notice is a notice that was given.
type Notice struct {
	ID          string
	Subject     string // "" when it went to everybody
	WholeTenant bool
	Recipient   string
	Purposes    residency.Purposes
	Language    string
	Digest      string
	Given       time.Time
	PeriodEnds  time.Time // zero in a request = 30 days after it was given
}

// GiveNotice asks to record a notice.
type GiveNotice struct {
	Tenant    string
	Notice    Notice
	RequestID string
}

// Objection is an objection to disclosures to third parties.
type Objection struct {
	ID          string
	Subject     string // "" when it is the tenant's
	WholeTenant bool
	Recipient   string // "" = every third party
	Objected    time.Time
	Lifted      time.Time // zero = it binds
}

// RecordObjection asks to record an objection.
type RecordObjection struct {
	Tenant    string
	Objection Objection
	RequestID string
}

// GovernanceCall names an objection, order, informal request or case.
type GovernanceCall struct {
	Tenant, ID string
	RequestID  string
}

// Approval is somebody's approval.
type Approval struct {
	By string // the caller's identity
	At time.Time
}

// OrderState is where a legal order stands.
type OrderState uint8

// The states, numbered as in the protos.
const (
	OrderStateUnspecified OrderState = iota
	OrderRecorded
	OrderApproved
	OrderRejected
	OrderRevoked
	OrderExpired
)

// Order is a court or administrative order.
type Order struct {
	ID           string
	Authority    string
	Jurisdiction residency.Jurisdiction
	LegalBasis   string
	Reference    string
	Scope        OrderScope
	ValidFrom    time.Time // zero in a request = now
	ValidUntil   time.Time
	State        OrderState // by the store's clock
	Approvals    []Approval
	Recipient    string // "" = any registered law-enforcement agency of the jurisdiction
	Recorder     string
	Recorded     time.Time
	Ended        time.Time // when it was rejected or revoked
}

// OrderScope is what an order covers: what every stated part covers.
type OrderScope struct {
	Subjects []string
	Drives   []string
	Classes  residency.DataClasses
	From, To time.Time // of collection; zero = unbounded
}

// RecordOrder asks to record an order.
type RecordOrder struct {
	Tenant    string
	Order     Order
	RequestID string
}

// ListOrders asks for orders, newest first.
type ListOrders struct {
	Tenant string
	State  OrderState // unspecified = all
	Page   Page
}

// InformalState is where an informal request stands.
type InformalState uint8

// The states, numbered as in the protos.
const (
	InformalStateUnspecified InformalState = iota
	InformalRecorded
	InformalGranted
	InformalExpired
)

// Informal is an authority's request that obliges nobody.
type Informal struct {
	ID         string
	Recipient  string
	Class      residency.DataClass
	Subjects   []string
	Fields     []string
	Purpose    residency.Purpose
	Reference  string
	ValidUntil time.Time
	State      InformalState // by the store's clock
	Approval   Approval
	Recorder   string
	Recorded   time.Time
}

// RecordInformal asks to record an informal request.
type RecordInformal struct {
	Tenant    string
	Informal  Informal
	RequestID string
}

// CaseState is where an abuse case stands.
type CaseState uint8

// The states, numbered as in the protos.
const (
	CaseStateUnspecified CaseState = iota
	CaseOpen
	CaseApproved
	CaseClosed
	CaseExpired
)

// Case is a suspected violation of the acceptable-use policy.
type Case struct {
	ID         string
	Suspicion  string
	Drives     []string
	ValidUntil time.Time
	State      CaseState // by the store's clock
	Approval   Approval
	Opener     string
	Opened     time.Time
	Closed     time.Time
}

// OpenCase asks to open an abuse case.
type OpenCase struct {
	Tenant    string
	Case      Case
	RequestID string
}

// ListCases asks for abuse cases, newest first.
type ListCases struct {
	Tenant string
	State  CaseState // unspecified = all
	Page   Page
}

// Stage is how far a sale of the business has come.
type Stage uint8

// The stages, numbered as in the protos.
const (
	StageUnspecified Stage = iota
	DueDiligence
	AssetTransfer
)

// Disclose asks to hand data to a recipient. A subject or a drive is set.
type Disclose struct {
	Tenant, Recipient string
	Subject, Drive    string
	Purpose           residency.Purpose
	Order             string
	Informal          string
	Stage             Stage
	Necessity         string
}

// DisclosePiece is a piece of a disclosure; one member is set. Data is good until
// the function that gets it returns.
type DisclosePiece struct {
	Record *Record // with the fields that the recipient may have
	Data   []byte  // of a drive, from its start on
}

// Disclosure is a disclosure that was made.
type Disclosure struct {
	ID             string // the decision's
	Recipient      string
	Kind           residency.RecipientKind
	Jurisdiction   residency.Jurisdiction
	Subject, Drive string
	Purpose        residency.Purpose
	Order          string
	Informal       string
	Consent        string
	Stage          Stage
	Fields         []string
	Records, Bytes uint64
	Disclosed      time.Time
	End            string // "completed", "cut", "unknown"; "" while it is under way
	Necessity      string
	Controller     string // the legal entity that disclosed
}

// ListDisclosures asks what was disclosed, newest first.
type ListDisclosures struct {
	Tenant    string
	Subject   string // "" = all
	Recipient string // "" = all
	Page      Page
}

// ComparePolicies asks for the difference between two versions of a region's policy.
type ComparePolicies struct {
	Region    residency.Region
	From      string // "" = the one in force
	To        string // a version that the gateway has, or
	Candidate []byte // a policy file
}

// PoliciesCompared is the difference, with the two versions.
type PoliciesCompared struct {
	From, To   *policy.Policy
	Difference policy.Difference
}
