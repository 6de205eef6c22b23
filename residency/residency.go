// Package residency is the vocabulary that every other package speaks: the
// closed sets that a decision is made over, the decision itself, and the one
// error type that crosses package borders.
//
// It knows no storage, no transport, no clock and no policy, and imports the
// standard library only. The numbers of the enumerations are those of the
// residency.v1 protos; a test in server/rpc holds the two together. The zero value of
// every type is safe: unset is refused and the zero Decision is Deny.
package residency

import (
	"fmt"
	"strings"
	"time"
)

// DataClass is what kind of data an access touches.
type DataClass uint8

// The data classes.
const (
	DataClassUnspecified DataClass = iota
	PersonalInformation            // name, address, phone, e-mail and whatever else identifies a person
	VirtualDriveData               // the bytes on a tenant's drives
	AccountData                    // registrations, drive names and sizes, totals: nothing that names a subject
	NumDataClasses       = iota    // how many values there are, the unspecified one included
)

// Action is what an access does with the data.
type Action uint8

// The actions.
const (
	ActionUnspecified Action = iota
	Collect
	Use
	Transfer
	Disclose
	Inspect
	Meter
	Restrict
	Erase
	Export
	Govern
	NumActions = iota
)

// Purpose is why data is used.
type Purpose uint8

// The purposes (clause purposes).
const (
	PurposeUnspecified Purpose = iota
	Enquiries
	ServiceProvision
	Payments
	Communication
	Marketing
	Records
	FraudPrevention
	CreditRisk
	SubcontractedFunctions
	Session
	Personalisation
	BusinessTransfer
	LegalObligation
	InspectionPurpose
	NumPurposes = iota
)

// Source is where a record came from (clause pi-sources).
type Source uint8

// The sources.
const (
	SourceUnspecified Source = iota
	Provided
	Automatic
	FromThirdParty
	NumSources = iota
)

// RecipientKind is what kind of party receives a disclosure.
type RecipientKind uint8

// The recipient kinds. The zero value stands for "nobody outside the company".
const (
	NoRecipient RecipientKind = iota
	AssociateOffice
	Agent
	Subcontractor
	FraudPartner
	Acquirer
	LawEnforcement
	PublicAuthority
	ThirdParty
	NumRecipientKinds = iota
)

// ConsentKind is what a recorded consent permits.
type ConsentKind uint8

// The consent kinds.
const (
	ConsentKindUnspecified ConsentKind = iota
	BorderCrossing
	MarketingOptIn
	Parental
	InspectionPermission
	ResidenceAgreement
	NumConsentKinds = iota
)

// ConsentState is where a consent stands at a moment.
type ConsentState uint8

// The consent states.
const (
	ConsentStateUnspecified ConsentState = iota
	ConsentActive
	ConsentWithdrawn
	ConsentExpired
	ConsentSuperseded
	NumConsentStates = iota
)

// Party is whose software a caller is. The zero value is treated as Provider.
type Party uint8

// The parties.
const (
	PartyUnspecified Party = iota
	ProviderParty          // the cloud provider's own service
	TenantParty            // software that acts for the tenant itself
	NumParties       = iota
)

var (
	dataClassNames     = [...]string{"UNSPECIFIED", "PERSONAL_INFORMATION", "VIRTUAL_DRIVE_DATA", "ACCOUNT_DATA"}
	actionNames        = [...]string{"UNSPECIFIED", "COLLECT", "USE", "TRANSFER", "DISCLOSE", "INSPECT", "METER", "RESTRICT", "ERASE", "EXPORT", "GOVERN"}
	purposeNames       = [...]string{"UNSPECIFIED", "ENQUIRIES", "SERVICE_PROVISION", "PAYMENTS", "COMMUNICATION", "MARKETING", "RECORDS", "FRAUD_PREVENTION", "CREDIT_RISK", "SUBCONTRACTED_FUNCTIONS", "SESSION", "PERSONALISATION", "BUSINESS_TRANSFER", "LEGAL_OBLIGATION", "INSPECTION"}
	sourceNames        = [...]string{"UNSPECIFIED", "PROVIDED", "AUTOMATIC", "THIRD_PARTY"}
	recipientKindNames = [...]string{"UNSPECIFIED", "ASSOCIATE_OFFICE", "AGENT", "SUBCONTRACTOR", "FRAUD_PARTNER", "ACQUIRER", "LAW_ENFORCEMENT", "PUBLIC_AUTHORITY", "THIRD_PARTY"}
	consentKindNames   = [...]string{"UNSPECIFIED", "BORDER_CROSSING", "MARKETING_OPT_IN", "PARENTAL", "INSPECTION_PERMISSION", "RESIDENCE_AGREEMENT"}
	consentStateNames  = [...]string{"UNSPECIFIED", "ACTIVE", "WITHDRAWN", "EXPIRED", "SUPERSEDED"}
	partyNames         = [...]string{"UNSPECIFIED", "PROVIDER", "TENANT"}
)

func name[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("UNKNOWN(%d)", uint8(v))
}

func parse[T ~uint8](kind string, names []string, s string) (T, error) {
	for i := 1; i < len(names); i++ {
		if names[i] == s {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q: want one of %s", kind, s, strings.Join(names[1:], ", "))
}

// String gives the name that policy files and metrics use, for example "PERSONAL_INFORMATION".
func (v DataClass) String() string     { return name(dataClassNames[:], v) }
func (v Action) String() string        { return name(actionNames[:], v) }
func (v Purpose) String() string       { return name(purposeNames[:], v) }
func (v Source) String() string        { return name(sourceNames[:], v) }
func (v RecipientKind) String() string { return name(recipientKindNames[:], v) }
func (v ConsentKind) String() string   { return name(consentKindNames[:], v) }
func (v ConsentState) String() string  { return name(consentStateNames[:], v) }
func (v Party) String() string         { return name(partyNames[:], v) }

// ParseDataClass and its kin read the name that String gives. They refuse
// "UNSPECIFIED" and anything in another letter case.
func ParseDataClass(s string) (DataClass, error) {
	return parse[DataClass]("data class", dataClassNames[:], s)
}

// ParseAction reads an action's name.
func ParseAction(s string) (Action, error) { return parse[Action]("action", actionNames[:], s) }

// ParsePurpose reads a purpose's name.
func ParsePurpose(s string) (Purpose, error) { return parse[Purpose]("purpose", purposeNames[:], s) }

// ParseSource reads a source's name.
func ParseSource(s string) (Source, error) { return parse[Source]("source", sourceNames[:], s) }

// ParseRecipientKind reads a recipient kind's name.
func ParseRecipientKind(s string) (RecipientKind, error) {
	return parse[RecipientKind]("recipient kind", recipientKindNames[:], s)
}

// ParseConsentKind reads a consent kind's name.
func ParseConsentKind(s string) (ConsentKind, error) {
	return parse[ConsentKind]("consent kind", consentKindNames[:], s)
}

// ParseParty reads a party's name.
func ParseParty(s string) (Party, error) { return parse[Party]("party", partyNames[:], s) }

// MaxID is the longest identifier, in bytes.
const MaxID = 64

// ValidID reports whether s may name a tenant, subject, record, drive or consent: 1 to
// 64 bytes of [A-Za-z0-9._-], the first a letter or digit. Identifiers are compared byte for byte.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > MaxID {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// Decision is one decision over one access. The zero value is Deny.
type Decision struct {
	ID            string       // a UUID, under which the audit log has it
	Allow         bool         // whether the access is permitted
	Reason        Kind         // why it is refused; OK when permitted
	Missing       Requirements // the requirements that were not met
	Clause        string       // the clause that decided
	PolicyVersion string
	PolicyDigest  string // "sha256:" and hex
	Controller    string // the legal entity that controls the data
	ConsentID     string // the consent relied on or, when refused, the one that no longer holds
	OrderID       string // the legal order, abuse case or granted request relied on
	From          Jurisdiction
	To            Jurisdiction
	Action        Action
	DataClass     DataClass
	Purpose       Purpose
	Time          time.Time // the storage cluster's clock
}

// Requirement is something that must be met for an access to be permitted. The
// order is that in which requirements are checked: the border comes first.
type Requirement uint8

// The requirements.
const (
	RequireConsent         Requirement = iota // a border-crossing consent that covers the access
	RequireAgreement                          // a recorded agreement to where the data is held
	RequirePurpose                            // the record was provided for this purpose
	RequireNotRestricted                      // the purpose has not been restricted since
	RequireOptIn                              // an active marketing opt-in
	RequireCollection                         // no recorded objection to automatic collection
	RequireParentalConsent                    // not under 13, or a parent's consent
	RequirePermission                         // the tenant's permission to inspect
	RequireAbuseCase                          // an approved, open abuse case
	RequireRegistered                         // the recipient is registered
	RequireFunction                           // the purpose and fields belong to the recipient's function
	RequireSafeguard                          // the recipient's safeguard agreement is recorded and unexpired
	RequireNotice                             // a recorded notice whose period is over
	RequireNoObjection                        // no objection is recorded
	RequireLegalOrder                         // an approved order in force that covers the access
	RequireInformalGrant                      // an approver granted the informal request
	RequireNecessity                          // the necessity of the exchange is recorded
	RequireAssetTransfer                      // the business passes and the information with it; due diligence is not that
	NumRequirements        = iota
)

var requirementNames = [...]string{
	"consent", "agreement", "purpose", "not-restricted", "opt-in", "collection", "parental-consent", "permission",
	"abuse-case", "registered", "function", "safeguard", "notice", "no-objection", "legal-order", "informal-grant", "necessity",
	"asset-transfer",
}

// String gives the name that policy files write, for example "parental-consent".
func (r Requirement) String() string { return name(requirementNames[:], r) }

// ParseRequirement reads a requirement's name.
func ParseRequirement(s string) (Requirement, error) {
	for i, n := range requirementNames {
		if n == s {
			return Requirement(i), nil
		}
	}
	return 0, fmt.Errorf("unknown requirement %q: want one of %s", s, strings.Join(requirementNames[:], ", "))
}

// Requirements is a set of requirements, a bit each.
type Requirements uint32

// Set makes a set.
func Set(rs ...Requirement) Requirements {
	var s Requirements
	for _, r := range rs {
		s |= 1 << r
	}
	return s
}

// Has reports whether the set holds r.
func (s Requirements) Has(r Requirement) bool { return s&(1<<r) != 0 }

// Names lists the set's members in the order in which they are checked.
func (s Requirements) Names() []string {
	var out []string
	for r := range Requirement(NumRequirements) {
		if s.Has(r) {
			out = append(out, r.String())
		}
	}
	return out
}

// Purposes is a set of purposes, a bit each.
type Purposes uint32

// PurposeSet makes a set.
func PurposeSet(ps ...Purpose) Purposes {
	var s Purposes
	for _, p := range ps {
		s |= 1 << p
	}
	return s
}

// Has reports whether the set holds p; it never holds the unspecified purpose.
func (s Purposes) Has(p Purpose) bool { return p != PurposeUnspecified && s&(1<<p) != 0 }

// List gives the set's members in ascending order.
func (s Purposes) List() []Purpose {
	var out []Purpose
	for p := Purpose(1); p < NumPurposes; p++ {
		if s.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// DataClasses is a set of data classes, a bit each.
type DataClasses uint8

// DataClassSet makes a set.
func DataClassSet(cs ...DataClass) DataClasses {
	var s DataClasses
	for _, c := range cs {
		s |= 1 << c
	}
	return s
}

// Has reports whether the set holds c; it never holds the unspecified class.
func (s DataClasses) Has(c DataClass) bool { return c != DataClassUnspecified && s&(1<<c) != 0 }

// List gives the set's members in ascending order.
func (s DataClasses) List() []DataClass {
	var out []DataClass
	for c := DataClass(1); c < NumDataClasses; c++ {
		if s.Has(c) {
			out = append(out, c)
		}
	}
	return out
}
