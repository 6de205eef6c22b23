package bare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Bucket keeps objects by the client library as it comes.
type Bucket struct {
	client *minio.Client
	bucket string
}

// OpenBucket reads a location of the form http://ACCESS:SECRET@HOST:PORT/BUCKET?region=NAME.
func OpenBucket(location string) (*Bucket, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, errors.New("a bucket wants http://ACCESS:SECRET@HOST:PORT/BUCKET?region=NAME")
	}
	secret, _ := u.User.Password()
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Region: u.Query().Get("region"),
	})
	if err != nil {
		return nil, err
	}
	return &Bucket{client, u.Path[1:]}, nil
}

// Make makes the bucket.
func (b *Bucket) Make(ctx context.Context) error {
	return b.client.MakeBucket(ctx, b.bucket, minio.MakeBucketOptions{})
}

// Open opens an object.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.client.GetObject(ctx, b.bucket, name, minio.GetObjectOptions{})
}

// Get reads a whole object by a buffer's room at a time, and tells how long it is.
func (b *Bucket) Get(ctx context.Context, name string, room []byte) (int64, error) {
	o, err := b.Open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer o.Close()
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, o, room) // Discard's own way of reading takes small pieces
}

// Put writes an object.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, b.bucket, name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{})
	return err
}

// PutAll writes objects of the same data, so many at once. name gives the name of
// each, and done is called after each, from several goroutines.
func (b *Bucket) PutAll(ctx context.Context, count, atOnce int, name func(int) string, data []byte, done func()) error {
	var group sync.WaitGroup
	failures := make([]error, atOnce)
	for worker := range atOnce {
		group.Go(func() {
			for i := worker; i < count && failures[worker] == nil; i += atOnce {
				if failures[worker] = b.Put(ctx, name(i), data); failures[worker] == nil {
					done()
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("put objects: %w", err)
	}
	return nil
}
