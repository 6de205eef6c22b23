package config

import (
	"fmt"
	"strings"
)

// Permission is one thing that a caller may do.
type Permission uint8

// The permissions, by the names that annotations and caller tables use.
var permissionNames = [...]string{
	"tenants.read", "tenants.write", "tenants.erase",
	"records.read", "records.write", "records.erase", "records.restrict",
	"drives.read", "drives.write", "drives.inspect",
	"consents.read", "consents.write", "consents.withdraw",
	"transfers.read", "transfers.write",
	"disclosures.read", "disclosures.write",
	"recipients.read", "recipients.write",
	"orders.read", "orders.write", "orders.approve",
	"cases.read", "cases.write", "cases.approve",
	"policies.read", "audit.read", "usage.read", "gateway.read",
}

// ParsePermission reads a permission's name.
func ParsePermission(s string) (Permission, error) {
	for i, n := range permissionNames {
		if n == s {
			return Permission(i), nil
		}
	}
	return 0, fmt.Errorf("unknown permission: want one of %s", strings.Join(permissionNames[:], ", "))
}

// ForwardPermission is what the gateways of other regions may do here as themselves. No
// caller can be given it: it is theirs whom the configuration names as peers.
const ForwardPermission = Permission(len(permissionNames))

const forwardName = "gateway.forward"

// ParseAccess reads the name of a permission that a method asks for: one that callers may be
// given, or ForwardPermission.
func ParseAccess(s string) (Permission, error) {
	if s == forwardName {
		return ForwardPermission, nil
	}
	return ParsePermission(s)
}

// String gives the permission's name.
func (p Permission) String() string {
	switch {
	case int(p) < len(permissionNames):
		return permissionNames[p]
	case p == ForwardPermission:
		return forwardName
	}
	return "unknown"
}

// Permissions is a set of permissions, a bit each. The zero set permits nothing.
type Permissions uint64

// Has reports whether the set holds p.
func (s Permissions) Has(p Permission) bool { return s&(1<<p) != 0 }

// With gives the set with p in it.
func (s Permissions) With(p Permission) Permissions { return s | 1<<p }

// PermissionNames lists every permission's name.
func PermissionNames() []string { return append([]string(nil), permissionNames[:]...) }
