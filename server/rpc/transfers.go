package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// transferService translates TransferService.
type transferService struct {
	residencyv1.UnsafeTransferServiceServer
	backend transfers
}

var _ residencyv1.TransferServiceServer = (*transferService)(nil)

// CheckTransfer says whether data may move.
func (s *transferService) CheckTransfer(ctx context.Context, req *residencyv1.CheckTransferRequest) (*residencyv1.CheckTransferResponse, error) {
	d, err := s.backend.CheckTransfer(ctx, callOf(ctx), gateway.CheckTransfer{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Drive: req.GetDriveId(),
		Class: residency.DataClass(req.GetDataClass()), To: residency.Region(req.GetToRegion()),
		Purpose: residency.Purpose(req.GetPurpose()),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.CheckTransferResponse{Decision: decisionProto(d)}, nil
}
