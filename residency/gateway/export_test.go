package gateway

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func (w *world) export(j residency.Jurisdiction, tenant, subject string, send func(FilePiece) error) (list []FilePiece, call *Call, err error) {
	call = as(j, "ExportSubject", residency.Export, residency.PersonalInformation)
	err = w.g.ExportSubject(w.t.Context(), call, SubjectCall{Tenant: tenant, Subject: subject}, func(p FilePiece) error {
		list = append(list, p)
		if send != nil {
			return send(p)
		}
		return nil
	})
	return list, call, err
}

// shape names the kind of each piece by a letter.
func shape(list []FilePiece) (s string) {
	for _, p := range list {
		for letter, there := range map[string]bool{
			"R": p.Restrictions != nil, "r": p.Record != nil, "c": p.Consent != nil, "d": p.Disclosure != nil, "x": p.Decision != nil,
		} {
			if there {
				s += letter
			}
		}
	}
	return s
}

// A person's file is everything that is held about them and nothing about
// anybody else, in the order that the interface states.
func TestExportSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		c := w.person("alpen", "s1")
		w.person("alpen", "s2")
		w.ok(w.withdraw(ch, "alpen", c.ID))
		_, _, err := w.get(ch, "alpen", "s2", "r0")
		w.ok(err)
		list, call, err := w.export(ch, "alpen", "s1", nil)
		w.ok(err)
		// Three writes, a restriction, a consent and its withdrawal are decisions about the
		// person, and so is this export.
		if got := shape(list); got != "Rrrrc"+"xxxxxxx" {
			t.Fatalf("the file is %s", got)
		}
		if r := list[0].Restrictions; r.Purposes != residency.PurposeSet(residency.Records) {
			t.Fatalf("the restrictions are %+v", r)
		}
		for _, p := range list[1:4] {
			if p.Record.Subject != "s1" || p.Record.FullName != "Canary Kanarek" {
				t.Fatalf("a record is %+v", p.Record)
			}
		}
		if got := list[4].Consent; got.ID != c.ID || got.State != residency.ConsentWithdrawn {
			t.Fatalf("the consent is %+v", got)
		}
		if got := list[5].Decision.Decision; got.ID != call.Decision.ID || got.Action != residency.Export {
			t.Fatalf("the newest decision is %+v", got)
		}
		log := w.entries("ch")
		if last := log[len(log)-1]; last.Phase != audit.Ended || last.End != audit.Completed || last.Bytes == 0 || last.Subject == "" {
			t.Fatalf("the export ended as %+v", last)
		}
		time.Sleep(2 * time.Hour) // an automatic record has ended, and is no longer in the file
		list, _, err = w.export(ch, "alpen", "s1", nil)
		w.ok(err)
		if got := shape(list); got != "Rrrc"+"xxxxxxxx" {
			t.Fatalf("the file is %s", got)
		}
	})
}

// What was disclosed about a person is in their file.
func TestExportSubjectTellsDisclosures(t *testing.T) {
	d := newDesk(t, ch)
	d.register(aRecipient("a", residency.Agent, ch, Function{residency.Payments, []string{"full_name"}}))
	out := d.discloses(Disclose{Recipient: "a", Subject: "s1", Purpose: residency.Payments})
	list, _, err := d.export(ch, d.id, "s1", nil)
	d.ok(err)
	var found *Disclosure
	for _, p := range list {
		if p.Disclosure != nil {
			found = p.Disclosure
		}
	}
	if found == nil || found.ID != out.call.Decision.ID || found.Subject != "s1" {
		t.Fatalf("the file says %+v", found)
	}
}

func TestExportSubjectRefuses(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.person("alpen", "s1")
	for _, s := range []string{"s1", "nobody"} {
		list, _, err := w.export(us, "alpen", s, nil)
		w.wantKind(err, residency.CrossBorderConsentRequired)
		if len(list) > 0 {
			t.Fatal("a piece left")
		}
	}
	list, _, err := w.export(ch, "alpen", "nobody", nil)
	w.wantKind(err, residency.NotFound)
	if len(list) > 0 {
		t.Fatal("a piece left")
	}
	_, _, err = w.export(us, "absent", "s1", nil)
	w.wantKind(err, residency.CrossBorderConsentRequired)
}

// A file of more rows than one transaction reads is whole, and each row is in it once.
func TestExportSubjectIsWhole(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	const n = 2*exportRows + 7
	for i := range n {
		_, _, err := w.put(ch, "alpen", aRecord("s1", fmt.Sprintf("r%d", i)), nil)
		w.ok(err)
	}
	records, decisions := make(map[string]int), make(map[string]int)
	_, _, err := w.export(ch, "alpen", "s1", func(p FilePiece) error {
		if p.Record != nil {
			records[p.Record.ID]++
		}
		if p.Decision != nil {
			decisions[p.Decision.Decision.ID]++
		}
		return nil
	})
	w.ok(err)
	if len(records) != n || len(decisions) != n+1 {
		t.Fatalf("%d records and %d decisions, want %d and %d", len(records), len(decisions), n, n+1)
	}
	for id, times := range records {
		if times != 1 {
			t.Fatalf("record %s is there %d times", id, times)
		}
	}
}

// An export is cut at once when its consent is withdrawn or its subject erased,
// by this gateway or another; one that fails to be read ends, and says so in the log.
func TestExportSubjectIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(*world, ConsentNow)
		want residency.Kind
	}{
		"consent withdrawn": {func(w *world, c ConsentNow) { w.ok(w.withdraw(ch, "alpen", c.ID)) }, residency.ConsentIsWithdrawn},
		"erased":            {func(w *world, _ ConsentNow) { _, _, err := w.eraseSubject(ch, "alpen", "s1", ""); w.ok(err) }, residency.NotFound},
		"tenant erased":     {func(w *world, _ ConsentNow) { _, _, err := w.eraseTenant(ch, "alpen", ""); w.ok(err) }, residency.NotFound},
		"rows unavailable": {func(w *world, _ ConsentNow) {
			w.mem["ch"].Fail(storetest.OpView, storetest.Always(storetest.FaultFail))
		}, residency.RegionUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tenant("alpen", ch)
				w.person("alpen", "s1")
				consent := w.grant("alpen", "s1", residency.PersonalInformation, residency.Records)
				stopped := 0
				list, _, err := w.export(us, "alpen", "s1", func(p FilePiece) error {
					if stopped == 0 && p.Record != nil {
						stopped = 1
						c.stop(w, consent)
					}
					return nil
				})
				w.wantKind(err, c.want)
				if c.want != residency.RegionUnavailable && shape(list) != "Rr" {
					t.Fatalf("pieces left after it was cut: %s", shape(list))
				}
				var last audit.Entry
				for _, e := range w.entries("ch") {
					if e.Method == "ExportSubject" {
						last = e
					}
				}
				if last.Phase != audit.Ended || last.End != audit.Cut || last.Result != c.want {
					t.Fatalf("the export ended as %+v", last)
				}
			})
		})
	}
}

// Another gateway, whose keys are still in memory, reads no more of an erased
// person than this one.
func TestErasedForEveryGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.split()
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		read := func(g *Gateway) error {
			_, err := g.GetRecord(t.Context(), as(ch, "GetRecord", residency.Use, residency.PersonalInformation),
				GetRecord{Tenant: "alpen", Subject: "s1", Record: "r0", Purpose: residency.Payments})
			return err
		}
		w.ok(read(other)) // its keys are in its memory now
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go every(ctx, other.limits.Lease/3, func() { other.keeper.renewAll(ctx) })
		erased := time.Time{}
		err := other.ExportSubject(t.Context(), as(ch, "ExportSubject", residency.Export, residency.PersonalInformation),
			SubjectCall{Tenant: "alpen", Subject: "s1"}, func(p FilePiece) error {
				if erased.IsZero() {
					_, _, err := w.eraseSubject(ch, "alpen", "s1", "")
					w.ok(err)
					erased = time.Now()
					w.wantKind(read(other), residency.NotFound)
					_, err = other.PutRecord(t.Context(), as(ch, "PutRecord", residency.Collect, residency.PersonalInformation), PutRecord{Tenant: "alpen", Record: aRecord("s1", "r9")})
					w.wantKind(err, residency.Erased)
				}
				if p.Record != nil {
					return errors.New("a record of an erased person")
				}
				return nil
			})
		w.wantKind(err, residency.NotFound)
		if took := time.Since(erased); took > time.Second {
			t.Fatalf("the other gateway went on for %v", took)
		}
	})
}

// split gives the world's gateway a second one beside it, over the same stores,
// each with keys in a memory of its own.
func (w *world) split() *Gateway {
	w.t.Helper()
	rings := make(map[residency.Region]seal.Keyring)
	for name := range w.mem {
		ring, err := seal.OpenFileKeyring(filepath.Join(w.t.TempDir(), string(name)))
		w.ok(err)
		rings[name] = ring
	}
	gateway := func() *Gateway {
		cfg := w.g.cfg
		cfg.Regions = slices.Clone(cfg.Regions)
		for i := range cfg.Regions {
			r := &cfg.Regions[i]
			r.Vault = seal.NewVault(r.Name, rings[r.Name], w.mem[r.Name].Keys(), seal.Options{Clock: time.Now})
		}
		g, err := New(cfg)
		w.ok(err)
		return g
	}
	w.g = gateway()
	return gateway()
}
