package client

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

func TestReadsOfDrivesGoHome(t *testing.T) {
	j := newJourney(t)
	for _, want := range [][2]int64{{1, 1}, {0, 1}} {
		var got bytes.Buffer
		var decision, endpoint string
		_, err := j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, &got, nil, DecisionID(&decision), Endpoint(&endpoint))
		if err != nil || got.String() != strings.Repeat(j.home.address, 3) {
			t.Errorf("read %q, %v", &got, err)
		}
		if decision != "d-"+j.home.address || endpoint != j.home.address {
			t.Errorf("decision %q, endpoint %q", decision, endpoint)
		}
		j.wantCalls(want[0], want[1])
	}
}

// What has given something out is not begun again.
func TestAStreamThatBeganStaysWhereItIs(t *testing.T) {
	j := newJourney(t)
	j.first.read = func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		s.Send(&residencyv1.ReadDriveResponse{Data: []byte("x")})
		return elsewhere(t, j.home.address)
	}
	n, err := j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, io.Discard, nil)
	if e := sentElsewhere(err); n != 1 || e == nil || e.Endpoint != j.home.address {
		t.Errorf("%d bytes, %v", n, err)
	}
	j.wantCalls(0, 0)
}

func TestWritesOfDrivesGoHome(t *testing.T) {
	data := random(3*MaxDriveMessage + 7)
	for name, from := range map[string]func() io.Reader{
		"from a file": func() io.Reader { return bytes.NewReader(data) },
		"from a pipe": func() io.Reader { return io.MultiReader(bytes.NewReader(data)) },
		"of nothing":  func() io.Reader { return strings.NewReader("") },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJourney(t)
			in := from()
			whole := int64(len(data))
			if name == "of nothing" {
				whole = 0
			}
			var endpoint string
			r, err := j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, in, nil, Endpoint(&endpoint))
			if err != nil || r.GetBytesWritten() != whole || endpoint != j.home.address {
				t.Fatalf("%v, %v, at %q", r, err, endpoint)
			}
			if n := j.first.bytes.Load(); n != 0 {
				t.Errorf("%d bytes of the drive went to a third place", n)
			}
			if h := j.c.homes.home("t"); h != (home{j.home.address, true}) {
				t.Errorf("remembered %+v", h)
			}
		})
	}
}

// The stub's own stream goes home too, from its header on.
func TestAStubsWriteGoesHome(t *testing.T) {
	j := newJourney(t)
	s, err := j.c.Drives.WriteDrive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data := random(MaxDriveMessage)
	for _, m := range []*residencyv1.WriteDriveRequest{
		{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{TenantId: "t"}}},
		{Content: &residencyv1.WriteDriveRequest_Data{Data: data}},
		{Content: &residencyv1.WriteDriveRequest_Data{Data: data}},
	} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.CloseAndRecv(); err != nil || r.GetBytesWritten() != 2*MaxDriveMessage || j.first.bytes.Load() != 0 {
		t.Errorf("%v, %v, %d bytes at a third place", r, err, j.first.bytes.Load())
	}
}

// A tenant moves while a write is under way to where it was at home.
func TestAWriteWhoseTenantMoves(t *testing.T) {
	j := newJourney(t)
	j.first.sends("")
	write := func(r io.Reader) (*residencyv1.WriteDriveResponse, error) {
		return j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, r, nil)
	}
	const size = 8 * MaxDriveMessage
	data := random(size)
	moving := func(seekable bool) io.Reader { // moves when half of it has been read
		in := bytes.NewReader(data)
		half := &onceRead{Reader: in, do: func() {
			if in.Len() <= size/2 {
				j.first.sends(j.home.address)
			}
		}}
		if seekable {
			return struct {
				io.Reader
				io.Seeker
			}{half, in}
		}
		return half
	}
	if _, err := write(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	j.first.bytes.Store(0)
	r, err := write(moving(true))
	if err != nil || r.GetBytesWritten() != size || j.home.bytes.Load() != size {
		t.Errorf("from what can be read again: %v, %v, %d bytes at home", r, err, j.home.bytes.Load())
	}

	j.first.sends("")
	j.c.homes.forget("t", j.home.address)
	if _, err := write(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	_, err = write(moving(false))
	wantRefused(t, err, j.home.address, "a part of the stream had been sent")
}

type onceRead struct {
	io.Reader
	do func()
}

func (r *onceRead) Read(p []byte) (int, error) {
	r.do()
	return r.Reader.Read(p)
}

// A gateway that says nothing before it has all gets its data all the same, in a while.
func TestAGatewayThatDecidesLate(t *testing.T) {
	c, stop := serve(t, &fake{write: func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		n := 0
		for {
			m, err := s.Recv()
			if err != nil {
				return s.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: int64(n)})
			}
			n += len(m.GetData())
		}
	}})
	defer stop()
	c.homes.wait = time.Millisecond
	if r, err := c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, strings.NewReader("data"), nil); err != nil || r.GetBytesWritten() != 4 {
		t.Errorf("%v, %v", r, err)
	}
}

// An answer that comes before the data is the answer.
func TestAnEarlyAnswerIsKept(t *testing.T) {
	j := newJourney(t)
	j.first.write = func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: 5, Version: 7})
	}
	r, err := j.c.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{TenantId: "t"}, bytes.NewReader(random(1<<20)), nil)
	if err != nil || r.GetBytesWritten() != 5 || r.GetVersion() != 7 {
		t.Errorf("%v, %v", r, err)
	}
}

// The decision of a stream that has ended since is told all the same.
func TestAnEndedStreamKeepsItsDecision(t *testing.T) {
	c, stop := serve(t, &fake{read: func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		s.SendHeader(metadata.Pairs("residency-decision-id", "d"))
		<-s.Context().Done()
		return s.Context().Err()
	}})
	defer stop()
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := c.Drives.ReadDrive(ctx, &residencyv1.ReadDriveRequest{TenantId: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Header(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if md, err := s.Header(); err != nil || len(md.Get("residency-decision-id")) != 1 {
			t.Fatalf("after the end: %v, %v", md, err)
		}
	}
}
