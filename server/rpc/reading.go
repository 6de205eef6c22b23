package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/gateway"
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

// classes reads a list of data classes, which the form check found to be known.
func classes(list []residencyv1.DataClass) residency.DataClasses {
	var set residency.DataClasses
	for _, c := range list {
		set |= residency.DataClassSet(residency.DataClass(c))
	}
	return set
}

// sameTenant refuses an object that says it is another tenant's than the request.
func (r *reading) sameTenant(field, said, tenant string) {
	if said != "" && said != tenant {
		r.bad(field, "must be empty or the request's tenant")
	}
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

// agreement reads the evidence of an agreement; nil when there is none.
func (r *reading) agreement(field string, e *residencyv1.Evidence) *consent.Evidence {
	if e == nil {
		return nil
	}
	out := r.evidence(field, e)
	return &out
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
		Classes:     classes(p.GetDataClasses()),
		Purposes:    purposes(p.GetPurposes()),
		Recipients:  p.GetRecipients(),
		Supersedes:  p.GetSupersedes(),
		Evidence:    r.evidence(field+".evidence", p.GetEvidence()),
		Expires:     r.time(field+".expire_time", p.GetExpireTime()),
	}
	r.sameTenant(field+".tenant_id", p.GetTenantId(), tenant)
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
