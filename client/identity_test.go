package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	until time.Time // when what it issues ends; zero = in an hour
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template)
	return a
}

// sign issues a certificate, its own when the authority has none yet.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if !a.until.IsZero() {
		template.NotAfter = a.until
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// write issues an identity and writes its files, the key last.
func (a *authority) write(dir, name string) Identity {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	id := EmbeddedIdentity(dir, "app")
	a.pem(id.CA, "CERTIFICATE", a.cert.Raw)
	a.pem(id.Certificate, "CERTIFICATE", cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.pem(id.Key, "PRIVATE KEY", der)
	return id
}

func (a *authority) pem(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	// Two writes within the file system's clock tick must still look different.
	stamp := time.Now().Add(time.Duration(stamps.Add(1)) * time.Second)
	if err := os.Chtimes(name, stamp, stamp); err != nil {
		a.t.Fatal(err)
	}
}

var stamps atomic.Int64

// gateway answers GetRecord over TLS with the caller's common name.
type gateway struct {
	residencyv1.UnimplementedRecordServiceServer
}

func (gateway) GetRecord(ctx context.Context, _ *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	p, _ := peer.FromContext(ctx)
	name := p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.CommonName
	return &residencyv1.GetRecordResponse{Record: &residencyv1.PersonalRecord{SubjectId: name}}, nil
}

// listen serves over mutual TLS on loopback until the test ends.
func (a *authority) listen(versions uint16) (address string, restart func()) {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"gateway.test"}})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
		MinVersion: tls.VersionTLS12, MaxVersion: versions,
	}
	start := func(address string) (*grpc.Server, string) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			a.t.Fatal(err)
		}
		s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
		residencyv1.RegisterRecordServiceServer(s, gateway{})
		go s.Serve(l)
		return s, l.Addr().String()
	}
	s, address := start("127.0.0.1:0")
	a.t.Cleanup(func() { s.Stop() })
	return address, func() { s.Stop(); s, _ = start(address) }
}

func dialTest(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func whoAmI(t *testing.T, c *Client) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{}, grpc.WaitForReady(true))
	return r.GetRecord().GetSubjectId(), err
}

func TestRenewedIdentityIsUsedForTheNextConnection(t *testing.T) {
	a := newAuthority(t)
	address, restart := a.listen(tls.VersionTLS13)
	dir := t.TempDir()
	c := dialTest(t, Options{Address: address, Identity: a.write(dir, "first")})
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if who, err := whoAmI(t, c); err != nil || who != "first" {
		t.Fatalf("%q, %v", who, err)
	}
	a.write(dir, "second")
	if who, err := whoAmI(t, c); err != nil || who != "first" {
		t.Errorf("a standing connection changed its identity: %q, %v", who, err)
	}
	restart()
	if who, err := whoAmI(t, c); err != nil || who != "second" {
		t.Errorf("after the renewal: %q, %v", who, err)
	}
	a.pem(EmbeddedIdentity(dir, "app").Key, "PRIVATE KEY", []byte("half written"))
	restart()
	if who, err := whoAmI(t, c); err != nil || who != "second" {
		t.Errorf("a broken renewal must leave the last good identity: %q, %v", who, err)
	}
}

// plainText answers every connection with something that is no TLS.
func plainText(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().String()
}

func TestConnectionsThatMustNotStand(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	address, _ := a.listen(tls.VersionTLS13)
	old, _ := a.listen(tls.VersionTLS12)
	id := a.write(t.TempDir(), "app")
	strange := stranger.write(t.TempDir(), "app")
	strange.CA = id.CA // so that the gateway is the one that refuses
	a.until = time.Now().Add(-time.Minute)
	ended := a.write(t.TempDir(), "app")
	for _, test := range []struct {
		name string
		o    Options
		says string
		tls  TLSFailure
	}{
		{"TLS 1.2", Options{Address: old, Identity: id}, "protocol version", TLSFailure{false, TLSProtocol}},
		{"no TLS", Options{Address: plainText(t), Identity: id}, "does not look like", TLSFailure{false, TLSProtocol}},
		{"a gateway of another name", Options{Address: address, Identity: id, ServerName: "other.test"}, "other.test", TLSFailure{false, TLSWrongName}},
		{"a gateway of an unknown authority", Options{Address: address, Identity: stranger.write(t.TempDir(), "app")}, "unknown authority", TLSFailure{false, TLSUnknownAuthority}},
		{"an identity of an authority unknown there", Options{Address: address, Identity: strange}, "unknown certificate authority", TLSFailure{true, TLSUnknownAuthority}},
		{"an identity that has ended", Options{Address: address, Identity: ended}, "expired certificate", TLSFailure{true, TLSExpired}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.MaxAttempts = 1
			_, err := dialTest(t, test.o).Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{})
			var e *Error
			if !errors.As(err, &e) || e.Code != codes.Unavailable || !strings.Contains(e.Message, test.says) {
				t.Fatalf("got %v, want UNAVAILABLE that says %q", err, test.says)
			}
			if e.TLS == nil || *e.TLS != test.tls || e.Retryable() {
				t.Errorf("told as %+v (retryable: %v), want %+v", e.TLS, e.Retryable(), test.tls)
			}
		})
	}
	if who, err := whoAmI(t, dialTest(t, Options{Address: address, Identity: id, ServerName: "gateway.test"})); err != nil || who != "app" {
		t.Errorf("the right name: %q, %v", who, err)
	}
}

func TestDialRefusesWhatCannotWork(t *testing.T) {
	a := newAuthority(t)
	good := a.write(t.TempDir(), "app")
	notPEM := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		o    Options
		says string
	}{
		{"no address", t.Context(), Options{Identity: good}, "Address"},
		{"no identity", t.Context(), Options{Address: "127.0.0.1:1"}, "identity"},
		{"no such key", t.Context(), Options{Address: "127.0.0.1:1", Identity: Identity{Certificate: good.Certificate, Key: "/absent", CA: good.CA}}, "/absent"},
		{"no such authority", t.Context(), Options{Address: "127.0.0.1:1", Identity: Identity{Certificate: good.Certificate, Key: good.Key, CA: "/absent"}}, "/absent"},
		{"not an authority", t.Context(), Options{Address: "127.0.0.1:1", Identity: Identity{Certificate: good.Certificate, Key: good.Key, CA: notPEM}}, "no PEM"},
		{"too late", ended, Options{Address: "127.0.0.1:1", Identity: good}, "canceled"},
	} {
		if c, err := Dial(test.ctx, test.o); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v; want an error that says %q", test.name, c, err, test.says)
		}
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := dialTest(t, Options{Address: l.Addr().String(), Identity: newAuthority(t).write(t.TempDir(), "app"), MaxAttempts: 2})
	_, err = c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{})
	var e *Error
	if !errors.As(err, &e) || status.Code(err) != codes.Unavailable || e.Reason != "" || !e.Retryable() {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReady: %v", err)
	}
}
