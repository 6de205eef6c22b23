package gateway

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

var (
	ch = residency.Jurisdiction{'C', 'H'}
	us = residency.Jurisdiction{'U', 'S'}
)

// world is a gateway over two regions in memory.
type world struct {
	t   testing.TB
	g   *Gateway
	mem map[residency.Region]*storetest.Memory
	dir *storetest.Memory
}

type option func(*Config)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	// Virtual time starts in 2000, before the policies are in force.
	if first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); time.Now().Before(first) {
		time.Sleep(time.Until(first))
	}
	w := &world{t: t, mem: make(map[residency.Region]*storetest.Memory), dir: storetest.NewMemory(time.Now)}
	start := time.Now()
	cfg := Config{
		Name: "test-1", Directory: w.dir.Directory(), DirectoryKey: bytes.Repeat([]byte{7}, 32),
		Elapsed: func() time.Duration { return time.Since(start) },
		Regions: []Region{
			w.region("ch", ch, "ch-2012-05-02.yaml"),
			w.region("us", us, "us-2011-10-07.yaml"),
		},
	}
	for _, o := range options {
		o(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.g = g
	t.Cleanup(w.foreseen)
	return w
}

func (w *world) region(name residency.Region, j residency.Jurisdiction, file string) Region {
	w.t.Helper()
	p := shipped(w.t, file)
	ring, err := seal.OpenFileKeyring(filepath.Join(w.t.TempDir(), "ring", string(name)))
	if err != nil {
		w.t.Fatal(err)
	}
	m := storetest.NewMemory(time.Now)
	w.mem[name] = m
	return Region{
		Name: name, Jurisdiction: j, Controller: p.Controller, Policies: []*policy.Policy{p},
		Vault: seal.NewVault(name, ring, m.Keys(), seal.Options{Clock: time.Now}),
		Clusters: []Cluster{{
			Name: string(name) + "-1", Rows: m.Rows(), Outbox: m.Outbox(), Blobs: m.Blobs(),
		}},
	}
}

var parsed sync.Map // of shipped policies, by file name

// shipped parses a shipped policy, once.
func shipped(t testing.TB, file string) *policy.Policy {
	t.Helper()
	if p, ok := parsed.Load(file); ok {
		return p.(*policy.Policy)
	}
	b, ok := policy.Shipped(file)
	if !ok {
		t.Fatalf("no shipped policy %s", file)
	}
	p, err := policy.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Store(file, p)
	return p
}

// as makes a call by an application in a jurisdiction.
func as(j residency.Jurisdiction, method string, a residency.Action, c residency.DataClass) *Call {
	return &Call{
		Caller: Caller{
			ID: "spiffe://example.org/app-" + j.String(), Jurisdiction: j, Party: residency.TenantParty,
			Sees: func(string) bool { return true },
		},
		Method: method, Action: a, Class: c,
	}
}

func (w *world) tenant(id string, residence residency.Jurisdiction) Tenant {
	w.t.Helper()
	out, err := w.g.RegisterTenant(w.t.Context(), as(residence, "RegisterTenant", residency.Collect, residency.AccountData),
		NewTenant{ID: id, Residence: residence})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func aRecord(subject, id string) Record {
	return Record{
		ID: id, Subject: subject, FullName: "Canary Kanarek", Address: "Canary Road 1", Phone: "+41 44 000 00 00",
		Email: "canary@example.org", Attributes: map[string]string{"colour": "canary yellow"},
		Source: residency.Provided, Purposes: residency.PurposeSet(residency.Payments, residency.ServiceProvision),
	}
}

func (w *world) put(j residency.Jurisdiction, tenant string, r Record, expected *uint64) (RecordWritten, *Call, error) {
	c := as(j, "PutRecord", residency.Collect, residency.PersonalInformation)
	out, err := w.g.PutRecord(w.t.Context(), c, PutRecord{Tenant: tenant, Record: r, Expected: expected})
	return out, c, err
}

func (w *world) get(j residency.Jurisdiction, tenant, subject, id string) (Record, *Call, error) {
	c := as(j, "GetRecord", residency.Use, residency.PersonalInformation)
	out, err := w.g.GetRecord(w.t.Context(), c, GetRecord{Tenant: tenant, Subject: subject, Record: id, Purpose: residency.Payments})
	return out, c, err
}

func (w *world) grant(tenant, subject string, class residency.DataClass, purpose residency.Purpose) ConsentNow {
	w.t.Helper()
	out, err := w.g.GrantConsent(w.t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: tenant, Consent: border(subject, class, purpose)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// border is a consent for a Swiss tenant's data to reach the United States.
func border(subject string, class residency.DataClass, purpose residency.Purpose) consent.Consent {
	return consent.Consent{
		Kind: residency.BorderCrossing, Subject: subject, WholeTenant: subject == "",
		Classes: residency.DataClassSet(class), From: ch, To: us, Purposes: residency.PurposeSet(purpose),
		Evidence: consent.Evidence{Method: "form", Grantor: "Canary Kanarek", NoticeLanguage: "de-CH", NoticeDigest: "sha256:" + string(bytes.Repeat([]byte("0"), 64))},
	}
}

func (w *world) withdraw(j residency.Jurisdiction, tenant, id string) error {
	_, err := w.g.WithdrawConsent(w.t.Context(), as(j, "WithdrawConsent", residency.Govern, residency.PersonalInformation),
		WithdrawConsent{Tenant: tenant, Consent: id})
	return err
}

func (w *world) wantKind(err error, want residency.Kind) {
	w.t.Helper()
	if got := residency.KindOf(err); got != want {
		w.t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) drive(tenant, id string, size int64) {
	w.t.Helper()
	_, err := w.g.CreateDrive(w.t.Context(), as(ch, "CreateDrive", residency.Collect, residency.AccountData),
		NewDrive{Tenant: tenant, ID: id, Name: id, Size: size})
	w.ok(err)
}

func (w *world) write(j residency.Jurisdiction, tenant, drive string, offset int64, data []byte) (DriveWritten, error) {
	rest := data
	return w.g.WriteDrive(w.t.Context(), as(j, "WriteDrive", residency.Collect, residency.VirtualDriveData),
		WriteDrive{Tenant: tenant, Drive: drive, Offset: offset, Purpose: residency.ServiceProvision},
		func() ([]byte, error) {
			if len(rest) == 0 {
				return nil, io.EOF
			}
			n := min(len(rest), 100_000)
			b := rest[:n]
			rest = rest[n:]
			return b, nil
		})
}

func (w *world) read(j residency.Jurisdiction, tenant, drive string, offset, length int64) ([]byte, error) {
	var out []byte
	err := w.g.ReadDrive(w.t.Context(), as(j, "ReadDrive", residency.Use, residency.VirtualDriveData),
		ReadDrive{Tenant: tenant, Drive: drive, Offset: offset, Length: length, Purpose: residency.ServiceProvision},
		func(b []byte) error {
			out = append(out, b...)
			return nil
		})
	return out, err
}

// entries reads a region's whole audit log.
func (w *world) entries(r residency.Region) []audit.Entry {
	w.t.Helper()
	var out []audit.Entry
	err := w.mem[r].Outbox().Entries(context.Background(), 1, func(place uint64, b []byte) bool {
		e, err := audit.Parse(b)
		if err != nil {
			w.t.Errorf("entry %d: %v", place, err)
		}
		out = append(out, e)
		return true
	})
	w.ok(err)
	return out
}

func (w *world) tenantKeys(id string) store.Tenant { return w.g.pseudonym(id) }

func newRequestID() string { return uuid.NewString() }

func ptr[T any](v T) *T { return &v }

// sweepAll does what is due in every cluster.
func (g *Gateway) sweepAll(ctx context.Context) {
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		for j := range r.Clusters {
			g.sweepIn(ctx, r, &r.Clusters[j])
			g.purgeIn(ctx, r, &r.Clusters[j])
		}
	}
}

// renewAll renews every lease once, all clusters at the same time.
func (k *keeper) renewAll(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range k.g.cfg.Regions {
		r := &k.g.cfg.Regions[i]
		for j := range r.Clusters {
			wg.Go(func() { k.renewIn(ctx, r.Clusters[j].Rows) })
		}
	}
	wg.Wait()
}
