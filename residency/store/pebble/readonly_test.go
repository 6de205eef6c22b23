package pebble

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// digests gives the digest of every file under a folder.
func digests(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	out := make(map[string][32]byte)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[path] = [32]byte{}
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAClusterThatIsRead(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCluster(dir, Options{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	scope := store.Scope{Tenant: store.Tenant{1}}
	task := store.Task{At: time.Unix(1, 0), Tenant: scope.Tenant, Kind: store.TaskCloseStream, ID: "task"}
	err = c.Update(t.Context(), scope, func(tx store.Tx) error {
		return errors.Join(tx.Put(store.KindTenant, "", []byte("row")), tx.Schedule(task),
			tx.Append("index", func(uint64) []byte { return []byte("entry") }))
	})
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	before := digests(t, dir)
	if c, err = ReadCluster(dir, Options{CacheBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCluster(dir, Options{}); err == nil {
		t.Error("it was opened twice")
	}
	err = c.View(t.Context(), scope, func(tx store.Tx) error {
		row, err := tx.Get(store.KindTenant, "")
		if err == nil && string(row) != "row" {
			t.Errorf("the row is %q", row)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if last, err := c.Last(t.Context()); err != nil || last != 1 {
		t.Errorf("the newest entry is at %d, %v", last, err)
	}
	err = c.Update(t.Context(), scope, func(tx store.Tx) error { return tx.Put(store.KindTenant, "", nil) })
	if !errors.Is(err, errReadOnlyStore) {
		t.Errorf("a write gave %v", err)
	}
	if _, err := c.Lead(t.Context(), "holder", time.Second); !errors.Is(err, errReadOnlyStore) {
		t.Errorf("leading gave %v", err)
	}
	if err := c.View(t.Context(), scope, func(store.Tx) error { return nil }); err != nil {
		t.Errorf("after a refused write: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if after := digests(t, dir); !maps.Equal(before, after) {
		t.Errorf("the files were changed: %d before, %d after", len(before), len(after))
	}
}

func TestKeysThatAreRead(t *testing.T) {
	dir := t.TempDir()
	k, err := OpenKeys(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Create(t.Context(), "key", []byte("wrapped")); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	before := digests(t, dir)
	if k, err = ReadKeys(dir, nil); err != nil {
		t.Fatal(err)
	}
	found := 0
	if err := k.List(t.Context(), "", func(string, []byte) bool { found++; return true }); err != nil || found != 1 {
		t.Errorf("%d keys, %v", found, err)
	}
	if err := k.Destroy(t.Context(), "key"); !errors.Is(err, errReadOnlyStore) {
		t.Errorf("destroying gave %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, digests(t, dir)) {
		t.Error("the files were changed")
	}
}

func TestWhatIsNotThereIsNotMade(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "rows")
	if _, err := ReadCluster(dir, Options{}); err == nil {
		t.Error("a cluster that is not there was opened")
	}
	if _, err := ReadDirectory(dir, nil); err == nil {
		t.Error("a directory that is not there was opened")
	}
	if _, err := ReadKeys(dir, nil); err == nil {
		t.Error("a key store that is not there was opened")
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 0 {
		t.Errorf("it made %v", entries)
	}
}
