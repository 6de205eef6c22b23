package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/domicile-project/domicile/residency/store"
)

// reader reads a range of an object. It is not safe for concurrent use.
type reader struct {
	ctx   context.Context
	blobs *Blobs
	key   string

	at, left int64  // what is still to be read
	size     int64  // of the whole object
	etag     string // so that a later request reads the same object
	body     io.ReadCloser
	lost     int // connections that were lost since the last byte

	whole     bool // the range is the whole object: its bytes are compared with its sum
	sum, want uint32
	failed    error
}

var _ io.ReadCloser = (*reader)(nil)

// Open is store.Blobs. The context bounds the reading too. An object that is read
// from its beginning to its end is compared with its checksum, and its
// last bytes are not given before.
func (b *Blobs) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := b.begin(ctx, name); err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 {
		return nil, errors.New("store: an object's range must not be negative")
	}
	return b.open(ctx, b.key(name), offset, length)
}

func (b *Blobs) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		if _, err := b.stat(ctx, key); err != nil {
			return nil, problem(ctx, err)
		}
		return io.NopCloser(strings.NewReader("")), nil
	}
	r := &reader{ctx: ctx, blobs: b, key: key, at: offset, left: length, body: http.NoBody}
	header, err := r.request()
	if err != nil {
		return nil, err
	}
	if r.whole = offset == 0 && 0 < r.size && r.size <= length; r.whole {
		if r.want, err = r.sumOfObject(header); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// request asks for what is left of the range.
func (r *reader) request() (header http.Header, err error) {
	last := int64(math.MaxInt64)
	if r.left <= last-r.at {
		last = r.at + r.left - 1
	}
	opts := minio.GetObjectOptions{Checksum: true}
	opts.Set("Range", fmt.Sprintf("bytes=%d-%d", r.at, last))
	if r.etag != "" {
		opts.Set("If-Match", `"`+r.etag+`"`)
	}
	var info minio.ObjectInfo
	var body io.ReadCloser
	err = r.blobs.try(r.ctx, func() (err error) {
		body, info, header, err = r.blobs.api.GetObject(r.ctx, r.blobs.bucket, r.key, opts)
		return err
	})
	if is(err, "InvalidRange") { // the object ends before
		return nil, nil
	}
	if err != nil {
		return nil, problem(r.ctx, err)
	}
	var ok bool
	if r.size, ok = sizeOf(header, info.Size, r.at); !ok {
		return nil, errors.Join(fmt.Errorf("%w: s3 get: the server gives another range than was asked for", store.ErrUnavailable), body.Close())
	}
	r.body, r.etag = body, info.ETag
	return header, nil
}

// Read gives io.EOF at the end of the range and io.ErrUnexpectedEOF where the
// object ends before it. When the connection is lost it goes on with another one.
func (r *reader) Read(p []byte) (int, error) {
	for {
		switch {
		case r.failed != nil:
			return 0, r.failed
		case r.left == 0:
			return 0, io.EOF
		case r.at >= r.size:
			return 0, io.ErrUnexpectedEOF
		case len(p) == 0:
			return 0, nil
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.left, r.size-r.at)])
		if n > 0 { // an error shows again when there is no more
			return r.got(p[:n])
		}
		if err != nil {
			r.failed = r.again()
		}
	}
}

// got notes what was read. The last bytes of an object are not given when it is damaged.
func (r *reader) got(p []byte) (int, error) {
	r.at += int64(len(p))
	r.left -= int64(len(p))
	r.lost = 0
	if !r.whole {
		return len(p), nil
	}
	r.sum = crc32.Update(r.sum, castagnoli, p)
	if r.at == r.size && r.sum != r.want {
		r.failed = fmt.Errorf("%w: object", store.ErrCorrupt)
		return 0, r.failed
	}
	return len(p), nil
}

// again replaces a connection that was lost, unless nothing came since the last ones were.
func (r *reader) again() error {
	_ = r.body.Close()
	r.body = http.NoBody
	if r.lost++; r.lost == attempts || r.ctx.Err() != nil {
		return failed(r.ctx, "get", errLost)
	}
	_, err := r.request()
	return err
}

var errLost = errors.New("the connection was lost")

// Close ends the reading.
func (r *reader) Close() error {
	r.failed = fmt.Errorf("%w: the object", store.ErrClosed)
	_ = r.body.Close() // it was only read from
	return nil
}

// sumOfObject gives the checksum of the whole object, which some servers tell only
// when they are asked for nothing else.
func (r *reader) sumOfObject(header http.Header) (uint32, error) {
	if sum, ok := sumOf(header.Get(sumHeader), header.Get("x-amz-meta-"+sumMeta)); ok {
		return sum, nil
	}
	info, err := r.blobs.stat(r.ctx, r.key)
	if err != nil {
		return 0, problem(r.ctx, err)
	}
	if sum, ok := sumOf(info.ChecksumCRC32C); ok && info.ETag == r.etag {
		return sum, nil
	}
	return 0, fmt.Errorf("%w: an object has no checksum", store.ErrCorrupt)
}

// problem gives the store's kind to an error about an object.
func problem(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case is(err, minio.NoSuchKey, minio.PreconditionFailed): // the latter: another object has come instead
		return fmt.Errorf("%w: object", store.ErrNotFound)
	}
	return failed(ctx, "get", err)
}

// sizeOf gives the whole object's size from an answer that begins at a place in it.
func sizeOf(header http.Header, length, at int64) (int64, bool) {
	text, ok := strings.CutPrefix(header.Get("Content-Range"), "bytes ")
	if !ok { // the answer is the whole object
		return length, at == 0
	}
	span, total, _ := strings.Cut(text, "/")
	first, _, _ := strings.Cut(span, "-")
	size, err := strconv.ParseInt(total, 10, 64)
	return size, err == nil && first == strconv.FormatInt(at, 10)
}

// sumOf gives the first of some encoded sums that is one.
func sumOf(encoded ...string) (uint32, bool) {
	for _, e := range encoded {
		if sum, ok := decodeSum(e); ok {
			return sum, true
		}
	}
	return 0, false
}
