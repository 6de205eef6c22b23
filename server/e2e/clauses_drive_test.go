package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// drive makes a drive that holds the bytes.
func (c *clause) drive(id string, content []byte) {
	c.Helper()
	_, err := c.app.Drives.CreateDrive(c.Context(), &residencyv1.CreateDriveRequest{TenantId: c.tenant, DriveId: id, SizeBytes: int64(max(1, len(content)))})
	if err != nil {
		c.Fatalf("making a drive: %v", err)
	}
	c.allow("writing a drive", c.writeDrive(id, content), "")
}

func (c *clause) writeDrive(id string, content []byte) call {
	return func(o grpc.CallOption) error {
		_, err := c.app.WriteDriveFrom(c.Context(), &residencyv1.WriteDriveHeader{TenantId: c.tenant, DriveId: id, Purpose: services},
			bytes.NewReader(content), nil, o)
		return err
	}
}

// readDrive reads a whole drive.
func (c *clause) readDrive(by *client.Client, id string, to io.Writer) call {
	return func(o grpc.CallOption) error {
		_, err := by.ReadDriveTo(c.Context(), &residencyv1.ReadDriveRequest{TenantId: c.tenant, DriveId: id, Purpose: services}, to, nil, o)
		return err
	}
}

// inspect looks into a drive and gives all bytes.
func (c *clause) inspect(by *client.Client, req *residencyv1.InspectDriveRequest, to io.Writer) call {
	return func(o grpc.CallOption) error {
		req.TenantId = c.tenant
		s, err := by.Drives.InspectDrive(c.Context(), req, o)
		for err == nil {
			var piece *residencyv1.InspectDriveResponse
			if piece, err = s.Recv(); err == nil {
				_, err = to.Write(piece.Data)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// testDriveStorage: a cluster outside the jurisdiction, or that somebody else owns or operates,
// is refused; a drive's bytes come to lie in the region's own folder and nowhere else.
func testDriveStorage(c *clause) {
	text := c.d.config
	if text == "" {
		text = printed(c, c.TempDir())
	}
	c.checkAccepts(text)
	at := strings.Index(text, "location: "+c.jurisdiction)
	if at < 0 {
		c.Fatalf("no cluster in %s in\n%s", c.jurisdiction, text)
	}
	owner := "owner: " + c.controller
	for what, changed := range map[string]string{
		"location": text[:at] + "location: " + c.abroad + text[at+len("location: "+c.jurisdiction):],
		"owner":    text[:at] + strings.Replace(text[at:], owner, "owner: Rented Servers Ltd", 1),
		"operator": text[:at] + strings.Replace(text[at:], owner, owner+"\n      operator: Rented Servers Ltd", 1),
	} {
		if changed == text {
			c.Fatalf("%s: nothing to change in\n%s", what, text)
		}
		c.checkRefuses(changed, "clause drive-storage")
	}
	home, abroad := c.chunks(c.region), c.chunks(c.abroadRegion)
	content := make([]byte, 9<<20)
	rand.Read(content)
	c.drive("d", content)
	homeAfter, abroadAfter := c.chunks(c.region), c.chunks(c.abroadRegion)
	if added := newIn(home, homeAfter); added < int64(len(content)) {
		c.Errorf("%d bytes came to lie at home, want at least %d", added, len(content))
	}
	if added := newIn(abroad, abroadAfter); added != 0 {
		c.Errorf("%d bytes came to lie abroad", added)
	}
}

// chunks are the sizes of the files that hold drives in a region, by name.
func (c *clause) chunks(region string) map[string]int64 {
	c.Helper()
	return c.d.chunks(c, region)
}

func (d *daemon) chunks(t testing.TB, region string) map[string]int64 {
	t.Helper()
	sizes := make(map[string]int64)
	for path, size := range filesBelow(t, d.layout.drives[region]) {
		if strings.HasPrefix(filepath.Base(path), d.layout.chunk) && !strings.Contains(path, d.layout.log) {
			sizes[path] = size
		}
	}
	return sizes
}

// filesBelow gives the sizes of all files in a folder and those below it. Of a folder that
// is not there it gives none.
func filesBelow(t testing.TB, folder string) map[string]int64 {
	t.Helper()
	sizes := make(map[string]int64)
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err == nil {
			sizes[path] = info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

func newIn(before, after map[string]int64) (size int64) {
	for name, n := range after {
		if _, was := before[name]; !was {
			size += n
		}
	}
	return size
}

// testDriveCipher: a drive lies under two layers of AES-256 whose keys come from two roots, so
// that it is unreadable to whoever lacks either; its plaintext is on no disk.
func testDriveCipher(c *clause) {
	mine := *c
	mine.d = c.d.another(c)
	mine.callers = mine.d.callers(c, c.country)
	mine.tenant = mine.register(c.jurisdiction, nil)
	const segment, layers, overhead = 256 << 10, 2, 28 // bytes; a nonce of 12 and a tag of 16 for each layer
	song := bytes.Repeat([]byte("canary-of-a-drive-"), 4<<20/18+1)[:4<<20]
	mine.drive("d", song)
	mine.hold("s", "r", payments)
	var size int64
	for path, n := range mine.chunks(c.region) {
		size += n
		text, err := os.ReadFile(path)
		if err != nil || bytes.Contains(text, song[:18]) {
			c.Errorf("%s holds plaintext (%v)", path, err)
		}
	}
	if want := int64(len(song) + len(song)/segment*(1+layers*overhead)); size != want {
		c.Errorf("%d bytes lie on disk, want %d: %d layers of AES-256-GCM for each segment", size, want, layers)
	}
	mine.onDisk(song[:18])
	if err := mine.d.stop(); err != nil {
		c.Fatal(err)
	}
	ring := filepath.Join(mine.d.layout.keys, c.region, "root")
	whole, err := os.ReadFile(ring)
	if err != nil {
		c.Fatal(err)
	}
	mine.withRing(ring, whole, "")
	mine.withRing(ring, otherRoot(c, whole, driveRoot), "drive")
	mine.withRing(ring, otherRoot(c, whole, dataRoot), "data")
	mine.withRing(ring, whole, "")
}

// Where the roots begin in a keyring file (residency/seal/FORMAT.md).
const (
	dataRoot  = 17
	driveRoot = 49
	ringSize  = 113
)

// otherRoot is a keyring with another root in one place.
func otherRoot(c *clause, ring []byte, at int) []byte {
	if len(ring) != ringSize {
		c.Fatalf("a keyring of %d bytes, want %d", len(ring), ringSize)
	}
	out := bytes.Clone(ring)
	rand.Read(out[at : at+32])
	sum := sha256.Sum256(out[:ringSize-sha256.Size])
	copy(out[ringSize-sha256.Size:], sum[:])
	return out
}

// withRing starts the gateway on a keyring. With another drive root drives are unreadable and
// records are not; with another data root both are.
func (c *clause) withRing(file string, ring []byte, other string) {
	c.Helper()
	if err := os.WriteFile(file, ring, 0o600); err != nil {
		c.Fatal(err)
	}
	d, err := c.d.again()
	if err != nil {
		c.Fatalf("another %s root: %v", other, err)
	}
	app := d.dial(c, "app-"+c.region)
	var read bytes.Buffer
	driveErr := c.readDrive(app, "d", &read)(grpc.EmptyCallOption{})
	recordErr := c.get(app, "s", "r", payments)(grpc.EmptyCallOption{})
	if (driveErr == nil) != (other == "") || driveErr != nil && read.Len() != 0 {
		c.Errorf("another %q root: the drive gives %d bytes (%v)", other, read.Len(), driveErr)
	}
	if (recordErr == nil) != (other != "data") {
		c.Errorf("another %q root: the record gives %v", other, recordErr)
	}
	if err := d.stop(); err != nil {
		c.Error(err)
	}
}

// testNoInspection: what is stored on a drive is looked into with the tenant's recorded
// permission alone, while it lasts.
func testNoInspection(c *clause) {
	content := []byte("the tenant's own business")
	c.drive("d", content)
	look := func(by *client.Client, to io.Writer) call {
		return c.inspect(by, &residencyv1.InspectDriveRequest{DriveId: "d", Purpose: looking}, to)
	}
	c.deny("without permission", look(c.admin, io.Discard), "INSPECTION_PERMISSION_REQUIRED", c.id)
	id := c.grant(c.consent(residencyv1.ConsentKind_CONSENT_KIND_INSPECTION_PERMISSION, driveData, looking))
	var seen bytes.Buffer
	if r := c.allow("with permission", look(c.admin, &seen), c.id); r.Decision.ConsentId != id {
		c.Errorf("the decision rests on %q, want the permission %q", r.Decision.ConsentId, id)
	}
	if !bytes.Equal(seen.Bytes(), content) {
		c.Errorf("looked at %q", seen.Bytes())
	}
	c.forbidden("the tenant's software, which may not inspect", look(c.app, io.Discard))
	if err := look(c.foreignAdmin, io.Discard)(grpc.EmptyCallOption{}); err == nil {
		c.Error("looked into from abroad")
	}
	c.deny("for another purpose", c.inspect(c.admin, &residencyv1.InspectDriveRequest{DriveId: "d", Purpose: services}, io.Discard),
		"INSPECTION_PERMISSION_REQUIRED", c.id)
	c.withdraw(id)
	c.deny("after the permission was withdrawn", look(c.admin, io.Discard), "CONSENT_WITHDRAWN", c.id)
}

// testMetering: of what is transmitted the volume is measured, to the byte and in each
// direction; a refused transfer measures nothing, and the totals name nobody, so that they are told abroad too.
func testMetering(c *clause) {
	content := make([]byte, 3<<20+12345)
	rand.Read(content)
	_, err := c.app.Drives.CreateDrive(c.Context(), &residencyv1.CreateDriveRequest{TenantId: c.tenant, DriveId: "d", SizeBytes: int64(len(content))})
	if err != nil {
		c.Fatal(err)
	}
	if r := c.allow("writing", c.writeDrive("d", content), ""); r.Stream.GetBytes() != int64(len(content)) || r.Stream.End == "" {
		c.Errorf("a write of %d bytes is logged as %v", len(content), r.Stream)
	}
	const length = 1<<20 + 1
	part := func(o grpc.CallOption) error {
		_, err := c.app.ReadDriveTo(c.Context(), &residencyv1.ReadDriveRequest{
			TenantId: c.tenant, DriveId: "d", Offset: 1000, Length: length, Purpose: services,
		}, io.Discard, nil, o)
		return err
	}
	if r := c.allow("reading a part", part, ""); r.Stream.GetBytes() != length {
		c.Errorf("a read of %d bytes is logged as %v", length, r.Stream)
	}
	c.deny("reading from abroad", c.readDrive(c.foreignApp, "d", io.Discard), "CROSS_BORDER_CONSENT_REQUIRED", "product/border")
	for _, by := range []*client.Client{c.app, c.foreignAdmin} {
		bytes, calls := sums(counted(c, by, c.tenant))
		for direction, want := range map[residencyv1.TransferDirection]int64{inward: int64(len(content)), outward: length} {
			if f := (flow{driveData, direction}); bytes[f] != want || calls[f] != 1 {
				c.Errorf("%v: %d bytes in %d calls are measured, want %d in one", f, bytes[f], calls[f], want)
			}
		}
	}
	c.allow("asking for the totals", func(o grpc.CallOption) error {
		_, err := c.app.Usage.GetUsage(c.Context(), &residencyv1.GetUsageRequest{TenantId: c.tenant}, o)
		return err
	}, c.id)
	c.forbidden("somebody without the permission", func(o grpc.CallOption) error {
		_, err := c.d.dial(c, "sre").Usage.GetUsage(c.Context(), &residencyv1.GetUsageRequest{TenantId: c.tenant}, o)
		return err
	})
	for class, want := range map[residencyv1.DataClass]struct {
		outcome residencyv1.Outcome
		clause  string
	}{
		driveData: {residencyv1.Outcome_OUTCOME_ALLOW, c.id},
		residencyv1.DataClass_DATA_CLASS_ACCOUNT_DATA: {residencyv1.Outcome_OUTCOME_ALLOW, c.id},
		personal: {residencyv1.Outcome_OUTCOME_DENY, "product/default"},
	} {
		r, err := c.admin.Policies.Explain(c.Context(), &residencyv1.ExplainRequest{
			Region: c.region, Action: residencyv1.Action_ACTION_METER, DataClass: class, Party: residencyv1.Party_PARTY_PROVIDER,
		})
		if err != nil || r.Outcome != want.outcome || r.Clause != want.clause {
			c.Errorf("measuring %v: %v under clause %s (%v), want %v under %s", class, r.GetOutcome(), r.GetClause(), err, want.outcome, want.clause)
		}
	}
}

// testAbuseInspection: transfers are watched as they pass under an approved case, for as long as
// it is open; what is stored is not looked at.
func testAbuseInspection(c *clause) {
	stored := bytes.Repeat([]byte("stored before "), 1000)
	c.drive("d", stored)
	opened, err := c.admin.Disclosures.OpenAbuseCase(c.Context(), &residencyv1.OpenAbuseCaseRequest{
		TenantId: c.tenant, AbuseCase: &residencyv1.AbuseCase{
			Suspicion: "it distributes malware", DriveIds: []string{"d"}, ValidUntil: timestamppb.New(time.Now().Add(time.Hour)),
		},
	})
	if err != nil {
		c.Fatal(err)
	}
	id := opened.AbuseCase.CaseId
	watch := &residencyv1.InspectDriveRequest{DriveId: "d", Purpose: fraud, CaseId: id}
	const required = "INSPECTION_PERMISSION_REQUIRED"
	c.deny("no case", c.inspect(c.admin, &residencyv1.InspectDriveRequest{DriveId: "d", Purpose: fraud}, io.Discard), required, c.id)
	c.deny("a case that nobody approved", c.inspect(c.admin, watch, io.Discard), required, c.id)
	approve := func(by *client.Client) call {
		return func(o grpc.CallOption) error {
			_, err := by.Disclosures.ApproveAbuseCase(c.Context(), &residencyv1.ApproveAbuseCaseRequest{TenantId: c.tenant, CaseId: id}, o)
			return err
		}
	}
	c.forbidden("approving one's own case", approve(c.admin))
	c.allow("approving", approve(c.officer), "")
	c.drive("other", []byte("another drive"))
	c.deny("a drive that the case does not name", c.inspect(c.admin, &residencyv1.InspectDriveRequest{DriveId: "other", Purpose: fraud, CaseId: id}, io.Discard), required, c.id)
	passing := bytes.Repeat([]byte("passes by now "), 1000)
	seen, decision := c.watch(watch, passing)
	if !bytes.Contains(seen, passing[:14]) || bytes.Contains(seen, stored[:14]) {
		c.Errorf("watching saw %d bytes: what passed %v, what was stored %v", len(seen), bytes.Contains(seen, passing[:14]), bytes.Contains(seen, stored[:14]))
	}
	r := c.decided("watching", decision, residencyv1.Outcome_OUTCOME_ALLOW, c.id)
	if r.Decision.OrderId != id {
		c.Errorf("watching rests on %q, want the case %q", r.Decision.OrderId, id)
	}
	if _, err := c.admin.Disclosures.CloseAbuseCase(c.Context(), &residencyv1.CloseAbuseCaseRequest{TenantId: c.tenant, CaseId: id}); err != nil {
		c.Fatal(err)
	}
	c.deny("a closed case", c.inspect(c.admin, watch, io.Discard), required, c.id)
}

// watch inspects a drive while something is written to it, and gives what was seen and the
// decision that it was seen under.
func (c *clause) watch(req *residencyv1.InspectDriveRequest, passing []byte) (seen []byte, decision string) {
	c.Helper()
	ctx, stop := context.WithTimeout(c.Context(), 30*time.Second)
	defer stop()
	req.TenantId = c.tenant
	s, err := c.admin.Drives.InspectDrive(ctx, req)
	if err != nil {
		c.Fatal(err)
	}
	header, err := s.Header()
	if err != nil {
		c.Fatal(err)
	}
	if ids := header.Get("residency-decision-id"); len(ids) == 1 {
		decision = ids[0]
	}
	c.allow("writing meanwhile", c.writeDrive("d", passing), "")
	for len(seen) < len(passing) {
		piece, err := s.Recv()
		if err != nil {
			c.Fatalf("watching: %v after %d bytes", err, len(seen))
		}
		if piece.Passing.GetDirection() != residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE {
			c.Errorf("passing: %v", piece.Passing)
		}
		seen = append(seen, piece.Data...)
		if n := piece.Passing.GetMissedBytes(); n > 0 {
			seen = append(seen, fmt.Appendf(nil, "(%d missed)", n)...)
		}
	}
	return seen, decision
}
