package gateway

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// link is a peer in the same process: what server/forward is between two.
type link struct {
	to   *Gateway
	from residency.Region
	down atomic.Bool
}

func (l *link) Locate(ctx context.Context, t store.Tenant) (Located, error) {
	if l.down.Load() {
		return Located{}, residency.E("link", residency.RegionUnavailable, errors.New("down"))
	}
	return l.to.LocateTenant(ctx, t)
}

func (l *link) Reserve(ctx context.Context, t store.Tenant, home residency.Region) (bool, error) {
	if l.down.Load() {
		return false, residency.E("link", residency.RegionUnavailable, errors.New("down"))
	}
	return l.to.ReserveTenant(ctx, t, home)
}

func (l *link) Cosign(ctx context.Context, by residency.Region, req Cosigning) (Cosigned, error) {
	if l.down.Load() {
		return Cosigned{}, residency.E("link", residency.RegionUnavailable, errors.New("down"))
	}
	return l.to.Cosign(ctx, l.from, by, req)
}

func (l *link) Up() bool { return !l.down.Load() }

// pair is a gateway of each region, each the other's peer, each with a directory of its own.
type pair struct {
	ch, us     *world
	toCH, toUS *link
}

func newPair(t testing.TB, options ...option) *pair {
	p := &pair{toCH: &link{from: "us"}, toUS: &link{from: "ch"}}
	side := func(home residency.Region, other residency.Region, there residency.Jurisdiction, file string, peer *link) *world {
		return newWorld(t, append([]option{func(c *Config) {
			c.Regions = slices.DeleteFunc(c.Regions, func(r Region) bool { return r.Name != home })
			c.Regions[0].Endpoint = "gateway-" + string(home) + ":8443"
			policies := shipped(t, file)
			c.Elsewhere = []Elsewhere{{
				Name: other, Jurisdiction: there, Controller: policies.Controller, Peer: peer,
				Policies: append(c.Regions[0].Policies[:0:0], policies),
			}}
		}}, options...)...)
	}
	p.ch = side("ch", "us", us, "us-2011-10-07.yaml", p.toUS)
	p.us = side("us", "ch", ch, "ch-2012-05-02.yaml", p.toCH)
	p.toCH.to, p.toUS.to = p.ch.g, p.us.g
	return p
}

// by makes a call that the other region's gateway forwarded.
func by(c *Call, via residency.Jurisdiction) *Call {
	c.Peer, c.Via = "spiffe://example.org/gateway-"+via.String(), []residency.Jurisdiction{via}
	return c
}

func (p *pair) route(w *world, j residency.Jurisdiction, tenant string) (residency.Region, error) {
	return w.g.Route(w.t.Context(), as(j, "GetRecord", residency.Use, residency.PersonalInformation), tenant)
}

func TestRoutesToTheHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.ch.tenant("alpen", ch)
		p.us.tenant("acme", us)
		want := func(w *world, j residency.Jurisdiction, tenant string, want residency.Region) {
			t.Helper()
			if got, err := p.route(w, j, tenant); err != nil || got != want {
				t.Fatalf("%s is for %q (%v), want %q", tenant, got, err, want)
			}
		}
		want(p.ch, ch, "alpen", "")
		want(p.us, us, "acme", "")
		want(p.ch, ch, "acme", "us")
		want(p.us, us, "alpen", "ch")
		p.toUS.down.Store(true)
		p.toCH.down.Store(true)
		want(p.ch, ch, "alpen", "")
		want(p.ch, ch, "acme", "us") // it was noted where it lives
		if _, err := p.route(p.ch, ch, "nobody"); residency.KindOf(err) != residency.RegionUnavailable {
			t.Fatalf("a tenant that nobody could be asked about gave %v", err)
		}
		p.toUS.down.Store(false)
		want(p.ch, ch, "nobody", "us") // refused where a foreign one would be
		want(p.ch, us, "nobody", "")
		forwarded := by(as(ch, "GetRecord", residency.Use, residency.PersonalInformation), ch)
		if got, err := p.us.g.Route(t.Context(), forwarded, "alpen"); err != nil || got != "" {
			t.Fatalf("a forwarded call was sent on to %q (%v)", got, err)
		}
	})
}

func TestAnAbsentTenantIsRefusedAsAForeignOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.us.tenant("acme", us)
		get := func(tenant string) *residency.Error {
			c := by(as(ch, "GetRecord", residency.Use, residency.PersonalInformation), ch)
			_, err := p.us.g.GetRecord(t.Context(), c, GetRecord{Tenant: tenant, Subject: "s", Record: "r", Purpose: residency.Payments})
			var e *residency.Error
			if !errors.As(err, &e) || e.Decision == nil {
				t.Fatal(err)
			}
			return e
		}
		there, absent := get("acme"), get("nobody")
		if there.Kind != absent.Kind || there.Decision.Clause != absent.Decision.Clause || there.Decision.To != absent.Decision.To {
			t.Errorf("a foreign tenant answers %v, an absent one %v", there, absent)
		}
	})
}

func TestANameIsTakenInEveryRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.us.tenant("acme", us)
		register := func(w *world, residence residency.Jurisdiction, id string) error {
			_, err := w.g.RegisterTenant(t.Context(), as(residence, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: id, Residence: residence})
			return err
		}
		p.ch.wantKind(register(p.ch, ch, "acme"), residency.AlreadyExists)
		if got, err := p.route(p.ch, ch, "acme"); err != nil || got != "us" {
			t.Fatalf("the name that is taken elsewhere is for %q (%v)", got, err)
		}

		p.toUS.down.Store(true)
		p.ch.wantKind(register(p.ch, ch, "late"), residency.RegionUnavailable)
		p.toUS.down.Store(false)
		p.us.wantKind(register(p.us, us, "late"), residency.AlreadyExists) // reserved by the other a moment ago
		time.Sleep(reservationAge + time.Second)
		p.us.ok(register(p.us, us, "late"))
		p.ch.wantKind(register(p.ch, ch, "late"), residency.AlreadyExists)
		if got, err := p.route(p.ch, ch, "late"); err != nil || got != "us" {
			t.Fatalf("the name that was taken over is for %q (%v)", got, err)
		}

		for i, w := range []*world{p.ch, p.us} { // both at once: never both
			other := []*world{p.us, p.ch}[i]
			residence := []residency.Jurisdiction{ch, us}[i]
			id := "both-" + residence.String()
			tenant := w.g.pseudonym(id)
			_, err := w.g.cfg.Directory.Reserve(t.Context(), tenant, store.Placement{
				Region: w.g.cfg.Regions[0].Name, Cluster: w.g.cfg.Regions[0].Clusters[0].Name, Epoch: 1, State: store.PlacementReserved, Time: time.Now(),
			})
			w.ok(err)
			other.wantKind(register(other, []residency.Jurisdiction{us, ch}[i], id), residency.AlreadyExists)
		}
	})
}

func TestAThirdPlaceIsSentHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		w := p.ch
		w.tenant("alpen", ch)
		_, _, err := w.put(ch, "alpen", aRecord("anna", "r1"), nil)
		w.ok(err)
		get := func(j residency.Jurisdiction) error {
			c := by(as(j, "GetRecord", residency.Use, residency.PersonalInformation), us)
			_, err := w.g.GetRecord(t.Context(), c, GetRecord{Tenant: "alpen", Subject: "anna", Record: "r1", Purpose: residency.Payments})
			return err
		}
		put := func(j residency.Jurisdiction) error {
			c := by(as(j, "PutRecord", residency.Collect, residency.PersonalInformation), us)
			_, err := w.g.PutRecord(t.Context(), c, PutRecord{Tenant: "alpen", Record: aRecord("anna", "r2")})
			return err
		}
		sentHome := func(err error) {
			t.Helper()
			w.wantKind(err, residency.UseHomeEndpoint)
			var e *residency.Error
			if errors.As(err, &e); e.Endpoint != "gateway-ch:8443" || e.Decision == nil || e.Decision.To != us {
				t.Errorf("told %q by %+v", e.Endpoint, e.Decision)
			}
		}
		sentHome(get(ch))
		sentHome(put(ch))
		w.wantKind(get(us), residency.CrossBorderConsentRequired)
		w.ok(put(us)) // it comes home

		decisions := by(as(ch, "ListDecisions", residency.Govern, residency.PersonalInformation), us)
		_, _, err = w.g.ListDecisions(t.Context(), decisions, ListDecisions{Tenant: "alpen"})
		sentHome(err) // what no consent could permit there either

		c := w.grant("alpen", "anna", residency.PersonalInformation, residency.Payments)
		w.ok(get(us))
		w.ok(get(ch)) // the consent covers the place on the way
		w.ok(w.withdraw(ch, "alpen", c.ID))
		w.wantKind(get(us), residency.ConsentIsWithdrawn)
		sentHome(get(ch))

		last := w.entries("ch")
		if e := last[len(last)-1]; len(e.Via) != 1 || e.Via[0] != us {
			t.Errorf("the entry names the way %v", e.Via)
		}
	})
}

func TestWhatIsPassedOnHasALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		w := p.ch
		running, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.g.Run(running) }()
		defer func() { stop(); <-done }()
		w.tenant("alpen", ch)
		w.drive("alpen", "disk", 1<<20)
		_, err := w.write(ch, "alpen", "disk", 0, make([]byte, 1<<20))
		w.ok(err)
		whole := border("", residency.VirtualDriveData, residency.ServiceProvision)
		consent, err := w.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: "alpen", Consent: whole})
		w.ok(err)

		c := by(as(us, "ReadDrive", residency.Use, residency.VirtualDriveData), us)
		lease := func() time.Duration { return w.g.Leases(c.Peer, []string{c.Decision.ID})[0].Lease }
		err = w.g.ReadDrive(t.Context(), c, ReadDrive{Tenant: "alpen", Drive: "disk", Purpose: residency.ServiceProvision}, func([]byte) error {
			if c.Lease <= 0 || lease() <= 0 {
				t.Error("a running stream has no lease")
			}
			return nil
		})
		w.ok(err)
		if got := w.g.Leases("spiffe://example.org/another", []string{c.Decision.ID, "x"}); !got[0].Over || !got[1].Over {
			t.Errorf("another peer was given %v", got)
		}
		for range 10 { // it has ended, and its peer still passes it on
			time.Sleep(700 * time.Millisecond)
			if lease() <= 0 {
				t.Fatal("what has ended and is still asked about has no lease")
			}
		}
		w.ok(w.withdraw(us, "alpen", consent.ID))
		if got := lease(); got != 0 {
			t.Errorf("after the withdrawal the lease is %v", got)
		}
		time.Sleep(2 * passingFor)
		w.g.keeper.mu.Lock()
		defer w.g.keeper.mu.Unlock()
		if n := len(w.g.keeper.forwarded); n != 0 {
			t.Errorf("%d streams that nobody asks about are kept", n)
		}
	})
}
