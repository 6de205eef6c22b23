package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// decisionIDOption is what DecisionID makes.
type decisionIDOption struct {
	grpc.EmptyCallOption
	id *string
}

// DecisionID makes a call option that sets *id to the identifier under which
// the audit log has the decision over the call: before the call returns, also when it
// fails. For a stream it is set before the first message is received. *id is
// left "" by calls that are not decided, such as those for policies.
func DecisionID(id *string) grpc.CallOption { return decisionIDOption{id: id} }

// tellDecision hands a decision's identifier to whoever asked for it.
func tellDecision(opts []grpc.CallOption, id string) {
	for _, o := range opts {
		if d, ok := o.(decisionIDOption); ok {
			*d.id = id
		}
	}
}

// endpointOption is what Endpoint makes.
type endpointOption struct {
	grpc.EmptyCallOption
	address *string
}

// Endpoint makes a call option that sets *address to the "host:port" that the call was
// taken to, since the tenant's home is there: before the call returns, for a stream
// before the first message is received. It is set to "" when Options.Address answered.
func Endpoint(address *string) grpc.CallOption { return endpointOption{address: address} }

// tellEndpoint hands the endpoint of a call to whoever asked for it.
func tellEndpoint(opts []grpc.CallOption, address string) {
	for _, o := range opts {
		if e, ok := o.(endpointOption); ok {
			*e.address = address
		}
	}
}

// unary is what every unary call passes through: a deadline, a request_id,
// attempts, the way home, typed errors.
func unary(r *retrier, h *homes, timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		req, safe := repeatable(method, req)
		var trailer metadata.MD
		call := func(at place) (reached bool, err error) {
			var p peer.Peer
			trailer = nil
			asked := append(opts[:len(opts):len(opts)], grpc.Trailer(&trailer), grpc.Peer(&p))
			if at.conn == nil {
				err = invoke(ctx, method, req, reply, cc, asked...)
			} else {
				err = at.conn.Invoke(ctx, method, req, reply, asked...)
			}
			return p.Addr != nil, convert(err, trailer)
		}
		var endpoint string
		err := r.do(ctx, safe, func() (metadata.MD, error) {
			var err error
			endpoint, err = h.unary(tenantOf(req), call)
			return trailer, err
		})
		tellDecision(opts, decisionOf(trailer))
		tellEndpoint(opts, endpoint)
		return ofMethod(err, method)
	}
}

// repeatable gives the request to send, with a request_id where the method has
// one and the caller set none, and whether the call may be made more than
// once. The caller's own message is left as it was: sending it again is another request.
func repeatable(method string, req any) (any, bool) {
	switch levels()[method] {
	case read:
		return req, true
	case idempotent:
	default:
		return req, false
	}
	m, ok := req.(proto.Message)
	if !ok {
		return req, false
	}
	field := m.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind {
		return req, false
	}
	if m.ProtoReflect().Get(field).String() != "" {
		return req, true
	}
	return withRequestID(m, field), true
}

// withRequestID copies a message, its top level only, and gives it a request_id.
func withRequestID(m proto.Message, field protoreflect.FieldDescriptor) proto.Message {
	from := m.ProtoReflect()
	to := from.New()
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	to.Set(field, protoreflect.ValueOfString(newRequestID()))
	return to.Interface()
}

// newRequestID makes a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// stream is what every stream passes through: a request_id, the way home, typed
// errors. It makes one attempt; ReadDriveTo and WriteDriveFrom know when another is safe.
func stream(h *homes) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s := newHomeStream(ctx, h, desc.ClientStreams, opts, func(at place) (grpc.ClientStream, error) {
			if at.conn == nil {
				return open(ctx, desc, cc, method, opts...)
			}
			ended := grpc.OnFinish(func(error) { at.release() })
			return at.conn.NewStream(ctx, desc, method, append(opts[:len(opts):len(opts)], ended)...)
		})
		return &typedStream{ClientStream: s, method: method, opts: opts}, nil
	}
}

// typedStream turns a stream's errors into this package's. Like any
// ClientStream it is used by one sender and one receiver at a time.
type typedStream struct {
	grpc.ClientStream
	method string
	opts   []grpc.CallOption
	told   bool // the decision's identifier came with the header
}

// SendMsg sends a message; io.EOF says that the stream ended and RecvMsg knows why.
func (s *typedStream) SendMsg(m any) error {
	return ofMethod(convert(s.ClientStream.SendMsg(withHeaderRequestID(m)), nil), s.method)
}

// RecvMsg receives a message, and io.EOF at the stream's end.
func (s *typedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.tellFromHeader()
		return nil
	}
	trailer := s.ClientStream.Trailer()
	if id := decisionOf(trailer); id != "" {
		tellDecision(s.opts, id)
	} else {
		s.tellFromHeader()
	}
	if errors.Is(err, io.EOF) {
		return err
	}
	return ofMethod(convert(err, trailer), s.method)
}

func (s *typedStream) tellFromHeader() {
	if s.told {
		return
	}
	s.told = true
	if md, err := s.ClientStream.Header(); err == nil {
		if id := decisionOf(md); id != "" {
			tellDecision(s.opts, id)
		}
	}
}

// withHeaderRequestID gives the header of a drive write a request_id when it has none.
func withHeaderRequestID(m any) any {
	w, ok := m.(*residencyv1.WriteDriveRequest)
	if !ok || w.GetHeader() == nil || w.GetHeader().GetRequestId() != "" {
		return m
	}
	return &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: headerWithRequestID(w.GetHeader())}}
}

func headerWithRequestID(h *residencyv1.WriteDriveHeader) *residencyv1.WriteDriveHeader {
	if h.GetRequestId() != "" {
		return h
	}
	field := h.ProtoReflect().Descriptor().Fields().ByName("request_id")
	return withRequestID(h, field).(*residencyv1.WriteDriveHeader)
}
