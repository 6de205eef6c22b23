package main

import "slices"

// reportMethod is what a report makes of the entries of a method, beside counting them among transfers or denials.
type reportMethod struct {
	section    int // one of those below; 0 = nothing more
	what, step string
}

func right(what string) reportMethod { return reportMethod{section: inRights, what: what} }
func erasure(what string) reportMethod {
	return reportMethod{section: inErasures, what: what}
}

func authority(kind, step string) reportMethod {
	return reportMethod{section: inAuthorities, what: kind, step: step}
}

// sweepMethod is what entries name whom nobody called.
const sweepMethod = "sweep"

// What erasures are of.
const (
	erasedSubject = "subject"
	erasedTenant  = "tenant"
	erasedExpired = "expired-record"
)

// reportMethods are the methods that entries can be of, without the package. An entry of any other is
// reported as one that this program does not know; so a method that is added to the interface is added here.
var reportMethods = map[string]reportMethod{
	sweepMethod: {}, // told apart by its phase

	"TenantService/RegisterTenant": {},
	"TenantService/GetTenant":      {},
	"TenantService/ListTenants":    {},
	"TenantService/UpdateTenant":   {},
	"TenantService/SuspendTenant":  {},
	"TenantService/ResumeTenant":   {},
	"TenantService/EraseTenant":    erasure(erasedTenant),
	"TenantService/GetErasure":     {},

	"RecordService/PutRecord":          {},
	"RecordService/GetRecord":          {},
	"RecordService/ListRecords":        {},
	"RecordService/ListSubjects":       {},
	"RecordService/FindRecords":        {},
	"RecordService/DeleteRecord":       erasure("record"),
	"RecordService/RestrictSubject":    right("use-restricted"),
	"RecordService/LiftRestriction":    right("restriction-lifted"),
	"RecordService/ObjectToCollection": right("collection-declined"),
	"RecordService/WithdrawObjection":  right("collection-allowed-again"),
	"RecordService/ReportChild":        erasure(erasedSubject),
	"RecordService/ExportSubject":      right("file-exported"),
	"RecordService/EraseSubject":       erasure(erasedSubject),

	"DriveService/CreateDrive":          {},
	"DriveService/GetDrive":             {},
	"DriveService/ListDrives":           {},
	"DriveService/WriteDrive":           {},
	"DriveService/ReadDrive":            {},
	"DriveService/DeleteDrive":          erasure("drive"),
	"DriveService/InspectDrive":         {section: inInspections},
	"DriveService/RestrictDrive":        right("drive-use-restricted"),
	"DriveService/LiftDriveRestriction": right("drive-restriction-lifted"),
	"DriveService/SnapshotDrive":        {},
	"DriveService/ListSnapshots":        {},
	"DriveService/RestoreDrive":         {},
	"DriveService/DeleteSnapshot":       erasure("snapshot"),

	"ConsentService/GrantConsent":      right("consent-granted"),
	"ConsentService/GetConsent":        {},
	"ConsentService/ListConsents":      {},
	"ConsentService/WithdrawConsent":   right("consent-withdrawn"),
	"ConsentService/GetConsentReceipt": {},

	"TransferService/CheckTransfer":  {section: inChecks},
	"TransferService/StartTransfer":  {},
	"TransferService/GetTransfer":    {},
	"TransferService/ListTransfers":  {},
	"TransferService/WatchTransfer":  {},
	"TransferService/CancelTransfer": {},

	"DisclosureService/RegisterRecipient":      {},
	"DisclosureService/UpdateRecipient":        {},
	"DisclosureService/ListRecipients":         {},
	"DisclosureService/RevokeRecipient":        {},
	"DisclosureService/GiveNotice":             right("notice-given"),
	"DisclosureService/RecordObjection":        right("sharing-objected"),
	"DisclosureService/LiftObjection":          right("sharing-objection-lifted"),
	"DisclosureService/RecordLegalOrder":       authority("legal-order", "recorded"),
	"DisclosureService/GetLegalOrder":          {},
	"DisclosureService/ApproveLegalOrder":      authority("legal-order", "approved"),
	"DisclosureService/RejectLegalOrder":       authority("legal-order", "rejected"),
	"DisclosureService/RevokeLegalOrder":       authority("legal-order", "revoked"),
	"DisclosureService/ListLegalOrders":        {},
	"DisclosureService/RecordInformalRequest":  authority("informal-request", "recorded"),
	"DisclosureService/ApproveInformalRequest": authority("informal-request", "approved"),
	"DisclosureService/OpenAbuseCase":          authority("abuse-case", "opened"),
	"DisclosureService/ApproveAbuseCase":       authority("abuse-case", "approved"),
	"DisclosureService/CloseAbuseCase":         authority("abuse-case", "closed"),
	"DisclosureService/ListAbuseCases":         {},
	"DisclosureService/Disclose":               {section: inDisclosures},
	"DisclosureService/ListDisclosures":        {},

	"PolicyService/ListPolicies":    {},
	"PolicyService/GetPolicy":       {},
	"PolicyService/Explain":         {},
	"PolicyService/ComparePolicies": {},

	"AuditService/GetDecision":   {},
	"AuditService/ListDecisions": {},
	"AuditService/GetReceipt":    {},
	"AuditService/GetCheckpoint": {},
	"AuditService/ReadEntries":   {},
	"AuditService/ExportLog":     {},

	"UsageService/GetUsage": {},

	"GatewayService/GetGateway":  {},
	"GatewayService/ListRegions": {},

	"PeerService/LocateTenant":     {},
	"PeerService/ReserveTenant":    {},
	"PeerService/ExtendLeases":     {},
	"PeerService/CosignCheckpoint": {},
}

// The phases of entries, as package proof gives them.
const (
	phaseDecided = "DECIDED"
	phaseIntent  = "INTENT"
	phaseEnded   = "ENDED"
)

// What the counting below knows of; an entry with anything else is one that this program does not know.
var (
	reportPhases  = []string{phaseDecided, phaseIntent, phaseEnded}
	reportEnds    = []string{"", "completed", "cut", "unknown"}
	reportActions = []string{"", "COLLECT", "USE", "TRANSFER", "DISCLOSE", "INSPECT", "METER", "RESTRICT", "ERASE", "EXPORT", "GOVERN"}
	reportClasses = []string{"", "PERSONAL_INFORMATION", "VIRTUAL_DRIVE_DATA", "ACCOUNT_DATA"}
)

// classified reports whether an entry is of a kind that the report knows.
func classified(method, phase, end, action, class string) bool {
	_, ok := reportMethods[method]
	return ok && slices.Contains(reportPhases, phase) && slices.Contains(reportEnds, end) &&
		slices.Contains(reportActions, action) && slices.Contains(reportClasses, class)
}
