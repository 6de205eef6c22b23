package rpc

import (
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

func ofTenant(id string) *residencyv1.ReadEntriesRequest {
	return &residencyv1.ReadEntriesRequest{Log: &residencyv1.ReadEntriesRequest_TenantId{TenantId: id}}
}

func ofRegion(name string) *residencyv1.ReadEntriesRequest {
	return &residencyv1.ReadEntriesRequest{Log: &residencyv1.ReadEntriesRequest_Region{Region: name}}
}

// readEntriesOf reads one page, and holds its messages to the bound.
func readEntriesOf(t *testing.T, conn *grpc.ClientConn, req *residencyv1.ReadEntriesRequest) (list []*residencyv1.AuditEntry, next string, err error) {
	t.Helper()
	stream, err := residencyv1.NewAuditServiceClient(conn).ReadEntries(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return list, next, nil
		}
		if err != nil {
			return list, next, err
		}
		if size := proto.Size(m); size > 256<<10 {
			t.Errorf("a message has %d bytes", size)
		}
		list, next = append(list, m.GetEntries()...), m.GetNextPageToken()
	}
}

// Who may not see a tenant learns nothing from how the tenant is refused, nor by leaving it out.
func TestEntriesAreRefusedAlike(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	one, all, abroad := w.as(oneCH), w.as(appCH), w.as(appUS)
	for _, c := range []struct {
		name string
		conn *grpc.ClientConn
		req  *residencyv1.ReadEntriesRequest
		want string
	}{
		{"its own", one, ofTenant("acme"), ""},
		{"another's", one, ofTenant("other"), "CALLER_NOT_PERMITTED"},
		{"an absent one's", one, ofTenant("nobody"), "CALLER_NOT_PERMITTED"},
		{"an empty name's", one, ofTenant(""), "CALLER_NOT_PERMITTED"},
		{"a region's", one, ofRegion("ch"), "CALLER_NOT_PERMITTED"},
		{"an absent region's", one, ofRegion("at"), "CALLER_NOT_PERMITTED"},
		{"nothing's", one, &residencyv1.ReadEntriesRequest{}, "CALLER_NOT_PERMITTED"},
		{"a region's, by who sees all", all, ofRegion("ch"), ""},
		{"nothing's, by who sees all", all, &residencyv1.ReadEntriesRequest{}, "BAD_REQUEST"},
		{"an empty name's, by who sees all", all, ofTenant(""), "BAD_REQUEST"},
		{"one from abroad", abroad, ofTenant("acme"), "CROSS_BORDER_CONSENT_REQUIRED"},
		{"an absent one from abroad", abroad, ofTenant("nobody"), "CROSS_BORDER_CONSENT_REQUIRED"},
		{"a region's from abroad", abroad, ofRegion("ch"), "CROSS_BORDER_CONSENT_REQUIRED"},
		{"without the permission", w.as(readCH), ofRegion("ch"), "CALLER_NOT_PERMITTED"},
	} {
		list, _, err := readEntriesOf(t, c.conn, c.req)
		if got := tell(err).reason; got != c.want || c.want != "" && len(list) > 0 {
			t.Errorf("%s entries: %q (%v), %d entries; want %q", c.name, got, err, len(list), c.want)
		}
	}
	for name, change := range map[string]func(*residencyv1.ReadEntriesRequest){
		"an unknown reason":      func(r *residencyv1.ReadEntriesRequest) { r.Reason = "NO_SUCH_REASON" },
		"no reason":              func(r *residencyv1.ReadEntriesRequest) { r.Reason = "OK" },
		"an unassigned code":     func(r *residencyv1.ReadEntriesRequest) { r.ToJurisdiction = "XX" },
		"a tenant and a cluster": func(r *residencyv1.ReadEntriesRequest) { r.Cluster = "ch-1" },
		"too large a page":       func(r *residencyv1.ReadEntriesRequest) { r.PageSize = 10_001 },
		"an end before its start": func(r *residencyv1.ReadEntriesRequest) {
			r.StartTime, r.EndTime = timestamppb.Now(), timestamppb.New(time.Now().Add(-time.Hour))
		},
	} {
		req := ofTenant("acme")
		change(req)
		if _, _, err := readEntriesOf(t, all, req); tell(err).reason != "BAD_REQUEST" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Pages and messages together give what is there, each entry once.
func TestEntriesArriveWhole(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	records := residencyv1.NewRecordServiceClient(conn)
	const calls = 700
	for range calls {
		if _, err := records.PutRecord(t.Context(), putRequest("acme")); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int32{0, 300, 10_000} {
		seen := map[int64]bool{}
		for req := ofTenant("acme"); ; {
			req.PageSize = size
			list, next, err := readEntriesOf(t, conn, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if seen[e.GetPlace()] {
					t.Errorf("place %d came twice", e.GetPlace())
				}
				seen[e.GetPlace()] = true
			}
			if req.PageToken = next; next == "" {
				break
			}
		}
		if len(seen) < calls {
			t.Errorf("pages of %d: %d entries, want %d at the least", size, len(seen), calls)
		}
	}
	list, _, err := readEntriesOf(t, conn, &residencyv1.ReadEntriesRequest{
		Log: &residencyv1.ReadEntriesRequest_Region{Region: "ch"}, Cluster: "ch-1", Action: residencyv1.Action_ACTION_COLLECT,
		DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, Caller: appCH, PageSize: 10_000,
	})
	if err != nil || len(list) != calls+1 { // one by the tenant's making
		t.Errorf("%d writes of records are found (%v), want %d", len(list), err, calls+1)
	}
}

// Nothing of an entry is left out of its message.
func TestEntryHasEveryField(t *testing.T) {
	e := gateway.LogEntry{Via: []residency.Jurisdiction{{'U', 'S'}}, Missing: 1, Allow: true, Consents: []string{"c"}}
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case !f.IsZero():
		case f.Kind() == reflect.String:
			f.SetString("text")
		case f.CanUint():
			f.SetUint(1)
		case f.Type() == reflect.TypeFor[[]byte]():
			f.SetBytes([]byte{1})
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(time.Unix(1, 1)))
		case f.Type() == reflect.TypeFor[residency.Jurisdiction]():
			f.Set(reflect.ValueOf(residency.Jurisdiction{'C', 'H'}))
		default:
			t.Fatalf("the field %s is of a kind that the test does not know", v.Type().Field(i).Name)
		}
	}
	m := entryProto(&e).ProtoReflect()
	if m.Descriptor().Fields().Len() != v.NumField() {
		t.Errorf("a message has %d fields, an entry %d", m.Descriptor().Fields().Len(), v.NumField())
	}
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); !m.Has(f) {
			t.Errorf("%s is empty", f.Name())
		}
	}
	full := m.Interface()
	for i := range v.NumField() {
		without := e
		reflect.ValueOf(&without).Elem().Field(i).SetZero()
		if proto.Equal(entryProto(&without), full) {
			t.Errorf("the field %s is in no field of the message", v.Type().Field(i).Name)
		}
	}
}

// Where a request may leave its tenant out, the descriptors say so: tenant and region are of one oneof.
func TestOnlyAlternativesLeaveTheTenantOut(t *testing.T) {
	for name, m := range table(t) {
		both := len(m.tenant) > 0 && len(m.region) > 0
		if want := name == residencyv1.AuditService_ReadEntries_FullMethodName; both != want {
			t.Errorf("%s may leave its tenant out: %v", name, both)
		}
	}
	m := table(t)[residencyv1.AuditService_ReadEntries_FullMethodName]
	for name, c := range map[string]struct {
		req   *residencyv1.ReadEntriesRequest
		names bool
	}{
		"tenant": {ofTenant("acme"), true}, "empty tenant": {ofTenant(""), true}, "region": {ofRegion("ch"), false}, "nothing": {&residencyv1.ReadEntriesRequest{}, false},
	} {
		if r := c.req.ProtoReflect(); m.namesTenant(r) != c.names || m.wholeRegion(r) == c.names {
			t.Errorf("%s: names a tenant %v, a whole region %v", name, m.namesTenant(r), m.wholeRegion(r))
		}
	}
}
