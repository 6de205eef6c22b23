package s3

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/domicile-project/domicile/residency/store"
)

// format is what the format object holds.
const format = "domicile s3 blobs 1\n"

// verify holds the server to what the contract needs of it, by doing it.
func (b *Blobs) verify(ctx context.Context) error {
	for _, check := range []func(context.Context) error{b.unversioned, b.checksForm, b.checkFormat, b.neverReplaces} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unversioned refuses a bucket in which deleted objects stay.
func (b *Blobs) unversioned(ctx context.Context) error {
	var versioning minio.BucketVersioningConfiguration
	err := b.try(ctx, func() (err error) {
		versioning, err = b.api.GetBucketVersioning(ctx, b.bucket)
		return err
	})
	switch {
	case is(err, minio.NotImplemented, minio.MethodNotAllowed, "VersioningNotConfigured"): // it has no versions at all
		return nil
	case err != nil:
		return failed(ctx, "look whether the bucket is versioned", err)
	case versioning.Status != "":
		return errors.New("s3: the bucket is or was versioned, so deleted objects would stay in it: use one that never was")
	}
	return nil
}

// checksForm refuses a server that takes an object whose checksum is wrong.
func (b *Blobs) checksForm(ctx context.Context) error {
	opts := minio.PutObjectOptions{
		DisableContentSha256: true,
		UserMetadata:         map[string]string{sumHeader: encodeSum(0x0badf00d)},
	}
	err := b.try(ctx, func() error {
		_, err := b.api.PutObject(ctx, b.bucket, b.root+probeKey, strings.NewReader(format), int64(len(format)), "", "", opts)
		return err
	})
	switch {
	case err == nil:
		return errors.Join(errors.New("s3: the server takes objects whose CRC-32C checksum is wrong: use one that compares it"),
			b.remove(ctx, b.root+probeKey))
	case is(err, "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", minio.InvalidArgument, "InvalidRequest"):
		return nil
	}
	return failed(ctx, "write", err)
}

// checkFormat writes the format object if there is none, and reads it.
func (b *Blobs) checkFormat(ctx context.Context) error {
	if err := b.putFormat(ctx, false); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	return b.readFormat(ctx)
}

// neverReplaces refuses a server that puts an object in place of another in spite of
// If-None-Match. Should it do so, the object is as it was.
func (b *Blobs) neverReplaces(ctx context.Context) error {
	for _, inParts := range []bool{false, true} {
		err := b.putFormat(ctx, inParts)
		if err == nil {
			return errors.New("s3: the server replaces objects in spite of If-None-Match: use one that honours it for PutObject and CompleteMultipartUpload")
		}
		if !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	return nil
}

func (b *Blobs) putFormat(ctx context.Context, inParts bool) error {
	w := b.create(ctx, b.root+formatKey)
	defer w.Abort()
	if _, err := io.WriteString(w, format); err != nil {
		return err
	}
	if inParts {
		if err := w.begin(); err != nil {
			return err
		}
	}
	return w.Commit()
}
