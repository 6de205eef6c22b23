package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// ApplyLedger finds what a backup brought back of people and tenants that were
// erased, and puts it on the agenda to be swept again. It is called before the
// gateway serves; any number of gateways may do it at once, beside others that serve. What was brought back cannot be read in any case: the keys are gone, and
// the ledger, which is kept with them, lets none be made again.
//
// It takes one look per cluster at a person whose erasure the cluster knows of, and a
// few more at one that it does not.
func (g *Gateway) ApplyLedger(ctx context.Context) error {
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		if err := g.applyLedger(ctx, region); err != nil {
			return residency.E("gateway.ApplyLedger", residency.RegionUnavailable, fmt.Errorf("region %s: %w", region.Name, err))
		}
	}
	return nil
}

// restored is an erasure of whose person or tenant a cluster holds something again.
type restored struct {
	home    home
	subject store.ID
	id      store.ID // of the erasure's row
	row     erasureRow
	done    []byte // a tenant's erasure as the cluster has it, if its sweep is done
}

func (g *Gateway) applyLedger(ctx context.Context, region *Region) error {
	found, entries, err := g.lookForErased(ctx, region)
	if err != nil {
		return err
	}
	for _, r := range found {
		if err := g.eraseAgain(ctx, r); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		g.log.LogAttrs(ctx, slog.LevelWarn, "data of erased people or tenants was there again; it is unreadable and is being swept",
			slog.String("region", string(region.Name)), slog.Int("found", len(found)), slog.Int("erased", entries))
	}
	return nil
}

// lookForErased looks in every cluster for what the ledger says was erased. A
// tenant's own entry comes before those of its subjects, which it makes needless.
func (g *Gateway) lookForErased(ctx context.Context, region *Region) (list []restored, entries int, err error) {
	var tenant store.Tenant
	var failed error
	err = region.Vault.Ledger(ctx, func(e seal.Erased) bool {
		entries++
		if e.Subject == "" {
			tenant = e.Tenant
		} else if e.Tenant == tenant {
			return true
		}
		var r restored
		if r, failed = noted(e); failed != nil {
			return false
		}
		for i := range region.Clusters {
			r.home = home{tenant: e.Tenant, region: region, cluster: &region.Clusters[i], known: true}
			var there bool
			if there, failed = r.there(ctx); failed != nil {
				return false
			}
			if there {
				list = append(list, r)
			}
		}
		return ctx.Err() == nil
	})
	return list, entries, errors.Join(err, failed, ctx.Err())
}

// there reports whether a cluster holds something of what was erased that no
// sweep will come for: rows from before the erasure, or blobs.
func (r *restored) there(ctx context.Context) (there bool, err error) {
	swept := false
	err = r.home.cluster.Rows.View(ctx, store.Scope{Tenant: r.home.tenant}, func(tx store.Tx) (err error) {
		if swept, err = r.known(tx); swept || err != nil {
			return err
		}
		kinds := subjectKinds
		if r.subject == "" {
			kinds = append([]store.Kind{store.KindTenant, store.KindStream}, tenantKinds...)
		}
		there, err = anyOf(tx, kinds, r.subject)
		return err
	})
	if err != nil || there || swept || r.subject != "" {
		return there, err
	}
	names, err := blobsUnder(ctx, r.home.cluster.Blobs, r.home.tenant.String()+"/", 1)
	return len(names) > 0, err
}

// known reports whether the cluster's rows know of the erasure, so that its sweep
// is done or on the agenda. Of a tenant's that is done, blobs may be there again all the same: its row is kept as
// it was seen, for what comes of the look.
func (r *restored) known(tx store.Tx) (bool, error) {
	r.done = nil
	id := erasureMark(r.subject)
	if r.subject == "" {
		id = r.id
	}
	b, err := tx.Get(store.KindErasure, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil || r.subject != "" {
		return err == nil, err
	}
	r.done = b
	var row erasureRow
	err = decodeRow(b, &row)
	return row.State != ErasureDone, err
}

// anyOf reports whether there is a row of some kinds under a prefix, the rows of
// erasures apart, which stay.
func anyOf(tx store.Tx, kinds []store.Kind, prefix store.ID) (there bool, err error) {
	for _, kind := range kinds {
		if kind == store.KindErasure {
			continue
		}
		if there, err = anyRow(tx, kind, prefix); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// eraseAgain destroys the keys once more, should they have come back too, writes
// the erasure's row and mark as they were, and puts its sweep on the agenda, unless another gateway has done so since the look.
func (g *Gateway) eraseAgain(ctx context.Context, r restored) error {
	if err := r.home.region.destroyKeys(ctx, r.home.tenant, r.subject, &r.row); err != nil {
		return err
	}
	return r.home.cluster.Rows.Update(ctx, store.Scope{Tenant: r.home.tenant, Exclusive: true}, func(tx store.Tx) error {
		now := r
		if known, err := now.known(tx); known || err != nil || !bytes.Equal(now.done, r.done) {
			return err
		}
		row := r.row
		was, err := readErasure(tx, r.id)
		switch {
		case err == nil:
			row.Rows, row.Blobs = was.Rows, was.Blobs
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		row.State = ErasureSweeping
		task := store.Task{At: tx.Now(), Tenant: r.home.tenant, Kind: store.TaskEraseTenant, Value: []byte(r.id)}
		if r.subject != "" {
			task.Kind, task.ID = store.TaskEraseSubject, r.subject
			if err := tx.Put(store.KindErasure, erasureMark(r.subject), []byte(r.id)); err != nil {
				return err
			}
		}
		return errors.Join(putErasure(tx, r.id, &row), tx.Schedule(task))
	})
}

// noted reads an erasure back from what the ledger keeps of it.
func noted(e seal.Erased) (r restored, err error) {
	r.subject = e.Subject
	if err = decodeRow(e.Note, &r.row); err == nil && (e.Subject == "") != (r.row.Kind == ErasureOfTenant) {
		err = errors.New("an entry of the erasure ledger is of another kind than its note")
	}
	var ok bool
	if r.id, ok = rowOf(r.row.ID); err == nil && !ok {
		err = errors.New("an entry of the erasure ledger names no erasure")
	}
	if err != nil {
		return r, residency.E("gateway.noted", residency.IntegrityFailure, err)
	}
	return r, nil
}
