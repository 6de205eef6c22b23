package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options says how a database is run. The zero value is right for production.
type Options struct {
	// Clock is the wall clock; nil = time.Now. The store's clock never runs
	// backwards even when this one does: it then stands still.
	Clock func() time.Time

	// FS is the file system; nil = the machine's own. Tests pass one in memory
	// that can be cloned as after a power failure.
	FS vfs.FS

	// CacheBytes is how much memory holds blocks of rows at the most; 0 = 256 MiB.
	// Up to 128 MiB more hold what is not yet in sorted files.
	CacheBytes int64

	// Logger receives what the engine reports; nil = slog.Default(). Its routine
	// messages are at debug level. No value is ever logged, and of keys only the
	// pseudonyms that they are made of.
	Logger *slog.Logger

	// Observe is told how long each operation took, from its call to its
	// return, errors included; nil = nobody is told. The operations are "update", "view",
	// "due", "lead", "purge" and "entries". It is called on the caller's goroutine.
	Observe func(operation string, took time.Duration)

	readOnly      bool   // change nothing; see readonly.go
	purged        bool   // what is deleted must be able to leave the files: use no log again, and begin manifests anew
	overwrite     bool   // overwrite files before they are removed, and never use one again
	memTableBytes uint64 // tests make it small, so that files are written often; 0 = 32 MiB
}

const (
	defaultCacheBytes    = 256 << 20
	defaultMemTableBytes = 32 << 20
	memTables            = 4
	bloomBitsPerKey      = 10 // 1 % of absent keys cost a read of a block
)

// engineOptions translates the options for Pebble. Values are not compressed:
// they are ciphertext.
func (o Options) engineOptions(e *engine) *pebble.Options {
	p := &pebble.Options{
		CacheSize:                   o.CacheBytes,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                o.memTableBytes,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		Logger:                      engineLogger{e},
		EventListener:               e.listener(),
		ReadOnly:                    o.readOnly,
	}
	o.onFS(p)
	if o.purged {
		p.Cleaner = newRemover(pebble.ArchiveCleaner.Clean)
		p.MaxManifestFileSize = 1 // a new one whenever as many changes were written down as there are files
	}
	if o.overwrite {
		p.Cleaner = newOverwriter(pebble.ArchiveCleaner.Clean)
	}
	if p.CacheSize == 0 {
		p.CacheSize = defaultCacheBytes
	}
	if p.MemTableSize == 0 {
		p.MemTableSize = defaultMemTableBytes
	}
	// Pebble takes the memory of unsorted rows out of the cache's: without room
	// for it nothing would be cached while there are writes.
	p.CacheSize += int64(memTables) * int64(p.MemTableSize) //nolint:gosec // both are small constants or options
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
	}
	return p
}

// onFS gives the engine its file system. The machine's own is watched for being slow.
func (o Options) onFS(p *pebble.Options) {
	memTable := o.memTableBytes
	if memTable == 0 {
		memTable = defaultMemTableBytes
	}
	if o.FS != nil {
		p.FS = newLogFS(o.FS, memTable)
		return
	}
	p.FS = newLogFS(vfs.Default, memTable)
	p.WithFSDefaults()
}

// listener reports what an operator should know of.
func (e *engine) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: e.backgroundError,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			e.log.Error("storage engine: a file is damaged", "file", i.Path, "err", i.Details)
		},
		DiskSlow: func(i pebble.DiskSlowInfo) {
			e.log.Warn("storage engine: the disk is slow", "file", i.Path, "operation", i.OpType.String(), "seconds", i.Duration.Seconds())
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			e.log.Warn("storage engine: writes wait for background work", "reason", i.Reason)
		},
	}
}

// The pace of background work that fails, for example on a full disk: Pebble
// tries it again at once, as often as it fails.
const (
	retryPause   = 250 * time.Millisecond
	failureEvery = 10 * time.Second // between lines about it in the log
)

// backgroundError says that background work failed, now and then, and keeps it
// from being tried again at once.
func (e *engine) backgroundError(err error) {
	if e.opening.Load() {
		e.fail(err)
	}
	now := time.Now().UnixNano()
	if last := e.complained.Load(); now-last >= int64(failureEvery) && e.complained.CompareAndSwap(last, now) {
		e.log.Error("storage engine: background work failed and is tried again", "err", err)
	}
	time.Sleep(retryPause)
}

// engineLogger passes on what Pebble says.
type engineLogger struct{ e *engine }

var _ pebble.Logger = engineLogger{}

func (l engineLogger) Infof(format string, args ...any) {
	if l.e.log.Enabled(context.Background(), slog.LevelDebug) {
		l.e.log.Debug("storage engine: " + fmt.Sprintf(format, args...))
	}
}

func (l engineLogger) Errorf(format string, args ...any) {
	l.e.log.Error("storage engine: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on, and must not return: what follows
// the call would run on a broken state, or report a commit that failed as done. It puts the
// engine out of service and parks the goroutine for good, whatever locks it
// holds; nothing that it was about to write is written.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.e.fail(fmt.Errorf(format, args...))
	select {}
}
