package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// recordService translates RecordService.
type recordService struct {
	residencyv1.UnimplementedRecordServiceServer
	backend records
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
