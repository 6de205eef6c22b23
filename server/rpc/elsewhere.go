package rpc

import (
	"context"
	"errors"
	"io"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/server/forward"
)

// router says which region's gateways a call is for; "" = this one.
type router interface {
	Route(ctx context.Context, call *gateway.Call, tenant string) (residency.Region, error)
	RouteRegion(call *gateway.Call, region residency.Region) residency.Region
	RouteRegistration(call *gateway.Call, req gateway.NewTenant) residency.Region
}

// Forwarder takes calls to the gateways of other regions. A *forward.Refused is the home's own answer, which is
// passed on as it is.
type Forwarder interface {
	// Unary forwards a unary call; the request is used up, the answer the caller's to free.
	Unary(ctx context.Context, region residency.Region, method string, call *gateway.Call, request mem.BufferSlice) (mem.BufferSlice, error)

	// Stream forwards a stream, which must be closed; tells says that it brings what the home holds.
	Stream(ctx context.Context, region residency.Region, method string, call *gateway.Call, tells bool) (*forward.Stream, error)
}

// route says which region's gateways a call is for, by the tenant that its request names, or
// by the region.
func (g *gate) route(ctx context.Context, m *method, call *gateway.Call, req proto.Message) (residency.Region, error) {
	if g.router == nil || call.Peer != "" {
		return "", nil
	}
	if r, ok := req.(*residencyv1.RegisterTenantRequest); ok {
		var read reading
		residence := read.jurisdiction("residence", r.GetResidence())
		if read.err() != nil {
			return "", nil //nolint:nilerr // the handler says what is wrong
		}
		return g.router.RouteRegistration(call, gateway.NewTenant{Residence: residence, Home: residency.Region(r.GetHomeRegion())}), nil
	}
	switch {
	case m.namesTenant(req.ProtoReflect()):
		return g.router.Route(ctx, call, m.tenantOf(req))
	case len(m.region) > 0:
		return g.router.RouteRegion(call, residency.Region(m.region.value(req.ProtoReflect()).String())), nil
	}
	return "", nil
}

// pass forwards a unary call.
func (g *gate) pass(ctx context.Context, region residency.Region, m *method, call *gateway.Call, req proto.Message) (any, error) {
	request, err := g.codec.ordinary.Marshal(req)
	if err != nil {
		return nil, residency.E("rpc.pass", residency.Internal, err)
	}
	call.Elsewhere = region
	wire, err := g.forward.Unary(ctx, region, m.full, call, request)
	if err != nil {
		return nil, err
	}
	return &encoded{wire}, nil
}

// errElsewhere ends a handler whose stream is for another region's gateways.
var errElsewhere = errors.New("rpc: the stream is for another region")

// findWay finds out, by the first message that names it, where the stream is for.
func (s *gatedStream) findWay(message proto.Message) error {
	if s.routed || len(s.method.tenant) > 0 && !s.method.tenant.reaches(message.ProtoReflect()) {
		return nil
	}
	s.routed = true
	region, err := s.gate.route(s.ctx, s.method, s.call, message)
	if err != nil || region == "" {
		return err
	}
	if s.first, err = s.gate.codec.ordinary.Marshal(message); err != nil {
		return residency.E("rpc.findWay", residency.Internal, err)
	}
	s.elsewhere = region
	return errElsewhere
}

// passStream forwards a stream: what the caller sends, each message gated here as ever, and what
// the home answers, each message while the home says that it may be passed on.
func (g *gate) passStream(s *gatedStream) error {
	out, err := g.forward.Stream(s.ctx, s.elsewhere, s.method.full, s.call, s.method.kind != clientStream)
	if err != nil {
		s.first.Free()
		return err
	}
	defer out.Close()
	s.call.Elsewhere = s.elsewhere
	up := make(chan error, 1)
	go func() {
		err := contained("rpc.passUp", func() error { return s.passUp(out) })
		up <- err
		if err != nil { // what the caller sent must not go on; what ends well leaves the rest to the home
			out.Close()
		}
	}()
	err = s.passDown(out)
	select {
	case failed := <-up:
		if failed != nil {
			return failed
		}
	default:
	}
	return err
}

// contained runs f; a panic in it becomes its error.
func contained(op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(op, p)
		}
	}()
	return f()
}

// passUp sends the home what the caller sends, until its end.
func (s *gatedStream) passUp(out *forward.Stream) error {
	if err := out.Send(s.first); err != nil {
		return sent(err)
	}
	if s.method.kind != clientStream {
		return sent(out.CloseSend())
	}
	in := receive(s.ctx, s, s.gate.limits.StreamIdle)
	defer in.close()
	for {
		frame, err := in.take()
		if errors.Is(err, io.EOF) {
			return sent(out.CloseSend())
		}
		if err != nil {
			return err
		}
		wire, err := frame.whole(s.gate.codec)
		frame.release()
		if err != nil {
			return residency.E("rpc.passUp", residency.Internal, err)
		}
		if err := out.Send(wire); err != nil {
			return sent(err)
		}
	}
}

// sent tells that the home took no more from why: what it answers says that.
func sent(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// passDown sends the caller what the home answers, until its end.
func (s *gatedStream) passDown(out *forward.Stream) error {
	if err := out.Begin(); err != nil {
		return err
	}
	if s.call.Decision.ID != "" {
		s.decided(s.call.Decision)
	}
	to := send(s.ctx, s, s.gate.codec, s.gate.limits.StreamIdle)
	defer to.close()
	for {
		message, err := out.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		own := to.own(message)
		err = to.sent(nil)
		if err == nil {
			err = out.Check(s.ctx)
		}
		if err != nil {
			own.wire.Free()
			return err
		}
		if err := to.hand(own); err != nil {
			return err
		}
	}
}

// pseudonym reads a tenant's pseudonym, whose length the form check has seen to.
func pseudonym(b []byte) (t store.Tenant) {
	copy(t[:], b)
	return t
}

// peerService answers the gateways of other regions.
type peerService struct {
	residencyv1.UnsafePeerServiceServer
	backend peers
	known   map[string]*knownPeer
	passing *passing
}

var _ residencyv1.PeerServiceServer = (*peerService)(nil)

// LocateTenant says whether a tenant's home is here.
func (s *peerService) LocateTenant(ctx context.Context, req *residencyv1.LocateTenantRequest) (*residencyv1.LocateTenantResponse, error) {
	at, err := s.backend.LocateTenant(ctx, pseudonym(req.GetPseudonym()))
	if err != nil {
		return nil, err
	}
	return &residencyv1.LocateTenantResponse{Here: at.Here, Registered: at.Registered}, nil
}

// ReserveTenant takes a tenant's name for a home in the region of the peer that asks.
func (s *peerService) ReserveTenant(ctx context.Context, req *residencyv1.ReserveTenantRequest) (*residencyv1.ReserveTenantResponse, error) {
	home := residency.Region(req.GetHomeRegion())
	if p := s.known[callOf(ctx).Caller.ID]; p == nil || p.Region != home {
		return nil, residency.Bad("rpc.ReserveTenant", "home_region", "must be the region of the gateway that asks")
	}
	free, err := s.backend.ReserveTenant(ctx, pseudonym(req.GetPseudonym()), home)
	if err != nil {
		return nil, err
	}
	return &residencyv1.ReserveTenantResponse{Reserved: free}, nil
}

// ExtendLeases says how long what was received of streams may be passed on.
func (s *peerService) ExtendLeases(ctx context.Context, req *residencyv1.ExtendLeasesRequest) (*residencyv1.ExtendLeasesResponse, error) {
	s.passing.ask()
	out := &residencyv1.ExtendLeasesResponse{}
	for _, l := range s.backend.Leases(callOf(ctx).Caller.ID, req.GetDecisionIds()) {
		out.Leases = append(out.Leases, &residencyv1.StreamLease{Duration: durationpb.New(l.Lease), Over: l.Over})
	}
	return out, nil
}

// CosignCheckpoint lets a region's witness look at a checkpoint of the peer's.
func (s *peerService) CosignCheckpoint(ctx context.Context, req *residencyv1.CosignCheckpointRequest) (*residencyv1.CosignCheckpointResponse, error) {
	p := s.known[callOf(ctx).Caller.ID]
	if p == nil {
		return nil, residency.E("rpc.CosignCheckpoint", residency.CallerNotPermitted, nil)
	}
	cosigning := gateway.Cosigning{Key: req.GetVerifierKey(), Old: uint64(req.GetOldSize()), Checkpoint: req.GetCheckpoint()} //nolint:gosec // never negative
	for _, hash := range req.GetConsistencyProof() {
		cosigning.Proof = append(cosigning.Proof, tlog.Hash(hash))
	}
	said, err := s.backend.Cosign(ctx, p.Region, residency.Region(req.GetWitnessRegion()), cosigning)
	if err != nil {
		return nil, err
	}
	return &residencyv1.CosignCheckpointResponse{
		Cosignature: string(said.Lines), KnownSize: count(said.Known), WitnessKeys: said.Keys, Contradiction: said.Contradiction,
	}, nil
}
