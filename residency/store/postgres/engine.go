package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/domicile-project/domicile/residency/store"
)

const (
	minVersion   = 14_00_00         // the oldest server that has every setting that is used
	closeTimeout = 10 * time.Second // how long Close waits for operations
)

// engine is a pool of connections to the server that is the primary, and the
// schema in it that holds one store's tables.
type engine struct {
	pool *pgxpool.Pool
	settings
	log *slog.Logger

	mu     sync.Mutex
	closed bool
	ops    int
	idle   chan struct{} // closed when closed and no operation is under way
}

// open connects and refuses a server that would lose acknowledged writes, or a
// schema without the tables of the role.
func open(ctx context.Context, location string, role Role, o Options) (*engine, error) {
	s, err := parse(location)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	e := &engine{pool: pool, settings: s, log: o.logger(), idle: make(chan struct{})}
	if err := e.check(ctx, role); err != nil {
		pool.Close()
		return nil, err
	}
	return e, nil
}

func (e *engine) check(ctx context.Context, role Role) error {
	c, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if err := e.checkServer(ctx, c.Conn()); err != nil {
		return err
	}
	return checkFormat(ctx, c.Conn(), e.schema, role)
}

// checkServer refuses a server that does not keep what it acknowledges.
func (s *settings) checkServer(ctx context.Context, c *pgx.Conn) error {
	var version int
	var fsync, standbys string
	row := c.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('fsync'), current_setting('synchronous_standby_names')`)
	if err := row.Scan(&version, &fsync, &standbys); err != nil {
		return wrap(ctx, err)
	}
	switch {
	case version < minVersion:
		return fmt.Errorf("postgres: the server's version is %d, want %d or later", version, minVersion)
	case fsync != "on":
		return fmt.Errorf("postgres: the server runs with fsync=%s and would lose acknowledged writes: set fsync=on", fsync)
	}
	return s.checkStandbys(standbys)
}

// checkStandbys refuses a list of synchronous standbys that is empty.
func (s *settings) checkStandbys(names string) error {
	if s.standby && names == "" {
		return fmt.Errorf("%w: postgres: the primary has no synchronous standby, so its loss would lose acknowledged writes: "+
			"set synchronous_standby_names, or add %s=false to the connection string to accept that", store.ErrUnavailable, paramStandby)
	}
	return nil
}

// table names a table, for use in a statement.
func (s *settings) table(name string) string { return pgx.Identifier{s.schema, name}.Sanitize() }

// enter begins an operation; unless it returns an error, leave must follow.
func (e *engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("%w: the store", store.ErrClosed)
	}
	e.ops++
	return nil
}

func (e *engine) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ops--
	if e.closed && e.ops == 0 {
		close(e.idle)
	}
}

// close refuses new operations, waits for those under way and disconnects. It
// gives up after 10 seconds.
func (e *engine) close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return fmt.Errorf("%w: the store", store.ErrClosed)
	}
	e.closed = true
	if e.ops == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	tooLong := time.NewTimer(closeTimeout)
	defer tooLong.Stop()
	select {
	case <-e.idle:
	case <-tooLong.C:
		return fmt.Errorf("%w: operations are still under way", store.ErrUnavailable)
	}
	e.pool.Close()
	return nil
}

// proofSQL makes a transaction's commit wait for the disk and the standbys even if
// nothing else was written. It may rest on what an earlier one left that gave up waiting for the standbys: that
// is there for all to see, and is only as durable as what comes after it in the log.
const proofSQL = "select pg_logical_emit_message(true, 'domicile', '')::text"

// write runs statements as one transaction, in one round trip. When it returns nil, what
// they did and what they saw is durable. queue adds them, and what reads their results.
func (e *engine) write(ctx context.Context, queue func(b *pgx.Batch)) error {
	c, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	b := &pgx.Batch{}
	b.Queue("begin isolation level read committed")
	b.Queue(limitsSQL, limits(ctx, "on")...)
	queue(b)
	b.Queue(proofSQL)
	b.Queue("commit")
	forgetWarning(c.Conn())
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		if c.Conn().PgConn().TxStatus() != 'I' {
			_ = c.Conn().Close(ctx) // the pool makes another
		}
		return wrap(ctx, err)
	}
	if text := warning(c.Conn()); text != "" {
		return fmt.Errorf("%w: %w: %s", store.ErrUnavailable, errWarned, text)
	}
	return nil
}

// limitsSQL bounds a transaction on the server, in case this process does not:
// statements, waits for locks, waits for a client that was stopped, and for one that has gone.
const limitsSQL = `select set_config('synchronous_commit', $1, true), set_config('statement_timeout', $2, true), set_config('lock_timeout', $2, true),
	set_config('idle_in_transaction_session_timeout', $3, true), set_config('client_connection_check_interval', '1000', true)`

const (
	maxIdle     = 1 * time.Second        // that a transaction waits for its client
	maxIdleHead = 250 * time.Millisecond // the same while it holds the outbox's head, and every other writer up
)

// late is how much later the server gives up than the caller: it is there for
// callers that no longer exist.
const late = 200 * time.Millisecond

// limits gives the arguments of limitsSQL.
func limits(ctx context.Context, durability string) []any {
	left := patience
	if deadline, ok := ctx.Deadline(); ok {
		left = max(time.Until(deadline), 0)
	}
	return []any{durability, milliseconds(left + late), milliseconds(maxIdle)}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
