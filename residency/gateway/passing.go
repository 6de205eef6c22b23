package gateway

import (
	"context"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// What a stream sent to the gateway of another region is not with its caller yet: that gateway may
// hold some of it for as long as the caller is slow. It passes on nothing without a
// lease, which it asks for here, and so a stream that has ended is still judged while somebody asks.

// passingFor is how long after it was last asked about a stream that has ended is forgotten.
const passingFor = 5 * time.Second

// StreamLease is for how long what a peer received of a stream may be passed on.
type StreamLease struct {
	Lease time.Duration // from before it asked; 0 = not now
	Over  bool          // there will be no further one: the stream was cut, or is not known
}

// Leases says of streams that a peer forwards for how much longer what it received of them may be
// passed on.
func (g *Gateway) Leases(peer string, decisions []string) []StreamLease {
	k, now := g.keeper, g.elapsed()
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]StreamLease, len(decisions))
	for i, id := range decisions {
		s := k.forwarded[id]
		if s == nil || s.call.Peer != peer || s.cutBy.Load() != nil {
			out[i].Over = true
			continue
		}
		s.asked = now
		out[i].Lease = max(0, time.Duration(s.until.Load())-now)
	}
	return out
}

// expect notes a stream about whose lease its peer will ask.
func (k *keeper) expect(s *stream) {
	if s.call.Peer == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forwarded[s.decision.ID], s.asked = s, k.g.elapsed()
}

// expectPage is expect for what was read whole in the transaction of its decision. It leaves no row, and here it has
// ended: it is judged on for its peer's sake alone.
func (k *keeper) expectPage(s *stream, t *txn) {
	s.home, s.tk, s.act, s.decision, s.consents = t.home, t.tk, t.a, t.decision, t.consents
	k.expect(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended(s)
}

// ended notes that a stream has ended here; while its peer asks about it, it is judged on.
func (k *keeper) ended(s *stream) {
	if s.call.Peer == "" {
		return
	}
	s.over, s.asked = true, k.g.elapsed()
}

// passing lists the streams of one cluster that have ended here and may still be passed on elsewhere,
// by tenant, and forgets those that nobody asked about for a while.
func (k *keeper) passing(rows store.Rows) map[partition][]*stream {
	now := k.g.elapsed()
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[partition][]*stream)
	for id, s := range k.forwarded {
		_, running := k.streams[s]
		switch {
		case running || s.home.cluster.Rows != rows:
		case s.cutBy.Load() != nil || now-s.asked > passingFor:
			delete(k.forwarded, id)
		case s.over:
			p := partition{rows, s.home.tenant}
			out[p] = append(out[p], s)
		}
	}
	return out
}

// renewPassing judges streams of one tenant again that have ended here. Their outcomes are in the log; nothing is written.
func (k *keeper) renewPassing(ctx context.Context, p partition, streams []*stream) error {
	ctx, cancel := context.WithTimeout(ctx, k.g.limits.Decide)
	defer cancel()
	began := k.g.elapsed()
	verdicts := make([]verdict, len(streams))
	err := p.rows.View(ctx, store.Scope{Tenant: p.tenant}, func(tx store.Tx) error {
		for i, s := range streams {
			var err error
			if verdicts[i], err = s.again(ctx, tx).judgeAgain(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, s := range streams {
		s.take(began, verdicts[i])
	}
	return nil
}

// judgeAgain judges a stream's act again. What fails for this stream alone is its verdict, and no reason
// to renew no other.
func (t *txn) judgeAgain(s *stream) (verdict, error) {
	v, err := t.lookAgain(s)
	switch kind := residency.KindOf(err); kind {
	case residency.IntegrityFailure, residency.NotFound:
		return verdict{cut: kind}, nil
	}
	return v, err
}

// take does what a look that began at a time came to.
func (s *stream) take(began time.Duration, v verdict) {
	switch {
	case v.denied != nil:
		s.refuse(v.denied)
	case v.cut != residency.OK:
		s.cut(v.cut)
	default:
		s.renew(began + v.lease)
	}
}
