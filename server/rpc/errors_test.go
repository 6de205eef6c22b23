package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/residency"
)

func TestCatalogueIsWhole(t *testing.T) {
	texts := map[string]residency.Kind{}
	for k := range residency.Kind(residency.NumKinds) {
		a := catalogue[k]
		if a.text == "" || a.code == codes.OK {
			t.Errorf("%v has no answer", k)
		}
		if other, ok := texts[a.text]; ok && k > residency.Internal {
			t.Errorf("%v and %v have the same text", k, other)
		}
		texts[a.text] = k
		if k.Retryable() != (a.retry > 0) {
			t.Errorf("%v: retryable %v, but a retry delay of %v", k, k.Retryable(), a.retry)
		}
	}
}

// The codes of the interface's table, written down a second time.
func TestCodes(t *testing.T) {
	for code, reasons := range map[codes.Code]string{
		codes.Unauthenticated:    "NO_IDENTITY",
		codes.InvalidArgument:    "PURPOSE_REQUIRED BAD_REQUEST CARD_DATA_REFUSED",
		codes.NotFound:           "NOT_FOUND",
		codes.AlreadyExists:      "ALREADY_EXISTS",
		codes.Aborted:            "VERSION_MISMATCH",
		codes.FailedPrecondition: "ERASED REQUEST_ID_REUSED TENANT_SUSPENDED",
		codes.Unavailable:        "TENANT_RELOCATING REGION_UNAVAILABLE AUDIT_UNAVAILABLE KEYS_UNAVAILABLE POLICY_UNAVAILABLE",
		codes.ResourceExhausted:  "OVERLOADED QUOTA_EXCEEDED",
		codes.DataLoss:           "INTEGRITY_FAILURE",
		codes.Internal:           "INTERNAL",
		codes.Canceled:           "CANCELED",
	} {
		for _, reason := range strings.Fields(reasons) {
			k, err := residency.ParseKind(reason)
			if err != nil {
				t.Fatal(err)
			}
			if catalogue[k].code != code {
				t.Errorf("%s: got %v, want %v", reason, catalogue[k].code, code)
			}
		}
	}
	denied := 0
	for k := range residency.Kind(residency.NumKinds) {
		if catalogue[k].code == codes.PermissionDenied {
			denied++
		}
	}
	if denied != 28 {
		t.Errorf("%d reasons deny, want 28", denied)
	}
}

func TestCausesStayHere(t *testing.T) {
	secret := errors.New(canary)
	for _, err := range []error{
		residency.E("op "+canary, residency.NotFound, secret),
		residency.E("op", residency.Internal, fmt.Errorf("wrapped: %w", secret)),
		fmt.Errorf("foreign: %w", secret),
		status.Error(codes.Unknown, canary),
		&residency.Error{Op: canary, Kind: residency.Kind(200), Err: secret},
	} {
		if got := statusOf(err).Proto().String(); strings.Contains(got, canary) {
			t.Errorf("%T tells its cause: %s", err, got)
		}
	}
}

func TestStatusOfEndedContexts(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want codes.Code
	}{
		{context.Canceled, codes.Canceled},
		{fmt.Errorf("send: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{residency.E("op", residency.Internal, context.Canceled), codes.Canceled},
		{residency.E("op", residency.Internal, status.Error(codes.Canceled, canary)), codes.Canceled},
		{residency.E("op", residency.Canceled, context.Canceled), codes.Canceled},
		{residency.E("op", residency.AuditUnavailable, context.DeadlineExceeded), codes.Unavailable},
		{residency.E("op", residency.Internal, errIdle), codes.DeadlineExceeded},
		{errors.New("any"), codes.Internal},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max"), codes.ResourceExhausted},
	} {
		if got := statusOf(tt.err).Code(); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestDetails(t *testing.T) {
	d := &residency.Decision{
		ID: "id", Clause: "marketing", From: residency.Jurisdiction{'C', 'H'}, To: residency.Jurisdiction{'C', 'H'},
		DataClass: residency.PersonalInformation, Purpose: residency.Marketing, Missing: residency.Set(residency.RequireOptIn, residency.RequirePurpose),
	}
	export := tell(statusOf(&residency.Error{Op: "op", Kind: residency.CrossBorderConsentRequired, Decision: &residency.Decision{
		DataClass: residency.PersonalInformation, From: d.From, To: residency.Jurisdiction{'U', 'S'}, Missing: residency.Set(residency.RequireConsent),
	}}).Err())
	if got := export.precondition.GetViolations()[0].GetSubject(); got != "BORDER_CROSSING PERSONAL_INFORMATION RECORDS CH → US" {
		t.Errorf("subject without a purpose: %q", got)
	}
	withdrawn := tell(statusOf(&residency.Error{Op: "op", Kind: residency.ConsentIsWithdrawn, Decision: d}).Err())
	if got := withdrawn.precondition.GetViolations()[0].GetSubject(); got != "MARKETING_OPT_IN PERSONAL_INFORMATION MARKETING CH → CH" {
		t.Errorf("subject: %q", got)
	}
	if got := withdrawn.info.GetMetadata()["missing"]; got != "purpose,opt-in" {
		t.Errorf("missing: %q", got)
	}
	away := tell(statusOf(&residency.Error{Op: "op", Kind: residency.UseHomeEndpoint, Endpoint: "gateway-ch:8443"}).Err())
	if away.info.GetMetadata()["endpoint"] != "gateway-ch:8443" || away.precondition != nil {
		t.Errorf("use home: %v", away)
	}
	busy := tell(statusOf(gateError(residency.Overloaded)).Err())
	if busy.retry.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("overloaded: %v", busy)
	}
	given := tell(statusOf(&residency.Error{Op: "op", Kind: residency.Canceled, Decision: d}).Err())
	if given.info.GetReason() != "CANCELED" || given.info.GetMetadata()["decision_id"] != "id" || given.retry != nil {
		t.Errorf("given up: %v", given)
	}
	bad := tell(statusOf(residency.Bad("op", "record.residence", "must be a code")).Err())
	if v := bad.bad.GetFieldViolations(); len(v) != 1 || v[0].GetField() != "record.residence" {
		t.Errorf("bad request: %v", v)
	}
	if keys := slices.Sorted(mapsKeys(bad.info.GetMetadata())); len(keys) != 0 {
		t.Errorf("metadata without a decision: %v", keys)
	}
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
