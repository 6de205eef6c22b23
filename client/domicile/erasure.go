package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// waitFlag is whether an erasure's sweep is waited for.
type waitFlag struct {
	Wait bool `help:"Wait until nothing is left on disk."`
}

type tenantErase struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	Yes      bool   `help:"Do not ask; else the tenant's identifier must be typed once more."`
	waitFlag
	requestFlag
}

// Run erases the tenant.
func (c *tenantErase) Run(a *app) error {
	if err := c.confirm(a); err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.EraseTenant(a.ctx, &residencyv1.EraseTenantRequest{
			TenantId: c.TenantID, ConfirmTenantId: c.TenantID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		e, err := c.follow(a, g, r.GetErasure())
		if err != nil {
			return err
		}
		r.Erasure = e
		if err := a.show(r, e); err != nil {
			return err
		}
		return a.afterErasure(e)
	})
}

// confirm makes sure that it is meant.
func (c *tenantErase) confirm(a *app) error {
	if c.Yes {
		return nil
	}
	fmt.Fprintf(a.stderr, "Everything that is held for %s will be destroyed, for good.\nType its identifier to go on:\n", printable(c.TenantID))
	typed, err := bufio.NewReader(io.LimitReader(a.stdin, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(typed) != c.TenantID {
		return usagef("this is not the tenant's identifier: nothing was erased (--yes does not ask)")
	}
	return nil
}

type tenantErasure struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant, gone or not."`
	ErasureID string `arg:"" name:"erasure" help:"The erasure, as erasing gave it."`
	waitFlag
}

// Run shows the erasure.
func (c *tenantErasure) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Tenants.GetErasure(a.ctx, &residencyv1.GetErasureRequest{TenantId: c.TenantID, ErasureId: c.ErasureID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		e, err := c.follow(a, g, r.GetErasure())
		if err != nil {
			return err
		}
		r.Erasure = e
		return a.show(r, e)
	})
}

// afterErasure says how to see that it comes to its end.
func (a *app) afterErasure(e *residencyv1.Erasure) error {
	if e.GetState() == residencyv1.ErasureState_ERASURE_STATE_DONE {
		return nil
	}
	return a.next("nothing can be read any more; see what is still on disk being deleted:",
		a.command("tenant", "erasure", e.GetTenantId(), e.GetErasureId(), "--wait"))
}

// follow waits for an erasure's end, if that is wanted, and shows how far it is.
func (f waitFlag) follow(a *app, g *client.Client, e *residencyv1.Erasure) (*residencyv1.Erasure, error) {
	if !f.Wait {
		return e, nil
	}
	bar := newProgress(a.stderr, "", -1)
	defer bar.end()
	for wait := 50 * time.Millisecond; e.GetState() != residencyv1.ErasureState_ERASURE_STATE_DONE; wait = min(2*wait, time.Second) {
		bar.text(fmt.Sprintf("%s: %s and %s deleted", strings.ToLower(enumText(e.GetState())), countText(e.GetRowsErased(), "row"), countText(e.GetBlobsErased(), "blob")))
		select {
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		case <-time.After(wait):
		}
		r, err := g.Tenants.GetErasure(a.ctx, &residencyv1.GetErasureRequest{TenantId: e.GetTenantId(), ErasureId: e.GetErasureId()})
		if err != nil {
			return nil, a.about(err, e.GetTenantId(), "")
		}
		e = r.GetErasure()
	}
	return e, nil
}

type recordErase struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID string `arg:"" name:"subject" help:"The person."`
	waitFlag
	requestFlag
}

// Run erases what is held about the person.
func (c *recordErase) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.EraseSubject(a.ctx, &residencyv1.EraseSubjectRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		e, err := c.follow(a, g, r.GetErasure())
		if err != nil {
			return err
		}
		r.Erasure = e
		if err := a.show(r, e); err != nil {
			return err
		}
		return a.afterErasure(e)
	})
}

type recordReportChild struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID string `arg:"" name:"subject" help:"The person."`
	waitFlag
	requestFlag
}

// Run reports the child.
func (c *recordReportChild) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.ReportChild(a.ctx, &residencyv1.ReportChildRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		if r.GetErasure() == nil {
			if err := a.show(r, r); err != nil {
				return err
			}
			return a.note("a parent consented: the information is kept")
		}
		e, err := c.follow(a, g, r.GetErasure())
		if err != nil {
			return err
		}
		r.Result = &residencyv1.ReportChildResponse_Erasure{Erasure: e}
		if err := a.show(r, e); err != nil {
			return err
		}
		return a.afterErasure(e)
	})
}
