package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// begun sends the headers of a call and nothing of its message.
func begun(t *testing.T, ctx context.Context, conn *grpc.ClientConn, full string) grpc.ClientStream {
	t.Helper()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, full)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inFlight is how many calls the server has let in.
func (w *world) inFlight() int {
	calls := w.server.entrance.calls
	calls.mu.Lock()
	defer calls.mu.Unlock()
	return calls.all
}

const getTenantMethod = residencyv1.TenantService_GetTenant_FullMethodName

// answer waits for what a call is told.
func answerOf(s grpc.ClientStream) error { return s.RecvMsg(&residencyv1.GetTenantResponse{}) }

func TestIdentityIsAskedBeforeTheMessage(t *testing.T) {
	w := newWorld(t)
	for _, full := range []string{
		getTenantMethod, residencyv1.DriveService_WriteDrive_FullMethodName,
		residencyv1.DriveService_ReadDrive_FullMethodName, reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName,
	} {
		err := answerOf(begun(t, t.Context(), w.as(unknown), full))
		if got := tell(err); got.code != "Unauthenticated" || got.reason != "NO_IDENTITY" {
			t.Errorf("%s: %v", full, err)
		}
	}
	if log := w.log.String(); strings.Count(log, "access denied") != 3 || !strings.Contains(log, "caller="+unknown) {
		t.Errorf("the log:\n%s", log)
	}
}

// A call takes its place from its headers on, and gives it back.
func TestCallsCountFromTheirHeaders(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.InFlight = 1 }))
	w.tenant("acme")
	conn := w.as(appCH)
	ctx, cancel := context.WithCancel(t.Context())
	half := begun(t, ctx, conn, getTenantMethod)
	for w.inFlight() == 0 { // until its headers have come
		time.Sleep(time.Millisecond)
	}
	if err := getTenant(t.Context(), conn); tell(err).reason != "OVERLOADED" {
		t.Errorf("a second call: %v", err)
	}
	for _, full := range []string{getTenantMethod, residencyv1.DriveService_ReadDrive_FullMethodName} {
		if err := answerOf(begun(t, t.Context(), w.as(unknown), full)); tell(err).reason != "NO_IDENTITY" {
			t.Errorf("%s by an unknown identity while there is no room: %v", full, err)
		}
	}
	cancel()
	_ = answerOf(half)
	for w.inFlight() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := getTenant(t.Context(), conn); err != nil {
		t.Errorf("after it ended: %v", err)
	}
}

func TestAMessageThatDoesNotComeEndsTheCall(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.Deadline, l.MaxDeadline = 50*time.Millisecond, 60*time.Millisecond }))
	for _, full := range []string{getTenantMethod, healthv1.Health_Check_FullMethodName} {
		if err := answerOf(begun(t, t.Context(), w.as(appCH), full)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", full, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := answerOf(begun(t, ctx, w.as(appCH), getTenantMethod)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("with a longer deadline of its own: %v", err)
	}
}

// bytesCodec sends bytes as they are.
type bytesCodec struct{ *codec }

func (c bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.codec.Marshal(v)
}

func TestUndecodableMessages(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	if _, err := residencyv1.NewDriveServiceClient(conn).CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	garbage := []byte{0xff, 0xff, 0xff}
	long := make([]byte, 600<<10)
	for _, tt := range []struct {
		name, full string
		messages   []any
		code       codes.Code
		reason     string
		field      string
		decided    bool
	}{
		{"unary", getTenantMethod, []any{garbage}, codes.InvalidArgument, "BAD_REQUEST", "GetTenantRequest", false},
		{"server stream", residencyv1.DriveService_ReadDrive_FullMethodName, []any{garbage}, codes.InvalidArgument, "BAD_REQUEST", "ReadDriveRequest", false},
		{"first of a client stream", residencyv1.DriveService_WriteDrive_FullMethodName, []any{garbage}, codes.InvalidArgument, "BAD_REQUEST", "WriteDriveRequest", false},
		{"later in a client stream", residencyv1.DriveService_WriteDrive_FullMethodName, []any{headerMessage(), garbage}, codes.InvalidArgument, "BAD_REQUEST", "WriteDriveRequest", true},
		{"too long, unary", getTenantMethod, []any{long}, codes.ResourceExhausted, "", "", false},
		{"too long, in a client stream", residencyv1.DriveService_WriteDrive_FullMethodName, []any{headerMessage(), long}, codes.ResourceExhausted, "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, tt.full, grpc.ForceCodecV2(bytesCodec{newCodec()}))
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range tt.messages {
				if i == 1 { // what comes next comes after the decision
					if md, err := s.Header(); err != nil || len(md[decisionTrailer]) != 1 {
						t.Fatalf("initial metadata %v, %v", md, err)
					}
				}
				if err := s.SendMsg(m); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			_ = s.CloseSend()
			err = answerOf(s)
			got := tell(err)
			if status.Code(err) != tt.code || got.reason != tt.reason {
				t.Errorf("got %v, want %v %s", err, tt.code, tt.reason)
			}
			if tt.field != "" && !strings.Contains(got.bad.String(), tt.field) {
				t.Errorf("violations %v do not say what was wanted: %s", got.bad, tt.field)
			}
			if n := len(s.Trailer().Get(decisionTrailer)); (n == 1) != tt.decided || n > 1 {
				t.Errorf("%d decisions in the trailer, decided: %v", n, tt.decided)
			}
		})
	}
}

// One caller cannot use up what there is for all.
func TestSharesOfOneCaller(t *testing.T) {
	inside, free := make(chan struct{}), make(chan struct{})
	o := &odd{
		getTenant: func(context.Context, *gateway.Call) error { inside <- struct{}{}; <-free; return nil },
		readDrive: func(context.Context, func([]byte) error) error { inside <- struct{}{}; <-free; return nil },
	}
	w := newWorld(t, o.use(), withLimits(func(l *config.Limits) { l.InFlightPerCaller, l.DriveStreamsPerCaller = 2, 1 }))
	one, other := w.as(appCH), w.as(admCH)
	results := make(chan error, 3)
	read := func(conn *grpc.ClientConn) error {
		s, err := residencyv1.NewDriveServiceClient(conn).ReadDrive(context.Background(), readRequest())
		if err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	go func() { results <- read(one) }()
	<-inside
	if err := read(one); tell(err).reason != "OVERLOADED" {
		t.Errorf("a second drive stream: %v", err)
	}
	go func() { results <- getTenant(context.Background(), one) }()
	<-inside
	if err := getTenant(t.Context(), one); tell(err).reason != "OVERLOADED" || tell(err).retry == nil {
		t.Errorf("a third call: %v", err)
	}
	go func() { results <- read(other) }()
	<-inside
	close(free)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionsOfOneCaller(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.ConnectionsPerCaller = 1 }))
	w.tenant("acme") // on a connection that stays open
	if err := getTenant(t.Context(), w.as(appCH)); status.Code(err) != codes.Unavailable {
		t.Errorf("a second connection: %v", err)
	}
	other := w.as(admCH)
	if err := getTenant(t.Context(), other); err != nil {
		t.Errorf("another caller: %v", err)
	}
	_ = other.Close()
	for getTenant(t.Context(), w.as(admCH)) != nil { // until the server has seen it go
		time.Sleep(time.Millisecond)
	}
}

// Whoever shows no certificate cannot keep others out.
func TestSilentConnectionsGiveWay(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.Connections, l.HandshakeTimeout = 2, time.Minute }))
	var silent []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	w.tenant("acme")
	if _, err := io.ReadAll(silent[0]); err != nil { // ends when the server closes it
		t.Logf("closed with %v", err)
	}
	if got := w.counter("residency_connections", nil); got > 2 {
		t.Errorf("%v connections are open", got)
	}
}

// Streams of health and reflection take a place as calls do, and do not hold up a stop.
func TestExemptStreams(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.InFlightPerCaller = 2 }))
	conn := w.as(readCH)
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	reflect, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err == nil {
		err = reflect.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	}
	if err == nil {
		_, err = reflect.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	third, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = third.Recv()
	}
	if tell(err).reason != "OVERLOADED" {
		t.Errorf("a third stream: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w.server.Drain(ctx)
	if ctx.Err() != nil {
		t.Error("the stop waited for them")
	}
	for _, recv := range []func() error{
		func() error { _, err := watch.Recv(); return err },
		func() error { _, err := reflect.Recv(); return err },
	} {
		var err error
		for err == nil { // a last status may come first
			err = recv()
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("they are told %v", err)
		}
	}
}

func TestExemptPanicsAreContained(t *testing.T) {
	e := newWorld(t).server.entrance
	err := e.exemptStream(nil, nil, "/x/Watch", func(any, grpc.ServerStream) error { panic(canary) })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
		t.Errorf("a stream: %v", err)
	}
	check := e.unary(healthv1.Health_Check_FullMethodName, func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) { panic(canary) })
	if _, err := check(nil, t.Context(), nil, nil); status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
		t.Errorf("a unary call: %v", err)
	}
}
