package main

import (
	"context"
	"io"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// told is what is told of an operation of a store when it is over: how long it took, and whether it failed for the store's sake.
type told func(operation string, took time.Duration, failed bool)

// over tells of an operation that began at a time.
func (t told) over(ctx context.Context, operation string, began time.Time, err error) {
	t(operation, time.Since(began), failed(ctx, began, err))
}

// timedBlobs measures what is done with a cluster's objects. How long reading
// takes once an object is open is not counted: that goes at the caller's pace.
type timedBlobs struct {
	store.Blobs
	told told
}

var _ store.Blobs = (*timedBlobs)(nil)

// Create begins an object.
func (b *timedBlobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	began := time.Now()
	w, err := b.Blobs.Create(ctx, name)
	if err != nil {
		b.told.over(ctx, "commit", began, err)
		return nil, err
	}
	return &timedWriter{w, b, ctx}, nil
}

// Open opens a range of an object.
func (b *timedBlobs) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	began := time.Now()
	r, err := b.Blobs.Open(ctx, name, offset, length)
	b.told.over(ctx, "open", began, err)
	return r, err
}

// Delete removes an object.
func (b *timedBlobs) Delete(ctx context.Context, name string) error {
	began := time.Now()
	err := b.Blobs.Delete(ctx, name)
	b.told.over(ctx, "delete", began, err)
	return err
}

// timedWriter measures how long an object takes to become durable.
type timedWriter struct {
	store.BlobWriter
	blobs *timedBlobs
	ctx   context.Context //nolint:containedctx // of whoever writes the object
}

// Commit makes the object durable.
func (w *timedWriter) Commit() error {
	began := time.Now()
	err := w.BlobWriter.Commit()
	w.blobs.told.over(w.ctx, "commit", began, err)
	return err
}

// timedKeys measures what is done with a region's wrapped keys.
type timedKeys struct {
	store.Keys
	told told
}

var _ store.Keys = (*timedKeys)(nil)

// Get reads a wrapped key.
func (k *timedKeys) Get(ctx context.Context, name string) ([]byte, error) {
	began := time.Now()
	wrapped, err := k.Keys.Get(ctx, name)
	k.told.over(ctx, "get", began, err)
	return wrapped, err
}

// Create stores a wrapped key.
func (k *timedKeys) Create(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	began := time.Now()
	there, err := k.Keys.Create(ctx, name, wrapped)
	k.told.over(ctx, "create", began, err)
	return there, err
}

// Destroy removes keys.
func (k *timedKeys) Destroy(ctx context.Context, prefix string) error {
	began := time.Now()
	err := k.Keys.Destroy(ctx, prefix)
	k.told.over(ctx, "destroy", began, err)
	return err
}

// timedDirectory measures how long it takes to find out where tenants live, and to say so.
type timedDirectory struct {
	store.Directory
	told told
}

var _ store.Directory = (*timedDirectory)(nil)

// Find gives a tenant's placement.
func (d *timedDirectory) Find(ctx context.Context, t store.Tenant) (store.Placement, error) {
	began := time.Now()
	p, err := d.Directory.Find(ctx, t)
	d.told.over(ctx, "find", began, err)
	return p, err
}

// Reserve records a placement.
func (d *timedDirectory) Reserve(ctx context.Context, t store.Tenant, p store.Placement) (store.Placement, error) {
	began := time.Now()
	there, err := d.Directory.Reserve(ctx, t, p)
	d.told.over(ctx, "reserve", began, err)
	return there, err
}

// Update replaces a placement.
func (d *timedDirectory) Update(ctx context.Context, t store.Tenant, old, new store.Placement) error {
	began := time.Now()
	err := d.Directory.Update(ctx, t, old, new)
	d.told.over(ctx, "update", began, err)
	return err
}
