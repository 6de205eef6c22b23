package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/domicile-project/domicile/residency/store/storetest"
)

// postgres measures the unary calls with rows, directory and wrapped keys on a
// PostgreSQL server, against programs that do one statement per call on the same server.
func (b *bench) postgres(ctx context.Context) error {
	s := shape{Tenants: 10, Subjects: 200, Records: 2}
	if b.quick {
		s = shape{Tenants: 2, Subjects: 5, Records: 2}
	}
	db, err := newDatabase()
	if err != nil {
		return err
	}
	defer db.Close()
	i, g, err := b.onPostgres(ctx, b.bin, "postgres", db.address(), s)
	if err != nil {
		return err
	}
	rivals, err := b.onTable(ctx, db, i, s)
	if err == nil {
		err = b.measurePostgres(ctx, g, rivals)
	}
	g.stop()
	for _, r := range rivals {
		r.stop()
	}
	if err != nil || b.earlier != "" {
		return err
	}
	return b.trips(ctx, db, i, s)
}

func (b *bench) measurePostgres(ctx context.Context, g contender, rivals []rival) error {
	for _, work := range []string{"GetRecord", "PutRecord"} {
		for _, callers := range b.callers {
			if err := b.compare(ctx, line{Work: work, Callers: callers}, g, rivals, cpuPerCall, rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// database is a PostgreSQL server of the benchmark's own.
type database struct{ *storetest.PostgresServer }

func newDatabase() (database, error) {
	// The server is another user, who cannot enter every folder; and /tmp may be in
	// memory, where durable means nothing.
	if os.Getenv("TMPDIR") == "" {
		if err := os.Setenv("TMPDIR", "/var/tmp"); err != nil {
			return database{}, err
		}
	}
	server, err := storetest.NewPostgres("shared_buffers=128MB", "max_connections=300")
	if err != nil {
		return database{}, err
	}
	// Keys must not be in one backup with what they seal.
	if err := server.Exec("postgres", "postgres", "create database keys owner domicile"); err != nil {
		server.Close()
		return database{}, err
	}
	return database{server}, nil
}

func (d database) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port)) }

// at gives a database's connection string through an address of the server.
func at(address, name string) string {
	return "postgres://domicile@" + address + "/" + name + "?sslmode=disable"
}

// onPostgres starts a gateway whose rows, directory and wrapped keys are in a
// database, in schemas named after it, and makes its objects.
func (b *bench) onPostgres(ctx context.Context, bin, name, address string, s shape) (*installation, contender, error) {
	i, err := b.install(ctx, bin, name)
	if err != nil {
		return nil, contender{}, err
	}
	if err := i.keepIn(ctx, name, address); err != nil {
		return nil, contender{}, err
	}
	g, err := i.start(ctx)
	if err != nil {
		return nil, contender{}, err
	}
	c := contender{server: g, shape: s}
	if err := c.fill(ctx); err != nil {
		g.stop()
		return nil, contender{}, err
	}
	return i, c, nil
}

// keepIn puts rows, directory and wrapped keys into databases of a server.
func (i *installation) keepIn(ctx context.Context, name, address string) error {
	schema := func(database, what string) string {
		return at(address, database) + "&require_sync_standby=false&schema=" + name + "_" + what
	}
	i.drop("us")
	region, cluster := i.region("ch")
	region["key_store"] = schema("keys", "keys")
	cluster["rows"], i.settings["directory"] = schema("domicile", "rows"), schema("domicile", "directory")
	return i.write(ctx)
}

// onTable starts the programs that a gateway on a database is compared with.
func (b *bench) onTable(ctx context.Context, db database, i *installation, s shape) ([]rival, error) {
	if b.earlier != "" {
		_, c, err := b.onPostgres(ctx, b.earlier, "earlier", db.address(), s)
		if err != nil {
			return nil, err
		}
		return []rival{{contender: c, against: "the gateway of " + b.earlier}}, nil
	}
	location := at(db.address(), "domicile")
	peer, err := startSecurePeer(ctx, b.bin, i.data, "-database", location)
	if err != nil {
		return nil, err
	}
	service := contender{server: peer, shape: s}
	if _, err := peer.measure(ctx, command{Work: "make records", Callers: 64, Shape: s}); err != nil {
		peer.stop()
		return nil, err
	}
	alone, err := startAlone(ctx, "-database", location)
	if err != nil {
		peer.stop()
		return nil, err
	}
	return []rival{
		{contender: service, against: "bare gRPC over mutual TLS with pgx, on PostgreSQL", goal: "CPU ≤ 1.5"},
		{contender: contender{server: alone, shape: s, prefix: "bare "}, against: "pgx alone, on PostgreSQL"},
	}, nil
}

// trips counts the round trips to the database that a call takes.
func (b *bench) trips(ctx context.Context, db database, i *installation, s shape) error {
	defer func(rounds int) { b.rounds = rounds }(b.rounds)
	b.rounds = 1 // they are counted, not timed
	own, err := newCounter(db.address())
	if err != nil {
		return err
	}
	defer own.close()
	if err := i.keepIn(ctx, filepath.Base(i.data), own.address()); err != nil {
		return err
	}
	g, err := i.start(ctx)
	if err != nil {
		return err
	}
	defer g.stop()
	g.trips = &own.trips
	if _, err := g.measure(ctx, command{Work: "read records", Callers: 16, Shape: s}); err != nil {
		return err
	}
	others, err := newCounter(db.address())
	if err != nil {
		return err
	}
	defer others.close()
	alone, err := startAlone(ctx, "-database", at(others.address(), "domicile"))
	if err != nil {
		return err
	}
	defer alone.stop()
	alone.trips = &others.trips
	r := rival{contender: contender{server: alone, shape: s, prefix: "bare "}, against: "pgx alone: round trips to PostgreSQL", goal: "≤ 2 more"}
	for _, work := range []string{"GetRecord", "PutRecord"} {
		for _, callers := range b.callers {
			if err := b.compare(ctx, line{Work: work, Callers: callers}, contender{server: g, shape: s}, []rival{r}, roundTrips); err != nil {
				return fmt.Errorf("round trips: %w", err)
			}
		}
	}
	return nil
}
