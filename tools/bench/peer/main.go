// Peer is what the gateway is measured against: a bare grpc-go server with the
// same services and messages that decides nothing, seals nothing and, unless it is given
// a database or a bucket, stores nothing. It knows only how to answer with messages of the gateway's sizes.
//
//	peer                                   plain text
//	peer -client-ca FILE -own-ca FILE      mutual TLS 1.3; writes its authority to -own-ca
//	peer -database LOCATION                keeps records in a PostgreSQL database
//	peer -bucket LOCATION                  keeps drives in an S3 bucket
//
// It prints the address that it serves on and ends when its standard input does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/tools/bench/bare"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	clientCA := flags.String("client-ca", "", "require client certificates of this authority; empty = no TLS")
	ownCA := flags.String("own-ca", "", "where to write the authority of the peer's own certificate")
	database := flags.String("database", "", "the connection string of the database that keeps records; empty = none are kept")
	objects := flags.String("bucket", "", "the location of the bucket that keeps drives; empty = none are kept")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var options []grpc.ServerOption
	if *clientCA != "" {
		config, err := mutualTLS(*clientCA, *ownCA)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	closer, err := register(server, *database, *objects)
	if err != nil {
		return err
	}
	defer closer()
	fmt.Fprintln(stdout, listener.Addr())
	go func() {
		io.Copy(io.Discard, stdin) //nolint:errcheck // the end of it is what counts, however it comes
		server.Stop()
	}()
	return server.Serve(listener)
}

// register adds the services; what it returns closes what they keep open.
func register(server *grpc.Server, database, objects string) (closer func(), err error) {
	closer = func() {}
	var r residencyv1.RecordServiceServer = records{}
	if database != "" {
		rows, err := bare.OpenTable(context.Background(), database)
		if err != nil {
			return nil, err
		}
		closer, r = rows.Close, table{rows: rows}
	}
	var d residencyv1.DriveServiceServer = drives{zeros: make([]byte, messageBytes)}
	if objects != "" {
		b, err := bare.OpenBucket(objects)
		if err != nil {
			return nil, err
		}
		d = &bucket{objects: b, drives: map[string]string{}}
	}
	residencyv1.RegisterRecordServiceServer(server, r)
	residencyv1.RegisterConsentServiceServer(server, consents{})
	residencyv1.RegisterTransferServiceServer(server, transfers{})
	residencyv1.RegisterDriveServiceServer(server, d)
	return closer, nil
}

// messageBytes is how much drive data one message carries.
const messageBytes = 256 << 10

type records struct {
	residencyv1.UnimplementedRecordServiceServer
}

func (records) GetRecord(_ context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	return &residencyv1.GetRecordResponse{Record: &residencyv1.PersonalRecord{
		RecordId:  r.GetRecordId(),
		SubjectId: r.GetSubjectId(),
		Personal: &residencyv1.Personal{
			FullName:      "Eva Muster of the Benchmark",
			PostalAddress: "Bahnhofstrasse 1, 8001 Zuerich",
			PhoneNumber:   "+41 44 000 00 00",
			EmailAddress:  "eva.muster@example.org",
			Attributes:    map[string]string{"customer-number": "0000-0000-0000", "note": "a sentence or two about what was asked and when it was answered"},
		},
		Source:      residencyv1.Source_SOURCE_PROVIDED,
		Purposes:    []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_SERVICE_PROVISION, residencyv1.Purpose_PURPOSE_PAYMENTS},
		CollectTime: timestamppb.Now(),
		Version:     1,
	}}, nil
}

func (records) PutRecord(_ context.Context, r *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
	return &residencyv1.PutRecordResponse{RecordId: r.GetRecord().GetRecordId(), Version: 1, CollectTime: timestamppb.Now()}, nil
}

type consents struct {
	residencyv1.UnimplementedConsentServiceServer
}

func (consents) GrantConsent(_ context.Context, r *residencyv1.GrantConsentRequest) (*residencyv1.GrantConsentResponse, error) {
	c := r.GetConsent()
	c.ConsentId = "00000000-0000-4000-8000-000000000000"
	c.TenantId = r.GetTenantId()
	c.PolicyVersion = "ch-2012-05-02"
	c.State = residencyv1.ConsentState_CONSENT_STATE_ACTIVE
	c.GrantTime = timestamppb.Now()
	c.ExpireTime = timestamppb.Now()
	return &residencyv1.GrantConsentResponse{Consent: c}, nil
}

type transfers struct {
	residencyv1.UnimplementedTransferServiceServer
}

func (transfers) CheckTransfer(_ context.Context, r *residencyv1.CheckTransferRequest) (*residencyv1.CheckTransferResponse, error) {
	return &residencyv1.CheckTransferResponse{Decision: &residencyv1.Decision{
		DecisionId:       "00000000-0000-4000-8000-000000000000",
		Outcome:          residencyv1.Outcome_OUTCOME_ALLOW,
		Clause:           "product/border",
		PolicyVersion:    "ch-2012-05-02",
		PolicyDigest:     "sha256:0000000000000000000000000000000000000000000000000000000000000000",
		ConsentId:        "00000000-0000-4000-8000-000000000000",
		FromJurisdiction: "CH",
		ToJurisdiction:   "US",
		Action:           residencyv1.Action_ACTION_TRANSFER,
		DataClass:        r.GetDataClass(),
		Purpose:          r.GetPurpose(),
		DecideTime:       timestamppb.Now(),
		Explanation:      "Permitted: a recorded consent covers the move of personal information from CH to US.",
		Controller:       "CloudSigma AG",
	}}, nil
}

type drives struct {
	residencyv1.UnimplementedDriveServiceServer
	zeros []byte
}

func (d drives) ReadDrive(r *residencyv1.ReadDriveRequest, stream grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	for left := r.GetLength(); left > 0; left -= messageBytes {
		if err := stream.Send(&residencyv1.ReadDriveResponse{Data: d.zeros[:min(left, messageBytes)]}); err != nil {
			return err
		}
	}
	return nil
}

func (drives) WriteDrive(stream grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	var n int64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: n, Version: 1})
		}
		if err != nil {
			return err
		}
		n += int64(len(m.GetData()))
	}
}
