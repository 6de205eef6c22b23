package gateway

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// races is how many withdrawals race: a sample by default, all with DOMICILE_SOAK=1.
func races() int {
	if os.Getenv("DOMICILE_SOAK") == "1" {
		return 10_000
	}
	return 300
}

// No send begins after WithdrawConsent has answered: a live drive stream and
// reads of a record race withdrawals in virtual time, with sends and renewals at
// random moments around them, sometimes slow, sometimes with the renewal or the notification missing.
func TestWithdrawalRaces(t *testing.T) {
	n := races()
	var sends, cut int64
	for i := range n {
		synctest.Test(t, func(t *testing.T) {
			s, c := raceOnce(t, uint64(i))
			sends += s
			cut += c
		})
	}
	t.Logf("%d races: %d sends before the answer, %d streams cut, 0 sends begun after it", n, sends, cut)
	if cut == 0 || sends == 0 {
		t.Error("nothing raced")
	}
}

func raceOnce(t *testing.T, seed uint64) (sends, cuts int64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	w.drive("alpen", "d1", 64<<20)
	personal := w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	drive := w.grant("alpen", "", residency.VirtualDriveData, residency.ServiceProvision)

	ctx, stop := context.WithCancel(t.Context())
	var answeredDrive, answeredPersonal atomic.Bool
	var n, cut atomic.Int64
	var wg sync.WaitGroup
	if rng.IntN(4) > 0 { // else no lease is ever renewed, and streams end with their first
		wg.Go(func() {
			every(ctx, w.g.limits.Lease/3, func() { w.g.keeper.renewAll(ctx) })
		})
	}
	pause, jitter := time.Duration(rng.IntN(40))*time.Millisecond, rand.New(rand.NewPCG(seed, 1))
	wg.Go(func() {
		err := w.g.ReadDrive(ctx, as(us, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
				if answeredDrive.Load() {
					t.Errorf("seed %d: a drive send began after the withdrawal had answered", seed)
				}
				n.Add(1)
				time.Sleep(pause + time.Duration(jitter.IntN(20))*time.Millisecond)
				return nil
			})
		if residency.KindOf(err) == residency.ConsentIsWithdrawn || residency.KindOf(err) == residency.AuditUnavailable {
			cut.Add(1)
		}
	})
	for j := range 3 {
		think := rand.New(rand.NewPCG(seed, uint64(2+j)))
		wg.Go(func() {
			for ctx.Err() == nil {
				before := answeredPersonal.Load()
				if _, _, err := w.get(us, "alpen", "s1", "r1"); err == nil {
					if before {
						t.Errorf("seed %d: a read was permitted after the withdrawal had answered", seed)
					}
					n.Add(1)
				}
				time.Sleep(time.Duration(1+think.IntN(300)) * time.Millisecond)
			}
		})
	}
	time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond)
	wg.Go(func() {
		w.ok(w.withdraw(us, "alpen", drive.ID))
		answeredDrive.Store(true)
	})
	wg.Go(func() {
		w.ok(w.withdraw(ch, "alpen", personal.ID))
		answeredPersonal.Store(true)
	})
	time.Sleep(2 * time.Second)
	stop()
	wg.Wait()
	return n.Load(), cut.Load()
}
