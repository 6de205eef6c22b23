package gateway

import (
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// acting is an action on a class of data that some call has.
type acting struct {
	action   residency.Action
	class    residency.DataClass
	shape    policy.Shape // what varies of its acts
	refusals []refusal    // that its acts know beside those of the policy's table; of one that cites a placement's clause that is left out
}

// comesHome says that the action brings data home: abroad it is on its way there, by a gateway of a third place.
func (a *acting) comesHome() bool {
	return a.action == residency.Collect && a.class != residency.AccountData
}

// actions are what is decided about.
var actions = []acting{
	{residency.Collect, residency.PersonalInformation, policy.Shape{Source: true}, nil},
	{residency.Collect, residency.VirtualDriveData, forPurpose, nil},
	{residency.Collect, residency.AccountData, policy.Shape{}, []refusal{{reason: residency.PlacementNotPermitted}, {reason: residency.AgreementRequired}}},
	{residency.Use, residency.PersonalInformation, forPurpose, nil},
	{residency.Use, residency.VirtualDriveData, forPurpose, nil},
	{residency.Use, residency.AccountData, policy.Shape{}, nil},
	{residency.Transfer, residency.PersonalInformation, forPurpose, nil},
	{residency.Transfer, residency.VirtualDriveData, forPurpose, nil},
	{residency.Transfer, residency.AccountData, forPurpose, nil},
	{residency.Disclose, residency.PersonalInformation, policy.Shape{Purpose: true, Recipient: true}, nil},
	{residency.Disclose, residency.VirtualDriveData, policy.Shape{Purpose: true, Recipient: true}, nil},
	{residency.Inspect, residency.VirtualDriveData, forPurpose, nil},
	{residency.Meter, residency.AccountData, policy.Shape{}, nil},
	{residency.Restrict, residency.PersonalInformation, policy.Shape{}, nil},
	{residency.Restrict, residency.VirtualDriveData, policy.Shape{}, nil},
	{residency.Restrict, residency.AccountData, policy.Shape{}, nil},
	{residency.Erase, residency.PersonalInformation, policy.Shape{}, []refusal{{reason: residency.PurposeNotPermitted, clause: "product/default"}}},
	{residency.Erase, residency.VirtualDriveData, policy.Shape{}, nil},
	{residency.Export, residency.PersonalInformation, policy.Shape{}, nil},
	{residency.Govern, residency.AccountData, policy.Shape{}, nil},
	{residency.Govern, residency.PersonalInformation, policy.Shape{}, []refusal{
		{reason: residency.LegalOrderWrongJurisdiction, clause: "legal-order"},
		{reason: residency.LegalOrderExpired, clause: "legal-order"},
		{reason: residency.ApproverNotDistinct, clause: "legal-order"},
		{reason: residency.RecipientNotRegistered, clause: "processors"},
		{reason: residency.DriveDataNeverShared, clause: "third-party-order"},
		{reason: residency.InformalRequestRefused, clause: "informal-request"},
		{reason: residency.ApproverNotDistinct, clause: "informal-request"},
		{reason: residency.InspectionPermissionRequired, clause: "aup-inspection"},
		{reason: residency.ApproverNotDistinct, clause: "aup-inspection"},
	}},
}

var forPurpose = policy.Shape{Purpose: true}

// findings are the reasons that the finding of a requirement may give in place of the requirement's own.
var findings = [residency.NumRequirements][]residency.Kind{
	residency.RequireConsent:    ended,
	residency.RequireOptIn:      ended,
	residency.RequirePermission: ended,
	residency.RequireNotice:     {residency.NoticePeriodOpen},
	residency.RequireLegalOrder: {
		residency.LegalOrderWrongJurisdiction, residency.LegalOrderUnapproved,
		residency.LegalOrderExpired, residency.LegalOrderOutOfScope,
	},
}

// ended are how a consent no longer holds.
var ended = []residency.Kind{residency.ConsentIsWithdrawn, residency.ConsentIsExpired, residency.ConsentIsSuperseded}

// maxExpected is how many places of callers, beside those of the regions, have their decisions shown before one is made: each
// adds about a hundred series.
const maxExpected = 8

// Expect makes the metrics show as zero every decision that the loaded policies can come to for callers in some places, beside
// those for the places of the regions. A decision about any other place, and of a long list about those at its end, shows from when it
// is first made.
func (g *Gateway) Expect(callers []residency.Jurisdiction) {
	own := g.places(nil)
	callers = slices.DeleteFunc(distinct(callers), func(j residency.Jurisdiction) bool { return slices.Contains(own, j) })
	g.foresee(callers[:min(len(callers), maxExpected)], func(r residency.Region, d *residency.Decision) { g.metrics.seriesOf(r, d) })
}

// places lists those of the regions, and some others.
func (g *Gateway) places(others []residency.Jurisdiction) []residency.Jurisdiction {
	out := slices.Clone(others)
	for i := range g.cfg.Regions {
		out = append(out, g.cfg.Regions[i].Jurisdiction)
	}
	for i := range g.cfg.Elsewhere {
		out = append(out, g.cfg.Elsewhere[i].Jurisdiction)
	}
	return distinct(out)
}

// distinct gives places in order, each once.
func distinct(places []residency.Jurisdiction) []residency.Jurisdiction {
	out := slices.Clone(places)
	slices.SortFunc(out, func(a, b residency.Jurisdiction) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// foresee calls f with every decision that the loaded policies can come to, as far as the metrics tell decisions apart, for
// callers and gateways in some places. One of them may come more than once.
func (g *Gateway) foresee(places []residency.Jurisdiction, f func(residency.Region, *residency.Decision)) {
	places = g.places(places)
	for i := range g.cfg.Regions {
		r := &g.cfg.Regions[i]
		for _, p := range r.Policies {
			for _, to := range places {
				for _, a := range actions {
					if a.comesHome() && to != p.Jurisdiction && len(g.cfg.Elsewhere) == 0 {
						continue
					}
					d := residency.Decision{Action: a.action, DataClass: a.class, From: p.Jurisdiction, To: to}
					for _, o := range g.outcomes(p, &d, a.shape, a.refusals) {
						d.Allow, d.Reason, d.Clause = o.Allow, o.Reason, o.Clause
						f(r.Name, &d)
					}
				}
			}
		}
	}
}

// outcomes gives what a decision can come to: by the policy's table, by what findings say instead, and by what acts know.
func (g *Gateway) outcomes(p *policy.Policy, d *residency.Decision, shape policy.Shape, refusals []refusal) []policy.Outcome {
	out := p.Outcomes(d.Action, d.DataClass, d.To, shape)
	if !slices.ContainsFunc(out, func(o policy.Outcome) bool { return o.Allow }) {
		refusals = nil // an act has its word once the policy has permitted it
	}
	for _, o := range out {
		if o.Allow {
			continue
		}
		for r := range findings {
			if o.Unmet.Has(residency.Requirement(r)) { //nolint:gosec // of 18
				for _, reason := range findings[r] {
					out = append(out, policy.Outcome{Reason: reason, Unmet: o.Unmet, Clause: o.Clause})
				}
			}
		}
		if d.To != d.From && g.passesBy(d.To) {
			out = append(out, policy.Outcome{Reason: residency.UseHomeEndpoint, Unmet: o.Unmet, Clause: o.Clause})
		}
	}
	for _, r := range refusals {
		out = append(out, policy.Outcome{Reason: r.reason, Clause: clauseOf(p, r.clause)})
	}
	if d.Action == residency.Govern && len(refusals) > 0 { // a request that nobody could ever grant, see grantable
		out = append(out, ungrantable(p, d.To)...)
	}
	return placed(p, out)
}

// passesBy reports whether calls may come by a gateway in a place: one that serves a region elsewhere.
func (g *Gateway) passesBy(place residency.Jurisdiction) bool {
	return slices.ContainsFunc(g.cfg.Elsewhere, func(e Elsewhere) bool { return e.Jurisdiction == place })
}

// ungrantable gives the refusals of disclosures that nothing could permit.
func ungrantable(p *policy.Policy, abroad residency.Jurisdiction) (out []policy.Outcome) {
	for _, class := range []residency.DataClass{residency.PersonalInformation, residency.VirtualDriveData} {
		for _, to := range []residency.Jurisdiction{p.Jurisdiction, abroad} {
			for _, o := range p.Outcomes(residency.Disclose, class, to, policy.Shape{Purpose: true, Recipient: true}) {
				if !o.Allow && o.Unmet == 0 {
					out = append(out, o)
				}
			}
		}
	}
	return out
}

// placed adds what a refusal for want of an agreement, or for its place, cites: the clause of the placement.
func placed(p *policy.Policy, out []policy.Outcome) []policy.Outcome {
	var clauses []string
	for _, j := range residency.Jurisdictions() {
		if c := p.Placement(j).Clause; c != "" && !slices.Contains(clauses, c) {
			clauses = append(clauses, c)
		}
	}
	for _, o := range out {
		if o.Unmet.Has(residency.RequireAgreement) || !o.Allow && o.Clause == "" {
			for _, c := range clauses {
				o.Clause = c
				out = append(out, o)
			}
		}
	}
	return out
}
