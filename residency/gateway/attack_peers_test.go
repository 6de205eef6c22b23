package gateway

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// meeting is a peer whose answers about a name come only when both sides have asked, or after a while.
type meeting struct {
	Peer
	asked, other chan struct{}
}

func (m *meeting) Reserve(ctx context.Context, t store.Tenant, home residency.Region) (bool, error) {
	free, err := m.Peer.Reserve(ctx, t, home)
	close(m.asked)
	select {
	case <-m.other:
	case <-time.After(time.Second): // the other waits for what this side holds
	}
	return free, err
}

// silent is a peer that says where a tenant is, and grants every name.
type silent struct{ at Located }

func (s *silent) Cosign(context.Context, residency.Region, Cosigning) (Cosigned, error) {
	return Cosigned{}, residency.E("silent", residency.RegionUnavailable, nil)
}

func (s *silent) Locate(context.Context, store.Tenant) (Located, error) { return s.at, nil }
func (s *silent) Reserve(context.Context, store.Tenant, residency.Region) (bool, error) {
	return true, nil
}
func (s *silent) Up() bool { return true }

func (p *pair) register(w *world, residence residency.Jurisdiction, id string) error {
	_, err := w.g.RegisterTenant(w.t.Context(), as(residence, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: id, Residence: residence})
	return err
}

// crossed makes what two registrations at once leave: each directory has the name as the other region's.
func (p *pair) crossed(id string, at time.Time) {
	for _, side := range []struct {
		w     *world
		other residency.Region
	}{{p.ch, "us"}, {p.us, "ch"}} {
		_, err := side.w.g.cfg.Directory.Reserve(side.w.t.Context(), side.w.g.pseudonym(id), store.Placement{
			Region: side.other, Cluster: peerCluster, Epoch: 1, State: store.PlacementReserved, Time: at,
		})
		side.w.ok(err)
	}
}

// Two registrations of one name, in both regions at once, whatever earlier ones left: one tenant at the most, and
// one can be had in the end.
func TestANameIsNeverTakenTwice(t *testing.T) {
	for _, left := range []string{"nothing", "the other's reservations", "a reservation there", "a reservation here"} {
		t.Run(left, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				const id = "twice"
				reserve := func(w *world, home residency.Region, cluster string) {
					_, err := w.g.cfg.Directory.Reserve(t.Context(), w.g.pseudonym(id), store.Placement{
						Region: home, Cluster: cluster, Epoch: 1, State: store.PlacementReserved, Time: time.Now(),
					})
					w.ok(err)
				}
				switch left {
				case "the other's reservations":
					p.crossed(id, time.Now())
				case "a reservation there":
					reserve(p.ch, "us", peerCluster)
				case "a reservation here":
					reserve(p.ch, "ch", p.ch.g.cfg.Regions[0].Clusters[0].Name)
					reserve(p.us, "ch", peerCluster)
				}
				time.Sleep(reservationAge + time.Second)
				here, there := make(chan struct{}), make(chan struct{})
				p.ch.g.cfg.Elsewhere[0].Peer = &meeting{p.toUS, here, there}
				p.us.g.cfg.Elsewhere[0].Peer = &meeting{p.toCH, there, here}
				errs := make([]error, 2)
				var done sync.WaitGroup
				done.Go(func() { errs[0] = p.register(p.ch, ch, id) })
				done.Go(func() { errs[1] = p.register(p.us, us, id) })
				done.Wait()
				if errs[0] == nil && errs[1] == nil {
					t.Fatal("both regions have the tenant")
				}
				p.ch.g.cfg.Elsewhere[0].Peer, p.us.g.cfg.Elsewhere[0].Peer = p.toUS, p.toCH
				if errs[0] == nil || errs[1] == nil {
					return
				}
				time.Sleep(reservationAge + time.Second)
				p.ch.ok(p.register(p.ch, ch, id)) // a name is not blocked for ever
				p.us.wantKind(p.register(p.us, us, id), residency.AlreadyExists)
			})
		})
	}
}

// A name that two registrations at once left as each other's answers like one that nobody asked for.
func TestACrossedNameAnswersAsAnAbsentOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.crossed("crossed", time.Now())
		get := func(w *world, via, j residency.Jurisdiction, tenant string) residency.Kind {
			c := as(j, "GetRecord", residency.Use, residency.PersonalInformation)
			if !via.IsZero() {
				c = by(c, via)
			}
			_, err := w.g.GetRecord(t.Context(), c, GetRecord{Tenant: tenant, Subject: "s", Record: "r", Purpose: residency.Payments})
			return residency.KindOf(err)
		}
		for _, side := range []struct {
			at  *world
			via residency.Jurisdiction
		}{{p.us, ch}, {p.ch, us}} {
			for _, caller := range []residency.Jurisdiction{ch, us} {
				if got, want := get(side.at, side.via, caller, "crossed"), get(side.at, side.via, caller, "nobody-at-all"); got != want {
					t.Errorf("a caller in %s by the gateway of %s: the crossed name answers %v, an absent one %v", caller, side.via, got, want)
				}
			}
		}
	})
}

// A third region's reservation that came to nothing does not block a name.
func TestAThirdRegionsReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		third := &silent{}
		g := p.us.g
		g.cfg.Elsewhere = append(g.cfg.Elsewhere, Elsewhere{Name: "de", Jurisdiction: residency.Jurisdiction{'D', 'E'}, Peer: third})
		pseudonym := g.pseudonym("third")
		ask := func(home residency.Region, want bool) {
			t.Helper()
			if free, err := g.ReserveTenant(t.Context(), pseudonym, home); err != nil || free != want {
				t.Fatalf("free for %s: %v (%v), want %v", home, free, err, want)
			}
		}
		ask("de", true)
		ask("ch", false)
		time.Sleep(reservationAge + time.Second)
		third.at = Located{Here: true}
		ask("ch", false) // it has its home there by now
		third.at = Located{}
		ask("ch", true)
		ask("de", false)
	})
}

// What is answered about a stream's lease says nothing of decisions that are not the peer's own.
func TestLeasesAreToldToTheirPeerAlone(t *testing.T) {
	p := newPair(t)
	for _, ids := range [][]string{nil, {""}, {"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}} {
		got := p.ch.g.Leases("spiffe://example.org/gateway-US", ids)
		if len(got) != len(ids) {
			t.Fatalf("%d answers to %d questions", len(got), len(ids))
		}
		for _, l := range got {
			if !l.Over || l.Lease != 0 {
				t.Errorf("an unknown decision has the lease %+v", l)
			}
		}
	}
}

// A refusal that rests on a consent, since what it says of the object was looked up, is passed on under a lease as an answer is; one at the
// border rests on nothing.
func TestRefusalsThatRestOnAConsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		w := p.ch
		w.tenant("alpen", ch)
		_, _, err := w.put(ch, "alpen", aRecord("anna", "r1"), nil)
		w.ok(err)
		get := func() (*Call, error) {
			c := by(as(us, "GetRecord", residency.Use, residency.PersonalInformation), us)
			_, err := w.g.GetRecord(t.Context(), c, GetRecord{Tenant: "alpen", Subject: "anna", Record: "r1", Purpose: residency.Payments})
			return c, err
		}
		c, err := get()
		w.wantKind(err, residency.CrossBorderConsentRequired)
		if c.Lease != 0 {
			t.Errorf("a refusal at the border has the lease %v", c.Lease)
		}
		w.grant("alpen", "anna", residency.PersonalInformation, residency.Payments)
		_, err = w.g.RestrictSubject(t.Context(), as(ch, "RestrictSubject", residency.Restrict, residency.PersonalInformation), RestrictSubject{
			Tenant: "alpen", Subject: "anna", Purposes: residency.PurposeSet(residency.Payments),
		})
		w.ok(err)
		c, err = get()
		w.wantKind(err, residency.Restricted)
		if c.Lease <= 0 {
			t.Error("a refusal that rests on a consent has no lease")
		}
	})
}
