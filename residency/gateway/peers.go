package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// Elsewhere is a region that other gateways serve. Calls for its tenants are
// forwarded to them: their home decides, always.
type Elsewhere struct {
	Name         residency.Region
	Jurisdiction residency.Jurisdiction
	Controller   string
	Policies     []*policy.Policy // say for which residences it is the default; none = a tenant's home there must be stated
	Peer         Peer
	Logs         []string // the public keys of its audit logs, which are cosigned; none = the first that each shows
}

// Peer is the gateways of a region that is served elsewhere. Safe for concurrent use. Errors
// are residency errors: RegionUnavailable when they do not answer.
type Peer interface {
	// Locate says where they have a tenant.
	Locate(ctx context.Context, t store.Tenant) (Located, error)

	// Reserve takes a tenant's name there for a home here, and reports whether it was free.
	Reserve(ctx context.Context, t store.Tenant, home residency.Region) (free bool, err error)

	// Cosign shows the witness of their region a checkpoint of a log of the region that is served here.
	Cosign(ctx context.Context, by residency.Region, req Cosigning) (Cosigned, error)

	// Up reports whether calls can be forwarded to them now.
	Up() bool
}

// Located is what a region's gateways know of a tenant.
type Located struct {
	Here       bool // it has its home there, or a registration there is on its way
	Registered bool // there is such a tenant
}

func (e *Elsewhere) validate() error {
	if _, err := residency.ParseRegion(string(e.Name)); err != nil {
		return err
	}
	if e.Jurisdiction.IsZero() || e.Peer == nil {
		return errors.New("a jurisdiction and a peer are required")
	}
	for _, p := range e.Policies {
		if p.Jurisdiction != e.Jurisdiction || p.Controller != e.Controller {
			return fmt.Errorf("policy %s is %s's in %s, the region %s's in %s",
				p.Version, p.Controller, p.Jurisdiction, e.Controller, e.Jurisdiction)
		}
	}
	return nil
}

func (g *Gateway) elsewhere(name residency.Region) *Elsewhere {
	for i := range g.cfg.Elsewhere {
		if g.cfg.Elsewhere[i].Name == name {
			return &g.cfg.Elsewhere[i]
		}
	}
	return nil
}

// Route says which region's gateways a call about a tenant is for: "" = these. A call that
// was forwarded is for these, whatever comes of it.
//
// The directory here knows this region's tenants, and those of others that it has met. Of a
// tenant that it does not know the others are asked; while one of them does not answer,
// nobody can say that there is no such tenant.
func (g *Gateway) Route(ctx context.Context, call *Call, tenant string) (residency.Region, error) {
	if len(g.cfg.Elsewhere) == 0 || call.Peer != "" {
		return "", nil
	}
	if _, ok := g.hints.get(tenant); ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	t := g.pseudonym(tenant)
	switch p, err := g.cfg.Directory.Find(ctx, t); {
	case err == nil && g.elsewhere(p.Region) != nil:
		return p.Region, nil
	case err == nil:
		return "", nil
	case !errors.Is(err, store.ErrNotFound):
		return "", residency.E("gateway.Route", residency.RegionUnavailable, err)
	}
	return g.ask(ctx, t, call.Caller.Jurisdiction)
}

// RouteRegion says which region's gateways a call about a region is for.
func (g *Gateway) RouteRegion(call *Call, name residency.Region) residency.Region {
	if call.Peer == "" && g.elsewhere(name) != nil {
		return name
	}
	return ""
}

// RouteRegistration says which region's gateways register a tenant: those of the home that
// is stated, or of the one that its residence decides.
func (g *Gateway) RouteRegistration(call *Call, req NewTenant) residency.Region {
	if call.Peer != "" || req.Home != "" {
		return g.RouteRegion(call, req.Home)
	}
	for i := range g.cfg.Elsewhere {
		e := &g.cfg.Elsewhere[i]
		if p := policy.Active(e.Policies, g.cfg.Regions[0].now()); p != nil && p.Placement(req.Residence).Default {
			return e.Name
		}
	}
	return ""
}

// ask asks every other region for a tenant that is not known here.
func (g *Gateway) ask(ctx context.Context, t store.Tenant, caller residency.Jurisdiction) (residency.Region, error) {
	var failed error
	for i := range g.cfg.Elsewhere {
		e := &g.cfg.Elsewhere[i]
		at, err := e.Peer.Locate(ctx, t)
		if err != nil {
			failed = err
			continue
		}
		if at.Registered {
			g.note(ctx, t, e.Name)
		}
		if at.Here {
			return e.Name, nil
		}
	}
	if failed != nil {
		return "", residency.E("gateway.Route", residency.RegionUnavailable, failed)
	}
	return g.abroad(t, caller), nil
}

// note keeps in the directory where a tenant of another region lives. Without it the
// region is asked again.
func (g *Gateway) note(ctx context.Context, t store.Tenant, region residency.Region) {
	p := store.Placement{Region: region, Cluster: peerCluster, Epoch: 1, State: store.PlacementActive, Time: g.cfg.Regions[0].now()}
	if _, err := g.cfg.Directory.Reserve(ctx, t, p); err != nil && !errors.Is(err, store.ErrExists) {
		g.log.Warn("where a tenant of another region lives was not kept", "region", string(region), "err", err)
	}
}

// peerCluster stands in placements for the clusters of a region that is served
// elsewhere, which its own directory knows.
const peerCluster = "peer"

// abroad chooses where an absent tenant's calls are refused, as a foreign one's are: by its name alone, among
// the regions outside the caller's jurisdiction. "" = here.
func (g *Gateway) abroad(t store.Tenant, caller residency.Jurisdiction) residency.Region {
	var names []residency.Region
	for i := range g.cfg.Regions {
		if r := &g.cfg.Regions[i]; r.Jurisdiction != caller {
			names = append(names, r.Name)
		}
	}
	for i := range g.cfg.Elsewhere {
		if e := &g.cfg.Elsewhere[i]; e.Jurisdiction != caller {
			names = append(names, e.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	name := names[binary.BigEndian.Uint64(t[:8])%uint64(len(names))]
	if g.elsewhere(name) == nil {
		return ""
	}
	return name
}

// LocateTenant answers another region's gateways whether a tenant's home is here.
func (g *Gateway) LocateTenant(ctx context.Context, t store.Tenant) (Located, error) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	p, err := g.cfg.Directory.Find(ctx, t)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Located{}, nil
	case err != nil:
		return Located{}, residency.E("gateway.LocateTenant", residency.RegionUnavailable, err)
	}
	here := g.region(p.Region) != nil
	return Located{Here: here, Registered: here && p.State == store.PlacementActive}, nil
}

// ReserveTenant takes a tenant's name here for a home in a region of other gateways, and reports
// whether it was free. What they never registered can be taken over after a while, by asking them.
func (g *Gateway) ReserveTenant(ctx context.Context, t store.Tenant, home residency.Region) (free bool, err error) {
	const op = "gateway.ReserveTenant"
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	now := g.cfg.Regions[0].now()
	want := store.Placement{Region: home, Cluster: peerCluster, Epoch: 1, State: store.PlacementReserved, Time: now}
	there, err := g.cfg.Directory.Reserve(ctx, t, want)
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, store.ErrExists):
		return false, residency.E(op, residency.RegionUnavailable, err)
	case there.Region == home && there.State == store.PlacementActive:
		return true, nil
	case there.Region != home:
		if free, err := g.givenUp(ctx, t, there, now); err != nil || !free {
			return false, err
		}
	}
	// Made fresh where it is theirs already: else a registration here, which found it old, could still take it over.
	err = g.cfg.Directory.Update(ctx, t, there, want)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, residency.E(op, residency.RegionUnavailable, err)
	}
	return true, nil
}

// givenUp reports whether a name can be given to another region: as abandoned does or, of a third region's
// reservation, when that region says that the tenant is not its own.
func (g *Gateway) givenUp(ctx context.Context, t store.Tenant, there store.Placement, now time.Time) (bool, error) {
	free, err := g.abandoned(ctx, t, there, now)
	third := g.elsewhere(there.Region)
	if err != nil || !free || third == nil {
		return free, err
	}
	at, err := third.Peer.Locate(ctx, t)
	return err == nil && !at.Here, err
}

// reservationAge is how long a registration elsewhere may take before its
// reservation counts as abandoned.
const reservationAge = time.Minute

// abandoned reports whether a reservation never became a tenant, as far as can be known here: it is old,
// and where it points there is neither a row nor an erasure of it. One that points to another region is for
// that region's gateways to say, when they are asked for the name.
func (g *Gateway) abandoned(ctx context.Context, t store.Tenant, there store.Placement, now time.Time) (bool, error) {
	const op = "gateway.abandoned"
	if there.State != store.PlacementReserved || now.Sub(there.Time) <= reservationAge {
		return false, nil
	}
	if g.elsewhere(there.Region) != nil {
		return true, nil
	}
	h, err := g.place(t, there)
	if err != nil {
		return false, err
	}
	err = h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
		_, err := tx.Get(store.KindTenant, "")
		return err
	})
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return false, residency.E(op, residency.RegionUnavailable, err)
	}
	_, erased, err := h.region.Vault.Erased(ctx, h.tenant, "")
	if err != nil {
		return false, residency.E(op, residency.KeysUnavailable, err)
	}
	return !erased, nil
}

// reserveAbroad takes the tenant's name in every other region, and gives the first in which it is
// taken.
func (t *txn) reserveAbroad() (taken residency.Region, err error) {
	for i := range t.g.cfg.Elsewhere {
		e := &t.g.cfg.Elsewhere[i]
		free, err := e.Peer.Reserve(t.ctx, t.home.tenant, t.home.region.Name)
		if err != nil {
			return "", residency.E(t.a.op, residency.RegionUnavailable, fmt.Errorf("a name must be free in region %s too: %w", e.Name, err))
		}
		if !free {
			return e.Name, nil
		}
	}
	return "", nil
}

// jurisdictionOf gives where a region is, served here or elsewhere; zero = it is not known.
func (g *Gateway) jurisdictionOf(name residency.Region) residency.Jurisdiction {
	if r := g.region(name); r != nil {
		return r.Jurisdiction
	}
	if e := g.elsewhere(name); e != nil {
		return e.Jurisdiction
	}
	return residency.Jurisdiction{}
}

// knownRegions lists the regions that data can go to, for messages.
func (g *Gateway) knownRegions() string {
	var names []string
	for i := range g.cfg.Regions {
		names = append(names, string(g.cfg.Regions[i].Name))
	}
	for i := range g.cfg.Elsewhere {
		names = append(names, string(g.cfg.Elsewhere[i].Name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// entered turns a refusal to pass through a gateway on the way, where neither the home nor the caller is, into word
// of where the caller can go instead: nothing is wrong with what it asks for but the way.
func (t *txn) entered(to residency.Jurisdiction) {
	call := t.a.call
	if to != call.Caller.Jurisdiction && slices.Contains(call.Via, to) {
		t.decision.Reason = residency.UseHomeEndpoint
	}
}
