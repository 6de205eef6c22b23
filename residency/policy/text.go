package policy

import (
	"fmt"

	"github.com/domicile-project/domicile/residency"
)

// reasonWords say why an access is refused. A reason that decisions do not
// give has no words of its own.
var reasonWords = [residency.NumKinds]string{
	residency.CrossBorderConsentRequired:   "no recorded consent lets it cross the border",
	residency.ConsentIsWithdrawn:           "the consent that it relied on was withdrawn",
	residency.ConsentIsExpired:             "the consent that it relied on has expired",
	residency.ConsentIsSuperseded:          "the consent that it relied on was replaced or is void",
	residency.UseHomeEndpoint:              "it would pass through a third place; the home region's own endpoint takes it",
	residency.PurposeRequired:              "it states no purpose",
	residency.BadRequest:                   "it states a value that is missing, unknown or out of place",
	residency.CardDataRefused:              "it holds payment-card data",
	residency.PurposeNotPermitted:          "the data was not provided for that purpose, or the policy has no such use",
	residency.Restricted:                   "that use was restricted",
	residency.MarketingOptInRequired:       "there is no opt-in to promotional offers",
	residency.CollectionDeclined:           "automatic collection was declined",
	residency.ParentalConsentRequired:      "a child's information needs a parent's recorded consent",
	residency.DriveDataNeverShared:         "drive data is never shared",
	residency.RecipientNotRegistered:       "the recipient is not registered",
	residency.RecipientOutsideFunction:     "it is outside the recipient's function",
	residency.SafeguardMissing:             "the recipient has no safeguard agreement in force",
	residency.NoticeRequired:               "no notice was given",
	residency.NoticePeriodOpen:             "the period of the notice is not over",
	residency.ObjectionRecorded:            "an objection is recorded",
	residency.LegalOrderRequired:           "there is no legal order",
	residency.LegalOrderUnapproved:         "the legal order is not approved",
	residency.LegalOrderExpired:            "the legal order is not in force",
	residency.LegalOrderOutOfScope:         "the legal order does not cover it",
	residency.LegalOrderWrongJurisdiction:  "the legal order is of another jurisdiction",
	residency.ApproverNotDistinct:          "two different people must approve",
	residency.InformalRequestRefused:       "an informal request is not granted",
	residency.InspectionPermissionRequired: "there is no permission to inspect",
	residency.AgreementRequired:            "there is no recorded agreement to where the data is held",
	residency.PlacementNotPermitted:        "the data may not be held there",
	residency.PolicyUnavailable:            "no policy is in force",
}

// DecisionText puts a decision into one sentence of a fixed catalogue: words for
// values of closed sets, jurisdictions and the clause. It names no person and
// repeats no identifier.
func DecisionText(d residency.Decision) string {
	if d.Allow {
		return fmt.Sprintf("%s is permitted%s%s.", access(d), reliance(d), under(d.Clause))
	}
	why := "it is not permitted"
	if int(d.Reason) < len(reasonWords) && reasonWords[d.Reason] != "" {
		why = reasonWords[d.Reason]
	}
	return fmt.Sprintf("%s is refused: %s%s.", access(d), why, under(d.Clause))
}

func reliance(d residency.Decision) string {
	switch {
	case d.ConsentID != "" && d.OrderID != "":
		return " by a recorded consent and " + authority(d)
	case d.ConsentID != "":
		return " by a recorded consent"
	case d.OrderID != "":
		return " by " + authority(d)
	}
	return ""
}

// authority says what an OrderID names.
func authority(d residency.Decision) string {
	switch {
	case d.Action == residency.Inspect:
		return "an approved abuse case"
	case d.Purpose != residency.LegalObligation:
		return "a granted request"
	}
	return "a legal order"
}
