package rpc

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/server/config"
)

// metrics are the grpc_server_* family, under the names and labels that dashboards for
// grpc know, and what the gate refuses. A method's children are looked up once, at start: per
// call that saves five lookups by label. Messages are counted of streams alone: of a unary call
// they are one each way.
type metrics struct {
	started  *prometheus.CounterVec
	handled  *prometheus.CounterVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	refusals    *prometheus.CounterVec
	handshakes  *prometheus.CounterVec
	connections prometheus.Gauge
	turnedAway  prometheus.Counter
	panics      prometheus.Counter
	reloads     *prometheus.CounterVec

	byKind [residency.NumKinds]prometheus.Counter
}

// newMetrics makes the metrics and registers them; a nil registerer registers
// nowhere.
func newMetrics(reg prometheus.Registerer) *metrics {
	method := []string{"grpc_type", "grpc_service", "grpc_method"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		started:  counter("grpc_server_started_total", "RPCs started on the server.", method...),
		handled:  counter("grpc_server_handled_total", "RPCs completed on the server, by status code.", append(method, "grpc_code")...),
		received: counter("grpc_server_msg_received_total", "Messages of streams received from callers.", method...),
		sent:     counter("grpc_server_msg_sent_total", "Messages of streams sent to callers.", method...),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "grpc_server_handling_seconds",
			Help:                            "How long RPCs took on the server, in seconds.",
			Buckets:                         []float64{.01, .1, 1}, // coarse, since each is a series per method: the native ones are fine
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, method),
		refusals:    counter("residency_refusals_total", "Calls that the gate refused before any decision, by reason.", "reason"),
		handshakes:  counter("residency_handshakes_refused_total", "TLS handshakes that failed, by reason.", "reason"),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "residency_connections", Help: "Open connections from callers."}),
		turnedAway: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "residency_connections_refused_total", Help: "Connections closed at once because too many were open.",
		}),
		panics:  prometheus.NewCounter(prometheus.CounterOpts{Name: "residency_panics_total", Help: "Panics contained in handlers."}),
		reloads: counter("residency_reloads_total", "Attempts to take changed certificates or callers into use, by what and result.", "what", "result"),
	}
	m.prepare()
	if reg != nil {
		reg.MustRegister(m.started, m.handled, m.received, m.sent, m.seconds,
			m.refusals, m.handshakes, m.connections, m.turnedAway, m.panics, m.reloads)
	}
	return m
}

// prepare makes the children whose labels are known, so that they show as zero.
func (m *metrics) prepare() {
	for _, k := range []residency.Kind{
		residency.NoIdentity, residency.CallerNotPermitted, residency.PurposeRequired, residency.BadRequest, residency.Overloaded,
	} {
		m.byKind[k] = m.refusals.WithLabelValues(k.String())
	}
	for _, reason := range []string{"no_certificate", "unknown_authority", "expired", "other"} {
		m.handshakes.WithLabelValues(reason)
	}
}

// refuse counts a call that the gate refused.
func (m *metrics) refuse(k residency.Kind) {
	if c := m.byKind[k]; c != nil {
		c.Inc()
		return
	}
	m.refusals.WithLabelValues(k.String()).Inc()
}

// series are one method's children.
type series struct {
	started, ok    prometheus.Counter
	received, sent prometheus.Counter // nil unless it streams
	seconds        observer
	handled        *prometheus.CounterVec // of the other codes
}

// watch makes a method's children. Those of what peers ask for themselves are made when one first does: few gateways have peers.
func (m *metrics) watch(x *method) {
	x.series = sync.OnceValue(func() *series { return m.seriesOf(x) })
	if x.service != residencyv1.PeerService_ServiceDesc.ServiceName {
		x.series()
	}
}

func (m *metrics) seriesOf(x *method) *series {
	labels := []string{x.kind, x.service, x.name}
	s := &series{
		started: m.started.WithLabelValues(labels...),
		ok:      m.handled.WithLabelValues(append(labels, codes.OK.String())...),
		seconds: m.seconds.WithLabelValues(labels...).(observer), // as every histogram is
		handled: m.handled.MustCurryWith(prometheus.Labels{
			"grpc_type": x.kind, "grpc_service": x.service, "grpc_method": x.name,
		}),
	}
	if x.streams {
		s.received, s.sent = m.received.WithLabelValues(labels...), m.sent.WithLabelValues(labels...)
	}
	return s
}

// running is a call that is being measured.
type running struct {
	*series
	began time.Time
}

// begin counts a call in.
func (m *metrics) begin(x *method) running {
	s := x.series()
	s.started.Inc()
	return running{s, time.Now()}
}

// end counts it out. A span that is recorded is named beside how long the call took; the zero span is none.
func (r running) end(code codes.Code, span trace.SpanContext) {
	if code == codes.OK {
		r.ok.Inc()
	} else {
		r.handled.WithLabelValues(code.String()).Inc()
	}
	took := time.Since(r.began).Seconds()
	if span.IsSampled() {
		r.seconds.ObserveWithExemplar(took, prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	r.seconds.Observe(took)
}

// observer is a histogram that takes exemplars too.
type observer interface {
	prometheus.Observer
	prometheus.ExemplarObserver
}

// registerSaturation offers how much of what is bounded is in use, and the bounds.
func registerSaturation(reg prometheus.Registerer, e *entrance, l config.Limits) {
	if reg == nil {
		return
	}
	used := func(name, help string, shares ...*share) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() (n float64) {
			for _, s := range shares {
				n += float64(s.used())
			}
			return n
		}))
	}
	used("residency_in_flight", "Calls that are being handled.", e.calls, e.asked)
	used("residency_drive_streams", "Calls that carry drive data and are being handled.", e.drives)
	limits := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "residency_limit", Help: "The configured bound of what is in use at once; of memory what the runtime aims for.",
	}, []string{"limit"})
	for name, limit := range map[string]int{
		"connections": l.Connections, "in_flight": l.InFlight, "drive_streams": l.DriveStreams, "memory_bytes": int(l.Memory),
	} {
		limits.WithLabelValues(name).Set(float64(limit))
	}
	reg.MustRegister(limits)
}
