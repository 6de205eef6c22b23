package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// recordService translates RecordService.
type recordService struct {
	residencyv1.UnsafeRecordServiceServer
	backend records
	codec   *codec
	idle    time.Duration // the longest that a stream waits for its caller
}

var _ residencyv1.RecordServiceServer = (*recordService)(nil)

// PutRecord writes a record.
func (s *recordService) PutRecord(ctx context.Context, req *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
	var r reading
	asked := gateway.PutRecord{
		Tenant:    req.GetTenantId(),
		Record:    r.record("record", req.GetRecord()),
		Expected:  expected(req.ExpectedVersion),
		RequestID: req.GetRequestId(),
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	w, err := s.backend.PutRecord(ctx, callOf(ctx), asked)
	if err != nil {
		return nil, err
	}
	return &residencyv1.PutRecordResponse{RecordId: w.ID, Version: count(w.Version), CollectTime: timestamp(w.Collected)}, nil
}

// GetRecord reads a record.
func (s *recordService) GetRecord(ctx context.Context, req *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	rec, err := s.backend.GetRecord(ctx, callOf(ctx), gateway.GetRecord{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Record: req.GetRecordId(),
		Purpose: residency.Purpose(req.GetPurpose()),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetRecordResponse{Record: recordProto(&rec)}, nil
}

// ListRecords lists a subject's records.
func (s *recordService) ListRecords(ctx context.Context, req *residencyv1.ListRecordsRequest) (*residencyv1.ListRecordsResponse, error) {
	list, next, err := s.backend.ListRecords(ctx, callOf(ctx), gateway.ListRecords{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Purpose: residency.Purpose(req.GetPurpose()),
		Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ListRecordsResponse{Records: recordProtos(list), NextPageToken: next}, nil
}

// ListSubjects lists a tenant's subjects.
func (s *recordService) ListSubjects(ctx context.Context, req *residencyv1.ListSubjectsRequest) (*residencyv1.ListSubjectsResponse, error) {
	list, next, err := s.backend.ListSubjects(ctx, callOf(ctx), gateway.ListSubjects{
		Tenant: req.GetTenantId(), Purpose: residency.Purpose(req.GetPurpose()),
		Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListSubjectsResponse{NextPageToken: next}
	for _, sub := range list {
		out.Subjects = append(out.Subjects, &residencyv1.Subject{SubjectId: sub.ID, CreateTime: timestamp(sub.Created)})
	}
	return out, nil
}

// FindRecords finds records by e-mail address or phone number.
func (s *recordService) FindRecords(ctx context.Context, req *residencyv1.FindRecordsRequest) (*residencyv1.FindRecordsResponse, error) {
	list, next, err := s.backend.FindRecords(ctx, callOf(ctx), gateway.FindRecords{
		Tenant: req.GetTenantId(), Email: req.GetEmailAddress(), Phone: req.GetPhoneNumber(),
		Purpose: residency.Purpose(req.GetPurpose()), Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.FindRecordsResponse{Records: recordProtos(list), NextPageToken: next}, nil
}

// DeleteRecord deletes a record.
func (s *recordService) DeleteRecord(ctx context.Context, req *residencyv1.DeleteRecordRequest) (*residencyv1.DeleteRecordResponse, error) {
	err := s.backend.DeleteRecord(ctx, callOf(ctx), gateway.DeleteRecord{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Record: req.GetRecordId(),
		Expected: expected(req.ExpectedVersion), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.DeleteRecordResponse{}, nil
}

// RestrictSubject takes purposes away from what is held about a person.
func (s *recordService) RestrictSubject(ctx context.Context, req *residencyv1.RestrictSubjectRequest) (*residencyv1.RestrictSubjectResponse, error) {
	out, err := s.backend.RestrictSubject(ctx, callOf(ctx), gateway.RestrictSubject{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Purposes: purposes(req.GetPurposes()), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.RestrictSubjectResponse{Restrictions: restrictionsProto(out)}, nil
}

// LiftRestriction gives purposes back.
func (s *recordService) LiftRestriction(ctx context.Context, req *residencyv1.LiftRestrictionRequest) (*residencyv1.LiftRestrictionResponse, error) {
	out, err := s.backend.LiftRestriction(ctx, callOf(ctx), gateway.RestrictSubject{
		Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), Purposes: purposes(req.GetPurposes()), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &residencyv1.LiftRestrictionResponse{Restrictions: restrictionsProto(out)}, nil
}

// ObjectToCollection declines automatic collection.
func (s *recordService) ObjectToCollection(ctx context.Context, req *residencyv1.ObjectToCollectionRequest) (*residencyv1.ObjectToCollectionResponse, error) {
	out, err := s.backend.ObjectToCollection(ctx, callOf(ctx), gateway.SubjectCall{Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.ObjectToCollectionResponse{Restrictions: restrictionsProto(out)}, nil
}

// WithdrawObjection allows automatic collection again.
func (s *recordService) WithdrawObjection(ctx context.Context, req *residencyv1.WithdrawObjectionRequest) (*residencyv1.WithdrawObjectionResponse, error) {
	out, err := s.backend.WithdrawObjection(ctx, callOf(ctx), gateway.SubjectCall{Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.WithdrawObjectionResponse{Restrictions: restrictionsProto(out)}, nil
}

// ReportChild reports a child.
func (s *recordService) ReportChild(ctx context.Context, req *residencyv1.ReportChildRequest) (*residencyv1.ReportChildResponse, error) {
	c, err := s.backend.ReportChild(ctx, callOf(ctx), gateway.SubjectCall{Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	if c.Erasure == nil {
		return &residencyv1.ReportChildResponse{Result: &residencyv1.ReportChildResponse_ParentalConsentId{ParentalConsentId: c.Consent}}, nil
	}
	return &residencyv1.ReportChildResponse{Result: &residencyv1.ReportChildResponse_Erasure{Erasure: erasureProto(c.Erasure)}}, nil
}

// ExportSubject gives a person's whole file.
func (s *recordService) ExportSubject(req *residencyv1.ExportSubjectRequest, stream grpc.ServerStreamingServer[residencyv1.ExportSubjectResponse]) error {
	ctx := stream.Context()
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	asked := gateway.SubjectCall{Tenant: req.GetTenantId(), Subject: req.GetSubjectId()}
	return s.backend.ExportSubject(ctx, callOf(ctx), asked, func(p gateway.FilePiece) error {
		return out.message(filePieceProto(req.GetTenantId(), &p))
	})
}

// EraseSubject destroys what is held about a person.
func (s *recordService) EraseSubject(ctx context.Context, req *residencyv1.EraseSubjectRequest) (*residencyv1.EraseSubjectResponse, error) {
	out, err := s.backend.EraseSubject(ctx, callOf(ctx), gateway.SubjectCall{Tenant: req.GetTenantId(), Subject: req.GetSubjectId(), RequestID: req.GetRequestId()})
	if err != nil {
		return nil, err
	}
	return &residencyv1.EraseSubjectResponse{Erasure: erasureProto(&out)}, nil
}
