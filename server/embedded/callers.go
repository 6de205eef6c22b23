package embedded

import (
	"net/url"
	"strings"

	"github.com/domicile-project/domicile/server/config"
)

// trustDomain is that of every embedded identity.
const trustDomain = "domicile.local"

// identity is a caller that the first start makes a certificate for.
type identity struct {
	name         string
	place        string // the path before the name: a region, or ""
	jurisdiction string
	party        string
	permissions  []string
	tenants      []string
}

func (i identity) uri() *url.URL {
	path := "/" + i.name
	if i.place != "" {
		path = "/" + i.place + path
	}
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: path}
}

// identities lists the callers: four for each region, and the operators' own, who may see no tenant.
func identities() []identity {
	var out []identity
	for _, place := range []string{"ch", "us"} {
		of := func(name, party string, permissions []string) {
			out = append(out, identity{
				name: name + "-" + place, place: place, jurisdiction: strings.ToUpper(place),
				party: party, permissions: permissions, tenants: []string{"*"},
			})
		}
		of("admin", "provider", everythingButApproving())
		of("officer", "provider", approving())
		of("counsel", "provider", approving())
		of("app", "tenant", []string{
			"tenants.read", "records.read", "records.write", "drives.read", "drives.write",
			"consents.read", "consents.write", "consents.withdraw", "transfers.read", "usage.read",
		})
	}
	return append(out, identity{
		name: "sre", jurisdiction: "CH", party: "provider", permissions: []string{"gateway.read", "policies.read"},
	})
}

func everythingButApproving() []string {
	var out []string
	for _, p := range config.PermissionNames() {
		if !strings.HasSuffix(p, ".approve") {
			out = append(out, p)
		}
	}
	return out
}

// approving is what the second and third pair of eyes may do: approve, and read
// what they approve.
func approving() []string {
	out := []string{"orders.approve", "cases.approve"}
	for _, p := range config.PermissionNames() {
		if strings.HasSuffix(p, ".read") {
			out = append(out, p)
		}
	}
	return out
}

func callers() []config.Caller {
	var out []config.Caller
	for _, id := range identities() {
		out = append(out, config.Caller{
			ID: id.uri().String(), Jurisdiction: id.jurisdiction, Permissions: id.permissions, Tenants: id.tenants, Party: id.party,
		})
	}
	return out
}
