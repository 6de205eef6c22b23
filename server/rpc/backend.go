package rpc

import (
	"context"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
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
}

type tenants interface {
	RegisterTenant(context.Context, *gateway.Call, gateway.NewTenant) (gateway.Tenant, error)
	GetTenant(ctx context.Context, call *gateway.Call, tenant string) (gateway.Tenant, error)
	ListTenants(context.Context, *gateway.Call, residency.Region, gateway.Page) ([]gateway.Tenant, string, error)
}

type records interface {
	PutRecord(context.Context, *gateway.Call, gateway.PutRecord) (gateway.RecordWritten, error)
	GetRecord(context.Context, *gateway.Call, gateway.GetRecord) (gateway.Record, error)
	ListRecords(context.Context, *gateway.Call, gateway.ListRecords) ([]gateway.Record, string, error)
	ListSubjects(context.Context, *gateway.Call, gateway.ListSubjects) ([]gateway.Subject, string, error)
	FindRecords(context.Context, *gateway.Call, gateway.FindRecords) ([]gateway.Record, string, error)
	DeleteRecord(context.Context, *gateway.Call, gateway.DeleteRecord) error
}

type drives interface {
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
}

type consents interface {
	GrantConsent(context.Context, *gateway.Call, gateway.GrantConsent) (gateway.ConsentNow, error)
	GetConsent(ctx context.Context, call *gateway.Call, tenant, consentID string) (gateway.ConsentNow, error)
	ListConsents(context.Context, *gateway.Call, gateway.ListConsents) ([]gateway.ConsentNow, string, error)
	WithdrawConsent(context.Context, *gateway.Call, gateway.WithdrawConsent) (gateway.ConsentWithdrawn, error)
}

type transfers interface {
	CheckTransfer(context.Context, *gateway.Call, gateway.CheckTransfer) (residency.Decision, error)
}

type policies interface {
	Policies(residency.Region) ([]gateway.PolicyVersion, error)
	Policy(region residency.Region, version string) (gateway.PolicyVersion, []byte, error)
	Explain(gateway.Explain) (policy.Explanation, *policy.Policy, error)
}

type decisions interface {
	GetDecision(ctx context.Context, call *gateway.Call, tenant, decisionID string) (gateway.DecisionRecord, error)
	ListDecisions(context.Context, *gateway.Call, gateway.ListDecisions) ([]gateway.DecisionRecord, string, error)
}

type regions interface {
	Regions(context.Context) []gateway.RegionStatus
}
