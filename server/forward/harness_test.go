package forward

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	idHere  = "spiffe://example.org/gateway-ch"
	idThere = "spiffe://example.org/gateway-us"
	aCaller = "spiffe://example.org/ch/app"

	methodGet   = residencyv1.RecordService_GetRecord_FullMethodName
	methodRead  = residencyv1.DriveService_ReadDrive_FullMethodName
	methodWrite = residencyv1.DriveService_WriteDrive_FullMethodName

	decision = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

	hang = 20 * time.Second // nothing here takes as long unless it hangs
)

// authority is a certificate authority of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, crypto.Signer) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// leaf is what a gateway's certificate says.
type leaf struct {
	uris  []string
	usage []x509.ExtKeyUsage
	until time.Time
}

func gatewayLeaf(uris ...string) leaf {
	return leaf{uris, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, time.Now().Add(time.Hour)}
}

// files writes a gateway's certificate, its key and the authority that it believes.
func (a *authority) files(dir string, l leaf, believes *authority) config.TLS {
	a.t.Helper()
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: l.usage, NotAfter: l.until}
	for _, s := range l.uris {
		u, err := url.Parse(s)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	cert, key := a.sign(template)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	out := config.TLS{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")}
	for name, block := range map[string]*pem.Block{
		out.Certificate: {Type: "CERTIFICATE", Bytes: cert.Raw},
		out.Key:         {Type: "PRIVATE KEY", Bytes: secret},
		out.ClientCA:    {Type: "CERTIFICATE", Bytes: believes.cert.Raw},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return out
}

// home is a peer's gateway, with answers that a test gives.
type home struct {
	residencyv1.UnimplementedRecordServiceServer
	residencyv1.UnimplementedDriveServiceServer
	residencyv1.UnimplementedPeerServiceServer

	t       testing.TB
	address string
	files   config.TLS
	server  *grpc.Server
	health  *health.Server
	served  chan struct{}

	get    func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error)
	read   func(*residencyv1.ReadDriveRequest, grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error
	write  func(grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error
	locate func(context.Context) (*residencyv1.LocateTenantResponse, error)
	lease  atomic.Pointer[residencyv1.StreamLease] // nil = it fails
	asked  atomic.Int64                            // leases asked for
}

func (h *home) GetRecord(ctx context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	return h.get(ctx, r)
}

func (h *home) ReadDrive(r *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	return h.read(r, s)
}

func (h *home) WriteDrive(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	return h.write(s)
}

func (h *home) LocateTenant(ctx context.Context, _ *residencyv1.LocateTenantRequest) (*residencyv1.LocateTenantResponse, error) {
	return h.locate(ctx)
}

func (h *home) ExtendLeases(_ context.Context, r *residencyv1.ExtendLeasesRequest) (*residencyv1.ExtendLeasesResponse, error) {
	out, l := &residencyv1.ExtendLeasesResponse{}, h.lease.Load()
	for range r.GetDecisionIds() {
		h.asked.Add(1)
		out.Leases = append(out.Leases, l)
	}
	if l == nil && len(r.GetDecisionIds()) > 0 {
		return nil, status.Error(codes.Unavailable, "no leases")
	}
	return out, nil
}

func leaseFor(d time.Duration) *residencyv1.StreamLease {
	return &residencyv1.StreamLease{Duration: durationpb.New(d)}
}

// newHome starts a gateway on an address, "127.0.0.1:0" for any.
func newHome(t testing.TB, files config.TLS, address string) *home {
	t.Helper()
	h := &home{t: t, files: files}
	h.lease.Store(leaseFor(time.Second))
	h.start(address)
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *home) start(address string) {
	h.t.Helper()
	pair, err := tls.LoadX509KeyPair(h.files.Certificate, h.files.Key)
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := os.ReadFile(h.files.ClientCA)
	if err != nil {
		h.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	lis, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.address, h.served = lis.Addr().String(), make(chan struct{})
	h.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})), grpc.MaxConcurrentStreams(256), grpc.WaitForHandlers(true))
	h.health = health.NewServer()
	residencyv1.RegisterRecordServiceServer(h.server, h)
	residencyv1.RegisterDriveServiceServer(h.server, h)
	residencyv1.RegisterPeerServiceServer(h.server, h)
	healthv1.RegisterHealthServer(h.server, h.health)
	go func() {
		defer close(h.served)
		_ = h.server.Serve(lis)
	}()
}

func (h *home) stop() {
	h.server.Stop()
	<-h.served
}

func (h *home) serve(up bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if up {
		state = healthv1.HealthCheckResponse_SERVING
	}
	h.health.SetServingStatus("", state)
}

// world is one gateway here and its peer's.
type world struct {
	t    testing.TB
	ca   *authority
	home *home
	peer *Peer
	tls  config.TLS
	told chan bool
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.b)
}

func newWorld(t testing.TB, more ...grpc.DialOption) *world {
	t.Helper()
	w := &world{t: t, ca: newAuthority(t)}
	w.home = newHome(t, w.ca.files(t.TempDir(), gatewayLeaf(idThere), w.ca), "127.0.0.1:0")
	w.run(w.ca.files(t.TempDir(), gatewayLeaf(idHere), w.ca), w.home.address, more...)
	w.until("the peer is up", w.peer.Up)
	return w
}

// run runs the peer over some addresses until the test's end.
func (w *world) run(files config.TLS, addresses string, more ...grpc.DialOption) {
	w.t.Helper()
	w.tls, w.told, w.log = files, make(chan bool, 100), &syncBuffer{}
	var err error
	w.peer, err = New(Options{
		Region: "us", TLS: files, Log: slog.New(slog.NewTextHandler(w.log, nil)), Told: func(up bool) { w.told <- up },
		Peer: config.Peer{Address: addresses, Identity: idThere},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.peer.dial = more
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Set{"us": w.peer}.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Error(err)
			}
		case <-time.After(hang):
			w.t.Error("the peer does not stop")
		}
	})
}

func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(hang); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain until %s\n%s", what, w.log.String())
		}
	}
}

func wire(t testing.TB, m proto.Message) mem.BufferSlice {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}
}

func call() *gateway.Call { return &gateway.Call{Caller: gateway.Caller{ID: aCaller}} }

// unary forwards a GetRecord.
func (w *world) unary(ctx context.Context, c *gateway.Call) (*residencyv1.GetRecordResponse, error) {
	w.t.Helper()
	out, err := w.peer.Unary(ctx, methodGet, c, wire(w.t, &residencyv1.GetRecordRequest{TenantId: "acme"}))
	if err != nil {
		return nil, err
	}
	defer out.Free()
	resp := &residencyv1.GetRecordResponse{}
	return resp, proto.Unmarshal(out.Materialize(), resp)
}

// open forwards a ReadDrive.
func (w *world) open(ctx context.Context, c *gateway.Call) *Stream {
	w.t.Helper()
	s, err := w.peer.Stream(ctx, methodRead, c, true)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	if err := s.Send(wire(w.t, &residencyv1.ReadDriveRequest{TenantId: "acme"})); err != nil {
		w.t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// take takes a message as the gateway does: received, checked, passed on.
func take(ctx context.Context, s *Stream) ([]byte, error) {
	message, err := s.Recv()
	if err != nil {
		return nil, err
	}
	defer message.Free()
	if err := s.Check(ctx); err != nil {
		return nil, err
	}
	resp := &residencyv1.ReadDriveResponse{}
	err = proto.Unmarshal(message.Materialize(), resp)
	return resp.GetData(), err
}

// refusal is a gateway's own refusal.
func refusal(code codes.Code, reason string) error {
	st, err := status.New(code, "refused").WithDetails(&errdetails.ErrorInfo{Domain: "residency", Reason: reason, Metadata: map[string]string{"decision_id": decision}})
	if err != nil {
		return err
	}
	return st.Err()
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
