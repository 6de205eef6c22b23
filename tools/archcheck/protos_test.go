// Package archcheck knows what every proto of this repository promises: that
// each method says which access it is, that nothing personal can be printed by
// accident, and that whatever a caller can send has a bound.
package archcheck

import (
	"slices"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	annotationsv1 "github.com/domicile-project/domicile/proto/gen/residency/annotations/v1"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// files gives the protos that the gateway serves.
func files() []protoreflect.FileDescriptor {
	var out []protoreflect.FileDescriptor
	pkg := residencyv1.File_residency_v1_types_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
		out = append(out, f)
		return true
	})
	return out
}

// permissions are all that a caller can be given.
var permissions = []string{
	"tenants.read", "tenants.write", "tenants.erase", "records.read", "records.write", "records.erase", "records.restrict",
	"drives.read", "drives.write", "drives.inspect", "consents.read", "consents.write", "consents.withdraw",
	"transfers.read", "transfers.write", "disclosures.read", "disclosures.write", "recipients.read", "recipients.write",
	"orders.read", "orders.write", "orders.approve", "cases.read", "cases.write", "cases.approve",
	"policies.read", "audit.read", "usage.read", "gateway.read",
}

func methods(yield func(protoreflect.MethodDescriptor) bool) {
	for _, f := range files() {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if !yield(s.Methods().Get(j)) {
					return
				}
			}
		}
	}
}

// fields walks every field of every message, those of nested messages included.
func fields(yield func(protoreflect.FieldDescriptor) bool) {
	for _, f := range files() {
		if !fieldsOf(f.Messages(), yield) {
			return
		}
	}
}

func fieldsOf(ms protoreflect.MessageDescriptors, yield func(protoreflect.FieldDescriptor) bool) bool {
	for i := range ms.Len() {
		m := ms.Get(i)
		if m.IsMapEntry() {
			continue
		}
		for j := range m.Fields().Len() {
			if !yield(m.Fields().Get(j)) {
				return false
			}
		}
		if !fieldsOf(m.Messages(), yield) {
			return false
		}
	}
	return true
}

func accessOf(m protoreflect.MethodDescriptor) *annotationsv1.Access {
	a, _ := proto.GetExtension(m.Options(), annotationsv1.E_Access).(*annotationsv1.Access)
	return a
}

func roleOf(f protoreflect.FieldDescriptor) annotationsv1.Role {
	r, _ := proto.GetExtension(f.Options(), annotationsv1.E_Role).(annotationsv1.Role)
	return r
}

func isPersonal(f protoreflect.FieldDescriptor) bool {
	p, _ := proto.GetExtension(f.Options(), annotationsv1.E_Personal).(bool)
	return p
}

func rulesOf(f protoreflect.FieldDescriptor) *validate.FieldRules {
	r, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	return r
}

func TestEveryMethodSaysWhichAccessItIs(t *testing.T) {
	n := 0
	for m := range methods {
		n++
		a := accessOf(m)
		switch {
		case a == nil:
			t.Errorf("%s has no access annotation", m.FullName())
		case a.GetAction() == annotationsv1.Action_ACTION_UNSPECIFIED:
			t.Errorf("%s states no action", m.FullName())
		case a.GetDataClass() == annotationsv1.DataClass_DATA_CLASS_UNSPECIFIED:
			t.Errorf("%s states no data class", m.FullName())
		case m.Parent().FullName() == peerService: // the gateways' own: no caller can be given it
			if a.GetPermission() != "gateway.forward" {
				t.Errorf("%s needs the permission %q, want the gateways' own", m.FullName(), a.GetPermission())
			}
		case !slices.Contains(permissions, a.GetPermission()):
			t.Errorf("%s needs the permission %q, which nobody can be given", m.FullName(), a.GetPermission())
		}
	}
	if n == 0 {
		t.Fatal("no method found")
	}
	t.Logf("%d methods", n)
}

// Every client repeats calls by what the protos say: what has a request_id is idempotent under it, what has none and is read under a permission
// that lets nothing be changed has no side effects, and a disclosure, of which each call is one, is never repeated.
func TestEveryMethodSaysWhetherItMayBeRepeated(t *testing.T) {
	seen := map[descriptorpb.MethodOptions_IdempotencyLevel]int{}
	for m := range methods {
		if m.Parent().Name() == "PeerService" { // between gateways, which repeat by other rules
			continue
		}
		level := m.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
		seen[level]++
		if want := levelOf(m); level != want {
			t.Errorf("%s: its idempotency_level is %v, want %v", m.FullName(), level, want)
		}
	}
	if seen[descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN] != 1 {
		t.Errorf("%d methods may never be repeated, want one, Disclose", seen[descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN])
	}
}

func levelOf(m protoreflect.MethodDescriptor) descriptorpb.MethodOptions_IdempotencyLevel {
	hasID := m.Input().Fields().ByName("request_id") != nil
	if header := m.Input().Fields().ByName("header"); header != nil { // of a stream
		hasID = header.Message().Fields().ByName("request_id") != nil
	}
	access := proto.GetExtension(m.Options(), annotationsv1.E_Access).(*annotationsv1.Access)
	permission := access.GetPermission()
	switch {
	case hasID:
		return descriptorpb.MethodOptions_IDEMPOTENT
	case strings.HasSuffix(permission, ".read") || permission == "drives.inspect":
		return descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	}
	return descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

const peerService = "residency.v1.PeerService"

// unscoped are the services whose requests name no tenant, and the methods that are about a whole region.
var (
	unscoped = []protoreflect.FullName{"residency.v1.PolicyService", "residency.v1.GatewayService", peerService}
	regional = []protoreflect.Name{"ListTenants", "GetCheckpoint", "ExportLog"}
)

func TestEveryTenantScopedRequestNamesOneTenant(t *testing.T) {
	for m := range methods {
		if slices.Contains(unscoped, m.Parent().FullName()) || slices.Contains(regional, m.Name()) {
			continue
		}
		if got := withRole(m.Input(), annotationsv1.Role_ROLE_TENANT); len(got) != 1 {
			t.Errorf("%s: %d fields have ROLE_TENANT, want 1", m.Input().FullName(), len(got))
		}
	}
}

func TestEveryUseNamesItsPurpose(t *testing.T) {
	for m := range methods {
		a := accessOf(m)
		account := a.GetDataClass() == annotationsv1.DataClass_DATA_CLASS_ACCOUNT_DATA
		switch a.GetAction() {
		case annotationsv1.Action_ACTION_USE, annotationsv1.Action_ACTION_TRANSFER, annotationsv1.Action_ACTION_DISCLOSE:
		default:
			account = true // no purpose is asked of it
		}
		if got := withRole(m.Input(), annotationsv1.Role_ROLE_PURPOSE); !account && len(got) != 1 {
			t.Errorf("%s: %d fields have ROLE_PURPOSE, want 1", m.Input().FullName(), len(got))
		}
	}
}

// withRole finds the fields of a message, and of those in it, that have a role.
func withRole(m protoreflect.MessageDescriptor, role annotationsv1.Role) []protoreflect.FieldDescriptor {
	var out []protoreflect.FieldDescriptor
	reachable(m, map[protoreflect.FullName]bool{}, func(f protoreflect.FieldDescriptor) {
		if roleOf(f) == role {
			out = append(out, f)
		}
	})
	return out
}

// reachable visits every field that a message can carry, once.
func reachable(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, visit func(protoreflect.FieldDescriptor)) {
	if seen[m.FullName()] || m.ParentFile().Package() == "google.protobuf" {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		visit(f)
		if f.Message() != nil && !f.IsMap() {
			reachable(f.Message(), seen, visit)
		}
	}
}

func TestPersonalFieldsAreRedacted(t *testing.T) {
	n := 0
	for f := range fields {
		options, _ := f.Options().(*descriptorpb.FieldOptions)
		redacted := options.GetDebugRedact()
		switch {
		case isPersonal(f) && !redacted:
			t.Errorf("%s is personal without debug_redact", f.FullName())
		case redacted && !isPersonal(f):
			t.Errorf("%s has debug_redact and is not personal", f.FullName())
		case isPersonal(f):
			n++
		}
	}
	if n == 0 {
		t.Fatal("no personal field found")
	}
	t.Logf("%d personal fields", n)
}

// impersonal are the names of text and byte fields that hold nothing about a
// person: identifiers (pseudonyms, by their comments), closed vocabularies, and what the gateway
// itself or its operator says. A new field is personal until it is put here.
var impersonal = []string{
	"tenant_id", "subject_id", "record_id", "drive_id", "consent_id", "order_id", "decision_id", "request_id", "clause_id",
	"recipient_id", "notice_id", "objection_id", "informal_request_id", "case_id", "disclosure_id", "erasure_id", "snapshot_id",
	"subject_ids", "drive_ids", "consent_ids", "confirm_tenant_id", "parental_consent_id",
	"name", "supersedes", "recipients", "notice_language", "notice_digest",
	"region", "home_region", "to_region", "from_jurisdiction", "to_jurisdiction", "jurisdiction",
	"policy_version", "policy_digest", "version", "digest", "controller", "clause", "reason", "missing", "explanation",
	"title", "remedy", "page_token", "next_page_token", "caller", "approver", "recorder", "opener", "method", "result", "end", "file",
}

// impersonalHere are fields that a name alone does not settle.
var impersonalHere = []protoreflect.FullName{
	"residency.v1.Tenant.residence",                // a company's
	"residency.v1.RegisterTenantRequest.residence", // likewise
	"residency.v1.UpdateTenantRequest.residence",   // likewise
	"residency.v1.GetConsentReceiptResponse.media_type",

	// What policy files say, which name nobody.
	"residency.v1.ComparePoliciesRequest.from_version", "residency.v1.ComparePoliciesRequest.to_version",
	"residency.v1.ComparePoliciesRequest.candidate", "residency.v1.ComparePoliciesResponse.from_version",
	"residency.v1.ComparePoliciesResponse.to_version", "residency.v1.ComparePoliciesResponse.summary",
	"residency.v1.PolicyChange.accesses", "residency.v1.PolicyChange.before", "residency.v1.PolicyChange.after",
	"residency.v1.VoidedConsents.to",

	// What audit entries hold, which name tenants and people by pseudonyms, and their log.
	"residency.v1.GetReceiptResponse.receipt", "residency.v1.ExportLogResponse.path", "residency.v1.ExportLogResponse.data",
	"residency.v1.GetCheckpointRequest.cluster", "residency.v1.GetCheckpointResponse.cluster", "residency.v1.ExportLogRequest.cluster",
	"residency.v1.GetUsageResponse.cluster",
	"residency.v1.ReadEntriesRequest.cluster", "residency.v1.AuditEntry.gateway", "residency.v1.AuditEntry.tenant_pseudonym",
	"residency.v1.AuditEntry.subject_pseudonym", "residency.v1.AuditEntry.object_pseudonym", "residency.v1.AuditEntry.recipient_pseudonym",
	"residency.v1.AuditEntry.further_consent_ids", "residency.v1.AuditEntry.via_jurisdictions",
	"residency.v1.GetCheckpointResponse.checkpoint", "residency.v1.GetCheckpointResponse.verifier_key",

	// What gateways ask one another: pseudonyms and decisions.
	"residency.v1.LocateTenantRequest.pseudonym", "residency.v1.ReserveTenantRequest.pseudonym", "residency.v1.ExtendLeasesRequest.decision_ids",
	"residency.v1.CosignCheckpointRequest.witness_region", "residency.v1.CosignCheckpointRequest.verifier_key",
	"residency.v1.CosignCheckpointRequest.consistency_proof", "residency.v1.CosignCheckpointRequest.checkpoint",
	"residency.v1.CosignCheckpointResponse.cosignature", "residency.v1.CosignCheckpointResponse.witness_keys",
}

// personalHere are personal although the name is in the list above.
var personalHere = []protoreflect.FullName{"residency.v1.Evidence.method"}

func TestEveryTextIsPersonalUnlessListed(t *testing.T) {
	for f := range fields {
		text := f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind || f.IsMap()
		listed := slices.Contains(impersonal, string(f.Name())) && !slices.Contains(personalHere, f.FullName()) ||
			slices.Contains(impersonalHere, f.FullName())
		if text && !listed && !isPersonal(f) {
			t.Errorf("%s can hold personal information: mark it personal and debug_redact, or list it as impersonal with a reason", f.FullName())
		}
	}
}

// What is not text can be personal too.
func TestPersonalMessagesAreMarked(t *testing.T) {
	for _, name := range []protoreflect.Name{"personal", "birth_date"} {
		f := residencyv1.File_residency_v1_record_service_proto.Messages().ByName("PersonalRecord").Fields().ByName(name)
		if f == nil || !isPersonal(f) {
			t.Errorf("PersonalRecord.%s is not marked personal", name)
		}
	}
}

// setByGateway are fields of request messages that callers cannot set: what they
// send there is ignored.
var setByGateway = []string{"collect_time", "grant_time", "withdraw_time"}

func TestEverythingACallerSendsHasABound(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	n := 0
	for m := range methods {
		reachable(m.Input(), seen, func(f protoreflect.FieldDescriptor) {
			n++
			if why := unbounded(f); why != "" && !slices.Contains(setByGateway, string(f.Name())) {
				t.Errorf("%s: %s", f.FullName(), why)
			}
		})
	}
	t.Logf("%d request fields", n)
}

// unbounded says what rule a field lacks; "" = none.
func unbounded(f protoreflect.FieldDescriptor) string {
	r := rulesOf(f)
	switch {
	case f.IsMap():
		if m := r.GetMap(); m.MaxPairs == nil || m.GetKeys() == nil || m.GetValues() == nil {
			return "a map without max_pairs and bounds of its keys and values"
		}
		return ""
	case f.IsList():
		if r.GetRepeated() == nil || r.GetRepeated().MaxItems == nil {
			return "a list without max_items"
		}
		r = r.GetRepeated().GetItems()
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return unboundedString(r.GetString())
	case protoreflect.BytesKind:
		if b := r.GetBytes(); b == nil || b.MaxLen == nil && b.Len == nil {
			return "bytes without len or max_len"
		}
	case protoreflect.EnumKind:
		if !r.GetEnum().GetDefinedOnly() && len(r.GetEnum().GetIn()) == 0 {
			return "an enumeration that takes unknown values"
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		if f.ContainingMessage().Name() == "Date" {
			return "" // a date is checked as a whole
		}
		if r.GetInt32().GetGreaterThan() == nil && r.GetInt64().GetGreaterThan() == nil {
			return "a number without a lower bound"
		}
	}
	return ""
}

func unboundedString(r *validate.StringRules) string {
	switch {
	case r == nil:
		return "text without any rule"
	case r.MaxLen != nil || r.MaxBytes != nil || r.GetUuid():
	case strings.HasPrefix(r.GetPattern(), "^") && strings.HasSuffix(r.GetPattern(), "$"):
	default:
		return "text without max_len, max_bytes, uuid or an anchored pattern"
	}
	return ""
}
