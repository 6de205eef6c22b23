package main

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/tools/bench/bare"
)

// table is the records' service as one would write it without a gateway: a
// record is a message in a row, and a call is a statement.
type table struct {
	residencyv1.UnimplementedRecordServiceServer
	rows *bare.Table
}

func (t table) GetRecord(ctx context.Context, r *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
	value, version, err := t.rows.Get(ctx, r.GetTenantId(), r.GetSubjectId(), r.GetRecordId())
	if err != nil {
		return nil, err
	}
	record := new(residencyv1.PersonalRecord)
	if err := proto.Unmarshal(value, record); err != nil {
		return nil, err
	}
	record.Version = version
	return &residencyv1.GetRecordResponse{Record: record}, nil
}

func (t table) PutRecord(ctx context.Context, r *residencyv1.PutRecordRequest) (*residencyv1.PutRecordResponse, error) {
	record := r.GetRecord()
	record.CollectTime = timestamppb.Now()
	value, err := proto.Marshal(record)
	if err != nil {
		return nil, err
	}
	version, err := t.rows.Put(ctx, r.GetTenantId(), record.GetSubjectId(), record.GetRecordId(), value)
	if err != nil {
		return nil, err
	}
	return &residencyv1.PutRecordResponse{RecordId: record.GetRecordId(), Version: version, CollectTime: record.GetCollectTime()}, nil
}
