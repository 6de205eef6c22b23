package rpc

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	annotationsv1 "github.com/domicile-project/domicile/proto/gen/residency/annotations/v1"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/server/config"
)

// method is what the gate knows about one RPC, read from its descriptor at start.
type method struct {
	full       string // "/residency.v1.RecordService/GetRecord"
	service    string
	name       string
	kind       string // the metrics' grpc_type
	action     residency.Action
	class      residency.DataClass
	permission config.Permission

	request protoreflect.MessageDescriptor
	tenant  fieldPath // where a request names its tenant; empty = it is about none
	purpose fieldPath // where it names its purpose; empty = it has none
	region  fieldPath // where one that is about no tenant names its region; empty = it is about none. With tenant: one of them

	streams bool // the client or the server streams
	carries bool // it streams data, for which there is room for so many at once
	changes bool // a success changes what governs or exists, and is logged

	series func() *series // what is counted of it
}

// The services that need no annotation, by their full names, and what they need.
const (
	healthService       = "grpc.health.v1.Health"                    // nothing
	reflectionService   = "grpc.reflection.v1.ServerReflection"      // any known identity
	reflectionServiceV0 = "grpc.reflection.v1alpha.ServerReflection" // any known identity
)

// methodTable reads the descriptors of every registered service. It fails,
// naming the RPC, when one that is not exempt does not say what access it is.
func methodTable(services map[string]grpc.ServiceInfo, files *protoregistry.Files) (map[string]*method, error) {
	table := map[string]*method{}
	for name := range services {
		if name == healthService || name == reflectionService || name == reflectionServiceV0 {
			continue
		}
		d, err := files.FindDescriptorByName(protoreflect.FullName(name))
		sd, ok := d.(protoreflect.ServiceDescriptor)
		if err != nil || !ok {
			return nil, fmt.Errorf("rpc: service %s has no descriptor", name)
		}
		for i := range sd.Methods().Len() {
			m, err := newMethod(sd.Methods().Get(i))
			if err != nil {
				return nil, fmt.Errorf("rpc: %s: %w", sd.Methods().Get(i).FullName(), err)
			}
			table[m.full] = m
		}
	}
	return table, nil
}

// newMethod reads one RPC's annotation and its request's roles.
func newMethod(d protoreflect.MethodDescriptor) (*method, error) {
	access, _ := proto.GetExtension(d.Options(), annotationsv1.E_Access).(*annotationsv1.Access)
	if access == nil {
		return nil, fmt.Errorf("has no access annotation")
	}
	m := &method{
		full:    fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name()),
		service: string(d.Parent().FullName()),
		name:    string(d.Name()),
		kind:    streamKind(d),
		action:  residency.Action(access.GetAction()),
		class:   residency.DataClass(access.GetDataClass()),
		request: d.Input(),
		streams: d.IsStreamingClient() || d.IsStreamingServer(),
	}
	if m.action == residency.ActionUnspecified || int(access.GetAction()) >= residency.NumActions {
		return nil, fmt.Errorf("its access annotation states no known action")
	}
	if m.class == residency.DataClassUnspecified || int(access.GetDataClass()) >= residency.NumDataClasses {
		return nil, fmt.Errorf("its access annotation states no known data class")
	}
	var err error
	if m.permission, err = config.ParseAccess(access.GetPermission()); err != nil {
		return nil, fmt.Errorf("its access annotation: %w", err)
	}
	m.carries = m.streams
	m.changes = changesState(m, access.GetPermission())
	return m, m.roles(d.Input())
}

// clientStream is the kind of a method whose caller streams and is answered once.
const clientStream = "client_stream"

func streamKind(d protoreflect.MethodDescriptor) string {
	switch {
	case d.IsStreamingClient() && d.IsStreamingServer():
		return "bidi_stream"
	case d.IsStreamingClient():
		return clientStream
	case d.IsStreamingServer():
		return "server_stream"
	}
	return "unary"
}

// changesState tells registrations, erasures and acts of governance from reads
// and from the writing of data, which is too frequent for a log. A disclosure is
// one: the tenant's data is then known elsewhere.
func changesState(m *method, permission string) bool {
	if strings.HasSuffix(permission, ".read") || m.action == residency.Inspect {
		return false
	}
	return m.action != residency.Collect || m.class == residency.AccountData
}

// roles finds the fields that name the tenant and the purpose.
func (m *method) roles(request protoreflect.MessageDescriptor) error {
	tenants := findRole(request, annotationsv1.Role_ROLE_TENANT)
	purposes := findRole(request, annotationsv1.Role_ROLE_PURPOSE)
	named := request.Fields().ByName("tenant_id") != nil
	switch {
	case len(tenants) > 1:
		return fmt.Errorf("its request %s has %d fields with ROLE_TENANT, want one", request.FullName(), len(tenants))
	case len(tenants) == 0 && (named || m.class != residency.AccountData):
		return fmt.Errorf("its request %s is about a tenant, but no field has ROLE_TENANT", request.FullName())
	case len(purposes) > 1:
		return fmt.Errorf("its request %s has %d fields with ROLE_PURPOSE, want one at most", request.FullName(), len(purposes))
	}
	if regions := findRole(request, annotationsv1.Role_ROLE_REGION); len(regions) == 1 &&
		(len(tenants) == 0 || alternatives(tenants[0], regions[0])) {
		m.region = regions[0]
	}
	if len(tenants) == 1 {
		m.tenant = tenants[0]
		if m.tenant.last().Kind() != protoreflect.StringKind {
			return fmt.Errorf("field %s with ROLE_TENANT is no string", m.tenant)
		}
	}
	if len(purposes) == 1 {
		m.purpose = purposes[0]
		if m.purpose.last().Kind() != protoreflect.EnumKind {
			return fmt.Errorf("field %s with ROLE_PURPOSE is no enumeration", m.purpose)
		}
	}
	return nil
}

// alternatives reports whether two fields of a request are of one oneof, so that it has one of them at the most.
func alternatives(a, b fieldPath) bool {
	one := a[0].ContainingOneof()
	return len(a) == 1 && len(b) == 1 && one != nil && !one.IsSynthetic() && one == b[0].ContainingOneof()
}

// namesTenant reports whether a message says which tenant it is about: any does, as far as it reaches there, but one that may be
// about a region instead, and does not name a tenant.
func (m *method) namesTenant(req protoreflect.Message) bool {
	return len(m.tenant) > 0 && m.tenant.reaches(req) && (len(m.region) == 0 || req.Has(m.tenant.last()))
}

// wholeRegion reports whether a message is about all tenants of a region, although its method is about one of them otherwise.
func (m *method) wholeRegion(req protoreflect.Message) bool {
	return len(m.tenant) > 0 && len(m.region) > 0 && !m.namesTenant(req)
}

// fieldPath leads from a request through singular messages to a field.
type fieldPath []protoreflect.FieldDescriptor

func (p fieldPath) last() protoreflect.FieldDescriptor { return p[len(p)-1] }

// String gives the path as violations name it, for example "header.tenant_id".
func (p fieldPath) String() string {
	names := make([]string, len(p))
	for i, f := range p {
		names[i] = string(f.Name())
	}
	return strings.Join(names, ".")
}

// value reads the field; the field's zero value when something on the way is unset.
func (p fieldPath) value(m protoreflect.Message) protoreflect.Value {
	for _, f := range p[:len(p)-1] {
		m = m.Get(f).Message()
	}
	return m.Get(p.last())
}

// reaches reports whether every message on the way to the field is there.
func (p fieldPath) reaches(m protoreflect.Message) bool {
	for _, f := range p[:len(p)-1] {
		if !m.Has(f) {
			return false
		}
		m = m.Get(f).Message()
	}
	return true
}

// tenantOf reads the tenant that a request names.
func (m *method) tenantOf(req proto.Message) string {
	if len(m.tenant) == 1 {
		if r, ok := req.(interface{ GetTenantId() string }); ok && m.tenant[0].Name() == "tenant_id" {
			return r.GetTenantId()
		}
	}
	return m.tenant.value(req.ProtoReflect()).String()
}

// purposeOf reads the purpose that a request names.
func (m *method) purposeOf(req proto.Message) residencyv1.Purpose {
	if len(m.purpose) == 1 {
		if r, ok := req.(interface {
			GetPurpose() residencyv1.Purpose
		}); ok && m.purpose[0].Name() == "purpose" {
			return r.GetPurpose()
		}
	}
	return residencyv1.Purpose(m.purpose.value(req.ProtoReflect()).Enum())
}

// findRole finds every field with a role, in the request and in the singular messages that
// it holds.
func findRole(d protoreflect.MessageDescriptor, role annotationsv1.Role) []fieldPath {
	return searchRole(d, role, nil, map[protoreflect.FullName]bool{})
}

func searchRole(d protoreflect.MessageDescriptor, role annotationsv1.Role, at fieldPath, seen map[protoreflect.FullName]bool) []fieldPath {
	if seen[d.FullName()] {
		return nil
	}
	seen[d.FullName()] = true
	defer delete(seen, d.FullName())
	var found []fieldPath
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		here := append(at[:len(at):len(at)], f)
		if got, _ := proto.GetExtension(f.Options(), annotationsv1.E_Role).(annotationsv1.Role); got == role {
			found = append(found, here)
		}
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			found = append(found, searchRole(f.Message(), role, here, seen)...)
		}
	}
	return found
}
