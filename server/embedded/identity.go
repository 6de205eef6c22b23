package embedded

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// How long certificates are good, and from when before the end a start makes new ones.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	backdate      = time.Hour // for clocks that are behind
)

// The files' names under DIR/identity that are no caller's.
const (
	authorityName = "ca"
	serverName    = "server"
)

// authority is the private authority of a data folder.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// makeIdentities makes what is missing under a folder, renews what is about to end or
// was made by another authority, and leaves the rest as it is.
func makeIdentities(dir string, now time.Time) error {
	ca, err := loadAuthority(dir, now)
	if err != nil {
		return err
	}
	if err := ca.leaf(dir, serverName, serverTemplate(), now); err != nil {
		return err
	}
	for _, id := range identities() {
		if err := ca.leaf(dir, id.name, clientTemplate(id), now); err != nil {
			return err
		}
	}
	return nil
}

// loadAuthority reads the authority, or makes one when there is none or it is
// about to end; every leaf is then made anew.
func loadAuthority(dir string, now time.Time) (*authority, error) {
	cert, key, err := load(dir, authorityName)
	if err == nil && now.Add(renewBefore).Before(cert.NotAfter) {
		return &authority{cert, key}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Domicile embedded authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
	}
	cert, key, err = issue(dir, authorityName, template, nil)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

// leaf makes a certificate unless there is one that this authority made, for the
// same names, and that is good for a while yet.
func (a *authority) leaf(dir, name string, template *x509.Certificate, now time.Time) error {
	cert, _, err := load(dir, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && now.Add(renewBefore).Before(cert.NotAfter) && cert.CheckSignatureFrom(a.cert) == nil && sameNames(cert, template) {
		return nil
	}
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(leafLife)
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	_, _, err = issue(dir, name, template, a)
	return err
}

func sameNames(a, b *x509.Certificate) bool {
	if len(a.URIs) != len(b.URIs) || len(a.IPAddresses) != len(b.IPAddresses) || len(a.DNSNames) != len(b.DNSNames) {
		return false
	}
	for i := range a.URIs {
		if a.URIs[i].String() != b.URIs[i].String() {
			return false
		}
	}
	return true
}

func serverTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Domicile embedded gateway"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/gateway"}},
	}
}

func clientTemplate(id identity) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: id.name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id.uri()},
	}
}

// issue makes a key and a certificate and writes both, the key first: a certificate on disk
// always has its key. Without an authority the certificate signs itself.
func issue(dir, name string, template *x509.Certificate, by *authority) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: certificate %s: %w", name, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	if err := writeFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return nil, nil, err
	}
	if err := writeFile(filepath.Join(dir, name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	return cert, key, nil
}

// load reads a certificate and its key. A crash between the two files of a
// renewal leaves a pair that does not match; that counts as missing.
func load(dir, name string) (*x509.Certificate, crypto.Signer, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %w", err)
	}
	if info, err := os.Stat(keyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, nil, fmt.Errorf("embedded: %s is readable by others: make it 0600, and remove %s if it may have leaked", keyFile, dir)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: %s and its key do not go together: %w", certFile, fs.ErrNotExist)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("embedded: %s: want a signing key", keyFile)
	}
	return pair.Leaf, key, nil
}
