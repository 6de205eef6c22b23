package client

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// What a client may repeat is what the protos say, of every method of every service.
func TestEveryMethodHasItsLevel(t *testing.T) {
	for method, want := range map[string]level{
		residencyv1.RecordService_GetRecord_FullMethodName:       read,
		residencyv1.DriveService_ReadDrive_FullMethodName:        read,
		residencyv1.RecordService_PutRecord_FullMethodName:       idempotent,
		residencyv1.DriveService_WriteDrive_FullMethodName:       idempotent,
		residencyv1.DisclosureService_Disclose_FullMethodName:    descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
		residencyv1.PeerService_ReserveTenant_FullMethodName:     descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
		residencyv1.GatewayService_ListRegions_FullMethodName:    read,
		residencyv1.TenantService_EraseTenant_FullMethodName:     idempotent,
		residencyv1.AuditService_ReadEntries_FullMethodName:      read,
		residencyv1.UsageService_GetUsage_FullMethodName:         read,
		residencyv1.PolicyService_Explain_FullMethodName:         read,
		residencyv1.TransferService_CheckTransfer_FullMethodName: read,
	} {
		if got, found := levels()[method]; !found || got != want {
			t.Errorf("%s: %v, %v, want %v", method, got, found, want)
		}
	}
}

// attempts makes a call against a gateway that fails n times, in virtual time,
// and says how often it was called and how long it took.
func attempts(t *testing.T, failures int, fail func(ctx context.Context) error, call func(context.Context, *Client) error) (made int, took time.Duration, err error) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(ctx context.Context) error {
			if made++; made <= failures {
				return fail(ctx)
			}
			return nil
		}
		c, stop := serve(t, &fake{
			get: func(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
				return &residencyv1.GetRecordResponse{}, answer(ctx)
			},
			put: func(ctx context.Context, _ *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
				return &residencyv1.PutRecordResponse{}, answer(ctx)
			},
		})
		defer stop()
		start := time.Now()
		err = call(t.Context(), c)
		took = time.Since(start)
	})
	return made, took, err
}

func get(ctx context.Context, c *Client) error {
	_, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{})
	return err
}

func put(ctx context.Context, c *Client) error {
	_, err := c.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{})
	return err
}

func failWith(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestRetries(t *testing.T) {
	unavailable := failWith(status.Error(codes.Unavailable, "restarting"))
	asked := failWith(refusal(t, codes.Unavailable, "AUDIT_UNAVAILABLE", nil,
		protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)})))
	pushback := func(v string) func(context.Context) error {
		return func(ctx context.Context) error {
			grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", v))
			return status.Error(codes.Unavailable, "")
		}
	}
	within := func(d time.Duration, call func(context.Context, *Client) error) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			return call(ctx, c)
		}
	}
	for _, test := range []struct {
		name           string
		failures       int
		fail           func(context.Context) error
		call           func(context.Context, *Client) error
		made           int
		code           codes.Code
		atLeast, under time.Duration // virtual
	}{
		{"a read succeeds the third time", 2, unavailable, get, 3, codes.OK, 150 * time.Millisecond, 301 * time.Millisecond},
		{"a mutation succeeds the third time", 2, unavailable, put, 3, codes.OK, 150 * time.Millisecond, 301 * time.Millisecond},
		{"attempts are bounded", 99, unavailable, get, DefaultMaxAttempts, codes.Unavailable, 350 * time.Millisecond, 701 * time.Millisecond},
		{"RetryInfo is waited out", 1, asked, get, 2, codes.OK, 3 * time.Second, 3*time.Second + time.Millisecond},
		{"RetryInfo beyond the deadline ends it at once", 1, asked, within(2*time.Second, get), 1, codes.Unavailable, 0, time.Millisecond},
		{"pushback is waited out", 1, pushback("7000"), get, 2, codes.OK, 7 * time.Second, 7*time.Second + time.Millisecond},
		{"negative pushback forbids", 1, pushback("-1"), get, 1, codes.Unavailable, 0, time.Millisecond},
		{"unreadable pushback forbids", 1, pushback("soon"), get, 1, codes.Unavailable, 0, time.Millisecond},
		{"the default timeout covers all attempts", 99, pushback("6000"), get, 3, codes.Unavailable, 12 * time.Second, 12*time.Second + time.Millisecond},
		{"overload is not repeated", 1, failWith(refusal(t, codes.ResourceExhausted, "OVERLOADED", nil)), get, 1, codes.ResourceExhausted, 0, time.Millisecond},
		{"a refusal is not repeated", 1, failWith(refusal(t, codes.PermissionDenied, "CONSENT_WITHDRAWN", nil)), get, 1, codes.PermissionDenied, 0, time.Millisecond},
		{"a conflict is not repeated", 1, failWith(refusal(t, codes.Aborted, "VERSION_MISMATCH", nil)), put, 1, codes.Aborted, 0, time.Millisecond},
		{"an unknown end is not repeated", 1, failWith(status.Error(codes.Internal, "")), put, 1, codes.Internal, 0, time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			made, took, err := attempts(t, test.failures, test.fail, test.call)
			if made != test.made || status.Code(err) != test.code {
				t.Errorf("%d attempts, %v; want %d, %v", made, err, test.made, test.code)
			}
			if took < test.atLeast || took >= test.under {
				t.Errorf("took %v of virtual time, want %v to %v", took, test.atLeast, test.under)
			}
		})
	}
}

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// All attempts of a mutation carry one request_id; two calls with one message
// carry two; the caller's own is kept; the message stays as it was.
func TestRequestIDs(t *testing.T) {
	var seen []string
	fail := true
	c, stop := serve(t, &fake{put: func(_ context.Context, r *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
		seen = append(seen, r.GetRequestId())
		if id := r.GetRequestId(); id != "mine" && !uuid4.MatchString(id) {
			t.Errorf("request_id %q is no UUID", id)
		}
		if r.GetTenantId() != "t" || r.GetRecord().GetSubjectId() != "s" || r.GetExpectedVersion() != 3 {
			t.Errorf("the request lost something on its way: %v", r)
		}
		if fail = !fail; !fail {
			return nil, status.Error(codes.Unavailable, "")
		}
		return &residencyv1.PutRecordResponse{}, nil
	}})
	defer stop()
	req := &residencyv1.PutRecordRequest{TenantId: "t", Record: &residencyv1.PersonalRecord{SubjectId: "s"}, ExpectedVersion: proto.Int64(3)}
	before := proto.Clone(req)
	for range 2 {
		if _, err := c.Records.PutRecord(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 4 || seen[0] == "" || seen[0] != seen[1] || seen[2] != seen[3] || seen[0] == seen[2] {
		t.Errorf("request ids %q: want two attempts with one each", seen)
	}
	if !proto.Equal(req, before) {
		t.Errorf("the caller's message was changed: %v", req)
	}
	req.RequestId = "mine"
	if _, err := c.Records.PutRecord(t.Context(), req); err != nil || seen[len(seen)-1] != "mine" {
		t.Errorf("the caller's own request_id was not kept: %q, %v", seen, err)
	}
}

func TestUnknownMethodsAreNeverRepeated(t *testing.T) {
	for _, method := range []string{"", "/other.v1.Service/Get", "/residency.v1.RecordService/ReportChild"} {
		if _, safe := repeatable(method, &residencyv1.GetRecordRequest{}); safe {
			t.Errorf("%q may be repeated", method)
		}
	}
}

// While most calls fail, nothing is repeated; once they succeed, it is again.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier(DefaultMaxAttempts)
		calls := 0
		fail := func() (metadata.MD, error) { calls++; return nil, &Error{Code: codes.Unavailable} }
		for range 100 {
			r.do(t.Context(), true, fail)
		}
		if calls > 100+fullBudget {
			t.Errorf("100 calls to a dead gateway became %d", calls)
		}
		calls = 0
		r.do(t.Context(), true, fail)
		if calls != 1 {
			t.Errorf("a spent budget still repeats: %d calls", calls)
		}
		for range 200 {
			r.do(t.Context(), true, func() (metadata.MD, error) { return nil, nil })
		}
		calls = 0
		r.do(t.Context(), true, fail)
		if calls != DefaultMaxAttempts {
			t.Errorf("a refilled budget gave %d attempts, want %d", calls, DefaultMaxAttempts)
		}
	})
}

func TestCancelEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		err := newRetrier(4).do(ctx, true, func() (metadata.MD, error) {
			return nil, &Error{Code: codes.Unavailable, RetryAfter: time.Hour}
		})
		var e *Error
		if !errors.As(err, &e) || time.Since(start) != time.Second {
			t.Errorf("%v after %v, want the last failure after 1s", err, time.Since(start))
		}
	})
}
