// Package store states what the gateway needs of storage: the rows of one
// tenant in transactions, a cluster's queue of audit entries, immutable blobs,
// and a directory of where tenants live. It knows no key and no policy: what
// passes through here is sealed or pseudonymous.
//
// The conformance suite in storetest holds every "must" below against every backend.
package store

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// The errors that callers tell apart. Backends wrap them.
var (
	ErrNotFound    = errors.New("store: not found")
	ErrExists      = errors.New("store: already exists")
	ErrConflict    = errors.New("store: changed meanwhile")
	ErrUnavailable = errors.New("store: unavailable") // nothing was done, or it is not known whether it was
	ErrCorrupt     = errors.New("store: stored bytes are damaged")
	ErrClosed      = errors.New("store: closed")
)

// Tenant is a tenant's pseudonym: a keyed digest of its identifier. It names
// the tenant's partition of a cluster's rows and the prefix of its blobs.
type Tenant [16]byte

// String gives the pseudonym in lower-case hexadecimal.
func (t Tenant) String() string { return hex.EncodeToString(t[:]) }

// ID is a row's identifier within its kind: a keyed digest, or several after
// one another. Rows of one kind are ordered by it, byte by byte.
type ID string

// Kind is what a row is. Kinds are ordered by their number and never renumbered.
type Kind uint8

// The kinds of rows.
const (
	KindTenant    Kind = 1  // the registration; one row, ID ""
	KindSubject   Kind = 2  // a person: ID = subject
	KindRecord    Kind = 3  // a record: ID = subject, record
	KindLookup    Kind = 4  // a blind index: ID = key, subject, record
	KindConsent   Kind = 5  // a consent: ID = scope (subject, or zeros for the whole tenant), consent
	KindConsentID Kind = 6  // where a consent is: ID = consent; value = scope
	KindDrive     Kind = 7  // a drive: ID = drive
	KindExtent    Kind = 8  // a chunk of a drive or a snapshot: ID = drive or snapshot, chunk number (8 bytes, big endian)
	KindRequest   Kind = 9  // the result of a request_id: ID = caller, method, request
	KindDecision  Kind = 10 // where a decision's entries are: ID = decision; value = sequence numbers
	KindStream    Kind = 11 // a stream that is open: ID = decision

	KindRestriction Kind = 12 // what a person asked for: ID = subject
	KindRecipient   Kind = 13 // a recipient of disclosures: ID = recipient
	KindNotice      Kind = 14 // a notice: ID = scope, notice
	KindObjection   Kind = 15 // an objection: ID = scope, objection
	KindOrder       Kind = 16 // a legal order: ID = order
	KindInformal    Kind = 17 // an authority's informal request: ID = request
	KindCase        Kind = 18 // an abuse case: ID = case
	KindDisclosure  Kind = 19 // a disclosure: ID = scope (subject, or zeros for a drive), decision
	KindErasure     Kind = 20 // an erasure: ID = erasure
	KindSnapshot    Kind = 21 // a drive's snapshot: ID = drive, snapshot
	KindHold        Kind = 22 // a blob that a snapshot holds: ID = blob's digest, snapshot; value = chunk number
	KindPolicy      Kind = 23 // a policy version that was in force: ID = version; in the zero tenant's partition
)

// Lock is a lock on one subject or drive, within a tenant.
type Lock struct {
	Object    ID
	Exclusive bool
}

// Scope is what a transaction locks. Locks are taken in the order tenant, then
// objects sorted by Object, so two scopes never wait for each other in a circle.
type Scope struct {
	Tenant    Tenant
	Exclusive bool   // the tenant itself; else shared
	Objects   []Lock // at most 64; a duplicate takes the stronger mode
}

// Rows is a cluster's rows: the transactions of one tenant at a time.
//
// Safe for concurrent use. Transactions whose scopes conflict are serialised in
// an order consistent with real time; transactions that touch rows outside
// what their scope covers are the caller's mistake.
type Rows interface {
	// Update takes the scope's locks, runs fn and makes its writes durable,
	// all of them or none, before it returns nil. The locks may be released once the writes are
	// ordered before every later transaction; a later transaction that saw them
	// is never durable without them.
	//
	// fn may run more than once and must then do the same; what it returns, other
	// than an error for which the backend repeats it, is returned as it is and nothing
	// is written. Update returns within the context's deadline even when the
	// engine hangs; an error that wraps ErrUnavailable then says that the writes may yet become
	// durable, all or none.
	Update(ctx context.Context, scope Scope, fn func(Tx) error) error

	// View takes the scope's locks in shared mode, whatever it asks for, and
	// runs fn, whose writes are refused. It sees everything that any acknowledged Update wrote.
	View(ctx context.Context, scope Scope, fn func(Tx) error) error

	// Due gives up to limit tasks of any tenant whose time has come, earliest
	// first, by the store's clock.
	Due(ctx context.Context, limit int) ([]Task, error)

	// Now is the store's clock, which all expiry goes by. It never runs
	// backwards within a process.
	Now() time.Time
}

// Tx is a transaction. It is not safe for concurrent use and is dead once fn
// has returned. Slices that it returns are the caller's to keep.
type Tx interface {
	// Now is the store's clock, the same throughout the transaction, read after
	// the locks were taken.
	Now() time.Time

	// Get reads a row as this transaction sees it, its own writes included. It
	// returns an error that wraps ErrNotFound when there is none.
	Get(kind Kind, id ID) ([]byte, error)

	// Scan calls yield with the rows of a kind whose ID starts with prefix and is greater than
	// after (ID "" = from the start), in ascending order, until yield returns
	// false. It sees the transaction's own writes. The row's slice is good only
	// until yield returns.
	Scan(kind Kind, prefix, after ID, yield func(ID, []byte) bool) error

	// Put writes a row; an empty value is a value.
	Put(kind Kind, id ID, value []byte) error

	// Delete removes a row; removing one that is not there is no error.
	Delete(kind Kind, id ID) error

	// Schedule puts a task on the cluster's agenda; one with the same At, Tenant,
	// Kind and ID is replaced. The task's tenant must be the scope's.
	Schedule(Task) error

	// Unschedule takes a task off; At, Tenant, Kind and ID must be as scheduled.
	// Taking off one that is not there is no error.
	Unschedule(Task) error

	// Append adds an entry to the cluster's audit outbox, atomically with the transaction's writes,
	// and gives its place: places ascend in commit order, from 1, without a gap.
	// build is called with the place, perhaps more than once, when the order is
	// settled; no other method may be called from it. At most 8 entries per transaction.
	//
	// index, unless empty, makes the entry findable: the backend writes a row of
	// KindDecision with that ID whose value is the places (8 bytes each, big
	// endian) of all entries appended with it, in order.
	Append(index ID, build func(place uint64) []byte) error
}

// Task is something to be done at a time, for a tenant, by whichever replica
// leads: closing a stream whose gateway died, deleting a chunk that nothing refers to.
type Task struct {
	At     time.Time // to the nanosecond
	Tenant Tenant
	Kind   TaskKind
	ID     ID
	Value  []byte
}

// TaskKind is what a task does.
type TaskKind uint8

// The kinds of tasks.
const (
	TaskCloseStream   TaskKind = 1 // close the audit of a stream whose gateway died, and remove the chunks it left: ID = stream
	TaskDeleteBlob    TaskKind = 2 // delete a chunk that nothing refers to: ID = blob name; Value = where it was
	TaskForgetRequest TaskKind = 3 // delete a KindRequest row: ID = its ID
	TaskExpireRecord  TaskKind = 4 // delete an expired record: ID = subject, record
	TaskSweepDrive    TaskKind = 5 // delete a deleted drive's extents, some at a time: ID = drive
	TaskEraseSubject  TaskKind = 6 // delete an erased person's rows, some at a time: ID = subject; Value = erasure
	TaskEraseTenant   TaskKind = 7 // delete an erased tenant's rows and blobs, some at a time: ID ""; Value = erasure
	TaskSweepSnapshot TaskKind = 8 // delete a deleted snapshot's extents, some at a time: ID = snapshot; Value = drive, incarnation
)

// Outbox is a cluster's audit entries, in the order in which they were committed.
// Safe for concurrent use.
type Outbox interface {
	// Entry reads the entry at a place; an error that wraps ErrNotFound when there is none.
	Entry(ctx context.Context, place uint64) ([]byte, error)

	// Entries calls yield with the durable entries from a place on, in order, until it
	// returns false or there are no more.
	Entries(ctx context.Context, from uint64, yield func(place uint64, entry []byte) bool) error

	// Last is the place of the newest entry; 0 when there is none.
	Last(ctx context.Context) (uint64, error)
}

// Blobs is a cluster's immutable objects. Safe for concurrent use. Names are
// of [a-z0-9/-], at most 200 bytes, no segment empty, and hold no personal information.
type Blobs interface {
	// Create begins an object. Nothing is visible under the name before Commit
	// returned nil.
	Create(ctx context.Context, name string) (BlobWriter, error)

	// Open reads length bytes of an object from offset on; ErrNotFound when there
	// is none, io.ErrUnexpectedEOF from Read when it is shorter than that.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)

	// Delete removes an object, durably; one that is not there is no error.
	Delete(ctx context.Context, name string) error

	// List calls yield with the names that start with prefix, in ascending byte
	// order, until it returns false.
	List(ctx context.Context, prefix string, yield func(name string) bool) error
}

// BlobWriter is an object being written. It is not safe for concurrent use.
type BlobWriter interface {
	io.Writer

	// Commit makes the object visible and durable before it returns nil. An
	// object of that name must not exist; ErrExists then, and the old one is untouched.
	// After any error the object may or may not exist, whole.
	Commit() error

	// Abort drops the object. It does nothing after Commit, so it can be deferred.
	Abort()
}

// PlacementState is how far a tenant's registration in the directory has come.
type PlacementState uint8

// The states of a placement.
const (
	PlacementReserved PlacementState = 1 // the name is taken; the tenant's row may not exist yet
	PlacementActive   PlacementState = 2 // the tenant's row exists
)

// Placement is where a tenant lives, as far as the directory knows. It is a
// hint: the tenant's row in its home is the truth.
type Placement struct {
	Region  residency.Region
	Cluster string
	Epoch   uint64
	State   PlacementState
	Time    time.Time // when it was reserved
}

// Directory says where tenants live. Safe for concurrent use.
type Directory interface {
	// Find gives a tenant's placement, or ErrNotFound.
	Find(ctx context.Context, t Tenant) (Placement, error)

	// Reserve records a placement for a tenant that has none, durably; ErrExists,
	// with the placement that is there, when it has one.
	Reserve(ctx context.Context, t Tenant, p Placement) (Placement, error)

	// Update replaces a placement, durably, if it still is what it was; else ErrConflict.
	Update(ctx context.Context, t Tenant, old, new Placement) error

	// List calls yield with the placements in a region of tenants after a given
	// one (the zero Tenant = from the start), in ascending order, until it returns false.
	List(ctx context.Context, r residency.Region, after Tenant, yield func(Tenant, Placement) bool) error
}

// Keys is a region's wrapped keys, kept apart from rows and blobs and from
// their backups, so that destroying a key destroys what it sealed, wherever that still
// lies. Safe for concurrent use. A name is of at most 64 bytes of any value.
type Keys interface {
	// Get reads a wrapped key, or ErrNotFound.
	Get(ctx context.Context, name string) ([]byte, error)

	// Create stores a wrapped key durably if there is none of the name; else it
	// returns the one that is there and ErrExists. Of several at once one wins.
	Create(ctx context.Context, name string, wrapped []byte) ([]byte, error)

	// Destroy removes every key whose name starts with prefix, durably.
	Destroy(ctx context.Context, prefix string) error

	// List calls yield with the keys whose names start with prefix, in ascending
	// byte order, until it returns false. A key that is made or destroyed meanwhile
	// may be among them or not.
	List(ctx context.Context, prefix string, yield func(name string, wrapped []byte) bool) error

	// Ping reports whether keys can be read now.
	Ping(ctx context.Context) error
}
