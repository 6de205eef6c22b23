package residency

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what went wrong, as the API's error catalogue names it. Kinds are
// only ever appended: they are stored in audit entries.
type Kind uint8

// The kinds. Their order is not that in which they are checked.
const (
	OK Kind = iota // nothing; an Error never carries it
	Internal
	NoIdentity
	CallerNotPermitted
	UseHomeEndpoint
	CrossBorderConsentRequired
	ConsentIsWithdrawn
	ConsentIsExpired
	ConsentIsSuperseded
	PurposeRequired
	BadRequest
	CardDataRefused
	PurposeNotPermitted
	Restricted
	MarketingOptInRequired
	CollectionDeclined
	ParentalConsentRequired
	DriveDataNeverShared
	RecipientNotRegistered
	RecipientOutsideFunction
	SafeguardMissing
	NoticeRequired
	NoticePeriodOpen
	ObjectionRecorded
	LegalOrderRequired
	LegalOrderUnapproved
	LegalOrderExpired
	LegalOrderOutOfScope
	LegalOrderWrongJurisdiction
	ApproverNotDistinct
	InformalRequestRefused
	InspectionPermissionRequired
	AgreementRequired
	PlacementNotPermitted
	NotFound
	Erased
	AlreadyExists
	VersionMismatch
	RequestIDReused
	TenantSuspended
	TenantRelocating
	RegionUnavailable
	AuditUnavailable
	KeysUnavailable
	PolicyUnavailable
	Overloaded
	QuotaExceeded
	IntegrityFailure
	Canceled // the caller went away, or its connection did, before the call's end
	NumKinds = iota
)

var kindNames = [...]string{
	"OK", "INTERNAL", "NO_IDENTITY", "CALLER_NOT_PERMITTED", "USE_HOME_ENDPOINT", "CROSS_BORDER_CONSENT_REQUIRED",
	"CONSENT_WITHDRAWN", "CONSENT_EXPIRED", "CONSENT_SUPERSEDED", "PURPOSE_REQUIRED", "BAD_REQUEST", "CARD_DATA_REFUSED",
	"PURPOSE_NOT_PERMITTED", "RESTRICTED", "MARKETING_OPT_IN_REQUIRED", "COLLECTION_DECLINED", "PARENTAL_CONSENT_REQUIRED",
	"DRIVE_DATA_NEVER_SHARED", "RECIPIENT_NOT_REGISTERED", "RECIPIENT_OUTSIDE_FUNCTION", "SAFEGUARD_MISSING",
	"NOTICE_REQUIRED", "NOTICE_PERIOD_OPEN", "OBJECTION_RECORDED", "LEGAL_ORDER_REQUIRED", "LEGAL_ORDER_UNAPPROVED",
	"LEGAL_ORDER_EXPIRED", "LEGAL_ORDER_OUT_OF_SCOPE", "LEGAL_ORDER_WRONG_JURISDICTION", "APPROVER_NOT_DISTINCT",
	"INFORMAL_REQUEST_REFUSED", "INSPECTION_PERMISSION_REQUIRED", "AGREEMENT_REQUIRED", "PLACEMENT_NOT_PERMITTED",
	"NOT_FOUND", "ERASED", "ALREADY_EXISTS", "VERSION_MISMATCH", "REQUEST_ID_REUSED", "TENANT_SUSPENDED",
	"TENANT_RELOCATING", "REGION_UNAVAILABLE", "AUDIT_UNAVAILABLE", "KEYS_UNAVAILABLE", "POLICY_UNAVAILABLE",
	"OVERLOADED", "QUOTA_EXCEEDED", "INTEGRITY_FAILURE", "CANCELED",
}

// String gives the reason as it goes over the wire, for example "NOT_FOUND".
func (k Kind) String() string { return name(kindNames[:], k) }

// ParseKind reads a reason.
func ParseKind(s string) (Kind, error) { return parse[Kind]("reason", kindNames[:], s) }

// Violation is one thing wrong with a request: where, and what would be right.
// The description never repeats the field's value.
type Violation struct {
	Field       string // a path, for example "record.purposes[0]"
	Description string
}

// Error is the one error that crosses package borders. Op and Err are for the
// operator's log; a caller sees Kind, its catalogue text, the violations and the
// decision, none of which holds personal information.
type Error struct {
	Op         string      // what was being done, for example "gateway.GetRecord"
	Kind       Kind        // what went wrong
	Err        error       // the cause, or nil; never shown to a caller
	Violations []Violation // for BadRequest and its kin
	Decision   *Decision   // the decision that refused or preceded the error, or nil
	Endpoint   string      // for UseHomeEndpoint: the address to go to
}

// Error gives the operator's text.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	b.WriteString(e.Kind.String())
	for _, v := range e.Violations {
		fmt.Fprintf(&b, ": %s: %s", v.Field, v.Description)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an Error of an operation, a kind and a cause, which may be nil. A
// cause that is an Error already keeps its own kind, violations and decision.
func E(op string, kind Kind, err error) *Error {
	var inner *Error
	if errors.As(err, &inner) {
		return &Error{
			Op: op, Kind: inner.Kind, Err: err,
			Violations: inner.Violations, Decision: inner.Decision, Endpoint: inner.Endpoint,
		}
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// Bad makes the error for a field that is wrong. The description says what
// would be right and never repeats the value.
func Bad(op, field, description string) *Error {
	return &Error{Op: op, Kind: BadRequest, Violations: []Violation{{Field: field, Description: description}}}
}

// KindOf gives an error's kind: OK for nil, Internal for an error that is not an Error.
func KindOf(err error) Kind {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Retryable reports whether the same request may succeed later without anybody
// doing anything about it.
func (k Kind) Retryable() bool {
	switch k {
	case TenantRelocating, RegionUnavailable, AuditUnavailable, KeysUnavailable, PolicyUnavailable, Overloaded:
		return true
	}
	return false
}
