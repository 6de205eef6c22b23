package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// odd is a backend some of whose methods a test replaces.
type odd struct {
	Backend
	getTenant  func(context.Context, *gateway.Call) error
	readDrive  func(context.Context, func([]byte) error) error
	writeDrive func(context.Context, func() ([]byte, error)) error
}

func (o *odd) GetTenant(ctx context.Context, call *gateway.Call, tenant string) (gateway.Tenant, error) {
	if o.getTenant != nil {
		return gateway.Tenant{ID: tenant}, o.getTenant(ctx, call)
	}
	return o.Backend.GetTenant(ctx, call, tenant)
}

func (o *odd) ReadDrive(ctx context.Context, call *gateway.Call, r gateway.ReadDrive, send func([]byte) error) error {
	if o.readDrive != nil {
		return o.readDrive(ctx, send)
	}
	return o.Backend.ReadDrive(ctx, call, r, send)
}

func (o *odd) WriteDrive(ctx context.Context, call *gateway.Call, r gateway.WriteDrive, next func() ([]byte, error)) (gateway.DriveWritten, error) {
	if o.writeDrive != nil {
		return gateway.DriveWritten{}, o.writeDrive(ctx, next)
	}
	return o.Backend.WriteDrive(ctx, call, r, next)
}

func (o *odd) use() option {
	return withBackend(func(b Backend) Backend { o.Backend = b; return o })
}

func getTenant(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
	_, err := residencyv1.NewTenantServiceClient(conn).GetTenant(ctx, &residencyv1.GetTenantRequest{TenantId: "acme"}, opts...)
	return err
}

func readRequest() *residencyv1.ReadDriveRequest {
	return &residencyv1.ReadDriveRequest{TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION}
}

func headerMessage() *residencyv1.WriteDriveRequest {
	return &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{
		TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}}}
}

func dataMessage(n int) *residencyv1.WriteDriveRequest {
	return &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: bytes.Repeat([]byte{7}, n)}}
}

func TestPanicsAreContained(t *testing.T) {
	o := &odd{
		getTenant: func(context.Context, *gateway.Call) error { panic(canary) },
		readDrive: func(context.Context, func([]byte) error) error { panic(errors.New(canary)) },
		writeDrive: func(_ context.Context, next func() ([]byte, error)) error {
			var none []byte
			_ = none[len(none)+3]
			return nil
		},
	}
	w := newWorld(t, o.use())
	conn := w.as(appCH)
	if err := getTenant(t.Context(), conn); status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
		t.Errorf("unary: %v", err)
	}
	read, err := residencyv1.NewDriveServiceClient(conn).ReadDrive(t.Context(), readRequest())
	if err == nil {
		_, err = read.Recv()
	}
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
		t.Errorf("server stream: %v", err)
	}
	write, err := residencyv1.NewDriveServiceClient(conn).WriteDrive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := write.Send(headerMessage()); err != nil {
		t.Fatal(err)
	}
	if _, err := write.CloseAndRecv(); status.Code(err) != codes.Internal {
		t.Errorf("client stream: %v", err)
	}
	if got := w.counter("residency_panics_total", nil); got != 3 {
		t.Errorf("%v panics counted, want 3", got)
	}
	log := w.log.String()
	if strings.Contains(log, canary) || !strings.Contains(log, "index out of range") || strings.Count(log, "panic contained") != 3 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestDeadlines(t *testing.T) {
	left := make(chan time.Duration, 1)
	o := &odd{getTenant: func(ctx context.Context, _ *gateway.Call) error {
		d, _ := ctx.Deadline()
		left <- time.Until(d)
		return nil
	}}
	w := newWorld(t, o.use(), withLimits(func(l *config.Limits) { l.Deadline, l.MaxDeadline = 4*time.Minute, 8*time.Minute }))
	conn := w.as(appCH)
	for _, tt := range []struct {
		asked      time.Duration // 0 = none
		above, max time.Duration
	}{
		{0, 3 * time.Minute, 4 * time.Minute},
		{time.Hour, 7 * time.Minute, 8 * time.Minute},
		{6 * time.Minute, 5 * time.Minute, 6 * time.Minute},
		{4 * time.Second, 0, 4*time.Second - shave},
	} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if tt.asked > 0 {
			ctx, cancel = context.WithTimeout(ctx, tt.asked)
		}
		if err := getTenant(ctx, conn); err != nil {
			t.Fatal(err)
		}
		if got := <-left; got <= tt.above || got > tt.max {
			t.Errorf("a caller that asks for %v: %v are left, want %v to %v", tt.asked, got, tt.above, tt.max)
		}
		cancel()
	}
}

func TestInFlightLimit(t *testing.T) {
	inside, free := make(chan struct{}), make(chan struct{})
	o := &odd{getTenant: func(context.Context, *gateway.Call) error { inside <- struct{}{}; <-free; return nil }}
	w := newWorld(t, o.use(), withLimits(func(l *config.Limits) { l.InFlight = 2 }))
	conn := w.as(appCH)
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- getTenant(context.Background(), conn) }()
		<-inside
	}
	err := getTenant(t.Context(), conn)
	if got := tell(err); got.code != "ResourceExhausted" || got.reason != "OVERLOADED" || got.retry == nil {
		t.Errorf("the third: %v", err)
	}
	close(free)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := w.counter("residency_refusals_total", prometheus.Labels{"reason": "OVERLOADED"}); got != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestDriveStreamLimit(t *testing.T) {
	inside := make(chan struct{})
	o := &odd{readDrive: func(ctx context.Context, _ func([]byte) error) error {
		inside <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	w := newWorld(t, o.use(), withLimits(func(l *config.Limits) { l.DriveStreams = 1 }))
	drives := residencyv1.NewDriveServiceClient(w.as(appCH))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := drives.ReadDrive(ctx, readRequest()); err != nil {
		t.Fatal(err)
	}
	<-inside
	second, err := drives.ReadDrive(t.Context(), readRequest())
	if err == nil {
		_, err = second.Recv()
	}
	if tell(err).reason != "OVERLOADED" {
		t.Errorf("the second: %v", err)
	}
}

func TestConnectionLimit(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.Connections = 1 }))
	w.tenant("acme") // on a connection that stays open
	if err := getTenant(t.Context(), w.as(appCH)); status.Code(err) != codes.Unavailable {
		t.Errorf("the second connection: %v", err)
	}
	if got := w.counter("residency_connections_refused_total", nil); got < 1 {
		t.Errorf("counted %v", got)
	}
	if got := w.counter("residency_connections", nil); got != 1 {
		t.Errorf("%v connections are open", got)
	}
}

func TestMessageAndHeaderLimits(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	big := putRequest("acme")
	big.Record.Personal.FullName = strings.Repeat("x", 600<<10)
	if _, err := residencyv1.NewRecordServiceClient(conn).PutRecord(t.Context(), big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 600 KiB: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "filler", strings.Repeat("x", 32<<10))
	if err := getTenant(ctx, conn); err == nil {
		t.Error("a header list of 32 KiB was taken")
	}
	if err := getTenant(t.Context(), conn); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestHandshakeTimeout(t *testing.T) {
	w := newWorld(t, withLimits(func(l *config.Limits) { l.HandshakeTimeout = 50 * time.Millisecond }))
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); err != nil { // ends when the server closes it
		t.Logf("closed with %v", err)
	}
	if _, err := tls.Dial("tcp", w.address, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}); err == nil {
		t.Error("TLS 1.2 was taken")
	}
}

// A caller that stops reading, and one that stops sending, are cut off.
func TestIdleStreamsAreCut(t *testing.T) {
	ended := make(chan error, 2)
	o := &odd{
		readDrive: func(_ context.Context, send func([]byte) error) error {
			var err error
			for err == nil {
				err = send(make([]byte, maxDriveData))
			}
			ended <- err
			return residency.E("odd", residency.Internal, err)
		},
		writeDrive: func(_ context.Context, next func() ([]byte, error)) error {
			var err error
			for err == nil {
				_, err = next()
			}
			ended <- err
			return residency.E("odd", residency.Internal, err)
		},
	}
	w := newWorld(t, o.use(), withLimits(func(l *config.Limits) { l.StreamIdle = 50 * time.Millisecond }))
	drives := residencyv1.NewDriveServiceClient(w.as(appCH))

	read, err := drives.ReadDrive(t.Context(), readRequest())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errIdle) { // nothing was read
		t.Errorf("read: %v", err)
	}
	for err = nil; err == nil; {
		_, err = read.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the reader is told %v", err)
	}

	write, err := drives.WriteDrive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write.Send(headerMessage()), write.Send(dataMessage(10))); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errIdle) {
		t.Errorf("write: %v", err)
	}
	if err := write.RecvMsg(&residencyv1.WriteDriveResponse{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the writer is told %v", err)
	}

	silent, err := drives.WriteDrive(t.Context()) // never says what it wants to write
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.RecvMsg(&residencyv1.WriteDriveResponse{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a silent writer is told %v", err)
	}
}

func TestWriteDriveMessages(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	drives := residencyv1.NewDriveServiceClient(conn)
	if _, err := drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	empty := &residencyv1.WriteDriveRequest{}
	for _, tt := range []struct {
		name     string
		messages []*residencyv1.WriteDriveRequest
		reason   string
		field    string
	}{
		{"header and data", []*residencyv1.WriteDriveRequest{headerMessage(), dataMessage(maxDriveData), dataMessage(1)}, "", ""},
		{"data first", []*residencyv1.WriteDriveRequest{dataMessage(5)}, "BAD_REQUEST", "header"},
		{"two headers", []*residencyv1.WriteDriveRequest{headerMessage(), headerMessage()}, "BAD_REQUEST", "header"},
		{"nothing in the message", []*residencyv1.WriteDriveRequest{headerMessage(), empty}, "BAD_REQUEST", "content"},
		{"data of no bytes", []*residencyv1.WriteDriveRequest{headerMessage(), dataMessage(0)}, "BAD_REQUEST", "data"},
		{"data too long", []*residencyv1.WriteDriveRequest{headerMessage(), dataMessage(maxDriveData + 1)}, "BAD_REQUEST", "data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := drives.WriteDrive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range tt.messages {
				if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			r, err := s.CloseAndRecv()
			got := tell(err)
			if got.reason != tt.reason {
				t.Fatalf("got %v, %v; want %s\n%s", r, err, tt.reason, w.log)
			}
			if tt.field != "" && (len(got.bad.GetFieldViolations()) == 0 || got.bad.GetFieldViolations()[0].GetField() != tt.field) {
				t.Errorf("violations: %v, want %s", got.bad, tt.field)
			}
			if err == nil && r.GetBytesWritten() != maxDriveData+1 {
				t.Errorf("wrote %d", r.GetBytesWritten())
			}
		})
	}
	read, err := drives.ReadDrive(t.Context(), readRequest())
	if err != nil {
		t.Fatal(err)
	}
	header, err := read.Header()
	if err != nil || len(header.Get(decisionTrailer)) != 1 {
		t.Errorf("initial metadata: %v, %v", header, err)
	}
	var got []byte
	for {
		m, err := read.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetData()...)
	}
	if len(got) != 1<<20 || !bytes.Equal(got[:maxDriveData+1], bytes.Repeat([]byte{7}, maxDriveData+1)) || got[maxDriveData+1] != 0 {
		t.Errorf("read %d bytes back, or other ones", len(got))
	}
	if trailer := read.Trailer().Get(decisionTrailer); len(trailer) != 1 || trailer[0] != header.Get(decisionTrailer)[0] {
		t.Errorf("trailer %v, initial metadata %v", trailer, header)
	}
}

// A drain lets what runs finish and refuses what is new.
func TestDrainFinishesCalls(t *testing.T) {
	inside, free := make(chan struct{}), make(chan struct{})
	o := &odd{getTenant: func(context.Context, *gateway.Call) error { inside <- struct{}{}; <-free; return nil }}
	w := newWorld(t, o.use())
	conn := w.as(appCH)
	result := make(chan error, 1)
	go func() { result <- getTenant(context.Background(), conn) }()
	<-inside
	drained := make(chan struct{})
	go func() { defer close(drained); w.server.Drain(context.Background()) }()
	for { // until it refuses connections
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			break
		}
		_ = c.Close()
		time.Sleep(time.Millisecond)
	}
	if err := getTenant(t.Context(), w.as(appCH)); status.Code(err) != codes.Unavailable {
		t.Errorf("a new call: %v", err)
	}
	select {
	case <-drained:
		t.Error("drained while a call runs")
	default:
	}
	close(free)
	if err := <-result; err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	<-drained
}

// What does not finish is cut when the drain's time is over, and no handler runs after it.
func TestDrainCutsStreams(t *testing.T) {
	inside, left := make(chan struct{}), make(chan struct{})
	o := &odd{readDrive: func(ctx context.Context, _ func([]byte) error) error {
		inside <- struct{}{}
		<-ctx.Done()
		close(left)
		return ctx.Err()
	}}
	w := newWorld(t, o.use())
	s, err := residencyv1.NewDriveServiceClient(w.as(appCH)).ReadDrive(t.Context(), readRequest())
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w.server.Drain(ctx)
	select {
	case <-left:
	default:
		t.Error("a handler runs after the drain")
	}
	if _, err := s.Recv(); err == nil {
		t.Error("the stream was not cut")
	}
}
