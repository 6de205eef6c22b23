package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// MaxDriveMessage is the most drive data that one message carries, in bytes.
const MaxDriveMessage = 256 << 10

// WriteDriveFrom writes all that r gives to a drive, from the header's offset
// on: all of it, visible and durable when it returns nil, or nothing.
//
// Nothing is read of r before the gateway has decided over the write, so one that is refused since
// the gateway is in a third place goes to the endpoint that it names with no byte of the drive sent; only
// a gateway that took a write of the tenant's before is not waited for.
//
// progress, unless nil, is called with the number of bytes sent so far. When
// the gateway is unavailable, or the tenant has moved since that earlier write, and r is an io.Seeker, the write is
// made again from where r stood, under the same request_id, so that it is never done twice;
// progress then starts over.
func (c *Client) WriteDriveFrom(ctx context.Context, header *residencyv1.WriteDriveHeader, r io.Reader, progress func(sent int64), opts ...grpc.CallOption) (*residencyv1.WriteDriveResponse, error) {
	header = headerWithRequestID(header)
	rewind, seekable := rewinder(r)
	var answer *residencyv1.WriteDriveResponse
	write := func() (metadata.MD, error) {
		if err := rewind(); err != nil {
			return nil, err
		}
		var trailer metadata.MD
		var err error
		answer, trailer, err = c.writeOnce(ctx, header, r, progress, opts)
		return trailer, err
	}
	err := c.retries.do(ctx, seekable, write)
	if e := sentElsewhere(err); seekable && e != nil && errors.Is(e.NotFollowed, errPartSent) {
		err = c.retries.do(ctx, seekable, write)
	}
	return answer, err
}

// rewinder gives what takes r back to where it stands now, and whether that can be done.
func rewinder(r io.Reader) (func() error, bool) {
	s, ok := r.(io.Seeker)
	if !ok {
		return func() error { return nil }, false
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil { // a pipe
		return func() error { return nil }, false
	}
	return func() error {
		if _, err := s.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("client: going back to the start of what is written: %w", err)
		}
		return nil
	}, true
}

func (c *Client) writeOnce(ctx context.Context, header *residencyv1.WriteDriveHeader, r io.Reader, progress func(int64), opts []grpc.CallOption) (*residencyv1.WriteDriveResponse, metadata.MD, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a reader that fails must leave a broken stream behind, not a short one
	stream, err := c.Drives.WriteDrive(ctx, opts...)
	if err != nil {
		return nil, nil, err
	}
	first := &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: header}}
	if err := stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	} else if err == nil {
		if err := sendAll(stream, r, progress); err != nil {
			return nil, nil, err
		}
	}
	answer, err := stream.CloseAndRecv()
	return answer, stream.Trailer(), err
}

// sendAll sends what r gives until it ends or the stream has.
func sendAll(stream grpc.ClientStreamingClient[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse], r io.Reader, progress func(int64)) error {
	data := &residencyv1.WriteDriveRequest_Data{}
	message := &residencyv1.WriteDriveRequest{Content: data}
	buf := make([]byte, MaxDriveMessage) // encoded before Send returns, so one buffer does
	var sent int64
	for {
		n, readErr := io.ReadFull(r, buf)
		if n > 0 {
			data.Data = buf[:n]
			if err := stream.Send(message); errors.Is(err, io.EOF) {
				return nil // the stream ended; receiving says why
			} else if err != nil {
				return err
			}
			sent += int64(n)
			report(progress, sent)
		}
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			return nil
		case readErr != nil:
			return fmt.Errorf("client: reading what is to be written: %w", readErr)
		}
	}
}

// ReadDriveTo reads a range of a drive, as it was when the call began, into w,
// and gives the number of bytes that w took, also when it fails.
//
// progress, unless nil, is called with that number as it grows. A read that
// the gateway is not available for is made again only while nothing of it has arrived.
func (c *Client) ReadDriveTo(ctx context.Context, req *residencyv1.ReadDriveRequest, w io.Writer, progress func(received int64), opts ...grpc.CallOption) (int64, error) {
	return whileNothingArrived(ctx, c, func(ctx context.Context, got func(int64)) (metadata.MD, error) {
		stream, err := c.Drives.ReadDrive(ctx, req, opts...)
		if err != nil {
			return nil, err
		}
		return each(stream, func(m *residencyv1.ReadDriveResponse) error {
			n, err := w.Write(m.GetData())
			got(int64(n))
			if err != nil {
				return fmt.Errorf("client: writing what was read: %w", err)
			}
			return nil
		})
	}, progress)
}

func report(progress func(int64), n int64) {
	if progress != nil {
		progress(n)
	}
}
