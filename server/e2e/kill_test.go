package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// soak is whether the heavy counts are wanted.
func soak() bool { return os.Getenv("DOMICILE_SOAK") == "1" }

// count gives a test's size: a sample, or the full count with DOMICILE_SOAK=1.
func count(sample, full int) int {
	if soak() {
		return full
	}
	return sample
}

// dial connects as an identity of the daemon's.
func (d *daemon) dial(t testing.TB, identity string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{
		Address: d.grpc, Identity: client.EmbeddedIdentity(d.data, identity), Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// register makes a Swiss tenant.
func register(t testing.TB, admin *client.Client, tenant string) {
	t.Helper()
	_, err := admin.Tenants.RegisterTenant(t.Context(), &residencyv1.RegisterTenantRequest{TenantId: tenant, Residence: "CH"})
	if err != nil {
		t.Fatal(err)
	}
}

func personalRecord(subject, id, name string) *residencyv1.PersonalRecord {
	return &residencyv1.PersonalRecord{
		SubjectId: subject, RecordId: id,
		Personal: &residencyv1.Personal{FullName: name, EmailAddress: name + "@example.org"},
		Source:   residencyv1.Source_SOURCE_PROVIDED,
		Purposes: []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_PAYMENTS},
	}
}

func borderConsent(class residencyv1.DataClass, purpose residencyv1.Purpose) *residencyv1.Consent {
	return &residencyv1.Consent{
		Kind: residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING, Scope: &residencyv1.Consent_WholeTenant{WholeTenant: true},
		DataClasses: []residencyv1.DataClass{class}, FromJurisdiction: "CH", ToJurisdiction: "US",
		Purposes: []residencyv1.Purpose{purpose},
		Evidence: &residencyv1.Evidence{
			Method: "signed form", Grantor: "the board", NoticeLanguage: "de-CH",
			NoticeDigest: "sha256:" + fmt.Sprintf("%064d", 0),
		},
	}
}

// ledger is what the gateway acknowledged before it was killed.
type ledger struct {
	mu        sync.Mutex
	records   map[string]string // record → its acknowledged content
	pending   map[string]string // record → a content that was sent and not answered
	withdrawn []string          // consents
	active    []string
	drive     map[string][]byte // drive → its acknowledged content
	maybe     map[string][]byte // drive → a content that was sent and not answered
	decisions []string
}

func newLedger() *ledger {
	return &ledger{
		records: make(map[string]string), pending: make(map[string]string),
		drive: make(map[string][]byte), maybe: make(map[string][]byte),
	}
}

const killTenant = "kill"

// SIGKILL under load: nothing that was acknowledged is lost, a write that was
// not is all there or not at all, and every answer has its entry in the log.
func TestKill(t *testing.T) {
	cycles := count(20, 500)
	data := filepath.Join(t.TempDir(), "data")
	d := start(t, data)
	register(t, d.dial(t, "admin-ch"), killTenant)
	for i := range 4 {
		_, err := d.dial(t, "app-ch").Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{
			TenantId: killTenant, DriveId: fmt.Sprint("d", i), SizeBytes: 8 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger()
	acknowledged, slowest := 0, time.Duration(0)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for cycle := range cycles {
		acknowledged += l.load(t, d, cycle, time.Duration(100+rng.IntN(400))*time.Millisecond)
		if err := os.Remove(filepath.Join(data, "addresses.json")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d = start(t, data)
		slowest = max(slowest, time.Since(began))
		l.verify(t, d)
		if t.Failed() {
			t.Fatalf("cycle %d", cycle)
		}
	}
	t.Logf("%d cycles of SIGKILL: %d answers, 0 lost, 0 without an entry; the slowest restart took %v", cycles, acknowledged, slowest)
}

// load runs callers until the daemon is killed, and gives how many answers came.
func (l *ledger) load(t *testing.T, d *daemon, cycle int, after time.Duration) int {
	l.decisions = nil
	app := d.dial(t, "app-ch")
	if err := app.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { l.putRecords(ctx, t, app, cycle, i) })
	}
	for i := range 2 {
		wg.Go(func() { l.writeDrive(ctx, t, app, fmt.Sprint("d", i), cycle) })
	}
	wg.Go(func() { l.consents(ctx, t, app) })
	time.Sleep(after)
	d.kill()
	cancel()
	wg.Wait()
	return len(l.decisions)
}

// lost reports whether a call ended because the gateway was killed. Anything
// else is a failure of the test.
func lost(t *testing.T, what string, err error) bool {
	if err == nil {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
	default:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	return true
}

func (l *ledger) putRecords(ctx context.Context, t *testing.T, c *client.Client, cycle, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("r%d-%d", worker, i%50)
		content := fmt.Sprintf("c%d-%d-%d", cycle, worker, i)
		l.mu.Lock()
		l.pending[id] = content
		l.mu.Unlock()
		var decision string
		_, err := c.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{
			TenantId: killTenant, Record: personalRecord(fmt.Sprint("s", worker), id, content),
		}, client.DecisionID(&decision))
		if lost(t, "PutRecord", err) {
			return
		}
		l.mu.Lock()
		l.records[id], l.decisions = content, append(l.decisions, decision)
		delete(l.pending, id)
		l.mu.Unlock()
	}
}

func (l *ledger) writeDrive(ctx context.Context, t *testing.T, c *client.Client, drive string, cycle int) {
	for i := 0; ctx.Err() == nil; i++ {
		content := bytes.Repeat([]byte(fmt.Sprintf("%s %d %d.", drive, cycle, i)), 30_000)
		l.mu.Lock()
		l.maybe[drive] = content
		l.mu.Unlock()
		var decision string
		_, err := c.WriteDriveFrom(ctx, &residencyv1.WriteDriveHeader{
			TenantId: killTenant, DriveId: drive, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		}, onlyReader{bytes.NewReader(content)}, nil, client.DecisionID(&decision))
		if lost(t, "WriteDrive", err) {
			return
		}
		l.mu.Lock()
		l.drive[drive], l.decisions = content, append(l.decisions, decision)
		delete(l.maybe, drive)
		l.mu.Unlock()
	}
}

// onlyReader hides Seek, so that a write is made once and never again.
type onlyReader struct{ r *bytes.Reader }

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

func (l *ledger) consents(ctx context.Context, t *testing.T, c *client.Client) {
	for ctx.Err() == nil {
		consent := borderConsent(residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.Purpose_PURPOSE_PAYMENTS)
		consent.Scope = &residencyv1.Consent_SubjectId{SubjectId: fmt.Sprintf("consenter-%d", rand.Uint32())}
		var decision string
		granted, err := c.Consents.GrantConsent(ctx, &residencyv1.GrantConsentRequest{TenantId: killTenant, Consent: consent}, client.DecisionID(&decision))
		if lost(t, "GrantConsent", err) {
			return
		}
		id := granted.Consent.ConsentId
		l.mu.Lock()
		l.decisions = append(l.decisions, decision)
		l.mu.Unlock()
		if rand.IntN(4) > 0 { // a withdrawal takes a second
			l.mu.Lock()
			l.active = append(l.active, id)
			l.mu.Unlock()
			continue
		}
		_, err = c.Consents.WithdrawConsent(ctx, &residencyv1.WithdrawConsentRequest{TenantId: killTenant, ConsentId: id}, client.DecisionID(&decision))
		if lost(t, "WithdrawConsent", err) {
			return
		}
		l.mu.Lock()
		l.withdrawn, l.decisions = append(l.withdrawn, id), append(l.decisions, decision)
		l.mu.Unlock()
	}
}

// verify compares what the restarted gateway has with what it acknowledged.
func (l *ledger) verify(t *testing.T, d *daemon) {
	app, admin := d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	l.verifyRecords(t, app)
	l.verifyDrives(t, app)
	l.verifyConsents(t, app)
	for _, id := range l.decisions {
		_, err := admin.Audit.GetDecision(t.Context(), &residencyv1.GetDecisionRequest{TenantId: killTenant, DecisionId: id})
		if err != nil {
			t.Errorf("an answered call has no entry in the log: %v", err)
		}
	}
	l.pending, l.maybe, l.active, l.withdrawn = make(map[string]string), make(map[string][]byte), nil, nil
}

func (l *ledger) verifyRecords(t *testing.T, c *client.Client) {
	for id, want := range l.records {
		got, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{
			TenantId: killTenant, SubjectId: "s" + id[1:2], RecordId: id, Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
		})
		if err != nil {
			t.Errorf("record %s: %v", id, err)
			continue
		}
		name := got.Record.Personal.FullName
		if pending, ok := l.pending[id]; ok && name == pending {
			l.records[id] = name
		} else if name != want {
			t.Errorf("record %s is %q, acknowledged was %q", id, name, want)
		}
	}
}

func (l *ledger) verifyDrives(t *testing.T, c *client.Client) {
	for drive, want := range l.drive {
		got := readDrive(t, c, killTenant, drive)
		sum := func(b []byte) [32]byte { return sha256.Sum256(got[:min(len(b), len(got))]) }
		if maybe, ok := l.maybe[drive]; ok && sum(maybe) == sha256.Sum256(maybe) {
			l.drive[drive] = maybe
		} else if sum(want) != sha256.Sum256(want) {
			t.Errorf("drive %s has neither what was acknowledged nor what was being written", drive)
		}
	}
}

func readDrive(t *testing.T, c *client.Client, tenant, drive string, opts ...grpc.CallOption) []byte {
	var b bytes.Buffer
	_, err := c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{
		TenantId: tenant, DriveId: drive, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, &b, nil, opts...)
	if err != nil {
		t.Errorf("drive %s: %v", drive, err)
	}
	return b.Bytes()
}

func (l *ledger) verifyConsents(t *testing.T, c *client.Client) {
	check := func(ids []string, want residencyv1.ConsentState) {
		for _, id := range ids {
			got, err := c.Consents.GetConsent(t.Context(), &residencyv1.GetConsentRequest{TenantId: killTenant, ConsentId: id})
			if err != nil || got.Consent.State != want {
				t.Errorf("consent %s is %v, acknowledged was %v: %v", id, got.GetConsent().GetState(), want, err)
			}
		}
	}
	check(l.active, residencyv1.ConsentState_CONSENT_STATE_ACTIVE)
	check(l.withdrawn, residencyv1.ConsentState_CONSENT_STATE_WITHDRAWN)
}
