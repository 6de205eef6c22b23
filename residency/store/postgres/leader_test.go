package postgres

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// A leadership that was given is there after a crash of the server, and its epoch goes on.
func TestLeadershipOutlivesACrash(t *testing.T) {
	s := server{storetest.StartPostgres(t)}
	c := openAt(t, s.location(t, RoleCluster))
	for i, holder := range []string{"one", "two"} {
		epoch, err := c.Lead(within(t, 20*time.Second), holder, time.Hour)
		if err != nil || epoch != uint64(i)+1 {
			t.Fatalf("%s leads in epoch %d: %v", holder, epoch, err)
		}
		s.Stop(syscall.SIGQUIT)
		must(t, s.Start())
		for { // connections of before the crash come first
			if _, err = c.Lead(within(t, 20*time.Second), "another", time.Hour); !errors.Is(err, store.ErrUnavailable) {
				break
			}
		}
		wantErr(t, err, store.ErrConflict)
		epoch, err = c.Lead(within(t, 20*time.Second), holder, 0)
		if err != nil || epoch != uint64(i)+1 {
			t.Fatalf("after the crash %s leads in epoch %d: %v", holder, epoch, err)
		}
	}
}

// A leader that is stopped in the middle of a transaction loses it after a second, and another follows:
// the transaction's repetition then finds itself deposed.
func TestStoppedLeaderIsNotWaitedFor(t *testing.T) {
	location := sharedServer(t).location(t, RoleCluster)
	one, two := openAt(t, location), openAt(t, location)
	epoch, err := one.Lead(within(t, 20*time.Second), "one", time.Millisecond)
	must(t, err)
	scope := alone(1)
	scope.Epoch = epoch
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var first sync.Once
	go func() {
		done <- one.Update(within(t, 20*time.Second), scope, func(tx store.Tx) error {
			first.Do(func() { close(inside); <-leave })
			return both(tx, "old", nil)
		})
	}()
	<-inside
	next, err := two.Lead(within(t, 20*time.Second), "two", time.Hour)
	if err != nil || next != epoch+1 {
		t.Fatalf("the second leads in epoch %d: %v", next, err)
	}
	close(leave)
	wantErr(t, <-done, store.ErrDeposed)
	if there := names(t, two, 1); len(there) > 0 {
		t.Fatalf("what was deposed wrote %v", there)
	}
}

// BenchmarkDue is what a look at the agenda takes, with as many tasks to come as are named; nothing is due.
func BenchmarkDue(b *testing.B) {
	for _, tasks := range []int{0, 10_000} {
		b.Run(fmt.Sprint(tasks, " tasks to come"), func(b *testing.B) {
			c := openAt(b, sharedServer(b).location(b, RoleCluster))
			must(b, c.Update(b.Context(), alone(1), func(tx store.Tx) error {
				for i := range tasks {
					task := store.Task{At: tx.Now().Add(time.Hour), Tenant: tenant(1), Kind: store.TaskForgetRequest, ID: store.ID(fmt.Sprint(i))}
					if err := tx.Schedule(task); err != nil {
						return err
					}
				}
				return nil
			}))
			for b.Loop() {
				if due, err := c.Due(b.Context(), 256); err != nil || len(due) > 0 {
					b.Fatalf("%d are due: %v", len(due), err)
				}
			}
		})
	}
}

// BenchmarkLead is what it takes to renew a leadership, and to see that another has it.
func BenchmarkLead(b *testing.B) {
	c := openAt(b, sharedServer(b).location(b, RoleCluster))
	_, err := c.Lead(b.Context(), "one", time.Hour)
	must(b, err)
	for _, holder := range []string{"one", "two"} {
		b.Run(holder, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Lead(b.Context(), holder, time.Hour); (holder == "one") != (err == nil) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEpoch compares a transaction with one that names an epoch.
func BenchmarkEpoch(b *testing.B) {
	c := openAt(b, sharedServer(b).location(b, RoleCluster))
	epoch, err := c.Lead(b.Context(), "one", time.Hour)
	must(b, err)
	for _, scope := range []store.Scope{{}, {Epoch: epoch}} {
		b.Run(fmt.Sprint("epoch ", scope.Epoch), func(b *testing.B) {
			for b.Loop() {
				must(b, c.View(b.Context(), scope, func(store.Tx) error { return nil }))
			}
		})
	}
}
