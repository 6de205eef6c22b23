package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// processRows are the Swiss rows of one process among several. Its calls can be made to fail, as those of a
// process that was killed come to nothing, or to stand still where they are, as of one that was stopped.
type processRows struct {
	store.Rows
	mu      sync.Mutex
	dead    bool
	halting bool          // it is stopped when the next transaction of a leader begins
	stopped chan struct{} // calls wait until it is closed; nil = it runs
	stuck   int           // transactions of a leader that wait
	deposed int           // transactions that were refused as of an epoch that is over
}

// pass gives the context to go on with. Whoever was stopped does not know that time has passed.
func (p *processRows) pass(ctx context.Context, epoch uint64) (context.Context, error) {
	p.mu.Lock()
	if p.halting && epoch != 0 {
		p.halting, p.stopped = false, make(chan struct{})
	}
	dead, stopped := p.dead, p.stopped
	if stopped != nil && epoch != 0 {
		p.stuck++
	}
	p.mu.Unlock()
	if stopped != nil {
		<-stopped
		ctx = context.WithoutCancel(ctx)
	}
	if dead {
		return nil, fmt.Errorf("%w: the process is gone", store.ErrUnavailable)
	}
	return ctx, nil
}

func (p *processRows) noticed(err error) error {
	if errors.Is(err, store.ErrDeposed) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.deposed++
	}
	return err
}

func (p *processRows) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	ctx, err := p.pass(ctx, scope.Epoch)
	if err != nil {
		return err
	}
	return p.noticed(p.Rows.Update(ctx, scope, fn))
}

func (p *processRows) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	ctx, err := p.pass(ctx, scope.Epoch)
	if err != nil {
		return err
	}
	return p.noticed(p.Rows.View(ctx, scope, fn))
}

func (p *processRows) Lead(ctx context.Context, holder string, ttl time.Duration) (uint64, error) {
	ctx, err := p.pass(ctx, 0)
	if err != nil {
		return 0, err
	}
	return p.Rows.Lead(ctx, holder, ttl)
}

// processBlobs counts what one process deletes.
type processBlobs struct {
	store.Blobs
	mu      sync.Mutex
	deleted int
}

func (p *processBlobs) Delete(ctx context.Context, name string) error {
	p.mu.Lock()
	p.deleted++
	p.mu.Unlock()
	return p.Blobs.Delete(ctx, name)
}

func (p *processBlobs) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deleted
}

// replicas are gateways of several processes over the same stores, each with keys in a memory of its own.
type replicas struct {
	*world // for what is done by no process in particular
	cfg    Config
	rings  map[residency.Region]seal.Keyring
	open   func() (store.Rows, store.Outbox) // a process's way to the Swiss rows
	outbox store.Outbox
	ahead  time.Duration // how long before its time a version of a policy is made known
}

func newReplicas(t *testing.T, open func() (store.Rows, store.Outbox)) *replicas {
	t.Helper()
	r := &replicas{rings: make(map[residency.Region]seal.Keyring), open: open}
	r.world = newWorld(t, func(c *Config) {
		for i := range c.Regions {
			ring, err := seal.OpenFileKeyring(filepath.Join(t.TempDir(), string(c.Regions[i].Name)))
			if err != nil {
				t.Fatal(err)
			}
			r.rings[c.Regions[i].Name] = ring
		}
		r.cfg = *c
	})
	if open == nil {
		r.open = func() (store.Rows, store.Outbox) { return r.mem["ch"].Rows(), r.mem["ch"].Outbox() }
	}
	none := r.process("none")
	g, err := New(none.config())
	r.ok(err)
	r.g, r.outbox, r.ahead = g, none.outbox, 4*time.Second
	return r
}

// process is one of the replicas.
type process struct {
	*world // its gateway
	all    *replicas
	name   string
	rows   *processRows
	blobs  *processBlobs
	outbox store.Outbox
	log    lines
	reg    *prometheus.Registry
	stop   func() // ends its background work, in order, and returns when that has ended
}

// lines is a log. Safe for concurrent use.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// with counts the lines that contain a text.
func (l *lines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (r *replicas) process(name string) *process {
	p := &process{all: r, name: name, reg: prometheus.NewRegistry(), stop: func() {}}
	rows, outbox := r.open()
	p.rows, p.outbox = &processRows{Rows: rows}, outbox
	p.blobs = &processBlobs{Blobs: r.mem["ch"].Blobs()}
	own := *r.world
	p.world = &own
	return p
}

// config is what the process's gateway is made of, changed as told.
func (p *process) config(changes ...option) Config {
	cfg := p.all.cfg
	cfg.Name, cfg.Metrics, cfg.Log = p.name, p.reg, slog.New(slog.NewTextHandler(&p.log, nil))
	cfg.Regions = slices.Clone(cfg.Regions)
	for i := range cfg.Regions {
		region := &cfg.Regions[i]
		region.Vault = seal.NewVault(region.Name, p.all.rings[region.Name], p.mem[region.Name].Keys(), seal.Options{Clock: time.Now})
		region.Clusters, region.Policies = slices.Clone(region.Clusters), slices.Clone(region.Policies)
	}
	c := &cfg.Regions[0].Clusters[0]
	c.Rows, c.Outbox, c.Blobs = p.rows, p.outbox, p.blobs
	for _, change := range changes {
		change(&cfg)
	}
	return cfg
}

// start starts a process: it prepares as a daemon does, and then its background work goes on.
func (r *replicas) start(name string, changes ...option) *process {
	r.t.Helper()
	p := r.process(name)
	g, err := New(p.config(changes...))
	r.ok(err)
	p.g = g
	r.ok(g.Prepare(r.t.Context()))
	r.ok(g.ApplyLedger(r.t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.Run(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-ended })
	r.t.Cleanup(func() { p.resume(); p.stop() })
	return p
}

// kill ends a process in the middle of whatever it does; it gives nothing up.
func (p *process) kill() {
	p.rows.mu.Lock()
	p.rows.dead = true
	p.rows.mu.Unlock()
	p.stop()
}

// halt stops a leader as it begins its next transaction: stopped at any other moment it might lose the lead
// with none to stand still in.
func (p *process) halt() {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	p.rows.halting = true
}

func (p *process) resume() {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	p.rows.halting = false
	if p.rows.stopped != nil {
		close(p.rows.stopped)
		p.rows.stopped = nil
	}
}

func (p *process) stuck() bool {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	return p.rows.stuck > 0
}

func (p *process) wasDeposed() bool {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	return p.rows.deposed > 0
}

func (p *process) leads() bool { return p.g.leads[&p.g.cfg.Regions[0].Clusters[0]].current() != nil }

// gauge gives the sum of a metric's Swiss series, and how many there are.
func (p *process) gauge(name string) (sum float64, series int) {
	p.t.Helper()
	families, err := p.reg.Gather()
	p.ok(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && strings.Contains(m.String(), `"ch"`) {
				sum += m.GetGauge().GetValue()
				series++
			}
		}
	}
	return sum, series
}

// eventually waits until something holds.
func (r *replicas) eventually(what string, holds func() bool) {
	r.t.Helper()
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("%s: not within a minute", what)
}

// logged reads the whole Swiss audit log.
func (r *replicas) logged() (log []audit.Entry) {
	r.t.Helper()
	r.ok(r.outbox.Entries(context.Background(), 1, func(place uint64, b []byte) bool {
		e, err := audit.Parse(b)
		if err != nil || place != uint64(len(log))+1 {
			r.t.Errorf("entry %d after %d: %v", place, len(log), err)
		}
		log = append(log, e)
		return true
	}))
	return log
}

// count counts entries, of which no decision may have two ends.
func (r *replicas) count(which func(audit.Entry) bool) (n int) {
	r.t.Helper()
	ends := make(map[string]int)
	for _, e := range r.logged() {
		if e.Phase == audit.Ended {
			if ends[e.DecisionID]++; ends[e.DecisionID] > 1 {
				r.t.Fatalf("the decision %s has ended twice: %+v", e.DecisionID, e)
			}
		}
		if which(e) {
			n++
		}
	}
	return n
}

func ofExpiry(e audit.Entry) bool { return e.Clause == "cookies" && e.Action == residency.Erase }

func abandoned(e audit.Entry) bool { return e.Phase == audit.Ended && e.End == audit.Unknown }

func erased(e audit.Entry) bool { return e.Phase == audit.Ended && e.Action == residency.Erase }

// expiring stores a record that ends after a time.
func (w *world) expiring(tenant, record string, after time.Duration) {
	w.t.Helper()
	rec := aRecord("s1", record)
	rec.Source, rec.Expires = residency.Automatic, time.Now().Add(after)
	_, _, err := w.put(ch, tenant, rec, nil)
	w.ok(err)
}
