package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
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

// put is one write of a record, and the version that answered it.
type put struct {
	request *residencyv1.PutRecordRequest
	version int64
}

func (p put) content() string { return p.request.Record.Personal.FullName }

// upload is one write of a whole drive, and the version that answered it.
type upload struct {
	request string
	content []byte
	version int64
}

// ledger is what the gateway acknowledged before it was killed.
type ledger struct {
	mu        sync.Mutex
	records   map[string]put // record → what was acknowledged last
	pending   map[string]put // record → what was sent and not answered
	answered  []put          // acknowledged in this cycle
	withdrawn []string       // consents
	active    []string
	drives    map[string]upload // drive → what was acknowledged last
	uploads   map[string]upload // drive → what was sent and not answered
	decisions []string

	puts, written, there int // acknowledged, and of those unanswered how many were there
	unanswered           int
}

func newLedger() *ledger {
	return &ledger{
		records: make(map[string]put), pending: make(map[string]put),
		drives: make(map[string]upload), uploads: make(map[string]upload),
	}
}

const (
	killTenant  = "kill"
	killDrive   = 9 << 20 // bytes: three chunks, the last not full
	killChunk   = 4 << 20
	killWriters = 2
)

// SIGKILL under load, on the embedded engines.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	d := configured(t, set(t, printed(t, dir), killLifetime))
	d.layout = embeddedLayout(dir)
	testKill(t, d, count(20, 500))
}

// SIGKILL under load, on PostgreSQL and S3, which see the gateway vanish.
func TestKillOnServers(t *testing.T) {
	testKill(t, startOnServers(t, killLifetime), count(10, 200))
}

// killLifetime lets replaced chunks be deleted soon: they are kept for as long
// as a stream that began before may last.
const killLifetime = "  stream_lifetime: 5s"

// testKill kills a gateway under load, again and again: nothing that was acknowledged is lost, a
// write that was not is all there or not at all, a request that is repeated gives its first result, every
// answer has its entry in the log, and what the killed gateways left in the stores of drives is swept.
func testKill(t *testing.T, d *daemon, cycles int) {
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	register(t, d.dial(t, "admin-ch"), killTenant)
	for i := range killWriters {
		_, err := d.dial(t, "app-ch").Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{
			TenantId: killTenant, DriveId: fmt.Sprint("d", i), SizeBytes: killDrive,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger()
	acknowledged, slowest := 0, time.Duration(0)
	for cycle := range cycles {
		acknowledged += l.load(t, d, cycle, time.Duration(100+rand.IntN(1000))*time.Millisecond)
		d.undamaged(t)
		began := time.Now()
		var err error
		if d, err = d.again(); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
		l.verify(t, d)
		if t.Failed() {
			t.Fatalf("cycle %d; the gateway wrote:\n%s", cycle, d.output.String())
		}
	}
	t.Logf("%d cycles of SIGKILL: %d answers (%d records, %d drives of %d MiB), 0 lost, 0 without an entry; of %d unanswered writes %d were there, whole; the slowest restart took %v",
		cycles, acknowledged, l.puts, l.written, killDrive>>20, l.unanswered, l.there, round(slowest))
	l.swept(t, d)
}

// swept waits until no chunk is left that no drive refers to: what an abandoned write made
// goes a minute after it began, what was replaced when no stream can be reading it.
func (l *ledger) swept(t *testing.T, d *daemon) {
	before, ended := d.objects(t, "ch"), time.Now()
	t.Parallel() // waits for other tests, so that they and the sweep take no time from one another
	want := len(l.drives) * ((killDrive + killChunk - 1) / killChunk)
	var after []string
	for end := time.Now().Add(startLimit); ; time.Sleep(time.Second) {
		if after = d.objects(t, "ch"); len(after) == want || time.Now().After(end) {
			break
		}
	}
	if len(after) != want {
		t.Errorf("%d chunks are left, want %d: %v", len(after), want, after)
	}
	if n := len(d.objects(t, "us")); n != 0 {
		t.Errorf("%d chunks lie abroad", n)
	}
	l.verifyDrives(t, d.dial(t, "app-ch"))
	t.Logf("%d chunks after the last kill, %d after the sweep, which was looked at %v later: those of the drives", len(before), len(after), time.Since(ended).Round(time.Second))
}

// load runs callers until the daemon is killed, and gives how many answers came.
func (l *ledger) load(t *testing.T, d *daemon, cycle int, after time.Duration) int {
	l.decisions, l.answered = nil, nil
	app := d.dial(t, "app-ch")
	if err := app.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { l.putRecords(ctx, t, app, cycle, i) })
	}
	for i := range killWriters {
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
		id := fmt.Sprintf("r%d-%d", worker, i%20)
		p := put{request: &residencyv1.PutRecordRequest{
			TenantId: killTenant, Record: personalRecord(fmt.Sprint("s", worker), id, fmt.Sprintf("c%d-%d-%d", cycle, worker, i)), RequestId: requestID(),
		}}
		l.mu.Lock()
		l.pending[id] = p
		l.mu.Unlock()
		var decision string
		r, err := c.Records.PutRecord(ctx, p.request, client.DecisionID(&decision))
		if lost(t, "PutRecord", err) {
			return
		}
		p.version = r.Version
		l.mu.Lock()
		l.records[id], l.decisions, l.answered = p, append(l.decisions, decision), append(l.answered, p)
		l.puts++
		delete(l.pending, id)
		l.mu.Unlock()
		if i%4 == 0 && lost(t, "PutRecord again", l.repeat(ctx, t, c, p)) {
			return
		}
	}
}

// repeat makes an acknowledged write again, which must give its first result.
func (l *ledger) repeat(ctx context.Context, t *testing.T, c *client.Client, p put) error {
	again, err := c.Records.PutRecord(ctx, p.request)
	if err == nil && again.Version != p.version {
		t.Errorf("record %s: the repeated request gives version %d, first it was %d", p.request.Record.RecordId, again.Version, p.version)
	}
	return err
}

func (l *ledger) writeDrive(ctx context.Context, t *testing.T, c *client.Client, drive string, cycle int) {
	for i := 0; ctx.Err() == nil; i++ {
		tag := fmt.Appendf(nil, "%s %d %d.", drive, cycle, i)
		u := upload{request: requestID(), content: bytes.Repeat(tag, killDrive/len(tag)+1)[:killDrive]}
		l.mu.Lock()
		l.uploads[drive] = u
		l.mu.Unlock()
		var decision string
		var err error
		u.version, err = u.write(ctx, c, drive, client.DecisionID(&decision))
		if lost(t, "WriteDrive", err) {
			return
		}
		l.mu.Lock()
		l.drives[drive], l.decisions = u, append(l.decisions, decision)
		l.written++
		delete(l.uploads, drive)
		l.mu.Unlock()
	}
}

// write writes the drive and gives the version that answers it.
func (u upload) write(ctx context.Context, c *client.Client, drive string, opts ...grpc.CallOption) (int64, error) {
	r, err := c.WriteDriveFrom(ctx, &residencyv1.WriteDriveHeader{
		TenantId: killTenant, DriveId: drive, Purpose: services, RequestId: u.request,
	}, onlyReader{bytes.NewReader(u.content)}, nil, opts...)
	if err == nil && r.BytesWritten != int64(len(u.content)) {
		err = fmt.Errorf("%d bytes were written, want %d", r.BytesWritten, len(u.content))
	}
	return r.GetVersion(), err
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

// verify compares what the restarted gateway has with what it acknowledged, and repeats requests.
func (l *ledger) verify(t *testing.T, d *daemon) {
	app, admin := d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	l.unanswered += len(l.pending) + len(l.uploads)
	l.verifyRecords(t, app)
	l.repeatRecords(t, app)
	l.verifyRecords(t, app) // which the repetitions have not changed
	l.verifyDrives(t, app)
	l.repeatUploads(t, app)
	l.verifyDrives(t, app)
	l.verifyConsents(t, app)
	each(l.decisions, func(id string) {
		_, err := admin.Audit.GetDecision(t.Context(), &residencyv1.GetDecisionRequest{TenantId: killTenant, DecisionId: id})
		if err != nil {
			t.Errorf("an answered call has no entry in the log: %v", err)
		}
	})
	l.active, l.withdrawn = nil, nil
}

// verifyRecords finds every record as it was acknowledged last or, where a write of it was not
// answered, as that would have it; from then on that is what it must be.
func (l *ledger) verifyRecords(t *testing.T, c *client.Client) {
	for id, p := range l.pending {
		r, err := l.get(t, c, p)
		if err == nil && r.Personal.FullName == p.content() {
			p.version = r.Version
			l.records[id] = p
			l.there++
		} else if _, acknowledged := l.records[id]; err != nil && (acknowledged || !isCode(err, codes.NotFound)) {
			t.Errorf("record %s: %v", id, err)
		}
	}
	var ids []string
	for id := range l.records {
		ids = append(ids, id)
	}
	each(ids, func(id string) {
		want := l.records[id]
		if r, err := l.get(t, c, want); err != nil || r.Personal.FullName != want.content() || r.Version != want.version {
			t.Errorf("record %s is %q, version %d; acknowledged was %q, version %d: %v",
				id, r.GetPersonal().GetFullName(), r.GetVersion(), want.content(), want.version, err)
		}
	})
}

func (l *ledger) get(t *testing.T, c *client.Client, p put) (*residencyv1.PersonalRecord, error) {
	r, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{
		TenantId: killTenant, SubjectId: p.request.Record.SubjectId, RecordId: p.request.Record.RecordId, Purpose: payments,
	})
	return r.GetRecord(), err
}

// repeatRecords makes writes again, some that were answered and all that were not: each gives the
// result that it had if it had one, and is made now if not.
func (l *ledger) repeatRecords(t *testing.T, c *client.Client) {
	rand.Shuffle(len(l.answered), func(i, j int) { l.answered[i], l.answered[j] = l.answered[j], l.answered[i] })
	for _, p := range l.answered[:min(40, len(l.answered))] {
		if err := l.repeat(t.Context(), t, c, p); err != nil {
			t.Errorf("record %s again: %v", p.request.Record.RecordId, err)
		}
	}
	for id, p := range l.pending {
		r, err := c.Records.PutRecord(t.Context(), p.request)
		if err != nil {
			t.Errorf("record %s again: %v", id, err)
			continue
		}
		before, was := l.records[id]
		if was && before.request == p.request && before.version != r.Version {
			t.Errorf("record %s: the repeated request gives version %d, it was there as %d", id, r.Version, before.version)
		}
		p.version = r.Version
		l.records[id] = p
	}
	clear(l.pending)
}

// verifyDrives finds every drive as it was acknowledged last or, where a write of it was not
// answered, as that would have it, and nothing between the two.
func (l *ledger) verifyDrives(t *testing.T, c *client.Client) {
	for i := range killWriters {
		drive := fmt.Sprint("d", i)
		want, maybe := l.drives[drive], l.uploads[drive]
		got := readDrive(t, c, killTenant, drive)
		switch {
		case bytes.Equal(got, want.content):
		case maybe.content != nil && bytes.Equal(got, maybe.content):
			l.drives[drive] = maybe
			l.there++
		case want.content == nil && !slices.ContainsFunc(got, func(b byte) bool { return b != 0 }):
		default:
			t.Errorf("drive %s has neither what was acknowledged nor what was being written", drive)
		}
	}
}

// repeatUploads makes writes of drives again, as repeatRecords does of records.
func (l *ledger) repeatUploads(t *testing.T, c *client.Client) {
	for drive, u := range l.drives {
		version, err := u.write(t.Context(), c, drive)
		if err != nil || u.version != 0 && version != u.version {
			t.Errorf("drive %s: the repeated request gives version %d, first it was %d: %v", drive, version, u.version, err)
		}
		u.version = version
		l.drives[drive] = u
	}
	for drive, u := range l.uploads {
		version, err := u.write(t.Context(), c, drive)
		was := l.drives[drive]
		if err != nil || was.request == u.request && version != was.version {
			t.Errorf("drive %s: the repeated request gives version %d, it was there as %d: %v", drive, version, was.version, err)
		}
		u.version = version
		l.drives[drive] = u
	}
	clear(l.uploads)
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
