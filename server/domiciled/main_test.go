package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/server/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is what a run wrote.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a run of the program within the test.
type process struct {
	t      *testing.T
	data   string
	stop   context.CancelFunc
	done   chan error
	stdout output
	stderr output
	grpc   string
	admin  string
}

// launch runs the program on a data folder until it serves.
func launch(t *testing.T, data string, args ...string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &process{t: t, data: data, stop: stop, done: make(chan error, 1)}
	args = append([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "debug"}, args...)
	if !slices.Contains(args, "--config") {
		args = append(args, "--data", data)
	}
	go func() { p.done <- run(ctx, args, &p.stdout, &p.stderr) }()
	t.Cleanup(func() {
		if err := p.end(); err != nil {
			t.Error(err)
		}
	})
	for p.grpc == "" {
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("ended before it served: %v\n%s", err, p.stderr.String())
		case <-time.After(time.Millisecond):
		}
		for _, line := range strings.Split(p.stdout.String(), "\n") {
			word := strings.Fields(line)
			switch {
			case len(word) > 1 && word[0] == "gRPC":
				p.grpc = word[1]
			case len(word) > 1 && word[0] == "admin":
				p.admin = word[1]
			}
		}
	}
	return p
}

// end stops the program as a signal would, and gives its error. A second call gives the same.
func (p *process) end() error {
	p.stop()
	err := <-p.done
	p.done <- err
	return err
}

// as connects with one of the folder's identities.
func (p *process) as(name string) *grpc.ClientConn {
	p.t.Helper()
	file := func(name string) string { return filepath.Join(p.data, "identity", name) }
	pair, err := tls.LoadX509KeyPair(file(name+".crt"), file(name+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	ca, err := os.ReadFile(file("ca.crt"))
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conn, err := grpc.NewClient("passthrough:///"+p.grpc, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: "127.0.0.1",
	})))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (p *process) http(path string) (int, string) {
	p.t.Helper()
	resp, err := http.Get(p.admin + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const canary = "KanarienvogelX7"

func put(ctx context.Context, conn *grpc.ClientConn, tenant string) error {
	_, err := residencyv1.NewRecordServiceClient(conn).PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: tenant, Record: &residencyv1.PersonalRecord{
		RecordId: "r", SubjectId: "p", Source: residencyv1.Source_SOURCE_PROVIDED,
		Personal: &residencyv1.Personal{FullName: canary}, Purposes: []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_PAYMENTS},
	}})
	return err
}

func get(ctx context.Context, conn *grpc.ClientConn, tenant string) (string, error) {
	r, err := residencyv1.NewRecordServiceClient(conn).GetRecord(ctx, &residencyv1.GetRecordRequest{
		TenantId: tenant, SubjectId: "p", RecordId: "r", Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	return r.GetRecord().GetPersonal().GetFullName(), err
}

func register(ctx context.Context, conn *grpc.ClientConn, tenant, residence string) error {
	_, err := residencyv1.NewTenantServiceClient(conn).RegisterTenant(ctx, &residencyv1.RegisterTenantRequest{TenantId: tenant, Residence: residence})
	return err
}

// The embedded default from the first start to a second one on the same data.
func TestServeStopServe(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := launch(t, data)
	if err := errors.Join(
		register(t.Context(), p.as("admin-ch"), "acme", "CH"),
		put(t.Context(), p.as("app-ch"), "acme"),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), p.as("app-us"), "acme"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a read across the border: %v", err)
	}
	if code, body := p.http("/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := p.http("/metrics"); !strings.Contains(body, `residency_blocked_transfers_total{data_class="PERSONAL_INFORMATION",from="CH",reason="CROSS_BORDER_CONSENT_REQUIRED",to="US"} 1`) ||
		!strings.Contains(body, `residency_certificate_expiry_seconds{use="server"}`) || !strings.Contains(body, `residency_store_seconds_count{operation="update",region="ch",store="rows"}`) {
		t.Error("metrics are missing")
	}
	text, err := os.ReadFile(filepath.Join(data, "addresses.json"))
	if err != nil {
		t.Fatal(err)
	}
	var addresses map[string]string
	if err := json.Unmarshal(text, &addresses); err != nil || addresses["grpc"] != p.grpc || "http://"+addresses["admin"] != p.admin {
		t.Errorf("addresses.json: %s, %v", text, err)
	}
	for _, part := range []string{"domicile tour", "Plaintext of CH and US", data} {
		if !strings.Contains(p.stdout.String(), part) {
			t.Errorf("the banner has no %q:\n%s", part, p.stdout.String())
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "addresses.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("addresses.json after the stop: %v", err)
	}
	if log := p.stderr.String(); strings.Contains(log, canary) || !strings.Contains(log, "mixed_jurisdictions=true") || !strings.Contains(log, "access denied") {
		t.Errorf("the log:\n%s", log)
	}

	again := launch(t, data)
	if name, err := get(t.Context(), again.as("app-ch"), "acme"); err != nil || name != canary {
		t.Errorf("after a restart: %q, %v", name, err)
	}
	if err := register(t.Context(), again.as("admin-ch"), "acme", "CH"); status.Code(err) != codes.AlreadyExists {
		t.Errorf("registering again: %v", err)
	}
	if err := run(t.Context(), []string{"--data", data}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Errorf("a second gateway on the folder: %v", err)
	}
}

// Every folder of the data is its owner's only.
func TestFoldersArePrivate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := launch(t, data)
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".", "ch", "ch/rows", "ch/blobs", "us/rows", "us/blobs", "keys", "keys/ch", "keys/us", "directory", "identity"} {
		info, err := os.Stat(filepath.Join(data, d))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	for _, f := range []string{"keys/directory.key", "keys/ch/root", "keys/us/root"} {
		info, err := os.Stat(filepath.Join(data, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// A lost directory key is not replaced by another.
func TestLostDirectoryKey(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := launch(t, data).end(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(data, "keys", "directory.key")); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "restore the key") {
		t.Errorf("got %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		stdout string
		usage  string // the usage error, "" = none
	}{
		{[]string{"--version"}, version, ""},
		{[]string{"--help"}, "--print-config", ""},
		{[]string{"--help"}, "(default ./data)", ""},
		{[]string{"--config", "../config/example.yaml", "--data", "/nonexistent", "--print-config"}, "", "give one of the two"},
		{[]string{"--data=/nonexistent", "--check", "--config=../config/example.yaml"}, "", "give one of the two"},
		{[]string{"--log-level", "loud"}, "", "--log-level: want debug, info, warn or error"},
		{[]string{"--log-level", "WARN", "--check"}, "the configuration is valid", ""},
		{[]string{"--check", "--data", "/nonexistent"}, "the configuration is valid", ""},
		{[]string{"--print-config", "--data", "/nonexistent"}, "directory: pebble:/nonexistent/directory", ""},
		{[]string{"--check", "--listen", "0.0.0.0:8443"}, "", "plaintext of CH and US would exist"},
		{[]string{"--check", "--admin-listen", "0.0.0.0:9464"}, "", "must be a loopback address"},
		{[]string{"--nonsense"}, "", "unknown flag --nonsense"},
		{[]string{"--config", "/nonexistent.yaml"}, "", "/nonexistent.yaml"},
		{[]string{"--log-format", "xml"}, "", "--log-format must be one of"},
	} {
		var stdout, stderr output
		err := run(t.Context(), tt.args, &stdout, &stderr)
		if !strings.Contains(stdout.String(), tt.stdout) {
			t.Errorf("%v: printed %q", tt.args, stdout.String())
		}
		var usage *usageError
		if tt.usage == "" && err != nil || tt.usage != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), tt.usage)) {
			t.Errorf("%v: got %v, want %q", tt.args, err, tt.usage)
		}
	}
	if _, err := os.Stat("/nonexistent"); err == nil {
		t.Error("a check made a folder")
	}
}

// A data folder in the environment, where the command line finds it too, is told to be unused.
func TestDataInTheEnvironment(t *testing.T) {
	t.Setenv("DOMICILE_DATA", "/nonexistent")
	var stdout, stderr output
	if err := run(t.Context(), []string{"--config", "../config/example.yaml", "--print-config"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr.String(), "DOMICILE_DATA is not used") {
		t.Errorf("the log: %s", stderr.String())
	}
}

// Everything that a check finds is told at once: the policies of every region, and the certificates.
func TestCheckTellsEverything(t *testing.T) {
	text, err := os.ReadFile("../config/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "domicile.yaml")
	two := strings.Replace(string(text), "ch-2012-05-02.yaml", "ch-nowhere.yaml", 1)
	two = strings.Replace(two, "\ndirectory:", `
  us:
    jurisdiction: US
    controller: CloudSigma Inc
    policies: [us-nowhere.yaml]
    keys: "file:/var/lib/domicile-keys/us"
    clusters: [{name: nyc-1, location: US, owner: CloudSigma Inc, rows: "pebble:/var/lib/domicile/us/rows", blobs: "file:/var/lib/domicile/us/blobs"}]

directory:`, 1)
	two = strings.Replace(two, "0.0.0.0:8443", "127.0.0.1:8443", 1)
	if err := os.WriteFile(file, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), []string{"--check", "--config", file}, io.Discard, io.Discard)
	for _, want := range []string{"regions.ch.policies[0]", "regions.us.policies[0]", "/etc/domicile/tls/server.crt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\n%v", want, err)
		}
	}
}

// A busy port is said with the way out, and leaves nothing behind.
func TestBusyPort(t *testing.T) {
	p := launch(t, filepath.Join(t.TempDir(), "one"))
	data := filepath.Join(t.TempDir(), "two")
	err := run(t.Context(), []string{"--data", data, "--listen", p.grpc, "--admin-listen", "127.0.0.1:0"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("got %v", err)
	}
	launch(t, data) // the folder is free again
}

// A gateway that a file configures serves one region, follows the file's callers, and
// ignores a file that is wrong.
func TestConfiguredGateway(t *testing.T) {
	dir := t.TempDir()
	home, err := embedded.Open(filepath.Join(dir, "certs"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := home.Close(); err != nil {
		t.Fatal(err)
	}
	const text = `gateway: {name: zrh-1, jurisdiction: CH, listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}
tls: {certificate: certs/identity/server.crt, key: certs/identity/server.key, client_ca: certs/identity/ca.crt}
regions:
  ch:
    jurisdiction: CH
    controller: CloudSigma AG
    policies: [ch-2012-05-02.yaml]
    keys: "file:secrets/ch"
    clusters: [{name: zrh-1, location: CH, owner: CloudSigma AG, rows: "pebble:ch/rows", blobs: "file:ch/blobs"}]
directory: "pebble:directory"
directory_key: "file:secrets/directory.key"
callers:
  - {id: "spiffe://domicile.local/ch/admin-ch", jurisdiction: CH, permissions: [tenants.read, tenants.write], tenants: ["*"], party: provider}
`
	file := filepath.Join(dir, "domicile.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	var out output
	if err := run(t.Context(), []string{"--check", "--config", file}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "valid") {
		t.Fatalf("check: %v", err)
	}
	p := launch(t, filepath.Join(dir, "certs"), "--config", file)
	if _, err := os.Stat(filepath.Join(dir, "certs", "addresses.json")); err == nil {
		t.Error("a configured gateway wrote addresses.json")
	}
	if strings.Contains(p.stdout.String(), "Plaintext") {
		t.Errorf("the banner of one jurisdiction:\n%s", p.stdout.String())
	}
	admin, app := p.as("admin-ch"), p.as("app-ch")
	if err := register(t.Context(), admin, "acme", "CH"); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), app, "acme"); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("app-ch is not listed: %v", err)
	}
	added := text + `  - {id: "spiffe://domicile.local/ch/app-ch", jurisdiction: CH, permissions: [records.read, records.write], tenants: [acme], party: tenant}` + "\n"
	write(strings.Replace(added, "party: tenant", "party: nobody", 1))
	waitFor(t, func() bool {
		return strings.Contains(p.stderr.String(), "the changed configuration cannot be used")
	})
	if err := put(t.Context(), app, "acme"); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("after a wrong file: %v", err)
	}
	if err := errors.Join(func() error {
		_, err := residencyv1.NewTenantServiceClient(admin).GetTenant(t.Context(), &residencyv1.GetTenantRequest{TenantId: "acme"})
		return err
	}()); err != nil {
		t.Fatalf("the old callers are gone: %v", err)
	}
	write(added + "\n")
	waitFor(t, func() bool { return put(t.Context(), app, "acme") == nil })
}

// waitFor waits until something holds; the test's own time is the bound.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for !holds() {
		select {
		case <-t.Context().Done():
			t.Fatal("it never held")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// While it stops, the gateway is not ready, lets a stream that runs finish or cuts it, and
// takes no new calls.
func TestDrain(t *testing.T) {
	t.Setenv("DOMICILE_LIMITS_DRAIN", "300ms")
	p := launch(t, filepath.Join(t.TempDir(), "data"))
	conn := p.as("app-ch")
	if err := register(t.Context(), p.as("admin-ch"), "acme", "CH"); err != nil {
		t.Fatal(err)
	}
	drives := residencyv1.NewDriveServiceClient(conn)
	if _, err := drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	stream, err := drives.ReadDrive(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.stop() // the stream is not read on, so it has to be cut
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		t.Error("a stream of 1 GiB ended well")
	}
	if err := put(t.Context(), conn, "acme"); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the stop: %v", err)
	}
}
