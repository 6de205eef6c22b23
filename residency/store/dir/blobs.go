// Package dir knows how immutable objects are kept in a folder so that one is
// there whole or not at all, whatever happens to the power, and is never
// overwritten. README.md tells the steps and what each of them is for.
//
// One process owns a folder at a time; a second one is refused.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/domicile-project/domicile/residency/store"
)

// The entries of the root folder.
const (
	lockFile      = "lock"    // held by the process that owns the folder
	formatFile    = "format"  // what the folder is
	unfinishedDir = "tmp"     // objects that are being written
	objectsDir    = "objects" // objects
)

// format is what the format file holds.
const format = "domicile blobs 1\n"

// Blobs is the objects in a folder. Safe for concurrent use.
type Blobs struct {
	root    string
	lock    *os.File
	folders folders
	next    atomic.Uint64 // names unfinished objects

	closeOnce sync.Once
	closed    atomic.Bool
}

var (
	_ store.Blobs      = (*Blobs)(nil)
	_ store.BlobWriter = (*writer)(nil)
)

// Open opens a folder, which it makes if there is none, and removes what a dead
// process left unfinished there. It refuses a folder that another process has open.
func Open(root string) (*Blobs, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, failed(err)
	}
	if err := makeRoot(root); err != nil {
		return nil, failed(err)
	}
	// Whoever made the root may have died before its name was durable.
	if err := syncFolder(filepath.Dir(root)); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, failed(err)
	}
	b := &Blobs{root: root, folders: folders{root: root}}
	if b.lock, err = own(filepath.Join(root, lockFile)); err != nil {
		return nil, err
	}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, b.lock.Close())
	}
	return b, nil
}

// own takes the folder for this process. The lock ends with the process.
func own(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, failed(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: the folder is open elsewhere: %w", store.ErrUnavailable, err), f.Close())
	}
	return f, nil
}

// prepare checks what the folder is and empties the place of unfinished objects.
func (b *Blobs) prepare() error {
	if err := b.checkFormat(); err != nil {
		return err
	}
	if err := b.folders.make(filepath.Join(b.root, objectsDir)); err != nil {
		return failed(err)
	}
	unfinished := filepath.Join(b.root, unfinishedDir)
	if err := os.RemoveAll(unfinished); err != nil {
		return failed(err)
	}
	return failed(os.Mkdir(unfinished, 0o700))
}

func (b *Blobs) checkFormat() error {
	path := filepath.Join(b.root, formatFile)
	switch got, err := os.ReadFile(path); {
	case errors.Is(err, os.ErrNotExist):
		return failed(b.writeFormat(path))
	case err != nil:
		return failed(err)
	case string(got) != format:
		return fmt.Errorf("%w: the folder is a %q, this program reads a %q", store.ErrCorrupt, got, format)
	}
	return nil
}

func (b *Blobs) writeFormat(path string) (err error) {
	unfinished := path + ".new"
	f, err := os.OpenFile(unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(format)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return syncFolder(b.root)
}

// Close gives the folder up. Objects that are still being written cannot be
// committed any more; readers that are open stay good.
func (b *Blobs) Close() error {
	err := fmt.Errorf("%w: the folder", store.ErrClosed)
	b.closeOnce.Do(func() {
		b.closed.Store(true)
		err = failed(b.lock.Close())
	})
	return err
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
		return fmt.Errorf("%w: the folder", store.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// failed gives an error of the file system the store's kind.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// bounded runs do and returns its error, or earlier when the context ends: do
// then goes on by itself, and it is not known what becomes of it.
func bounded(ctx context.Context, do func() error) error {
	if ctx.Done() == nil {
		return do()
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: the disk did not answer in time: %w", store.ErrUnavailable, ctx.Err())
	}
}

// Delete is store.Blobs. It returns by the context's deadline.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if err := b.begin(ctx, name); err != nil {
		return err
	}
	return bounded(ctx, func() error {
		path := b.path(name)
		err := os.Remove(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return failed(err)
		}
		// Also when there was nothing: somebody may have removed it a moment
		// ago and not made that durable yet.
		err = b.folders.sync(filepath.Dir(path))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return failed(err)
	})
}

// Open is store.Blobs. The reader does not watch the context.
func (b *Blobs) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := b.begin(ctx, name); err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 {
		return nil, errors.New("store: an object's range must not be negative")
	}
	f, err := os.Open(b.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: object", store.ErrNotFound)
	}
	if err != nil {
		return nil, failed(err)
	}
	if length >= readAhead {
		// Advice only: without it the range is read all the same.
		_ = unix.Fadvise(int(f.Fd()), offset, length, unix.FADV_SEQUENTIAL)
	}
	return &reader{file: f, at: offset, left: length}, nil
}

// readAhead is from how many bytes on the system is told that a range will be
// read from its beginning to its end.
const readAhead = 256 << 10

// reader reads a range of an object. It is not safe for concurrent use.
type reader struct {
	file     *os.File
	at, left int64
}

var _ io.ReadCloser = (*reader)(nil)

// Read gives io.EOF at the end of the range and io.ErrUnexpectedEOF where the
// object ends before it.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), r.left)], r.at)
	r.at += int64(n)
	r.left -= int64(n)
	switch {
	case n > 0: // an error shows again when there is no more
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	case errors.Is(err, os.ErrClosed):
		return 0, fmt.Errorf("%w: the object", store.ErrClosed)
	}
	return 0, failed(err)
}

// Close ends the reading.
func (r *reader) Close() error { return failed(r.file.Close()) }
