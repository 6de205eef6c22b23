package pebble

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// closer closes a store at a test's end and fails the test if that fails.
func closer(t testing.TB, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// memory is a small database in memory.
func memory() Options {
	return Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, memTableBytes: 256 << 10}
}

func openTest(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := OpenCluster("db", o)
	if err != nil {
		t.Fatal(err)
	}
	closer(t, c)
	return c
}

func TestRows(t *testing.T) {
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		c := openTest(t, memory())
		return c, c
	})
}

func TestRowsOnDisk(t *testing.T) {
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		c, err := OpenCluster(t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closer(t, c)
		return c, c
	})
}

func TestRowsBehindFaults(t *testing.T) {
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		c := openTest(t, memory())
		return storetest.Faulty(c), c
	})
}

func TestDirectory(t *testing.T) {
	storetest.RunDirectory(t, func(t *testing.T) store.Directory {
		d, err := OpenDirectory(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		closer(t, d)
		return d
	})
}

func TestKeys(t *testing.T) {
	storetest.RunKeys(t, func(t *testing.T) store.Keys {
		k, err := OpenKeys(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		closer(t, k)
		return k
	})
}
