package gateway

import (
	"context"
	"fmt"

	"github.com/domicile-project/domicile/residency/store"
)

// checkDirectory looks whether the tenants that the directory places in the region are there.
func (f *fsck) checkDirectory(ctx context.Context) error {
	type placed struct {
		tenant store.Tenant
		at     store.Placement
	}
	after, more := store.Tenant{}, true
	for more {
		var page []placed
		err := f.g.cfg.Directory.List(ctx, f.region.Name, after, func(t store.Tenant, p store.Placement) bool {
			page = append(page, placed{t, p})
			return len(page) < fsckPage
		})
		if err != nil {
			return fmt.Errorf("directory: %w", err)
		}
		for _, p := range page {
			after = p.tenant
			f.progress("directory", f.checked.Placements)
			f.checked.Placements++
			found, err := f.placement(ctx, p.tenant, p.at)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				continue
			}
			if err := f.suspect(ctx, func(ctx context.Context) ([]Finding, error) { return f.placementNow(ctx, p.tenant) }); err != nil {
				return err
			}
		}
		more = len(page) == fsckPage
	}
	return nil
}

// placementNow looks at a tenant's placement as it is now.
func (f *fsck) placementNow(ctx context.Context, t store.Tenant) ([]Finding, error) {
	p, err := f.g.cfg.Directory.Find(ctx, t)
	if err != nil || p.Region != f.region.Name {
		return nil, unlessNotFound(err)
	}
	return f.placement(ctx, t, p)
}

// placement looks for the tenant at its place.
func (f *fsck) placement(ctx context.Context, t store.Tenant, p store.Placement) ([]Finding, error) {
	cluster := f.cluster
	defer func() { f.cluster = cluster }()
	f.cluster = nil
	for i := range f.region.Clusters {
		if f.region.Clusters[i].Name == p.Cluster {
			f.cluster = &f.region.Clusters[i]
		}
	}
	if f.cluster == nil {
		return []Finding{f.finding(DirectoryDiffers, whatTenant(t), fmt.Sprintf("the directory places it in cluster %q, which is not configured", p.Cluster))}, nil
	}
	there, err := f.anybody(ctx, t)
	if err != nil || there { // what is wrong with its rows is found where they are looked at
		return nil, err
	}
	_, erased, err := f.region.Vault.Erased(ctx, t, "")
	switch {
	case err != nil || erased:
		return nil, err
	case p.State == store.PlacementActive:
		return []Finding{f.finding(TenantMissing, whatTenant(t), "the directory places the tenant here, and it has no row")}, nil
	case f.cluster.Rows.Now().Sub(p.Time) > reservationAge:
		return []Finding{f.finding(ReservationStale, whatTenant(t), "the name was reserved and no tenant came of it")}, nil
	}
	return nil, nil
}

// clusterOf finds the cluster of the region that has rows of a tenant; nil = none has.
func (f *fsck) clusterOf(ctx context.Context, t store.Tenant) (*Cluster, error) {
	cluster := f.cluster
	defer func() { f.cluster = cluster }()
	for i := range f.region.Clusters {
		f.cluster = &f.region.Clusters[i]
		if there, err := f.anybody(ctx, t); there || err != nil {
			return f.cluster, err
		}
	}
	return nil, nil //nolint:nilnil // said so
}
