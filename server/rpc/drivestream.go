package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

// A stream's RecvMsg and SendMsg end only when the caller acts or the handler
// returns, not when the handler's context ends. So they run in a goroutine of
// their own, and the handler waits for them no longer than it may: a caller that neither
// sends nor reads cannot hold a stream open.

// received is one message or the end of the stream.
type received struct {
	frame *driveFrame
	err   error
}

// receiver takes the messages of a drive write, one ahead.
type receiver struct {
	ctx   context.Context
	idle  time.Duration
	timer *time.Timer
	queue chan received
	done  chan struct{}
	frame *driveFrame // the one whose data is being given out
}

// receive starts taking messages. close must be called.
func receive(ctx context.Context, stream grpc.ServerStream, idle time.Duration) *receiver {
	r := &receiver{
		ctx: ctx, idle: idle, timer: time.NewTimer(idle),
		queue: make(chan received, 1), done: make(chan struct{}),
	}
	go r.run(stream)
	return r
}

func (r *receiver) run(stream grpc.ServerStream) {
	for {
		item := receiveOne(stream)
		select {
		case r.queue <- item:
		case <-r.done:
			item.frame.release()
			return
		}
		if item.err != nil {
			return
		}
	}
}

// receiveOne takes a message; a panic on the way becomes its error.
func receiveOne(stream grpc.ServerStream) (item received) {
	defer func() {
		if p := recover(); p != nil {
			item.err = panicError("rpc.receive", p)
		}
	}()
	item.frame = &driveFrame{}
	item.err = stream.RecvMsg(item.frame)
	return item
}

// panicError contains a panic outside of the interceptors. Its value may hold anything, so
// only its type is kept.
func panicError(op string, value any) error {
	return residency.E(op, residency.Internal, fmt.Errorf("panic: %T", value))
}

// take waits for the next message: at most the idle time, and while the stream may last.
func (r *receiver) take() (*driveFrame, error) {
	r.timer.Reset(r.idle)
	select {
	case item := <-r.queue:
		if item.err != nil {
			item.frame.release()
			return nil, item.err
		}
		return item.frame, nil
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	case <-r.timer.C:
		return nil, errIdle
	}
}

// errIdle ends a stream whose caller neither sent nor read for too long.
var errIdle = fmt.Errorf("rpc: the caller neither sent nor read for too long: %w", context.DeadlineExceeded)

// header takes the first message, which must be the header.
func (r *receiver) header() (*residencyv1.WriteDriveHeader, error) {
	f, err := r.take()
	if errors.Is(err, io.EOF) {
		return nil, residency.Bad("rpc.WriteDrive", "header", "must be the first message")
	}
	if err != nil {
		return nil, err
	}
	head := f.header()
	if head == nil {
		f.release()
		return nil, residency.Bad("rpc.WriteDrive", "header", "must be the first message")
	}
	return head, nil
}

// next gives the next data, good until it is called again; io.EOF after the last.
func (r *receiver) next() ([]byte, error) {
	for {
		if r.frame != nil {
			if data := r.frame.next(); data != nil {
				return data, nil
			}
			r.frame.release()
			r.frame = nil
		}
		f, err := r.take()
		if err != nil {
			return nil, err
		}
		if f.header() != nil {
			f.release()
			return nil, residency.Bad("rpc.WriteDrive", "header", "must be the first message only")
		}
		r.frame = f
	}
}

// close gives back what was taken. The goroutine ends when the stream does.
func (r *receiver) close() {
	close(r.done)
	r.timer.Stop()
	if r.frame != nil {
		r.frame.release()
	}
	select {
	case item := <-r.queue:
		item.frame.release()
	default:
	}
}

// sender hands messages to the transport, one at a time, and holds no more than one.
//
// The transport of gRPC takes a message when it has passed on all but 64 KiB of the ones before, and
// lets nobody take it back. So that a stream that is cut has no more than one message there, the next one
// is not handed over, and whether it may be not looked at, before the one before has
// been passed on whole: Call.Sent waits for that.
type sender struct {
	ctx    context.Context
	codec  *codec
	idle   time.Duration
	timer  *time.Timer
	queue  chan *encoded
	result chan error
	passed chan struct{} // has a token once the transport has passed the message on
	under  bool          // the transport has a message
}

// send starts a sender for the call of a stream. close must be called.
func send(ctx context.Context, stream grpc.ServerStream, c *codec, idle time.Duration) *sender {
	s := &sender{
		ctx: ctx, codec: c, idle: idle, timer: time.NewTimer(idle),
		queue: make(chan *encoded, 1), result: make(chan error, 1), passed: make(chan struct{}, 1),
	}
	if call := callOf(ctx); call != nil {
		call.Sent = s.sent
	}
	go s.run(stream)
	return s
}

// minBuffer is above the size up to which the transport does not say that it is done with a buffer.
const minBuffer = 4 << 10

// Get gives a buffer for a message.
func (s *sender) Get(length int) *[]byte {
	buf := s.codec.pool.Get(max(length, minBuffer))
	*buf = (*buf)[:length]
	return buf
}

// Put takes a message's buffer back, with which the transport is done: it has passed it on,
// or never will.
func (s *sender) Put(buf *[]byte) {
	s.codec.pool.Put(buf)
	select {
	case s.passed <- struct{}{}:
	default:
	}
}

var _ mem.BufferPool = (*sender)(nil)

// sent waits until the transport has passed on what it was handed: at most the idle time, while
// the stream may last, and until stop is closed, which is no error.
func (s *sender) sent(stop <-chan struct{}) error {
	if !s.under {
		return s.ctx.Err()
	}
	select { // nearly always
	case <-s.passed:
		s.under = false
		return s.ctx.Err()
	default:
	}
	s.timer.Reset(s.idle)
	select {
	case <-s.passed:
		s.under = false
		return s.ctx.Err()
	case <-stop:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-s.timer.C:
		return errIdle
	}
}

func (s *sender) run(stream grpc.ServerStream) {
	for message := range s.queue {
		s.result <- sendOne(stream, message)
	}
}

// sendOne hands a message over; a panic on the way becomes its error.
func sendOne(stream grpc.ServerStream, message *encoded) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError("rpc.send", p)
		}
	}()
	return stream.SendMsg(message)
}

// send sends the data of a drive read, which is the caller's again when it returns.
func (s *sender) send(data []byte) error { return s.hand(chunk(data, s)) }

// message sends a message; all that it points to is the caller's again when it returns.
func (s *sender) message(m proto.Message) error {
	message, err := encode(m, s)
	if err != nil {
		return residency.E("rpc.send", residency.Internal, err)
	}
	return s.hand(message)
}

// own copies a message that another transport gave, and frees it.
func (s *sender) own(wire mem.BufferSlice) *encoded {
	defer wire.Free()
	if wire.Len() == 0 {
		return &encoded{}
	}
	buf := s.Get(wire.Len())
	wire.CopyTo(*buf)
	return &encoded{mem.BufferSlice{mem.NewBuffer(buf, s)}}
}

// hand waits until the transport took a message in a buffer of this sender's, once it has passed on the one before: at
// most the idle time each, and while the stream may last. After an error it must not be called again.
func (s *sender) hand(message *encoded) error {
	if err := s.sent(nil); err != nil {
		message.wire.Free()
		return err
	}
	empty := message.wire.Len() == 0
	s.queue <- message // never blocks: the one before was taken
	s.timer.Reset(s.idle)
	select {
	case err := <-s.result:
		s.under = err == nil && !empty
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-s.timer.C:
		return errIdle
	}
}

// close ends the goroutine, once the stream has ended at the latest.
func (s *sender) close() {
	s.timer.Stop()
	close(s.queue)
}
