package gateway

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// Config is what a Gateway is made of. Every field is required unless it says
// what its zero value means.
type Config struct {
	// Name is this gateway's name, as audit entries have it.
	Name string

	// Regions are the regions that this gateway serves itself.
	Regions []Region

	// Directory says where tenants live. DirectoryKey, 32 bytes, keys the digests
	// of tenant identifiers and is the same for every gateway.
	Directory    store.Directory
	DirectoryKey []byte

	// Limits bound what calls may take. Zero members take their defaults.
	Limits Limits

	// Elapsed is a clock that only moves forward and counts time that the machine
	// was suspended; leases go by it. Nil = CLOCK_BOOTTIME.
	Elapsed func() time.Duration

	// Metrics is where the gateway registers its metrics; nil = nowhere.
	Metrics prometheus.Registerer

	// Log is the gateway's own log; nil = none.
	Log *slog.Logger
}

// Region is a region that the gateway serves itself.
type Region struct {
	Name         residency.Region
	Jurisdiction residency.Jurisdiction
	Controller   string           // the legal entity, which every policy of the region must name
	Policies     []*policy.Policy // every version, one of them in force
	Vault        *seal.Vault
	Clusters     []Cluster // one or more; new tenants go to the first
}

// Cluster is a storage cluster of a region.
type Cluster struct {
	Name   string
	Rows   store.Rows
	Outbox store.Outbox
	Blobs  store.Blobs
}

// Limits bound what calls may take.
type Limits struct {
	// Lease is how long a permit that rests on a consent may be used without looking
	// again, and so how long a withdrawal waits. Default and maximum 1 s.
	Lease time.Duration

	// Decide is the longest that a decision and its audit entry may take. Default 1.5 s.
	Decide time.Duration

	// StreamLifetime is the longest that one drive stream may last. Default 1 h.
	StreamLifetime time.Duration

	// DenialsPerSecond is how many refusals one caller may cause per second, on
	// average; its burst is five times that. Default 1000.
	DenialsPerSecond int
}
