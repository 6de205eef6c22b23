package postgres

import (
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestRows(t *testing.T) {
	s := sharedServer(t)
	storetest.RunRows(t, func(t *testing.T) (store.Rows, store.Outbox) {
		c := openAt(t, s.location(t, RoleCluster))
		return c, c
	})
}

func TestDirectory(t *testing.T) {
	s := sharedServer(t)
	storetest.RunDirectory(t, func(t *testing.T) store.Directory {
		d, err := OpenDirectory(t.Context(), s.location(t, RoleDirectory), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closer(t, d)
		return d
	})
}

func TestKeys(t *testing.T) {
	s := sharedServer(t)
	storetest.RunKeys(t, func(t *testing.T) store.Keys {
		k, err := OpenKeys(t.Context(), s.location(t, RoleKeys), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closer(t, k)
		return k
	})
}
