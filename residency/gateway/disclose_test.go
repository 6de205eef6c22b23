package gateway

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/store"
)

// to is a disclosure about s1.
func to(recipient string, p residency.Purpose) Disclose {
	return Disclose{Recipient: recipient, Subject: "s1", Purpose: p}
}

// A processor gets what its function needs of what was provided for it, and nothing else (clauses processors, purpose, protection).
func TestDiscloseToAProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, j := range []residency.Jurisdiction{ch, us} {
			d := newDesk(t, j)
			d.refuses(to("bank", residency.Payments), residency.RecipientNotRegistered, "processors")
			r := d.register(aRecipient("bank", residency.Subcontractor, j, contacts(residency.Payments), contacts(residency.Records)))
			out := d.discloses(to("bank", residency.Payments))
			want := Record{
				ID: "r1", Subject: "s1", FullName: "Canary Kanarek", Attributes: map[string]string{"colour": "canary yellow"},
				Controller: d.controller(),
			}
			if len(out.records) != 1 || !equal(out.records[0], want) {
				t.Errorf("got %+v", out.records)
			}
			if dec := out.call.Decision; !dec.Allow || dec.To != j || dec.OrderID != "" || dec.ConsentID != "" {
				t.Errorf("decided %+v", dec)
			}
			d.refuses(to("bank", residency.Records), residency.PurposeNotPermitted, "purpose") // nothing was provided for it
			d.refuses(to("bank", residency.ServiceProvision), residency.RecipientOutsideFunction, "processors")
			d.refuses(to("bank", residency.Communication), residency.PurposeNotPermitted, "purpose")
			d.refuses(to("bank", residency.LegalObligation), residency.PurposeNotPermitted, "purposes")
			d.refuses(to("bank", residency.PurposeUnspecified), residency.PurposeRequired, "purposes")

			r.Safeguard = Safeguard{}
			d.ok(d.update(r))
			d.refuses(to("bank", residency.Payments), residency.SafeguardMissing, "protection")
			r.Safeguard = Safeguard{"A-2", time.Now().Add(time.Hour)}
			d.ok(d.update(r))
			d.discloses(to("bank", residency.Payments))
			time.Sleep(time.Hour)
			d.refuses(to("bank", residency.Payments), residency.SafeguardMissing, "protection")
			r.Safeguard.ValidUntil = time.Now().Add(time.Hour)
			d.ok(d.update(r))
			d.revokeRecipient("bank")
			d.refuses(to("bank", residency.Payments), residency.RecipientNotRegistered, "processors")
		}
	})
}

func equal(a, b Record) bool {
	return maps.Equal(a.Attributes, b.Attributes) && fmt.Sprintf("%#v", withoutMap(a)) == fmt.Sprintf("%#v", withoutMap(b))
}

func withoutMap(r Record) Record { r.Attributes = nil; return r }

// Nobody who is not there, and nothing that has ended, is disclosed.
func TestDiscloseOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("bank", residency.Agent, ch, contacts(residency.Session)))
		_, err := d.disclose(Disclose{Recipient: "bank", Subject: "s2", Purpose: residency.Session})
		d.wantKind(err, residency.NotFound)
		r := aRecord("s2", "r1")
		r.Purposes, r.Source, r.Expires = residency.PurposeSet(residency.Session), residency.Automatic, time.Now().Add(time.Hour)
		_, _, err = d.put(ch, d.id, r, nil)
		d.ok(err)
		d.discloses(Disclose{Recipient: "bank", Subject: "s2", Purpose: residency.Session})
		time.Sleep(time.Hour)
		out, err := d.disclose(Disclose{Recipient: "bank", Subject: "s2", Purpose: residency.Session})
		d.wantKind(err, residency.NotFound)
		if !out.call.Decision.Allow {
			t.Error("that nothing is held is not for the policy to tell")
		}
		_, err = d.disclose(Disclose{Tenant: "absent", Recipient: "bank", Subject: "s1", Purpose: residency.Session})
		d.wantKind(err, residency.CrossBorderConsentRequired) // as of any tenant abroad
		for _, req := range []Disclose{{Recipient: "bank", Purpose: residency.Session}, {Recipient: "bank", Purpose: residency.Session, Subject: "s1", Drive: "d1"}} {
			_, err = d.disclose(req)
			d.wantField(err, "object")
		}
		d.setState(d.id, TenantSuspended)
		_, err = d.disclose(Disclose{Recipient: "bank", Subject: "s2", Purpose: residency.Session})
		d.wantKind(err, residency.TenantSuspended)
	})
}

// Each field leaves when the function names it, and only then.
func TestDisclosedFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		r := aRecord("s3", "r1")
		r.BirthDate, r.Residence, r.Source, r.SourceParty = Date{1980, 5, 6}, ch, residency.FromThirdParty, "Canary Source"
		r.Attributes["shape"] = "canary round"
		_, _, err := d.put(ch, d.id, r, nil)
		d.ok(err)
		all := map[string]Record{
			"full_name": {FullName: r.FullName}, "postal_address": {Address: r.Address}, "phone_number": {Phone: r.Phone},
			"email_address": {Email: r.Email}, "birth_date": {BirthDate: r.BirthDate}, "residence": {Residence: ch},
			"source_party": {SourceParty: r.SourceParty}, "attributes": {Attributes: r.Attributes},
			"attributes.shape": {Attributes: map[string]string{"shape": "canary round"}}, "attributes.none": {},
		}
		for field, want := range all {
			id := "r." + field
			d.register(aRecipient(id, residency.AssociateOffice, ch, Function{residency.Payments, []string{field}}))
			out := d.discloses(Disclose{Recipient: id, Subject: "s3", Purpose: residency.Payments})
			want.ID, want.Subject, want.Controller = "r1", "s3", "CloudSigma AG"
			if len(out.records) != 1 || !equal(out.records[0], want) {
				t.Errorf("%s: got %+v", field, out.records)
			}
			left := []string{field}
			if field == "attributes.none" {
				left = nil
			}
			row := d.disclosures(ListDisclosures{Recipient: id})[0]
			if row.Records != 1 || !slices.Equal(row.Fields, left) || row.Bytes != uint64(len(encodeRecord(&out.records[0]))) {
				t.Errorf("%s: on record is %+v", field, row)
			}
		}
	})
}

// Marketing needs the person's opt-in, whoever sends it (clause marketing).
func TestDiscloseForMarketing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("mailer", residency.Agent, ch, contacts(residency.Marketing)))
		d.refuses(to("mailer", residency.Marketing), residency.MarketingOptInRequired, "marketing")
		c := border("s1", residency.PersonalInformation, residency.Marketing)
		c.Kind, c.To = residency.MarketingOptIn, ch
		_, err := d.g.GrantConsent(t.Context(), d.by("admin", "GrantConsent"), GrantConsent{Tenant: d.id, Consent: c})
		d.ok(err)
		if out := d.discloses(to("mailer", residency.Marketing)); len(out.records) != 1 || out.records[0].ID != "r2" {
			t.Errorf("got %+v", out.records)
		}
	})
}

// Other third parties get nothing without notice, its period and the chance to refuse (clause choice).
func TestDiscloseToAThirdParty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, whole := range []bool{false, true} {
			d := newDesk(t, ch)
			for _, id := range []string{"shop", "other"} {
				d.register(aRecipient(id, residency.ThirdParty, ch, contacts(residency.Payments)))
			}
			shop := to("shop", residency.Payments)
			d.refuses(shop, residency.NoticeRequired, "choice")
			n := Notice{Subject: "s1", Recipient: "shop", Purposes: residency.PurposeSet(residency.Marketing)}
			if whole {
				n.Subject, n.WholeTenant = "", true
			}
			_, err := d.notice(n) // of another purpose
			d.ok(err)
			_, err = d.notice(Notice{Subject: "s2", Recipient: "shop", Purposes: residency.PurposeSet(residency.Payments)}) // to somebody else
			d.ok(err)
			d.refuses(shop, residency.NoticeRequired, "choice")
			n.Purposes, n.PeriodEnds = residency.PurposeSet(residency.Payments), time.Now().Add(time.Hour)
			_, err = d.notice(n)
			d.ok(err)
			d.refuses(shop, residency.NoticePeriodOpen, "choice")
			time.Sleep(time.Hour)
			d.discloses(shop)
			d.refuses(to("other", residency.Payments), residency.NoticeRequired, "choice")
			n.PeriodEnds = time.Now().Add(time.Hour) // told again: the first notice stands
			_, err = d.notice(n)
			d.ok(err)
			d.discloses(shop)

			mine, scope := Objection{Subject: "s1"}, Objection{Subject: "s1"}
			if whole {
				mine, scope = Objection{WholeTenant: true}, Objection{WholeTenant: true}
			}
			scope.Recipient = "other"
			d.object(scope) // about somebody else
			d.object(Objection{Subject: "s2"})
			d.discloses(shop)
			all := d.object(mine)
			d.refuses(shop, residency.ObjectionRecorded, "choice")
			mine.Recipient = "shop"
			one := d.object(mine)
			d.ok(d.lift(all.ID))
			d.refuses(shop, residency.ObjectionRecorded, "choice")
			d.ok(d.lift(one.ID))
			d.discloses(shop)
		}
	})
}

// An objection is about third parties; processors act for the company.
func TestObjectionsDoNotBindProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments)))
		d.object(Objection{Subject: "s1"})
		d.discloses(to("bank", residency.Payments))
	})
}

// Exchanges against fraud state why they are necessary (clause fraud-exchange), and the log does not say it.
func TestDiscloseToAFraudPartner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		d.register(aRecipient("watch", residency.FraudPartner, us, contacts(residency.FraudPrevention), contacts(residency.CreditRisk)))
		for _, p := range []residency.Purpose{residency.FraudPrevention, residency.CreditRisk} {
			req := to("watch", p)
			req.Necessity = " "
			d.refuses(req, residency.PurposeNotPermitted, "fraud-exchange")
			req.Necessity = "Canary chargebacks"
			if out := d.discloses(req); len(out.records) != 2 { // the table asks for no purpose of collection here
				t.Errorf("got %+v", out.records)
			}
		}
		d.refuses(to("watch", residency.Payments), residency.PurposeNotPermitted, "fraud-exchange")
		if row := d.disclosures(ListDisclosures{})[0]; row.Necessity != "Canary chargebacks" {
			t.Errorf("on record is %+v", row)
		}
		for _, e := range d.entries("us") {
			if bytes.Contains(e.Append(nil), []byte("anary")) {
				t.Errorf("the log says %+v", e)
			}
		}
	})
}

// A business passes with what it holds; in Switzerland it is not shown before (clause business-transfer).
func TestDiscloseToAnAcquirer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, j := range []residency.Jurisdiction{ch, us} {
			d := newDesk(t, j)
			d.register(aRecipient("buyer", residency.Acquirer, j, contacts(residency.BusinessTransfer)))
			req := to("buyer", residency.BusinessTransfer)
			_, err := d.disclose(req)
			d.wantField(err, "stage")
			req.Stage = DueDiligence
			if j == ch {
				d.refuses(req, residency.PurposeNotPermitted, "business-transfer")
			} else {
				d.discloses(req)
			}
			req.Stage = AssetTransfer
			if out := d.discloses(req); len(out.records) != 2 {
				t.Errorf("got %+v", out.records)
			}
			if row := d.disclosures(ListDisclosures{})[0]; row.Stage != AssetTransfer || row.Kind != residency.Acquirer {
				t.Errorf("on record is %+v", row)
			}
		}
	})
}

// What a person restricted is no ground for disclosing.
func TestDiscloseWhatIsRestricted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments)))
		d.restrict("s1", residency.Payments)
		d.refuses(to("bank", residency.Payments), residency.Restricted, "change-use")
	})
}

// restrict takes a purpose away from a person's information.
func (d *desk) restrict(subject string, p residency.Purpose) {
	d.t.Helper()
	a := &act{call: d.by("admin", "test"), op: "test", tenant: d.id, subject: subject, exclusive: true}
	_, err := d.g.decide(d.t.Context(), a, func(t *txn) error {
		sk, err := t.createSubject(t.ctx)
		if err != nil {
			return err
		}
		row := restrictionRow{Restrictions{Purposes: residency.PurposeSet(p), Updated: t.now}}
		return t.putRow(sk, store.KindRestriction, t.subject, 1, &row)
	})
	d.ok(err)
}

// Orders: each thing that is wrong with one is a reason of its own (clause legal-order).
func TestDiscloseUnderAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, j := range []residency.Jurisdiction{ch, us} {
			d := newDesk(t, j)
			r := aRecipient("police", residency.LawEnforcement, j)
			r.Safeguard = Safeguard{} // authorities that an order obliges the company to need none
			d.register(r)
			d.register(aRecipient("sheriff", residency.LawEnforcement, j))
			under := func(order string) Disclose {
				req := to("police", residency.LegalObligation)
				req.Order = order
				return req
			}
			change := func(f func(*Order)) Order {
				o := d.anOrder()
				f(&o)
				return o
			}
			expect := func(order string, reason residency.Kind) {
				t.Helper()
				d.refuses(under(order), reason, "legal-order")
			}
			expect("", residency.LegalOrderRequired)
			expect(uuid.NewString(), residency.LegalOrderRequired)
			expect("o1", residency.LegalOrderRequired)
			foreign := change(func(o *Order) { o.Jurisdiction = map[residency.Jurisdiction]residency.Jurisdiction{ch: us, us: ch}[j] })
			expect(d.order(foreign).ID, residency.LegalOrderWrongJurisdiction)

			o := d.order(d.anOrder())
			expect(o.ID, residency.LegalOrderUnapproved)
			_, err := d.approve("officer", o.ID)
			d.ok(err)
			expect(o.ID, residency.LegalOrderUnapproved)
			_, err = d.approve("counsel", o.ID)
			d.ok(err)
			out := d.discloses(under(o.ID))
			if len(out.records) != 2 || out.records[0].Email == "" || out.records[0].Version != 1 || out.call.Decision.OrderID != o.ID {
				t.Errorf("got %+v under %+v", out.records, out.call.Decision)
			}
			d.revokeOrder(o.ID)
			expect(o.ID, residency.LegalOrderExpired)
			rejected := d.order(d.anOrder())
			d.ok(d.rejectOrder(rejected.ID))
			expect(rejected.ID, residency.LegalOrderExpired)

			later := d.approved(change(func(o *Order) { o.ValidFrom, o.ValidUntil = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour) }))
			expect(later.ID, residency.LegalOrderExpired)
			time.Sleep(time.Hour)
			d.discloses(under(later.ID))
			time.Sleep(time.Hour)
			expect(later.ID, residency.LegalOrderExpired)

			for name, scope := range map[string]func(*Order){
				"another person":    func(o *Order) { o.Scope.Subjects = []string{"s2"} },
				"nobody":            func(o *Order) { o.Scope.Subjects = nil },
				"drives alone":      func(o *Order) { o.Scope.Classes = residency.DataClassSet(residency.VirtualDriveData) },
				"another recipient": func(o *Order) { o.Recipient = "sheriff" },
				"another time":      func(o *Order) { o.Scope.From = time.Now() },
				"before that":       func(o *Order) { o.Scope.To = time.Now().Add(-24 * time.Hour) },
			} {
				t.Log(name)
				expect(d.approved(change(scope)).ID, residency.LegalOrderOutOfScope)
			}
			d.discloses(under(d.approved(change(func(o *Order) { o.Recipient = "police" })).ID))
			d.wantKind(func() error { // another tenant's order looks absent
				d.tenant("other", j)
				_, _, err := d.put(j, "other", aRecord("s1", "r1"), nil)
				d.ok(err)
				theirs := &desk{d.world, j, "other"}
				theirs.register(aRecipient("police", residency.LawEnforcement, j))
				_, err = theirs.disclose(under(later.ID))
				return err
			}(), residency.LegalOrderRequired)
		}
	})
}

// An order about a time gets what was collected then.
func TestOrderWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		from := time.Now().Add(time.Second)
		for i := range 4 { // one each hour from now on
			time.Sleep(time.Hour)
			_, _, err := d.put(ch, d.id, aRecord("s1", fmt.Sprint("h", i+1)), nil)
			d.ok(err)
		}
		o := d.anOrder()
		o.Scope.From, o.Scope.To = from.Add(time.Hour), from.Add(3*time.Hour)
		req := to("police", residency.LegalObligation)
		req.Order = d.approved(o).ID
		var ids []string
		for _, r := range d.discloses(req).records {
			ids = append(ids, r.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []string{"h2", "h3"}) {
			t.Errorf("got %v", ids)
		}
	})
}

// Drive data leaves under a Swiss order alone (clauses third-party-order, drive-never-shared).
func TestDiscloseADrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.drive(d.id, "d1", 5<<20)
		want := make([]byte, 5<<20)
		copy(want[4<<20-10:], "canary bytes over two chunks")
		_, err := d.write(ch, d.id, "d1", 4<<20-10, []byte("canary bytes over two chunks"))
		d.ok(err)
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		d.register(aRecipient("office", residency.PublicAuthority, ch))
		d.register(aRecipient("bank", residency.Subcontractor, ch, contacts(residency.ServiceProvision)))
		req := Disclose{Recipient: "police", Drive: "d1", Purpose: residency.LegalObligation}
		d.refuses(req, residency.LegalOrderRequired, "third-party-order")
		req.Order = d.approved(d.anOrder()).ID
		out := d.discloses(req)
		if !bytes.Equal(out.data, want) || len(out.records) != 0 {
			t.Errorf("got %d bytes", len(out.data))
		}
		row := d.disclosures(ListDisclosures{})[0]
		if row.Drive != "d1" || row.Subject != "" || row.Bytes != 5<<20 || row.Order != req.Order || row.End != "completed" || row.Fields != nil {
			t.Errorf("on record is %+v", row)
		}
		for recipient, clause := range map[string]string{"office": "drive-never-shared", "bank": "drive-never-shared", "nobody": "third-party-order"} {
			r := req
			r.Recipient = recipient
			d.refuses(r, residency.DriveDataNeverShared, clause)
			r.Purpose = residency.ServiceProvision
			d.refuses(r, residency.DriveDataNeverShared, clause)
		}
		r := req
		r.Drive = "d2"
		d.refuses(r, residency.LegalOrderOutOfScope, "third-party-order")
		o := d.anOrder()
		o.Scope.Drives = []string{"d2"}
		r.Order = d.approved(o).ID
		_, err = d.disclose(r)
		d.wantKind(err, residency.NotFound)

		o = d.anOrder()
		o.Scope.To = time.Now().Add(time.Minute)
		req.Order = d.approved(o).ID
		d.discloses(req)
		o.Scope.From = time.Now().Add(time.Second)
		req.Order = d.approved(o).ID
		d.refuses(req, residency.LegalOrderOutOfScope, "third-party-order")
		o.Scope.From, o.Scope.To = time.Time{}, time.Now().Add(time.Second)
		req.Order = d.approved(o).ID
		d.discloses(req)
		time.Sleep(time.Minute)
		_, err = d.write(ch, d.id, "d1", 0, []byte("later")) // what is on it now is not all from then
		d.ok(err)
		d.refuses(req, residency.LegalOrderOutOfScope, "third-party-order")
		o.Scope.To, o.Scope.Classes = time.Time{}, residency.DataClassSet(residency.PersonalInformation)
		req.Order = d.approved(o).ID
		d.refuses(req, residency.LegalOrderOutOfScope, "third-party-order")

		a := newDesk(t, us)
		_, err = a.g.CreateDrive(t.Context(), as(us, "CreateDrive", residency.Collect, residency.AccountData), NewDrive{Tenant: a.id, ID: "d1", Size: 1 << 20})
		a.ok(err)
		a.register(aRecipient("police", residency.LawEnforcement, us))
		req.Order = a.approved(a.anOrder()).ID
		a.refuses(req, residency.DriveDataNeverShared, "drive-never-shared")
	})
}

// A drive that is longer than a call may read is handed over whole, unless it changes in between.
func TestDiscloseALongDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		size := int64(maxTransfer + 3<<20)
		d.drive(d.id, "d1", size)
		_, err := d.write(ch, d.id, "d1", maxTransfer+100, []byte("canary"))
		d.ok(err)
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		req := Disclose{Tenant: d.id, Recipient: "police", Drive: "d1", Purpose: residency.LegalObligation, Order: d.approved(d.anOrder()).ID}
		give := func(at func(sent int64)) (sent int64, tail []byte, err error) {
			err = d.g.Disclose(t.Context(), as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req, func(p DisclosePiece) error {
				if sent += int64(len(p.Data)); sent > maxTransfer {
					tail = append(tail, p.Data...)
				}
				at(sent)
				return nil
			})
			return sent, tail, err
		}
		sent, tail, err := give(func(int64) {})
		d.ok(err)
		if sent != size || string(tail[100:106]) != "canary" {
			t.Errorf("%d bytes of %d left", sent, size)
		}
		wrote := false
		sent, _, err = give(func(sent int64) {
			if !wrote && sent > 1<<20 {
				wrote = true
				_, err := d.write(ch, d.id, "d1", 0, []byte("x"))
				d.ok(err)
			}
		})
		d.wantKind(err, residency.VersionMismatch)
		if row := d.disclosures(ListDisclosures{})[0]; sent != maxTransfer || row.End != "cut" || row.Bytes != maxTransfer {
			t.Errorf("%d bytes left, on record is %+v", sent, row)
		}
	})
}

// A granted request gets its fields, of the people and for the purpose that it names (clause informal-request).
func TestDiscloseOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, us)
		agency := d.register(aRecipient("agency", residency.PublicAuthority, us))
		d.register(aRecipient("police", residency.LawEnforcement, us))
		req := to("agency", residency.FraudPrevention)
		d.refuses(req, residency.InformalRequestRefused, "informal-request")
		i, err := d.informal(request("agency"))
		d.ok(err)
		req.Informal = i.ID
		d.refuses(req, residency.InformalRequestRefused, "informal-request")
		_, err = d.grantInformal("officer", i.ID)
		d.ok(err)
		out := d.discloses(req)
		if len(out.records) != 2 || !equal(out.records[0], Record{ID: out.records[0].ID, Subject: "s1", Controller: "CloudSigma Inc", FullName: "Canary Kanarek"}) {
			t.Errorf("got %+v", out.records)
		}
		if row := d.disclosures(ListDisclosures{})[0]; row.Informal != i.ID || row.Order != "" || !slices.Equal(row.Fields, []string{"full_name"}) {
			t.Errorf("on record is %+v", row)
		}
		other := req
		other.Subject = "s2"
		d.refuses(other, residency.InformalRequestRefused, "informal-request")
		other = req
		other.Recipient = "police"
		d.refuses(other, residency.InformalRequestRefused, "informal-request")
		other = req
		other.Purpose = residency.LegalObligation
		d.refuses(other, residency.InformalRequestRefused, "informal-request")
		agency.Safeguard = Safeguard{}
		d.ok(d.update(agency))
		d.refuses(req, residency.SafeguardMissing, "protection")
		agency.Safeguard = Safeguard{"A-2", i.ValidUntil.Add(time.Hour)}
		d.ok(d.update(agency))
		d.discloses(req)
		time.Sleep(time.Until(i.ValidUntil))
		d.refuses(req, residency.InformalRequestRefused, "informal-request")

		swiss := newDesk(t, ch)
		swiss.register(aRecipient("agency", residency.PublicAuthority, ch))
		swiss.refuses(req, residency.InformalRequestRefused, "informal-request")
	})
}

// A recipient abroad, or a carrier there, needs a consent to cross, and the recipient one that names it; an
// order never crosses.
func TestDiscloseAcrossTheBorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("bank", residency.Subcontractor, us, contacts(residency.Payments)))
		d.register(aRecipient("home", residency.Subcontractor, ch, contacts(residency.Payments)))
		d.register(aRecipient("fbi", residency.LawEnforcement, us))
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		grant := func(change func(*consent.Consent)) ConsentNow {
			c := border("s1", residency.PersonalInformation, residency.Payments)
			change(&c)
			out, err := d.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: d.id, Consent: c})
			d.ok(err)
			return out
		}
		bank := to("bank", residency.Payments)
		d.refuses(bank, residency.CrossBorderConsentRequired, "product/border")
		grant(func(*consent.Consent) {}) // names nobody
		d.refuses(bank, residency.CrossBorderConsentRequired, "product/border")
		grant(func(c *consent.Consent) { c.Recipients = []string{"other"} })
		d.refuses(bank, residency.CrossBorderConsentRequired, "product/border")
		named := grant(func(c *consent.Consent) { c.Recipients = []string{"bank"} })
		out := d.discloses(bank)
		if out.call.Decision.ConsentID != named.ID || out.call.Decision.To != us {
			t.Errorf("decided %+v", out.call.Decision)
		}
		if row := d.disclosures(ListDisclosures{})[0]; row.Consent != named.ID || row.Jurisdiction != us {
			t.Errorf("on record is %+v", row)
		}
		// A carrier abroad, with a consent that lets it read, to a recipient at home and there.
		for _, id := range []string{"home", "bank"} {
			_, err := d.discloseFrom(us, to(id, residency.Payments))
			d.ok(err)
		}
		d.ok(d.withdraw(ch, d.id, named.ID))
		d.refuses(bank, residency.ConsentIsWithdrawn, "product/border")

		order := d.approved(d.anOrder()).ID
		grant(func(c *consent.Consent) {
			c.Recipients, c.Purposes = []string{"fbi", "police"}, residency.PurposeSet(residency.LegalObligation)
		})
		fbi, police := to("fbi", residency.LegalObligation), to("police", residency.LegalObligation)
		fbi.Order, police.Order = order, order
		d.refuses(fbi, residency.LegalOrderWrongJurisdiction, "legal-order")
		_, err := d.discloseFrom(us, police)
		d.wantKind(err, residency.LegalOrderWrongJurisdiction)
		d.discloses(police)
	})
}

// Abroad, who and what is there cannot be told from the answer.
func TestDiscloseTellsNothingAbroad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.drive(d.id, "d1", 1<<20)
		d.register(aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments)))
		d.register(aRecipient("shop", residency.ThirdParty, us, contacts(residency.Payments)))
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		order := d.approved(d.anOrder()).ID
		for _, p := range []residency.Purpose{
			residency.Payments, residency.FraudPrevention, residency.LegalObligation, residency.InspectionPurpose, residency.Marketing,
		} {
			answers := map[string]string{}
			for _, req := range []Disclose{
				{Recipient: "bank", Subject: "s1"}, {Recipient: "shop", Subject: "s1"}, {Recipient: "police", Subject: "s1"}, {Recipient: "nobody", Subject: "s1"},
				{Recipient: "bank", Subject: "s9"}, {Recipient: "bank", Subject: "s1", Tenant: "absent"}, {Recipient: "police", Subject: "s1", Order: order},
			} {
				req.Purpose = p
				out, err := d.discloseFrom(us, req)
				dec := out.call.Decision
				answers[fmt.Sprint(residency.KindOf(err), dec.Clause, dec.Missing, dec.OrderID, dec.ConsentID)] = req.Recipient + "/" + req.Subject
			}
			if len(answers) != 1 {
				t.Errorf("%v: %v", p, answers)
			}
			for _, req := range []Disclose{{Recipient: "police", Drive: "d1", Order: order}, {Recipient: "nobody", Drive: "d9"}} {
				req.Purpose = p
				_, err := d.discloseFrom(us, req)
				d.wantKind(err, residency.DriveDataNeverShared)
			}
		}
		for _, e := range d.entries("ch") {
			if !e.Allow && e.Action == residency.Disclose && e.Recipient != nil {
				t.Error("a recipient was looked up for a caller abroad")
			}
		}
	})
}

// The log alone says what was disclosed, to whom, under which order and how it ended.
func TestDisclosuresInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		d.register(aRecipient("bank", residency.Subcontractor, ch, contacts(residency.Payments)))
		req := to("police", residency.LegalObligation)
		req.Order = d.approved(d.anOrder()).ID
		d.discloses(req)
		d.discloses(to("bank", residency.Payments))
		d.refuses(to("nobody", residency.Payments), residency.RecipientNotRegistered, "processors")
		var who [][]byte
		log := d.entries("ch")
		for _, e := range log[len(log)-5:] {
			who = append(who, e.Recipient)
		}
		if len(who[0]) != 16 || !bytes.Equal(who[0], who[1]) || bytes.Equal(who[0], who[2]) || !bytes.Equal(who[2], who[3]) || who[4] != nil {
			t.Errorf("recipients: %x", who)
		}
		intent, end := log[len(log)-5], log[len(log)-4]
		if intent.Phase != audit.Intent || end.Phase != audit.Ended || end.End != audit.Completed || end.OrderID != req.Order || end.Bytes == 0 || end.Subject == "" {
			t.Errorf("the log has %+v and %+v", intent, end)
		}
		registered := slices.ContainsFunc(log, func(e audit.Entry) bool { return e.Method == "RegisterRecipient" && bytes.Equal(e.Recipient, who[0]) })
		if !registered {
			t.Error("the registration has another pseudonym")
		}
	})
}
