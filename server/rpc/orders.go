package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// RecordLegalOrder records an order.
func (s *disclosureService) RecordLegalOrder(ctx context.Context, req *residencyv1.RecordLegalOrderRequest) (*residencyv1.RecordLegalOrderResponse, error) {
	var r reading
	asked := gateway.RecordOrder{
		Tenant: req.GetTenantId(), Order: r.order("order", req.GetTenantId(), req.GetOrder()), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.RecordLegalOrder(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.RecordLegalOrderResponse{Order: orderProto(req.GetTenantId(), &out)}, nil
}

// GetLegalOrder gives an order.
func (s *disclosureService) GetLegalOrder(ctx context.Context, req *residencyv1.GetLegalOrderRequest) (*residencyv1.GetLegalOrderResponse, error) {
	out, err := s.backend.GetLegalOrder(ctx, callOf(ctx), req.GetTenantId(), req.GetOrderId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetLegalOrderResponse{Order: orderProto(req.GetTenantId(), &out)}, nil
}

// ApproveLegalOrder approves an order.
func (s *disclosureService) ApproveLegalOrder(ctx context.Context, req *residencyv1.ApproveLegalOrderRequest) (*residencyv1.ApproveLegalOrderResponse, error) {
	out, err := s.backend.ApproveLegalOrder(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetOrderId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ApproveLegalOrderResponse{Order: orderProto(req.GetTenantId(), &out)}, nil
}

// RejectLegalOrder rejects an order.
func (s *disclosureService) RejectLegalOrder(ctx context.Context, req *residencyv1.RejectLegalOrderRequest) (*residencyv1.RejectLegalOrderResponse, error) {
	out, err := s.backend.RejectLegalOrder(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetOrderId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RejectLegalOrderResponse{Order: orderProto(req.GetTenantId(), &out)}, nil
}

// RevokeLegalOrder records that a court revoked an order.
func (s *disclosureService) RevokeLegalOrder(ctx context.Context, req *residencyv1.RevokeLegalOrderRequest) (*residencyv1.RevokeLegalOrderResponse, error) {
	out, err := s.backend.RevokeLegalOrder(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetOrderId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RevokeLegalOrderResponse{Order: orderProto(req.GetTenantId(), &out)}, nil
}

// ListLegalOrders lists a tenant's orders.
func (s *disclosureService) ListLegalOrders(ctx context.Context, req *residencyv1.ListLegalOrdersRequest) (*residencyv1.ListLegalOrdersResponse, error) {
	list, next, err := s.backend.ListLegalOrders(ctx, callOf(ctx), gateway.ListOrders{
		Tenant: req.GetTenantId(), State: gateway.OrderState(req.GetState()), Page: page(req.GetPageSize(), req.GetPageToken()), //nolint:gosec // the form check found it to be known
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListLegalOrdersResponse{NextPageToken: next}
	for i := range list {
		out.Orders = append(out.Orders, orderProto(req.GetTenantId(), &list[i]))
	}
	return out, nil
}

// RecordInformalRequest records a request that obliges nobody.
func (s *disclosureService) RecordInformalRequest(ctx context.Context, req *residencyv1.RecordInformalRequestRequest) (*residencyv1.RecordInformalRequestResponse, error) {
	var r reading
	asked := gateway.RecordInformal{
		Tenant: req.GetTenantId(), Informal: r.informal("informal_request", req.GetInformalRequest()), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.RecordInformalRequest(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.RecordInformalRequestResponse{InformalRequest: informalProto(&out)}, nil
}

// ApproveInformalRequest grants a request.
func (s *disclosureService) ApproveInformalRequest(ctx context.Context, req *residencyv1.ApproveInformalRequestRequest) (*residencyv1.ApproveInformalRequestResponse, error) {
	out, err := s.backend.ApproveInformalRequest(ctx, callOf(ctx), gateway.GovernanceCall{Tenant: req.GetTenantId(), ID: req.GetInformalRequestId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ApproveInformalRequestResponse{InformalRequest: informalProto(&out)}, nil
}
