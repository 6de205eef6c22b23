package rpc

import (
	"encoding/hex"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// entryProto gives an entry of the log: all of it.
func entryProto(e *gateway.LogEntry) *residencyv1.AuditEntry {
	return &residencyv1.AuditEntry{
		Place:              count(e.Place),
		Time:               timestamp(e.Time),
		DecisionId:         e.DecisionID,
		Phase:              residencyv1.EntryPhase(e.Phase),
		Method:             e.Method,
		Caller:             e.Caller,
		Region:             string(e.Region),
		Gateway:            e.Gateway,
		TenantPseudonym:    e.Tenant,
		SubjectPseudonym:   e.Subject,
		ObjectPseudonym:    hex.EncodeToString(e.Object),
		RecipientPseudonym: hex.EncodeToString(e.Recipient),
		Outcome:            outcome(e.Allow),
		Reason:             reason(e.Reason),
		Missing:            e.Missing.Names(),
		Clause:             e.Clause,
		PolicyVersion:      e.PolicyVersion,
		PolicyDigest:       e.PolicyDigest,
		Controller:         e.Controller,
		ConsentId:          e.ConsentID,
		FurtherConsentIds:  e.Consents,
		OrderId:            e.OrderID,
		FromJurisdiction:   e.From.String(),
		ToJurisdiction:     e.To.String(),
		ViaJurisdictions:   jurisdictions(e.Via),
		Action:             residencyv1.Action(e.Action),
		DataClass:          residencyv1.DataClass(e.DataClass),
		Purpose:            residencyv1.Purpose(e.Purpose),
		Result:             reason(e.Result),
		Bytes:              count(e.Bytes),
		End:                e.End.String(),
	}
}

func jurisdictions(list []residency.Jurisdiction) []string {
	var out []string
	for _, j := range list {
		out = append(out, j.String())
	}
	return out
}
