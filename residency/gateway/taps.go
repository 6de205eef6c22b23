package gateway

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// The bounds of watching transfers: what is not shown by then is missed.
const (
	maxTaps  = 32 // on one gateway
	tapQueue = 32 // pieces of at most 256 KiB that wait for one inspector
)

// watched is what a tap is on: a drive's incarnation.
type watched struct {
	tenant store.Tenant
	self   store.ID
}

// taps are the inspections of transfers that pass this gateway. A transfer looks
// at their number and, while there are none, does nothing more.
type taps struct {
	n  atomic.Int32
	mu sync.RWMutex
	on map[watched][]*tap
}

// pass shows a piece of a transfer to those who watch its drive. It never waits
// for one of them.
func (ts *taps) pass(s *stream, write bool, offset int64, b []byte) {
	if ts.n.Load() != 0 {
		ts.show(s, Passing{Write: write, Offset: offset, Decision: s.decision.ID}, b)
	}
}

func (ts *taps) show(s *stream, p Passing, b []byte) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	on := ts.on[watched{s.home.tenant, s.self}]
	for len(on) > 0 && len(b) > 0 {
		n := min(len(b), seal.SegmentSize)
		for _, t := range on {
			t.offer(p, b[:n])
		}
		p.Offset += int64(n)
		b = b[n:]
	}
}

// open puts a tap on a stream's drive; nil = there are too many.
func (ts *taps) open(s *stream) *tap {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.n.Load() >= maxTaps {
		return nil
	}
	if ts.on == nil {
		ts.on = make(map[watched][]*tap)
	}
	t := &tap{of: watched{s.home.tenant, s.self}, slots: make(chan struct{}, tapQueue), queue: make(chan passed, tapQueue)}
	ts.on[t.of] = append(ts.on[t.of], t)
	ts.n.Add(1)
	return t
}

// close takes a tap off, and forgets what waits in it.
func (ts *taps) close(t *tap) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	left := make([]*tap, 0, len(ts.on[t.of]))
	for _, other := range ts.on[t.of] {
		if other != t {
			left = append(left, other)
		}
	}
	if ts.on[t.of] = left; len(left) == 0 {
		delete(ts.on, t.of)
	}
	ts.n.Add(-1)
	for len(t.queue) > 0 {
		t.forget(<-t.queue)
	}
}

// tap is one inspection: the pieces that wait for the inspector.
type tap struct {
	of    watched
	slots chan struct{} // a token per piece from being copied until it was sent
	queue chan passed

	mu     sync.Mutex
	missed int64   // bytes since the last piece that found room
	last   Passing // which transfer they belonged to
}

// passed is a copy of plaintext that passed.
type passed struct {
	buffer  *[sealedSegment]byte
	n       int
	passing Passing
}

// offer copies a piece, if there is room for it.
func (t *tap) offer(p Passing, b []byte) {
	t.mu.Lock()
	select {
	case t.slots <- struct{}{}:
		p.Missed, t.missed = t.missed, 0
	default:
		t.missed += int64(len(b))
		t.last = p
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	buffer := buffers.Get().(*[sealedSegment]byte)
	t.queue <- passed{buffer: buffer, n: copy(buffer[:], b), passing: p} // a slot is room in the queue
}

// rest takes what was missed since the last piece that found room.
func (t *tap) rest() (p Passing, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p = t.last
	p.Missed, t.missed = t.missed, 0
	return p, p.Missed > 0
}

// forget wipes a piece and makes room for another.
func (t *tap) forget(p passed) {
	clear(p.buffer[:p.n])
	buffers.Put(p.buffer)
	<-t.slots
}

// watch sends what passes until something ends it. The stream's lease is looked
// at before each piece, and whenever it was renewed or cut.
func (t *tap) watch(ctx context.Context, s *stream, send func([]byte, *Passing) error) error {
	for {
		select {
		case p := <-t.queue:
			if err := t.give(ctx, s, p, send); err != nil {
				return err
			}
		case <-s.renewed:
			if err := s.check(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// give sends a piece and, when no other waits, how much was missed after it.
func (t *tap) give(ctx context.Context, s *stream, p passed, send func([]byte, *Passing) error) error {
	err := t.giveOne(ctx, s, p.buffer[:p.n], &p.passing, send)
	t.forget(p)
	if err != nil || len(t.queue) > 0 {
		return err
	}
	if missed, ok := t.rest(); ok {
		return t.giveOne(ctx, s, nil, &missed, send)
	}
	return nil
}

func (t *tap) giveOne(ctx context.Context, s *stream, b []byte, p *Passing, send func([]byte, *Passing) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := send(b, p); err != nil {
		return err
	}
	s.bytes.Add(uint64(len(b)))
	return nil
}
