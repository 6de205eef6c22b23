package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

func entriesCall() *Call {
	c := as(ch, "ReadEntries", residency.Govern, residency.PersonalInformation)
	c.Caller.SeesAll = true
	return c
}

// allEntries reads every page of a reading.
func (w *world) allEntries(req ReadEntries) (list []audit.Entry, pages int) {
	w.t.Helper()
	for {
		var next string
		n, last := 0, false
		w.ok(w.g.ReadEntries(w.t.Context(), entriesCall(), req, func(some []audit.Entry, token string) error {
			if last {
				w.t.Error("a message came after the one with the token")
			}
			list, next, last = append(list, some...), token, token != ""
			n += len(some)
			return nil
		}))
		pages++
		if want := req.Page.Size; want > 0 && n > want {
			w.t.Errorf("a page of %d has %d entries", want, n)
		}
		if req.Page.Token = next; next == "" {
			return list, pages
		}
	}
}

func places(list []audit.Entry) (out []uint64) {
	for i := range list {
		out = append(out, list[i].Place)
	}
	return out
}

// catchUp lets virtual time pass until identifiers are of it: they never go back within a process, in which other
// tests may have been years later. It comes before any background work, whose every second of that would be run.
func catchUp(t testing.TB) {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(time.Unix(id.Time().UnixTime())); ahead > 0 {
		time.Sleep(ahead)
	}
}

// busy makes entries of all sorts, of two tenants and of nobody, over some hours, and gives the names of the tenants.
func (w *world) busy(n int) []string {
	catchUp(w.t)
	tenants := []string{"alpen", "berge"}
	for _, id := range tenants {
		w.tenant(id, ch)
		w.drive(id, "d1", 1<<20)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		id := tenants[random.IntN(2)]
		switch random.IntN(6) {
		case 0:
			_, _, _ = w.get(us, id, "anna", "r")
		case 1:
			_, _, _ = w.get(ch, id, "anna", fmt.Sprintf("none-%d", i))
		case 2:
			_, err := w.write(ch, id, "d1", 0, []byte("drive data"))
			w.ok(err)
		case 3:
			_, _ = w.read(us, id, "d1", 0, 10)
		case 4:
			_, _, _ = w.g.ListTenants(w.t.Context(), as(ch, "ListTenants", residency.Govern, residency.AccountData), "ch", Page{})
		default:
			_, _, err := w.put(ch, id, aRecord("anna", "r"), nil)
			w.ok(err)
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Second)
	}
	return tenants
}

// reference reads what is wanted the plain way: every entry of the log, looked at one by one. Of a tenant's the decisions
// are put in their order, with all entries of each.
func (w *world) reference(req ReadEntries) (list []audit.Entry) {
	all := w.entries("ch")
	decided := map[string]time.Time{}
	for i := range all {
		if _, ok := decided[all[i].DecisionID]; !ok {
			decided[all[i].DecisionID] = all[i].Time
		}
	}
	f, pseudonym := req.Filter, ""
	if req.Tenant != "" {
		tk, err := w.g.region("ch").Vault.Tenant(w.t.Context(), w.tenantKeys(req.Tenant))
		w.ok(err)
		pseudonym = tk.Pseudonym()
	}
	for _, e := range slices.Backward(all) {
		at := e.Time
		if req.Tenant != "" {
			at = decided[e.DecisionID]
		}
		switch {
		case pseudonym != "" && e.Tenant != pseudonym,
			!f.Since.IsZero() && at.Before(f.Since), !f.Before.IsZero() && !at.Before(f.Before),
			f.Only == OnlyAllowed && !e.Allow, f.Only == OnlyDenied && e.Allow,
			f.Reason != residency.OK && e.Reason != f.Reason && e.Result != f.Reason,
			!f.From.IsZero() && e.From != f.From, !f.To.IsZero() && e.To != f.To,
			f.Caller != "" && e.Caller != f.Caller,
			f.Class != 0 && e.DataClass != f.Class, f.Action != 0 && e.Action != f.Action:
			continue
		}
		list = append(list, e)
	}
	if req.Tenant != "" {
		slices.SortStableFunc(list, func(a, b audit.Entry) int { return strings.Compare(b.DecisionID, a.DecisionID) })
	}
	return list
}

func TestEntriesAreThoseThatAreWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		catchUp(t)
		began := time.Now()
		tenants := w.busy(120)
		took := time.Since(began)
		at := func(share float64) time.Time { return began.Add(time.Duration(share * float64(took))) }
		filters := []EntryFilter{
			{},
			{Only: OnlyDenied}, {Only: OnlyAllowed},
			{Reason: residency.CrossBorderConsentRequired}, {Reason: residency.NotFound}, {Reason: residency.Erased},
			{From: ch}, {From: us}, {To: us},
			{Caller: "spiffe://example.org/app-US"}, {Caller: "spiffe://example.org/app-"},
			{Class: residency.VirtualDriveData}, {Action: residency.Collect},
			{Since: at(0.3)}, {Before: at(0.6)}, {Since: at(0.3), Before: at(0.6)}, {Since: at(2)}, {Before: began},
			{Since: at(0.2), Before: at(0.8), Only: OnlyDenied, Class: residency.PersonalInformation, To: us, Caller: "spiffe://example.org/app-US"},
		}
		found := 0
		for i, f := range filters {
			for _, req := range []ReadEntries{{Tenant: tenants[0]}, {Tenant: tenants[1]}, {Region: "ch"}, {Region: "ch", Cluster: "ch-1"}} {
				for _, size := range []int{0, 1, 9} {
					if size > 0 && i%6 != size%6 {
						continue // every page is a call, and every call an entry: some are enough
					}
					req.Filter, req.Page = f, Page{Size: size}
					want := w.reference(req) // before the readings add their own decisions
					got, pages := w.allEntries(req)
					// What the readings themselves add is newer than where they began.
					got = slices.DeleteFunc(got, func(e audit.Entry) bool { return e.Method == "ReadEntries" })
					want = slices.DeleteFunc(want, func(e audit.Entry) bool { return e.Method == "ReadEntries" })
					if !slices.Equal(places(got), places(want)) {
						t.Fatalf("filter %d of %s%s, pages of %d: %d entries on %d pages, want %d\n%v\n%v", i, req.Tenant, req.Region, size, len(got), pages, len(want), places(got), places(want))
					}
					found += len(got)
				}
			}
		}
		if found < 500 {
			t.Errorf("only %d entries were found in all", found)
		}
	})
}

// A row that was copied from another tenant's index shows nothing of that tenant.
func TestAnIndexWithAnothersRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenants := w.busy(60)
		theirs, _ := w.allEntries(ReadEntries{Tenant: tenants[1]})
		id, err := uuid.Parse(theirs[0].DecisionID)
		w.ok(err)
		w.ok(w.mem["ch"].Rows().Update(t.Context(), store.Scope{Tenant: w.tenantKeys(tenants[0])}, func(tx store.Tx) error {
			return tx.Put(store.KindDecision, newestFirst(id), binary.BigEndian.AppendUint64(nil, theirs[0].Place))
		}))
		err = w.g.ReadEntries(t.Context(), entriesCall(), ReadEntries{Tenant: tenants[0]}, func([]audit.Entry, string) error { return nil })
		w.wantKind(err, residency.IntegrityFailure)
		_, err = w.g.GetDecision(t.Context(), as(ch, "GetDecision", residency.Govern, residency.PersonalInformation), tenants[0], id.String())
		w.wantKind(err, residency.IntegrityFailure)
	})
}

// A tenant's entries are all of its own, whatever the index says: it is not sealed.
func TestAnIndexThatLeadsToAnothersEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenants := w.busy(60)
		log := w.entries("ch")
		ours, _ := w.allEntries(ReadEntries{Tenant: tenants[0]})
		for _, e := range ours {
			if e.Tenant != ours[0].Tenant || e.Tenant == "" {
				t.Fatalf("an entry of %q among those of %q", e.Tenant, ours[0].Tenant)
			}
		}
		other := slices.IndexFunc(log, func(e audit.Entry) bool { return e.Tenant != "" && e.Tenant != ours[0].Tenant })
		mine := slices.IndexFunc(log, func(e audit.Entry) bool { return e.Tenant == ours[0].Tenant })
		rows := w.mem["ch"].Rows()
		change := func(value []byte) {
			w.ok(rows.Update(t.Context(), store.Scope{Tenant: w.tenantKeys(tenants[0])}, func(tx store.Tx) error {
				var row store.ID
				err := tx.Scan(store.KindDecision, "", "", func(id store.ID, v []byte) bool {
					row = id
					return !bytes.Equal(v, binary.BigEndian.AppendUint64(nil, log[mine].Place))
				})
				return errors.Join(err, tx.Put(store.KindDecision, row, value))
			}))
		}
		for name, value := range map[string][]byte{
			"another tenant's": binary.BigEndian.AppendUint64(nil, log[other].Place), "another decision's": binary.BigEndian.AppendUint64(nil, log[mine].Place+3),
			"none": nil, "a broken place": {1, 2, 3},
		} {
			change(value)
			sent := 0
			err := w.g.ReadEntries(t.Context(), entriesCall(), ReadEntries{Tenant: tenants[0]}, func(list []audit.Entry, _ string) error {
				sent += len(list)
				return nil
			})
			if residency.KindOf(err) != residency.IntegrityFailure || sent > 0 {
				t.Errorf("an index that leads to %s entry: %v, %d entries sent", name, err, sent)
			}
			_, _, err = w.g.ListDecisions(t.Context(), as(ch, "ListDecisions", residency.Govern, residency.PersonalInformation), ListDecisions{Tenant: tenants[0], Page: Page{Size: 1000}})
			w.wantKind(err, residency.IntegrityFailure)
		}
	})
}

func TestWhoMayReadEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.tenant("alpen", ch)
		read := func(req ReadEntries, change func(*Call)) (*Call, error) {
			c := entriesCall()
			change(c)
			return c, w.g.ReadEntries(t.Context(), c, req, func([]audit.Entry, string) error { return nil })
		}
		whole, own := ReadEntries{Region: "ch"}, ReadEntries{Tenant: "alpen"}
		for _, c := range []struct {
			name    string
			req     ReadEntries
			change  func(*Call)
			want    residency.Kind
			decided bool
		}{
			{"all", whole, func(*Call) {}, residency.OK, true},
			{"one", own, func(c *Call) { c.Caller.SeesAll = false }, residency.OK, true},
			{"all from abroad", whole, func(c *Call) { c.Caller.Jurisdiction = us }, residency.CrossBorderConsentRequired, true},
			{"one from abroad", own, func(c *Call) { c.Caller.Jurisdiction = us }, residency.CrossBorderConsentRequired, true},
			{"absent from abroad", ReadEntries{Tenant: "nobody"}, func(c *Call) { c.Caller.Jurisdiction = us }, residency.CrossBorderConsentRequired, true},
			{"all through abroad", whole, func(c *Call) { by(c, us) }, residency.UseHomeEndpoint, true},
			{"all without seeing all", whole, func(c *Call) { c.Caller.SeesAll = false }, residency.CallerNotPermitted, false},
			{"no such region", ReadEntries{Region: "at"}, func(*Call) {}, residency.BadRequest, false},
			{"no such cluster", ReadEntries{Region: "ch", Cluster: "ch-9"}, func(*Call) {}, residency.BadRequest, false},
			{"nothing", ReadEntries{}, func(*Call) {}, residency.BadRequest, false},
			{"too many", ReadEntries{Region: "ch", Page: Page{Size: maxEntries + 1}}, func(*Call) {}, residency.BadRequest, true},
		} {
			call, err := read(c.req, c.change)
			if residency.KindOf(err) != c.want || (call.Decision.ID != "") != c.decided {
				t.Errorf("%s: %v, decision %q; want %v, decided %v", c.name, err, call.Decision.ID, c.want, c.decided)
			}
		}
		before := len(w.entries("ch"))
		w.allEntries(whole)
		if after := w.entries("ch"); len(after) != before+1 || after[before].Method != "ReadEntries" {
			t.Errorf("a reading left %d entries", len(after)-before)
		}
	})
}

// A token goes on with the same reading of the same caller, and with no other.
func TestATokenIsOfItsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenants := w.busy(30)
		read := func(c *Call, req ReadEntries) (next string, err error) {
			err = w.g.ReadEntries(t.Context(), c, req, func(_ []audit.Entry, token string) error { next = token; return nil })
			return next, err
		}
		for _, req := range []ReadEntries{{Tenant: tenants[0], Page: Page{Size: 2}}, {Region: "ch", Page: Page{Size: 2}}} {
			token, err := read(entriesCall(), req)
			w.ok(err)
			if req.Page.Token = token; token == "" {
				t.Fatal("there is no next page")
			}
			_, err = read(entriesCall(), req)
			w.ok(err)
			other := entriesCall()
			other.Caller.ID += "-2"
			_, err = read(other, req)
			w.wantKind(err, residency.BadRequest)
			for i, change := range []func(*ReadEntries){
				func(r *ReadEntries) { r.Filter.Only = OnlyDenied },
				func(r *ReadEntries) { r.Filter.Since = time.Now() },
				func(r *ReadEntries) { r.Filter.Before = time.Now() },
				func(r *ReadEntries) { r.Filter.Reason = residency.NotFound },
				func(r *ReadEntries) { r.Filter.Caller = "x" },
				func(r *ReadEntries) { r.Filter.To = us },
				func(r *ReadEntries) { r.Tenant, r.Region = tenants[1], "" },
				func(r *ReadEntries) { r.Page.Token = "AAAA" + r.Page.Token[4:] },
			} {
				changed := req
				change(&changed)
				if _, err := read(entriesCall(), changed); residency.KindOf(err) != residency.BadRequest {
					t.Errorf("change %d: another reading went on with the token: %v", i, err)
				}
			}
		}
	})
}

// What was read serves for a lease. A receiver that is slower gets the rest by the next call.
func TestASlowReaderOfEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.busy(700)
		var all []audit.Entry
		req, calls := ReadEntries{Region: "ch", Page: Page{Size: maxEntries}}, 0
		want := w.reference(req)
		for {
			began, next := time.Now(), ""
			w.ok(w.g.ReadEntries(t.Context(), entriesCall(), req, func(list []audit.Entry, token string) error {
				if len(list) > 0 && time.Since(began) > 2*time.Second {
					t.Errorf("entries were sent %v after they were read", time.Since(began))
				}
				all, next = append(all, list...), token
				time.Sleep(600 * time.Millisecond)
				return nil
			}))
			if calls++; next == "" {
				break
			}
			req.Page.Token = next
		}
		if !slices.Equal(places(all), places(want)) || calls < 2 {
			t.Errorf("%d calls gave %d entries, want %d", calls, len(all), len(want))
		}
	})
}

// Entries whose time was over end a list in peace.
func TestEntriesThatWereDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenants := w.busy(120)
		outbox := w.mem["ch"].Outbox()
		last, err := outbox.Last(t.Context())
		w.ok(err)
		for _, upTo := range []uint64{1, 100, last - 5, last} {
			w.ok(outbox.Drop(t.Context(), upTo, 0))
			for _, req := range []ReadEntries{{Tenant: tenants[0]}, {Tenant: tenants[1], Page: Page{Size: 3}}, {Region: "ch"}, {Region: "ch", Filter: EntryFilter{Before: time.Now().Add(-time.Hour)}}} {
				want := places(w.reference(req))
				if got, _ := w.allEntries(req); !slices.Equal(places(got), want) {
					t.Errorf("dropped up to %d of %d: got %v, want %v", upTo, last, places(got), want)
				}
			}
			_, _, err := w.g.ListDecisions(t.Context(), as(ch, "ListDecisions", residency.Govern, residency.PersonalInformation), ListDecisions{Tenant: tenants[0]})
			w.ok(err)
		}
	})
}

// A page of entries that a peer passes on to a slow caller is judged on until that has it, as streams are: in one jurisdiction,
// where nothing but the tenant can end it, and of a whole cluster too.
func TestEntriesThatArePassedOnHaveALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenant := w.busy(20)[0]
		w.background()
		for _, req := range []ReadEntries{{Tenant: tenant}, {Region: "ch"}} {
			c := by(entriesCall(), ch)
			lease := func() StreamLease { return w.g.Leases(c.Peer, []string{c.Decision.ID})[0] }
			decided := 0
			c.Decided = func(residency.Decision) {
				if decided++; c.Lease <= 0 || lease().Lease <= 0 {
					t.Error("no lease is there when the peer learns the decision")
				}
			}
			w.ok(w.g.ReadEntries(t.Context(), c, req, func([]audit.Entry, string) error { return nil }))
			for range 10 {
				time.Sleep(700 * time.Millisecond)
				if l := lease(); l.Lease <= 0 || l.Over || decided != 1 {
					t.Fatalf("what is still asked about has the lease %+v", l)
				}
			}
			if req.Tenant == tenant {
				_, err := w.g.EraseTenant(t.Context(), as(ch, "EraseTenant", residency.Erase, residency.PersonalInformation), ChangeTenant{Tenant: tenant})
				w.ok(err)
				time.Sleep(2 * w.g.limits.Lease)
				if l := lease(); !l.Over {
					t.Errorf("of an erased tenant: %+v", l)
				}
			}
			time.Sleep(2 * passingFor)
			if l := lease(); !l.Over {
				t.Errorf("what nobody asked about for a while has the lease %+v", l)
			}
		}
		c := entriesCall() // nobody passes it on
		w.ok(w.g.ReadEntries(t.Context(), c, ReadEntries{Region: "ch"}, func([]audit.Entry, string) error { return nil }))
		w.g.keeper.mu.Lock()
		defer w.g.keeper.mu.Unlock()
		if n := len(w.g.keeper.forwarded); n != 0 {
			t.Errorf("%d are kept", n)
		}
	})
}

// An entry of another region is none of the log's, whoever put it there.
func TestEntriesOfAnotherRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		tenants := w.busy(20)
		req := ReadEntries{Tenant: tenants[0]}
		all, _ := w.allEntries(req)
		c := w.cluster("ch")
		b, err := c.Outbox.Entry(t.Context(), all[0].Place)
		w.ok(err)
		c.Outbox = &spoiltOutbox{Outbox: c.Outbox, entries: map[uint64][]byte{all[0].Place: foreign(b)}}
		err = w.g.ReadEntries(t.Context(), entriesCall(), req, func([]audit.Entry, string) error { return nil })
		if w.wantKind(err, residency.IntegrityFailure); !strings.Contains(fmt.Sprint(err), "it is of region us") {
			t.Errorf("%v", err)
		}
	})
}
