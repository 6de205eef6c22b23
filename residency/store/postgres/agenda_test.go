package postgres

import (
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func TestAgenda(t *testing.T) {
	s := sharedServer(t)
	storetest.RunAgenda(t, func(t *testing.T) store.Rows { return openAt(t, s.location(t, RoleCluster)) })
}
