package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
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
		active := policy.Active(r.Policies, r.now())
		for _, p := range r.Policies {
			value := 0.0
			if p == active {
				value = 1
			}
			g.metrics.policyInfo.WithLabelValues(string(r.Name), p.Version).Set(value)
		}
	}
}

// The census counts consents and erasures by reading them all. It rests twenty times as long
// as it took, so that it never costs more than a twentieth of a core.
const (
	censusRest = 20
	censusMin  = 15 * time.Second
)

func (g *Gateway) runCensus(ctx context.Context) {
	for {
		start := time.Now()
		for i := range g.cfg.Regions {
			if err := g.census(ctx, &g.cfg.Regions[i]); err != nil && ctx.Err() == nil {
				g.log.Warn("census", "region", string(g.cfg.Regions[i].Name), "err", err)
			}
		}
		rest := time.NewTimer(max(censusMin, censusRest*time.Since(start)))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return
		}
	}
}

type census struct {
	consents [residency.NumConsentKinds][residency.NumConsentStates]int
	erasures int // that are not done
}

// census counts a region's consents and erasures, tenant by tenant.
func (g *Gateway) census(ctx context.Context, r *Region) error {
	var count census
	var failed error
	err := g.cfg.Directory.List(ctx, r.Name, store.Tenant{}, func(id store.Tenant, p store.Placement) bool {
		h, err := g.place(id, p)
		if err == nil {
			err = errors.Join(g.countConsents(ctx, h, &count), g.countErasures(ctx, h, &count))
		}
		failed = err
		return err == nil && ctx.Err() == nil
	})
	if err = errors.Join(err, failed, ctx.Err()); err != nil {
		return err
	}
	for kind := residency.ConsentKind(1); kind < residency.NumConsentKinds; kind++ {
		for state := residency.ConsentState(1); state < residency.NumConsentStates; state++ {
			g.metrics.consents.WithLabelValues(string(r.Name), kind.String(), state.String()).Set(float64(count.consents[kind][state]))
		}
	}
	g.metrics.erasuresPending.WithLabelValues(string(r.Name)).Set(float64(count.erasures))
	return nil
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
