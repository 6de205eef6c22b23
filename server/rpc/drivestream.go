package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
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
type sender struct {
	ctx    context.Context
	codec  *codec
	idle   time.Duration
	timer  *time.Timer
	queue  chan *encoded
	result chan error
}

// send starts a sender. close must be called.
func send(ctx context.Context, stream grpc.ServerStream, c *codec, idle time.Duration) *sender {
	s := &sender{
		ctx: ctx, codec: c, idle: idle, timer: time.NewTimer(idle),
		queue: make(chan *encoded, 1), result: make(chan error, 1),
	}
	go s.run(stream)
	return s
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
func (s *sender) send(data []byte) error { return s.hand(s.codec.chunk(data)) }

// message sends a message; all that it points to is the caller's again when it returns.
func (s *sender) message(m proto.Message) error {
	message, err := s.codec.encode(m)
	if err != nil {
		return residency.E("rpc.send", residency.Internal, err)
	}
	return s.hand(message)
}

// hand waits until the transport took the message: at most the idle time, and
// while the stream may last. After an error it must not be called again.
func (s *sender) hand(message *encoded) error {
	if err := s.ctx.Err(); err != nil {
		message.wire.Free()
		return err
	}
	s.queue <- message // never blocks: the one before was taken
	s.timer.Reset(s.idle)
	select {
	case err := <-s.result:
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
