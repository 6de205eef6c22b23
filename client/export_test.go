package client

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

func exported(name string) *residencyv1.ExportSubjectResponse {
	return &residencyv1.ExportSubjectResponse{Item: &residencyv1.ExportSubjectResponse_Record{Record: &residencyv1.PersonalRecord{
		RecordId: "r", Personal: &residencyv1.Personal{FullName: name},
	}}}
}

func TestExportSubjectTo(t *testing.T) {
	const want = `{"restrictions":{"collection_declined":true}}` + "\n" +
		`{"record":{"record_id":"r","personal":{"full_name":"Anna \"A\"\nMuster"}}}` + "\n"
	calls := 0
	c, stop := serve(t, &fake{export: func(r *residencyv1.ExportSubjectRequest, s grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error {
		if calls++; calls == 1 {
			return refusal(t, codes.Unavailable, "KEYS_UNAVAILABLE", nil)
		}
		return errors.Join(
			s.Send(&residencyv1.ExportSubjectResponse{Item: &residencyv1.ExportSubjectResponse_Restrictions{
				Restrictions: &residencyv1.SubjectRestrictions{CollectionDeclined: true},
			}}),
			s.Send(exported("Anna \"A\"\nMuster")))
	}})
	defer stop()
	var out bytes.Buffer
	var told []int64
	n, err := c.ExportSubjectTo(t.Context(), &residencyv1.ExportSubjectRequest{TenantId: "acme", SubjectId: "p"}, &out, func(n int64) { told = append(told, n) })
	if err != nil || n != 2 || out.String() != want {
		t.Errorf("%d, %v\n%s\nwant\n%s", n, err, out.String(), want)
	}
	if calls != 2 || len(told) != 2 || told[1] != 2 {
		t.Errorf("%d calls, want 2; told %v", calls, told)
	}
}

// Once something has arrived, nothing is made again: the file would hold it twice.
func TestExportsThatBreakOffAreNotRepeated(t *testing.T) {
	calls := 0
	c, stop := serve(t, &fake{
		export: func(_ *residencyv1.ExportSubjectRequest, s grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error {
			calls++
			return errors.Join(s.Send(exported("Anna")), refusal(t, codes.Unavailable, "REGION_UNAVAILABLE", nil))
		},
		inspect: func(_ *residencyv1.InspectDriveRequest, s grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error {
			calls++
			return errors.Join(s.Send(&residencyv1.InspectDriveResponse{Data: []byte("half")}), refusal(t, codes.Unavailable, "REGION_UNAVAILABLE", nil))
		},
	})
	defer stop()
	var out bytes.Buffer
	if n, err := c.ExportSubjectTo(t.Context(), &residencyv1.ExportSubjectRequest{}, &out, nil); n != 1 || err == nil || calls != 1 {
		t.Errorf("an export: %d lines, %v, %d calls", n, err, calls)
	}
	if n, err := c.InspectDriveTo(t.Context(), &residencyv1.InspectDriveRequest{}, &out, nil); n != 4 || err == nil || calls != 2 {
		t.Errorf("an inspection: %d bytes, %v, %d calls", n, err, calls-1)
	}
	if !strings.HasSuffix(out.String(), "}\nhalf") {
		t.Errorf("got %q", out.String())
	}
}

func TestAWriterThatFailsEndsTheExport(t *testing.T) {
	c, stop := serve(t, &fake{
		export: func(_ *residencyv1.ExportSubjectRequest, s grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error {
			return errors.Join(s.Send(exported("Anna")), s.Send(exported("Bea")))
		},
		inspect: func(_ *residencyv1.InspectDriveRequest, s grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error {
			return s.Send(&residencyv1.InspectDriveResponse{Data: []byte("data")})
		},
	})
	defer stop()
	if n, err := c.ExportSubjectTo(t.Context(), &residencyv1.ExportSubjectRequest{}, fullDisk{}, nil); n != 0 || !errors.Is(err, errFullDisk) {
		t.Errorf("an export: %d, %v", n, err)
	}
	if n, err := c.InspectDriveTo(t.Context(), &residencyv1.InspectDriveRequest{}, fullDisk{}, nil); n != 0 || !errors.Is(err, errFullDisk) {
		t.Errorf("an inspection: %d, %v", n, err)
	}
}

var errFullDisk = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFullDisk }

// A disclosure is made once, whatever comes of it, and ends when the loop is left.
func TestDisclosed(t *testing.T) {
	calls, left := 0, make(chan error, 1)
	piece := func(b string) *residencyv1.DiscloseResponse {
		return &residencyv1.DiscloseResponse{Item: &residencyv1.DiscloseResponse_Data{Data: []byte(b)}}
	}
	c, stop := serve(t, &fake{disclose: func(r *residencyv1.DiscloseRequest, s grpc.ServerStreamingServer[residencyv1.DiscloseResponse]) error {
		switch calls++; r.GetRecipientId() {
		case "down":
			return refusal(t, codes.Unavailable, "KEYS_UNAVAILABLE", nil)
		case "endless":
			err := s.Send(piece("x"))
			<-s.Context().Done()
			left <- s.Context().Err()
			return err
		}
		return errors.Join(s.Send(piece("one")), s.Send(piece("two")))
	}})
	defer stop()
	var got []string
	for m, err := range c.Disclosed(t.Context(), &residencyv1.DiscloseRequest{RecipientId: "r"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.GetData()))
	}
	if strings.Join(got, " ") != "one two" || calls != 1 {
		t.Errorf("got %v in %d calls", got, calls)
	}
	errs := 0
	for m, err := range c.Disclosed(t.Context(), &residencyv1.DiscloseRequest{RecipientId: "down"}) {
		if m != nil || status.Code(err) != codes.Unavailable {
			t.Errorf("%v, %v", m, err)
		}
		errs++
	}
	if errs != 1 || calls != 2 {
		t.Errorf("%d errors in %d calls", errs, calls-1)
	}
	for range c.Disclosed(t.Context(), &residencyv1.DiscloseRequest{RecipientId: "endless"}) {
		break
	}
	<-left
}

func TestWatchDrive(t *testing.T) {
	c, stop := serve(t, &fake{inspect: func(_ *residencyv1.InspectDriveRequest, s grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error {
		return errors.Join(s.Send(&residencyv1.InspectDriveResponse{Passing: &residencyv1.PassingTransfer{MissedBytes: 7}}), refusal(t, codes.PermissionDenied, "RESTRICTED", nil))
	}})
	defer stop()
	var missed int64
	var last error
	for m, err := range c.WatchDrive(t.Context(), &residencyv1.InspectDriveRequest{CaseId: "c"}) {
		missed, last = missed+m.GetPassing().GetMissedBytes(), err
	}
	var denied *Denied
	if missed != 7 || !errors.As(last, &denied) {
		t.Errorf("missed %d, %v", missed, last)
	}
}
