package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// Due is store.Rows.
func (c *Cluster) Due(ctx context.Context, limit int) ([]store.Task, error) {
	defer c.timed("due")()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	var due []store.Task
	err := retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, c.sql.due, c.Now().UnixNano(), max(limit, 0))
		if err == nil {
			due, err = pgx.CollectRows(rows, readTask)
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return due, err
}

func readTask(r pgx.CollectableRow) (t store.Task, err error) {
	var at int64
	var tenant, id []byte
	var kind int16
	if err := r.Scan(&at, &tenant, &kind, &id, &t.Value); err != nil {
		return t, err
	}
	if len(tenant) != len(t.Tenant) {
		return t, fmt.Errorf("%w: a task's tenant of %d bytes", store.ErrCorrupt, len(tenant))
	}
	t.At, t.Tenant, t.Kind, t.ID = time.Unix(0, at).UTC(), store.Tenant(tenant), store.TaskKind(kind), store.ID(id)
	return t, nil
}

// tenantsPage is how many tenants are read at once.
const tenantsPage = 256

// Tenants is store.Rows.
func (c *Cluster) Tenants(ctx context.Context, after store.Tenant, yield func(store.Tenant) bool) error {
	defer c.timed("tenants")()
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	for {
		page, err := c.tenants(ctx, after)
		if err != nil {
			return err
		}
		for _, after = range page {
			if !yield(after) {
				return nil
			}
		}
		if len(page) < tenantsPage {
			return nil
		}
	}
}

// tenants reads a page of tenants.
func (c *Cluster) tenants(ctx context.Context, after store.Tenant) (page []store.Tenant, err error) {
	err = retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, c.sql.tenants, after[:], tenantsPage)
		if err == nil {
			page, err = pgx.CollectRows(rows, readTenant)
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return page, err
}

func readTenant(r pgx.CollectableRow) (t store.Tenant, err error) {
	var b []byte
	if err := r.Scan(&b); err != nil {
		return t, err
	}
	if len(b) != len(t) {
		return t, fmt.Errorf("%w: a tenant of %d bytes", store.ErrCorrupt, len(b))
	}
	return store.Tenant(b), nil
}
