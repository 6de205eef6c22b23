package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// ExportSubjectTo writes all that is held about a person to w as JSON lines, one
// ExportSubjectResponse in protobuf's JSON mapping with the protos' field
// names each, and gives the number of lines that w took, also when it fails: a
// file that breaks off is not the person's whole file.
//
// progress, unless nil, is called with that number as it grows. An export that the
// gateway is not available for is made again only while nothing of it has arrived.
func (c *Client) ExportSubjectTo(ctx context.Context, req *residencyv1.ExportSubjectRequest, w io.Writer, progress func(lines int64), opts ...grpc.CallOption) (int64, error) {
	return whileNothingArrived(ctx, c, func(ctx context.Context, got func(int64)) (metadata.MD, error) {
		stream, err := c.Records.ExportSubject(ctx, req, opts...)
		if err != nil {
			return nil, err
		}
		return each(stream, func(m *residencyv1.ExportSubjectResponse) error {
			line, err := jsonLine(m)
			if err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("client: writing what was exported: %w", err)
			}
			got(1)
			return nil
		})
	}, progress)
}

// jsonLine is a message in JSON on one line, in a layout that does not change
// from run to run.
func jsonLine(m *residencyv1.ExportSubjectResponse) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// InspectDriveTo reads what is stored on a drive, for PURPOSE_INSPECTION, into
// w, and gives the number of bytes that w took, also when it fails. progress and
// repeating are as for ReadDriveTo.
func (c *Client) InspectDriveTo(ctx context.Context, req *residencyv1.InspectDriveRequest, w io.Writer, progress func(received int64), opts ...grpc.CallOption) (int64, error) {
	return whileNothingArrived(ctx, c, func(ctx context.Context, got func(int64)) (metadata.MD, error) {
		stream, err := c.Drives.InspectDrive(ctx, req, opts...)
		if err != nil {
			return nil, err
		}
		return each(stream, func(m *residencyv1.InspectDriveResponse) error {
			n, err := w.Write(m.GetData())
			got(int64(n))
			if err != nil {
				return fmt.Errorf("client: writing what was inspected: %w", err)
			}
			return nil
		})
	}, progress)
}

// WatchDrive yields what passes to and from a drive under an abuse case, for
// PURPOSE_FRAUD_PREVENTION, until the case ends, the loop is left or ctx ends. An
// error is yielded once, with nil, and ends it. It is never begun again.
func (c *Client) WatchDrive(ctx context.Context, req *residencyv1.InspectDriveRequest, opts ...grpc.CallOption) iter.Seq2[*residencyv1.InspectDriveResponse, error] {
	return items(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[residencyv1.InspectDriveResponse], error) {
		return c.Drives.InspectDrive(ctx, req, opts...)
	})
}

// Disclosed yields what is disclosed: a person's records, or a drive's bytes from
// its start on. An error is yielded once, with nil, and ends it. The
// gateway records every call as a disclosure of its own, so none is ever repeated.
func (c *Client) Disclosed(ctx context.Context, req *residencyv1.DiscloseRequest, opts ...grpc.CallOption) iter.Seq2[*residencyv1.DiscloseResponse, error] {
	return items(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[residencyv1.DiscloseResponse], error) {
		return c.Disclosures.Disclose(ctx, req, opts...)
	})
}

// items yields a stream's messages, and ends the stream when the loop is left.
func items[M any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[M], error)) iter.Seq2[*M, error] {
	return func(yield func(*M, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := open(ctx)
		if err == nil {
			_, err = each(stream, func(m *M) error {
				if !yield(m, nil) {
					return errLeft
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errLeft) {
			yield(nil, err)
		}
	}
}

// errLeft ends a stream whose reader has had enough.
var errLeft = errors.New("client: the loop was left")

// each hands a stream's messages to take until the stream ends, well or not, or
// take fails; it gives the trailer of a stream that ended badly.
func each[M any](stream grpc.ServerStreamingClient[M], take func(*M) error) (metadata.MD, error) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return stream.Trailer(), err
		}
		if err := take(m); err != nil {
			return nil, err
		}
	}
}

// whileNothingArrived makes a call that reads, and makes it again when the gateway is
// not available, but only while nothing has arrived. once says with got how much
// more did; the sum is told to progress as it grows, and given back.
func whileNothingArrived(ctx context.Context, c *Client, once func(ctx context.Context, got func(int64)) (metadata.MD, error), progress func(int64)) (int64, error) {
	var received int64
	var failed error // after the first piece nothing may be repeated: it has been given out
	err := c.retries.do(ctx, true, func() (metadata.MD, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		trailer, err := once(ctx, func(n int64) {
			received += n
			report(progress, received)
		})
		if received > 0 {
			failed = err
			return nil, nil
		}
		return trailer, err
	})
	if err == nil {
		err = failed
	}
	return received, err
}
