package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// driveService translates DriveService.
type driveService struct {
	residencyv1.UnimplementedDriveServiceServer
	backend drives
	codec   *codec
	idle    time.Duration // the longest that a stream waits for its caller
}

var _ residencyv1.DriveServiceServer = (*driveService)(nil)

// CreateDrive creates a drive.
func (s *driveService) CreateDrive(ctx context.Context, req *residencyv1.CreateDriveRequest) (*residencyv1.CreateDriveResponse, error) {
	d, err := s.backend.CreateDrive(ctx, callOf(ctx), gateway.NewDrive{
		Tenant: req.GetTenantId(), ID: req.GetDriveId(), Name: req.GetName(),
		Size: req.GetSizeBytes(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.CreateDriveResponse{Drive: driveProto(d)}, nil
}

// GetDrive describes a drive.
func (s *driveService) GetDrive(ctx context.Context, req *residencyv1.GetDriveRequest) (*residencyv1.GetDriveResponse, error) {
	d, err := s.backend.GetDrive(ctx, callOf(ctx), req.GetTenantId(), req.GetDriveId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetDriveResponse{Drive: driveProto(d)}, nil
}

// ListDrives lists a tenant's drives.
func (s *driveService) ListDrives(ctx context.Context, req *residencyv1.ListDrivesRequest) (*residencyv1.ListDrivesResponse, error) {
	list, next, err := s.backend.ListDrives(ctx, callOf(ctx), req.GetTenantId(), page(req.GetPageSize(), req.GetPageToken()))
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListDrivesResponse{NextPageToken: next}
	for _, d := range list {
		out.Drives = append(out.Drives, driveProto(d))
	}
	return out, nil
}

// WriteDrive writes a range.
func (s *driveService) WriteDrive(stream grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	ctx := stream.Context()
	in := receive(ctx, stream, s.idle)
	defer in.close()
	head, err := in.header()
	if err != nil {
		return err
	}
	w, err := s.backend.WriteDrive(ctx, callOf(ctx), gateway.WriteDrive{
		Tenant: head.GetTenantId(), Drive: head.GetDriveId(), Offset: head.GetOffset(),
		Purpose: residency.Purpose(head.GetPurpose()), RequestID: head.GetRequestId(),
	}, in.next)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: w.Bytes, Version: count(w.Version)})
}

// ReadDrive reads a range.
func (s *driveService) ReadDrive(req *residencyv1.ReadDriveRequest, stream grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	ctx := stream.Context()
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	return s.backend.ReadDrive(ctx, callOf(ctx), gateway.ReadDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Offset: req.GetOffset(), Length: req.GetLength(),
		Purpose: residency.Purpose(req.GetPurpose()),
	}, out.send)
}

// DeleteDrive deletes a drive.
func (s *driveService) DeleteDrive(ctx context.Context, req *residencyv1.DeleteDriveRequest) (*residencyv1.DeleteDriveResponse, error) {
	err := s.backend.DeleteDrive(ctx, callOf(ctx), gateway.DeleteDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.DeleteDriveResponse{}, nil
}
