package gateway

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// crowd puts n more records of s1's at the desk.
func (d *desk) crowd(n int) {
	d.t.Helper()
	for i := range n {
		_, _, err := d.put(d.at, d.id, aRecord("s1", fmt.Sprintf("n%03d", i)), nil)
		d.ok(err)
	}
}

// rewrite puts a recipient in another's place, as no call does: what is under way must not trust that none will.
func (d *desk) rewrite(r Recipient) {
	d.t.Helper()
	_, err := d.g.decide(d.t.Context(), &act{call: d.by("admin", "UpdateRecipient"), op: "test", tenant: d.id, governs: true}, func(t *txn) error {
		old, _, err := t.readRecipient(r.ID)
		if err != nil {
			return err
		}
		r.State, r.Version, r.Created = RecipientActive, old.Version+1, old.Created
		return t.putRecipient(&r)
	})
	d.ok(err)
}

// What a disclosure rests on ends while it runs: nothing more leaves than a lease's worth, for the reason that a new
// disclosure would be refused for, and the record says what had left.
func TestDisclosureIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		kind   residency.RecipientKind
		at     residency.Jurisdiction // of the recipient
		end    func(d *desk, order, consent string)
		reason residency.Kind
		atOnce bool // nothing at all leaves once the call has answered
	}{
		"an order is revoked": {residency.LawEnforcement, ch, func(d *desk, o, _ string) { d.revokeOrder(o) }, residency.LegalOrderExpired, false},
		"an order ends": {residency.LawEnforcement, ch, func(d *desk, o, _ string) {
			got, err := d.g.GetLegalOrder(d.t.Context(), d.by("admin", "GetLegalOrder"), d.id, o)
			d.ok(err)
			time.Sleep(time.Until(got.ValidUntil))
		}, residency.LegalOrderExpired, false},
		"a recipient is revoked": {residency.Agent, ch, func(d *desk, _, _ string) { d.revokeRecipient("r") }, residency.RecipientNotRegistered, false},
		"a function needs less": {residency.Agent, ch, func(d *desk, _, _ string) {
			less := contacts(residency.Payments)
			less.Fields = less.Fields[:1]
			d.ok(d.update(aRecipient("r", residency.Agent, ch, less)))
		}, residency.RecipientOutsideFunction, false},
		"a safeguard goes": {residency.Agent, ch, func(d *desk, _, _ string) {
			r := aRecipient("r", residency.Agent, ch, contacts(residency.Payments))
			r.Safeguard = Safeguard{}
			d.ok(d.update(r))
		}, residency.SafeguardMissing, false},
		"a recipient becomes another kind, for which less would leave": {residency.FraudPartner, ch, func(d *desk, _, _ string) {
			d.rewrite(aRecipient("r", residency.Agent, ch, contacts(residency.Payments), contacts(residency.FraudPrevention)))
		}, residency.PurposeNotPermitted, false},
		"a recipient becomes another kind, for which others would leave": {residency.FraudPartner, ch, func(d *desk, _, _ string) {
			r := aRecord("s1", "f1")
			r.Purposes = residency.PurposeSet(residency.FraudPrevention)
			_, _, err := d.put(ch, d.id, r, nil)
			d.ok(err)
			d.rewrite(aRecipient("r", residency.Agent, ch, contacts(residency.Payments), contacts(residency.FraudPrevention)))
		}, residency.RecipientOutsideFunction, false},
		"a recipient moves abroad": {residency.Agent, ch, func(d *desk, _, _ string) {
			d.rewrite(aRecipient("r", residency.Agent, us, contacts(residency.Payments)))
		}, residency.CrossBorderConsentRequired, false},
		"a person objects": {residency.ThirdParty, ch, func(d *desk, _, _ string) { d.object(Objection{Subject: "s1"}) }, residency.ObjectionRecorded, true},
		"the tenant objects": {residency.ThirdParty, ch, func(d *desk, _, _ string) {
			d.object(Objection{WholeTenant: true, Recipient: "r"})
		}, residency.ObjectionRecorded, true},
		"a person restricts": {residency.Agent, ch, func(d *desk, _, _ string) { d.restrict("s1", residency.Payments) }, residency.Restricted, false},
		"a tenant is suspended": {residency.Agent, ch, func(d *desk, _, _ string) {
			d.setState(d.id, TenantSuspended)
		}, residency.TenantSuspended, false},
		"a consent is withdrawn": {residency.Agent, us, func(d *desk, _, c string) { d.ok(d.withdraw(ch, d.id, c)) }, residency.ConsentIsWithdrawn, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, ch)
				d.crowd(300)
				req := to("r", residency.Payments)
				if c.kind == residency.LawEnforcement {
					o := d.anOrder()
					o.ValidUntil = time.Now().Add(2 * time.Minute)
					req.Purpose, req.Order = residency.LegalObligation, d.approved(o).ID
				}
				if c.kind == residency.FraudPartner {
					req.Purpose, req.Necessity = residency.FraudPrevention, "chargebacks"
				}
				d.register(aRecipient("r", c.kind, c.at, contacts(residency.Payments), contacts(residency.FraudPrevention)))
				_, err := d.notice(Notice{WholeTenant: true, Recipient: "r", Purposes: residency.PurposeSet(residency.Payments), PeriodEnds: time.Now().Add(time.Nanosecond)})
				d.ok(err)
				time.Sleep(time.Nanosecond)
				named := border("s1", residency.PersonalInformation, residency.Payments)
				named.Recipients = []string{"r"}
				granted := ""
				if c.at == us {
					got, err := d.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: d.id, Consent: named})
					d.ok(err)
					granted = got.ID
				}
				d.cutAfter(req, c.reason, c.atOnce, func() { c.end(d, req.Order, granted) })
			})
		})
	}
}

// cutAfter runs a disclosure of a record each 20 ms under a gateway that works, and ends what it rests on after the tenth.
func (d *desk) cutAfter(req Disclose, reason residency.Kind, atOnce bool, end func()) {
	d.t.Helper()
	ctx, stop := context.WithCancel(d.t.Context())
	running := make(chan error)
	go func() { running <- d.g.Run(ctx) }()
	defer func() { stop(); <-running }()
	req.Tenant = d.id
	call := as(d.at, "Disclose", residency.Disclose, residency.PersonalInformation)
	sent, size := 0, 0
	var last, ended time.Time
	err := d.g.Disclose(ctx, call, req, func(p DisclosePiece) error {
		time.Sleep(20 * time.Millisecond)
		sent++
		size += len(encodeRecord(p.Record))
		last = time.Now()
		if sent == 10 {
			end()
			ended = time.Now()
		}
		return nil
	})
	d.wantKind(err, reason)
	most := d.g.limits.Lease + 40*time.Millisecond
	if atOnce {
		most = 0
	}
	if sent < 10 || !ended.IsZero() && last.Sub(ended) > most {
		d.t.Errorf("%d records left, the last %v after the end", sent, last.Sub(ended))
	}
	d.setState(d.id, TenantActive)
	row := d.disclosures(ListDisclosures{})[0]
	if row.End != "cut" || row.Records != uint64(sent) || row.Bytes != uint64(size) {
		d.t.Errorf("%d records, %d bytes left; on record is %+v", sent, size, row)
	}
	for _, e := range d.entries("ch") {
		if e.DecisionID == row.ID && e.Phase == audit.Ended && (e.End != audit.Cut || e.Result != reason || e.Bytes != row.Bytes) {
			d.t.Errorf("the log has %+v", e)
		}
	}
}

// A record that is deleted while a disclosure runs does not leave any more.
func TestDisclosureReadsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.crowd(batchRecords * 2)
		d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
		req := to("r", residency.Payments)
		req.Tenant = d.id
		seen := map[string]bool{}
		err := d.g.Disclose(t.Context(), as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req, func(p DisclosePiece) error {
			if len(seen) == 0 {
				for i := range batchRecords * 2 {
					d.ok(d.g.DeleteRecord(t.Context(), as(ch, "DeleteRecord", residency.Erase, residency.PersonalInformation),
						DeleteRecord{Tenant: d.id, Subject: "s1", Record: fmt.Sprintf("n%03d", i)}))
				}
			}
			seen[p.Record.ID] = true
			return nil
		})
		d.ok(err)
		if row := d.disclosures(ListDisclosures{})[0]; len(seen) > batchRecords+1 || row.Records != uint64(len(seen)) || row.End != "completed" {
			t.Errorf("%d records left; on record is %+v", len(seen), row)
		}
	})
}

// All of what is held leaves, however much it is, each record once.
func TestDisclosureOfMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.crowd(3*batchRecords + 7)
		d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
		out := d.discloses(to("r", residency.Payments))
		seen := map[string]bool{}
		for _, r := range out.records {
			seen[r.ID] = true
		}
		if len(out.records) != 3*batchRecords+8 || len(seen) != len(out.records) {
			t.Errorf("%d records, %d of them different", len(out.records), len(seen))
		}
	})
}

// A disclosure whose gateway dies is closed as unknown, in the log and on record, with what was last counted.
func TestAbandonedDisclosure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, object := range []Disclose{{Subject: "s1"}, {Drive: "d1"}} {
			d := newDesk(t, ch)
			d.drive(d.id, "d1", 3<<20)
			d.register(aRecipient("police", residency.LawEnforcement, ch))
			req := object
			req.Tenant, req.Recipient, req.Purpose, req.Order = d.id, "police", residency.LegalObligation, d.approved(d.anOrder()).ID
			stuck, resume, ended := make(chan struct{}), make(chan struct{}), make(chan error)
			n := 0
			go func() {
				ended <- d.g.Disclose(t.Context(), as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req, func(DisclosePiece) error {
					if n++; n == 2 {
						close(stuck)
						<-resume // the machine sleeps
					}
					return nil
				})
			}()
			<-stuck
			if row := d.disclosures(ListDisclosures{})[0]; row.End != "" || row.Order != req.Order {
				t.Errorf("under way: %+v", row)
			}
			d.g.keeper.renewAll(t.Context())
			time.Sleep(2 * time.Minute)
			d.g.sweepAll(t.Context())
			row := d.disclosures(ListDisclosures{})[0]
			close(resume)
			d.wantKind(<-ended, residency.AuditUnavailable)
			if row.End != "unknown" || row.Bytes == 0 {
				t.Errorf("closed as %+v", row)
			}
			if again := d.disclosures(ListDisclosures{})[0]; again.End != "unknown" || again.Bytes != row.Bytes {
				t.Errorf("then %+v", again)
			}
		}
	})
}

// Nothing leaves before its intent is written; when its outcome cannot be, the disclosure is still on record.
func TestDisclosureNeedsItsEntries(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted, storetest.FaultHang} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, ch)
			d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
			d.mem["ch"].Fail(storetest.OpAppend, storetest.Once(fault))
			out, err := d.disclose(to("r", residency.Payments))
			d.wantKind(err, residency.AuditUnavailable)
			if len(out.records) != 0 {
				t.Error("something left before its entry")
			}
			before := len(d.disclosures(ListDisclosures{}))
			if most := map[storetest.Fault]int{storetest.FaultFailPersisted: 1}[fault]; before != most {
				t.Errorf("%d disclosures are on record, want %d", before, most)
			}

			n := 0
			d.mem["ch"].Fail(storetest.OpAppend, func() storetest.Fault {
				if n++; n == 2 { // the intent passes, the outcome does not
					return fault
				}
				return storetest.FaultNone
			})
			out, err = d.disclose(to("r", residency.Payments))
			d.mem["ch"].Fail(storetest.OpAppend, nil)
			if residency.KindOf(err) != residency.AuditUnavailable || len(out.records) != 1 {
				t.Errorf("%d records left: %v", len(out.records), err)
			}
			time.Sleep(3 * time.Minute)
			d.g.sweepAll(t.Context())
			row := d.disclosures(ListDisclosures{})[0]
			if want := map[storetest.Fault]string{storetest.FaultFailPersisted: "completed"}[fault]; row.End != want && row.End != "unknown" {
				t.Errorf("on record is %+v", row)
			}
		})
	}
}

// Keys out of reach stop a disclosure and are said to.
func TestDisclosureNeedsItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
		time.Sleep(2 * time.Minute) // no key is in memory any more
		d.mem["ch"].Fail(storetest.OpKeysGet, storetest.Always(storetest.FaultFail))
		out, err := d.disclose(to("r", residency.Payments))
		d.wantKind(err, residency.KeysUnavailable)
		if len(out.records) != 0 {
			t.Error("something left")
		}
		d.mem["ch"].Fail(storetest.OpKeysGet, nil)
		d.discloses(to("r", residency.Payments))
	})
}

func TestListDisclosures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		_, _, err := d.put(ch, d.id, aRecord("s2", "r1"), nil)
		d.ok(err)
		d.drive(d.id, "d1", 1<<20)
		d.register(aRecipient("a", residency.Agent, ch, contacts(residency.Payments)))
		d.register(aRecipient("b", residency.Agent, ch, contacts(residency.Payments)))
		d.register(aRecipient("police", residency.LawEnforcement, ch))
		order := d.approved(d.anOrder()).ID
		var ids []string // newest first
		for _, req := range []Disclose{
			{Recipient: "a", Subject: "s1", Purpose: residency.Payments}, {Recipient: "b", Subject: "s2", Purpose: residency.Payments},
			{Recipient: "police", Drive: "d1", Purpose: residency.LegalObligation, Order: order}, {Recipient: "b", Subject: "s1", Purpose: residency.Payments},
		} {
			ids = append([]string{d.discloses(req).call.Decision.ID}, ids...)
			time.Sleep(time.Second)
		}
		for _, c := range []struct {
			req  ListDisclosures
			want []string
		}{
			{ListDisclosures{}, ids}, {ListDisclosures{Subject: "s1"}, []string{ids[0], ids[3]}}, {ListDisclosures{Subject: "s2"}, ids[2:3]},
			{ListDisclosures{Recipient: "b"}, []string{ids[0], ids[2]}}, {ListDisclosures{Subject: "s1", Recipient: "b"}, ids[:1]},
			{ListDisclosures{Subject: "s9"}, nil}, {ListDisclosures{Recipient: "nobody"}, nil},
		} {
			var got []string
			c.req.Tenant, c.req.Page.Size = d.id, 2
			for {
				list, next, err := d.g.ListDisclosures(t.Context(), d.by("admin", "ListDisclosures"), c.req)
				d.ok(err)
				for _, r := range list {
					got = append(got, r.ID)
				}
				if c.req.Page.Token = next; next == "" {
					break
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%+v: got %v, want %v", c.req, got, c.want)
			}
		}
	})
}

// What is on record of a person goes with their key; listings pass over it.
func TestDisclosuresGoWithThePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		_, _, err := d.put(ch, d.id, aRecord("s2", "r1"), nil)
		d.ok(err)
		d.register(aRecipient("a", residency.Agent, ch, contacts(residency.Payments)))
		o := d.object(Objection{Subject: "s1"})
		d.discloses(to("a", residency.Payments))
		kept := d.discloses(Disclose{Recipient: "a", Subject: "s2", Purpose: residency.Payments}).call.Decision.ID
		region := &d.g.cfg.Regions[0]
		id := d.tenantKeys(d.id)
		tk, err := region.Vault.Tenant(t.Context(), id)
		d.ok(err)
		d.ok(region.Vault.DestroySubject(t.Context(), id, tk.ID("subject", "s1")))
		if list := d.disclosures(ListDisclosures{}); len(list) != 1 || list[0].ID != kept {
			t.Errorf("listed %+v", list)
		}
		if list := d.disclosures(ListDisclosures{Subject: "s1"}); len(list) != 0 {
			t.Errorf("listed %+v", list)
		}
		d.wantKind(d.lift(o.ID), residency.NotFound)
	})
}

// A person who is erased while something about them is being disclosed: it is cut at once, and nothing of it stays.
func TestErasureCutsADisclosure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.crowd(2 * batchRecords)
		d.register(aRecipient("a", residency.ThirdParty, ch, contacts(residency.Payments)))
		_, err := d.notice(Notice{Subject: "s1", Recipient: "a", Purposes: residency.PurposeSet(residency.Payments), PeriodEnds: time.Now().Add(time.Second)})
		d.ok(err)
		d.ok(d.lift(d.object(Objection{Subject: "s1"}).ID))
		time.Sleep(time.Second)
		req := to("a", residency.Payments)
		req.Tenant = d.id
		sent := 0
		erasure := ""
		err = d.g.Disclose(t.Context(), as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req, func(DisclosePiece) error {
			if sent++; sent == 3 {
				out, _, err := d.eraseSubject(ch, d.id, "s1", "")
				d.ok(err)
				erasure = out.ID
			}
			return nil
		})
		d.wantKind(err, residency.NotFound)
		if sent != 3 || len(d.disclosures(ListDisclosures{})) != 0 {
			t.Errorf("%d records left", sent)
		}
		d.g.sweepAll(t.Context())
		for _, kind := range []store.Kind{store.KindDisclosure, store.KindObjection, store.KindNotice} {
			if n := d.rows("ch", d.id, kind); n != 0 {
				t.Errorf("%d rows of kind %d are left", n, kind)
			}
		}
		// Records with two lookups each, the person, a notice; an objection and a disclosure and where they are.
		if now, err := d.erasure(ch, d.id, erasure); err != nil || now.Rows != 3*(2*batchRecords+2)+1+1+2+2 {
			t.Errorf("swept %+v, %v", now, err)
		}
		_, err = d.notice(Notice{Subject: "s1", Recipient: "a", Purposes: residency.PurposeSet(residency.Payments)})
		d.wantKind(err, residency.Erased)
		for _, subject := range []string{"s1", "never"} { // they are the same from then on
			req.Subject = subject
			d.refuses(req, residency.NoticeRequired, "choice")
		}
	})
}
