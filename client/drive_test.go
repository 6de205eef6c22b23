package client

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// received is one write as the gateway saw it.
type received struct {
	header *residencyv1.WriteDriveHeader
	data   []byte
	sizes  []int
	err    error // how the stream ended, io.EOF = well
}

func receive(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) (r received) {
	for {
		m, err := s.Recv()
		if err != nil {
			r.err = err
			return r
		}
		if h := m.GetHeader(); h != nil {
			r.header = h
			if err := s.SendHeader(metadata.Pairs(decisionTrailer, "d-1")); err != nil { // decided, before any data
				r.err = err
				return r
			}
			continue
		}
		r.data = append(r.data, m.GetData()...)
		r.sizes = append(r.sizes, len(m.GetData()))
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestWriteDriveFrom(t *testing.T) {
	for _, n := range []int{0, 1, MaxDriveMessage - 1, MaxDriveMessage, MaxDriveMessage + 1, 3*MaxDriveMessage + 7} {
		var got received
		c, stop := serve(t, &fake{write: func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
			got = receive(s)
			return s.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: int64(len(got.data)), Version: 2})
		}})
		data := random(n)
		var last int64
		header := &residencyv1.WriteDriveHeader{TenantId: "t", DriveId: "d", Offset: 5}
		r, err := c.WriteDriveFrom(t.Context(), header, iotest.HalfReader(bytes.NewReader(data)), func(sent int64) { last = sent })
		stop()
		if err != nil || r.GetVersion() != 2 {
			t.Fatalf("%d bytes: %v, %v", n, r, err)
		}
		if !bytes.Equal(got.data, data) || last != int64(n) || got.err != io.EOF {
			t.Errorf("%d bytes: %d arrived, progress said %d, the stream ended with %v", n, len(got.data), last, got.err)
		}
		for i, size := range got.sizes {
			if size > MaxDriveMessage || size < 1 || i < len(got.sizes)-1 && size != MaxDriveMessage {
				t.Errorf("%d bytes: message sizes %v", n, got.sizes)
			}
		}
		if got.header.GetOffset() != 5 || got.header.GetRequestId() == "" || header.GetRequestId() != "" {
			t.Errorf("%d bytes: header %v, the caller's %v", n, got.header, header)
		}
	}
}

func TestWriteDriveFromAReaderThatFails(t *testing.T) {
	ended := make(chan error, 1)
	c, stop := serve(t, &fake{write: func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		r := receive(s)
		ended <- r.err
		return r.err
	}})
	defer stop()
	broken := errors.New("disk on fire")
	_, err := c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{}, io.MultiReader(bytes.NewReader(random(1<<20)), iotest.ErrReader(broken)), nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if end := <-ended; status.Code(end) != codes.Canceled {
		t.Errorf("the gateway saw the stream end with %v: a short write may have been taken for a whole one", end)
	}
}

func TestWriteDriveFromIsRepeatedWhole(t *testing.T) {
	var seen []received
	c, stop := serve(t, &fake{write: func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		if len(seen) == 0 { // gone after the header and one message
			first, _ := s.Recv()
			s.SendHeader(metadata.Pairs(decisionTrailer, "d-1"))
			s.Recv()
			seen = append(seen, received{header: first.GetHeader()})
			return status.Error(codes.Unavailable, "restarting")
		}
		seen = append(seen, receive(s))
		return s.SendAndClose(&residencyv1.WriteDriveResponse{})
	}})
	defer stop()
	data := random(1 << 20)
	in := bytes.NewReader(data)
	in.Seek(100, io.SeekStart)
	if _, err := c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{}, in, nil); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || !bytes.Equal(seen[1].data, data[100:]) {
		t.Fatalf("%d attempts; the second must bring all from where the reader stood", len(seen))
	}
	if a, b := seen[0].header.GetRequestId(), seen[1].header.GetRequestId(); a == "" || a != b {
		t.Errorf("request ids %q and %q: want one", a, b)
	}

	seen = nil
	_, err := c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{}, io.LimitReader(bytes.NewReader(data), 1<<20), nil)
	if status.Code(err) != codes.Unavailable || len(seen) != 1 {
		t.Errorf("what cannot be read again was sent again: %d attempts, %v", len(seen), err)
	}
}

func TestReadDriveTo(t *testing.T) {
	data := random(3*MaxDriveMessage + 1)
	tries, failAt := 0, -1
	c, stop := serve(t, &fake{read: func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		tries++
		i := 0
		for chunk := range slices.Chunk(data, MaxDriveMessage) {
			if i == failAt && tries == 1 {
				return status.Error(codes.Unavailable, "")
			}
			i++
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: chunk}); err != nil {
				return err
			}
		}
		return nil
	}})
	defer stop()
	for _, test := range []struct {
		name   string
		failAt int
		want   []byte
		tries  int
		code   codes.Code
	}{
		{"whole", -1, data, 1, codes.OK},
		{"gone before the first byte is repeated", 0, data, 2, codes.OK},
		{"gone after it is not", 1, data[:MaxDriveMessage], 1, codes.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			tries, failAt = 0, test.failAt
			var got bytes.Buffer
			var last int64
			n, err := c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{}, &got, func(received int64) { last = received })
			if status.Code(err) != test.code || tries != test.tries {
				t.Errorf("%d tries, %v; want %d, %v", tries, err, test.tries, test.code)
			}
			if !bytes.Equal(got.Bytes(), test.want) || n != int64(got.Len()) || last != n {
				t.Errorf("got %d bytes, said %d, progress %d, want %d", got.Len(), n, last, len(test.want))
			}
		})
	}
}

func TestReadDriveToAWriterThatFails(t *testing.T) {
	stopped := make(chan error, 1)
	c, stop := serve(t, &fake{read: func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		for {
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: make([]byte, 1024)}); err != nil {
				stopped <- err
				return err
			}
		}
	}})
	defer stop()
	_, err := c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{}, fullWriter{}, nil)
	if !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "writing what was read") {
		t.Errorf("got %v", err)
	}
	<-stopped // the gateway does not go on sending
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
