package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
)

// timestamp gives a timestamp; nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// count gives an unsigned number as the protos have it.
func count(n uint64) int64 { return int64(n & (1<<63 - 1)) }

func tenantProto(t gateway.Tenant) *residencyv1.Tenant {
	return &residencyv1.Tenant{
		TenantId:      t.ID,
		Residence:     t.Residence.String(),
		HomeRegion:    string(t.Home),
		Controller:    t.Controller,
		PolicyVersion: t.PolicyVersion,
		State:         residencyv1.TenantState(t.State),
		CreateTime:    timestamp(t.Created),
		Jurisdiction:  t.Jurisdiction.String(),
		Version:       count(t.Version),
	}
}

func erasureProto(e *gateway.Erasure) *residencyv1.Erasure {
	return &residencyv1.Erasure{
		ErasureId:     e.ID,
		TenantId:      e.Tenant,
		Kind:          residencyv1.ErasureKind(e.Kind),
		State:         residencyv1.ErasureState(e.State),
		CreateTime:    timestamp(e.Created),
		FinishTime:    timestamp(e.Finished),
		RowsErased:    count(e.Rows),
		BlobsErased:   count(e.Blobs),
		Clause:        e.Clause,
		PolicyVersion: e.PolicyVersion,
		Controller:    e.Controller,
	}
}

func recordProto(r *gateway.Record) *residencyv1.PersonalRecord {
	out := &residencyv1.PersonalRecord{
		RecordId:  r.ID,
		SubjectId: r.Subject,
		Personal: &residencyv1.Personal{
			FullName:      r.FullName,
			PostalAddress: r.Address,
			PhoneNumber:   r.Phone,
			EmailAddress:  r.Email,
			Attributes:    r.Attributes,
		},
		Source:      residencyv1.Source(r.Source),
		SourceParty: r.SourceParty,
		Purposes:    purposesProto(r.Purposes),
		Residence:   r.Residence.String(),
		CollectTime: timestamp(r.Collected),
		ExpireTime:  timestamp(r.Expires),
		Version:     count(r.Version),
		Controller:  r.Controller,
	}
	if d := r.BirthDate; d != (gateway.Date{}) {
		out.BirthDate = &residencyv1.Date{Year: int32(d.Year), Month: int32(d.Month), Day: int32(d.Day)} //nolint:gosec // a date of the calendar
	}
	return out
}

func recordProtos(list []gateway.Record) []*residencyv1.PersonalRecord {
	out := make([]*residencyv1.PersonalRecord, len(list))
	for i := range list {
		out[i] = recordProto(&list[i])
	}
	return out
}

// restrictionsProto gives nil for a caller that is told nothing.
func restrictionsProto(r *gateway.Restrictions) *residencyv1.SubjectRestrictions {
	if r == nil {
		return nil
	}
	return &residencyv1.SubjectRestrictions{
		RestrictedPurposes: purposesProto(r.Purposes),
		CollectionDeclined: r.Declined,
		UpdateTime:         timestamp(r.Updated),
	}
}

func filePieceProto(tenant string, p *gateway.FilePiece) *residencyv1.ExportSubjectResponse {
	out := &residencyv1.ExportSubjectResponse{}
	switch {
	case p.Restrictions != nil:
		out.Item = &residencyv1.ExportSubjectResponse_Restrictions{Restrictions: restrictionsProto(p.Restrictions)}
	case p.Record != nil:
		out.Item = &residencyv1.ExportSubjectResponse_Record{Record: recordProto(p.Record)}
	case p.Consent != nil:
		out.Item = &residencyv1.ExportSubjectResponse_Consent{Consent: consentProto(tenant, p.Consent)}
	case p.Disclosure != nil:
		out.Item = &residencyv1.ExportSubjectResponse_Disclosure{Disclosure: disclosureProto(p.Disclosure)}
	case p.Decision != nil:
		out.Item = &residencyv1.ExportSubjectResponse_Decision{Decision: decisionRecordProto(*p.Decision)}
	}
	return out
}

func purposesProto(set residency.Purposes) []residencyv1.Purpose {
	list := set.List()
	out := make([]residencyv1.Purpose, len(list))
	for i, p := range list {
		out[i] = residencyv1.Purpose(p)
	}
	return out
}

func classesProto(set residency.DataClasses) []residencyv1.DataClass {
	list := set.List()
	out := make([]residencyv1.DataClass, len(list))
	for i, c := range list {
		out[i] = residencyv1.DataClass(c)
	}
	return out
}

func driveProto(d gateway.Drive) *residencyv1.Drive {
	return &residencyv1.Drive{
		DriveId:    d.ID,
		Name:       d.Name,
		SizeBytes:  d.Size,
		Version:    count(d.Version),
		CreateTime: timestamp(d.Created),
		UpdateTime: timestamp(d.Updated),

		RestrictedPurposes: purposesProto(d.Restricted),
	}
}

func snapshotProto(s gateway.Snapshot) *residencyv1.Snapshot {
	return &residencyv1.Snapshot{
		SnapshotId:   s.ID,
		DriveId:      s.Drive,
		Name:         s.Name,
		DriveVersion: count(s.Version),
		SizeBytes:    s.Size,
		CreateTime:   timestamp(s.Created),
	}
}

// passingProto gives nil for what is stored.
func passingProto(p *gateway.Passing) *residencyv1.PassingTransfer {
	if p == nil {
		return nil
	}
	out := &residencyv1.PassingTransfer{
		Direction:   residencyv1.TransferDirection_TRANSFER_DIRECTION_READ,
		Offset:      p.Offset,
		DecisionId:  p.Decision,
		MissedBytes: p.Missed,
	}
	if p.Write {
		out.Direction = residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE
	}
	return out
}

func consentProto(tenant string, c *gateway.ConsentNow) *residencyv1.Consent {
	out := &residencyv1.Consent{
		ConsentId:        c.ID,
		TenantId:         tenant,
		Kind:             residencyv1.ConsentKind(c.Kind),
		FromJurisdiction: c.From.String(),
		ToJurisdiction:   c.To.String(),
		Purposes:         purposesProto(c.Purposes),
		DataClasses:      classesProto(c.Classes),
		Recipients:       c.Recipients,
		Supersedes:       c.Supersedes,
		Evidence: &residencyv1.Evidence{
			Method:         c.Evidence.Method,
			Grantor:        c.Evidence.Grantor,
			NoticeLanguage: c.Evidence.NoticeLanguage,
			NoticeDigest:   c.Evidence.NoticeDigest,
			StatementTime:  timestamp(c.Evidence.Stated),
		},
		PolicyVersion: c.PolicyVersion,
		State:         residencyv1.ConsentState(c.State),
		GrantTime:     timestamp(c.Granted),
		ExpireTime:    timestamp(c.Expires),
		WithdrawTime:  timestamp(c.Withdrawn),
		Controller:    c.Controller,
	}
	if c.WholeTenant {
		out.Scope = &residencyv1.Consent_WholeTenant{WholeTenant: true}
	} else {
		out.Scope = &residencyv1.Consent_SubjectId{SubjectId: c.Subject}
	}
	return out
}

func decisionProto(d residency.Decision) *residencyv1.Decision {
	out := &residencyv1.Decision{
		DecisionId:       d.ID,
		Outcome:          outcome(d.Allow),
		Missing:          d.Missing.Names(),
		Clause:           d.Clause,
		PolicyVersion:    d.PolicyVersion,
		PolicyDigest:     d.PolicyDigest,
		ConsentId:        d.ConsentID,
		OrderId:          d.OrderID,
		FromJurisdiction: d.From.String(),
		ToJurisdiction:   d.To.String(),
		Action:           residencyv1.Action(d.Action),
		DataClass:        residencyv1.DataClass(d.DataClass),
		Purpose:          residencyv1.Purpose(d.Purpose),
		DecideTime:       timestamp(d.Time),
		Explanation:      policy.DecisionText(d),
		Controller:       d.Controller,
		Reason:           reason(d.Reason),
	}
	return out
}

func outcome(allow bool) residencyv1.Outcome {
	if allow {
		return residencyv1.Outcome_OUTCOME_ALLOW
	}
	return residencyv1.Outcome_OUTCOME_DENY
}

// reason gives a reason as the protos have it: empty when there is none.
func reason(k residency.Kind) string {
	if k == residency.OK {
		return ""
	}
	return k.String()
}

func decisionRecordProto(r gateway.DecisionRecord) *residencyv1.DecisionRecord {
	out := &residencyv1.DecisionRecord{
		Decision:   decisionProto(r.Decision),
		Caller:     r.Caller,
		Method:     r.Method,
		Place:      count(r.Place),
		Result:     reason(r.Result),
		ConsentIds: r.Consents,
	}
	if s := r.Stream; s != nil {
		out.Stream = &residencyv1.StreamResult{End: s.End, Bytes: count(s.Bytes), EndTime: timestamp(s.Time)}
	}
	return out
}
