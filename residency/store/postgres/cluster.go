// Package postgres knows how the production default keeps its data: a cluster's
// rows, agenda and audit outbox, the directory, and the key store, each in a
// schema of a PostgreSQL database. FORMAT.md specifies the tables and README.md tells the
// life of a transaction and what is durable when.
//
// Any number of processes use one schema at a time.
package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// Cluster is a storage cluster's rows and outbox in one schema.
type Cluster struct {
	*engine
	sql     statements
	lead    leaderStatements
	locks   *lock.Table // within this process: whoever waits here holds no connection
	flusher *flusher
	clock   clock
	observe func(operation string, took time.Duration)

	durable atomic.Uint64 // the newest place whose entry is known to be durable
}

var (
	_ store.Rows   = (*Cluster)(nil)
	_ store.Outbox = (*Cluster)(nil)
)

// statements are a cluster's, with its schema in them.
type statements struct {
	began, get, scan, scanTo     string
	put, remove, plan, unplan    string
	head, append, index          string
	due, tenants                 string
	ends, entryAt, at, entriesAt string
	forget, oldest, drop         string

	spliced [maxWidth + 1]string // by the width of the places; see splice.go
}

func newStatements(table func(string) string) statements {
	rows, agenda, outbox, head, kept := table("rows"), table("agenda"), table("outbox"), table("head"), table("kept")
	const scan = " where tenant = $1 and kind = $2 and id >= $3 order by id limit $4"
	const scanTo = " where tenant = $1 and kind = $2 and id >= $3 and id < $5 order by id limit $4"
	s := statements{
		began: "select clock_timestamp(), pg_postmaster_start_time(), array(select (select value from " + rows + " where tenant = $1 and kind = w.k and id = w.i)" +
			" from unnest($2::smallint[], $3::bytea[]) with ordinality as w(k, i, n) order by n)",
		get:    "select value from " + rows + " where tenant = $1 and kind = $2 and id = $3",
		scan:   "select id, value from " + rows + scan,
		scanTo: "select id, value from " + rows + scanTo,

		put: "insert into " + rows + " (tenant, kind, id, value) select $1, k, i, v from unnest($2::smallint[], $3::bytea[], $4::bytea[]) as w(k, i, v)" +
			" on conflict (tenant, kind, id) do update set value = excluded.value",
		remove: "delete from " + rows + " as r using unnest($2::smallint[], $3::bytea[]) as w(k, i) where r.tenant = $1 and r.kind = w.k and r.id = w.i",
		plan: "insert into " + agenda + " (tenant, at, kind, id, value) select $1, a, k, i, v from unnest($2::bigint[], $3::smallint[], $4::bytea[], $5::bytea[]) as w(a, k, i, v)" +
			" on conflict (at, tenant, kind, id) do update set value = excluded.value",
		unplan: "delete from " + agenda + " as r using unnest($2::bigint[], $3::smallint[], $4::bytea[]) as w(a, k, i)" +
			" where r.at = w.a and r.tenant = $1 and r.kind = w.k and r.id = w.i",

		// Whoever holds the head holds every other writer up, so it is not waited for long.
		head:   "update " + head + " set last = last + $1 returning last, set_config('idle_in_transaction_session_timeout', $2, true)",
		append: "insert into " + outbox + " (place, entry) select $1 + n - 1, e from unnest($2::bytea[]) with ordinality as w(e, n)",
		index: "insert into " + rows + " as r (tenant, kind, id, value) select $1, $2, i, p from unnest($3::bytea[], $4::bytea[]) as w(i, p)" +
			" on conflict (tenant, kind, id) do update set value = r.value || excluded.value",

		due: "select at, tenant, kind, id, value from " + agenda +
			" where at <= greatest($1, (extract(epoch from statement_timestamp()) * 1000000000)::bigint) order by at, tenant, kind, id limit $2",
		// From tenant to tenant, past all rows between; no more of them than are asked for.
		tenants: "with recursive found as ((select tenant from " + rows + " where tenant > $1 order by tenant limit 1)" +
			" union all select (select tenant from " + rows + " where tenant > found.tenant order by tenant limit 1) from found where found.tenant is not null)" +
			" select tenant from found where tenant is not null limit $2",

		ends:      "select pg_postmaster_start_time(), clock_timestamp(), first, last from " + head + ", " + kept,
		entryAt:   "select entry from " + outbox + " where place = $1 and place >= (select first from " + kept + ")",
		at:        "select place, entry from " + outbox + " where place = any($1) and place >= (select first from " + kept + ")",
		entriesAt: "select place, entry from " + outbox + " where place >= $1 and place <= $2 order by place limit $3",

		forget: "update " + kept + " set first = greatest(first, $1) where $2 = 0 or $2 = (select epoch from " + table("leader") + ") returning first",
		oldest: "select min(place) from " + outbox + " where place < $1",
		drop:   "delete from " + outbox + " where place >= $1 and place < $2",
	}
	for width := 1; width <= maxWidth; width++ {
		s.spliced[width] = splicedSQL(rows, outbox, head, width)
	}
	return s
}

// OpenCluster connects to the cluster whose connection string is given; README.md
// has the parameters that are not PostgreSQL's own. The schema must have been migrated.
func OpenCluster(ctx context.Context, location string, o Options) (*Cluster, error) {
	e, err := open(ctx, location, RoleCluster, o)
	if err != nil {
		return nil, err
	}
	c := &Cluster{engine: e, sql: newStatements(e.table), lead: newLeaderStatements(e.table("leader")), locks: lock.New(), observe: o.Observe}
	c.flusher = newFlusher(&e.settings, e.log)
	if _, err := c.Last(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close waits for operations that are under way, at most 10 seconds, and
// disconnects.
func (c *Cluster) Close() error {
	err := c.close()
	c.flusher.close()
	return err
}

// Now is the server's clock as this process knows it: never ahead of it, and
// behind it by at most a round trip. It stands still instead of running backwards.
func (c *Cluster) Now() time.Time { return c.clock.now() }

// timed tells the observer how long an operation took.
func (c *Cluster) timed(operation string) func() {
	if c.observe == nil {
		return func() {}
	}
	start := time.Now()
	return func() { c.observe(operation, time.Since(start)) }
}

// Update is store.Rows. fn runs again after a deadlock and when the server was
// lost before the commit was sent, until the context ends.
func (c *Cluster) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	defer c.timed("update")()
	return c.transact(ctx, scope, false, fn)
}

// View is store.Rows. It returns nil only when everything that fn can have seen
// is durable, and the server that it was read from is still the primary.
func (c *Cluster) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	defer c.timed("view")()
	return c.transact(ctx, scope, true, fn)
}

func (c *Cluster) transact(ctx context.Context, scope store.Scope, view bool, fn func(store.Tx) error) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	var held lock.Held
	if err := c.locks.Acquire(ctx, scope, view, &held); err != nil {
		return err
	}
	defer held.Release()
	var s *session
	var last uint64
	asking := false
	err := retry(ctx, func() (again bool, err error) {
		s, last, again, err = c.attempt(ctx, scope, view, asking, fn)
		if !asking && isCode(err, codeNoEntry) {
			asking, again = true, true
		}
		return again, err
	})
	if err != nil {
		return err
	}
	held.Release()
	return c.settle(ctx, s, last)
}

// settle waits until everything committed or read under a session is durable; of
// the outbox that is at least the place last.
func (c *Cluster) settle(ctx context.Context, s *session, last uint64) error {
	if err := c.flusher.wait(ctx, s); err != nil {
		return err
	}
	for {
		known := c.durable.Load()
		if known >= last || c.durable.CompareAndSwap(known, last) {
			return nil
		}
	}
}

// attempt runs fn in a transaction of the server, asking for the entries' places or
// leaving them to the server. again says that it left nothing behind and may be run once more.
func (c *Cluster) attempt(ctx context.Context, scope store.Scope, view, asking bool, fn func(store.Tx) error) (s *session, last uint64, again bool, err error) {
	if s, err = c.flusher.session(ctx); err != nil {
		return nil, 0, false, err
	}
	conn, err := c.acquire(ctx)
	if err != nil {
		return nil, 0, passes(err), err
	}
	t := &tx{cluster: c, ctx: ctx, conn: conn, tenant: scope.Tenant, readOnly: view, asking: asking}
	defer t.end()
	if err := t.begin(scope); err != nil {
		return nil, 0, passes(err), err
	}
	if !t.server.Equal(s.server) {
		c.flusher.elsewhere(s)
		t.drop()
		return nil, 0, true, wrap(ctx, errElsewhere)
	}
	if err := t.ofEpoch(scope.Epoch); err != nil {
		return nil, 0, false, err
	}
	err = fn(t)
	t.dead = true
	if t.failed != nil {
		return nil, 0, passes(t.failed), t.failed
	}
	if err != nil {
		return nil, 0, false, err
	}
	last, again, err = t.commit()
	return s, last, again, err
}

// begin opens the transaction and takes the locks, in a statement of its own: a
// statement sees what was committed before it began, so what is read after this
// one was there when the locks were granted, the leadership's epoch and the rows that
// fn will get too. One round trip.
func (t *tx) begin(scope store.Scope) error {
	keys, exclusive := advisory(t.cluster.schema, scope, t.readOnly)
	b := &pgx.Batch{}
	if t.readOnly {
		b.Queue("begin isolation level read committed read only")
	} else {
		b.Queue("begin isolation level read committed")
	}
	b.Queue(limitsSQL, limits(t.ctx, "off")...)
	b.Queue(lockSQL, keys, exclusive)
	var now time.Time
	var ahead columns
	for _, r := range scope.Ahead {
		ahead.add(0, int16(r.Kind), r.ID, nil)
	}
	var values [][]byte // nil is a row that is not there
	b.Queue(t.cluster.sql.began, t.tenant[:], ahead.kinds, ahead.ids).QueryRow(func(r pgx.Row) error { return r.Scan(&now, &t.server, &values) })
	if scope.Epoch != 0 {
		b.Queue(t.cluster.lead.epoch).QueryRow(func(r pgx.Row) error { return r.Scan(&t.epoch) })
	}
	if err := t.conn.SendBatch(t.ctx, b).Close(); err != nil {
		return t.fail(err)
	}
	t.now = t.cluster.clock.read(now)
	t.readAhead(scope.Ahead, values)
	return nil
}

// end gives the connection back; a transaction that is still open is rolled back.
func (t *tx) end() {
	t.dead = true
	if t.conn.Conn().PgConn().TxStatus() != 'I' && t.ctx.Err() == nil {
		_, _ = t.conn.Exec(t.ctx, "rollback") // if it fails the pool closes the connection, which does the same
	}
	t.conn.Release()
}

// drop closes the connection, so that the pool makes another.
func (t *tx) drop() {
	ctx, cancel := context.WithTimeout(t.ctx, time.Second)
	defer cancel()
	_ = t.conn.Conn().Close(ctx) // it is closed, politely or not
}
