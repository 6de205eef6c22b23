package rpc

import (
	"context"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

// gatewayService translates GatewayService.
type gatewayService struct {
	residencyv1.UnsafeGatewayServiceServer
	backend      regions
	name         string
	jurisdiction residency.Jurisdiction
	mixed        bool
	version      string
	started      time.Time
}

var _ residencyv1.GatewayServiceServer = (*gatewayService)(nil)

// GetGateway describes this gateway.
func (s *gatewayService) GetGateway(ctx context.Context, _ *residencyv1.GetGatewayRequest) (*residencyv1.GetGatewayResponse, error) {
	return &residencyv1.GetGatewayResponse{
		Name: s.name, Jurisdiction: s.jurisdiction.String(), Version: s.version, StartTime: timestamp(s.started),
		MixedJurisdictions: s.mixed, Caller: callOf(ctx).Caller.ID,
	}, nil
}

// ListRegions lists the regions and whether each is up.
func (s *gatewayService) ListRegions(ctx context.Context, _ *residencyv1.ListRegionsRequest) (*residencyv1.ListRegionsResponse, error) {
	out := &residencyv1.ListRegionsResponse{}
	for _, r := range s.backend.Regions(ctx) {
		out.Regions = append(out.Regions, &residencyv1.RegionStatus{
			Region: string(r.Name), Jurisdiction: r.Jurisdiction.String(), Controller: r.Controller,
			Served: r.Served, Up: r.Up, PolicyVersion: r.PolicyVersion, PolicyDigest: r.PolicyDigest,
		})
	}
	return out, nil
}
