package forward

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/domicile-project/domicile/server/config"
)

// peerCredentials prove this gateway to a peer's and the peer's to this one: by the URI in its
// certificate, not by a host's name. The files are read anew for every connection.
type peerCredentials struct {
	files    config.TLS
	identity string // the URI that the peer's certificate must hold
}

var _ credentials.TransportCredentials = (*peerCredentials)(nil)

// proof tells one content of the files from another.
type proof [sha256.Size]byte

// proof reads the files. Ones that do not fit together, as while they are being replaced, give an error.
func (c *peerCredentials) proof() (out proof, err error) {
	if err := c.own(); err != nil {
		return out, err
	}
	h := sha256.New()
	for _, name := range []string{c.files.Certificate, c.files.Key, c.files.ClientCA} {
		text, err := os.ReadFile(name)
		if err != nil {
			return out, fmt.Errorf("forward: %w", err)
		}
		sum := sha256.Sum256(text)
		h.Write(sum[:])
	}
	h.Sum(out[:0])
	return out, nil
}

// own checks that the gateway's certificate can prove it to the peer.
func (c *peerCredentials) own() error {
	files := c.files
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	switch leaf := pair.Leaf; {
	case len(leaf.URIs) != 1:
		return fmt.Errorf("forward: %s holds %d URIs, want one: a peer knows this gateway by it", files.Certificate, len(leaf.URIs))
	case leaf.URIs[0].String() == c.identity:
		return fmt.Errorf("forward: %s is for %s, the peer's identity: the gateways of each region have one of their own", files.Certificate, c.identity)
	case !slices.ContainsFunc(leaf.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}) && len(leaf.ExtKeyUsage) > 0:
		return fmt.Errorf("forward: %s is not good for a client (extended key usage clientAuth), and this gateway calls its peers with it", files.Certificate)
	}
	return nil
}

// ClientHandshake proves both sides to each other.
func (c *peerCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("forward: %w", err)
	}
	text, err := os.ReadFile(c.files.ClientCA)
	if err != nil {
		return nil, nil, fmt.Errorf("forward: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("forward: %s holds no PEM certificate", c.files.ClientCA)
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		// The name of a host proves nothing here; verify looks at the chain and at the identity.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does more
		VerifyConnection:   func(s tls.ConnectionState) error { return c.verify(s, roots) },
	}).ClientHandshake(ctx, authority, raw)
}

func (c *peerCredentials) verify(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("forward: the peer shows no certificate")
	}
	leaf, chain := s.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		chain.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: chain, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("forward: the peer's certificate: %w", err)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != c.identity {
		return fmt.Errorf("forward: the peer's certificate is not for %s alone", c.identity)
	}
	return nil
}

// ServerHandshake refuses: these credentials are a client's.
func (c *peerCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("forward: these are a client's credentials")
}

// Info says that this is TLS.
func (c *peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone gives the same credentials: they hold no state of a connection.
func (c *peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing: no name is checked.
func (c *peerCredentials) OverrideServerName(string) error { return nil }
