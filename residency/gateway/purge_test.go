package gateway

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// owed gives the purges that are on the agenda.
func (w *world) owed() (tasks []store.Task) {
	w.t.Helper()
	agenda := w.mem["ch"].Rows().(store.Agenda) //nolint:forcetypeassert // every Rows is one
	w.ok(agenda.Tasks(w.t.Context(), func(task store.Task) bool {
		if task.Kind == store.TaskPurge {
			tasks = append(tasks, task)
		}
		return true
	}))
	return tasks
}

// erasedAnd registers two tenants and erases three people of each, the second tenant too. Of what is deleted it counts the purges.
func erasedAnd(w *world, faults ...storetest.Fault) (purges *int) {
	for _, tenant := range []string{"alpen", "other"} {
		w.tenant(tenant, ch)
		for i := range 3 {
			who := fmt.Sprint("s", i)
			w.person(tenant, who)
			_, _, err := w.eraseSubject(ch, tenant, who, "")
			w.ok(err)
		}
	}
	purges = new(int)
	w.mem["ch"].Fail(storetest.OpPurge, func() storetest.Fault {
		*purges++
		if *purges <= len(faults) {
			return faults[*purges-1]
		}
		return storetest.FaultNone
	})
	w.g.sweepAll(w.t.Context())
	return purges
}

// Erasures that end together ask for one purge of their tenants, which is made once, a few seconds later.
func TestErasuresArePurgedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		purges := erasedAnd(w)
		if owed := w.owed(); len(owed) != 2 || *purges != 0 {
			t.Fatalf("owed are %v after %d purges, want one for each tenant and none made yet", owed, *purges)
		}
		time.Sleep(purgeEvery)
		w.g.sweepAll(t.Context())
		if owed := w.owed(); len(owed) != 0 || *purges != 1 {
			t.Fatalf("owed are %v after %d purges, want none after one of both tenants", owed, *purges)
		}
		time.Sleep(time.Hour)
		w.g.sweepAll(t.Context())
		if *purges != 1 {
			t.Fatalf("%d purges, the second for nothing", *purges)
		}
	})
}

// A purge that fails, or of which that is not known, is made again.
func TestAPurgeThatFailsIsMadeAgain(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted, storetest.FaultHang} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			purges := erasedAnd(w, fault)
			time.Sleep(purgeEvery)
			w.g.sweepAll(t.Context())
			if owed := w.owed(); len(owed) != 2 || *purges != 1 {
				t.Fatalf("%v: owed are %v after %d purges", fault, owed, *purges)
			}
			time.Sleep(postponed)
			w.g.sweepAll(t.Context())
			if owed := w.owed(); len(owed) != 0 || *purges != 2 {
				t.Fatalf("%v: owed are %v after %d purges", fault, owed, *purges)
			}
		})
	}
}

// A gateway that dies between taking a purge up and making it leaves it to whoever leads next.
func TestAPurgeIsMadeAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		purges := erasedAnd(w)
		time.Sleep(purgeEvery)
		region := w.g.region("ch")
		w.g.sweepIn(t.Context(), region, &region.Clusters[0])
		region.Clusters[0].purges.all() // what it knew is lost with it
		if owed := w.owed(); len(owed) != 2 || *purges != 0 {
			t.Fatalf("owed are %v after %d purges", owed, *purges)
		}
		time.Sleep(postponed)
		w.g.sweepAll(t.Context())
		if owed := w.owed(); len(owed) != 0 || *purges != 1 {
			t.Fatalf("owed are %v after %d purges", owed, *purges)
		}
	})
}

// While a gateway leads it purges by itself, and at most once in a while however many erasures end.
func TestALeaderPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		purges := erasedAnd(w)
		w.tenant("busy", ch)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = w.g.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		const people = 60
		for i := range people {
			who := fmt.Sprint("s", i)
			w.person("busy", who)
			_, _, err := w.eraseSubject(ch, "busy", who, "")
			w.ok(err)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * purgeEvery)
		most := int(people*time.Second/purgeEvery) + 4
		if owed := w.owed(); len(owed) != 0 || *purges == 0 || *purges > most {
			t.Fatalf("owed are %v after %d purges, want 1 to %d", owed, *purges, most)
		}
	})
}
