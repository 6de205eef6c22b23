package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// auditService translates AuditService.
type auditService struct {
	residencyv1.UnsafeAuditServiceServer
	backend decisions
}

var _ residencyv1.AuditServiceServer = (*auditService)(nil)

// GetDecision gives a decision.
func (s *auditService) GetDecision(ctx context.Context, req *residencyv1.GetDecisionRequest) (*residencyv1.GetDecisionResponse, error) {
	d, err := s.backend.GetDecision(ctx, callOf(ctx), req.GetTenantId(), req.GetDecisionId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetDecisionResponse{Record: decisionRecordProto(d)}, nil
}

// ListDecisions lists decisions.
func (s *auditService) ListDecisions(ctx context.Context, req *residencyv1.ListDecisionsRequest) (*residencyv1.ListDecisionsResponse, error) {
	list, next, err := s.backend.ListDecisions(ctx, callOf(ctx), gateway.ListDecisions{
		Tenant: req.GetTenantId(), Only: outcomes(req.GetOutcome()), Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListDecisionsResponse{NextPageToken: next}
	for _, d := range list {
		out.Records = append(out.Records, decisionRecordProto(d))
	}
	return out, nil
}

func outcomes(o residencyv1.Outcome) gateway.Outcomes {
	switch o {
	case residencyv1.Outcome_OUTCOME_ALLOW:
		return gateway.OnlyAllowed
	case residencyv1.Outcome_OUTCOME_DENY:
		return gateway.OnlyDenied
	}
	return gateway.AllOutcomes
}
