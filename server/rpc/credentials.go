package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/domicile-project/domicile/server/config"
)

// Credentials secure the server's connections: TLS 1.3 with a certificate on
// both sides, the client's verified in the handshake. The files are read again by Reload.
// Safe for concurrent use.
type Credentials struct {
	files   config.TLS
	current atomic.Pointer[material]
	refused func(reason string) // called for every handshake that failed
}

var _ credentials.TransportCredentials = (*Credentials)(nil)

// material is what the files held when they were last read.
type material struct {
	stamp   [3]stamp
	conf    *tls.Config
	pool    *x509.CertPool
	server  time.Time // when the server's certificate ends, or the first of those that its file has beside it
	clients time.Time // when the first of the client authorities ends
}

// stamp tells one version of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// NewCredentials reads the files. refused, which may be nil, is called with the reason
// of every handshake that failed: one of "no_certificate", "unknown_authority", "expired", "other".
func NewCredentials(files config.TLS, refused func(reason string)) (*Credentials, error) {
	if refused == nil {
		refused = func(string) {}
	}
	c := &Credentials{files: files, refused: refused}
	m, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current.Store(m)
	return c, nil
}

// Reload reads the files again if any of them changed, and reports whether
// new ones came into use. After an error the old ones stay in use. Connections that are
// open go on while their certificate is good under the new authorities.
func (c *Credentials) Reload() (changed bool, err error) {
	now, err := c.stamps()
	if err != nil {
		return false, err
	}
	if now == c.current.Load().stamp {
		return false, nil
	}
	m, err := c.load()
	if err != nil {
		return false, err
	}
	c.current.Store(m)
	return true, nil
}

// Expiry gives when the server's certificate ends, and the first of the client
// authorities.
func (c *Credentials) Expiry() (server, clients time.Time) {
	m := c.current.Load()
	return m.server, m.clients
}

func (c *Credentials) stamps() (out [3]stamp, err error) {
	for i, name := range []string{c.files.Certificate, c.files.Key, c.files.ClientCA} {
		info, err := os.Stat(name)
		if err != nil {
			return out, fmt.Errorf("rpc: %w", err)
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

func (c *Credentials) load() (*material, error) {
	stamps, err := c.stamps()
	if err != nil {
		return nil, err
	}
	if err := private(c.files.Key); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return nil, fmt.Errorf("rpc: the server's certificate %s and key %s: %w", c.files.Certificate, c.files.Key, err)
	}
	end, err := chainEnd(pair)
	if err != nil {
		return nil, fmt.Errorf("rpc: the server's certificate %s: %w", c.files.Certificate, err)
	}
	pool, first, err := authorities(c.files.ClientCA)
	if err != nil {
		return nil, err
	}
	return &material{
		stamp:   stamps,
		pool:    pool,
		server:  end,
		clients: first,
		conf: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{pair},
			ClientAuth:             tls.RequireAndVerifyClientCert,
			ClientCAs:              pool,
			NextProtos:             []string{"h2"},
			SessionTicketsDisabled: true, // every connection proves its certificate afresh
		},
	}, nil
}

// chainEnd gives when the first of the certificates that are shown ends.
func chainEnd(pair tls.Certificate) (time.Time, error) {
	end := pair.Leaf.NotAfter
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return end, err
		}
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end, nil
}

// private refuses a key that others may read or replace.
func private(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	if err := config.Private(name, info); err != nil {
		return fmt.Errorf("rpc: the server's key: %w", err)
	}
	return nil
}

// authorities reads a PEM file of certificates, all of them or none, and says
// when the first of them ends.
func authorities(name string) (*x509.CertPool, time.Time, error) {
	rest, err := os.ReadFile(name)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("rpc: %w", err)
	}
	pool := x509.NewCertPool()
	var first time.Time
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return nil, time.Time{}, fmt.Errorf("rpc: %s: want PEM certificates only", name)
		}
		pool.AddCert(cert)
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	if first.IsZero() {
		return nil, time.Time{}, fmt.Errorf("rpc: %s: holds no certificate", name)
	}
	return pool, first, nil
}

// connection is what the handshake found out about a peer: its identity, read
// once, for as long as its certificate and one chain to an authority are good.
type connection struct {
	credentials.TLSInfo
	creds    *Credentials
	identity string // the certificate's one URI; "" = it has none, or several
	leaf     *x509.Certificate
	chain    *x509.CertPool // the certificates between it and the authority
	standing atomic.Pointer[standing]
}

// standing is what a look at a connection's certificate came to. It holds for the
// authorities that it was looked at under.
type standing struct {
	under *material
	until time.Time // the end of the chain that lasts longest; zero = no chain is good
}

// Identity gives the peer's identity now: "" when its certificate or its
// authority's has ended, or its authority is no longer accepted.
func (c *connection) Identity(now time.Time) string {
	s := c.standing.Load()
	if m := c.creds.current.Load(); s.under != m {
		s = &standing{under: m, until: c.good(m, now)}
		c.standing.Store(s)
	}
	if now.After(s.until) {
		return ""
	}
	return c.identity
}

// good gives until when the certificate is good under the authorities.
func (c *connection) good(m *material, now time.Time) time.Time {
	chains, err := c.leaf.Verify(x509.VerifyOptions{
		Roots: m.pool, Intermediates: c.chain, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return time.Time{}
	}
	return endOf(chains)
}

// endOf gives when the last of the chains ends; a chain ends with the first
// certificate in it, the authority's included.
func endOf(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(end) {
				end = cert.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// identityOf gives the identity behind a call, or "".
func identityOf(ctx context.Context, now time.Time) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	c, ok := p.AuthInfo.(*connection)
	if !ok {
		return ""
	}
	return c.Identity(now)
}

// ServerHandshake secures a connection and learns the peer's identity.
func (c *Credentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := c.current.Load()
	conn := tls.Server(raw, m.conf)
	if err := conn.Handshake(); err != nil {
		c.refused(refusalOf(err))
		_ = raw.Close() // the handshake's error says more
		return nil, nil, fmt.Errorf("rpc: handshake: %w", err)
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "h2" || len(state.PeerCertificates) == 0 {
		c.refused("other")
		_ = conn.Close() // nothing was said on it yet
		return nil, nil, errors.New("rpc: handshake: want HTTP/2 and a client certificate")
	}
	out := c.connection(m, state)
	if owned, ok := raw.(*counted); ok && !owned.claim(out.identity) {
		_ = conn.Close() // nothing was said on it yet
		return nil, nil, errors.New("rpc: handshake: the caller has too many connections open")
	}
	return conn, out, nil
}

func (c *Credentials) connection(m *material, state tls.ConnectionState) *connection {
	leaf := state.PeerCertificates[0]
	out := &connection{
		TLSInfo: credentials.TLSInfo{
			State:          state,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		},
		creds: c, leaf: leaf, chain: x509.NewCertPool(),
	}
	for _, cert := range state.PeerCertificates[1:] {
		out.chain.AddCert(cert)
	}
	if len(leaf.URIs) == 1 {
		out.identity = leaf.URIs[0].String()
	}
	out.standing.Store(&standing{under: m, until: endOf(state.VerifiedChains)})
	return out
}

// refusalOf sorts a failed handshake into a closed set, for a metric.
func refusalOf(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "unknown_authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired"
	case err.Error() == "tls: client didn't provide a certificate":
		return "no_certificate"
	}
	return "other"
}

// ClientHandshake refuses: these are a server's credentials.
func (c *Credentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("rpc: these are a server's credentials")
}

// Info describes the protocol.
func (c *Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone gives the same credentials: they hold no state of a connection.
func (c *Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing: a server has none to check.
func (c *Credentials) OverrideServerName(string) error { return nil }
