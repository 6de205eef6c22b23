package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
)

// What there is to work on.
const (
	tenants  = 10
	subjects = 100 // of each tenant

	// warm is how long the load goes on before it is measured: until a checkpoint is of this load, and not of the last one before a rest.
	warm = 2 * time.Second
)

var switzerland = residency.Jurisdiction{'C', 'H'}

// subject is a gateway that is measured.
type subject struct {
	g      *gateway.Gateway
	outbox *pebble.Cluster
	tree   bool
	ended  chan struct{} // closed when its background work has ended
	closes []func() error
}

// openSubject makes a gateway over engines in a folder, and its objects.
func openSubject(ctx context.Context, root, name string, tree bool) (*subject, error) {
	root = filepath.Join(root, name)
	rows, err := pebble.OpenCluster(filepath.Join(root, "rows"), pebble.Options{CacheBytes: 64 << 20})
	if err != nil {
		return nil, err
	}
	keys, err := pebble.OpenKeys(filepath.Join(root, "keys"), nil)
	if err != nil {
		return nil, err
	}
	directory, err := pebble.OpenDirectory(filepath.Join(root, "directory"), nil)
	if err != nil {
		return nil, err
	}
	s := &subject{outbox: rows, tree: tree, ended: make(chan struct{}), closes: []func() error{rows.Close, keys.Close, directory.Close}}
	blobs, err := dir.Open(filepath.Join(root, "blobs"))
	if err != nil {
		return nil, err
	}
	ring, err := seal.OpenFileKeyring(filepath.Join(root, "ring"))
	if err != nil {
		return nil, err
	}
	cluster := gateway.Cluster{Name: "ch-1", Rows: rows, Outbox: rows, Blobs: blobs}
	if tree {
		if cluster.Signer, err = audit.NewSigner("bench.example/ch/ch-1", bytes.Repeat([]byte{1}, audit.SeedSize)); err != nil {
			return nil, err
		}
	}
	p, err := shipped("ch-2012-05-02.yaml")
	if err != nil {
		return nil, err
	}
	s.g, err = gateway.New(gateway.Config{
		Name: name, Directory: directory, DirectoryKey: bytes.Repeat([]byte{2}, 32), Metrics: prometheus.NewRegistry(),
		Regions: []gateway.Region{{
			Name: "ch", Jurisdiction: switzerland, Controller: p.Controller, Policies: []*policy.Policy{p},
			Vault: seal.NewVault("ch", ring, keys, seal.Options{}), Clusters: []gateway.Cluster{cluster},
		}},
	})
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		s.g.Run(ctx) //nolint:errcheck // it returns nil
	}()
	return s, s.fill(ctx)
}

func shipped(file string) (*policy.Policy, error) {
	text, ok := policy.Shipped(file)
	if !ok {
		return nil, fmt.Errorf("there is no shipped policy %s", file)
	}
	return policy.Parse(text)
}

// close waits for the background work, whose context has ended, and closes the engines.
func (s *subject) close() (err error) {
	<-s.ended
	for _, c := range s.closes {
		err = errors.Join(err, c())
	}
	return err
}

func (s *subject) fill(ctx context.Context) error {
	for i := range tenants {
		tenant := fmt.Sprint("t-", i)
		_, err := s.g.RegisterTenant(ctx, call("RegisterTenant", residency.Collect, residency.AccountData), gateway.NewTenant{ID: tenant, Residence: switzerland})
		if err != nil {
			return err
		}
		for j := range subjects {
			if err := s.put(ctx, tenant, fmt.Sprint("s-", j)); err != nil {
				return err
			}
		}
	}
	return nil
}

func call(method string, action residency.Action, class residency.DataClass) *gateway.Call {
	return &gateway.Call{
		Caller: gateway.Caller{
			ID: "spiffe://bench.example/app", Jurisdiction: switzerland, Party: residency.TenantParty, Sees: func(string) bool { return true },
		},
		Method: "/residency.v1.RecordService/" + method, Action: action, Class: class,
	}
}

func (s *subject) put(ctx context.Context, tenant, person string) error {
	_, err := s.g.PutRecord(ctx, call("PutRecord", residency.Collect, residency.PersonalInformation), gateway.PutRecord{
		Tenant: tenant, Record: gateway.Record{
			ID: "r", Subject: person, FullName: "Eva Muster of the Benchmark", Address: "Bahnhofstrasse 1, 8001 Zuerich",
			Email: "eva.muster@example.org", Source: residency.Provided, Purposes: residency.PurposeSet(residency.Payments),
		},
	})
	return err
}

func (s *subject) get(ctx context.Context, tenant, person string) error {
	_, err := s.g.GetRecord(ctx, call("GetRecord", residency.Use, residency.PersonalInformation), gateway.GetRecord{
		Tenant: tenant, Subject: person, Record: "r", Purpose: residency.Payments,
	})
	return err
}

// measure loads the gateway for a while: first unmeasured, until the tree is brought up to entries as they come.
func (s *subject) measure(ctx context.Context, name string, callers int, measured time.Duration) (r round, err error) {
	if err := settle(); err != nil {
		return r, err
	}
	loading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	var enough atomic.Bool
	for range callers {
		wg.Go(func() {
			for !enough.Load() && loading.Err() == nil {
				if err := s.one(ctx, name); err != nil {
					stop(err)
				}
			}
		})
	}
	time.Sleep(warm)
	r, err = s.sampled(loading, measured)
	enough.Store(true)
	wg.Wait()
	if err != nil {
		return r, err
	}
	if err := context.Cause(loading); err != nil {
		return r, err
	}
	if s.tree {
		r.Drained, err = s.drained(ctx)
	}
	return r, err
}

func (s *subject) one(ctx context.Context, name string) error {
	tenant, person := fmt.Sprint("t-", rand.IntN(tenants)), fmt.Sprint("s-", rand.IntN(subjects))
	if name == "GetRecord" {
		return s.get(ctx, tenant, person)
	}
	return s.put(ctx, tenant, person)
}

// sampled counts entries and CPU time, and looks ten times a second at how old the checkpoint is.
func (s *subject) sampled(ctx context.Context, measured time.Duration) (r round, err error) {
	first, err := s.outbox.Last(ctx)
	if err != nil {
		return r, err
	}
	before, err := cpu()
	if err != nil {
		return r, err
	}
	began := time.Now()
	var ages []time.Duration
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for time.Since(began) < measured && ctx.Err() == nil {
		<-look.C
		if s.tree {
			age, waiting, err := s.age(ctx)
			if err != nil {
				return r, err
			}
			ages, r.Waited = append(ages, age), max(r.Waited, waiting)
		}
	}
	r.Took = time.Since(began)
	after, err := cpu()
	if err != nil {
		return r, err
	}
	last, err := s.outbox.Last(ctx)
	if err != nil {
		return r, err
	}
	r.Entries, r.CPU = last-first, after-before
	if slices.Sort(ages); len(ages) > 0 {
		r.Age, r.Oldest = ages[(len(ages)*99-1)/100], ages[len(ages)-1]
	}
	return r, nil
}

// age is how long the newest checkpoint has been there while entries wait for the next one; 0 when none does.
func (s *subject) age(ctx context.Context) (time.Duration, uint64, error) {
	c, err := s.g.GetCheckpoint(ctx, "ch", "")
	if err != nil || c.Pending == 0 {
		return 0, 0, err
	}
	return s.outbox.Now().Sub(c.Signed), c.Pending, nil
}

// drained waits until no entry waits, and says how long that took.
func (s *subject) drained(ctx context.Context) (time.Duration, error) {
	const most = time.Minute
	for began := time.Now(); time.Since(began) < most; time.Sleep(5 * time.Millisecond) {
		_, waiting, err := s.age(ctx)
		if waiting == 0 || err != nil {
			return time.Since(began), err
		}
	}
	return most, fmt.Errorf("entries wait for a checkpoint after %s without load", most)
}
