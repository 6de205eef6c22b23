// Package rpc knows the wire: the gRPC services of the API, who is behind a
// connection, and how every call is let through or refused before a handler sees it.
//
// What each RPC is and needs stands in the protos' annotations and nowhere else:
// the method table is read from the descriptors at start, and a service with an RPC
// that is not annotated is not served. Handlers translate between protos and the gateway's
// types, nothing more; errors become statuses in one place.
//
// A call passes the entrance before any message of it is read (a known identity,
// a place within the bounds, and for unary calls a deadline), then the gate. What the transport
// answers by itself has a status but no ErrorInfo, since grpc writes it before
// anybody else learns of it: a message beyond limits.message_bytes and one that
// expands beyond it (RESOURCE_EXHAUSTED), a compression that is not known and a
// method that is not served (UNIMPLEMENTED), a message that breaks off, and one
// message too many or too few (INTERNAL). It ends a decided stream with the decision's
// identifier in the trailer all the same. Headers beyond limits.header_bytes end in a
// reset of the stream.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/server/config"
)

// maxSend is the longest message that is sent, in bytes: what grpc clients accept
// by default.
const maxSend = 4 << 20

// Options are what a Server is made of. Every field is required unless it says
// what its zero value means.
type Options struct {
	Backend Backend

	// What GetGateway answers.
	Name         string
	Jurisdiction residency.Jurisdiction
	Mixed        bool // plaintext of several jurisdictions exists in this process
	Version      string

	// Endpoint is the host:port that callers reach the region served here at; told to who comes by a peer
	// that may not speak for them. "" = nothing is told.
	Endpoint string

	// Peers are the gateways of other regions, by identity, that may forward calls here; Forward takes calls to
	// them. Nil = none.
	Peers   map[string]*config.PeerIdentity
	Forward Forwarder

	TLS        config.TLS
	Callers    map[string]*config.Identity
	Limits     config.Limits // zeros take their defaults
	Reflection bool          // offer the service descriptions to callers with a known identity

	Metrics prometheus.Registerer // nil = nowhere
	Log     *slog.Logger          // nil = none
}

// Server serves the API. Make it with New.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	creds    *Credentials
	callers  *Callers
	entrance *entrance
	metrics  *metrics
	limits   config.Limits
	codec    *codec
	names    []string // the services whose health is told
}

// New builds a server. It fails when an RPC is not annotated, a validation rule does not
// compile, or the certificates cannot be read.
func New(o Options) (*Server, error) {
	o.Limits = o.Limits.WithDefaults()
	s := &Server{callers: &Callers{}, metrics: newMetrics(o.Metrics), limits: o.Limits, health: health.NewServer(), codec: newCodec()}
	s.callers.Replace(o.Callers)
	var err error
	s.creds, err = NewCredentials(o.TLS, func(reason string) { s.metrics.handshakes.WithLabelValues(reason).Inc() })
	if err != nil {
		return nil, err
	}
	registerExpiry(o.Metrics, s.creds)
	g := &gate{
		callers: s.callers, peers: newPeers(o.Peers), limits: o.Limits, codec: s.codec,
		log: newCallLog(o.Log), metrics: s.metrics, now: time.Now, passing: passing{began: time.Now()}, endpoint: o.Endpoint,
	}
	if o.Forward != nil {
		g.router, g.forward = o.Backend, o.Forward
	}
	s.entrance = newEntrance(g, o.Limits)
	registerSaturation(o.Metrics, s.entrance, o.Limits)
	s.grpc = grpc.NewServer(serverOptions(o.Limits, s.creds, s.codec, s.entrance)...)
	s.register(o)
	if err := g.learn(s.grpc.GetServiceInfo(), protoregistry.GlobalFiles); err != nil {
		return nil, err
	}
	s.names = serviceNames(s.grpc.GetServiceInfo())
	s.SetServing(false)
	return s, nil
}

// learn builds the method table and the form checks from the registered services.
func (g *gate) learn(services map[string]grpc.ServiceInfo, files *protoregistry.Files) error {
	table, err := methodTable(services, files)
	if err != nil {
		return err
	}
	requests := make([]protoreflect.MessageDescriptor, 0, len(table))
	for _, m := range table {
		g.metrics.watch(m)
		requests = append(requests, m.request)
	}
	g.methods = table
	g.forms, err = newForms(requests)
	return err
}

// streamWorkers is how many goroutines are kept for calls, so that most of them
// run on a stack that has grown already; more calls at once get new ones.
const streamWorkers = 256

func serverOptions(l config.Limits, creds *Credentials, c *codec, e *entrance) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(lenient{c}),
		grpc.InTapHandle(e.tap),
		grpc.UnaryInterceptor(e.gate.unary),
		grpc.ChainStreamInterceptor(e.stream, e.gate.stream),
		grpc.MaxConcurrentStreams(uint32(l.StreamsPerConnection)), //nolint:gosec // bounded by Validate
		grpc.MaxHeaderListSize(uint32(l.HeaderBytes)),             //nolint:gosec // bounded by Validate
		grpc.MaxRecvMsgSize(int(l.MessageBytes)),
		grpc.MaxSendMsgSize(maxSend),
		grpc.ConnectionTimeout(l.HandshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: l.Idle, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: l.KeepaliveMin, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.WaitForHandlers(true), // no handler outlives Stop, so stores can be closed after it
	}
}

// register puts every service on the server, behind the entrance.
func (s *Server) register(o Options) {
	behind := guarded{s.grpc, s.entrance}
	residencyv1.RegisterTenantServiceServer(behind, &tenantService{backend: o.Backend})
	residencyv1.RegisterRecordServiceServer(behind, &recordService{backend: o.Backend, idle: o.Limits.StreamIdle, codec: s.codec})
	residencyv1.RegisterDriveServiceServer(behind, &driveService{
		backend: o.Backend, idle: o.Limits.StreamIdle, codec: s.codec, draining: s.entrance.draining,
	})
	residencyv1.RegisterConsentServiceServer(behind, &consentService{backend: o.Backend})
	residencyv1.RegisterTransferServiceServer(behind, &transferService{backend: o.Backend})
	residencyv1.RegisterDisclosureServiceServer(behind, &disclosureService{backend: o.Backend, idle: o.Limits.StreamIdle, codec: s.codec})
	residencyv1.RegisterPolicyServiceServer(behind, newPolicyService(o.Backend))
	residencyv1.RegisterAuditServiceServer(behind, &auditService{backend: o.Backend, idle: o.Limits.StreamIdle, codec: s.codec})
	residencyv1.RegisterUsageServiceServer(behind, &usageService{backend: o.Backend})
	residencyv1.RegisterGatewayServiceServer(behind, &gatewayService{
		backend: o.Backend, name: o.Name, jurisdiction: o.Jurisdiction, mixed: o.Mixed, version: o.Version, started: time.Now(),
	})
	residencyv1.RegisterPeerServiceServer(behind, &peerService{backend: o.Backend, known: s.entrance.peers, passing: &s.entrance.passing})
	healthv1.RegisterHealthServer(behind, s.health)
	if o.Reflection {
		reflection.Register(s.grpc)
	}
}

// serviceNames lists the services whose health is told, "" (the whole) first.
func serviceNames(services map[string]grpc.ServiceInfo) []string {
	names := []string{""}
	for name := range services {
		names = append(names, name)
	}
	return names
}

// SetServing says whether health checks answer SERVING; a new server does not.
func (s *Server) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	for _, name := range s.names {
		s.health.SetServingStatus(name, state)
	}
}

// Serve accepts connections until the server stops; it then returns nil.
func (s *Server) Serve(lis net.Listener) error {
	err := s.grpc.Serve(newLimited(lis, s.limits.Connections, s.limits.ConnectionsPerCaller, s.metrics))
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("rpc: %w", err)
	}
	return nil
}

// Drain stops the server: no new calls, the running ones finish or are cut when
// the context ends; streams of health and reflection end at once. When it returns no handler runs. Calling it again does nothing.
func (s *Server) Drain(ctx context.Context) {
	s.SetServing(false)
	s.entrance.stop()
	s.entrance.passing.wait(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// ReloadCertificates takes changed certificate files into use. After an error
// the old ones stay.
func (s *Server) ReloadCertificates() (changed bool, err error) {
	changed, err = s.creds.Reload()
	s.reloaded("certificates", changed, err)
	return changed, err
}

// ReplaceCallers takes a new caller table into use; nil with an error counts a
// table that could not be read, and keeps the old one.
func (s *Server) ReplaceCallers(identities map[string]*config.Identity, err error) {
	if err == nil {
		s.callers.Replace(identities)
	}
	s.reloaded("callers", true, err)
}

func (s *Server) reloaded(what string, changed bool, err error) {
	switch {
	case err != nil:
		s.metrics.reloads.WithLabelValues(what, "failed").Inc()
	case changed:
		s.metrics.reloads.WithLabelValues(what, "ok").Inc()
	}
}

// registerExpiry offers how long the certificates in use are good for.
func registerExpiry(reg prometheus.Registerer, creds *Credentials) {
	if reg == nil {
		return
	}
	gauge := func(use string, when func() time.Time) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "residency_certificate_expiry_seconds",
			Help:        "Seconds until the certificate in use ends; of several authorities the first.",
			ConstLabels: prometheus.Labels{"use": use},
		}, func() float64 { return time.Until(when()).Seconds() }))
	}
	gauge("server", func() time.Time { server, _ := creds.Expiry(); return server })
	gauge("client_ca", func() time.Time { _, clients := creds.Expiry(); return clients })
}
