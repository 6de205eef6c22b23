package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// disclosureService translates DisclosureService: recipients, notices, orders,
// requests and cases have files of their own.
type disclosureService struct {
	residencyv1.UnsafeDisclosureServiceServer
	backend disclosing
	codec   *codec
	idle    time.Duration // the longest that a stream waits for its caller
}

var _ residencyv1.DisclosureServiceServer = (*disclosureService)(nil)

// disclosing is what the service needs of the Backend.
type disclosing interface {
	recipients
	choices
	orders
	informalRequests
	cases
	disclosures
}

// Disclose hands data to a recipient.
func (s *disclosureService) Disclose(req *residencyv1.DiscloseRequest, stream grpc.ServerStreamingServer[residencyv1.DiscloseResponse]) error {
	ctx := stream.Context()
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	return s.backend.Disclose(ctx, callOf(ctx), gateway.Disclose{
		Tenant: req.GetTenantId(), Recipient: req.GetRecipientId(), Subject: req.GetSubjectId(), Drive: req.GetDriveId(),
		Purpose: residency.Purpose(req.GetPurpose()), Order: req.GetOrderId(), Informal: req.GetInformalRequestId(),
		Stage: gateway.Stage(req.GetStage()), Necessity: req.GetNecessity(), //nolint:gosec // the form check found it to be known
	}, func(p gateway.DisclosePiece) error { return out.message(disclosePieceProto(&p)) })
}

// ListDisclosures lists what was disclosed.
func (s *disclosureService) ListDisclosures(ctx context.Context, req *residencyv1.ListDisclosuresRequest) (*residencyv1.ListDisclosuresResponse, error) {
	list, next, err := s.backend.ListDisclosures(ctx, callOf(ctx), gateway.ListDisclosures{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Recipient: req.GetRecipientId(), Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListDisclosuresResponse{NextPageToken: next}
	for i := range list {
		out.Disclosures = append(out.Disclosures, disclosureProto(&list[i]))
	}
	return out, nil
}
