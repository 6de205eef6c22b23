package gateway

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// TestDrivesInABucket writes and reads a drive whose chunks are in a bucket: what
// is there is sealed; it is unavailable while the server is, and nothing is lost.
func TestDrivesInABucket(t *testing.T) {
	server := storetest.StartS3(t)
	blobs, err := s3.Open(t.Context(), s3.Options{
		Endpoint: server.Endpoint, Bucket: server.Bucket, Region: server.Region, Insecure: true,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	w := newWorld(t, func(c *Config) { c.Regions[0].Clusters[0].Blobs = blobs })
	w.tenant("alpen", ch)
	w.drive("alpen", "disk", 64<<20)
	data := bytes.Repeat([]byte("canary in a bucket "), 600_000) // in three chunks
	const offset = chunkSize - 1000
	_, err = w.write(ch, "alpen", "disk", offset, data)
	w.ok(err)
	check := func(data []byte) {
		t.Helper()
		got, err := w.read(ch, "alpen", "disk", offset-5, int64(len(data))+10)
		w.ok(err)
		if want := append(append(make([]byte, 5), data...), make([]byte, 5)...); !bytes.Equal(got, want) {
			t.Fatalf("the drive reads back other bytes than were written: %d of %d", len(got), len(want))
		}
	}
	check(data)
	copy(data[100:], "changed in place")
	_, err = w.write(ch, "alpen", "disk", offset+100, data[100:116])
	w.ok(err)
	check(data)
	err = filepath.WalkDir(server.Folder(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		stored, err := os.ReadFile(path)
		if bytes.Contains(stored, []byte("canary")) || strings.Contains(path, "alpen") {
			t.Errorf("%s has plaintext, or its name has", path)
		}
		return err
	})
	w.ok(err)

	server.Stop()
	_, err = w.read(ch, "alpen", "disk", offset, 10)
	w.wantKind(err, residency.RegionUnavailable)
	_, err = w.write(ch, "alpen", "disk", offset, []byte("lost"))
	w.wantKind(err, residency.RegionUnavailable)
	server.Start()
	check(data)
	_, err = w.write(ch, "alpen", "disk", offset, []byte("kept"))
	w.ok(err)
	check(append([]byte("kept"), data[4:]...))

	for _, name := range listed(t, blobs) {
		damage(t, filepath.Join(server.Folder(), "objects"), name)
	}
	_, err = w.read(ch, "alpen", "disk", offset, 10)
	w.wantKind(err, residency.IntegrityFailure)
}

func listed(t *testing.T, b store.Blobs) (names []string) {
	t.Helper()
	if err := b.List(t.Context(), "", func(n string) bool { names = append(names, n); return true }); err != nil {
		t.Fatal(err)
	}
	if len(names) < 3 {
		t.Fatalf("%d objects: the drive's chunks are not in the bucket", len(names))
	}
	return names
}

// damage changes a byte in each segment of a stored object.
func damage(t *testing.T, folder, name string) {
	t.Helper()
	path := filepath.Join(folder, strings.ReplaceAll(name, "/", "."))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(1000); at < info.Size(); at += sealedSegment {
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
}
