package main

import (
	"context"
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
	"github.com/domicile-project/domicile/tools/bench/bare"
)

// callersPerConnection is how many callers share a connection.
const callersPerConnection = 16

// target is a server under load and the connections to it; or a database or a
// bucket, which this process uses itself.
type target struct {
	Address    string
	Identities string // folder of NAME.crt and NAME.key; "" = no TLS
	Authority  string // file of the server's authority
	Database   string // connection string
	Bucket     string // location

	mu          sync.Mutex
	connections map[string]*grpc.ClientConn
	table       *bare.Table
	bucket      *bare.Bucket
}

// stubs are the services of a target over one connection.
type stubs struct {
	tenants   residencyv1.TenantServiceClient
	records   residencyv1.RecordServiceClient
	consents  residencyv1.ConsentServiceClient
	transfers residencyv1.TransferServiceClient
	drives    residencyv1.DriveServiceClient
	gateways  residencyv1.GatewayServiceClient

	table  *bare.Table
	bucket *bare.Bucket
}

// stubs gives a caller the services, sharing connections between callers.
func (to *target) stubs(ctx context.Context, identity string, callers, caller int) (stubs, error) {
	if to.Address == "" {
		return to.bare(ctx)
	}
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
		gateways:  residencyv1.NewGatewayServiceClient(c),
	}, nil
}

// bare gives a caller the database or the bucket.
func (to *target) bare(ctx context.Context) (_ stubs, err error) {
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.Database != "" && to.table == nil {
		to.table, err = bare.OpenTable(ctx, to.Database)
	}
	if to.Bucket != "" && to.bucket == nil {
		to.bucket, err = bare.OpenBucket(to.Bucket)
	}
	return stubs{table: to.table, bucket: to.bucket}, err
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
	if to.table != nil {
		to.table.Close()
	}
}
