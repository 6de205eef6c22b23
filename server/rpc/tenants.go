package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// tenantService translates TenantService.
type tenantService struct {
	residencyv1.UnsafeTenantServiceServer
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
		Agreement: r.agreement("agreement", req.GetAgreement()),
		RequestID: req.GetRequestId(),
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

// UpdateTenant changes a tenant's residence.
func (s *tenantService) UpdateTenant(ctx context.Context, req *residencyv1.UpdateTenantRequest) (*residencyv1.UpdateTenantResponse, error) {
	var r reading
	asked := gateway.UpdateTenant{
		Tenant:    req.GetTenantId(),
		Residence: r.jurisdiction("residence", req.GetResidence()),
		Agreement: r.agreement("agreement", req.GetAgreement()),
		Expected:  expected(req.ExpectedVersion),
		RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	t, err := s.backend.UpdateTenant(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.UpdateTenantResponse{Tenant: tenantProto(t)}, nil
}

// SuspendTenant stops serving a tenant.
func (s *tenantService) SuspendTenant(ctx context.Context, req *residencyv1.SuspendTenantRequest) (*residencyv1.SuspendTenantResponse, error) {
	t, err := s.backend.SuspendTenant(ctx, callOf(ctx), gateway.ChangeTenant{Tenant: req.GetTenantId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.SuspendTenantResponse{Tenant: tenantProto(t)}, nil
}

// ResumeTenant serves a tenant again.
func (s *tenantService) ResumeTenant(ctx context.Context, req *residencyv1.ResumeTenantRequest) (*residencyv1.ResumeTenantResponse, error) {
	t, err := s.backend.ResumeTenant(ctx, callOf(ctx), gateway.ChangeTenant{Tenant: req.GetTenantId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ResumeTenantResponse{Tenant: tenantProto(t)}, nil
}

// EraseTenant destroys what is held for a tenant.
func (s *tenantService) EraseTenant(ctx context.Context, req *residencyv1.EraseTenantRequest) (*residencyv1.EraseTenantResponse, error) {
	if req.GetConfirmTenantId() != req.GetTenantId() {
		return nil, residency.Bad("rpc.EraseTenant", "confirm_tenant_id", "must be the same as tenant_id")
	}
	e, err := s.backend.EraseTenant(ctx, callOf(ctx), gateway.ChangeTenant{Tenant: req.GetTenantId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.EraseTenantResponse{Erasure: erasureProto(&e)}, nil
}

// GetErasure gives an erasure.
func (s *tenantService) GetErasure(ctx context.Context, req *residencyv1.GetErasureRequest) (*residencyv1.GetErasureResponse, error) {
	e, err := s.backend.GetErasure(ctx, callOf(ctx), req.GetTenantId(), req.GetErasureId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetErasureResponse{Erasure: erasureProto(&e)}, nil
}
