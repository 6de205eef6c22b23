package seal

import (
	"sync"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/tlv"
)

// form is what a binding is of, so that bytes sealed as one thing never open
// as another. The numbers are part of the format and never reused.
type form uint8

const (
	formTenantKey    form = 1
	formSubjectKey   form = 2
	formDriveKey     form = 3
	formFact         form = 4
	formPersonal     form = 5
	formSegmentInner form = 6
	formSegmentOuter form = 7
	formDriveRoot    form = 8
)

// bindingVersion is the version byte of bindings.
const bindingVersion = 1

// binding is where sealed bytes belong: their associated data.
type binding struct {
	form    form
	region  residency.Region
	tenant  *store.Tenant
	kind    store.Kind
	id      store.ID
	version uint64
	chunk   string
	index   uint32
}

// append encodes the binding as FORMAT.md says; distinct bindings have distinct encodings.
func (b *binding) append(dst []byte) []byte {
	e := tlv.NewEncoder(dst, bindingVersion)
	e.Uint(1, uint64(b.form))
	e.String(2, string(b.region))
	e.Bytes(3, b.tenant[:])
	e.Uint(4, uint64(b.kind))
	e.String(5, string(b.id))
	e.Uint(6, b.version)
	e.String(7, b.chunk)
	e.Uint(8, uint64(b.index))
	return e.Encoded()
}

// bindings holds buffers for encoded bindings: 512 bytes hold any with a chunk
// name of 200 and an id of 64.
var bindings = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}
