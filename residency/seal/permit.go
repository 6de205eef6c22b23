package seal

import (
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// Permit is leave to seal or open one tenant's personal information or drive
// data. It is what a decision leaves behind once its audit entry is written. The zero
// Permit permits nothing.
type Permit struct {
	tenant store.Tenant
	class  residency.DataClass
	object store.ID
}

// NewPermit makes a permit for a tenant's data of a class. object narrows it
// to one subject, one drive or one row; "" is every object of the tenant. A
// permit of the zero tenant, or of a class that is neither personal information
// nor drive data, permits nothing.
//
// Only the code that decides may call it; an architecture test holds that.
func NewPermit(t store.Tenant, class residency.DataClass, object store.ID) Permit {
	return Permit{tenant: t, class: class, object: object}
}

// refuses says why the permit does not cover data of a class of a tenant that
// belongs to an object and lies in a row ("" = in none), or "".
func (p *Permit) refuses(t *store.Tenant, class residency.DataClass, object, row store.ID) string {
	switch {
	case p.class == residency.DataClassUnspecified:
		return "no permit"
	case p.class != class:
		return "the permit is for another class of data"
	case p.tenant == store.Tenant{}:
		return "the permit is for no tenant"
	case p.tenant != *t:
		return "the permit is for another tenant"
	case p.object != "" && p.object != object && (row == "" || p.object != row):
		return "the permit is for another object"
	}
	return ""
}
