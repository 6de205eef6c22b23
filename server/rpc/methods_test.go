package rpc

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"

	annotationsv1 "github.com/domicile-project/domicile/proto/gen/residency/annotations/v1"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
)

var services = []*grpc.ServiceDesc{
	&residencyv1.TenantService_ServiceDesc, &residencyv1.RecordService_ServiceDesc, &residencyv1.DriveService_ServiceDesc,
	&residencyv1.ConsentService_ServiceDesc, &residencyv1.TransferService_ServiceDesc, &residencyv1.PolicyService_ServiceDesc,
	&residencyv1.AuditService_ServiceDesc, &residencyv1.GatewayService_ServiceDesc, &residencyv1.DisclosureService_ServiceDesc,
	&residencyv1.UsageService_ServiceDesc,
}

func serviceInfo() map[string]grpc.ServiceInfo {
	out := map[string]grpc.ServiceInfo{healthService: {}}
	for _, s := range services {
		out[s.ServiceName] = grpc.ServiceInfo{Metadata: s.Metadata}
	}
	return out
}

func table(t testing.TB) map[string]*method {
	t.Helper()
	m, err := methodTable(serviceInfo(), protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMethodTable(t *testing.T) {
	all := table(t)
	for _, s := range services {
		for _, m := range s.Methods {
			if all["/"+s.ServiceName+"/"+m.MethodName] == nil {
				t.Errorf("%s of %s is not in the table", m.MethodName, s.ServiceName)
			}
		}
		for _, m := range s.Streams {
			if row := all["/"+s.ServiceName+"/"+m.StreamName]; row == nil || !row.streams || !row.carries {
				t.Errorf("the stream %s of %s is not in the table, or not as one that carries data", m.StreamName, s.ServiceName)
			}
		}
	}
	write := all[residencyv1.DriveService_WriteDrive_FullMethodName]
	if write.tenant.String() != "header.tenant_id" || write.purpose.String() != "header.purpose" || !write.carries || write.kind != "client_stream" {
		t.Errorf("WriteDrive: %+v", write)
	}
	read := all[residencyv1.RecordService_GetRecord_FullMethodName]
	if read.action != residency.Use || read.class != residency.PersonalInformation || read.permission.String() != "records.read" || read.changes {
		t.Errorf("GetRecord: %+v", read)
	}
	for name, want := range map[string]bool{
		residencyv1.TenantService_RegisterTenant_FullMethodName:   true,
		residencyv1.ConsentService_GrantConsent_FullMethodName:    true,
		residencyv1.ConsentService_WithdrawConsent_FullMethodName: true,
		residencyv1.RecordService_DeleteRecord_FullMethodName:     true,
		residencyv1.DriveService_CreateDrive_FullMethodName:       true,
		residencyv1.RecordService_PutRecord_FullMethodName:        false,
		residencyv1.DriveService_WriteDrive_FullMethodName:        false,
		residencyv1.ConsentService_ListConsents_FullMethodName:    false,
		residencyv1.TransferService_CheckTransfer_FullMethodName:  false,
		residencyv1.UsageService_GetUsage_FullMethodName:          false,

		residencyv1.TenantService_UpdateTenant_FullMethodName:          true,
		residencyv1.TenantService_SuspendTenant_FullMethodName:         true,
		residencyv1.TenantService_ResumeTenant_FullMethodName:          true,
		residencyv1.TenantService_EraseTenant_FullMethodName:           true,
		residencyv1.TenantService_GetErasure_FullMethodName:            false,
		residencyv1.RecordService_RestrictSubject_FullMethodName:       true,
		residencyv1.RecordService_ReportChild_FullMethodName:           true,
		residencyv1.RecordService_EraseSubject_FullMethodName:          true,
		residencyv1.RecordService_ExportSubject_FullMethodName:         false,
		residencyv1.DriveService_InspectDrive_FullMethodName:           false,
		residencyv1.DriveService_RestrictDrive_FullMethodName:          true,
		residencyv1.DriveService_RestoreDrive_FullMethodName:           true,
		residencyv1.DriveService_DeleteSnapshot_FullMethodName:         true,
		residencyv1.ConsentService_GetConsentReceipt_FullMethodName:    false,
		residencyv1.DisclosureService_RegisterRecipient_FullMethodName: true,
		residencyv1.DisclosureService_LiftObjection_FullMethodName:     true,
		residencyv1.DisclosureService_ApproveLegalOrder_FullMethodName: true,
		residencyv1.DisclosureService_CloseAbuseCase_FullMethodName:    true,
		residencyv1.DisclosureService_Disclose_FullMethodName:          true,
		residencyv1.DisclosureService_ListDisclosures_FullMethodName:   false,
	} {
		if all[name].changes != want {
			t.Errorf("%s: a change is %v, want %v", name, all[name].changes, want)
		}
	}
}

// change gives the files with one of ours changed.
func change(t testing.TB, file protoreflect.FileDescriptor, do func(*descriptorpb.FileDescriptorProto)) (*protoregistry.Files, error) {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		p := protodesc.ToFileDescriptorProto(f)
		if f.Path() == file.Path() {
			do(p)
		}
		set.File = append(set.File, p)
	}
	for _, s := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.ServiceName))
		if err != nil {
			t.Fatal(err)
		}
		add(d.ParentFile())
	}
	return protodesc.NewFiles(set)
}

// Each served RPC in turn loses its annotation, or has one that says too little: the start is
// refused and the error names it.
func TestEveryUnannotatedRPCIsRefused(t *testing.T) {
	changes := map[string]func(*annotationsv1.Access) *annotationsv1.Access{
		"no access annotation":    func(*annotationsv1.Access) *annotationsv1.Access { return nil },
		"no known action":         func(a *annotationsv1.Access) *annotationsv1.Access { a.Action = 0; return a },
		"no known action (above)": func(a *annotationsv1.Access) *annotationsv1.Access { a.Action = 266; return a },
		"no known data class":     func(a *annotationsv1.Access) *annotationsv1.Access { a.DataClass = 0; return a },
		"unknown permission":      func(a *annotationsv1.Access) *annotationsv1.Access { a.Permission = "records.reed"; return a },
	}
	refused := 0
	for _, m := range table(t) {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(m.service + "." + m.name))
		if err != nil {
			t.Fatal(err)
		}
		for want, alter := range changes {
			files, err := change(t, d.ParentFile(), func(f *descriptorpb.FileDescriptorProto) {
				o := f.Service[d.Parent().Index()].Method[d.Index()].Options
				a := proto.CloneOf(proto.GetExtension(o, annotationsv1.E_Access).(*annotationsv1.Access))
				if a = alter(a); a == nil {
					proto.ClearExtension(o, annotationsv1.E_Access)
				} else {
					proto.SetExtension(o, annotationsv1.E_Access, a)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(want, " (")
			_, err = methodTable(serviceInfo(), files)
			if err == nil || !strings.Contains(err.Error(), m.service+"."+m.name) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: %v", m.full, want, err)
			}
			refused++
		}
	}
	t.Logf("%d starts refused", refused)
}

// A request that names a tenant, or should, must say which field does.
func TestRolesAreRequired(t *testing.T) {
	for _, m := range table(t) {
		if len(m.tenant) == 0 {
			if m.class != residency.AccountData {
				t.Errorf("%s names no tenant", m.full)
			}
			continue
		}
		holder := m.tenant.last().ContainingMessage()
		for _, tt := range []struct {
			want string
			role annotationsv1.Role
			on   func(protoreflect.FieldDescriptor) bool
		}{
			{"no field has ROLE_TENANT", annotationsv1.Role_ROLE_UNSPECIFIED, func(f protoreflect.FieldDescriptor) bool { return f == m.tenant.last() }},
			{"fields with ROLE_TENANT", annotationsv1.Role_ROLE_TENANT, func(f protoreflect.FieldDescriptor) bool {
				return f != m.tenant.last() && f.Kind() == protoreflect.StringKind && !f.IsList()
			}},
		} {
			changed := false
			files, err := change(t, holder.ParentFile(), func(f *descriptorpb.FileDescriptorProto) {
				for i := range holder.Fields().Len() {
					if d := holder.Fields().Get(i); tt.on(d) {
						p := f.MessageType[holder.Index()].Field[i]
						if p.Options == nil {
							p.Options = &descriptorpb.FieldOptions{}
						}
						proto.SetExtension(p.Options, annotationsv1.E_Role, tt.role)
						changed = true
						return
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if !changed {
				continue
			}
			if _, err = methodTable(serviceInfo(), files); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: want %q, got %v", m.full, tt.want, err)
			}
		}
	}
}

// A service that is neither annotated nor exempt keeps the server from starting.
func TestUnknownServiceIsRefused(t *testing.T) {
	info := serviceInfo()
	info["grpc.channelz.v1.Channelz"] = grpc.ServiceInfo{}
	if _, err := methodTable(info, protoregistry.GlobalFiles); err == nil || !strings.Contains(err.Error(), "grpc.channelz.v1.Channelz") {
		t.Errorf("got %v", err)
	}
}

// Numbers and names of the vocabulary, of residency.v1 and of the annotations
// are the same.
func TestEnumerationsAgree(t *testing.T) {
	type numbered interface{ String() string }
	check := func(d protoreflect.EnumDescriptor, prefix string, n int, value func(int) numbered) {
		t.Helper()
		if d.Values().Len() != n {
			t.Errorf("%s has %d values, the vocabulary %d", d.FullName(), d.Values().Len(), n)
		}
		for i := range d.Values().Len() {
			v := d.Values().Get(i)
			if got := prefix + value(int(v.Number())).String(); got != string(v.Name()) {
				t.Errorf("%s %d: the proto has %s, the vocabulary %s", d.FullName(), v.Number(), v.Name(), got)
			}
		}
	}
	check(residencyv1.DataClass(0).Descriptor(), "DATA_CLASS_", residency.NumDataClasses, func(i int) numbered { return residency.DataClass(i) })
	check(residencyv1.Action(0).Descriptor(), "ACTION_", residency.NumActions, func(i int) numbered { return residency.Action(i) })
	check(residencyv1.Purpose(0).Descriptor(), "PURPOSE_", residency.NumPurposes, func(i int) numbered { return residency.Purpose(i) })
	check(residencyv1.Source(0).Descriptor(), "SOURCE_", residency.NumSources, func(i int) numbered { return residency.Source(i) })
	check(residencyv1.RecipientKind(0).Descriptor(), "RECIPIENT_KIND_", residency.NumRecipientKinds, func(i int) numbered { return residency.RecipientKind(i) })
	check(residencyv1.ConsentKind(0).Descriptor(), "CONSENT_KIND_", residency.NumConsentKinds, func(i int) numbered { return residency.ConsentKind(i) })
	check(residencyv1.ConsentState(0).Descriptor(), "CONSENT_STATE_", residency.NumConsentStates, func(i int) numbered { return residency.ConsentState(i) })
	check(residencyv1.Party(0).Descriptor(), "PARTY_", residency.NumParties, func(i int) numbered { return residency.Party(i) })
	check(annotationsv1.DataClass(0).Descriptor(), "DATA_CLASS_", residency.NumDataClasses, func(i int) numbered { return residency.DataClass(i) })
	check(annotationsv1.Action(0).Descriptor(), "ACTION_", residency.NumActions, func(i int) numbered { return residency.Action(i) })

}

// The gateway's own states are numbered as the protos': their constants stand
// here under the protos' names.
func TestStatesAgree(t *testing.T) {
	type states map[string]uint8
	for d, want := range map[protoreflect.EnumDescriptor]states{
		residencyv1.TenantState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.TenantStateUnspecified), "ACTIVE": uint8(gateway.TenantActive), "SUSPENDED": uint8(gateway.TenantSuspended),
			"RELOCATING": uint8(gateway.TenantRelocating), "MOVED": uint8(gateway.TenantMoved), "ERASING": uint8(gateway.TenantErasing),
		},
		residencyv1.ErasureKind(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.ErasureKindUnspecified), "SUBJECT": uint8(gateway.ErasureOfSubject), "TENANT": uint8(gateway.ErasureOfTenant),
		},
		residencyv1.ErasureState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.ErasureStateUnspecified), "PENDING": uint8(gateway.ErasurePending),
			"SWEEPING": uint8(gateway.ErasureSweeping), "DONE": uint8(gateway.ErasureDone),
		},
		residencyv1.RecipientState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.RecipientStateUnspecified), "ACTIVE": uint8(gateway.RecipientActive), "REVOKED": uint8(gateway.RecipientRevoked),
		},
		residencyv1.LegalOrderState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.OrderStateUnspecified), "RECORDED": uint8(gateway.OrderRecorded), "APPROVED": uint8(gateway.OrderApproved),
			"REJECTED": uint8(gateway.OrderRejected), "REVOKED": uint8(gateway.OrderRevoked), "EXPIRED": uint8(gateway.OrderExpired),
		},
		residencyv1.InformalRequestState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.InformalStateUnspecified), "RECORDED": uint8(gateway.InformalRecorded),
			"GRANTED": uint8(gateway.InformalGranted), "EXPIRED": uint8(gateway.InformalExpired),
		},
		residencyv1.AbuseCaseState(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.CaseStateUnspecified), "OPEN": uint8(gateway.CaseOpen), "APPROVED": uint8(gateway.CaseApproved),
			"CLOSED": uint8(gateway.CaseClosed), "EXPIRED": uint8(gateway.CaseExpired),
		},
		residencyv1.ChangeDirection(0).Descriptor(): {
			"UNSPECIFIED": uint8(policy.DirectionUnspecified), "LOOSER": uint8(policy.Looser),
			"STRICTER": uint8(policy.Stricter), "OTHER": uint8(policy.Otherwise),
		},
		residencyv1.TransactionStage(0).Descriptor(): {
			"UNSPECIFIED": uint8(gateway.StageUnspecified), "DUE_DILIGENCE": uint8(gateway.DueDiligence), "ASSET_TRANSFER": uint8(gateway.AssetTransfer),
		},
	} {
		if d.Values().Len() != len(want) {
			t.Errorf("%s has %d values, the gateway %d", d.FullName(), d.Values().Len(), len(want))
		}
		prefix := strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
		for i := range d.Values().Len() {
			v := d.Values().Get(i)
			if n, ok := want[strings.TrimPrefix(string(v.Name()), prefix)]; !ok || int(n) != int(v.Number()) {
				t.Errorf("%s is %d, for the gateway %d", v.Name(), v.Number(), n)
			}
		}
	}
}

// Every field that is marked personal is also redacted where protos are printed.
func TestPersonalFieldsAreRedacted(t *testing.T) {
	personal := 0
	eachMessage(func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			o, ok := f.Options().(*descriptorpb.FieldOptions)
			if !ok {
				continue
			}
			if marked, _ := proto.GetExtension(o, annotationsv1.E_Personal).(bool); marked != o.GetDebugRedact() {
				t.Errorf("%s: personal %v, debug_redact %v", f.FullName(), marked, o.GetDebugRedact())
			} else if marked {
				personal++
			}
		}
	})
	if personal < 15 {
		t.Errorf("only %d personal fields were found", personal)
	}
}

// eachMessage visits every message of the API.
func eachMessage(visit func(protoreflect.MessageDescriptor)) {
	protoregistry.GlobalFiles.RangeFilesByPackage("residency.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			visit(f.Messages().Get(i))
		}
		return true
	})
}

// methodNames gives the unary RPCs that name a tenant and those that stream.
func (w *world) methodNames(t testing.TB) map[string]*method {
	out := map[string]*method{}
	for full, m := range table(t) {
		if len(m.tenant) > 0 {
			out[full] = m
		}
	}
	return out
}

// invokeTenant calls a method with a request that holds a tenant and nothing else.
func (w *world) invokeTenant(t testing.TB, conn *grpc.ClientConn, m *method, tenant string) error {
	t.Helper()
	req := dynamicpb.NewMessage(m.request)
	at := req.ProtoReflect()
	for _, f := range m.tenant[:len(m.tenant)-1] {
		at = at.Mutable(f).Message()
	}
	at.Set(m.tenant.last(), protoreflect.ValueOfString(tenant))
	if !m.streams {
		return conn.Invoke(t.Context(), m.full, req, &emptypb.Empty{})
	}
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, m.full)
	if err != nil {
		return err
	}
	if err := s.SendMsg(req); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&emptypb.Empty{})
}
