package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
)

// patience is how long a stream waits for a lease that is late.
const patience = 1500 * time.Millisecond

// Stream is a stream that is being forwarded. One goroutine may send while another
// receives. Close must be called.
type Stream struct {
	p      *Peer
	e      *endpoint
	ctx    context.Context
	cancel context.CancelFunc
	closed sync.Once
	stream grpc.ClientStream
	call   *gateway.Call
	began  time.Duration

	needed   bool   // what is received is passed on under a lease
	leased   bool   // the home keeps one
	decision string // by which it is asked for
	gone     bool   // Close was called; under the endpoint's lock

	until   atomic.Int64  // when the lease lapses, by elapsed
	over    atomic.Bool   // there is no further lease
	renewed chan struct{} // holds a token when there is news
}

// Stream forwards a stream. Of one that tells what the home holds nothing is passed on without a lease.
func (p *Peer) Stream(ctx context.Context, method string, call *gateway.Call, tells bool) (*Stream, error) {
	var s *Stream
	err := p.untilSent(ctx, func(ctx context.Context, e *endpoint) (err error) {
		s, err = p.stream(ctx, e, method, call, tells)
		return err
	})
	return s, err
}

func (p *Peer) stream(ctx context.Context, e *endpoint, method string, call *gateway.Call, tells bool) (_ *Stream, err error) {
	s := &Stream{p: p, e: e, call: call, began: elapsed(), needed: tells, renewed: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true} // what each really is the messages show
	if s.stream, err = e.conn.NewStream(attest(s.ctx, call), desc, method); err != nil {
		defer s.Close()
		return nil, p.failed(ctx, e, err)
	}
	return s, nil
}

// Send sends a message, which is used up. After io.EOF Recv says why.
func (s *Stream) Send(message mem.BufferSlice) error { return s.stream.SendMsg(&frame{message}) }

// CloseSend says that no message follows.
func (s *Stream) CloseSend() error { return s.stream.CloseSend() }

// Begin waits until the home has decided and notes the decision in the call. A refusal is told by
// Recv.
func (s *Stream) Begin() error {
	header, err := s.stream.Header()
	if err != nil {
		return s.p.failed(s.ctx, s.e, err)
	}
	noteDecision(s.call, header)
	lease, ok := leaseOf(header)
	s.needed = s.needed || ok
	if !ok || s.call.Decision.ID == "" {
		return nil
	}
	s.leased, s.decision = true, s.call.Decision.ID
	s.until.Store(int64(s.began + lease))
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.gone {
		s.e.streams[s] = struct{}{}
	}
	return nil
}

// Recv gives the next message, the caller's to free; io.EOF after the last. Before it is
// passed on Check must say so; of the end it has said so.
func (s *Stream) Recv() (mem.BufferSlice, error) {
	message, err := s.receive()
	if err == nil || !s.needed || !telling(err) {
		return message, err
	}
	switch over, late := s.await(s.ctx); {
	case late != nil:
		return nil, late
	case over:
		return nil, unavailable(errors.New("how the stream ended may not be told any more"))
	}
	return nil, err
}

// telling reports whether an end tells what the home holds: that there is no more of it, or none. A refusal to go on
// does not, nor does a failure.
func telling(end error) bool {
	var refused *Refused
	if !errors.As(end, &refused) {
		return errors.Is(end, io.EOF)
	}
	switch refused.Status.Code() {
	case codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted, codes.DataLoss, codes.OutOfRange, codes.Unknown:
		return true
	}
	return false
}

func (s *Stream) receive() (mem.BufferSlice, error) {
	var f frame
	err := s.stream.RecvMsg(&f)
	if err == nil {
		return f.wire, nil
	}
	noteDecision(s.call, s.stream.Trailer())
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	return nil, s.p.failed(s.ctx, s.e, err)
}

// Check returns nil while what was received may be passed on. It waits for a lease that is late.
func (s *Stream) Check(ctx context.Context) error {
	if !s.needed {
		return ctx.Err()
	}
	over, err := s.await(ctx)
	if over {
		return s.ended()
	}
	return err
}

// await waits for a lease that is late; over says that there will be none.
func (s *Stream) await(ctx context.Context) (over bool, err error) {
	if s.over.Load() || int64(elapsed()) < s.until.Load() {
		return s.over.Load(), ctx.Err()
	}
	if !s.leased {
		return false, unavailable(errors.New("the home region gave no lease"))
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		switch {
		case s.over.Load():
			return true, nil
		case int64(elapsed()) < s.until.Load():
			return false, ctx.Err()
		}
		select {
		case <-s.renewed:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-late.C:
			return false, unavailable(errors.New("the home region does not say that the stream may go on"))
		}
	}
}

// ended gives the reason for which the home ended the stream, which comes behind what was sent
// before; that is not passed on.
func (s *Stream) ended() error {
	stop := time.AfterFunc(patience, s.cancel)
	defer stop.Stop()
	for {
		message, err := s.receive()
		var refused *Refused
		switch {
		case err == nil:
			message.Free()
		case errors.As(err, &refused) && !telling(refused):
			return refused
		default:
			return unavailable(fmt.Errorf("what was not yet passed on of the stream may not be any more: %w", err))
		}
	}
}

// renew takes an answer about the lease into use; it counts from when it was asked for.
func (s *Stream) renew(asked time.Duration, lease *residencyv1.StreamLease) {
	if lease.GetOver() {
		s.until.Store(0)
		s.over.Store(true)
	} else if until := int64(asked + lease.GetDuration().AsDuration()); until > s.until.Load() {
		s.until.Store(until)
	}
	select {
	case s.renewed <- struct{}{}:
	default:
	}
}

// Close ends the stream and gives back what it holds. It may be called more than once, and beside anything else.
func (s *Stream) Close() {
	s.closed.Do(func() {
		s.cancel()
		s.e.mu.Lock()
		s.gone = true
		delete(s.e.streams, s)
		s.e.mu.Unlock()
		s.e.end()
	})
}
