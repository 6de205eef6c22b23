package client

import (
	"context"
	"net"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/protoadapt"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// fake is a gateway whose answers a test chooses. A nil function answers NOT_FOUND.
type fake struct {
	residencyv1.UnimplementedRecordServiceServer
	residencyv1.UnimplementedDriveServiceServer
	residencyv1.UnimplementedTenantServiceServer
	residencyv1.UnimplementedDisclosureServiceServer

	get   func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error)
	put   func(context.Context, *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error)
	list  func(context.Context, *residencyv1.ListTenantsRequest) (*residencyv1.ListTenantsResponse, error)
	write func(grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error
	read  func(*residencyv1.ReadDriveRequest, grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error

	export   func(*residencyv1.ExportSubjectRequest, grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error
	inspect  func(*residencyv1.InspectDriveRequest, grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error
	disclose func(*residencyv1.DiscloseRequest, grpc.ServerStreamingServer[residencyv1.DiscloseResponse]) error
}

func (f *fake) ExportSubject(r *residencyv1.ExportSubjectRequest, s grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error {
	return f.export(r, s)
}

func (f *fake) InspectDrive(r *residencyv1.InspectDriveRequest, s grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error {
	return f.inspect(r, s)
}

func (f *fake) Disclose(r *residencyv1.DiscloseRequest, s grpc.ServerStreamingServer[residencyv1.DiscloseResponse]) error {
	return f.disclose(r, s)
}

func (f *fake) GetRecord(ctx context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	return f.get(ctx, r)
}

func (f *fake) PutRecord(ctx context.Context, r *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
	return f.put(ctx, r)
}

func (f *fake) ListTenants(ctx context.Context, r *residencyv1.ListTenantsRequest) (*residencyv1.ListTenantsResponse, error) {
	return f.list(ctx, r)
}

func (f *fake) WriteDrive(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	return f.write(s)
}

func (f *fake) ReadDrive(r *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	return f.read(r, s)
}

// serve starts the fake in this process and gives a client of it. Everything
// ends with close, which a synctest bubble must call itself.
func serve(t *testing.T, f *fake) (c *Client, stop func()) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	residencyv1.RegisterRecordServiceServer(s, f)
	residencyv1.RegisterDriveServiceServer(s, f)
	residencyv1.RegisterTenantServiceServer(s, f)
	residencyv1.RegisterDisclosureServiceServer(s, f)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	c, err := open(Options{Address: "passthrough:///fake"},
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		c.Close()
		s.Stop()
		<-done
	}
}

// refusal makes the status of a gateway's refusal.
func refusal(t *testing.T, code codes.Code, reason string, metadata map[string]string, more ...protoadapt.MessageV1) error {
	t.Helper()
	info := &errdetails.ErrorInfo{Domain: "residency", Reason: reason, Metadata: metadata}
	s, err := status.New(code, "catalogue text").WithDetails(append([]protoadapt.MessageV1{protoadapt.MessageV1Of(info)}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}
