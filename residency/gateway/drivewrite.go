package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// WriteDrive writes a range of bytes, all of it or nothing. The bytes go into
// new blobs under extents that no row refers to until one transaction at the
// end puts them in place of the old ones, if the drive is still at the version
// that the call began with.
func (g *Gateway) WriteDrive(ctx context.Context, call *Call, req WriteDrive, next func() ([]byte, error)) (DriveWritten, error) {
	const op = "gateway.WriteDrive"
	ctx, cancel := context.WithTimeout(ctx, g.limits.StreamLifetime)
	defer cancel()
	s := g.newStream(op, call)
	a := &act{
		call: call, op: op, tenant: req.Tenant, drive: req.Drive, purpose: req.Purpose,
		inbound: true, fact: driveFacts, stream: s,
	}
	var img *image
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		img, err = t.writeImage(s, &req)
		return err
	})
	if err != nil {
		return DriveWritten{}, err
	}
	g.keeper.add(s)
	defer g.keeper.remove(s)
	w := newWriter(img, t.drive, req.Offset, req.RequestID != "")
	out, err := w.receive(ctx, &req, next)
	if err != nil {
		w.stop()
		err = s.broke(err)
		ended := s.end(ctx, audit.Cut, residency.KindOf(err), nil, s.dropBlobs)
		if ended != nil && !errors.Is(err, store.ErrUnavailable) { // else the commit may have happened after all
			w.remove(ctx)
		}
		return DriveWritten{}, errors.Join(err, ended)
	}
	return out, nil
}

// writeImage checks where a write begins. The extents that it will replace are
// read chunk by chunk as it gets to them.
func (t *txn) writeImage(s *stream, req *WriteDrive) (*image, error) {
	row, version, err := t.readDrive()
	if err != nil {
		return nil, err
	}
	if req.Offset >= row.Size {
		return nil, residency.Bad(t.a.op, "header.offset", "must be before the end of the drive")
	}
	img := &image{stream: s, self: row.Self, size: row.Size, version: version, extents: make(map[int64]extentRow)}
	s.self, t.permit = row.Self, t.newPermit(row.Self)
	img.keys, err = t.driveKeys(row.Self)
	return img, err
}

// writer takes a stream of bytes apart into chunks.
type writer struct {
	*image
	drive  store.ID
	offset int64 // where the next byte goes
	digest hash.Hash

	chunk   int64 // the chunk being written; -1 = none
	at      int64 // how much of it is in blob and pending
	blob    store.BlobWriter
	name    string
	pending []byte // plaintext of a segment that is not full yet
	sealed  []byte

	written map[int64]extentRow // the finished chunks
	names   int

	commits sync.WaitGroup
	slots   chan struct{}
	mu      sync.Mutex
	failed  error
}

// maxCommits is how many chunks of one stream are made durable at the same time.
const maxCommits = 4

func newWriter(img *image, drive store.ID, offset int64, digest bool) *writer {
	w := &writer{
		image: img, drive: drive, offset: offset, chunk: -1,
		pending: make([]byte, 0, seal.SegmentSize), sealed: make([]byte, 0, sealedSegment),
		written: make(map[int64]extentRow), slots: make(chan struct{}, maxCommits),
	}
	if digest {
		w.digest = sha256.New()
	}
	return w
}

// receive takes everything in and commits it.
func (w *writer) receive(ctx context.Context, req *WriteDrive, next func() ([]byte, error)) (DriveWritten, error) {
	for {
		if err := w.stream.check(ctx); err != nil {
			return DriveWritten{}, err
		}
		b, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return DriveWritten{}, err
		}
		if int64(len(b)) > w.size-w.offset {
			return DriveWritten{}, residency.Bad(w.stream.op, "data", "must not reach past the end of the drive")
		}
		if w.stream.bytes.Load()+uint64(len(b)) > maxTransfer {
			return DriveWritten{}, residency.Bad(w.stream.op, "data", "must be at most 34359738368 bytes (32 GiB) per call")
		}
		if w.digest != nil {
			w.digest.Write(b)
		}
		w.stream.g.taps.pass(w.stream, true, w.offset, b)
		w.stream.bytes.Add(uint64(len(b)))
		if err := w.write(ctx, b); err != nil {
			return DriveWritten{}, err
		}
	}
	if err := w.finishChunk(ctx); err != nil {
		return DriveWritten{}, err
	}
	w.commits.Wait()
	if w.failed != nil {
		return DriveWritten{}, w.failed
	}
	return w.commit(ctx, req)
}

// write puts bytes at the offset, chunk by chunk.
func (w *writer) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if w.chunk != w.offset/chunkSize {
			if err := w.finishChunk(ctx); err != nil {
				return err
			}
			if err := w.beginChunk(ctx, w.offset/chunkSize); err != nil {
				return err
			}
		}
		n := min(int64(len(b)), chunkSize-w.offset%chunkSize)
		if err := w.add(b[:n]); err != nil {
			return err
		}
		w.offset += n
		b = b[n:]
	}
	return nil
}

// beginChunk opens a new blob and copies what the chunk holds before the offset.
func (w *writer) beginChunk(ctx context.Context, chunk int64) error {
	if err := w.lookup(ctx, chunk); err != nil {
		return err
	}
	w.name = fmt.Sprintf("%s%06x", w.stream.blobs(), w.names)
	w.names++
	blob, err := w.stream.home.cluster.Blobs.Create(ctx, w.name)
	if err != nil {
		return residency.E(w.stream.op, residency.RegionUnavailable, err)
	}
	w.blob, w.chunk, w.at = blob, chunk, 0
	return w.readChunk(ctx, chunk, 0, w.offset%chunkSize, w.add)
}

// blobs is the prefix of the names of a stream's blobs: whatever is under it
// when the stream is closed as abandoned belongs to nothing.
func (s *stream) blobs() string { return blobPrefix(s.home.tenant, s.id.String()) }

func blobPrefix(t store.Tenant, stream string) string { return t.String() + "/" + stream + "/" }

// lookup reads where a chunk is now.
func (w *writer) lookup(ctx context.Context, chunk int64) error {
	s := w.stream
	return s.home.cluster.Rows.View(ctx, store.Scope{Tenant: s.home.tenant}, func(tx store.Tx) error {
		t := s.txn(ctx, tx)
		found, err := t.extents(w.self, chunk, chunk)
		if x, ok := found[chunk]; ok {
			w.extents[chunk] = x
		}
		return err
	})
}

// add appends plaintext to the chunk, sealing every segment that becomes full.
func (w *writer) add(b []byte) error {
	w.at += int64(len(b))
	for len(b) > 0 {
		if len(w.pending) == 0 && len(b) >= seal.SegmentSize {
			if err := w.seal(b[:seal.SegmentSize], w.at-int64(len(b))); err != nil {
				return err
			}
			b = b[seal.SegmentSize:]
			continue
		}
		n := min(len(b), seal.SegmentSize-len(w.pending))
		w.pending = append(w.pending, b[:n]...)
		b = b[n:]
		if len(w.pending) == seal.SegmentSize {
			if err := w.flush(w.at - int64(len(b))); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush seals the pending segment, which ends at a place in the chunk.
func (w *writer) flush(end int64) error {
	if len(w.pending) == 0 {
		return nil
	}
	err := w.seal(w.pending, end-int64(len(w.pending)))
	w.pending = w.pending[:0]
	return err
}

func (w *writer) seal(plain []byte, at int64) error {
	sealed, err := w.keys.SealSegment(w.stream.permit, w.sealed[:0], w.name, segmentIndex(w.chunk, at/seal.SegmentSize), plain)
	if err != nil {
		return residency.E(w.stream.op, residency.Internal, err)
	}
	if _, err := w.blob.Write(sealed); err != nil {
		return residency.E(w.stream.op, residency.RegionUnavailable, err)
	}
	return nil
}

// finishChunk copies what the chunk holds after the offset, and makes its blob
// durable while the next chunk is being received.
func (w *writer) finishChunk(ctx context.Context) error {
	if w.chunk < 0 {
		return nil
	}
	if held := w.extents[w.chunk].Length; w.at < held {
		if err := w.readChunk(ctx, w.chunk, w.at, held, w.add); err != nil {
			return err
		}
	}
	if err := w.flush(w.at); err != nil {
		return err
	}
	w.written[w.chunk] = extentRow{Blob: w.name, Length: w.at}
	blob := w.blob
	w.blob, w.chunk = nil, -1
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		blob.Abort()
		return context.Cause(ctx)
	}
	w.commits.Go(func() {
		defer func() { <-w.slots }()
		if err := blob.Commit(); err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failed = residency.E(w.stream.op, residency.RegionUnavailable, err)
		}
	})
	return nil
}

// commit puts the new chunks in place of the old ones and closes the stream, in
// one transaction.
func (w *writer) commit(ctx context.Context, req *WriteDrive) (DriveWritten, error) {
	s := w.stream
	out := DriveWritten{Bytes: int64(s.bytes.Load())}
	lock := []store.Lock{{Object: w.drive, Exclusive: true}}
	err := s.end(ctx, audit.Completed, residency.OK, lock, func(t *txn) error {
		t.drive = w.drive
		var err error
		out.Version, err = w.replace(t, req)
		return err
	})
	return out, err
}

// replace is the body of commit.
func (w *writer) replace(t *txn, req *WriteDrive) (uint64, error) {
	digest := func() store.ID {
		return t.tk.ID("write-drive", req.Drive, fmt.Sprint(req.Offset, w.stream.bytes.Load()), string(w.digest.Sum(nil)))
	}
	var version uint64
	found, err := t.replay(req.RequestID, digest, func(b []byte) { version = decodeWritten(b).Version })
	if err != nil {
		return 0, err
	}
	if found { // the first call's chunks are in place; these are not needed
		return version, w.stream.dropBlobs(t)
	}
	if err := errors.Join(t.load(), t.tenantProblem()); err != nil {
		return 0, err
	}
	row, version, err := t.readDrive()
	if err != nil {
		return 0, err
	}
	if version != w.version || row.Self != w.self {
		return 0, residency.E(t.a.op, residency.VersionMismatch, nil)
	}
	if len(w.written) == 0 {
		return version, nil
	}
	version++
	if err := w.swap(t, version); err != nil {
		return 0, err
	}
	row.Updated = t.now
	if err := t.putDrive(&row, version); err != nil {
		return 0, err
	}
	result := RecordWritten{Version: version}
	return version, t.remember(req.RequestID, result.encode())
}

// swap writes the new extents and puts the old blobs on the agenda, to be
// deleted when no stream that began before can still be reading them.
func (w *writer) swap(t *txn, version uint64) error {
	old := make(map[int64]extentRow, len(w.written))
	for chunk := range w.written {
		if x, ok := w.extents[chunk]; ok {
			old[chunk] = x
		}
	}
	return t.replace(w.self, old, w.written, version)
}

// placeSize is how many bytes say where a blob was: the drive's incarnation and the chunk.
const placeSize = idSize + 8

// dropBlob puts a chunk's blob on the agenda for deletion.
func (t *txn) dropBlob(self store.ID, chunk int64, blob string) error {
	return t.Schedule(store.Task{
		At: t.now.Add(t.g.limits.StreamLifetime + streamCheck), Tenant: t.home.tenant,
		Kind: store.TaskDeleteBlob, ID: store.ID(blob), Value: []byte(extentID(self, chunk)),
	})
}

// stop gives up what is being written and waits for what is on its way.
func (w *writer) stop() {
	if w.blob != nil {
		w.blob.Abort()
	}
	w.commits.Wait()
}

// remove deletes the stream's blobs at once: the stream was closed as abandoned
// meanwhile, so nobody will come for those that were made since.
func (w *writer) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.stream.g.limits.Decide)
	defer cancel()
	if err := deleteBlobs(ctx, w.stream.home.cluster.Blobs, w.stream.blobs()); err != nil {
		w.stream.g.log.Warn("chunks of an abandoned write not deleted", "err", err)
	}
}

// dropBlobs puts every blob of the stream on the agenda for deletion, in the
// transaction that closes the stream without them. That transaction finds the
// stream's row only if no earlier one has committed them.
func (s *stream) dropBlobs(t *txn) error {
	return t.Schedule(store.Task{At: t.now, Tenant: s.home.tenant, Kind: store.TaskDeleteBlob, ID: store.ID(s.blobs())})
}
