package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// testController: the region, the tenant, every decision, what is recorded of an erasure and a
// consent's receipt name the one legal entity; a policy of another one is not taken into use.
func testController(c *clause) {
	tenant, err := c.admin.Tenants.GetTenant(c.Context(), &residencyv1.GetTenantRequest{TenantId: c.tenant})
	if err != nil || tenant.Tenant.Controller != c.controller {
		c.Fatalf("the tenant is controlled by %q (%v), want %s", tenant.GetTenant().GetController(), err, c.controller)
	}
	regions, err := c.admin.Gateway.ListRegions(c.Context(), &residencyv1.ListRegionsRequest{})
	if err != nil {
		c.Fatal(err)
	}
	for _, r := range regions.Regions {
		if r.Region == c.region && r.Controller != c.controller {
			c.Errorf("the region is controlled by %q", r.Controller)
		}
	}
	c.hold("s", "r", payments)
	c.allow("reading", c.get(c.app, "s", "r", payments), "") // allow and deny check the controller of each decision
	c.deny("reading from abroad", c.get(c.foreignApp, "s", "r", payments), "CROSS_BORDER_CONSENT_REQUIRED", "product/border")
	id := c.grant(c.crossing(personal, payments))
	held, err := c.app.Records.GetRecord(c.Context(), &residencyv1.GetRecordRequest{
		TenantId: c.tenant, SubjectId: "s", RecordId: "r", Purpose: payments,
	})
	if err != nil || held.Record.Controller != c.controller {
		c.Errorf("the record is controlled by %q (%v)", held.GetRecord().GetController(), err)
	}
	given, err := c.app.Consents.GetConsent(c.Context(), &residencyv1.GetConsentRequest{TenantId: c.tenant, ConsentId: id})
	if err != nil || given.Consent.Controller != c.controller {
		c.Errorf("the consent is given to %q (%v)", given.GetConsent().GetController(), err)
	}
	receipt, err := c.app.Consents.GetConsentReceipt(c.Context(), &residencyv1.GetConsentReceiptRequest{TenantId: c.tenant, ConsentId: id})
	if err != nil || !bytes.Contains(receipt.Receipt, []byte(`"`+c.controller+`"`)) {
		c.Errorf("the receipt does not name %s: %v\n%s", c.controller, err, receipt.GetReceipt())
	}
	erased, err := c.admin.Records.EraseSubject(c.Context(), &residencyv1.EraseSubjectRequest{TenantId: c.tenant, SubjectId: "s"})
	if err != nil || erased.Erasure.Controller != c.controller {
		c.Errorf("the erasure is by %q (%v)", erased.GetErasure().GetController(), err)
	}
	c.checkRefuses(strings.ReplaceAll(printed(c, c.TempDir()), c.controller, "Another Company"), "clause controller")
}

// checkRefuses has the daemon check a configuration, which it must refuse saying why.
func (c *clause) checkRefuses(text, says string) {
	c.Helper()
	file := filepath.Join(c.TempDir(), "refused.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	out, err := domiciled("--check", "--config", file)
	if err == nil || !strings.Contains(out, says) {
		c.Errorf("the check: %v, want it refused with %q\n%s", err, says, out)
	}
}

// checkAccepts has the daemon check a configuration, which it must accept.
func (c *clause) checkAccepts(text string) {
	c.Helper()
	file := filepath.Join(c.TempDir(), "accepted.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	if out, err := domiciled("--check", "--config", file); err != nil {
		c.Errorf("the check: %v\n%s", err, out)
	}
}

// testSecurity: nobody gets in without a certificate that the gateway's own authority signed
// and whose identity it knows, and nobody does more than they are permitted to.
func testSecurity(c *clause) {
	c.hold("s", "r", payments)
	c.allow("a caller with a certificate", c.get(c.app, "s", "r", payments), "")
	for what, creds := range map[string]credentials.TransportCredentials{
		"plaintext":                          insecure.NewCredentials(),
		"no certificate":                     credentials.NewTLS(c.tls()),
		"a certificate of another authority": credentials.NewTLS(c.tls(c.forged())),
	} {
		conn, err := grpc.NewClient(c.d.grpc, grpc.WithTransportCredentials(creds))
		if err != nil {
			c.Fatal(err)
		}
		_, err = residencyv1.NewRecordServiceClient(conn).GetRecord(c.Context(), &residencyv1.GetRecordRequest{
			TenantId: c.tenant, SubjectId: "s", RecordId: "r", Purpose: payments,
		})
		if !isCode(err, codes.Unavailable) && !isCode(err, codes.Unauthenticated) {
			c.Errorf("%s: %v, want no connection", what, err)
		}
		conn.Close()
	}
	c.forbidden("an operator who may see no tenant", c.get(c.d.dial(c, "sre"), "s", "r", payments))
	c.forbidden("an approver who writes", c.put(c.officer, personalRecord("s", "r", "anna")))
	c.forbidden("an administrator who approves", func(o grpc.CallOption) error {
		_, err := c.admin.Disclosures.ApproveLegalOrder(c.Context(), &residencyv1.ApproveLegalOrderRequest{TenantId: c.tenant, OrderId: "o"}, o)
		return err
	})
	err := c.admin.Conn().Invoke(c.Context(), "/residency.v1.RecordService/DumpRecords", &residencyv1.GetRecordRequest{}, &residencyv1.GetRecordResponse{})
	if !isCode(err, codes.Unimplemented) {
		c.Errorf("a method that is not served: %v", err)
	}
}

// tls verifies the gateway as its clients do, and presents the certificates.
func (c *clause) tls(own ...tls.Certificate) *tls.Config {
	pem, err := os.ReadFile(filepath.Join(c.d.data, "identity", "ca.crt"))
	if err != nil {
		c.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		c.Fatal("no certificate in ca.crt")
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: own}
}

// forged makes a certificate that claims to be an administrator's, signed by itself.
func (c *clause) forged() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	claim := &url.URL{Scheme: "spiffe", Host: "domicile.local", Path: "/" + c.region + "/admin-" + c.region}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{claim}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// testImpliedAcceptance: however much a tenant uses the service, nothing is taken for its
// consent; what counts is a recorded act, with evidence of it.
func testImpliedAcceptance(c *clause) {
	for range 10 {
		c.hold("s", "r", payments)
		c.allow("use", c.get(c.app, "s", "r", payments), "")
	}
	consents, err := c.app.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant})
	if err != nil || len(consents.Consents) != 0 {
		c.Fatalf("use made %d consents (%v)", len(consents.GetConsents()), err)
	}
	c.deny("reading from abroad after use", c.get(c.foreignApp, "s", "r", payments), "CROSS_BORDER_CONSENT_REQUIRED", "product/border")
	grant := func(consent *residencyv1.Consent) call {
		return func(o grpc.CallOption) error {
			_, err := c.app.Consents.GrantConsent(c.Context(), &residencyv1.GrantConsentRequest{TenantId: c.tenant, Consent: consent}, o)
			return err
		}
	}
	without := c.crossing(personal, payments)
	without.Evidence = nil
	c.refuse("a consent without evidence", grant(without), "BAD_REQUEST")
	nobody := c.crossing(personal, payments)
	nobody.Evidence.Grantor = ""
	c.refuse("a consent that nobody gave", grant(nobody), "BAD_REQUEST")
	c.allow("a recorded act", grant(c.crossing(personal, payments)), c.id)
	c.allow("reading from abroad after consent", c.get(c.foreignApp, "s", "r", payments), "product/border")
	consents, err = c.app.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant})
	if err != nil || len(consents.Consents) != 1 {
		c.Fatalf("one act made %d consents (%v)", len(consents.GetConsents()), err)
	}
	c.allow("taking it back", func(o grpc.CallOption) error {
		_, err := c.app.Consents.WithdrawConsent(c.Context(), &residencyv1.WithdrawConsentRequest{TenantId: c.tenant, ConsentId: consents.Consents[0].ConsentId}, o)
		return err
	}, c.id)
	c.governing()
}

// governing: what governs a tenant's data but is no consent is the product's rule, in every column.
func (c *clause) governing() {
	c.Helper()
	agent := c.newRecipient("agent", residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, payments)
	for what, f := range map[string]call{
		"looking at consents": func(o grpc.CallOption) error {
			_, err := c.app.Consents.ListConsents(c.Context(), &residencyv1.ListConsentsRequest{TenantId: c.tenant}, o)
			return err
		},
		"registering a recipient": func(o grpc.CallOption) error {
			_, err := c.admin.Disclosures.RegisterRecipient(c.Context(), &residencyv1.RegisterRecipientRequest{TenantId: c.tenant, Recipient: agent}, o)
			return err
		},
		"recording an objection": func(o grpc.CallOption) error {
			_, err := c.admin.Disclosures.RecordObjection(c.Context(), &residencyv1.RecordObjectionRequest{
				TenantId: c.tenant, Objection: &residencyv1.Objection{Scope: &residencyv1.Objection_SubjectId{SubjectId: "s"}},
			}, o)
			return err
		},
	} {
		c.allow(what, f, "product/governance")
	}
}

// testRevisions: decisions name the version in force and its digest, which is that of the file
// that anybody may read; a changed file is told apart, and cannot pass for the same version.
func testRevisions(c *clause) {
	policies, err := c.admin.Policies.ListPolicies(c.Context(), &residencyv1.ListPoliciesRequest{Region: c.region})
	if err != nil || len(policies.Policies) != 1 {
		c.Fatalf("%d policies (%v)", len(policies.GetPolicies()), err)
	}
	p := policies.Policies[0]
	c.hold("s", "r", payments)
	r := c.allow("reading", c.get(c.app, "s", "r", payments), "")
	if !p.Active || r.Decision.PolicyVersion != p.Version || r.Decision.PolicyDigest != p.Digest {
		c.Errorf("the decision names %s %s, in force is %s %s", r.Decision.PolicyVersion, r.Decision.PolicyDigest, p.Version, p.Digest)
	}
	file, err := c.admin.Policies.GetPolicy(c.Context(), &residencyv1.GetPolicyRequest{Region: c.region, Version: p.Version})
	if err != nil {
		c.Fatal(err)
	}
	changed := bytes.Replace(file.File, []byte("consent_months: 12"), []byte("consent_months: 6"), 1)
	c.comparePolicies(p.Version, changed)
	c.refuse("comparing with what is no policy", func(o grpc.CallOption) error {
		_, err := c.admin.Policies.ComparePolicies(c.Context(), &residencyv1.ComparePoliciesRequest{
			Region: c.region, FromVersion: p.Version, To: &residencyv1.ComparePoliciesRequest_Candidate{Candidate: []byte("rules: []")},
		}, o)
		return err
	}, "BAD_REQUEST")
	dir := c.TempDir()
	for name, text := range map[string][]byte{"a.yaml": file.File, "b.yaml": changed} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			c.Fatal(err)
		}
	}
	old := "- " + p.Version + ".yaml"
	text := printed(c, dir)
	if !strings.Contains(text, old) {
		c.Fatalf("no policy %q in\n%s", old, text)
	}
	two := "- " + filepath.Join(dir, "a.yaml") + "\n    - " + filepath.Join(dir, "b.yaml")
	c.checkRefuses(strings.Replace(text, old, two, 1), "two digests")
}

// comparePolicies compares the version in force with a candidate that changes no decision, and
// with one that takes marketing away altogether.
func (c *clause) comparePolicies(version string, same []byte) {
	c.Helper()
	compare := func(candidate []byte) *residencyv1.ComparePoliciesResponse {
		r, err := c.admin.Policies.ComparePolicies(c.Context(), &residencyv1.ComparePoliciesRequest{
			Region: c.region, FromVersion: version, To: &residencyv1.ComparePoliciesRequest_Candidate{Candidate: candidate},
		})
		if err != nil {
			c.Fatal(err)
		}
		return r
	}
	later := bytes.Replace(same, []byte("version: "+version), []byte("version: later"), 1)
	later = bytes.Replace(later, []byte("effective: "+version[len(version)-len("2012-05-02"):]), []byte("effective: 2030-01-01"), 1)
	if r := compare(later); r.Changed != 0 || len(r.Changes) != 0 {
		c.Errorf("another consent period changes %d decisions", r.Changed)
	}
	stricter := bytes.Replace(later, []byte("rules:\n"), []byte("rules:\n  - purpose: MARKETING\n    deny: PURPOSE_NOT_PERMITTED\n    clause: marketing\n"), 1)
	r := compare(stricter)
	if r.Changed == 0 || len(r.Changes) == 0 || len(r.Voided) == 0 || r.Compared < r.Changed {
		c.Errorf("no more marketing changes %d of %d decisions and voids %d consents", r.Changed, r.Compared, len(r.Voided))
	}
}

// testLanguages: a consent records the notice's language, whichever it is, and its digest; the
// receipt has both, and is itself in one of the languages of the policy's own notice.
func testLanguages(c *clause) {
	grant := func(language, digest string) (*residencyv1.Consent, error) {
		consent := c.crossing(personal, payments)
		consent.Evidence.NoticeLanguage, consent.Evidence.NoticeDigest = language, digest
		r, err := c.app.Consents.GrantConsent(c.Context(), &residencyv1.GrantConsentRequest{TenantId: c.tenant, Consent: consent})
		return r.GetConsent(), err
	}
	for i, language := range []string{"en", "de", "bg", "de-CH", "rm-CH", "zh-Hant-TW"} {
		digest := "sha256:" + strings.Repeat(string(rune('a'+i)), 64)
		consent, err := grant(language, digest)
		if err != nil {
			c.Fatalf("%s: %v", language, err)
		}
		got, err := c.app.Consents.GetConsent(c.Context(), &residencyv1.GetConsentRequest{TenantId: c.tenant, ConsentId: consent.ConsentId})
		if err != nil || got.Consent.Evidence.NoticeLanguage != language || got.Consent.Evidence.NoticeDigest != digest {
			c.Errorf("%s: the consent has %v (%v)", language, got.GetConsent().GetEvidence(), err)
		}
		receipt, err := c.app.Consents.GetConsentReceipt(c.Context(), &residencyv1.GetConsentReceiptRequest{TenantId: c.tenant, ConsentId: consent.ConsentId})
		if err != nil || !json.Valid(receipt.Receipt) || !bytes.Contains(receipt.Receipt, []byte(`"dct:language": "`+language+`"`)) ||
			!bytes.Contains(receipt.Receipt, []byte(strings.TrimPrefix(digest, "sha256:"))) {
			c.Errorf("%s: the receipt (%v) lacks the notice's language or its digest\n%s", language, err, receipt.GetReceipt())
		}
	}
	for language, digest := range map[string]string{
		"": "sha256:" + strings.Repeat("0", 64), "German (Swiss)": "sha256:" + strings.Repeat("0", 64), "de": "",
	} {
		if _, err := grant(language, digest); !isCode(err, codes.InvalidArgument) {
			c.Errorf("language %q, digest %q: %v, want it refused", language, digest, err)
		}
	}
}
