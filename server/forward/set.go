package forward

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// Set is the peers by the regions that they serve.
type Set map[residency.Region]*Peer

// Run runs every peer until the context ends.
func (s Set) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, p := range s {
		wg.Go(func() { _ = p.Run(ctx) }) // it ends with the context alone
	}
	wg.Wait()
	<-ctx.Done() // a set without peers runs too
	return nil
}

// Unary forwards a unary call to a region (see Peer.Unary).
func (s Set) Unary(ctx context.Context, region residency.Region, method string, call *gateway.Call, request mem.BufferSlice) (mem.BufferSlice, error) {
	p := s[region]
	if p == nil {
		request.Free()
		return nil, unavailable(errors.New("the region has no peer"))
	}
	return p.Unary(ctx, method, call, request)
}

// Stream forwards a stream to a region (see Peer.Stream).
func (s Set) Stream(ctx context.Context, region residency.Region, method string, call *gateway.Call, tells bool) (*Stream, error) {
	p := s[region]
	if p == nil {
		return nil, unavailable(errors.New("the region has no peer"))
	}
	return p.Stream(ctx, method, call, tells)
}
