package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// tomorrows gives a later version of the Swiss policy that takes effect at a moment; files of
// different remarks have different digests.
func tomorrows(t *testing.T, effective time.Time, remark string) *policy.Policy {
	p := *revised(t, "ch-next", effective, func(s string) string { return s + "# " + remark + "\n" })
	p.Effective = effective
	return &p
}

// decided is what one gateway answered to calls, by the store's time of the decisions.
type decided struct {
	old, next   []time.Time
	unavailable int
}

// probe calls a gateway until a moment, and holds that every decision is by the version of its time.
func (p *process) probe(until, effective time.Time) (d decided) {
	for p.rows.Now().Before(until) {
		_, call, err := p.get(ch, "alpen", "s1", "r1")
		switch {
		case residency.KindOf(err) == residency.PolicyUnavailable:
			d.unavailable++
			if p.rows.Now().Before(effective) {
				p.t.Errorf("gateway %s decided nothing before the version took effect", p.name)
			}
		case err != nil:
			p.t.Errorf("gateway %s: %v", p.name, err)
		case call.Decision.PolicyVersion == "ch-next":
			d.next = append(d.next, call.Decision.Time)
		default:
			d.old = append(d.old, call.Decision.Time)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, at := range d.next {
		if at.Before(effective) {
			p.t.Errorf("gateway %s decided %v too early by the next version", p.name, effective.Sub(at))
		}
	}
	for _, at := range d.old {
		if !at.Before(effective) {
			p.t.Errorf("gateway %s decided by the old version %v too late", p.name, at.Sub(effective))
		}
	}
	return d
}

// probeBoth probes two gateways at the same time.
func probeBoth(a, b *process, until, effective time.Time) (ofA, ofB decided) {
	done := make(chan decided)
	go func() { done <- b.probe(until, effective) }()
	ofA = a.probe(until, effective)
	return ofA, <-done
}

func (r *replicas) withRecord() {
	r.tenant("alpen", ch)
	_, _, err := r.put(ch, "alpen", aRecord("s1", "r1"), nil)
	r.ok(err)
}

// A version takes effect on every replica at its time: who has it decides by it from then on, and who does not,
// decides nothing.
func TestPolicySwitchesOnAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { switched(t, newReplicas(t, nil)) })
}

func switched(t *testing.T, r *replicas) {
	r.withRecord()
	effective := time.Now().Add(r.ahead)
	has := r.start("has", with(tomorrows(t, effective, "one")))
	lacks := r.start("lacks")
	yes, no := probeBoth(has, lacks, effective.Add(3*time.Second), effective)
	if len(yes.old) == 0 || len(yes.next) == 0 || yes.unavailable > 0 {
		t.Errorf("who has the version decided %d times by the old, %d by the next, and %d times not", len(yes.old), len(yes.next), yes.unavailable)
	}
	if len(no.old) == 0 || len(no.next) > 0 || no.unavailable == 0 {
		t.Errorf("who lacks the version decided %d times by the old, %d by the next, and %d times not", len(no.old), len(no.next), no.unavailable)
	}
	if n := lacks.log.with("to come into force"); n != 1 {
		t.Errorf("who lacks the version says %d times that it will come", n)
	}
	if n := lacks.log.with("is in force that this gateway does not have"); n != 1 {
		t.Errorf("who lacks the version says %d times that it has come", n)
	}
}

// Of two files that claim to be one version, the one that is recorded in force first counts. Nobody decides
// by the other, not for a moment, and who has it does not start any more.
func TestPolicyOfTwoDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { twoDigests(t, newReplicas(t, nil)) })
}

func twoDigests(t *testing.T, r *replicas) {
	r.withRecord()
	effective := time.Now().Add(r.ahead)
	one, two := tomorrows(t, effective, "one"), tomorrows(t, effective, "two")
	a, b := r.start("a", with(one)), r.start("b", with(two))
	ofA, ofB := probeBoth(a, b, effective.Add(4*time.Second), effective)
	if (len(ofA.next) > 0) == (len(ofB.next) > 0) {
		t.Errorf("by the version of two digests, a decided %d times and b %d times", len(ofA.next), len(ofB.next))
	}
	for _, p := range []*process{a, b} {
		if n := p.log.with("another digest than its file has here; the one"); n != 1 {
			t.Errorf("gateway %s says %d times that there are two digests", p.name, n)
		}
	}
	loser, file := b, two
	if len(ofB.next) > 0 {
		loser, file = a, one
	}
	if n := loser.log.with("in force with another digest"); n != 1 {
		t.Errorf("the gateway whose file does not count says so %d times", n)
	}
	g, err := New(r.process("again").config(with(file)))
	r.ok(err)
	r.wantKind(g.Prepare(t.Context()), residency.PolicyUnavailable)
}

// A version that is taken back before its time stops nobody, once its announcement is a minute old.
func TestPolicyIsTakenBack(t *testing.T) {
	for _, early := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newReplicas(t, nil)
			r.withRecord()
			effective := time.Now().Add(10 * time.Minute)
			next := tomorrows(t, effective, "one")
			has, lacks := r.start("has", with(next)), r.start("lacks")
			time.Sleep(8*time.Minute + 30*time.Second)
			if !early {
				time.Sleep(time.Minute) // the last announcement is too young when its time comes
			}
			has.stop()
			stopped := lacks.rows.Now()
			time.Sleep(time.Until(effective))
			unavailable := time.Duration(0)
			for ; lacks.rows.Now().Before(effective.Add(5 * time.Minute)); time.Sleep(100 * time.Millisecond) {
				if _, _, err := lacks.get(ch, "alpen", "s1", "r1"); err != nil {
					r.wantKind(err, residency.PolicyUnavailable)
					unavailable = lacks.rows.Now().Sub(stopped)
				}
			}
			if early && unavailable > 0 || !early && (unavailable == 0 || unavailable > announcedStays+policiesEvery) {
				t.Errorf("taken back (early: %v), it stopped another until %v after", early, unavailable)
			}
			again := r.start("again", with(next)) // and it may come after all
			time.Sleep(2 * time.Second)
			_, call, err := again.get(ch, "alpen", "s1", "r1")
			if r.ok(err); call.Decision.PolicyVersion != "ch-next" {
				t.Errorf("who has it decides by %s", call.Decision.PolicyVersion)
			}
			_, _, err = lacks.get(ch, "alpen", "s1", "r1")
			r.wantKind(err, residency.PolicyUnavailable)
		})
	}
}

// What was announced is known to a gateway that slept through the version's time and has not looked again yet.
func TestPolicySwitchDuringSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		r.withRecord()
		effective := time.Now().Add(30 * time.Second)
		r.start("has", with(tomorrows(t, effective, "one")))
		p := r.process("sleeper")
		g, err := New(p.config())
		r.ok(err)
		p.g = g
		r.ok(g.Prepare(t.Context())) // its watch never runs after this
		_, _, err = p.get(ch, "alpen", "s1", "r1")
		r.ok(err)
		time.Sleep(10 * time.Minute)
		_, _, err = p.get(ch, "alpen", "s1", "r1")
		r.wantKind(err, residency.PolicyUnavailable)
	})
}

// Announcements are few: whoever sees a young one writes none, and old ones go.
func TestAnnouncementsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, nil)
		effective := time.Now().Add(time.Hour)
		next := tomorrows(t, effective, "one")
		for range 3 {
			r.start("has", with(next))
		}
		known := func() (v versions) {
			r.ok(r.mem["ch"].Rows().View(t.Context(), store.Scope{}, func(tx store.Tx) (err error) {
				v, err = readVersions(tx)
				return err
			}))
			return v
		}
		seen := make(map[time.Time]bool)
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			for _, a := range known().announced {
				seen[a.Announced] = true
			}
		}
		if len(seen) < 5 || len(seen) > 7 {
			t.Errorf("in a minute three gateways announced a version %d times", len(seen))
		}
		time.Sleep(time.Until(effective) + 2*time.Minute)
		other := tomorrows(t, effective.Add(time.Hour), "two")
		other.Version = "ch-last"
		r.start("last", with(next, other))
		if v := known(); len(v.announced) != 1 || v.announced[0].Version != "ch-last" || len(v.recorded) != 2 {
			t.Errorf("after the version took effect there are %+v and %+v", v.recorded, v.announced)
		}
	})
}
