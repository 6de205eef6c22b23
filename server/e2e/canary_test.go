package e2e

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// canaries are bytes that must be found nowhere: one per field.
var canaries = func() map[string]string {
	m := make(map[string]string)
	for i, name := range []string{
		"full_name", "postal_address", "email_address", "attribute_key", "attribute_value", "source_party",
		"subject_id", "record_id", "grantor", "method", "drive", "drive_name", "bad",
	} {
		m[name] = fmt.Sprintf("canary-%02d-%s", i, strings.Repeat(string(rune('k'+i)), 12))
	}
	return m
}()

const canaryPhone = "+41 79 555 73 91"

// Personal information and drive data of a Swiss tenant, and the identifiers of
// its people, are in no file, file name, log line, metric or error text; and the
// American region's folder does not change at all for it.
func TestCanaries(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	d := start(t, data, "--log-level", "debug")
	register(t, d.dial(t, "admin-ch"), "canary-tenant")
	errs := d.singAndListen(t)
	metrics := fetch(t, "http://"+d.admin+"/metrics")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	output := d.output.String()
	if !strings.Contains(output, "CROSS_BORDER_CONSENT_REQUIRED") {
		t.Errorf("the log has no line about a refusal:\n%s", output)
	}
	for name, bad := range canaries {
		for where, text := range map[string]string{"the log": output, "a metric": metrics, "an error": errs} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds the canary of %s", where, name)
			}
		}
	}
	files, size := 0, int64(0)
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files, size = files+1, size+int64(len(b))
		for name, bad := range canaries {
			if bytes.Contains(b, []byte(bad)) || strings.Contains(path, bad) {
				t.Errorf("%s holds the canary of %s", path, name)
			}
		}
		if digits := strings.ReplaceAll(canaryPhone, " ", ""); bytes.Contains(b, []byte(canaryPhone)) || bytes.Contains(b, []byte(digits)) {
			t.Errorf("%s holds the phone number", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d canaries looked for in %d files of %d bytes, %d bytes of log, %d of metrics: none found", len(canaries), files, size, len(output), len(metrics))
}

// singAndListen puts every canary in, reads it from both sides of the border,
// and gives the texts of all errors on the way.
func (d *daemon) singAndListen(t *testing.T) string {
	app, us := d.dial(t, "app-ch"), d.dial(t, "app-us")
	var errs strings.Builder
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("not refused")
		}
		fmt.Fprintln(&errs, err)
	}
	record := &residencyv1.PersonalRecord{
		SubjectId: canaries["subject_id"], RecordId: canaries["record_id"],
		Personal: &residencyv1.Personal{
			FullName: canaries["full_name"], PostalAddress: canaries["postal_address"], PhoneNumber: canaryPhone,
			EmailAddress: canaries["email_address"] + "@example.org",
			Attributes:   map[string]string{canaries["attribute_key"]: canaries["attribute_value"]},
		},
		Source: residencyv1.Source_SOURCE_THIRD_PARTY, SourceParty: canaries["source_party"],
		Purposes: []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_PAYMENTS},
	}
	const tenant = "canary-tenant"
	_, err := app.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: tenant, Record: record})
	must(err)
	read := func(c *client.Client) error {
		_, err := c.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{
			TenantId: tenant, SubjectId: record.SubjectId, RecordId: record.RecordId, Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
		})
		return err
	}
	must(read(app))
	refused(read(us))
	consent := borderConsent(residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.Purpose_PURPOSE_PAYMENTS)
	consent.Scope = &residencyv1.Consent_SubjectId{SubjectId: record.SubjectId}
	consent.Evidence.Grantor, consent.Evidence.Method = canaries["grantor"], canaries["method"]
	granted, err := app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{TenantId: tenant, Consent: consent})
	must(err)
	must(read(us))
	_, err = app.Consents.WithdrawConsent(t.Context(), &residencyv1.WithdrawConsentRequest{TenantId: tenant, ConsentId: granted.Consent.ConsentId})
	must(err)
	refused(read(us))
	_, err = us.Records.FindRecords(t.Context(), &residencyv1.FindRecordsRequest{
		TenantId: tenant, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: canaries["email_address"] + "@example.org"},
		Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	refused(err)
	refused(d.putBad(t, app, record))
	d.singDrive(t, app, us, refused)
	return errs.String()
}

// putBad sends canaries in a request that is wrong in many ways.
func (d *daemon) putBad(t *testing.T, app *client.Client, good *residencyv1.PersonalRecord) error {
	bad := &residencyv1.PersonalRecord{
		SubjectId: good.SubjectId, RecordId: canaries["bad"] + "/" + canaries["bad"],
		Personal:  &residencyv1.Personal{FullName: strings.Repeat(canaries["bad"], 50), EmailAddress: canaries["bad"]},
		Residence: canaries["bad"], Purposes: []residencyv1.Purpose{99},
	}
	_, err := app.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: "canary-tenant", Record: bad, RequestId: canaries["bad"]})
	return err
}

func (d *daemon) singDrive(t *testing.T, app, us *client.Client, refused func(error)) {
	const size = 64 << 20
	_, err := app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{
		TenantId: "canary-tenant", DriveId: "d", Name: canaries["drive_name"], SizeBytes: size,
	})
	if err != nil {
		t.Fatal(err)
	}
	song := bytes.Repeat([]byte(canaries["drive"]), size/len(canaries["drive"]))
	_, err = app.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{
		TenantId: "canary-tenant", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, bytes.NewReader(song), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readDrive(t, app, "canary-tenant", "d"); !bytes.Equal(got[:len(song)], song) {
		t.Error("the drive reads differently")
	}
	n, err := us.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{
		TenantId: "canary-tenant", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, io.Discard, nil)
	refused(err)
	if n != 0 {
		t.Errorf("%d bytes crossed the border", n)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
