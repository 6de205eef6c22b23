package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// listPage is how many placements or keys are read at once.
const listPage = 256

// Directory is where tenants live, in a schema of its own. Its writes are rare,
// so each commit waits for the disk and the standbys by itself and becomes visible only after that.
type Directory struct {
	*engine
	find, reserve, update, list string
}

var _ store.Directory = (*Directory)(nil)

// OpenDirectory connects to the directory whose connection string is given.
func OpenDirectory(ctx context.Context, location string, o Options) (*Directory, error) {
	e, err := open(ctx, location, RoleDirectory, o)
	if err != nil {
		return nil, err
	}
	table := e.table("placements")
	const columns = "region, cluster, epoch, state, reserved"
	return &Directory{
		engine:  e,
		find:    "select " + columns + " from " + table + " where tenant = $1",
		reserve: "insert into " + table + " (tenant, " + columns + ") values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
		update: "update " + table + " set (" + columns + ") = ($7, $8, $9, $10, $11)" +
			" where tenant = $1 and (" + columns + ") = ($2, $3, $4, $5, $6)",
		list: "select tenant, " + columns + " from " + table + " where region = $1 and tenant > $2 order by tenant limit $3",
	}, nil
}

// Close waits for operations that are under way, at most 10 seconds, and disconnects.
func (d *Directory) Close() error { return d.close() }

// values gives a placement's columns.
func values(p store.Placement) ([]any, error) {
	if _, err := residency.ParseRegion(string(p.Region)); err != nil {
		return nil, fmt.Errorf("store: a placement: %w", err)
	}
	if p.State != store.PlacementReserved && p.State != store.PlacementActive {
		return nil, fmt.Errorf("store: a placement's state must be reserved or active, not %d", p.State)
	}
	if p.Epoch > math.MaxInt64 {
		return nil, errors.New("store: a placement's epoch must be below 2^63")
	}
	if p.Time.Before(minAt) || p.Time.After(maxAt) {
		return nil, errors.New("store: a placement's time must be between the years 1970 and 2262")
	}
	return []any{string(p.Region), p.Cluster, int64(p.Epoch), int16(p.State), p.Time.UnixNano()}, nil
}

// scanPlacement reads a placement's columns, after those that before reads.
func scanPlacement(r pgx.Row, before ...any) (p store.Placement, err error) {
	var region string
	var epoch, at int64
	var state int16
	if err := r.Scan(append(before, &region, &p.Cluster, &epoch, &state, &at)...); err != nil {
		return store.Placement{}, err
	}
	p.Region, p.Epoch, p.State, p.Time = residency.Region(region), uint64(epoch), store.PlacementState(state), time.Unix(0, at).UTC()
	return p, nil
}

// Find is store.Directory.
func (d *Directory) Find(ctx context.Context, t store.Tenant) (p store.Placement, err error) {
	if err := d.enter(ctx); err != nil {
		return store.Placement{}, err
	}
	defer d.leave()
	err = d.read(ctx, func() (err error) {
		p, err = scanPlacement(d.pool.QueryRow(ctx, d.find, t[:]))
		return err
	})
	if err != nil {
		return store.Placement{}, fmt.Errorf("placement: %w", err)
	}
	return p, nil
}

// read runs a read again while what goes wrong may pass.
func (e *engine) read(ctx context.Context, read func() error) error {
	return retry(ctx, func() (bool, error) {
		err := read()
		if errors.Is(err, pgx.ErrNoRows) {
			return false, store.ErrNotFound
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
}

// Reserve is store.Directory.
func (d *Directory) Reserve(ctx context.Context, t store.Tenant, p store.Placement) (store.Placement, error) {
	if err := d.enter(ctx); err != nil {
		return store.Placement{}, err
	}
	defer d.leave()
	columns, err := values(p)
	if err != nil {
		return store.Placement{}, err
	}
	var made int64
	var there store.Placement
	err = d.write(ctx, func(b *pgx.Batch) {
		b.Queue(d.reserve, append([]any{t[:]}, columns...)...).Exec(count(&made))
		b.Queue(d.find, t[:]).QueryRow(func(r pgx.Row) (err error) { there, err = scanPlacement(r); return err })
	})
	switch {
	case err != nil:
		return store.Placement{}, err
	case made == 0:
		return there, fmt.Errorf("%w: placement", store.ErrExists)
	}
	return there, nil
}

// count notes how many rows a statement changed.
func count(n *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*n = tag.RowsAffected()
		return nil
	}
}

// Update is store.Directory. Times are compared as instants, to the nanosecond.
func (d *Directory) Update(ctx context.Context, t store.Tenant, old, new store.Placement) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	to, err := values(new)
	if err != nil {
		return err
	}
	from, err := values(old)
	if err != nil {
		return fmt.Errorf("%w: placement", store.ErrConflict) // none is like that
	}
	var changed int64
	err = d.write(ctx, func(b *pgx.Batch) {
		b.Queue(d.update, append(append([]any{t[:]}, from...), to...)...).Exec(count(&changed))
	})
	if err == nil && changed == 0 {
		return fmt.Errorf("%w: placement", store.ErrConflict)
	}
	return err
}

// List is store.Directory. It reads page after page: a placement that changes
// meanwhile is given as it was or as it is.
func (d *Directory) List(ctx context.Context, r residency.Region, after store.Tenant, yield func(store.Tenant, store.Placement) bool) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	if _, err := residency.ParseRegion(string(r)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	from := after[:]
	if after == (store.Tenant{}) {
		from = []byte{} // which is below every tenant
	}
	for {
		page, err := d.page(ctx, r, from)
		if err != nil {
			return err
		}
		for _, l := range page {
			if !yield(l.tenant, l.placement) {
				return nil
			}
		}
		if len(page) < listPage {
			return nil
		}
		from = page[len(page)-1].tenant[:]
	}
}

// lodged is a tenant and its placement.
type lodged struct {
	tenant    store.Tenant
	placement store.Placement
}

func (d *Directory) page(ctx context.Context, r residency.Region, from []byte) (page []lodged, err error) {
	err = d.read(ctx, func() error {
		rows, err := d.pool.Query(ctx, d.list, string(r), from, listPage)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lodged, err error) {
			var tenant []byte
			if l.placement, err = scanPlacement(row, &tenant); err != nil {
				return l, err
			}
			if len(tenant) != len(l.tenant) {
				return l, fmt.Errorf("%w: a tenant of %d bytes", store.ErrCorrupt, len(tenant))
			}
			l.tenant = store.Tenant(tenant)
			return l, nil
		})
		return err
	})
	return page, err
}
