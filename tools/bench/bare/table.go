// Package bare knows what a program does that only keeps records in PostgreSQL or
// objects in S3: one statement per call, one request per object, and no decision, no seal and
// no audit entry. The gateway is measured against it.
package bare

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// maxConns is how many connections a table uses at once: as many as the gateway's rows do.
const maxConns = 32

// Table keeps records in one table of a PostgreSQL database.
type Table struct{ pool *pgxpool.Pool }

// OpenTable connects to a database by its connection string, and makes the table
// if there is none.
func OpenTable(ctx context.Context, location string) (*Table, error) {
	config, err := pgxpool.ParseConfig(location)
	if err != nil {
		return nil, err
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, `create table if not exists bare_records (
		tenant text, subject text, record text, version bigint not null, value bytea not null,
		primary key (tenant, subject, record))`)
	if err == nil {
		_, err = pool.Exec(ctx, `alter table bare_records alter column value set storage external`) // as the gateway's are
	}
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("the bare table: %w", err)
	}
	return &Table{pool}, nil
}

// Close disconnects.
func (t *Table) Close() { t.pool.Close() }

// Get reads a record: one statement, one round trip.
func (t *Table) Get(ctx context.Context, tenant, subject, record string) (value []byte, version int64, err error) {
	row := t.pool.QueryRow(ctx, `select value, version from bare_records where tenant = $1 and subject = $2 and record = $3`, tenant, subject, record)
	err = row.Scan(&value, &version)
	return value, version, err
}

// Put writes a record, durably: one statement, one round trip.
func (t *Table) Put(ctx context.Context, tenant, subject, record string, value []byte) (version int64, err error) {
	row := t.pool.QueryRow(ctx, `insert into bare_records as r values ($1, $2, $3, 1, $4)
		on conflict (tenant, subject, record) do update set value = excluded.value, version = r.version + 1 returning version`,
		tenant, subject, record, value)
	err = row.Scan(&version)
	return version, err
}
