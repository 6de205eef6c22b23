package rpc

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// soak reports whether heavy tests run their full count.
func soak() bool { return os.Getenv("DOMICILE_SOAK") == "1" }

// validRequests gives a valid request of every RPC, by its full method.
func validRequests() map[string]proto.Message {
	purpose := residencyv1.Purpose_PURPOSE_PAYMENTS
	provision := residencyv1.Purpose_PURPOSE_SERVICE_PROVISION
	const id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
	put := putRequest("acme")
	put.Record.BirthDate = &residencyv1.Date{Year: 1980, Month: 2, Day: 29}
	put.Record.Residence = "CH"
	put.Record.ExpireTime = timestamppb.New(time.Now().Add(time.Hour))
	put.ExpectedVersion = proto.Int64(1)
	put.RequestId = id
	evidence := &residencyv1.Evidence{Method: canary, Grantor: canary, NoticeLanguage: "de-CH", NoticeDigest: "sha256:" + strings.Repeat("0", 64)}
	out := map[string]proto.Message{
		residencyv1.TenantService_RegisterTenant_FullMethodName: &residencyv1.RegisterTenantRequest{TenantId: "acme", Residence: "CH", HomeRegion: "ch", Agreement: evidence, RequestId: id},
		residencyv1.TenantService_GetTenant_FullMethodName:      &residencyv1.GetTenantRequest{TenantId: "acme"},
		residencyv1.TenantService_ListTenants_FullMethodName:    &residencyv1.ListTenantsRequest{Region: "ch", PageSize: 10},
		residencyv1.RecordService_PutRecord_FullMethodName:      put,
		residencyv1.RecordService_GetRecord_FullMethodName:      getRequest("acme"),
		residencyv1.RecordService_ListRecords_FullMethodName:    &residencyv1.ListRecordsRequest{TenantId: "acme", SubjectId: "p", Purpose: purpose, PageSize: 10},
		residencyv1.RecordService_ListSubjects_FullMethodName:   &residencyv1.ListSubjectsRequest{TenantId: "acme", Purpose: purpose},
		residencyv1.RecordService_FindRecords_FullMethodName: &residencyv1.FindRecordsRequest{
			TenantId: "acme", Purpose: purpose, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: canary + "@example.org"},
		},
		residencyv1.RecordService_DeleteRecord_FullMethodName: &residencyv1.DeleteRecordRequest{TenantId: "acme", SubjectId: "p", RecordId: "gone", ExpectedVersion: proto.Int64(9), RequestId: id},
		residencyv1.DriveService_CreateDrive_FullMethodName:   &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", Name: "disk", SizeBytes: 1 << 20, RequestId: id},
		residencyv1.DriveService_GetDrive_FullMethodName:      &residencyv1.GetDriveRequest{TenantId: "acme", DriveId: "d"},
		residencyv1.DriveService_ListDrives_FullMethodName:    &residencyv1.ListDrivesRequest{TenantId: "acme"},
		residencyv1.DriveService_WriteDrive_FullMethodName: &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{
			TenantId: "acme", DriveId: "d", Offset: 5, Purpose: provision, RequestId: id,
		}}},
		residencyv1.DriveService_ReadDrive_FullMethodName:   &residencyv1.ReadDriveRequest{TenantId: "acme", DriveId: "d", Offset: 1, Length: 2, Purpose: provision},
		residencyv1.DriveService_DeleteDrive_FullMethodName: &residencyv1.DeleteDriveRequest{TenantId: "acme", DriveId: "gone", ExpectedVersion: proto.Int64(9), RequestId: id},
		residencyv1.ConsentService_GrantConsent_FullMethodName: &residencyv1.GrantConsentRequest{TenantId: "acme", RequestId: id, Consent: &residencyv1.Consent{
			Kind: residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING, Scope: &residencyv1.Consent_SubjectId{SubjectId: "p"},
			DataClasses:      []residencyv1.DataClass{residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION},
			FromJurisdiction: "CH", ToJurisdiction: "US", Purposes: []residencyv1.Purpose{purpose}, Evidence: evidence,
		}},
		residencyv1.ConsentService_GetConsent_FullMethodName:      &residencyv1.GetConsentRequest{TenantId: "acme", ConsentId: "c"},
		residencyv1.ConsentService_ListConsents_FullMethodName:    &residencyv1.ListConsentsRequest{TenantId: "acme", SubjectId: "p", State: residencyv1.ConsentState_CONSENT_STATE_ACTIVE},
		residencyv1.ConsentService_WithdrawConsent_FullMethodName: &residencyv1.WithdrawConsentRequest{TenantId: "acme", ConsentId: "c", RequestId: id},
		residencyv1.TransferService_CheckTransfer_FullMethodName: &residencyv1.CheckTransferRequest{
			TenantId: "acme", Object: &residencyv1.CheckTransferRequest_SubjectId{SubjectId: "p"},
			DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, ToRegion: "us", Purpose: purpose,
		},
		residencyv1.PolicyService_ListPolicies_FullMethodName: &residencyv1.ListPoliciesRequest{Region: "ch"},
		residencyv1.PolicyService_GetPolicy_FullMethodName:    &residencyv1.GetPolicyRequest{Region: "ch"},
		residencyv1.PolicyService_Explain_FullMethodName: &residencyv1.ExplainRequest{
			Region: "ch", Action: residencyv1.Action_ACTION_USE, DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, ToJurisdiction: "US", Purpose: purpose,
		},
		residencyv1.AuditService_GetDecision_FullMethodName:     &residencyv1.GetDecisionRequest{TenantId: "acme", DecisionId: id},
		residencyv1.PeerService_LocateTenant_FullMethodName:     &residencyv1.LocateTenantRequest{Pseudonym: make([]byte, 16)},
		residencyv1.PeerService_ReserveTenant_FullMethodName:    &residencyv1.ReserveTenantRequest{Pseudonym: make([]byte, 16), HomeRegion: "us"},
		residencyv1.PeerService_CosignCheckpoint_FullMethodName: cosigning(),
		residencyv1.PeerService_ExtendLeases_FullMethodName:     &residencyv1.ExtendLeasesRequest{DecisionIds: []string{id}},
		residencyv1.AuditService_GetReceipt_FullMethodName:      &residencyv1.GetReceiptRequest{TenantId: "acme", DecisionId: id},
		residencyv1.AuditService_GetCheckpoint_FullMethodName:   &residencyv1.GetCheckpointRequest{Region: "ch", Cluster: "ch-1"},
		residencyv1.AuditService_ExportLog_FullMethodName:       &residencyv1.ExportLogRequest{Region: "ch", Cluster: "ch-1", FromSize: 1},
		residencyv1.AuditService_ReadEntries_FullMethodName: &residencyv1.ReadEntriesRequest{
			Log: &residencyv1.ReadEntriesRequest_TenantId{TenantId: "acme"}, StartTime: timestamppb.New(time.Now().Add(-time.Hour)),
			EndTime: timestamppb.New(time.Now().Add(time.Hour)), Outcome: residencyv1.Outcome_OUTCOME_DENY, Reason: "NOT_FOUND",
			FromJurisdiction: "CH", ToJurisdiction: "US", Caller: "spiffe://example.org/app", PageSize: 5,
			DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, Action: residencyv1.Action_ACTION_USE,
		},
		residencyv1.AuditService_ListDecisions_FullMethodName: &residencyv1.ListDecisionsRequest{TenantId: "acme", PageSize: 5},
		residencyv1.UsageService_GetUsage_FullMethodName: &residencyv1.GetUsageRequest{
			TenantId: "acme", StartDate: &residencyv1.Date{Year: 2026, Month: 2, Day: 28}, EndDate: &residencyv1.Date{Year: 2026, Month: 3, Day: 1},
		},
		residencyv1.GatewayService_GetGateway_FullMethodName:  &residencyv1.GetGatewayRequest{},
		residencyv1.GatewayService_ListRegions_FullMethodName: &residencyv1.ListRegionsRequest{},
	}
	maps.Copy(out, governanceRequests(id, evidence))
	maps.Copy(out, disclosureRequests(id))
	return out
}

// governanceRequests are those that change what is held, and how. What they
// erase and suspend is a tenant and a person of their own.
func governanceRequests(id string, evidence *residencyv1.Evidence) map[string]proto.Message {
	taken := []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_CREDIT_RISK}
	return map[string]proto.Message{
		residencyv1.TenantService_UpdateTenant_FullMethodName:       &residencyv1.UpdateTenantRequest{TenantId: "acme", Residence: "CH", Agreement: evidence, ExpectedVersion: proto.Int64(1), RequestId: id},
		residencyv1.TenantService_SuspendTenant_FullMethodName:      &residencyv1.SuspendTenantRequest{TenantId: "doomed", RequestId: id},
		residencyv1.TenantService_ResumeTenant_FullMethodName:       &residencyv1.ResumeTenantRequest{TenantId: "doomed", RequestId: id},
		residencyv1.TenantService_EraseTenant_FullMethodName:        &residencyv1.EraseTenantRequest{TenantId: "doomed", ConfirmTenantId: "doomed", RequestId: id},
		residencyv1.TenantService_GetErasure_FullMethodName:         &residencyv1.GetErasureRequest{TenantId: "acme", ErasureId: id},
		residencyv1.RecordService_RestrictSubject_FullMethodName:    &residencyv1.RestrictSubjectRequest{TenantId: "acme", SubjectId: "p", Purposes: taken, RequestId: id},
		residencyv1.RecordService_LiftRestriction_FullMethodName:    &residencyv1.LiftRestrictionRequest{TenantId: "acme", SubjectId: "p", Purposes: taken, RequestId: id},
		residencyv1.RecordService_ObjectToCollection_FullMethodName: &residencyv1.ObjectToCollectionRequest{TenantId: "acme", SubjectId: "p", RequestId: id},
		residencyv1.RecordService_WithdrawObjection_FullMethodName:  &residencyv1.WithdrawObjectionRequest{TenantId: "acme", SubjectId: "p", RequestId: id},
		residencyv1.RecordService_ReportChild_FullMethodName:        &residencyv1.ReportChildRequest{TenantId: "acme", SubjectId: "doomed", RequestId: id},
		residencyv1.RecordService_ExportSubject_FullMethodName:      &residencyv1.ExportSubjectRequest{TenantId: "acme", SubjectId: "p"},
		residencyv1.RecordService_EraseSubject_FullMethodName:       &residencyv1.EraseSubjectRequest{TenantId: "acme", SubjectId: "doomed", RequestId: id},
		residencyv1.DriveService_InspectDrive_FullMethodName: &residencyv1.InspectDriveRequest{
			TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_INSPECTION, Offset: 1, Length: 2,
		},
		residencyv1.DriveService_RestrictDrive_FullMethodName:        &residencyv1.RestrictDriveRequest{TenantId: "acme", DriveId: "d", Purposes: taken, ExpectedVersion: proto.Int64(1), RequestId: id},
		residencyv1.DriveService_LiftDriveRestriction_FullMethodName: &residencyv1.LiftDriveRestrictionRequest{TenantId: "acme", DriveId: "d", Purposes: taken, ExpectedVersion: proto.Int64(1), RequestId: id},
		residencyv1.DriveService_SnapshotDrive_FullMethodName:        &residencyv1.SnapshotDriveRequest{TenantId: "acme", DriveId: "d", Name: "before", RequestId: id},
		residencyv1.DriveService_ListSnapshots_FullMethodName:        &residencyv1.ListSnapshotsRequest{TenantId: "acme", DriveId: "d", PageSize: 5},
		residencyv1.DriveService_RestoreDrive_FullMethodName:         &residencyv1.RestoreDriveRequest{TenantId: "acme", DriveId: "d", SnapshotId: "s", ExpectedVersion: proto.Int64(1), RequestId: id},
		residencyv1.DriveService_DeleteSnapshot_FullMethodName:       &residencyv1.DeleteSnapshotRequest{TenantId: "acme", DriveId: "d", SnapshotId: "s", RequestId: id},
		residencyv1.ConsentService_GetConsentReceipt_FullMethodName:  &residencyv1.GetConsentReceiptRequest{TenantId: "acme", ConsentId: "c"},
		residencyv1.PolicyService_ComparePolicies_FullMethodName: &residencyv1.ComparePoliciesRequest{
			Region: "ch", To: &residencyv1.ComparePoliciesRequest_ToVersion{ToVersion: "none"},
		},
	}
}

// disclosureRequests are those of DisclosureService.
func disclosureRequests(id string) map[string]proto.Message {
	in := timestamppb.New(time.Now().Add(time.Hour))
	payments := []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_PAYMENTS}
	recipient := &residencyv1.Recipient{
		RecipientId: "r", Name: canary, Kind: residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, Jurisdiction: "CH",
		Functions: []*residencyv1.RecipientFunction{{Purpose: payments[0], Fields: []string{"full_name", "attributes." + canary}}},
		Safeguard: &residencyv1.Safeguard{Reference: canary, ValidUntil: in},
	}
	order := &residencyv1.LegalOrder{
		Authority: canary, Jurisdiction: "CH", LegalBasis: canary, Reference: canary, ValidFrom: timestamppb.Now(), ValidUntil: in, RecipientId: "r",
		Scope: &residencyv1.LegalOrderScope{
			SubjectIds: []string{"p"}, DriveIds: []string{"d"}, DataClasses: []residencyv1.DataClass{1, 2}, FromTime: timestamppb.Now(), ToTime: in,
		},
	}
	return map[string]proto.Message{
		residencyv1.DisclosureService_RegisterRecipient_FullMethodName: &residencyv1.RegisterRecipientRequest{TenantId: "acme", Recipient: recipient, RequestId: id},
		residencyv1.DisclosureService_UpdateRecipient_FullMethodName:   &residencyv1.UpdateRecipientRequest{TenantId: "acme", Recipient: recipient, ExpectedVersion: proto.Int64(1), RequestId: id},
		residencyv1.DisclosureService_ListRecipients_FullMethodName:    &residencyv1.ListRecipientsRequest{TenantId: "acme", PageSize: 5},
		residencyv1.DisclosureService_RevokeRecipient_FullMethodName:   &residencyv1.RevokeRecipientRequest{TenantId: "acme", RecipientId: "r", RequestId: id},
		residencyv1.DisclosureService_GiveNotice_FullMethodName: &residencyv1.GiveNoticeRequest{TenantId: "acme", RequestId: id, Notice: &residencyv1.Notice{
			Scope: &residencyv1.Notice_SubjectId{SubjectId: "p"}, RecipientId: "r", Purposes: payments, NoticeLanguage: "de",
			NoticeDigest: "sha256:" + strings.Repeat("0", 64), PeriodEndTime: in,
		}},
		residencyv1.DisclosureService_RecordObjection_FullMethodName: &residencyv1.RecordObjectionRequest{TenantId: "acme", RequestId: id, Objection: &residencyv1.Objection{
			Scope: &residencyv1.Objection_SubjectId{SubjectId: "p"}, RecipientId: "r",
		}},
		residencyv1.DisclosureService_LiftObjection_FullMethodName:     &residencyv1.LiftObjectionRequest{TenantId: "acme", ObjectionId: "o", RequestId: id},
		residencyv1.DisclosureService_RecordLegalOrder_FullMethodName:  &residencyv1.RecordLegalOrderRequest{TenantId: "acme", Order: order, RequestId: id},
		residencyv1.DisclosureService_GetLegalOrder_FullMethodName:     &residencyv1.GetLegalOrderRequest{TenantId: "acme", OrderId: "o"},
		residencyv1.DisclosureService_ApproveLegalOrder_FullMethodName: &residencyv1.ApproveLegalOrderRequest{TenantId: "acme", OrderId: "o", RequestId: id},
		residencyv1.DisclosureService_RejectLegalOrder_FullMethodName:  &residencyv1.RejectLegalOrderRequest{TenantId: "acme", OrderId: "o", RequestId: id},
		residencyv1.DisclosureService_RevokeLegalOrder_FullMethodName:  &residencyv1.RevokeLegalOrderRequest{TenantId: "acme", OrderId: "o", RequestId: id},
		residencyv1.DisclosureService_ListLegalOrders_FullMethodName:   &residencyv1.ListLegalOrdersRequest{TenantId: "acme", State: 1, PageSize: 5},
		residencyv1.DisclosureService_RecordInformalRequest_FullMethodName: &residencyv1.RecordInformalRequestRequest{TenantId: "acme", RequestId: id, InformalRequest: &residencyv1.InformalRequest{
			RecipientId: "r", DataClass: 1, SubjectIds: []string{"p"}, Fields: []string{"full_name"}, Purpose: payments[0], Reference: canary, ValidUntil: in,
		}},
		residencyv1.DisclosureService_ApproveInformalRequest_FullMethodName: &residencyv1.ApproveInformalRequestRequest{TenantId: "acme", InformalRequestId: "i", RequestId: id},
		residencyv1.DisclosureService_OpenAbuseCase_FullMethodName: &residencyv1.OpenAbuseCaseRequest{TenantId: "acme", RequestId: id, AbuseCase: &residencyv1.AbuseCase{
			Suspicion: canary, DriveIds: []string{"d"}, ValidUntil: in,
		}},
		residencyv1.DisclosureService_ApproveAbuseCase_FullMethodName: &residencyv1.ApproveAbuseCaseRequest{TenantId: "acme", CaseId: "c", RequestId: id},
		residencyv1.DisclosureService_CloseAbuseCase_FullMethodName:   &residencyv1.CloseAbuseCaseRequest{TenantId: "acme", CaseId: "c", RequestId: id},
		residencyv1.DisclosureService_ListAbuseCases_FullMethodName:   &residencyv1.ListAbuseCasesRequest{TenantId: "acme", State: 1, PageSize: 5},
		residencyv1.DisclosureService_Disclose_FullMethodName: &residencyv1.DiscloseRequest{
			TenantId: "acme", RecipientId: "r", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "p"}, Purpose: payments[0],
			OrderId: "o", InformalRequestId: "i", Stage: 1, Necessity: canary,
		},
		residencyv1.DisclosureService_ListDisclosures_FullMethodName: &residencyv1.ListDisclosuresRequest{TenantId: "acme", SubjectId: "p", RecipientId: "r", PageSize: 5},
	}
}

// raw sends bytes as they are.
type raw []byte

// rawCodec sends raw bytes and throws away what comes back.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*raw)
	if !ok {
		return nil, fmt.Errorf("want raw, got %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

// send calls a method with a message, or with bytes in its place, and gives the error.
func sendRaw(t *testing.T, conn *grpc.ClientConn, m *method, wire raw) error {
	t.Helper()
	var none raw
	if !m.streams {
		return conn.Invoke(t.Context(), m.full, &wire, &none, grpc.ForceCodecV2(rawCodec{}))
	}
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, m.full, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if err := s.SendMsg(&wire); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		if err := s.RecvMsg(&none); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Random changes to valid requests give a clear INVALID_ARGUMENT that names the field, or the transport's
// own error for bytes that are no message, or an answer when they are valid still; never a
// panic or an internal error, and no word of what was sent.
func TestMutatedRequests(t *testing.T) {
	count := 5000
	if soak() {
		count = 100_000
	}
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("doomed")
	conn := w.as(appCH)
	methods, valid := table(t), validRequests()
	var names []string
	for name := range methods {
		if valid[name] == nil {
			t.Fatalf("no valid request of %s", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names { // all are valid, as far as the form goes
		b, err := proto.Marshal(valid[name])
		if err != nil {
			t.Fatal(err)
		}
		if err := sendRaw(t, conn, methods[name], b); status.Code(err) == codes.InvalidArgument && !strings.Contains(name, "WriteDrive") {
			t.Fatalf("%s: the valid request is refused: %v %v", name, err, tell(err).bad)
		}
	}
	rng := rand.New(rand.NewPCG(20261123, 1))
	outcomes := map[string]int{}
	for i := range count {
		name := names[rng.IntN(len(names))]
		if strings.HasSuffix(name, "/WithdrawConsent") && !soak() {
			name = names[0] // an allowed one takes a second
		}
		wire := mutate(rng, valid[name])
		err := sendRaw(t, conn, methods[name], wire)
		got := tell(err)
		if got.reason != "" {
			outcomes[got.reason]++
		} else {
			outcomes[got.code]++
		}
		if strings.Contains(wire0(err), canary) {
			t.Fatalf("%d: %s echoes what was sent: %v", i, name, err)
		}
		switch got.code {
		case "InvalidArgument":
			if len(got.bad.GetFieldViolations()) == 0 || got.bad.GetFieldViolations()[0].GetField() == "" {
				t.Errorf("%d: %s: %v names no field", i, name, err)
			}
		case "Internal":
			// What grpc says of bytes that are no message.
			if got.reason != "" || !strings.Contains(err.Error(), "unmarshal") {
				t.Errorf("%d: %s: %v", i, name, err)
			}
		case "Unknown", "DataLoss":
			t.Errorf("%d: %s: %v", i, name, err)
		}
	}
	if n := w.counter("residency_panics_total", nil); n != 0 {
		t.Errorf("%v panics\n%s", n, w.log)
	}
	if strings.Contains(w.log.String(), canary) {
		t.Error("the log holds what was sent")
	}
	t.Logf("%d mutated requests: %v", count, outcomes)
}

func wire0(err error) string { return status.Convert(err).Proto().String() }

// mutate changes a valid request in one to three places: a field's value, or its bytes.
func mutate(rng *rand.Rand, valid proto.Message) raw {
	m := proto.Clone(valid)
	var wire []byte
	for range 1 + rng.IntN(3) {
		if rng.IntN(4) == 0 {
			if wire == nil {
				wire, _ = proto.Marshal(m)
			}
			wire = mutateBytes(rng, wire)
			continue
		}
		if wire == nil {
			mutateField(rng, m.ProtoReflect())
		}
	}
	if wire == nil {
		wire, _ = proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	}
	return wire
}

func mutateBytes(rng *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	switch i := rng.IntN(len(b) + 1); rng.IntN(4) {
	case 0:
		if len(b) > 0 {
			b[i%len(b)] ^= 1 << rng.IntN(8)
		}
	case 1:
		b = b[:i]
	case 2:
		b = append(b[:i:i], append([]byte{byte(rng.Uint32())}, b[i:]...)...)
	default:
		b = append(b, b...)
	}
	return b
}

// mutateField changes one field somewhere in the message.
func mutateField(rng *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	if fields.Len() == 0 {
		return
	}
	f := fields.Get(rng.IntN(fields.Len()))
	switch {
	case f.IsMap():
		v := m.Mutable(f).Map()
		for range 1 + rng.IntN(70) {
			v.Set(protoreflect.ValueOfString(oddString(rng)).MapKey(), protoreflect.ValueOfString(oddString(rng)))
		}
	case f.IsList():
		v := m.Mutable(f).List()
		for range rng.IntN(4) {
			if f.Message() == nil {
				v.Append(oddValue(rng, f))
			}
		}
		if rng.IntN(3) == 0 {
			m.Clear(f)
		}
	case f.Message() != nil:
		if rng.IntN(4) == 0 {
			m.Clear(f)
			return
		}
		mutateField(rng, m.Mutable(f).Message())
	default:
		m.Set(f, oddValue(rng, f))
	}
}

func oddValue(rng *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	numbers := []int64{0, 1, -1, 13, 31, 32, 99, 1000, 1001, 1 << 30, -1 << 31, 1 << 44, 1<<44 + 1, 1<<63 - 1, -1 << 63}
	n := numbers[rng.IntN(len(numbers))]
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(oddString(rng))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, []int{0, 1, maxDriveData, maxDriveData + 1}[rng.IntN(4)]))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rng.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(n))) //nolint:gosec // any number will do
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n)) //nolint:gosec // any number will do
	default:
		return protoreflect.ValueOfInt64(n)
	}
}

func oddString(rng *rand.Rand) string {
	odd := []string{
		"", "a", ".", "-x", "a/b", "../../etc", "acme\n", "acme\x00", "ACME", "äcme", "XX", "UK", "US", "ch", "us", "CH ", canary,
		"4111 1111 1111 1111", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("é", 200), strings.Repeat("y", 5000),
		"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "not-a-uuid", "sha256:zz", "\u202e", "🦜",
	}
	return odd[rng.IntN(len(odd))]
}

// A field at, below and over its bounds.
func TestBounds(t *testing.T) {
	f, err := newForms([]protoreflect.MessageDescriptor{(&residencyv1.PutRecordRequest{}).ProtoReflect().Descriptor()})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*residencyv1.PutRecordRequest)
		field  string
	}{
		{"valid", func(*residencyv1.PutRecordRequest) {}, ""},
		{"id of 64", func(r *residencyv1.PutRecordRequest) { r.TenantId = strings.Repeat("a", 64) }, ""},
		{"id of 65", func(r *residencyv1.PutRecordRequest) { r.TenantId = strings.Repeat("a", 65) }, "tenant_id"},
		{"id of 0", func(r *residencyv1.PutRecordRequest) { r.TenantId = "" }, "tenant_id"},
		{"id with a newline at the end", func(r *residencyv1.PutRecordRequest) { r.TenantId = "acme\n" }, "tenant_id"},
		{"name of 256", func(r *residencyv1.PutRecordRequest) { r.Record.Personal.FullName = strings.Repeat("a", 256) }, ""},
		{"name of 257", func(r *residencyv1.PutRecordRequest) { r.Record.Personal.FullName = strings.Repeat("a", 257) }, "record.personal.full_name"},
		{"attribute of 4097", func(r *residencyv1.PutRecordRequest) {
			r.Record.Personal.Attributes = map[string]string{canary: strings.Repeat("a", 4097)}
		}, "record.personal.attributes[…]"},
		{"attribute name of 65", func(r *residencyv1.PutRecordRequest) {
			r.Record.Personal.Attributes = map[string]string{strings.Repeat("a", 65): ""}
		}, "record.personal.attributes[…]"},
		{"no record", func(r *residencyv1.PutRecordRequest) { r.Record = nil }, "record"},
		{"no purpose", func(r *residencyv1.PutRecordRequest) { r.Record.Purposes = nil }, "record.purposes"},
		{"a purpose twice", func(r *residencyv1.PutRecordRequest) {
			r.Record.Purposes = append(r.Record.Purposes, r.Record.Purposes[0])
		}, "record.purposes"},
		{"an unknown purpose", func(r *residencyv1.PutRecordRequest) { r.Record.Purposes[0] = 15 }, "record.purposes[0]"},
		{"an unset purpose", func(r *residencyv1.PutRecordRequest) { r.Record.Purposes[0] = 0 }, "record.purposes[0]"},
		{"version -1", func(r *residencyv1.PutRecordRequest) { r.ExpectedVersion = proto.Int64(-1) }, "expected_version"},
		{"no uuid", func(r *residencyv1.PutRecordRequest) { r.RequestId = canary }, "request_id"},
	} {
		r := putRequest("acme")
		tt.change(r)
		err := f.check(r)
		switch {
		case tt.field == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.field != "" && (err == nil || err.Violations[0].Field != tt.field):
			t.Errorf("%s: got %v, want a violation of %s", tt.name, err, tt.field)
		case err != nil && strings.Contains(err.Error(), canary):
			t.Errorf("%s echoes the value: %v", tt.name, err)
		}
	}
}

// What the protos' rules do not express.
func TestReading(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(*reading)
		field string
	}{
		{"a leap day", func(r *reading) { r.date("d", &residencyv1.Date{Year: 2024, Month: 2, Day: 29}) }, ""},
		{"no leap day", func(r *reading) { r.date("d", &residencyv1.Date{Year: 2023, Month: 2, Day: 29}) }, "d"},
		{"month 13", func(r *reading) { r.date("d", &residencyv1.Date{Year: 2023, Month: 13, Day: 1}) }, "d"},
		{"day 0", func(r *reading) { r.date("d", &residencyv1.Date{Year: 2023, Month: 1}) }, "d"},
		{"a code", func(r *reading) { r.jurisdiction("j", "DE") }, ""},
		{"no code of a country", func(r *reading) { r.jurisdiction("j", "XX") }, "j"},
		{"a time", func(r *reading) { r.time("t", timestamppb.Now()) }, ""},
		{"nanoseconds below zero", func(r *reading) { r.time("t", &timestamppb.Timestamp{Seconds: 5, Nanos: -1}) }, "t"},
		{"1969", func(r *reading) { r.time("t", &timestamppb.Timestamp{Seconds: -5}) }, "t"},
		{"the year 9999", func(r *reading) { r.time("t", &timestamppb.Timestamp{Seconds: 253402300799}) }, "t"},
		{"a third party without a name", func(r *reading) {
			r.record("r", &residencyv1.PersonalRecord{Source: residencyv1.Source_SOURCE_THIRD_PARTY})
		}, "r.source_party"},
		{"automatic without an end", func(r *reading) {
			r.record("r", &residencyv1.PersonalRecord{Source: residencyv1.Source_SOURCE_AUTOMATIC})
		}, "r.expire_time"},
		{"another tenant's consent", func(r *reading) {
			r.consent("c", "acme", &residencyv1.Consent{TenantId: "other", FromJurisdiction: "CH", ToJurisdiction: "US"})
		}, "c.tenant_id"},
		{"a crossing to nowhere", func(r *reading) {
			r.consent("c", "acme", &residencyv1.Consent{Kind: residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING, FromJurisdiction: "CH"})
		}, "c.to_jurisdiction"},
		{"an opt-in that leads nowhere", func(r *reading) {
			r.consent("c", "acme", &residencyv1.Consent{Kind: residencyv1.ConsentKind_CONSENT_KIND_MARKETING_OPT_IN, FromJurisdiction: "CH"})
		}, ""},
	} {
		var r reading
		tt.do(&r)
		switch {
		case tt.field == "" && r.err() != nil:
			t.Errorf("%s: %v", tt.name, r.err())
		case tt.field != "" && (len(r.violations) != 1 || r.violations[0].Field != tt.field):
			t.Errorf("%s: got %v, want %s", tt.name, r.violations, tt.field)
		}
	}
}

func BenchmarkForms(b *testing.B) {
	requests := validRequests()
	for _, name := range []string{residencyv1.RecordService_GetRecord_FullMethodName, residencyv1.RecordService_PutRecord_FullMethodName, residencyv1.ConsentService_GrantConsent_FullMethodName} {
		m := requests[name]
		f, err := newForms([]protoreflect.MessageDescriptor{m.ProtoReflect().Descriptor()})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(m.ProtoReflect().Descriptor().Name()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f.check(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
