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
	// database. It must outlive the directory and be the same for every gateway.
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

	// Controller is the legal entity that controls the information; every policy
	// of the region names it (clause controller).
	Controller string `yaml:"controller"`

	// Policies are the region's policy files, one or more versions. A name is
	// looked for beside the configuration file, then among the shipped policies.
	Policies []string `yaml:"policies"`

	// Keys is the key store and the region's root keys: "file:FOLDER", outside of every
	// folder that holds rows or blobs, and to be kept out of their backups.
	Keys string `yaml:"keys"`

	// KeyStore is where the wrapped keys are, if not in the folder of the roots: a
	// database as for Cluster.Rows, which several gateways of the region can share. It holds neither
	// rows nor the directory.
	KeyStore string `yaml:"key_store,omitempty"`

	// Clusters are the storage clusters; new tenants go to the first.
	Clusters []Cluster `yaml:"clusters"`

	// Peer is the gateway that serves the region elsewhere. This version forwards
	// to no peer and refuses the setting.
	Peer *Peer `yaml:"peer,omitempty"`
}

// Cluster is a storage cluster. Location, Owner and Operator are declarations
// that are held against the region (clause drive-storage).
type Cluster struct {
	Name     string `yaml:"name"`               // 1 to 64 of [A-Za-z0-9._-], unique within the region
	Location string `yaml:"location"`           // where the machines stand (ISO 3166-1 alpha-2); the region's jurisdiction
	Owner    string `yaml:"owner"`              // who owns them; the region's controller
	Operator string `yaml:"operator,omitempty"` // who operates them; the region's controller; default the owner

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

// Peer is a gateway elsewhere.
type Peer struct {
	Address  string `yaml:"address"`
	Identity string `yaml:"identity"`
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
