package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// failing is what every operation of the stores below comes to, after a time.
type failing struct {
	takes time.Duration
	err   error
}

func (f failing) work() error {
	time.Sleep(f.takes)
	return f.err
}

type failingRows struct {
	rows
	failing
}

func (f failingRows) Update(_ context.Context, _ store.Scope, fn func(store.Tx) error) error {
	if err := fn(nil); err != nil {
		return err
	}
	return f.work()
}

type failingBlobs struct {
	store.Blobs
	failing
}

func (f failingBlobs) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, f.work()
}

func (f failingBlobs) Create(context.Context, string) (store.BlobWriter, error) {
	return failingWriter{failing: f.failing}, nil
}

type failingWriter struct {
	store.BlobWriter
	failing
}

func (f failingWriter) Commit() error { return f.work() }

type failingKeys struct {
	store.Keys
	failing
}

func (f failingKeys) Get(context.Context, string) ([]byte, error) { return nil, f.work() }

type failingDirectory struct {
	store.Directory
	failing
}

func (f failingDirectory) Find(context.Context, store.Tenant) (store.Placement, error) {
	return store.Placement{}, f.work()
}

// operations are one of every store, by the operation's name.
func (f failing) operations(m *storeMetrics) map[string]func(context.Context) error {
	r := &countedRows{failingRows{failing: f}, m.fails("ch", "rows")}
	blobs := &timedBlobs{failingBlobs{failing: f}, m.told("ch", "blobs")}
	keys := &timedKeys{failingKeys{failing: f}, m.told("ch", "keys")}
	directory := &timedDirectory{failingDirectory{failing: f}, m.told("", "directory")}
	return map[string]func(context.Context) error{
		"update": func(ctx context.Context) error {
			return r.Update(ctx, store.Scope{}, func(store.Tx) error { return nil })
		},
		"open": func(ctx context.Context) error { _, err := blobs.Open(ctx, "x", 0, 1); return err },
		"commit": func(ctx context.Context) error {
			w, err := blobs.Create(ctx, "x")
			return errors.Join(err, w.Commit())
		},
		"get":  func(ctx context.Context) error { _, err := keys.Get(ctx, "x"); return err },
		"find": func(ctx context.Context) error { _, err := directory.Find(ctx, store.Tenant{}); return err },
	}
}

// failures adds up the failures of an operation.
func failures(t *testing.T, reg *prometheus.Registry, operation string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "residency_store_errors_total" && l.GetName() == "operation" && l.GetValue() == operation {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// What fails for the store's sake counts, of every store, and what fails for another's does not.
func TestStoreFailuresAreCounted(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name     string
		err      error
		takes    time.Duration
		deadline time.Duration
		ctx      context.Context //nolint:containedctx // of a table
		want     float64
	}{
		{"nothing fails", nil, 0, 0, t.Context(), 0},
		{"a full disk", syscall.ENOSPC, 0, 0, t.Context(), 1},
		{"no answer", fmt.Errorf("x: %w", store.ErrUnavailable), 0, 0, t.Context(), 1},
		{"damage", fmt.Errorf("x: %w", store.ErrCorrupt), 0, 0, t.Context(), 1},
		{"not there", fmt.Errorf("x: %w", store.ErrNotFound), 0, 0, t.Context(), 0},
		{"there already", fmt.Errorf("x: %w", store.ErrExists), 0, 0, t.Context(), 0},
		{"changed meanwhile", fmt.Errorf("x: %w", store.ErrConflict), 0, 0, t.Context(), 0},
		{"another leads", fmt.Errorf("x: %w", store.ErrDeposed), 0, 0, t.Context(), 0},
		{"the caller left", fmt.Errorf("x: %w", store.ErrUnavailable), 0, 0, gone, 0},
		{"a deadline in haste", store.ErrUnavailable, 100 * time.Millisecond, 50 * time.Millisecond, t.Context(), 0},
		{"a deadline after a while", store.ErrUnavailable, 1600 * time.Millisecond, 1500 * time.Millisecond, t.Context(), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				f := failing{takes: tt.takes, err: tt.err}
				for operation, do := range f.operations(newStoreMetrics(reg)) {
					ctx, cancel := tt.ctx, context.CancelFunc(func() {})
					if tt.deadline > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), tt.deadline)
					}
					if err := do(ctx); !errors.Is(err, tt.err) {
						t.Errorf("%s gives %v, want %v", operation, err, tt.err)
					}
					cancel()
					if got := failures(t, reg, operation); got != tt.want {
						t.Errorf("%s counts %v failures, want %v", operation, got, tt.want)
					}
				}
			})
		})
	}
}

// What the body of a transaction gives back is an answer, unless it is what the rows themselves gave it.
func TestAnswersAreNoFailuresOfTheRows(t *testing.T) {
	for _, tt := range []struct {
		name string
		own  error
		want float64
	}{
		{"a refusal", residency.E("x", residency.BadRequest, nil), 0},
		{"an answer", residency.E("x", residency.NotFound, store.ErrNotFound), 0},
		{"keys that do not answer", residency.E("x", residency.KeysUnavailable, store.ErrUnavailable), 0},
		{"rows that do not answer", residency.E("x", residency.RegionUnavailable, store.ErrUnavailable), 1},
		{"rows that are damaged", fmt.Errorf("x: %w", store.ErrCorrupt), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			r := &countedRows{failingRows{}, newStoreMetrics(reg).fails("ch", "rows", "update")}
			err := r.Update(t.Context(), store.Scope{}, func(store.Tx) error { return tt.own })
			if !errors.Is(err, tt.own) {
				t.Errorf("got %v, want %v", err, tt.own)
			}
			if got := failures(t, reg, "update"); got != tt.want {
				t.Errorf("%v failures, want %v", got, tt.want)
			}
		})
	}
}
