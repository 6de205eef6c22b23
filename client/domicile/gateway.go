package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type regionCommands struct {
	List regionList `cmd:"" help:"List the regions that the gateway knows, and whether each is up."`
}

type regionList struct{}

// Run lists the regions.
func (regionList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Gateway.ListRegions(a.ctx, &residencyv1.ListRegionsRequest{})
		if err != nil {
			return err
		}
		return list(a, r, r.GetRegions(), []column[*residencyv1.RegionStatus]{
			{"REGION", (*residencyv1.RegionStatus).GetRegion},
			{"JURISDICTION", (*residencyv1.RegionStatus).GetJurisdiction},
			{"CONTROLLER", (*residencyv1.RegionStatus).GetController},
			{"SERVED HERE", func(s *residencyv1.RegionStatus) string { return yesText(s.GetServed()) }},
			{"UP", func(s *residencyv1.RegionStatus) string { return yesText(s.GetUp()) }},
			{"POLICY", (*residencyv1.RegionStatus).GetPolicyVersion},
			{"DIGEST", func(s *residencyv1.RegionStatus) string { return shortDigest(s.GetPolicyDigest()) }},
		})
	})
}

type gatewayCommand struct{}

// Run describes the gateway.
func (gatewayCommand) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Gateway.GetGateway(a.ctx, &residencyv1.GetGatewayRequest{})
		if err != nil {
			return err
		}
		return a.show(r, r)
	})
}
