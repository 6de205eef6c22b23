package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/s3"
)

// How long the checks of a bucket may take: while the gateway starts, and while it serves without
// the bucket; and the pause between the latter.
const (
	bucketStart   = 10 * time.Second
	bucketTimeout = time.Minute
	bucketPause   = 2 * time.Second
)

// openBucket opens a bucket, with what closes it. One that answers and cannot be used is refused. One that
// does not answer is waited for while the gateway serves what needs no bucket: records
// and consents must not be out of reach because the gateway was started during a bucket's outage.
func openBucket(o s3.Options, log *slog.Logger) (store.Blobs, func() error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bucketStart)
	defer cancel()
	b, err := s3.Open(ctx, o)
	if err == nil {
		return b, b.Close, nil
	}
	if wrong(err) {
		return nil, nil, err
	}
	log.Warn("the bucket does not answer; drives of this cluster are unavailable until it does", slog.Any("err", err))
	l := newLateBucket(o, log, err)
	return l, l.close, nil
}

// wrong reports whether a bucket answered in a way that waiting does not mend.
func wrong(err error) bool {
	return !errors.Is(err, store.ErrUnavailable) || errors.Is(err, s3.ErrRefused)
}

// lateBucket is a bucket that did not answer when the gateway was started. Until it has
// answered and passed every check it is unavailable: nothing is written into one that was not looked at.
type lateBucket struct {
	options s3.Options
	log     *slog.Logger
	stop    context.CancelFunc
	ended   chan struct{}

	mu     sync.Mutex
	opened *s3.Blobs // nil until then
	reason error     // why not yet
}

var _ store.Blobs = (*lateBucket)(nil)

func newLateBucket(o s3.Options, log *slog.Logger, reason error) *lateBucket {
	ctx, stop := context.WithCancel(context.Background())
	l := &lateBucket{options: o, log: log, stop: stop, ended: make(chan struct{}), reason: reason}
	go l.run(ctx)
	return l
}

// run tries to open the bucket until it is open or the context ends.
func (l *lateBucket) run(ctx context.Context) {
	defer close(l.ended)
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(bucketPause):
		}
		err := l.try(ctx)
		if err == nil {
			l.log.Info("the bucket answers; drives of this cluster are available")
			return
		}
		if wrong(err) && ctx.Err() == nil && err.Error() != said {
			l.log.Error("the bucket answers and cannot be used; drives of this cluster stay unavailable, and the gateway will not start with it", slog.Any("err", err))
			said = err.Error()
		}
	}
}

// try opens the bucket once.
func (l *lateBucket) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	b, err := s3.Open(ctx, l.options)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.opened = b
		return nil
	}
	l.reason = err
	return err
}

// close gives the bucket up, or the waiting for it.
func (l *lateBucket) close() error {
	l.stop()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened == nil {
		return nil
	}
	return l.opened.Close()
}

// bucket gives the bucket once it is open.
func (l *lateBucket) bucket() (*s3.Blobs, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened == nil {
		return nil, fmt.Errorf("%w: the bucket was not opened yet: %v", store.ErrUnavailable, l.reason) //nolint:errorlint // whatever is wrong with it, it is unavailable
	}
	return l.opened, nil
}

// Create begins an object.
func (l *lateBucket) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	b, err := l.bucket()
	if err != nil {
		return nil, err
	}
	return b.Create(ctx, name)
}

// Open opens a range of an object.
func (l *lateBucket) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	b, err := l.bucket()
	if err != nil {
		return nil, err
	}
	return b.Open(ctx, name, offset, length)
}

// Delete removes an object.
func (l *lateBucket) Delete(ctx context.Context, name string) error {
	b, err := l.bucket()
	if err != nil {
		return err
	}
	return b.Delete(ctx, name)
}

// List lists names.
func (l *lateBucket) List(ctx context.Context, prefix string, yield func(name string) bool) error {
	b, err := l.bucket()
	if err != nil {
		return err
	}
	return b.List(ctx, prefix, yield)
}
