package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/server/forward"
)

// domain is that of every ErrorInfo.
const domain = "residency"

// answer is how a kind of error is told to a caller: the whole of what leaves, apart
// from the violations and the decision's closed-set fields.
type answer struct {
	code  codes.Code
	text  string
	retry time.Duration // when the same request may succeed; 0 = not said
}

// catalogue is the one mapping from kinds to what a caller sees.
var catalogue = [residency.NumKinds]answer{
	residency.OK:                           {code: codes.Internal, text: "internal error"},
	residency.Internal:                     {code: codes.Internal, text: "internal error"},
	residency.NoIdentity:                   {code: codes.Unauthenticated, text: "the certificate's identity is not known here"},
	residency.CallerNotPermitted:           {code: codes.PermissionDenied, text: "the caller is not permitted to do this"},
	residency.UseHomeEndpoint:              {code: codes.PermissionDenied, text: "use an endpoint of the tenant's home region"},
	residency.CrossBorderConsentRequired:   {code: codes.PermissionDenied, text: "the data would cross a border and no recorded consent covers that, or there is no such tenant"},
	residency.ConsentIsWithdrawn:           {code: codes.PermissionDenied, text: "the consent that covered this was withdrawn"},
	residency.ConsentIsExpired:             {code: codes.PermissionDenied, text: "the consent that covered this has expired"},
	residency.ConsentIsSuperseded:          {code: codes.PermissionDenied, text: "the consent that covered this was superseded"},
	residency.PurposeRequired:              {code: codes.InvalidArgument, text: "a purpose is required"},
	residency.BadRequest:                   {code: codes.InvalidArgument, text: "the request is not valid"},
	residency.CardDataRefused:              {code: codes.InvalidArgument, text: "payment-card numbers do not belong in this field"},
	residency.PurposeNotPermitted:          {code: codes.PermissionDenied, text: "the data was not provided for this purpose, or the policy has no such use"},
	residency.Restricted:                   {code: codes.PermissionDenied, text: "the use of the data for this purpose is restricted"},
	residency.MarketingOptInRequired:       {code: codes.PermissionDenied, text: "promotional use needs an opt-in"},
	residency.CollectionDeclined:           {code: codes.PermissionDenied, text: "automatic collection was declined"},
	residency.ParentalConsentRequired:      {code: codes.PermissionDenied, text: "a parent's consent is required"},
	residency.DriveDataNeverShared:         {code: codes.PermissionDenied, text: "drive data is never shared"},
	residency.RecipientNotRegistered:       {code: codes.PermissionDenied, text: "the recipient is not registered"},
	residency.RecipientOutsideFunction:     {code: codes.PermissionDenied, text: "this is outside the recipient's function"},
	residency.SafeguardMissing:             {code: codes.PermissionDenied, text: "the recipient has no safeguard agreement in force"},
	residency.NoticeRequired:               {code: codes.PermissionDenied, text: "a notice is required"},
	residency.NoticePeriodOpen:             {code: codes.PermissionDenied, text: "the notice's period is not over"},
	residency.ObjectionRecorded:            {code: codes.PermissionDenied, text: "an objection is recorded"},
	residency.LegalOrderRequired:           {code: codes.PermissionDenied, text: "a legal order is required"},
	residency.LegalOrderUnapproved:         {code: codes.PermissionDenied, text: "the legal order is not approved"},
	residency.LegalOrderExpired:            {code: codes.PermissionDenied, text: "the legal order is not in force"},
	residency.LegalOrderOutOfScope:         {code: codes.PermissionDenied, text: "the legal order does not cover this"},
	residency.LegalOrderWrongJurisdiction:  {code: codes.PermissionDenied, text: "the legal order is of another jurisdiction"},
	residency.ApproverNotDistinct:          {code: codes.PermissionDenied, text: "the approver must be somebody who neither recorded nor approved it"},
	residency.InformalRequestRefused:       {code: codes.PermissionDenied, text: "a request that obliges nobody is refused, or was not granted"},
	residency.InspectionPermissionRequired: {code: codes.PermissionDenied, text: "inspecting needs the tenant's permission or an approved abuse case"},
	residency.AgreementRequired:            {code: codes.PermissionDenied, text: "a recorded agreement is required"},
	residency.PlacementNotPermitted:        {code: codes.PermissionDenied, text: "the tenant may not be homed there"},
	residency.NotFound:                     {code: codes.NotFound, text: "not found"},
	residency.Erased:                       {code: codes.FailedPrecondition, text: "what was held under this identifier was erased, and nothing is taken in under it again"},
	residency.AlreadyExists:                {code: codes.AlreadyExists, text: "already exists"},
	residency.VersionMismatch:              {code: codes.Aborted, text: "the version is not the expected one"},
	residency.RequestIDReused:              {code: codes.FailedPrecondition, text: "the request id was used for another request"},
	residency.TenantSuspended:              {code: codes.FailedPrecondition, text: "the tenant is suspended"},
	residency.TenantRelocating:             {code: codes.Unavailable, text: "the tenant is on its way to another region", retry: time.Second},
	residency.RegionUnavailable:            {code: codes.Unavailable, text: "the region is unavailable", retry: time.Second},
	residency.AuditUnavailable:             {code: codes.Unavailable, text: "the audit log is unavailable", retry: time.Second},
	residency.KeysUnavailable:              {code: codes.Unavailable, text: "the keys are unavailable", retry: time.Second},
	residency.PolicyUnavailable:            {code: codes.Unavailable, text: "the policy is unavailable", retry: 5 * time.Second},
	residency.Overloaded:                   {code: codes.ResourceExhausted, text: "too many calls at once", retry: 200 * time.Millisecond},
	residency.QuotaExceeded:                {code: codes.ResourceExhausted, text: "a quota is exceeded"},
	residency.IntegrityFailure:             {code: codes.DataLoss, text: "stored data failed its integrity check"},
	residency.Canceled:                     {code: codes.Canceled, text: "the call was given up before its end"},
}

// statusOf gives the status that a caller sees for an error. Nothing of the error's
// text or cause is in it. Errors that already are the transport's own keep their code.
func statusOf(err error) *status.Status {
	if refused := (*forward.Refused)(nil); errors.As(err, &refused) {
		return refused.Status
	}
	var e *residency.Error
	if !errors.As(err, &e) {
		return foreignStatus(err)
	}
	if e.Kind == residency.Internal || e.Kind == residency.OK {
		if code, ok := contextCode(err); ok {
			return status.New(code, strings.ToLower(code.String()))
		}
	}
	a := catalogue[min(int(e.Kind), residency.NumKinds-1)]
	if int(e.Kind) >= residency.NumKinds {
		a = catalogue[residency.Internal]
	}
	st, err := status.New(a.code, a.text).WithDetails(details(e, a)...)
	if err != nil { // a detail that does not marshal: the code still holds
		return status.New(a.code, a.text)
	}
	return st
}

// foreignStatus maps what is no residency.Error: a broken stream, an ended
// context, or a fault of ours.
func foreignStatus(err error) *status.Status {
	if code, ok := contextCode(err); ok {
		return status.New(code, strings.ToLower(code.String()))
	}
	if st, ok := status.FromError(err); ok && fromTransport(st.Code()) {
		return st
	}
	return status.New(codes.Internal, catalogue[residency.Internal].text)
}

func contextCode(err error) (codes.Code, bool) {
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled, true
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded, true
	}
	if st, ok := status.FromError(err); ok && (st.Code() == codes.Canceled || st.Code() == codes.DeadlineExceeded) {
		return st.Code(), true
	}
	return codes.OK, false
}

// fromTransport reports the codes that grpc itself gives a message that is too
// large, cannot be decoded, or whose connection broke.
func fromTransport(c codes.Code) bool {
	switch c {
	case codes.ResourceExhausted, codes.Unavailable, codes.Unimplemented, codes.Internal, codes.NotFound, codes.InvalidArgument:
		return true
	}
	return false
}

func details(e *residency.Error, a answer) []protoadapt.MessageV1 {
	out := []protoadapt.MessageV1{protoadapt.MessageV1Of(errorInfo(e))}
	if p := precondition(e); p != nil {
		out = append(out, protoadapt.MessageV1Of(p))
	}
	if len(e.Violations) > 0 {
		b := &errdetails.BadRequest{}
		for _, v := range e.Violations {
			b.FieldViolations = append(b.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.Field, Description: v.Description,
			})
		}
		out = append(out, protoadapt.MessageV1Of(b))
	}
	if a.retry > 0 {
		out = append(out, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(a.retry)}))
	}
	return out
}

func errorInfo(e *residency.Error) *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Domain: domain, Reason: e.Kind.String(), Metadata: map[string]string{}}
	set := func(key, value string) {
		if value != "" {
			info.Metadata[key] = value
		}
	}
	set("endpoint", e.Endpoint)
	if d := e.Decision; d != nil {
		set("decision_id", d.ID)
		set("clause", d.Clause)
		set("from", d.From.String())
		set("to", d.To.String())
		set("missing", strings.Join(d.Missing.Names(), ","))
		if d.DataClass != residency.DataClassUnspecified {
			set("data_class", d.DataClass.String())
		}
	}
	return info
}

// consentKinds says which consent would meet a requirement.
var consentKinds = map[residency.Requirement]residency.ConsentKind{
	residency.RequireConsent:         residency.BorderCrossing,
	residency.RequireAgreement:       residency.ResidenceAgreement,
	residency.RequireOptIn:           residency.MarketingOptIn,
	residency.RequireParentalConsent: residency.Parental,
	residency.RequirePermission:      residency.InspectionPermission,
}

// precondition names the consent that would have been needed, for refusals that
// are for want of one.
func precondition(e *residency.Error) *errdetails.PreconditionFailure {
	switch e.Kind {
	case residency.CrossBorderConsentRequired, residency.ConsentIsWithdrawn, residency.ConsentIsExpired, residency.ConsentIsSuperseded:
	default:
		return nil
	}
	d := e.Decision
	if d == nil {
		return nil
	}
	kind, ok := neededConsent(d)
	if !ok { // no consent would help
		return nil
	}
	return &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
		Type:        "CONSENT",
		Subject:     fmt.Sprintf("%s %s %s %s → %s", kind, d.DataClass, neededPurpose(d), d.From, d.To),
		Description: "Needs an active consent of this kind that covers the data class, the purpose and the crossing.",
	}}}
}

// neededPurpose gives the purpose that the consent has to cover. What states none, such as
// an export, rests on a crossing for the keeping of records.
func neededPurpose(d *residency.Decision) residency.Purpose {
	if d.Purpose == residency.PurposeUnspecified {
		return residency.Records
	}
	return d.Purpose
}

// neededConsent gives the kind of the first missing consent, if one is missing.
func neededConsent(d *residency.Decision) (residency.ConsentKind, bool) {
	for r := range residency.Requirement(residency.NumRequirements) {
		if kind, ok := consentKinds[r]; ok && d.Missing.Has(r) {
			return kind, true
		}
	}
	return residency.ConsentKindUnspecified, false
}
