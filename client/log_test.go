package client

import (
	"net"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// entriesFake serves nine entries, three a page, one a message; of each page the first attempt breaks off.
type entriesFake struct {
	residencyv1.UnimplementedAuditServiceServer
	broke map[string]bool
	err   error
}

func (f *entriesFake) ReadEntries(r *residencyv1.ReadEntriesRequest, s grpc.ServerStreamingServer[residencyv1.ReadEntriesResponse]) error {
	from, _ := strconv.Atoi(r.GetPageToken())
	for i := from; i < from+3; i++ {
		m := &residencyv1.ReadEntriesResponse{Entries: []*residencyv1.AuditEntry{{Place: int64(9 - i)}}}
		if i == from+2 && i < 8 {
			m.NextPageToken = strconv.Itoa(i + 1)
		}
		if i == from+1 && !f.broke[r.GetPageToken()] {
			f.broke[r.GetPageToken()] = true
			return f.err
		}
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func serveEntries(t *testing.T, f *entriesFake) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	residencyv1.RegisterAuditServiceServer(s, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	c, err := open(Options{Address: l.Addr().String()}, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Stop(); <-done })
	return c
}

// A page that breaks off is read again from its start, and what came of it is not given out twice.
func TestEntriesGoOnPageAfterPage(t *testing.T) {
	c := serveEntries(t, &entriesFake{broke: map[string]bool{}, err: status.Error(codes.Unavailable, "")})
	want := int64(9)
	for e, err := range c.AllEntries(t.Context(), &residencyv1.ReadEntriesRequest{}) {
		if err != nil || e.GetPlace() != want {
			t.Fatalf("got %v (%v), want place %d", e, err, want)
		}
		want--
	}
	if want != 0 {
		t.Errorf("%d entries are missing", want)
	}
	c = serveEntries(t, &entriesFake{broke: map[string]bool{}, err: status.Error(codes.DataLoss, "")})
	n := 0
	for e, err := range c.AllEntries(t.Context(), &residencyv1.ReadEntriesRequest{}) {
		if n++; e != nil || status.Code(err) != codes.DataLoss || n > 1 {
			t.Errorf("item %d of a log that is damaged: %v, %v", n, e, err)
		}
	}
}
