package s3

import (
	"errors"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestABucketThatIsRead(t *testing.T) {
	server := storetest.StartS3(t)
	o := options(server)
	o.Prefix = "read"
	if _, err := Read(t.Context(), o); err == nil {
		t.Fatal("a bucket that no gateway has used was opened")
	}
	b := openTest(t, o)
	if err := put(t.Context(), b, "a/b", []byte("data")); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(t.Context(), r.blobs, "a/b", 4); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Open(t.Context(), "a/c", 0, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
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
}
