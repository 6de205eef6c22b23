package gateway

import (
	"maps"
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

const (
	maxFields        = 64 // that one function, or one informal request, names
	maxAttributeName = 64 // bytes, of "attributes.NAME"
)

// recordFields are the fields of a record that a function, or an informal request, may name; a single
// attribute besides as "attributes.NAME".
var recordFields = []string{
	"full_name", "postal_address", "phone_number", "email_address", "birth_date", "residence", "source_party", "attributes",
}

func checkFields(op, path string, list []string) error {
	if len(list) == 0 || len(list) > maxFields {
		return residency.Bad(op, path, "must be 1 to 64")
	}
	for i, name := range list {
		attribute, single := strings.CutPrefix(name, "attributes.")
		known := slices.Contains(recordFields, name) || single && attribute != "" && len(attribute) <= maxAttributeName
		if !known || slices.Contains(list[:i], name) {
			return residency.Bad(op, path, "must each be one of "+strings.Join(recordFields, ", ")+" or attributes.NAME, and be named once")
		}
	}
	return nil
}

// keep gives a record with the fields that leave.
func (p *plan) keep(r *Record) Record {
	out := Record{ID: r.ID, Subject: r.Subject, Controller: r.Controller}
	if p.whole {
		out = Record{
			ID: r.ID, Subject: r.Subject, Source: r.Source, Purposes: r.Purposes,
			Collected: r.Collected, Expires: r.Expires, Version: r.Version,
			Controller: r.Controller,
		}
	}
	for _, name := range p.fields {
		switch name {
		case "full_name":
			out.FullName = r.FullName
		case "postal_address":
			out.Address = r.Address
		case "phone_number":
			out.Phone = r.Phone
		case "email_address":
			out.Email = r.Email
		case "birth_date":
			out.BirthDate = r.BirthDate
		case "residence":
			out.Residence = r.Residence
		case "source_party":
			out.SourceParty = r.SourceParty
		case "attributes":
			out.Attributes = maps.Clone(r.Attributes)
		default:
			out.keepAttribute(r, name)
		}
	}
	return out
}

// keepAttribute takes over one attribute of another record, if it has it.
func (r *Record) keepAttribute(from *Record, name string) {
	key, _ := strings.CutPrefix(name, "attributes.")
	value, there := from.Attributes[key]
	if !there {
		return
	}
	if r.Attributes == nil {
		r.Attributes = make(map[string]string)
	}
	r.Attributes[key] = value
}

// note remembers which fields of a record that left said anything.
func (d *handover) note(r *Record) {
	for _, name := range d.plan.fields {
		key, single := strings.CutPrefix(name, "attributes.")
		if _, there := r.Attributes[key]; single && there || !single && r.says(name) {
			d.left[name] = true
		}
	}
}

// says reports whether a record says anything in a field.
func (r *Record) says(name string) bool {
	switch name {
	case "full_name":
		return r.FullName != ""
	case "postal_address":
		return r.Address != ""
	case "phone_number":
		return r.Phone != ""
	case "email_address":
		return r.Email != ""
	case "birth_date":
		return r.BirthDate != Date{}
	case "residence":
		return !r.Residence.IsZero()
	case "source_party":
		return r.SourceParty != ""
	}
	return name == "attributes" && len(r.Attributes) > 0
}
