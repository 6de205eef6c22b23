package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Before the first data goes to a gateway that has not taken any of the tenant yet, the client waits
// until it has decided. Its decision's identifier comes first, and a refusal right behind it.
const (
	decisionWait = 5 * time.Second
	refusalWait  = 50 * time.Millisecond
)

// homeStream is a stream that is opened when its first message tells the tenant, where that one is
// at home as far as is known, and once more where it is sent to, as long as nothing but
// the first message has been sent and nothing has been received.
//
// Like any ClientStream it is used by one sender and one receiver at a time.
type homeStream struct {
	ctx     context.Context
	homes   *homes
	uploads bool // more than the first message is sent
	opts    []grpc.CallOption
	open    func(place) (grpc.ClientStream, error)

	begun chan struct{} // closed once there is a stream, or why there is none

	receiving sync.Mutex // held by who receives or goes elsewhere

	mu       sync.Mutex
	stream   grpc.ClientStream // nil when it could not be opened
	failed   error             // why
	at       place
	tenant   string
	first    any
	closed   bool // nothing more will be sent
	sending  bool // a message after the first is being handed over
	sent     bool // one has been
	received bool
	hopped   bool
	ended    error         // how the stream ended, when a sender had to find out
	answer   proto.Message // what came instead
}

var _ grpc.ClientStream = (*homeStream)(nil)

func newHomeStream(ctx context.Context, h *homes, uploads bool, opts []grpc.CallOption, open func(place) (grpc.ClientStream, error)) *homeStream {
	return &homeStream{ctx: ctx, homes: h, uploads: uploads, opts: opts, open: open, begun: make(chan struct{})}
}

// begin opens the stream with its first message, nil for none.
func (s *homeStream) begin(m any) error {
	defer close(s.begun)
	s.first, s.tenant = m, tenantOf(m)
	at, took := s.homes.start(s.tenant)
	stream, err := s.openAt(at)
	if err != nil {
		s.failed = convert(err, nil)
		s.homes.learn(s.tenant, at, false, s.failed)
		return s.failed
	}
	if s.uploads && m != nil && !took {
		s.awaitDecision(stream)
	}
	return nil
}

// openAt opens the stream at a place and sends it what has been sent. Whatever goes wrong after it
// is open is told to who receives.
func (s *homeStream) openAt(at place) (grpc.ClientStream, error) {
	stream, err := s.open(at)
	if err != nil {
		return nil, err
	}
	tellEndpoint(s.opts, at.endpoint)
	if s.first != nil {
		err = stream.SendMsg(s.first)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.at = stream, at
	if s.closed {
		return stream, stream.CloseSend()
	}
	return stream, nil
}

// awaitDecision waits until the gateway has decided over the stream and had the time to refuse
// it, so that nothing of a drive goes to one that is a third place.
func (s *homeStream) awaitDecision(stream grpc.ClientStream) {
	decided := make(chan metadata.MD, 1)
	go func() {
		md, _ := stream.Header() // its error comes with receiving
		decided <- md
	}()
	timer := time.NewTimer(s.homes.wait)
	defer timer.Stop()
	select {
	case md := <-decided:
		if md == nil { // refused already
			return
		}
		timer.Reset(refusalWait)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
		}
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// SendMsg sends a message; io.EOF says that the stream ended and RecvMsg knows why.
func (s *homeStream) SendMsg(m any) error {
	if !s.isBegun() {
		return s.begin(m)
	}
	for {
		stream, err := s.enter()
		if err != nil {
			return err
		}
		err = stream.SendMsg(m)
		s.leave(err == nil)
		if !errors.Is(err, io.EOF) || !s.movedFrom(stream) {
			return err
		}
	}
}

// CloseSend says that nothing more will be sent.
func (s *homeStream) CloseSend() error {
	s.mu.Lock()
	s.closed = true
	if s.stream != nil {
		defer s.mu.Unlock()
		return s.stream.CloseSend()
	}
	s.mu.Unlock()
	if !s.isBegun() {
		return s.begin(nil)
	}
	return nil
}

// RecvMsg receives a message, and io.EOF at the stream's end.
func (s *homeStream) RecvMsg(m any) error {
	if err := s.wait(); err != nil {
		return err
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	for {
		err := s.receive(m)
		if err == nil || errors.Is(err, io.EOF) {
			return err
		}
		moved, err := s.goHome(err)
		if !moved {
			s.ended = err
			return err
		}
	}
}

// receive takes one message of the stream as it is now; s.receiving is held.
func (s *homeStream) receive(m any) error {
	if s.answer != nil {
		return s.takeAnswer(m)
	}
	if s.ended != nil {
		return s.ended
	}
	stream := s.current()
	if stream == nil {
		return s.failed
	}
	err := stream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		s.note(err)
		return err
	}
	return convert(err, stream.Trailer())
}

// takeAnswer gives out the message that a sender found.
func (s *homeStream) takeAnswer(m any) error {
	wire, err := proto.Marshal(s.answer)
	if err != nil {
		return err
	}
	s.answer, s.ended = nil, io.EOF
	to, ok := m.(proto.Message)
	if !ok {
		return errors.New("client: the message to receive into is none of protobuf's")
	}
	return proto.Unmarshal(wire, to)
}

// note takes note that the stream was taken where it is.
func (s *homeStream) note(end error) {
	s.mu.Lock()
	first, at, hopped := !s.received, s.at, s.hopped
	s.received = true
	s.mu.Unlock()
	switch {
	case !first:
	case s.uploads && end == nil:
		s.homes.remember(s.tenant, home{endpoint: at.endpoint, took: true})
	case hopped:
		_ = s.homes.arrived(s.tenant, at, nil) // there is no error
	}
}

// movedFrom finds out why a stream takes no more, and reports whether there is another in its
// stead by now.
func (s *homeStream) movedFrom(stream grpc.ClientStream) bool {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if s.current() != stream {
		return true
	}
	if s.ended != nil || s.answer != nil || !s.homes.follow {
		return false
	}
	unknown := &emptypb.Empty{} // keeps the fields of whatever comes
	if err := s.receive(unknown); err == nil {
		s.answer = unknown
	} else if moved, err := s.goHome(err); moved {
		return true
	} else {
		s.ended = err
	}
	return false
}

var errPartSent = errors.New("a part of the stream had been sent: begin it again")

// goHome takes the stream where err says that the tenant is at home, if it says so and nothing is lost
// by it. Else it gives the error to tell. s.receiving is held.
func (s *homeStream) goHome(err error) (moved bool, why error) {
	s.mu.Lock()
	at, hopped, received, sent := s.at, s.hopped, s.received, s.sent || s.sending
	s.mu.Unlock()
	if received {
		return false, err
	}
	if hopped {
		return false, s.homes.arrived(s.tenant, at, err)
	}
	s.homes.learn(s.tenant, at, true, err)
	refused := sentElsewhere(err)
	switch {
	case refused == nil || !s.homes.follow:
		return false, err
	case sent:
		return false, notFollowed(refused, errPartSent)
	}
	to, why := s.homes.next(at, refused)
	if why != nil {
		return false, notFollowed(refused, why)
	}
	return s.hop(to, refused)
}

// hop opens the stream elsewhere.
func (s *homeStream) hop(to place, refused *Error) (moved bool, why error) {
	s.mu.Lock()
	s.hopped = true
	s.mu.Unlock()
	stream, err := s.openAt(to)
	if err = convert(err, nil); ownFailure(err, codes.Unavailable) {
		return false, notFollowed(refused, err)
	} else if err != nil {
		return false, err
	}
	if s.uploads {
		s.awaitDecision(stream)
	}
	return true, nil
}
