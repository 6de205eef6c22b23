// Package s3 knows how immutable objects are kept in a bucket of an S3 server so
// that one is there whole or not at all and is never overwritten, which promises
// the server must keep for that, and how they are checked. README.md tells the
// steps and what each of them is for.
//
// Any number of processes may share a bucket.
package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/domicile-project/domicile/residency/store"
)

// Options say where the objects are. Endpoint, Bucket and the keys must be given.
type Options struct {
	// Endpoint is the server's host or host:port.
	Endpoint string

	// Bucket must exist. What is in it under Prefix belongs to this package alone;
	// versioning must never have been on, or deleted objects would stay.
	Bucket string

	// Prefix is the part of the bucket that is used; "" is all of it. Segments of
	// [a-z0-9-] with a / between them.
	Prefix string

	// Region is what requests are signed for. "" is us-east-1, which servers
	// without regions take.
	Region string

	// Insecure is plain HTTP, which only reaches this machine itself: for tests.
	Insecure bool

	// Roots are the authorities that may have signed the server's certificate; nil is
	// the system's.
	Roots *x509.CertPool

	// AccessKey, SecretKey and, for temporary credentials, SessionToken. They may read, write, list and
	// delete objects, abort and list multipart uploads, and read whether the bucket is versioned.
	AccessKey, SecretKey, SessionToken string

	// Memory is how many bytes of objects that are being written may be held at
	// once, in steps of 5 MiB; beyond it writers wait. 0 is 1 GiB; at least 10 MiB.
	Memory int64

	// Logger hears of sweeps that failed; nil is nobody.
	Logger *slog.Logger

	// For tests; 0 is what the constants say, and the server's choice of how many names a listing has.
	idle, pause time.Duration
	page        int
}

// defaultMemory is what Options.Memory is by default, minMemory the least that it may be.
const (
	defaultMemory = 1 << 30
	minMemory     = 2 * partSize
)

// Validate refuses options with which nothing could be opened, or not safely.
func (o *Options) Validate() error {
	switch {
	case o.Endpoint == "" || strings.ContainsAny(o.Endpoint, "/@?# "):
		return errors.New("s3: the endpoint must be HOST or HOST:PORT")
	case o.Bucket == "":
		return errors.New("s3: a bucket must be named")
	case o.Prefix != "" && checkName(o.Prefix) != nil:
		return errors.New("s3: the prefix must be segments of [a-z0-9-] with a / between them")
	case o.AccessKey == "" || o.SecretKey == "":
		return errors.New("s3: an access key and a secret key must be given: anonymous access is not supported")
	case o.Insecure && !loopback(o.Endpoint):
		return errors.New("s3: without TLS the server must be on a loopback address")
	case o.Memory != 0 && o.Memory < minMemory:
		return fmt.Errorf("s3: the memory must be at least %d bytes", minMemory)
	}
	return nil
}

// Blobs is the objects in a bucket. Safe for concurrent use.
type Blobs struct {
	api       *minio.Core
	transport *http.Transport
	bucket    string
	root      string // what every key starts with: "" or PREFIX/
	page      int
	pause     time.Duration
	memory    *memory
	log       *slog.Logger

	stop   context.CancelFunc // ends the sweeps
	closed atomic.Bool

	mu         sync.Mutex // held while background work is begun, and while closed is set
	background sync.WaitGroup
}

var (
	_ store.Blobs      = (*Blobs)(nil)
	_ store.BlobWriter = (*writer)(nil)
)

// The objects directly under the root.
const (
	formatKey  = "format"   // what the rest is
	probeKey   = "probe"    // never there: a server that takes it is refused
	objectsKey = "objects/" // + key = an object
)

// Open opens a bucket and checks that the server keeps the promises that this
// package builds on. It refuses one that does not, and wraps store.ErrUnavailable when it cannot tell; ErrRefused
// besides when the server answered and asking again would not help.
func Open(ctx context.Context, o Options) (*Blobs, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &Blobs{bucket: o.Bucket, page: o.page, pause: o.pause, log: o.Logger, memory: newMemory(o.Memory)}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.pause == 0 {
		b.pause = firstPause
	}
	if o.Prefix != "" {
		b.root = o.Prefix + "/"
	}
	var err error
	if b.api, b.transport, err = o.client(); err != nil {
		return nil, err
	}
	var sweeping context.Context
	sweeping, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.verify(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.aside(func() { b.runSweep(sweeping) })
	return b, nil
}

// Close gives the bucket up. Objects that are still being written cannot be
// committed any more; readers that are open stay good.
func (b *Blobs) Close() error {
	b.mu.Lock()
	first := b.closed.CompareAndSwap(false, true)
	b.mu.Unlock()
	if !first {
		return fmt.Errorf("%w: the bucket", store.ErrClosed)
	}
	b.stop()
	b.background.Wait()
	b.transport.CloseIdleConnections()
	return nil
}

// aside runs do on the side; Close waits for it. After Close it is run at once.
func (b *Blobs) aside(do func()) {
	b.mu.Lock()
	closed := b.closed.Load()
	if !closed {
		b.background.Go(do)
	}
	b.mu.Unlock()
	if closed {
		do()
	}
}

// begin says whether an operation on an object may begin.
func (b *Blobs) begin(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return b.usable(ctx)
}

func (b *Blobs) usable(ctx context.Context) error {
	if b.closed.Load() {
		return fmt.Errorf("%w: the bucket", store.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// Delete is store.Blobs. It returns by the context's deadline.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if err := b.begin(ctx, name); err != nil {
		return err
	}
	return b.remove(ctx, b.key(name))
}

// remove deletes what is under a key, if anything is.
func (b *Blobs) remove(ctx context.Context, key string) error {
	err := b.try(ctx, func() error {
		return b.api.RemoveObject(ctx, b.bucket, key, minio.RemoveObjectOptions{})
	})
	if err == nil || is(err, minio.NoSuchKey) {
		return nil
	}
	return failed(ctx, "delete", err)
}
