package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// OpenAbuseCase opens a case.
func (s *disclosureService) OpenAbuseCase(ctx context.Context, req *residencyv1.OpenAbuseCaseRequest) (*residencyv1.OpenAbuseCaseResponse, error) {
	var r reading
	asked := gateway.OpenCase{
		Tenant: req.GetTenantId(), Case: r.abuseCase("abuse_case", req.GetAbuseCase()), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.OpenAbuseCase(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.OpenAbuseCaseResponse{AbuseCase: caseProto(&out)}, nil
}

// ApproveAbuseCase approves a case.
func (s *disclosureService) ApproveAbuseCase(ctx context.Context, req *residencyv1.ApproveAbuseCaseRequest) (*residencyv1.ApproveAbuseCaseResponse, error) {
	out, err := s.backend.ApproveAbuseCase(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetCaseId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ApproveAbuseCaseResponse{AbuseCase: caseProto(&out)}, nil
}

// CloseAbuseCase closes a case.
func (s *disclosureService) CloseAbuseCase(ctx context.Context, req *residencyv1.CloseAbuseCaseRequest) (*residencyv1.CloseAbuseCaseResponse, error) {
	out, err := s.backend.CloseAbuseCase(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetCaseId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.CloseAbuseCaseResponse{AbuseCase: caseProto(&out)}, nil
}

// ListAbuseCases lists a tenant's cases.
func (s *disclosureService) ListAbuseCases(ctx context.Context, req *residencyv1.ListAbuseCasesRequest) (*residencyv1.ListAbuseCasesResponse, error) {
	list, next, err := s.backend.ListAbuseCases(ctx, callOf(ctx), gateway.ListCases{
		Tenant: req.GetTenantId(), State: gateway.CaseState(req.GetState()), Page: page(req.GetPageSize(), req.GetPageToken()), //nolint:gosec // the form check found it to be known
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListAbuseCasesResponse{NextPageToken: next}
	for i := range list {
		out.AbuseCases = append(out.AbuseCases, caseProto(&list[i]))
	}
	return out, nil
}
