package gateway

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// When an erasure's sweep is done, its rows are deleted, but their names may lie in the store's files, where who has
// the tenant's key finds them. So a task is left on the agenda to purge the tenant. It is taken up by the sweep, which puts it off to
// when it has to be done again should this gateway die, and taken off once the store has purged.

const (
	purgeEvery = 5 * time.Second // a cluster is purged at most once in this time, of all tenants that wait for it
	purgeShare = 10              // and rests so many times as long as the last purge took
	purgeLimit = 5 * time.Minute // how long one may take; the next goes on
)

// purges is what the sweep has taken up and is not purged yet, of one cluster.
type purges struct {
	mu    sync.Mutex
	tasks map[store.Tenant][]store.Task // as they are on the agenda
}

// purgeTask asks for a purge of a tenant. All erasures of a tenant that end in the same few seconds ask for one.
func purgeTask(h home, now time.Time) store.Task {
	return store.Task{At: now.Truncate(purgeEvery).Add(purgeEvery), Tenant: h.tenant, Kind: store.TaskPurge}
}

// takeUp puts a purge off and notes it.
func (p *purges) takeUp(ctx context.Context, h home, task store.Task) error {
	later := task
	err := h.cluster.Rows.Update(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
		later.At = tx.Now().Add(postponed)
		return errors.Join(tx.Unschedule(task), tx.Schedule(later))
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tasks == nil {
		p.tasks = make(map[store.Tenant][]store.Task)
	}
	p.tasks[h.tenant] = append(p.tasks[h.tenant], later)
	return nil
}

// all gives what was taken up, which is the caller's from then on.
func (p *purges) all() map[store.Tenant][]store.Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	tasks := p.tasks
	p.tasks = nil
	return tasks
}

// keepPurged purges what the sweep takes up, until the term ends.
func (l *leadership) keepPurged(t *term) {
	for {
		began := l.g.elapsed()
		l.g.purgeIn(t.ctx, l.region, t.cluster)
		rest := time.NewTimer(max(purgeEvery, purgeShare*(l.g.elapsed()-began)))
		select {
		case <-rest.C:
		case <-t.ctx.Done():
			rest.Stop()
			return
		}
	}
}

// purgeIn purges what was taken up in a cluster. What fails stays on the agenda.
func (g *Gateway) purgeIn(ctx context.Context, region *Region, cluster *Cluster) {
	owed := cluster.purges.all()
	if len(owed) == 0 {
		return
	}
	began := g.elapsed()
	err := g.purge(ctx, cluster, owed)
	log := g.log.With("region", string(region.Name), "cluster", cluster.Name, "tenants", len(owed))
	switch {
	case err == nil:
		log.LogAttrs(ctx, slog.LevelDebug, "deleted rows were purged", slog.Duration("took", g.elapsed()-began))
	case ctx.Err() == nil:
		log.Warn("deleted rows of erased people or tenants are not purged from the store's files yet; it is tried again", "err", err)
	}
}

func (g *Gateway) purge(ctx context.Context, cluster *Cluster, owed map[store.Tenant][]store.Task) error {
	limited, cancel := context.WithTimeout(ctx, purgeLimit)
	defer cancel()
	if err := cluster.Rows.Purge(limited, slices.Collect(maps.Keys(owed))); err != nil {
		return err
	}
	var failed error
	for tenant, tasks := range owed {
		failed = errors.Join(failed, g.takeOff(ctx, cluster, tenant, tasks))
	}
	return failed
}

func (g *Gateway) takeOff(ctx context.Context, cluster *Cluster, tenant store.Tenant, tasks []store.Task) error {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	return cluster.Rows.Update(ctx, store.Scope{Tenant: tenant}, func(tx store.Tx) (err error) {
		for _, task := range tasks {
			err = errors.Join(err, tx.Unschedule(task))
		}
		return err
	})
}
