package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/domicile-project/domicile/residency/store"
)

// ReadOnly is a bucket that is opened for reading alone: nothing in it is made, written, aborted or removed. Other
// processes may use it at the same time.
type ReadOnly struct{ blobs *Blobs }

var _ store.Blobs = (*ReadOnly)(nil)

var errReadOnly = errors.New("store: the bucket was opened for reading alone")

// Read opens a bucket for reading alone. Gateways must have used it before: of the server's promises, which
// only matter to who writes, none is tried out.
func Read(ctx context.Context, o Options) (*ReadOnly, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &Blobs{bucket: o.Bucket, page: o.page, pause: o.pause, log: slog.New(slog.DiscardHandler), memory: newMemory(o.Memory), stop: func() {}}
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
	if err := b.readFormat(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &ReadOnly{b}, nil
}

// readFormat refuses a bucket that holds something else.
func (b *Blobs) readFormat(ctx context.Context) error {
	r, err := b.open(ctx, b.root+formatKey, 0, 64)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if string(got) != format {
		return fmt.Errorf("%w: the bucket is a %q, this program reads a %q", store.ErrCorrupt, got, format)
	}
	return nil
}

// Close gives the bucket up.
func (r *ReadOnly) Close() error { return r.blobs.Close() }

// Open is store.Blobs.
func (r *ReadOnly) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return r.blobs.Open(ctx, name, offset, length)
}

// List is store.Blobs.
func (r *ReadOnly) List(ctx context.Context, prefix string, yield func(name string) bool) error {
	return r.blobs.List(ctx, prefix, yield)
}

// Create refuses.
func (r *ReadOnly) Create(context.Context, string) (store.BlobWriter, error) {
	return nil, errReadOnly
}

// Delete refuses.
func (r *ReadOnly) Delete(context.Context, string) error { return errReadOnly }
