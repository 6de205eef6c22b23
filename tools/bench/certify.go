package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// certify makes a certificate for a gateway on 127.0.0.1 that names it by a URI,
// good for being called and for calling, under the authority of a folder of identities.
func certify(identities, uri, base string) (certificate, key string, err error) {
	authority, err := tls.LoadX509KeyPair(filepath.Join(identities, "ca.crt"), filepath.Join(identities, "ca.key"))
	if err != nil {
		return "", "", err
	}
	signer, ok := authority.PrivateKey.(crypto.Signer)
	if !ok {
		return "", "", errors.New("the authority's key cannot sign")
	}
	name, err := url.Parse(uri)
	if err != nil {
		return "", "", err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:         []*url.URL{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, own.Public(), signer)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return "", "", err
	}
	certificate, key = base+".crt", base+".key"
	return certificate, key, errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
