package pebble

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS is a file system on which a database's log becomes durable cheaply. What
// the log holds, and when it is durable, it does not change.
//
// A log is filled with zeros ahead of what is written to it. To make a write
// durable then takes its data alone, while a file that grows needs its new size
// and place written each time too. Reading a log back ends at the first zeros, as it
// ends at the remains of an earlier log in a file that is used again.
type logFS struct {
	vfs.FS
	ahead int64 // how far logs are filled at once
}

// fillAhead is how far a log is filled at once, at the most, in bytes. It bounds
// what a new database takes on the disk, and what one sync has to write for it.
const fillAhead = 512 << 10

func newLogFS(fs vfs.FS, memTableBytes uint64) *logFS {
	return &logFS{FS: fs, ahead: int64(min(fillAhead, memTableBytes))} //nolint:gosec // the lesser is small
}

// Create makes a file. Logs are told by the category that the engine gives them.
func (fs *logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil || c != logCategory {
		return f, err
	}
	return &logFile{File: f, fs: fs}, nil
}

// logCategory is what Pebble calls the writes to its log.
const logCategory vfs.DiskWriteCategory = "pebble-wal"

// ReuseForWrite makes a log out of one that is not needed any more.
func (fs *logFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	if err != nil {
		return f, err
	}
	l := &logFile{File: f, fs: fs}
	if info, err := f.Stat(); err == nil {
		l.filled = info.Size()
	}
	return l, nil
}

// Unwrap is vfs.FS.
func (fs *logFS) Unwrap() vfs.FS { return fs.FS }

// logFile is a log. One goroutine at a time uses it.
type logFile struct {
	vfs.File
	fs      *logFS
	written int64 // up to where the log was written
	filled  int64 // up to where the file holds written data or zeros
	bare    bool  // the file could not be filled: it grows as it is written
}

// Write appends to the log, and fills the file further when it has come to its end.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if err == nil && f.written > f.filled && !f.bare {
		f.fill()
	}
	return n, err
}

// fill puts zeros behind what was written. Without room for them the log goes
// on without: whether there is room for what it is for shows when it is written.
func (f *logFile) fill() {
	zeros := zeroes.Get().(*[fillAhead]byte)
	defer zeroes.Put(zeros)
	if _, err := f.WriteAt(zeros[:f.fs.ahead], f.written); err != nil {
		f.bare = true
		return
	}
	f.filled = f.written + f.fs.ahead
}

// zeroes holds nothing but zeros, which nobody writes to.
var zeroes = sync.Pool{New: func() any { return new([fillAhead]byte) }}

var (
	_ vfs.FS   = (*logFS)(nil)
	_ vfs.File = (*logFile)(nil)
)
