package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// maxWeight is the largest weight of a cluster.
const maxWeight = 1000

// validateClusters refuses clusters that could not be told apart or chosen among.
func (r *Region) validateClusters() error {
	names := make(map[string]bool)
	for i := range r.Clusters {
		c := &r.Clusters[i]
		switch {
		case c.Name == "" || c.Rows == nil || c.Outbox == nil || c.Blobs == nil:
			return errors.New("a cluster has a name, rows, an outbox and blobs")
		case names[c.Name]:
			return errors.New("two clusters have one name")
		case c.Weight < 0 || c.Weight > maxWeight:
			return errors.New("a cluster's weight is 1 to 1000, or 0 for 1")
		}
		names[c.Name] = true
	}
	return nil
}

// chosen gives the cluster that a tenant's pseudonym falls to: by weighted rendezvous
// hashing, so that each gateway chooses alike, clusters fill in proportion to their weights, and a
// further cluster takes its share from all. Closed clusters take part only if all is true. Nil = there is none.
//
// A tenant stays where the directory has it, whatever would be chosen now.
func (r *Region) chosen(t store.Tenant, all bool) (best *Cluster) {
	least := math.Inf(1)
	for i := range r.Clusters {
		c := &r.Clusters[i]
		if c.Closed && !all {
			continue
		}
		if w := c.wait(t); w < least {
			best, least = c, w
		}
	}
	return best
}

// wait is a draw from the exponential distribution whose rate is the cluster's weight, fixed by
// its name and the tenant's pseudonym. Of independent draws each is the least with a
// probability proportional to its rate.
func (c *Cluster) wait(t store.Tenant) float64 {
	sum := sha256.Sum256(append(t[:], c.Name...))
	const steps = 1 << 53 // as many as a float64 tells apart
	uniform := (float64(binary.BigEndian.Uint64(sum[:8])%steps) + 0.5) / steps
	return -math.Log(uniform) / float64(max(c.Weight, 1))
}

// homeToBe finds where a registration is decided: in the cluster that has the tenant, or in which it
// was begun, so that a repeated call meets what the first one left; else in the
// one that is chosen for it. When all are closed it is refused there.
func (g *Gateway) homeToBe(ctx context.Context, a *act) (home, error) {
	h := home{tenant: g.pseudonym(a.tenant), region: a.region, known: true}
	if h.cluster = a.region.chosen(h.tenant, false); h.cluster == nil {
		h.cluster = a.region.chosen(h.tenant, true)
	}
	p, err := g.cfg.Directory.Find(ctx, h.tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return h, nil
	case err != nil:
		return home{}, residency.E(a.op, residency.RegionUnavailable, err)
	case p.Region != a.region.Name:
		return h, nil
	}
	there, err := g.place(h.tenant, p)
	if err != nil {
		return home{}, err
	}
	if there.cluster.Closed {
		if exists, err := g.rowExists(ctx, there); err != nil {
			return home{}, residency.E(a.op, residency.RegionUnavailable, err)
		} else if !exists { // begun, and never came about
			return h, nil
		}
	}
	return there, nil
}

// rowExists reports whether a placement has become a tenant.
func (g *Gateway) rowExists(ctx context.Context, h home) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	err := h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
		_, err := tx.Get(store.KindTenant, "")
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
