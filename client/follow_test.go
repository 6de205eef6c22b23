package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// station is a gateway on loopback, over mutual TLS, that counts what comes.
type station struct {
	*fake
	t       *testing.T
	address string
	calls   atomic.Int64 // of GetRecord
	bytes   atomic.Int64 // of drives
	stop    func()

	mu     sync.Mutex
	away   string // refuse what comes with this endpoint; "" = serve it
	caller string // who called last
}

// station starts a gateway whose certificate is for 127.0.0.1, or for a name in its stead.
func (a *authority) station(names ...string) *station {
	a.t.Helper()
	template := &x509.Certificate{DNSNames: names}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	cert, key := a.sign(template)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13,
	})))
	s := &station{fake: &fake{}, t: a.t, address: l.Addr().String(), stop: server.Stop}
	s.get, s.write, s.read = s.getRecord, s.writeDrive, s.readDrive
	residencyv1.RegisterRecordServiceServer(server, s)
	residencyv1.RegisterDriveServiceServer(server, s)
	residencyv1.RegisterTenantServiceServer(server, s)
	residencyv1.RegisterDisclosureServiceServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	a.t.Cleanup(func() { server.Stop(); <-done })
	return s
}

// sends lets the gateway refuse what comes from now on, and name an endpoint; "" = serve it.
func (s *station) sends(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = endpoint
}

func elsewhere(t *testing.T, endpoint string) error {
	return refusal(t, codes.PermissionDenied, "USE_HOME_ENDPOINT", map[string]string{"endpoint": endpoint, "decision_id": "d-refused"})
}

// look notes the caller, and refuses what is to go elsewhere.
func (s *station) look(ctx context.Context) error {
	p, _ := peer.FromContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caller = p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.CommonName
	if s.away != "" {
		return elsewhere(s.t, s.away)
	}
	return nil
}

func (s *station) getRecord(ctx context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	s.calls.Add(1)
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	grpc.SetTrailer(ctx, metadata.Pairs(decisionTrailer, "d-"+s.address))
	return &residencyv1.GetRecordResponse{Record: &residencyv1.PersonalRecord{SubjectId: s.address}}, nil
}

// writeDrive decides when it has the header, as gateways do: the decision's identifier goes out first.
func (s *station) writeDrive(stream grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	stream.SendHeader(metadata.Pairs(decisionTrailer, "d-"+s.address))
	if err := s.look(stream.Context()); err != nil {
		return err
	}
	var n int64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: n})
		}
		if err != nil {
			return err
		}
		n += int64(len(m.GetData()))
		s.bytes.Add(int64(len(m.GetData())))
		if err := s.look(stream.Context()); err != nil {
			return err
		}
	}
}

// readDrive sends three messages, and looks before each.
func (s *station) readDrive(_ *residencyv1.ReadDriveRequest, stream grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	s.calls.Add(1)
	stream.SendHeader(metadata.Pairs(decisionTrailer, "d-"+s.address))
	for range 3 {
		if err := s.look(stream.Context()); err != nil {
			return err
		}
		if err := stream.Send(&residencyv1.ReadDriveResponse{Data: []byte(s.address)}); err != nil {
			return err
		}
	}
	return nil
}

// journey is a client of the gateway "first", whose authority vouches for the gateway "home" too.
type journey struct {
	*authority
	first, home *station
	c           *Client
}

func newJourney(t *testing.T, change ...func(*Options)) *journey {
	a := newAuthority(t)
	j := &journey{authority: a, first: a.station(), home: a.station()}
	j.first.sends(j.home.address)
	o := Options{Address: j.first.address, Identity: a.write(t.TempDir(), "app")}
	for _, f := range change {
		f(&o)
	}
	j.c = dialTest(t, o)
	return j
}

// get reads a record of a tenant, and gives the gateway that answered.
func (j *journey) get(tenant string) (string, error) {
	r, err := j.c.Records.GetRecord(j.t.Context(), &residencyv1.GetRecordRequest{TenantId: tenant})
	return r.GetRecord().GetSubjectId(), err
}

func (j *journey) wantCalls(first, home int64) {
	j.t.Helper()
	if f, h := j.first.calls.Swap(0), j.home.calls.Swap(0); f != first || h != home {
		j.t.Errorf("the first gateway was called %d times and the home %d, want %d and %d", f, h, first, home)
	}
}

// wantRefused wants a refusal that names an endpoint, and why it was not followed.
func wantRefused(t *testing.T, err error, endpoint, why string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != "USE_HOME_ENDPOINT" || status.Code(err) != codes.PermissionDenied || e.Endpoint != endpoint {
		t.Fatalf("got %v, want USE_HOME_ENDPOINT with %q", err, endpoint)
	}
	if e.NotFollowed == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%q does not say %q", err, why)
	}
	return e
}

func TestCallsGoHome(t *testing.T) {
	j := newJourney(t)
	var decision, endpoint string
	r, err := j.c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{TenantId: "t"}, DecisionID(&decision), Endpoint(&endpoint))
	if err != nil || r.GetRecord().GetSubjectId() != j.home.address {
		t.Fatalf("%v, %v: want the home's answer", r, err)
	}
	if decision != "d-"+j.home.address || endpoint != j.home.address || j.home.caller != "app" {
		t.Errorf("decision %q, endpoint %q, caller %q", decision, endpoint, j.home.caller)
	}
	j.wantCalls(1, 1)
	if _, err := j.get("t"); err != nil {
		t.Error(err)
	}
	j.wantCalls(0, 1) // remembered
	if _, err := j.get("other"); err != nil {
		t.Error(err)
	}
	j.wantCalls(1, 1) // of this tenant alone
	j.first.sends("")
	if _, err := j.c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{TenantId: "here"}, Endpoint(&endpoint)); err != nil || endpoint != "" {
		t.Errorf("answered at %q, %v", endpoint, err)
	}
}

func TestNothingIsFollowedWhenOff(t *testing.T) {
	j := newJourney(t, func(o *Options) { o.FollowHome = FollowNever })
	_, err := j.get("t")
	if e := sentElsewhere(err); e == nil || e.Endpoint != j.home.address || e.NotFollowed != nil {
		t.Errorf("got %v", err)
	}
	_, err = j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, io.Discard, nil)
	if sentElsewhere(err) == nil {
		t.Errorf("got %v", err)
	}
	j.wantCalls(2, 0)
	_, err = j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, bytes.NewReader(random(1<<20)), nil)
	if sentElsewhere(err) == nil || j.first.bytes.Load()+j.home.bytes.Load() != 0 {
		t.Errorf("%d and %d bytes were sent, %v", j.first.bytes.Load(), j.home.bytes.Load(), err)
	}
}

func TestEndpointsThatAreNotFollowed(t *testing.T) {
	j := newJourney(t, func(o *Options) { o.MaxAttempts = 1 })
	nobody := j.station()
	nobody.stop()
	misnamed, strange := j.station("gateway.test"), newAuthority(t).station()
	for _, test := range []struct {
		name, endpoint, why string
		retryable           bool
	}{
		{"malformed", "unix:/run/gateway.sock", "host:port", false},
		{"nobody there", nobody.address, "connection refused", true},
		{"a certificate for another name", misnamed.address, "cannot validate certificate for 127.0.0.1", false},
		{"a certificate of another authority", strange.address, "unknown authority", false},
		{"the gateway itself", j.first.address, "the endpoint that refused", false},
		{"none", "", "names no endpoint", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			j.first.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
				return nil, elsewhere(t, test.endpoint)
			}
			_, err := j.get("t")
			if e := wantRefused(t, err, test.endpoint, test.why); e.Retryable() != test.retryable || e.DecisionID != "d-refused" {
				t.Errorf("retryable: %v, decision %q", e.Retryable(), e.DecisionID)
			}
			j.first.read = func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
				return elsewhere(t, test.endpoint)
			}
			_, err = j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, io.Discard, nil)
			wantRefused(t, err, test.endpoint, test.why)
		})
	}
	if misnamed.calls.Load()+strange.calls.Load() != 0 || len(j.c.homes.of) != 0 {
		t.Errorf("what is no gateway of the authority's was called, or remembered: %v", j.c.homes.of)
	}
}

// ServerName is about Address; an endpoint answers for its own name.
func TestServerNameIsTheFirstGateways(t *testing.T) {
	a := newAuthority(t)
	first, home := a.station("gateway.test"), a.station()
	first.sends(home.address)
	c := dialTest(t, Options{Address: first.address, ServerName: "gateway.test", Identity: a.write(t.TempDir(), "app")})
	if r, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{TenantId: "t"}); err != nil || r.GetRecord().GetSubjectId() != home.address {
		t.Errorf("%v, %v", r, err)
	}
}

// Two gateways that name each other end a call after one hop, whatever was remembered.
func TestLoop(t *testing.T) {
	j := newJourney(t)
	j.home.sends(j.first.address)
	_, err := j.get("t")
	wantRefused(t, err, j.first.address, j.home.address+" already")
	j.wantCalls(1, 1)
	_, err = j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, io.Discard, nil)
	wantRefused(t, err, j.first.address, j.home.address+" already")
	j.wantCalls(1, 1)
	_, err = j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, bytes.NewReader(random(1<<20)), nil)
	wantRefused(t, err, j.first.address, j.home.address+" already")
	if n := j.first.bytes.Load() + j.home.bytes.Load(); n != 0 {
		t.Errorf("%d bytes of the drive were sent", n)
	}

	j.home.sends("")
	j.get("t") // remembered
	j.home.sends(j.first.address)
	j.wantCalls(1, 1)
	_, err = j.get("t")
	wantRefused(t, err, j.home.address, "the client's own address already")
	j.wantCalls(1, 1)
	if h := j.c.homes.home("t"); h != (home{}) {
		t.Errorf("%+v is still remembered", h)
	}
}

func TestWhatIsRememberedIsForgotten(t *testing.T) {
	j := newJourney(t)
	moved := j.station()
	j.get("t")
	j.wantCalls(1, 1)
	j.home.sends(moved.address)
	j.first.sends(moved.address)
	for range 2 {
		if who, err := j.get("t"); err != nil || who != moved.address {
			t.Errorf("the tenant moved: %q, %v", who, err)
		}
	}
	j.wantCalls(0, 1) // the first of the two asked the old home

	j.home.sends("")
	j.first.sends(j.home.address)
	moved.stop()
	if who, err := j.get("t"); err != nil || who != j.home.address {
		t.Errorf("the endpoint is gone: %q, %v", who, err)
	}
	j.wantCalls(1, 1)
}

// A connection that breaks under a call leaves open what became of it: that is told, and not that
// the call was refused.
func TestAHomeThatBreaksOff(t *testing.T) {
	j := newJourney(t, func(o *Options) { o.MaxAttempts = 1 })
	j.home.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		go j.home.stop()
		time.Sleep(100 * time.Millisecond)
		return nil, nil
	}
	_, err := j.get("t")
	if !ownFailure(err, codes.Unavailable) {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

func TestTheDeadlineHolds(t *testing.T) {
	j := newJourney(t)
	seen := make(chan time.Duration, 1)
	j.home.get = func(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		deadline, _ := ctx.Deadline()
		seen <- time.Until(deadline)
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := j.c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{TenantId: "t"})
	if left := <-seen; status.Code(err) != codes.DeadlineExceeded || left <= 0 || left > time.Second {
		t.Errorf("%v, with %v left at the home", err, left)
	}
}

// All attempts carry one request_id, wherever they are made.
func TestChangesKeepTheirRequestID(t *testing.T) {
	j := newJourney(t)
	var seen []string
	put := func(answer error) func(context.Context, *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
		return func(_ context.Context, r *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
			seen = append(seen, r.GetRequestId())
			return &residencyv1.PutRecordResponse{}, answer
		}
	}
	j.first.put, j.home.put = put(elsewhere(t, j.home.address)), put(nil)
	if _, err := j.c.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: "t"}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] == "" || seen[0] != seen[1] {
		t.Errorf("request ids %q", seen)
	}
}

func TestConcurrentCallsGoHome(t *testing.T) {
	j := newJourney(t)
	homes := []*station{j.home, j.station(), j.station()}
	of := func(tenant string) *station { return homes[int(tenant[0]-'a')%len(homes)] }
	j.first.get = func(_ context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		return nil, elsewhere(t, of(r.GetTenantId()).address)
	}
	j.first.read = func(r *residencyv1.ReadDriveRequest, _ grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		return elsewhere(t, of(r.GetTenantId()).address)
	}
	j.first.write = func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		return elsewhere(t, of(m.GetHeader().GetTenantId()).address)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		tenant := string(rune('a' + i%6))
		wg.Go(func() {
			for range 10 {
				if who, err := j.get(tenant); err != nil || who != of(tenant).address {
					t.Errorf("%s: %q, %v", tenant, who, err)
				}
				var got bytes.Buffer
				if _, err := j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: tenant}, &got, nil); err != nil || got.String() != strings.Repeat(of(tenant).address, 3) {
					t.Errorf("%s: read %q, %v", tenant, &got, err)
				}
				if _, err := j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: tenant}, strings.NewReader("data"), nil); err != nil {
					t.Errorf("%s: %v", tenant, err)
				}
				j.c.homes.forget(tenant, of(tenant).address)
			}
		})
	}
	wg.Wait()
	if n := len(j.c.homes.conns); n != len(homes) {
		t.Errorf("%d connections, want %d", n, len(homes))
	}
}
