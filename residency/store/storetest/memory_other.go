package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// memoryBlobs is immutable objects.
type memoryBlobs struct {
	faults  *faults
	mu      sync.Mutex
	objects map[string][]byte
}

var (
	_ store.Blobs      = (*memoryBlobs)(nil)
	_ store.BlobWriter = (*memoryBlobWriter)(nil)
)

// checkName refuses what store.Blobs does not allow as a name.
func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 200
	for segment := range strings.SplitSeq(name, "/") {
		ok = ok && segment != ""
	}
	for _, c := range []byte(name) {
		ok = ok && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '/' || c == '-')
	}
	if !ok {
		return errors.New("store: an object's name has 1 to 200 bytes of [a-z0-9/-] and no empty segment")
	}
	return nil
}

func (b *memoryBlobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := b.faults.read(ctx, OpBlobCreate); err != nil {
		return nil, err
	}
	return &memoryBlobWriter{ctx: ctx, blobs: b, name: name}, nil
}

func (b *memoryBlobs) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 {
		return nil, errors.New("store: an object's range must not be negative")
	}
	if err := b.faults.read(ctx, OpBlobOpen); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[name]
	if !ok {
		return nil, fmt.Errorf("%w: object", store.ErrNotFound)
	}
	data = data[min(offset, int64(len(data))):]
	return &memoryBlobReader{ctx: ctx, faults: b.faults, data: data, left: length}, nil
}

func (b *memoryBlobs) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return b.faults.write(ctx, OpBlobDelete, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.objects, name)
		return nil
	})
}

func (b *memoryBlobs) List(ctx context.Context, prefix string, yield func(string) bool) error {
	if err := b.faults.read(ctx, OpBlobList); err != nil {
		return err
	}
	b.mu.Lock()
	names := slices.Sorted(maps.Keys(b.objects))
	b.mu.Unlock()
	for _, n := range names {
		if strings.HasPrefix(n, prefix) && !yield(n) {
			return nil
		}
	}
	return nil
}

type memoryBlobWriter struct {
	ctx   context.Context
	blobs *memoryBlobs
	name  string
	buf   bytes.Buffer
	over  bool
}

func (w *memoryBlobWriter) Write(p []byte) (int, error) {
	if w.over {
		return 0, fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	if err := w.blobs.faults.read(w.ctx, OpBlobWrite); err != nil {
		return 0, err
	}
	return w.buf.Write(p)
}

func (w *memoryBlobWriter) Commit() error {
	if w.over {
		return fmt.Errorf("%w: the object is finished", store.ErrClosed)
	}
	w.over = true
	return w.blobs.faults.write(w.ctx, OpBlobCommit, func() error {
		b := w.blobs
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.objects[w.name]; ok {
			return fmt.Errorf("%w: object", store.ErrExists)
		}
		b.objects[w.name] = w.buf.Bytes()
		return nil
	})
}

func (w *memoryBlobWriter) Abort() { w.over = true }

type memoryBlobReader struct {
	ctx    context.Context
	faults *faults
	data   []byte // what the object still has
	left   int64  // what was asked for
	closed bool
}

func (r *memoryBlobReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fmt.Errorf("%w: the object is closed", store.ErrClosed)
	}
	if err := r.faults.read(r.ctx, OpBlobRead); err != nil {
		return 0, err
	}
	switch {
	case r.left == 0:
		return 0, io.EOF
	case len(r.data) == 0:
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.data)
	r.data, r.left = r.data[n:], r.left-int64(n)
	return n, nil
}

func (r *memoryBlobReader) Close() error {
	r.closed = true
	return nil
}

// memoryDirectory is where tenants live.
type memoryDirectory struct {
	faults     *faults
	mu         sync.Mutex
	placements map[store.Tenant]store.Placement
}

var _ store.Directory = (*memoryDirectory)(nil)

func (d *memoryDirectory) Find(ctx context.Context, t store.Tenant) (store.Placement, error) {
	if err := d.faults.read(ctx, OpDirectoryFind); err != nil {
		return store.Placement{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.placements[t]
	if !ok {
		return store.Placement{}, fmt.Errorf("%w: placement", store.ErrNotFound)
	}
	return p, nil
}

func (d *memoryDirectory) Reserve(ctx context.Context, t store.Tenant, p store.Placement) (store.Placement, error) {
	p.Time = p.Time.Round(0).UTC()
	err := d.faults.write(ctx, OpDirectoryReserve, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if there, ok := d.placements[t]; ok {
			p = there
			return fmt.Errorf("%w: placement", store.ErrExists)
		}
		d.placements[t] = p
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return store.Placement{}, err
	}
	return p, err
}

func (d *memoryDirectory) Update(ctx context.Context, t store.Tenant, old, new store.Placement) error {
	old.Time, new.Time = old.Time.Round(0).UTC(), new.Time.Round(0).UTC()
	return d.faults.write(ctx, OpDirectoryUpdate, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if there, ok := d.placements[t]; !ok || there != old {
			return fmt.Errorf("%w: placement", store.ErrConflict)
		}
		d.placements[t] = new
		return nil
	})
}

func (d *memoryDirectory) List(ctx context.Context, r residency.Region, after store.Tenant, yield func(store.Tenant, store.Placement) bool) error {
	if err := d.faults.read(ctx, OpDirectoryList); err != nil {
		return err
	}
	d.mu.Lock()
	all := maps.Clone(d.placements)
	d.mu.Unlock()
	compare := func(a, b store.Tenant) int { return bytes.Compare(a[:], b[:]) }
	for _, t := range slices.SortedFunc(maps.Keys(all), compare) {
		if all[t].Region == r && compare(t, after) > 0 && !yield(t, all[t]) {
			return nil
		}
	}
	return nil
}

// memoryKeys is wrapped keys.
type memoryKeys struct {
	faults  *faults
	mu      sync.Mutex
	wrapped map[string][]byte
}

var _ store.Keys = (*memoryKeys)(nil)

// maxKeyName is the longest name of a key, in bytes (store.Keys).
const maxKeyName = 64

func checkKeyName(name string) error {
	if len(name) > maxKeyName {
		return fmt.Errorf("store: a key's name has at most %d bytes, not %d", maxKeyName, len(name))
	}
	return nil
}

func (k *memoryKeys) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if err := k.faults.read(ctx, OpKeysGet); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w, ok := k.wrapped[name]
	if !ok {
		return nil, fmt.Errorf("%w: key", store.ErrNotFound)
	}
	return bytes.Clone(w), nil
}

func (k *memoryKeys) Create(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	there := append([]byte{}, wrapped...)
	err := k.faults.write(ctx, OpKeysCreate, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if w, ok := k.wrapped[name]; ok {
			there = bytes.Clone(w)
			return fmt.Errorf("%w: key", store.ErrExists)
		}
		k.wrapped[name] = bytes.Clone(there)
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return nil, err
	}
	return there, err
}

func (k *memoryKeys) Destroy(ctx context.Context, prefix string) error {
	if err := checkKeyName(prefix); err != nil {
		return err
	}
	return k.faults.write(ctx, OpKeysDestroy, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		for name := range k.wrapped {
			if strings.HasPrefix(name, prefix) {
				delete(k.wrapped, name)
			}
		}
		return nil
	})
}

func (k *memoryKeys) List(ctx context.Context, prefix string, yield func(string, []byte) bool) error {
	if err := checkKeyName(prefix); err != nil {
		return err
	}
	if err := k.faults.read(ctx, OpKeysList); err != nil {
		return err
	}
	k.mu.Lock()
	all := maps.Clone(k.wrapped)
	k.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, prefix) && !yield(name, bytes.Clone(all[name])) {
			return nil
		}
	}
	return nil
}

func (k *memoryKeys) Ping(ctx context.Context) error { return k.faults.read(ctx, OpKeysPing) }
