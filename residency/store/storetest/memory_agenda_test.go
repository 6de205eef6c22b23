package storetest

import (
	"testing"

	"github.com/domicile-project/domicile/residency/store"
)

func TestAgenda(t *testing.T) {
	RunAgenda(t, func(*testing.T) store.Rows { return NewMemory(nil).Rows() })
}
