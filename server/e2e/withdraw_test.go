package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// Withdrawals race live drive streams across the border, over real
// connections. The log says when each stream had ended, by the clock that
// tells when the withdrawal answered: no send began after the answer.
func TestWithdrawalsRaceStreams(t *testing.T) {
	races, lanes := count(200, 2000), 20
	d := gateway(t)
	us, app, admin := d.dial(t, "app-us"), d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	var mu sync.Mutex
	cut, completed := 0, 0
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			tenant := fmt.Sprintf("race-%d", lane)
			register(t, admin, tenant)
			fill(t, app, tenant, 16<<20)
			for range races / lanes {
				ended := race(t, app, us, admin, tenant)
				mu.Lock()
				if ended == "cut" {
					cut++
				} else {
					completed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d races: %d streams cut, %d over before, 0 sends begun after the answer", races, cut, completed)
	if cut == 0 {
		t.Error("no stream was cut: nothing raced")
	}
}

// fill makes a drive with something on it.
func fill(t *testing.T, app *client.Client, tenant string, size int64) {
	_, err := app.Drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: tenant, DriveId: "d", SizeBytes: size})
	if err != nil {
		t.Error(err)
		return
	}
	_, err = app.WriteDriveFrom(t.Context(), &residencyv1.WriteDriveHeader{
		TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, bytes.NewReader(bytes.Repeat([]byte{1}, int(size))), nil)
	if err != nil {
		t.Error(err)
	}
}

// race reads a drive from abroad, withdraws the consent at some moment, and
// gives how the log says that the stream ended.
func race(t *testing.T, app, us, admin *client.Client, tenant string) string {
	granted, err := app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{
		TenantId: tenant,
		Consent:  borderConsent(residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA, residencyv1.Purpose_PURPOSE_SERVICE_PROVISION),
	})
	if err != nil {
		t.Error(err)
		return ""
	}
	var decision string
	var got int64
	done := make(chan error, 1)
	go func() {
		var err error
		got, err = us.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{
			TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		}, slow{}, nil, client.DecisionID(&decision))
		done <- err
	}()
	time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	_, err = app.Consents.WithdrawConsent(t.Context(), &residencyv1.WithdrawConsentRequest{TenantId: tenant, ConsentId: granted.Consent.ConsentId})
	answered := time.Now()
	if err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil && !isWithdrawn(err) {
		t.Errorf("the stream ended with %v", err)
	}
	return wasOver(t, admin, tenant, decision, answered, got)
}

func isWithdrawn(err error) bool {
	var denied *client.Denied
	return errors.As(err, &denied) && denied.Reason == "CONSENT_WITHDRAWN"
}

// wasOver checks the log's word on a stream against the moment of the answer.
func wasOver(t *testing.T, admin *client.Client, tenant, decision string, answered time.Time, got int64) string {
	r, err := admin.Audit.GetDecision(t.Context(), &residencyv1.GetDecisionRequest{TenantId: tenant, DecisionId: decision})
	if err != nil {
		t.Error(err)
		return ""
	}
	s := r.Record.Stream
	switch {
	case r.Record.Decision.Outcome == residencyv1.Outcome_OUTCOME_DENY:
		return "cut" // the withdrawal came before the read
	case s == nil:
		t.Errorf("stream %s has no end in the log", decision)
		return ""
	case s.EndTime.AsTime().After(answered):
		t.Errorf("stream %s went on until %v after the withdrawal had answered", decision, s.EndTime.AsTime().Sub(answered))
	case got > s.Bytes:
		t.Errorf("stream %s: %d bytes arrived, the log has %d", decision, got, s.Bytes)
	}
	return s.End
}

// slow takes a little time for every message, so that streams live.
type slow struct{}

func (slow) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return len(p), nil
}

var _ io.Writer = slow{}

// A read that begins after the withdrawal has answered is refused, always.
func TestNoReadAfterWithdrawal(t *testing.T) {
	d := gateway(t)
	us, app, admin := d.dial(t, "app-us"), d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	const tenant = "race-records"
	register(t, admin, tenant)
	_, err := app.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: tenant, Record: personalRecord("s", "r", "anna")})
	if err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context) error {
		_, err := us.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{
			TenantId: tenant, SubjectId: "s", RecordId: "r", Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
		})
		return err
	}
	for range count(5, 50) {
		granted, err := app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{
			TenantId: tenant,
			Consent:  borderConsent(residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.Purpose_PURPOSE_PAYMENTS),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t.Context()); err != nil {
			t.Fatalf("permitted: %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := get(ctx)
					if err != nil && !isWithdrawn(err) && status.Code(err) != codes.Canceled {
						t.Errorf("a racing read: %v", err)
					}
					if err != nil {
						time.Sleep(20 * time.Millisecond) // refusals are limited per caller
					}
				}
			})
		}
		if _, err := app.Consents.WithdrawConsent(t.Context(), &residencyv1.WithdrawConsentRequest{TenantId: tenant, ConsentId: granted.Consent.ConsentId}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := get(t.Context()); !isWithdrawn(err) {
				t.Errorf("after the answer: %v", err)
			}
		}
		stop()
		wg.Wait()
	}
}
