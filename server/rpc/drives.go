package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// driveService translates DriveService.
type driveService struct {
	residencyv1.UnsafeDriveServiceServer
	backend  drives
	codec    *codec
	idle     time.Duration   // the longest that a stream waits for its caller
	draining <-chan struct{} // closed when the server stops
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

// InspectDrive looks into a drive. What watches transfers has no end of its own:
// a drain ends it, and waits for those transfers alone.
func (s *driveService) InspectDrive(req *residencyv1.InspectDriveRequest, stream grpc.ServerStreamingServer[residencyv1.InspectDriveResponse]) error {
	ctx, stop := context.WithCancelCause(stream.Context())
	defer stop(nil)
	if req.GetCaseId() != "" {
		go func() {
			select {
			case <-s.draining:
				stop(errStopping)
			case <-ctx.Done():
			}
		}()
	}
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	err := s.backend.InspectDrive(ctx, callOf(ctx), gateway.InspectDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Purpose: residency.Purpose(req.GetPurpose()),
		Offset: req.GetOffset(), Length: req.GetLength(), Case: req.GetCaseId(),
	}, func(data []byte, passing *gateway.Passing) error {
		return out.message(&residencyv1.InspectDriveResponse{Data: data, Passing: passingProto(passing)})
	})
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return &residency.Error{Op: "rpc.InspectDrive", Kind: residency.RegionUnavailable, Err: errStopping}
	}
	return err
}

// errStopping ends what would last for as long as its caller likes.
var errStopping = errors.New("the gateway is stopping")

// RestrictDrive takes purposes away from what is on a drive.
func (s *driveService) RestrictDrive(ctx context.Context, req *residencyv1.RestrictDriveRequest) (*residencyv1.RestrictDriveResponse, error) {
	out, err := s.backend.RestrictDrive(ctx, callOf(ctx), gateway.RestrictDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Purposes: purposes(req.GetPurposes()),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RestrictDriveResponse{Drive: driveProto(out)}, nil
}

// LiftDriveRestriction gives purposes back.
func (s *driveService) LiftDriveRestriction(ctx context.Context, req *residencyv1.LiftDriveRestrictionRequest) (*residencyv1.LiftDriveRestrictionResponse, error) {
	out, err := s.backend.LiftDriveRestriction(ctx, callOf(ctx), gateway.RestrictDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Purposes: purposes(req.GetPurposes()),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.LiftDriveRestrictionResponse{Drive: driveProto(out)}, nil
}

// SnapshotDrive keeps a drive as it is.
func (s *driveService) SnapshotDrive(ctx context.Context, req *residencyv1.SnapshotDriveRequest) (*residencyv1.SnapshotDriveResponse, error) {
	out, err := s.backend.SnapshotDrive(ctx, callOf(ctx), gateway.SnapshotDrive{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Name: req.GetName(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.SnapshotDriveResponse{Snapshot: snapshotProto(out)}, nil
}

// ListSnapshots lists a drive's snapshots.
func (s *driveService) ListSnapshots(ctx context.Context, req *residencyv1.ListSnapshotsRequest) (*residencyv1.ListSnapshotsResponse, error) {
	list, next, err := s.backend.ListSnapshots(ctx, callOf(ctx), req.GetTenantId(), req.GetDriveId(), page(req.GetPageSize(), req.GetPageToken()))
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListSnapshotsResponse{NextPageToken: next}
	for _, snap := range list {
		out.Snapshots = append(out.Snapshots, snapshotProto(snap))
	}
	return out, nil
}

// RestoreDrive puts a drive back to a snapshot.
func (s *driveService) RestoreDrive(ctx context.Context, req *residencyv1.RestoreDriveRequest) (*residencyv1.RestoreDriveResponse, error) {
	out, err := s.backend.RestoreDrive(ctx, callOf(ctx), gateway.SnapshotCall{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Snapshot: req.GetSnapshotId(),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RestoreDriveResponse{Drive: driveProto(out)}, nil
}

// DeleteSnapshot deletes a snapshot.
func (s *driveService) DeleteSnapshot(ctx context.Context, req *residencyv1.DeleteSnapshotRequest) (*residencyv1.DeleteSnapshotResponse, error) {
	err := s.backend.DeleteSnapshot(ctx, callOf(ctx), gateway.SnapshotCall{
		Tenant: req.GetTenantId(), Drive: req.GetDriveId(), Snapshot: req.GetSnapshotId(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.DeleteSnapshotResponse{}, nil
}
