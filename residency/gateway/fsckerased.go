package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// checkErasures looks at the tenant's erasures and at the marks of whom they are about.
func (c *tenantCheck) checkErasures(ctx context.Context) error {
	return c.each(ctx, rowCheck{kind: store.KindErasure, look: c.erasure, lock: firstID})
}

func (c *tenantCheck) erasure(t *txn, id store.ID, value []byte) ([]problem, error) {
	switch len(id) {
	case idSize:
		return c.erasureRow(t, id, value)
	case len(erasureMark(wholeTenant)):
		return c.mark(t, id[:idSize], value)
	}
	return wrong(RowDamaged, "its identifier has another length than an erasure's"), nil
}

// erasureRow looks at an erasure: one that is not done must have a task.
func (c *tenantCheck) erasureRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	var row erasureRow
	err := decodeRow(value, &row)
	if own, ok := rowOf(row.ID); err != nil || !ok || own != id || row.State == ErasureStateUnspecified || row.State > ErasureDone {
		return wrong(RowDamaged, "it is no erasure, or another one"), nil //nolint:nilerr // it is found
	}
	if row.State == ErasureDone {
		return nil, nil
	}
	finding := c.problem(store.KindErasure, id, problem{TaskMissing, "", "the erasure is not done, and no task sees to it"})
	return nil, c.await(t.ctx, c.home.tenant, id, finding, func(ctx context.Context) (undone bool, err error) {
		err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) error {
			row, err := readErasure(tx, id)
			undone = err == nil && row.State != ErasureDone
			return unlessNotFound(err)
		})
		return undone, err
	})
}

func unlessNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// mark looks at the mark of an erased subject: once the key is destroyed the ledger must have them.
func (c *tenantCheck) mark(t *txn, subject store.ID, value []byte) ([]problem, error) {
	row, err := readErasure(t.Tx, store.ID(value))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wrong(RowDamaged, "a subject is marked as erased by an erasure that is not there"), nil
	case err != nil:
		return nil, unlessDamaged(err) // the erasure's own row is found
	case row.State == ErasurePending:
		return nil, nil
	}
	_, erased, err := c.region.Vault.Erased(t.ctx, c.home.tenant, subject)
	if err != nil || erased {
		return nil, err
	}
	return []problem{{LedgerMissing, whatSubject(c.home.tenant, subject), "the subject was erased, and the erasure ledger does not have them"}}, nil
}

// erasedTenant looks at what is left of a tenant that was erased: of its rows only those of erasures stay.
func (c *tenantCheck) erasedTenant(ctx context.Context) error {
	if err := c.checkErasures(ctx); err != nil {
		return err
	}
	left, err := c.leftOf(ctx)
	if err != nil || !left {
		return err
	}
	finding := c.finding(ErasedRows, whatTenant(c.home.tenant), "the tenant was erased, rows or blobs of it are there, and no task sees to it")
	return c.await(ctx, c.home.tenant, "", finding, c.leftOf)
}

// leftOf reports whether rows or blobs of an erased tenant are there. Its streams are closed by tasks of their own.
func (c *tenantCheck) leftOf(ctx context.Context) (left bool, err error) {
	err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) (err error) {
		left, err = anyOf(tx, append([]store.Kind{store.KindTenant}, tenantKinds...), "")
		return err
	})
	if err != nil || left {
		return left, err
	}
	names, err := blobsUnder(ctx, c.cluster.Blobs, c.home.tenant.String()+"/", 1)
	return len(names) > 0, err
}

// checkLedger looks at every entry of the erasure ledger: nobody whom it has may have a key. Their rows are found where rows are
// looked at: they have no key.
func (f *fsck) checkLedger(ctx context.Context) error {
	var failed error
	done := uint64(0)
	var tenant store.Tenant
	err := f.region.Vault.Ledger(ctx, func(e seal.Erased) bool {
		f.progress("erased", done)
		done++
		if e.Subject == "" {
			tenant = e.Tenant
		} else if e.Tenant == tenant { // they went with the tenant
			return true
		}
		var has bool
		if has, failed = f.erasedHasKey(ctx, e); has && failed == nil {
			failed = f.suspect(ctx, func(ctx context.Context) ([]Finding, error) {
				has, err := f.erasedHasKey(ctx, e)
				if err != nil || !has {
					return nil, err
				}
				what := whatTenant(e.Tenant)
				if e.Subject != "" {
					what = whatSubject(e.Tenant, e.Subject)
				}
				return []Finding{f.finding(ErasedKey, what, "the erasure ledger says that the key was destroyed, and it is there")}, nil
			})
		}
		return failed == nil
	})
	return errors.Join(err, failed)
}

// erasedHasKey reports whether a subject or tenant that the ledger has has a key.
func (f *fsck) erasedHasKey(ctx context.Context, e seal.Erased) (bool, error) {
	tk, err := f.region.Vault.Tenant(ctx, e.Tenant)
	if err == nil && e.Subject != "" {
		_, err = f.region.Vault.Subject(ctx, tk, e.Subject)
	}
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, unlessDamaged(err)
}
