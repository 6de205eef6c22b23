package forward

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Metrics are the grpc_client_* family of the calls to peers, under the names and labels that dashboards for grpc know: of calls
// that are forwarded and of those that gateways make for themselves, but not of looks whether a peer serves. A method shows
// from its first call on. Safe for concurrent use.
type Metrics struct {
	started *prometheus.CounterVec
	handled *prometheus.CounterVec
	seconds *prometheus.HistogramVec

	known sync.Map // of *series, by full method
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	method := []string{"grpc_type", "grpc_service", "grpc_method"}
	m := &Metrics{
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_client_started_total", Help: "RPCs to peers started.",
		}, method),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_client_handled_total", Help: "RPCs to peers completed, by the status code that came of them.",
		}, append(method, "grpc_code")),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "grpc_client_handling_seconds",
			Help:                            "How long RPCs to peers took, in seconds.",
			Buckets:                         []float64{.01, .1, 1}, // coarse, as the server's
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, method),
	}
	reg.MustRegister(m.started, m.handled, m.seconds)
	return m
}

// dial gives what makes a connection count its calls; nil metrics count nothing.
func (m *Metrics) dial() []grpc.DialOption {
	if m == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}
}

func (m *Metrics) unary(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	end := m.begin(ctx, method)
	err := invoke(ctx, method, req, reply, conn, opts...)
	end(err)
	return err
}

func (m *Metrics) stream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	end := m.begin(ctx, method)
	var once sync.Once // a stream that could not be opened may have finished or not
	over := func(err error) { once.Do(func() { end(err) }) }
	stream, err := open(ctx, desc, conn, method, append(opts, grpc.OnFinish(over))...)
	if err != nil {
		over(err)
	}
	return stream, err
}

// series are one method's children.
type series struct {
	started, ok prometheus.Counter
	handled     *prometheus.CounterVec // of the other codes
	seconds     prometheus.Observer
}

// begin counts a call in, and gives what counts it out.
func (m *Metrics) begin(ctx context.Context, method string) (end func(error)) {
	s := m.seriesOf(method)
	if s == nil {
		return func(error) {}
	}
	s.started.Inc()
	began := time.Now()
	return func(err error) {
		if err == nil {
			s.ok.Inc()
		} else {
			s.handled.WithLabelValues(status.Code(err).String()).Inc()
		}
		took := time.Since(began).Seconds()
		span := trace.SpanContextFromContext(ctx)
		if h, ok := s.seconds.(prometheus.ExemplarObserver); ok && span.IsSampled() {
			h.ObserveWithExemplar(took, prometheus.Labels{"trace_id": span.TraceID().String()})
			return
		}
		s.seconds.Observe(took)
	}
}

// seriesOf finds a method's children; nil of a method that is not counted.
func (m *Metrics) seriesOf(method string) *series {
	if s, ok := m.known.Load(method); ok {
		return s.(*series)
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	known, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok || service == healthv1.Health_ServiceDesc.ServiceName {
		return nil // no label is made of what nobody describes
	}
	labels := []string{typeOf(known), service, name}
	s := &series{
		started: m.started.WithLabelValues(labels...),
		ok:      m.handled.WithLabelValues(append(labels, codes.OK.String())...),
		handled: m.handled.MustCurryWith(prometheus.Labels{"grpc_type": labels[0], "grpc_service": service, "grpc_method": name}),
		seconds: m.seconds.WithLabelValues(labels...),
	}
	m.known.Store(method, s)
	return s
}

// typeOf gives a method's grpc_type as the protos describe it: calls are forwarded by streams that go both ways.
func typeOf(m protoreflect.MethodDescriptor) string {
	switch {
	case m.IsStreamingClient() && m.IsStreamingServer():
		return "bidi_stream"
	case m.IsStreamingClient():
		return "client_stream"
	case m.IsStreamingServer():
		return "server_stream"
	}
	return "unary"
}
