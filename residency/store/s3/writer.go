package s3

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/domicile-project/domicile/residency/store"
)

// maxParts is S3's bound, so that an object has at most 48 GiB.
const maxParts = 10_000

// The headers of a request that say what its object must be.
const (
	sumHeader       = "x-amz-checksum-crc32c"
	sumTypeHeader   = "x-amz-checksum-type"
	algorithmHeader = "x-amz-checksum-algorithm"
	fullObject      = "FULL_OBJECT" // the sum is of the object's bytes, not of its parts' sums
)

// The metadata of an object.
const (
	writerMeta = "Writer" // drawn for each writer: tells whose object it is
	sumMeta    = "Crc32c" // of an object that was sent at once: its sum, for servers that keep theirs from ranges
)

// writer is an object that is being written. It is not safe for concurrent use.
type writer struct {
	ctx    context.Context
	cancel context.CancelFunc
	blobs  *Blobs
	key    string
	token  string // says in the object's metadata that it is this writer's

	part   part   // what has not been sent
	sum    uint32 // CRC-32C of what was written
	upload string // the multipart upload; "" as long as all fits one part
	parts  []minio.CompletePart
	sent   chan error // of the part that is on its way; nil when none is
	failed error
	over   bool
}

// Create is store.Blobs. The context bounds the whole writing, Commit included.
func (b *Blobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	if err := b.begin(ctx, name); err != nil {
		return nil, err
	}
	return b.create(ctx, b.key(name)), nil
}

func (b *Blobs) create(ctx context.Context, key string) *writer {
	ctx, cancel := context.WithCancel(ctx)
	return &writer{ctx: ctx, cancel: cancel, blobs: b, key: key, token: rand.Text(), part: part{memory: b.memory}}
}

func (w *writer) Write(p []byte) (int, error) {
	if w.over {
		return 0, fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	if w.failed != nil {
		return 0, w.failed
	}
	if err := w.blobs.usable(w.ctx); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) && w.failed == nil {
		if w.part.size == partSize {
			if w.failed = w.send(); w.failed != nil {
				break
			}
		}
		var n int
		n, w.failed = w.part.fill(w.ctx, p[done:])
		w.sum = crc32.Update(w.sum, castagnoli, p[done:done+n])
		done += n
	}
	return done, w.failed
}

// send begins to send the part, when the one before has arrived.
func (w *writer) send() error {
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.wait(); err != nil {
		return err
	}
	if len(w.parts) == maxParts {
		return fmt.Errorf("store: an object has at most %d bytes", int64(maxParts)*partSize)
	}
	number := len(w.parts) + 1
	sending := w.part
	w.part = part{memory: w.blobs.memory}
	w.sent = make(chan error, 1)
	go func() {
		defer sending.drop()
		w.sent <- w.sendPart(number, &sending)
	}()
	return nil
}

// begin begins a multipart upload unless one has begun. When the answer gets lost
// there may be several; sweeps come for those that nobody knows.
func (w *writer) begin() error {
	if w.upload != "" {
		return nil
	}
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{
		writerMeta: w.token, algorithmHeader: "CRC32C", sumTypeHeader: fullObject,
	}}
	err := w.blobs.try(w.ctx, func() (err error) {
		w.upload, err = w.blobs.api.NewMultipartUpload(w.ctx, w.blobs.bucket, w.key, opts)
		return err
	})
	if err != nil {
		return failed(w.ctx, "begin an upload", err)
	}
	return nil
}

// sendPart sends a part. Sending it twice puts the same bytes in the same place.
func (w *writer) sendPart(number int, p *part) error {
	sum := encodeSum(p.sum)
	var done minio.ObjectPart
	err := w.blobs.try(w.ctx, func() (err error) {
		from := &body{part: p}
		defer from.detach()
		done, err = w.blobs.api.PutObjectPart(w.ctx, w.blobs.bucket, w.key, w.upload, number, from, int64(p.size),
			minio.PutObjectPartOptions{DisableContentSha256: true, CustomHeader: http.Header{http.CanonicalHeaderKey(sumHeader): {sum}}})
		return err
	})
	if err != nil {
		return failed(w.ctx, "send a part", err)
	}
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number, ETag: done.ETag, ChecksumCRC32C: sum})
	return nil
}

// wait waits for the part that is on its way.
func (w *writer) wait() error {
	if w.sent == nil {
		return nil
	}
	err := <-w.sent
	w.sent = nil
	return err
}

// Commit is store.BlobWriter. It returns by the deadline of Create's context.
func (w *writer) Commit() error {
	if w.over {
		return fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	if err := w.blobs.usable(w.ctx); err != nil {
		return err
	}
	defer w.end()
	if w.failed != nil {
		return w.failed
	}
	if w.upload == "" {
		return w.put()
	}
	if err := w.send(); err != nil {
		return err
	}
	if err := w.wait(); err != nil {
		return err
	}
	return w.complete()
}

// put sends the whole object at once.
func (w *writer) put() error {
	sum := encodeSum(w.sum)
	opts := minio.PutObjectOptions{
		DisableContentSha256: true, // the server compares the sum instead
		UserMetadata:         map[string]string{writerMeta: w.token, sumMeta: sum, sumHeader: sum},
	}
	opts.SetMatchETagExcept("*")
	err := w.blobs.try(w.ctx, func() error {
		from := &body{part: &w.part}
		defer from.detach()
		_, err := w.blobs.api.PutObject(w.ctx, w.blobs.bucket, w.key, from, int64(w.part.size), "", "", opts)
		return err
	})
	return w.settle("put", err)
}

// complete makes one object of the parts.
func (w *writer) complete() error {
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{sumHeader: encodeSum(w.sum), sumTypeHeader: fullObject}}
	opts.SetMatchETagExcept("*")
	err := w.blobs.try(w.ctx, func() error {
		_, err := w.blobs.api.CompleteMultipartUpload(w.ctx, w.blobs.bucket, w.key, w.upload, w.parts, opts)
		return err
	})
	err = w.settle("complete an upload", err)
	if err == nil {
		w.upload = ""
	}
	return err
}

// settle says what became of an object that was sent, perhaps more than once. A
// name that is taken may be taken by this very object, when the answer to an
// earlier request was lost: its metadata tells.
func (w *writer) settle(op string, err error) error {
	if err == nil {
		return nil
	}
	if !is(err, minio.PreconditionFailed, minio.NoSuchUpload) {
		return failed(w.ctx, op, err)
	}
	there, look := w.blobs.stat(w.ctx, w.key)
	switch {
	case look != nil:
		return failed(w.ctx, op, look)
	case there.UserMetadata[writerMeta] == w.token:
		return nil
	}
	return fmt.Errorf("%w: object", store.ErrExists)
}

// stat asks what is under a key.
func (b *Blobs) stat(ctx context.Context, key string) (info minio.ObjectInfo, err error) {
	err = b.try(ctx, func() (err error) {
		info, err = b.api.StatObject(ctx, b.bucket, key, minio.StatObjectOptions{Checksum: true})
		return err
	})
	return info, err
}

// Abort is store.BlobWriter.
func (w *writer) Abort() {
	if !w.over {
		w.end()
	}
}

// abortTimeout bounds the removal of an upload's parts. What it leaves, a sweep removes.
const abortTimeout = 5 * time.Second

// end gives back what the writer holds, and removes the parts of an upload that
// was not completed, on the side: the context may have ended.
func (w *writer) end() {
	w.over = true
	w.cancel()
	_ = w.wait() // it was cancelled, or its error told already
	w.part.drop()
	if w.upload == "" {
		return
	}
	b, ctx := w.blobs, context.WithoutCancel(w.ctx)
	b.aside(func() {
		ctx, cancel := context.WithTimeout(ctx, abortTimeout)
		defer cancel()
		_ = b.abort(ctx, w.key, w.upload)
	})
}

// abort removes an upload that is not completed, if it is there.
func (b *Blobs) abort(ctx context.Context, key, upload string) error {
	err := b.try(ctx, func() error { return b.api.AbortMultipartUpload(ctx, b.bucket, key, upload) })
	if err == nil || is(err, minio.NoSuchUpload) {
		return nil
	}
	return failed(ctx, "abort an upload", err)
}

// encodeSum gives a CRC-32C as S3 has it: 4 bytes, big endian, in base64.
func encodeSum(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// decodeSum is the inverse of encodeSum.
func decodeSum(s string) (uint32, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}
