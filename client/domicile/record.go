package main

import (
	"maps"
	"strings"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type recordCommands struct {
	Put      recordPut      `cmd:"" help:"Create or replace a record."`
	Get      recordGet      `cmd:"" help:"Read one record."`
	List     recordList     `cmd:"" help:"List a subject's records."`
	Subjects recordSubjects `cmd:"" help:"List a tenant's subjects."`
	Find     recordFind     `cmd:"" help:"Find records by an exact e-mail address or phone number."`
	Delete   recordDelete   `cmd:"" help:"Delete a record."`

	Restrict    recordRestrict    `cmd:"" help:"Take purposes away from what is held about a person."`
	Lift        recordLift        `cmd:"" help:"Give purposes back."`
	Object      recordObject      `cmd:"" help:"Decline automatic collection about a person."`
	Unobject    recordUnobject    `cmd:"" help:"Allow automatic collection again."`
	ReportChild recordReportChild `cmd:"" help:"Report that a person is a child: without a parent's consent everything is erased."`
	Export      recordExport      `cmd:"" help:"Write everything that is held about a person to a file."`
	Erase       recordErase       `cmd:"" help:"Destroy everything that is held about a person, the key at once."`
}

// purposeFlag is what data is used for; the gateway refuses a use without one.
type purposeFlag struct {
	Purpose enum[residencyv1.Purpose] `placeholder:"PURPOSE" help:"What for, without which the gateway refuses: ${purposes}."`
}

type recordPut struct {
	TenantID        string                      `arg:"" name:"tenant" help:"The tenant."`
	SubjectID       string                      `arg:"" name:"subject" optional:"" help:"The person's identifier within the tenant: a pseudonym."`
	RecordID        string                      `arg:"" name:"record" optional:"" help:"The record's identifier (default chosen by the gateway)."`
	From            string                      `placeholder:"FILE" help:"A PersonalRecord in JSON, - for the standard input; flags go on top. Unlike flags, files are seen by nobody else on this machine."`
	FullName        string                      `placeholder:"TEXT" help:"The person's name." group:"What the record says"`
	PostalAddress   string                      `placeholder:"TEXT" help:"The person's postal address." group:"What the record says"`
	PhoneNumber     string                      `placeholder:"TEXT" help:"The person's phone number." group:"What the record says"`
	EmailAddress    string                      `placeholder:"TEXT" help:"The person's e-mail address." group:"What the record says"`
	Attribute       map[string]string           `placeholder:"NAME=VALUE" mapsep:"none" help:"Whatever else identifies the person; may be repeated." group:"What the record says"`
	BirthDate       string                      `placeholder:"DATE" help:"The person's date of birth, as 1990-12-31." group:"What the record says"`
	Residence       string                      `placeholder:"CODE" help:"Where the person resides (ISO 3166-1 alpha-2)." group:"What the record says"`
	Source          enum[residencyv1.Source]    `placeholder:"SOURCE" help:"Where it came from: ${sources}."`
	SourceParty     string                      `placeholder:"TEXT" help:"The third party that it came from, for THIRD_PARTY."`
	Purpose         []enum[residencyv1.Purpose] `placeholder:"PURPOSE" help:"What it was provided for; may be repeated: ${purposes}."`
	Expires         moment                      `placeholder:"TIME" help:"When the record ends: a duration such as 720h, or an RFC 3339 time. Required for AUTOMATIC."`
	ExpectedVersion *int64                      `placeholder:"N" help:"The version that is replaced, 0 = it must not exist yet (default whatever is there)."`
	RequestID       string                      `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run writes the record.
func (c *recordPut) Run(a *app) error {
	record, err := c.record(a)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		r, err := g.Records.PutRecord(a.ctx, &residencyv1.PutRecordRequest{
			TenantId: c.TenantID, Record: record, ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, record.GetSubjectId())
		}
		return a.show(r, r)
	})
}

func (c *recordPut) record(a *app) (*residencyv1.PersonalRecord, error) {
	r := &residencyv1.PersonalRecord{}
	if err := a.jsonInto(c.From, r); err != nil {
		return nil, err
	}
	if r.Personal == nil {
		r.Personal = &residencyv1.Personal{}
	}
	c.personal(r.GetPersonal())
	setText(&r.SubjectId, c.SubjectID)
	setText(&r.RecordId, c.RecordID)
	setText(&r.SourceParty, c.SourceParty)
	setText(&r.Residence, c.Residence)
	if c.Source.value != 0 {
		r.Source = c.Source.value
	}
	if len(c.Purpose) > 0 {
		r.Purposes = values(c.Purpose)
	}
	if t := c.Expires.timestamp(); t != nil {
		r.ExpireTime = t
	}
	born, err := date("--birth-date", c.BirthDate)
	if born != nil {
		r.BirthDate = born
	}
	if err != nil {
		return nil, err
	}
	return r, complete(r)
}

// complete refuses a record that is about nobody or says nothing.
func complete(r *residencyv1.PersonalRecord) error {
	p := r.GetPersonal()
	switch {
	case r.GetSubjectId() == "":
		return usagef("SUBJECT is missing: name it after the tenant, or in the file as \"subject_id\"")
	case p.GetFullName()+p.GetPostalAddress()+p.GetPhoneNumber()+p.GetEmailAddress() == "" && len(p.GetAttributes()) == 0 &&
		r.GetBirthDate() == nil && r.GetResidence() == "":
		return usagef("the record says nothing: give at least one of --full-name, --postal-address, --phone-number, " +
			"--email-address, --attribute, --birth-date and --residence, or --from a file with \"personal\"")
	}
	return nil
}

func (c *recordPut) personal(p *residencyv1.Personal) {
	setText(&p.FullName, c.FullName)
	setText(&p.PostalAddress, c.PostalAddress)
	setText(&p.PhoneNumber, c.PhoneNumber)
	setText(&p.EmailAddress, c.EmailAddress)
	if len(c.Attribute) > 0 && p.Attributes == nil {
		p.Attributes = map[string]string{}
	}
	maps.Copy(p.Attributes, c.Attribute)
}

type recordGet struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID string `arg:"" name:"subject" help:"The person."`
	RecordID  string `arg:"" name:"record" help:"The record."`
	purposeFlag
}

// Run reads the record.
func (c *recordGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.GetRecord(a.ctx, &residencyv1.GetRecordRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RecordId: c.RecordID, Purpose: c.Purpose.value,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.show(r, r.GetRecord())
	})
}

type recordList struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID string `arg:"" name:"subject" help:"The person."`
	purposeFlag
	limitFlag
}

// Run lists the records.
func (c *recordList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllRecords(a.ctx, &residencyv1.ListRecordsRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, Purpose: c.Purpose.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return list(a, &residencyv1.ListRecordsResponse{Records: items}, items, recordColumns)
	})
}

var recordColumns = []column[*residencyv1.PersonalRecord]{
	{"SUBJECT", (*residencyv1.PersonalRecord).GetSubjectId},
	{"RECORD", (*residencyv1.PersonalRecord).GetRecordId},
	{"NAME", func(r *residencyv1.PersonalRecord) string { return r.GetPersonal().GetFullName() }},
	{"SOURCE", func(r *residencyv1.PersonalRecord) string { return enumText(r.GetSource()) }},
	{"PURPOSES", func(r *residencyv1.PersonalRecord) string { return enumTexts(r.GetPurposes()) }},
	{"VERSION", func(r *residencyv1.PersonalRecord) string { return numberText(r.GetVersion()) }},
	{"COLLECTED", func(r *residencyv1.PersonalRecord) string { return timeText(r.GetCollectTime()) }},
}

type recordSubjects struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	purposeFlag
	limitFlag
}

// Run lists the subjects.
func (c *recordSubjects) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllSubjects(a.ctx, &residencyv1.ListSubjectsRequest{
			TenantId: c.TenantID, Purpose: c.Purpose.value, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListSubjectsResponse{Subjects: items}, items, []column[*residencyv1.Subject]{
			{"SUBJECT", (*residencyv1.Subject).GetSubjectId},
			{"CREATED", func(s *residencyv1.Subject) string { return timeText(s.GetCreateTime()) }},
		})
	})
}

type recordFind struct {
	TenantID     string `arg:"" name:"tenant" help:"The tenant."`
	EmailAddress string `xor:"key" placeholder:"TEXT" help:"The e-mail address to find, - to read it from the standard input; this or --phone-number."`
	PhoneNumber  string `xor:"key" placeholder:"TEXT" help:"The phone number to find, - to read it from the standard input; this or --email-address."`
	purposeFlag
	limitFlag
}

// Run finds the records.
func (c *recordFind) Run(a *app) error {
	req := &residencyv1.FindRecordsRequest{TenantId: c.TenantID, Purpose: c.Purpose.value, PageSize: c.page()}
	if err := c.key(a, req); err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllFound(a.ctx, req))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.FindRecordsResponse{Records: items}, items, recordColumns)
	})
}

func (c *recordFind) key(a *app, req *residencyv1.FindRecordsRequest) error {
	key := c.EmailAddress + c.PhoneNumber // one of the two
	if key == "" {
		return usagef("--email-address or --phone-number is missing: say what to find, - to read it from the standard input")
	}
	if key == "-" {
		line, err := a.readFile("-")
		if err != nil {
			return err
		}
		key = strings.TrimSpace(string(line))
	}
	if c.EmailAddress != "" {
		req.Key = &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: key}
	} else {
		req.Key = &residencyv1.FindRecordsRequest_PhoneNumber{PhoneNumber: key}
	}
	return nil
}

type recordDelete struct {
	TenantID        string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID       string `arg:"" name:"subject" help:"The person."`
	RecordID        string `arg:"" name:"record" help:"The record."`
	ExpectedVersion *int64 `placeholder:"N" help:"The version that is deleted (default whatever is there)."`
	RequestID       string `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run deletes the record.
func (c *recordDelete) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.DeleteRecord(a.ctx, &residencyv1.DeleteRecordRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RecordId: c.RecordID,
			ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.done(r, "deleted")
	})
}
