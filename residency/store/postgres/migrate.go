package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// Role is what a schema holds.
type Role string

// The roles of schemas.
const (
	RoleCluster   Role = "cluster"
	RoleDirectory Role = "directory"
	RoleKeys      Role = "keys"
)

//go:embed migrations
var migrations embed.FS

// migration is one step of a role's tables, numbered from 1.
type migration struct {
	sql        string
	compatible int // the oldest step whose programs can still use the tables after this one
}

var compatibleLine = regexp.MustCompile(`^-- compatible: ([0-9]+)\n`)

// steps gives a role's migrations in order.
func steps(role Role) ([]migration, error) {
	dir := path.Join("migrations", string(role))
	files, err := fs.ReadDir(migrations, dir) // in the order of their names
	if err != nil {
		return nil, fmt.Errorf("postgres: no role %q: want %s, %s or %s", role, RoleCluster, RoleDirectory, RoleKeys)
	}
	var out []migration
	for _, f := range files {
		text, err := migrations.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		first := compatibleLine.FindSubmatch(text)
		if first == nil {
			return nil, fmt.Errorf("postgres: %s does not begin with the oldest step that it is compatible with", f.Name())
		}
		compatible, err := strconv.Atoi(string(first[1]))
		if err != nil {
			return nil, err
		}
		out = append(out, migration{string(text), compatible})
	}
	return out, nil
}

// migrateLockTimeout bounds how long a step waits for a table, and with it how
// long whoever comes after it waits.
const migrateLockTimeout = "2000"

// Migrate brings a schema's tables to the newest step, and makes the schema if
// there is none. It may be run any number of times, by several at once, and
// while gateways use the tables: a step that waits for a table gives way to them and is
// tried again until the context ends. It gives the step that the tables were at, and are at.
func Migrate(ctx context.Context, location string, role Role) (from, to int, err error) {
	s, err := parse(location)
	if err != nil {
		return 0, 0, err
	}
	all, err := steps(role)
	if err != nil {
		return 0, 0, err
	}
	c, err := pgx.ConnectConfig(ctx, s.pool.ConnConfig)
	if err != nil {
		return 0, 0, wrap(ctx, err)
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	err = retry(ctx, func() (bool, error) {
		from, err = s.migrate(ctx, c, role, all)
		return isCode(err, codeLockNotAvailable), err
	})
	return from, len(all), err
}

// migrate takes every step that is left, all of them or none.
func (s *settings) migrate(ctx context.Context, c *pgx.Conn, role Role, all []migration) (from int, err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return 0, wrap(ctx, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit it does nothing, and else the connection is closed
	if err := s.prepare(ctx, tx); err != nil {
		return 0, wrap(ctx, err)
	}
	from, err = s.format(ctx, tx, role)
	if err != nil {
		return from, err
	}
	for _, m := range all[min(from, len(all)):] {
		if _, err := tx.Exec(ctx, m.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return from, wrap(ctx, err)
		}
	}
	if from < len(all) {
		_, err := tx.Exec(ctx, "update format set step = $1, compatible = $2", len(all), all[len(all)-1].compatible)
		if err != nil {
			return from, wrap(ctx, err)
		}
	}
	return from, wrap(ctx, tx.Commit(ctx))
}

// prepare waits for other migrations of the schema and makes what is needed to
// know how far it is.
func (s *settings) prepare(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lockKey("migrate", s.schema)); err != nil {
		return err
	}
	for _, sql := range []string{
		"set local lock_timeout = " + migrateLockTimeout,
		"set local synchronous_commit = on",
		"create schema if not exists " + pgx.Identifier{s.schema}.Sanitize(),
		"set local search_path = " + pgx.Identifier{s.schema}.Sanitize(),
		"create table if not exists format (one boolean primary key default true check (one), role text not null, step int not null, compatible int not null)",
	} {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// format gives the step that a schema is at; 0 for a new one.
func (s *settings) format(ctx context.Context, tx pgx.Tx, role Role) (int, error) {
	_, err := tx.Exec(ctx, "insert into format (role, step, compatible) values ($1, 0, 0) on conflict do nothing", string(role))
	if err != nil {
		return 0, wrap(ctx, err)
	}
	var there string
	var step int
	if err := tx.QueryRow(ctx, "select role, step from format").Scan(&there, &step); err != nil {
		return 0, wrap(ctx, err)
	}
	if there != string(role) {
		return 0, fmt.Errorf("postgres: the schema %s holds the tables of a %s, not of a %s: name another one by %s=", s.schema, there, role, paramSchema)
	}
	return step, nil
}

// checkFormat refuses a schema that this program cannot use.
func checkFormat(ctx context.Context, c *pgx.Conn, schema string, role Role) error {
	all, err := steps(role)
	if err != nil {
		return err
	}
	var there string
	var step, compatible int
	row := c.QueryRow(ctx, "select role, step, compatible from "+pgx.Identifier{schema, "format"}.Sanitize())
	err = row.Scan(&there, &step, &compatible)
	switch {
	case isCode(err, codeUndefinedTable, codeUndefinedSchema), errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: postgres: the schema %s has no tables of a %s: run domiciled migrate", store.ErrUnavailable, schema, role)
	case err != nil:
		return wrap(ctx, err)
	case there != string(role):
		return fmt.Errorf("postgres: the schema %s holds the tables of a %s, not of a %s: name another one by %s=", schema, there, role, paramSchema)
	case step < len(all):
		return fmt.Errorf("postgres: the tables in the schema %s are at step %d, want %d: run domiciled migrate", schema, step, len(all))
	case compatible > len(all):
		return fmt.Errorf("postgres: the tables in the schema %s are for programs of step %d or later, this one is of step %d: use a newer one", schema, compatible, len(all))
	}
	return nil
}
