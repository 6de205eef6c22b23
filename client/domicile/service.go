package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type tenantUpdate struct {
	TenantID        string        `arg:"" name:"tenant" help:"The tenant."`
	Residence       string        `required:"" placeholder:"CODE" help:"Where the tenant resides now: an ISO 3166-1 alpha-2 code, for example CH. The home region stays."`
	Agreement       evidenceFlags `embed:"" prefix:"agreement-" group:"The tenant's agreement to staying where it is homed, where the policy asks for one"`
	ExpectedVersion *int64        `placeholder:"N" help:"The version that is changed (default whatever is there)."`
	requestFlag
}

// Run changes the tenant's residence.
func (c *tenantUpdate) Run(a *app) error {
	agreement, err := c.Agreement.evidence(nil)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.UpdateTenant(a.ctx, &residencyv1.UpdateTenantRequest{
			TenantId: c.TenantID, Residence: c.Residence, Agreement: agreement, ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetTenant())
	})
}

type tenantSuspend struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	requestFlag
}

// Run stops serving the tenant.
func (c *tenantSuspend) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.SuspendTenant(a.ctx, &residencyv1.SuspendTenantRequest{TenantId: c.TenantID, RequestId: c.RequestID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetTenant()); err != nil {
			return err
		}
		return a.next("serve it again:", a.command("tenant", "resume", c.TenantID))
	})
}

type tenantResume struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	requestFlag
}

// Run serves the tenant again.
func (c *tenantResume) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.ResumeTenant(a.ctx, &residencyv1.ResumeTenantRequest{TenantId: c.TenantID, RequestId: c.RequestID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetTenant())
	})
}

type consentReceipt struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	ConsentID string `arg:"" name:"consent" help:"The consent."`
}

// Run prints the consent's receipt: a document of its own, so it is not shown
// otherwise with -o json.
func (c *consentReceipt) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Consents.GetConsentReceipt(a.ctx, &residencyv1.GetConsentReceiptRequest{TenantId: c.TenantID, ConsentId: c.ConsentID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		_, err = a.stdout.Write(append(r.GetReceipt(), '\n'))
		return err
	})
}
