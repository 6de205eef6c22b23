package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// lossy is a blob store that gives back other bytes than it was given, or none.
type lossy struct {
	store.Blobs
	open func(ctx context.Context, right []byte) ([]byte, error) // nil = right ones
}

func (l *lossy) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := l.Blobs.Open(ctx, name, offset, length)
	if err != nil || l.open == nil {
		return r, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil {
		b, err = l.open(ctx, b)
	}
	return io.NopCloser(bytes.NewReader(b)), err
}

// A log that is damaged is told from one that does not answer, and both from a caller that gave up.
func TestWhyALogCouldNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := &lossy{}
		w := newWorld(t, signed, func(c *Config) {
			cl := &c.Regions[0].Clusters[0]
			blobs.Blobs, cl.Blobs = cl.Blobs, blobs
		})
		w.background()
		w.tenant("alpen", ch)
		_, first, err := w.put(ch, "alpen", aRecord("anna", "r"), nil)
		w.ok(err)
		for i := range 300 { // so that its tile is full, and a blob
			_, _, err := w.put(ch, "alpen", aRecord("anna", fmt.Sprintf("r%d", i)), nil)
			w.ok(err)
		}
		time.Sleep(2 * logEvery)

		receipt := func(ctx context.Context) error {
			_, err := w.g.GetReceipt(ctx, as(ch, "GetReceipt", residency.Govern, residency.PersonalInformation), "alpen", first.Decision.ID)
			return err
		}
		export := func(ctx context.Context) error {
			c := as(ch, "ExportLog", residency.Govern, residency.AccountData)
			c.Caller.SeesAll = true
			return w.g.ExportLog(ctx, c, ExportLog{Region: "ch"}, func(string, []byte) error { return nil })
		}
		until := func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		for _, c := range []struct {
			name    string
			open    func(context.Context, []byte) ([]byte, error)
			cancel  bool
			receipt residency.Kind
			export  residency.Kind // which hands tiles over as they are
		}{
			{"right", nil, false, residency.OK, residency.OK},
			{"another hash", func(_ context.Context, b []byte) ([]byte, error) { b[40] ^= 1; return b, nil }, false, residency.IntegrityFailure, residency.OK},
			{"cut short", func(_ context.Context, b []byte) ([]byte, error) { return b[:64], nil }, false, residency.IntegrityFailure, residency.IntegrityFailure},
			{"gone", func(context.Context, []byte) ([]byte, error) { return nil, fmt.Errorf("%w: a tile", store.ErrNotFound) }, false, residency.IntegrityFailure, residency.IntegrityFailure},
			{"damaged", func(context.Context, []byte) ([]byte, error) { return nil, store.ErrCorrupt }, false, residency.IntegrityFailure, residency.IntegrityFailure},
			{"no answer", func(context.Context, []byte) ([]byte, error) { return nil, store.ErrUnavailable }, false, residency.AuditUnavailable, residency.AuditUnavailable},
			{"cancelled", until, true, residency.Canceled, residency.Canceled},
			{"too late", until, false, residency.Internal, residency.Internal},
		} {
			blobs.open = c.open
			for name, call := range map[string]struct {
				run  func(context.Context) error
				want residency.Kind
			}{"GetReceipt": {receipt, c.receipt}, "ExportLog": {export, c.export}} {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				if c.cancel {
					time.AfterFunc(time.Second, cancel)
				}
				err := call.run(ctx)
				cancel()
				if residency.KindOf(err) != call.want {
					t.Errorf("%s of a log whose tile is %s: %v, want %v", name, c.name, err, call.want)
				}
				if c.name == "too late" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v is no deadline", name, err)
				}
			}
		}
	})
}

// What ends an export on its receiver's side is told as it is: it says nothing about the log.
func TestAnExportEndsAsItsReceiverSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.background()
		w.tenant("alpen", ch)
		time.Sleep(2 * logEvery)
		for _, want := range []error{
			errors.New("the caller was idle"),
			&residency.Error{Op: "rpc.gate", Kind: residency.CallerNotPermitted},
			fmt.Errorf("%w: the connection went", context.Canceled),
		} {
			c := as(ch, "ExportLog", residency.Govern, residency.AccountData)
			c.Caller.SeesAll = true
			if err := w.g.ExportLog(t.Context(), c, ExportLog{Region: "ch"}, func(string, []byte) error { return want }); err != want { //nolint:errorlint // the very error
				t.Errorf("got %v, want %v", err, want)
			}
		}
	})
}
