package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func pseudonyms(n int) []store.Tenant {
	out := make([]store.Tenant, n)
	for i := range out {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		copy(out[i][:], sum[:])
	}
	return out
}

func shares(clusters ...Cluster) *Region { return &Region{Clusters: clusters} }

// Clusters fill in proportion to their weights, whatever their order, and a further one takes
// its share from all: nobody falls from one of the old to another.
func TestClustersShareTenants(t *testing.T) {
	const n = 10_000
	before := shares(Cluster{Name: "one", Weight: 3}, Cluster{Name: "two"})
	turned := shares(Cluster{Name: "two"}, Cluster{Name: "one", Weight: 3})
	after := shares(Cluster{Name: "one", Weight: 3}, Cluster{Name: "two"}, Cluster{Name: "three", Weight: 4})
	count, grown := map[string]int{}, map[string]int{}
	for _, p := range pseudonyms(n) {
		was, is := before.chosen(p, false).Name, after.chosen(p, false).Name
		count[was]++
		grown[is]++
		if is != was && is != "three" || turned.chosen(p, false).Name != was {
			t.Fatalf("a tenant falls to %s, to %s beside a third cluster, and to %s in another order", was, is, turned.chosen(p, false).Name)
		}
	}
	// Five standard deviations of a binomial distribution: by chance once in two million.
	within := func(name string, got int, p float64) {
		if off := math.Abs(float64(got) - n*p); off > 5*math.Sqrt(n*p*(1-p)) {
			t.Errorf("%s has %d tenants of %d, want %.0f or so", name, got, n, n*p)
		}
	}
	within("one of 3:1", count["one"], 3./4)
	within("one of 3:1:4", grown["one"], 3./8)
	within("three of 3:1:4", grown["three"], 4./8)

	shut := shares(Cluster{Name: "one", Weight: 3, Closed: true}, Cluster{Name: "two", Closed: true})
	for _, p := range pseudonyms(100) {
		if shut.chosen(p, false) != nil || shut.chosen(p, true).Name != before.chosen(p, false).Name {
			t.Fatal("a closed cluster is chosen, or not where all count")
		}
	}
}

// twins is a world whose Swiss region has two clusters in memory.
type twins struct {
	*world
	cfg    Config
	second *storetest.Memory
	log    *bytes.Buffer
}

func newTwins(t *testing.T, options ...option) *twins {
	t.Helper()
	w := &twins{second: storetest.NewMemory(time.Now), log: new(bytes.Buffer)}
	options = append([]option{func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(w.log, nil))
		c.Regions[0].Clusters = append(c.Regions[0].Clusters,
			Cluster{Name: "ch-2", Rows: w.second.Rows(), Outbox: w.second.Outbox(), Blobs: w.second.Blobs()})
		c.Regions[1].Clusters[0].Name = "us-1"
	}, func(c *Config) { w.cfg = *c }}, options...)
	w.world = newWorld(t, options...)
	return w
}

// restart makes the gateway anew over the same stores, with the clusters' doors as told.
func (w *twins) restart(closed ...bool) {
	w.t.Helper()
	cfg := w.cfg
	cfg.Regions = slices.Clone(cfg.Regions)
	cfg.Regions[0].Clusters = slices.Clone(cfg.Regions[0].Clusters)
	for i, c := range closed {
		cfg.Regions[0].Clusters[i].Closed = c
	}
	g, err := New(cfg)
	w.ok(err)
	w.g = g
}

// named gives an unused name of a tenant that falls to a cluster while all are open.
func (w *twins) named(cluster, prefix string) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if w.g.region("ch").chosen(w.g.pseudonym(name), true).Name == cluster {
			return name
		}
	}
}

func (w *twins) register(id, requestID string) (Tenant, error) {
	return w.g.RegisterTenant(w.t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData),
		NewTenant{ID: id, Residence: ch, RequestID: requestID})
}

func (w *twins) placed(id string) store.Placement {
	w.t.Helper()
	p, err := w.dir.Directory().Find(context.Background(), w.g.pseudonym(id))
	w.ok(err)
	return p
}

// logged counts a cluster's entries of a method.
func (w *twins) logged(m *storetest.Memory, method string, result residency.Kind) (n int) {
	w.ok(m.Outbox().Entries(context.Background(), 1, func(_ uint64, b []byte) bool {
		e, err := audit.Parse(b)
		w.ok(err)
		if e.Method == method && e.Result == result {
			n++
		}
		return true
	}))
	return n
}

// What a tenant of the second cluster has is served, listed, counted, swept and on record there.
func TestTwoClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newTwins(t, func(c *Config) { c.Metrics = reg })
		w.ok(w.g.Prepare(t.Context()))
		names := map[string]string{"ch-1": w.named("ch-1", "acme"), "ch-2": w.named("ch-2", "acme")}
		for cluster, id := range names {
			w.tenant(id, ch)
			if p := w.placed(id); p.Cluster != cluster || p.State != store.PlacementActive {
				t.Fatalf("%s is placed in %+v, want %s", id, p, cluster)
			}
			_, _, err := w.put(ch, id, aRecord("s1", "r1"), nil)
			w.ok(err)
			w.grant(id, "s1", residency.PersonalInformation, residency.Payments)
			_, _, err = w.get(us, id, "s1", "r1")
			w.ok(err)
			_, _, err = w.get(us, id, "s2", "r1")
			w.wantKind(err, residency.CrossBorderConsentRequired)
			w.drive(id, "d1", 1<<20)
			_, err = w.write(ch, id, "d1", 0, []byte("some bytes"))
			w.ok(err)
			got, err := w.read(ch, id, "d1", 0, 4)
			if err != nil || string(got) != "some" {
				t.Fatalf("a drive in %s reads %q, %v", cluster, got, err)
			}
			list, _, err := w.g.ListDecisions(t.Context(), as(ch, "ListDecisions", residency.Use, residency.AccountData), ListDecisions{Tenant: id})
			if err != nil || len(list) < 6 {
				t.Fatalf("%d decisions in %s, %v", len(list), cluster, err)
			}
		}
		for _, m := range []*storetest.Memory{w.mem["ch"], w.second} {
			if n := w.logged(m, "GetRecord", residency.OK); n != 2 { // one allowed, one refused
				t.Errorf("a cluster's log has %d reads, want the two of its own tenant", n)
			}
		}
		w.wantListed(names["ch-1"], names["ch-2"])
		w.ok(w.g.census(t.Context(), w.g.region("ch")))
		if got := activeCrossings(t, reg); got != 2 {
			t.Errorf("the census counts %v consents in two clusters, want 2", got)
		}
		w.wantPolicies()
		w.eraseInSecond(names["ch-2"])
		w.wantListed(names["ch-1"])
	})
}

// wantListed lists tenants one by one, over both clusters.
func (w *twins) wantListed(names ...string) {
	w.t.Helper()
	var got []string
	for token, more := "", true; more; more = token != "" {
		list, next, err := w.g.ListTenants(w.t.Context(), as(ch, "ListTenants", residency.Use, residency.AccountData), "ch", Page{Size: 1, Token: token})
		w.ok(err)
		for _, t := range list {
			got = append(got, t.ID)
		}
		token = next
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		w.t.Fatalf("listed %v, want %v", got, names)
	}
}

func activeCrossings(t *testing.T, reg *prometheus.Registry) (n float64) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if text := m.String(); f.GetName() == "residency_consents" && strings.Contains(text, `"ch"`) &&
				strings.Contains(text, `"BORDER_CROSSING"`) && strings.Contains(text, `"ACTIVE"`) {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// wantPolicies looks for the version in force in each cluster's own record.
func (w *twins) wantPolicies() {
	w.t.Helper()
	for _, c := range w.g.region("ch").Clusters {
		w.ok(c.Rows.View(w.t.Context(), store.Scope{}, func(tx store.Tx) error {
			known, err := readVersions(tx)
			if _, ok := known.recorded["ch-2012-05-02"]; !ok || len(known.recorded) != 1 {
				w.t.Errorf("cluster %s has %d policies on record", c.Name, len(known.recorded))
			}
			return err
		}))
	}
}

// eraseInSecond erases a tenant of the second cluster, to the last row and blob.
func (w *twins) eraseInSecond(id string) {
	w.t.Helper()
	erasure, err := w.g.EraseTenant(w.t.Context(), as(ch, "EraseTenant", residency.Erase, residency.PersonalInformation), ChangeTenant{Tenant: id})
	w.ok(err)
	time.Sleep(2 * time.Hour) // every stream's lifetime is over
	w.g.sweepAll(w.t.Context())
	done, err := w.g.GetErasure(w.t.Context(), as(ch, "GetErasure", residency.Use, residency.AccountData), id, erasure.ID)
	if err != nil || done.State != ErasureDone || done.Blobs == 0 {
		w.t.Fatalf("the erasure is %+v, %v", done, err)
	}
	if left, err := blobsUnder(w.t.Context(), w.second.Blobs(), "", 1); err != nil || len(left) > 0 {
		w.t.Errorf("blobs are left: %v, %v", left, err)
	}
	_, err = w.register(id, "")
	w.wantKind(err, residency.Erased)
}

// A closed cluster serves whom it has and takes nobody new; what was begun there is answered there.
func TestClosedCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t)
		request := newRequestID()
		there := w.named("ch-1", "there")
		first, err := w.register(there, request)
		w.ok(err)
		w.restart(true, false)

		again, err := w.register(there, request)
		if err != nil || again != first {
			t.Errorf("the repeated registration: %+v, %v, want %+v", again, err, first)
		}
		_, err = w.register(there, newRequestID())
		w.wantKind(err, residency.AlreadyExists)
		_, _, err = w.put(ch, there, aRecord("s1", "r1"), nil)
		w.ok(err)
		fresh := w.named("ch-1", "fresh")
		_, err = w.register(fresh, "")
		w.ok(err)
		if p := w.placed(fresh); p.Cluster != "ch-2" {
			t.Errorf("a new tenant is in %s", p.Cluster)
		}
		w.restart(false, false) // open again: whom the other took stays there
		_, err = w.register(fresh, "")
		w.wantKind(err, residency.AlreadyExists)
		if p := w.placed(fresh); p.Cluster != "ch-2" {
			t.Errorf("the tenant went to %s", p.Cluster)
		}
	})
}

// A registration that was interrupted in a cluster closed since: where its row was written, it
// is the tenant's; else it is taken over, once it cannot be under way any more.
func TestClosedClusterInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t)
		begun, wrote, request := w.named("ch-1", "begun"), w.named("ch-1", "wrote"), newRequestID()
		reserved := store.Placement{Region: "ch", Cluster: "ch-1", Epoch: 1, State: store.PlacementReserved, Time: time.Now().UTC()}
		_, err := w.dir.Directory().Reserve(t.Context(), w.g.pseudonym(begun), reserved)
		w.ok(err)
		w.dir.Fail(storetest.OpDirectoryUpdate, func() storetest.Fault { return storetest.FaultFail })
		first, err := w.register(wrote, request)
		w.ok(err)
		w.dir.Fail(storetest.OpDirectoryUpdate, nil)
		if p := w.placed(wrote); p.State != store.PlacementReserved {
			t.Fatalf("the placement is %+v: the interruption did not happen", p)
		}
		w.restart(true, false)

		again, err := w.register(wrote, request)
		if err != nil || again != first {
			t.Errorf("the repeated registration: %+v, %v, want %+v", again, err, first)
		}
		if p := w.placed(wrote); p.State != store.PlacementActive || p.Cluster != "ch-1" {
			t.Errorf("it is placed in %+v", p)
		}
		_, err = w.register(begun, "")
		w.wantKind(err, residency.AlreadyExists) // it may be under way
		time.Sleep(reservationAge + time.Second)
		_, err = w.register(begun, "")
		w.ok(err)
		if p := w.placed(begun); p.State != store.PlacementActive || p.Cluster != "ch-2" {
			t.Errorf("what was taken over is placed in %+v", p)
		}
	})
}

// With every cluster closed a registration is refused, on record and with its cause in the log, and
// nothing is reserved anywhere.
func TestAllClustersClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t)
		w.restart(true, true)
		_, err := w.register("acme", "")
		w.wantKind(err, residency.QuotaExceeded)
		if n := w.logged(w.mem["ch"], "RegisterTenant", residency.QuotaExceeded) + w.logged(w.second, "RegisterTenant", residency.QuotaExceeded); n != 1 {
			t.Errorf("the refusal is on record %d times", n)
		}
		if text := w.log.String(); !strings.Contains(text, "every storage cluster of the region is closed to new tenants") ||
			!strings.Contains(text, "region=ch") || strings.Contains(text, "acme") {
			t.Errorf("the log says %q", text)
		}
		if _, err := w.dir.Directory().Find(t.Context(), w.g.pseudonym("acme")); err == nil {
			t.Error("a name is taken by a registration that was refused")
		}
	})
}

// Somebody absent is refused from abroad in either cluster, as the tenants that are there are: when
// one is down, who gets no answer may be absent or not.
func TestAbsentFallToEveryCluster(t *testing.T) {
	w := newTwins(t)
	for _, name := range []string{w.named("ch-1", "nobody"), w.named("ch-2", "nobody")} {
		_, _, err := w.get(us, name, "s1", "r1")
		w.wantKind(err, residency.CrossBorderConsentRequired)
	}
	if one, two := w.logged(w.mem["ch"], "GetRecord", residency.OK), w.logged(w.second, "GetRecord", residency.OK); one != 1 || two != 1 {
		t.Errorf("the refusals are on record %d and %d times", one, two)
	}
}

// A version of the policy that one cluster knows to be in force is so in the region, in
// whichever order the clusters are looked at.
func TestOneClusterKnowsALaterPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t)
		w.tenant(w.named("ch-1", "acme"), ch)
		day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(day))
		cfg := w.cfg
		cfg.Regions = slices.Clone(cfg.Regions)
		cfg.Regions[0].Policies = append(slices.Clone(cfg.Regions[0].Policies), revised(t, "ch-2026", day, same))
		cfg.Regions[0].Clusters = cfg.Regions[0].Clusters[1:]
		ahead, err := New(cfg)
		w.ok(err)
		w.ok(ahead.Prepare(t.Context()))

		region := w.g.region("ch")
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			for _, i := range order {
				w.g.watchPolicies(t.Context(), region, &region.Clusters[i])
			}
			_, err := w.g.GetTenant(t.Context(), as(ch, "GetTenant", residency.Use, residency.AccountData), w.named("ch-1", "acme"))
			w.wantKind(err, residency.PolicyUnavailable)
		}
	})
}

// Clusters that cannot be told apart, or of no possible weight, are refused.
func TestClusterConfiguration(t *testing.T) {
	for name, change := range map[string]func(*Cluster){
		"the same name": func(c *Cluster) { c.Name = "ch-1" },
		"a low weight":  func(c *Cluster) { c.Weight = -1 },
		"a high weight": func(c *Cluster) { c.Weight = maxWeight + 1 },
	} {
		cfg := newTwins(t).cfg
		cfg.Regions = slices.Clone(cfg.Regions)
		cfg.Regions[0].Clusters = slices.Clone(cfg.Regions[0].Clusters)
		change(&cfg.Regions[0].Clusters[1])
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
