package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// usageService translates UsageService.
type usageService struct {
	residencyv1.UnsafeUsageServiceServer
	backend usage
}

var _ residencyv1.UsageServiceServer = (*usageService)(nil)

// GetUsage gives a tenant's totals.
func (s *usageService) GetUsage(ctx context.Context, req *residencyv1.GetUsageRequest) (*residencyv1.GetUsageResponse, error) {
	var r reading
	asked := gateway.GetUsage{
		Tenant: req.GetTenantId(), Start: r.date("start_date", req.GetStartDate()), End: r.date("end_date", req.GetEndDate()),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	u, err := s.backend.GetUsage(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return usageProto(&u), nil
}

func usageProto(u *gateway.Usage) *residencyv1.GetUsageResponse {
	out := &residencyv1.GetUsageResponse{
		StartDate: dateProto(u.Start), EndDate: dateProto(u.End), Region: string(u.Region), Cluster: u.Cluster,
		ThroughPlace: count(u.Through), CountedFromPlace: count(u.From), Pending: count(u.Pending), OldestEntryPlace: count(u.First), OldestEntryTime: timestamp(u.Oldest),
	}
	for _, t := range u.Totals {
		out.Totals = append(out.Totals, &residencyv1.UsageTotal{
			Date: dateProto(t.Day), DataClass: residencyv1.DataClass(t.Class), Direction: residencyv1.TransferDirection(t.Direction),
			Bytes: count(t.Bytes), Calls: count(t.Calls),
		})
	}
	return out
}

func dateProto(d gateway.Date) *residencyv1.Date {
	return &residencyv1.Date{Year: int32(d.Year), Month: int32(d.Month), Day: int32(d.Day)} //nolint:gosec // a date of the calendar
}
