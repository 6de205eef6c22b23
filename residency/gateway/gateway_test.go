package gateway

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
)

// The main job: at home a record is read; across the border it is refused, then
// permitted by a consent, then refused again once that is withdrawn.
func TestBorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)

		r, call, err := w.get(ch, "alpen", "s1", "r1")
		w.ok(err)
		if r.FullName != "Canary Kanarek" || r.Version != 1 || !call.Decision.Allow || call.Decision.ID == "" {
			t.Fatalf("read at home: %+v %+v", r, call.Decision)
		}

		_, call, err = w.get(us, "alpen", "s1", "r1")
		w.wantKind(err, residency.CrossBorderConsentRequired)
		if d := call.Decision; d.From != ch || d.To != us || d.Clause != "product/border" || d.ID == "" {
			t.Fatalf("blocked: %+v", d)
		}

		c := w.grant("alpen", "s1", residency.PersonalInformation, residency.Payments)
		_, call, err = w.get(us, "alpen", "s1", "r1")
		w.ok(err)
		if call.Decision.ConsentID != c.ID {
			t.Fatalf("the decision names consent %q, want %q", call.Decision.ConsentID, c.ID)
		}

		start := time.Now()
		w.ok(w.withdraw(us, "alpen", c.ID))
		if took := time.Since(start); took < time.Second || took > 1500*time.Millisecond {
			t.Fatalf("the withdrawal answered after %v", took)
		}
		_, call, err = w.get(us, "alpen", "s1", "r1")
		w.wantKind(err, residency.ConsentIsWithdrawn)
		if call.Decision.ConsentID != c.ID {
			t.Fatalf("the refusal names consent %q, want %q", call.Decision.ConsentID, c.ID)
		}
	})
}

// Across the border a hit and a miss, an existing and an absent object, even an
// absent tenant, give the same answer.
func TestBorderTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	w.drive("alpen", "d1", 1<<20)
	use := func(class residency.DataClass) *Call { return as(us, "x", residency.Use, class) }
	pi, vd := residency.PersonalInformation, residency.VirtualDriveData
	calls := map[string]func() (*Call, error){}
	add := func(name string, f func(*Call) error, c func() *Call) {
		calls[name] = func() (*Call, error) { k := c(); return k, f(k) }
	}
	for _, tenant := range []string{"alpen", "absent"} {
		for _, s := range []string{"s1", "nobody"} {
			add("get/"+tenant+"/"+s, func(c *Call) error {
				_, err := w.g.GetRecord(t.Context(), c, GetRecord{Tenant: tenant, Subject: s, Record: "r1", Purpose: residency.Payments})
				return err
			}, func() *Call { return use(pi) })
			add("list/"+tenant+"/"+s, func(c *Call) error {
				_, _, err := w.g.ListRecords(t.Context(), c, ListRecords{Tenant: tenant, Subject: s, Purpose: residency.Payments})
				return err
			}, func() *Call { return use(pi) })
			add("put-expecting/"+tenant+"/"+s, func(c *Call) error {
				_, err := w.g.PutRecord(t.Context(), c, PutRecord{Tenant: tenant, Record: aRecord(s, "r1"), Expected: ptr(uint64(1))})
				return err
			}, func() *Call { return as(us, "x", residency.Collect, pi) })
			add("delete/"+tenant+"/"+s, func(c *Call) error {
				return w.g.DeleteRecord(t.Context(), c, DeleteRecord{Tenant: tenant, Subject: s, Record: "r1"})
			}, func() *Call { return as(us, "x", residency.Erase, pi) })
		}
		for _, email := range []string{"canary@example.org", "nobody@example.org"} {
			add("find/"+tenant+"/"+email, func(c *Call) error {
				_, _, err := w.g.FindRecords(t.Context(), c, FindRecords{Tenant: tenant, Email: email, Purpose: residency.Payments})
				return err
			}, func() *Call { return use(pi) })
		}
		add("subjects/"+tenant, func(c *Call) error {
			_, _, err := w.g.ListSubjects(t.Context(), c, ListSubjects{Tenant: tenant, Purpose: residency.Payments})
			return err
		}, func() *Call { return use(pi) })
		for _, d := range []string{"d1", "absent"} {
			add("drive/"+tenant+"/"+d, func(c *Call) error {
				return w.g.ReadDrive(t.Context(), c, ReadDrive{Tenant: tenant, Drive: d, Purpose: residency.ServiceProvision},
					func([]byte) error { t.Error("a byte left"); return nil })
			}, func() *Call { return use(vd) })
		}
		add("consents/"+tenant, func(c *Call) error {
			_, _, err := w.g.ListConsents(t.Context(), c, ListConsents{Tenant: tenant})
			return err
		}, func() *Call { return as(us, "x", residency.Govern, pi) })
		add("decisions/"+tenant, func(c *Call) error {
			_, _, err := w.g.ListDecisions(t.Context(), c, ListDecisions{Tenant: tenant})
			return err
		}, func() *Call { return as(us, "x", residency.Govern, pi) })
	}
	answers := make(map[string]residency.Decision)
	for name, f := range calls {
		call, err := f()
		if residency.KindOf(err) != residency.CrossBorderConsentRequired {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d := call.Decision
		if d.ID == "" || d.From != ch || d.To != us || d.Clause != "product/border" || d.ConsentID != "" {
			t.Errorf("%s: the refusal is %+v", name, d)
		}
		d.ID, d.Time = "", time.Time{}
		kind, _, _ := strings.Cut(name, "/")
		if first, ok := answers[kind]; ok && first != d {
			t.Errorf("%s: the refusal differs: %+v and %+v", name, d, first)
		}
		answers[kind] = d
	}
	// A check is an answer; from abroad it too says the same of all.
	for _, tenant := range []string{"alpen", "absent"} {
		for _, to := range []residency.Region{"ch", "us"} {
			d, err := w.g.CheckTransfer(t.Context(), as(us, "x", residency.Transfer, pi),
				CheckTransfer{Tenant: tenant, Subject: "s1", Class: pi, To: to, Purpose: residency.Payments})
			if err != nil || d.Allow || d.Reason != residency.CrossBorderConsentRequired || d.From != ch || d.To != us {
				t.Errorf("check %s to %s: %+v %v", tenant, to, d, err)
			}
		}
	}
}

func TestBlindWriteFromAbroad(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	for range 2 {
		out, _, err := w.put(us, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)
		if out.Version != 0 || !out.Collected.IsZero() || out.ID != "r1" {
			t.Fatalf("a blind write tells %+v", out)
		}
	}
	r, _, err := w.get(ch, "alpen", "s1", "r1")
	w.ok(err)
	if r.Version != 2 {
		t.Fatalf("version %d, want 2", r.Version)
	}
}

func TestConsentIsGrantedAtHomeOnly(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, err := w.g.GrantConsent(t.Context(), as(us, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: "alpen", Consent: border("s1", residency.PersonalInformation, residency.Payments)})
	w.wantKind(err, residency.CallerNotPermitted)
	back := border("s1", residency.PersonalInformation, residency.Payments)
	back.From, back.To = us, ch
	_, err = w.g.GrantConsent(t.Context(), as(us, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: "alpen", Consent: back})
	w.wantKind(err, residency.CrossBorderConsentRequired)
	if n := len(w.entries("us")); n != 0 {
		t.Fatalf("%d entries in the log of the other region", n)
	}
}

// A person's own withdrawal outweighs the whole tenant's consent, also in
// listings over all subjects.
func TestOwnWordWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		for _, s := range []string{"s1", "s2"} {
			_, _, err := w.put(ch, "alpen", aRecord(s, "r1"), nil)
			w.ok(err)
		}
		own := w.grant("alpen", "s1", residency.PersonalInformation, residency.Payments)
		w.ok(w.withdraw(ch, "alpen", own.ID))
		w.grant("alpen", "", residency.PersonalInformation, residency.Payments)

		_, _, err := w.get(us, "alpen", "s1", "r1")
		w.wantKind(err, residency.ConsentIsWithdrawn)
		_, _, err = w.get(us, "alpen", "s2", "r1")
		w.ok(err)
		subjects, _, err := w.g.ListSubjects(t.Context(), as(us, "ListSubjects", residency.Use, residency.PersonalInformation),
			ListSubjects{Tenant: "alpen", Purpose: residency.Payments})
		w.ok(err)
		if len(subjects) != 1 || subjects[0].ID != "s2" {
			t.Fatalf("subjects seen from abroad: %v", subjects)
		}
		found, _, err := w.g.FindRecords(t.Context(), as(us, "FindRecords", residency.Use, residency.PersonalInformation),
			FindRecords{Tenant: "alpen", Email: "CANARY@example.org", Purpose: residency.Payments})
		w.ok(err)
		if len(found) != 1 || found[0].Subject != "s2" {
			t.Fatalf("records found from abroad: %d", len(found))
		}
	})
}

func TestPurposeAndMarketing(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	r := aRecord("s1", "r1")
	r.Purposes |= residency.PurposeSet(residency.Marketing)
	_, _, err := w.put(ch, "alpen", r, nil)
	w.ok(err)
	get := func(p residency.Purpose) error {
		_, err := w.g.GetRecord(t.Context(), as(ch, "GetRecord", residency.Use, residency.PersonalInformation),
			GetRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Purpose: p})
		return err
	}
	w.wantKind(get(residency.Enquiries), residency.PurposeNotPermitted)
	w.wantKind(get(residency.Marketing), residency.MarketingOptInRequired)
	optIn := border("s1", residency.PersonalInformation, residency.Marketing)
	optIn.Kind, optIn.To = residency.MarketingOptIn, residency.Jurisdiction{}
	_, err = w.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: "alpen", Consent: optIn})
	w.ok(err)
	w.ok(get(residency.Marketing))
}

func TestRecordLife(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), ptr(uint64(1)))
	w.wantKind(err, residency.VersionMismatch)
	out, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), ptr(uint64(0)))
	w.ok(err)
	if out.Version != 1 {
		t.Fatalf("version %d", out.Version)
	}
	_, _, err = w.put(ch, "alpen", aRecord("s1", "r1"), ptr(uint64(0)))
	w.wantKind(err, residency.VersionMismatch)
	changed := aRecord("s1", "r1")
	changed.Email = "other@example.org"
	_, _, err = w.put(ch, "alpen", changed, ptr(uint64(1)))
	w.ok(err)
	find := func(email string) int {
		found, _, err := w.g.FindRecords(t.Context(), as(ch, "FindRecords", residency.Use, residency.PersonalInformation),
			FindRecords{Tenant: "alpen", Email: email, Purpose: residency.Payments})
		w.ok(err)
		return len(found)
	}
	if find("canary@example.org") != 0 || find("other@example.org") != 1 {
		t.Fatal("the lookup did not follow the record")
	}
	erase := as(ch, "DeleteRecord", residency.Erase, residency.PersonalInformation)
	w.ok(w.g.DeleteRecord(t.Context(), erase, DeleteRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Expected: ptr(uint64(2))}))
	_, _, err = w.get(ch, "alpen", "s1", "r1")
	w.wantKind(err, residency.NotFound)
	if find("other@example.org") != 0 {
		t.Fatal("a deleted record is found")
	}
	subjects, _, err := w.g.ListSubjects(t.Context(), as(ch, "ListSubjects", residency.Use, residency.PersonalInformation),
		ListSubjects{Tenant: "alpen", Purpose: residency.Payments})
	w.ok(err)
	if len(subjects) != 0 {
		t.Fatalf("subjects left: %v", subjects)
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	id := newRequestID()
	put := func(r Record) (RecordWritten, error) {
		return w.g.PutRecord(t.Context(), as(ch, "PutRecord", residency.Collect, residency.PersonalInformation),
			PutRecord{Tenant: "alpen", Record: r, RequestID: id})
	}
	first, err := put(aRecord("s1", ""))
	w.ok(err)
	second, err := put(aRecord("s1", ""))
	w.ok(err)
	if first != second || first.ID == "" {
		t.Fatalf("first %+v, second %+v", first, second)
	}
	other := aRecord("s1", "")
	other.FullName = "Somebody Else"
	_, err = put(other)
	w.wantKind(err, residency.RequestIDReused)
}

func TestCookiesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		r := aRecord("s1", "r1")
		r.Source = residency.Automatic
		_, _, err := w.put(ch, "alpen", r, nil)
		w.wantKind(err, residency.BadRequest)
		r.Expires = time.Now().Add(time.Hour)
		_, _, err = w.put(ch, "alpen", r, nil)
		w.ok(err)
		time.Sleep(time.Hour)
		_, _, err = w.get(ch, "alpen", "s1", "r1")
		w.wantKind(err, residency.NotFound)
		w.g.sweepAll(t.Context())
		log := w.entries("ch")
		if last := log[len(log)-1]; last.Clause != "cookies" || last.Action != residency.Erase || !last.Allow {
			t.Fatalf("the expiry is not in the log: %+v", last)
		}
	})
}

func TestChildren(t *testing.T) {
	w := newWorld(t)
	w.tenant("ohio", us)
	r := aRecord("s1", "r1")
	child := time.Now().AddDate(-13, 0, 1)
	r.BirthDate = Date{child.Year(), int(child.Month()), child.Day()}
	_, call, err := w.put(us, "ohio", r, nil)
	w.wantKind(err, residency.ParentalConsentRequired)
	if call.Decision.Clause != "children" {
		t.Fatalf("clause %q", call.Decision.Clause)
	}
	c := border("s1", residency.PersonalInformation, residency.Payments)
	c.Kind, c.From, c.To = residency.Parental, us, us
	c.Purposes = r.Purposes
	_, err = w.g.GrantConsent(t.Context(), as(us, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: "ohio", Consent: c})
	w.ok(err)
	_, _, err = w.put(us, "ohio", r, nil)
	w.ok(err)
}

func TestPlacement(t *testing.T) {
	w := newWorld(t)
	register := func(id, residence string, home residency.Region, agreed bool) (Tenant, error) {
		j, err := residency.ParseJurisdiction(residence)
		w.ok(err)
		req := NewTenant{ID: id, Residence: j, Home: home}
		if agreed {
			e := border("s", 1, 1).Evidence
			req.Agreement = &e
		}
		return w.g.RegisterTenant(t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData), req)
	}
	for _, c := range []struct {
		residence string
		home      residency.Region
		agreed    bool
		want      residency.Kind
		in        residency.Region
	}{
		{"CH", "", false, residency.OK, "ch"},
		{"US", "", false, residency.OK, "us"},
		{"DE", "", false, residency.AgreementRequired, ""},
		{"DE", "", true, residency.OK, "ch"},
		{"US", "ch", false, residency.AgreementRequired, ""},
		{"US", "ch", true, residency.OK, "ch"},
		{"JP", "", true, residency.BadRequest, ""},
		{"JP", "ch", true, residency.OK, "ch"},
		{"CH", "eu", false, residency.BadRequest, ""},
	} {
		got, err := register("t-"+newRequestID()[:8], c.residence, c.home, c.agreed)
		if residency.KindOf(err) != c.want || got.Home != c.in {
			t.Errorf("%s in %q, agreed %v: %v, %v", c.residence, c.home, c.agreed, got.Home, err)
		}
	}
	w.tenant("taken", ch)
	_, err := register("taken", "CH", "", false)
	w.wantKind(err, residency.AlreadyExists)
	_, err = register("taken", "US", "", false)
	w.wantKind(err, residency.AlreadyExists)
}

func TestDriveReadsWhatWasWritten(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	const size = 9<<20 + 12345
	w.drive("alpen", "d1", size)
	want := make([]byte, size)
	check := func(off, n int64) {
		t.Helper()
		got, err := w.read(ch, "alpen", "d1", off, n)
		w.ok(err)
		end := off + n
		if n == 0 {
			end = size
		}
		if !bytes.Equal(got, want[off:end]) {
			t.Fatalf("bytes %d to %d differ", off, end)
		}
	}
	check(0, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 12 {
		off := rng.Int64N(size)
		n := 1 + rng.Int64N(min(5<<20, size-off))
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		out, err := w.write(ch, "alpen", "d1", off, data)
		w.ok(err)
		if out.Bytes != n || out.Version != uint64(i+2) {
			t.Fatalf("written %+v", out)
		}
		copy(want[off:], data)
		check(0, 0)
		a := rng.Int64N(size)
		check(a, 1+rng.Int64N(size-a))
	}
	_, err := w.write(ch, "alpen", "d1", size-1, []byte{1, 2})
	w.wantKind(err, residency.BadRequest)
	_, err = w.write(ch, "alpen", "d1", size, []byte{1})
	w.wantKind(err, residency.BadRequest)
	_, err = w.read(ch, "alpen", "d1", 1, size)
	w.wantKind(err, residency.BadRequest)
	check(0, 0)
	erase := as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData)
	w.ok(w.g.DeleteDrive(t.Context(), erase, DeleteDrive{Tenant: "alpen", Drive: "d1"}))
	_, err = w.read(ch, "alpen", "d1", 0, 0)
	w.wantKind(err, residency.NotFound)
}

func TestDriveAcrossTheBorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 1<<20)
		_, err := w.write(ch, "alpen", "d1", 0, []byte("canary"))
		w.ok(err)
		_, err = w.read(us, "alpen", "d1", 0, 6)
		w.wantKind(err, residency.CrossBorderConsentRequired)
		c := w.grant("alpen", "", residency.VirtualDriveData, residency.ServiceProvision)
		got, err := w.read(us, "alpen", "d1", 0, 6)
		w.ok(err)
		if string(got) != "canary" {
			t.Fatalf("read %q", got)
		}
		provider := as(us, "ReadDrive", residency.Use, residency.VirtualDriveData)
		provider.Caller.Party = residency.ProviderParty
		err = w.g.ReadDrive(t.Context(), provider, ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision},
			func([]byte) error { t.Error("a byte left"); return nil })
		w.wantKind(err, residency.DriveDataNeverShared)
		w.ok(w.withdraw(ch, "alpen", c.ID))
		_, err = w.read(us, "alpen", "d1", 0, 6)
		w.wantKind(err, residency.ConsentIsWithdrawn)
	})
}

func TestStreamsAreInTheLog(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	_, err := w.write(ch, "alpen", "d1", 0, bytes.Repeat([]byte{1}, 300_000))
	w.ok(err)
	log := w.entries("ch")
	intent, ended := log[len(log)-2], log[len(log)-1]
	if intent.Phase != audit.Intent || ended.Phase != audit.Ended || ended.End != audit.Completed ||
		ended.Bytes != 300_000 || intent.DecisionID != ended.DecisionID {
		t.Fatalf("intent %+v\nended %+v", intent, ended)
	}
	rec, err := w.g.GetDecision(t.Context(), as(ch, "GetDecision", residency.Govern, residency.PersonalInformation), "alpen", intent.DecisionID)
	w.ok(err)
	if rec.Stream == nil || rec.Stream.End != "completed" || rec.Stream.Bytes != 300_000 {
		t.Fatalf("decision record %+v", rec)
	}
}

func TestDecisionsAreListed(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	var ids []string
	for range 7 {
		_, call, err := w.get(us, "alpen", "s1", "r1")
		w.wantKind(err, residency.CrossBorderConsentRequired)
		ids = append(ids, call.Decision.ID)
	}
	govern := as(ch, "ListDecisions", residency.Govern, residency.PersonalInformation)
	var got []string
	token := ""
	for {
		page, next, err := w.g.ListDecisions(t.Context(), govern, ListDecisions{Tenant: "alpen", Only: OnlyDenied, Page: Page{Size: 3, Token: token}})
		w.ok(err)
		for _, r := range page {
			got = append(got, r.Decision.ID)
		}
		if token = next; token == "" {
			break
		}
	}
	if len(got) != len(ids) {
		t.Fatalf("%d decisions, want %d", len(got), len(ids))
	}
	for i := range got {
		if got[i] != ids[len(ids)-1-i] {
			t.Fatalf("decision %d is %s, want %s", i, got[i], ids[len(ids)-1-i])
		}
	}
	_, _, err := w.g.ListDecisions(t.Context(), govern, ListDecisions{Tenant: "alpen", Page: Page{Token: "bm9uc2Vuc2Vub25zZW5zZW5vbnNlbnNl"}})
	w.wantKind(err, residency.BadRequest)
}

func TestHoldsCard(t *testing.T) {
	for text, want := range map[string]bool{
		"4111 1111 1111 1111":                true,
		"card 4111-1111-1111-1111 ok":        true,
		"378282246310005":                    true,
		"x5555555555554444x":                 true,
		"94111111111111111":                  true,
		"4111\u00a01111\u20131111\u20101111": true, // no-break space, dashes
		"４１１１ １１１１ １１１１ １１１１":                true, // full-width
		"٤١١١١١١١١١١١١١١١":                   true, // Arabic-Indic
		"4111.1111.1111.1111":                false,
		"4111 1111 1111 1112":                false,
		"1234567890123456":                   false,
		"+41 44 668 18 00":                   false,
		"Badenerstrasse 549 8048 Zürich":     false,
		"":                                   false,
	} {
		if got := holdsCard(text); got != want {
			t.Errorf("holdsCard(%q) = %v", text, got)
		}
	}
}
