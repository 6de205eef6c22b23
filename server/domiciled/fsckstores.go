package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
	"github.com/domicile-project/domicile/residency/store/postgres"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/server/config"
)

// keyAge is how long a check keeps a key in memory: less than what looks wrong is left alone, so that the second look
// does not see a key that was destroyed meanwhile.
const keyAge = fsckSettle / 2

// readStores opens the stores of the regions that are served here for reading alone: nothing is made, migrated or
// cleaned up. After an error nothing is open.
func readStores(c *config.Config, only string, log *slog.Logger) (*stores, error) {
	s := &stores{log: log}
	if err := s.read(c, only); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stores) read(c *config.Config, only string) (err error) {
	_, file := config.Location(c.DirectoryKey)
	if s.directoryKey, err = readKey(file); err != nil {
		return fmt.Errorf("directory key: %w", err)
	}
	if s.directory, err = s.readPlacements(c.Directory); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	for _, name := range regionNames(c) {
		if c.Regions[name].Peer != nil || only != "" && name != only {
			continue
		}
		r, err := s.readRegion(c, name)
		if err != nil {
			return fmt.Errorf("region %s: %w", name, err)
		}
		s.regions = append(s.regions, r)
	}
	return nil
}

// opening bounds how long a server may take to answer at all.
func opening() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), databaseTimeout)
}

// kept has a store closed in the end.
func kept[T interface{ Close() error }](s *stores, opened T, err error) (T, error) {
	if err == nil {
		s.closers = append(s.closers, opened.Close)
	}
	return opened, err
}

func (s *stores) readPlacements(location string) (store.Directory, error) {
	if config.IsPostgres(location) {
		ctx, cancel := opening()
		defer cancel()
		d, err := postgres.OpenDirectory(ctx, location, postgres.Options{Logger: s.log})
		return kept(s, d, err)
	}
	_, folder := config.Location(location)
	d, err := pebble.ReadDirectory(folder, s.log)
	return kept(s, d, err)
}

func (s *stores) readRegion(c *config.Config, name string) (gateway.Region, error) {
	r := c.Regions[name]
	out := gateway.Region{Name: residency.Region(name), Controller: r.Controller}
	var err error
	if out.Jurisdiction, err = residency.ParseJurisdiction(r.Jurisdiction); err != nil {
		return out, err
	}
	if out.Policies, err = c.LoadPolicies(name); err != nil {
		return out, err
	}
	if out.Vault, err = s.readVault(r, name); err != nil {
		return out, fmt.Errorf("keys: %w", err)
	}
	seeds, err := readLogKey(logKeyFile(r))
	if err != nil {
		return out, fmt.Errorf("audit key: %w", err)
	}
	for _, cl := range r.Clusters {
		opened, err := s.readCluster(cl)
		if err == nil {
			opened.Signer, err = audit.NewSigner(r.LogOrigin(name, cl.Name), seeds...)
		}
		if err != nil {
			return out, fmt.Errorf("cluster %s: %w", cl.Name, err)
		}
		out.Clusters = append(out.Clusters, opened)
	}
	return out, nil
}

func (s *stores) readVault(r config.Region, name string) (*seal.Vault, error) {
	_, folder := config.Location(r.Keys)
	ring, err := seal.ReadFileKeyring(filepath.Join(folder, "root"))
	if err != nil {
		return nil, err
	}
	keys, err := s.readWrapped(r, folder)
	if err != nil {
		return nil, err
	}
	return seal.NewVault(residency.Region(name), ring, keys, seal.Options{MaxAge: keyAge}), nil
}

func (s *stores) readWrapped(r config.Region, folder string) (store.Keys, error) {
	if r.KeyStore != "" {
		ctx, cancel := opening()
		defer cancel()
		k, err := postgres.OpenKeys(ctx, r.KeyStore, postgres.Options{Logger: s.log})
		return kept(s, k, err)
	}
	k, err := pebble.ReadKeys(filepath.Join(folder, "store"), s.log)
	return kept(s, k, err)
}

func (s *stores) readCluster(cl config.Cluster) (gateway.Cluster, error) {
	out, err := s.readRows(cl.Rows)
	if err != nil {
		return out, err
	}
	out.Name = cl.Name
	if !config.IsS3(cl.Blobs) {
		_, folder := config.Location(cl.Blobs)
		b, err := dir.Read(folder)
		out.Blobs, err = kept(s, b, err)
		return out, err
	}
	o, err := bucketOptions(cl.Blobs, s.log)
	if err != nil {
		return out, err
	}
	ctx, cancel := opening()
	defer cancel()
	b, err := s3.Read(ctx, o)
	out.Blobs, err = kept(s, b, err)
	return out, err
}

func (s *stores) readRows(location string) (gateway.Cluster, error) {
	if config.IsPostgres(location) {
		ctx, cancel := opening()
		defer cancel()
		db, err := postgres.OpenCluster(ctx, location, postgres.Options{Logger: s.log})
		db, err = kept(s, db, err)
		return gateway.Cluster{Rows: db, Outbox: db}, err
	}
	_, folder := config.Location(location)
	db, err := pebble.ReadCluster(folder, pebble.Options{Logger: s.log})
	db, err = kept(s, db, err)
	return gateway.Cluster{Rows: db, Outbox: db}, err
}

// fsckSettle is how long what looks wrong is left alone before it is looked at again: longer than gateways take
// for any transaction, and what goes with it.
const fsckSettle = 3 * time.Second
