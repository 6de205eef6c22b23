package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Identity names the files that say whom a client calls as and which authority
// vouches for its gateway, all PEM. They are looked at again for every new
// connection, so renewed ones are used without a restart; a connection that
// stands keeps what it began with.
type Identity struct {
	Certificate string // the client's certificate and whatever chain it needs
	Key         string // its private key
	CA          string // the authorities that the gateway's certificate may descend from; the system's are not asked
}

// EmbeddedIdentity names the files of an identity that an embedded gateway
// made, such as "app-ch", under its data folder.
func EmbeddedIdentity(data, name string) Identity {
	dir := filepath.Join(data, "identity")
	return Identity{
		Certificate: filepath.Join(dir, name+".crt"),
		Key:         filepath.Join(dir, name+".key"),
		CA:          filepath.Join(dir, "ca.crt"),
	}
}

// identityCredentials are TLS 1.3 credentials that read an identity's files
// again whenever they changed. A change that cannot be used, such as a
// certificate whose key has not been written yet, leaves the last good ones in use.
type identityCredentials struct {
	files *identityFiles
}

var _ credentials.TransportCredentials = (*identityCredentials)(nil)

func newCredentials(id Identity) (*identityCredentials, error) {
	f := &identityFiles{identity: id}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return &identityCredentials{files: f}, nil
}

// ClientHandshake proves both sides to each other; the gateway's certificate
// must be for the authority's host.
func (c *identityCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.files.load()
	if err != nil {
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return &telling{Conn: conn, ended: make(chan struct{})}, info, nil
}

// ServerHandshake fails: these credentials are a client's.
func (c *identityCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, fmt.Errorf("client: an Identity is a client's and cannot serve")
}

// Info says that this is TLS.
func (c *identityCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone gives credentials that share the loaded files.
func (c *identityCredentials) Clone() credentials.TransportCredentials {
	clone := *c
	return &clone
}

// OverrideServerName fails: Options.ServerName says which name the gateway's
// certificate must be for.
func (c *identityCredentials) OverrideServerName(string) error {
	return fmt.Errorf("client: set Options.ServerName instead")
}

// identityFiles are an identity's files as last read. Safe for concurrent use.
type identityFiles struct {
	identity Identity

	mu     sync.Mutex
	seen   [3]fileVersion
	config *tls.Config // nil until first loaded
}

type fileVersion struct {
	modified time.Time
	size     int64
}

// load gives the configuration that the files make now, or the last good one.
func (f *identityFiles) load() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.versions()
	if f.config != nil && seen == f.seen {
		return f.config, nil
	}
	config, err := f.identity.config()
	if err != nil {
		if f.config != nil {
			return f.config, nil
		}
		return nil, err
	}
	f.seen, f.config = seen, config
	return config, nil
}

func (f *identityFiles) versions() (v [3]fileVersion) {
	for i, name := range []string{f.identity.Certificate, f.identity.Key, f.identity.CA} {
		if info, err := os.Stat(name); err == nil {
			v[i] = fileVersion{modified: info.ModTime(), size: info.Size()}
		}
	}
	return v
}

func (id Identity) config() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(id.Certificate, id.Key)
	if err != nil {
		return nil, fmt.Errorf("client: identity: %w", err)
	}
	pem, err := os.ReadFile(id.CA)
	if err != nil {
		return nil, fmt.Errorf("client: authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client: authority: %s holds no PEM certificate", id.CA)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
	}, nil
}
