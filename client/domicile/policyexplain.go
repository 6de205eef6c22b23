package main

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

type policyExplain struct {
	Of        string                          `arg:"" name:"region|file" help:"The region whose policy is asked or, without a gateway, a policy file: of this path, or of those that come with the program. A file's name has a dot or a slash, a region's has none."`
	Version   string                          `placeholder:"VERSION" help:"The region's version (default the one in force)."`
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
	if isFile(c.Of) {
		return c.offline(a)
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Policies.Explain(a.ctx, &residencyv1.ExplainRequest{
			Region: c.Of, Version: c.Version, Action: c.Action.value, DataClass: c.Class.value, ToJurisdiction: c.To,
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

// explained is a file's answer as programs read it: the interface's names, and where the file has it.
type explained struct {
	Outcome       string     `json:"outcome"`
	Requirements  []required `json:"requirements,omitempty"`
	Clause        string     `json:"clause,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	Explanation   string     `json:"explanation"`
	PolicyVersion string     `json:"policy_version"`
	PolicyDigest  string     `json:"policy_digest"`
	Line          int        `json:"line,omitempty"`
}

type required struct {
	Name   string `json:"name"`
	Clause string `json:"clause"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
	Line   int    `json:"line"`
}

// offline asks a policy file.
func (c *policyExplain) offline(a *app) error {
	if c.Version != "" {
		return usagef("--version is of a region: a file has one version")
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	p, err := parsePolicy(c.Of)
	if err != nil {
		return err
	}
	e := newExplained(p, q)
	if a.flags.Output == "json" {
		return a.value(e)
	}
	return e.print(a, c.Of)
}

// query puts the flags into the policy's terms: the numbers of the enumerations are the protos'.
func (c *policyExplain) query() (policy.Query, error) {
	q := policy.Query{
		Action: residency.Action(c.Action.value), DataClass: residency.DataClass(c.Class.value), Purpose: residency.Purpose(c.Purpose.value),
		Source: residency.Source(c.Source.value), Recipient: residency.RecipientKind(c.Recipient.value), Party: residency.Party(c.Party.value),
	}
	if c.To == "" {
		return q, nil
	}
	to, err := residency.ParseJurisdiction(c.To)
	if err != nil {
		return q, usagef("--to: %v", err)
	}
	q.To = to
	return q, nil
}

func newExplained(p *policy.Policy, q policy.Query) explained {
	e := p.Explain(q)
	out := explained{
		Outcome: "OUTCOME_DENY", Clause: e.Clause, Reason: e.Reason.String(), Explanation: e.Sentence,
		PolicyVersion: p.Version, PolicyDigest: p.Digest, Line: e.Line,
	}
	if e.Allow {
		out.Outcome, out.Reason = "OUTCOME_ALLOW", ""
	}
	for _, d := range e.Requirements {
		out.Requirements = append(out.Requirements, required{d.Requirement.String(), d.Clause, d.Reason.String(), d.Remedy, d.Line})
	}
	return out
}

func (e explained) print(a *app, file string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	outcome := "DENY"
	if e.Outcome == "OUTCOME_ALLOW" {
		outcome = "ALLOW"
	}
	for _, f := range []field{
		{"outcome", outcome}, {"clause", e.Clause}, {"reason", e.Reason}, {"explanation", e.Explanation},
		{"policy_version", e.PolicyVersion}, {"policy_digest", e.PolicyDigest}, {"rule", fmt.Sprintf("%s:%d", file, e.Line)},
	} {
		if f.value != "" {
			writeRow(w, []string{f.name, f.value})
		}
	}
	if err := w.Flush(); err != nil || len(e.Requirements) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	w = tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	writeRow(w, []string{"REQUIRES", "CLAUSE", "LINE", "ELSE", "REMEDY"})
	for _, r := range e.Requirements {
		writeRow(w, []string{r.Name, r.Clause, strconv.Itoa(r.Line), r.Reason, r.Remedy})
	}
	return w.Flush()
}
