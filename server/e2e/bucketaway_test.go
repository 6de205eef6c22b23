package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// bucketOf is the location of a server's bucket, with a file of its credentials.
func bucketOf(t testing.TB, s *storetest.S3Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[default]\naws_access_key_id = " + s.AccessKey + "\naws_secret_access_key = " + s.SecretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("s3://%s/%s?tls=off&region=%s&credentials=%s", s.Endpoint, s.Bucket, s.Region, file)
}

// chunkName is what the name of a drive's chunk looks like: the tenant comes first.
var chunkName = regexp.MustCompile(`^[0-9a-f]{32}\.`)

// chunksIn counts the chunks of drives in a server's bucket; the audit log is there too.
func chunksIn(t testing.TB, s *storetest.S3Server) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Folder(), "objects"), func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // deleted while we look
			return nil
		}
		if err == nil && e.Type().IsRegular() && chunkName.MatchString(e.Name()) {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	awayTenant = "away"
	awayDrives = 3
	awaySize   = 6 << 20 // of a drive's content: two objects
	awayChunks = 2
)

// The bucket's server is killed and started again under load: drives are
// UNAVAILABLE meanwhile, records are not, nothing that was acknowledged is lost, and
// when the sweep is through there is no chunk in the bucket that no drive refers to.
func TestBucketAway(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := storetest.StartS3(t)
	data := t.TempDir()
	d := configured(t, replaced(t, printed(t, data),
		"blobs: file:"+data+"/ch/blobs", fmt.Sprintf("blobs: %q", bucketOf(t, b)),
		"stream_lifetime: 1h0m0s", "stream_lifetime: 5s", // what was replaced is deleted a minute later
	))
	register(t, d.dial(t, "admin-ch"), awayTenant)
	l := startDrives(t, d)
	defer l.end()
	for range count(2, 20) {
		l.more(&l.written, 2*awayDrives)
		b.Stop()
		killed, kept := time.Now(), l.records.Load()
		l.more(&l.refused, 10)
		l.more(&l.records, 20)
		readiness(t, d, http.StatusServiceUnavailable, "region ch: no answer from its blobs")
		kept = l.records.Load() - kept
		b.Start()
		started := time.Now()
		l.more(&l.written, 1)
		t.Logf("away for %v, with %d records put and read meanwhile; a drive was written again %v after the start",
			round(started.Sub(killed)), kept, round(time.Since(started)))
	}
	readiness(t, d, http.StatusOK, "ready")
	l.end()
	l.verify(t)
	before := chunksIn(t, b)
	began := time.Now()
	await(t, "no chunk but what drives refer to is in the bucket", func() error {
		if n := chunksIn(t, b); n != awayDrives*awayChunks {
			return fmt.Errorf("%d chunks, want %d", n, awayDrives*awayChunks)
		}
		return nil
	})
	l.verify(t)
	t.Logf("%d writes and %d reads of drives acknowledged, 0 lost; %d UNAVAILABLE; %d of %d chunks were swept within %v, none is left over",
		l.written.Load(), l.read.Load(), l.refused.Load(), before-awayDrives*awayChunks, before, round(time.Since(began)))
}

// readiness waits for what /readyz answers.
func readiness(t testing.TB, d *daemon, code int, text string) {
	t.Helper()
	await(t, "readyz", func() error {
		r, err := http.Get("http://" + d.admin + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		var body bytes.Buffer
		_, err = body.ReadFrom(r.Body)
		if err == nil && (r.StatusCode != code || !strings.Contains(body.String(), text)) {
			err = fmt.Errorf("%d %s", r.StatusCode, body.String())
		}
		return err
	})
}

// drivesLoad is callers that write and read drives, and records, while the bucket comes and goes.
type drivesLoad struct {
	t    testing.TB
	app  *client.Client
	ctx  context.Context //nolint:containedctx // it ends the callers
	stop context.CancelFunc
	wg   sync.WaitGroup

	written, read, refused, records atomic.Int64

	mu    sync.Mutex
	acked map[string]int // drive → the number of the write that was acknowledged last
	sent  map[string]int // drive → the number of the one that was sent last
}

func startDrives(t testing.TB, d *daemon) *drivesLoad {
	t.Helper()
	l := &drivesLoad{t: t, app: d.dialOnce(t, "app-ch"), acked: make(map[string]int), sent: make(map[string]int)}
	l.ctx, l.stop = context.WithCancel(t.Context())
	for i := range awayDrives {
		drive := fmt.Sprint("d", i)
		_, err := l.app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: awayTenant, DriveId: drive, SizeBytes: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		l.wg.Go(func() { l.writeDrive(drive) })
		l.wg.Go(func() { l.readDrive(drive) })
	}
	l.wg.Go(l.useRecords)
	return l
}

// content is what the n-th write of a drive writes: the same line over and over.
func content(drive string, n int) []byte {
	line := fmt.Sprintf("%s %06d\n", drive, n)
	return bytes.Repeat([]byte(line), awaySize/len(line)+1)[:awaySize]
}

// settled reports whether a call on a drive succeeded. Without the bucket it is UNAVAILABLE, and
// says that it is the region.
func (l *drivesLoad) settled(what string, err error) bool {
	if err == nil || l.ctx.Err() != nil {
		return err == nil
	}
	var e *client.Error
	if !errors.As(err, &e) || e.Code != codes.Unavailable || e.Reason != "REGION_UNAVAILABLE" {
		l.t.Errorf("%s: %v", what, err)
	}
	l.refused.Add(1)
	l.pause(50 * time.Millisecond)
	return false
}

func (l *drivesLoad) pause(d time.Duration) {
	select {
	case <-l.ctx.Done():
	case <-time.After(d):
	}
}

func (l *drivesLoad) writeDrive(drive string) {
	for n := 1; l.ctx.Err() == nil; n++ {
		l.mu.Lock()
		l.sent[drive] = n
		l.mu.Unlock()
		_, err := l.app.WriteDriveFrom(l.ctx, &residencyv1.WriteDriveHeader{
			TenantId: awayTenant, DriveId: drive, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		}, onlyReader{bytes.NewReader(content(drive, n))}, nil)
		if !l.settled("WriteDrive", err) {
			continue
		}
		l.mu.Lock()
		l.acked[drive] = n
		l.mu.Unlock()
		l.written.Add(1)
		l.pause(100 * time.Millisecond)
	}
}

func (l *drivesLoad) readDrive(drive string) {
	for l.ctx.Err() == nil {
		l.pause(100 * time.Millisecond)
		l.mu.Lock()
		from := l.acked[drive]
		l.mu.Unlock()
		if from == 0 {
			continue
		}
		if got, err := l.get(l.ctx, drive); l.settled("ReadDrive", err) {
			l.check(drive, got, from)
			l.read.Add(1)
		}
	}
}

// get reads a drive once.
func (l *drivesLoad) get(ctx context.Context, drive string) ([]byte, error) {
	var out bytes.Buffer
	_, err := l.app.ReadDriveTo(ctx, &residencyv1.ReadDriveRequest{
		TenantId: awayTenant, DriveId: drive, Length: awaySize, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, &out, nil)
	return out.Bytes(), err
}

// check holds what was read against the writes from one that was acknowledged
// before to the last one that was sent.
func (l *drivesLoad) check(drive string, got []byte, from int) {
	l.mu.Lock()
	to := l.sent[drive]
	l.mu.Unlock()
	for n := from; n <= to; n++ {
		if bytes.Equal(got, content(drive, n)) {
			return
		}
	}
	l.t.Errorf("drive %s holds none of the writes from %d to %d, whole; it begins with %q", drive, from, to, got[:min(20, len(got))])
}

// useRecords puts a record and reads it: it needs no bucket, and so no call fails.
func (l *drivesLoad) useRecords() {
	for i := 0; l.ctx.Err() == nil; i++ {
		name := fmt.Sprint("c", i)
		_, err := l.app.Records.PutRecord(l.ctx, &residencyv1.PutRecordRequest{TenantId: awayTenant, Record: personalRecord("s", "r", name)})
		var r *residencyv1.GetRecordResponse
		if err == nil {
			r, err = l.app.Records.GetRecord(l.ctx, &residencyv1.GetRecordRequest{
				TenantId: awayTenant, SubjectId: "s", RecordId: "r", Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
			})
		}
		if l.ctx.Err() != nil {
			return
		}
		if err != nil || r.Record.Personal.FullName != name {
			l.t.Errorf("a record: %q, %v", r.GetRecord().GetPersonal().GetFullName(), err)
		}
		l.records.Add(1)
		l.pause(20 * time.Millisecond)
	}
}

// more waits until something was counted n times more.
func (l *drivesLoad) more(counter *atomic.Int64, n int64) {
	l.t.Helper()
	want := counter.Load() + n
	await(l.t, "the load goes on", func() error {
		if got := counter.Load(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
}

// end stops the callers.
func (l *drivesLoad) end() {
	l.stop()
	l.wg.Wait()
}

// verify reads every drive and holds it against what was acknowledged.
func (l *drivesLoad) verify(t testing.TB) {
	t.Helper()
	for drive, from := range l.acked {
		got, err := l.get(t.Context(), drive)
		if err != nil {
			t.Errorf("drive %s: %v", drive, err)
			continue
		}
		l.check(drive, got, from)
	}
}
