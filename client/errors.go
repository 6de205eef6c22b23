package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// domain is the ErrorInfo domain of a gateway's reasons.
const domain = "residency"

// decisionTrailer carries the identifier of the decision over a call.
const decisionTrailer = "residency-decision-id"

// Denied is the refusal of a call by the privacy policy in force: nothing was
// read or written, and repeating the call changes nothing. It holds no personal information.
type Denied struct {
	Reason     string         // from the error catalogue, for example "CROSS_BORDER_CONSENT_REQUIRED"
	Clause     string         // the clause that decided; the product's own rules start with "product/"
	DecisionID string         // under which the audit log has the refusal
	From       string         // the jurisdiction that the data is homed in
	To         string         // the jurisdiction that it would have reached
	DataClass  string         // for example "PERSONAL_INFORMATION"
	Missing    []string       // the requirements that were not met, in the order in which they are checked
	Consent    *NeededConsent // the consent that would permit it, or nil when none would

	status *status.Status
}

// NeededConsent is what a consent has to cover for a refused call to be permitted.
type NeededConsent struct {
	Kind      string // for example "BORDER_CROSSING"
	DataClass string // for example "PERSONAL_INFORMATION"
	Purpose   string // for example "PAYMENTS"; "" where the call has no purpose
	From, To  string // jurisdictions
}

// Error says the reason, the clause, the way across the border and the decision.
func (e *Denied) Error() string {
	var b strings.Builder
	b.WriteString("denied: " + e.Reason)
	for _, part := range []struct{ name, value string }{
		{"clause ", e.Clause}, {"", way(e.From, e.To)}, {"", e.DataClass}, {"decision ", e.DecisionID},
	} {
		if part.value != "" {
			b.WriteString(", " + part.name + part.value)
		}
	}
	return b.String()
}

// GRPCStatus gives the status as it came.
func (e *Denied) GRPCStatus() *status.Status { return e.status }

func way(from, to string) string {
	if from == "" || to == "" || from == to {
		return ""
	}
	return from + " → " + to
}

// Error is any failure of a call that is not a refusal by the privacy policy.
type Error struct {
	Code       codes.Code    // the gRPC status code
	Method     string        // that was called, for example "/residency.v1.RecordService/GetRecord"; "" of a failure of another kind than a call's
	Reason     string        // from the error catalogue, for example "NOT_FOUND"; "" when the failure is not the gateway's, such as a lost connection
	Message    string        // the catalogue's text for it, or gRPC's own
	DecisionID string        // the decision that preceded it, or ""
	Violations []Violation   // what is wrong with the request, field by field
	RetryAfter time.Duration // how long the gateway asks to wait before another attempt; 0 = it does not say
	Endpoint   string        // for USE_HOME_ENDPOINT: the gateway to call instead
	TLS        *TLSFailure   // why no secure connection came about, or nil

	// NotFollowed is why the client, which goes to Endpoint by itself, has no answer from
	// there; nil when it did not try.
	NotFollowed error

	status *status.Status
}

// Violation is one thing wrong with a request. It never repeats the field's value.
type Violation struct {
	Field       string // a path, for example "record.purposes[0]"
	Description string // what would be right
}

// Error says the reason, the text, every violation and the decision.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.name())
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	for _, v := range e.Violations {
		fmt.Fprintf(&b, "; %s: %s", v.Field, v.Description)
	}
	if e.Endpoint != "" {
		b.WriteString("; call " + e.Endpoint)
	}
	if e.NotFollowed != nil {
		b.WriteString(", which the client did not manage: " + e.NotFollowed.Error())
	}
	if e.DecisionID != "" {
		b.WriteString(" (decision " + e.DecisionID + ")")
	}
	return b.String()
}

func (e *Error) name() string {
	if e.Reason != "" {
		return e.Reason
	}
	return e.Code.String()
}

// GRPCStatus gives the status as it came.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Retryable reports whether the same call may succeed later without anybody
// doing anything about it.
func (e *Error) Retryable() bool {
	if e.TLS != nil {
		return false
	}
	var there *Error
	if errors.As(e.NotFollowed, &there) {
		return there.Retryable()
	}
	switch e.Code {
	case codes.Unavailable, codes.ResourceExhausted:
		return e.Reason != "QUOTA_EXCEEDED"
	case codes.Aborted:
		return e.Reason == ""
	}
	return false
}

// convert makes a *Denied or an *Error of what a call returned; nil stays nil,
// and so does whatever is no gRPC status, io.EOF for one.
func convert(err error, trailer metadata.MD) error {
	if err == nil {
		return nil
	}
	var d *Denied
	var e *Error
	if errors.As(err, &d) || errors.As(err, &e) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return fromStatus(s, decisionOf(trailer))
}

// ofMethod notes in a failure which method was called.
func ofMethod(err error, method string) error {
	var e *Error
	if errors.As(err, &e) && e.Method == "" {
		e.Method = method
	}
	return err
}

func fromStatus(s *status.Status, decision string) error {
	d := readDetails(s)
	if id := d.info.GetMetadata()["decision_id"]; id != "" {
		decision = id
	}
	if d.info != nil && s.Code() == codes.PermissionDenied && isPolicy(d.info.GetReason()) {
		return d.denied(s, decision)
	}
	return d.failure(s, decision)
}

// isPolicy reports whether a reason for PERMISSION_DENIED is the policy's:
// neither the caller's standing nor the way that the call took.
func isPolicy(reason string) bool {
	return reason != "CALLER_NOT_PERMITTED" && reason != "USE_HOME_ENDPOINT"
}

// details are the parts of a status that this client understands.
type details struct {
	info       *errdetails.ErrorInfo // nil unless of this gateway's domain
	consent    *NeededConsent
	violations []Violation
	retryAfter time.Duration
}

func readDetails(s *status.Status) details {
	var d details
	for _, any := range s.Details() {
		switch m := any.(type) {
		case *errdetails.ErrorInfo:
			if m.GetDomain() == domain {
				d.info = m
			}
		case *errdetails.PreconditionFailure:
			d.consent = neededConsent(m)
		case *errdetails.BadRequest:
			for _, v := range m.GetFieldViolations() {
				d.violations = append(d.violations, Violation{Field: v.GetField(), Description: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			d.retryAfter = m.GetRetryDelay().AsDuration()
		}
	}
	return d
}

func (d details) denied(s *status.Status, decision string) *Denied {
	m := d.info.GetMetadata()
	denied := &Denied{
		Reason: d.info.GetReason(), Clause: m["clause"], DecisionID: decision,
		From: m["from"], To: m["to"], DataClass: m["data_class"],
		Missing: list(m["missing"]), status: s,
	}
	if len(denied.Missing) > 0 { // what lacks nothing is refused whatever is consented
		denied.Consent = d.consent
	}
	return denied
}

func (d details) failure(s *status.Status, decision string) *Error {
	e := &Error{
		Code: s.Code(), Reason: d.info.GetReason(), Message: s.Message(), DecisionID: decision,
		Violations: d.violations, RetryAfter: d.retryAfter, Endpoint: d.info.GetMetadata()["endpoint"], status: s,
	}
	if e.Code == codes.Unavailable && d.info == nil {
		e.TLS = tlsFailure(e.Message)
	}
	return e
}

// neededConsent reads the subject of a CONSENT violation: kind, data class,
// purpose ("UNSPECIFIED" where the call has none), "→" between two jurisdictions.
func neededConsent(p *errdetails.PreconditionFailure) *NeededConsent {
	for _, v := range p.GetViolations() {
		if v.GetType() != "CONSENT" {
			continue
		}
		f := strings.Fields(v.GetSubject())
		n := len(f)
		if n < 5 || n > 6 || f[n-2] != "→" {
			continue
		}
		c := &NeededConsent{Kind: f[0], DataClass: f[1], From: f[n-3], To: f[n-1]}
		if n == 6 && f[2] != "UNSPECIFIED" {
			c.Purpose = f[2]
		}
		return c
	}
	return nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func decisionOf(md metadata.MD) string {
	if v := md.Get(decisionTrailer); len(v) > 0 {
		return v[0]
	}
	return ""
}
