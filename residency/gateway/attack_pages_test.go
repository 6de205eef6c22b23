package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// eraseAndSweep erases s1 and sweeps that erasure alone.
func (d *desk) eraseAndSweep() error {
	_, _, err := d.eraseSubject(ch, d.id, "s1", "")
	if err != nil {
		return err
	}
	region := d.g.region("ch")
	due, err := region.Clusters[0].Rows.Due(d.t.Context(), sweepBatch)
	for _, task := range due {
		if task.Kind == store.TaskEraseSubject {
			err = d.g.perform(d.t.Context(), region, &region.Clusters[0], task)
		}
	}
	return err
}

// A disclosure that is closed as abandoned while the person is erased leaves no row of theirs.
func TestAttackAbandonedWhileErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
		ended, release := make(chan error), make(chan struct{})
		go func() {
			req := to("r", residency.Payments)
			req.Tenant = d.id
			ended <- d.g.Disclose(t.Context(), as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req,
				func(DisclosePiece) error { <-release; return nil })
		}()
		synctest.Wait()
		time.Sleep(2 * time.Minute) // nothing renews its lease
		erased := make(chan error, 1)
		raced := false
		d.mem["ch"].Fail(storetest.OpUpdate, func() storetest.Fault {
			if !raced { // it is being closed: an erasure comes, and is swept
				raced = true
				go func() { erased <- d.eraseAndSweep() }()
				time.Sleep(500 * time.Millisecond)
			}
			return storetest.FaultNone
		})
		d.g.sweepAll(t.Context())
		d.ok(<-erased)
		close(release)
		d.wantKind(<-ended, residency.AuditUnavailable)
		d.g.sweepAll(t.Context())
		if n := d.rows("ch", d.id, store.KindDisclosure); n != 0 || !raced {
			t.Errorf("%d rows are left of somebody erased", n)
		}
	})
}

// A page token does not tell abroad that somebody was left out of the page.
func TestAttackPageTokensTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
		_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)
		other := aRecord("s1", "r2") // for another purpose
		other.Purposes = residency.PurposeSet(residency.Records)
		_, _, err = w.put(ch, "alpen", other, nil)
		w.ok(err)
		for i := range 16 { // some of them come after the one who is shown, in the order of digests
			s := fmt.Sprint("left-out-", i)
			_, _, err := w.put(ch, "alpen", aRecord(s, "r1"), nil)
			w.ok(err)
			w.ok(w.withdraw(ch, "alpen", w.grant("alpen", s, residency.PersonalInformation, residency.Payments).ID))
		}
		use := func(method string) *Call { return as(us, method, residency.Use, residency.PersonalInformation) }
		found, next, err := w.g.FindRecords(t.Context(), use("FindRecords"),
			FindRecords{Tenant: "alpen", Email: "canary@example.org", Purpose: residency.Payments, Page: Page{Size: 1}})
		if w.ok(err); len(found) != 1 || next != "" {
			t.Errorf("found %d, and a token %q", len(found), next)
		}
		subjects, next, err := w.g.ListSubjects(t.Context(), use("ListSubjects"), ListSubjects{Tenant: "alpen", Purpose: residency.Payments, Page: Page{Size: 1}})
		if w.ok(err); len(subjects) != 1 || next != "" {
			t.Errorf("listed %d people, and a token %q", len(subjects), next)
		}
		records, next, err := w.g.ListRecords(t.Context(), use("ListRecords"),
			ListRecords{Tenant: "alpen", Subject: "s1", Purpose: residency.Payments, Page: Page{Size: 1}})
		if w.ok(err); len(records) != 1 || next != "" {
			t.Errorf("listed %d records, and a token %q", len(records), next)
		}
	})
}

// What is shown comes once, page by page, and its bytes are counted on the page that it leaves with.
func TestPagesOfWhatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		for i := range 7 {
			_, _, err := w.put(ch, "alpen", aRecord("s1", fmt.Sprint("r", i)), nil)
			w.ok(err)
		}
		seen, token := map[string]bool{}, ""
		var pages []int
		var bytes uint64
		for more := true; more; more = token != "" {
			call := as(ch, "ListRecords", residency.Use, residency.PersonalInformation)
			var list []Record
			var err error
			list, token, err = w.g.ListRecords(t.Context(), call,
				ListRecords{Tenant: "alpen", Subject: "s1", Purpose: residency.Payments, Page: Page{Size: 3, Token: token}})
			w.ok(err)
			var left uint64
			for i := range list {
				seen[list[i].ID] = true
				left += uint64(len(encodeRecord(&list[i])))
			}
			log := w.entries("ch")
			if got := log[len(log)-1].Bytes; got != left {
				t.Errorf("the log counts %d bytes of %d", got, left)
			}
			pages, bytes = append(pages, len(list)), bytes+left
		}
		if len(seen) != 7 || fmt.Sprint(pages) != "[3 3 1]" || bytes == 0 {
			t.Errorf("pages of %v, %d records", pages, len(seen))
		}
	})
}

// Pages of the largest consents and disclosures stay below what a client takes by default.
func TestAttackLargePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		names := make([]string, maxFields)
		for i := range names {
			names[i] = fmt.Sprintf("attributes.%064d", i)
		}
		d.register(aRecipient("r", residency.FraudPartner, ch, Function{residency.FraudPrevention, names}))
		full := aRecord("s1", "r9")
		for _, name := range names {
			full.Attributes[strings.TrimPrefix(name, "attributes.")] = "canary"
		}
		_, _, err := d.put(ch, d.id, full, nil)
		d.ok(err)
		req := to("r", residency.FraudPrevention)
		req.Necessity = strings.Repeat("n", 1024)
		for range 400 {
			d.discloses(req)
		}
		list, next, err := d.g.ListDisclosures(t.Context(), d.by("admin", "ListDisclosures"), ListDisclosures{Tenant: d.id, Page: Page{Size: maxPage}})
		d.ok(err)
		size := 0
		for i := range list {
			size += len(encodeRow(&list[i]))
		}
		if size < maxPageBytes || size > maxPageBytes+1<<14 || next == "" {
			t.Errorf("a page of %d disclosures has %d bytes, and a token %q", len(list), size, next)
		}

		c := border("", residency.PersonalInformation, residency.Payments)
		for i := range 64 {
			c.Recipients = append(c.Recipients, fmt.Sprintf("%064d", i))
		}
		c.WholeTenant = false
		for i := range 500 {
			c.Subject = fmt.Sprint("p", i%50)
			_, err := d.g.GrantConsent(t.Context(), d.by("admin", "GrantConsent"), GrantConsent{Tenant: d.id, Consent: c})
			d.ok(err)
		}
		consents, next, err := d.g.ListConsents(t.Context(), d.by("admin", "ListConsents"), ListConsents{Tenant: d.id, Page: Page{Size: maxPage}})
		d.ok(err)
		size = 0
		for i := range consents {
			size += len(consents[i].Consent.Encode())
		}
		if size < maxPageBytes || size > maxPageBytes+1<<14 || next == "" {
			t.Errorf("a page of %d consents has %d bytes, and a token %q", len(consents), size, next)
		}
	})
}
