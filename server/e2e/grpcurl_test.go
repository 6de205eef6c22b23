package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

// grpcurl finds the field's own client: in $DOMICILE_TOOLS, where it must be,
// or in .tools/bin, where `make test` puts it.
func grpcurl(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DOMICILE_TOOLS")
	if dir == "" {
		dir = "../../.tools/bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, "grpcurl"))
	if err == nil {
		_, err = os.Stat(path)
	}
	switch {
	case err == nil:
		return path
	case os.Getenv("DOMICILE_TOOLS") != "":
		t.Fatalf("DOMICILE_TOOLS names no grpcurl: %v", err)
	}
	t.Skip("no .tools/bin/grpcurl: `make test` installs it")
	return ""
}

// curl calls gateways with grpcurl.
type curl struct {
	t    *testing.T
	path string
	d    *daemon
}

// answer is what grpcurl showed of a call.
type answer struct {
	verbose string // everything: headers, messages, trailers, status
	code    codes.Code
	details []map[string]any // the status's
}

// call makes one call as an identity. Nothing but its answer is taken on trust:
// the method and its messages come from the gateway's reflection.
func (c curl) call(identity, method string, request map[string]any) answer {
	c.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	dir := filepath.Join(c.d.data, "identity")
	cmd := exec.Command(c.path, "-v", "-format-error", "-max-time", "60",
		"-cacert", filepath.Join(dir, "ca.crt"), "-cert", filepath.Join(dir, identity+".crt"), "-key", filepath.Join(dir, identity+".key"),
		"-d", string(body), c.d.grpc, "residency.v1."+method)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	a := answer{verbose: out.String() + errs.String()}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		a.code = codes.Code(code - 64) // grpcurl's offset for the call's own status
		a.details = c.details(errs.Bytes())
	}
	return a
}

func (c curl) details(stderr []byte) []map[string]any {
	c.t.Helper()
	_, text, found := bytes.Cut(stderr, []byte("ERROR:\n"))
	if !found {
		text = stderr
	}
	var status struct{ Details []map[string]any }
	if err := json.Unmarshal(text, &status); err != nil {
		c.t.Fatalf("grpcurl did not give a status: %v\n%s", err, stderr)
	}
	return status.Details
}

// detail gives the detail of a type.
func (a answer) detail(kind string) map[string]any {
	for _, d := range a.details {
		if d["@type"] == "type.googleapis.com/google.rpc."+kind {
			return d
		}
	}
	return nil
}

// says gives the reason and the metadata of the answer's ErrorInfo.
func (a answer) says() (reason string, metadata map[string]any) {
	info := a.detail("ErrorInfo")
	metadata, _ = info["metadata"].(map[string]any)
	return fmt.Sprint(info["reason"]), metadata
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// encodedStatus is the trailer that holds the status a second time, in base64;
// grpcurl shows it decoded as well.
var encodedStatus = regexp.MustCompile(`(?m)^grpc-status-details-bin: .*$`)

// anonymous is everything that the caller saw, but for decision ids.
func (a answer) anonymous() string {
	return uuid.ReplaceAllString(encodedStatus.ReplaceAllString(a.verbose, ""), "UUID")
}

// expect checks a call's code and reason and gives the metadata.
func (c curl) expect(what string, a answer, code codes.Code, reason string) map[string]any {
	c.t.Helper()
	got, metadata := a.says()
	if a.code != code || (reason != "" && got != reason) {
		c.t.Errorf("%s: %v %s, want %v %s\n%s", what, a.code, got, code, reason, a.verbose)
	}
	return metadata
}

// crossings are the calls that read across the border, each with a request that
// finds something, and requests that do not.
func crossings(tenant string) map[string][]map[string]any {
	const purpose = "PURPOSE_SERVICE_PROVISION"
	with := func(m map[string]any, more map[string]any) map[string]any {
		out := maps.Clone(m)
		maps.Copy(out, more)
		return out
	}
	tenantOnly := map[string]any{"tenant_id": tenant, "purpose": purpose}
	elsewhere := map[string]any{"tenant_id": "absent-" + tenant}
	record := with(tenantOnly, map[string]any{"subject_id": "person-1", "record_id": "contact"})
	list := with(tenantOnly, map[string]any{"subject_id": "person-1"})
	find := with(tenantOnly, map[string]any{"email_address": "person-1@example.org"})
	drive := with(tenantOnly, map[string]any{"drive_id": "disk-1", "length": 16})
	return map[string][]map[string]any{
		"RecordService/GetRecord": {record, with(record, map[string]any{"record_id": "absent"}),
			with(record, map[string]any{"subject_id": "absent"}), with(record, elsewhere)},
		"RecordService/ListRecords":  {list, with(list, map[string]any{"subject_id": "absent"}), with(list, elsewhere)},
		"RecordService/ListSubjects": {tenantOnly, with(tenantOnly, elsewhere)},
		"RecordService/FindRecords": {find, with(find, map[string]any{"email_address": "nobody@example.org"}),
			with(find, elsewhere)},
		"DriveService/ReadDrive": {drive, with(drive, map[string]any{"drive_id": "absent"}),
			with(drive, map[string]any{"offset": 1 << 40}), with(drive, elsewhere)},
	}
}

// The way of a consent, as another team's program sees it over plain gRPC.
func TestBorderThroughGrpcurl(t *testing.T) {
	c := curl{t: t, path: grpcurl(t), d: gateway(t)}
	tenant := "grpcurl-" + randomID()
	c.fill(tenant)

	c.blocked(tenant, "CROSS_BORDER_CONSENT_REQUIRED", true)
	c.cannotGrantFromAbroad(tenant)
	consent := c.grant(tenant)
	c.allowed(tenant)
	c.expect("withdrawal from abroad", c.call("app-us", "ConsentService/WithdrawConsent", map[string]any{"tenant_id": tenant, "consent_id": consent}), codes.OK, "")
	c.blocked(tenant, "CONSENT_WITHDRAWN", false)
}

// fill gives the tenant a record and a drive.
func (c curl) fill(tenant string) {
	c.t.Helper()
	c.expect("registration", c.call("admin-ch", "TenantService/RegisterTenant", map[string]any{"tenant_id": tenant, "residence": "CH"}), codes.OK, "")
	c.expect("record", c.call("app-ch", "RecordService/PutRecord", map[string]any{"tenant_id": tenant, "record": map[string]any{
		"subject_id": "person-1", "record_id": "contact", "source": "SOURCE_PROVIDED", "purposes": []string{"PURPOSE_SERVICE_PROVISION"},
		"personal": map[string]any{"full_name": "Anna Muster", "email_address": "person-1@example.org"},
	}}), codes.OK, "")
	c.expect("drive", c.call("app-ch", "DriveService/CreateDrive", map[string]any{"tenant_id": tenant, "drive_id": "disk-1", "size_bytes": "1048576"}), codes.OK, "")
}

// blocked checks that every crossing is refused for the reason, and that what
// is there and what is not cannot be told apart; alsoTenants = nor can tenants.
func (c curl) blocked(tenant, reason string, alsoTenants bool) {
	c.t.Helper()
	for method, requests := range crossings(tenant) {
		var first string
		for i, request := range requests {
			if request["tenant_id"] != tenant && !alsoTenants {
				continue
			}
			what := fmt.Sprintf("%s %v", method, request)
			a := c.call("app-us", method, request)
			c.checkRefusal(what, method, a, reason)
			if i == 0 {
				first = a.anonymous()
			} else if a.anonymous() != first {
				c.t.Errorf("%s answers another way than what exists:\n%s\nwant\n%s", what, a.anonymous(), first)
			}
		}
	}
}

func (c curl) checkRefusal(what, method string, a answer, reason string) {
	c.t.Helper()
	metadata := c.expect(what, a, codes.PermissionDenied, reason)
	class := "PERSONAL_INFORMATION"
	if strings.HasPrefix(method, "DriveService") {
		class = "VIRTUAL_DRIVE_DATA"
	}
	for key, want := range map[string]string{"from": "CH", "to": "US", "data_class": class, "missing": "consent", "clause": "product/border"} {
		if metadata[key] != want {
			c.t.Errorf("%s: metadata %s = %q, want %q", what, key, metadata[key], want)
		}
	}
	id, _ := metadata["decision_id"].(string)
	if !uuid.MatchString(id) || !strings.Contains(a.verbose, "residency-decision-id: "+id) {
		c.t.Errorf("%s: decision id %q is not in the trailer\n%s", what, id, a.verbose)
	}
	failure, _ := json.Marshal(a.detail("PreconditionFailure"))
	subject := fmt.Sprintf("BORDER_CROSSING %s SERVICE_PROVISION CH → US", class)
	if !strings.Contains(string(failure), `"type":"CONSENT"`) || !strings.Contains(string(failure), subject) {
		c.t.Errorf("%s: PreconditionFailure %s does not name %q", what, failure, subject)
	}
}

func (c curl) consentRequest(tenant string) map[string]any {
	return map[string]any{"tenant_id": tenant, "consent": map[string]any{
		"kind": "CONSENT_KIND_BORDER_CROSSING", "whole_tenant": true,
		"data_classes":      []string{"DATA_CLASS_PERSONAL_INFORMATION", "DATA_CLASS_VIRTUAL_DRIVE_DATA"},
		"from_jurisdiction": "CH", "to_jurisdiction": "US", "purposes": []string{"PURPOSE_SERVICE_PROVISION"},
		"evidence": map[string]any{"method": "web form", "grantor": "the tenant", "notice_language": "de-CH",
			"notice_digest": "sha256:" + strings.Repeat("ab", 32)},
	}}
}

func (c curl) cannotGrantFromAbroad(tenant string) {
	c.t.Helper()
	for _, name := range []string{tenant, "absent-" + tenant} {
		a := c.call("app-us", "ConsentService/GrantConsent", c.consentRequest(name))
		c.expect("grant out of CH by app-us", a, codes.PermissionDenied, "CALLER_NOT_PERMITTED")
	}
}

var consentID = regexp.MustCompile(`"consentId": "([^"]+)"`)

func (c curl) grant(tenant string) string {
	c.t.Helper()
	a := c.call("app-ch", "ConsentService/GrantConsent", c.consentRequest(tenant))
	c.expect("grant by app-ch", a, codes.OK, "")
	found := consentID.FindStringSubmatch(a.verbose)
	if found == nil {
		c.t.Fatalf("no consent was recorded:\n%s", a.verbose)
	}
	return found[1]
}

// allowed checks that every crossing now finds what is there, and says what is not.
func (c curl) allowed(tenant string) {
	c.t.Helper()
	for method, requests := range crossings(tenant) {
		a := c.call("app-us", method, requests[0])
		c.expect(method, a, codes.OK, "")
		if !strings.Contains(a.verbose, "residency-decision-id: ") {
			c.t.Errorf("%s: no decision id in the trailer", method)
		}
		if want := map[bool]string{true: "Anna Muster", false: `"data"`}[strings.HasPrefix(method, "RecordService")]; method != "RecordService/ListSubjects" && !strings.Contains(a.verbose, want) {
			c.t.Errorf("%s: the answer lacks %s:\n%s", method, want, a.verbose)
		}
	}
	absent := crossings(tenant)["RecordService/GetRecord"][1]
	c.expect("an absent record", c.call("app-us", "RecordService/GetRecord", absent), codes.NotFound, "NOT_FOUND")
}
