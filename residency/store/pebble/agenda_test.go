package pebble

import (
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestAgenda(t *testing.T) {
	storetest.RunAgenda(t, func(t *testing.T) store.Rows {
		c, err := OpenCluster(t.TempDir(), Options{CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	})
}
