package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
)

// decisionTrailer carries the decision's identifier: in the trailer of every decided
// call, and of streams in the initial metadata too.
const decisionTrailer = "residency-decision-id"

// shave is how much of a caller's deadline is kept back, so that an answer
// reaches the caller before it gives up. A deadline further away than ample is
// left as it is: a decision is bounded far below that.
const (
	shave = 5 * time.Millisecond
	ample = 5 * time.Second
)

// gate decides which calls reach a handler. Its order is the contract's:
// identity, permission and tenant list, form.
type gate struct {
	methods  map[string]*method
	callers  *Callers
	peers    map[string]*knownPeer
	router   router    // where calls are for; nil = all are for here
	forward  Forwarder // takes them there
	passing  passing   // what peers pass on for this gateway
	endpoint string    // where callers reach the region that is served here
	codec    *codec
	forms    *forms
	limits   config.Limits
	log      *callLog
	metrics  *metrics
	now      func() time.Time
}

// gateError makes the refusals that come before any decision.
func gateError(kind residency.Kind) *residency.Error {
	return &residency.Error{Op: "rpc.gate", Kind: kind}
}

// notFrom refuses a call for where it comes from.
func (g *gate) notFrom(from arrival) error {
	g.metrics.refuse(from.refused)
	e := gateError(from.refused)
	if e.Kind == residency.UseHomeEndpoint {
		e.Endpoint = g.endpoint
	}
	return e
}

// callKey is where a handler finds its call.
type callKey struct{}

// callOf gives the call that the gate let through.
func callOf(ctx context.Context) *gateway.Call {
	call, _ := ctx.Value(callKey{}).(*gateway.Call)
	return call
}

// callContext is a context that carries a call.
type callContext struct {
	context.Context
	call *gateway.Call
}

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.Context.Value(key)
}

// unary is the one interceptor of unary calls.
func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	m := g.methods[info.FullMethod]
	if m == nil {
		return g.exempt(ctx, info.FullMethod, func() (any, error) { return handler(ctx, req) })
	}
	series := g.metrics.begin(m)
	call := &gateway.Call{Method: m.full, Action: m.action, Class: m.class}
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, g.panicked(m, p)
		}
		resp, err = g.finish(ctx, series, m, call, resp, err)
	}()
	message, ok := req.(proto.Message)
	if !ok {
		return nil, residency.E("rpc.gate", residency.Internal, fmt.Errorf("request is a %T", req))
	}
	who, err := g.admit(ctx, m, call)
	if err != nil {
		return nil, err
	}
	if err := g.examine(m, who, message); err != nil {
		return nil, err
	}
	ctx, cancel := g.deadline(ctx)
	defer cancel()
	switch region, err := g.route(ctx, m, call, message); {
	case err != nil:
		return nil, err
	case region != "":
		return g.pass(ctx, region, m, call, message)
	}
	return handler(&callContext{ctx, call}, req)
}

// finish tells the outcome of a unary call: trailer, log, metrics, status.
func (g *gate) finish(ctx context.Context, s running, m *method, call *gateway.Call, resp any, err error) (any, error) {
	if call.Decision.ID != "" {
		_ = grpc.SetTrailer(ctx, metadata.MD{decisionTrailer: []string{call.Decision.ID}}) // fails only on a dead stream
	}
	if call.Peer != "" && call.Lease > 0 {
		_ = grpc.SetTrailer(ctx, forward.Lease(call.Lease)) // likewise
	}
	err = about(call, err)
	g.log.outcome(m, call, err)
	if err != nil {
		st := statusOf(err)
		s.end(st.Code(), trace.SpanContextFromContext(ctx))
		return nil, st.Err()
	}
	s.end(codes.OK, trace.SpanContextFromContext(ctx))
	return resp, nil
}

// admit finds out who calls, notes it in the call, and says whether it may call
// the method at all.
func (g *gate) admit(ctx context.Context, m *method, call *gateway.Call) (*caller, error) {
	from := g.arrival(ctx)
	from.note(call)
	if from.refused != residency.OK {
		return nil, g.notFrom(from)
	}
	who := from.who
	if !who.Permissions.Has(m.permission) {
		g.metrics.refuse(residency.CallerNotPermitted)
		return who, gateError(residency.CallerNotPermitted)
	}
	return who, nil
}

// examine checks a request against the caller's tenant list and the rules of its
// form. A tenant outside the list is refused alike whether it exists or not; where a request may leave
// the tenant out, all of a region's are for who may see every one.
func (g *gate) examine(m *method, who *caller, req proto.Message) error {
	r := req.ProtoReflect()
	if m.namesTenant(r) && !who.Sees(m.tenantOf(req)) || m.wholeRegion(r) && !who.known.SeesAll {
		g.metrics.refuse(residency.CallerNotPermitted)
		return gateError(residency.CallerNotPermitted)
	}
	if err := g.form(m, req); err != nil {
		g.metrics.refuse(err.Kind)
		return err
	}
	return nil
}

func (g *gate) form(m *method, req proto.Message) *residency.Error {
	if len(m.purpose) > 0 && m.purpose.reaches(req.ProtoReflect()) && m.purposeOf(req) == residencyv1.Purpose_PURPOSE_UNSPECIFIED {
		return &residency.Error{Op: "rpc.gate", Kind: residency.PurposeRequired, Violations: []residency.Violation{{
			Field: m.purpose.String(), Description: "must name the purpose of the access",
		}}}
	}
	return g.forms.check(req)
}

// deadline bounds a unary call: the caller's own deadline less what the answer's
// way takes, the default when it states none, the maximum when it states more.
func (g *gate) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	d, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, g.limits.Deadline)
	}
	switch left := time.Until(d); {
	case left > g.limits.MaxDeadline:
		return context.WithTimeout(ctx, g.limits.MaxDeadline)
	case left > 10*shave && left < ample:
		return context.WithDeadline(ctx, d.Add(-shave))
	}
	return ctx, func() {}
}

// exempt runs a call of health or reflection, the only services without annotations.
func (g *gate) exempt(ctx context.Context, full string, run func() (any, error)) (any, error) {
	service, _, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	switch service {
	case healthService:
		return run()
	case reflectionService, reflectionServiceV0:
		if g.arrival(ctx).refused == residency.OK {
			return run()
		}
		g.metrics.refuse(residency.NoIdentity)
		return nil, statusOf(gateError(residency.NoIdentity)).Err()
	}
	return nil, statusOf(residency.E("rpc.gate", residency.Internal, errors.New("a method that is not in the table was called"))).Err()
}

// stream is the one interceptor of streams.
func (g *gate) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	m := g.methods[info.FullMethod]
	if m == nil {
		_, err := g.exempt(ss.Context(), info.FullMethod, func() (any, error) { return nil, handler(srv, ss) })
		return err
	}
	series := g.metrics.begin(m)
	call := &gateway.Call{Method: m.full, Action: m.action, Class: m.class}
	gated := &gatedStream{ServerStream: ss, gate: g, method: m, series: series, call: call}
	defer func() {
		if p := recover(); p != nil {
			err = g.panicked(m, p)
		}
		err = g.finishStream(ss, series, m, call, err)
	}()
	if gated.who, err = g.admit(ss.Context(), m, call); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ss.Context(), g.limits.StreamLifetime)
	defer cancel()
	call.Decided = gated.decided
	if call.Peer != "" {
		g.passing.begin()
		defer g.passing.end()
	}
	gated.ctx = &callContext{ctx, call}
	err = handler(srv, gated)
	if gated.elsewhere != "" {
		return g.passStream(gated)
	}
	return err
}

func (g *gate) finishStream(ss grpc.ServerStream, s running, m *method, call *gateway.Call, err error) error {
	if call.Decision.ID != "" {
		ss.SetTrailer(metadata.MD{decisionTrailer: []string{call.Decision.ID}})
	}
	err = about(call, err)
	g.log.outcome(m, call, err)
	if err != nil {
		st := statusOf(err)
		s.end(st.Code(), trace.SpanContextFromContext(ss.Context()))
		return st.Err()
	}
	s.end(codes.OK, trace.SpanContextFromContext(ss.Context()))
	return nil
}

// about gives an error that came after a decision the decision that it came
// after, so that the caller is told of it with every refusal.
func about(call *gateway.Call, err error) error {
	var e *residency.Error
	if call.Decision.ID != "" && errors.As(err, &e) && e.Decision == nil {
		with := *e
		with.Decision, with.Err = &call.Decision, err
		return &with
	}
	return err
}

// gatedStream examines every message of a stream before a handler sees it.
type gatedStream struct {
	grpc.ServerStream
	gate   *gate
	method *method
	series running
	call   *gateway.Call
	who    *caller
	tenant string // that the stream is about, once a message has said it
	whole  bool   // it is about all of a region's
	ctx    context.Context

	routed    bool             // a message has said where the stream is for
	elsewhere residency.Region // "" = here
	first     mem.BufferSlice  // the message that said it, when that is elsewhere
}

// still returns nil while the caller may do what it could when the stream began:
// its entry in the caller table may have changed or gone since.
func (s *gatedStream) still() error {
	now := s.gate.arrival(s.ctx).who
	switch {
	case now == s.who:
		return nil
	case now == nil:
		s.gate.metrics.refuse(residency.NoIdentity)
		return gateError(residency.NoIdentity)
	case !now.Permissions.Has(s.method.permission), now.known.Jurisdiction != s.who.known.Jurisdiction,
		now.known.Party != s.who.known.Party, s.tenant != "" && !now.Sees(s.tenant), s.whole && !now.known.SeesAll:
		s.gate.metrics.refuse(residency.CallerNotPermitted)
		return gateError(residency.CallerNotPermitted)
	}
	return nil
}

// Context carries the call and the stream's deadline.
func (s *gatedStream) Context() context.Context { return s.ctx }

// decided sends the decision's identifier ahead of any data. A refusal's goes with its status, so that no
// caller takes it for a beginning.
func (s *gatedStream) decided(d residency.Decision) {
	header := metadata.MD{decisionTrailer: []string{d.ID}}
	if s.call.Peer != "" && s.call.Lease > 0 {
		header = metadata.Join(header, forward.Lease(s.call.Lease))
	}
	if !d.Allow && s.elsewhere == "" {
		_ = s.SetHeader(header) // fails only once there is one
		return
	}
	_ = s.SendHeader(header) // a dead stream shows itself at the next send
}

// SendMsg sends a message while the caller may still have it, and counts it.
func (s *gatedStream) SendMsg(m any) error {
	if err := s.still(); err != nil {
		return err
	}
	if err := s.ServerStream.SendMsg(m); err != nil {
		return gone(err)
	}
	s.series.sent.Inc()
	return nil
}

// gone tells the gateway, which knows nothing of gRPC, that a message failed because
// its caller went away, or the connection to it did.
func gone(err error) error {
	switch status.Code(err) {
	case codes.Canceled, codes.Unavailable:
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}

// RecvMsg receives a message, and gives it on when its tenant and form are right.
// It waits for a caller that does not send it no longer than the stream may be
// idle; a driveFrame's receiver sees to that itself.
func (s *gatedStream) RecvMsg(m any) error {
	receive := s.ServerStream.RecvMsg
	if _, ok := m.(*driveFrame); !ok {
		receive = s.receiveInTime
	}
	if err := receive(m); err != nil {
		return gone(err)
	}
	s.series.received.Inc()
	if err := s.still(); err != nil {
		return err
	}
	if f, ok := m.(*driveFrame); ok {
		if f.plain {
			return s.gate.frame(f)
		}
		m = &f.message
	}
	message, ok := m.(proto.Message)
	if !ok {
		return residency.E("rpc.gate", residency.Internal, fmt.Errorf("message is a %T", m))
	}
	if err := s.gate.examine(s.method, s.who, message); err != nil {
		return err
	}
	if s.method.namesTenant(message.ProtoReflect()) {
		s.tenant = s.method.tenantOf(message)
	}
	s.whole = s.whole || s.method.wholeRegion(message.ProtoReflect())
	return s.findWay(message)
}

// receiveInTime is RecvMsg in a goroutine of its own, which ends with the stream.
func (s *gatedStream) receiveInTime(m any) error {
	done := make(chan error, 1)
	go func() { done <- s.ServerStream.RecvMsg(m) }()
	timer := time.NewTimer(s.gate.limits.StreamIdle)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-timer.C:
		return errIdle
	}
}

// frame checks a message of drive data by the rule that the protos state for it.
func (g *gate) frame(f *driveFrame) error {
	if f.length >= 1 && f.length <= maxDriveData {
		return nil
	}
	g.metrics.refuse(residency.BadRequest)
	return residency.Bad("rpc.gate", "data", fmt.Sprintf("must have 1 to %d bytes", maxDriveData))
}

// panicked contains a panic: the call fails, the process goes on. The panic's
// value may hold anything, so only a runtime error's text is logged.
func (g *gate) panicked(m *method, value any) error {
	g.metrics.panics.Inc()
	text := fmt.Sprintf("%T", value)
	if e, ok := value.(runtime.Error); ok {
		text = e.Error()
	}
	g.log.Error("panic contained", slog.String("method", m.full), slog.String("err", text), slog.String("stack", string(debug.Stack())))
	return gateError(residency.Internal)
}

var _ grpc.ServerStream = (*gatedStream)(nil)
