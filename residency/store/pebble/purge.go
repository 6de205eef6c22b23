package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"github.com/domicile-project/domicile/residency/store"
)

// A deleted row is in the log and in sorted files, with a note of its deletion, until the engine comes to them, which may be
// never; and where a sorted file begins or ends with it, its name is in the manifest. A purge makes the engine come
// to them: it writes the log out, rewrites the sorted files, and waits until each file that may
// hold such a row is removed.

const (
	purgeTries = 3                     // how often files are rewritten until no deleted row is in them
	purgeLook  = 10 * time.Millisecond // between two looks at which files are there
)

// Purge is store.Rows. The agenda is purged with the rows: its keys name them too. What an iterator still reads is waited for.
func (c *Cluster) Purge(ctx context.Context, tenants []store.Tenant) error {
	defer c.timed("purge")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	if e.readOnly || len(tenants) == 0 {
		defer e.leave()
		if e.readOnly {
			return errReadOnlyStore
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { // the engine may hang
		defer e.leave()
		done <- e.purge(ctx, tenants)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: deleted rows are still being purged: %w", store.ErrUnavailable, ctx.Err())
	case <-e.down:
		return e.failed()
	}
}

func (e *engine) purge(ctx context.Context, tenants []store.Tenant) error {
	logs, err := e.fileNames(".log")
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := e.rewrite(ctx, tenants)
		if err == nil {
			break
		}
		if !errors.Is(err, errLingering) || try+1 == purgeTries {
			return err
		}
	}
	rest, err := e.fileNames(".sst", "MANIFEST-")
	if err != nil {
		return err
	}
	maps.Copy(logs, rest)
	return e.awaitRemoval(ctx, logs)
}

// errLingering says that the engine has moved files where it should have rewritten them.
var errLingering = fmt.Errorf("%w: deleted rows are still in the files", store.ErrUnavailable)

// rewrite has the engine write the sorted files of some tenants' rows, and of the agenda, anew, without what was deleted.
func (e *engine) rewrite(ctx context.Context, tenants []store.Tenant) error {
	// A single file with nothing below it would be moved as it is. Of two that overlap one is made.
	until, err := e.flushWith(ctx, tenants)
	if err != nil {
		return err
	}
	if _, err := e.flushWith(ctx, tenants); err != nil {
		return err
	}
	spans := [][]byte{{prefixAgenda}}
	for _, t := range tenants {
		spans = append(spans, tenantKey(t))
	}
	for _, span := range spans {
		if err := e.db.Compact(ctx, span, after(span), false); err != nil {
			return wrap(err)
		}
	}
	for _, span := range spans[1:] {
		if err := e.lingering(ctx, span, until); err != nil {
			return err
		}
	}
	return nil
}

// flushWith writes the log out, with a deletion of nothing before and after all rows of each tenant, so that the new file overlaps
// every other that has rows of theirs, and with a key that is there, so that there is a new file in any case. What was written
// before the sequence number that it gives is in that file or in older ones.
func (e *engine) flushWith(ctx context.Context, tenants []store.Tenant) (before uint64, err error) {
	format, err := e.get(formatKey)
	if err != nil {
		return 0, err
	}
	c := &commit{mark: e.mark(store.Tenant{}), writes: []write{{key: formatKey, value: format}}}
	for _, t := range tenants {
		c.writes = append(c.writes, write{key: tenantKey(t), deleted: true}, write{key: append(tenantKey(t), 0xff), deleted: true})
	}
	if err := e.submit(ctx, c); err != nil {
		return 0, err
	}
	before = e.newest.Load()
	flushed, err := e.db.AsyncFlush()
	if err != nil {
		return 0, wrap(err)
	}
	select {
	case <-flushed:
		return before, nil
	case <-ctx.Done():
		return 0, gone(ctx.Err())
	case <-e.down:
		return 0, e.failed()
	}
}

// lingering returns errLingering when a sorted file still notes a deletion that was made before a batch.
func (e *engine) lingering(ctx context.Context, span []byte, before uint64) error {
	err := e.db.ScanInternal(ctx, block.CategoryUnknown, span, after(span),
		func(key *pebble.InternalKey, _ pebble.LazyValue, _ pebble.IteratorLevel) error {
			if key.Kind() == pebble.InternalKeyKindDelete && uint64(key.SeqNum()) < before {
				return errLingering
			}
			return nil
		},
		func(_, _ []byte, seq pebble.SeqNum) error {
			if uint64(seq) < before {
				return errLingering
			}
			return nil
		}, nil, nil, nil)
	if errors.Is(err, errLingering) {
		return err
	}
	return wrap(err)
}

// awaitRemoval waits until the files of some names are gone, those apart that hold rows that are there. A manifest goes
// when two newer ones are there, for which the engine needs changes to write down.
func (e *engine) awaitRemoval(ctx context.Context, names map[string]bool) error {
	for {
		left, err := e.still(names)
		if err != nil || len(left) == 0 {
			return err
		}
		if slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "MANIFEST-") }) {
			if _, err := e.flushWith(ctx, nil); err != nil {
				return err
			}
			continue
		}
		select {
		case <-time.After(purgeLook):
		case <-ctx.Done():
			return fmt.Errorf("%w: %d files with deleted rows are still in use: %w", store.ErrUnavailable, len(left), ctx.Err())
		case <-e.down:
			return e.failed()
		}
	}
}

// still gives which files of some names are there and hold no rows that are.
func (e *engine) still(names map[string]bool) (left []string, err error) {
	now, err := e.fileNames(".sst", ".log", "MANIFEST-")
	if err != nil {
		return nil, err
	}
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, wrap(err)
	}
	live := make(map[uint64]bool)
	for _, table := range slices.Concat(levels...) {
		live[uint64(table.BackingSSTNum)] = true
	}
	for name := range now {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, ".sst"), 10, 64)
		if names[name] && (err != nil || !live[number]) {
			left = append(left, name)
		}
	}
	return left, nil
}

// fileNames lists the database's files whose names begin or end in one of some ways.
func (e *engine) fileNames(affixes ...string) (map[string]bool, error) {
	list, err := e.fs.List(e.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	names := make(map[string]bool)
	for _, name := range list {
		for _, affix := range affixes {
			if filepath.Ext(name) == affix || strings.HasPrefix(name, affix) {
				names[name] = true
			}
		}
	}
	return names, nil
}
