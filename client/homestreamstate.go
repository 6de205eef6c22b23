package client

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// enter begins to send a message after the first.
func (s *homeStream) enter() (grpc.ClientStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return nil, io.EOF
	}
	s.sending = true
	return s.stream, nil
}

func (s *homeStream) leave(sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = false
	s.sent = s.sent || sent
}

func (s *homeStream) isBegun() bool {
	select {
	case <-s.begun:
		return true
	default:
		return false
	}
}

func (s *homeStream) current() grpc.ClientStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// wait waits until there is a stream. One that is there is told though the call has ended since: its header says which
// decision it had.
func (s *homeStream) wait() error {
	if s.isBegun() {
		return nil
	}
	select {
	case <-s.begun:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

// Header gives the stream's initial metadata once it has come.
func (s *homeStream) Header() (metadata.MD, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	if stream := s.current(); stream != nil {
		return stream.Header()
	}
	return nil, nil // as gRPC has it: RecvMsg tells
}

// Trailer gives the stream's trailer once it has ended.
func (s *homeStream) Trailer() metadata.MD {
	if stream := s.current(); stream != nil {
		return stream.Trailer()
	}
	return nil
}

// Context gives the stream's context.
func (s *homeStream) Context() context.Context {
	if stream := s.current(); stream != nil {
		return stream.Context()
	}
	return s.ctx
}
