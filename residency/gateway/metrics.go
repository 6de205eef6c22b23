package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// metrics are what the gateway tells SREs. Labels come from closed sets alone:
// never a tenant, a subject, a caller or an object.
type metrics struct {
	decisions         *prometheus.CounterVec
	blocked           *prometheus.CounterVec
	blockedByClause   *prometheus.CounterVec
	borderBytes       *prometheus.CounterVec
	decisionSeconds   prometheus.Histogram
	regionUp          *prometheus.GaugeVec
	regionLeader      *prometheus.GaugeVec
	consents          *prometheus.GaugeVec
	consentChanges    *prometheus.CounterVec
	revocationSeconds prometheus.Histogram
	streamsCut        *prometheus.CounterVec
	auditEntries      *prometheus.CounterVec
	auditFailures     *prometheus.CounterVec
	auditPending      *prometheus.GaugeVec
	checkpointAge     *prometheus.GaugeVec
	checkpointEntries *prometheus.GaugeVec
	checkpointTime    *prometheus.GaugeVec
	witnessedTime     *prometheus.GaugeVec
	witnessAge        *prometheus.GaugeVec
	witnessFailures   *prometheus.CounterVec
	driveBytes        *prometheus.CounterVec
	erasures          *prometheus.CounterVec
	erasuresPending   *prometheus.GaugeVec
	keysCached        *prometheus.GaugeVec
	safeguardExpiry   *prometheus.GaugeVec
	sweeps            *prometheus.CounterVec
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
		blockedByClause: counter("residency_blocked_by_clause_total",
			"Accesses that would have crossed a border and were refused, by the clause of the policy that refused.", "from", "to", "clause"),
		borderBytes: counter("residency_border_bytes_total",
			"Bytes of plaintext that were permitted to leave their home jurisdiction.", "data_class", "from", "to"),
		decisionSeconds: prometheus.NewHistogram(histogram("residency_decision_seconds",
			"How long a decision took, from taking the locks to its audit entry being durable.")),
		regionUp: gauge("residency_region_up",
			"Whether the region's rows, blobs, keys, audit and policy answered when last asked (1) or not (0).", "region"),
		regionLeader: gauge("residency_region_leader",
			"Whether this gateway leads the background work of the region's first cluster, and tells what is counted in the region (1), or another does (0).", "region"),
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
		auditPending: gauge("residency_audit_pending_entries",
			"Audit entries of the region that no checkpoint holds yet.", "region"),
		checkpointAge: gauge("residency_audit_checkpoint_age_seconds",
			"How old the region's newest checkpoint is while entries wait for the next, of several logs the oldest; 0 = none waits.", "region"),
		checkpointEntries: gauge("residency_audit_checkpoint_entries",
			"Audit entries that the newest checkpoints of the region's logs hold.", "region"),
		checkpointTime: gauge("residency_audit_checkpoint_timestamp_seconds",
			"Unix time at which the region's newest checkpoint was signed, of several logs the oldest.", "region"),
		witnessedTime: gauge("residency_audit_witnessed_timestamp_seconds",
			"Unix time at which all witnesses that are asked had last cosigned a checkpoint of the region, of several logs the oldest.", "region"),
		witnessAge: gauge("residency_audit_witness_age_seconds",
			"For how long the region's newest checkpoints have lacked the signature of a witness that is asked, of several logs the longest; 0 = all have signed.", "region"),
		witnessFailures: counter("residency_witness_failures_total",
			"Checkpoints of the region's logs that were not cosigned because they contradict what was seen before: the log was forked, or went back.", "region"),
		driveBytes: counter("residency_drive_bytes_total",
			"Bytes of drive data read, written and inspected by callers.", "region", "direction"),
		erasures: counter("residency_erasures_total",
			"Erasures of people and tenants that were completed: nothing is left of them.", "region", "kind"),
		erasuresPending: gauge("residency_erasures_pending",
			"Erasures that were decided and are not completed yet, when last counted.", "region"),
		keysCached: gauge("residency_keys_cached", "Keys held in memory.", "region"),
		safeguardExpiry: gauge("residency_safeguard_expiry_seconds",
			"Seconds until the first safeguard agreement of a registered recipient ends, as of the last census; negative = ended.", "region"),
		sweeps: counter("residency_sweeps_total",
			"Background tasks of the region that were done, or put off because they failed.", "region", "kind", "result"),
		policyInfo: gauge("residency_policy_info", "1 for the policy version in force.", "region", "version"),
	}
	if r != nil {
		r.MustRegister(m.decisions, m.blocked, m.blockedByClause, m.borderBytes, m.decisionSeconds, m.regionUp, m.regionLeader,
			m.consents, m.consentChanges, m.revocationSeconds, m.streamsCut, m.auditEntries, m.auditFailures, m.auditPending,
			m.checkpointAge, m.checkpointEntries, m.checkpointTime, m.witnessedTime, m.witnessAge, m.witnessFailures, m.driveBytes,
			m.erasures, m.erasuresPending, m.keysCached, m.safeguardExpiry, m.sweeps, m.policyInfo)
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
		s.byClause.Inc()
	}
	if s.borderBytes != nil {
		s.borderBytes.Add(float64(bytes))
	}
}

// took tells how long a decision took, and which trace shows it if its span is recorded.
func (m *metrics) took(ctx context.Context, d time.Duration) {
	span := trace.SpanContextFromContext(ctx)
	if h, ok := m.decisionSeconds.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		h.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	m.decisionSeconds.Observe(d.Seconds())
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
	clause   string // of a crossing that was blocked
}

// outcomeOf gives a decision's labels.
func outcomeOf(region residency.Region, d *residency.Decision) outcome {
	o := outcome{region: region, action: d.Action, class: d.DataClass, from: d.From, to: d.To, allow: d.Allow, reason: d.Reason}
	switch {
	case d.Allow || d.From == d.To:
	case d.Clause == "":
		o.clause = "none"
	default:
		o.clause = d.Clause
	}
	return o
}

// series are the counters that a decision of one kind moves.
type series struct {
	decisions, entries             prometheus.Counter
	blocked, byClause, borderBytes prometheus.Counter // nil when they do not apply
}

// seriesOf finds a decision's counters, looked up by their labels once.
func (m *metrics) seriesOf(region residency.Region, d *residency.Decision) *series {
	key := outcomeOf(region, d)
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
		s.byClause = m.blockedByClause.WithLabelValues(from, to, key.clause)
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
		direction := directionRead
		switch d.Action {
		case residency.Collect:
			direction = directionWrite
		case residency.Inspect:
			direction = directionInspect
		}
		m.driveBytes.WithLabelValues(string(s.home.region.Name), direction).Add(n)
	}
	if d.From != d.To {
		m.borderBytes.WithLabelValues(d.DataClass.String(), d.From.String(), d.To.String()).Add(n)
	}
}

// The ways in which a consent's standing changes, and drive data goes.
const (
	changeGranted    = "granted"
	changeSuperseded = "superseded"
	changeWithdrawn  = "withdrawn"

	directionRead    = "read"
	directionWrite   = "write"
	directionInspect = "inspect"
)

func (m *metrics) consentChange(region residency.Region, change string) {
	m.consentChanges.WithLabelValues(string(region), change).Inc()
}

// logs tells how far a region's logs are. A time that is not known yet is left out.
func (m *metrics) logs(region residency.Region, told *logsTold) {
	of := string(region)
	m.auditPending.WithLabelValues(of).Set(float64(told.pending))
	m.checkpointEntries.WithLabelValues(of).Set(float64(told.signed))
	m.checkpointAge.WithLabelValues(of).Set(told.oldest.Seconds())
	m.witnessAge.WithLabelValues(of).Set(told.unwitnessed.Seconds())
	for gauge, at := range map[*prometheus.GaugeVec]time.Time{m.checkpointTime: told.signedAt, m.witnessedTime: told.witnessedAt} {
		if at.IsZero() {
			gauge.DeleteLabelValues(of)
			continue
		}
		gauge.WithLabelValues(of).Set(float64(at.UnixNano()) / 1e9)
	}
}

// taskKinds names what background tasks do.
var taskKinds = map[store.TaskKind]string{
	store.TaskCloseStream:   "close_stream",
	store.TaskDeleteBlob:    "delete_blob",
	store.TaskForgetRequest: "forget_request",
	store.TaskExpireRecord:  "expire_record",
	store.TaskSweepDrive:    "sweep_drive",
	store.TaskEraseSubject:  "erase_subject",
	store.TaskEraseTenant:   "erase_tenant",
	store.TaskSweepSnapshot: "sweep_snapshot",
	store.TaskPurge:         "purge",
}

// The results of a background task.
const (
	sweepDone = "done"
	sweepLate = "put_off"
)

// swept counts a background task.
func (m *metrics) swept(region residency.Region, kind store.TaskKind, result string) {
	name, ok := taskKinds[kind]
	if !ok { // of a later version; it is taken off the agenda
		name = "unknown"
	}
	m.sweeps.WithLabelValues(string(region), name, result).Inc()
}

// prepare makes the series of a region whose labels are known, so that they show as zero.
func (m *metrics) prepare(r *Region) {
	region := string(r.Name)
	for _, name := range taskKinds {
		m.sweeps.WithLabelValues(region, name, sweepDone)
		m.sweeps.WithLabelValues(region, name, sweepLate)
	}
	for _, change := range []string{changeGranted, changeSuperseded, changeWithdrawn} {
		m.consentChanges.WithLabelValues(region, change)
	}
	for _, direction := range []string{directionRead, directionWrite, directionInspect} {
		m.driveBytes.WithLabelValues(region, direction)
	}
	for _, kind := range erasureKinds {
		if kind != "" {
			m.erasures.WithLabelValues(region, kind)
		}
	}
	for _, c := range []*prometheus.CounterVec{m.auditEntries, m.auditFailures, m.witnessFailures} {
		c.WithLabelValues(region)
	}
}
