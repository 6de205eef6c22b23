package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

func (g *Gateway) activePolicy(r *Region, now time.Time) (*policy.Policy, error) {
	if p := r.inForce(now); p != nil {
		return p, nil
	}
	return nil, residency.E("gateway.activePolicy", residency.PolicyUnavailable, fmt.Errorf("no policy of region %s is in force", r.Name))
}

// now is a region's clock, by its first cluster.
func (r *Region) now() time.Time { return r.Clusters[0].Rows.Now() }

func (g *Gateway) regionNames() string {
	names := make([]string, len(g.cfg.Regions))
	for i := range g.cfg.Regions {
		names[i] = string(g.cfg.Regions[i].Name)
	}
	return strings.Join(names, ", ")
}

// Policies lists the policy versions of a region ("" = of every region served
// here), newest first.
func (g *Gateway) Policies(name residency.Region) ([]PolicyVersion, error) {
	if name != "" && g.region(name) == nil {
		return nil, residency.Bad("gateway.Policies", "region", "must be one of "+g.regionNames())
	}
	var out []PolicyVersion
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		if name != "" && r.Name != name {
			continue
		}
		active := r.inForce(r.now())
		versions := slices.Clone(r.Policies)
		slices.SortStableFunc(versions, func(a, b *policy.Policy) int { return b.Effective.Compare(a.Effective) })
		for _, p := range versions {
			out = append(out, PolicyVersion{Region: r.Name, Policy: p, Active: p == active})
		}
	}
	return out, nil
}

// Policy gives one policy version ("" = the one in force) with its file.
func (g *Gateway) Policy(name residency.Region, version string) (PolicyVersion, []byte, error) {
	const op = "gateway.Policy"
	versions, err := g.Policies(name)
	if err != nil {
		return PolicyVersion{}, nil, err
	}
	for _, v := range versions {
		if version == "" && v.Active || version != "" && v.Policy.Version == version {
			return v, v.Policy.File(), nil
		}
	}
	if version == "" {
		return PolicyVersion{}, nil, residency.E(op, residency.PolicyUnavailable, nil)
	}
	return PolicyVersion{}, nil, residency.E(op, residency.NotFound, nil)
}

// Explain says how a region's policy decides a kind of access, before any fact
// is looked at.
func (g *Gateway) Explain(req Explain) (policy.Explanation, *policy.Policy, error) {
	v, _, err := g.Policy(req.Region, req.Version)
	if err != nil {
		return policy.Explanation{}, nil, err
	}
	q := req.Query
	if q.To == v.Policy.Jurisdiction {
		q.To = residency.Jurisdiction{}
	}
	return v.Policy.Explain(q), v.Policy, nil
}

// ComparePolicies says what becomes different from one version to another, or to
// a file that is in force nowhere yet.
func (g *Gateway) ComparePolicies(req ComparePolicies) (PoliciesCompared, error) {
	const op = "gateway.ComparePolicies"
	from, _, err := g.Policy(req.Region, req.From)
	if err != nil {
		return PoliciesCompared{}, err
	}
	var to *policy.Policy
	if req.Candidate != nil {
		if to, err = policy.Parse(req.Candidate); err != nil {
			return PoliciesCompared{}, residency.Bad(op, "candidate", err.Error())
		}
		if to.Jurisdiction != from.Policy.Jurisdiction {
			return PoliciesCompared{}, residency.Bad(op, "candidate", "must be a policy of "+from.Policy.Jurisdiction.String())
		}
	} else {
		v, _, err := g.Policy(req.Region, req.To)
		if err != nil {
			return PoliciesCompared{}, err
		}
		to = v.Policy
	}
	return PoliciesCompared{From: from.Policy, To: to, Difference: policy.Compare(from.Policy, to)}, nil
}

// probe is how long a region may take to show that it is up.
const probe = 500 * time.Millisecond

// Regions lists the regions, by name, and whether each is up.
func (g *Gateway) Regions(ctx context.Context) []RegionStatus {
	out := make([]RegionStatus, 0, len(g.cfg.Regions))
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		s := RegionStatus{Name: r.Name, Jurisdiction: r.Jurisdiction, Controller: r.Controller, Served: true}
		if p := r.inForce(r.now()); p != nil {
			s.PolicyVersion, s.PolicyDigest = p.Version, p.Digest
		}
		s.Up = g.ping(ctx, r) == nil
		out = append(out, s)
	}
	for i := range g.cfg.Elsewhere {
		e := &g.cfg.Elsewhere[i]
		out = append(out, RegionStatus{Name: e.Name, Jurisdiction: e.Jurisdiction, Controller: e.Controller, Up: e.Peer.Up()})
	}
	slices.SortFunc(out, func(a, b RegionStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out
}

// NotReady is every part of the regions served here that does not answer, by region.
type NotReady []Down

// Down is a part of a region that does not answer; the first that was found.
type Down struct {
	Region residency.Region
	Part   string // "policy", "keys", "rows", "audit" or "blobs"
	Err    error
}

// Error names every region, with the cause.
func (n NotReady) Error() string {
	parts := make([]string, len(n))
	for i, d := range n {
		parts[i] = fmt.Sprintf("region %s: %s: %v", d.Region, d.Part, d.Err)
	}
	return strings.Join(parts, "; ")
}

// Ready returns nil when every region that is served here can decide: its
// rows, blobs, keys and policy answer; else a NotReady.
func (g *Gateway) Ready(ctx context.Context) error {
	var out NotReady
	for i := range g.cfg.Regions {
		if d := g.ping(ctx, &g.cfg.Regions[i]); d != nil {
			out = append(out, *d)
		}
	}
	if len(out) > 0 {
		return out
	}
	return nil
}

func (g *Gateway) ping(ctx context.Context, r *Region) *Down {
	ctx, cancel := context.WithTimeout(ctx, probe)
	defer cancel()
	down := func(part string, err error) *Down { return &Down{r.Name, part, err} }
	if _, err := g.activePolicy(r, r.now()); err != nil {
		return down("policy", err)
	}
	if err := r.Vault.Ping(ctx); err != nil {
		return down("keys", err)
	}
	for i := range r.Clusters {
		c := &r.Clusters[i]
		if err := c.Rows.View(ctx, store.Scope{}, func(store.Tx) error { return nil }); err != nil {
			return down("rows", fmt.Errorf("cluster %s: %w", c.Name, err))
		}
		if _, err := c.Outbox.Last(ctx); err != nil {
			return down("audit", fmt.Errorf("cluster %s: %w", c.Name, err))
		}
		if err := c.Blobs.List(ctx, "ping/", func(string) bool { return false }); err != nil {
			return down("blobs", fmt.Errorf("cluster %s: %w", c.Name, err))
		}
	}
	return nil
}
