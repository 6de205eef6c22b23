package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// image is a drive as it was at a moment: what a stream reads from.
type image struct {
	stream  *stream
	self    store.ID // the drive's incarnation
	keys    *seal.DriveKeys
	size    int64
	version uint64
	extents map[int64]extentRow
}

// ReadDrive reads a range of bytes as it was when the call began. send gets at
// most 256 KiB at a time; the stream's lease is looked at before each.
func (g *Gateway) ReadDrive(ctx context.Context, call *Call, req ReadDrive, send func([]byte) error) error {
	return g.readDrive(ctx, "gateway.ReadDrive", call, &req, func(s *stream, b []byte) error {
		if err := send(b); err != nil {
			return err
		}
		g.taps.pass(s, false, req.Offset+int64(s.bytes.Load()), b) //nolint:gosec // at most a drive's size
		return nil
	})
}

// readDrive reads what is stored, whatever for.
func (g *Gateway) readDrive(ctx context.Context, op string, call *Call, req *ReadDrive, send func(*stream, []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, g.limits.StreamLifetime)
	defer cancel()
	s := g.newStream(op, call)
	a := &act{
		call: call, op: op, tenant: req.Tenant, drive: req.Drive, purpose: req.Purpose, fact: driveFacts, stream: s,
	}
	var img *image
	end := req.Offset + req.Length
	_, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		img, end, err = t.readImage(s, req)
		return err
	})
	if err != nil {
		return err
	}
	g.keeper.add(s)
	defer g.keeper.remove(s)
	err = img.read(ctx, req.Offset, end, func(b []byte) error {
		if err := s.check(ctx); err != nil {
			return err
		}
		if err := send(s, b); err != nil {
			return err
		}
		s.bytes.Add(uint64(len(b)))
		return nil
	})
	if err != nil {
		return errors.Join(s.broke(err), s.end(ctx, audit.Cut, residency.KindOf(s.broke(err)), nil, nil))
	}
	return s.end(ctx, audit.Completed, residency.OK, nil, nil)
}

// broke gives the error that a stream ends with.
func (s *stream) broke(err error) error {
	if errors.Is(err, context.Canceled) { // the caller has gone, whatever failed for it
		return &residency.Error{Op: s.op, Kind: residency.Canceled, Err: err, Decision: &s.decision}
	}
	if residency.KindOf(err) != residency.Internal {
		return err
	}
	return &residency.Error{Op: s.op, Kind: residency.Internal, Err: err, Decision: &s.decision}
}

// readImage checks a range and reads where its chunks are.
func (t *txn) readImage(s *stream, req *ReadDrive) (*image, int64, error) {
	row, version, err := t.readDrive()
	if err != nil {
		return nil, 0, err
	}
	if req.Offset > row.Size {
		return nil, 0, residency.Bad(t.a.op, "offset", "must not be past the end of the drive")
	}
	if req.Length > row.Size-req.Offset {
		return nil, 0, residency.Bad(t.a.op, "length", "must not reach past the end of the drive")
	}
	end := req.Offset + req.Length
	if req.Length == 0 {
		end = row.Size
	}
	if end-req.Offset > maxTransfer {
		return nil, 0, residency.Bad(t.a.op, "length", "must be at most 34359738368 (32 GiB) per call; 0 stands for the rest of the drive")
	}
	img := &image{stream: s, self: row.Self, size: row.Size, version: version}
	s.self, t.permit = row.Self, t.newPermit(row.Self)
	if img.keys, err = t.driveKeys(row.Self); err != nil {
		return nil, 0, err
	}
	if end > req.Offset {
		img.extents, err = t.extents(row.Self, req.Offset/chunkSize, (end-1)/chunkSize)
	}
	return img, end, err
}

// read gives the bytes from one offset to another, in pieces of at most a segment.
func (m *image) read(ctx context.Context, from, to int64, emit func([]byte) error) error {
	for from < to {
		chunk := from / chunkSize
		start := chunk * chunkSize
		end := min(to, start+chunkSize)
		if err := m.readChunk(ctx, chunk, from-start, end-start, emit); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// readChunk gives a part of one chunk. What no blob holds reads as zero.
func (m *image) readChunk(ctx context.Context, chunk, from, to int64, emit func([]byte) error) error {
	x := m.extents[chunk]
	if held := min(to, x.Length); from < held {
		if err := m.readBlob(ctx, chunk, x, from, held, emit); err != nil {
			return err
		}
		from = held
	}
	for from < to {
		n := min(to-from, seal.SegmentSize-from%seal.SegmentSize)
		if err := emit(zeros[:n]); err != nil {
			return err
		}
		from += n
	}
	return nil
}

var zeros [seal.SegmentSize]byte

// buffers hold one segment, sealed or plain.
var buffers = sync.Pool{New: func() any { return new([sealedSegment]byte) }}

// readBlob opens the segments that hold a part of a chunk.
func (m *image) readBlob(ctx context.Context, chunk int64, x extentRow, from, to int64, emit func([]byte) error) error {
	first, last := from/seal.SegmentSize, (to-1)/seal.SegmentSize
	length := (last - first) * sealedSegment
	length += min(seal.SegmentSize, x.Length-last*seal.SegmentSize) + seal.SegmentOverhead
	r, err := m.stream.home.cluster.Blobs.Open(ctx, x.Blob, first*sealedSegment, length)
	if err != nil {
		return m.lost(ctx, err)
	}
	defer r.Close()
	sealed, plain := buffers.Get().(*[sealedSegment]byte), buffers.Get().(*[sealedSegment]byte)
	defer buffers.Put(sealed)
	defer func() { clear(plain[:]); buffers.Put(plain) }()
	for i := first; i <= last; i++ {
		n := min(seal.SegmentSize, x.Length-i*seal.SegmentSize)
		if _, err := io.ReadFull(r, sealed[:n+seal.SegmentOverhead]); err != nil {
			return m.lost(ctx, err)
		}
		b, err := m.keys.OpenSegment(m.stream.permit, plain[:0], x.Blob, segmentIndex(chunk, i), sealed[:n+seal.SegmentOverhead])
		if err != nil {
			return residency.E(m.stream.op, residency.IntegrityFailure, err)
		}
		lo, hi := max(from-i*seal.SegmentSize, 0), min(to-i*seal.SegmentSize, n)
		if err := emit(b[lo:hi]); err != nil {
			return err
		}
	}
	return nil
}

// segmentIndex numbers the segments of a drive, so that a segment opens only
// where it was written. 16 TiB of segments fit 32 bits.
func segmentIndex(chunk, segment int64) uint32 { return uint32(chunk*chunkSegments + segment) }

// lost says why a blob could not be read: gone or cut short is damage.
func (m *image) lost(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, store.ErrCorrupt) {
		return residency.E(m.stream.op, residency.IntegrityFailure, fmt.Errorf("a chunk is damaged: %w", err))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return residency.E(m.stream.op, residency.RegionUnavailable, err)
}
