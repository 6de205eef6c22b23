package pebble

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/domicile-project/domicile/residency/store"
)

// lines counts what is logged.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.n.Add(1)
	return len(p), nil
}

// A disk without room for sorted files makes the engine neither spin, nor fill
// the log, nor hang when it is closed.
func TestAFullDiskIsBorne(t *testing.T) {
	var full atomic.Bool
	var tried atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			tried.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}))
	log := new(lines)
	c, err := OpenCluster("db", Options{FS: fs, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Update(t.Context(), store.Scope{}, func(tx store.Tx) error { return tx.Put(store.KindRecord, "r", []byte("x")) })
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if _, err := c.engine.db.AsyncFlush(); err != nil {
		t.Fatal(err)
	}
	for tried.Load() < 3 { // it goes on trying
		time.Sleep(10 * time.Millisecond)
	}
	if n := log.n.Load(); n > 3 {
		t.Errorf("%d lines in the log after %d tries", n, tried.Load())
	}
	if err := c.Close(); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("closed with %v", err)
	}
}
