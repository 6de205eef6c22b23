package main

import (
	"fmt"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type policyCommands struct {
	List    policyList    `cmd:"" help:"List the policy versions of the regions served."`
	Get     policyGet     `cmd:"" help:"Print a policy's file, as it is enforced."`
	Explain policyExplain `cmd:"" help:"Say how a policy decides a kind of access, and what it requires."`
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

type policyExplain struct {
	Region    string                          `arg:"" help:"The region whose policy is asked."`
	Version   string                          `placeholder:"VERSION" help:"The version (default the one in force)."`
	Action    enum[residencyv1.Action]        `required:"" placeholder:"ACTION" help:"What would be done: ${actions}."`
	Class     enum[residencyv1.DataClass]     `required:"" placeholder:"CLASS" help:"With which data: ${classes}."`
	To        string                          `placeholder:"CODE" help:"The jurisdiction that it would reach (default it stays home)."`
	Purpose   enum[residencyv1.Purpose]       `placeholder:"PURPOSE" help:"What for: ${purposes}."`
	Source    enum[residencyv1.Source]        `placeholder:"SOURCE" help:"Where the data came from: ${sources}."`
	Recipient enum[residencyv1.RecipientKind] `placeholder:"KIND" help:"Who would receive it: ${recipients}."`
	Party     enum[residencyv1.Party]         `placeholder:"PARTY" help:"Whose software would call: ${parties}; the provider's when it is not said."`
}

// Run asks the policy.
func (c *policyExplain) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Policies.Explain(a.ctx, &residencyv1.ExplainRequest{
			Region: c.Region, Version: c.Version, Action: c.Action.value, DataClass: c.Class.value, ToJurisdiction: c.To,
			Purpose: c.Purpose.value, Source: c.Source.value, RecipientKind: c.Recipient.value, Party: c.Party.value,
		})
		if err != nil {
			return err
		}
		if a.flags.Output == "json" {
			return a.json(r)
		}
		return c.print(a, r)
	})
}

func (c *policyExplain) print(a *app, r *residencyv1.ExplainResponse) error {
	requirements := r.GetRequirements()
	r.Requirements = nil // a table of their own
	if err := a.show(r, r); err != nil {
		return err
	}
	if len(requirements) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	return list(a, r, requirements, []column[*residencyv1.Requirement]{
		{"REQUIRES", (*residencyv1.Requirement).GetName},
		{"CLAUSE", (*residencyv1.Requirement).GetClause},
		{"ELSE", (*residencyv1.Requirement).GetReason},
		{"REMEDY", (*residencyv1.Requirement).GetRemedy},
	})
}
