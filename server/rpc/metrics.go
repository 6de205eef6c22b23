package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/residency"
)

// metrics are the grpc_server_* family, under the names and labels that dashboards for
// grpc know, and what the gate refuses. A method's children are looked up once, at start: per
// call that saves five lookups by label.
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
		received: counter("grpc_server_msg_received_total", "Messages received from callers.", method...),
		sent:     counter("grpc_server_msg_sent_total", "Messages sent to callers.", method...),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_server_handling_seconds",
			Help: "How long RPCs took on the server, in seconds.",
			Buckets: []float64{
				.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60,
			},
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
	started, received, sent, ok prometheus.Counter
	seconds                     prometheus.Observer
	handled                     *prometheus.CounterVec // of the other codes
}

// watch makes a method's children.
func (m *metrics) watch(x *method) {
	labels := []string{x.kind, x.service, x.name}
	x.series = &series{
		started:  m.started.WithLabelValues(labels...),
		received: m.received.WithLabelValues(labels...),
		sent:     m.sent.WithLabelValues(labels...),
		ok:       m.handled.WithLabelValues(append(labels, codes.OK.String())...),
		seconds:  m.seconds.WithLabelValues(labels...),
		handled: m.handled.MustCurryWith(prometheus.Labels{
			"grpc_type": x.kind, "grpc_service": x.service, "grpc_method": x.name,
		}),
	}
}

// running is a call that is being measured.
type running struct {
	*series
	began time.Time
}

// begin counts a call in.
func (m *metrics) begin(x *method) running {
	x.series.started.Inc()
	return running{x.series, time.Now()}
}

// end counts it out.
func (r running) end(code codes.Code) {
	if code == codes.OK {
		r.ok.Inc()
	} else {
		r.handled.WithLabelValues(code.String()).Inc()
	}
	r.seconds.Observe(time.Since(r.began).Seconds())
}
