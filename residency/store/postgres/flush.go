package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// flushSQL is a transaction that is nothing but a durable commit: it writes a
// message of no bytes to the log, which is only as durable as everything before it. It also tells
// which run of which server it happened on, and by which of its processes.
const flushSQL = `select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'domicile', '')::text,
	pg_postmaster_start_time(), pg_backend_pid(), current_setting('synchronous_standby_names')`

const (
	flushPatience  = 10 * time.Second       // after it a flush that does not come back is given up, with its connection
	reconnectPause = 50 * time.Millisecond  // between connections that lead elsewhere
	reconnectMax   = 500 * time.Millisecond // between connections that fail
	complainEvery  = 10 * time.Second       // between lines about it in the log
)

// flusher makes commits durable, many at a time: transactions commit without
// waiting for the disk and the standbys, and then wait here, without holding a lock or a
// connection, for the next flush to come back. While one is under way, more gather
// for the next; no timer delays any of them.
//
// A flush is only about the commits before it in the log of the same run of the
// same server: after a crash or a failover the log goes on without what was not
// durable. So whoever waits names the session under which it ran. A session is one
// process of the server, which a crash ends: that it serves a flush now proves that everything
// committed there since the session began is still in the log.
type flusher struct {
	settings *settings
	log      *slog.Logger
	stop     context.CancelFunc
	ended    chan struct{}
	flushes  atomic.Uint64 // that came back

	mu      sync.Mutex
	now     *session      // nil while there is none
	changed chan struct{} // closed when there is a session
	problem error         // why there is none
}

// session is one connection that flushes.
type session struct {
	server time.Time // when the server was started, which tells servers and their runs apart
	pid    int

	ask   chan struct{} // holds one token when somebody waits
	doubt chan struct{} // holds one token when somebody was led to another server
	next  *round        // guarded by flusher.mu
}

// round is those who wait for one flush.
type round struct {
	waiting int // guarded by flusher.mu
	done    chan struct{}
	err     error
}

func newRound() *round { return &round{done: make(chan struct{})} }

func (r *round) end(err error) {
	r.err = err
	close(r.done)
}

func newFlusher(s *settings, log *slog.Logger) *flusher {
	ctx, stop := context.WithCancel(context.Background())
	f := &flusher{settings: s, log: log, stop: stop, ended: make(chan struct{}), changed: make(chan struct{})}
	go f.run(ctx)
	return f
}

// close ends the session; whoever still waits is told that it is unavailable.
func (f *flusher) close() {
	f.stop()
	<-f.ended
}

// session gives the one that a transaction is to run under; it waits for one
// until the context ends.
func (f *flusher) session(ctx context.Context) (*session, error) {
	for {
		f.mu.Lock()
		s, changed, problem := f.now, f.changed, f.problem
		f.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if problem == nil {
				problem = errors.New("no connection yet")
			}
			return nil, fmt.Errorf("%w: %w; %w", store.ErrUnavailable, problem, ctx.Err())
		}
	}
}

// wait returns when everything that was committed under the session before the
// call is durable.
func (f *flusher) wait(ctx context.Context, s *session) error {
	f.mu.Lock()
	over, r := f.now != s, s.next
	r.waiting++
	f.mu.Unlock()
	if over {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errSessionLost)
	}
	token(s.ask)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: the commit was not durable in time: %w", store.ErrUnavailable, ctx.Err())
	}
}

var errSessionLost = errors.New("the server was lost before the commit was known to be durable")

// elsewhere says that a connection led to another server than the session's:
// after a failover the session may be the one that is left behind.
func (f *flusher) elsewhere(s *session) { token(s.doubt) }

// token puts a token into a channel that holds one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps a session for as long as there is a server for it.
func (f *flusher) run(ctx context.Context) {
	defer close(f.ended)
	pause := reconnectPause
	var said time.Time
	for ctx.Err() == nil {
		c, s, err := f.connect(ctx)
		if err == nil {
			if !said.IsZero() {
				f.log.Info("rows: commits are made durable again")
			}
			pause, said = reconnectPause, time.Time{}
			f.begin(s)
			err = f.serve(ctx, c, s)
			f.end(s, err)
			f.disconnect(c)
		} else {
			f.fail(err)
			pause = min(2*pause, reconnectMax)
		}
		if ctx.Err() == nil && time.Since(said) > complainEvery {
			f.log.Warn("rows: no server to make commits durable; trying again", "err", err)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// fail notes why there is no session.
func (f *flusher) fail(problem error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem = problem
}

// disconnect closes a connection that may hang.
func (f *flusher) disconnect(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // it is closed, politely or not
}

func (f *flusher) connect(ctx context.Context) (*pgx.Conn, *session, error) {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, f.settings.pool.ConnConfig)
	if err != nil {
		return nil, nil, err
	}
	err = f.settings.checkServer(ctx, c)
	s := &session{ask: make(chan struct{}, 1), doubt: make(chan struct{}, 1), next: newRound()}
	if err == nil {
		err = c.QueryRow(ctx, "select pg_postmaster_start_time(), pg_backend_pid()").Scan(&s.server, &s.pid)
	}
	if err != nil {
		f.disconnect(c)
		return nil, nil, err
	}
	return c, s, nil
}

func (f *flusher) begin(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now, f.problem = s, nil
	close(f.changed)
}

// end ends a session. Whoever waits cannot be told what became of its commit.
func (f *flusher) end(s *session, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now, f.problem, f.changed = nil, cause, make(chan struct{})
	s.next.end(fmt.Errorf("%w: %w: %w", store.ErrUnavailable, errSessionLost, cause))
}

// serve flushes for whoever asks, one flush at a time, until one fails.
func (f *flusher) serve(ctx context.Context, c *pgx.Conn, s *session) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.doubt:
			return errElsewhere
		case <-s.ask:
		}
		f.mu.Lock()
		r := s.next
		if r.waiting == 0 { // who asked came along with the last flush
			f.mu.Unlock()
			continue
		}
		s.next = newRound()
		f.mu.Unlock()
		if err := f.flush(ctx, c, s); err != nil {
			r.end(fmt.Errorf("%w: %w: %w", store.ErrUnavailable, errSessionLost, err))
			return err
		}
		f.flushes.Add(1)
		r.end(nil)
	}
}

// flush returns nil when everything that was committed before the call, since
// the session began, is on the disk and on the synchronous standbys.
func (f *flusher) flush(ctx context.Context, c *pgx.Conn, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	var server time.Time
	var pid int
	var standbys string
	forgetWarning(c)
	if err := c.QueryRow(ctx, flushSQL).Scan(nil, nil, &server, &pid, &standbys); err != nil {
		return err
	}
	if text := warning(c); text != "" {
		return fmt.Errorf("%w: %s", errWarned, text)
	}
	if !server.Equal(s.server) || pid != s.pid { // a pooler between us and the server
		return errElsewhere
	}
	return f.settings.checkStandbys(standbys)
}
