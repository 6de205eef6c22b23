package main

import (
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type consentCommands struct {
	Grant    consentGrant    `cmd:"" help:"Record a consent, as a caller in the jurisdiction that it leads from."`
	Get      consentGet      `cmd:"" help:"Show one consent."`
	List     consentList     `cmd:"" help:"List a tenant's consents, newest first."`
	Withdraw consentWithdraw `cmd:"" help:"Take a consent back, from anywhere."`
	Receipt  consentReceipt  `cmd:"" help:"Print a consent's receipt, a JSON-LD document with its whole history."`
}

type consentGrant struct {
	TenantID         string                        `arg:"" name:"tenant" help:"The tenant."`
	From             string                        `placeholder:"FILE" help:"A Consent in JSON, - for the standard input; flags go on top."`
	Kind             enum[residencyv1.ConsentKind] `placeholder:"KIND" help:"What it permits: ${kinds}."`
	Subject          string                        `placeholder:"ID" xor:"scope" help:"One person's data."`
	WholeTenant      bool                          `xor:"scope" help:"All of the tenant's data."`
	Class            []enum[residencyv1.DataClass] `placeholder:"CLASS" help:"Which data; may be repeated: ${classes}."`
	FromJurisdiction string                        `placeholder:"CODE" help:"Where it leads from: the tenant's home, for example CH."`
	ToJurisdiction   string                        `placeholder:"CODE" help:"Where it leads to, for example US."`
	Purpose          []enum[residencyv1.Purpose]   `placeholder:"PURPOSE" help:"What for; may be repeated: ${purposes}."`
	Recipient        []string                      `placeholder:"ID" help:"A recipient that it also covers; may be repeated."`
	Supersedes       string                        `placeholder:"ID" help:"The consent that it replaces."`
	Expires          moment                        `placeholder:"TIME" help:"When it ends by itself: a duration such as 720h, or an RFC 3339 time (default as the policy says)."`
	Evidence         evidenceFlags                 `embed:"" group:"How it is known"`
	RequestID        string                        `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run records the consent.
func (c *consentGrant) Run(a *app) error {
	consent, err := c.consent(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Consents.GrantConsent(a.ctx, &residencyv1.GrantConsentRequest{
			TenantId: c.TenantID, Consent: consent, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, consent.GetSubjectId())
		}
		return a.show(r, r.GetConsent())
	})
}

func (c *consentGrant) consent(a *app) (*residencyv1.Consent, error) {
	m := &residencyv1.Consent{}
	if err := a.jsonInto(c.From, m); err != nil {
		return nil, err
	}
	if c.Kind.value != 0 {
		m.Kind = c.Kind.value
	}
	if c.Subject != "" {
		m.Scope = &residencyv1.Consent_SubjectId{SubjectId: c.Subject}
	} else if c.WholeTenant {
		m.Scope = &residencyv1.Consent_WholeTenant{WholeTenant: true}
	}
	if m.GetScope() == nil {
		return nil, usagef("--subject or --whole-tenant is missing: a consent says whose data it is about")
	}
	if len(c.Class) > 0 {
		m.DataClasses = values(c.Class)
	}
	if len(c.Purpose) > 0 {
		m.Purposes = values(c.Purpose)
	}
	if len(c.Recipient) > 0 {
		m.Recipients = c.Recipient
	}
	setText(&m.FromJurisdiction, c.FromJurisdiction)
	setText(&m.ToJurisdiction, c.ToJurisdiction)
	setText(&m.Supersedes, c.Supersedes)
	if t := c.Expires.timestamp(); t != nil {
		m.ExpireTime = t
	}
	evidence, err := c.Evidence.evidence(m.GetEvidence())
	m.Evidence = evidence
	return m, err
}

type consentGet struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	ConsentID string `arg:"" name:"consent" help:"The consent."`
}

// Run shows the consent.
func (c *consentGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Consents.GetConsent(a.ctx, &residencyv1.GetConsentRequest{TenantId: c.TenantID, ConsentId: c.ConsentID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetConsent())
	})
}

type consentList struct {
	TenantID string                         `arg:"" name:"tenant" help:"The tenant."`
	Subject  string                         `placeholder:"ID" help:"Only those of this person."`
	State    enum[residencyv1.ConsentState] `placeholder:"STATE" help:"Only those in this state: ${states}."`
	limitFlag
}

// Run lists the consents.
func (c *consentList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllConsents(a.ctx, &residencyv1.ListConsentsRequest{
			TenantId: c.TenantID, SubjectId: c.Subject, State: c.State.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, c.Subject)
		}
		return list(a, &residencyv1.ListConsentsResponse{Consents: items}, items, []column[*residencyv1.Consent]{
			{"CONSENT", (*residencyv1.Consent).GetConsentId},
			{"KIND", func(m *residencyv1.Consent) string { return enumText(m.GetKind()) }},
			{"SCOPE", scopeText},
			{"CLASSES", func(m *residencyv1.Consent) string { return enumTexts(m.GetDataClasses()) }},
			{"WAY", func(m *residencyv1.Consent) string { return wayText(m.GetFromJurisdiction(), m.GetToJurisdiction()) }},
			{"PURPOSES", func(m *residencyv1.Consent) string { return enumTexts(m.GetPurposes()) }},
			{"STATE", func(m *residencyv1.Consent) string { return enumText(m.GetState()) }},
			{"EXPIRES", func(m *residencyv1.Consent) string { return timeText(m.GetExpireTime()) }},
		})
	})
}

func scopeText(m *residencyv1.Consent) string {
	if m.GetWholeTenant() {
		return "whole tenant"
	}
	return m.GetSubjectId()
}

type consentWithdraw struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	ConsentID string `arg:"" name:"consent" help:"The consent."`
	RequestID string `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run takes the consent back.
func (c *consentWithdraw) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		began := time.Now()
		r, err := g.Consents.WithdrawConsent(a.ctx, &residencyv1.WithdrawConsentRequest{
			TenantId: c.TenantID, ConsentId: c.ConsentID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r); err != nil {
			return err
		}
		return a.note("no gateway begins to send anything that relied on it; answered after " + time.Since(began).Round(time.Millisecond).String())
	})
}
