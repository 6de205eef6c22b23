package main

import (
	"strings"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type disclosureCommands struct {
	Notice        disclosureNotice        `cmd:"" help:"Record that notice of a disclosure to a third party was given."`
	Object        disclosureObject        `cmd:"" help:"Record an objection to disclosures to third parties."`
	LiftObjection disclosureLiftObjection `cmd:"" help:"Lift an objection."`
	Request       disclosureRequest       `cmd:"" help:"Record an authority's request that obliges nobody."`
	Grant         disclosureGrant         `cmd:"" help:"Grant such a request, where the policy lets one be granted."`
	Disclose      disclosureDisclose      `cmd:"" help:"Disclose what the recipient's function, an order or a granted request covers, and record what left."`
	List          disclosureList          `cmd:"" help:"List what was disclosed, newest first."`
}

type disclosureNotice struct {
	TenantID       string                      `arg:"" name:"tenant" help:"The tenant."`
	Recipient      string                      `required:"" placeholder:"ID" help:"The recipient that it speaks of."`
	Purpose        []enum[residencyv1.Purpose] `required:"" placeholder:"PURPOSE" help:"The purposes that it speaks of; may be repeated: ${purposes}."`
	Subject        string                      `placeholder:"ID" xor:"scope" help:"The person whom it was given to; this or --whole-tenant."`
	WholeTenant    bool                        `xor:"scope" help:"It was given to everybody whom the tenant holds information about."`
	NoticeLanguage string                      `required:"" placeholder:"TAG" help:"Its language, for example de-CH."`
	Notice         string                      `placeholder:"FILE" help:"The notice: its digest is recorded."`
	NoticeDigest   string                      `placeholder:"DIGEST" help:"Its digest, instead of the file: sha256: and 64 hexadecimal digits."`
	PeriodEnds     moment                      `placeholder:"TIME" help:"When the period to object is over: a duration such as 720h, or an RFC 3339 time (default 30 days)."`
	requestFlag
}

// Run records the notice.
func (c *disclosureNotice) Run(a *app) error {
	if err := scoped(c.Subject, c.WholeTenant, "a notice says to whom it was given"); err != nil {
		return err
	}
	digest, err := evidenceFlags{Notice: c.Notice, NoticeDigest: c.NoticeDigest}.digest()
	if err != nil {
		return err
	}
	m := &residencyv1.Notice{
		RecipientId: c.Recipient, Purposes: values(c.Purpose), NoticeLanguage: c.NoticeLanguage, NoticeDigest: digest,
		PeriodEndTime: c.PeriodEnds.timestamp(), Scope: &residencyv1.Notice_SubjectId{SubjectId: c.Subject},
	}
	if c.WholeTenant {
		m.Scope = &residencyv1.Notice_WholeTenant{WholeTenant: true}
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.GiveNotice(a.ctx, &residencyv1.GiveNoticeRequest{TenantId: c.TenantID, Notice: m, RequestId: c.RequestID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.Subject)
		}
		if err := a.show(r, r.GetNotice()); err != nil {
			return err
		}
		return a.next("it may be disclosed from " + timeText(r.GetNotice().GetPeriodEndTime()) + " on, unless somebody objects (" + a.hint("disclosure object") + ")")
	})
}

// scoped checks that a person or the whole tenant is named.
func scoped(subject string, wholeTenant bool, why string) error {
	if subject == "" && !wholeTenant {
		return usagef("--subject or --whole-tenant is missing: %s", why)
	}
	return nil
}

type disclosureObject struct {
	TenantID    string `arg:"" name:"tenant" help:"The tenant."`
	Subject     string `placeholder:"ID" xor:"scope" help:"The person whose objection it is; this or --whole-tenant."`
	WholeTenant bool   `xor:"scope" help:"It is the tenant's, for everybody."`
	Recipient   string `placeholder:"ID" help:"The recipient that it is about (default every third party)."`
	requestFlag
}

// Run records the objection.
func (c *disclosureObject) Run(a *app) error {
	if err := scoped(c.Subject, c.WholeTenant, "an objection says whose it is"); err != nil {
		return err
	}
	m := &residencyv1.Objection{RecipientId: c.Recipient, Scope: &residencyv1.Objection_SubjectId{SubjectId: c.Subject}}
	if c.WholeTenant {
		m.Scope = &residencyv1.Objection_WholeTenant{WholeTenant: true}
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RecordObjection(a.ctx, &residencyv1.RecordObjectionRequest{
			TenantId: c.TenantID, Objection: m, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.Subject)
		}
		if err := a.show(r, r.GetObjection()); err != nil {
			return err
		}
		return a.next("it binds from now on, until it is lifted:", a.command("disclosure", "lift-objection", c.TenantID, r.GetObjection().GetObjectionId()))
	})
}

type disclosureLiftObjection struct {
	TenantID    string `arg:"" name:"tenant" help:"The tenant."`
	ObjectionID string `arg:"" name:"objection" help:"The objection."`
	requestFlag
}

// Run lifts the objection.
func (c *disclosureLiftObjection) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.LiftObjection(a.ctx, &residencyv1.LiftObjectionRequest{
			TenantId: c.TenantID, ObjectionId: c.ObjectionID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetObjection())
	})
}

type disclosureRequest struct {
	TenantID   string                      `arg:"" name:"tenant" help:"The tenant."`
	From       string                      `placeholder:"FILE" help:"An InformalRequest in JSON, - for the standard input; flags go on top."`
	Recipient  string                      `placeholder:"ID" help:"The authority, a registered recipient."`
	Class      enum[residencyv1.DataClass] `placeholder:"CLASS" help:"Which data it asks for: ${classes} (default PERSONAL_INFORMATION)."`
	Subject    []string                    `placeholder:"ID" help:"A person that it is about; may be repeated."`
	Field      []string                    `placeholder:"FIELD" help:"A field that it asks for, for example full_name or attributes.NAME; may be repeated."`
	Purpose    enum[residencyv1.Purpose]   `placeholder:"PURPOSE" help:"What it says the information is for: ${purposes}."`
	Reference  string                      `placeholder:"TEXT" help:"What the authority files it under."`
	ValidUntil moment                      `placeholder:"TIME" help:"Until when a grant holds, at most 90 days from now: a duration such as 72h, or an RFC 3339 time."`
	requestFlag
}

// Run records the request.
func (c *disclosureRequest) Run(a *app) error {
	m, err := c.request(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.RecordInformalRequest(a.ctx, &residencyv1.RecordInformalRequestRequest{
			TenantId: c.TenantID, InformalRequest: m, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetInformalRequest()); err != nil {
			return err
		}
		return a.next("it obliges to nothing; somebody else may grant it:",
			a.approvals(1, "disclosure", "grant", c.TenantID, r.GetInformalRequest().GetInformalRequestId())...)
	})
}

func (c *disclosureRequest) request(a *app) (*residencyv1.InformalRequest, error) {
	m := &residencyv1.InformalRequest{}
	if err := a.jsonInto(c.From, m); err != nil {
		return nil, err
	}
	setText(&m.RecipientId, c.Recipient)
	setText(&m.Reference, c.Reference)
	if c.Class.value != 0 {
		m.DataClass = c.Class.value
	}
	if m.DataClass == 0 {
		m.DataClass = residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION
	}
	if c.Purpose.value != 0 {
		m.Purpose = c.Purpose.value
	}
	if len(c.Subject) > 0 {
		m.SubjectIds = c.Subject
	}
	if len(c.Field) > 0 {
		m.Fields = c.Field
	}
	if t := c.ValidUntil.timestamp(); t != nil {
		m.ValidUntil = t
	}
	return m, nil
}

type disclosureGrant struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	RequestOf string `arg:"" name:"request" help:"The request."`
	requestFlag
}

// Run grants the request.
func (c *disclosureGrant) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Disclosures.ApproveInformalRequest(a.ctx, &residencyv1.ApproveInformalRequestRequest{
			TenantId: c.TenantID, InformalRequestId: c.RequestOf, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetInformalRequest()); err != nil {
			return err
		}
		m := r.GetInformalRequest()
		subject := "ID"
		if ids := m.GetSubjectIds(); len(ids) > 0 {
			subject = ids[0]
		}
		return a.next("whoever has disclosures.write can answer it:", a.commandAs(a.beside("admin"), "disclosure", "disclose", c.TenantID, m.GetRecipientId(),
			"--subject", subject, "--purpose", enumText(m.GetPurpose()), "--request", c.RequestOf))
	})
}

type disclosureList struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	Subject   string `placeholder:"ID" help:"Only about this person."`
	Recipient string `placeholder:"ID" help:"Only to this recipient."`
	limitFlag
}

// Run lists the disclosures.
func (c *disclosureList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllDisclosures(a.ctx, &residencyv1.ListDisclosuresRequest{
			TenantId: c.TenantID, SubjectId: c.Subject, RecipientId: c.Recipient, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, c.Subject)
		}
		return list(a, &residencyv1.ListDisclosuresResponse{Disclosures: items}, items, []column[*residencyv1.Disclosure]{
			{"DISCLOSURE", (*residencyv1.Disclosure).GetDisclosureId},
			{"TIME", func(d *residencyv1.Disclosure) string { return timeText(d.GetDiscloseTime()) }},
			{"RECIPIENT", (*residencyv1.Disclosure).GetRecipientId},
			{"ABOUT", func(d *residencyv1.Disclosure) string { return orElse(d.GetSubjectId(), d.GetDriveId()) }},
			{"PURPOSE", func(d *residencyv1.Disclosure) string { return enumText(d.GetPurpose()) }},
			{"RESTS ON", basisText},
			{"FIELDS", func(d *residencyv1.Disclosure) string { return strings.Join(d.GetFields(), ",") }},
			{"RECORDS", func(d *residencyv1.Disclosure) string { return numberText(d.GetRecords()) }},
			{"BYTES", func(d *residencyv1.Disclosure) string { return numberText(d.GetBytes()) }},
			{"END", (*residencyv1.Disclosure).GetEnd},
		})
	})
}

// basisText says what a disclosure rested on beside the recipient's function.
func basisText(d *residencyv1.Disclosure) string {
	switch {
	case d.GetOrderId() != "":
		return "order " + d.GetOrderId()
	case d.GetInformalRequestId() != "":
		return "request " + d.GetInformalRequestId()
	case d.GetConsentId() != "":
		return "consent " + d.GetConsentId()
	}
	return "function"
}
