package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// ReceiptMediaType is the media type of a receipt.
const ReceiptMediaType = "application/ld+json"

// ReceiptFacts are the facts that a receipt states beside the consent. All are
// required but those said to be optional.
type ReceiptFacts struct {
	Tenant        string
	Controller    string // the legal entity that controls the data
	Region        residency.Region
	Jurisdiction  residency.Jurisdiction // the region's
	PolicyVersion string                 // the version under which the consent was recorded
	PolicyDigest  string                 // its digest: "sha256:" and 64 hexadecimal digits
	Issued        time.Time              // the region's clock
	Issuer        string                 // the gateway's name
	DecisionID    string                 // optional: of the call that asks for the receipt

	PolicySuperseded   time.Time // when a revision of the policy voided the consent; zero = none did
	SupersedingVersion string    // that revision; required with PolicySuperseded

	// Optional: how the controller is reached. The receipt says of what is empty
	// that it is not available.
	ControllerAddress, ControllerContact string
	// Optional: the caller that recorded the consent which replaced this one.
	SupersedingCaller string
	// Optional: what the register says of the recipients that the consent names.
	// One that is not here is named by its identifier alone.
	Recipients []ReceiptRecipient
}

// ReceiptRecipient is what the register says of a recipient. All of it is required.
type ReceiptRecipient struct {
	ID           string
	Name         string
	Kind         residency.RecipientKind
	Jurisdiction residency.Jurisdiction
}

var (
	languageTag = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$`) // as the API takes it
	digestForm  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Receipt gives the consent's receipt at the moment it is issued: a JSON-LD
// document after ISO/IEC TS 27560:2023 in terms of the Data Privacy Vocabulary
// (FORMAT.md). The same consent and facts give the same bytes, UTF-8; nothing
// outside them is needed to read it. It holds personal information.
//
// A later receipt of the same consent has all the events of an earlier one, in
// the same order. An error means that something is missing without which a receipt would
// not say what it has to; it repeats none of the values.
func (c *Consent) Receipt(f ReceiptFacts) ([]byte, error) {
	if err := c.receivable(&f); err != nil {
		return nil, residency.E("consent.Receipt", residency.Internal, err)
	}
	w := writer{c: c, f: &f}
	w.language, w.column = documentLanguage(c.Evidence.NoticeLanguage)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(w.document()); err != nil {
		return nil, residency.E("consent.Receipt", residency.Internal, err)
	}
	return b.Bytes(), nil
}

// receivable reports what is missing.
func (c *Consent) receivable(f *ReceiptFacts) error {
	for _, must := range []struct {
		hold bool
		what string
	}{
		{residency.ValidID(c.ID), "the consent has no valid identifier"},
		{c.Kind > 0 && c.Kind < residency.NumConsentKinds, "the consent has no kind"},
		{c.WholeTenant == (c.Subject == ""), "the consent must be either a subject's or the whole tenant's"},
		{c.WholeTenant || residency.ValidID(c.Subject), "the consent's subject is not a valid identifier"},
		{len(c.Classes.List()) > 0, "the consent names no data class"},
		{len(c.Purposes.List()) > 0, "the consent names no purpose"},
		{!c.From.IsZero() && !c.To.IsZero(), "the consent does not say where it leads from and to"},
		{!c.Granted.IsZero() && !c.Expires.IsZero() && c.GrantedBy != "", "the consent does not say when and by whom it was recorded, and when it ends"},
		{c.Withdrawn.IsZero() || c.WithdrawnBy != "", "the consent does not say who withdrew it"},
		{c.Superseded.IsZero() || c.SupersededBy != "", "the consent does not say what replaced it"},
		{c.Evidence.Method != "" && c.Evidence.Grantor != "" && !c.Evidence.Stated.IsZero(), "the evidence lacks method, grantor or time"},
		{languageTag.MatchString(c.Evidence.NoticeLanguage), "the notice's language must be a BCP 47 tag"},
		{digestForm.MatchString(c.Evidence.NoticeDigest), "the notice's digest must be sha256: and 64 hexadecimal digits"},
	} {
		if !must.hold {
			return errors.New(must.what)
		}
	}
	return f.complete(c)
}

// complete reports what is missing of the facts.
func (f *ReceiptFacts) complete(c *Consent) error {
	for _, must := range []struct {
		hold bool
		what string
	}{
		{residency.ValidID(f.Tenant), "the tenant is not a valid identifier"},
		{f.Controller != "" && f.Region != "" && !f.Jurisdiction.IsZero(), "controller, region and jurisdiction must be stated"},
		{f.PolicyVersion != "" && f.PolicyVersion == c.PolicyVersion, "the policy version must be the one that the consent was recorded under"},
		{digestForm.MatchString(f.PolicyDigest), "the policy's digest must be sha256: and 64 hexadecimal digits"},
		{!f.Issued.IsZero() && f.Issuer != "", "when and by which gateway the receipt is issued must be stated"},
		{f.PolicySuperseded.IsZero() == (f.SupersedingVersion == ""), "a revision that voided the consent needs its time and its version"},
		{!slices.ContainsFunc(f.Recipients, unnamed), "what is stated of a recipient must hold its name, kind and jurisdiction"},
		{f.PolicySuperseded.IsZero() || !f.PolicySuperseded.Before(c.Granted), "a revision cannot void a consent that was recorded after it"},
	} {
		if !must.hold {
			return errors.New(must.what)
		}
	}
	return nil
}

func unnamed(r ReceiptRecipient) bool {
	return r.Name == "" || r.Kind == residency.NoRecipient || r.Kind >= residency.NumRecipientKinds || r.Jurisdiction.IsZero()
}

// receiptID names the receipt: a UUID of version 8 (RFC 9562) drawn from what
// makes this receipt another than the next, so that it needs no randomness.
func receiptID(c *Consent, f *ReceiptFacts) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "domicile consent receipt %q %q %q %q", c.ID, f.DecisionID, f.Issuer, stamp(f.Issued)))
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// stamp writes a moment as the receipt does: RFC 3339 in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
