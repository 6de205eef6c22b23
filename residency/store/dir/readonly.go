package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/domicile-project/domicile/residency/store"
)

// ReadOnly is a folder of objects that is opened for reading alone: nothing in it is made, written or removed,
// not even what a dead process left unfinished.
type ReadOnly struct{ blobs Blobs }

var _ store.Blobs = (*ReadOnly)(nil)

var errReadOnly = errors.New("store: the folder was opened for reading alone")

// Read opens a folder for reading alone. It must be there, and no other process may have it open.
func Read(root string) (*ReadOnly, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, failed(err)
	}
	lock, err := os.Open(filepath.Join(root, lockFile))
	if err != nil {
		return nil, failed(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: the folder is open elsewhere: %w", store.ErrUnavailable, err), lock.Close())
	}
	got, err := os.ReadFile(filepath.Join(root, formatFile))
	if err == nil && string(got) != format {
		err = fmt.Errorf("%w: the folder is a %q, this program reads a %q", store.ErrCorrupt, got, format)
	}
	if err != nil {
		return nil, errors.Join(failed(err), lock.Close())
	}
	return &ReadOnly{Blobs{root: root, lock: lock, folders: folders{root: root}}}, nil
}

// Close gives the folder free.
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
