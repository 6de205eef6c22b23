package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/domicile-project/domicile/residency/store"
)

// writeBehind is how many bytes of a large object are handed to the disk while
// the rest is still being written, so that Commit has little left to wait for.
const writeBehind = 8 << 20

// writer is an object that is being written. It is not safe for concurrent use.
type writer struct {
	ctx    context.Context
	blobs  *Blobs
	name   string
	file   *os.File
	size   int64
	pushed int64 // how much of it the disk was told to write
	over   bool
}

// Create is store.Blobs. The context bounds the whole writing, Commit included.
func (b *Blobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	if err := b.begin(ctx, name); err != nil {
		return nil, err
	}
	path := filepath.Join(b.root, unfinishedDir, strconv.FormatUint(b.next.Add(1), 10))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, failed(err)
	}
	return &writer{ctx: ctx, blobs: b, name: name, file: f}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.over {
		return 0, fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	if err := w.blobs.usable(w.ctx); err != nil {
		return 0, err
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	if err != nil {
		return n, failed(err)
	}
	if w.size-w.pushed >= writeBehind {
		// Advice only: Commit makes the object durable whether or not it was taken.
		_ = unix.SyncFileRange(int(w.file.Fd()), w.pushed, w.size-w.pushed, unix.SYNC_FILE_RANGE_WRITE)
		w.pushed = w.size
	}
	return n, nil
}

// Commit is store.BlobWriter. It returns by the deadline of Create's context.
func (w *writer) Commit() error {
	if w.over {
		return fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	if err := w.blobs.usable(w.ctx); err != nil {
		return err
	}
	w.over = true
	return bounded(w.ctx, w.finish)
}

// finish makes the object durable, then its name, then drops the other name.
func (w *writer) finish() (err error) {
	defer w.drop()
	if err := unix.Fdatasync(int(w.file.Fd())); err != nil {
		return failed(err)
	}
	// What is durable need not stay in the page cache: the next object's pages
	// come from there, and rows keep theirs. Advice only, so it cannot fail the object.
	_ = unix.Fadvise(int(w.file.Fd()), 0, 0, unix.FADV_DONTNEED)
	path := w.blobs.path(w.name)
	folder := filepath.Dir(path)
	if err := w.blobs.folders.make(folder); err != nil {
		return failed(err)
	}
	err = os.Link(w.file.Name(), path)
	exists := errors.Is(err, os.ErrExist)
	if err != nil && !exists {
		return failed(err)
	}
	// Also when the name is taken: whoever took it may not have made it durable yet.
	if err := w.blobs.folders.sync(folder); err != nil {
		return failed(err)
	}
	if exists {
		return fmt.Errorf("%w: object", store.ErrExists)
	}
	return nil
}

// drop removes the unfinished object's name. What it cannot remove, the next
// Open does.
func (w *writer) drop() {
	_ = os.Remove(w.file.Name())
	_ = w.file.Close()
}

func (w *writer) Abort() {
	if !w.over {
		w.over = true
		w.drop()
	}
}
