package s3

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/domicile-project/domicile/residency/store/storetest"
)

// BenchmarkS3 puts and gets objects of a chunk's size, by this package and by the
// client library as it comes, against the same server.
func BenchmarkS3(b *testing.B) {
	server := storetest.StartS3(b)
	blobs := openTest(b, options(server))
	direct, err := minio.New(server.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: server.Region,
	})
	if err != nil {
		b.Fatal(err)
	}
	data := pattern(4 << 20)
	puts := map[string]func(name string) error{
		"s3": func(name string) error { return put(b.Context(), blobs, name, data) },
		"direct": func(name string) error {
			_, err := direct.PutObject(b.Context(), server.Bucket, name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{})
			return err
		},
	}
	for _, by := range []string{"s3", "direct"} {
		n := 0
		b.Run("put/by="+by, func(b *testing.B) {
			n++
			atOnce(b, int64(len(data)), func(i int) error { return puts[by](fmt.Sprintf("%s/%d/%d", by, n, i)) })
		})
	}
	for _, by := range []string{"s3", "direct"} {
		if err := puts[by](by + "/kept"); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("get/by=s3", func(b *testing.B) {
		atOnce(b, int64(len(data)), func(int) error {
			r, err := blobs.Open(b.Context(), "s3/kept", 0, int64(len(data)))
			return drain(r, err)
		})
	})
	b.Run("get/by=direct", func(b *testing.B) {
		atOnce(b, int64(len(data)), func(int) error {
			r, err := direct.GetObject(b.Context(), server.Bucket, "direct/kept", minio.GetObjectOptions{})
			return drain(r, err)
		})
	})
}

func drain(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
	return err
}

// atOnce does something by four callers, as a stream of a drive does.
func atOnce(b *testing.B, size int64, do func(int) error) {
	b.SetBytes(size)
	b.ReportAllocs()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
}
