package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

func get(ctx context.Context, conn *grpc.ClientConn, tenant string, opts ...grpc.CallOption) error {
	_, err := residencyv1.NewRecordServiceClient(conn).GetRecord(ctx, getRequest(tenant), opts...)
	return err
}

func TestWhoMayCall(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	soon := time.Now().Add(time.Hour)
	foreign := newAuthority(t, "foreign")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, tt := range []struct {
		name   string
		conn   *grpc.ClientConn
		tenant string
		code   codes.Code
		reason string
		metric string
		labels prometheus.Labels
	}{
		{"no certificate", w.dial(), "acme", codes.Unavailable, "", "residency_handshakes_refused_total", prometheus.Labels{"reason": "no_certificate"}},
		{"foreign authority", w.dial(foreign.client(soon, appCH)), "acme", codes.Unavailable, "", "residency_handshakes_refused_total", prometheus.Labels{"reason": "unknown_authority"}},
		{"expired", w.dial(w.ca.client(time.Now().Add(-time.Minute), appCH)), "acme", codes.Unavailable, "", "residency_handshakes_refused_total", prometheus.Labels{"reason": "expired"}},
		{"not in the table", w.as(unknown), "acme", codes.Unauthenticated, "NO_IDENTITY", "residency_refusals_total", prometheus.Labels{"reason": "NO_IDENTITY"}},
		{"no URI", w.dial(w.ca.client(soon)), "acme", codes.Unauthenticated, "NO_IDENTITY", "residency_refusals_total", prometheus.Labels{"reason": "NO_IDENTITY"}},
		{"two URIs", w.dial(w.ca.client(soon, appCH, admCH)), "acme", codes.Unauthenticated, "NO_IDENTITY", "residency_refusals_total", prometheus.Labels{"reason": "NO_IDENTITY"}},
		{"no permission", w.as(readCH), "acme", codes.PermissionDenied, "CALLER_NOT_PERMITTED", "residency_refusals_total", prometheus.Labels{"reason": "CALLER_NOT_PERMITTED"}},
		{"tenant not listed", w.as(oneCH), "other", codes.PermissionDenied, "CALLER_NOT_PERMITTED", "residency_refusals_total", prometheus.Labels{"reason": "CALLER_NOT_PERMITTED"}},
		{"tenant listed", w.as(oneCH), "acme", codes.OK, "", "grpc_server_handled_total", prometheus.Labels{"grpc_method": "GetRecord", "grpc_code": "OK"}},
		{"any tenant", w.as(appCH), "other", codes.OK, "", "grpc_server_handled_total", prometheus.Labels{"grpc_method": "GetRecord", "grpc_code": "OK"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.counter(tt.metric, tt.labels)
			err := get(t.Context(), tt.conn, tt.tenant)
			if got := tell(err); status.Code(err) != tt.code || got.reason != tt.reason {
				t.Errorf("got %v, want %v %s", err, tt.code, tt.reason)
			}
			for w.counter(tt.metric, tt.labels) <= before { // a handshake is counted after the caller was told
				if ctx.Err() != nil {
					t.Fatalf("%s%v stayed at %v", tt.metric, tt.labels, before)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A caller learns nothing about tenants outside its list: one that exists and one that does
// not give the same bytes, on every RPC that names a tenant.
func TestUnlistedTenantsLookAlike(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	conn := w.as(oneCH)
	for name, full := range w.methodNames(t) {
		var answers [2]string
		for i, tenant := range []string{"other", "absent"} {
			err := w.invokeTenant(t, conn, full, tenant)
			if tell(err).reason != "CALLER_NOT_PERMITTED" {
				t.Errorf("%s of %s: %v", name, tenant, err)
			}
			answers[i] = wire(t, err)
		}
		if answers[0] != answers[1] {
			t.Errorf("%s tells an existing tenant from an absent one", name)
		}
	}
}

func TestReloadCertificates(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	if err := get(t.Context(), conn, "acme"); err != nil {
		t.Fatal(err)
	}
	if changed, err := w.server.ReloadCertificates(); changed || err != nil {
		t.Fatalf("nothing changed, but got %v, %v", changed, err)
	}
	next := newAuthority(t, "next")
	w.ca.files(w.dir, w.ca, next)
	if changed, err := w.server.ReloadCertificates(); !changed || err != nil {
		t.Fatalf("got %v, %v", changed, err)
	}
	if err := get(t.Context(), conn, "acme"); err != nil {
		t.Errorf("an open connection, its authority still accepted: %v", err)
	}
	if err := get(t.Context(), w.dial(next.client(time.Now().Add(time.Hour), appCH)), "acme"); err != nil {
		t.Errorf("an authority that was added: %v", err)
	}

	w.ca.files(w.dir, next)
	if changed, err := w.server.ReloadCertificates(); !changed || err != nil {
		t.Fatalf("got %v, %v", changed, err)
	}
	if err := get(t.Context(), conn, "acme"); tell(err).reason != "NO_IDENTITY" {
		t.Errorf("an open connection, its authority removed: %v", err)
	}
	if err := get(t.Context(), w.as(appCH), "acme"); status.Code(err) != codes.Unavailable {
		t.Errorf("a new connection, its authority removed: %v", err)
	}

	if err := os.WriteFile(w.tls.ClientCA, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := w.server.ReloadCertificates(); changed || err == nil {
		t.Errorf("a broken file: got %v, %v", changed, err)
	}
	if err := get(t.Context(), w.dial(next.client(time.Now().Add(time.Hour), appCH)), "acme"); err != nil {
		t.Errorf("after a broken file the old one is not in use: %v", err)
	}
	if got := w.counter("residency_reloads_total", prometheus.Labels{"what": "certificates", "result": "failed"}); got != 1 {
		t.Errorf("failed reloads: %v", got)
	}
}

// A certificate that ends while its connection is open is no identity any more, nor is one
// whose authority ends, be it before or after the authorities were read again.
func TestCertificateEndsOnAnOpenConnection(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, tt := range []struct {
		name            string
		leaf, authority time.Duration
	}{
		{"its own", time.Hour, 2 * time.Hour},
		{"its authority's", 2 * time.Hour, time.Hour},
	} {
		for _, reloaded := range []bool{false, true} {
			ca := newAuthority(t, "a")
			ca.cert, ca.key = sign(t, &x509.Certificate{
				Subject: pkix.Name{CommonName: "ending"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
				NotBefore: now.Add(-time.Hour), NotAfter: now.Add(tt.authority),
			}, nil)
			dir := t.TempDir()
			creds, err := NewCredentials(ca.files(dir, ca), nil)
			if err != nil {
				t.Fatal(err)
			}
			leaf := ca.client(now.Add(tt.leaf), appCH).Leaf
			c := creds.connection(creds.current.Load(), tls.ConnectionState{
				PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, ca.cert}},
			})
			if reloaded {
				ca.files(dir, ca, newAuthority(t, "another"))
				if changed, err := creds.Reload(); !changed || err != nil {
					t.Fatalf("reload: %v, %v", changed, err)
				}
				c.Identity(now) // looked at under the new authorities
			}
			end := now.Add(time.Hour)
			if got := c.Identity(end); got != appCH {
				t.Errorf("%s end, reloaded %v, at it: %q", tt.name, reloaded, got)
			}
			if got := c.Identity(end.Add(time.Second)); got != "" {
				t.Errorf("%s end, reloaded %v, after it: %q", tt.name, reloaded, got)
			}
		}
	}
}

// A key that others can read is not served with, be it at the start or later.
func TestKeyOpenToOthers(t *testing.T) {
	ca := newAuthority(t, "a")
	files := ca.files(t.TempDir(), ca)
	creds, err := NewCredentials(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(files.Key, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := NewCredentials(files, nil); err == nil || !strings.Contains(err.Error(), files.Key) || !strings.Contains(err.Error(), "make it 0600") {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if err := os.Chtimes(files.Key, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if changed, err := creds.Reload(); changed || err == nil {
		t.Errorf("reloaded: %v, %v", changed, err)
	}
}

func TestCallersAreReplaced(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	less := testCallers(t)
	delete(less, appCH)
	w.server.ReplaceCallers(less, nil)
	if err := get(t.Context(), conn, "acme"); tell(err).reason != "NO_IDENTITY" {
		t.Errorf("after its entry was removed: %v", err)
	}
	w.server.ReplaceCallers(nil, io.ErrUnexpectedEOF)
	if err := get(t.Context(), conn, "acme"); tell(err).reason != "NO_IDENTITY" {
		t.Errorf("after a table that could not be read: %v", err)
	}
	w.server.ReplaceCallers(testCallers(t), nil)
	if err := get(t.Context(), conn, "acme"); err != nil {
		t.Errorf("after its entry came back: %v", err)
	}
}

func TestReflectionNeedsAKnownIdentity(t *testing.T) {
	w := newWorld(t)
	list := func(conn *grpc.ClientConn) (int, error) {
		s, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			return 0, err
		}
		err = s.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
		if err != nil && !errors.Is(err, io.EOF) { // EOF: it has ended, and Recv says why
			return 0, err
		}
		r, err := s.Recv()
		return len(r.GetListServicesResponse().GetService()), err
	}
	if n, err := list(w.as(readCH)); err != nil || n < 8 {
		t.Errorf("a known identity: %d services, %v", n, err)
	}
	if _, err := list(w.as(unknown)); tell(err).reason != "NO_IDENTITY" {
		t.Errorf("an unknown identity: %v", err)
	}
	off := newWorld(t, func(o *Options) { o.Reflection = false })
	if _, err := list(off.as(admCH)); status.Code(err) != codes.Unimplemented {
		t.Errorf("where it is not configured: %v", err)
	}
}

func TestHealthNeedsNoIdentity(t *testing.T) {
	w := newWorld(t)
	health := healthv1.NewHealthClient(w.as(unknown))
	for _, service := range []string{"", "residency.v1.RecordService"} {
		for _, serving := range []bool{true, false} {
			w.server.SetServing(serving)
			r, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || (r.GetStatus() == healthv1.HealthCheckResponse_SERVING) != serving {
				t.Errorf("%q, serving %v: %v, %v", service, serving, r, err)
			}
		}
	}
}

// The decision's identifier is in the trailer of every decided call, allowed or denied, and nowhere
// before a decision.
func TestDecisionTrailer(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, tt := range []struct {
		name, id, tenant string
		decided          bool
	}{
		{"allowed", appCH, "acme", true},
		{"denied", appUS, "acme", true},
		{"absent tenant, abroad", appUS, "absent", true},
		{"refused by the gate", readCH, "acme", false},
	} {
		var trailer metadata.MD
		err := get(t.Context(), w.as(tt.id), tt.tenant, grpc.Trailer(&trailer))
		ids := trailer.Get(decisionTrailer)
		if tt.decided != (len(ids) == 1 && len(ids[0]) == 36) {
			t.Errorf("%s: trailer %v (%v)", tt.name, ids, err)
		}
		if err != nil && tt.decided && tell(err).info.GetMetadata()["decision_id"] != ids[0] {
			t.Errorf("%s: the detail has %q, the trailer %q", tt.name, tell(err).info.GetMetadata()["decision_id"], ids[0])
		}
	}
}

func TestRefusalAcrossTheBorder(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	err := get(t.Context(), w.as(appUS), "acme")
	got := tell(err)
	if got.code != "PermissionDenied" || got.reason != "CROSS_BORDER_CONSENT_REQUIRED" {
		t.Fatalf("got %v", err)
	}
	meta := got.info.GetMetadata()
	for key, want := range map[string]string{"from": "CH", "to": "US", "data_class": "PERSONAL_INFORMATION", "clause": "product/border"} {
		if meta[key] != want {
			t.Errorf("metadata %s: got %q, want %q", key, meta[key], want)
		}
	}
	if !strings.Contains(meta["missing"], "consent") {
		t.Errorf("metadata missing: %q", meta["missing"])
	}
	v := got.precondition.GetViolations()
	if len(v) != 1 || v[0].GetType() != "CONSENT" || v[0].GetSubject() != "BORDER_CROSSING PERSONAL_INFORMATION PAYMENTS CH → US" {
		t.Errorf("precondition: %v", v)
	}
	if absent := get(t.Context(), w.as(appUS), "absent"); !strings.Contains(wire(t, absent), "CROSS_BORDER_CONSENT_REQUIRED") {
		t.Errorf("an absent tenant: %v", absent)
	}
	log := w.log.String()
	if !strings.Contains(log, "access denied") || !strings.Contains(log, "decision="+meta["decision_id"]) || !strings.Contains(log, "reason=CROSS_BORDER_CONSENT_REQUIRED") {
		t.Errorf("the log does not tell of the refusal:\n%s", log)
	}
	if strings.Contains(log, canary) {
		t.Errorf("the log holds a personal value")
	}
}

// A stream ends at its next message once its caller's entry is gone or says
// another jurisdiction; an entry that says the same changes nothing.
func TestStreamsFollowTheCallerTable(t *testing.T) {
	step := make(chan func())
	o := &odd{readDrive: func(_ context.Context, send func([]byte) error) error {
		for change := range step {
			change()
			if err := send([]byte("x")); err != nil {
				return err
			}
		}
		return nil
	}}
	w := newWorld(t, o.use())
	read, err := residencyv1.NewDriveServiceClient(w.as(appCH)).ReadDrive(t.Context(), readRequest())
	if err != nil {
		t.Fatal(err)
	}
	step <- func() { w.server.ReplaceCallers(testCallers(t), nil) }
	if _, err := read.Recv(); err != nil {
		t.Fatalf("after the same table came anew: %v", err)
	}
	moved := testCallers(t)
	entry := *moved[appCH]
	entry.Jurisdiction = residency.Jurisdiction{'U', 'S'}
	moved[appCH] = &entry
	step <- func() { w.server.ReplaceCallers(moved, nil) }
	if _, err := read.Recv(); tell(err).reason != "CALLER_NOT_PERMITTED" {
		t.Errorf("after the caller moved to another jurisdiction: %v", err)
	}
}
