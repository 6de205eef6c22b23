package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// RegisterRecipient registers a recipient.
func (s *disclosureService) RegisterRecipient(ctx context.Context, req *residencyv1.RegisterRecipientRequest) (*residencyv1.RegisterRecipientResponse, error) {
	var r reading
	asked := gateway.PutRecipient{
		Tenant: req.GetTenantId(), Recipient: r.recipient("recipient", req.GetRecipient()), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.RegisterRecipient(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.RegisterRecipientResponse{Recipient: recipientProto(&out)}, nil
}

// UpdateRecipient replaces what is registered of a recipient.
func (s *disclosureService) UpdateRecipient(ctx context.Context, req *residencyv1.UpdateRecipientRequest) (*residencyv1.UpdateRecipientResponse, error) {
	var r reading
	asked := gateway.PutRecipient{
		Tenant: req.GetTenantId(), Recipient: r.recipient("recipient", req.GetRecipient()),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	out, err := s.backend.UpdateRecipient(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.UpdateRecipientResponse{Recipient: recipientProto(&out)}, nil
}

// ListRecipients lists a tenant's recipients.
func (s *disclosureService) ListRecipients(ctx context.Context, req *residencyv1.ListRecipientsRequest) (*residencyv1.ListRecipientsResponse, error) {
	list, next, err := s.backend.ListRecipients(ctx, callOf(ctx), req.GetTenantId(), page(req.GetPageSize(), req.GetPageToken()))
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListRecipientsResponse{NextPageToken: next}
	for i := range list {
		out.Recipients = append(out.Recipients, recipientProto(&list[i]))
	}
	return out, nil
}

// RevokeRecipient ends a recipient's registration.
func (s *disclosureService) RevokeRecipient(ctx context.Context, req *residencyv1.RevokeRecipientRequest) (*residencyv1.RevokeRecipientResponse, error) {
	out, err := s.backend.RevokeRecipient(ctx, callOf(ctx), gateway.RecipientCall{
		Tenant: req.GetTenantId(), Recipient: req.GetRecipientId(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RevokeRecipientResponse{Recipient: recipientProto(&out)}, nil
}
