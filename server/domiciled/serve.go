package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/admin"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
	"github.com/domicile-project/domicile/server/rpc"
)

// The pace of background looks: for changed certificates and callers, and at
// whether the regions are up.
const (
	reloadEvery = time.Second
	readyEvery  = 2 * time.Second
)

// serve does what the flags ask for.
func serve(ctx context.Context, f *flags, stdout io.Writer, log *slog.Logger) (err error) {
	switch {
	case f.Verb == "healthcheck":
		return healthcheck(ctx, f, stdout)
	case f.Check:
		return check(f, stdout)
	case f.PrintConfig:
		return printConfig(f, stdout)
	case f.Verb == "migrate":
		return migrate(ctx, f, stdout)
	case f.Verb == "fsck":
		return fsck(ctx, f, stdout, log)
	case f.Verb == "rotate-log-key":
		return rotateLogKey(ctx, f, stdout, log)
	case f.Verb == "forget-log":
		return forgetLog(ctx, f, stdout, log)
	}
	s, err := configure(f, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	tuneMemory(s.cfg.Limits.Memory)
	d, err := start(s, log)
	if err != nil {
		return err
	}
	return d.run(ctx, stdout)
}

// daemon is everything that runs.
type daemon struct {
	*setup
	log *slog.Logger

	stores   *stores
	peers    forward.Set
	gateway  *gateway.Gateway
	rpc      *rpc.Server
	admin    *admin.Server
	grpc     net.Listener
	adminLis net.Listener
	draining atomic.Bool
}

// start puts the parts together and listens. After an error nothing is left open.
func start(s *setup, log *slog.Logger) (d *daemon, err error) {
	d = &daemon{setup: s, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.abandon())
		}
	}()
	reg := admin.NewRegistry(version)
	if d.stores, err = openStores(s.cfg, reg, log); err != nil {
		return d, err
	}
	if d.peers, err = newPeers(s.cfg, reg, log); err != nil {
		return d, err
	}
	if d.gateway, err = newGateway(s.cfg, d.stores, d.peers, reg, log); err != nil {
		return d, err
	}
	if err = prepare(d.gateway); err != nil {
		return d, err
	}
	if d.rpc, err = newRPC(s.cfg, d.gateway, d.peers, reg, log); err != nil {
		return d, err
	}
	if d.grpc, err = net.Listen("tcp", s.cfg.Gateway.Listen); err != nil {
		return d, fmt.Errorf("%w: choose another address with --listen", err)
	}
	if d.adminLis, err = net.Listen("tcp", s.cfg.Gateway.AdminListen); err != nil {
		return d, fmt.Errorf("%w: choose another address with --admin-listen", err)
	}
	d.admin = admin.New(admin.Options{
		Ready: d.ready, Healthy: d.stores.healthy, Metrics: reg, Name: s.cfg.Gateway.Name, Version: version,
		GRPC: d.grpc.Addr().String(), Jurisdictions: s.cfg.Jurisdictions(), Log: log,
	})
	return d, nil
}

// The time that a start may take before it serves. A million erasures that every cluster
// knows of take about five seconds to look at.
const (
	prepareTimeout = 30 * time.Second
	ledgerTimeout  = 10 * time.Minute
)

// prepare makes the gateway ready to serve. An engine that hangs fails the start.
func prepare(g *gateway.Gateway) error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	if err := g.Prepare(ctx); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), ledgerTimeout)
	defer cancel()
	return g.ApplyLedger(ctx) // what a backup brought back is swept again
}

// abandon undoes a start that failed.
func (d *daemon) abandon() error {
	var errs []error
	for _, lis := range []net.Listener{d.grpc, d.adminLis} {
		if lis != nil {
			errs = append(errs, lis.Close())
		}
	}
	if d.rpc != nil {
		d.rpc.Drain(context.Background())
	}
	if d.stores != nil {
		errs = append(errs, d.stores.close())
	}
	return errors.Join(errs...)
}

func newGateway(c *config.Config, s *stores, peers forward.Set, reg prometheus.Registerer, log *slog.Logger) (*gateway.Gateway, error) {
	elsewhere, err := elsewhereOf(c, peers)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{
		Name:         c.Gateway.Name,
		Regions:      s.regions,
		Elsewhere:    elsewhere,
		Directory:    s.directory,
		DirectoryKey: s.directoryKey,
		Limits: gateway.Limits{
			Lease: c.Limits.Lease, Decide: c.Limits.Decide,
			StreamLifetime: c.Limits.StreamLifetime, DenialsPerSecond: c.Limits.DenialsPerSecond,
		},
		Metrics: reg,
		Log:     log,
	})
}

func newRPC(c *config.Config, g *gateway.Gateway, peers forward.Set, reg prometheus.Registerer, log *slog.Logger) (*rpc.Server, error) {
	callers, err := c.Identities()
	if err != nil {
		return nil, err
	}
	j, err := residency.ParseJurisdiction(c.Gateway.Jurisdiction)
	if err != nil {
		return nil, err
	}
	known, err := c.Peers()
	if err != nil {
		return nil, err
	}
	g.Expect(placesOf(callers, known))
	o := rpc.Options{
		Backend: g, Name: c.Gateway.Name, Jurisdiction: j, Mixed: c.Mixed(), Version: version,
		Peers: known, Endpoint: endpoint(c), TLS: c.TLS, Callers: callers, Limits: c.Limits, Reflection: c.Gateway.Reflection,
		Metrics: reg, Log: log,
	}
	if len(peers) > 0 {
		o.Forward = peers
	}
	return rpc.New(o)
}

// placesOf lists where callers are, and where peers' gateways may hold what passes through them.
func placesOf(callers map[string]*config.Identity, peers map[string]*config.PeerIdentity) (out []residency.Jurisdiction) {
	for _, c := range callers {
		out = append(out, c.Jurisdiction)
	}
	for _, p := range peers {
		out = append(out, p.Jurisdictions...)
	}
	return out
}

// What /readyz says of a part that is down, and the part that most calls do without.
const (
	noAnswer = "no answer from its "
	blobs    = "blobs"
)

// endpoint gives where callers reach the region that is served here; of several, the first that says so.
func endpoint(c *config.Config) string {
	for _, name := range regionNames(c) {
		if r := c.Regions[name]; r.Peer == nil && r.Endpoint != "" {
			return r.Endpoint
		}
	}
	return ""
}

// ready is what /readyz asks. Shown are the regions and which part of each does not
// answer.
func (d *daemon) ready(ctx context.Context) error {
	if d.draining.Load() {
		return &admin.Problem{Shown: []string{"stopping"}, Err: errors.New("stopping")}
	}
	err := d.gateway.Ready(ctx)
	var down gateway.NotReady
	if !errors.As(err, &down) {
		return err
	}
	p := &admin.Problem{Err: err}
	for _, part := range down {
		p.Shown = append(p.Shown, fmt.Sprintf("region %s: %s%s", part.Region, noAnswer, part.Part))
	}
	return p
}

// run serves until the context ends or a server fails, then drains: not ready,
// refuse new calls, let the running ones finish or cut them, close the stores.
func (d *daemon) run(ctx context.Context, stdout io.Writer) error {
	background, stop := context.WithCancel(context.Background())
	ended := make(chan error, 5)
	running := 0
	begin := func(f func() error) {
		running++
		go func() { ended <- f() }()
	}
	begin(func() error { return d.gateway.Run(background) })
	begin(func() error { return d.peers.Run(background) })
	begin(func() error { return d.rpc.Serve(d.grpc) })
	begin(func() error { return d.admin.Serve(d.adminLis) })
	begin(func() error { d.look(background); return nil })
	err := d.announce(stdout)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-ended:
			running--
			err = errors.Join(errors.New("a part of the gateway ended unasked"), err)
		}
	}
	err = errors.Join(err, d.drain(stop))
	for ; running > 0; running-- {
		if e := <-ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, d.stores.close())
}

// announce says that the gateway serves, to people, to the log and to whoever
// looks into the data folder.
func (d *daemon) announce(stdout io.Writer) error {
	d.tellHealth(context.Background())
	grpc, admin := d.grpc.Addr().String(), d.adminLis.Addr().String()
	if d.home != nil {
		if err := d.home.Publish(grpc, admin); err != nil {
			return err
		}
	}
	level := slog.LevelInfo
	if d.cfg.Mixed() {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "serving", slog.String("version", version), slog.String("listen", grpc), slog.String("admin", admin),
		slog.Bool("mixed_jurisdictions", d.cfg.Mixed()), slog.String("jurisdiction", strings.Join(d.cfg.Jurisdictions(), ",")))
	return banner(stdout, d.cfg, d.home, grpc, admin)
}

// drain stops serving. When it returns no handler runs and nothing listens.
func (d *daemon) drain(stopBackground context.CancelFunc) error {
	d.log.Info("stopping")
	d.draining.Store(true)
	var errs []error
	if d.home != nil {
		errs = append(errs, d.home.Unpublish())
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.cfg.Limits.Drain)
	defer cancel()
	d.rpc.Drain(ctx)
	stopBackground() // leases are renewed until the last stream has ended
	last, cancelLast := context.WithTimeout(context.Background(), time.Second)
	defer cancelLast()
	return errors.Join(append(errs, d.admin.Close(last))...)
}

// look takes changed certificates and callers into use and tells health checks
// whether the regions are up, until the context ends.
func (d *daemon) look(ctx context.Context) {
	reload, ready := time.NewTicker(reloadEvery), time.NewTicker(readyEvery)
	defer reload.Stop()
	defer ready.Stop()
	callers := newCallerFile(d)
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload.C:
			d.reloadCertificates()
			callers.look()
		case <-ready.C:
			d.tellHealth(ctx)
		}
	}
}

// serves reports whether calls are to be sent here still: also while drives alone are out of
// reach. A bucket is every replica's, so to turn away from all that miss it would put records out of reach too.
func serves(ready error) bool {
	var p *admin.Problem
	return ready == nil || errors.As(ready, &p) && drivesOnly(p.Shown)
}

// drivesOnly reports whether nothing but blobs is missing, by what /readyz shows.
func drivesOnly(shown []string) bool {
	for _, line := range shown {
		if !strings.HasSuffix(line, ": "+noAnswer+blobs) {
			return false
		}
	}
	return len(shown) > 0
}

// tellHealth tells health checks whether calls are to be sent here.
func (d *daemon) tellHealth(ctx context.Context) {
	up := serves(d.ready(ctx))
	if !d.draining.Load() {
		d.rpc.SetServing(up)
	}
}

func (d *daemon) reloadCertificates() {
	switch changed, err := d.rpc.ReloadCertificates(); {
	case err != nil:
		d.log.Warn("the changed certificates cannot be used; the old ones stay", slog.Any("err", err))
	case changed:
		d.log.Info("certificates taken into use")
	}
}

// callerFile follows the callers in the configuration file.
type callerFile struct {
	d    *daemon
	name string // "" = there is no file
	seen os.FileInfo
}

func newCallerFile(d *daemon) *callerFile {
	return &callerFile{d: d, name: d.file, seen: d.seen}
}

// look takes the callers of a changed file into use. A file that is wrong
// anywhere changes nothing.
func (c *callerFile) look() {
	if c.name == "" {
		return
	}
	now, err := os.Stat(c.name)
	if err == nil && c.seen != nil && now.ModTime().Equal(c.seen.ModTime()) && now.Size() == c.seen.Size() {
		return
	}
	if err != nil && c.seen == nil {
		return
	}
	c.seen = now
	var identities map[string]*config.Identity
	if err == nil {
		identities, err = readCallers(c.name, c.d.f)
	}
	c.d.rpc.ReplaceCallers(identities, err)
	if err != nil {
		c.d.log.Warn("the changed configuration cannot be used; the old callers stay", slog.Any("err", err))
		return
	}
	c.d.gateway.Expect(placesOf(identities, nil))
	c.d.log.Info("callers taken into use; other changes need a restart")
}

func readCallers(name string, f *flags) (map[string]*config.Identity, error) {
	c, err := config.Load(name, os.Environ())
	if err != nil {
		return nil, err
	}
	override(c, f)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c.Identities()
}
