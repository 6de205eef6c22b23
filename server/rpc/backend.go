package rpc

import (
	"context"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// Backend is what decides, seals and stores: a *gateway.Gateway. Its errors are
// *residency.Error; a method that decided has set its Call's Decision when it returns.
// Safe for concurrent use.
type Backend interface {
	tenants
	records
	drives
	consents
	transfers
	policies
	decisions
	regions
	recipients
	choices
	orders
	informalRequests
	cases
	disclosures
	usage
	peers
}

type tenants interface {
	RegisterTenant(context.Context, *gateway.Call, gateway.NewTenant) (gateway.Tenant, error)
	GetTenant(ctx context.Context, call *gateway.Call, tenant string) (gateway.Tenant, error)
	ListTenants(context.Context, *gateway.Call, residency.Region, gateway.Page) ([]gateway.Tenant, string, error)
	UpdateTenant(context.Context, *gateway.Call, gateway.UpdateTenant) (gateway.Tenant, error)
	SuspendTenant(context.Context, *gateway.Call, gateway.ChangeTenant) (gateway.Tenant, error)
	ResumeTenant(context.Context, *gateway.Call, gateway.ChangeTenant) (gateway.Tenant, error)
	EraseTenant(context.Context, *gateway.Call, gateway.ChangeTenant) (gateway.Erasure, error)
	GetErasure(ctx context.Context, call *gateway.Call, tenant, erasure string) (gateway.Erasure, error)
}

type records interface {
	subjects
	PutRecord(context.Context, *gateway.Call, gateway.PutRecord) (gateway.RecordWritten, error)
	GetRecord(context.Context, *gateway.Call, gateway.GetRecord) (gateway.Record, error)
	ListRecords(context.Context, *gateway.Call, gateway.ListRecords) ([]gateway.Record, string, error)
	ListSubjects(context.Context, *gateway.Call, gateway.ListSubjects) ([]gateway.Subject, string, error)
	FindRecords(context.Context, *gateway.Call, gateway.FindRecords) ([]gateway.Record, string, error)
	DeleteRecord(context.Context, *gateway.Call, gateway.DeleteRecord) error
}

// subjects are what a person may ask for concerning what is held about them. A
// nil *Restrictions says that the call came from abroad and is told nothing.
type subjects interface {
	RestrictSubject(context.Context, *gateway.Call, gateway.RestrictSubject) (*gateway.Restrictions, error)
	LiftRestriction(context.Context, *gateway.Call, gateway.RestrictSubject) (*gateway.Restrictions, error)
	ObjectToCollection(context.Context, *gateway.Call, gateway.SubjectCall) (*gateway.Restrictions, error)
	WithdrawObjection(context.Context, *gateway.Call, gateway.SubjectCall) (*gateway.Restrictions, error)
	ReportChild(context.Context, *gateway.Call, gateway.SubjectCall) (gateway.ChildReported, error)

	// ExportSubject hands the file to send piece by piece, each good until send returns.
	ExportSubject(ctx context.Context, call *gateway.Call, req gateway.SubjectCall, send func(gateway.FilePiece) error) error
	EraseSubject(context.Context, *gateway.Call, gateway.SubjectCall) (gateway.Erasure, error)
}

type drives interface {
	snapshots
	CreateDrive(context.Context, *gateway.Call, gateway.NewDrive) (gateway.Drive, error)
	GetDrive(ctx context.Context, call *gateway.Call, tenant, drive string) (gateway.Drive, error)
	ListDrives(ctx context.Context, call *gateway.Call, tenant string, page gateway.Page) ([]gateway.Drive, string, error)

	// WriteDrive takes the data from next: each slice is good until the next
	// call; io.EOF ends the write.
	WriteDrive(ctx context.Context, call *gateway.Call, w gateway.WriteDrive, next func() ([]byte, error)) (gateway.DriveWritten, error)

	// ReadDrive hands the data to send, at most 256 KiB at a time, each slice
	// good until send returns.
	ReadDrive(ctx context.Context, call *gateway.Call, r gateway.ReadDrive, send func([]byte) error) error
	DeleteDrive(context.Context, *gateway.Call, gateway.DeleteDrive) error

	// InspectDrive hands the data to send, at most 256 KiB at a time, each slice
	// good until send returns. passing is nil for what is stored.
	InspectDrive(ctx context.Context, call *gateway.Call, req gateway.InspectDrive, send func(data []byte, passing *gateway.Passing) error) error
	RestrictDrive(context.Context, *gateway.Call, gateway.RestrictDrive) (gateway.Drive, error)
	LiftDriveRestriction(context.Context, *gateway.Call, gateway.RestrictDrive) (gateway.Drive, error)
}

type snapshots interface {
	SnapshotDrive(context.Context, *gateway.Call, gateway.SnapshotDrive) (gateway.Snapshot, error)
	ListSnapshots(ctx context.Context, call *gateway.Call, tenant, drive string, page gateway.Page) ([]gateway.Snapshot, string, error)
	RestoreDrive(context.Context, *gateway.Call, gateway.SnapshotCall) (gateway.Drive, error)
	DeleteSnapshot(context.Context, *gateway.Call, gateway.SnapshotCall) error
}

type consents interface {
	GrantConsent(context.Context, *gateway.Call, gateway.GrantConsent) (gateway.ConsentNow, error)
	GetConsent(ctx context.Context, call *gateway.Call, tenant, consentID string) (gateway.ConsentNow, error)
	ListConsents(context.Context, *gateway.Call, gateway.ListConsents) ([]gateway.ConsentNow, string, error)
	WithdrawConsent(context.Context, *gateway.Call, gateway.WithdrawConsent) (gateway.ConsentWithdrawn, error)

	// GetConsentReceipt gives the receipt as a JSON-LD document.
	GetConsentReceipt(ctx context.Context, call *gateway.Call, tenant, consentID string) ([]byte, error)
}

type transfers interface {
	CheckTransfer(context.Context, *gateway.Call, gateway.CheckTransfer) (residency.Decision, error)
}

type policies interface {
	Policies(residency.Region) ([]gateway.PolicyVersion, error)
	Policy(region residency.Region, version string) (gateway.PolicyVersion, []byte, error)
	Explain(gateway.Explain) (policy.Explanation, *policy.Policy, error)
	ComparePolicies(gateway.ComparePolicies) (gateway.PoliciesCompared, error)
}

type decisions interface {
	GetDecision(ctx context.Context, call *gateway.Call, tenant, decisionID string) (gateway.DecisionRecord, error)
	ListDecisions(context.Context, *gateway.Call, gateway.ListDecisions) ([]gateway.DecisionRecord, string, error)
	GetReceipt(ctx context.Context, call *gateway.Call, tenant, decisionID string) ([]byte, error)
	GetCheckpoint(ctx context.Context, region residency.Region, cluster string) (gateway.Checkpoint, error)

	// ReadEntries hands a page to send in pieces, each good until send returns, the last with the next page's token.
	ReadEntries(ctx context.Context, call *gateway.Call, req gateway.ReadEntries, send func(list []gateway.LogEntry, next string) error) error

	// ExportLog hands the files to send one by one, each good until send returns.
	ExportLog(ctx context.Context, call *gateway.Call, req gateway.ExportLog, send func(path string, data []byte) error) error
}

type regions interface {
	Regions(context.Context) []gateway.RegionStatus
}

type recipients interface {
	RegisterRecipient(context.Context, *gateway.Call, gateway.PutRecipient) (gateway.Recipient, error)
	UpdateRecipient(context.Context, *gateway.Call, gateway.PutRecipient) (gateway.Recipient, error)
	ListRecipients(ctx context.Context, call *gateway.Call, tenant string, page gateway.Page) ([]gateway.Recipient, string, error)
	RevokeRecipient(context.Context, *gateway.Call, gateway.RecipientCall) (gateway.Recipient, error)
}

// choices are notices and the objections to what they announce.
type choices interface {
	GiveNotice(context.Context, *gateway.Call, gateway.GiveNotice) (gateway.Notice, error)
	RecordObjection(context.Context, *gateway.Call, gateway.RecordObjection) (gateway.Objection, error)
	LiftObjection(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Objection, error)
}

type orders interface {
	RecordLegalOrder(context.Context, *gateway.Call, gateway.RecordOrder) (gateway.Order, error)
	GetLegalOrder(ctx context.Context, call *gateway.Call, tenant, order string) (gateway.Order, error)
	ApproveLegalOrder(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Order, error)
	RejectLegalOrder(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Order, error)
	RevokeLegalOrder(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Order, error)
	ListLegalOrders(context.Context, *gateway.Call, gateway.ListOrders) ([]gateway.Order, string, error)
}

type informalRequests interface {
	RecordInformalRequest(context.Context, *gateway.Call, gateway.RecordInformal) (gateway.Informal, error)
	ApproveInformalRequest(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Informal, error)
}

type cases interface {
	OpenAbuseCase(context.Context, *gateway.Call, gateway.OpenCase) (gateway.Case, error)
	ApproveAbuseCase(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Case, error)
	CloseAbuseCase(context.Context, *gateway.Call, gateway.GovernanceCall) (gateway.Case, error)
	ListAbuseCases(context.Context, *gateway.Call, gateway.ListCases) ([]gateway.Case, string, error)
}

type disclosures interface {
	// Disclose hands what is disclosed to send piece by piece, at most 256 KiB of
	// a drive at a time, each good until send returns.
	Disclose(ctx context.Context, call *gateway.Call, req gateway.Disclose, send func(gateway.DisclosePiece) error) error
	ListDisclosures(context.Context, *gateway.Call, gateway.ListDisclosures) ([]gateway.Disclosure, string, error)
}

type usage interface {
	GetUsage(context.Context, *gateway.Call, gateway.GetUsage) (gateway.Usage, error)
}

// peers are where calls are for, and what the gateways of other regions ask.
type peers interface {
	router
	LocateTenant(context.Context, store.Tenant) (gateway.Located, error)
	ReserveTenant(ctx context.Context, t store.Tenant, home residency.Region) (free bool, err error)
	Leases(peer string, decisions []string) []gateway.StreamLease
	Cosign(ctx context.Context, of, by residency.Region, req gateway.Cosigning) (gateway.Cosigned, error)
}
