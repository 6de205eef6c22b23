package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// GiveNotice records a notice.
func (s *disclosureService) GiveNotice(ctx context.Context, req *residencyv1.GiveNoticeRequest) (*residencyv1.GiveNoticeResponse, error) {
	var r reading
	asked := gateway.GiveNotice{
		Tenant: req.GetTenantId(), Notice: r.notice("notice", req.GetNotice()), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.GiveNotice(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.GiveNoticeResponse{Notice: noticeProto(&out)}, nil
}

// RecordObjection records an objection.
func (s *disclosureService) RecordObjection(ctx context.Context, req *residencyv1.RecordObjectionRequest) (*residencyv1.RecordObjectionResponse, error) {
	out, err := s.backend.RecordObjection(ctx, callOf(ctx), gateway.RecordObjection{
		Tenant: req.GetTenantId(), Objection: objection(req.GetObjection()), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RecordObjectionResponse{Objection: objectionProto(&out)}, nil
}

// LiftObjection lifts an objection.
func (s *disclosureService) LiftObjection(ctx context.Context, req *residencyv1.LiftObjectionRequest) (*residencyv1.LiftObjectionResponse, error) {
	out, err := s.backend.LiftObjection(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetObjectionId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.LiftObjectionResponse{Objection: objectionProto(&out)}, nil
}
