package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// callersPerConnection is how many callers share a connection.
const callersPerConnection = 16

// target is a server under load and the connections to it.
type target struct {
	Address    string
	Identities string // folder of NAME.crt and NAME.key; "" = no TLS
	Authority  string // file of the server's authority

	mu          sync.Mutex
	connections map[string]*grpc.ClientConn
}

// stubs are the services of a target over one connection.
type stubs struct {
	tenants   residencyv1.TenantServiceClient
	records   residencyv1.RecordServiceClient
	consents  residencyv1.ConsentServiceClient
	transfers residencyv1.TransferServiceClient
	drives    residencyv1.DriveServiceClient
}

// stubs gives a caller the services, sharing connections between callers.
func (to *target) stubs(identity string, callers, caller int) (stubs, error) {
	n := (callers + callersPerConnection - 1) / callersPerConnection
	c, err := to.connection(identity, caller%n)
	if err != nil {
		return stubs{}, err
	}
	return stubs{
		tenants:   residencyv1.NewTenantServiceClient(c),
		records:   residencyv1.NewRecordServiceClient(c),
		consents:  residencyv1.NewConsentServiceClient(c),
		transfers: residencyv1.NewTransferServiceClient(c),
		drives:    residencyv1.NewDriveServiceClient(c),
	}, nil
}

func (to *target) connection(identity string, n int) (*grpc.ClientConn, error) {
	to.mu.Lock()
	defer to.mu.Unlock()
	key := fmt.Sprintf("%s/%d", identity, n)
	if c := to.connections[key]; c != nil {
		return c, nil
	}
	security, err := to.credentials(identity)
	if err != nil {
		return nil, err
	}
	c, err := grpc.NewClient("passthrough:///"+to.Address, grpc.WithTransportCredentials(security))
	if err != nil {
		return nil, err
	}
	if to.connections == nil {
		to.connections = map[string]*grpc.ClientConn{}
	}
	to.connections[key] = c
	return c, nil
}

func (to *target) credentials(identity string) (credentials.TransportCredentials, error) {
	if to.Identities == "" {
		return insecure.NewCredentials(), nil
	}
	base := filepath.Join(to.Identities, identity)
	certificate, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(to.Authority)
	if err != nil {
		return nil, err
	}
	servers := x509.NewCertPool()
	if !servers.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", to.Authority)
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, RootCAs: servers, ServerName: "127.0.0.1",
	}), nil
}

func (to *target) close() {
	for _, c := range to.connections {
		c.Close()
	}
}
