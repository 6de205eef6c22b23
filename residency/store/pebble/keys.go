package pebble

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// maxKeyName is the longest name of a key, in bytes (store.Keys).
const maxKeyName = 64

// Keys is a region's wrapped keys, in a database of its own.
//
// A destroyed key is first gone to every reader, durably, and then purged from
// the database's files, in the background and again after a crash; Purge waits
// for that. The files that held it are overwritten before they are removed.
// What a disk or a file system keeps of overwritten blocks is beyond this
// program, and so are copies that somebody made of the files.
type Keys struct {
	engine *engine
	purger purger
}

var _ store.Keys = (*Keys)(nil)

// OpenKeys opens the database in a folder, which it makes if there is none.
func OpenKeys(dir string, log *slog.Logger) (*Keys, error) {
	return openKeys(dir, Options{Logger: log, CacheBytes: 8 << 20, memTableBytes: 4 << 20})
}

func openKeys(dir string, o Options) (*Keys, error) {
	o.overwrite = true
	e, err := open(dir, "keys", o)
	if err != nil {
		return nil, err
	}
	k := &Keys{engine: e}
	k.purger.init(e)
	if !o.readOnly {
		k.purger.kick() // what a crash left
	}
	return k, nil
}

// Close waits for operations and a purge that are under way and closes the
// database. A purge that has not begun goes on when it is opened again.
func (k *Keys) Close() error {
	k.purger.stop()
	return k.engine.close()
}

// Failed is closed when the engine has stopped for good (see Cluster.Failed).
func (k *Keys) Failed() <-chan struct{} { return k.engine.down }

// part is what a key's lock and mark go by.
func part(name string) store.Tenant {
	sum := sha256.Sum256([]byte(name))
	return store.Tenant(sum[:16])
}

func checkKeyName(name string) error {
	if len(name) > maxKeyName {
		return fmt.Errorf("store: a key's name has at most %d bytes, not %d", maxKeyName, len(name))
	}
	return nil
}

// Get is store.Keys. A key that it gives is durable.
func (k *Keys) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	e := k.engine
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	v, err := e.get(wrappedKey(name))
	for _, m := range []store.Tenant{part(name), {}} {
		if settled := e.settled(ctx, e.mark(m)); settled != nil {
			return nil, settled
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return v, nil
}

// Create is store.Keys.
func (k *Keys) Create(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	e := k.engine
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	held := new(lock.Held)
	scope := store.Scope{Objects: []store.Lock{{Object: store.ID(name), Exclusive: true}}}
	if err := e.locks.Acquire(ctx, scope, false, held); err != nil {
		return nil, err
	}
	there := append([]byte{}, wrapped...)
	err := e.change(ctx, held, part(name), func(c *commit) error {
		old, err := e.get(wrappedKey(name))
		if err == nil {
			there = old
			return fmt.Errorf("%w: key", store.ErrExists)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		c.writes = append(c.writes, write{key: wrappedKey(name), value: bytes.Clone(wrapped)})
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return nil, err
	}
	return there, err
}

// Destroy is store.Keys. The keys are purged from the files soon after it has
// returned; Purge waits for that.
func (k *Keys) Destroy(ctx context.Context, prefix string) error {
	if err := checkKeyName(prefix); err != nil {
		return err
	}
	e := k.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	held := new(lock.Held)
	if err := e.locks.Acquire(ctx, store.Scope{Exclusive: true}, false, held); err != nil {
		return err
	}
	err := e.change(ctx, held, store.Tenant{}, func(c *commit) error {
		start := wrappedKey(prefix)
		c.writes = append(c.writes, write{key: start, end: after(start)}, write{key: purgeKey(prefix)})
		return nil
	})
	if err == nil {
		k.purger.kick()
	}
	return err
}

// List is store.Keys. The keys that it gives are durable.
func (k *Keys) List(ctx context.Context, prefix string, yield func(string, []byte) bool) error {
	if err := checkKeyName(prefix); err != nil {
		return err
	}
	e := k.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	start := wrappedKey(prefix)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: after(start)})
	if err != nil {
		return wrap(err)
	}
	defer it.Close()
	if err := e.submit(ctx, new(commit)); err != nil { // what the iterator sees is durable once this is
		return err
	}
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return wrap(err)
		}
		if !yield(string(it.Key()[1:]), bytes.Clone(v)) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return wrap(it.Error())
}

// Ping is store.Keys: it reads, and asks whether writes are acknowledged.
func (k *Keys) Ping(ctx context.Context) error {
	e := k.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	if _, err := e.get(formatKey); err != nil {
		return err
	}
	return e.submit(ctx, new(commit))
}

// Purge returns when no key that was destroyed before it was called is in a file
// that the database uses. The removal of the files that held one is under way
// then, and goes on when the database is opened again.
func (k *Keys) Purge(ctx context.Context) error {
	if err := k.engine.begin(ctx); err != nil {
		return err
	}
	defer k.engine.leave()
	return k.purger.wait(ctx)
}

// purger rewrites the files that hold destroyed keys, one pass at a time.
type purger struct {
	engine *engine
	cancel context.CancelFunc
	wake   chan struct{} // holds one token when there is something to do
	ended  chan struct{}

	mu      sync.Mutex
	asked   uint64 // passes asked for
	done    uint64 // all passes asked for up to this one are done
	err     error  // of the last pass
	changed chan struct{}
}

func (p *purger) init(e *engine) {
	ctx, cancel := context.WithCancel(context.Background())
	p.engine, p.cancel = e, cancel
	p.wake, p.ended, p.changed = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go p.run(ctx)
}

// kick asks for a pass and gives its number.
func (p *purger) kick() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return p.asked
}

func (p *purger) stop() {
	p.cancel()
	select {
	case <-p.ended:
	case <-p.engine.down: // what it waits for will never happen
	}
}

func (p *purger) run(ctx context.Context) {
	defer close(p.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.mu.Lock()
		pass := p.asked
		p.mu.Unlock()
		err := p.pass(ctx)
		if err != nil && ctx.Err() == nil {
			p.engine.log.Error("key store: destroyed keys could not be purged from the files yet", "err", err)
		}
		p.mu.Lock()
		p.done, p.err = pass, err
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// wait asks for a pass and returns when it is done.
func (p *purger) wait(ctx context.Context) error {
	pass := p.kick()
	for {
		p.mu.Lock()
		done, err, changed := p.done, p.err, p.changed
		p.mu.Unlock()
		if done >= pass {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: destroyed keys are still being purged: %w", store.ErrUnavailable, ctx.Err())
		case <-p.engine.down:
			return p.engine.failed()
		case <-p.ended:
			return fmt.Errorf("%w: the database", store.ErrClosed)
		}
	}
}

// pass purges every range that is marked, then takes the marks off.
func (p *purger) pass(ctx context.Context) error {
	if err := p.engine.failed(); err != nil {
		return err
	}
	marked, err := p.marked()
	if err != nil || len(marked) == 0 {
		return err
	}
	db := p.engine.db
	if err := db.Flush(); err != nil { // the old log goes with it
		return wrap(err)
	}
	c := &commit{mark: p.engine.mark(store.Tenant{})}
	for _, prefix := range marked {
		start := wrappedKey(prefix)
		if err := db.Compact(ctx, start, after(start), false); err != nil {
			return wrap(err)
		}
		c.writes = append(c.writes, write{key: purgeKey(prefix), deleted: true})
	}
	return p.engine.submit(ctx, c)
}

func (p *purger) marked() ([]string, error) {
	it, err := p.engine.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixPurge}, UpperBound: []byte{prefixPurge + 1}})
	if err != nil {
		return nil, wrap(err)
	}
	defer it.Close()
	var marked []string
	for ok := it.First(); ok; ok = it.Next() {
		marked = append(marked, string(it.Key()[1:]))
	}
	return marked, wrap(it.Error())
}

// remover removes the files that a database needs no more. Embedding
// ArchiveCleaner keeps Pebble from using log files again, which would leave the end
// of the old one in the new one. T is Pebble's type of a file's kind, which has no exported name.
type remover[T any] struct{ pebble.ArchiveCleaner }

// newRemover finds T by a method that takes one.
func newRemover[T any](func(pebble.ArchiveCleaner, vfs.FS, T, string) error) remover[T] {
	return remover[T]{}
}

// Clean removes a file.
func (remover[T]) Clean(fs vfs.FS, _ T, path string) error { return fs.Remove(path) }

// String is the name that the database's own notes give the cleaner.
func (remover[T]) String() string { return "remove" }

// overwriter is a remover that overwrites what a file held first.
type overwriter[T any] struct{ remover[T] }

var (
	_ pebble.Cleaner = newRemover(pebble.ArchiveCleaner.Clean)
	_ pebble.Cleaner = newOverwriter(pebble.ArchiveCleaner.Clean)
)

// newOverwriter finds T by a method that takes one.
func newOverwriter[T any](func(pebble.ArchiveCleaner, vfs.FS, T, string) error) overwriter[T] {
	return overwriter[T]{}
}

// Clean overwrites and removes a file.
func (overwriter[T]) Clean(fs vfs.FS, _ T, path string) error {
	if err := overwrite(fs, path); err != nil {
		return err
	}
	return fs.Remove(path)
}

// String is the name that the database's own notes give the cleaner.
func (overwriter[T]) String() string { return "overwrite" }

func overwrite(fs vfs.FS, path string) (err error) {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < info.Size(); {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-at)], at)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		at += int64(n)
	}
	return f.Sync()
}
