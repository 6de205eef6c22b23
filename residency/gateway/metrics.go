package gateway

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
)

// metrics are what the gateway tells SREs. Labels come from closed sets alone:
// never a tenant, a subject, a caller or an object.
type metrics struct {
	decisions         *prometheus.CounterVec
	blocked           *prometheus.CounterVec
	borderBytes       *prometheus.CounterVec
	decisionSeconds   prometheus.Histogram
	regionUp          *prometheus.GaugeVec
	consents          *prometheus.GaugeVec
	consentChanges    *prometheus.CounterVec
	revocationSeconds prometheus.Histogram
	streamsCut        *prometheus.CounterVec
	auditEntries      *prometheus.CounterVec
	auditFailures     *prometheus.CounterVec
	driveBytes        *prometheus.CounterVec
	erasures          *prometheus.CounterVec
	erasuresPending   *prometheus.GaugeVec
	keysCached        *prometheus.GaugeVec
	policyInfo        *prometheus.GaugeVec

	known sync.Map // of *series, by outcome
}

// seconds are the classic buckets, beside the native ones, that dashboards need.
var seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2.5}

func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: seconds,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	}
}

// newMetrics makes the metrics and registers them, unless r is nil.
func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		decisions: counter("residency_decisions_total",
			"Decisions made and recorded, by what was asked, the home (from), the destination (to) and the outcome.",
			"action", "data_class", "from", "to", "outcome", "reason"),
		blocked: counter("residency_blocked_transfers_total",
			"Accesses that would have crossed a border and were refused.", "data_class", "from", "to", "reason"),
		borderBytes: counter("residency_border_bytes_total",
			"Bytes of plaintext that were permitted to leave their home jurisdiction.", "data_class", "from", "to"),
		decisionSeconds: prometheus.NewHistogram(histogram("residency_decision_seconds",
			"How long a decision took, from taking the locks to its audit entry being durable.")),
		regionUp: gauge("residency_region_up",
			"Whether the region's rows, blobs, keys, audit and policy answered when last asked (1) or not (0).", "region"),
		consents: gauge("residency_consents",
			"Recorded consents by where they stand, as of the last census.", "region", "kind", "state"),
		consentChanges: counter("residency_consent_changes_total",
			"Consents granted, superseded and withdrawn.", "region", "change"),
		revocationSeconds: prometheus.NewHistogram(histogram("residency_revocation_seconds",
			"How long a withdrawal took until nothing could rely on the consent any more.")),
		streamsCut: counter("residency_streams_cut_total",
			"Streams that were ended before their end, by reason.", "reason"),
		auditEntries: counter("residency_audit_entries_total",
			"Audit entries made durable by this gateway.", "region"),
		auditFailures: counter("residency_audit_failures_total",
			"Decisions that could not be made durable; each was answered UNAVAILABLE.", "region"),
		driveBytes: counter("residency_drive_bytes_total",
			"Bytes of drive data read, written and inspected by callers.", "region", "direction"),
		erasures: counter("residency_erasures_total",
			"Erasures of people and tenants that were completed: nothing is left of them.", "region", "kind"),
		erasuresPending: gauge("residency_erasures_pending",
			"Erasures that were decided and are not completed yet, when last counted.", "region"),
		keysCached: gauge("residency_keys_cached", "Keys held in memory.", "region"),
		policyInfo: gauge("residency_policy_info", "1 for the policy version in force.", "region", "version"),
	}
	if r != nil {
		r.MustRegister(m.decisions, m.blocked, m.borderBytes, m.decisionSeconds, m.regionUp, m.consents, m.consentChanges,
			m.revocationSeconds, m.streamsCut, m.auditEntries, m.auditFailures, m.driveBytes, m.erasures, m.erasuresPending, m.keysCached, m.policyInfo)
	}
	return m
}

// decided counts a decision and what its answer carries.
func (m *metrics) decided(region residency.Region, d *residency.Decision, bytes uint64) {
	s := m.seriesOf(region, d)
	s.decisions.Inc()
	s.entries.Inc()
	if s.blocked != nil {
		s.blocked.Inc()
	}
	if s.borderBytes != nil {
		s.borderBytes.Add(float64(bytes))
	}
}

// outcome is a decision's labels: closed sets, and jurisdictions that callers
// and regions of the configuration have.
type outcome struct {
	region   residency.Region
	action   residency.Action
	class    residency.DataClass
	from, to residency.Jurisdiction
	allow    bool
	reason   residency.Kind
}

// series are the counters that a decision of one kind moves.
type series struct {
	decisions, entries   prometheus.Counter
	blocked, borderBytes prometheus.Counter // nil when they do not apply
}

// seriesOf finds a decision's counters, looked up by their labels once.
func (m *metrics) seriesOf(region residency.Region, d *residency.Decision) *series {
	key := outcome{region, d.Action, d.DataClass, d.From, d.To, d.Allow, d.Reason}
	if s, ok := m.known.Load(key); ok {
		return s.(*series)
	}
	from, to, verdict := d.From.String(), d.To.String(), "DENY"
	if d.Allow {
		verdict = "ALLOW"
	}
	s := &series{
		decisions: m.decisions.WithLabelValues(d.Action.String(), d.DataClass.String(), from, to, verdict, d.Reason.String()),
		entries:   m.auditEntries.WithLabelValues(string(region)),
	}
	switch {
	case d.From == d.To:
	case !d.Allow:
		s.blocked = m.blocked.WithLabelValues(d.DataClass.String(), from, to, d.Reason.String())
	default:
		s.borderBytes = m.borderBytes.WithLabelValues(d.DataClass.String(), from, to)
	}
	m.known.Store(key, s)
	return s
}

// streamed counts a stream that has ended.
func (m *metrics) streamed(s *stream) {
	n, d := float64(s.bytes.Load()), &s.decision
	m.auditEntries.WithLabelValues(string(s.home.region.Name)).Inc()
	if d.DataClass == residency.VirtualDriveData {
		direction := "read"
		switch d.Action {
		case residency.Collect:
			direction = "write"
		case residency.Inspect:
			direction = "inspect"
		}
		m.driveBytes.WithLabelValues(string(s.home.region.Name), direction).Add(n)
	}
	if d.From != d.To {
		m.borderBytes.WithLabelValues(d.DataClass.String(), d.From.String(), d.To.String()).Add(n)
	}
}

func (m *metrics) consentChange(region residency.Region, change string) {
	m.consentChanges.WithLabelValues(string(region), change).Inc()
}
