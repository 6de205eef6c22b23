package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// tenantService translates TenantService.
type tenantService struct {
	residencyv1.UnimplementedTenantServiceServer
	backend tenants
}

var _ residencyv1.TenantServiceServer = (*tenantService)(nil)

// RegisterTenant registers a tenant.
func (s *tenantService) RegisterTenant(ctx context.Context, req *residencyv1.RegisterTenantRequest) (*residencyv1.RegisterTenantResponse, error) {
	var r reading
	asked := gateway.NewTenant{
		ID:        req.GetTenantId(),
		Residence: r.jurisdiction("residence", req.GetResidence()),
		Home:      residency.Region(req.GetHomeRegion()),
		RequestID: req.GetRequestId(),
	}
	if req.GetAgreement() != nil {
		evidence := r.evidence("agreement", req.GetAgreement())
		asked.Agreement = &evidence
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	t, err := s.backend.RegisterTenant(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.RegisterTenantResponse{Tenant: tenantProto(t)}, nil
}

// GetTenant gives a registration.
func (s *tenantService) GetTenant(ctx context.Context, req *residencyv1.GetTenantRequest) (*residencyv1.GetTenantResponse, error) {
	t, err := s.backend.GetTenant(ctx, callOf(ctx), req.GetTenantId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetTenantResponse{Tenant: tenantProto(t)}, nil
}

// ListTenants lists a region's tenants.
func (s *tenantService) ListTenants(ctx context.Context, req *residencyv1.ListTenantsRequest) (*residencyv1.ListTenantsResponse, error) {
	list, next, err := s.backend.ListTenants(ctx, callOf(ctx), residency.Region(req.GetRegion()), page(req.GetPageSize(), req.GetPageToken()))
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListTenantsResponse{NextPageToken: next}
	for _, t := range list {
		out.Tenants = append(out.Tenants, tenantProto(t))
	}
	return out, nil
}
