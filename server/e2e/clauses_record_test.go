package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// testPersonalFields: each field of a record is personal information. It comes back to whoever
// may read it, does not cross the border, and appears in no log, metric, error, file or file name.
func testPersonalFields(c *clause) {
	secret := "pi" + randomID() + randomID()
	r := &residencyv1.PersonalRecord{
		SubjectId: secret + "-subject", RecordId: secret + "-record",
		Personal: &residencyv1.Personal{
			FullName: secret + " name", PostalAddress: secret + " street", EmailAddress: secret + "@example.org",
			PhoneNumber: "+1 212 555 0175 ext " + secret, Attributes: map[string]string{secret + " key": secret + " value"},
		},
		Source: residencyv1.Source_SOURCE_THIRD_PARTY, SourceParty: secret + " party", Purposes: []residencyv1.Purpose{payments},
		BirthDate: &residencyv1.Date{Year: 1971, Month: 2, Day: 3}, Residence: "LI",
	}
	c.allow("writing", c.put(c.app, r), "")
	got, err := c.app.Records.GetRecord(c.Context(), &residencyv1.GetRecordRequest{
		TenantId: c.tenant, SubjectId: r.SubjectId, RecordId: r.RecordId, Purpose: payments,
	})
	if err != nil {
		c.Fatal(err)
	}
	got.Record.CollectTime, got.Record.Version, got.Record.Controller = nil, 0, ""
	if !proto.Equal(got.Record, r) {
		c.Errorf("read %v, written was %v", got.Record, r)
	}
	consent := of(c.crossing(personal, enquiries), r.SubjectId)
	consent.Evidence.Grantor, consent.Evidence.Method = secret+" grantor", secret+" method"
	c.grant(consent)
	c.deny("reading from abroad", c.get(c.foreignApp, r.SubjectId, r.RecordId, payments), "CROSS_BORDER_CONSENT_REQUIRED", "product/border")
	bad := proto.Clone(r).(*residencyv1.PersonalRecord)
	bad.Residence, bad.Personal.FullName = secret, strings.Repeat(secret, 20)
	var errs []string
	for what, f := range map[string]call{
		"a wrong record":     c.put(c.app, bad),
		"another purpose":    c.get(c.app, r.SubjectId, r.RecordId, enquiries),
		"an unknown subject": c.get(c.app, secret+"-nobody", r.RecordId, payments),
	} {
		if err := f(grpc.EmptyCallOption{}); err == nil {
			c.Errorf("%s: allowed", what)
		} else {
			errs = append(errs, err.Error())
		}
	}
	for where, text := range map[string]string{
		"an error": strings.Join(errs, "\n"), "the log": c.d.output.String(), "a metric": fetch(c.T, "http://"+c.d.admin+"/metrics"),
	} {
		if strings.Contains(text, secret) {
			c.Errorf("%s holds personal information", where)
		}
	}
	c.onDisk([]byte(secret))
}

// onDisk looks for bytes in the names of all files and in every file but drives' chunks.
func (c *clause) onDisk(secret []byte) {
	c.Helper()
	files := 0
	for _, folder := range c.d.layout.all {
		for path := range filesBelow(c, folder) {
			if strings.Contains(path, string(secret)) {
				c.Errorf("%s is named after it", path)
			}
			if strings.Contains(path, c.d.layout.blobs) && !strings.Contains(path, c.d.layout.log) {
				continue
			}
			text, err := os.ReadFile(path)
			if err = ignoreGone(err); err != nil {
				c.Fatal(err)
			}
			if bytes.Contains(text, secret) {
				c.Errorf("%s holds it", path)
			}
			files++
		}
	}
	if files == 0 {
		c.Fatal("looked into no file")
	}
}

// ignoreGone forgives a file that the running gateway removed meanwhile.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// testSources: a record states where it came from, and from which third party.
func testSources(c *clause) {
	record := func(source residencyv1.Source, party string) *residencyv1.PersonalRecord {
		r := personalRecord("s", "r-"+fmt.Sprint(int32(source)), "anna")
		r.Source, r.SourceParty = source, party
		if source == residencyv1.Source_SOURCE_AUTOMATIC {
			r.ExpireTime = timestamppb.New(time.Now().Add(time.Hour))
		}
		return r
	}
	for _, r := range []*residencyv1.PersonalRecord{
		record(residencyv1.Source_SOURCE_PROVIDED, ""),
		record(residencyv1.Source_SOURCE_AUTOMATIC, ""),
		record(residencyv1.Source_SOURCE_THIRD_PARTY, "Payment Processing Ltd"),
	} {
		c.allow("writing what was "+r.Source.String(), c.put(c.app, r), "")
		got, err := c.app.Records.GetRecord(c.Context(), &residencyv1.GetRecordRequest{
			TenantId: c.tenant, SubjectId: "s", RecordId: r.RecordId, Purpose: payments,
		})
		if err != nil || got.Record.Source != r.Source || got.Record.SourceParty != r.SourceParty {
			c.Errorf("%v of %q reads as %v (%v)", r.Source, r.SourceParty, got.GetRecord().GetSource(), err)
		}
	}
	c.refuse("no source", c.put(c.app, record(residencyv1.Source_SOURCE_UNSPECIFIED, "")), "BAD_REQUEST")
	c.refuse("a source that does not exist", c.put(c.app, record(99, "")), "BAD_REQUEST")
	c.refuse("a third party without a name", c.put(c.app, record(residencyv1.Source_SOURCE_THIRD_PARTY, "")), "BAD_REQUEST")
	c.refuse("a third party of what the person provided", c.put(c.app, record(residencyv1.Source_SOURCE_PROVIDED, "Somebody")), "BAD_REQUEST")
}

// testNoCardData: payment-card numbers are refused in every personal field but the phone
// number, however they are written, and neither kept nor logged.
func testNoCardData(c *clause) {
	cards := []string{"4111111111111111", "5500 0000 0000 0004", "3400-0000-0000-009", "6011 0009 9013 9424", "3530111333300000"}
	places := map[string]func(*residencyv1.PersonalRecord, string){
		"full_name":      func(r *residencyv1.PersonalRecord, s string) { r.Personal.FullName = s },
		"postal_address": func(r *residencyv1.PersonalRecord, s string) { r.Personal.PostalAddress = s },
		"email_address":  func(r *residencyv1.PersonalRecord, s string) { r.Personal.EmailAddress = s },
		"attributes":     func(r *residencyv1.PersonalRecord, s string) { r.Personal.Attributes = map[string]string{"note": s} },
		"an attribute's name": func(r *residencyv1.PersonalRecord, s string) {
			r.Personal.Attributes = map[string]string{s: "note"}
		},
		"source_party": func(r *residencyv1.PersonalRecord, s string) {
			r.Source, r.SourceParty = residencyv1.Source_SOURCE_THIRD_PARTY, s
		},
	}
	for name, set := range places {
		for _, card := range cards {
			r := personalRecord("s", "card", "anna")
			set(r, "pay with "+card+" please")
			c.refuse("a card in "+name, c.put(c.app, r), "CARD_DATA_REFUSED")
		}
		r := personalRecord("s", "fine", "anna")
		set(r, "order 4111111111111112, 14 boxes")
		c.allow("a number of no card in "+name, c.put(c.app, r), "")
	}
	c.absent("the record that was refused", c.get(c.app, "s", "card", payments))
	phone := personalRecord("s", "phone", "anna")
	phone.Personal.PhoneNumber = "+4111111111111111"
	c.allow("digits in a phone number", c.put(c.app, phone), "")
	c.noCardOnRecord("4111 1111 1111 1111")
	for _, card := range cards {
		if strings.Contains(c.d.output.String(), card) {
			c.Errorf("the log holds a card number")
		}
	}
}

// noCardOnRecord: nor does a card number come onto record around people's data.
func (c *clause) noCardOnRecord(card string) {
	c.Helper()
	consent := c.crossing(personal, payments)
	consent.Evidence.Grantor = card
	recipient := c.newRecipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	recipient.Name = card
	order := c.order("s")
	order.Reference = card
	for what, f := range map[string]func() error{
		"a consent's grantor": func() error {
			_, err := c.app.Consents.GrantConsent(c.Context(), &residencyv1.GrantConsentRequest{TenantId: c.tenant, Consent: consent})
			return err
		},
		"a recipient's name": func() error {
			_, err := c.admin.Disclosures.RegisterRecipient(c.Context(), &residencyv1.RegisterRecipientRequest{TenantId: c.tenant, Recipient: recipient})
			return err
		},
		"an order's reference": func() error {
			_, err := c.admin.Disclosures.RecordLegalOrder(c.Context(), &residencyv1.RecordLegalOrderRequest{TenantId: c.tenant, Order: order})
			return err
		},
		"a suspicion": func() error {
			_, err := c.admin.Disclosures.OpenAbuseCase(c.Context(), &residencyv1.OpenAbuseCaseRequest{TenantId: c.tenant, AbuseCase: &residencyv1.AbuseCase{
				Suspicion: card, DriveIds: []string{"d"}, ValidUntil: order.ValidUntil,
			}})
			return err
		},
		"a necessity": func() error {
			return c.disclose(c.admin, &residencyv1.DiscloseRequest{
				RecipientId: "agent", Object: &residencyv1.DiscloseRequest_SubjectId{SubjectId: "s"}, Purpose: fraud, Necessity: card,
			}, nil)(grpc.EmptyCallOption{})
		},
	} {
		c.refuse("a card as "+what, func(grpc.CallOption) error { return f() }, "CARD_DATA_REFUSED")
	}
}

// testCookies: what is collected automatically has an end, and is gone from every read at once
// when that has come; statistics are totals.
func testCookies(c *clause) {
	cookie := personalRecord("visitor", "session", "anna.visitor")
	cookie.Source, cookie.Purposes = residencyv1.Source_SOURCE_AUTOMATIC, []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_SESSION}
	c.refuse("an automatic record without an end", c.put(c.app, cookie), "BAD_REQUEST")
	cookie.ExpireTime = timestamppb.New(time.Now().Add(-time.Second))
	c.refuse("an end that is over", c.put(c.app, cookie), "BAD_REQUEST")
	end := time.Now().Add(2 * time.Second)
	cookie.ExpireTime = timestamppb.New(end)
	c.allow("a session's record", c.put(c.app, cookie), "")
	lasting := proto.Clone(cookie).(*residencyv1.PersonalRecord)
	lasting.RecordId, lasting.ExpireTime = "persistent", timestamppb.New(time.Now().Add(time.Hour))
	c.allow("a persistent record, with its lifetime", c.put(c.app, lasting), "")
	session := residencyv1.Purpose_PURPOSE_SESSION
	c.allow("reading while it lasts", c.get(c.app, "visitor", "session", session), "")
	time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
	c.absent("reading after its end", c.get(c.app, "visitor", "session", session))
	list, err := c.app.Records.ListRecords(c.Context(), &residencyv1.ListRecordsRequest{TenantId: c.tenant, SubjectId: "visitor", Purpose: session})
	if err != nil || len(list.Records) != 1 || list.Records[0].RecordId != "persistent" {
		c.Errorf("listed after its end: %d records (%v), want the persistent one", len(list.GetRecords()), err)
	}
	found, err := c.app.Records.FindRecords(c.Context(), &residencyv1.FindRecordsRequest{
		TenantId: c.tenant, Key: &residencyv1.FindRecordsRequest_EmailAddress{EmailAddress: cookie.Personal.EmailAddress}, Purpose: session,
	})
	if err != nil || len(found.Records) != 1 || found.Records[0].RecordId != "persistent" {
		c.Errorf("found after its end: %d records (%v), want the persistent one", len(found.GetRecords()), err)
	}
	c.allow("the persistent one", c.get(c.app, "visitor", "persistent", session), "")
	if metrics := fetch(c.T, "http://"+c.d.admin+"/metrics"); strings.Contains(metrics, "visitor") || strings.Contains(metrics, c.tenant) {
		c.Error("a metric names a visitor or a tenant")
	}
}

// testDeclineCookies: who declines automatic collection is not collected about any more, until
// they take that back; what they provide themselves is not touched by it.
func testDeclineCookies(c *clause) {
	cookie := personalRecord("visitor", "session", "anna")
	cookie.Source, cookie.ExpireTime = residencyv1.Source_SOURCE_AUTOMATIC, timestamppb.New(time.Now().Add(time.Hour))
	c.allow("before", c.put(c.app, cookie), "")
	r, err := c.admin.Records.ObjectToCollection(c.Context(), &residencyv1.ObjectToCollectionRequest{TenantId: c.tenant, SubjectId: "visitor"})
	if err != nil || !r.Restrictions.CollectionDeclined {
		c.Fatalf("objecting: %v (%v)", r.GetRestrictions(), err)
	}
	c.deny("declined", c.put(c.app, cookie), "COLLECTION_DECLINED", c.id)
	c.allow("what they provide", c.put(c.app, personalRecord("visitor", "form", "anna")), "")
	other := proto.Clone(cookie).(*residencyv1.PersonalRecord)
	other.SubjectId = "another"
	c.allow("another visitor", c.put(c.app, other), "")
	if _, err := c.admin.Records.WithdrawObjection(c.Context(), &residencyv1.WithdrawObjectionRequest{TenantId: c.tenant, SubjectId: "visitor"}); err != nil {
		c.Fatal(err)
	}
	c.allow("taken back", c.put(c.app, cookie), "")
}

// testChildren: nothing is written about somebody under 13 without a parent's recorded consent,
// and what is held is erased when it is learned that they are.
func testChildren(c *clause) {
	born := time.Now().UTC().AddDate(-13, 0, 1) // thirteen tomorrow
	child := personalRecord("child", "r", "kim")
	child.BirthDate = &residencyv1.Date{Year: int32(born.Year()), Month: int32(born.Month()), Day: int32(born.Day())}
	c.deny("a child", c.put(c.app, child), "PARENTAL_CONSENT_REQUIRED", c.id)
	old := born.AddDate(0, 0, -1)
	teenager := personalRecord("teenager", "r", "sam")
	teenager.BirthDate = &residencyv1.Date{Year: int32(old.Year()), Month: int32(old.Month()), Day: int32(old.Day())}
	c.allow("somebody who is thirteen today", c.put(c.app, teenager), "")
	id := c.grant(of(c.consent(residencyv1.ConsentKind_CONSENT_KIND_PARENTAL, personal, payments), "child"))
	c.allow("with a parent's consent", c.put(c.app, child), "")
	report := func(subject string) *residencyv1.ReportChildResponse {
		r, err := c.admin.Records.ReportChild(c.Context(), &residencyv1.ReportChildRequest{TenantId: c.tenant, SubjectId: subject})
		if err != nil {
			c.Fatalf("reporting: %v", err)
		}
		return r
	}
	if r := report("child"); r.GetParentalConsentId() != id {
		c.Errorf("a report about a child whose parent consented: %v", r)
	}
	c.hold("learned", "r", payments)
	if r := report("learned"); r.GetErasure().GetClause() != c.id {
		c.Errorf("a report about a child: %v, want an erasure under %s", r, c.id)
	}
	c.absent("reading about the reported child", c.get(c.app, "learned", "r", payments))
	c.refuse("writing about the reported child", c.put(c.app, personalRecord("learned", "r", "kim")), "ERASED")
	c.hold("updated", "r", payments)
	update := personalRecord("updated", "r", "kim")
	update.BirthDate = child.BirthDate
	c.deny("an update that tells the age", c.put(c.app, update), "PARENTAL_CONSENT_REQUIRED", c.id)
	eventually(c, "what was held about the child is gone", func() bool {
		return isNotFound(c.get(c.app, "updated", "r", payments)(grpc.EmptyCallOption{}))
	})
}
