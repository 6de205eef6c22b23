package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

const gaugesEvery = 5 * time.Second

// gauges refreshes what is cheap to look at.
func (g *Gateway) gauges(ctx context.Context) {
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		up := 0.0
		if g.ping(ctx, r) == nil {
			up = 1
		}
		g.metrics.regionUp.WithLabelValues(string(r.Name)).Set(up)
		g.metrics.keysCached.WithLabelValues(string(r.Name)).Set(float64(r.Vault.Cached()))
		active := r.inForce(r.now())
		for _, p := range r.Policies {
			value := 0.0
			if p == active {
				value = 1
			}
			g.metrics.policyInfo.WithLabelValues(string(r.Name), p.Version).Set(value)
		}
	}
}

// The census counts consents, erasures and safeguards by reading them all. It rests twenty times as long
// as it took, so that it never costs more than a twentieth of a core.
const (
	censusRest = 20
	censusMin  = 15 * time.Second
)

// runCensus counts what the region's leader tells of it, until the term ends.
func (l *leadership) runCensus(t *term) {
	for {
		start := time.Now()
		if err := l.g.census(t.ctx, l.region); err != nil && t.ctx.Err() == nil {
			l.g.log.Warn("census", "region", string(l.region.Name), "err", err)
		}
		rest := time.NewTimer(max(censusMin, censusRest*time.Since(start)))
		select {
		case <-rest.C:
		case <-t.ctx.Done():
			rest.Stop()
			return
		}
	}
}

type census struct {
	consents [residency.NumConsentKinds][residency.NumConsentStates]int
	erasures int // that are not done

	safeguard time.Time // when the first safeguard agreement of a registered recipient ends; zero = there is none
}

// census counts what a region holds, tenant by tenant, and tells the result unless
// the context has ended by then.
func (g *Gateway) census(ctx context.Context, r *Region) error {
	var count census
	var failed error
	err := g.cfg.Directory.List(ctx, r.Name, store.Tenant{}, func(id store.Tenant, p store.Placement) bool {
		h, err := g.place(id, p)
		if err == nil {
			err = errors.Join(g.countConsents(ctx, h, &count), g.countErasures(ctx, h, &count), g.countSafeguards(ctx, h, &count))
		}
		failed = err
		return err == nil && ctx.Err() == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return g.tellCensus(ctx, r, &count)
}

// tellCensus sets a region's gauges. A context that has ended says that another leads, whose gauges they are.
func (g *Gateway) tellCensus(ctx context.Context, r *Region, count *census) error {
	g.counted.Lock()
	defer g.counted.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for kind := residency.ConsentKind(1); kind < residency.NumConsentKinds; kind++ {
		for state := residency.ConsentState(1); state < residency.NumConsentStates; state++ {
			g.metrics.consents.WithLabelValues(string(r.Name), kind.String(), state.String()).Set(float64(count.consents[kind][state]))
		}
	}
	g.metrics.erasuresPending.WithLabelValues(string(r.Name)).Set(float64(count.erasures))
	if count.safeguard.IsZero() {
		g.metrics.safeguardExpiry.DeleteLabelValues(string(r.Name))
		return nil
	}
	g.metrics.safeguardExpiry.WithLabelValues(string(r.Name)).Set(count.safeguard.Sub(r.now()).Seconds())
	return nil
}

// dropCensus takes a region's gauges back; the context of whoever counts has ended.
func (g *Gateway) dropCensus(r *Region) {
	g.counted.Lock()
	defer g.counted.Unlock()
	of := prometheus.Labels{"region": string(r.Name)}
	for _, gauge := range []*prometheus.GaugeVec{
		g.metrics.consents, g.metrics.erasuresPending, g.metrics.safeguardExpiry, g.metrics.auditPending, g.metrics.checkpointAge,
		g.metrics.checkpointEntries, g.metrics.checkpointTime, g.metrics.witnessedTime, g.metrics.witnessAge,
	} {
		gauge.DeletePartialMatch(of)
	}
}

// countConsents adds one tenant's consents, some at a time so that no
// transaction is long.
func (g *Gateway) countConsents(ctx context.Context, h home, count *census) error {
	t := &txn{g: g, a: &act{op: "gateway.census", tenant: "?"}, home: h, ctx: ctx}
	if err := t.keys(ctx); err != nil || t.tk == nil {
		return err
	}
	for after, more := store.ID(""), true; more; {
		more = false
		n := 0
		err := h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
			t.Tx, t.now = tx, tx.Now()
			var failed error
			err := tx.Scan(store.KindConsent, "", after, func(id store.ID, sealed []byte) bool {
				if n++; n > sweepBatch {
					more = true
					return false
				}
				after = id
				failed = t.countConsent(id, sealed, count)
				return failed == nil
			})
			return errors.Join(err, failed)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) countConsent(id store.ID, sealed []byte, count *census) error {
	if len(id) < idSize {
		return residency.E(t.a.op, residency.IntegrityFailure, errors.New("a consent's row is damaged"))
	}
	keys, err := t.scopeKeys(id[:idSize])
	if residency.KindOf(err) == residency.NotFound { // erased; the sweep comes for it
		return nil
	}
	if err != nil {
		return err
	}
	c, _, err := openConsent(keys, id, sealed)
	if err != nil {
		return err
	}
	if state := c.State(t.now); int(c.Kind) < len(count.consents) && int(state) < len(count.consents[0]) {
		count.consents[c.Kind][state]++
	}
	return nil
}

// countErasures adds one tenant's erasures that are not done, some at a time.
func (g *Gateway) countErasures(ctx context.Context, h home, count *census) error {
	for after, more := store.ID(""), true; more; {
		more = false
		n := 0
		err := h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
			return tx.Scan(store.KindErasure, "", after, func(id store.ID, b []byte) bool {
				if n++; n > eraseRows {
					more = true
					return false
				}
				after = id
				var row erasureRow
				if len(id) == idSize && decodeRow(b, &row) == nil && row.State != ErasureDone {
					count.erasures++
				}
				return true
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countSafeguards looks for the recipient of one tenant whose safeguard agreement ends first. There are few.
func (g *Gateway) countSafeguards(ctx context.Context, h home, count *census) error {
	t := &txn{g: g, a: &act{op: "gateway.census", tenant: "?"}, home: h, ctx: ctx}
	if err := t.keys(ctx); err != nil || t.tk == nil {
		return err
	}
	return h.cluster.Rows.View(ctx, store.Scope{Tenant: h.tenant}, func(tx store.Tx) error {
		t.Tx = tx
		var failed error
		err := tx.Scan(store.KindRecipient, "", "", func(id store.ID, sealed []byte) bool {
			var r Recipient
			if _, failed = t.openRow(t.tk, store.KindRecipient, id, sealed, &r); failed != nil {
				return false
			}
			ends := r.Safeguard.ValidUntil
			if r.State == RecipientActive && !ends.IsZero() && (count.safeguard.IsZero() || ends.Before(count.safeguard)) {
				count.safeguard = ends
			}
			return true
		})
		return errors.Join(err, failed)
	})
}
