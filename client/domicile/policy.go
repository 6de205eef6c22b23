package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type policyCommands struct {
	List    policyList    `cmd:"" help:"List the policy versions of the regions served."`
	Get     policyGet     `cmd:"" help:"Print a policy's file, as it is enforced."`
	Explain policyExplain `cmd:"" help:"Say how a region's policy, or a file, decides a kind of access, and what it requires."`
	Check   policyCheck   `cmd:"" help:"Prove, without a gateway, what policy files claim about themselves, over every decision that they make."`
	Diff    policyDiff    `cmd:"" help:"Say what a later policy decides otherwise, and which recorded consents it voids."`
	Matrix  policyMatrix  `cmd:"" help:"Write, without a gateway, the borders of policy files as tables."`
}

type policyList struct {
	Region string `arg:"" optional:"" help:"Only those of this region."`
}

// Run lists the policies.
func (c *policyList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Policies.ListPolicies(a.ctx, &residencyv1.ListPoliciesRequest{Region: c.Region})
		if err != nil {
			return err
		}
		return list(a, r, r.GetPolicies(), []column[*residencyv1.Policy]{
			{"REGION", (*residencyv1.Policy).GetRegion},
			{"VERSION", (*residencyv1.Policy).GetVersion},
			{"CONTROLLER", (*residencyv1.Policy).GetController},
			{"EFFECTIVE", func(p *residencyv1.Policy) string { return timeText(p.GetEffectiveTime()) }},
			{"IN FORCE", func(p *residencyv1.Policy) string { return yesText(p.GetActive()) }},
			{"CLAUSES", func(p *residencyv1.Policy) string { return numberText(int64(len(p.GetClauses()))) }},
			{"DIGEST", func(p *residencyv1.Policy) string { return shortDigest(p.GetDigest()) }},
		})
	})
}

// shortDigest keeps enough of a digest to tell policies apart by eye.
func shortDigest(d string) string {
	if len(d) > 19 {
		return d[:19] + "…"
	}
	return d
}

type policyGet struct {
	Region  string `arg:"" help:"The region."`
	Version string `arg:"" optional:"" help:"The version (default the one in force)."`
}

// Run prints the policy's file.
func (c *policyGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Policies.GetPolicy(a.ctx, &residencyv1.GetPolicyRequest{Region: c.Region, Version: c.Version})
		if err != nil {
			return err
		}
		if a.flags.Output == "json" {
			return a.json(r)
		}
		_, err = a.stdout.Write(r.GetFile())
		return err
	})
}
