package rpc

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
)

// away is a backend for whose gateway every tenant lives in the other region.
type away struct{ Backend }

func (away) Route(context.Context, *gateway.Call, string) (residency.Region, error) { return "ch", nil }
func (away) RouteRegion(_ *gateway.Call, r residency.Region) residency.Region       { return r }
func (away) RouteRegistration(*gateway.Call, gateway.NewTenant) residency.Region    { return "ch" }

// two are an American gateway that callers enter by, and the Swiss one where the tenants live.
type two struct {
	*world
	entry *world
	peers forward.Set
}

// identified writes what a gateway proves itself with.
func (a *authority) identified(dir, identity string) config.TLS {
	a.t.Helper()
	id, err := url.Parse(identity)
	if err != nil {
		a.t.Fatal(err)
	}
	out := a.files(dir, a)
	cert, key := sign(a.t, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{id},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{out.Certificate: {Type: "CERTIFICATE", Bytes: cert.Raw}, out.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return out
}

func newTwo(t testing.TB, atHome ...option) *two {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // after everything else
	ca := newAuthority(t, "authority")
	withTLS := func(identity string) option {
		return func(o *Options) { o.TLS = ca.identified(t.TempDir(), identity) }
	}
	w := &two{world: newWorld(t, append(atHome, withPeers(t), withTLS(peerCH))...)}
	p, err := forward.New(forward.Options{
		Region: "ch", TLS: ca.identified(t.TempDir(), peerUS), Log: slog.New(slog.DiscardHandler),
		Peer: config.Peer{Address: w.address, Identity: peerCH},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.peers = forward.Set{"ch": p}
	w.entry = newWorld(t, withTLS(peerUS), func(o *Options) { o.Forward, o.Backend = w.peers, away{o.Backend} })
	w.ca, w.entry.ca = ca, ca
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.peers.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for end := time.Now().Add(20 * time.Second); !p.Up(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the peer does not come up")
		}
	}
	return w
}

// drive makes a drive of an American caller's Swiss tenant, with a consent to read it abroad.
func (w *two) drive(tenant string, data []byte) {
	w.t.Helper()
	w.tenant(tenant)
	conn := w.as(appCH)
	_, err := residencyv1.NewDriveServiceClient(conn).CreateDrive(w.t.Context(), &residencyv1.CreateDriveRequest{TenantId: tenant, DriveId: "d", SizeBytes: int64(len(data))})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := write(w.t.Context(), conn, tenant, data); err != nil {
		w.t.Fatal(err)
	}
	for class, purpose := range map[residencyv1.DataClass]residencyv1.Purpose{
		residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA:   residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION: residencyv1.Purpose_PURPOSE_PAYMENTS,
	} {
		_, err := residencyv1.NewConsentServiceClient(conn).GrantConsent(w.t.Context(), &residencyv1.GrantConsentRequest{TenantId: tenant, Consent: &residencyv1.Consent{
			Kind: residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING, Scope: &residencyv1.Consent_WholeTenant{WholeTenant: true},
			DataClasses: []residencyv1.DataClass{class}, Purposes: []residencyv1.Purpose{purpose}, FromJurisdiction: "CH", ToJurisdiction: "US",
			Evidence: &residencyv1.Evidence{Method: "form", Grantor: "Anna", NoticeLanguage: "de", NoticeDigest: "sha256:" + strings.Repeat("0", 64)},
		}})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func write(ctx context.Context, conn grpc.ClientConnInterface, tenant string, data []byte) error {
	s, err := residencyv1.NewDriveServiceClient(conn).WriteDrive(ctx)
	if err != nil {
		return err
	}
	messages := []*residencyv1.WriteDriveRequest{headerFor(tenant)}
	for part := range slices.Chunk(data, maxDriveData) {
		messages = append(messages, dataOf(part))
	}
	for _, m := range messages {
		if err := s.Send(m); err != nil {
			break // the answer says why
		}
	}
	_, err = s.CloseAndRecv()
	return err
}

func headerFor(tenant string) *residencyv1.WriteDriveRequest {
	return &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{
		TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}}}
}

func dataOf(b []byte) *residencyv1.WriteDriveRequest {
	return &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: b}}
}

// What a caller is answered by way of a peer is what its home answers, refusals too; what is wrong with a call is found where
// it enters.
func TestAnswersByWayOfAPeer(t *testing.T) {
	w := newTwo(t)
	song := bytes.Repeat([]byte("song "), 300_000)
	w.drive("alpen", song)
	us, home := w.entry.as(appUS), w.as(appUS)

	var trailer metadata.MD
	got, err := residencyv1.NewRecordServiceClient(us).GetRecord(t.Context(), getRequest("alpen"), grpc.Trailer(&trailer))
	if err != nil || got.GetRecord().GetPersonal().GetFullName() != canary || len(trailer.Get(decisionTrailer)) != 1 || len(trailer.Get(forward.LeaseKey)) != 0 {
		t.Errorf("got %v with %v", err, trailer)
	}
	if err := write(t.Context(), us, "alpen", song); err != nil {
		t.Errorf("a write: %v", err)
	}
	if err := drain(t.Context(), us, "alpen"); err != nil {
		t.Errorf("a read: %v", err)
	}

	missing, marketing := getRequest("alpen"), getRequest("alpen")
	missing.RecordId, marketing.Purpose = "nothing", residencyv1.Purpose_PURPOSE_MARKETING
	for name, req := range map[string]*residencyv1.GetRecordRequest{
		"no such record": missing, "no such purpose": marketing, "no such tenant": getRequest("nobody"),
	} {
		_, here := residencyv1.NewRecordServiceClient(home).GetRecord(t.Context(), req)
		_, there := residencyv1.NewRecordServiceClient(us).GetRecord(t.Context(), req)
		if here == nil || wire(t, here) != wire(t, there) || tell(there).info.GetMetadata()["decision_id"] == "" {
			t.Errorf("%s: the home answers %v, the peer %v", name, here, there)
		}
	}
	for name, tenant := range map[string]string{"a drive that is absent": "nobody"} {
		here, there := drain(t.Context(), home, tenant), drain(t.Context(), us, tenant)
		if here == nil || wire(t, here) != wire(t, there) {
			t.Errorf("%s: the home answers %v, the peer %v", name, here, there)
		}
		here, there = write(t.Context(), home, tenant, song), write(t.Context(), us, tenant, song)
		if here == nil || wire(t, here) != wire(t, there) {
			t.Errorf("%s, written: the home answers %v, the peer %v", name, here, there)
		}
	}
	log := w.log.String() + w.entry.log.String()
	if strings.Contains(log, canary) || strings.Contains(w.entry.log.String(), "alpen") {
		t.Error("a log holds what it must not")
	}
}

// What is wrong with a message of a stream ends it where it enters, and its home takes in nothing.
func TestAStreamIsGatedWhereItEnters(t *testing.T) {
	w := newTwo(t)
	song := bytes.Repeat([]byte("song "), 100_000)
	w.drive("acme", song)
	for name, tt := range map[string]struct {
		as     string
		second *residencyv1.WriteDriveRequest
		want   string
	}{
		"too long a message":       {appUS, dataOf(make([]byte, maxDriveData+1)), "BAD_REQUEST"},
		"an empty message":         {appUS, dataOf(nil), "BAD_REQUEST"},
		"another header":           {appUS, headerFor("acme"), "BAD_REQUEST"},
		"a header without purpose": {appUS, &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{TenantId: "acme", DriveId: "d"}}}, "PURPOSE_REQUIRED"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := residencyv1.NewDriveServiceClient(w.entry.as(tt.as)).WriteDrive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Send(headerFor("acme")) // the answer says what became of them
			_ = s.Send(dataOf([]byte("other")))
			_ = s.Send(tt.second)
			if _, err = s.CloseAndRecv(); tell(err).reason != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if got := readAll(t, w.as(appCH), "acme"); !bytes.Equal(got, song) {
		t.Error("what was refused was written")
	}
}

func readAll(t testing.TB, conn grpc.ClientConnInterface, tenant string) (out []byte) {
	t.Helper()
	s, err := residencyv1.NewDriveServiceClient(conn).ReadDrive(t.Context(), &residencyv1.ReadDriveRequest{
		TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	})
	for err == nil {
		var m *residencyv1.ReadDriveResponse
		if m, err = s.Recv(); err == nil {
			out = append(out, m.GetData()...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return out
}

// Callers that go away in the middle leave nothing behind at either side (newTwo looks for goroutines), and their
// place is free again.
func TestForwardedCallersThatGoAway(t *testing.T) {
	w := newTwo(t, withLimits(func(l *config.Limits) { l.DriveStreams, l.DriveStreamsPerCaller = 4, 4 }))
	w.drive("alpen", bytes.Repeat([]byte("song "), 1<<20))
	for i := range 24 {
		ctx, cancel := context.WithCancel(t.Context())
		client := residencyv1.NewDriveServiceClient(w.entry.as(appUS))
		var err error
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if err = beginAndLeave(ctx, client, i%2 == 0); status.Code(err) != codes.ResourceExhausted {
				break
			}
		}
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		cancel()
	}
}

// beginAndLeave begins a read or a write and leaves it in the middle.
func beginAndLeave(ctx context.Context, c residencyv1.DriveServiceClient, reads bool) error {
	if reads {
		s, err := c.ReadDrive(ctx, &residencyv1.ReadDriveRequest{TenantId: "alpen", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	s, err := c.WriteDrive(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.Send(headerFor("alpen")), s.Send(dataOf([]byte("data")))); err != nil {
		return s.RecvMsg(&residencyv1.WriteDriveResponse{})
	}
	md, err := s.Header()
	if err == nil && len(md.Get(decisionTrailer)) == 0 {
		return s.RecvMsg(&residencyv1.WriteDriveResponse{})
	}
	return err
}

// A gateway that stops waits for what it forwards, and for what others forward from it; the stream ends whole.
func TestDrainWaitsForWhatIsForwarded(t *testing.T) {
	t.Run("at the entry", func(t *testing.T) { drainWhileForwarding(t, func(w *two) *Server { return w.entry.server }) })
	t.Run("at home", func(t *testing.T) { drainWhileForwarding(t, func(w *two) *Server { return w.world.server }) })
}

func drainWhileForwarding(t *testing.T, which func(*two) *Server) {
	w := newTwo(t)
	song := bytes.Repeat([]byte("song "), 1<<20)
	w.drive("alpen", song)
	s, err := residencyv1.NewDriveServiceClient(w.entry.as(appUS)).ReadDrive(t.Context(), &residencyv1.ReadDriveRequest{
		TenantId: "alpen", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	drained := make(chan struct{})
	go func() { defer close(drained); which(w).Drain(ctx) }()
	got := m.GetData()
	for err == nil {
		time.Sleep(100 * time.Millisecond) // a caller that takes its time: longer than a lease in all
		if m, err = s.Recv(); err == nil {
			got = append(got, m.GetData()...)
		}
	}
	if !errors.Is(err, io.EOF) || !bytes.Equal(got, song) {
		t.Errorf("%d of %d bytes came, then %v", len(got), len(song), err)
	}
	<-drained
	if ctx.Err() != nil {
		t.Error("the drain was not over before its end")
	}
}
