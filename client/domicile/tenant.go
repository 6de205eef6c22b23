package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type tenantCommands struct {
	Register tenantRegister `cmd:"" help:"Register a tenant in its home region."`
	Get      tenantGet      `cmd:"" help:"Show one tenant's registration."`
	List     tenantList     `cmd:"" help:"List the tenants of a region."`
	Update   tenantUpdate   `cmd:"" help:"Change a tenant's residence."`
	Suspend  tenantSuspend  `cmd:"" help:"Stop serving a tenant; what protects people goes on."`
	Resume   tenantResume   `cmd:"" help:"Serve a suspended tenant again."`
	Erase    tenantErase    `cmd:"" help:"Destroy everything that is held for a tenant, its keys at once."`
	Erasure  tenantErasure  `cmd:"" help:"Show how far an erasure of a tenant or a person has come."`
}

type tenantRegister struct {
	TenantID   string        `arg:"" name:"tenant" help:"The new tenant's identifier."`
	Residence  string        `required:"" placeholder:"CODE" help:"Where the tenant resides: an ISO 3166-1 alpha-2 code, for example CH."`
	HomeRegion string        `placeholder:"REGION" help:"The region to home it in (default as the residence decides)."`
	Agreement  evidenceFlags `embed:"" prefix:"agreement-" group:"The tenant's agreement, where the policy asks for one"`
	RequestID  string        `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run registers the tenant.
func (c *tenantRegister) Run(a *app) error {
	agreement, err := c.Agreement.evidence(nil)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.RegisterTenant(a.ctx, &residencyv1.RegisterTenantRequest{
			TenantId: c.TenantID, Residence: c.Residence, HomeRegion: c.HomeRegion, Agreement: agreement, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetTenant())
	})
}

type tenantGet struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
}

// Run shows the tenant.
func (c *tenantGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.GetTenant(a.ctx, &residencyv1.GetTenantRequest{TenantId: c.TenantID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetTenant())
	})
}

type tenantList struct {
	Region string `arg:"" help:"The region."`
	limitFlag
}

// Run lists the tenants.
func (c *tenantList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllTenants(a.ctx, &residencyv1.ListTenantsRequest{Region: c.Region, PageSize: c.page()}))
		if err != nil {
			return err
		}
		return list(a, &residencyv1.ListTenantsResponse{Tenants: items}, items, []column[*residencyv1.Tenant]{
			{"TENANT", (*residencyv1.Tenant).GetTenantId},
			{"RESIDENCE", (*residencyv1.Tenant).GetResidence},
			{"REGION", (*residencyv1.Tenant).GetHomeRegion},
			{"CONTROLLER", (*residencyv1.Tenant).GetController},
			{"POLICY", (*residencyv1.Tenant).GetPolicyVersion},
			{"STATE", func(t *residencyv1.Tenant) string { return enumText(t.GetState()) }},
			{"CREATED", func(t *residencyv1.Tenant) string { return timeText(t.GetCreateTime()) }},
		})
	})
}
