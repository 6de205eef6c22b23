package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// alone is a clause's world with a gateway of the test's own in a data folder.
func alone(t *testing.T, data string, home country) *clause {
	d := start(t, data)
	return newClause(t, d, home, d.callers(t, home), "stop-holding")
}

// restart starts the gateway again on its folder.
func (c *clause) restart() {
	c.Helper()
	c.d = start(c, c.d.data)
	c.callers = c.d.callers(c, c.country)
}

// stores are the folders that a backup of rows and blobs holds; keys are in neither.
func stores(data string) []string {
	var out []string
	for _, region := range []string{"ch", "us"} {
		out = append(out, filepath.Join(data, region, "rows"), filepath.Join(data, region, "blobs"))
	}
	return out
}

// backUp copies rows and blobs of both regions, and gives what puts the copies in their place.
func backUp(t *testing.T, data string) (restore func()) {
	t.Helper()
	backup := t.TempDir()
	for i, folder := range stores(data) {
		if err := os.CopyFS(filepath.Join(backup, fmt.Sprint(i)), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for i, folder := range stores(data) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(folder, os.DirFS(filepath.Join(backup, fmt.Sprint(i)))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The kinds of rows that the tests count (residency/store).
const (
	subjectRow, recordRow, lookupRow, consentRow, restrictionRow, disclosureRow, erasureRow = 2, 3, 4, 5, 12, 19, 20
)

// rowsOnDisk counts the rows of a stopped gateway's region: of each tenant, by its pseudonym,
// and each kind.
func rowsOnDisk(t *testing.T, data, region string) map[string]map[byte]int {
	t.Helper()
	db, err := pebble.Open(filepath.Join(data, region, "rows"), &pebble.Options{ReadOnly: true, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("r"), UpperBound: []byte("s")})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := make(map[string]map[byte]int)
	for ok := rows.First(); ok; ok = rows.Next() {
		key := rows.Key() // 'r', the tenant's pseudonym of 16 bytes, the kind, the id
		tenant := string(key[1:17])
		if out[tenant] == nil {
			out[tenant] = make(map[byte]int)
		}
		out[tenant][key[17]]++
	}
	if err := rows.Error(); err != nil {
		t.Fatal(err)
	}
	delete(out, string(make([]byte, 16))) // the zero tenant's rows are the region's own
	return out
}

// quiet is a log that nobody reads.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// A person who was erased stays erased when every folder of rows and blobs is put back as it was
// before: nothing about them is readable or found, nothing is written, and what came back is
// swept again. Other people's data is there.
func TestErasedPersonStaysErased(t *testing.T) {
	for _, home := range []country{switzerland, unitedStates} {
		for _, swept := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/swept-before-%v", home.region, swept), func(t *testing.T) {
				c := alone(t, filepath.Join(t.TempDir(), "data"), home)
				email, consent := c.someone()
				if err := c.d.stop(); err != nil {
					t.Fatal(err)
				}
				restore := backUp(t, c.d.data)
				c.restart()
				id := c.erase("s")
				c.gone("s", email, consent)
				if swept {
					c.untilDone(id)
				}
				c.d.kill()
				restore()
				c.restart()
				c.gone("s", email, consent)
				c.allow("somebody else", c.get(c.app, "stays", "r", payments), "")
				c.untilDone(id)
				c.gone("s", email, consent)
				if err := c.d.stop(); err != nil {
					t.Fatal(err)
				}
				c.leftOnDisk()
			})
		}
	}
}

// someone writes all that can be held about a person, and a record about somebody else.
func (c *clause) someone() (email, consent string) {
	c.Helper()
	r := c.hold("s", "r", payments)
	for i := range 5 {
		c.hold("s", fmt.Sprint("more-", i), payments)
	}
	c.hold("stays", "r", payments)
	consent = c.grant(of(c.crossing(personal, payments), "s"))
	_, err := c.admin.Records.RestrictSubject(c.Context(), &residencyv1.RestrictSubjectRequest{
		TenantId: c.tenant, SubjectId: "s", Purposes: []residencyv1.Purpose{enquiries},
	})
	if err != nil {
		c.Fatal(err)
	}
	c.recipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	c.allow("disclosing", c.discloses("agent", payments, nil), "")
	items, err := c.export(c.admin, "s")
	if err != nil || len(items) < 9 { // restrictions, six records, a consent, a disclosure, and the decisions
		c.Fatalf("the whole file has %d items (%v)", len(items), err)
	}
	return r.Personal.EmailAddress, consent
}

// erase erases a person and gives the erasure's id.
func (c *clause) erase(subject string) string {
	c.Helper()
	r, err := c.admin.Records.EraseSubject(c.Context(), &residencyv1.EraseSubjectRequest{TenantId: c.tenant, SubjectId: subject})
	if err != nil {
		c.Fatal(err)
	}
	return r.Erasure.ErasureId
}

// untilDone waits for an erasure's sweep.
func (c *clause) untilDone(id string) (done *residencyv1.Erasure) {
	c.Helper()
	eventually(c, "the erasure is done", func() bool {
		r, err := c.admin.Tenants.GetErasure(c.Context(), &residencyv1.GetErasureRequest{TenantId: c.tenant, ErasureId: id})
		if err != nil {
			c.Fatalf("looking for the erasure: %v", err)
		}
		done = r.Erasure
		return done.State == residencyv1.ErasureState_ERASURE_STATE_DONE
	})
	if done.FinishTime == nil || done.RowsErased == 0 || done.Controller != c.controller || done.PolicyVersion != c.version {
		c.Errorf("the finished erasure is %v", done)
	}
	return done
}

// leftOnDisk: of the two people one is left, with nothing but their record; the erasure's own
// row names nobody.
func (c *clause) leftOnDisk() {
	c.Helper()
	rows := rowsOnDisk(c.T, c.d.data, c.region)
	if len(rows) != 1 {
		c.Fatalf("%d tenants have rows, want 1", len(rows))
	}
	for _, kinds := range rows {
		for kind, want := range map[byte]int{
			subjectRow: 1, recordRow: 1, lookupRow: 2, consentRow: 0, restrictionRow: 0, disclosureRow: 0,
			erasureRow: 2, // the erasure, and the mark that binds every gateway
		} {
			if kinds[kind] != want {
				c.Errorf("%d rows of kind %d are on disk, want %d", kinds[kind], kind, want)
			}
		}
	}
}

// A record that was collected automatically leaves the disk, too, when its lifetime is over.
func TestExpiredCookiesLeaveTheDisk(t *testing.T) {
	c := alone(t, filepath.Join(t.TempDir(), "data"), switzerland)
	c.hold("stays", "r", payments)
	for i := range 20 {
		cookie := personalRecord(fmt.Sprint("visitor-", i), "session", "anna")
		cookie.Source, cookie.ExpireTime = residencyv1.Source_SOURCE_AUTOMATIC, timestamppb.New(time.Now().Add(time.Second))
		c.allow("a session's record", c.put(c.app, cookie), "")
	}
	eventually(t, "what is over is gone from disk", func() bool {
		time.Sleep(2 * time.Second)
		if err := c.d.stop(); err != nil {
			t.Fatal(err)
		}
		records := 0
		for _, kinds := range rowsOnDisk(t, c.d.data, c.region) {
			records += kinds[recordRow]
		}
		c.restart()
		return records == 1
	})
	c.allow("what has no end", c.get(c.app, "stays", "r", payments), "")
}

// A tenant that is erased is unreadable at once; its erasure tells how far the sweep has come, and
// at its end nothing of the tenant is left in rows or blobs. Another tenant's data stays, also
// when the folders are put back as they were before.
func TestErasedTenantLeavesNothing(t *testing.T) {
	records, size := count(2000, 100_000), int64(count(64, 1024))<<20
	c := alone(t, filepath.Join(t.TempDir(), "data"), switzerland)
	other := *c
	other.tenant = c.register(c.jurisdiction, nil)
	other.hold("stays", "r", payments)
	other.drive("d", bytes.Repeat([]byte("stays"), 1000))
	kept := len(c.chunks(c.region))
	c.populate(records, size)
	if n := len(c.chunks(c.region)); int64(n-kept) < size>>22 {
		t.Fatalf("%d chunks on disk hold a drive of %d bytes", n-kept, size)
	}
	restore := func() {}
	if !soak() { // the copy of the full size is left out
		if err := c.d.stop(); err != nil {
			t.Fatal(err)
		}
		restore = backUp(t, c.d.data)
		c.restart()
	}
	id := c.eraseTenant()
	c.nothing()
	seen := c.progress(id)
	done := c.untilDone(id)
	t.Logf("%d records and %d MiB: %d rows and %d blobs erased in %v, seen at %d places on the way", records, size>>20,
		done.RowsErased, done.BlobsErased, done.FinishTime.AsTime().Sub(done.CreateTime.AsTime()), len(seen))
	if done.RowsErased < int64(records) || done.BlobsErased < size>>22 {
		t.Errorf("the erasure counts %d rows and %d blobs", done.RowsErased, done.BlobsErased)
	}
	c.onlyOthers(&other, kept)
	if soak() {
		return
	}
	c.d.kill()
	restore()
	c.restart()
	c.nothing()
	c.untilDone(id)
	c.onlyOthers(&other, kept)
}

// populate writes a tenant's records and its drive.
func (c *clause) populate(records int, size int64) {
	c.Helper()
	const writers = 32
	var wg sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := w; i < records; i += writers {
				subject := fmt.Sprint("s", i/4)
				if err := c.put(c.app, personalRecord(subject, fmt.Sprint("r", i), "anna."+subject))(grpc.EmptyCallOption{}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		c.Fatalf("writing records: %v", err)
	default:
	}
	_, err := c.app.Drives.CreateDrive(c.Context(), &residencyv1.CreateDriveRequest{TenantId: c.tenant, DriveId: "d", SizeBytes: size})
	if err != nil {
		c.Fatal(err)
	}
	_, err = c.app.WriteDriveFrom(c.Context(), &residencyv1.WriteDriveHeader{TenantId: c.tenant, DriveId: "d", Purpose: services},
		io.LimitReader(ones{}, size), nil)
	if err != nil {
		c.Fatal(err)
	}
}

// ones is bytes without end.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

func (c *clause) eraseTenant() string {
	c.Helper()
	if _, err := c.admin.Tenants.EraseTenant(c.Context(), &residencyv1.EraseTenantRequest{TenantId: c.tenant, ConfirmTenantId: "another"}); err == nil {
		c.Fatal("erased without confirmation")
	}
	r, err := c.admin.Tenants.EraseTenant(c.Context(), &residencyv1.EraseTenantRequest{TenantId: c.tenant, ConfirmTenantId: c.tenant})
	if err != nil {
		c.Fatal(err)
	}
	if r.Erasure.Kind != residencyv1.ErasureKind_ERASURE_KIND_TENANT || r.Erasure.Clause != c.id {
		c.Errorf("the erasure is %v", r.Erasure)
	}
	return r.Erasure.ErasureId
}

// nothing checks that an erased tenant is unreadable in every way, and its name never given out
// again.
func (c *clause) nothing() {
	c.Helper()
	c.absent("a record", c.get(c.app, "s0", "r0", payments))
	c.absent("a drive", c.readDrive(c.app, "d", io.Discard))
	c.absent("writing", c.put(c.app, personalRecord("s0", "new", "anna")))
	for what, f := range map[string]func() error{
		"the tenant": func() error {
			_, err := c.admin.Tenants.GetTenant(c.Context(), &residencyv1.GetTenantRequest{TenantId: c.tenant})
			return err
		},
		"its subjects": func() error {
			_, err := c.app.Records.ListSubjects(c.Context(), &residencyv1.ListSubjectsRequest{TenantId: c.tenant, Purpose: payments})
			return err
		},
		"a search": func() error {
			_, err := c.app.Records.FindRecords(c.Context(), &residencyv1.FindRecordsRequest{
				TenantId: c.tenant, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: "anna.s0@example.org"}, Purpose: payments,
			})
			return err
		},
		"its drives": func() error {
			_, err := c.app.Drives.ListDrives(c.Context(), &residencyv1.ListDrivesRequest{TenantId: c.tenant})
			return err
		},
		"its consents": func() error {
			_, err := c.app.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant})
			return err
		},
		"a person's file": func() error {
			_, err := c.export(c.admin, "s0")
			return err
		},
	} {
		if err := f(); !isNotFound(err) {
			c.Errorf("%s: %v, want NOT_FOUND", what, err)
		}
	}
	list, err := c.admin.Tenants.ListTenants(c.Context(), &residencyv1.ListTenantsRequest{Region: c.region})
	if err != nil || slices.ContainsFunc(list.Tenants, func(t *residencyv1.Tenant) bool { return t.TenantId == c.tenant }) {
		c.Errorf("listed as a tenant (%v)", err)
	}
	_, err = c.admin.Tenants.RegisterTenant(c.Context(), &residencyv1.RegisterTenantRequest{TenantId: c.tenant, Residence: c.jurisdiction})
	if err == nil {
		c.Error("the name was given out again")
	}
}

// progress follows an erasure to its end and gives how many rows and blobs were told of on the
// way; they only grow.
func (c *clause) progress(id string) (seen []string) {
	c.Helper()
	var rows, blobs int64
	for {
		r, err := c.admin.Tenants.GetErasure(c.Context(), &residencyv1.GetErasureRequest{TenantId: c.tenant, ErasureId: id})
		if err != nil {
			c.Fatal(err)
		}
		e := r.Erasure
		if e.RowsErased < rows || e.BlobsErased < blobs {
			c.Errorf("from %d rows and %d blobs back to %d and %d", rows, blobs, e.RowsErased, e.BlobsErased)
		}
		if e.State == residencyv1.ErasureState_ERASURE_STATE_DONE {
			break
		}
		if len(seen) == 0 || e.RowsErased > rows || e.BlobsErased > blobs {
			seen = append(seen, fmt.Sprintf("%d+%d", e.RowsErased, e.BlobsErased))
		}
		rows, blobs = e.RowsErased, e.BlobsErased
		time.Sleep(5 * time.Millisecond)
	}
	if soak() && len(seen) < 3 {
		c.Errorf("of a long sweep only %v were seen", seen)
	}
	return seen
}

// onlyOthers stops the gateway and checks that of the erased tenant there is but the row of its
// erasure, that another tenant's rows and chunks are there, and starts it again.
func (c *clause) onlyOthers(other *clause, chunks int) {
	c.Helper()
	if err := c.d.stop(); err != nil {
		c.Fatal(err)
	}
	rows := rowsOnDisk(c.T, c.d.data, c.region)
	erased, others := 0, 0
	for _, kinds := range rows {
		switch {
		case kinds[erasureRow] == 0:
			others++
			if kinds[recordRow] != 1 || kinds[subjectRow] != 1 {
				c.Errorf("the other tenant has the rows %v", kinds)
			}
		case len(kinds) != 1 || kinds[erasureRow] != 1:
			c.Errorf("of the erased tenant are left the rows %v", kinds)
		default:
			erased++
		}
	}
	if erased != 1 || others != 1 {
		c.Errorf("%d erased tenants and %d others have rows, want 1 and 1", erased, others)
	}
	if n := len(c.chunks(c.region)); n != chunks {
		c.Errorf("%d chunks are on disk, want the other tenant's %d", n, chunks)
	}
	c.restart()
	other.d, other.callers = c.d, c.callers
	other.allow("the other tenant's record", other.get(other.app, "stays", "r", payments), "")
	other.allow("the other tenant's drive", other.readDrive(other.app, "d", io.Discard), "")
}
