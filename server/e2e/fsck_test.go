package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// undamaged checks the stores of a gateway: what it left when it was killed may have to be swept, and nothing is damaged.
func (d *daemon) undamaged(t *testing.T) {
	t.Helper()
	if out, err := domiciled(append([]string{"fsck", "-o", "json"}, d.args...)...); err != nil {
		t.Fatalf("fsck: %v\n%s", err, out)
	}
}

// A check beside a gateway that serves reports nothing of what is under way: records that are written, drives that are replaced,
// snapshots that come and go, consents, people and tenants who are registered and erased.
func TestFsckWhileServing(t *testing.T) {
	d := startOnServers(t, killLifetime)
	register(t, d.dial(t, "admin-ch"), killTenant)
	app, admin := d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	for i := range killWriters {
		createDrive(t, app, fmt.Sprint("d", i))
	}
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range 2 {
		wg.Go(func() { l.putRecords(ctx, t, app, 0, i) })
	}
	for i := range killWriters {
		wg.Go(func() { l.writeDrive(ctx, t, app, fmt.Sprint("d", i), 0) })
	}
	wg.Go(func() { l.consents(ctx, t, app) })
	wg.Go(func() { comeAndGo(ctx, t, app, admin) })
	checks := count(2, 30)
	for i := range checks {
		time.Sleep(500 * time.Millisecond)
		out, err := domiciled(append([]string{"fsck", "-o", "json"}, d.args...)...)
		if err != nil || strings.Contains(out, `"code"`) || !strings.Contains(out, `"summary":true`) {
			t.Fatalf("check %d: %v\n%s", i, err, out)
		}
	}
	cancel()
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.puts == 0 || l.written == 0 || len(l.active)+len(l.withdrawn) == 0 {
		t.Errorf("there was no traffic: %d records, %d drives, %d consents", l.puts, l.written, len(l.active)+len(l.withdrawn))
	}
	d.loseObjects(t)
	if out, err := domiciled(append([]string{"fsck", "-o", "json"}, d.args...)...); err == nil || !strings.Contains(out, `"code":"blob-missing"`) {
		t.Errorf("once the drives' objects are gone: %v\n%s", err, out)
	}
	t.Logf("%d checks beside %d records and %d drives that were written, nothing found", checks, l.puts, l.written)
}

// loseObjects removes the chunks of all Swiss drives behind the gateway's back.
func (d *daemon) loseObjects(t *testing.T) {
	t.Helper()
	server := running.s3["ch"]
	c, err := minio.New(server.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: server.Region})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range d.objects(t, "ch") {
		if err := c.RemoveObject(t.Context(), server.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func createDrive(t *testing.T, app *client.Client, id string) {
	t.Helper()
	_, err := app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: killTenant, DriveId: id, SizeBytes: killDrive})
	if err != nil {
		t.Fatal(err)
	}
}

// comeAndGo makes and removes what can be, until the context ends.
func comeAndGo(ctx context.Context, t *testing.T, app, admin *client.Client) {
	for i := 0; ctx.Err() == nil; i++ {
		tenant, subject, drive := fmt.Sprint("passing-", i), fmt.Sprint("passer-", i), fmt.Sprint("scratch-", i)
		for what, do := range map[string]func() error{
			"a tenant": func() error {
				if _, err := admin.Tenants.RegisterTenant(ctx, &residencyv1.RegisterTenantRequest{TenantId: tenant, Residence: "CH"}); err != nil {
					return err
				}
				_, err := app.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: tenant, Record: personalRecord(subject, "r", "somebody")})
				if err != nil {
					return err
				}
				_, err = admin.Tenants.EraseTenant(ctx, &residencyv1.EraseTenantRequest{TenantId: tenant, ConfirmTenantId: tenant})
				return err
			},
			"a person": func() error {
				_, err := app.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: killTenant, Record: personalRecord(subject, "r", "somebody")})
				if err != nil {
					return err
				}
				_, err = admin.Records.EraseSubject(ctx, &residencyv1.EraseSubjectRequest{TenantId: killTenant, SubjectId: subject})
				return err
			},
			"a snapshot": func() error {
				s, err := app.Drives.SnapshotDrive(ctx, &residencyv1.SnapshotDriveRequest{TenantId: killTenant, DriveId: "d0"})
				if err != nil {
					return err
				}
				_, err = app.Drives.DeleteSnapshot(ctx, &residencyv1.DeleteSnapshotRequest{
					TenantId: killTenant, DriveId: "d0", SnapshotId: s.GetSnapshot().GetSnapshotId(),
				})
				return err
			},
			"a drive": func() error {
				_, err := app.Drives.CreateDrive(ctx, &residencyv1.CreateDriveRequest{TenantId: killTenant, DriveId: drive, SizeBytes: 1 << 20})
				if err != nil {
					return err
				}
				header := &residencyv1.WriteDriveHeader{TenantId: killTenant, DriveId: drive, Purpose: services}
				if _, err = app.WriteDriveFrom(ctx, header, strings.NewReader("scratch"), nil); err != nil {
					return err
				}
				_, err = app.Drives.DeleteDrive(ctx, &residencyv1.DeleteDriveRequest{TenantId: killTenant, DriveId: drive})
				return err
			},
		} {
			if lost(t, what, do()) {
				return
			}
		}
	}
}
