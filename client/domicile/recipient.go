package main

import (
	"fmt"
	"strings"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type recipientCommands struct {
	Register recipientRegister `cmd:"" help:"Register somebody outside the company who may receive data."`
	Update   recipientUpdate   `cmd:"" help:"Replace a recipient's functions and safeguard; registers a revoked one again. Name, kind and jurisdiction stay."`
	List     recipientList     `cmd:"" help:"List a tenant's recipients, revoked ones too."`
	Revoke   recipientRevoke   `cmd:"" help:"End a recipient's registration: nothing more is disclosed to it."`
}

// functionFlag is a function of a recipient: PURPOSE=FIELD,FIELD….
type functionFlag struct{ *residencyv1.RecipientFunction }

// UnmarshalText reads a function.
func (f *functionFlag) UnmarshalText(text []byte) error {
	purpose, fields, ok := strings.Cut(string(text), "=")
	if !ok || fields == "" {
		return fmt.Errorf("want PURPOSE=FIELD,FIELD…, for example PAYMENTS=full_name,postal_address")
	}
	var p enum[residencyv1.Purpose]
	if err := p.UnmarshalText([]byte(purpose)); err != nil {
		return err
	}
	f.RecipientFunction = &residencyv1.RecipientFunction{Purpose: p.value, Fields: strings.Split(fields, ",")}
	return nil
}

// recipientFlags describe a recipient.
type recipientFlags struct {
	TenantID       string                          `arg:"" name:"tenant" help:"The tenant."`
	RecipientID    string                          `arg:"" name:"recipient" optional:"" help:"The recipient's identifier, chosen by you."`
	From           string                          `placeholder:"FILE" help:"A Recipient in JSON, - for the standard input; flags go on top."`
	Name           string                          `placeholder:"TEXT" help:"Its name."`
	Kind           enum[residencyv1.RecipientKind] `placeholder:"KIND" help:"What kind of party it is: ${recipients}."`
	Jurisdiction   string                          `placeholder:"CODE" help:"Where it is (ISO 3166-1 alpha-2)."`
	Function       []functionFlag                  `sep:"none" placeholder:"PURPOSE=FIELDS" help:"What it does, and the fields of a record that it needs for that, as full_name,attributes.NAME; may be repeated. Authorities have none."`
	Safeguard      string                          `placeholder:"TEXT" help:"What the agreement that it protects the data is filed under."`
	SafeguardUntil moment                          `placeholder:"TIME" help:"Until when that holds: a duration such as 8760h, or an RFC 3339 time."`
	requestFlag
}

func (c *recipientFlags) recipient(a *app) (*residencyv1.Recipient, error) {
	m := &residencyv1.Recipient{}
	if err := a.jsonInto(c.From, m); err != nil {
		return nil, err
	}
	setText(&m.RecipientId, c.RecipientID)
	setText(&m.Name, c.Name)
	setText(&m.Jurisdiction, c.Jurisdiction)
	if c.Kind.value != 0 {
		m.Kind = c.Kind.value
	}
	if len(c.Function) > 0 {
		m.Functions = nil
		for _, f := range c.Function {
			m.Functions = append(m.Functions, f.RecipientFunction)
		}
	}
	if c.Safeguard != "" || !c.SafeguardUntil.IsZero() {
		if m.Safeguard == nil {
			m.Safeguard = &residencyv1.Safeguard{}
		}
		setText(&m.Safeguard.Reference, c.Safeguard)
		if t := c.SafeguardUntil.timestamp(); t != nil {
			m.Safeguard.ValidUntil = t
		}
	}
	if m.GetRecipientId() == "" {
		return nil, usagef("RECIPIENT is missing: name it after the tenant, or in the file as \"recipient_id\"")
	}
	return m, nil
}

type recipientRegister struct{ recipientFlags }

// Run registers the recipient.
func (c *recipientRegister) Run(a *app) error {
	recipient, err := c.recipient(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RegisterRecipient(a.ctx, &residencyv1.RegisterRecipientRequest{
			TenantId: c.TenantID, Recipient: recipient, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetRecipient()); err != nil {
			return err
		}
		return a.afterRecipient(c.TenantID, r.GetRecipient())
	})
}

// afterRecipient says what is still needed before anything may be disclosed.
func (a *app) afterRecipient(tenant string, r *residencyv1.Recipient) error {
	id := r.GetRecipientId()
	switch r.GetKind() {
	case residencyv1.RecipientKind_RECIPIENT_KIND_LAW_ENFORCEMENT, residencyv1.RecipientKind_RECIPIENT_KIND_PUBLIC_AUTHORITY:
		return a.next("an authority receives data under a recorded order (" + a.hint("order record") + ") or, where the policy grants them, a request (" + a.hint("disclosure request") + "), for which it needs a safeguard too")
	}
	if r.GetSafeguard() == nil {
		return a.next("nothing is disclosed without an agreement to protect it:",
			a.command("recipient", "update", tenant, id)+" … --safeguard REFERENCE --safeguard-until TIME")
	}
	if r.GetKind() == residencyv1.RecipientKind_RECIPIENT_KIND_THIRD_PARTY {
		return a.next("give notice to whom it is about, and wait for the period's end:",
			a.command("disclosure", "notice", tenant, "--recipient", id)+" --purpose PURPOSE --subject ID --notice-language de --notice FILE")
	}
	return nil
}

type recipientUpdate struct {
	recipientFlags
	ExpectedVersion *int64 `placeholder:"N" help:"The version that is changed (default whatever is there)."`
}

// Run replaces the functions and the safeguard.
func (c *recipientUpdate) Run(a *app) error {
	recipient, err := c.recipient(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.UpdateRecipient(a.ctx, &residencyv1.UpdateRecipientRequest{
			TenantId: c.TenantID, Recipient: recipient, ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetRecipient())
	})
}

type recipientList struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	limitFlag
}

// Run lists the recipients.
func (c *recipientList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllRecipients(a.ctx, &residencyv1.ListRecipientsRequest{TenantId: c.TenantID, PageSize: c.page()}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListRecipientsResponse{Recipients: items}, items, []column[*residencyv1.Recipient]{
			{"RECIPIENT", (*residencyv1.Recipient).GetRecipientId},
			{"NAME", (*residencyv1.Recipient).GetName},
			{"KIND", func(r *residencyv1.Recipient) string { return enumText(r.GetKind()) }},
			{"IN", (*residencyv1.Recipient).GetJurisdiction},
			{"PURPOSES", func(r *residencyv1.Recipient) string {
				var out []residencyv1.Purpose
				for _, f := range r.GetFunctions() {
					out = append(out, f.GetPurpose())
				}
				return enumTexts(out)
			}},
			{"SAFEGUARD UNTIL", func(r *residencyv1.Recipient) string { return timeText(r.GetSafeguard().GetValidUntil()) }},
			{"STATE", func(r *residencyv1.Recipient) string { return enumText(r.GetState()) }},
			{"VERSION", func(r *residencyv1.Recipient) string { return numberText(r.GetVersion()) }},
		})
	})
}

type recipientRevoke struct {
	TenantID    string `arg:"" name:"tenant" help:"The tenant."`
	RecipientID string `arg:"" name:"recipient" help:"The recipient."`
	requestFlag
}

// Run ends the registration.
func (c *recipientRevoke) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RevokeRecipient(a.ctx, &residencyv1.RevokeRecipientRequest{
			TenantId: c.TenantID, RecipientId: c.RecipientID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetRecipient())
	})
}
