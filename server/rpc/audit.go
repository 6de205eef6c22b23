package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// auditService translates AuditService.
type auditService struct {
	residencyv1.UnsafeAuditServiceServer
	backend decisions
	codec   *codec
	idle    time.Duration // the longest that a stream waits for its caller
}

var _ residencyv1.AuditServiceServer = (*auditService)(nil)

// GetDecision gives a decision.
func (s *auditService) GetDecision(ctx context.Context, req *residencyv1.GetDecisionRequest) (*residencyv1.GetDecisionResponse, error) {
	d, err := s.backend.GetDecision(ctx, callOf(ctx), req.GetTenantId(), req.GetDecisionId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetDecisionResponse{Record: decisionRecordProto(d)}, nil
}

// ListDecisions lists decisions.
func (s *auditService) ListDecisions(ctx context.Context, req *residencyv1.ListDecisionsRequest) (*residencyv1.ListDecisionsResponse, error) {
	list, next, err := s.backend.ListDecisions(ctx, callOf(ctx), gateway.ListDecisions{
		Tenant: req.GetTenantId(), Only: outcomes(req.GetOutcome()), Page: page(req.GetPageSize(), req.GetPageToken()),
	})
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListDecisionsResponse{NextPageToken: next}
	for _, d := range list {
		out.Records = append(out.Records, decisionRecordProto(d))
	}
	return out, nil
}

// GetReceipt gives the proof that a decision is in the log.
func (s *auditService) GetReceipt(ctx context.Context, req *residencyv1.GetReceiptRequest) (*residencyv1.GetReceiptResponse, error) {
	receipt, err := s.backend.GetReceipt(ctx, callOf(ctx), req.GetTenantId(), req.GetDecisionId())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetReceiptResponse{Receipt: receipt}, nil
}

// GetCheckpoint gives the newest checkpoint of a log.
func (s *auditService) GetCheckpoint(ctx context.Context, req *residencyv1.GetCheckpointRequest) (*residencyv1.GetCheckpointResponse, error) {
	c, err := s.backend.GetCheckpoint(ctx, residency.Region(req.GetRegion()), req.GetCluster())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetCheckpointResponse{
		Cluster: c.Cluster, Checkpoint: c.Text, VerifierKey: c.Verifier, Size: count(c.Size),
		SignTime: timestamp(c.Signed), Pending: count(c.Pending),
	}, nil
}

// ExportLog hands over a log.
func (s *auditService) ExportLog(req *residencyv1.ExportLogRequest, stream grpc.ServerStreamingServer[residencyv1.ExportLogResponse]) error {
	ctx := stream.Context()
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	read := gateway.ExportLog{Region: residency.Region(req.GetRegion()), Cluster: req.GetCluster(), From: uint64(max(req.GetFromSize(), 0))}
	return s.backend.ExportLog(ctx, callOf(ctx), read, func(path string, data []byte) error {
		return out.message(&residencyv1.ExportLogResponse{Path: path, Data: data})
	})
}

// ReadEntries reads entries of a log.
func (s *auditService) ReadEntries(req *residencyv1.ReadEntriesRequest, stream grpc.ServerStreamingServer[residencyv1.ReadEntriesResponse]) error {
	read, err := readEntries(req)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	out := send(ctx, stream, s.codec, s.idle)
	defer out.close()
	return s.backend.ReadEntries(ctx, callOf(ctx), read, func(list []gateway.LogEntry, next string) error {
		m := &residencyv1.ReadEntriesResponse{Entries: make([]*residencyv1.AuditEntry, len(list)), NextPageToken: next}
		for i := range list {
			m.Entries[i] = entryProto(&list[i])
		}
		return out.message(m)
	})
}

func readEntries(req *residencyv1.ReadEntriesRequest) (gateway.ReadEntries, error) {
	var r reading
	out := gateway.ReadEntries{
		Tenant: req.GetTenantId(), Region: residency.Region(req.GetRegion()), Cluster: req.GetCluster(),
		Filter: gateway.EntryFilter{
			Since: r.time("start_time", req.GetStartTime()), Before: r.time("end_time", req.GetEndTime()), Only: outcomes(req.GetOutcome()),
			From: r.jurisdiction("from_jurisdiction", req.GetFromJurisdiction()), To: r.jurisdiction("to_jurisdiction", req.GetToJurisdiction()),
			Caller: req.GetCaller(), Class: residency.DataClass(req.GetDataClass()), Action: residency.Action(req.GetAction()),
		},
		Page: page(req.GetPageSize(), req.GetPageToken()),
	}
	if out.Tenant != "" && out.Cluster != "" {
		r.bad("cluster", "goes with a region: a tenant is in one cluster")
	}
	if f := &out.Filter; !f.Since.IsZero() && !f.Before.IsZero() && !f.Since.Before(f.Before) {
		r.bad("end_time", "must be after start_time")
	}
	if text := req.GetReason(); text != "" {
		kind, err := residency.ParseKind(text)
		if err != nil || kind == residency.OK {
			r.bad("reason", "must be a reason of the error catalogue, for example CROSS_BORDER_CONSENT_REQUIRED")
		}
		out.Filter.Reason = kind
	}
	return out, r.err()
}

func outcomes(o residencyv1.Outcome) gateway.Outcomes {
	switch o {
	case residencyv1.Outcome_OUTCOME_ALLOW:
		return gateway.OnlyAllowed
	case residencyv1.Outcome_OUTCOME_DENY:
		return gateway.OnlyDenied
	}
	return gateway.AllOutcomes
}
