package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// BenchmarkEntrySizes prints how many bytes on disk a call leaves, on each pair of engines, for unary calls and for
// streams: entries, the index that finds them with what usage is rolled up in, and the tree; and how many an export
// has. Give it a number of calls, for example -benchtime 20000x; as many are made before, so that what grows by steps has begun to.
func BenchmarkEntrySizes(b *testing.B) {
	b.Run("embedded", func(b *testing.B) {
		benchmarkSizes(b, func(b *testing.B) (*daemon, measure) {
			return start(b, filepath.Join(b.TempDir(), "data")), embeddedSizes
		})
	})
	b.Run("servers", func(b *testing.B) {
		benchmarkSizes(b, func(b *testing.B) (*daemon, measure) {
			d, err := prepareOnServers(b, b.TempDir())
			if errors.Is(err, storetest.ErrNoTool) {
				b.Skip(err)
			}
			if err == nil {
				err = d.launch()
			}
			if err != nil {
				b.Fatal(err)
			}
			d.stopWith(b)
			return d, serverSizes
		})
	})
}

// logSizes are the bytes that a region's log takes on disk.
type logSizes struct{ entries, rows, tree uint64 }

type measure func(b *testing.B, d *daemon) logSizes

func benchmarkSizes(b *testing.B, begin func(*testing.B) (*daemon, measure)) {
	for _, kind := range []struct {
		name string
		call func(b *testing.B, c *client.Client, tenant, subject string) error
	}{{"unary", readRecord}, {"stream", readSomeDrive}} {
		b.Run(kind.name, func(b *testing.B) {
			if b.N == 1 {
				return // the benchmark's own first try
			}
			d, sizes := begin(b)
			w := &sizesWorld{d: d}
			w.populate(b)
			w.load(b, kind.call)
			b.ResetTimer()
			before := w.settled(b)
			was := sizes(b, d)
			w.load(b, kind.call)
			after := w.settled(b)
			is := sizes(b, d)
			b.StopTimer()
			for unit, n := range map[string]float64{
				"entries-B/call": float64(is.entries - was.entries), "rows-B/call": float64(is.rows) - float64(was.rows),
				"tree-B/call": float64(is.tree - was.tree), "entries/call": float64(after - before),
				"B/call": float64(is.entries+is.rows+is.tree) - float64(was.entries+was.rows+was.tree),
			} {
				b.ReportMetric(n/float64(b.N), unit)
			}
			b.ReportMetric(float64(exportSize(b, d))/float64(w.settled(b)), "export-B/entry")
		})
	}
}

// sizesWorld is some tenants who each have some people and a drive.
type sizesWorld struct{ d *daemon }

const (
	sizesTenants  = 50
	sizesSubjects = 20
	sizesLanes    = 16
)

func (w *sizesWorld) populate(b *testing.B) {
	admin, app := w.d.dial(b, "admin-ch"), w.d.dial(b, "app-ch")
	for n := range sizesTenants {
		tenant := fmt.Sprintf("sizes-%d", n)
		register(b, admin, tenant)
		for k := range sizesSubjects {
			record := personalRecord(fmt.Sprint("s-", k), "r", "Anna")
			if _, err := app.Records.PutRecord(b.Context(), &residencyv1.PutRecordRequest{TenantId: tenant, Record: record}); err != nil {
				b.Fatal(err)
			}
		}
		_, err := app.Drives.CreateDrive(b.Context(), &residencyv1.CreateDriveRequest{TenantId: tenant, DriveId: "d", SizeBytes: 1 << 20})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func readRecord(b *testing.B, c *client.Client, tenant, subject string) error {
	_, err := c.Records.GetRecord(b.Context(), &residencyv1.GetRecordRequest{
		TenantId: tenant, SubjectId: subject, RecordId: "r", Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	return err
}

func readSomeDrive(b *testing.B, c *client.Client, tenant, _ string) error {
	_, err := c.ReadDriveTo(b.Context(), &residencyv1.ReadDriveRequest{
		TenantId: tenant, DriveId: "d", Length: 4096, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, discard{}, nil)
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// load makes the benchmark's number of calls.
func (w *sizesWorld) load(b *testing.B, call func(*testing.B, *client.Client, string, string) error) {
	var made atomic.Int64
	var wg sync.WaitGroup
	for range sizesLanes {
		c := w.d.dial(b, "app-ch")
		wg.Go(func() {
			for n := made.Add(1); n <= int64(b.N); n = made.Add(1) {
				err := call(b, c, fmt.Sprintf("sizes-%d", n%sizesTenants), fmt.Sprint("s-", n/sizesTenants%sizesSubjects))
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// settled waits until every entry is in the tree, and gives how many there are.
func (w *sizesWorld) settled(b *testing.B) (entries int64) {
	c := w.d.dial(b, "admin-ch")
	last := int64(-1)
	eventually(b, "the tree holds the entries", func() bool {
		r, err := c.Audit.GetCheckpoint(b.Context(), &residencyv1.GetCheckpointRequest{Region: "ch"})
		if err != nil {
			return false
		}
		grown := r.Size - last
		last = r.Size
		time.Sleep(time.Second)
		return grown < 5 // looking is an entry too
	})
	return last
}

// embeddedSizes looks at the files of a gateway that is stopped, once what was in memory has been written, and starts it again.
func embeddedSizes(b *testing.B, d *daemon) (s logSizes) {
	for range 2 { // the second start writes what the first left in its journal
		if err := d.stop(); err != nil {
			b.Fatal(err)
		}
		if err := d.launch(); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.stop(); err != nil {
		b.Fatal(err)
	}
	db, err := pebble.Open(filepath.Join(d.data, "ch", "rows"), &pebble.Options{ReadOnly: true, Logger: quiet{}})
	if err != nil {
		b.Fatal(err)
	}
	s.entries, err = db.EstimateDiskUsage([]byte("o"), []byte("p"))
	if err == nil {
		s.rows, err = db.EstimateDiskUsage([]byte("r"), []byte("s"))
	}
	if err = errors.Join(err, db.Close()); err == nil {
		err = d.launch()
	}
	if err != nil {
		b.Fatal(err)
	}
	s.tree = filesUnder(b, d.layout.drives["ch"], d.layout.log)
	return s
}

// serverSizes asks the database for its tables with their indexes, once what deletes left can be used again.
func serverSizes(b *testing.B, d *daemon) (s logSizes) {
	schema := strings.TrimSuffix(d.layout.bucket, "/objects/")
	c, err := pgx.Connect(b.Context(), running.postgres["ch"].URL("postgres", "domicile"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(b.Context())
	size := func(table string) (n uint64) {
		name := schema + "." + table
		if _, err := c.Exec(b.Context(), "vacuum "+name); err != nil {
			b.Fatal(err)
		}
		if err := c.QueryRow(b.Context(), "select pg_total_relation_size($1::text::regclass)", name).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	s.entries, s.rows = size("outbox"), size("rows")+size("agenda")
	s.tree = filesUnder(b, d.layout.drives["ch"], d.layout.log)
	return s
}

// filesUnder adds up the files below a folder whose paths have something in them.
func filesUnder(b *testing.B, folder, in string) (n uint64) {
	b.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, in) {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += uint64(info.Size())
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// exportSize exports the log, and gives the bytes of all its files.
func exportSize(b *testing.B, d *daemon) uint64 {
	dir := filepath.Join(b.TempDir(), "log")
	d.must(b, "admin-ch", "audit", "export", "ch", dir)
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
		b.Fatal(err)
	}
	return filesUnder(b, dir, "")
}
