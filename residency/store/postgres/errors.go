package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/domicile-project/domicile/residency/store"
)

// errElsewhere says that a connection leads to another server, or another run of
// it, than the session that makes things durable.
var errElsewhere = errors.New("the connection leads to another server than durability is awaited from")

// wrap gives an error of the driver one of the store's kinds. The server's own
// messages name no values; what it calls the detail, which may, is left out.
func wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if over := ctx.Err(); over != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, over)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == codeDataCorrupted || pg.Code == codeIndexCorrupted) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// SQLSTATE codes (PostgreSQL documentation, appendix A).
const (
	codeDataCorrupted    = "XX001"
	codeIndexCorrupted   = "XX002"
	codeUndefinedTable   = "42P01"
	codeUndefinedSchema  = "3F000"
	codeLockNotAvailable = "55P03"
	codeIdle             = "25P03" // idle in a transaction for too long
)

// passing are the codes of what passes: a transaction that it ended has left
// nothing behind and may be run again.
var passing = map[string]bool{
	"40001":  true, // serialisation failure
	"40P01":  true, // deadlock
	"25006":  true, // a read-only server: it has just ceased to be the primary
	codeIdle: true,
	"53300":  true, // too many connections
	"57P01":  true, // the server stops
	"57P02":  true, // another of its processes crashed
	"57P03":  true, // it starts
}

// passes reports whether what went wrong before a commit was sent may be gone
// the next time: the connection broke, or the server said so.
func passes(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return passing[pg.Code]
	}
	return !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrClosed)
}

// certain reports whether an error that came instead of a commit's confirmation
// says for sure that nothing was committed: the server refused a statement and lived, or had
// given up waiting for one.
func certain(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.SeverityUnlocalized == "ERROR" || pg.Code == codeIdle)
}

// The pace of repetitions.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 200 * time.Millisecond
	patience   = 30 * time.Second // for an operation whose context has no deadline
)

// retry runs an attempt until it succeeds, fails for good, or the context ends.
func retry(ctx context.Context, attempt func() (again bool, err error)) error {
	giveUp := time.Now().Add(patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		again, err := attempt()
		if err == nil || !again || ctx.Err() != nil || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; %w", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// isCode reports whether the server refused with a code.
func isCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, c := range codes {
		if pg.Code == c {
			return true
		}
	}
	return false
}

var errWarned = errors.New("the server did not wait for its standbys")

// acquire takes a connection of the pool; waiting ends with the context.
func (e *engine) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	c, err := e.pool.Acquire(ctx)
	return c, wrap(ctx, err)
}
