package main

import (
	"strings"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type caseCommands struct {
	Open    caseOpen    `cmd:"" help:"Open an abuse case: a suspicion that allows watching drives' transfers once it is approved."`
	Approve caseApprove `cmd:"" help:"Approve a case that somebody else opened."`
	Close   caseClose   `cmd:"" help:"Close a case; what is being watched under it ends."`
	List    caseList    `cmd:"" help:"List a tenant's cases, newest first."`
}

type caseOpen struct {
	TenantID   string   `arg:"" name:"tenant" help:"The tenant."`
	From       string   `placeholder:"FILE" help:"An AbuseCase in JSON, - for the standard input; flags go on top."`
	Suspicion  string   `placeholder:"TEXT" help:"What is suspected."`
	Drive      []string `placeholder:"ID" help:"A drive whose transfers may be watched; may be repeated."`
	ValidUntil moment   `placeholder:"TIME" help:"Until when, at most 90 days from now: a duration such as 72h, or an RFC 3339 time."`
	requestFlag
}

// Run opens the case.
func (c *caseOpen) Run(a *app) error {
	m := &residencyv1.AbuseCase{}
	if err := a.jsonInto(c.From, m); err != nil {
		return err
	}
	setText(&m.Suspicion, c.Suspicion)
	if len(c.Drive) > 0 {
		m.DriveIds = c.Drive
	}
	if t := c.ValidUntil.timestamp(); t != nil {
		m.ValidUntil = t
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.OpenAbuseCase(a.ctx, &residencyv1.OpenAbuseCaseRequest{
			TenantId: c.TenantID, AbuseCase: m, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetAbuseCase()); err != nil {
			return err
		}
		return a.next("it needs an approval, by somebody else:", a.approvals(1, "case", "approve", c.TenantID, r.GetAbuseCase().GetCaseId())...)
	})
}

// caseArgs name a case.
type caseArgs struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	CaseID   string `arg:"" name:"case" help:"The case."`
}

type caseApprove struct {
	caseArgs
	requestFlag
}

// Run approves the case.
func (c *caseApprove) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.ApproveAbuseCase(a.ctx, &residencyv1.ApproveAbuseCaseRequest{
			TenantId: c.TenantID, CaseId: c.CaseID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetAbuseCase()); err != nil {
			return err
		}
		drive := "DRIVE"
		if ids := r.GetAbuseCase().GetDriveIds(); len(ids) > 0 {
			drive = ids[0]
		}
		return a.next("whoever has drives.inspect can watch what passes:", a.commandAs(a.beside("admin"), "drive", "inspect", c.TenantID, drive, "FILE", "--case", c.CaseID))
	})
}

type caseClose struct {
	caseArgs
	requestFlag
}

// Run closes the case.
func (c *caseClose) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.CloseAbuseCase(a.ctx, &residencyv1.CloseAbuseCaseRequest{
			TenantId: c.TenantID, CaseId: c.CaseID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetAbuseCase())
	})
}

type caseList struct {
	TenantID string                           `arg:"" name:"tenant" help:"The tenant."`
	State    enum[residencyv1.AbuseCaseState] `placeholder:"STATE" help:"Only those that stand so now: ${casestates}."`
	limitFlag
}

// Run lists the cases.
func (c *caseList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllAbuseCases(a.ctx, &residencyv1.ListAbuseCasesRequest{
			TenantId: c.TenantID, State: c.State.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListAbuseCasesResponse{AbuseCases: items}, items, []column[*residencyv1.AbuseCase]{
			{"CASE", (*residencyv1.AbuseCase).GetCaseId},
			{"SUSPICION", (*residencyv1.AbuseCase).GetSuspicion},
			{"DRIVES", func(m *residencyv1.AbuseCase) string { return strings.Join(m.GetDriveIds(), ",") }},
			{"STATE", func(m *residencyv1.AbuseCase) string { return enumText(m.GetState()) }},
			{"APPROVED BY", func(m *residencyv1.AbuseCase) string { return m.GetApproval().GetApprover() }},
			{"UNTIL", func(m *residencyv1.AbuseCase) string { return timeText(m.GetValidUntil()) }},
		})
	})
}
