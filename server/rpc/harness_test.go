package rpc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store/storetest"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/redact"
)

// authority is a certificate authority of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, key := sign(t, template, nil)
	return &authority{t, cert, key}
}

func sign(t testing.TB, template *x509.Certificate, by *authority) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// client makes a caller's certificate; uris may be none or several.
func (a *authority) client(until time.Time, uris ...string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: until,
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	cert, key := sign(a.t, template, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// files writes a server's certificate, key and client authorities.
func (a *authority) files(dir string, clients ...*authority) config.TLS {
	a.t.Helper()
	cert, key := sign(a.t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	var pool []byte
	for _, c := range clients {
		pool = append(pool, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	out := config.TLS{
		Certificate: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), ClientCA: filepath.Join(dir, "clients.crt"),
	}
	for name, text := range map[string][]byte{
		out.Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
		out.Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		out.ClientCA:    pool,
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			a.t.Fatal(err)
		}
		stamp := time.Now().Add(time.Duration(len(pool)) * time.Millisecond) // a change shows even within one tick
		if err := os.Chtimes(name, stamp, stamp); err != nil {
			a.t.Fatal(err)
		}
	}
	return out
}

// The identities of the tests.
const (
	appCH   = "spiffe://example.org/ch/app"
	appUS   = "spiffe://example.org/us/app"
	oneCH   = "spiffe://example.org/ch/one"    // sees the tenant acme only
	readCH  = "spiffe://example.org/ch/reader" // may read only
	admCH   = "spiffe://example.org/ch/admin"
	unknown = "spiffe://example.org/ch/unknown"
)

func testCallers(t testing.TB) map[string]*config.Identity {
	t.Helper()
	all := config.PermissionNames()
	c := config.Config{Callers: []config.Caller{
		{ID: appCH, Jurisdiction: "CH", Permissions: all, Tenants: []string{"*"}, Party: "tenant"},
		{ID: appUS, Jurisdiction: "US", Permissions: all, Tenants: []string{"*"}, Party: "tenant"},
		{ID: oneCH, Jurisdiction: "CH", Permissions: all, Tenants: []string{"acme"}, Party: "tenant"},
		{ID: readCH, Jurisdiction: "CH", Permissions: []string{"gateway.read", "policies.read"}, Tenants: []string{"*"}, Party: "provider"},
		{ID: admCH, Jurisdiction: "CH", Permissions: all, Tenants: []string{"*"}, Party: "provider"},
	}}
	ids, err := c.Identities()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// world is a server over real TLS with a real gateway over stores in memory.
type world struct {
	t       testing.TB
	ca      *authority
	dir     string
	tls     config.TLS
	server  *Server
	address string
	reg     *prometheus.Registry
	log     *syncBuffer
	memory  map[residency.Region]*storetest.Memory
	served  chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type option func(*Options)

func withBackend(wrap func(Backend) Backend) option {
	return func(o *Options) { o.Backend = wrap(o.Backend) }
}

func withLimits(change func(*config.Limits)) option {
	return func(o *Options) { change(&o.Limits) }
}

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	w := &world{
		t: t, ca: newAuthority(t, "authority"), dir: t.TempDir(), reg: prometheus.NewRegistry(), log: &syncBuffer{},
		memory: map[residency.Region]*storetest.Memory{}, served: make(chan error, 1),
	}
	w.tls = w.ca.files(w.dir, w.ca)
	log := slog.New(redact.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	o := Options{
		Backend: w.gateway(log), Name: "test-1", Jurisdiction: residency.Jurisdiction{'C', 'H'}, Mixed: true, Version: "test",
		TLS: w.tls, Callers: testCallers(t), Reflection: true, Metrics: w.reg, Log: log,
	}
	for _, f := range options {
		f(&o)
	}
	var err error
	if w.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = lis.Addr().String()
	go func() { w.served <- w.server.Serve(lis) }()
	w.server.SetServing(true)
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // cut at once
	w.server.Drain(ctx)
	if err := <-w.served; err != nil {
		w.t.Error(err)
	}
	w.served <- nil // for a second stop
}

func (w *world) gateway(log *slog.Logger) *gateway.Gateway {
	w.t.Helper()
	g, err := gateway.New(gateway.Config{
		Name: "test-1", Directory: storetest.NewMemory(time.Now).Directory(), DirectoryKey: make([]byte, 32), Metrics: w.reg, Log: log,
		Regions: []gateway.Region{w.region("ch", "ch-2012-05-02.yaml"), w.region("us", "us-2011-10-07.yaml")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return g
}

func (w *world) region(name residency.Region, file string) gateway.Region {
	w.t.Helper()
	text, _ := policy.Shipped(file)
	p, err := policy.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	ring, err := seal.OpenFileKeyring(filepath.Join(w.dir, string(name), "root"))
	if err != nil {
		w.t.Fatal(err)
	}
	m := storetest.NewMemory(time.Now)
	w.memory[name] = m
	return gateway.Region{
		Name: name, Jurisdiction: p.Jurisdiction, Controller: p.Controller, Policies: []*policy.Policy{p},
		Vault:    seal.NewVault(name, ring, m.Keys(), seal.Options{}),
		Clusters: []gateway.Cluster{{Name: string(name) + "-1", Rows: m.Rows(), Outbox: m.Outbox(), Blobs: m.Blobs()}},
	}
}

// dial connects with a certificate.
func (w *world) dial(certs ...tls.Certificate) *grpc.ClientConn {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.cert)
	conn, err := grpc.NewClient("passthrough:///"+w.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "127.0.0.1",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
			if len(certs) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		},
	})), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as connects as an identity of this world's authority.
func (w *world) as(id string) *grpc.ClientConn {
	w.t.Helper()
	return w.dial(w.ca.client(time.Now().Add(time.Hour), id))
}

// tenant registers a Swiss tenant and writes a record of person p, record r.
func (w *world) tenant(id string) {
	w.t.Helper()
	conn := w.as(appCH)
	if _, err := residencyv1.NewTenantServiceClient(conn).RegisterTenant(w.t.Context(), &residencyv1.RegisterTenantRequest{TenantId: id, Residence: "CH"}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := residencyv1.NewRecordServiceClient(conn).PutRecord(w.t.Context(), putRequest(id)); err != nil {
		w.t.Fatal(err)
	}
}

func putRequest(tenant string) *residencyv1.PutRecordRequest {
	return &residencyv1.PutRecordRequest{TenantId: tenant, Record: &residencyv1.PersonalRecord{
		RecordId: "r", SubjectId: "p", Source: residencyv1.Source_SOURCE_PROVIDED,
		Personal: &residencyv1.Personal{FullName: canary, PostalAddress: canary + " Road", PhoneNumber: "+41 44 668 18 00", EmailAddress: canary + "@example.org", Attributes: map[string]string{canary: canary}},
		Purposes: []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_PAYMENTS},
	}}
}

func getRequest(tenant string) *residencyv1.GetRecordRequest {
	return &residencyv1.GetRecordRequest{TenantId: tenant, SubjectId: "p", RecordId: "r", Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS}
}

// canary marks every personal value of the tests.
const canary = "KanarienvogelX7"

// told is what a caller learns from an error.
type told struct {
	code         string
	reason       string
	info         *errdetails.ErrorInfo
	bad          *errdetails.BadRequest
	precondition *errdetails.PreconditionFailure
	retry        *errdetails.RetryInfo
}

func tell(err error) told {
	st := status.Convert(err)
	out := told{code: st.Code().String()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			out.info, out.reason = d, d.GetReason()
		case *errdetails.BadRequest:
			out.bad = d
		case *errdetails.PreconditionFailure:
			out.precondition = d
		case *errdetails.RetryInfo:
			out.retry = d
		}
	}
	return out
}

// wire is an error as the caller gets it, without what differs from call to call.
func wire(t testing.TB, err error) string {
	t.Helper()
	p := status.Convert(err).Proto()
	for _, d := range p.GetDetails() {
		info := &errdetails.ErrorInfo{}
		if d.UnmarshalTo(info) == nil {
			delete(info.Metadata, "decision_id")
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(info)
			if err != nil {
				t.Fatal(err)
			}
			d.Value = b
		}
	}
	b, err2 := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err2 != nil {
		t.Fatal(err2)
	}
	return string(b)
}

// counter reads a metric's sum over the children whose labels match.
func (w *world) counter(name string, labels prometheus.Labels) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for k, v := range labels {
				if have[k] != v {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}
