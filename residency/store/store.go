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
	"fmt"
	"io"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// The errors that callers tell apart. Backends wrap them.
var (
	ErrNotFound    = errors.New("store: not found")
	ErrExists      = errors.New("store: already exists")
	ErrConflict    = errors.New("store: changed meanwhile")
	ErrDeposed     = errors.New("store: another leads by now")
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
	KindAnnounced   Kind = 24 // a policy version that is to come: ID = version, 0, digest; in the zero tenant's partition
	KindLog         Kind = 25 // the audit log's tree: ID "" = how far it goes, with its tiles that are not full; in the zero tenant's partition
	KindUsage       Kind = 26 // what a tenant moved: ID = its pseudonym in the log, day (4 bytes, big endian); ID "" = how far the log is counted; in the zero tenant's partition
	KindWitnessed   Kind = 27 // what a witness knows of another region's log: ID = log; in the zero tenant's partition
	KindForgotten   Kind = 28 // what a witness knew of a log that it was made to forget: ID = log, when (8 bytes, big endian); likewise
)

// Lock is a lock on one subject or drive, within a tenant.
type Lock struct {
	Object    ID
	Exclusive bool
}

// Row names a row of a tenant.
type Row struct {
	Kind Kind
	ID   ID
}

// Scope is what a transaction locks. Locks are taken in the order tenant, then
// objects sorted by Object, so two scopes never wait for each other in a circle.
type Scope struct {
	Tenant    Tenant
	Exclusive bool   // the tenant itself; else shared
	Objects   []Lock // at most 64; a duplicate takes the stronger mode

	// Ahead are rows that fn will probably get, among those that the scope's locks keep from changing. A
	// backend to which every Get is a round trip reads them together once it has the locks. Naming a row
	// changes nothing else: fn may get others, and need not get these. At most 64.
	Ahead []Row

	// Epoch, unless it is 0, lets the transaction run only under that epoch of the cluster's
	// leadership (Rows.Lead). Under another one Update and View return an error that wraps ErrDeposed
	// without running fn. The leadership does not change until such a transaction has ended.
	Epoch uint64
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

	// Tenants calls yield with the tenants that have rows, in ascending order, those greater than
	// after, until it returns false. The zero tenant, whose rows are the cluster's own, is never among
	// them. One whose first row comes or whose last row goes meanwhile may be given or not. It takes
	// no lock, and its cost is that of a look-up for each tenant, however many rows they have.
	Tenants(ctx context.Context, after Tenant, yield func(Tenant) bool) error

	// Lead makes holder the leader of the cluster's background work until ttl from now, by
	// the store's clock, or keeps it so, and gives the epoch of its leadership, which is durable then. While the
	// time of another has not run out nothing changes and the error wraps ErrConflict.
	//
	// The epoch begins at 1 and rises by 1 whenever the holder changes: a holder whose time has run out and whom
	// nobody has followed keeps its epoch, also across restarts. A new holder waits for transactions that
	// name the old epoch, until the context ends; the old holder's renewals wait for none.
	// With a ttl of 0 a holder gives the leadership up at once, without ending its epoch; who does not
	// hold it gives nothing up.
	//
	// holder is of 1 to 128 bytes of any value, and tells processes apart. An error that wraps ErrUnavailable
	// leaves open whether it leads; asking again tells.
	Lead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, err error)

	// Purge takes off the cluster's disks what transactions deleted of some tenants' rows and of the agenda, if
	// they ended before it was called: when it returns nil, no file that the engine keeps by itself holds a deleted row's
	// name or value. It changes nothing that a transaction sees. It is for who has a tenant's key and reads the
	// files, to whom rows' names say whom they were about. An error that wraps ErrUnavailable leaves open what is
	// gone; calling it again goes on.
	//
	// It may be as expensive as writing all rows of the tenants anew. A backend on a server leaves its
	// disks to that server's own upkeep, says what stays until then, and does nothing.
	Purge(ctx context.Context, tenants []Tenant) error

	// Now is the store's clock, which all expiry goes by. It never runs
	// backwards within a process.
	Now() time.Time
}

// CheckLead refuses what no backend's Lead takes: a holder without a name or of more than 128 bytes, and
// a negative time.
func CheckLead(holder string, ttl time.Duration) error {
	if holder == "" || len(holder) > 128 || ttl < 0 {
		return errors.New("store: a leader has a name of 1 to 128 bytes and a time that is not negative")
	}
	return nil
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
	// build gives the entry at a place, and depends on nothing else: it may be called more than once, and
	// with other places too. No other method may be called from it. At most 8 entries per transaction.
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
	TaskPurge         TaskKind = 9 // purge what was erased of a tenant from the disks: ID ""
)

// Outbox is a cluster's audit entries, in the order in which they were committed. The oldest may have
// been dropped; of the others none is ever missing. Safe for concurrent use.
type Outbox interface {
	// Entry reads the entry at a place; an error that wraps ErrNotFound when there is none, or none any more.
	Entry(ctx context.Context, place uint64) ([]byte, error)

	// At calls yield with the durable entries at places, in the order of places, until it
	// returns false. Places without one are left out. At most MaxPlaces.
	At(ctx context.Context, places []uint64, yield func(place uint64, entry []byte) bool) error

	// Entries calls yield with the durable entries from a place on, in order, until it
	// returns false or there are no more. It begins with the oldest that was not dropped when that is later; an entry
	// that is missing after it is an error that wraps ErrCorrupt.
	Entries(ctx context.Context, from uint64, yield func(place uint64, entry []byte) bool) error

	// First is the place of the oldest entry that was not dropped: 1 when none was, Last + 1 when all were.
	First(ctx context.Context) (uint64, error)

	// Last is the place of the newest entry, dropped or not; 0 when there never was one.
	Last(ctx context.Context) (uint64, error)

	// Drop removes the entries up to and with a place, durably; their places stay taken. Which is the first is
	// durable before anything is removed, and from then on no call that begins gives what is before it. Drop goes on with
	// what an earlier one, which failed, had begun; dropping what is gone is no error. A place beyond
	// Last is refused. An error that wraps ErrUnavailable leaves open how far it came.
	//
	// Unless epoch is 0 the first place changes only under that epoch of the cluster's leadership (Rows.Lead), which does not
	// change until it is durable. Under another one nothing is dropped and the error wraps ErrDeposed.
	Drop(ctx context.Context, upTo, epoch uint64) error
}

// MaxPlaces is how many entries Outbox.At reads at once.
const MaxPlaces = 1024

// CheckPlaces refuses more places than Outbox.At takes.
func CheckPlaces(places []uint64) error {
	if len(places) > MaxPlaces {
		return fmt.Errorf("store: at most %d places are read at once, not %d", MaxPlaces, len(places))
	}
	return nil
}

// CheckDrop refuses to drop what there is not yet.
func CheckDrop(upTo, last uint64) error {
	if upTo > last {
		return fmt.Errorf("store: entries up to place %d cannot be dropped, the newest is at place %d", upTo, last)
	}
	return nil
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
