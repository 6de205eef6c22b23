package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// home is where a tenant lives, as far as the directory knows.
type home struct {
	tenant  store.Tenant
	region  *Region
	cluster *Cluster
	epoch   uint64
	known   bool // the directory has the tenant; else this is where an absent one is refused
}

// pseudonym gives the keyed digest under which a tenant's partition is kept.
func (g *Gateway) pseudonym(tenant string) store.Tenant {
	mac := hmac.New(sha256.New, g.cfg.DirectoryKey)
	mac.Write([]byte("tenant\x00"))
	mac.Write([]byte(tenant))
	var t store.Tenant
	copy(t[:], mac.Sum(nil))
	return t
}

// locate finds where a tenant lives. An absent tenant is given a home abroad,
// when there is an abroad, so that it cannot be told from a foreign one: which
// abroad depends on its name alone.
func (g *Gateway) locate(ctx context.Context, tenant string, caller residency.Jurisdiction) (home, error) {
	if h, ok := g.hints.get(tenant); ok {
		return h, nil
	}
	t := g.pseudonym(tenant)
	p, err := g.cfg.Directory.Find(ctx, t)
	if errors.Is(err, store.ErrNotFound) {
		return g.decoy(t, caller), nil
	}
	if err != nil {
		return home{}, residency.E("gateway.locate", residency.RegionUnavailable, err)
	}
	if p.State == store.PlacementReserved && g.elsewhere(p.Region) != nil {
		return g.decoy(t, caller), nil // the call was forwarded by where it was to be: nobody has it
	}
	h, err := g.place(t, p)
	if err != nil {
		return home{}, err
	}
	if p.State == store.PlacementActive {
		g.hints.put(tenant, h)
	}
	return h, nil
}

// place turns a placement into a home that this gateway serves.
func (g *Gateway) place(t store.Tenant, p store.Placement) (home, error) {
	region := g.region(p.Region)
	if region == nil {
		return home{}, residency.E("gateway.locate", residency.RegionUnavailable,
			fmt.Errorf("region %q is not served here and has no peer", p.Region))
	}
	for i := range region.Clusters {
		if region.Clusters[i].Name == p.Cluster {
			return home{tenant: t, region: region, cluster: &region.Clusters[i], epoch: p.Epoch, known: true}, nil
		}
	}
	return home{}, residency.E("gateway.locate", residency.RegionUnavailable,
		fmt.Errorf("cluster %q of region %q is not configured", p.Cluster, p.Region))
}

func (g *Gateway) decoy(t store.Tenant, caller residency.Jurisdiction) home {
	candidates := make([]*Region, 0, len(g.cfg.Regions))
	for i := range g.cfg.Regions {
		if g.cfg.Regions[i].Jurisdiction != caller {
			candidates = append(candidates, &g.cfg.Regions[i])
		}
	}
	if len(candidates) == 0 {
		candidates = append(candidates, &g.cfg.Regions[0])
	}
	r := candidates[binary.BigEndian.Uint64(t[:8])%uint64(len(candidates))]
	return home{tenant: t, region: r, cluster: r.chosen(t, true)}
}

func (g *Gateway) region(name residency.Region) *Region {
	for i := range g.cfg.Regions {
		if g.cfg.Regions[i].Name == name {
			return &g.cfg.Regions[i]
		}
	}
	return nil
}

// opened remembers tenants' rows as they were opened. A row is read in every
// transaction all the same: what is remembered is used only while the stored
// bytes are those that it was opened from.
type opened struct {
	mu sync.RWMutex
	m  map[store.Tenant]openedRow
}

type openedRow struct {
	sealed  []byte
	row     tenantRow
	version uint64
}

func (o *opened) get(t store.Tenant, sealed []byte, row *tenantRow, version *uint64) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	v, ok := o.m[t]
	if !ok || !bytes.Equal(v.sealed, sealed) {
		return false
	}
	*row, *version = v.row, v.version
	return true
}

func (o *opened) put(t store.Tenant, sealed []byte, row tenantRow, version uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m == nil || len(o.m) >= maxHints {
		o.m = make(map[store.Tenant]openedRow)
	}
	o.m[t] = openedRow{sealed, row, version}
}

// hints remembers where tenants live. A hint that has become wrong is harmless:
// the tenant's row is the truth, and a transaction that does not find it drops the hint.
type hints struct {
	mu sync.RWMutex
	m  map[string]home
}

const maxHints = 1 << 16

func (h *hints) get(tenant string) (home, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	v, ok := h.m[tenant]
	return v, ok
}

func (h *hints) put(tenant string, v home) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil || len(h.m) >= maxHints {
		h.m = make(map[string]home)
	}
	h.m[tenant] = v
}

func (h *hints) drop(tenant string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.m, tenant)
}
