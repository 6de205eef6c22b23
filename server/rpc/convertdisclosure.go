package rpc

import (
	"fmt"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// recipient reads a recipient. A purpose that is there twice would leave open
// which fields are needed for it.
func (r *reading) recipient(field string, p *residencyv1.Recipient) gateway.Recipient {
	out := gateway.Recipient{
		ID:           p.GetRecipientId(),
		Name:         p.GetName(),
		Kind:         residency.RecipientKind(p.GetKind()),
		Jurisdiction: r.jurisdiction(field+".jurisdiction", p.GetJurisdiction()),
		Safeguard: gateway.Safeguard{
			Reference:  p.GetSafeguard().GetReference(),
			ValidUntil: r.time(field+".safeguard.valid_until", p.GetSafeguard().GetValidUntil()),
		},
	}
	var seen residency.Purposes
	for i, f := range p.GetFunctions() {
		purpose := residency.Purpose(f.GetPurpose())
		if seen.Has(purpose) {
			r.bad(fmt.Sprintf("%s.functions[%d].purpose", field, i), "must be there once; name all its fields together")
		}
		seen |= residency.PurposeSet(purpose)
		out.Functions = append(out.Functions, gateway.Function{Purpose: purpose, Fields: f.GetFields()})
	}
	return out
}

func recipientProto(p *gateway.Recipient) *residencyv1.Recipient {
	out := &residencyv1.Recipient{
		RecipientId:  p.ID,
		Name:         p.Name,
		Kind:         residencyv1.RecipientKind(p.Kind),
		Jurisdiction: p.Jurisdiction.String(),
		State:        residencyv1.RecipientState(p.State),
		Version:      count(p.Version),
		CreateTime:   timestamp(p.Created),
	}
	for _, f := range p.Functions {
		out.Functions = append(out.Functions, &residencyv1.RecipientFunction{Purpose: residencyv1.Purpose(f.Purpose), Fields: f.Fields})
	}
	if p.Safeguard != (gateway.Safeguard{}) {
		out.Safeguard = &residencyv1.Safeguard{Reference: p.Safeguard.Reference, ValidUntil: timestamp(p.Safeguard.ValidUntil)}
	}
	return out
}

func (r *reading) notice(field string, p *residencyv1.Notice) gateway.Notice {
	return gateway.Notice{
		Subject:     p.GetSubjectId(),
		WholeTenant: p.GetWholeTenant(),
		Recipient:   p.GetRecipientId(),
		Purposes:    purposes(p.GetPurposes()),
		Language:    p.GetNoticeLanguage(),
		Digest:      p.GetNoticeDigest(),
		PeriodEnds:  r.time(field+".period_end_time", p.GetPeriodEndTime()),
	}
}

func noticeProto(n *gateway.Notice) *residencyv1.Notice {
	out := &residencyv1.Notice{
		NoticeId:       n.ID,
		RecipientId:    n.Recipient,
		Purposes:       purposesProto(n.Purposes),
		NoticeLanguage: n.Language,
		NoticeDigest:   n.Digest,
		GiveTime:       timestamp(n.Given),
		PeriodEndTime:  timestamp(n.PeriodEnds),
	}
	if n.WholeTenant {
		out.Scope = &residencyv1.Notice_WholeTenant{WholeTenant: true}
	} else {
		out.Scope = &residencyv1.Notice_SubjectId{SubjectId: n.Subject}
	}
	return out
}

func objection(p *residencyv1.Objection) gateway.Objection {
	return gateway.Objection{Subject: p.GetSubjectId(), WholeTenant: p.GetWholeTenant(), Recipient: p.GetRecipientId()}
}

func objectionProto(o *gateway.Objection) *residencyv1.Objection {
	out := &residencyv1.Objection{
		ObjectionId: o.ID,
		RecipientId: o.Recipient,
		ObjectTime:  timestamp(o.Objected),
		LiftTime:    timestamp(o.Lifted),
	}
	if o.WholeTenant {
		out.Scope = &residencyv1.Objection_WholeTenant{WholeTenant: true}
	} else {
		out.Scope = &residencyv1.Objection_SubjectId{SubjectId: o.Subject}
	}
	return out
}

func (r *reading) order(field, tenant string, p *residencyv1.LegalOrder) gateway.Order {
	out := gateway.Order{
		Authority:    p.GetAuthority(),
		Jurisdiction: r.jurisdiction(field+".jurisdiction", p.GetJurisdiction()),
		LegalBasis:   p.GetLegalBasis(),
		Reference:    p.GetReference(),
		Scope: gateway.OrderScope{
			Subjects: p.GetScope().GetSubjectIds(),
			Drives:   p.GetScope().GetDriveIds(),
			Classes:  classes(p.GetScope().GetDataClasses()),
			From:     r.time(field+".scope.from_time", p.GetScope().GetFromTime()),
			To:       r.time(field+".scope.to_time", p.GetScope().GetToTime()),
		},
		ValidFrom:  r.time(field+".valid_from", p.GetValidFrom()),
		ValidUntil: r.time(field+".valid_until", p.GetValidUntil()),
		Recipient:  p.GetRecipientId(),
	}
	r.sameTenant(field+".tenant_id", p.GetTenantId(), tenant)
	r.inOrder(field+".valid_until", "valid_from", out.ValidFrom, out.ValidUntil)
	r.inOrder(field+".scope.to_time", "from_time", out.Scope.From, out.Scope.To)
	return out
}

// inOrder refuses a span that ends before it begins; an end that is unset is open.
func (r *reading) inOrder(field, begin string, from, to time.Time) {
	if !from.IsZero() && !to.IsZero() && !to.After(from) {
		r.bad(field, "must be after "+begin)
	}
}

func orderProto(tenant string, o *gateway.Order) *residencyv1.LegalOrder {
	out := &residencyv1.LegalOrder{
		OrderId:      o.ID,
		TenantId:     tenant,
		Authority:    o.Authority,
		Jurisdiction: o.Jurisdiction.String(),
		LegalBasis:   o.LegalBasis,
		Reference:    o.Reference,
		Scope: &residencyv1.LegalOrderScope{
			SubjectIds:  o.Scope.Subjects,
			DriveIds:    o.Scope.Drives,
			DataClasses: classesProto(o.Scope.Classes),
			FromTime:    timestamp(o.Scope.From),
			ToTime:      timestamp(o.Scope.To),
		},
		ValidFrom:   timestamp(o.ValidFrom),
		ValidUntil:  timestamp(o.ValidUntil),
		State:       residencyv1.LegalOrderState(o.State),
		RecipientId: o.Recipient,
		Recorder:    o.Recorder,
		CreateTime:  timestamp(o.Recorded),
		EndTime:     timestamp(o.Ended),
	}
	for _, a := range o.Approvals {
		out.Approvals = append(out.Approvals, approvalProto(a))
	}
	return out
}

// approvalProto gives nil where nobody approved yet.
func approvalProto(a gateway.Approval) *residencyv1.Approval {
	if a == (gateway.Approval{}) {
		return nil
	}
	return &residencyv1.Approval{Approver: a.By, ApproveTime: timestamp(a.At)}
}

func (r *reading) informal(field string, p *residencyv1.InformalRequest) gateway.Informal {
	return gateway.Informal{
		Recipient:  p.GetRecipientId(),
		Class:      residency.DataClass(p.GetDataClass()),
		Subjects:   p.GetSubjectIds(),
		Fields:     p.GetFields(),
		Purpose:    residency.Purpose(p.GetPurpose()),
		Reference:  p.GetReference(),
		ValidUntil: r.time(field+".valid_until", p.GetValidUntil()),
	}
}

func informalProto(i *gateway.Informal) *residencyv1.InformalRequest {
	return &residencyv1.InformalRequest{
		InformalRequestId: i.ID,
		RecipientId:       i.Recipient,
		DataClass:         residencyv1.DataClass(i.Class),
		SubjectIds:        i.Subjects,
		Fields:            i.Fields,
		Purpose:           residencyv1.Purpose(i.Purpose),
		Reference:         i.Reference,
		ValidUntil:        timestamp(i.ValidUntil),
		State:             residencyv1.InformalRequestState(i.State),
		Approval:          approvalProto(i.Approval),
		Recorder:          i.Recorder,
		CreateTime:        timestamp(i.Recorded),
	}
}

func (r *reading) abuseCase(field string, p *residencyv1.AbuseCase) gateway.Case {
	return gateway.Case{
		Suspicion:  p.GetSuspicion(),
		Drives:     p.GetDriveIds(),
		ValidUntil: r.time(field+".valid_until", p.GetValidUntil()),
	}
}

func caseProto(c *gateway.Case) *residencyv1.AbuseCase {
	return &residencyv1.AbuseCase{
		CaseId:     c.ID,
		Suspicion:  c.Suspicion,
		DriveIds:   c.Drives,
		ValidUntil: timestamp(c.ValidUntil),
		State:      residencyv1.AbuseCaseState(c.State),
		Approval:   approvalProto(c.Approval),
		Opener:     c.Opener,
		CreateTime: timestamp(c.Opened),
		CloseTime:  timestamp(c.Closed),
	}
}

func disclosePieceProto(p *gateway.DisclosePiece) *residencyv1.DiscloseResponse {
	if p.Record != nil {
		return &residencyv1.DiscloseResponse{Item: &residencyv1.DiscloseResponse_Record{Record: recordProto(p.Record)}}
	}
	return &residencyv1.DiscloseResponse{Item: &residencyv1.DiscloseResponse_Data{Data: p.Data}}
}

func disclosureProto(d *gateway.Disclosure) *residencyv1.Disclosure {
	out := &residencyv1.Disclosure{
		DisclosureId:      d.ID,
		RecipientId:       d.Recipient,
		RecipientKind:     residencyv1.RecipientKind(d.Kind),
		Jurisdiction:      d.Jurisdiction.String(),
		Purpose:           residencyv1.Purpose(d.Purpose),
		OrderId:           d.Order,
		InformalRequestId: d.Informal,
		ConsentId:         d.Consent,
		Stage:             residencyv1.TransactionStage(d.Stage),
		Fields:            d.Fields,
		Records:           count(d.Records),
		Bytes:             count(d.Bytes),
		DiscloseTime:      timestamp(d.Disclosed),
		End:               d.End,
		Necessity:         d.Necessity,
		Controller:        d.Controller,
	}
	if d.Drive != "" {
		out.Object = &residencyv1.Disclosure_DriveId{DriveId: d.Drive}
	} else {
		out.Object = &residencyv1.Disclosure_SubjectId{SubjectId: d.Subject}
	}
	return out
}
