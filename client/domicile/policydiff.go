package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

type policyDiff struct {
	From        string `arg:"" name:"file|region" help:"The earlier policy: a file, or one of those that come with the program, and no gateway is asked; or a region, whose gateway then compares."`
	To          string `arg:"" name:"file|version" help:"The later policy: a file or, of a region, one of its versions."`
	FromVersion string `placeholder:"VERSION" help:"The region's earlier version (default the one in force)."`
	Tenant      string `placeholder:"ID" help:"Ask the gateway for this tenant's active consents, and list those that the later file voids."`
}

// Run says what the later policy decides otherwise, and which consents it voids.
func (c *policyDiff) Run(a *app) error {
	if !isFile(c.From) {
		return c.online(a)
	}
	if c.FromVersion != "" {
		return usagef("--from-version is of a region: a file has one version")
	}
	policies, err := parsePolicies([]string{c.From, c.To})
	if err != nil {
		return err
	}
	from, to := policies[0], policies[1]
	var voided []voidedConsent
	if c.Tenant != "" {
		if voided, err = c.voidedOf(a, from, to); err != nil {
			return err
		}
	}
	d := policy.Compare(from, to)
	if a.flags.Output == "json" {
		return c.json(a, d, voided)
	}
	if _, err := fmt.Fprint(a.stdout, d.String()); err != nil {
		return err
	}
	a.noteVersions(policies)
	if c.Tenant == "" {
		return nil
	}
	return c.printVoided(a, voided)
}

// voidedConsent is a recorded consent that the later policy voids, and why.
type voidedConsent struct {
	*residencyv1.Consent
	clause string
}

func (c *policyDiff) json(a *app, d policy.Difference, voided []voidedConsent) error {
	difference := differenceProto(d)
	if c.Tenant == "" {
		return a.json(difference)
	}
	var out struct {
		Difference json.RawMessage `json:"difference"`
		Tenant     json.RawMessage `json:"voided_of_tenant"`
	}
	list := &residencyv1.ListConsentsResponse{}
	for _, v := range voided {
		list.Consents = append(list.Consents, v.Consent)
	}
	var err error
	if out.Difference, err = stableJSON(difference); err != nil {
		return err
	}
	if out.Tenant, err = stableJSON(list); err != nil {
		return err
	}
	return a.value(out)
}

func (c *policyDiff) printVoided(a *app, voided []voidedConsent) error {
	if len(voided) == 0 {
		_, err := fmt.Fprintf(a.stdout, "\nOf tenant %s no active consent is voided.\n", c.Tenant)
		return err
	}
	fmt.Fprintf(a.stdout, "\nOf tenant %s these active consents are voided:\n", c.Tenant)
	return list(a, nil, voided, []column[voidedConsent]{
		{"CONSENT", func(v voidedConsent) string { return v.GetConsentId() }},
		{"KIND", func(v voidedConsent) string { return enumText(v.GetKind()) }},
		{"SCOPE", func(v voidedConsent) string { return scopeText(v.Consent) }},
		{"CLASSES", func(v voidedConsent) string { return enumTexts(v.GetDataClasses()) }},
		{"WAY", func(v voidedConsent) string { return wayText(v.GetFromJurisdiction(), v.GetToJurisdiction()) }},
		{"PURPOSES", func(v voidedConsent) string { return enumTexts(v.GetPurposes()) }},
		{"RECORDED UNDER", func(v voidedConsent) string { return v.GetPolicyVersion() }},
		{"CLAUSE", func(v voidedConsent) string { return v.clause }},
	})
}

// voidedOf lists the tenant's active consents that the later policy voids.
func (c *policyDiff) voidedOf(a *app, from, to *policy.Policy) ([]voidedConsent, error) {
	var out []voidedConsent
	err := a.call(func(g *client.Client) error {
		for m, err := range g.AllConsents(a.ctx, &residencyv1.ListConsentsRequest{
			TenantId: c.Tenant, State: residencyv1.ConsentState_CONSENT_STATE_ACTIVE, PageSize: largestPage,
		}) {
			if err != nil {
				return a.about(err, c.Tenant, "")
			}
			if clause := voidedUnder(m, from, to); clause != "" {
				out = append(out, voidedConsent{m, clause})
			}
		}
		return nil
	})
	return out, err
}

// voidedUnder gives the clause under which the later policy voids a consent, "" when it does not: one that
// is given where the policy is, or an agreement to be held there. Of one recorded under neither version
// every use is assumed.
func voidedUnder(m *residencyv1.Consent, from, to *policy.Policy) string {
	home := to.Jurisdiction.String()
	held := m.GetKind() == residencyv1.ConsentKind_CONSENT_KIND_RESIDENCE_AGREEMENT && m.GetToJurisdiction() == home
	if m.GetFromJurisdiction() != home && !held {
		return ""
	}
	var earlier *policy.Policy
	switch m.GetPolicyVersion() {
	case from.Version:
		earlier = from
	case to.Version:
		return ""
	}
	var classes residency.DataClasses
	for _, class := range m.GetDataClasses() {
		classes |= residency.DataClassSet(residency.DataClass(class))
	}
	var purposes residency.Purposes
	for _, purpose := range m.GetPurposes() {
		purposes |= residency.PurposeSet(residency.Purpose(purpose))
	}
	leads, err := residency.ParseJurisdiction(m.GetToJurisdiction())
	if err != nil {
		leads = residency.Jurisdiction{} // it is given at home
	}
	_, clause := to.Voids(earlier, residency.ConsentKind(m.GetKind()), classes, leads, purposes)
	return clause
}

// online lets the gateway compare: a version that it has, or a file that is not in force anywhere yet.
func (c *policyDiff) online(a *app) error {
	if c.Tenant != "" {
		return usagef("--tenant goes with two files")
	}
	req := &residencyv1.ComparePoliciesRequest{Region: c.From, FromVersion: c.FromVersion}
	text, err := policyFile(c.To)
	switch {
	case err == nil:
		req.To = &residencyv1.ComparePoliciesRequest_Candidate{Candidate: text}
	case strings.ContainsAny(c.To, "/\\") || strings.HasSuffix(c.To, ".yaml"):
		return err
	default:
		req.To = &residencyv1.ComparePoliciesRequest_ToVersion{ToVersion: c.To}
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Policies.ComparePolicies(a.ctx, req)
		if err != nil {
			return err
		}
		if a.flags.Output == "json" {
			return a.json(r)
		}
		if r.GetSummary() == "" {
			return errors.New("the gateway gave no summary: ask for -o json")
		}
		_, err = fmt.Fprint(a.stdout, r.GetSummary())
		return err
	})
}

// differenceProto puts a difference into the interface's terms, so that programs read one form
// whether a gateway was asked or not.
func differenceProto(d policy.Difference) *residencyv1.ComparePoliciesResponse {
	out := &residencyv1.ComparePoliciesResponse{
		FromVersion: d.From, ToVersion: d.To, EffectiveTime: timestamppb.New(d.Effective),
		Compared: int64(d.Compared), Changed: int64(d.Changed), Summary: d.String(),
	}
	for _, c := range d.Changes {
		out.Changes = append(out.Changes, &residencyv1.PolicyChange{
			Direction: residencyv1.ChangeDirection(c.Direction), Accesses: c.Accesses, Decisions: int64(c.Decisions), Before: c.Before, After: c.After,
		})
	}
	for _, v := range d.Voided {
		out.Voided = append(out.Voided, &residencyv1.VoidedConsents{
			Kind: residencyv1.ConsentKind(v.Kind), DataClass: residencyv1.DataClass(v.DataClass), To: v.To,
			Purpose: residencyv1.Purpose(v.Purpose), Clause: v.Clause,
		})
	}
	return out
}
