package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// metering is a backend that answers with what it has.
type metering struct {
	Backend
	asked  gateway.GetUsage
	answer gateway.Usage
}

func (m *metering) GetUsage(_ context.Context, _ *gateway.Call, req gateway.GetUsage) (gateway.Usage, error) {
	m.asked = req
	return m.answer, nil
}

// What is asked for reaches the gateway, and all of what it says the caller.
func TestUsageOnTheWire(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	m := &metering{answer: gateway.Usage{
		Start: gateway.Date{Year: 2026, Month: 2, Day: 28}, End: gateway.Date{Year: 2026, Month: 3, Day: 2},
		Region: "ch", Cluster: "ch-1", From: 3, Through: 70, Pending: 2, First: 4, Oldest: at,
		Totals: []gateway.UsageTotal{
			{Day: gateway.Date{Year: 2026, Month: 3, Day: 1}, Class: residency.PersonalInformation, Direction: gateway.DirectionWrite, Bytes: 1 << 40, Calls: 7},
			{Day: gateway.Date{Year: 2026, Month: 3, Day: 1}, Class: residency.VirtualDriveData, Direction: gateway.DirectionRead, Bytes: 9, Calls: 1},
		},
	}}
	w := newWorld(t, withBackend(func(b Backend) Backend { m.Backend = b; return m }))
	usage := residencyv1.NewUsageServiceClient(w.as(appCH))
	start, end := &residencyv1.Date{Year: 2026, Month: 2, Day: 28}, &residencyv1.Date{Year: 2026, Month: 3, Day: 2}
	got, err := usage.GetUsage(t.Context(), &residencyv1.GetUsageRequest{TenantId: "acme", StartDate: start, EndDate: end})
	if err != nil {
		t.Fatal(err)
	}
	first := &residencyv1.Date{Year: 2026, Month: 3, Day: 1}
	want := &residencyv1.GetUsageResponse{
		StartDate: start, EndDate: end, Region: "ch", Cluster: "ch-1", CountedFromPlace: 3, ThroughPlace: 70, Pending: 2, OldestEntryPlace: 4, OldestEntryTime: timestamppb.New(at),
		Totals: []*residencyv1.UsageTotal{
			{Date: first, DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, Direction: residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE, Bytes: 1 << 40, Calls: 7},
			{Date: first, DataClass: residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA, Direction: residencyv1.TransferDirection_TRANSFER_DIRECTION_READ, Bytes: 9, Calls: 1},
		},
	}
	if !proto.Equal(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
	if m.asked != (gateway.GetUsage{Tenant: "acme", Start: m.answer.Start, End: m.answer.End}) {
		t.Errorf("asked for %+v", m.asked)
	}
	if _, err := usage.GetUsage(t.Context(), &residencyv1.GetUsageRequest{TenantId: "acme"}); err != nil || m.asked != (gateway.GetUsage{Tenant: "acme"}) {
		t.Errorf("without dates %+v is asked for: %v", m.asked, err)
	}
	_, err = usage.GetUsage(t.Context(), &residencyv1.GetUsageRequest{TenantId: "acme", EndDate: &residencyv1.Date{Year: 2026, Month: 2, Day: 30}})
	if bad := tell(err).bad.GetFieldViolations(); len(bad) != 1 || bad[0].GetField() != "end_date" {
		t.Errorf("30 February: %v", err)
	}
}
