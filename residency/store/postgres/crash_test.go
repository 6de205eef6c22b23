package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// load is writers that write until they are told to stop, and what became of it.
type load struct {
	t       testing.TB
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	acked   map[string]bool
	unknown map[string]bool
	count   atomic.Int64 // acknowledged
}

const loadTenants = 4

// writers starts n writers, in turn on each of the clusters.
func writers(t testing.TB, n int, clusters ...*Cluster) *load {
	l := &load{t: t, stop: make(chan struct{}), acked: map[string]bool{}, unknown: map[string]bool{}}
	for w := range n {
		l.wg.Go(func() { l.write(w, clusters[w%len(clusters)]) })
	}
	return l
}

func (l *load) write(w int, c *Cluster) {
	scope := store.Scope{Tenant: tenant(byte(w % loadTenants)), Objects: []store.Lock{{Object: store.ID(fmt.Sprint(w)), Exclusive: true}}}
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		default:
		}
		name := fmt.Sprintf("%d-%d", w, i)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := c.Update(ctx, scope, func(tx store.Tx) error { return both(tx, name, nil) })
		cancel()
		l.mu.Lock()
		if err == nil {
			l.acked[name] = true
			l.count.Add(1)
		} else {
			l.unknown[name] = true
		}
		l.mu.Unlock()
	}
}

// more waits until n further writes were acknowledged.
func (l *load) more(n int64) {
	l.t.Helper()
	end := time.Now().Add(time.Minute)
	for want := l.count.Load() + n; l.count.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatal("nothing is acknowledged any more")
		}
	}
}

// check stops the writers and holds what is there against what was acknowledged.
func (l *load) check(c *Cluster) {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	var tenants []byte
	for n := range byte(loadTenants) {
		tenants = append(tenants, n)
	}
	there := names(l.t, c, tenants...)
	lost := 0
	for name := range l.acked {
		if !there[name] {
			l.t.Errorf("%s was acknowledged and is not there", name)
		}
		delete(there, name)
	}
	for name := range l.unknown {
		if !there[name] {
			lost++
		}
		delete(there, name)
	}
	if len(there) > 0 {
		l.t.Errorf("%d rows are there that nobody wrote", len(there))
	}
	l.t.Logf("%d acknowledged, all there; %d unknown, of which %d are lost", len(l.acked), len(l.unknown), lost)
}

// A server that crashes, as a whole or one of its processes, loses what was not
// acknowledged and nothing else; the cluster goes on by itself when it is back.
func TestServerCrashes(t *testing.T) {
	s := server{storetest.StartPostgres(t)}
	location := s.location(t, RoleCluster)
	one, two := openAt(t, location), openAt(t, location)
	l := writers(t, 16, one, two)
	for round := range storetest.Sample(t, "crashes of the server", 3, 100) {
		l.more(100)
		if round%2 == 0 {
			s.Stop(syscall.SIGQUIT)
			must(t, s.Start())
			continue
		}
		// One process dies: the server ends all others, recovers and keeps its own start time.
		session, err := one.flusher.session(within(t, time.Minute))
		must(t, err)
		_ = syscall.Kill(session.pid, syscall.SIGKILL)
	}
	l.more(100)
	l.check(openAt(t, location))
	t.Run("between a commit and the wait for it", func(t *testing.T) { crashAfterCommit(t, s) })
	t.Run("another server takes its address", func(t *testing.T) { anotherServer(t, s) })
}

// A commit that was not flushed before the crash is not taken for durable
// because of a flush after it.
func crashAfterCommit(t *testing.T, s server) {
	c := openAt(t, s.location(t, RoleCluster))
	ctx := within(t, time.Minute)
	session, last, _, err := c.attempt(ctx, alone(1), false, false, func(tx store.Tx) error { return both(tx, "it", nil) })
	must(t, err)
	s.Stop(syscall.SIGQUIT)
	must(t, s.Start())
	must(t, c.Update(ctx, alone(2), func(tx store.Tx) error { return both(tx, "later", nil) }))
	wantErr(t, c.settle(ctx, session, last), store.ErrUnavailable, errSessionLost)
	t.Logf("the commit was lost: %v", !names(t, c, 1, 2)["it"])
}

// What was committed on one server is not taken for durable because another flushes.
func anotherServer(t *testing.T, s server) {
	other := sharedServer(t)
	location := s.location(t, RoleCluster)
	there := strings.Replace(location, fmt.Sprint(s.Port), fmt.Sprint(other.Port), 1)
	_, _, err := Migrate(t.Context(), there, RoleCluster)
	must(t, err)
	p := newProxy(t, s)
	c := openAt(t, p.through(location))
	before, err := c.flusher.session(t.Context())
	must(t, err)
	p.lead(other)
	c.pool.Reset() // the session stays where it is
	must(t, c.Update(within(t, time.Minute), alone(1), func(tx store.Tx) error { return both(tx, "it", nil) }))
	after, err := c.flusher.session(t.Context())
	must(t, err)
	if after == before || after.server.Equal(before.server) {
		t.Error("a commit on one server was acknowledged by a flush on another")
	}
	if !names(t, openAt(t, there), 1)["it"] {
		t.Error("the commit is not on the server that was led to")
	}
}

func TestStandby(t *testing.T) {
	first := server{storetest.StartPostgres(t)}
	other, err := first.Standby()
	must(t, err)
	t.Cleanup(other.Close)
	second := server{other}
	if !t.Run("it is away", func(t *testing.T) { standbyIsAway(t, first, second) }) {
		return
	}
	t.Run("it takes over", func(t *testing.T) { standbyTakesOver(t, first, second) })
}

// What was acknowledged is on the synchronous standby too, and the cluster goes
// there by itself when that is promoted.
func standbyTakesOver(t *testing.T, first, second server) {
	must(t, first.Exec("postgres", "postgres", "alter system set synchronous_standby_names = 'other'", "select pg_reload_conf()"))
	location := first.location(t, RoleCluster)
	hosts := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", first.Port, second.Port)
	location = strings.Replace(location, fmt.Sprintf("127.0.0.1:%d", first.Port), hosts, 1)
	one, two := openAt(t, location), openAt(t, location)
	l := writers(t, 8, one, two)
	l.more(100)
	first.Stop(syscall.SIGQUIT)
	must(t, second.Exec("postgres", "postgres", "select pg_promote()"))
	promoted := time.Now()
	l.more(1)
	t.Logf("service was back %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	l.more(100)
	l.check(openAt(t, location))
}

// While the standby is away nothing is acknowledged, even if the server's wait for it is cut off.
func standbyIsAway(t *testing.T, first, second server) {
	location := strings.Replace(first.location(t, RoleCluster), "standby=false", "standby=true", 1)
	c := openAt(t, location)
	must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "with it", nil) }))
	second.Stop(syscall.SIGQUIT)

	wantErr(t, c.Update(within(t, 200*time.Millisecond), alone(1), func(tx store.Tx) error { return both(tx, "late", nil) }),
		store.ErrUnavailable, context.DeadlineExceeded)
	wantErr(t, c.View(within(t, 200*time.Millisecond), alone(1), func(store.Tx) error { return nil }), store.ErrUnavailable, context.DeadlineExceeded)
	done := make(chan error, 1)
	go func() {
		done <- c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "cut off", nil) })
	}()
	session, err := c.flusher.session(within(t, 20*time.Second))
	must(t, err)
	for ; len(done) == 0; time.Sleep(50 * time.Millisecond) { // first the flush that those before wait for
		must(t, first.Exec("postgres", "postgres", fmt.Sprintf("select pg_cancel_backend(%d)", session.pid)))
	}
	wantErr(t, <-done, store.ErrUnavailable) // as warned of by the server or, when the flush was cut off with it, as not known

	must(t, second.Start())
	must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "with it again", nil) }))
	must(t, first.Exec("postgres", "postgres", "alter system set synchronous_standby_names = ''", "select pg_reload_conf()"))
	for err = nil; err == nil; { // it takes the server a moment
		err = c.Update(within(t, 500*time.Millisecond), alone(2), func(store.Tx) error { return nil })
	}
	wantErr(t, err, store.ErrUnavailable)
}
