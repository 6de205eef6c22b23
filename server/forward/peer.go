package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/server/config"
)

const (
	perAddress     = 2  // connections to each address
	maxAddresses   = 64 // that are connected to
	resolveEvery   = 30 * time.Second
	resolveAgain   = 2 * time.Second // while none serves
	resolveTimeout = 5 * time.Second
)

// Peer is the gateways of a region elsewhere. Safe for concurrent use. Run must be running.
type Peer struct {
	region    residency.Region
	addresses []string
	creds     *peerCredentials
	log       *slog.Logger
	told      func(up bool) // called when it comes up or goes down, in that order

	dial []grpc.DialOption // more of them

	mu        sync.RWMutex
	endpoints []*endpoint
	stops     map[*endpoint]context.CancelFunc
	now       proof // the certificates as they were read last
	up, known bool  // what was told last; it was told
}

var _ gateway.Peer = (*Peer)(nil)

// Options are what a Peer is made of.
type Options struct {
	Region  residency.Region
	Peer    config.Peer
	TLS     config.TLS
	Log     *slog.Logger
	Metrics *Metrics      // nil = calls are not counted
	Told    func(up bool) // called when it comes up or goes down; it must not call the Peer; nil = nobody is told
}

// New checks what a peer needs. It connects to nobody yet.
func New(o Options) (*Peer, error) {
	p := &Peer{
		region: o.Region, addresses: o.Peer.Addresses(), creds: &peerCredentials{files: o.TLS, identity: o.Peer.Identity},
		log: o.Log, told: o.Told, dial: o.Metrics.dial(), stops: make(map[*endpoint]context.CancelFunc),
	}
	if p.told == nil {
		p.told = func(bool) {}
	}
	if err := p.creds.own(); err != nil {
		return nil, err
	}
	return p, nil
}

// Run connects, and keeps looking which of the peer's gateways serve, until the context ends.
func (p *Peer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		settled := p.resolve(ctx, &wg)
		p.changed()
		every := resolveEvery
		if !settled || !p.Up() {
			every = resolveAgain
		}
		wait(ctx, every, nil)
		p.tell(true) // one that never came up is down by now
	}
	return nil
}

// resolve looks the addresses up and takes changes into use, of the certificates too. What cannot be looked up stays as it
// was. It reports whether there is nothing left to do.
func (p *Peer) resolve(ctx context.Context, wg *sync.WaitGroup) (settled bool) {
	now, err := p.creds.proof()
	if err != nil { // they may be being replaced
		p.log.Warn("the certificates cannot be read; connections to the peer go on", slog.String("region", string(p.region)), slog.Any("err", err))
	}
	want, complete := p.lookup(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.now = now
	}
	if !complete || len(want) == 0 {
		for _, e := range p.endpoints {
			want = append(want, e.address)
		}
	}
	for _, address := range want {
		for n := p.connections(address); n < perAddress; n++ {
			p.connect(ctx, wg, address)
		}
	}
	return p.prune(ctx, wg, want)
}

// connect adds a connection to an address.
func (p *Peer) connect(ctx context.Context, wg *sync.WaitGroup, address string) {
	e, err := newEndpoint(address, p.now, p.creds, p.dial...)
	if err != nil {
		p.log.Error("a peer's address cannot be used", slog.String("region", string(p.region)), slog.Any("err", err))
		return
	}
	running, stop := context.WithCancel(ctx)
	p.endpoints, p.stops[e] = append(p.endpoints, e), stop
	wg.Go(func() { e.run(running, p.changed) })
}

// prune lets go of connections to addresses that are gone, and of those that rest on certificates that were replaced: these
// at the second look, so that others have been made instead. It reports whether none of these is left.
func (p *Peer) prune(ctx context.Context, wg *sync.WaitGroup, want []string) (settled bool) {
	settled = true
	p.endpoints = slices.DeleteFunc(p.endpoints, func(e *endpoint) bool {
		gone := e.old || !slices.Contains(want, e.address)
		if gone {
			stop := p.stops[e]
			delete(p.stops, e)
			wg.Go(func() { e.retire(ctx); stop() })
		} else if e.old = e.proof != p.now; e.old {
			settled = false
		}
		return gone
	})
	return settled
}

// connections counts those to an address that rest on the certificates as they are now.
func (p *Peer) connections(address string) (n int) {
	for _, e := range p.endpoints {
		if e.address == address && e.proof == p.now {
			n++
		}
	}
	return n
}

// lookup gives the addresses behind the configured names; complete says that every name was found.
func (p *Peer) lookup(ctx context.Context) (out []string, complete bool) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	complete = true
	for _, address := range p.addresses {
		host, port, err := net.SplitHostPort(address)
		var hosts []string
		if err == nil {
			hosts, err = net.DefaultResolver.LookupHost(ctx, host)
		}
		if err != nil {
			complete = false
			if ctx.Err() == nil {
				p.log.Warn("a peer's address was not found", slog.String("region", string(p.region)), slog.String("address", address), slog.Any("err", err))
			}
			continue
		}
		for _, h := range hosts {
			out = append(out, net.JoinHostPort(h, port))
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxAddresses {
		p.log.Warn("a peer has more addresses than are used", slog.String("region", string(p.region)), slog.Int("addresses", len(out)), slog.Int("used", maxAddresses))
		out = out[:maxAddresses]
	}
	return out, complete
}

// changed tells when the peer as a whole has come up or gone down.
func (p *Peer) changed() { p.tell(false) }

// tell is changed; of one that never came up it says that it is down when that is certain.
func (p *Peer) tell(certain bool) {
	p.mu.Lock()
	defer p.mu.Unlock() // what is told is told in its order
	up := slices.ContainsFunc(p.endpoints, (*endpoint).serves)
	if up == p.up && (p.known || !certain) {
		return
	}
	p.up, p.known = up, true
	p.told(up)
	if up {
		p.log.Info("peer is up", slog.String("region", string(p.region)))
		return
	}
	var why []error
	for _, e := range p.endpoints {
		if err := e.why.Load(); err != nil {
			why = append(why, fmt.Errorf("%s: %w", e.address, *err))
		}
	}
	p.log.Warn("peer is down: calls for its tenants are refused", slog.String("region", string(p.region)), slog.Any("err", errors.Join(why...)))
}

// Up reports whether calls can be forwarded now.
func (p *Peer) Up() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.ContainsFunc(p.endpoints, (*endpoint).serves)
}

// take finds the serving connection with the fewest calls and counts one in.
func (p *Peer) take() (*endpoint, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var best *endpoint
	for _, e := range p.endpoints {
		if (best == nil || e.calls.Load() < best.calls.Load()) && e.serves() {
			best = e
		}
	}
	if best == nil {
		return nil, unavailable(errDown{p.region})
	}
	if !best.begin() {
		return nil, residency.E("forward", residency.Overloaded, errors.New("too many calls at once to the home region"))
	}
	return best, nil
}

// Unary forwards a unary call; the request is used up and the answer the caller's to free. The call's decision
// is noted in it, whether it succeeds or not. A *Refused is the home's own answer.
func (p *Peer) Unary(ctx context.Context, method string, call *gateway.Call, request mem.BufferSlice) (out mem.BufferSlice, err error) {
	defer request.Free()
	err = p.untilSent(ctx, func(ctx context.Context, e *endpoint) (err error) {
		defer e.end()
		request.Ref() // for the one that sends it
		out, err = p.unary(ctx, e, method, call, request)
		return err
	})
	return out, err
}

func (p *Peer) unary(ctx context.Context, e *endpoint, method string, call *gateway.Call, request mem.BufferSlice) (mem.BufferSlice, error) {
	began := elapsed()
	var trailer metadata.MD
	var out frame
	err := e.conn.Invoke(attest(ctx, call), method, &frame{request}, &out, grpc.Trailer(&trailer))
	noteDecision(call, trailer)
	lease, ok := leaseOf(trailer)
	if err != nil {
		err = p.failed(ctx, e, err)
	}
	if ok && elapsed()-began >= lease && (err == nil || errors.As(err, new(*Refused))) {
		err = unavailable(errors.New("the answer took longer than it may be relied on"))
	}
	if err != nil {
		out.wire.Free()
		return nil, err
	}
	return out.wire, nil
}

// untilSent makes a call on a connection, and on another when nothing of it has left: so a gateway that stops in peace
// fails no call, and one that may have been heard is not made twice. All connections to an address may be found closed.
func (p *Peer) untilSent(ctx context.Context, f func(context.Context, *endpoint) error) error {
	var d departure
	for tries := 1; ; tries++ {
		e, err := p.take()
		if err != nil {
			return err
		}
		err = f(d.watch(ctx), e)
		if err == nil || tries > perAddress || d.left.Load() || ctx.Err() != nil || errors.As(err, new(*Refused)) {
			return err
		}
	}
}

// failed says what a call's failure means for its caller.
func (p *Peer) failed(ctx context.Context, e *endpoint, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if refused := answer(err); refused != nil {
		return refused
	}
	e.doubt()
	p.changed()
	return unavailable(err)
}

// asked makes a call of the gateway's own; once more by another connection when the first fails.
func asked[T any](ctx context.Context, p *Peer, f func(context.Context, residencyv1.PeerServiceClient) (T, error)) (out T, err error) {
	for range 2 {
		var e *endpoint
		if e, err = p.take(); err != nil {
			return out, err
		}
		out, err = f(ctx, residencyv1.NewPeerServiceClient(e.conn))
		e.end()
		if err == nil {
			return out, nil
		}
		if failed := p.failed(ctx, e, err); ctx.Err() != nil || errors.As(failed, new(*Refused)) {
			return out, unavailable(failed)
		}
	}
	return out, unavailable(err)
}

// Locate is gateway.Peer.
func (p *Peer) Locate(ctx context.Context, t store.Tenant) (gateway.Located, error) {
	resp, err := asked(ctx, p, func(ctx context.Context, c residencyv1.PeerServiceClient) (*residencyv1.LocateTenantResponse, error) {
		return c.LocateTenant(ctx, &residencyv1.LocateTenantRequest{Pseudonym: t[:]})
	})
	return gateway.Located{Here: resp.GetHere(), Registered: resp.GetRegistered()}, err
}

// Reserve is gateway.Peer.
func (p *Peer) Reserve(ctx context.Context, t store.Tenant, home residency.Region) (bool, error) {
	resp, err := asked(ctx, p, func(ctx context.Context, c residencyv1.PeerServiceClient) (*residencyv1.ReserveTenantResponse, error) {
		return c.ReserveTenant(ctx, &residencyv1.ReserveTenantRequest{Pseudonym: t[:], HomeRegion: string(home)})
	})
	return resp.GetReserved(), err
}

// Cosign is gateway.Peer.
func (p *Peer) Cosign(ctx context.Context, by residency.Region, req gateway.Cosigning) (gateway.Cosigned, error) {
	ask := &residencyv1.CosignCheckpointRequest{
		WitnessRegion: string(by), VerifierKey: req.Key, OldSize: int64(req.Old), Checkpoint: req.Checkpoint, //nolint:gosec // a log's size
	}
	for _, hash := range req.Proof {
		ask.ConsistencyProof = append(ask.ConsistencyProof, hash[:])
	}
	resp, err := asked(ctx, p, func(ctx context.Context, c residencyv1.PeerServiceClient) (*residencyv1.CosignCheckpointResponse, error) {
		return c.CosignCheckpoint(ctx, ask)
	})
	if err != nil {
		return gateway.Cosigned{}, err
	}
	out := gateway.Cosigned{Keys: resp.GetWitnessKeys(), Known: uint64(max(resp.GetKnownSize(), 0)), Contradiction: resp.GetContradiction()}
	if lines := resp.GetCosignature(); lines != "" {
		out.Lines = []byte(lines)
	}
	return out, nil
}
