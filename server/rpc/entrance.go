package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// entrance is what a call passes when its headers have come and before any
// message of it is read: it must have a known identity, and room within the
// bounds, which it holds until it ends. grpc calls a unary interceptor only once the
// message was read, so the entrance stands around the methods themselves; what
// a call may do is the gate's to say, behind it.
type entrance struct {
	*gate
	calls  *share // calls in flight
	asked  *share // those that peers make for themselves: streams must not end because callers take up all the room
	drives *share // those of them that carry drive data

	drain    sync.Once
	draining chan struct{} // closed when the server stops
}

func newEntrance(g *gate, l config.Limits) *entrance {
	return &entrance{
		gate: g, draining: make(chan struct{}),
		calls:  newShare(l.InFlight, l.InFlightPerCaller),
		asked:  newShare(l.InFlight, l.InFlightPerCaller),
		drives: newShare(l.DriveStreams, l.DriveStreamsPerCaller),
	}
}

// stop ends the streams that would last for as long as their caller likes.
func (e *entrance) stop() { e.drain.Do(func() { close(e.draining) }) }

// arrive lets a call in: identity first, then the bounds. After nil the call
// must be let out by leave.
func (e *entrance) arrive(ctx context.Context, full string, call *gateway.Call) (leave func(), err error) {
	m := e.methods[full]
	from := e.arrival(ctx)
	from.note(call)
	if from.refused != residency.OK && (m != nil || !isHealth(full)) {
		return nil, e.notFrom(from)
	}
	id, calls := from.id, e.calls
	if from.self() {
		calls = e.asked
	}
	if !calls.take(id) {
		return nil, e.overloaded()
	}
	if m == nil || !m.carries {
		return func() { calls.give(id) }, nil
	}
	if !e.drives.take(id) {
		calls.give(id)
		return nil, e.overloaded()
	}
	return func() { e.drives.give(id); calls.give(id) }, nil
}

func (e *entrance) overloaded() error {
	e.metrics.refuse(residency.Overloaded)
	return gateError(residency.Overloaded)
}

func isHealth(full string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service == healthService
}

// refused tells the outcome of a call that did not get as far as the gate. What
// the transport found, such as a message that is too long, is not for the log: it is no
// refusal of ours and any caller can cause it.
func (e *entrance) refused(full string, call *gateway.Call, err error) error {
	st := statusOf(err)
	m := e.methods[full]
	if m == nil { // health or reflection: not counted as calls
		return st.Err()
	}
	if ours := (*residency.Error)(nil); errors.As(err, &ours) {
		e.log.outcome(m, call, err)
	}
	e.metrics.begin(m).end(st.Code(), trace.SpanContext{})
	return st.Err()
}

// contain contains a panic outside of the gate.
func (e *entrance) contain(full string, value any) error {
	return statusOf(e.panicked(&method{full: full}, value)).Err()
}

// tap gives a unary call its deadline before its message is read: to wait for one
// that does not come ends with it. It runs on the connection's own goroutine and
// must not wait.
func (e *entrance) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if m := e.methods[info.FullMethodName]; m != nil && m.streams {
		return ctx, nil
	} else if m == nil && info.FullMethodName != healthv1.Health_Check_FullMethodName {
		return ctx, nil
	}
	switch d, ok := ctx.Deadline(); {
	case !ok:
		return within(ctx, e.limits.Deadline), nil
	case time.Until(d) > e.limits.MaxDeadline:
		return within(ctx, e.limits.MaxDeadline), nil
	}
	return ctx, nil
}

// within bounds a call's context. It is not cancelled here but with its parent,
// which ends when the call does.
func within(ctx context.Context, most time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, most) //nolint:gosec // ended by the parent
	_ = cancel
	return ctx
}

// unary stands around a unary method.
func (e *entrance) unary(full string, method grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, read func(any) error, gate grpc.UnaryServerInterceptor) (resp any, err error) {
		call := &gateway.Call{}
		leave, err := e.arrive(ctx, full, call)
		if err != nil {
			return nil, e.refused(full, call, err)
		}
		defer leave()
		defer func() {
			if p := recover(); p != nil {
				resp, err = nil, e.contain(full, p)
			}
		}()
		decoded := func(m any) error {
			if err := e.decode(read, m); err != nil {
				return e.refused(full, call, err)
			}
			return nil
		}
		return method(srv, ctx, decoded, gate)
	}
}

// stream is the interceptor of streams that stands before the gate's.
func (e *entrance) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, gate grpc.StreamHandler) error {
	call := &gateway.Call{}
	leave, err := e.arrive(ss.Context(), info.FullMethod, call)
	if err != nil {
		return e.refused(info.FullMethod, call, err)
	}
	defer leave()
	if e.methods[info.FullMethod] == nil {
		return e.exemptStream(srv, ss, info.FullMethod, gate)
	}
	return gate(srv, &entered{ServerStream: ss, entrance: e})
}

// exemptStream runs a stream of health or reflection. It lasts for as long as its caller
// likes, but not beyond the begin of a drain: what then waits to send
// or receive ends with the stream.
func (e *entrance) exemptStream(srv any, ss grpc.ServerStream, full string, handler grpc.StreamHandler) error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- e.contain(full, p)
			}
		}()
		ended <- handler(srv, ss)
	}()
	select {
	case err := <-ended:
		return err
	case <-e.draining:
		return status.Error(codes.Unavailable, "the gateway is stopping")
	}
}

// guarded is a server whose methods stand behind an entrance.
type guarded struct {
	*grpc.Server
	entrance *entrance
}

// RegisterService registers a service, each of its unary methods behind the entrance; streams have
// the interceptor.
func (g guarded) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods = slices.Clone(desc.Methods)
	for i, m := range d.Methods {
		d.Methods[i].Handler = g.entrance.unary("/"+d.ServiceName+"/"+m.MethodName, m.Handler)
	}
	g.Server.RegisterService(&d, impl)
}

// incoming is a message on its way in. That its bytes cannot be decoded is kept here:
// were it an error of the codec's, grpc would tell the caller itself, without
// a reason, before anybody else learns of it.
type incoming struct {
	message any
	err     error
}

// lenient is the codec with that way of reading.
type lenient struct{ *codec }

// Unmarshal reads a message.
func (c lenient) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.codec.Unmarshal(data, v)
	}
	in.err = c.codec.Unmarshal(data, in.message)
	return nil
}

// decode reads a message; one that cannot be decoded is a BadRequest.
func (e *entrance) decode(read func(any) error, m any) error {
	in := incoming{message: m}
	if err := read(&in); err != nil {
		return err
	}
	if in.err != nil {
		e.metrics.refuse(residency.BadRequest)
		return residency.Bad("rpc.decode", "message", fmt.Sprintf("must be a %s in protobuf's encoding", messageName(m)))
	}
	return nil
}

func messageName(m any) string {
	if _, ok := m.(*driveFrame); ok {
		return "WriteDriveRequest"
	}
	name := fmt.Sprintf("%T", m)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// entered is a stream that was let in.
type entered struct {
	grpc.ServerStream
	entrance *entrance
	told     bool // the trailer has the decision's identifier
}

// RecvMsg receives a message; one that cannot be decoded is a BadRequest.
func (s *entered) RecvMsg(m any) error {
	return s.entrance.decode(s.ServerStream.RecvMsg, m)
}

// SendHeader sends the initial metadata. The decision's identifier in it goes into the
// trailer at once too: what grpc ends by itself, such as a message that is too
// long, then has it as well.
func (s *entered) SendHeader(md metadata.MD) error {
	if len(md[decisionTrailer]) > 0 && !s.told {
		s.told = true
		s.ServerStream.SetTrailer(metadata.MD{decisionTrailer: md[decisionTrailer]})
	}
	return s.ServerStream.SendHeader(md)
}

// SetTrailer sets the trailer, the decision's identifier once.
func (s *entered) SetTrailer(md metadata.MD) {
	if s.told && len(md[decisionTrailer]) > 0 {
		md = md.Copy()
		delete(md, decisionTrailer)
	}
	s.ServerStream.SetTrailer(md)
}

var (
	_ grpc.ServerStream     = (*entered)(nil)
	_ grpc.ServiceRegistrar = guarded{}
)
