package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// revise marks a consent that a later version of the policy voids as
// superseded by that version (clause revisions).
func (t *txn) revise(c *consent.Consent) {
	if !c.Superseded.IsZero() {
		return
	}
	by, _ := t.home.region.voided(c, t.now)
	if by != nil && by.Effective.Before(c.Expires) { // else it had ended by then
		c.Superseded, c.SupersededBy = by.Effective, by.Version
	}
}

func (r *Region) voided(c *consent.Consent, now time.Time) (by *policy.Policy, clause string) {
	return policy.Voided(r.Policies, now, c.PolicyVersion, c.Kind, c.Classes, c.To, c.Purposes)
}

// policyRow is a policy version that was in force in a cluster. It is kept in
// the partition of the zero tenant, who exists nowhere.
type policyRow struct {
	Version   string
	Digest    string
	Effective time.Time
	Recorded  time.Time
}

func (r *policyRow) layout(f *fields) {
	f.text(1, &r.Version)
	f.text(2, &r.Digest)
	f.time(3, &r.Effective)
	f.time(4, &r.Recorded)
}

// Prepare makes the gateway ready to serve. It fails where serving would break a
// promise: when a version of a policy was in force with another digest.
func (g *Gateway) Prepare(ctx context.Context) error {
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		for j := range region.Clusters {
			if err := g.recordPolicies(ctx, region, &region.Clusters[j]); err != nil {
				return fmt.Errorf("region %s: %w", region.Name, err)
			}
		}
	}
	return nil
}

// recordPolicies notes in a cluster which versions came into force, and learns
// which others did: a region in which a later version is in force than any that this gateway
// has answers POLICY_UNAVAILABLE here.
func (g *Gateway) recordPolicies(ctx context.Context, region *Region, cluster *Cluster) error {
	var recorded map[string]policyRow
	err := cluster.Rows.View(ctx, store.Scope{}, func(tx store.Tx) (err error) {
		recorded, err = readPolicies(tx)
		return err
	})
	if err != nil {
		return err
	}
	if !settled(recorded, region.Policies, region.now()) {
		err = cluster.Rows.Update(ctx, store.Scope{Exclusive: true}, func(tx store.Tx) error {
			return recordIn(tx, region.Policies)
		})
		if err != nil {
			return err
		}
	}
	var latest policyRow
	for _, p := range recorded {
		if p.Effective.After(latest.Effective) {
			latest = p
		}
	}
	active := policy.Active(region.Policies, region.now())
	behind := active == nil || latest.Effective.After(active.Effective)
	if region.behind.Swap(behind) != behind && behind {
		g.log.Error("a policy version is in force that this gateway does not have", "region", string(region.Name), "version", latest.Version)
	}
	return nil
}

func readPolicies(tx store.Tx) (map[string]policyRow, error) {
	out := make(map[string]policyRow)
	var failed error
	err := tx.Scan(store.KindPolicy, "", "", func(id store.ID, b []byte) bool {
		var r policyRow
		if failed = decodeRow(b, &r); failed != nil {
			return false
		}
		out[r.Version] = r
		return true
	})
	return out, errors.Join(err, failed)
}

// settled reports whether every version that came into force is recorded as it is.
func settled(recorded map[string]policyRow, versions []*policy.Policy, now time.Time) bool {
	for _, p := range versions {
		if r, ok := recorded[p.Version]; !p.Effective.After(now) && (!ok || r.Digest != p.Digest) {
			return false
		}
	}
	return true
}

func recordIn(tx store.Tx, versions []*policy.Policy) error {
	recorded, err := readPolicies(tx)
	if err != nil {
		return err
	}
	for _, p := range versions {
		if p.Effective.After(tx.Now()) {
			continue
		}
		if err := recordPolicy(tx, recorded, p); err != nil {
			return err
		}
	}
	return nil
}

func recordPolicy(tx store.Tx, recorded map[string]policyRow, p *policy.Policy) error {
	r, ok := recorded[p.Version]
	switch {
	case !ok:
		r = policyRow{Version: p.Version, Digest: p.Digest, Effective: p.Effective, Recorded: tx.Now()}
		return tx.Put(store.KindPolicy, store.ID(p.Version), encodeRow(&r))
	case r.Digest != p.Digest:
		return residency.E("gateway.Prepare", residency.PolicyUnavailable, fmt.Errorf(
			"policy version %s was in force with digest %s, and its file has %s: a changed file needs a version of its own",
			p.Version, r.Digest, p.Digest))
	}
	return nil
}

// policiesEvery is how often a gateway looks which versions are in force.
const policiesEvery = time.Second

func (g *Gateway) watchPolicies(ctx context.Context, region *Region, cluster *Cluster) {
	if err := g.recordPolicies(ctx, region, cluster); err != nil && ctx.Err() == nil {
		g.log.Warn("policy versions not recorded", "region", string(region.Name), "cluster", cluster.Name, "err", err)
	}
}

// inForce gives the policy that decides in a region now.
func (r *Region) inForce(now time.Time) *policy.Policy {
	if r.behind.Load() {
		return nil
	}
	return policy.Active(r.Policies, now)
}

// byEffect sorts versions by when they come into force.
func byEffect(versions []*policy.Policy) []*policy.Policy {
	out := slices.Clone(versions)
	slices.SortFunc(out, func(a, b *policy.Policy) int { return a.Effective.Compare(b.Effective) })
	return out
}
