package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

type sender = grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]

// leased is a read that tells its decision and a lease of a second before it begins.
func leased(f func(*residencyv1.ReadDriveRequest, sender) error) func(*residencyv1.ReadDriveRequest, sender) error {
	return func(r *residencyv1.ReadDriveRequest, s sender) error {
		if err := s.SendHeader(metadata.Join(Lease(time.Second), metadata.Pairs(DecisionKey, decision))); err != nil {
			return err
		}
		return f(r, s)
	}
}

// An answer that came later than it may be relied on is not passed on, and neither is one that tells that there is nothing.
func TestUnaryLease(t *testing.T) {
	w := newWorld(t)
	denied, absent := refusal(codes.PermissionDenied, "CONSENT_WITHDRAWN"), refusal(codes.NotFound, "NOT_FOUND")
	for name, tt := range map[string]struct {
		lease string // "" = none
		takes time.Duration
		err   error
		want  residency.Kind // OK = passed on as it is
	}{
		"none":                       {want: residency.OK},
		"in time":                    {lease: "60000", want: residency.OK},
		"late":                       {lease: "20", takes: 40 * time.Millisecond, want: residency.RegionUnavailable},
		"nothing left":               {lease: "0", want: residency.RegionUnavailable},
		"unreadable":                 {lease: "soon", want: residency.RegionUnavailable},
		"negative":                   {lease: "-1", want: residency.RegionUnavailable},
		"too long to be one":         {lease: "99999999999999999999", want: residency.RegionUnavailable},
		"absent, in time":            {lease: "60000", err: absent, want: residency.OK},
		"absent, late":               {lease: "20", takes: 40 * time.Millisecond, err: absent, want: residency.RegionUnavailable},
		"absent, never leased":       {err: absent, want: residency.OK},
		"a refusal, in time":         {lease: "60000", err: denied, want: residency.OK},
		"a refusal, late":            {lease: "0", err: denied, want: residency.RegionUnavailable}, // it rests on what was found
		"a refusal, without a lease": {err: denied, want: residency.OK},
	} {
		t.Run(name, func(t *testing.T) {
			w.home.get = func(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
				md := metadata.Pairs(DecisionKey, decision)
				if tt.lease != "" {
					md.Set(LeaseKey, tt.lease)
				}
				if err := grpc.SetTrailer(ctx, md); err != nil {
					return nil, err
				}
				time.Sleep(tt.takes)
				return &residencyv1.GetRecordResponse{Record: &residencyv1.PersonalRecord{RecordId: "r"}}, tt.err
			}
			c := call()
			got, err := w.unary(t.Context(), c)
			if c.Decision.ID != decision {
				t.Errorf("the decision is %q", c.Decision.ID)
			}
			var refused *Refused
			switch {
			case tt.want != residency.OK:
				if residency.KindOf(err) != tt.want || errors.As(err, &refused) || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
			case tt.err == nil:
				if err != nil || got.GetRecord().GetRecordId() != "r" {
					t.Errorf("got %v, %v", got, err)
				}
			default:
				if !errors.As(err, &refused) || reasonOf(refused.Status.Err()) != reasonOf(tt.err) || refused.Status.Code() != status.Code(tt.err) {
					t.Errorf("got %v, want %v", err, tt.err)
				}
			}
		})
	}
}

// twice is a read of two messages, the second at a word.
func twice(goOn <-chan struct{}, end error) func(*residencyv1.ReadDriveRequest, sender) error {
	return leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		if err := s.Send(&residencyv1.ReadDriveResponse{Data: []byte("one")}); err != nil {
			return err
		}
		<-goOn
		if err := s.Send(&residencyv1.ReadDriveResponse{Data: []byte("two")}); err != nil {
			return err
		}
		return end
	})
}

// What comes of a stream is passed on while its home says so: whatever it is, the end too.
func TestStreamLease(t *testing.T) {
	over := &residencyv1.StreamLease{Over: true}
	withdrawn, absent := refusal(codes.PermissionDenied, "CONSENT_WITHDRAWN"), refusal(codes.NotFound, "NOT_FOUND")
	for name, tt := range map[string]struct {
		later *residencyv1.StreamLease // what the home says after the first message; nil = it does not answer
		end   error
		want  string // "" = all came; else the reason
	}{
		"it is renewed":                          {leaseFor(time.Second), nil, ""},
		"it lapses: there is none now":           {leaseFor(0), nil, "REGION_UNAVAILABLE"},
		"it lapses: the home does not answer":    {nil, nil, "REGION_UNAVAILABLE"},
		"it is over, and the home said why":      {over, withdrawn, "CONSENT_WITHDRAWN"},
		"it is over, and the home ended well":    {over, nil, "REGION_UNAVAILABLE"},
		"it is over, and the home found nothing": {over, absent, "REGION_UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			goOn := make(chan struct{})
			w.home.read = twice(goOn, tt.end)
			s := w.open(t.Context(), call())
			if err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			if data, err := take(t.Context(), s); err != nil || string(data) != "one" {
				t.Fatalf("got %q, %v", data, err)
			}
			w.home.lease.Store(tt.later)
			asked := w.home.asked.Load()
			w.until("leases were asked for", func() bool { return w.home.asked.Load() >= asked+6 }) // more than a second
			close(goOn)
			data, err := take(t.Context(), s)
			if tt.want == "" {
				if err != nil || string(data) != "two" {
					t.Fatalf("got %q, %v", data, err)
				}
				if _, err = take(t.Context(), s); !errors.Is(err, io.EOF) {
					t.Errorf("the end is %v", err)
				}
				return
			}
			var refused *Refused
			got := residency.KindOf(err).String()
			if errors.As(err, &refused) {
				got = reasonOf(refused.Status.Err())
			}
			if got != tt.want || data != nil {
				t.Errorf("got %q, %v; want %s", data, err, tt.want)
			}
		})
	}
}

// The end of a stream tells too: a lease that has lapsed meanwhile keeps it back.
func TestTheEndIsLeased(t *testing.T) {
	over := &residencyv1.StreamLease{Over: true}
	for name, tt := range map[string]struct {
		end   error
		lease *residencyv1.StreamLease
		want  string
	}{
		"the end":                      {nil, leaseFor(time.Second), ""},
		"nothing found":                {refusal(codes.NotFound, "NOT_FOUND"), leaseFor(time.Second), "NOT_FOUND"},
		"the end, when it is over":     {nil, over, "REGION_UNAVAILABLE"},
		"nothing found, when over":     {refusal(codes.NotFound, "NOT_FOUND"), over, "REGION_UNAVAILABLE"},
		"damage found, when over":      {refusal(codes.DataLoss, "INTEGRITY_FAILURE"), over, "REGION_UNAVAILABLE"},
		"a refusal, when over":         {refusal(codes.PermissionDenied, "RESTRICTED"), over, "RESTRICTED"},
		"nothing found, without word":  {refusal(codes.NotFound, "NOT_FOUND"), nil, "REGION_UNAVAILABLE"},
		"unavailable, without a lease": {refusal(codes.Unavailable, "AUDIT_UNAVAILABLE"), nil, "AUDIT_UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.home.lease.Store(tt.lease)
			w.home.read = leased(func(*residencyv1.ReadDriveRequest, sender) error { return tt.end })
			s := w.open(t.Context(), call())
			if err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			asked := w.home.asked.Load()
			w.until("leases were asked for", func() bool { return w.home.asked.Load() >= asked+6 })
			_, err := s.Recv()
			got := residency.KindOf(err).String()
			var refused *Refused
			switch {
			case errors.As(err, &refused):
				got = reasonOf(refused.Status.Err())
			case errors.Is(err, io.EOF):
				got = ""
			}
			if got != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// Of a stream that tells and has no lease nothing is passed on, at once.
func TestNoLease(t *testing.T) {
	w := newWorld(t)
	for name, header := range map[string]metadata.MD{
		"nothing":        nil,
		"a decision":     metadata.Pairs(DecisionKey, decision),
		"a lease alone":  Lease(time.Minute),
		"two decisions":  metadata.Join(Lease(time.Minute), metadata.Pairs(DecisionKey, decision, DecisionKey, decision)),
		"a lease of one": metadata.Join(metadata.Pairs(LeaseKey, "", DecisionKey, "")),
	} {
		t.Run(name, func(t *testing.T) {
			w.home.read = func(_ *residencyv1.ReadDriveRequest, s sender) error {
				if err := s.SendHeader(header); err != nil {
					return err
				}
				return s.Send(&residencyv1.ReadDriveResponse{Data: []byte("data")})
			}
			s := w.open(t.Context(), call())
			if err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			if data, err := take(t.Context(), s); residency.KindOf(err) != residency.RegionUnavailable {
				t.Errorf("got %q, %v", data, err)
			}
			if _, err := s.Recv(); residency.KindOf(err) != residency.RegionUnavailable {
				t.Errorf("the end is told: %v", err)
			}
		})
	}
}

// A lease that is late is waited for, and the caller's end while it is.
func TestALateLease(t *testing.T) {
	w := newWorld(t)
	w.home.lease.Store(leaseFor(0))
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		for range 3 {
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: []byte("data")}); err != nil {
				return err
			}
		}
		return nil
	})
	s := w.open(t.Context(), call())
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	asked := w.home.asked.Load()
	w.until("the first lease is over", func() bool { return w.home.asked.Load() >= asked+5 })
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller has gone")
	cancel(gone)
	if _, err := take(ctx, s); !errors.Is(err, gone) {
		t.Errorf("for a caller that has gone: %v", err)
	}
	time.AfterFunc(300*time.Millisecond, func() { w.home.lease.Store(leaseFor(time.Second)) })
	if data, err := take(t.Context(), s); err != nil || string(data) != "data" {
		t.Errorf("got %q, %v", data, err)
	}
}

// The rest of a stream behind its end is thrown away, however much it is.
func TestTheRestIsThrownAway(t *testing.T) {
	w := newWorld(t)
	part := bytes.Repeat([]byte("x"), 256<<10)
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		w.home.lease.Store(&residencyv1.StreamLease{Over: true})
		for range 8 { // what a window holds
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: part}); err != nil {
				return err
			}
		}
		return refusal(codes.PermissionDenied, "CONSENT_WITHDRAWN")
	})
	s := w.open(t.Context(), call())
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	w.until("it is over", s.over.Load)
	_, err := take(t.Context(), s)
	var refused *Refused
	if !errors.As(err, &refused) || reasonOf(refused.Status.Err()) != "CONSENT_WITHDRAWN" {
		t.Errorf("got %v", err)
	}
}

// A home that sends on and on after the end does not hold the caller up.
func TestARestWithoutAnEnd(t *testing.T) {
	w := newWorld(t)
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		for {
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: []byte("more")}); err != nil {
				return err
			}
		}
	})
	s := w.open(t.Context(), call())
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	s.renew(elapsed(), &residencyv1.StreamLease{Over: true})
	s.renew(elapsed(), leaseFor(time.Hour)) // what is over stays so
	ended := make(chan error, 1)
	go func() { _, err := take(t.Context(), s); ended <- err }()
	select {
	case err := <-ended:
		if residency.KindOf(err) != residency.RegionUnavailable {
			t.Errorf("got %v", err)
		}
	case <-time.After(hang):
		t.Fatal("it does not end")
	}
}

// A stream that is closed while its home begins to answer is not kept.
func TestClosedWhileItBegins(t *testing.T) {
	w := newWorld(t)
	w.home.read = leased(func(*residencyv1.ReadDriveRequest, sender) error { return nil })
	for range 50 {
		s := w.open(t.Context(), call())
		if _, err := s.stream.Header(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		_ = s.Begin() // either way
		s.e.mu.Lock()
		n := len(s.e.streams)
		s.e.mu.Unlock()
		if n != 0 || s.e.calls.Load() != 0 {
			t.Fatalf("%d streams are kept and %d calls counted", n, s.e.calls.Load())
		}
	}
}
