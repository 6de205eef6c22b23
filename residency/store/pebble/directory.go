package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
	"github.com/domicile-project/domicile/residency/tlv"
)

// Directory is where tenants live, in a database of its own.
type Directory struct{ engine *engine }

var _ store.Directory = (*Directory)(nil)

// OpenDirectory opens the database in a folder, which it makes if there is none.
func OpenDirectory(dir string, log *slog.Logger) (*Directory, error) {
	return openDirectory(dir, Options{Logger: log, CacheBytes: 8 << 20, memTableBytes: 4 << 20})
}

func openDirectory(dir string, o Options) (*Directory, error) {
	e, err := open(dir, "directory", o)
	if err != nil {
		return nil, err
	}
	return &Directory{e}, nil
}

// Close waits for operations that are under way and closes the database.
func (d *Directory) Close() error { return d.engine.close() }

// Failed is closed when the engine has stopped for good (see Cluster.Failed).
func (d *Directory) Failed() <-chan struct{} { return d.engine.down }

// Find is store.Directory. What it gives is durable.
func (d *Directory) Find(ctx context.Context, t store.Tenant) (store.Placement, error) {
	if err := d.engine.begin(ctx); err != nil {
		return store.Placement{}, err
	}
	defer d.engine.leave()
	p, err := d.find(t)
	if settled := d.engine.settled(ctx, d.engine.mark(t)); settled != nil {
		return store.Placement{}, settled
	}
	return p, err
}

func (d *Directory) find(t store.Tenant) (store.Placement, error) {
	v, err := d.engine.get(placementKey(t))
	if err != nil {
		return store.Placement{}, fmt.Errorf("placement: %w", err)
	}
	return parsePlacement(v)
}

// Reserve is store.Directory.
func (d *Directory) Reserve(ctx context.Context, t store.Tenant, p store.Placement) (store.Placement, error) {
	there := p
	err := d.change(ctx, t, func(c *commit) error {
		old, err := d.find(t)
		if err == nil {
			there = old
			return fmt.Errorf("%w: placement", store.ErrExists)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return put(c, t, p)
	})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return store.Placement{}, err
	}
	return rounded(there), err
}

// Update is store.Directory. Times are compared as instants, to the nanosecond.
func (d *Directory) Update(ctx context.Context, t store.Tenant, old, new store.Placement) error {
	return d.change(ctx, t, func(c *commit) error {
		there, err := d.find(t)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && there != rounded(old):
			return fmt.Errorf("%w: placement", store.ErrConflict)
		case err != nil:
			return err
		}
		c.writes = append(c.writes, write{key: regionKey(there.Region, t), deleted: true})
		return put(c, t, new)
	})
}

// rounded is a placement as it is read back.
func rounded(p store.Placement) store.Placement {
	p.Time = p.Time.Round(0).UTC()
	return p
}

// change runs fn alone for its tenant and commits the batch; what fn refused
// with is returned once what it relied on is durable.
func (d *Directory) change(ctx context.Context, t store.Tenant, fn func(*commit) error) error {
	e := d.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	held := new(lock.Held)
	if err := e.locks.Acquire(ctx, store.Scope{Tenant: t, Exclusive: true}, false, held); err != nil {
		return err
	}
	return e.change(ctx, held, t, fn)
}

// change commits what fn writes, under locks that it releases.
func (e *engine) change(ctx context.Context, held *lock.Held, t store.Tenant, fn func(*commit) error) error {
	c := &commit{held: held, mark: e.mark(t)}
	if err := fn(c); err != nil {
		held.Release()
		if settled := e.settled(ctx, c.mark); settled != nil {
			return settled
		}
		return err
	}
	return e.submit(ctx, c)
}

func put(c *commit, t store.Tenant, p store.Placement) error {
	v, err := encodePlacement(p)
	if err != nil {
		return err
	}
	c.writes = append(c.writes, write{key: placementKey(t), value: v}, write{key: regionKey(p.Region, t), value: v})
	return nil
}

// List is store.Directory. It sees the directory as it was when it was called.
func (d *Directory) List(ctx context.Context, r residency.Region, from store.Tenant, yield func(store.Tenant, store.Placement) bool) error {
	e := d.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	if _, err := residency.ParseRegion(string(r)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	all := regionKey(r, store.Tenant{})
	lower := all
	if from != (store.Tenant{}) {
		lower = append(regionKey(r, from), 0)
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(all[:2+len(r)])})
	if err != nil {
		return wrap(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != len(all) {
			return fmt.Errorf("%w: a region key of %d bytes, want %d", store.ErrCorrupt, len(it.Key()), len(all))
		}
		p, err := parsePlacement(it.Value())
		if err != nil {
			return err
		}
		if !yield(store.Tenant(it.Key()[2+len(r):]), p) {
			return nil
		}
	}
	return wrap(it.Error())
}

const placementVersion = 1

// The tags of a placement's fields.
const (
	tagRegion  = 1
	tagCluster = 2
	tagEpoch   = 3
	tagState   = 4
	tagTime    = 5
)

func encodePlacement(p store.Placement) ([]byte, error) {
	if _, err := residency.ParseRegion(string(p.Region)); err != nil {
		return nil, fmt.Errorf("store: a placement: %w", err)
	}
	if p.State != store.PlacementReserved && p.State != store.PlacementActive {
		return nil, fmt.Errorf("store: a placement's state must be reserved or active, not %d", p.State)
	}
	e := tlv.NewEncoder(nil, placementVersion)
	e.String(tagRegion, string(p.Region))
	e.String(tagCluster, p.Cluster)
	e.Uint(tagEpoch, p.Epoch)
	e.Uint(tagState, uint64(p.State))
	e.Time(tagTime, p.Time)
	return e.Encoded(), nil
}

func parsePlacement(b []byte) (store.Placement, error) {
	var p store.Placement
	d := tlv.NewDecoder(b, placementVersion)
	for d.Next() {
		switch d.Tag {
		case tagRegion:
			p.Region = residency.Region(d.String())
		case tagCluster:
			p.Cluster = d.String()
		case tagEpoch:
			p.Epoch = d.Uint()
		case tagState:
			p.State = store.PlacementState(d.Uint8())
		case tagTime:
			p.Time = d.Time()
		}
	}
	if err := d.Err(); err != nil {
		return store.Placement{}, fmt.Errorf("%w: placement: %w", store.ErrCorrupt, err)
	}
	return p, nil
}
