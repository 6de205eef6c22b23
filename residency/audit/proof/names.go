package proof

// The names of the numbers in entries, as FORMAT.md and the protos give them. They are only ever added to. What
// is left out of an entry has the number 0, whose name is thus never read.

const ended = "ENDED"

var (
	phases = []string{"", "DECIDED", "INTENT", ended}
	ends   = []string{"", "completed", "cut", "unknown"}

	actions     = []string{"", "COLLECT", "USE", "TRANSFER", "DISCLOSE", "INSPECT", "METER", "RESTRICT", "ERASE", "EXPORT", "GOVERN"}
	dataClasses = []string{"", "PERSONAL_INFORMATION", "VIRTUAL_DRIVE_DATA", "ACCOUNT_DATA"}
	purposes    = []string{
		"", "ENQUIRIES", "SERVICE_PROVISION", "PAYMENTS", "COMMUNICATION", "MARKETING", "RECORDS", "FRAUD_PREVENTION",
		"CREDIT_RISK", "SUBCONTRACTED_FUNCTIONS", "SESSION", "PERSONALISATION", "BUSINESS_TRANSFER", "LEGAL_OBLIGATION", "INSPECTION",
	}
	requirements = []string{
		"consent", "agreement", "purpose", "not-restricted", "opt-in", "collection", "parental-consent", "permission",
		"abuse-case", "registered", "function", "safeguard", "notice", "no-objection", "legal-order", "informal-grant", "necessity",
		"asset-transfer",
	}
	reasons = []string{
		"", "INTERNAL", "NO_IDENTITY", "CALLER_NOT_PERMITTED", "USE_HOME_ENDPOINT", "CROSS_BORDER_CONSENT_REQUIRED",
		"CONSENT_WITHDRAWN", "CONSENT_EXPIRED", "CONSENT_SUPERSEDED", "PURPOSE_REQUIRED", "BAD_REQUEST", "CARD_DATA_REFUSED",
		"PURPOSE_NOT_PERMITTED", "RESTRICTED", "MARKETING_OPT_IN_REQUIRED", "COLLECTION_DECLINED", "PARENTAL_CONSENT_REQUIRED",
		"DRIVE_DATA_NEVER_SHARED", "RECIPIENT_NOT_REGISTERED", "RECIPIENT_OUTSIDE_FUNCTION", "SAFEGUARD_MISSING",
		"NOTICE_REQUIRED", "NOTICE_PERIOD_OPEN", "OBJECTION_RECORDED", "LEGAL_ORDER_REQUIRED", "LEGAL_ORDER_UNAPPROVED",
		"LEGAL_ORDER_EXPIRED", "LEGAL_ORDER_OUT_OF_SCOPE", "LEGAL_ORDER_WRONG_JURISDICTION", "APPROVER_NOT_DISTINCT",
		"INFORMAL_REQUEST_REFUSED", "INSPECTION_PERMISSION_REQUIRED", "AGREEMENT_REQUIRED", "PLACEMENT_NOT_PERMITTED",
		"NOT_FOUND", "ERASED", "ALREADY_EXISTS", "VERSION_MISMATCH", "REQUEST_ID_REUSED", "TENANT_SUSPENDED",
		"TENANT_RELOCATING", "REGION_UNAVAILABLE", "AUDIT_UNAVAILABLE", "KEYS_UNAVAILABLE", "POLICY_UNAVAILABLE",
		"OVERLOADED", "QUOTA_EXCEEDED", "INTEGRITY_FAILURE", "CANCELED",
	}
)
