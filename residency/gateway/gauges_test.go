package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// sampled gives the value of a metric's series whose labels hold all of some values; ok is false when there is none.
func sampled(t *testing.T, reg prometheus.Gatherer, name string, values ...string) (v float64, ok bool) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for _, want := range values {
				if !strings.Contains(m.String(), `"`+want+`"`) {
					continue series
				}
			}
			v, ok = v+m.GetGauge().GetValue()+m.GetCounter().GetValue(), true
		}
	}
	return v, ok
}

// toldByLeaders is what only the leader of a region tells.
var toldByLeaders = []string{
	"residency_consents", "residency_erasures_pending", "residency_safeguard_expiry_seconds",
	"residency_audit_pending_entries", "residency_audit_checkpoint_age_seconds", "residency_audit_witness_age_seconds",
	"residency_audit_checkpoint_entries", "residency_audit_checkpoint_timestamp_seconds", "residency_audit_witnessed_timestamp_seconds",
}

// The leader tells how far its log's checkpoints and witnesses have come. A witness that does not sign holds up its own time
// alone, and whoever leads no more tells nothing.
func TestTheLeaderTellsHowFarItsLogIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		d := newDesk(t, ch, cosigning, func(c *Config) { c.Metrics = reg })
		d.register(aRecipient("r1", residency.Subcontractor, ch, contacts(residency.Payments)))
		d.background()
		gauge := func(name string) float64 { v, _ := sampled(t, reg, name, "ch"); return v }
		at := func(name string) time.Time { return time.Unix(0, int64(gauge(name)*1e9)) }
		time.Sleep(5 * time.Second)
		last, err := d.cluster("ch").Outbox.Last(t.Context())
		d.ok(err)
		signed := at("residency_audit_checkpoint_timestamp_seconds")
		if n := gauge("residency_audit_checkpoint_entries"); n != float64(last) || time.Since(signed) > 6*time.Second {
			t.Errorf("a checkpoint of %v entries from %v, want %d entries and now", n, signed, last)
		}
		if w := at("residency_audit_witnessed_timestamp_seconds"); !w.Equal(signed) {
			t.Errorf("witnessed at %v, signed at %v", w, signed)
		}
		d.mem["us"].Fail(storetest.OpUpdate, storetest.Always(storetest.FaultFail)) // so its witness
		time.Sleep(time.Minute)
		_, _, err = d.put(ch, d.id, aRecord("s1", "r9"), nil)
		d.ok(err)
		time.Sleep(5 * time.Second)
		if s := at("residency_audit_checkpoint_timestamp_seconds"); s.Sub(signed) < time.Minute {
			t.Errorf("the checkpoint is of %v, of %v before", s, signed)
		}
		if w := at("residency_audit_witnessed_timestamp_seconds"); !w.Equal(signed) {
			t.Errorf("witnessed at %v, and nobody has since %v", w, signed)
		}
		d.mem["us"].Fail(storetest.OpUpdate, nil)
		time.Sleep(time.Minute)
		if w := at("residency_audit_witnessed_timestamp_seconds"); w.Sub(signed) < time.Minute {
			t.Errorf("witnessed at %v, and the witness signs again", w)
		}
		for _, name := range toldByLeaders {
			if _, ok := sampled(t, reg, name, "ch"); !ok {
				t.Errorf("the leader does not tell %s", name)
			}
		}
		d.mem["ch"].Fail(storetest.OpLead, storetest.Always(storetest.FaultFail))
		time.Sleep(leadFor + 2*time.Second)
		for _, name := range toldByLeaders {
			if v, ok := sampled(t, reg, name, "ch"); ok {
				t.Errorf("who leads no more tells %s %v", name, v)
			}
		}
	})
}

// Of a log that nobody is asked to sign no time of a witness is told.
func TestNobodyIsAskedToWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(t, signed, func(c *Config) { c.Metrics = reg })
		w.background()
		w.tenant("alpen", ch)
		time.Sleep(5 * time.Second)
		if _, ok := sampled(t, reg, "residency_audit_checkpoint_timestamp_seconds", "ch"); !ok {
			t.Error("no checkpoint is told of")
		}
		if v, ok := sampled(t, reg, "residency_audit_witnessed_timestamp_seconds", "ch"); ok {
			t.Errorf("witnessed at %v", v)
		}
	})
}

// The census tells when the first agreement of a recipient ends that is registered and has one, also once it has ended.
func TestSafeguardExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		d := newDesk(t, ch, func(c *Config) { c.Metrics = reg })
		expiry := func() (time.Duration, bool) {
			t.Helper()
			d.ok(d.g.census(t.Context(), d.g.region("ch")))
			v, ok := sampled(t, reg, "residency_safeguard_expiry_seconds", "ch")
			return time.Duration(v * 1e9).Round(time.Second), ok
		}
		want := func(what string, want time.Duration) {
			t.Helper()
			if got, ok := expiry(); !ok || got != want {
				t.Errorf("%s: ends in %v (%v), want %v", what, got, ok, want)
			}
		}
		if got, ok := expiry(); ok {
			t.Errorf("without recipients the first agreement ends in %v", got)
		}
		for id, in := range map[string]time.Duration{"r1": 48 * time.Hour, "r2": time.Hour, "r3": 0} {
			r := aRecipient(id, residency.Subcontractor, ch, contacts(residency.Payments))
			if r.Safeguard = (Safeguard{}); in > 0 {
				r.Safeguard = Safeguard{Reference: "A-1", ValidUntil: time.Now().Add(in)}
			}
			d.register(r)
		}
		want("the first of two", time.Hour)
		time.Sleep(3 * time.Hour)
		want("one that has ended", -2*time.Hour)
		d.revokeRecipient("r2")
		want("the first has gone", 45*time.Hour)
		d.revokeRecipient("r1")
		if got, ok := expiry(); ok {
			t.Errorf("with no agreement left the first ends in %v", got)
		}
	})
}

// What is due counts as done, or as put off when it fails.
func TestSweepsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(t, func(c *Config) { c.Metrics = reg })
		w.tenant("alpen", ch)
		w.expiring("alpen", "r1", time.Second)
		want := func(done, late float64) {
			t.Helper()
			d, _ := sampled(t, reg, "residency_sweeps_total", "ch", "expire_record", sweepDone)
			l, _ := sampled(t, reg, "residency_sweeps_total", "ch", "expire_record", sweepLate)
			if d != done || l != late {
				t.Errorf("%v done and %v put off, want %v and %v", d, l, done, late)
			}
		}
		want(0, 0)
		time.Sleep(2 * time.Second)
		w.mem["ch"].Fail(storetest.OpAppend, storetest.Once(storetest.FaultFail))
		w.g.sweepAll(t.Context())
		want(0, 1)
		time.Sleep(2 * postponed)
		w.g.sweepAll(t.Context())
		want(1, 1)
	})
}

// A refusal at the border counts under the clause that refused, one at home under none.
func TestBlockedByClause(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, func(c *Config) { c.Metrics = reg })
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	_, call, err := w.get(us, "alpen", "s1", "r1")
	w.wantKind(err, residency.CrossBorderConsentRequired)
	if n, _ := sampled(t, reg, "residency_blocked_by_clause_total", "CH", "US", call.Decision.Clause); n != 1 {
		t.Errorf("%v blocked by %s, want 1", n, call.Decision.Clause)
	}
	c := as(ch, "GetRecord", residency.Use, residency.PersonalInformation)
	_, err = w.g.GetRecord(t.Context(), c, GetRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Purpose: residency.Marketing})
	w.wantKind(err, residency.PurposeNotPermitted)
	if n, _ := sampled(t, reg, "residency_blocked_by_clause_total"); n != 1 {
		t.Errorf("%v blocked in all, want 1", n)
	}
}

// A decision of a trace that is recorded leaves its name beside how long it took; one of another does not.
func TestDecisionsNameTheirTrace(t *testing.T) {
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		reg := prometheus.NewRegistry()
		w := newWorld(t, func(c *Config) { c.Metrics = reg })
		ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{1}, TraceFlags: flags,
		}))
		_, err := w.g.RegisterTenant(ctx, as(ch, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: "alpen", Residence: ch})
		w.ok(err)
		families, err := reg.Gather()
		w.ok(err)
		var names []string
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, b := range m.GetHistogram().GetBucket() {
					for _, l := range b.GetExemplar().GetLabel() {
						names = append(names, f.GetName()+" "+l.GetName()+" "+l.GetValue())
					}
				}
			}
		}
		want := "residency_decision_seconds trace_id ab" + strings.Repeat("00", 15)
		if flags == 0 && len(names) != 0 || flags != 0 && (len(names) != 1 || names[0] != want) {
			t.Errorf("with flags %v: %q", flags, names)
		}
	}
}
