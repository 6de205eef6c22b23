package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// metered is a tenant whose calls are counted by its callers too: what they were told that it was done.
type metered struct {
	name string
	home country

	mu           sync.Mutex
	acknowledged map[flow]int64 // bytes
	calls        map[flow]int64
	unanswered   int // calls that ended with the gateway, or in the middle
}

// flow is a class of data and a direction.
type flow struct {
	class     residencyv1.DataClass
	direction residencyv1.TransferDirection
}

func (f flow) String() string { return f.class.String() + " " + f.direction.String() }

const (
	inward  = residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE
	outward = residencyv1.TransferDirection_TRANSFER_DIRECTION_READ

	meteredDrive = 3 << 20
)

// What is billed is what is in the log, to the byte, for every tenant: after reads and writes of records and drives, allowed and
// refused, streams cut in the middle, and gateways killed in the midst of it all. And it is no less than what callers were told.
func TestBilledIsAudited(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "data"))
	var tenants []*metered
	for _, home := range []country{switzerland, unitedStates} {
		for i := range 2 {
			tenants = append(tenants, newMetered(t, d, home, i))
		}
	}
	cycles := count(6, 300)
	for range cycles {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, m := range tenants {
			wg.Go(func() { m.move(ctx, t, d) })
		}
		time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond)
		d.kill()
		stop()
		wg.Wait()
		if err := d.launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range tenants {
		m.verify(t, d)
	}
	if t.Failed() {
		return
	}
	t.Parallel() // waits for other tests: streams whose gateway was killed are closed after a minute
	for _, m := range tenants {
		m.awaitUnknown(t, d)
		m.verify(t, d)
		t.Logf("%s: %d kills; acknowledged %v in %v, %d calls without an answer", m.name, cycles, m.acknowledged, m.calls, m.unanswered)
	}
}

func newMetered(t *testing.T, d *daemon, home country, i int) *metered {
	m := &metered{name: fmt.Sprintf("metered-%s-%d", home.region, i), home: home, acknowledged: map[flow]int64{}, calls: map[flow]int64{}}
	_, err := d.dial(t, "admin-"+home.region).Tenants.RegisterTenant(t.Context(), &residencyv1.RegisterTenantRequest{TenantId: m.name, Residence: home.jurisdiction})
	if err == nil {
		_, err = d.dial(t, "app-"+home.region).Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: m.name, DriveId: "d", SizeBytes: meteredDrive})
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// move makes calls of every kind until the context ends.
func (m *metered) move(ctx context.Context, t *testing.T, d *daemon) {
	app, abroad := d.dialOnce(t, "app-"+m.home.region), d.dialOnce(t, "app-"+m.home.abroadRegion)
	var wg sync.WaitGroup
	for _, do := range []func(context.Context, *testing.T, *client.Client) error{m.writeRecord, m.readRecord, m.writeDrive, m.readDrive, m.breakOffReading, m.breakOffWriting} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := do(ctx, t, app); err != nil {
					m.unansweredCall()
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	wg.Go(func() { m.refused(ctx, t, abroad) })
	wg.Wait()
}

// answered notes what a caller was told that it was done.
func (m *metered) answered(class residencyv1.DataClass, direction residencyv1.TransferDirection, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acknowledged[flow{class, direction}] += bytes
	m.calls[flow{class, direction}]++
}

func (m *metered) unansweredCall() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unanswered++
}

// The names are what a caller knows of a record's bytes to be sure of: the record is more.
func (m *metered) writeRecord(ctx context.Context, _ *testing.T, c *client.Client) error {
	r := personalRecord("anna", fmt.Sprint("r", rand.IntN(20)), fmt.Sprintf("%0*d", 1+rand.IntN(200), 7))
	_, err := c.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: m.name, Record: r})
	if err == nil {
		m.answered(personal, inward, int64(len(r.Personal.FullName)+len(r.Personal.EmailAddress)))
	}
	return err
}

func (m *metered) readRecord(ctx context.Context, _ *testing.T, c *client.Client) error {
	r, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{TenantId: m.name, SubjectId: "anna", RecordId: fmt.Sprint("r", rand.IntN(20)), Purpose: payments})
	if isCode(err, codes.NotFound) {
		return nil
	}
	if err == nil {
		p := r.GetRecord().GetPersonal()
		m.answered(personal, outward, int64(len(p.GetFullName())+len(p.GetEmailAddress())))
	}
	return err
}

func (m *metered) writeDrive(ctx context.Context, t *testing.T, c *client.Client) error {
	n := 1 + rand.Int64N(meteredDrive)
	r, err := c.WriteDriveFrom(ctx, &residencyv1.WriteDriveHeader{TenantId: m.name, DriveId: "d", Purpose: services}, onlyReader{bytes.NewReader(make([]byte, n))}, nil)
	if err == nil {
		if r.GetBytesWritten() != n {
			t.Errorf("%d bytes were written, want %d", r.GetBytesWritten(), n)
		}
		m.answered(driveData, inward, n)
	}
	if isCode(err, codes.Aborted) { // another write came first
		return nil
	}
	return err
}

func (m *metered) readDrive(ctx context.Context, _ *testing.T, c *client.Client) error {
	n, err := c.ReadDriveTo(ctx, &residencyv1.ReadDriveRequest{TenantId: m.name, DriveId: "d", Length: 1 + rand.Int64N(meteredDrive), Purpose: services}, io.Discard, nil)
	if err == nil {
		m.answered(driveData, outward, n)
	}
	return err
}

// breakOffReading goes away after the first message.
func (m *metered) breakOffReading(ctx context.Context, _ *testing.T, c *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Drives.ReadDrive(ctx, &residencyv1.ReadDriveRequest{TenantId: m.name, DriveId: "d", Purpose: services})
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil {
		m.unansweredCall()
	}
	return err
}

// breakOffWriting sends a part and goes away.
func (m *metered) breakOffWriting(ctx context.Context, _ *testing.T, c *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Drives.WriteDrive(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{
		Header: &residencyv1.WriteDriveHeader{TenantId: m.name, DriveId: "d", Purpose: services},
	}})
	for range 3 {
		if err == nil {
			err = stream.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: make([]byte, 100_000)}})
		}
	}
	time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	if err == nil {
		m.unansweredCall()
	}
	return err
}

// refused asks from abroad, without a consent.
func (m *metered) refused(ctx context.Context, t *testing.T, c *client.Client) {
	for ctx.Err() == nil {
		_, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{TenantId: m.name, SubjectId: "anna", RecordId: "r1", Purpose: payments})
		if err == nil {
			t.Error("data crossed a border without a consent")
		}
		if _, err := c.ReadDriveTo(ctx, &residencyv1.ReadDriveRequest{TenantId: m.name, DriveId: "d", Purpose: services}, io.Discard, nil); err == nil {
			t.Error("drive data crossed a border without a consent")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// counted waits until all is counted that is in the log now, and gives the totals.
func counted(t testing.TB, c *client.Client, tenant string) *residencyv1.GetUsageResponse {
	t.Helper()
	now := time.Now().UTC()
	date := func(days int) *residencyv1.Date {
		y, m, d := now.AddDate(0, 0, days).Date()
		return &residencyv1.Date{Year: int32(y), Month: int32(m), Day: int32(d)}
	}
	req := &residencyv1.GetUsageRequest{TenantId: tenant, StartDate: date(-1), EndDate: date(2)}
	var last int64
	for end := time.Now().Add(startLimit); ; time.Sleep(100 * time.Millisecond) {
		r, err := c.Usage.GetUsage(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if last == 0 {
			last = r.GetThroughPlace() + r.GetPending()
		}
		if r.GetThroughPlace() >= last {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("entries up to place %d of %d are counted", r.GetThroughPlace(), last)
		}
	}
}

// sums adds up totals over days.
func sums(r *residencyv1.GetUsageResponse) (bytes, calls map[flow]int64) {
	bytes, calls = map[flow]int64{}, map[flow]int64{}
	for _, total := range r.GetTotals() {
		f := flow{total.GetDataClass(), total.GetDirection()}
		bytes[f] += total.GetBytes()
		calls[f] += total.GetCalls()
	}
	return bytes, calls
}

var keyLine = regexp.MustCompile(`"verifier_key": "([^"]+)"`)

// verify compares the totals with what callers were told, with the gateway's entries, and with an exported log that
// is verified by its key.
func (m *metered) verify(t *testing.T, d *daemon) {
	t.Helper()
	admin := d.dial(t, "admin-"+m.home.region)
	usage := counted(t, admin, m.name)
	billed, calls := sums(usage)
	for f, n := range m.acknowledged {
		if n == 0 || billed[f] < n || calls[f] < m.calls[f] {
			t.Errorf("%s: %d bytes in %d calls of %v are billed, callers were told of %d in %d", m.name, billed[f], calls[f], f, n, m.calls[f])
		}
	}
	if len(m.acknowledged) != 4 {
		t.Errorf("%s: only %v was moved", m.name, m.acknowledged)
	}
	days := []string{"--from", dayText(usage.GetStartDate()), "--to", dayText(usage.GetEndDate())}
	verify := func(more ...string) {
		t.Helper()
		args := append(append([]string{"usage", "verify", m.name}, days...), more...)
		out, errs, code := d.domicile(t, "admin-"+m.home.region, args...)
		if code != 0 || !regexp.MustCompile(`(?m)^`+m.name+`: verified$`).MatchString(out) {
			t.Errorf("domicile %v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	verify()
	log := filepath.Join(t.TempDir(), "log")
	d.must(t, "admin-"+m.home.region, "audit", "export", m.home.region, log)
	found := keyLine.FindStringSubmatch(d.must(t, "admin-"+m.home.region, "audit", "checkpoint", m.home.region, "-o", "json"))
	if found == nil {
		t.Fatal("the checkpoint tells no key")
	}
	for try := 0; ; try++ { // between the export and the question more may have been counted
		if out, _, code := d.domicile(t, "admin-"+m.home.region, append([]string{"usage", "verify", m.name, "--log", log, "--key", found[1]}, days...)...); code == 0 || try == 5 {
			if code != 0 {
				verify("--log", log, "--key", found[1])
			} else if !bytes.Contains([]byte(out), []byte("by its key alone")) {
				t.Errorf("it is not said what was compared with:\n%s", out)
			}
			return
		}
		log = filepath.Join(t.TempDir(), "log")
		d.must(t, "admin-"+m.home.region, "audit", "export", m.home.region, log)
	}
}

func dayText(d *residencyv1.Date) string {
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}

// awaitUnknown waits until a stream whose gateway was killed is closed in the log, with its last count.
func (m *metered) awaitUnknown(t *testing.T, d *daemon) {
	t.Helper()
	admin := d.dial(t, "admin-"+m.home.region)
	for end := time.Now().Add(startLimit); ; time.Sleep(time.Second) {
		n := 0
		req := &residencyv1.ReadEntriesRequest{Log: &residencyv1.ReadEntriesRequest_TenantId{TenantId: m.name}, PageSize: 10_000}
		for e, err := range admin.AllEntries(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			if e.GetEnd() == "unknown" {
				n++
			}
		}
		if n > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no stream of a gateway that was killed is closed in the log")
		}
	}
}
