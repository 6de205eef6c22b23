package rpc

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/gateway"
)

// fillGo sets every field of a gateway's type to something that is not its zero value.
func fillGo(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_800_000_000, 5).UTC()))
		return
	case residency.Purposes:
		v.Set(reflect.ValueOf(residency.PurposeSet(residency.Payments, residency.Marketing)))
		return
	case residency.DataClasses:
		v.Set(reflect.ValueOf(residency.DataClassSet(residency.VirtualDriveData)))
		return
	case residency.Jurisdiction:
		v.Set(reflect.ValueOf(residency.Jurisdiction{'U', 'S'}))
		return
	case residency.Decision:
		v.Set(reflect.ValueOf(residency.Decision{ID: "d", Clause: "c"}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x-1")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillGo(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillGo(t, v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
	case reflect.Struct:
		for i := range v.NumField() {
			fillGo(t, v.Field(i))
		}
	default:
		t.Fatalf("a field is a %s", v.Type())
	}
}

func filled[T any](t *testing.T) *T {
	t.Helper()
	out := new(T)
	fillGo(t, reflect.ValueOf(out).Elem())
	return out
}

// unset lists the fields of a message that hold nothing; of alternatives one is enough.
func unset(m protoreflect.Message) (out []protoreflect.FullName) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if m.WhichOneof(o) == nil {
				out = append(out, f.FullName())
			}
			continue
		}
		switch {
		case !m.Has(f):
			out = append(out, f.FullName())
		case f.Message() != nil && f.Message().ParentFile().Package() == "residency.v1" && !f.IsMap():
			if f.IsList() {
				out = append(out, unset(m.Get(f).List().Get(0).Message())...)
			} else if f.Message().Name() != "Decision" {
				out = append(out, unset(m.Get(f).Message())...)
			}
		}
	}
	return out
}

// An answer leaves nothing out that the gateway gave.
func TestAnswersAreWhole(t *testing.T) {
	record, consentNow, disclosure := filled[gateway.Record](t), filled[gateway.ConsentNow](t), filled[gateway.Disclosure](t)
	decision := filled[gateway.DecisionRecord](t)
	drive := *disclosure
	disclosure.Drive = ""
	for _, m := range []proto.Message{
		tenantProto(*filled[gateway.Tenant](t)),
		erasureProto(filled[gateway.Erasure](t)),
		recordProto(record),
		restrictionsProto(filled[gateway.Restrictions](t)),
		driveProto(*filled[gateway.Drive](t)),
		snapshotProto(*filled[gateway.Snapshot](t)),
		passingProto(filled[gateway.Passing](t)),
		consentProto("acme", consentNow),
		recipientProto(filled[gateway.Recipient](t)),
		noticeProto(filled[gateway.Notice](t)),
		objectionProto(filled[gateway.Objection](t)),
		orderProto("acme", filled[gateway.Order](t)),
		informalProto(filled[gateway.Informal](t)),
		caseProto(filled[gateway.Case](t)),
		disclosureProto(disclosure),
		disclosureProto(&drive),
		decisionRecordProto(*decision),
		filePieceProto("acme", &gateway.FilePiece{Restrictions: filled[gateway.Restrictions](t)}),
		filePieceProto("acme", &gateway.FilePiece{Record: record}),
		filePieceProto("acme", &gateway.FilePiece{Consent: consentNow}),
		filePieceProto("acme", &gateway.FilePiece{Disclosure: disclosure}),
		filePieceProto("acme", &gateway.FilePiece{Decision: decision}),
		disclosePieceProto(&gateway.DisclosePiece{Record: record}),
		disclosePieceProto(&gateway.DisclosePiece{Data: []byte{1}}),
	} {
		if list := unset(m.ProtoReflect()); len(list) > 0 {
			t.Errorf("%s: %v are unset", m.ProtoReflect().Descriptor().Name(), list)
		}
	}
	if disclosureProto(disclosure).GetSubjectId() == "" || disclosureProto(&drive).GetDriveId() == "" {
		t.Error("a disclosure's object is lost")
	}
	if restrictionsProto(nil) != nil || passingProto(nil) != nil || approvalProto(gateway.Approval{}) != nil || recipientProto(&gateway.Recipient{}).GetSafeguard() != nil {
		t.Error("nothing became something")
	}
	if passingProto(&gateway.Passing{}).GetDirection() != residencyv1.TransferDirection_TRANSFER_DIRECTION_READ {
		t.Error("a read passes as a write")
	}
}

// What a caller sends comes back as it was, but for what the gateway sets.
func TestRequestsAreWhole(t *testing.T) {
	requests := validRequests()
	var r reading
	for _, tt := range []struct {
		name string
		want proto.Message
	}{
		{"recipient", requests[residencyv1.DisclosureService_RegisterRecipient_FullMethodName].(*residencyv1.RegisterRecipientRequest).GetRecipient()},
		{"notice", requests[residencyv1.DisclosureService_GiveNotice_FullMethodName].(*residencyv1.GiveNoticeRequest).GetNotice()},
		{"notice to all", &residencyv1.Notice{Scope: &residencyv1.Notice_WholeTenant{WholeTenant: true}, Purposes: []residencyv1.Purpose{1}}},
		{"objection", requests[residencyv1.DisclosureService_RecordObjection_FullMethodName].(*residencyv1.RecordObjectionRequest).GetObjection()},
		{"objection of all", &residencyv1.Objection{Scope: &residencyv1.Objection_WholeTenant{WholeTenant: true}}},
		{"order", requests[residencyv1.DisclosureService_RecordLegalOrder_FullMethodName].(*residencyv1.RecordLegalOrderRequest).GetOrder()},
		{"informal request", requests[residencyv1.DisclosureService_RecordInformalRequest_FullMethodName].(*residencyv1.RecordInformalRequestRequest).GetInformalRequest()},
		{"case", requests[residencyv1.DisclosureService_OpenAbuseCase_FullMethodName].(*residencyv1.OpenAbuseCaseRequest).GetAbuseCase()},
	} {
		var got proto.Message
		switch m := tt.want.(type) {
		case *residencyv1.Recipient:
			out := r.recipient("f", m)
			got = recipientProto(&out)
		case *residencyv1.Notice:
			out := r.notice("f", m)
			got = noticeProto(&out)
		case *residencyv1.Objection:
			out := objection(m)
			got = objectionProto(&out)
		case *residencyv1.LegalOrder:
			out := r.order("f", "", m)
			got = orderProto("", &out)
		case *residencyv1.InformalRequest:
			out := r.informal("f", m)
			got = informalProto(&out)
		case *residencyv1.AbuseCase:
			out := r.abuseCase("f", m)
			got = caseProto(&out)
		}
		if err := r.err(); err != nil || !proto.Equal(got, tt.want) {
			t.Errorf("%s: %v\n got %v\nwant %v", tt.name, err, got, tt.want)
		}
	}
	evidence := requests[residencyv1.TenantService_UpdateTenant_FullMethodName].(*residencyv1.UpdateTenantRequest).GetAgreement()
	if a := r.agreement("f", evidence); a == nil || *a != (consent.Evidence{Method: canary, Grantor: canary, NoticeLanguage: "de-CH", NoticeDigest: evidence.GetNoticeDigest()}) {
		t.Errorf("an agreement: %+v", a)
	}
	if r.agreement("f", nil) != nil {
		t.Error("no agreement became one")
	}
}

// What the gateway sets cannot be set by who asks.
func TestCallersDoNotSetStates(t *testing.T) {
	now := timestamppb.Now()
	approval := &residencyv1.Approval{Approver: "me", ApproveTime: now}
	var r reading
	order := r.order("f", "acme", &residencyv1.LegalOrder{
		OrderId: "o", State: residencyv1.LegalOrderState_LEGAL_ORDER_STATE_APPROVED, Approvals: []*residencyv1.Approval{approval, approval},
		Recorder: "me", CreateTime: now, EndTime: now, Jurisdiction: "CH",
	})
	if order.ID != "" || order.State != gateway.OrderStateUnspecified || order.Approvals != nil || order.Recorder != "" || !order.Recorded.IsZero() || !order.Ended.IsZero() {
		t.Errorf("an order: %+v", order)
	}
	recipient := r.recipient("f", &residencyv1.Recipient{State: 1, Version: 7, CreateTime: now, Jurisdiction: "CH"})
	if recipient.State != gateway.RecipientStateUnspecified || recipient.Version != 0 || !recipient.Created.IsZero() {
		t.Errorf("a recipient: %+v", recipient)
	}
	informal := r.informal("f", &residencyv1.InformalRequest{InformalRequestId: "i", State: 2, Approval: approval, Recorder: "me", CreateTime: now})
	if informal.ID != "" || informal.State != gateway.InformalStateUnspecified || informal.Approval != (gateway.Approval{}) || informal.Recorder != "" || !informal.Recorded.IsZero() {
		t.Errorf("an informal request: %+v", informal)
	}
	c := r.abuseCase("f", &residencyv1.AbuseCase{CaseId: "c", State: 2, Approval: approval, Opener: "me", CreateTime: now, CloseTime: now})
	if c.ID != "" || c.State != gateway.CaseStateUnspecified || c.Approval != (gateway.Approval{}) || c.Opener != "" || !c.Opened.IsZero() || !c.Closed.IsZero() {
		t.Errorf("a case: %+v", c)
	}
	notice := r.notice("f", &residencyv1.Notice{NoticeId: "n", GiveTime: now})
	if notice.ID != "" || !notice.Given.IsZero() {
		t.Errorf("a notice: %+v", notice)
	}
	o := objection(&residencyv1.Objection{ObjectionId: "o", ObjectTime: now, LiftTime: now})
	if o.ID != "" || !o.Objected.IsZero() || !o.Lifted.IsZero() {
		t.Errorf("an objection: %+v", o)
	}
}

// What the protos' rules do not express about disclosures.
func TestReadingDisclosures(t *testing.T) {
	early, late := timestamppb.New(time.Unix(1_800_000_000, 0)), timestamppb.New(time.Unix(1_900_000_000, 0))
	wrong := &timestamppb.Timestamp{Seconds: -5}
	order := func(o *residencyv1.LegalOrder) func(*reading) {
		o.Jurisdiction = "CH"
		return func(r *reading) { r.order("order", "acme", o) }
	}
	for _, tt := range []struct {
		name   string
		do     func(*reading)
		fields []string
	}{
		{"an order in order", order(&residencyv1.LegalOrder{TenantId: "acme", ValidFrom: early, ValidUntil: late, Scope: &residencyv1.LegalOrderScope{FromTime: early, ToTime: late}}), nil},
		{"open ends", order(&residencyv1.LegalOrder{ValidUntil: late, Scope: &residencyv1.LegalOrderScope{ToTime: early}}), nil},
		{"another tenant's", order(&residencyv1.LegalOrder{TenantId: "other"}), []string{"order.tenant_id"}},
		{"an end before its begin", order(&residencyv1.LegalOrder{ValidFrom: late, ValidUntil: early}), []string{"order.valid_until"}},
		{"an empty span", order(&residencyv1.LegalOrder{Scope: &residencyv1.LegalOrderScope{FromTime: early, ToTime: early}}), []string{"order.scope.to_time"}},
		{"no times", order(&residencyv1.LegalOrder{ValidFrom: wrong, ValidUntil: wrong, Scope: &residencyv1.LegalOrderScope{FromTime: wrong, ToTime: wrong}}),
			[]string{"order.scope.from_time", "order.scope.to_time", "order.valid_from", "order.valid_until", "order.valid_until", "order.scope.to_time"}},
		{"no country", func(r *reading) { r.order("order", "acme", &residencyv1.LegalOrder{Jurisdiction: "XX"}) }, []string{"order.jurisdiction"}},
		{"a recipient of no country", func(r *reading) { r.recipient("recipient", &residencyv1.Recipient{Jurisdiction: "UK"}) }, []string{"recipient.jurisdiction"}},
		{"a safeguard of no time", func(r *reading) {
			r.recipient("recipient", &residencyv1.Recipient{Safeguard: &residencyv1.Safeguard{ValidUntil: wrong}})
		}, []string{"recipient.safeguard.valid_until"}},
		{"a purpose twice", func(r *reading) {
			r.recipient("recipient", &residencyv1.Recipient{Functions: []*residencyv1.RecipientFunction{{Purpose: 3}, {Purpose: 4}, {Purpose: 3}}})
		}, []string{"recipient.functions[2].purpose"}},
		{"a notice of no time", func(r *reading) { r.notice("notice", &residencyv1.Notice{PeriodEndTime: wrong}) }, []string{"notice.period_end_time"}},
		{"a request of no time", func(r *reading) {
			r.informal("informal_request", &residencyv1.InformalRequest{ValidUntil: wrong})
		}, []string{"informal_request.valid_until"}},
		{"a case of no time", func(r *reading) { r.abuseCase("abuse_case", &residencyv1.AbuseCase{ValidUntil: wrong}) }, []string{"abuse_case.valid_until"}},
	} {
		var r reading
		tt.do(&r)
		var got []string
		for _, v := range r.violations {
			got = append(got, v.Field)
		}
		if !slices.Equal(got, tt.fields) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.fields)
		}
	}
}
