package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
)

// reading turns a request into the gateway's types and collects what cannot be:
// rules that the protos' own rules do not express.
type reading struct {
	violations []residency.Violation
}

func (r *reading) bad(field, description string) {
	if len(r.violations) < maxViolations {
		r.violations = append(r.violations, residency.Violation{Field: field, Description: description})
	}
}

// err gives what was wrong, or nil.
func (r *reading) err() error {
	if len(r.violations) == 0 {
		return nil
	}
	return &residency.Error{Op: "rpc.read", Kind: residency.BadRequest, Violations: r.violations}
}

// jurisdiction reads a code; "" is the zero jurisdiction.
func (r *reading) jurisdiction(field, code string) residency.Jurisdiction {
	if code == "" {
		return residency.Jurisdiction{}
	}
	j, err := residency.ParseJurisdiction(code)
	if err != nil {
		r.bad(field, "must be an officially assigned ISO 3166-1 alpha-2 code in upper case")
	}
	return j
}

// The times that can be stored, to the nanosecond: after 1970 and before 2262.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 0, 1, time.UTC)
	latest   = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

// time reads a timestamp; an unset one is the zero time.
func (r *reading) time(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if t.CheckValid() != nil {
		r.bad(field, "must be a valid timestamp")
		return time.Time{}
	}
	out := t.AsTime()
	if out.Before(earliest) || !out.Before(latest) {
		r.bad(field, "must be after 1970-01-01T00:00:00Z and before 2262-01-01T00:00:00Z")
	}
	return out
}

// date reads a date; an unset one is the zero date.
func (r *reading) date(field string, d *residencyv1.Date) gateway.Date {
	if d == nil {
		return gateway.Date{}
	}
	year, month, day := int(d.GetYear()), int(d.GetMonth()), int(d.GetDay())
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 ||
		time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		r.bad(field, "must be a date of the calendar, of the years 1 to 9999")
		return gateway.Date{}
	}
	return gateway.Date{Year: year, Month: month, Day: day}
}

// purposes reads a list of purposes, which the form check found to be known.
func purposes(list []residencyv1.Purpose) residency.Purposes {
	var set residency.Purposes
	for _, p := range list {
		set |= residency.PurposeSet(residency.Purpose(p))
	}
	return set
}

func (r *reading) evidence(field string, e *residencyv1.Evidence) consent.Evidence {
	return consent.Evidence{
		Method:         e.GetMethod(),
		Grantor:        e.GetGrantor(),
		NoticeLanguage: e.GetNoticeLanguage(),
		NoticeDigest:   e.GetNoticeDigest(),
		Stated:         r.time(field+".statement_time", e.GetStatementTime()),
	}
}

func (r *reading) record(field string, p *residencyv1.PersonalRecord) gateway.Record {
	out := gateway.Record{
		ID:          p.GetRecordId(),
		Subject:     p.GetSubjectId(),
		FullName:    p.GetPersonal().GetFullName(),
		Address:     p.GetPersonal().GetPostalAddress(),
		Phone:       p.GetPersonal().GetPhoneNumber(),
		Email:       p.GetPersonal().GetEmailAddress(),
		Attributes:  p.GetPersonal().GetAttributes(),
		Source:      residency.Source(p.GetSource()),
		SourceParty: p.GetSourceParty(),
		Purposes:    purposes(p.GetPurposes()),
		BirthDate:   r.date(field+".birth_date", p.GetBirthDate()),
		Residence:   r.jurisdiction(field+".residence", p.GetResidence()),
		Expires:     r.time(field+".expire_time", p.GetExpireTime()),
	}
	if out.Source == residency.FromThirdParty && out.SourceParty == "" {
		r.bad(field+".source_party", "is required for SOURCE_THIRD_PARTY")
	}
	if out.Source == residency.Automatic && p.GetExpireTime() == nil {
		r.bad(field+".expire_time", "is required for SOURCE_AUTOMATIC")
	}
	return out
}

func (r *reading) consent(field, tenant string, p *residencyv1.Consent) consent.Consent {
	out := consent.Consent{
		Kind:        residency.ConsentKind(p.GetKind()),
		Subject:     p.GetSubjectId(),
		WholeTenant: p.GetWholeTenant(),
		From:        r.jurisdiction(field+".from_jurisdiction", p.GetFromJurisdiction()),
		To:          r.jurisdiction(field+".to_jurisdiction", p.GetToJurisdiction()),
		Purposes:    purposes(p.GetPurposes()),
		Recipients:  p.GetRecipients(),
		Supersedes:  p.GetSupersedes(),
		Evidence:    r.evidence(field+".evidence", p.GetEvidence()),
		Expires:     r.time(field+".expire_time", p.GetExpireTime()),
	}
	for _, c := range p.GetDataClasses() {
		out.Classes |= residency.DataClassSet(residency.DataClass(c))
	}
	if p.GetTenantId() != "" && p.GetTenantId() != tenant {
		r.bad(field+".tenant_id", "must be empty or the request's tenant")
	}
	leads := out.Kind == residency.BorderCrossing || out.Kind == residency.ResidenceAgreement
	if p.GetToJurisdiction() == "" {
		if leads {
			r.bad(field+".to_jurisdiction", "is required for this kind of consent")
		}
		out.To = out.From
	}
	return out
}

// expected reads an expected version: nil when it is unset.
func expected(v *int64) *uint64 {
	if v == nil {
		return nil
	}
	u := uint64(max(*v, 0))
	return &u
}

func page(size int32, token string) gateway.Page { return gateway.Page{Size: int(size), Token: token} }

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

func purposesProto(set residency.Purposes) []residencyv1.Purpose {
	list := set.List()
	out := make([]residencyv1.Purpose, len(list))
	for i, p := range list {
		out[i] = residencyv1.Purpose(p)
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
	}
}

func consentProto(tenant string, c *gateway.ConsentNow) *residencyv1.Consent {
	out := &residencyv1.Consent{
		ConsentId:        c.ID,
		TenantId:         tenant,
		Kind:             residencyv1.ConsentKind(c.Kind),
		FromJurisdiction: c.From.String(),
		ToJurisdiction:   c.To.String(),
		Purposes:         purposesProto(c.Purposes),
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
	}
	for _, class := range c.Classes.List() {
		out.DataClasses = append(out.DataClasses, residencyv1.DataClass(class))
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
		Decision: decisionProto(r.Decision),
		Caller:   r.Caller,
		Method:   r.Method,
		Place:    count(r.Place),
		Result:   reason(r.Result),
	}
	if s := r.Stream; s != nil {
		out.Stream = &residencyv1.StreamResult{End: s.End, Bytes: count(s.Bytes), EndTime: timestamp(s.Time)}
	}
	return out
}
