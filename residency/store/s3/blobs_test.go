package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// options says how a test's server is reached.
func options(s *storetest.S3Server) Options {
	return Options{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region, Insecure: true,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey,
	}
}

func openTest(t testing.TB, o Options) *Blobs {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func put(ctx context.Context, b *Blobs, name string, data []byte) error {
	w, err := b.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

func get(ctx context.Context, b *Blobs, name string, length int64) ([]byte, error) {
	r, err := b.Open(ctx, name, 0, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func TestBlobs(t *testing.T) {
	server := storetest.StartS3(t)
	n := 0
	storetest.RunBlobs(t, func(t *testing.T) store.Blobs {
		o := options(server)
		o.page = 4
		o.Prefix = fmt.Sprintf("test/%d", n)
		n++
		return openTest(t, o)
	})
}
