package postgres

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options says what a process does with a store. The zero value is right for production.
type Options struct {
	// Logger receives what happens to the server; nil = slog.Default(). Neither
	// rows nor the connection's password are ever logged.
	Logger *slog.Logger

	// Observe is told how long each operation took, from its call to its
	// return, errors included; nil = nobody is told. The operations are "update", "view",
	// "due", "lead" and "entries". It is called on the caller's goroutine.
	Observe func(operation string, took time.Duration)
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// The settings that this package adds to a connection string. All others are
// those of PostgreSQL and of the pool (pool_max_conns and the like).
const (
	paramSchema  = "schema"               // the schema that holds the tables; default "domicile"
	paramStandby = "require_sync_standby" // "false" takes a server without a synchronous standby; default "true"
)

const (
	defaultSchema         = "domicile"
	defaultMaxConns       = 32
	defaultConnectTimeout = 3 * time.Second
)

// settings are what a connection string says.
type settings struct {
	pool    *pgxpool.Config
	schema  string
	standby bool // a server whose list of synchronous standbys is empty is refused
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// parse reads a connection string: a postgres:// URL, or key=value words.
func parse(location string) (settings, error) {
	plain, err := pgx.ParseConfig(location)
	if err != nil {
		return settings{}, fmt.Errorf("postgres: %w", err) // it hides the password
	}
	given := plain.RuntimeParams
	pool, err := pgxpool.ParseConfig(location)
	if err != nil {
		return settings{}, fmt.Errorf("postgres: %w", err)
	}
	s := settings{pool: pool, schema: defaultSchema, standby: true}
	if name, ok := given[paramSchema]; ok {
		s.schema = name
	}
	if !schemaName.MatchString(s.schema) || s.schema[:min(3, len(s.schema))] == "pg_" {
		return settings{}, fmt.Errorf("postgres: %s wants a name of at most 63 of [a-z0-9_] that starts with neither a digit nor pg_", paramSchema)
	}
	if text, ok := given[paramStandby]; ok {
		if s.standby, err = strconv.ParseBool(text); err != nil {
			return settings{}, fmt.Errorf("postgres: %s wants true or false", paramStandby)
		}
	}
	s.complete(given)
	return s, nil
}

// complete sets what the connection string leaves open.
func (s *settings) complete(given map[string]string) {
	if _, ok := given["pool_max_conns"]; !ok {
		s.pool.MaxConns = defaultMaxConns
	}
	c := s.pool.ConnConfig
	if c.ConnectTimeout == 0 || c.ConnectTimeout > time.Minute {
		c.ConnectTimeout = defaultConnectTimeout
	}
	delete(c.RuntimeParams, paramSchema)
	delete(c.RuntimeParams, paramStandby)
	if _, ok := given["application_name"]; !ok {
		c.RuntimeParams["application_name"] = "domicile"
	}
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // of several hosts, the primary
	c.OnNotice = noteWarning
}

// warned is under which name a connection keeps the last warning.
const warned = "domicile.warned"

// noteWarning keeps what the server warns of. A commit whose wait for the
// standbys was cut off succeeds, and only a warning tells.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warned] = n.Message
	}
}

// forgetWarning drops what the server warned of so far.
func forgetWarning(c *pgx.Conn) { delete(c.PgConn().CustomData(), warned) }

// warning gives what the server warned of since forgetWarning; "" for nothing.
func warning(c *pgx.Conn) string {
	text, _ := c.PgConn().CustomData()[warned].(string)
	return text
}
