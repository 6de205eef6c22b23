package forward

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// departure notes whether anything of a call has left for the peer. What gRPC makes again by itself, because the peer has
// certainly not heard it, counts from its last attempt.
type departure struct{ left atomic.Bool }

type departureKey struct{}

// watch gives the context in which the call is to be made.
func (d *departure) watch(ctx context.Context) context.Context {
	return context.WithValue(ctx, departureKey{}, d)
}

// departures is the stats.Handler of every connection.
type departures struct{}

// TagRPC is stats.Handler.
func (departures) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC is stats.Handler.
func (departures) HandleRPC(ctx context.Context, s stats.RPCStats) {
	d, ok := ctx.Value(departureKey{}).(*departure)
	if !ok {
		return
	}
	switch s.(type) {
	case *stats.Begin:
		d.left.Store(false)
	case *stats.OutHeader:
		d.left.Store(true)
	}
}

// TagConn is stats.Handler.
func (departures) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn is stats.Handler.
func (departures) HandleConn(context.Context, stats.ConnStats) {}
