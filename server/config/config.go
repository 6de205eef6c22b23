// Package config knows what an operator may ask of a gateway: the one strict
// configuration file, its environment variables, the bounds of every limit, and
// which settings are unsafe. It opens no store and listens on nothing.
//
// The structs are the manual: every setting's meaning, unit and default stand at its field.
package config

import (
	"time"
)

// Config is the whole configuration file. Scalars outside regions and callers can also be
// set by the environment: DOMICILE_, the path in upper case, segments joined
// with _, for example DOMICILE_GATEWAY_LISTEN. The environment outweighs the file.
type Config struct {
	Gateway Gateway           `yaml:"gateway"`
	TLS     TLS               `yaml:"tls"`
	Regions map[string]Region `yaml:"regions"` // by name: 1 to 32 of [a-z0-9-]

	// Directory is where the tenants' placements are: "pebble:FOLDER", or a database as for
	// Cluster.Rows. It holds keyed digests of tenant identifiers only.
	Directory string `yaml:"directory"`

	// DirectoryKey is the key of those digests: "file:PATH", 32 bytes, readable
	// by the owner only; made when it is not there, unless the directory is in a
	// database or a region has a peer. It must outlive the directory and be the same for every gateway.
	DirectoryKey string `yaml:"directory_key"`

	// Callers are the identities that may call. They alone are read again when the file changes.
	Callers []Caller `yaml:"callers"`

	Limits Limits `yaml:"limits"`

	source *source
}

// Gateway is what this process is.
type Gateway struct {
	// Name is this gateway's name, as audit entries have it: 1 to 64 of [A-Za-z0-9._-].
	Name string `yaml:"name"`

	// Jurisdiction is where this process runs (ISO 3166-1 alpha-2): plaintext of
	// what it handles exists there.
	Jurisdiction string `yaml:"jurisdiction"`

	// Listen is the gRPC address, for example "127.0.0.1:8443". Port 0 picks a free one.
	Listen string `yaml:"listen"`

	// AdminListen is the address of the metrics, the health checks and the status page. It has no
	// authentication, so it must be a loopback address.
	AdminListen string `yaml:"admin_listen"`

	// MixedJurisdictions says that plaintext of several jurisdictions may exist in
	// this process. Without it a gateway off loopback serves one jurisdiction, its own.
	MixedJurisdictions bool `yaml:"mixed_jurisdictions"`

	// Reflection offers the service descriptions to callers with any known
	// identity. Default false.
	Reflection bool `yaml:"reflection"`
}

// TLS is how connections are secured: TLS 1.3 with certificates on both sides,
// always. The files are read again when they change.
type TLS struct {
	Certificate string `yaml:"certificate"` // PEM file: the server's certificate and its chain
	Key         string `yaml:"key"`         // PEM file: its private key
	ClientCA    string `yaml:"client_ca"`   // PEM file: the authorities whose client certificates are accepted
}

// Region is a set of storage clusters in one jurisdiction.
type Region struct {
	// Jurisdiction is where the region is (ISO 3166-1 alpha-2).
	Jurisdiction string `yaml:"jurisdiction"`

	// Endpoint is the host:port that callers reach this region's gateways at. One who comes by a gateway elsewhere and may
	// not is told it. Required where a peer may forward to this gateway.
	Endpoint string `yaml:"endpoint,omitempty"`

	// Controller is the legal entity that controls the information; every policy
	// of the region names it (clause controller).
	Controller string `yaml:"controller"`

	// Policies are the region's policy files, one or more versions. A name is
	// looked for beside the configuration file, then among the shipped policies. Of a region with a peer they
	// say for which residences it is the default; without them a tenant's home there must be stated.
	Policies []string `yaml:"policies,omitempty"`

	// Keys is the key store and the region's root keys: "file:FOLDER", outside of every
	// folder that holds rows or blobs, and to be kept out of their backups.
	Keys string `yaml:"keys"`

	// AuditOrigin is what the names of the region's audit logs begin with: each is AUDIT_ORIGIN/REGION/CLUSTER, and no
	// other log anywhere has it. A URL without its scheme is customary. Default "domicile.local".
	AuditOrigin string `yaml:"audit_origin,omitempty"`

	// AuditRetention is how long entries of the region's audit logs are kept, in hours: "17520h" is two years of 365 days. What is
	// older is dropped by whoever leads, in bundles of 256 entries, and for good; hashes, checkpoints and usage totals stay. At least
	// "8760h". Default 0s: they are kept for good. It must be the same on every gateway of the region.
	AuditRetention time.Duration `yaml:"audit_retention,omitempty"`

	// Witnesses are who is asked to cosign the region's audit logs, beside the other regions of this configuration. At most 8.
	Witnesses []Witness `yaml:"witnesses,omitempty"`

	// KeyStore is where the wrapped keys are, if not in the folder of the roots: a
	// database as for Cluster.Rows, which several gateways of the region can share. It holds neither
	// rows nor the directory.
	KeyStore string `yaml:"key_store,omitempty"`

	// Clusters are the storage clusters. A tenant is in one of them; a new one goes to one that is not closed.
	Clusters []Cluster `yaml:"clusters"`

	// Peer says which gateways elsewhere serve the region. It then has neither keys nor clusters here.
	Peer *Peer `yaml:"peer,omitempty"`
}

// LogOrigin gives the name of a cluster's audit log.
func (r *Region) LogOrigin(region, cluster string) string {
	return r.origin() + "/" + region + "/" + cluster
}

// WitnessName gives the name by which the region cosigns others' audit logs.
func (r *Region) WitnessName(region string) string { return r.origin() + "/" + region + "/witness" }

func (r *Region) origin() string {
	if r.AuditOrigin == "" {
		return "domicile.local"
	}
	return r.AuditOrigin
}

// Cluster is a storage cluster. Location, Owner and Operator are declarations
// that are held against the region (clause drive-storage).
type Cluster struct {
	Name     string `yaml:"name"`               // 1 to 64 of [A-Za-z0-9._-], unique within the region; to be kept: the directory has it
	Location string `yaml:"location"`           // where the machines stand (ISO 3166-1 alpha-2); the region's jurisdiction
	Owner    string `yaml:"owner"`              // who owns them; the region's controller
	Operator string `yaml:"operator,omitempty"` // who operates them; the region's controller; default the owner

	// Weight is the cluster's share of the region's new tenants, against the other open clusters':
	// 1 to 1000, default 1. A change moves no tenant that is there.
	Weight *int `yaml:"weight,omitempty"`

	// Closed says that the cluster takes no new tenants; those that are there are served as before. Where
	// every cluster of a region is closed, registrations there are answered QUOTA_EXCEEDED. Default false.
	Closed bool `yaml:"closed,omitempty"`

	// Rows is "pebble:FOLDER", or "postgres://USER@HOST[:PORT][,HOST[:PORT]]/DATABASE?schema=NAME": a PostgreSQL
	// database whose tables domiciled migrate has made. Of several hosts the primary is used. The query may have
	// what PostgreSQL's connection strings have, sslmode=verify-full being required off loopback, pool_max_conns
	// (default 32), and require_sync_standby=false, which accepts a primary without a synchronous standby. A password
	// comes from passfile=FILE or PGPASSWORD. Paths are absolute.
	Rows string `yaml:"rows"`

	// Blobs is "file:FOLDER", or "s3://HOST[:PORT]/BUCKET[/PREFIX]": a bucket that exists, was never versioned and is
	// this cluster's alone. Its query may have region=NAME, which requests are signed for (default us-east-1), ca=FILE,
	// PEM certificates of the authorities to trust instead of the system's, credentials=FILE, which has aws_access_key_id
	// and aws_secret_access_key as the AWS tools have them and is readable by the owner only (default: the environment's
	// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN), and tls=off for a server on a loopback address. Paths are absolute.
	Blobs string `yaml:"blobs"`
}

// Share is the cluster's weight, or the default.
func (c *Cluster) Share() int {
	if c.Weight == nil {
		return 1
	}
	return *c.Weight
}

// Peer is the gateways that serve a region elsewhere: calls for tenants of theirs are forwarded to
// them, and they may forward calls here. Both sides prove themselves by certificates of the authorities
// in tls.client_ca: this gateway calls with tls.certificate, which must be good for a client too and hold one URI.
type Peer struct {
	// Address is where they are: "host:port", several with commas between. A name that stands for several
	// addresses is looked up anew now and then.
	Address string `yaml:"address"`

	// Identity is the URI in the certificates of all of them, called and calling.
	Identity string `yaml:"identity"`

	// Attests are the callers that they may speak for, as entries in Callers name them; one that ends in
	// "/*" stands for all that begin so. What such a caller may do is for its entry here to say. Callers that
	// are not among them are told to come by this region's endpoint.
	Attests []string `yaml:"attests,omitempty"`

	// Jurisdictions are where plaintext of what passes through them exists (ISO 3166-1 alpha-2).
	// Default the region's.
	Jurisdictions []string `yaml:"jurisdictions,omitempty"`

	// Logs are the public keys of their audit logs, ORIGIN+HASH+BASE64, whose checkpoints this gateway cosigns. Without
	// them each log keeps the key that it shows first.
	Logs []string `yaml:"logs,omitempty"`
}

// Caller is an identity that may call and what it may do. An empty or unknown
// entry refuses the whole file.
type Caller struct {
	// ID is the URI in the caller's certificate, for example "spiffe://example.org/us/billing".
	ID string `yaml:"id"`

	// Jurisdiction is where the caller is (ISO 3166-1 alpha-2): what it reads is there then.
	Jurisdiction string `yaml:"jurisdiction"`

	// Permissions are names of the closed set, for example "records.read"; none = may do nothing.
	Permissions []string `yaml:"permissions"`

	// Tenants are the tenants that it may name; "*" = every one; none = none.
	Tenants []string `yaml:"tenants"`

	// Party is whose software it is: "provider" or "tenant".
	Party string `yaml:"party"`
}

// Limits bound what calls may take. A zero takes the default; nothing is unlimited.
type Limits struct {
	// Of each bound on what is in use at once there is one for each caller, lower
	// than the one for all, so that no caller can use up what there is.
	Connections           int `yaml:"connections"`              // open connections; a further one takes the place of one still in its handshake, else it is closed at once. Default 1024, at most 65536
	ConnectionsPerCaller  int `yaml:"connections_per_caller"`   // those of one identity; further ones are closed at once. Default 256, at most 65536
	StreamsPerConnection  int `yaml:"streams_per_connection"`   // calls at once on one connection. Default 256, at most 65536
	InFlight              int `yaml:"in_flight"`                // calls at once in the process, from their headers on, health checks and reflection too; OVERLOADED beyond. Default 4096, at most 1048576
	InFlightPerCaller     int `yaml:"in_flight_per_caller"`     // those of one identity; OVERLOADED beyond. Default 1024, at most 1048576
	DriveStreams          int `yaml:"drive_streams"`            // streams of data at once in the process: of drives, inspections, exports and disclosures; OVERLOADED beyond. Default 256, at most 65536
	DriveStreamsPerCaller int `yaml:"drive_streams_per_caller"` // those of one identity; OVERLOADED beyond. Default 128, at most 65536

	HeaderBytes  Bytes `yaml:"header_bytes"`  // a request's header list. Default 16KiB, 4KiB to 1MiB
	MessageBytes Bytes `yaml:"message_bytes"` // a request message. Default 512KiB, which every valid message fits; 512KiB to 4MiB

	HandshakeTimeout time.Duration `yaml:"handshake_timeout"` // from connecting to the end of the handshake. Default 10s, at most 1m
	Deadline         time.Duration `yaml:"deadline"`          // of a unary call that states none, from its headers on: a message that does not come by then ends it. Default 10s, at most 10m
	MaxDeadline      time.Duration `yaml:"max_deadline"`      // longer ones of unary calls are cut to it. Default 1m, at most 10m
	StreamLifetime   time.Duration `yaml:"stream_lifetime"`   // the longest a stream of data may last. Default 1h, at most 24h
	StreamIdle       time.Duration `yaml:"stream_idle"`       // the longest a stream of data waits for its caller to send or take the next message. Default 1m, at most 1h
	KeepaliveMin     time.Duration `yaml:"keepalive_min"`     // a client that pings more often is disconnected. Default 10s, 1s to 5m
	Idle             time.Duration `yaml:"idle"`              // connections without a call are closed after it. Default 15m, at most 24h
	Drain            time.Duration `yaml:"drain"`             // how long a stop waits for calls before it cuts them. Default 20s, at most 10m

	Lease            time.Duration `yaml:"lease"`              // how long a permit is used without looking again, and so how long a withdrawal waits. Default and most 1s
	Decide           time.Duration `yaml:"decide"`             // the longest a decision and its audit entry may take. Default and most 1500ms
	DenialsPerSecond int           `yaml:"denials_per_second"` // refusals that one caller may cause per second on average. Default 1000

	Memory Bytes `yaml:"memory"` // the Go heap's soft limit, unless GOMEMLIMIT is set. Default 2GiB, at least 256MiB
}
