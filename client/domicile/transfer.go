package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type transferCommands struct {
	Check transferCheck `cmd:"" help:"Decide, and record, whether data could move to a region now; nothing moves."`
}

type transferCheck struct {
	TenantID string                      `arg:"" name:"tenant" help:"The tenant."`
	To       string                      `required:"" placeholder:"REGION" help:"Where it would go."`
	Class    enum[residencyv1.DataClass] `required:"" placeholder:"CLASS" help:"Which data: ${classes}."`
	Subject  string                      `xor:"object" placeholder:"ID" help:"One person's data (default everything of the class)."`
	Drive    string                      `xor:"object" placeholder:"ID" help:"One drive."`
	purposeFlag
}

// Run asks, and shows the decision; a refusal is an answer, with the exit code of one.
func (c *transferCheck) Run(a *app) error {
	req := &residencyv1.CheckTransferRequest{
		TenantId: c.TenantID, DataClass: c.Class.value, ToRegion: c.To, Purpose: c.Purpose.value,
	}
	if c.Subject != "" {
		req.Object = &residencyv1.CheckTransferRequest_SubjectId{SubjectId: c.Subject}
	} else if c.Drive != "" {
		req.Object = &residencyv1.CheckTransferRequest_DriveId{DriveId: c.Drive}
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Transfers.CheckTransfer(a.ctx, req)
		if err != nil {
			return a.about(err, c.TenantID, c.Subject)
		}
		if err := a.show(r, r.GetDecision()); err != nil {
			return err
		}
		if r.GetDecision().GetOutcome() != residencyv1.Outcome_OUTCOME_ALLOW {
			if needed := consentFor(r.GetDecision()); needed != nil && a.flags.Output != "json" {
				a.printNeeded(a.stderr, needed, c.TenantID, c.Subject)
			}
			return errAnswerIsDeny
		}
		return nil
	})
}
