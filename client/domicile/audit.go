package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type auditCommands struct {
	Decision  auditDecision  `cmd:"" help:"Show one decision and what came of it."`
	Decisions auditDecisions `cmd:"" help:"List the decisions about a tenant, newest first."`

	Entries auditEntries `cmd:"" help:"Read the log's entries about a tenant, or all of a region's, newest first."`

	Receipt    auditReceipt    `cmd:"" help:"Keep the proof that a decision is in the log, which can be checked offline."`
	Checkpoint auditCheckpoint `cmd:"" help:"Keep the newest signed state of a region's log."`
	Export     auditExport     `cmd:"" help:"Write a region's whole log into a folder, for checking offline, or bring the folder up to date."`
	Verify     auditVerify     `cmd:"" help:"Verify receipts, or a whole log, offline and against the log's key alone."`
	Report     auditReport     `cmd:"" help:"Report transfers, disclosures, denials and erasures from logs alone, verified before."`
}

type auditDecision struct {
	TenantID   string `arg:"" name:"tenant" help:"The tenant."`
	DecisionID string `arg:"" name:"decision" help:"The decision."`
}

// Run shows the decision.
func (c *auditDecision) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Audit.GetDecision(a.ctx, &residencyv1.GetDecisionRequest{TenantId: c.TenantID, DecisionId: c.DecisionID})
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetRecord())
	})
}

type auditDecisions struct {
	TenantID string                    `arg:"" name:"tenant" help:"The tenant."`
	Outcome  enum[residencyv1.Outcome] `placeholder:"OUTCOME" help:"Only those with this outcome: ${outcomes}."`
	limitFlag
}

// Run lists the decisions.
func (c *auditDecisions) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllDecisions(a.ctx, &residencyv1.ListDecisionsRequest{
			TenantId: c.TenantID, Outcome: c.Outcome.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListDecisionsResponse{Records: items}, items, decisionColumns)
	})
}

var decisionColumns = []column[*residencyv1.DecisionRecord]{
	{"PLACE", func(r *residencyv1.DecisionRecord) string { return numberText(r.GetPlace()) }},
	{"DECISION", func(r *residencyv1.DecisionRecord) string { return r.GetDecision().GetDecisionId() }},
	{"TIME", func(r *residencyv1.DecisionRecord) string { return timeText(r.GetDecision().GetDecideTime()) }},
	{"OUTCOME", func(r *residencyv1.DecisionRecord) string { return enumText(r.GetDecision().GetOutcome()) }},
	{"CALLER", (*residencyv1.DecisionRecord).GetCaller},
	{"METHOD", func(r *residencyv1.DecisionRecord) string { return methodText(r.GetMethod()) }},
	{"CLASS", func(r *residencyv1.DecisionRecord) string { return enumText(r.GetDecision().GetDataClass()) }},
	{"PURPOSE", func(r *residencyv1.DecisionRecord) string { return purposeText(r.GetDecision().GetPurpose()) }},
	{"WAY", func(r *residencyv1.DecisionRecord) string {
		return wayText(r.GetDecision().GetFromJurisdiction(), r.GetDecision().GetToJurisdiction())
	}},
	{"RESULT", resultText},
	{"CLAUSE", func(r *residencyv1.DecisionRecord) string { return r.GetDecision().GetClause() }},
}

// purposeText leaves out that a call has no purpose.
func purposeText(p residencyv1.Purpose) string {
	if p == residencyv1.Purpose_PURPOSE_UNSPECIFIED {
		return "-"
	}
	return enumText(p)
}

// resultText says what the call gave in the end: a stream that was permitted may
// still have been cut.
func resultText(r *residencyv1.DecisionRecord) string {
	switch {
	case r.GetResult() != "":
		return r.GetResult()
	case r.GetDecision().GetReason() != "":
		return r.GetDecision().GetReason()
	}
	return "ok"
}
