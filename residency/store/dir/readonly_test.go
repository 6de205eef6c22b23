package dir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
)

func TestAFolderThatIsRead(t *testing.T) {
	root := filepath.Join(t.TempDir(), "blobs")
	b, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), b, "a/b", []byte("data")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(root); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a folder in use was opened: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(root, unfinishedDir, "left")
	if err := os.WriteFile(unfinished, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("it was opened for writing meanwhile: %v", err)
	}
	if got, err := get(t.Context(), &r.blobs, "a/b", 4); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Create(t.Context(), "a/c"); !errors.Is(err, errReadOnly) {
		t.Errorf("creating gave %v", err)
	}
	if err := r.Delete(t.Context(), "a/b"); !errors.Is(err, errReadOnly) {
		t.Errorf("deleting gave %v", err)
	}
	names := 0
	if err := r.List(t.Context(), "", func(string) bool { names++; return true }); err != nil || names != 1 {
		t.Errorf("%d names, %v", names, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(unfinished); err != nil {
		t.Errorf("what was unfinished is gone: %v", err)
	}
}

func TestAFolderThatIsNotThereIsNotMade(t *testing.T) {
	parent := t.TempDir()
	if _, err := Read(filepath.Join(parent, "blobs")); err == nil {
		t.Fatal("it was opened")
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 0 {
		t.Errorf("it made %v", entries)
	}
}
