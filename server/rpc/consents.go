package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// consentService translates ConsentService.
type consentService struct {
	residencyv1.UnsafeConsentServiceServer
	backend consents
}

var _ residencyv1.ConsentServiceServer = (*consentService)(nil)

// GrantConsent records a consent.
func (s *consentService) GrantConsent(ctx context.Context, req *residencyv1.GrantConsentRequest) (*residencyv1.GrantConsentResponse, error) {
	var r reading
	asked := gateway.GrantConsent{
		Tenant:    req.GetTenantId(),
		Consent:   r.consent("consent", req.GetTenantId(), req.GetConsent()),
		RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	c, err := s.backend.GrantConsent(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.GrantConsentResponse{Consent: consentProto(req.GetTenantId(), &c)}, nil
}

// GetConsent gives a consent.
func (s *consentService) GetConsent(ctx context.Context, req *residencyv1.GetConsentRequest) (*residencyv1.GetConsentResponse, error) {
	c, err := s.backend.GetConsent(ctx, callOf(ctx), req.GetTenantId(), req.GetConsentId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetConsentResponse{Consent: consentProto(req.GetTenantId(), &c)}, nil
}

// ListConsents lists consents.
func (s *consentService) ListConsents(ctx context.Context, req *residencyv1.ListConsentsRequest) (*residencyv1.ListConsentsResponse, error) {
	list, next, err := s.backend.ListConsents(ctx, callOf(ctx), gateway.ListConsents{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), State: residency.ConsentState(req.GetState()),
		Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListConsentsResponse{NextPageToken: next}
	for i := range list {
		out.Consents = append(out.Consents, consentProto(req.GetTenantId(), &list[i]))
	}
	return out, nil
}

// WithdrawConsent takes a consent back.
func (s *consentService) WithdrawConsent(ctx context.Context, req *residencyv1.WithdrawConsentRequest) (*residencyv1.WithdrawConsentResponse, error) {
	w, err := s.backend.WithdrawConsent(ctx, callOf(ctx), gateway.WithdrawConsent{
		Tenant: req.GetTenantId(), Consent: req.GetConsentId(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.WithdrawConsentResponse{
		ConsentId: w.ID, State: residencyv1.ConsentState(w.State), WithdrawTime: timestamp(w.Withdrawn),
	}, nil
}

// receiptType is the media type of a consent's receipt.
const receiptType = "application/ld+json"

// GetConsentReceipt gives a consent's receipt.
func (s *consentService) GetConsentReceipt(ctx context.Context, req *residencyv1.GetConsentReceiptRequest) (*residencyv1.GetConsentReceiptResponse, error) {
	receipt, err := s.backend.GetConsentReceipt(ctx, callOf(ctx), req.GetTenantId(), req.GetConsentId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetConsentReceiptResponse{Receipt: receipt, MediaType: receiptType}, nil
}
