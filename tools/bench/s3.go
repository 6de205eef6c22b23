package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/domicile-project/domicile/tools/bench/bare"
)

// s3 measures the drive streams with their chunks in a bucket, against the S3
// client alone, which moves objects of a chunk's size to and from the same server, and against a
// gRPC server that does the same for its callers.
func (b *bench) s3(ctx context.Context) error {
	s := shape{Tenants: 1, Subjects: 1, Records: 1, Drives: 4, DriveBytes: 64 << 20}
	if b.quick {
		s.DriveBytes = 8 << 20
	}
	server, location, err := b.startS3(ctx)
	if err != nil {
		return err
	}
	defer server.kill()
	g, err := b.onS3(ctx, location, s)
	if err != nil {
		return err
	}
	defer g.stop()
	rivals, err := b.onBucket(ctx, location, s)
	defer func() {
		for _, r := range rivals {
			r.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, work := range []string{"ReadDrive", "WriteDrive"} {
		for _, callers := range []int{1, 4} {
			if err := b.compare(ctx, line{Work: work, Callers: callers}, g, rivals, throughput, cpuPerByte); err != nil {
				return err
			}
		}
	}
	return nil
}

// onBucket starts the programs that a gateway on a bucket is compared with.
func (b *bench) onBucket(ctx context.Context, at s3Location, s shape) (rivals []rival, err error) {
	alone, err := startAlone(ctx, "-bucket", at.direct())
	if err != nil {
		return nil, err
	}
	rivals = append(rivals, rival{contender{server: alone, shape: s, prefix: "bare "}, "minio-go alone, on S3", "rate ≥ 0.8"})
	if _, err := alone.measure(ctx, command{Work: "bare make drives", Callers: 4, Shape: s}); err != nil {
		return rivals, err
	}
	peer, err := startSecurePeer(ctx, b.bin, filepath.Join(b.dir, "s3"), "-bucket", at.direct())
	if err != nil {
		return rivals, err
	}
	rivals = append(rivals, rival{contender{server: peer, shape: s}, "bare gRPC over mutual TLS with minio-go, on S3", "rate ≥ 0.8"})
	_, err = peer.measure(ctx, command{Work: "fill drives", Callers: 4, Shape: s})
	return rivals, err
}

// s3Location is a bucket on a server of the benchmark's own.
type s3Location struct{ address, access, secret, region, bucket string }

func (l s3Location) direct() string {
	return fmt.Sprintf("http://%s:%s@%s/%s?region=%s", l.access, l.secret, l.address, l.bucket, l.region)
}

// startS3 starts an S3 server that keeps objects beside the gateway's data.
func (b *bench) startS3(ctx context.Context) (*process, s3Location, error) {
	at := s3Location{access: "bench", secret: "bench-secret", region: "ch", bucket: "objects"}
	root := filepath.Join(b.dir, "s3-server")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, at, err
	}
	program := filepath.Join(b.tools, "versitygw")
	if _, err := os.Stat(program); err != nil {
		return nil, at, fmt.Errorf("no %s: `make test-tools` installs it, -tools says where it is", program)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, at, err
	}
	at.address = address
	p, err := start(ctx, program, "--quiet", "--keep-alive", "--access", at.access, "--secret", at.secret,
		"--region", at.region, "--port", address, "posix", root)
	if err != nil {
		return nil, at, err
	}
	go drain(p.out)
	err = listening(ctx, address)
	if err == nil {
		var bucket *bare.Bucket
		if bucket, err = bare.OpenBucket(at.direct()); err == nil {
			err = bucket.Make(ctx)
		}
	}
	if err != nil {
		p.kill()
		return nil, at, fmt.Errorf("the S3 server: %w", err)
	}
	return p, at, nil
}

// onS3 starts a gateway whose objects are in a bucket, and makes its drives.
func (b *bench) onS3(ctx context.Context, at s3Location, s shape) (contender, error) {
	i, err := b.install(ctx, b.bin, "s3")
	if err != nil {
		return contender{}, err
	}
	credentials := filepath.Join(i.data, "credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", at.access, at.secret)
	if err := os.WriteFile(credentials, []byte(text), 0o600); err != nil {
		return contender{}, err
	}
	if credentials, err = filepath.Abs(credentials); err != nil {
		return contender{}, err
	}
	i.drop("us")
	_, cluster := i.region("ch")
	cluster["blobs"] = fmt.Sprintf("s3://%s/%s?region=%s&tls=off&credentials=%s", at.address, at.bucket, at.region, credentials)
	if err := i.write(ctx); err != nil {
		return contender{}, err
	}
	g, err := i.start(ctx)
	if err != nil {
		return contender{}, err
	}
	c := contender{server: g, shape: s}
	if err := c.fill(ctx); err != nil {
		g.stop()
		return contender{}, err
	}
	return c, nil
}
