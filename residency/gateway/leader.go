package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency/store"
)

// The times of a leadership. A leader that dies is followed leadFor after its last renewal, and at the
// next attempt after that.
const (
	leadFor   = 10 * time.Second // how long a leader leads after it has last said so
	leadRenew = 3 * time.Second  // how often it says so, and how long it waits for the store's answer
	leadTry   = time.Second      // how often another tries to follow it
)

// leadership is this gateway's part in who does a cluster's background work. Of several gateways one
// leads at a time; that nothing is done twice rests on the epoch that each of its transactions names,
// not on the clocks here.
type leadership struct {
	g       *Gateway
	region  *Region
	cluster *Cluster
	first   bool          // of its region's clusters: its leader answers for the region too
	kicked  chan struct{} // holds a token when there is something to sweep at once

	mu      sync.Mutex
	now     *term         // nil while another leads
	changed chan struct{} // closed when now changes
}

// term is a time in which the gateway leads without interruption.
type term struct {
	epoch   uint64
	cluster *Cluster        // all transactions on its rows, and all drops, are of the epoch
	ctx     context.Context //nolint:containedctx // it is the term: it ends with it
	end     context.CancelFunc
	until   time.Duration // when it ends unless it is renewed, by the gateway's elapsed clock
}

// holderName tells this process from every other: a gateway's name may be used twice by mistake.
func holderName(gateway string) string {
	return gateway[:min(len(gateway), 64)] + " " + uuid.NewString()
}

func (g *Gateway) newLeadership(r *Region, c *Cluster) *leadership {
	return &leadership{
		g: g, region: r, cluster: c, first: c == &r.Clusters[0],
		kicked: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// run does the cluster's background work whenever this gateway leads, until the context ends. It
// gives the leadership up when nothing of the work goes on any more.
func (l *leadership) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.during(ctx, l.sweep) })
	wg.Go(func() { l.during(ctx, l.keepPurged) })
	wg.Go(func() { l.during(ctx, l.keepLog) })
	wg.Go(func() { l.during(ctx, l.keepUsage) })
	wg.Go(func() { l.during(ctx, l.keepRetention) })
	if l.first {
		l.g.metrics.regionLeader.WithLabelValues(string(l.region.Name)).Set(0)
		wg.Go(func() { l.during(ctx, l.runCensus) })
	}
	for ctx.Err() == nil {
		pause := time.NewTimer(l.campaign(ctx))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	wg.Wait()
	l.resign(context.WithoutCancel(ctx))
}

// campaign asks the store once who leads, and gives the time after which to ask again.
func (l *leadership) campaign(ctx context.Context) time.Duration {
	patience := leadRenew
	t := l.current()
	if t != nil {
		patience = min(patience, max(t.until-l.g.elapsed(), 0))
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := l.g.elapsed()
	epoch, err := l.cluster.Rows.Lead(asking, l.g.holder, leadFor)
	switch {
	case err == nil:
		l.lead(ctx, epoch, began+leadFor)
		return leadRenew
	case errors.Is(err, store.ErrConflict):
		l.leave(t, "another leads")
	case t != nil && l.g.elapsed() >= t.until:
		l.leave(t, err.Error())
	case t != nil:
		return min(leadTry, t.until-l.g.elapsed())
	}
	return leadTry
}

// lead begins a term, or goes on with the one that there is.
func (l *leadership) lead(ctx context.Context, epoch uint64, until time.Duration) {
	if t := l.current(); t != nil && t.epoch != epoch { // it was lost and won back
		l.leave(t, "another led meanwhile")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.until = until
		return
	}
	t := &term{epoch: epoch, until: until}
	t.ctx, t.end = context.WithCancel(ctx)
	own := *l.cluster
	rows := &termRows{Rows: l.cluster.Rows, epoch: epoch, deposed: func() { l.leave(t, "another leads") }}
	own.Rows, own.Outbox = rows, &termOutbox{l.cluster.Outbox, rows}
	t.cluster = &own
	l.set(t)
	l.g.log.Info("leads a cluster's background work", "region", string(l.region.Name), "cluster", l.cluster.Name, "epoch", epoch)
	if l.first {
		l.g.metrics.regionLeader.WithLabelValues(string(l.region.Name)).Set(1)
	}
}

// leave ends a term, unless it is over, and what goes on under it.
func (l *leadership) leave(t *term, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t == nil || l.now != t {
		return
	}
	t.end()
	l.set(nil)
	l.g.log.Warn("leads a cluster's background work no more", "region", string(l.region.Name), "cluster", l.cluster.Name, "epoch", t.epoch, "reason", why)
	if l.first {
		l.g.metrics.regionLeader.WithLabelValues(string(l.region.Name)).Set(0)
		l.g.dropCensus(l.region)
	}
}

// set changes the term. mu is held.
func (l *leadership) set(t *term) {
	l.now = t
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) current() *term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// resign ends the term and lets another follow at once.
func (l *leadership) resign(ctx context.Context) {
	t := l.current()
	if t == nil {
		return
	}
	l.leave(t, "stopping")
	ctx, cancel := context.WithTimeout(ctx, leadTry)
	defer cancel()
	if _, err := l.cluster.Rows.Lead(ctx, l.g.holder, 0); err != nil && !errors.Is(err, store.ErrConflict) {
		l.g.log.Warn("a leadership was not given up; it runs out", "region", string(l.region.Name), "cluster", l.cluster.Name, "err", err)
	}
}

// during calls work in each term, one after another, until the context ends.
func (l *leadership) during(ctx context.Context, work func(*term)) {
	for ctx.Err() == nil {
		l.mu.Lock()
		t, changed := l.now, l.changed
		l.mu.Unlock()
		if t != nil {
			work(t)
			<-t.ctx.Done()
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// termRows are a cluster's rows to whoever leads its background work: every transaction is of the
// term's epoch, so what was deposed, even while it was stopped, changes nothing.
type termRows struct {
	store.Rows
	epoch   uint64
	deposed func() // called when a transaction finds that another leads
}

// Update is store.Rows.
func (r *termRows) Update(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	scope.Epoch = r.epoch
	return r.noticed(r.Rows.Update(ctx, scope, fn))
}

// View is store.Rows.
func (r *termRows) View(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	scope.Epoch = r.epoch
	return r.noticed(r.Rows.View(ctx, scope, fn))
}

func (r *termRows) noticed(err error) error {
	if errors.Is(err, store.ErrDeposed) {
		r.deposed()
	}
	return err
}

// termOutbox is a cluster's outbox to whoever leads its background work: what was deposed drops nothing.
type termOutbox struct {
	store.Outbox
	rows *termRows
}

// Drop is store.Outbox, of the term's epoch.
func (o *termOutbox) Drop(ctx context.Context, upTo, _ uint64) error {
	return o.rows.noticed(o.Outbox.Drop(ctx, upTo, o.rows.epoch))
}
