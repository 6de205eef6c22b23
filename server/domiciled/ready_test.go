package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
	"github.com/domicile-project/domicile/server/admin"
)

// brokenBlobs cannot be listed.
type brokenBlobs struct{ store.Blobs }

func (brokenBlobs) List(context.Context, string, func(string) bool) error {
	return errors.New("dial tcp 192.0.2.1:443: refused")
}

func readyRegion(t *testing.T, name residency.Region, file string, wrap func(store.Blobs) store.Blobs) gateway.Region {
	t.Helper()
	text, _ := policy.Shipped(file)
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.OpenFileKeyring(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	m := storetest.NewMemory(time.Now)
	return gateway.Region{
		Name: name, Jurisdiction: p.Jurisdiction, Controller: p.Controller, Policies: []*policy.Policy{p},
		Vault:    seal.NewVault(name, ring, m.Keys(), seal.Options{}),
		Clusters: []gateway.Cluster{{Name: "one", Rows: m.Rows(), Outbox: m.Outbox(), Blobs: wrap(m.Blobs())}},
	}
}

// Which region is not ready, and what of it, is told; nothing of the cause is.
func TestNotReadyNamesTheRegion(t *testing.T) {
	whole := func(b store.Blobs) store.Blobs { return b }
	g, err := gateway.New(gateway.Config{
		Name: "one", Directory: storetest.NewMemory(time.Now).Directory(), DirectoryKey: make([]byte, 32),
		Regions: []gateway.Region{
			readyRegion(t, "ch", "ch-2012-05-02.yaml", whole),
			readyRegion(t, "us", "us-2011-10-07.yaml", func(b store.Blobs) store.Blobs { return brokenBlobs{b} }),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{gateway: g}
	var p *admin.Problem
	if err := d.ready(t.Context()); !errors.As(err, &p) || !slices.Equal(p.Shown, []string{"region us: no answer from its blobs"}) {
		t.Errorf("got %v, shown %+v", err, p)
	}
	d.draining.Store(true)
	if err := d.ready(t.Context()); !errors.As(err, &p) || !slices.Equal(p.Shown, []string{"stopping"}) {
		t.Errorf("while it stops: %v", err)
	}
}

// An engine that has stopped for good ends the process's health.
func TestStoppedEngineIsNotHealthy(t *testing.T) {
	s := &stores{log: slog.New(slog.DiscardHandler)}
	rows, keys, directory := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.watch("rows", "ch", rows)
	s.watch("keys", "us", keys)
	s.watch("directory", "", directory)
	if err := s.healthy(); err != nil {
		t.Errorf("at first: %v", err)
	}
	close(rows)
	close(directory)
	var p *admin.Problem
	waitFor(t, func() bool { return errors.As(s.healthy(), &p) && len(p.Shown) == 2 })
	slices.Sort(p.Shown)
	if !strings.HasPrefix(p.Shown[0], "region ch: the rows store has stopped") || !strings.HasPrefix(p.Shown[1], "the directory store has stopped") {
		t.Errorf("shown: %q", p.Shown)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
