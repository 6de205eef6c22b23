package main

import (
	"context"
	"io"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// timedBlobs measures what is done with a cluster's objects. How long reading
// takes once an object is open is not counted: that goes at the caller's pace.
type timedBlobs struct {
	store.Blobs
	observe func(operation string, took time.Duration)
}

var _ store.Blobs = (*timedBlobs)(nil)

// Create begins an object.
func (b *timedBlobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	w, err := b.Blobs.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &timedWriter{w, b}, nil
}

// Open opens a range of an object.
func (b *timedBlobs) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	began := time.Now()
	defer func() { b.observe("open", time.Since(began)) }()
	return b.Blobs.Open(ctx, name, offset, length)
}

// Delete removes an object.
func (b *timedBlobs) Delete(ctx context.Context, name string) error {
	began := time.Now()
	defer func() { b.observe("delete", time.Since(began)) }()
	return b.Blobs.Delete(ctx, name)
}

// timedWriter measures how long an object takes to become durable.
type timedWriter struct {
	store.BlobWriter
	blobs *timedBlobs
}

// Commit makes the object durable.
func (w *timedWriter) Commit() error {
	began := time.Now()
	defer func() { w.blobs.observe("commit", time.Since(began)) }()
	return w.BlobWriter.Commit()
}
