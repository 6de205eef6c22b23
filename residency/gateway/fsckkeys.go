package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// keysCheck is the check of one tenant's keys.
type keysCheck struct {
	*tenantCheck
	here     bool       // the region has rows of the tenant
	subjects []store.ID // keys that wait to be looked for in the rows
}

// checkKeys unwraps every key in the region's key store, and looks for what it is of.
func (f *fsck) checkKeys(ctx context.Context) error {
	var of *keysCheck
	var failed error
	err := f.region.Vault.StoredKeys(ctx, func(key seal.StoredKey) bool {
		f.progress("keys", f.checked.Keys)
		f.checked.Keys++
		if of == nil || of.home.tenant != key.Tenant {
			if failed = of.flush(ctx); failed == nil {
				of, failed = f.keysOf(ctx, key.Tenant)
			}
		}
		if failed == nil {
			failed = of.key(ctx, key)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return of.flush(ctx)
}

// keysOf begins with the keys of another tenant.
func (f *fsck) keysOf(ctx context.Context, t store.Tenant) (*keysCheck, error) {
	cluster, err := f.clusterOf(ctx, t)
	if err != nil {
		return nil, err
	}
	k := &keysCheck{tenantCheck: &tenantCheck{fsck: f, home: home{tenant: t, region: f.region, cluster: cluster, known: true}}, here: cluster != nil}
	if !k.here {
		return k, nil
	}
	if k.tk, err = f.region.Vault.Tenant(ctx, t); err != nil {
		return k, unlessDamaged(unlessNotFound(err))
	}
	return k, k.inCluster(func() error { return k.readDrives(ctx) })
}

// inCluster does something in the cluster that the tenant is in.
func (k *keysCheck) inCluster(do func() error) error {
	cluster := k.cluster
	defer func() { k.cluster = cluster }()
	k.cluster = k.home.cluster
	return do()
}

func whatKey(key *seal.StoredKey) string {
	switch key.Kind {
	case seal.SubjectKey:
		return whatSubject(key.Tenant, key.ID)
	case seal.DriveKey:
		return whatDrive(key.Tenant, key.ID)
	}
	return whatTenant(key.Tenant)
}

// key looks at one key.
func (k *keysCheck) key(ctx context.Context, key seal.StoredKey) error {
	switch {
	case errors.Is(key.Err, seal.ErrNoTenantKey): // the tenant's is what is missing or damaged
		return nil
	case key.Err != nil:
		k.tell(k.finding(KeyDamaged, whatKey(&key), "the key does not unwrap: nothing under it can be opened"))
		return nil //nolint:nilerr // which the tenant's own finding says
	case !k.here && key.Kind == seal.TenantKey:
		return k.suspect(ctx, func(ctx context.Context) ([]Finding, error) { return k.unusedTenant(ctx, key.Tenant) })
	case !k.here || k.tk == nil:
		return nil
	case key.Kind == seal.SubjectKey:
		if k.subjects = append(k.subjects, key.ID); len(k.subjects) < maxLocks/2 {
			return nil
		}
		return k.flush(ctx)
	case key.Kind == seal.DriveKey && k.drives[key.ID] == "":
		return k.suspect(ctx, func(ctx context.Context) (found []Finding, err error) {
			err = k.inCluster(func() error {
				found, err = k.unusedDrive(ctx, key.ID)
				return err
			})
			return found, err
		})
	}
	return nil
}

// unusedTenant looks again for rows of a tenant that has a key.
func (f *fsck) unusedTenant(ctx context.Context, t store.Tenant) ([]Finding, error) {
	cluster, err := f.clusterOf(ctx, t)
	if err != nil || cluster != nil {
		return nil, err
	}
	if _, err := f.region.Vault.Tenant(ctx, t); err != nil {
		return nil, unlessDamaged(unlessNotFound(err))
	}
	if _, erased, err := f.region.Vault.Erased(ctx, t, ""); erased || err != nil { // that is another finding
		return nil, err
	}
	if p, err := f.g.cfg.Directory.Find(ctx, t); err == nil && p.State == store.PlacementActive { // its rows are what is missing
		return nil, nil
	} else if unlessNotFound(err) != nil {
		return nil, err
	}
	return []Finding{f.finding(KeyUnused, whatTenant(t), "there is a key of a tenant that has no rows")}, nil
}

// flush looks for the rows of the subjects that wait.
func (k *keysCheck) flush(ctx context.Context) error {
	if k == nil || len(k.subjects) == 0 {
		return nil
	}
	subjects := k.subjects
	k.subjects = nil
	var odd []store.ID
	err := k.inCluster(func() error {
		var near []store.Row
		for _, s := range subjects {
			near = append(near, store.Row{Kind: store.KindSubject, ID: s}, store.Row{Kind: store.KindErasure, ID: erasureMark(s)})
		}
		return k.view(ctx, store.Scope{Tenant: k.home.tenant, Ahead: near}, func(tx store.Tx) error {
			odd = nil
			for _, s := range subjects {
				_, row, err := has(tx, store.KindSubject, s)
				if err != nil {
					return err
				}
				_, marked, err := has(tx, store.KindErasure, erasureMark(s))
				if err != nil {
					return err
				}
				if !row || marked {
					odd = append(odd, s)
				}
			}
			return nil
		})
	})
	for _, s := range odd {
		if err == nil {
			err = k.suspect(ctx, func(ctx context.Context) (found []Finding, err error) {
				err = k.inCluster(func() error {
					found, err = k.oddSubject(ctx, s)
					return err
				})
				return found, err
			})
		}
	}
	return err
}

// oddSubject looks again at a subject that has a key, and no row or the mark of an erasure.
func (k *keysCheck) oddSubject(ctx context.Context, subject store.ID) (found []Finding, err error) {
	what := whatSubject(k.home.tenant, subject)
	var marked, any bool
	scope := store.Scope{Tenant: k.home.tenant, Objects: []store.Lock{{Object: subject}}}
	err = k.view(ctx, scope, func(tx store.Tx) error {
		if _, marked, err = has(tx, store.KindErasure, erasureMark(subject)); err == nil {
			any, err = anyOf(tx, subjectKinds, subject)
		}
		return err
	})
	if err != nil || !marked && any {
		return nil, err
	}
	stillThere := func(ctx context.Context) (bool, error) {
		_, err := k.region.Vault.Subject(ctx, k.tk, subject)
		return err == nil, unlessDamaged(unlessNotFound(err))
	}
	there, err := stillThere(ctx)
	if err != nil || !there {
		return nil, err
	}
	if marked { // its task destroys the key, if it has one
		finding := k.finding(ErasedKey, what, "the subject is marked as erased, the key is there, and no task destroys it")
		finding.Cluster = ""
		return nil, k.await(ctx, k.home.tenant, subject, finding, stillThere)
	}
	_, erased, err := k.region.Vault.Erased(ctx, k.home.tenant, subject)
	if err != nil || erased { // the look at the ledger finds it
		return nil, err
	}
	return []Finding{k.finding(KeyUnused, what, "there is a key of a subject about whom there are no rows")}, nil
}

// unusedDrive looks again at a drive that has a key and no row.
func (k *keysCheck) unusedDrive(ctx context.Context, self store.ID) (found []Finding, err error) {
	if err := k.readDrives(ctx); err != nil || k.drives[self] != "" {
		return nil, err
	}
	_, err = k.region.Vault.Drive(ctx, k.tk, self)
	if err != nil {
		return nil, unlessDamaged(unlessNotFound(err))
	}
	err = k.view(ctx, store.Scope{Tenant: k.home.tenant}, func(tx store.Tx) error {
		t := k.txn(ctx, tx)
		damaged, err := k.driveDamaged(t)
		if err != nil || damaged {
			return err
		}
		extents, err := anyRow(tx, store.KindExtent, self)
		if err != nil {
			return err
		}
		finding := k.finding(KeyUnused, whatDrive(k.home.tenant, self), "there is a key of a drive that is not there")
		if extents {
			finding = k.finding(DriveMissing, whatDrive(k.home.tenant, self), "there are extents of the drive, and its row is not there")
		}
		found = []Finding{finding}
		return nil
	})
	return found, err
}
