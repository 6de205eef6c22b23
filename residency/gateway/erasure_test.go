package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func erasureCall(j residency.Jurisdiction, method string) *Call {
	return as(j, method, residency.Erase, residency.PersonalInformation)
}

func (w *world) eraseSubject(j residency.Jurisdiction, tenant, subject, request string) (Erasure, *Call, error) {
	c := erasureCall(j, "EraseSubject")
	out, err := w.g.EraseSubject(w.t.Context(), c, SubjectCall{Tenant: tenant, Subject: subject, RequestID: request})
	return out, c, err
}

func (w *world) eraseTenant(j residency.Jurisdiction, tenant, request string) (Erasure, *Call, error) {
	c := erasureCall(j, "EraseTenant")
	out, err := w.g.EraseTenant(w.t.Context(), c, ChangeTenant{Tenant: tenant, RequestID: request})
	return out, c, err
}

func (w *world) erasure(j residency.Jurisdiction, tenant, id string) (Erasure, error) {
	return w.g.GetErasure(w.t.Context(), as(j, "GetErasure", residency.Govern, residency.AccountData), tenant, id)
}

// kept lists the rows of a tenant's partition, decisions, erasures and streams
// apart, whose id begins with a prefix.
func (w *world) kept(r residency.Region, tenant string, prefix store.ID) (out []string) {
	w.t.Helper()
	w.ok(w.mem[r].Rows().View(context.Background(), store.Scope{Tenant: w.tenantKeys(tenant)}, func(tx store.Tx) error {
		for kind := store.KindTenant; kind <= store.KindPolicy; kind++ {
			if kind == store.KindDecision || kind == store.KindErasure {
				continue
			}
			if err := tx.Scan(kind, prefix, "", func(id store.ID, _ []byte) bool {
				out = append(out, fmt.Sprintf("%d/%x", kind, string(id)))
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return out
}

func (w *world) subjectID(tenant, subject string) store.ID {
	w.t.Helper()
	h, err := w.g.locate(w.t.Context(), tenant, ch)
	w.ok(err)
	tk, err := h.region.Vault.Tenant(w.t.Context(), h.tenant)
	w.ok(err)
	return tk.ID("subject", subject)
}

// person writes everything that can be held about a person, and gives a consent of theirs.
func (w *world) person(tenant, subject string) ConsentNow {
	w.t.Helper()
	for i := range 3 {
		r := aRecord(subject, fmt.Sprintf("r%d", i))
		if i == 2 {
			r.Source, r.Expires = residency.Automatic, time.Now().Add(time.Hour)
		}
		_, _, err := w.put(ch, tenant, r, nil)
		w.ok(err)
	}
	_, err := w.g.RestrictSubject(w.t.Context(), as(ch, "RestrictSubject", residency.Restrict, residency.PersonalInformation),
		RestrictSubject{Tenant: tenant, Subject: subject, Purposes: residency.PurposeSet(residency.Records)})
	w.ok(err)
	return w.grant(tenant, subject, residency.PersonalInformation, residency.Payments)
}

// wantGone holds that nothing about a person can be read, and nothing written.
func (w *world) wantGone(tenant, subject, consentID string) {
	w.t.Helper()
	ctx, pi := w.t.Context(), residency.PersonalInformation
	_, _, err := w.get(ch, tenant, subject, "r0")
	w.wantKind(err, residency.NotFound)
	use := func(method string) *Call { return as(ch, method, residency.Use, pi) }
	records, _, err := w.g.ListRecords(ctx, use("ListRecords"), ListRecords{Tenant: tenant, Subject: subject, Purpose: residency.Payments})
	w.ok(err)
	subjects, _, err := w.g.ListSubjects(ctx, use("ListSubjects"), ListSubjects{Tenant: tenant, Purpose: residency.Payments})
	w.ok(err)
	listed := slices.ContainsFunc(subjects, func(s Subject) bool { return s.ID == subject })
	found, _, err := w.g.FindRecords(ctx, use("FindRecords"), FindRecords{Tenant: tenant, Email: "canary@example.org", Purpose: residency.Payments})
	w.ok(err)
	foundOne := slices.ContainsFunc(found, func(r Record) bool { return r.Subject == subject })
	_, err = w.g.GetConsent(ctx, as(ch, "GetConsent", residency.Govern, pi), tenant, consentID)
	w.wantKind(err, residency.NotFound)
	consents, _, err := w.g.ListConsents(ctx, as(ch, "ListConsents", residency.Govern, pi), ListConsents{Tenant: tenant})
	w.ok(err)
	agreed := slices.ContainsFunc(consents, func(c ConsentNow) bool { return c.Subject == subject })
	if len(records) > 0 || listed || foundOne || agreed {
		w.t.Fatalf("an erased person is read: %d records, listed %v, found %v, consents %v", len(records), listed, foundOne, agreed)
	}
	w.wantKind(w.g.DeleteRecord(ctx, as(ch, "DeleteRecord", residency.Erase, pi), DeleteRecord{Tenant: tenant, Subject: subject, Record: "r0"}), residency.NotFound)
	w.wantKind(w.withdraw(ch, tenant, consentID), residency.NotFound)

	for _, expected := range []*uint64{nil, ptr(uint64(0)), ptr(uint64(1))} {
		_, call, err := w.put(ch, tenant, aRecord(subject, "r0"), expected)
		w.wantKind(err, residency.Erased)
		if log := w.entries("ch"); log[len(log)-1].Result != residency.Erased || log[len(log)-1].DecisionID != call.Decision.ID {
			w.t.Fatalf("the refused write is on record as %+v", log[len(log)-1])
		}
	}
	_, err = w.g.GrantConsent(ctx, as(ch, "GrantConsent", residency.Govern, pi), GrantConsent{Tenant: tenant, Consent: border(subject, pi, residency.Payments)})
	w.wantKind(err, residency.Erased)
	restrict := RestrictSubject{Tenant: tenant, Subject: subject, Purposes: residency.PurposeSet(residency.Payments)}
	_, err = w.g.RestrictSubject(ctx, as(ch, "RestrictSubject", residency.Restrict, pi), restrict)
	w.wantKind(err, residency.Erased)
	_, err = w.g.LiftRestriction(ctx, as(ch, "LiftRestriction", residency.Restrict, pi), restrict)
	w.wantKind(err, residency.Erased)
	_, err = w.g.ObjectToCollection(ctx, as(ch, "ObjectToCollection", residency.Restrict, pi), SubjectCall{Tenant: tenant, Subject: subject})
	w.wantKind(err, residency.Erased)
	w.wantKind(w.g.ExportSubject(ctx, as(ch, "ExportSubject", residency.Export, pi), SubjectCall{Tenant: tenant, Subject: subject},
		func(FilePiece) error { return errors.New("a piece of an erased person's file") }), residency.NotFound)
	w.ok(w.g.census(ctx, w.g.region("ch")))
}

// Clause stop-holding: what is held about a person is gone when the erasure is
// answered, and its rows after the sweep; others are as they were.
func TestEraseSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		own := w.person("alpen", "s1")
		w.person("alpen", "s2")
		request := newRequestID()
		out, call, err := w.eraseSubject(ch, "alpen", "s1", request)
		w.ok(err)
		if out.ID != call.Decision.ID || out.Kind != ErasureOfSubject || out.State != ErasureSweeping || out.Clause != "stop-holding" ||
			out.Controller != "CloudSigma AG" || out.PolicyVersion == "" || out.Tenant != "alpen" || out.Created.IsZero() {
			t.Fatalf("erased as %+v under %+v", out, call.Decision)
		}
		w.wantGone("alpen", "s1", own.ID)
		repeated, _, err := w.eraseSubject(ch, "alpen", "s1", request)
		w.ok(err)
		if repeated.ID != out.ID {
			t.Fatalf("the repeated call began %s, the first %s", repeated.ID, out.ID)
		}
		_, _, err = w.eraseSubject(ch, "alpen", "s2", request)
		w.wantKind(err, residency.RequestIDReused)
		_, _, err = w.eraseSubject(ch, "alpen", "s1", "")
		w.wantKind(err, residency.NotFound)
		if now, err := w.erasure(ch, "alpen", out.ID); err != nil || now.State != ErasureSweeping || now.Rows != 0 {
			t.Fatalf("before the sweep: %+v %v", now, err)
		}
		s1, s2 := w.subjectID("alpen", "s1"), w.subjectID("alpen", "s2")
		others := w.kept("ch", "alpen", s2)

		w.g.sweepAll(t.Context())
		now, err := w.erasure(us, "alpen", out.ID)
		w.ok(err)
		// A subject, three records with two lookups each, a restriction, a consent and where it is.
		if now.State != ErasureDone || now.Rows != 1+3*3+1+2 || now.Finished.IsZero() || now.Blobs != 0 {
			t.Fatalf("after the sweep: %+v", now)
		}
		if left := w.kept("ch", "alpen", s1); len(left) > 0 {
			t.Fatalf("rows are left: %v", left)
		}
		if left := w.rows("ch", "alpen", store.KindLookup); left != 6 {
			t.Fatalf("%d lookups are left, want the other's 6", left)
		}
		if left := w.rows("ch", "alpen", store.KindConsentID); left != 1 {
			t.Fatalf("%d consents are left, want the other's", left)
		}
		if got := w.kept("ch", "alpen", s2); !slices.Equal(got, others) {
			t.Fatalf("another's rows changed: %v, were %v", got, others)
		}
		w.wantGone("alpen", "s1", own.ID)
		_, _, err = w.get(ch, "alpen", "s2", "r0")
		w.ok(err)
		w.wantEnded("ch", out.ID, "alpen")
		time.Sleep(2 * time.Hour) // the expiry of an automatic record was taken off the agenda, and the other's was not
		due, err := w.mem["ch"].Rows().Due(t.Context(), 10)
		w.ok(err)
		if len(due) != 2 || due[0].Kind != store.TaskPurge || due[1].ID[:idSize] != s2 {
			t.Fatalf("due are %v", due)
		}
		w.g.sweepAll(t.Context())
		w.wantGone("alpen", "s1", own.ID)
	})
}

// wantEnded holds that an erasure has one intent and one end in the log, and that its
// decision says so.
func (w *world) wantEnded(r residency.Region, id, tenant string) {
	w.t.Helper()
	var phases []audit.Phase
	for _, e := range w.entries(r) {
		if e.DecisionID == id {
			phases = append(phases, e.Phase)
			if e.Subject != "" || e.Object != nil {
				w.t.Fatalf("an erasure's entry names somebody: %+v", e)
			}
			if e.Phase == audit.Ended && (e.Caller != sweeper || e.Subject != "" || e.End != audit.Completed || !e.Allow || e.Action != residency.Erase) {
				w.t.Fatalf("the erasure ended as %+v", e)
			}
		}
	}
	if !slices.Equal(phases, []audit.Phase{audit.Intent, audit.Ended}) {
		w.t.Fatalf("the erasure's entries are %v", phases)
	}
	if tenant == "" {
		return
	}
	d, err := w.g.GetDecision(w.t.Context(), as(ch, "GetDecision", residency.Govern, residency.PersonalInformation), tenant, id)
	w.ok(err)
	if d.Stream == nil || d.Stream.End != "completed" || !d.Decision.Allow {
		w.t.Fatalf("the decision is %+v", d)
	}
}

// Whom an erasure is refused, and whom not.
func TestEraseSubjectRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.tenant("other", ch)
		w.person("alpen", "s1")
		for _, c := range []struct {
			from            residency.Jurisdiction
			tenant, subject string
			want            residency.Kind
		}{
			{us, "alpen", "s1", residency.CrossBorderConsentRequired},
			{us, "alpen", "nobody", residency.CrossBorderConsentRequired},
			{us, "absent", "s1", residency.CrossBorderConsentRequired},
			{ch, "alpen", "nobody", residency.NotFound},
			{ch, "other", "s1", residency.NotFound},
		} {
			_, _, err := w.eraseSubject(c.from, c.tenant, c.subject, "")
			if got := residency.KindOf(err); got != c.want {
				t.Errorf("%s/%s from %s: %v, want %v", c.tenant, c.subject, c.from, err, c.want)
			}
		}
		w.suspend("alpen")
		out, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		_, err = w.erasure(ch, "other", out.ID)
		w.wantKind(err, residency.NotFound)
		_, err = w.erasure(ch, "absent", out.ID)
		w.wantKind(err, residency.NotFound)
		for _, id := range []string{"", "x", newRequestID()} {
			_, err = w.erasure(ch, "alpen", id)
			w.wantKind(err, residency.NotFound)
		}
		w.g.sweepAll(t.Context())
		if out, err = w.erasure(ch, "alpen", out.ID); err != nil || out.State != ErasureDone {
			t.Fatalf("in a suspended tenant: %+v %v", out, err)
		}
	})
}

// With a consent for record keeping a person is erased from abroad.
func TestEraseSubjectFromAbroad(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.person("alpen", "s1")
	c := w.grant("alpen", "s1", residency.PersonalInformation, residency.Records)
	_, call, err := w.eraseSubject(us, "alpen", "s1", "")
	w.ok(err)
	if call.Decision.ConsentID != c.ID {
		t.Fatalf("the decision names consent %q", call.Decision.ConsentID)
	}
	_, _, err = w.get(ch, "alpen", "s1", "r0")
	w.wantKind(err, residency.NotFound)
}

// When the keys cannot be destroyed the caller is told, with the decision; nothing
// is read all the same, and the sweep destroys them later.
func TestEraseSubjectWithoutItsKeyStore(t *testing.T) {
	for _, op := range []storetest.Op{storetest.OpKeysCreate, storetest.OpKeysDestroy} {
		for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted, storetest.FaultHang} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tenant("alpen", ch)
				own := w.person("alpen", "s1")
				w.mem["ch"].Fail(op, storetest.Always(fault))
				request := newRequestID()
				_, call, err := w.eraseSubject(ch, "alpen", "s1", request)
				w.wantKind(err, residency.KeysUnavailable)
				if e := new(residency.Error); !errors.As(err, &e) || e.Decision == nil || e.Decision.ID != call.Decision.ID || !e.Decision.Allow {
					t.Fatalf("%s: the error names no decision: %v", op, err)
				}
				_, _, err = w.get(ch, "alpen", "s1", "r0")
				w.wantKind(err, residency.NotFound)
				now, err := w.erasure(ch, "alpen", call.Decision.ID)
				w.ok(err)
				if now.State != ErasurePending {
					t.Fatalf("%s: the erasure is %+v", op, now)
				}
				w.g.sweepAll(t.Context())
				now, err = w.erasure(ch, "alpen", call.Decision.ID)
				w.ok(err)
				// An entry that was made although that failed is found by the sweep.
				done := op == storetest.OpKeysCreate && fault == storetest.FaultFailPersisted
				if rows := w.kept("ch", "alpen", w.subjectID("alpen", "s1")); (len(rows) == 0) != done || (now.State == ErasureDone) != done {
					t.Fatalf("%s: %d rows are left of %+v", op, len(rows), now)
				}
				w.mem["ch"].Fail(op, nil)
				again, _, err := w.eraseSubject(ch, "alpen", "s1", request)
				w.ok(err)
				if again.ID != call.Decision.ID || again.State == ErasurePending {
					t.Fatalf("%s: asked again: %+v", op, again)
				}
				time.Sleep(2 * time.Minute)
				w.g.sweepAll(t.Context())
				if now, err = w.erasure(ch, "alpen", call.Decision.ID); err != nil || now.State != ErasureDone {
					t.Fatalf("%s: %+v %v", op, now, err)
				}
				w.wantGone("alpen", "s1", own.ID)
				w.wantEnded("ch", call.Decision.ID, "alpen")
			})
		}
	}
}

// A failure at any step of an erasure, whether what failed happened or not, never lets
// anything be read after the answer, and the erasure is always finished.
func TestEraseThroughEveryFailure(t *testing.T) {
	ops := []storetest.Op{
		storetest.OpUpdate, storetest.OpAppend, storetest.OpView, storetest.OpDue, storetest.OpKeysGet, storetest.OpKeysCreate,
		storetest.OpKeysDestroy, storetest.OpBlobList, storetest.OpBlobDelete,
	}
	for _, kind := range []ErasureKind{ErasureOfSubject, ErasureOfTenant} {
		for _, op := range ops {
			for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted} {
				for nth := 1; ; nth++ {
					if !failOnce(t, kind, op, fault, nth) {
						if nth == 1 && (kind == ErasureOfTenant || op != storetest.OpBlobList && op != storetest.OpBlobDelete) {
							t.Errorf("%s never ran", op)
						}
						break
					}
				}
			}
		}
	}
}

// failOnce runs an erasure whose nth operation of a kind fails, and reports whether there was one.
func failOnce(t *testing.T, kind ErasureKind, op storetest.Op, fault storetest.Fault, nth int) (failed bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		if kind == ErasureOfTenant {
			w.drive("alpen", "d1", 9<<20)
			for chunk := range int64(3) {
				_, err := w.write(ch, "alpen", "d1", chunk*chunkSize, []byte("canary"))
				w.ok(err)
			}
		}
		n := 0
		w.mem["ch"].Fail(op, func() storetest.Fault {
			if n++; n == nth {
				failed = true
				return fault
			}
			return storetest.FaultNone
		})
		name := fmt.Sprintf("kind %d, %s %d fails as %d", kind, op, nth, fault)
		request := newRequestID()
		erase := func() (Erasure, error) {
			var out Erasure
			var err error
			if kind == ErasureOfSubject {
				out, _, err = w.eraseSubject(ch, "alpen", "s1", request)
			} else {
				out, _, err = w.eraseTenant(ch, "alpen", request)
			}
			return out, err
		}
		out, err := erase()
		answered := err == nil
		for range 4 {
			if answered {
				if _, _, err := w.get(ch, "alpen", "s1", "r0"); err == nil {
					t.Fatalf("%s: read after the answer", name)
				}
			}
			w.g.sweepAll(t.Context())
			time.Sleep(2 * time.Minute)
		}
		w.mem["ch"].Fail(op, nil)
		for range 2 {
			w.g.sweepAll(t.Context())
			time.Sleep(2 * time.Minute)
		}
		if !answered {
			if out, err = erase(); err != nil {
				t.Fatalf("%s: asked again: %v", name, err)
			}
			w.g.sweepAll(t.Context())
		}
		now, err := w.erasure(ch, "alpen", out.ID)
		if err != nil || now.State != ErasureDone {
			t.Fatalf("%s: the erasure is %+v %v", name, now, err)
		}
		left := w.kept("ch", "alpen", "")
		if kind == ErasureOfSubject {
			left = w.kept("ch", "alpen", w.subjectID("alpen", "s1"))
		}
		if len(left) > 0 || w.blobs("ch") > 0 {
			t.Fatalf("%s: %d rows and %d blobs are left", name, len(left), w.blobs("ch"))
		}
		w.wantEnded("ch", out.ID, "")
		if _, _, err := w.get(ch, "alpen", "s1", "r0"); residency.KindOf(err) != residency.NotFound {
			t.Fatalf("%s: %v", name, err)
		}
	})
	return failed
}

func TestErasureRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		when := rapid.Custom(func(t *rapid.T) time.Time {
			if rapid.Bool().Draw(t, "unset") {
				return time.Time{}
			}
			return time.Unix(0, rapid.Int64Min(1).Draw(t, "ns")).UTC()
		})
		r := erasureRow{
			ID: rapid.String().Draw(t, "id"), Kind: ErasureKind(rapid.Byte().Draw(t, "kind")), State: ErasureState(rapid.Byte().Draw(t, "state")),
			Created: when.Draw(t, "created"), Finished: when.Draw(t, "finished"), Rows: rapid.Uint64().Draw(t, "rows"), Blobs: rapid.Uint64().Draw(t, "blobs"),
			Clause: rapid.String().Draw(t, "clause"), PolicyVersion: rapid.String().Draw(t, "version"), Controller: rapid.String().Draw(t, "controller"),
			Request: rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "request"),
		}
		var got erasureRow
		if err := decodeRow(encodeRow(&r), &got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encodeRow(&got), encodeRow(&r)) || got.public("t") != r.public("t") || !bytes.Equal(got.Request, r.Request) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
		var note erasureRow
		if err := decodeRow(r.note(), &note); err != nil || note.State != ErasurePending || note.ID != r.ID || note.Rows != 0 || note.Created != r.Created {
			t.Fatalf("the note is %+v %v", note, err)
		}
	})
}

// What erasures are under way and how many are done is told by region and kind alone.
func TestErasureMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(t, func(c *Config) { c.Metrics = reg })
		w.tenant("alpen", ch)
		w.tenant("other", ch)
		w.person("alpen", "s1")
		_, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		_, _, err = w.eraseTenant(ch, "other", "")
		w.ok(err)
		values := func() map[string]float64 {
			w.ok(w.g.census(t.Context(), w.g.region("ch")))
			out := make(map[string]float64)
			families, err := reg.Gather()
			w.ok(err)
			for _, f := range families {
				for _, m := range f.GetMetric() {
					name := f.GetName()
					for _, l := range m.GetLabel() {
						name += " " + l.GetName() + "=" + l.GetValue()
					}
					out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
			return out
		}
		if n := values()["residency_erasures_pending region=ch"]; n != 2 {
			t.Fatalf("%v erasures are pending, want 2", n)
		}
		w.g.sweepAll(t.Context())
		now := values()
		for name, want := range map[string]float64{
			"residency_erasures_pending region=ch":            0,
			"residency_erasures_total kind=SUBJECT region=ch": 1,
			"residency_erasures_total kind=TENANT region=ch":  1,
		} {
			if got, ok := now[name]; !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// An erasure is swept at once, not when the sweep comes round.
func TestErasureIsSweptAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = w.g.Run(ctx) }()
		time.Sleep(time.Second)
		out, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		synctest.Wait()
		if now, err := w.erasure(ch, "alpen", out.ID); err != nil || now.State != ErasureDone {
			t.Errorf("no time has passed, and the erasure is %+v %v", now, err)
		}
		cancel()
		<-ended
	})
}

// Whatever runs beside an erasure: what begins after its answer reads nothing and
// writes nothing, on any gateway, and the sweep leaves nothing.
func TestErasureBesideReadsAndWrites(t *testing.T) {
	for range 5 {
		w := newWorld(t)
		gateways := []*Gateway{w.split(), w.g}
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		var erased atomic.Bool
		var wg sync.WaitGroup
		for i := range 8 {
			g := gateways[i%2]
			wg.Go(func() {
				for n := range 25 {
					after := erased.Load()
					_, err := g.GetRecord(t.Context(), as(ch, "GetRecord", residency.Use, residency.PersonalInformation),
						GetRecord{Tenant: "alpen", Subject: "s1", Record: "r0", Purpose: residency.Payments})
					if kind := residency.KindOf(err); kind != residency.NotFound && (after || err != nil) {
						t.Errorf("read after the answer: %v, %v", after, err)
					}
					after = erased.Load()
					_, err = g.PutRecord(t.Context(), as(ch, "PutRecord", residency.Collect, residency.PersonalInformation),
						PutRecord{Tenant: "alpen", Record: aRecord("s1", fmt.Sprintf("r%d-%d", i, n))})
					if kind := residency.KindOf(err); kind != residency.Erased && (after || err != nil) {
						t.Errorf("written after the answer: %v, %v", after, err)
					}
				}
			})
		}
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			if _, _, err := w.eraseSubject(ch, "alpen", "s1", ""); err != nil {
				t.Error(err)
			}
			erased.Store(true)
		})
		wg.Wait()
		w.g.sweepAll(t.Context())
		if left := w.kept("ch", "alpen", w.subjectID("alpen", "s1")); len(left) > 0 || w.rows("ch", "alpen", store.KindLookup) > 0 {
			t.Fatalf("rows are left: %v", left)
		}
	}
}
