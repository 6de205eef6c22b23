package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
)

// GetConsentReceipt gives a consent's receipt, a JSON-LD document after ISO/IEC
// TS 27560 (package consent has its format).
func (g *Gateway) GetConsentReceipt(ctx context.Context, call *Call, tenant, consentID string) ([]byte, error) {
	a := &act{call: call, op: "gateway.GetConsentReceipt", tenant: tenant, suspended: true}
	var c, later consent.Consent
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		if c, _, err = t.readConsent(consentID); err != nil || c.SupersededBy == "" {
			return err
		}
		later, _, err = t.readConsent(c.SupersededBy)
		if residency.KindOf(err) == residency.NotFound { // a version of the policy superseded it
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.receipt(&c, later.GrantedBy)
}

// receipt writes a consent's receipt as of the transaction's time. supersedingCaller
// recorded the consent that replaced it, if one did.
func (t *txn) receipt(c *consent.Consent, supersedingCaller string) ([]byte, error) {
	region := t.home.region
	facts := consent.ReceiptFacts{
		Tenant: t.a.tenant, Controller: region.Controller, Region: region.Name, Jurisdiction: region.Jurisdiction,
		PolicyVersion: c.PolicyVersion, Issued: t.now, Issuer: t.g.cfg.Name, DecisionID: t.decision.ID,
		SupersedingCaller: supersedingCaller,
	}
	for _, p := range region.Policies {
		if p.Version == c.PolicyVersion {
			facts.PolicyDigest = p.Digest
		}
	}
	if facts.PolicyDigest == "" {
		return nil, t.unreceipted(residency.PolicyUnavailable,
			fmt.Errorf("policy version %s, under which the consent was recorded, is not configured", c.PolicyVersion))
	}
	if by, _ := region.voided(c, t.now); by != nil && c.SupersededBy == by.Version {
		facts.PolicySuperseded, facts.SupersedingVersion = by.Effective, by.Version
		c.Superseded, c.SupersededBy = time.Time{}, ""
	}
	b, err := c.Receipt(facts)
	if err != nil {
		return nil, t.unreceipted(residency.Internal, err)
	}
	return b, nil
}

func (t *txn) unreceipted(kind residency.Kind, err error) error {
	return &residency.Error{Op: t.a.op, Kind: kind, Err: err, Decision: &t.decision}
}
