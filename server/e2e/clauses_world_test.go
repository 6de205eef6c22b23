package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// country is a region of the embedded default, and what is across its border.
type country struct {
	region, jurisdiction, controller, version string
	abroad, abroadRegion                      string
}

var (
	switzerland  = country{"ch", "CH", "CloudSigma AG", "ch-2012-05-02", "US", "us"}
	unitedStates = country{"us", "US", "CloudSigma Inc", "us-2011-10-07", "CH", "ch"}
)

// callers are who acts in a region, and who calls from across its border.
type callers struct {
	admin, officer, counsel, app *client.Client
	foreignAdmin, foreignApp     *client.Client
}

func (d *daemon) callers(t testing.TB, home country) callers {
	return callers{
		admin: d.dial(t, "admin-"+home.region), officer: d.dial(t, "officer-"+home.region),
		counsel: d.dial(t, "counsel-"+home.region), app: d.dial(t, "app-"+home.region),
		foreignAdmin: d.dial(t, "admin-"+home.abroadRegion), foreignApp: d.dial(t, "app-"+home.abroadRegion),
	}
}

// clause is a clause under test: where, by whom, and with a tenant of its own.
type clause struct {
	*testing.T
	country
	callers
	d      *daemon
	id     string // as the region's policy has it
	tenant string
}

// newClause makes the test's tenant, a resident of the region's own country.
func newClause(t *testing.T, d *daemon, home country, people callers, id string) *clause {
	c := &clause{T: t, country: home, callers: people, d: d, id: id}
	c.tenant = c.register(c.jurisdiction, nil)
	return c
}

// register registers a tenant of a name of its own.
func (c *clause) register(residence string, agreement *residencyv1.Evidence) string {
	c.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "#", "-").Replace(c.Name())) + "-" + randomID()
	_, err := c.admin.Tenants.RegisterTenant(c.Context(), &residencyv1.RegisterTenantRequest{
		TenantId: name, Residence: residence, HomeRegion: c.region, Agreement: agreement,
	})
	if err != nil {
		c.Fatalf("registering a tenant of %s: %v", residence, err)
	}
	return name
}

// call is one call, with the option that tells its decision.
type call func(grpc.CallOption) error

// allow makes a call that must be allowed, and gives what the audit log has of its decision.
// The decision names the region's policy and controller and, unless it is "", the clause.
func (c *clause) allow(what string, f call, cited string) *residencyv1.DecisionRecord {
	c.Helper()
	var id string
	if err := f(client.DecisionID(&id)); err != nil {
		c.Fatalf("%s: %v", what, err)
	}
	return c.decided(what, id, residencyv1.Outcome_OUTCOME_ALLOW, cited)
}

// deny makes a call that the policy must refuse for a reason, citing a clause: both to the
// caller and in the audit log.
func (c *clause) deny(what string, f call, reason, cited string) *residencyv1.DecisionRecord {
	c.Helper()
	var id string
	err := f(client.DecisionID(&id))
	var denied *client.Denied
	if !errors.As(err, &denied) {
		c.Fatalf("%s: %v, want it denied for %s", what, err, reason)
	}
	if denied.Reason != reason || denied.Clause != cited {
		c.Fatalf("%s: denied for %s, clause %s; want %s, clause %s", what, denied.Reason, denied.Clause, reason, cited)
	}
	if denied.DecisionID == "" || denied.DecisionID != id {
		c.Fatalf("%s: the refusal names decision %q, its trailer %q", what, denied.DecisionID, id)
	}
	r := c.decided(what, id, residencyv1.Outcome_OUTCOME_DENY, cited)
	if r.Decision.Reason != reason {
		c.Errorf("%s: the log has reason %s, want %s", what, r.Decision.Reason, reason)
	}
	return r
}

// decided reads a decision from the audit log and checks what every decision must say.
func (c *clause) decided(what, id string, outcome residencyv1.Outcome, cited string) *residencyv1.DecisionRecord {
	c.Helper()
	r, err := c.admin.Audit.GetDecision(c.Context(), &residencyv1.GetDecisionRequest{TenantId: c.tenant, DecisionId: id})
	if err != nil {
		c.Fatalf("%s: its decision %q: %v", what, id, err)
	}
	d := r.Record.Decision
	if d.Outcome != outcome || d.PolicyVersion != c.version || d.Controller != c.controller || !strings.HasPrefix(d.PolicyDigest, "sha256:") {
		c.Errorf("%s: the log has %v under policy %s %s of %s", what, d.Outcome, d.PolicyVersion, d.PolicyDigest, d.Controller)
	}
	if cited != "" && d.Clause != cited {
		c.Errorf("%s: the log cites clause %s, want %s", what, d.Clause, cited)
	}
	return r.Record
}

// refuse makes a call that must be refused for a reason that is no decision of the policy's
// (a wrong request, an unknown object), and gives what the error says.
func (c *clause) refuse(what string, f call, reason string) *errdetails.ErrorInfo {
	c.Helper()
	var id string
	err := f(client.DecisionID(&id))
	if err == nil {
		c.Fatalf("%s: allowed, want %s", what, reason)
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == reason {
			return info
		}
	}
	c.Fatalf("%s: %v, want %s", what, err, reason)
	return nil
}

// absent makes a call that must answer NOT_FOUND.
func (c *clause) absent(what string, f call) {
	c.Helper()
	c.refuse(what, f, "NOT_FOUND")
}

// forbidden makes a call that the caller's identity is not permitted to make.
func (c *clause) forbidden(what string, f call) {
	c.Helper()
	c.refuse(what, f, "CALLER_NOT_PERMITTED")
}

// eventually waits until a condition holds. It bounds a hang; nothing is measured by it.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 1200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within a minute", what)
}

// The purposes, classes and sources that tests are about, by their names in the policies.
const (
	payments  = residencyv1.Purpose_PURPOSE_PAYMENTS
	enquiries = residencyv1.Purpose_PURPOSE_ENQUIRIES
	services  = residencyv1.Purpose_PURPOSE_SERVICE_PROVISION
	promotion = residencyv1.Purpose_PURPOSE_MARKETING
	fraud     = residencyv1.Purpose_PURPOSE_FRAUD_PREVENTION
	obliged   = residencyv1.Purpose_PURPOSE_LEGAL_OBLIGATION
	looking   = residencyv1.Purpose_PURPOSE_INSPECTION

	personal  = residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION
	driveData = residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA
)

// evidence says how a consent is known.
func evidence() *residencyv1.Evidence {
	return &residencyv1.Evidence{
		Method: "signed form", Grantor: "the board", NoticeLanguage: "en", NoticeDigest: "sha256:" + fmt.Sprintf("%064d", 0),
	}
}

// put writes a record.
func (c *clause) put(by *client.Client, r *residencyv1.PersonalRecord) call {
	return func(o grpc.CallOption) error {
		_, err := by.Records.PutRecord(c.Context(), &residencyv1.PutRecordRequest{TenantId: c.tenant, Record: r}, o)
		return err
	}
}

// hold writes a record that must be accepted: about a subject, for purposes.
func (c *clause) hold(subject, record string, purposes ...residencyv1.Purpose) *residencyv1.PersonalRecord {
	c.Helper()
	r := personalRecord(subject, record, "anna."+subject)
	r.Personal.PostalAddress, r.Personal.PhoneNumber = "Bahnhofstrasse 1", "+41 44 555 01 23"
	r.Purposes = purposes
	c.allow("writing a record", c.put(c.app, r), "")
	return r
}

// get reads a record.
func (c *clause) get(by *client.Client, subject, record string, purpose residencyv1.Purpose) call {
	return func(o grpc.CallOption) error {
		_, err := by.Records.GetRecord(c.Context(), &residencyv1.GetRecordRequest{
			TenantId: c.tenant, SubjectId: subject, RecordId: record, Purpose: purpose,
		}, o)
		return err
	}
}

// grant records a consent and gives its id.
func (c *clause) grant(consent *residencyv1.Consent) string {
	c.Helper()
	r, err := c.app.Consents.GrantConsent(c.Context(), &residencyv1.GrantConsentRequest{TenantId: c.tenant, Consent: consent})
	if err != nil {
		c.Fatalf("granting a consent: %v", err)
	}
	return r.Consent.ConsentId
}

// withdraw takes a consent back.
func (c *clause) withdraw(consent string) {
	c.Helper()
	_, err := c.app.Consents.WithdrawConsent(c.Context(), &residencyv1.WithdrawConsentRequest{TenantId: c.tenant, ConsentId: consent})
	if err != nil {
		c.Fatalf("withdrawing a consent: %v", err)
	}
}

// consent makes a consent of the whole tenant's; one that crosses leads across the border.
func (c *clause) consent(kind residencyv1.ConsentKind, class residencyv1.DataClass, purposes ...residencyv1.Purpose) *residencyv1.Consent {
	to := c.jurisdiction
	if kind == residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING {
		to = c.abroad
	}
	return &residencyv1.Consent{
		Kind: kind, Scope: &residencyv1.Consent_WholeTenant{WholeTenant: true}, DataClasses: []residencyv1.DataClass{class},
		FromJurisdiction: c.jurisdiction, ToJurisdiction: to, Purposes: purposes, Evidence: evidence(),
	}
}

// of makes a consent one person's.
func of(consent *residencyv1.Consent, subject string) *residencyv1.Consent {
	consent.Scope = &residencyv1.Consent_SubjectId{SubjectId: subject}
	return consent
}

// crossing is a consent of the whole tenant's to cross the border.
func (c *clause) crossing(class residencyv1.DataClass, purposes ...residencyv1.Purpose) *residencyv1.Consent {
	return c.consent(residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING, class, purposes...)
}

// isCode reports whether an error has a gRPC status code.
func isCode(err error, code codes.Code) bool { return err != nil && status.Code(err) == code }

// domiciled runs the daemon's binary to its end and gives all that it wrote.
func domiciled(args ...string) (string, error) {
	out, err := exec.Command(filepath.Join(bin, "domiciled"), args...).CombinedOutput()
	return string(out), err
}
