package rpc

import (
	"context"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// spy is a backend that keeps what it was asked, and answers nothing.
type spy struct {
	Backend
	method string // that was called last
	asked  any
}

func seen[T any](s *spy, req any) (out T, err error) {
	pc, _, _, _ := runtime.Caller(1)
	name := runtime.FuncForPC(pc).Name()
	s.method, s.asked = name[strings.LastIndexByte(name, '.')+1:], req
	return out, nil
}

// zeros lists the paths of the fields that hold nothing.
func zeros(path string, v reflect.Value) []string {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		return zeros(path, v.Elem())
	}
	_, isTime := v.Interface().(time.Time)
	if v.Kind() != reflect.Struct || isTime {
		if v.IsZero() {
			return []string{path}
		}
		return nil
	}
	var out []string
	for i := range v.NumField() {
		out = append(out, zeros(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))...)
	}
	return out
}

// setAll gives a request's unset numbers, states and tokens a value.
func setAll(m proto.Message) proto.Message {
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		f := r.Descriptor().Fields().Get(i)
		switch {
		case f.Name() == "page_token":
			r.Set(f, protoreflect.ValueOfString("token"))
		case f.Name() == "page_size":
			r.Set(f, protoreflect.ValueOfInt32(7))
		}
	}
	return m
}

// Whatever a request of governance says reaches the gateway, but for what the
// gateway sets itself.
func TestRequestsReachTheGateway(t *testing.T) {
	ofGateway := map[string][]string{
		"UpdateTenant":          {"Agreement.Stated"}, // not in the request
		"RegisterRecipient":     {"Recipient.State", "Recipient.Version", "Recipient.Created", "Expected"},
		"UpdateRecipient":       {"Recipient.State", "Recipient.Version", "Recipient.Created"},
		"GiveNotice":            {"Notice.ID", "Notice.WholeTenant", "Notice.Given"},
		"RecordObjection":       {"Objection.ID", "Objection.WholeTenant", "Objection.Objected", "Objection.Lifted"},
		"RecordLegalOrder":      {"Order.ID", "Order.State", "Order.Approvals", "Order.Recorder", "Order.Recorded", "Order.Ended"},
		"RecordInformalRequest": {"Informal.ID", "Informal.State", "Informal.Approval.By", "Informal.Approval.At", "Informal.Recorder", "Informal.Recorded"},
		"OpenAbuseCase":         {"Case.ID", "Case.State", "Case.Approval.By", "Case.Approval.At", "Case.Opener", "Case.Opened", "Case.Closed"},
		"DeleteSnapshot":        {"Expected"}, // of the drive, to restore
	}
	elsewhere := []string{ // no struct is asked for, or a test of their own
		"GetErasure", "GetUsage", "ExportSubject", "InspectDrive", "ListSnapshots", "GetConsentReceipt", "ComparePolicies", "ListRecipients", "GetLegalOrder", "Disclose",
	}
	s := &spy{}
	w := newWorld(t, withBackend(func(b Backend) Backend { s.Backend = b; return s }))
	conn := w.as(appCH)
	const id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
	requests := governanceRequests(id, &residencyv1.Evidence{Method: "form", Grantor: "Anna", NoticeLanguage: "de", NoticeDigest: "sha256:" + strings.Repeat("0", 64)})
	maps.Copy(requests, disclosureRequests(id))
	for full, req := range requests {
		name := full[strings.LastIndexByte(full, '/')+1:]
		if slices.Contains(elsewhere, name) {
			continue
		}
		s.method, s.asked = "", nil
		if err := conn.Invoke(t.Context(), full, setAll(req), &emptypb.Empty{}, grpc.WaitForReady(true)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.method != name {
			t.Errorf("%s reaches the gateway's method %q", name, s.method)
			continue
		}
		if got := zeros("", reflect.ValueOf(s.asked)); !slices.Equal(got, ofGateway[name]) {
			t.Errorf("%s: %v are empty, want %v\n%+v", name, got, ofGateway[name], s.asked)
		}
	}
}

func (s *spy) UpdateTenant(_ context.Context, _ *gateway.Call, req gateway.UpdateTenant) (gateway.Tenant, error) {
	return seen[gateway.Tenant](s, req)
}

func (s *spy) SuspendTenant(_ context.Context, _ *gateway.Call, req gateway.ChangeTenant) (gateway.Tenant, error) {
	return seen[gateway.Tenant](s, req)
}

func (s *spy) ResumeTenant(_ context.Context, _ *gateway.Call, req gateway.ChangeTenant) (gateway.Tenant, error) {
	return seen[gateway.Tenant](s, req)
}

func (s *spy) EraseTenant(_ context.Context, _ *gateway.Call, req gateway.ChangeTenant) (gateway.Erasure, error) {
	return seen[gateway.Erasure](s, req)
}

func (s *spy) RestrictSubject(_ context.Context, _ *gateway.Call, req gateway.RestrictSubject) (*gateway.Restrictions, error) {
	return seen[*gateway.Restrictions](s, req)
}

func (s *spy) LiftRestriction(_ context.Context, _ *gateway.Call, req gateway.RestrictSubject) (*gateway.Restrictions, error) {
	return seen[*gateway.Restrictions](s, req)
}

func (s *spy) ObjectToCollection(_ context.Context, _ *gateway.Call, req gateway.SubjectCall) (*gateway.Restrictions, error) {
	return seen[*gateway.Restrictions](s, req)
}

func (s *spy) WithdrawObjection(_ context.Context, _ *gateway.Call, req gateway.SubjectCall) (*gateway.Restrictions, error) {
	return seen[*gateway.Restrictions](s, req)
}

func (s *spy) ReportChild(_ context.Context, _ *gateway.Call, req gateway.SubjectCall) (gateway.ChildReported, error) {
	return seen[gateway.ChildReported](s, req)
}

func (s *spy) EraseSubject(_ context.Context, _ *gateway.Call, req gateway.SubjectCall) (gateway.Erasure, error) {
	return seen[gateway.Erasure](s, req)
}

func (s *spy) RestrictDrive(_ context.Context, _ *gateway.Call, req gateway.RestrictDrive) (gateway.Drive, error) {
	return seen[gateway.Drive](s, req)
}

func (s *spy) LiftDriveRestriction(_ context.Context, _ *gateway.Call, req gateway.RestrictDrive) (gateway.Drive, error) {
	return seen[gateway.Drive](s, req)
}

func (s *spy) SnapshotDrive(_ context.Context, _ *gateway.Call, req gateway.SnapshotDrive) (gateway.Snapshot, error) {
	return seen[gateway.Snapshot](s, req)
}

func (s *spy) RestoreDrive(_ context.Context, _ *gateway.Call, req gateway.SnapshotCall) (gateway.Drive, error) {
	return seen[gateway.Drive](s, req)
}

func (s *spy) DeleteSnapshot(_ context.Context, _ *gateway.Call, req gateway.SnapshotCall) error {
	_, err := seen[struct{}](s, req)
	return err
}

func (s *spy) RegisterRecipient(_ context.Context, _ *gateway.Call, req gateway.PutRecipient) (gateway.Recipient, error) {
	return seen[gateway.Recipient](s, req)
}

func (s *spy) UpdateRecipient(_ context.Context, _ *gateway.Call, req gateway.PutRecipient) (gateway.Recipient, error) {
	return seen[gateway.Recipient](s, req)
}

func (s *spy) RevokeRecipient(_ context.Context, _ *gateway.Call, req gateway.RecipientCall) (gateway.Recipient, error) {
	return seen[gateway.Recipient](s, req)
}

func (s *spy) GiveNotice(_ context.Context, _ *gateway.Call, req gateway.GiveNotice) (gateway.Notice, error) {
	return seen[gateway.Notice](s, req)
}

func (s *spy) RecordObjection(_ context.Context, _ *gateway.Call, req gateway.RecordObjection) (gateway.Objection, error) {
	return seen[gateway.Objection](s, req)
}

func (s *spy) LiftObjection(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Objection, error) {
	return seen[gateway.Objection](s, req)
}

func (s *spy) RecordLegalOrder(_ context.Context, _ *gateway.Call, req gateway.RecordOrder) (gateway.Order, error) {
	return seen[gateway.Order](s, req)
}

func (s *spy) ApproveLegalOrder(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Order, error) {
	return seen[gateway.Order](s, req)
}

func (s *spy) RejectLegalOrder(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Order, error) {
	return seen[gateway.Order](s, req)
}

func (s *spy) RevokeLegalOrder(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Order, error) {
	return seen[gateway.Order](s, req)
}

func (s *spy) ListLegalOrders(_ context.Context, _ *gateway.Call, req gateway.ListOrders) ([]gateway.Order, string, error) {
	list, err := seen[[]gateway.Order](s, req)
	return list, "", err
}

func (s *spy) RecordInformalRequest(_ context.Context, _ *gateway.Call, req gateway.RecordInformal) (gateway.Informal, error) {
	return seen[gateway.Informal](s, req)
}

func (s *spy) ApproveInformalRequest(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Informal, error) {
	return seen[gateway.Informal](s, req)
}

func (s *spy) OpenAbuseCase(_ context.Context, _ *gateway.Call, req gateway.OpenCase) (gateway.Case, error) {
	return seen[gateway.Case](s, req)
}

func (s *spy) ApproveAbuseCase(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Case, error) {
	return seen[gateway.Case](s, req)
}

func (s *spy) CloseAbuseCase(_ context.Context, _ *gateway.Call, req gateway.GovernanceCall) (gateway.Case, error) {
	return seen[gateway.Case](s, req)
}

func (s *spy) ListAbuseCases(_ context.Context, _ *gateway.Call, req gateway.ListCases) ([]gateway.Case, string, error) {
	list, err := seen[[]gateway.Case](s, req)
	return list, "", err
}

func (s *spy) ListDisclosures(_ context.Context, _ *gateway.Call, req gateway.ListDisclosures) ([]gateway.Disclosure, string, error) {
	list, err := seen[[]gateway.Disclosure](s, req)
	return list, "", err
}
