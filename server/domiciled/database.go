package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/pebble"
	"github.com/domicile-project/domicile/residency/store/postgres"
	"github.com/domicile-project/domicile/server/config"
)

// The time that is allowed for opening a database, and for bringing its tables
// up to date.
const (
	databaseTimeout = 30 * time.Second
	migrateTimeout  = 5 * time.Minute
)

// openRows opens a cluster's rows and outbox, in a folder or in a database.
func (s *stores) openRows(region, location string, log *slog.Logger) (cluster gateway.Cluster, err error) {
	observe := s.metrics.took(region, "rows", "update", "view", "due", "entries")
	if config.IsPostgres(location) {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
		defer cancel()
		db, err := postgres.OpenCluster(ctx, location, postgres.Options{Logger: log, Observe: observe})
		if err != nil {
			return cluster, err
		}
		s.closers = append(s.closers, db.Close)
		return s.counted(region, db, db), nil
	}
	_, folder := config.Location(location)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return cluster, err
	}
	db, err := pebble.OpenCluster(folder, pebble.Options{Logger: log, Observe: observe})
	if err != nil {
		return cluster, err
	}
	s.closers = append(s.closers, db.Close)
	s.watch("rows", region, db.Failed())
	return s.counted(region, db, db), nil
}

// counted is a cluster whose failures are counted.
func (s *stores) counted(region string, r rows, outbox store.Outbox) gateway.Cluster {
	fail := s.metrics.fails(region, "rows", "update", "view", "due", "lead", "purge", "entries", "drop")
	return gateway.Cluster{Rows: &countedRows{r, fail}, Outbox: &countedOutbox{outbox, fail}}
}

// openPlacements opens the directory, in a folder or in a database.
func (s *stores) openPlacements(location string, log *slog.Logger) (store.Directory, error) {
	if config.IsPostgres(location) {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
		defer cancel()
		d, err := postgres.OpenDirectory(ctx, location, postgres.Options{Logger: log})
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, d.Close)
		return d, nil
	}
	_, folder := config.Location(location)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	d, err := pebble.OpenDirectory(folder, log)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, d.Close)
	s.watch("directory", "", d.Failed())
	return d, nil
}

// openWrapped opens a region's wrapped keys, in the folder of its roots or in a database.
func (s *stores) openWrapped(r config.Region, name string, log *slog.Logger) (store.Keys, error) {
	if r.KeyStore != "" {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
		defer cancel()
		k, err := postgres.OpenKeys(ctx, r.KeyStore, postgres.Options{Logger: log})
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, k.Close)
		return k, nil
	}
	_, folder := config.Location(r.Keys)
	k, err := pebble.OpenKeys(filepath.Join(folder, "store"), log)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, k.Close)
	s.watch("keys", name, k.Failed())
	return k, nil
}

// openDirectoryKey reads the key of the directory's digests. Beside a directory
// in a folder it is made with it. One in a database, or of a gateway that has peers, may have tenants of other
// gateways, which under a key of one's own would not be found and could be registered anew.
func openDirectoryKey(c *config.Config) ([]byte, error) {
	_, file := config.Location(c.DirectoryKey)
	shared := config.IsPostgres(c.Directory)
	for _, r := range c.Regions { // under keys of their own, regions would give out one name twice
		shared = shared || r.Peer != nil
	}
	if !shared {
		_, folder := config.Location(c.Directory)
		return directoryKey(file, folder)
	}
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: it is the same for the gateways of all regions; copy it from another gateway or, for the first, make %d random bytes, readable by the owner only", file, keySize)
	}
	return key, err
}

// migrate brings the tables of every configured database up to date.
func migrate(ctx context.Context, f *flags, out io.Writer) error {
	s, err := configure(f, false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	found := false
	step := func(what, location string, role postgres.Role) {
		if err != nil || !config.IsPostgres(location) {
			return
		}
		found = true
		var from, to int
		if from, to, err = postgres.Migrate(ctx, location, role); err != nil {
			err = fmt.Errorf("%s: %w", what, err)
			return
		}
		fmt.Fprintf(out, "%s: step %d -> %d\n", what, from, to)
	}
	step("directory", s.cfg.Directory, postgres.RoleDirectory)
	for _, name := range regionNames(s.cfg) {
		r := s.cfg.Regions[name]
		step("region "+name+" keys", r.KeyStore, postgres.RoleKeys)
		for _, cl := range r.Clusters {
			step("region "+name+" cluster "+cl.Name, cl.Rows, postgres.RoleCluster)
		}
	}
	if err == nil && !found {
		fmt.Fprintln(out, "no database is configured: nothing to migrate")
	}
	return errors.Join(err, s.close())
}
