package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// readingDrives is a backend whose drive reads a test makes.
type readingDrives struct {
	Backend
	read func(call *gateway.Call, send func([]byte) error) error
}

func (r *readingDrives) ReadDrive(_ context.Context, call *gateway.Call, _ gateway.ReadDrive, send func([]byte) error) error {
	return r.read(call, send)
}

// narrow connects with windows of 64 KiB that do not grow.
func (w *world) narrow(id string) *grpc.ClientConn {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.cert)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{w.ca.client(time.Now().Add(time.Hour), id)},
	}
	conn, err := grpc.NewClient("passthrough:///"+w.address, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(1<<20))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// While a caller does not read, the transport has one message of the stream and no second: Sent
// waits before it, until the stream is cut. What the caller then still gets is that one.
func TestOneMessageWithTheTransport(t *testing.T) {
	stop := make(chan struct{})
	var handed atomic.Int64
	r := &readingDrives{read: func(call *gateway.Call, send func([]byte) error) error {
		for {
			if err := call.Sent(stop); err != nil {
				return err
			}
			select {
			case <-stop:
				return io.ErrUnexpectedEOF // cut
			default:
			}
			handed.Add(1)
			if err := send(make([]byte, maxDriveData)); err != nil {
				return err
			}
		}
	}}
	w := newWorld(t, withBackend(func(b Backend) Backend { r.Backend = b; return r }))
	stream, err := residencyv1.NewDriveServiceClient(w.narrow(appCH)).ReadDrive(t.Context(), readRequest())
	if err != nil {
		t.Fatal(err)
	}
	const read = 5
	for range read {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond) // for another to be handed over, if it were
	if n := handed.Load(); n > read+1 {
		t.Errorf("%d messages were handed over, of which the caller took %d", n, read)
	}
	close(stop)
	rest := 0
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
		rest++
	}
	if rest > 1 || errors.Is(err, io.EOF) {
		t.Errorf("%d messages came after the stream was cut: %v", rest, err)
	}
}
