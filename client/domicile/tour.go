package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type tourCommand struct{}

// The tour's cast: the identities that an embedded gateway makes.
const (
	adminCH = "admin-ch"
	adminUS = "admin-us"
	appCH   = "app-ch"
	appUS   = "app-us"
)

// tourDrive is the size of the tour's drives in bytes: more than a stream holds
// in flight, so that one that nobody reads from is still open when its consent ends.
const tourDrive = 8 << 20

const tourPurpose = residencyv1.Purpose_PURPOSE_SERVICE_PROVISION

// tour is one telling: the cast's connections, this run's tenants, what is known so far.
type tour struct {
	app   *app
	page  *page
	as    map[string]*client.Client
	where addresses

	swiss, american string // tenants
	data            []byte // what the drives hold
	consent         string
	stream          grpc.ServerStreamingClient[residencyv1.ReadDriveResponse] // open while the consent ends
	streamed        int64                                                     // bytes that it brought
}

// Run tells the tour. It fails at the first step that did not come out as told.
func (tourCommand) Run(a *app) error {
	t := &tour{app: a, page: newPage(a.stdout), as: map[string]*client.Client{}}
	if err := t.connect(); err != nil {
		return err
	}
	defer t.disconnect()
	t.swiss, t.american = t.names()
	t.page.title("Domicile on one page", "gateway "+t.where.GRPC)
	for _, chapter := range []func() error{t.register, t.write, t.home, t.blocked, t.grant, t.allowed, t.withdraw, t.blockedAgain} {
		if err := chapter(); err != nil {
			return t.unlikeTold(err)
		}
	}
	t.next()
	return t.page.err
}

func (t *tour) connect() error {
	address, err := t.app.address()
	if err != nil {
		return err
	}
	t.where.GRPC = address
	if listening, err := readAddresses(t.app.flags.Data); err == nil && listening.GRPC == address {
		t.where = listening
	}
	for _, name := range []string{adminCH, adminUS, appCH, appUS} {
		id, err := t.app.identity(name)
		if err != nil {
			return err
		}
		c, err := t.app.dial(address, id)
		if err != nil {
			return err
		}
		t.as[name] = c
	}
	return nil
}

func (t *tour) disconnect() {
	for _, c := range t.as {
		c.Close()
	}
}

// names makes this run's tenants, so that the tour can be told again and again.
func (t *tour) names() (swiss, american string) {
	t.data = make([]byte, tourDrive)
	rand.Read(t.data)
	run := hex.EncodeToString(t.data[:3])
	return "alpine-" + run, "prairie-" + run
}

// unlikeTold says which step did not come out as told.
func (t *tour) unlikeTold(err error) error {
	t.page.failed()
	return fmt.Errorf("the tour did not come out as told at %q: %w", t.page.step, err)
}

func (t *tour) register() error {
	t.page.chapter("Two tenants, each homed where it resides")
	for _, n := range []struct{ who, tenant, residence, region string }{
		{adminCH, t.swiss, "CH", "ch"}, {adminUS, t.american, "US", "us"},
	} {
		err := t.allow(n.who, fmt.Sprintf("registers %s, resident in %s", n.tenant, n.residence), func(c *client.Client, asked ...grpc.CallOption) (string, error) {
			r, err := c.Tenants.RegisterTenant(t.app.ctx, &residencyv1.RegisterTenantRequest{TenantId: n.tenant, Residence: n.residence}, asked...)
			if err == nil && r.GetTenant().GetHomeRegion() != n.region {
				err = fmt.Errorf("homed in region %q, want %q", r.GetTenant().GetHomeRegion(), n.region)
			}
			return fmt.Sprintf("home: region %s, controller %s, policy %s", r.GetTenant().GetHomeRegion(), r.GetTenant().GetController(), r.GetTenant().GetPolicyVersion()), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) write() error {
	t.page.chapter("A person's record and a drive of 8 MiB for each, stored at home only")
	for _, n := range []struct{ who, tenant, name string }{{appCH, t.swiss, "Anna Muster"}, {appUS, t.american, "John Sample"}} {
		if err := t.writeRecord(n.who, n.tenant, n.name); err != nil {
			return err
		}
		if err := t.writeDrive(n.who, n.tenant); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) writeRecord(who, tenant, name string) error {
	return t.allow(who, "writes person-1's record", func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		_, err := c.Records.PutRecord(t.app.ctx, &residencyv1.PutRecordRequest{TenantId: tenant, Record: &residencyv1.PersonalRecord{
			RecordId: "contact", SubjectId: "person-1",
			Personal: &residencyv1.Personal{FullName: name, EmailAddress: "person-1@example.org"},
			Source:   residencyv1.Source_SOURCE_PROVIDED,
			Purposes: []residencyv1.Purpose{tourPurpose, residencyv1.Purpose_PURPOSE_PAYMENTS},
		}}, asked...)
		return "", err
	})
}

func (t *tour) writeDrive(who, tenant string) error {
	_, err := t.as[who].Drives.CreateDrive(t.app.ctx, &residencyv1.CreateDriveRequest{TenantId: tenant, DriveId: "disk-1", Name: "system disk", SizeBytes: tourDrive})
	if err != nil {
		t.page.step = who + " creates disk-1"
		return err
	}
	return t.allow(who, "writes disk-1, encrypted twice", func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		r, err := c.WriteDriveFrom(t.app.ctx, &residencyv1.WriteDriveHeader{TenantId: tenant, DriveId: "disk-1", Purpose: tourPurpose}, bytes.NewReader(t.data), nil, asked...)
		if err == nil && r.GetBytesWritten() != tourDrive {
			err = fmt.Errorf("%d bytes were written, want %d", r.GetBytesWritten(), tourDrive)
		}
		return "", err
	})
}

func (t *tour) home() error {
	t.page.chapter("Reads at home")
	if err := t.readRecord(appCH, t.swiss, "Anna Muster"); err != nil {
		return err
	}
	return t.readDrive(appUS, t.american, "reads its disk-1")
}

func (t *tour) blocked() error {
	t.page.chapter("Across the border nothing passes without a recorded consent")
	if err := t.deny("reads the Swiss record", "CROSS_BORDER_CONSENT_REQUIRED", t.getSwissRecord); err != nil {
		return err
	}
	return t.deny("reads the Swiss drive", "CROSS_BORDER_CONSENT_REQUIRED", t.getSwissDrive)
}

func (t *tour) grant() error {
	t.page.chapter("The tenant consents, on the record, where the data is at home")
	grant := &residencyv1.GrantConsentRequest{TenantId: t.swiss, Consent: &residencyv1.Consent{
		Kind:             residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING,
		Scope:            &residencyv1.Consent_WholeTenant{WholeTenant: true},
		DataClasses:      []residencyv1.DataClass{residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA},
		FromJurisdiction: "CH", ToJurisdiction: "US",
		Purposes: []residencyv1.Purpose{tourPurpose},
		Evidence: &residencyv1.Evidence{Method: "the tour", Grantor: "the tour's tenant", NoticeLanguage: "en", NoticeDigest: digest("the tour's notice")},
	}}
	return t.allow(appCH, "records a consent CH → US for service provision", func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		r, err := c.Consents.GrantConsent(t.app.ctx, grant, asked...)
		t.consent = r.GetConsent().GetConsentId()
		return "consent " + t.consent + ", until " + timeText(r.GetConsent().GetExpireTime()), err
	})
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (t *tour) allowed() error {
	t.page.chapter("With it, the same reads pass")
	if err := t.readRecord(appUS, t.swiss, "Anna Muster"); err != nil {
		return err
	}
	if err := t.readDrive(appUS, t.swiss, "reads the Swiss drive"); err != nil {
		return err
	}
	return t.openStream()
}

// openStream begins to read the Swiss drive abroad and then reads on no
// further, so that the stream is open when the consent ends.
func (t *tour) openStream() error {
	return t.allow(appUS, "begins to read it once more, and pauses", func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		var err error
		t.stream, err = c.Drives.ReadDrive(t.app.ctx, &residencyv1.ReadDriveRequest{TenantId: t.swiss, DriveId: "disk-1", Purpose: tourPurpose}, asked...)
		if err != nil {
			return "", err
		}
		m, err := t.stream.Recv()
		t.streamed = int64(len(m.GetData()))
		return "", err
	})
}

func (t *tour) withdraw() error {
	t.page.chapter("The tenant takes the consent back")
	began := time.Now()
	err := t.allow(appCH, "withdraws the consent", func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		_, err := c.Consents.WithdrawConsent(t.app.ctx, &residencyv1.WithdrawConsentRequest{TenantId: t.swiss, ConsentId: t.consent}, asked...)
		took := time.Since(began).Round(10 * time.Millisecond)
		return fmt.Sprintf("answered after %s: by then no gateway sends anything that relied on it,\nas each looks again before every send and trusts what it saw for 1 s at the most", took), err
	})
	if err != nil {
		return err
	}
	return t.deny("reads on in the stream that was open: cut", "CONSENT_WITHDRAWN", t.readOn)
}

func (t *tour) readOn(*client.Client, ...grpc.CallOption) (string, error) {
	for {
		m, err := t.stream.Recv()
		if err != nil {
			return fmt.Sprintf("after %d KiB of %d", t.streamed>>10, tourDrive>>10), err
		}
		t.streamed += int64(len(m.GetData()))
	}
}

func (t *tour) blockedAgain() error {
	t.page.chapter("And nothing passes any more")
	if err := t.deny("reads the Swiss record", "CONSENT_WITHDRAWN", t.getSwissRecord); err != nil {
		return err
	}
	if err := t.deny("reads the Swiss drive", "CONSENT_WITHDRAWN", t.getSwissDrive); err != nil {
		return err
	}
	return t.readRecord(appCH, t.swiss, "Anna Muster")
}

func (t *tour) getSwissRecord(c *client.Client, asked ...grpc.CallOption) (string, error) {
	_, err := getRecord(t.app.ctx, c, t.swiss, asked...)
	return "", err
}

func (t *tour) getSwissDrive(c *client.Client, asked ...grpc.CallOption) (string, error) {
	var sink bytes.Buffer
	_, err := c.ReadDriveTo(t.app.ctx, &residencyv1.ReadDriveRequest{TenantId: t.swiss, DriveId: "disk-1", Purpose: tourPurpose}, &sink, nil, asked...)
	if sink.Len() > 0 {
		return "", fmt.Errorf("%d bytes of the drive crossed the border", sink.Len())
	}
	return "", err
}

func getRecord(ctx context.Context, c *client.Client, tenant string, asked ...grpc.CallOption) (*residencyv1.PersonalRecord, error) {
	r, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{TenantId: tenant, SubjectId: "person-1", RecordId: "contact", Purpose: tourPurpose}, asked...)
	return r.GetRecord(), err
}

func (t *tour) readRecord(who, tenant, name string) error {
	return t.allow(who, "reads the record of "+name, func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		r, err := getRecord(t.app.ctx, c, tenant, asked...)
		if err == nil && r.GetPersonal().GetFullName() != name {
			err = errors.New("the record does not hold what was written")
		}
		return "", err
	})
}

func (t *tour) readDrive(who, tenant, what string) error {
	return t.allow(who, what, func(c *client.Client, asked ...grpc.CallOption) (string, error) {
		var got bytes.Buffer
		_, err := c.ReadDriveTo(t.app.ctx, &residencyv1.ReadDriveRequest{TenantId: tenant, DriveId: "disk-1", Purpose: tourPurpose}, &got, nil, asked...)
		if err == nil && !bytes.Equal(got.Bytes(), t.data) {
			err = errors.New("the drive does not hold what was written")
		}
		return "", err
	})
}

// next says where to look from here.
func (t *tour) next() {
	t.page.chapter("Where to look next")
	if t.app.flags.Data != defaultData && os.Getenv("DOMICILE_DATA") == "" {
		t.page.hint("with every command", "--data "+t.app.flags.Data)
	}
	t.page.hint("what was decided", wrapped(t.app.name()+" -i "+adminCH, "audit decisions "+t.swiss))
	t.page.hint("why", wrapped(t.app.name()+" -i sre", "policy explain ch --action use", "--class personal-information --to US --purpose service-provision"))
	if t.where.Admin != "" {
		t.page.hint("the border in numbers", fmt.Sprintf("curl -s http://%s/metrics | grep residency_blocked", t.where.Admin))
	}
	t.page.hint("everything else", t.app.name()+" --help")
}

// act is one call of the tour: it gives a line to tell about it.
type act func(c *client.Client, asked ...grpc.CallOption) (string, error)

// allow does an act that must succeed, be decided, and says so.
func (t *tour) allow(who, what string, do act) error {
	t.page.step = who + " " + what
	var decision, endpoint string
	told, err := do(t.as[who], client.DecisionID(&decision), client.Endpoint(&endpoint))
	if err != nil {
		return err
	}
	if decision == "" {
		return errors.New("it was permitted without a decision on record")
	}
	t.page.allowed(who, what, decision)
	t.page.detail(told)
	t.elsewhere(endpoint)
	return nil
}

// deny does an act of app-us that the policy must refuse for the reason.
func (t *tour) deny(what, reason string, do act) error {
	t.page.step = appUS + " " + what
	var endpoint string
	told, err := do(t.as[appUS], client.Endpoint(&endpoint))
	var denied *client.Denied
	switch {
	case err == nil:
		return fmt.Errorf("it was permitted, want %s", reason)
	case !errors.As(err, &denied):
		return err
	case denied.Reason != reason:
		return fmt.Errorf("want %s: %w", reason, err)
	case denied.DecisionID == "":
		return errors.New("it was refused without a decision on record")
	}
	t.page.denied(appUS, what, denied)
	t.page.detail(told)
	t.elsewhere(endpoint)
	return nil
}

// elsewhere tells that a step was taken to another gateway than the tour's.
func (t *tour) elsewhere(endpoint string) {
	if endpoint != "" {
		t.page.detail("by way of " + endpoint + ", at home: the tour's gateway is a third place to it")
	}
}
