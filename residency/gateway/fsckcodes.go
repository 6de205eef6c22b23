package gateway

import "github.com/domicile-project/domicile/residency"

// Severity is how bad a finding is.
type Severity uint8

// The severities.
const (
	Damage   Severity = iota // something is lost, cannot be read or is not what it must be
	Leftover                 // something is there that nobody needs; it harms nothing
)

// String gives the severity's name.
func (s Severity) String() string {
	if s == Leftover {
		return "leftover"
	}
	return "damage"
}

// Finding is something that is wrong in the stores.
type Finding struct {
	Code    FsckCode
	Region  residency.Region
	Cluster string // "" = it is the whole region's
	What    string // by pseudonyms and digests alone
	Detail  string // what is wrong with it
}

// FsckCode is what is wrong. The codes are stable: scripts may rely on them.
type FsckCode string

// The codes. server/OPERATIONS.md has the same list.
const (
	LogDamaged        FsckCode = "log-damaged"
	LogAhead          FsckCode = "log-ahead"
	LogRoot           FsckCode = "log-root"
	LogFirst          FsckCode = "log-first"
	LogStateMissing   FsckCode = "log-state-missing"
	EntryMissing      FsckCode = "entry-missing"
	EntryDamaged      FsckCode = "entry-damaged"
	EntryChanged      FsckCode = "entry-changed"
	TileMissing       FsckCode = "tile-missing"
	TileDamaged       FsckCode = "tile-damaged"
	CheckpointDamaged FsckCode = "checkpoint-damaged"
	UsageStateMissing FsckCode = "usage-state-missing"
	UsageDamaged      FsckCode = "usage-damaged"
	UsageDiffers      FsckCode = "usage-differs"
	WitnessDamaged    FsckCode = "witness-damaged"
	WitnessDiffers    FsckCode = "witness-differs"
	PolicyDamaged     FsckCode = "policy-damaged"
	PolicyDiffers     FsckCode = "policy-differs"
	DecisionDamaged   FsckCode = "decision-damaged"
	DirectoryMissing  FsckCode = "directory-missing"
	DirectoryDiffers  FsckCode = "directory-differs"
	EpochDiffers      FsckCode = "epoch-differs"
	DirectoryReserved FsckCode = "directory-reserved"
	ReservationStale  FsckCode = "reservation-stale"
	TenantMissing     FsckCode = "tenant-missing"
	RowDamaged        FsckCode = "row-damaged"
	SubjectMissing    FsckCode = "subject-missing"
	SubjectEmpty      FsckCode = "subject-empty"
	LookupMissing     FsckCode = "lookup-missing"
	LookupOrphan      FsckCode = "lookup-orphan"
	IndexMissing      FsckCode = "index-missing"
	IndexOrphan       FsckCode = "index-orphan"
	DriveMissing      FsckCode = "drive-missing"
	ExtentOrphan      FsckCode = "extent-orphan"
	HoldMissing       FsckCode = "hold-missing"
	HoldOrphan        FsckCode = "hold-orphan"
	BlobMissing       FsckCode = "blob-missing"
	BlobDamaged       FsckCode = "blob-damaged"
	BlobOrphan        FsckCode = "blob-orphan"
	BlobStray         FsckCode = "blob-stray"
	KeyMissing        FsckCode = "key-missing"
	KeyDamaged        FsckCode = "key-damaged"
	KeyUnused         FsckCode = "key-unused"
	ErasedKey         FsckCode = "erased-key"
	ErasedRows        FsckCode = "erased-rows"
	LedgerMissing     FsckCode = "ledger-missing"
	TaskMissing       FsckCode = "task-missing"
	TaskOrphan        FsckCode = "task-orphan"
)

// codeMeaning is how bad a code is and what an operator does about it.
type codeMeaning struct {
	severity Severity
	do       string
}

const (
	doRestoreRows  = "restore the cluster's rows from a backup beside, compare, and put back what is missing; keep the damaged files as evidence"
	doRestoreBlobs = "restore the blob of that name from a backup of the cluster's blobs; without one what it held is lost"
	doRestoreKeys  = "restore the key store from a backup that is newer than the last erasure; without one what lies under the key is lost"
	doLog          = "keep the files as evidence, run domicile audit verify with a checkpoint or receipts that somebody kept outside, and restore rows and blobs from one backup"
	doUsage        = "restore the rows of the totals and of how far the log is counted from one backup; until then nothing is counted, and nothing is billed twice"
	doNothing      = "nothing: it takes a little room"
	doRestart      = "start a gateway of the region: it repairs this"
)

// meanings is a function so that nothing can change it.
func meanings() map[FsckCode]codeMeaning {
	return map[FsckCode]codeMeaning{
		LogDamaged: {Damage, doLog}, LogAhead: {Damage, doLog}, LogRoot: {Damage, doLog}, LogFirst: {Damage, doLog}, LogStateMissing: {Damage, doLog},
		EntryMissing: {Damage, doLog}, EntryDamaged: {Damage, doLog}, EntryChanged: {Damage, doLog},
		TileMissing: {Damage, doRestoreBlobs}, TileDamaged: {Damage, doRestoreBlobs}, CheckpointDamaged: {Damage, doLog},
		UsageStateMissing: {Damage, doUsage}, UsageDamaged: {Damage, doUsage},
		UsageDiffers:      {Damage, "send no bill of that day before domicile usage verify says what it must be; keep the rows as evidence"},
		WitnessDamaged:    {Damage, doRestoreRows},
		WitnessDiffers:    {Damage, "if rows were restored from a backup on purpose, domiciled forget-log at the witness; else " + doLog},
		PolicyDamaged:     {Damage, doRestoreRows},
		PolicyDiffers:     {Damage, "put back the file that was in force, and give what was changed a version of its own"},
		DecisionDamaged:   {Damage, doRestoreRows},
		DirectoryMissing:  {Damage, "restore the directory from a backup; until then the tenant is not found, and its name could be given out again"},
		DirectoryDiffers:  {Damage, "find out which cluster's rows are the newer, then restore the directory or remove the older rows"},
		EpochDiffers:      {Damage, "restore the directory from a backup of the same time as the rows"},
		DirectoryReserved: {Leftover, "nothing: the tenant's next registration or look-up settles it"},
		ReservationStale:  {Leftover, "nothing: the name is given to whoever registers it next"},
		TenantMissing:     {Damage, doRestoreRows},
		RowDamaged:        {Damage, doRestoreRows}, SubjectMissing: {Damage, doRestoreRows}, SubjectEmpty: {Damage, doRestoreRows},
		LookupMissing: {Damage, "write the record again: it is read by its identifier, and not found by its e-mail address or phone number"},
		LookupOrphan:  {Damage, doRestoreRows}, IndexMissing: {Damage, doRestoreRows}, IndexOrphan: {Damage, doRestoreRows},
		DriveMissing: {Damage, doRestoreRows}, ExtentOrphan: {Leftover, doNothing},
		HoldMissing: {Damage, "copy what the snapshot keeps before the drive is written to again: its blobs may be deleted then"},
		HoldOrphan:  {Leftover, doNothing},
		BlobMissing: {Damage, doRestoreBlobs}, BlobDamaged: {Damage, doRestoreBlobs},
		BlobOrphan: {Leftover, "nothing, or delete it by hand once a second check days later finds it again"},
		BlobStray:  {Leftover, "find out who put it there; gateways never do"},
		KeyMissing: {Damage, doRestoreKeys}, KeyDamaged: {Damage, doRestoreKeys}, KeyUnused: {Leftover, doNothing},
		ErasedKey:     {Damage, "start a gateway of the region: it destroys the key again; then find out which backup of the key store was restored"},
		ErasedRows:    {Damage, doRestart},
		LedgerMissing: {Damage, "ask for the erasure again: the key store was restored from before it, and has the person's key"},
		TaskMissing:   {Damage, doRestart + " unless it is a stream; then restore the rows"},
		TaskOrphan:    {Leftover, "nothing: it finds nothing to do when its time comes"},
	}
}

// Severity is how bad the code is.
func (c FsckCode) Severity() Severity { return meanings()[c].severity }

// Do is what an operator does about it.
func (c FsckCode) Do() string { return meanings()[c].do }

// FsckCodes gives every code.
func FsckCodes() []FsckCode {
	list := make([]FsckCode, 0, len(meanings()))
	for code := range meanings() {
		list = append(list, code)
	}
	return list
}
