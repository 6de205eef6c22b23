package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// counted gathers what the metrics say, by name and labels; of a histogram how many calls it saw, and whether one is named
// by its trace.
func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			key := fmt.Sprintf("%s %s", strings.TrimPrefix(f.GetName(), "grpc_client_"), strings.Join(labels, " "))
			out[key] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			for _, b := range m.GetHistogram().GetBucket() {
				if e := b.GetExemplar(); e != nil {
					out[key+" "+e.GetLabel()[0].GetName()+" "+e.GetLabel()[0].GetValue()]++
				}
			}
		}
	}
	return out
}

// Calls to a peer are counted by their methods and by what came of them, a stream also when it is given up; looks whether the
// peer serves are not. The names are those of dashboards for grpc.
func TestCallsToPeersAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, NewMetrics(reg).dial()...)
	answerTo(w.home)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	if _, err := w.unary(ctx, call()); err != nil {
		t.Fatal(err)
	}
	w.home.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
		return nil, refusal(codes.PermissionDenied, "CROSS_BORDER_CONSENT_REQUIRED")
	}
	if _, err := w.unary(t.Context(), call()); !errors.As(err, new(*Refused)) {
		t.Fatal(err)
	}
	readTwice(t, w)
	w.until("every call has ended", func() bool {
		now := counted(t, reg)
		return now["handling_seconds ReadDrive residency.v1.DriveService server_stream"] == 2
	})
	got := counted(t, reg)
	want := map[string]float64{
		"started_total GetRecord residency.v1.RecordService unary":                        2,
		"handled_total OK GetRecord residency.v1.RecordService unary":                     1,
		"handled_total PermissionDenied GetRecord residency.v1.RecordService unary":       1,
		"handling_seconds GetRecord residency.v1.RecordService unary":                     2,
		"started_total ReadDrive residency.v1.DriveService server_stream":                 2,
		"handled_total OK ReadDrive residency.v1.DriveService server_stream":              1,
		"handled_total Canceled ReadDrive residency.v1.DriveService server_stream":        1,
		"handling_seconds ReadDrive residency.v1.DriveService server_stream":              2,
		"handling_seconds GetRecord residency.v1.RecordService unary trace_id ab" + zeros: 1,
	}
	if !maps.Equal(got, want) {
		for _, key := range slices.Sorted(maps.Keys(got)) {
			t.Logf("%s = %v", key, got[key])
		}
		t.Errorf("%d series are there, and not as wanted", len(got))
	}
}

const zeros = "000000000000000000000000000000"

// readTwice reads a drive to its end, and once more to be given up.
func readTwice(t *testing.T, w *world) {
	t.Helper()
	wait := make(chan struct{})
	t.Cleanup(func() { close(wait) })
	var read atomic.Bool
	w.home.read = func(_ *residencyv1.ReadDriveRequest, s grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
		if !read.Swap(true) {
			return nil
		}
		select {
		case <-wait:
		case <-s.Context().Done():
		}
		return s.Context().Err()
	}
	s, err := w.peer.Stream(t.Context(), methodRead, call(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := errors.Join(s.Send(wire(t, &residencyv1.ReadDriveRequest{TenantId: "acme"})), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the end of a stream: %v", err)
	}
	w.open(t.Context(), call()).Close()
}

// A method that nobody describes makes no label.
func TestUnknownMethodsAreNotCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	for _, method := range []string{"/x.Y/Z", "", "/residency.v1.RecordService", "/residency.v1.RecordService/None", "/grpc.health.v1.Health/Check"} {
		m.begin(t.Context(), method)(nil)
	}
	if got := counted(t, reg); len(got) != 0 {
		t.Errorf("%v are counted, want none", got)
	}
}
