package s3

import (
	"context"
	"log/slog"
	"time"
)

const (
	sweepEvery = time.Hour

	// orphanAge is how old an upload is that nobody can complete any more: longer
	// than the longest stream may last, a day, by clocks that are an hour apart.
	orphanAge = 26 * time.Hour
)

// runSweep sweeps at once and then now and then, until the context ends.
func (b *Blobs) runSweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		n, err := b.sweep(ctx, time.Now().Add(-orphanAge))
		switch {
		case err != nil && ctx.Err() == nil:
			b.log.Warn("sweep of unfinished uploads stopped", slog.Any("err", err))
		case n > 0:
			b.log.Info("unfinished uploads removed", slog.Int("uploads", n))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sweep removes the uploads that were begun before a time and never completed, by
// processes that died. Objects are not touched: those that nothing refers to are the caller's.
func (b *Blobs) sweep(ctx context.Context, before time.Time) (removed int, err error) {
	key, upload := "", ""
	for {
		page, err := b.api.ListMultipartUploads(ctx, b.bucket, b.root, key, upload, "", 1000)
		if err != nil {
			return removed, failed(ctx, "list uploads", err)
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) {
				continue
			}
			if err := b.abort(ctx, u.Key, u.UploadID); err != nil {
				return removed, err
			}
			removed++
		}
		if !page.IsTruncated || page.NextKeyMarker == key && page.NextUploadIDMarker == upload {
			return removed, nil
		}
		key, upload = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
