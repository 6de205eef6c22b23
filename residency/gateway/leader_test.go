package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// When a leader dies another follows once its time has run out, and what was due meanwhile is done once.
func TestLeaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		killed := deadLeader(t, r)
		if killed < leadFor-leadRenew-time.Second || killed > leadFor+leadTry {
			t.Errorf("another followed after %v", killed)
		}
		time.Sleep(10 * time.Minute) // the stream is stale by then
		if x, e, s := r.count(ofExpiry), r.count(erased), r.count(abandoned); x != 1 || e != 1 || s != 1 {
			t.Errorf("%d expiries, %d erasures and %d ends of the stream are on record", x, e, s)
		}
	})
}

// deadLeader kills a leader in the middle of a write and gives how long it took until another led.
func deadLeader(t *testing.T, r *replicas) (took time.Duration) {
	a := r.start("a")
	r.eventually("a leads", a.leads)
	b, c := r.start("b"), r.start("c")
	a.tenant("alpen", ch)
	a.person("alpen", "s2")
	a.expiring("alpen", "r1", 5*time.Second)
	a.drive("alpen", "d1", 1<<20)
	finish := make(chan struct{})
	ended := a.writing("d1", finish)
	time.Sleep(time.Second)
	if b.leads() || c.leads() {
		t.Fatal("two lead")
	}
	a.kill()
	killed := time.Now()
	_, _, err := b.eraseSubject(ch, "alpen", "s2", "")
	r.ok(err)
	r.eventually("another leads", func() bool { return b.leads() || c.leads() })
	took = time.Since(killed)
	r.eventually("the record expires", func() bool { return r.count(ofExpiry) == 1 })
	r.eventually("the erasure ends", func() bool { return r.count(erased) == 1 })
	close(finish)
	if err := <-ended; err == nil {
		t.Error("the write of a gateway that died was acknowledged")
	}
	if b.leads() == c.leads() {
		t.Error("none leads, or two")
	}
	return took
}

// A leader that stops in order gives way at once, and takes what it counted along.
func TestLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		a := r.start("a")
		r.eventually("a leads", a.leads)
		b := r.start("b")
		a.tenant("alpen", ch)
		a.grant("alpen", "s1", residency.PersonalInformation, residency.Payments)
		time.Sleep(time.Minute) // of a census
		want := func(p *process, leads float64, consents int) {
			t.Helper()
			leading, _ := p.gauge("residency_region_leader")
			counted, series := p.gauge("residency_consents")
			_, pending := p.gauge("residency_erasures_pending")
			if leading != leads || (series > 0) != (leads == 1) || (pending > 0) != (leads == 1) || int(counted) != consents {
				t.Errorf("gateway %s: leads %v, %v consents in %d series, erasures pending in %d", p.name, leading, counted, series, pending)
			}
		}
		want(a, 1, 1)
		want(b, 0, 0)
		a.stop()
		r.eventually("b leads", b.leads)
		time.Sleep(time.Second)
		want(a, 0, 0)
		want(b, 1, 1)
		if n := b.log.with("leads a cluster's background work"); n != 2 { // one per region
			t.Errorf("b says %d times that it leads", n)
		}
		b.stop()
	})
}

func TestTakeOverTakesNoLongerThanATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		a := r.start("a")
		r.eventually("a leads", a.leads)
		b := r.start("b")
		time.Sleep(10 * time.Second)
		a.stop()
		stopped := time.Now()
		r.eventually("b leads", b.leads)
		if took := time.Since(stopped); took > leadTry+100*time.Millisecond {
			t.Errorf("b followed after %v", took)
		}
		b.stop()
	})
}

// A leader that cannot reach the store leads no longer than its time, by its own clock; when
// nobody has followed, it goes on where it was.
func TestLeaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		a := r.start("a")
		r.eventually("a leads", a.leads)
		for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultHang} {
			r.mem["ch"].Fail(storetest.OpLead, storetest.Always(fault))
			time.Sleep(leadFor - leadRenew - time.Second)
			if !a.leads() {
				t.Error("it gave up before its time")
			}
			time.Sleep(leadRenew + 2*time.Second)
			if leading, _ := a.gauge("residency_region_leader"); a.leads() || leading != 0 {
				t.Error("it leads beyond its time")
			}
			r.mem["ch"].Fail(storetest.OpLead, nil)
			r.eventually("a leads again", a.leads)
		}
		a.tenant("alpen", ch)
		a.expiring("alpen", "r1", time.Second)
		r.eventually("the record expires", func() bool { return r.count(ofExpiry) == 1 })
		a.stop()
	})
}

// A leader that was stopped in the middle of a task, and wakes after another has followed, changes nothing.
func TestStoppedLeaderChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { stoppedLeader(t, newReplicas(t, nil)) })
}

func stoppedLeader(t *testing.T, r *replicas) {
	a := r.start("a")
	r.eventually("a leads", a.leads)
	b := r.start("b")
	a.tenant("alpen", ch)
	a.halt()
	b.expiring("alpen", "r1", 2*time.Second)
	r.eventually("a stands still in its sweep", a.stuck)
	r.eventually("b leads", b.leads)
	r.eventually("b does what a had begun", func() bool { return r.count(ofExpiry) == 1 })
	before := r.logged()
	a.resume()
	r.eventually("a knows", func() bool { return !a.leads() && a.wasDeposed() })
	time.Sleep(3 * time.Second)
	if after := r.logged(); len(after) != len(before) {
		t.Errorf("%d entries came after the leader was resumed: %+v", len(after)-len(before), after[len(before):])
	}
	if n := a.log.with("no more"); n != 1 && n != 2 { // the other region's was lost too if its time ran out
		t.Errorf("a says %d times that it leads no more", n)
	}
	if n := a.log.with("task put off") + a.log.with("sweep stopped"); n > 0 {
		t.Errorf("a says %d times that its sweep failed", n)
	}
	a.stop()
	b.stop()
}

// What lies outside the rows is not deleted by a leader that was stopped before its look either.
func TestStoppedLeaderDeletesNoBlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		r.tenant("alpen", ch)
		r.drive("alpen", "d1", 1<<20)
		r.mustWrite("d1", 0, "old")
		r.mustWrite("d1", 0, "new")
		time.Sleep(r.g.limits.StreamLifetime)
		a := r.start("a")
		r.eventually("a leads", a.leads)
		b := r.start("b")
		a.halt()
		time.Sleep(streamCheck) // until what was replaced is due
		r.eventually("a stands still in its sweep", a.stuck)
		r.eventually("b deletes", func() bool { return b.blobs.count() == 1 })
		a.resume()
		r.eventually("a knows", a.wasDeposed)
		time.Sleep(10 * time.Second)
		if n := a.blobs.count(); n > 0 {
			t.Errorf("the old leader deleted %d blobs", n)
		}
		if n := r.blobs("ch"); n != 1 {
			t.Errorf("%d blobs are left, want the new one", n)
		}
	})
}

// After a withdrawal through one gateway has answered, another begins to send nothing that rests on the consent.
func TestWithdrawalThroughAnotherReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { withdrawnElsewhere(t, newReplicas(t, nil)) })
}

func withdrawnElsewhere(t *testing.T, r *replicas) {
	a, b := r.start("a"), r.start("b")
	a.tenant("alpen", ch)
	_, _, err := a.put(ch, "alpen", aRecord("s1", "r1"), nil)
	r.ok(err)
	a.drive("alpen", "d1", 256<<20)
	drive := a.grant("alpen", "", residency.VirtualDriveData, residency.ServiceProvision)
	person := a.grant("alpen", "", residency.PersonalInformation, residency.Payments)

	var answered atomic.Bool
	var sent, late, reads atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		err := a.g.ReadDrive(t.Context(), as(us, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
				if answered.Load() {
					late.Add(1)
				}
				sent.Add(1)
				time.Sleep(20 * time.Millisecond)
				return nil
			})
		if residency.KindOf(err) != residency.ConsentIsWithdrawn {
			t.Errorf("the stream ended with %v", err)
		}
	})
	for denied := false; !denied; time.Sleep(10 * time.Millisecond) {
		if reads.Add(1) == 20 {
			wg.Go(func() {
				r.ok(b.withdraw(us, "alpen", drive.ID))
				r.ok(b.withdraw(ch, "alpen", person.ID))
				answered.Store(true)
			})
		}
		before := answered.Load()
		_, _, err := a.get(us, "alpen", "s1", "r1")
		if err == nil && before {
			t.Fatal("a read was permitted after the withdrawal had answered")
		}
		denied = before && residency.KindOf(err) == residency.ConsentIsWithdrawn
		if err != nil && residency.KindOf(err) != residency.ConsentIsWithdrawn {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if sent.Load() == 0 || late.Load() > 0 {
		t.Errorf("%d messages were sent, %d of them after the answer", sent.Load(), late.Load())
	}
	a.stop()
	b.stop()
}

// Any number of gateways may start at once beside one that serves: what a backup brought back of the
// erased is put on the agenda once.
func TestStartingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		first := r.start("first")
		first.tenant("alpen", ch)
		first.tenant("berg", ch)
		first.person("alpen", "s1")
		first.person("berg", "s1")
		alpen, berg := first.backUp("ch", "alpen"), first.backUp("ch", "berg")
		person, _, err := first.eraseSubject(ch, "alpen", "s1", "")
		r.ok(err)
		tenant, _, err := first.eraseTenant(ch, "berg", "")
		r.ok(err)
		r.eventually("the erasures end", func() bool { return r.count(erased) == 2 })
		first.stop()

		r.putBack("ch", "alpen", alpen)
		r.putBack("ch", "berg", berg)
		idle := r.process("idle")
		g, err := New(idle.config())
		r.ok(err)
		found, _, err := g.lookForErased(t.Context(), g.region("ch"))
		if r.ok(err); len(found) != 2 {
			t.Fatalf("%d erasures are found undone, want 2", len(found))
		}
		var wg sync.WaitGroup
		started := make([]*process, 8)
		for i := range started {
			wg.Go(func() { started[i] = r.start(string(rune('a' + i))) })
		}
		wg.Wait()
		done := func() bool {
			a, err := started[0].erasure(ch, "alpen", person.ID)
			r.ok(err)
			b, err := started[0].erasure(ch, "berg", tenant.ID)
			r.ok(err)
			return a.State == ErasureDone && b.State == ErasureDone
		}
		r.eventually("the restored are swept", done)
		for _, f := range found { // as a gateway that had looked before and was slow
			r.ok(g.eraseAgain(t.Context(), f))
		}
		time.Sleep(time.Minute)
		for _, p := range started {
			p.stop()
		}
		for _, id := range []string{person.ID, tenant.ID} {
			var phases []audit.Phase
			for _, e := range r.logged() {
				if e.DecisionID == id {
					phases = append(phases, e.Phase)
				}
			}
			if !slices.Equal(phases, []audit.Phase{audit.Intent, audit.Ended, audit.Ended}) {
				t.Errorf("the entries of an erasure that was made again are %v", phases)
			}
		}
		if !done() {
			t.Error("what was done is to be done again")
		}
	})
}

// The streams of a leader's own gateway are not its background work: they are renewed whoever leads.
func TestFollowersServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		a := r.start("a")
		r.eventually("a leads", a.leads)
		b := r.start("b")
		b.tenant("alpen", ch)
		b.drive("alpen", "d1", 1<<20)
		finish := make(chan struct{})
		ended := b.writing("d1", finish)
		time.Sleep(5 * time.Minute)
		close(finish)
		if err := <-ended; err != nil {
			t.Errorf("a long write through a gateway that does not lead: %v", err)
		}
		b.wantOnes("d1")
		a.stop()
		b.stop()
	})
}
