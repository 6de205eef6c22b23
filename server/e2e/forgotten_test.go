package e2e

import (
	"bytes"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// A person who was erased, and everybody of a tenant who was, cannot be found in the log any more by who has all that is
// on disk, root keys included; and the log, receipts and checkpoints from before verify as they did.
func TestForgottenInTheLog(t *testing.T) {
	for how, end := range map[string]func(*testing.T, *daemon){
		"stopped": func(t *testing.T, d *daemon) {
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
		},
		"killed": func(_ *testing.T, d *daemon) { d.kill() },
	} {
		t.Run(how, func(t *testing.T) { forget(t, end) })
	}
}

func forget(t *testing.T, end func(*testing.T, *daemon)) {
	c := alone(t, filepath.Join(t.TempDir(), "data"), switzerland)
	other := *c
	other.tenant = c.register(c.jurisdiction, nil)
	for _, of := range []*clause{c, &other} {
		of.someone()
		of.allow("reading from abroad", of.get(of.foreignApp, "s", "r", payments), "")
	}
	erased, living := c.trailOf("s"), c.trailOf("stays")
	tenant := []trail{other.trailOf("s"), other.trailOf("stays")}
	before := exportLog(t, c.d, "ch")
	kept := append(c.receipts(erased), other.receipts(tenant...)...)
	known := acquaintance{
		tenants: []string{c.tenant, other.tenant}, subjects: []string{"s", "stays"}, recipients: []string{"agent"},
		records: []string{"r", "more-0", "more-1", "more-2", "more-3", "more-4"}, emails: []string{"anna.s@example.org", "anna.stays@example.org"},
	}

	end(t, c.d)
	all := append(tenant, erased, living)
	was := attack(t, copied(t, c.d.data), "ch", known)
	was.found(t, "before the erasures", true, all...)
	gone := was.destroyed(t, c.tenant, "s", other.tenant)
	if n, carved := len(filesWith(t, was.data, gone.pieces()...)), was.carve(t, gone); n == 0 || carved == 0 {
		t.Errorf("%d files hold the wrapped keys, %d were carved out: that there are none later shows nothing", n, carved)
	}

	c.restart()
	other.d, other.callers = c.d, c.callers
	sorted := func(path string) bool { return strings.HasSuffix(path, ".sst") } // a start writes the engine's log out
	if held := remnants(t, c.d.data, was.namesOf("s"), erased); !slices.ContainsFunc(slices.Collect(maps.Keys(held)), sorted) {
		t.Errorf("no sorted file leads from the person to their entries, only %v: that none does later shows nothing", held)
	}
	one, whole := c.erase("s"), other.eraseTenant()
	c.untilDone(one)
	other.untilDone(whole)
	eventually(c, "the names of deleted rows leave the files", func() bool {
		leads := func(p trail) bool { return len(remnants(t, c.d.data, was.namesOf(p.name), p)) > 0 }
		return !slices.ContainsFunc(append(tenant, erased), leads)
	})
	after := exportLog(t, c.d, "ch")
	after.stillHolds(t, before, kept)
	after.namesNobody(t, []string{one, whole}, uint64(len(before.entries)), append(tenant, erased))
	pages := map[string][]byte{"the metrics": scrape(t, c.d.admin)}

	end(t, c.d)
	pages["the log of what it did"] = []byte(c.d.output.String())
	c.purged(gone, end)
	now := attack(t, copied(t, c.d.data), "ch", known)
	now.found(t, "after the erasures", true, living)
	now.found(t, "after the erasures", false, append(tenant, erased)...)
	if carved := now.carve(t, gone); carved != 0 {
		t.Errorf("%d destroyed keys can be carved out of the files", carved)
	}
	now.onlyInEntries(t, after, append(tenant, erased), pages)
	for _, p := range append(tenant, erased) {
		now.unlinked(t, was, p)
	}
	t.Logf("%d and then %d keys unwrapped, %d and then %d rows opened, %d and then %d digests derived",
		len(was.macs), len(now.macs), len(was.opened), len(now.opened), len(was.derived), len(now.derived))
}

// trail is what the log has of a person.
type trail struct {
	who, name       string
	tenant, subject []byte            // their pseudonyms
	objects         map[string]bool   // and those of their records
	decisions       map[string]bool   // about them
	links           map[string]string // the ids of decisions and consents that entries about them name, 16 bytes each
}

// trailOf reads a person's trail out of the log, by a decision about them that is made for it.
func (c *clause) trailOf(subject string) trail {
	c.Helper()
	r := c.allow("a read", c.get(c.app, subject, "r", payments), "")
	x := exportLog(c.T, c.d, c.region)
	tr := trail{who: subject + " of " + c.tenant, name: subject, objects: map[string]bool{}, decisions: map[string]bool{}, links: map[string]string{}}
	for _, e := range x.entries {
		if e.DecisionID == r.Decision.DecisionId {
			tr.tenant, tr.subject = unhex(c.T, e.Tenant), unhex(c.T, e.Subject)
		}
	}
	for _, e := range x.entries {
		if e.Subject != hex.EncodeToString(tr.subject) {
			continue
		}
		tr.decisions[e.DecisionID] = true
		tr.links[idBytes(c.T, e.DecisionID)] = "a decision's"
		for _, consent := range e.Consents {
			tr.links[idBytes(c.T, consent)] = "a consent's"
		}
		if e.Object != "" {
			tr.objects[string(unhex(c.T, e.Object))] = true
		}
	}
	if len(tr.tenant) != 16 || len(tr.subject) != 16 || len(tr.objects) == 0 || len(tr.links) < len(tr.objects) {
		c.Fatalf("the log has no trail of %s", tr.who)
	}
	return tr
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func idBytes(t *testing.T, id string) string {
	t.Helper()
	return string(unhex(t, strings.ReplaceAll(id, "-", "")))
}

// receipts keeps the receipts of all decisions about people.
func (c *clause) receipts(of ...trail) (kept [][]byte) {
	c.Helper()
	for _, tr := range of {
		for id := range tr.decisions {
			var r *residencyv1.GetReceiptResponse
			c.allow("a receipt", func(o grpc.CallOption) (err error) {
				r, err = c.admin.Audit.GetReceipt(c.Context(), &residencyv1.GetReceiptRequest{TenantId: c.tenant, DecisionId: id}, o)
				return err
			}, "")
			kept = append(kept, r.Receipt)
		}
	}
	return kept
}

// copied copies a folder, so that looking at it changes nothing.
func copied(t *testing.T, folder string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	return to
}

// found checks that the attacker finds, or does not find, the pseudonyms of people and of their records.
func (a *attacker) found(t *testing.T, when string, want bool, people ...trail) {
	t.Helper()
	check := func(what string, pseudonym []byte) {
		if how := a.finds(pseudonym); (how != "") != want {
			t.Errorf("%s: %s is found %q, want it found: %v", when, what, how, want)
		}
	}
	for _, p := range people {
		check("the pseudonym of "+p.who, p.subject)
		for object := range p.objects {
			check("that of a record of "+p.who, []byte(object))
		}
	}
}

// stillHolds verifies the log, that it continues the earlier one, and receipts from before.
func (x *exported) stillHolds(t *testing.T, before *exported, kept [][]byte) {
	t.Helper()
	earlier := []proof.Checkpoint{before.checkpoint(t, contents(t, filepath.Join(before.folder, "checkpoint")))}
	receipts := x.receipts(t, kept)
	for _, r := range receipts {
		earlier = append(earlier, r.Checkpoint)
	}
	report := x.verify(t, earlier)
	t.Logf("%d entries verify, and %d receipts of the erased from before the erasures", report.Verified, len(receipts))
}

// namesNobody checks that the entries of the erasures name no person, and no entry since any of the erased but by the decisions
// from before.
func (x *exported) namesNobody(t *testing.T, erasures []string, before uint64, people []trail) {
	t.Helper()
	seen := 0
	for _, e := range x.entries {
		for _, id := range erasures {
			if e.DecisionID == id && (e.Subject != "" || e.Object != "") {
				t.Errorf("the entry of an erasure at place %d names somebody", e.Place)
			} else if e.DecisionID == id {
				seen++
			}
		}
		for _, p := range people {
			if e.Subject == hex.EncodeToString(p.subject) && !p.decisions[e.DecisionID] {
				t.Errorf("the entry at place %d names %s, after %d entries that might", e.Place, p.who, before)
			}
		}
	}
	if seen != 2*len(erasures) {
		t.Errorf("%d erasures have %d entries, want two each", len(erasures), seen)
	}
}

// purged makes sure that the background pass, which overwrites the files that held destroyed keys, has ended: when the gateway
// ended before it, it goes on at the next start.
func (c *clause) purged(gone wrapped, end func(*testing.T, *daemon)) {
	c.Helper()
	left := filesWith(c.T, c.d.data, gone.pieces()...)
	if len(left) == 0 {
		return
	}
	c.Logf("the gateway ended before the destroyed keys had left %s; it is started again", strings.Join(left, ", "))
	c.restart()
	eventually(c, "the destroyed keys leave the files", func() bool { return len(filesWith(c.T, c.d.data, gone.pieces()...)) == 0 })
	end(c.T, c.d)
}

// onlyInEntries checks that pseudonyms of the erased are on disk nowhere but within entries of the log.
func (a *attacker) onlyInEntries(t *testing.T, x *exported, people []trail, pages map[string][]byte) {
	t.Helper()
	eachFile(t, a.data, func(path string, b []byte) { pages[path] = b })
	in := 0
	for _, p := range people {
		names := [][]byte{p.subject}
		for object := range p.objects {
			names = append(names, []byte(object))
		}
		for _, name := range names {
			around := x.around(name)
			for path, page := range pages {
				if bytes.Contains(bytes.ToLower(page), []byte(hex.EncodeToString(name))) {
					t.Errorf("%s holds a pseudonym of %s in hexadecimal", path, p.who)
				}
				for at := range places(page, name) {
					if in++; !within(page, at, around) {
						t.Errorf("%s holds a pseudonym of %s at byte %d, outside of an entry", path, p.who, at)
					}
				}
			}
		}
	}
	if in == 0 {
		t.Error("no entry was found in any file: the look finds nothing")
	}
	t.Logf("the pseudonyms of the erased are in %d files and pages %d times, each within an entry of the log", len(pages), in)
}
