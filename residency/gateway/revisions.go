package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// policyRow is a policy version that was in force in a cluster, or that is announced there before it is. It is kept in
// the partition of the zero tenant, who exists nowhere.
type policyRow struct {
	Version   string
	Digest    string
	Effective time.Time
	Recorded  time.Time // when it was first seen in force; zero in an announcement
	Announced time.Time // of an announcement: when a gateway that has the version last said so
}

func (r *policyRow) layout(f *fields) {
	f.text(1, &r.Version)
	f.text(2, &r.Digest)
	f.time(3, &r.Effective)
	f.time(4, &r.Recorded)
	f.time(5, &r.Announced)
}

// The pace of announcements. One that nobody renews counts no more, so a version that is taken back
// before its time stops nobody.
const (
	policiesEvery  = time.Second      // how often a gateway looks which versions there are
	announceEvery  = 10 * time.Second // how often whoever has a version that is to come says so
	announcedStays = time.Minute      // how long an announcement counts
)

// Prepare makes the gateway ready to serve. It fails where serving would break a
// promise: when a version of a policy was in force with another digest. Any number of gateways may do it at
// once, beside others that serve.
func (g *Gateway) Prepare(ctx context.Context) error {
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		for j := range region.Clusters {
			if err := g.recordPolicies(ctx, region, &region.Clusters[j]); err != nil {
				return fmt.Errorf("region %s: %w", region.Name, err)
			}
			if err := region.Clusters[j].standing.Load().refused(region.Policies); err != nil {
				return fmt.Errorf("region %s: %w", region.Name, err)
			}
		}
	}
	return nil
}

// recordPolicies notes in a cluster which versions came into force and announces those that
// will, and learns of those of others.
func (g *Gateway) recordPolicies(ctx context.Context, region *Region, cluster *Cluster) error {
	var known versions
	err := cluster.Rows.View(ctx, store.Scope{}, func(tx store.Tx) (err error) {
		known, err = readVersions(tx)
		return err
	})
	if err != nil {
		return err
	}
	g.takeStanding(region, cluster, &known)
	if known.haveAll(region.Policies) {
		return nil
	}
	err = cluster.Rows.Update(ctx, store.Scope{Exclusive: true}, func(tx store.Tx) (err error) {
		if known, err = readVersions(tx); err == nil {
			err = known.write(tx, region.Policies)
		}
		return err
	})
	if err == nil {
		g.takeStanding(region, cluster, &known)
	}
	return err
}

// takeStanding goes by what a cluster knows from now on, and complains of what is new in it.
func (g *Gateway) takeStanding(region *Region, cluster *Cluster, known *versions) {
	now := known.standing(region.Policies)
	before := cluster.standing.Swap(now)
	for what := range now.complaints {
		if before == nil || !before.complaints[what] {
			g.log.Error(what.problem, "region", string(region.Name), "cluster", cluster.Name, "version", what.version, "digest", what.digest, "effective", what.effective)
		}
	}
}

func (g *Gateway) watchPolicies(ctx context.Context, region *Region, cluster *Cluster) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	if err := g.recordPolicies(ctx, region, cluster); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		g.log.Warn("policy versions not recorded", "region", string(region.Name), "cluster", cluster.Name, "err", err)
	}
}

// inForce gives the policy that decides in a region now; nil when another one does that this gateway does not
// have, or not in this form. What one cluster knows to be in force is so in all.
func (r *Region) inForce(now time.Time) *policy.Policy {
	active := policy.Active(r.Policies, now)
	if active == nil {
		return nil
	}
	for i := range r.Clusters {
		if s := r.Clusters[i].standing.Load(); s != nil && s.against(active, now) {
			return nil
		}
	}
	return active
}

// byEffect sorts versions by when they come into force.
func byEffect(versions []*policy.Policy) []*policy.Policy {
	out := slices.Clone(versions)
	slices.SortFunc(out, func(a, b *policy.Policy) int { return a.Effective.Compare(b.Effective) })
	return out
}
