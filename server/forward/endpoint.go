package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// What a connection may hold and how soon it is found dead.
const (
	maxMessage   = 8 << 20 // the longest message either way: above what any gateway sends or accepts
	streamWindow = 2 << 20 // what of one stream may be on its way or wait here for its caller
	connWindow   = 16 << 20
	maxCalls     = 200 // at once on one connection: below the 256 that a gateway accepts unless told otherwise

	probeEvery   = time.Second
	probeTimeout = time.Second
	leaseEvery   = 250 * time.Millisecond
	askTimeout   = time.Second
	maxAsked     = 1024 // leases at a time, as the protos state it
)

// endpoint is one connection to one of a peer's gateways. It is its own: a stream's lease can be asked
// for only where the stream is.
type endpoint struct {
	address string
	proof   proof // what the connection was made with
	old     bool  // the files have changed since; under the peer's lock
	conn    *grpc.ClientConn
	up      atomic.Bool           // the last probe found it serving, and no call has found otherwise since
	why     atomic.Pointer[error] // the last probe that did not
	calls   atomic.Int64          // that are under way
	doubts  chan struct{}         // holds a token when a call failed: it is probed at once

	mu      sync.Mutex
	streams map[*Stream]struct{} // those that need leases
}

func newEndpoint(address string, proof proof, creds credentials.TransportCredentials, more ...grpc.DialOption) (*endpoint, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, append(more,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage),
		),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithIdleTimeout(0), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithUserAgent("domiciled"), grpc.WithStatsHandler(departures{}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	return &endpoint{address: address, proof: proof, conn: conn, doubts: make(chan struct{}, 1), streams: make(map[*Stream]struct{})}, nil
}

// serves reports whether calls can be forwarded on it now. A gateway that stops says so to its connections, which then are
// not ready any more, before the next probe.
func (e *endpoint) serves() bool { return e.up.Load() && e.conn.GetState() == connectivity.Ready }

// run keeps looking whether the gateway serves and keeps the leases, until the context ends. Then it closes the connection.
func (e *endpoint) run(ctx context.Context, changed func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			e.probe(ctx)
			changed()
			wait(ctx, probeEvery, e.doubts)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			e.extend(ctx)
			wait(ctx, leaseEvery, nil)
		}
	})
	wg.Wait()
	_ = e.conn.Close() // who stops it has waited for what is on it
}

// wait waits for a while, for a token or for the context's end.
func wait(ctx context.Context, d time.Duration, token <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-token:
	case <-ctx.Done():
	}
}

// probe asks whether the gateway serves.
func (e *endpoint) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := healthv1.NewHealthClient(e.conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err == nil && resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		err = errors.New("the gateway does not serve now")
	}
	if err != nil {
		e.why.Store(&err)
	}
	e.up.Store(err == nil)
}

// doubt notes that the connection failed a call: it is not used until a probe says better.
func (e *endpoint) doubt() {
	e.up.Store(false)
	select {
	case e.doubts <- struct{}{}:
	default:
	}
}

// extend asks how much longer what came of the streams may be passed on.
func (e *endpoint) extend(ctx context.Context) {
	streams := e.leased()
	for len(streams) > 0 {
		some := streams[:min(len(streams), maxAsked)]
		streams = streams[len(some):]
		if err := e.ask(ctx, some); err != nil && status.Code(err) != codes.Canceled {
			e.doubt()
			return // the leases lapse
		}
	}
}

func (e *endpoint) leased() []*Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*Stream, 0, len(e.streams))
	for s := range e.streams {
		out = append(out, s)
	}
	return out
}

// ask renews some leases. Each counts from before it was asked for.
func (e *endpoint) ask(ctx context.Context, streams []*Stream) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := &residencyv1.ExtendLeasesRequest{DecisionIds: make([]string, len(streams))}
	for i, s := range streams {
		req.DecisionIds[i] = s.decision
	}
	began := elapsed()
	resp, err := residencyv1.NewPeerServiceClient(e.conn).ExtendLeases(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.GetLeases()) != len(streams) {
		return errors.New("forward: the peer answered about other streams than were asked")
	}
	for i, s := range streams {
		s.renew(began, resp.GetLeases()[i])
	}
	return nil
}

// begin counts a call in, if there is room.
func (e *endpoint) begin() bool {
	if e.calls.Add(1) > maxCalls {
		e.calls.Add(-1)
		return false
	}
	return true
}

func (e *endpoint) end() { e.calls.Add(-1) }

// retire waits until the calls have ended.
func (e *endpoint) retire(ctx context.Context) {
	for e.calls.Load() > 0 && ctx.Err() == nil {
		wait(ctx, time.Second, nil)
	}
}

// answer tells a peer's own answer, which is passed on as it is, from a failure on the way.
func answer(err error) error {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(interface{ GetDomain() string }); ok && info.GetDomain() == "residency" {
			return &Refused{st}
		}
	}
	switch st.Code() { // what a gateway's transport answers by itself
	case codes.Canceled:
		return &Refused{status.New(codes.Canceled, "canceled")}
	case codes.DeadlineExceeded:
		return &Refused{status.New(codes.DeadlineExceeded, "deadline exceeded")}
	case codes.Unimplemented:
		return &Refused{status.New(codes.Unimplemented, "the home region's gateway does not know this method")}
	case codes.ResourceExhausted:
		return &Refused{status.New(codes.ResourceExhausted, "a message is too long for the home region's gateway")}
	}
	return nil
}

// elapsed is the clock that leases go by.
func elapsed() time.Duration { return gateway.Boottime() }

// errDown is the cause when no connection to a peer serves.
type errDown struct{ region residency.Region }

func (e errDown) Error() string {
	return fmt.Sprintf("the gateways of region %s do not serve", e.region)
}
