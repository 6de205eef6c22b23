package consent

import (
	"net/url"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

const (
	// receiptSchema names receipt.schema.json; its number grows when the form changes.
	receiptSchema = "urn:domicile:schema:consent-receipt:1"
	// legalBasis is DPV's term for a consent given by an act that says nothing
	// else. Use alone is never taken for a consent.
	legalBasis = "dpv:ExplicitlyExpressedConsent"
	// product is whose rule something is that the policy does not say.
	product = "urn:domicile:product"
)

// The closest concepts of DPV 2. Where it has none, the class above all purposes.
var (
	purposeConcepts = [residency.NumPurposes]string{
		residency.Enquiries:              "dpv:CommunicationForCustomerCare",
		residency.ServiceProvision:       "dpv:ServiceProvision",
		residency.Payments:               "dpv:PaymentManagement",
		residency.Communication:          "dpv:CommunicationManagement",
		residency.Marketing:              "dpv:Marketing",
		residency.Records:                "dpv:RecordManagement",
		residency.FraudPrevention:        "dpv:FraudPreventionAndDetection",
		residency.CreditRisk:             "dpv:CustomerSolvencyMonitoring",
		residency.SubcontractedFunctions: "dpv:Purpose",
		residency.Session:                "dpv:TechnicalServiceProvision",
		residency.Personalisation:        "dpv:Personalisation",
		residency.BusinessTransfer:       "dpv:Purpose",
		residency.LegalObligation:        "dpv:LegalCompliance",
		residency.InspectionPurpose:      "dpv:MisusePreventionAndDetection",
	}
	// What is on a drive is not known to the controller, so it is taken for personal.
	dataConcepts = [residency.NumDataClasses]string{
		residency.PersonalInformation: "dpv:PersonalData",
		residency.VirtualDriveData:    "dpv:PersonalData",
		residency.AccountData:         "dpv:NonPersonalData",
	}
	// Superseded, by a later consent or by a revision of the policy, is closest
	// to a consent that is deemed invalid: nobody took it back.
	stateConcepts = [residency.NumConsentStates]string{
		residency.ConsentActive:     "dpv:ConsentGiven",
		residency.ConsentWithdrawn:  "dpv:ConsentWithdrawn",
		residency.ConsentExpired:    "dpv:ConsentExpired",
		residency.ConsentSuperseded: "dpv:ConsentInvalidated",
	}
	// What each kind of consent permits to be done.
	operations = [residency.NumConsentKinds][]typed{
		residency.BorderCrossing:       {{"dpv:CrossBorderTransfer"}, {"dpv:Use"}},
		residency.MarketingOptIn:       {{"dpv:Use"}},
		residency.Parental:             {{"dpv:Collect"}, {"dpv:Store"}, {"dpv:Use"}},
		residency.InspectionPermission: {{"dpv:Consult"}},
		residency.ResidenceAgreement:   {{"dpv:CrossBorderTransfer"}, {"dpv:Store"}},
	}
	// The fields of a personal record; its free attributes have no term.
	personalFields = []string{
		"pd:Name", "pd:PhysicalAddress", "pd:TelephoneNumber", "pd:EmailAddress", "pd:BirthDate", "pd:Residency",
	}
)

// right is something that may be asked of the gateway, and the method that does it.
type right struct {
	name     string // also the key of its label
	method   string
	ofDrives bool // only where the consent is about drives
}

var (
	withdrawal    = right{name: "withdraw", method: "ConsentService/WithdrawConsent"}
	subjectRights = []right{
		{name: "export", method: "RecordService/ExportSubject"},
		{name: "restrict", method: "RecordService/RestrictSubject"},
		{name: "object", method: "RecordService/ObjectToCollection"},
		{name: "erase", method: "RecordService/EraseSubject"},
	}
	tenantRights = []right{
		{name: "restrict-drive", method: "DriveService/RestrictDrive", ofDrives: true},
		{name: "erase-tenant", method: "TenantService/EraseTenant"},
	}
)

// urn makes a name under urn:domicile. What could break it is percent-encoded.
func urn(parts ...string) string {
	var b strings.Builder
	b.WriteString("urn:domicile")
	for _, p := range parts {
		b.WriteByte(':')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// country gives DPV's term for a country.
func country(j residency.Jurisdiction) string { return "loc:" + j.String() }

// term makes a value of a closed set: ours by name, an instance of the concept
// of DPV that is closest, if there is one.
func (w *writer) term(set, concept, name string) term {
	return term{ID: urn(set, name), Type: concept, Identifier: name, Label: w.label(set + ":" + name)}
}
