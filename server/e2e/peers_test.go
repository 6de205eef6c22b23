package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// twoRegions is a production layout in small: each region has a PostgreSQL, an S3 server, a directory and two
// gateways of its own, which are the other region's peers.
type twoRegions struct {
	t        testing.TB
	dir      string
	name     string            // of its schemas and prefixes
	identity string            // the folder of the shared daemon's identities
	address  map[string]string // by gateway
	gateways map[string]*daemon
}

// gatewaysOf lists the gateways of a region.
func gatewaysOf(region string) []string { return []string{region + "-1", region + "-2"} }

func newTwoRegions(t testing.TB) *twoRegions {
	t.Helper()
	if err := running.start(); errors.Is(err, storetest.ErrNoTool) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	w := &twoRegions{
		t: t, dir: t.TempDir(), name: "p" + randomID(), identity: filepath.Join(gateway(t).data, "identity"),
		address: make(map[string]string), gateways: make(map[string]*daemon),
	}
	for _, region := range regions {
		w.certificate(region)
		for _, g := range gatewaysOf(region) {
			w.address[g] = freeAddress(t)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "directory.key"), bytes.Repeat([]byte{9}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, region := range regions {
		for n, g := range gatewaysOf(region) {
			w.configure(region, g)
			if n == 0 {
				if out, err := domiciled("migrate", "--config", w.file(g)); err != nil {
					t.Fatalf("migrate: %v\n%s", err, out)
				}
			}
			w.start(g)
		}
	}
	for _, g := range w.gateways {
		w.awaitPeer(g)
	}
	return w
}

func freeAddress(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// certificate makes what the gateways of a region prove themselves with, called and calling.
func (w *twoRegions) certificate(region string) {
	w.t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(w.identity, "ca.crt"), filepath.Join(w.identity, "ca.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	id, _ := url.Parse(gatewayIdentity(region))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{id},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey.(crypto.Signer))
	if err != nil {
		w.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(w.dir, region+name), pem.EncodeToMemory(block), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func gatewayIdentity(region string) string { return "spiffe://domicile.local/gateway-" + region }

func (w *twoRegions) file(g string) string { return filepath.Join(w.dir, g+".yaml") }

// configure writes a gateway's configuration. The callers are those of the embedded default.
func (w *twoRegions) configure(region, g string) {
	w.t.Helper()
	other := map[string]string{"ch": "us", "us": "ch"}[region]
	tables, objects := running.postgres[region], running.s3[region]
	secrets := filepath.Join(w.dir, "credentials-"+region)
	secret := "[default]\naws_access_key_id = " + objects.AccessKey + "\naws_secret_access_key = " + objects.SecretKey + "\n"
	if err := os.WriteFile(secrets, []byte(secret), 0o600); err != nil {
		w.t.Fatal(err)
	}
	text := printed(w.t, w.dir)
	callers := text[strings.Index(text, "\ncallers:"):]
	policies := map[string]string{"ch": "ch-2012-05-02.yaml", "us": "us-2011-10-07.yaml"}
	controllers := map[string]string{"ch": "CloudSigma AG", "us": "CloudSigma Inc"}
	here, there := strings.ToUpper(region), strings.ToUpper(other)
	own := gatewaysOf(region)
	peers := w.address[gatewaysOf(other)[0]] + "," + w.address[gatewaysOf(other)[1]]
	text = fmt.Sprintf(`gateway: {name: %s, jurisdiction: %s, listen: "%s", admin_listen: "127.0.0.1:0"}
tls: {certificate: %s.crt, key: %s.key, client_ca: %s}
regions:
  %s:
    jurisdiction: %s
    controller: %s
    endpoint: "%s"
    policies: [%s]
    keys: "file:%s"
    key_store: "%s"
    clusters:
      - {name: %s-1, location: %s, owner: %s, rows: "%s", blobs: "%s"}
  %s:
    jurisdiction: %s
    controller: %s
    policies: [%s]
    peer: {address: "%s", identity: "%s", attests: ["spiffe://domicile.local/ch/*", "spiffe://domicile.local/us/*"]}
directory: "%s"
directory_key: "file:%s"
`,
		g, here, w.address[g], filepath.Join(w.dir, region), filepath.Join(w.dir, region), filepath.Join(w.identity, "ca.crt"),
		region, here, controllers[region], w.address[own[0]], policies[region], filepath.Join(w.dir, "keys", region), database(tables, "keys", w.name),
		region, here, controllers[region], database(tables, "domicile", w.name),
		fmt.Sprintf("s3://%s/%s/%s?tls=off&region=%s&credentials=%s", objects.Endpoint, objects.Bucket, w.name, region, secrets),
		other, there, controllers[other], policies[other], peers, gatewayIdentity(other),
		database(tables, "domicile", w.name+"_directory"), filepath.Join(w.dir, "directory.key")) + callers[1:]
	if err := os.WriteFile(w.file(g), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start starts a gateway, and stops it with the test.
func (w *twoRegions) start(g string) {
	w.t.Helper()
	d := &daemon{data: gateway(w.t).data, args: []string{"--config", w.file(g), "--listen", w.address[g], "--log-level", "debug"}, config: g}
	if err := d.launch(); err != nil {
		w.t.Fatal(err)
	}
	d.stopWith(w.t)
	w.gateways[g] = d
}

// awaitPeer waits until a gateway says that the other region can be reached.
func (w *twoRegions) awaitPeer(d *daemon) {
	w.t.Helper()
	c := d.dialOnce(w.t, "sre")
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, err := c.Gateway.ListRegions(w.t.Context(), &residencyv1.ListRegionsRequest{})
		if err == nil && len(r.Regions) == 2 && r.Regions[0].Up && r.Regions[1].Up {
			return
		}
	}
	w.t.Fatalf("the peer did not come up:\n%s", d.output.String())
}

// at calls a gateway as somebody, and goes nowhere else.
func (w *twoRegions) at(g, identity string) *client.Client {
	return w.gateways[g].dialOnce(w.t, identity)
}

// refusal is a refusal as callers see it.
func refusal(t testing.TB, err error) *client.Denied {
	t.Helper()
	var d *client.Denied
	if !errors.As(err, &d) {
		t.Fatalf("got %v, want a refusal", err)
	}
	return d
}

// sentTo gives the reason of a refusal and the endpoint that it names.
func sentTo(err error) (reason, endpoint string) {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason(), info.GetMetadata()["endpoint"]
		}
	}
	return "", ""
}

func getRecord(c *client.Client, tenant, subject, record string) error {
	_, err := c.Records.GetRecord(context.Background(), &residencyv1.GetRecordRequest{
		TenantId: tenant, SubjectId: subject, RecordId: record, Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	return err
}

// Two regions with two gateways each, as peers: callers enter by gateways of their own jurisdiction, those of a
// third place are sent home, and what belongs to a tenant is at its home alone.
func TestPeers(t *testing.T) {
	w := newTwoRegions(t)
	song := bytes.Repeat([]byte(canaries["drive"]), (8<<20)/len(canaries["drive"]))
	const swiss, american, subject = "alpen", "prairie", "canary-subject-qqqq"
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []struct{ at, as, tenant, residence string }{{"ch-1", "admin-ch", swiss, "CH"}, {"us-1", "admin-us", american, "US"}} {
		_, err := w.at(r.at, r.as).Tenants.RegisterTenant(t.Context(), &residencyv1.RegisterTenantRequest{TenantId: r.tenant, Residence: r.residence})
		ok(err)
	}
	_, err := w.at("us-2", "admin-us").Tenants.RegisterTenant(t.Context(), &residencyv1.RegisterTenantRequest{TenantId: swiss, Residence: "US"})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("a name that is taken in the other region was given out: %v", err)
	}

	app := w.at("ch-2", "app-ch")
	put := func(c *client.Client, record string) error {
		_, err := c.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: swiss, Record: personalRecord(subject, record, canaries["full_name"])})
		return err
	}
	ok(put(app, "r1"))
	_, err = app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: swiss, DriveId: "d", Name: canaries["drive_name"], SizeBytes: int64(len(song))})
	ok(err)
	_, err = app.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{
		TenantId: swiss, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, bytes.NewReader(song), nil)
	ok(err)

	// An American caller, by an American gateway: coming home is free, going abroad is not.
	us := w.at("us-1", "app-us")
	ok(put(us, "r2"))
	ok(getRecord(app, swiss, subject, "r2"))
	blocked := refusal(t, getRecord(us, swiss, subject, "r1"))
	if blocked.Reason != "CROSS_BORDER_CONSENT_REQUIRED" || blocked.From != "CH" || blocked.To != "US" || blocked.DecisionID == "" {
		t.Errorf("a read without a consent was refused as %+v", blocked)
	}
	absent := refusal(t, getRecord(us, "nobody-of-that-name", subject, "r1"))
	if absent.Reason != blocked.Reason || absent.From != blocked.From || absent.To != blocked.To || absent.Clause != blocked.Clause {
		t.Errorf("an absent tenant answers %+v, a foreign one %+v", absent, blocked)
	}

	// Totals name nobody: they are told in the other region too.
	if billed, _ := sums(counted(t, us, swiss)); billed[flow{driveData, inward}] != int64(len(song)) {
		t.Errorf("through a peer %v is told, want %d bytes written to drives", billed, len(song))
	}

	// A Swiss caller by an American gateway is sent home, whatever it asks.
	astray := w.at("us-2", "app-ch")
	for what, err := range map[string]error{"a read": getRecord(astray, swiss, subject, "r1"), "a write": put(astray, "r3")} {
		if reason, endpoint := sentTo(err); reason != "USE_HOME_ENDPOINT" || endpoint != w.address["ch-1"] {
			t.Errorf("%s by a third place was refused with %v, told %q", what, err, endpoint)
		}
	}
	if err := getRecord(app, swiss, subject, "r3"); status.Code(err) != codes.NotFound {
		t.Errorf("the write by a third place left: %v", err)
	}

	w.consented(swiss, subject, song)
	w.heldUp(swiss)
	w.onlyAtHome(blocked.DecisionID)
	w.cosigned()
	w.peerDown(swiss, american, subject)
}

// consented reads across the border, through a peer, while a consent lasts.
func (w *twoRegions) consented(tenant, subject string, song []byte) {
	t := w.t
	t.Helper()
	app, us := w.at("ch-1", "app-ch"), w.at("us-2", "app-us")
	grant := func(class residencyv1.DataClass, purpose residencyv1.Purpose) string {
		r, err := app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{TenantId: tenant, Consent: borderConsent(class, purpose)})
		if err != nil {
			t.Fatal(err)
		}
		return r.Consent.ConsentId
	}
	records := grant(residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.Purpose_PURPOSE_PAYMENTS)
	drives := grant(residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA, residencyv1.Purpose_PURPOSE_SERVICE_PROVISION)
	if err := getRecord(us, tenant, subject, "r1"); err != nil {
		t.Fatal(err)
	}
	read := &residencyv1.ReadDriveRequest{TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION}
	var got bytes.Buffer
	if _, err := us.ReadDriveTo(t.Context(), read, &got, nil); err != nil || !bytes.Equal(got.Bytes()[:len(song)], song) {
		t.Fatalf("the drive came through the peer with %d bytes: %v", got.Len(), err)
	}
	// Home, what is written through the peer is read as it was written.
	part := bytes.Repeat([]byte("written through the peer "), 40_000)
	_, err := us.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{
		TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, bytes.NewReader(part), nil)
	if err != nil {
		t.Fatal(err)
	}
	if back := readDrive(t.(*testing.T), app, tenant, "d"); !bytes.Equal(back[:len(part)], part) {
		t.Error("what was written through the peer reads differently at home")
	}

	// A stream that nobody reads from is open, at its home and in the peer, when the consent is withdrawn: what
	// waits in the peer does not go on after the answer.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := us.Drives.ReadDrive(ctx, read)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{records, drives} {
		if _, err := us.Consents.WithdrawConsent(t.Context(), &residencyv1.WithdrawConsentRequest{TenantId: tenant, ConsentId: id}); err != nil {
			t.Fatal(err)
		}
	}
	before := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			if !isWithdrawn(err) && status.Code(err) != codes.Unavailable {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
		before += len(m.GetData())
	}
	// What the client's own transport had taken by then is what its window holds.
	t.Logf("%d bytes had left the peer before the withdrawal answered", before)
	if before >= len(song)-256<<10 {
		t.Error("the stream went on to its end after its consent was withdrawn")
	}
	if d := refusal(t, getRecord(us, tenant, subject, "r1")); d.Reason != "CONSENT_WITHDRAWN" {
		t.Errorf("after the withdrawal: %+v", d)
	}
}

// heldUp reads a drive that its home has sent to the end while most of it waits in the peer, for a caller that
// takes its time: it comes while the consent lasts, and not when that is withdrawn meanwhile.
func (w *twoRegions) heldUp(tenant string) {
	t := w.t
	t.Helper()
	const size = 3 << 20
	app, us := w.at("ch-1", "app-ch"), w.at("us-1", "app-us")
	_, err := app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: tenant, DriveId: "held", SizeBytes: size})
	if err != nil {
		t.Fatal(err)
	}
	for _, withdrawn := range []bool{false, true} {
		granted, err := app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{
			TenantId: tenant, Consent: borderConsent(residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA, residencyv1.Purpose_PURPOSE_SERVICE_PROVISION),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stream, err := us.Drives.ReadDrive(ctx, &residencyv1.ReadDriveRequest{
			TenantId: tenant, DriveId: "held", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // longer than a lease
		if withdrawn {
			if _, err := app.Consents.WithdrawConsent(t.Context(), &residencyv1.WithdrawConsentRequest{TenantId: tenant, ConsentId: granted.Consent.ConsentId}); err != nil {
				t.Fatal(err)
			}
		}
		got := 0
		for err == nil {
			var m *residencyv1.ReadDriveResponse
			if m, err = stream.Recv(); err == nil {
				got += len(m.GetData())
			}
		}
		if whole := errors.Is(err, io.EOF) && got == size; whole == withdrawn {
			t.Errorf("withdrawn %v: %d of %d bytes came, then %v", withdrawn, got, size, err)
		}
		t.Logf("withdrawn %v: %d of %d bytes came to a caller that held the stream up", withdrawn, got, size)
	}
}

// onlyAtHome looks for the Swiss tenant's canaries, and for a decision about it, in everything that the American
// region has.
func (w *twoRegions) onlyAtHome(decision string) {
	t := w.t
	t.Helper()
	look := make(map[string]string)
	for name, c := range canaries {
		look["the canary of "+name] = c
	}
	look["the subject"], look["the decision"] = "canary-subject-qqqq", decision
	look["the decision's bytes"] = string(uuidBytes(t, decision))
	found := func(where string, b []byte) (n int) {
		for what, text := range look {
			if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte(hex.EncodeToString([]byte(text)))) {
				t.Logf("%s: %s", where, what)
				n++
			}
		}
		return n
	}
	dump := func(region string) []byte {
		out, err := running.postgres[region].Dump("domicile", "keys")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	there := dump("us")
	if found("the American databases", there) > 0 {
		t.Error("the American databases hold something of the Swiss tenant")
	}
	home := dump("ch")
	if !bytes.Contains(home, []byte(hex.EncodeToString(uuidBytes(t, decision)))) {
		t.Error("the decision is not in the Swiss databases: the search finds nothing")
	}
	files := 0
	for path := range filesBelow(t, running.s3["us"].Folder()) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if files++; strings.Contains(path, "/"+w.name+"/objects/") {
			t.Errorf("the American bucket holds an object: %s", path)
		}
		if found(path, b) > 0 {
			t.Error("the American bucket holds something of the Swiss tenant")
		}
	}
	size := 0
	for _, g := range gatewaysOf("us") {
		log := []byte(w.gateways[g].output.String())
		if size += len(log); found("the log of "+g, log) > 0 {
			t.Error("an American gateway's log holds something of the Swiss tenant")
		}
	}
	t.Logf("%d texts looked for in %d bytes of dumps, %d files and %d bytes of logs of the other region: none found", len(look), len(there), files, size)
}

func uuidBytes(t testing.TB, id string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(b) != 16 {
		t.Fatalf("%q is no decision's identifier", id)
	}
	return b
}

// peerDown kills the other region's gateways: its tenants are unavailable at once, the region's own are served.
func (w *twoRegions) peerDown(swiss, american, subject string) {
	t := w.t
	t.Helper()
	app := w.at("ch-1", "app-ch")
	if d := refusal(t, getRecord(app, american, subject, "r1")); d.Reason != "CROSS_BORDER_CONSENT_REQUIRED" {
		t.Errorf("before the peer is down: %+v", d)
	}
	for _, g := range gatewaysOf("us") {
		w.gateways[g].kill()
	}
	for end := time.Now().Add(startLimit); ; time.Sleep(20 * time.Millisecond) {
		err := getRecord(app, american, subject, "r1")
		if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "REGION_UNAVAILABLE") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with the peer gone: %v", err)
		}
	}
	began := time.Now()
	const calls = 100
	for range calls {
		if err := getRecord(app, american, subject, "r1"); status.Code(err) != codes.Unavailable {
			t.Fatalf("with the peer gone: %v", err)
		}
		if err := getRecord(app, swiss, subject, "r1"); err != nil {
			t.Fatalf("the region's own tenant, with the peer gone: %v", err)
		}
	}
	t.Logf("with the peer gone %d refusals and %d reads of the region's own took %v in all", calls, calls, time.Since(began).Round(time.Millisecond))
	w.start("us-2")
	for end := time.Now().Add(startLimit); ; time.Sleep(20 * time.Millisecond) {
		if d := (*client.Denied)(nil); errors.As(getRecord(app, american, subject, "r1"), &d) && d.Reason == "CROSS_BORDER_CONSENT_REQUIRED" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the peer did not come back")
		}
	}
}

// The tour, told by every gateway in turn: each caller ends where its tenant's home is.
func TestTourOverPeers(t *testing.T) {
	w := newTwoRegions(t)
	for _, region := range regions {
		for _, g := range gatewaysOf(region) {
			page := w.gateways[g].must(t, "", "tour")
			for _, told := range []string{"CROSS_BORDER_CONSENT_REQUIRED", "CONSENT_WITHDRAWN", "alpine-", "prairie-"} {
				if !strings.Contains(page, told) {
					t.Errorf("the tour at %s does not tell of %s:\n%s", g, told, page)
				}
			}
		}
	}
}

// cosigned holds that each region's log is cosigned by the other's gateways, by a key that those alone have.
func (w *twoRegions) cosigned() {
	w.t.Helper()
	for region, other := range map[string]string{"ch": "us", "us": "ch"} {
		c, err := w.at(region+"-2", "admin-"+region).Audit.GetCheckpoint(w.t.Context(), &residencyv1.GetCheckpointRequest{Region: region})
		if err != nil {
			w.t.Fatal(err)
		}
		key, err := proof.ParseKey(c.GetVerifierKey())
		if err != nil {
			w.t.Fatal(err)
		}
		signed, err := key.OpenCheckpoint(c.GetCheckpoint())
		if err != nil {
			w.t.Fatal(err)
		}
		if n := signed.Named; len(n) != 1 || n[0].Kind != "peer" || n[0].Witness != "domicile.local/"+other+"/witness" {
			w.t.Errorf("the log of %s is cosigned by %+v:\n%s", region, n, c.GetCheckpoint())
		}
	}
}
