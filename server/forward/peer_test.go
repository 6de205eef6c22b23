package forward

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

func answerTo(h *home) {
	h.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		return &residencyv1.GetRecordResponse{}, nil
	}
}

func (w *world) wantTold(want ...bool) {
	w.t.Helper()
	for _, want := range want {
		select {
		case got := <-w.told:
			if got != want {
				w.t.Fatalf("told that up is %v, want %v", got, want)
			}
		case <-time.After(hang):
			w.t.Fatalf("nobody was told that up is %v", want)
		}
	}
}

// What the gateway says of its health decides whether it is used.
func TestHealthDecides(t *testing.T) {
	w := newWorld(t)
	answerTo(w.home)
	w.wantTold(true)
	w.home.serve(false)
	w.wantTold(false)
	if _, err := w.unary(t.Context(), call()); residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("not serving: %v", err)
	}
	if _, err := w.peer.Stream(t.Context(), methodRead, call(), true); residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("not serving: %v", err)
	}
	w.home.serve(true)
	w.wantTold(true)
	if _, err := w.unary(t.Context(), call()); err != nil {
		t.Error(err)
	}
}

// A gateway that dies is down with the call that finds it so, and comes back by itself.
func TestDownAtOnce(t *testing.T) {
	w := newWorld(t)
	answerTo(w.home)
	w.wantTold(true)
	running := make(chan struct{})
	w.home.get = func(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		close(running)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ended := make(chan error, 1)
	go func() { _, err := w.unary(t.Context(), call()); ended <- err }()
	<-running
	w.home.stop()
	if err := <-ended; residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("the call that was under way: %v", err)
	}
	for range 1000 {
		if _, err := w.unary(t.Context(), call()); residency.KindOf(err) != residency.RegionUnavailable {
			t.Fatalf("with the gateway gone: %v", err)
		}
	}
	w.wantTold(false)
	w.home.start(w.home.address)
	answerTo(w.home)
	w.wantTold(true)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // one of its connections may still find out
		_, err := w.unary(t.Context(), call())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A gateway that stops in peace is left at once for another: no call fails for it.
func TestAnotherGatewayTakesOver(t *testing.T) {
	w := &world{t: t, ca: newAuthority(t)}
	w.home = newHome(t, w.ca.files(t.TempDir(), gatewayLeaf(idThere), w.ca), "127.0.0.1:0")
	other := newHome(t, w.ca.files(t.TempDir(), gatewayLeaf(idThere), w.ca), "127.0.0.1:0")
	answerTo(w.home)
	answerTo(other)
	w.run(w.ca.files(t.TempDir(), gatewayLeaf(idHere), w.ca), w.home.address+", "+other.address)
	w.until("all connections serve", func() bool { return w.serving() == 2*perAddress })
	failed, stop := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := w.unary(t.Context(), call()); err != nil {
				failed <- err
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond)
	w.home.server.GracefulStop()
	w.until("the other alone serves", func() bool { return w.serving() == perAddress })
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("a call failed: %v", err)
	}
}

func (w *world) serving() (n int) {
	w.peer.mu.RLock()
	defer w.peer.mu.RUnlock()
	for _, e := range w.peer.endpoints {
		if e.serves() {
			n++
		}
	}
	return n
}

// There is room for so many calls at once; what keeps streams alive does not wait for it.
func TestOverloaded(t *testing.T) {
	w := newWorld(t)
	w.until("all connections serve", func() bool { return w.serving() == perAddress })
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		<-s.Context().Done()
		return s.Context().Err()
	})
	var open []*Stream
	for range perAddress * maxCalls {
		s := w.open(t.Context(), call())
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := w.unary(t.Context(), call()); residency.KindOf(err) != residency.Overloaded {
		t.Errorf("one too many: %v", err)
	}
	if _, err := w.peer.Stream(t.Context(), methodRead, call(), true); residency.KindOf(err) != residency.Overloaded {
		t.Errorf("one too many: %v", err)
	}
	asked := w.home.asked.Load()
	w.until("every stream was asked for again, twice", func() bool { return w.home.asked.Load() >= asked+int64(2*len(open)) })
	if !w.peer.Up() {
		t.Error("a peer with many calls is down")
	}
	for _, s := range open {
		if int64(elapsed()) >= s.until.Load() {
			t.Fatal("a lease has lapsed")
		}
		s.Close()
		s.Close() // again
	}
	answerTo(w.home)
	if _, err := w.unary(t.Context(), call()); err != nil {
		t.Error(err)
	}
	for _, e := range w.peer.endpoints {
		if n := e.calls.Load(); n != 0 {
			t.Errorf("%d calls are counted on when all have ended", n)
		}
	}
}

// What the home says is told from what its transport says, and a failure on the way from both.
func TestWhoseAnswerItIs(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		err  error
		code codes.Code // OK = it is no answer
	}{
		"its own":                     {refusal(codes.PermissionDenied, "RESTRICTED"), codes.PermissionDenied},
		"too long":                    {status.Error(codes.ResourceExhausted, "10.1.2.3 told"), codes.ResourceExhausted},
		"not known":                   {status.Error(codes.Unimplemented, "10.1.2.3 told"), codes.Unimplemented},
		"canceled":                    {status.Error(codes.Canceled, "10.1.2.3 told"), codes.Canceled},
		"out of time":                 {status.Error(codes.DeadlineExceeded, "10.1.2.3 told"), codes.DeadlineExceeded},
		"internal, without a reason":  {status.Error(codes.Internal, "10.1.2.3 told"), codes.OK},
		"denied, by something else":   {status.Error(codes.PermissionDenied, "10.1.2.3 told"), codes.OK},
		"not found, without a reason": {status.Error(codes.NotFound, "10.1.2.3 told"), codes.OK},
		"unavailable":                 {status.Error(codes.Unavailable, "10.1.2.3 told"), codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			w.until("the peer is up", w.peer.Up)
			w.home.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
				return nil, tt.err
			}
			_, err := w.unary(t.Context(), call())
			var refused *Refused
			switch is := errors.As(err, &refused); {
			case is != (tt.code != codes.OK):
				t.Errorf("got %v", err)
			case is && (refused.Status.Code() != tt.code || strings.Contains(refused.Status.Message(), "10.1.2.3")):
				t.Errorf("the caller is told %v", refused.Status)
			case !is && residency.KindOf(err) != residency.RegionUnavailable:
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a gateway asks for itself is asked again by another connection, and a refusal of it is no caller's answer.
func TestAskedAgain(t *testing.T) {
	w := newWorld(t)
	w.until("all connections serve", func() bool { return w.serving() == perAddress })
	var n atomic.Int64
	w.home.locate = func(ctx context.Context) (*residencyv1.LocateTenantResponse, error) {
		if md, _ := metadata.FromIncomingContext(ctx); len(md.Get(CallerKey)) > 0 {
			t.Error("a question of the gateway's own names a caller")
		}
		if n.Add(1) == 1 {
			return nil, status.Error(codes.Unavailable, "not now")
		}
		return &residencyv1.LocateTenantResponse{Here: true}, nil
	}
	at, err := w.peer.Locate(t.Context(), store.Tenant{})
	if err != nil || !at.Here || n.Load() != 2 {
		t.Errorf("got %+v, %v after %d questions", at, err, n.Load())
	}
	w.until("all connections serve", func() bool { return w.serving() == perAddress })
	w.home.locate = func(context.Context) (*residencyv1.LocateTenantResponse, error) {
		n.Add(1)
		return nil, refusal(codes.Unauthenticated, "NO_IDENTITY")
	}
	_, err = w.peer.Locate(t.Context(), store.Tenant{})
	if residency.KindOf(err) != residency.RegionUnavailable || errors.As(err, new(*Refused)) || n.Load() != 3 {
		t.Errorf("a refusal gave %v after %d questions", err, n.Load())
	}
}

// The home is told whom a call is for, its deadline and nothing else of what the caller sent along.
func TestWhatGoesAlong(t *testing.T) {
	w := newWorld(t)
	w.home.get = func(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		var keys []string
		for k := range md {
			if !strings.HasPrefix(k, ":") && k != "content-type" && k != "user-agent" && k != "grpc-accept-encoding" {
				keys = append(keys, k)
			}
		}
		if !slices.Equal(keys, []string{CallerKey}) || !slices.Equal(md.Get(CallerKey), []string{aCaller}) {
			t.Errorf("the home is told %v", md)
		}
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > time.Minute {
			t.Error("the deadline does not go along")
		}
		<-ctx.Done() // the caller's end goes along too
		return nil, ctx.Err()
	}
	incoming := metadata.NewIncomingContext(t.Context(), metadata.Pairs(CallerKey, idThere, "secret", "value"))
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(incoming, metadata.Pairs(CallerKey, idThere, "secret", "value")), time.Minute)
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := w.unary(ctx, call()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !w.peer.Up() {
		t.Error("a caller that went away took the peer down")
	}
}

// A region without a peer is unavailable.
func TestASetWithoutAPeer(t *testing.T) {
	request := mem.BufferSlice{mem.SliceBuffer("x")}
	if _, err := (Set{}).Unary(t.Context(), "us", methodGet, call(), request); residency.KindOf(err) != residency.RegionUnavailable {
		t.Error(err)
	}
	if _, err := (Set{}).Stream(t.Context(), "us", methodRead, call(), true); residency.KindOf(err) != residency.RegionUnavailable {
		t.Error(err)
	}
}
