// Package gateway is where everything happens to a request, and nowhere else:
// find the tenant's home, take the locks, read the facts, decide purely, write
// the audit entry, and only when that is durable let a byte move.
//
// It knows how the parts fit: which rows a call touches and in which order the
// reasons for refusing it apply (the border before anything is looked up), when
// a key may be used (a permit, made here alone), how long a permit lasts (a
// lease), and what an interrupted stream leaves behind. It knows no transport.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// Config is what a Gateway is made of. Every field is required unless it says
// what its zero value means.
type Config struct {
	// Name is this gateway's name, as audit entries have it.
	Name string

	// Regions are the regions that this gateway serves itself.
	Regions []Region

	// Elsewhere are the regions that other gateways serve; none = every tenant's home is here.
	Elsewhere []Elsewhere

	// Directory says where tenants live. DirectoryKey, 32 bytes, keys the digests
	// of tenant identifiers and is the same for every gateway.
	Directory    store.Directory
	DirectoryKey []byte

	// Limits bound what calls may take. Zero members take their defaults.
	Limits Limits

	// Elapsed is a clock that only moves forward and counts time that the machine
	// was suspended; leases go by it. Nil = CLOCK_BOOTTIME.
	Elapsed func() time.Duration

	// Metrics is where the gateway registers its metrics; nil = nowhere.
	Metrics prometheus.Registerer

	// Log is the gateway's own log; nil = none.
	Log *slog.Logger
}

// Region is a region that the gateway serves itself.
type Region struct {
	Name         residency.Region
	Jurisdiction residency.Jurisdiction
	Controller   string           // the legal entity, which every policy of the region must name
	Policies     []*policy.Policy // every version, one of them in force
	Vault        *seal.Vault
	Clusters     []Cluster // one or more
	Endpoint     string    // host:port that callers are told who should not come by a gateway elsewhere; "" = none

	// AuditRetention is after what time entries of the audit logs are dropped, once a checkpoint holds them; 0 = they are
	// kept for good. At least MinAuditRetention.
	AuditRetention time.Duration

	Cosigner  *audit.Cosigner // cosigns other regions' audit logs; nil = it does not
	Witnesses []Witness       // who is asked to cosign this region's, beside the other regions
}

// Cluster is a storage cluster of a region.
type Cluster struct {
	Name   string // unique within the region, and the same for good: the directory has it
	Rows   store.Rows
	Outbox store.Outbox
	Blobs  store.Blobs

	// Signer signs the checkpoints of the cluster's audit log; nil = its tree is not kept, and there are no receipts.
	Signer *audit.Signer

	Weight int  // its share of the region's new tenants: 1 to 1000, 0 = 1
	Closed bool // it takes no new tenants

	standing  *atomic.Pointer[standing] // of the region's Policies, as the last look at the cluster showed it
	witnesses *witnesses
	purges    *purges
}

// Limits bound what calls may take.
type Limits struct {
	// Lease is how long a permit that rests on a consent may be used without looking
	// again, and so how long a withdrawal waits. Default and maximum 1 s.
	Lease time.Duration

	// Decide is the longest that a decision and its audit entry may take. Default 1.5 s.
	Decide time.Duration

	// StreamLifetime is the longest that one drive stream may last. Default 1 h.
	StreamLifetime time.Duration

	// DenialsPerSecond is how many refusals one caller may cause per second, on
	// average; its burst is five times that. Default 1000.
	DenialsPerSecond int
}

func (l Limits) withDefaults() (Limits, error) {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&l.Lease, time.Second)
	set(&l.Decide, 1500*time.Millisecond)
	set(&l.StreamLifetime, time.Hour)
	if l.DenialsPerSecond == 0 {
		l.DenialsPerSecond = 1000
	}
	switch {
	case l.Lease < 10*time.Millisecond || l.Lease > time.Second:
		return l, errors.New("limits: a lease is 10 ms to 1 s")
	case l.Decide < 10*time.Millisecond || l.Decide > 2*time.Second:
		return l, errors.New("limits: a decision takes 10 ms to 2 s")
	case l.StreamLifetime < time.Second || l.StreamLifetime > 24*time.Hour:
		return l, errors.New("limits: a stream lasts 1 s to 24 h")
	case l.DenialsPerSecond < 1:
		return l, errors.New("limits: a caller may be refused at least once per second")
	}
	return l, nil
}

// withdraw is how long the transaction of a withdrawal may take, so that the
// answer, which waits out a lease after it, comes within 1.5 s.
func (l Limits) withdraw() time.Duration { return 1450*time.Millisecond - l.Lease }

// Gateway decides and carries out. It is safe for concurrent use.
type Gateway struct {
	cfg     Config
	limits  Limits
	log     *slog.Logger
	elapsed func() time.Duration
	metrics *metrics
	hints   hints
	rows    opened
	denials denials
	keeper  *keeper
	taps    taps
	holder  string // this process, as a leader
	leads   map[*Cluster]*leadership
	counted sync.Mutex // held while a region's census is told or taken back
}

// New makes a Gateway and refuses a configuration under which it could not
// keep its promises. Run must be running for streams to live longer than a lease.
func New(cfg Config) (*Gateway, error) {
	limits, err := cfg.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Regions = slices.Clone(cfg.Regions)
	for i := range cfg.Regions {
		r := &cfg.Regions[i]
		r.Policies, r.Clusters = byEffect(r.Policies), slices.Clone(r.Clusters)
		for j := range r.Clusters {
			r.Clusters[j].standing = new(atomic.Pointer[standing])
		}
	}
	g := &Gateway{cfg: cfg, limits: limits, log: cfg.Log, elapsed: cfg.Elapsed, metrics: newMetrics(cfg.Metrics)}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.elapsed == nil {
		g.elapsed = Boottime
	}
	g.denials = denials{perSecond: float64(limits.DenialsPerSecond), elapsed: g.elapsed, m: make(map[string]*bucket)}
	g.keeper = &keeper{g: g, streams: make(map[*stream]struct{}), forwarded: make(map[string]*stream)}
	g.holder, g.leads = holderName(cfg.Name), make(map[*Cluster]*leadership)
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		for j := range r.Clusters {
			r.Clusters[j].witnesses, r.Clusters[j].purges = g.witnessesOf(r), new(purges)
			g.leads[&r.Clusters[j]] = g.newLeadership(r, &r.Clusters[j])
		}
		g.metrics.prepare(r)
	}
	g.Expect(nil)
	return g, nil
}

func (c *Config) validate() error {
	switch {
	case c.Name == "":
		return errors.New("gateway: a name is required")
	case len(c.Regions) == 0:
		return errors.New("gateway: at least one region is required")
	case c.Directory == nil || len(c.DirectoryKey) != 32:
		return errors.New("gateway: a directory and its key of 32 bytes are required")
	}
	names := make(map[residency.Region]bool)
	for i := range c.Regions {
		r := &c.Regions[i]
		if names[r.Name] {
			return fmt.Errorf("gateway: region %s is there twice", r.Name)
		}
		names[r.Name] = true
		if err := r.validate(); err != nil {
			return fmt.Errorf("gateway: region %s: %w", r.Name, err)
		}
	}
	for i := range c.Elsewhere {
		e := &c.Elsewhere[i]
		if names[e.Name] {
			return fmt.Errorf("gateway: region %s is there twice", e.Name)
		}
		names[e.Name] = true
		if err := e.validate(); err != nil {
			return fmt.Errorf("gateway: region %s: %w", e.Name, err)
		}
	}
	return nil
}

func (r *Region) validate() error {
	if _, err := residency.ParseRegion(string(r.Name)); err != nil {
		return err
	}
	if r.Jurisdiction.IsZero() || r.Vault == nil || len(r.Clusters) == 0 || len(r.Policies) == 0 {
		return errors.New("a jurisdiction, a vault, a cluster and a policy are required")
	}
	if r.AuditRetention != 0 && r.AuditRetention < MinAuditRetention {
		return fmt.Errorf("audit entries are kept for at least %v, not for %v", MinAuditRetention, r.AuditRetention)
	}
	if err := policy.Check(r.Policies); err != nil {
		return err
	}
	for _, p := range r.Policies {
		if p.Jurisdiction != r.Jurisdiction || p.Controller != r.Controller {
			return fmt.Errorf("policy %s is %s's in %s, the region %s's in %s",
				p.Version, p.Controller, p.Jurisdiction, r.Controller, r.Jurisdiction)
		}
	}
	return r.validateClusters()
}

// Run does the background work until the context ends: it renews leases, watches the versions of
// policies, keeps the gauges and, in clusters that this gateway leads, does what is due on the agenda. It returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		for j := range region.Clusters {
			cluster := &region.Clusters[j]
			wg.Go(func() { every(ctx, g.limits.Lease/3, func() { g.keeper.renewIn(ctx, cluster.Rows) }) })
			wg.Go(func() { every(ctx, policiesEvery, func() { g.watchPolicies(ctx, region, cluster) }) })
			wg.Go(func() { g.leads[cluster].run(ctx) })
		}
	}
	wg.Go(func() { every(ctx, gaugesEvery, func() { g.gauges(ctx) }) })
	wg.Wait()
	return nil
}

// every calls f now and then after each interval, until the context ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
