package pebble

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// logPieces are written to a log one after another, across several fills.
func logPieces() [][]byte {
	var pieces [][]byte
	for i := range 40 {
		pieces = append(pieces, bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*97))
	}
	return pieces
}

// A log holds what was written to it, and then nothing but zeros, on the
// machine's own disk and in memory, new and used again.
func TestLogsAreFilledAhead(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"disk": vfs.Default, "memory": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := fs.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			logs := newLogFS(fs, 8<<10)
			old, path := filepath.Join(dir, "old"), filepath.Join(dir, "log")
			f, err := logs.Create(old, logCategory)
			if err != nil {
				t.Fatal(err)
			}
			size := writeLog(t, logs, f, old, logPieces())
			if f, err = logs.ReuseForWrite(old, path, logCategory); err != nil {
				t.Fatal(err)
			}
			if again := writeLog(t, logs, f, path, logPieces()[:20]); again != size {
				t.Errorf("a log of %d bytes that is used again has %d", size, again)
			}
		})
	}
}

// writeLog writes and syncs pieces, closes the log, checks what it begins with, and gives its size.
func writeLog(t *testing.T, fs vfs.FS, f vfs.File, path string, pieces [][]byte) int {
	t.Helper()
	for _, p := range pieces {
		if _, err := f.Write(bytes.Clone(p)); err != nil { // a file in memory spoils what it is given, to find mistakes
			t.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join(pieces, nil)
	if !bytes.HasPrefix(got, want) {
		t.Fatal("the log does not begin with what was written")
	}
	if len(got) == len(want) {
		t.Error("the log was not filled ahead")
	}
	return len(got)
}

// A log that cannot be filled is written all the same.
func TestALogWithoutRoomToFill(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			return errorfs.ErrInjected
		}
		return nil
	}))
	f, err := newLogFS(fs, 8<<10).Create("log", logCategory)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := f.Write([]byte("entry")); n != 5 || err != nil {
			t.Fatalf("wrote %d bytes with %v", n, err)
		}
	}
	if err := errors.Join(f.SyncData(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
