package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

func consentDetail(subject string) protoadapt.MessageV1 {
	return protoadapt.MessageV1Of(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
		{Type: "CONSENT", Subject: subject},
	}})
}

func TestRefusalsAreDenied(t *testing.T) {
	sent := refusal(t, codes.PermissionDenied, "CROSS_BORDER_CONSENT_REQUIRED", map[string]string{
		"decision_id": "d-1", "clause": "product/border", "from": "CH", "to": "US", "data_class": "PERSONAL_INFORMATION", "missing": "consent,opt-in",
	}, consentDetail("BORDER_CROSSING PERSONAL_INFORMATION PAYMENTS CH → US"))
	c, stop := serve(t, &fake{get: func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		return nil, sent
	}})
	defer stop()
	_, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{})

	var d *Denied
	if !errors.As(fmt.Errorf("wrapped: %w", err), &d) {
		t.Fatalf("got %T %v, want a *Denied", err, err)
	}
	want := Denied{
		Reason: "CROSS_BORDER_CONSENT_REQUIRED", Clause: "product/border", DecisionID: "d-1", From: "CH", To: "US",
		DataClass: "PERSONAL_INFORMATION", Missing: []string{"consent", "opt-in"},
		Consent: &NeededConsent{Kind: "BORDER_CROSSING", DataClass: "PERSONAL_INFORMATION", Purpose: "PAYMENTS", From: "CH", To: "US"},
	}
	got := *d
	got.status = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.PermissionDenied || s.Message() != "catalogue text" || len(s.Details()) != 2 {
		t.Errorf("the status did not survive: %v", s)
	}
	for _, part := range []string{d.Reason, d.Clause, d.DecisionID, "CH → US", d.DataClass} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// A refusal that no requirement would lift advises no consent.
func TestNoConsentWhereNoneWouldHelp(t *testing.T) {
	err := convert(refusal(t, codes.PermissionDenied, "CROSS_BORDER_CONSENT_REQUIRED", map[string]string{"clause": "product/border"},
		consentDetail("BORDER_CROSSING PERSONAL_INFORMATION UNSPECIFIED CH → US")), nil)
	var d *Denied
	if !errors.As(err, &d) || d.Consent != nil {
		t.Errorf("got %+v, want no consent", d)
	}
}

func TestFailuresAreErrors(t *testing.T) {
	bad := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "record.purposes[0]", Description: "a known purpose"}}}
	wait := &errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)}
	for _, test := range []struct {
		name      string
		err       error
		want      Error
		retryable bool
	}{
		{"not found", refusal(t, codes.NotFound, "NOT_FOUND", map[string]string{"decision_id": "d-2"}),
			Error{Code: codes.NotFound, Reason: "NOT_FOUND", Message: "catalogue text", DecisionID: "d-2"}, false},
		{"bad request", refusal(t, codes.InvalidArgument, "BAD_REQUEST", nil, protoadapt.MessageV1Of(bad)),
			Error{Code: codes.InvalidArgument, Reason: "BAD_REQUEST", Message: "catalogue text", Violations: []Violation{{"record.purposes[0]", "a known purpose"}}}, false},
		{"not permitted is not the policy's", refusal(t, codes.PermissionDenied, "CALLER_NOT_PERMITTED", nil),
			Error{Code: codes.PermissionDenied, Reason: "CALLER_NOT_PERMITTED", Message: "catalogue text"}, false},
		{"elsewhere", refusal(t, codes.PermissionDenied, "USE_HOME_ENDPOINT", map[string]string{"endpoint": "ch.example.org:8443"}),
			Error{Code: codes.PermissionDenied, Reason: "USE_HOME_ENDPOINT", Message: "catalogue text", Endpoint: "ch.example.org:8443"}, false},
		{"unavailable", refusal(t, codes.Unavailable, "AUDIT_UNAVAILABLE", nil, protoadapt.MessageV1Of(wait)),
			Error{Code: codes.Unavailable, Reason: "AUDIT_UNAVAILABLE", Message: "catalogue text", RetryAfter: 3 * time.Second}, true},
		{"overloaded", refusal(t, codes.ResourceExhausted, "OVERLOADED", nil),
			Error{Code: codes.ResourceExhausted, Reason: "OVERLOADED", Message: "catalogue text"}, true},
		{"quota", refusal(t, codes.ResourceExhausted, "QUOTA_EXCEEDED", nil),
			Error{Code: codes.ResourceExhausted, Reason: "QUOTA_EXCEEDED", Message: "catalogue text"}, false},
		{"version", refusal(t, codes.Aborted, "VERSION_MISMATCH", nil),
			Error{Code: codes.Aborted, Reason: "VERSION_MISMATCH", Message: "catalogue text"}, false},
		{"no details", status.Error(codes.PermissionDenied, "some proxy"),
			Error{Code: codes.PermissionDenied, Message: "some proxy"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := convert(test.err, nil)
			var e *Error
			if !errors.As(got, &e) {
				t.Fatalf("got %T, want an *Error", got)
			}
			if e.Retryable() != test.retryable {
				t.Errorf("Retryable() = %v, want %v", e.Retryable(), test.retryable)
			}
			if status.Code(got) != test.want.Code {
				t.Errorf("status code %v, want %v", status.Code(got), test.want.Code)
			}
			if e.Reason == "" && strings.HasPrefix(e.Error(), ":") || !strings.Contains(e.Error(), test.want.Message) {
				t.Errorf("unreadable text %q", e.Error())
			}
			bare := *e
			bare.status = nil
			if got, want := fmt.Sprintf("%#v", bare), fmt.Sprintf("%#v", test.want); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func TestDetailsOfOthersAreNotTheGateways(t *testing.T) {
	s, err := status.New(codes.PermissionDenied, "no").WithDetails(&errdetails.ErrorInfo{Domain: "proxy.example.org", Reason: "CONSENT_WITHDRAWN"})
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if !errors.As(convert(s.Err(), nil), &e) || e.Reason != "" {
		t.Errorf("a proxy's refusal was taken for the policy's: %+v", e)
	}
}

func TestConvertLeavesAlone(t *testing.T) {
	once := convert(status.Error(codes.NotFound, "x"), nil)
	for _, err := range []error{nil, io.EOF, once} {
		if got := convert(err, nil); got != err {
			t.Errorf("convert(%v) = %v", err, got)
		}
	}
}

func TestNeededConsent(t *testing.T) {
	for subject, want := range map[string]*NeededConsent{
		"BORDER_CROSSING VIRTUAL_DRIVE_DATA SERVICE_PROVISION CH → US": {"BORDER_CROSSING", "VIRTUAL_DRIVE_DATA", "SERVICE_PROVISION", "CH", "US"},
		"BORDER_CROSSING PERSONAL_INFORMATION UNSPECIFIED US → CH":     {"BORDER_CROSSING", "PERSONAL_INFORMATION", "", "US", "CH"},
		"BORDER_CROSSING PERSONAL_INFORMATION US → CH":                 {"BORDER_CROSSING", "PERSONAL_INFORMATION", "", "US", "CH"},
		"":                   nil,
		"→":                  nil,
		"A B C D E":          nil,
		"A B C D E F → G":    nil,
		"A B C CH to US":     nil,
		"A B  →  ":           nil,
		"A\xff → → → → → → ": nil,
	} {
		got := neededConsent(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: "CONSENT", Subject: subject}}})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", subject, got, want)
		}
	}
	if got := neededConsent(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: "TOS", Subject: "A B C → D"}}}); got != nil {
		t.Errorf("another type of precondition was taken for a consent: %+v", got)
	}
}

func TestDecisionID(t *testing.T) {
	trailer := metadata.Pairs("residency-decision-id", "d-9")
	f := &fake{
		get: func(ctx context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
			grpc.SetTrailer(ctx, trailer)
			if r.GetRecordId() == "absent" {
				return nil, status.Error(codes.NotFound, "")
			}
			return &residencyv1.GetRecordResponse{}, nil
		},
		read: func(r *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
			if r.GetDriveId() == "denied" {
				s.SetTrailer(trailer)
				return status.Error(codes.PermissionDenied, "")
			}
			s.SendHeader(trailer)
			return s.Send(&residencyv1.ReadDriveResponse{Data: []byte("x")})
		},
	}
	c, stop := serve(t, f)
	defer stop()

	var id string
	if _, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{}, DecisionID(&id)); err != nil || id != "d-9" {
		t.Errorf("permitted call: %q, %v", id, err)
	}
	id = "stale"
	_, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{RecordId: "absent"}, DecisionID(&id))
	var e *Error
	if id != "d-9" || !errors.As(err, &e) || e.DecisionID != "d-9" {
		t.Errorf("failed call: %q, %v", id, err)
	}
	id = ""
	stream, err := c.Drives.ReadDrive(t.Context(), &residencyv1.ReadDriveRequest{}, DecisionID(&id))
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil || id != "d-9" {
		t.Errorf("stream's first message: %q, %v", id, err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("end of stream: %v", err)
	}
	id = ""
	if _, err := c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{DriveId: "denied"}, io.Discard, nil, DecisionID(&id)); err == nil || id != "d-9" {
		t.Errorf("denied stream: %q, %v", id, err)
	}
}

// A call that was given up has its reason and is not repeated by itself.
func TestGivenUpIsNotRetryable(t *testing.T) {
	err := convert(refusal(t, codes.Canceled, "CANCELED", map[string]string{"decision_id": "d-1"}), nil)
	var e *Error
	if !errors.As(err, &e) || e.Reason != "CANCELED" || e.DecisionID != "d-1" || e.Retryable() || isUnavailable(err) {
		t.Errorf("got %+v", err)
	}
}

// A failure names the method that was called, of a stream too.
func TestFailuresNameTheMethod(t *testing.T) {
	refused := refusal(t, codes.PermissionDenied, "CALLER_NOT_PERMITTED", nil)
	c, stop := serve(t, &fake{
		get: func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
			return nil, refused
		},
		read: func(*residencyv1.ReadDriveRequest, grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
			return refused
		},
	})
	defer stop()
	_, unaryErr := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{})
	stream, err := c.Drives.ReadDrive(t.Context(), &residencyv1.ReadDriveRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, streamErr := stream.Recv()
	for want, err := range map[string]error{"/residency.v1.RecordService/GetRecord": unaryErr, "/residency.v1.DriveService/ReadDrive": streamErr} {
		var e *Error
		if !errors.As(err, &e) || e.Method != want {
			t.Errorf("%v of %s", err, want)
		}
	}
}
