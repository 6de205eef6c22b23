package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// try runs the command line in this process.
func try(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("DOMICILE_DATA", filepath.Join(t.TempDir(), "none"))
	t.Setenv("DOMICILE_IDENTITY", "")
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"domicile"}, args...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

// Every command parses, has help, and there is a verb for every RPC.
func TestEveryVerbHasHelp(t *testing.T) {
	verbs := []string{
		"tenant register", "tenant get", "tenant list", "tenant update", "tenant suspend", "tenant resume", "tenant erase", "tenant erasure",
		"record put", "record get", "record list", "record subjects", "record find", "record delete",
		"record restrict", "record lift", "record object", "record unobject", "record report-child", "record export", "record erase",
		"drive create", "drive get", "drive list", "drive write", "drive read", "drive delete",
		"drive inspect", "drive restrict", "drive lift", "drive snapshot", "drive snapshots", "drive restore", "drive delete-snapshot",
		"consent grant", "consent get", "consent list", "consent withdraw", "consent receipt",
		"recipient register", "recipient update", "recipient list", "recipient revoke",
		"order record", "order get", "order approve", "order reject", "order revoke", "order list",
		"case open", "case approve", "case close", "case list",
		"disclosure notice", "disclosure object", "disclosure lift-objection", "disclosure request", "disclosure grant",
		"disclosure disclose", "disclosure list",
		"transfer check", "policy list", "policy get", "policy explain",
		"audit decision", "audit decisions", "audit verify", "usage get", "usage verify", "region list", "gateway", "tour", "version",
	}
	for _, verb := range verbs {
		out, errs, code := try(t, append(strings.Fields(verb), "--help")...)
		if code != exitOK || !strings.Contains(out, "Usage: domicile "+verb) || errs != "" {
			t.Errorf("%s --help: exit code %d\n%s%s", verb, code, out, errs)
		}
	}
}

func TestUsageMistakes(t *testing.T) {
	for _, test := range []struct{ args, says string }{
		{"frobnicate", "domicile --help"},
		{"tenant register t", "--residence"},
		{"record find t --purpose payments", "--email-address"},
		{"record find t --email-address a --phone-number b", "can't be used together"},
		{"transfer check t --to us --class tea", "want one of PERSONAL_INFORMATION"},
		{"--output yaml version", "table"},
		{"--timeout=-3s version", "positive duration"},
		{"drive create t --size=-1", "whole number of bytes"},
		{"drive create t --size 9999999TiB", "whole number of bytes"},
		{"--address nowhere region list", "HOST:PORT"},
		{"--address h:1 region list", "--identity is missing"},
		{"record put t s --birth-date 31.12.1990", "YEAR-MONTH-DAY"},
		{"consent grant t --subject s --notice a --notice-digest b", "one of the two"},
		{"consent grant t", "--whole-tenant"},
		{"record find t --purpose payments", "--email-address or --phone-number is missing"},
		{"record put t s --source provided --purpose payments", "the record says nothing: give at least one of --full-name"},
	} {
		out, errs, code := try(t, strings.Fields(test.args)...)
		if code != exitUsage || !strings.Contains(errs, test.says) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", test.args, code, exitUsage, test.says, out, errs)
		}
	}
}

func TestIdentitiesAreListed(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "identity")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.crt", "ca.key", "server.crt", "server.key", "app-us.crt", "app-us.key", "app-ch.crt", "app-ch.key", "lonely.crt", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, errs, code := try(t, "--data", data, "--address", "127.0.0.1:1", "region", "list")
	if code != exitUsage || !strings.Contains(errs, dir+" has app-ch, app-us\n") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestAddresses(t *testing.T) {
	data := t.TempDir()
	for text, want := range map[string]string{
		`{"grpc": "127.0.0.1:5", "admin": "127.0.0.1:6"}`: "127.0.0.1:5",
		`{"grpc": ""}`: "",
		`nonsense`:     "",
	} {
		if err := os.WriteFile(filepath.Join(data, "addresses.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &app{flags: &commandLine{Data: data}}
		got, err := a.address()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestValues(t *testing.T) {
	var class enum[residencyv1.DataClass]
	for _, text := range []string{"VIRTUAL_DRIVE_DATA", "virtual-drive-data", "Virtual_Drive-Data"} {
		class.value = 0
		if err := class.UnmarshalText([]byte(text)); err != nil || class.value != residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA {
			t.Errorf("%s: %v, %v", text, class.value, err)
		}
	}
	for _, text := range []string{"", "UNSPECIFIED", "DATA_CLASS_VIRTUAL_DRIVE_DATA", "0"} {
		if err := class.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a data class", text)
		}
	}
	for text, want := range map[string]bytesFlag{"0": 0, "7": 7, "7B": 7, "1KiB": 1 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "16TiB": 16 << 40} {
		var got bytesFlag
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "-1", "1.5MiB", "1MB", "1 MiB", "99999999999999999999", "4194305TiB"} {
		var got bytesFlag
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d bytes", text, got)
		}
	}
	var m moment
	if err := m.UnmarshalText([]byte("2030-01-31T00:00:00+01:00")); err != nil || m.timestamp().AsTime() != time.Date(2030, 1, 30, 23, 0, 0, 0, time.UTC) {
		t.Errorf("a time: %v, %v", m, err)
	}
	before := time.Now()
	if err := m.UnmarshalText([]byte("720h")); err != nil || m.Before(before.Add(720*time.Hour)) {
		t.Errorf("a duration: %v, %v", m, err)
	}
	if (moment{}).timestamp() != nil {
		t.Error("no moment became a time")
	}
}

func TestShow(t *testing.T) {
	record := &residencyv1.PersonalRecord{
		RecordId: "contact", SubjectId: "person-1",
		Personal: &residencyv1.Personal{
			FullName:   "Anna\x1b[31m Muster\nroot:",
			Attributes: map[string]string{"b": "2", "a": "1"},
		},
		Source: residencyv1.Source_SOURCE_PROVIDED, Purposes: []residencyv1.Purpose{1, 3, 99},
		BirthDate:  &residencyv1.Date{Year: 1990, Month: 2, Day: 3},
		ExpireTime: timestamppb.New(time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)), Version: 7,
	}
	want := `record_id              contact
subject_id             person-1
personal.full_name     Anna\x1b[31m Muster\nroot:
personal.attributes.a  1
personal.attributes.b  2
source                 PROVIDED
purposes               ENQUIRIES, PAYMENTS, 99
birth_date             1990-02-03
expire_time            2030-01-02T03:04:05Z
version                7
decision               d-1
`
	var out bytes.Buffer
	a := &app{flags: &commandLine{Output: "table"}, stdout: &out, decision: "d-1"}
	if err := a.show(record, record); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	out.Reset()
	a.flags.Output = "json"
	if err := a.show(record, record); err != nil || !json.Valid(out.Bytes()) || !strings.Contains(out.String(), "\n  \"record_id\": \"contact\",\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1025: "1025 B", 3 << 20: "3 MiB", 16 << 40: "16 TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// failure makes the error that the client makes of a gateway's answer, through a real call's way.
func failure(t *testing.T, code codes.Code, reason string) error {
	t.Helper()
	if reason == "" {
		return &client.Error{Code: code}
	}
	s, err := status.New(code, "text").WithDetails(&errdetails.ErrorInfo{Domain: "residency", Reason: reason})
	if err != nil {
		t.Fatal(err)
	}
	return &client.Error{Code: code, Reason: reason, Message: s.Message()}
}

func sentHome(why error) error {
	return &client.Error{Code: codes.PermissionDenied, Reason: "USE_HOME_ENDPOINT", Endpoint: "ch:1", NotFollowed: why}
}

func TestExitCodes(t *testing.T) {
	denied := &client.Denied{
		Reason: "CONSENT_WITHDRAWN", Clause: "product/border", DecisionID: "d-1", From: "CH", To: "US", Missing: []string{"consent"},
		Consent: &client.NeededConsent{Kind: "BORDER_CROSSING", DataClass: "VIRTUAL_DRIVE_DATA", Purpose: "RECORDS", From: "CH", To: "US"},
	}
	never := &client.Denied{Reason: "CROSS_BORDER_CONSENT_REQUIRED"}
	for _, test := range []struct {
		name string
		err  error
		code int
		says string
	}{
		{"done", nil, exitOK, ""},
		{"usage", usagef("wrong"), exitUsage, "domicile: wrong"},
		{"an answer that refuses", errAnswerIsDeny, exitDenied, ""},
		{"denied", aboutError{err: denied, tenant: "t-1", subject: "s-1"}, exitDenied,
			"domicile consent grant t-1 --kind BORDER_CROSSING --subject s-1 \\\n              --class VIRTUAL_DRIVE_DATA --purpose RECORDS \\\n              --from-jurisdiction CH --to-jurisdiction US \\\n"},
		{"denied within another", fmt.Errorf("the tour: %w", denied), exitDenied, "CONSENT_WITHDRAWN"},
		{"denied for good", never, exitDenied, "denied: CROSS_BORDER_CONSENT_REQUIRED"},
		{"not found", failure(t, codes.NotFound, "NOT_FOUND"), exitError, "NOT_FOUND"},
		{"not permitted", failure(t, codes.PermissionDenied, "CALLER_NOT_PERMITTED"), exitError, "CALLER_NOT_PERMITTED"},
		{"down", failure(t, codes.Unavailable, "AUDIT_UNAVAILABLE"), exitRetry, "AUDIT_UNAVAILABLE"},
		{"overloaded", failure(t, codes.ResourceExhausted, "OVERLOADED"), exitRetry, "OVERLOADED"},
		{"quota", failure(t, codes.ResourceExhausted, "QUOTA_EXCEEDED"), exitError, "QUOTA_EXCEEDED"},
		{"slow", failure(t, codes.DeadlineExceeded, ""), exitRetry, "DeadlineExceeded"},
		{"nobody there", failure(t, codes.Unavailable, ""), exitRetry, "make run"},
		{"closed at once", unavailable(`connection error: desc = "error reading server preface: EOF"`), exitRetry, "too many open"},
		{"closed in the handshake", unavailable(`connection error: desc = "transport: authentication handshake failed: EOF"`), exitRetry, "too many open"},
		{"closed while writing", unavailable("write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe"), exitRetry, "too many open"},
		{"refused", unavailable(`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`), exitRetry, "No gateway answers there"},
		{"refused by the gateway", tlsError(true, client.TLSUnknownAuthority), exitError, "The gateway refused your certificate"},
		{"ended", tlsError(true, client.TLSExpired), exitError, "Renew it"},
		{"another authority", tlsError(false, client.TLSUnknownAuthority), exitError, "This command refused the gateway's certificate: it does not descend from"},
		{"another name", tlsError(false, client.TLSWrongName), exitError, "--server-name"},
		{"no TLS", tlsError(false, client.TLSProtocol), exitError, "What answers there speaks no TLS 1.3"},
		{"sent home, where nobody answers", sentHome(&client.Error{Code: codes.Unavailable, Message: "refused"}), exitRetry,
			"call      --address ch:1\n  tried     Unavailable: refused\n"},
		{"sent nowhere", sentHome(errors.New("it is not of the form")), exitError, "tried     it is not of the form\n"},
		{"a file", errors.New("disk on fire"), exitError, "domicile: disk on fire"},
	} {
		var errs bytes.Buffer
		a := &app{flags: &commandLine{Output: "table"}, stderr: &errs}
		code := a.exitCode(test.err)
		if code != test.code || !strings.Contains(errs.String(), test.says) || (test.says == "") != (errs.Len() == 0) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", test.name, code, test.code, test.says, errs.String())
		}
		if test.err == never && strings.Contains(errs.String(), "grant") {
			t.Errorf("a consent is advised where none would help:\n%s", errs.String())
		}
	}
}

func unavailable(message string) error {
	return &client.Error{Code: codes.Unavailable, Message: message}
}

func tlsError(byGateway bool, problem client.TLSProblem) error {
	return &client.Error{Code: codes.Unavailable, TLS: &client.TLSFailure{ByGateway: byGateway, Problem: problem}}
}

// What to do next is a command that reaches the same gateway, as a caller who may.
func TestRemedies(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data of mine")
	if err := os.MkdirAll(filepath.Join(data, "identity"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app-ch.crt", "app-ch.key", "app-us.crt", "app-us.key"} {
		if err := os.WriteFile(filepath.Join(data, "identity", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOMICILE_DATA", "")
	t.Setenv("DOMICILE_IDENTITY", "given-ch")
	for _, test := range []struct {
		flags commandLine
		want  string
	}{
		{commandLine{Identity: "admin-ch", Data: defaultData}, "domicile -i admin-ch"},
		{commandLine{Identity: "app-us", Data: data}, "domicile -i app-ch --data '" + data + "'"},
		{commandLine{Identity: "sre-us", Data: data, Address: "h:1"}, "domicile -i CALLER --data '" + data + "' --address h:1"},
		{commandLine{Identity: "keys/billing-ch.crt", CA: "it's.crt", ServerName: "gw"}, `domicile -i keys/billing-ch.crt --ca 'it'\''s.crt' --server-name gw`},
		{commandLine{Identity: "keys/billing.crt", Data: defaultData}, "domicile -i CALLER"},
		{commandLine{Identity: filepath.Join(data, "identity", "app-us.crt"), Data: defaultData}, "domicile -i '" + filepath.Join(data, "identity", "app-ch.crt") + "'"},
		{commandLine{Identity: filepath.Join(data, "identity", "sre-us.crt"), Data: defaultData}, "domicile -i CALLER"},
		{commandLine{Identity: "given-ch", Data: defaultData}, "domicile"}, // the environment says it again
	} {
		a := &app{flags: &test.flags}
		if got := a.again("CH", "US"); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// A refusal says why, whose rule it is and what would meet it; every command that it names
// is there, with its flag.
func TestRefusalsSayWhatIsNeeded(t *testing.T) {
	for r := range residency.Requirement(residency.NumRequirements) {
		if policy.Remedy(r) == "" || (remedyCommands[r] == "") != (r == residency.RequireConsent) {
			t.Errorf("%s: remedy %q, command %q", r, policy.Remedy(r), remedyCommands[r])
		}
		paths, flag, _ := strings.Cut(remedyCommands[r], ": ")
		for path := range strings.SplitSeq(paths, ", or ") {
			if path == "" {
				continue
			}
			out, _, code := try(t, append(strings.Fields(path), "--help")...)
			flag, _, _ = strings.Cut(strings.TrimSuffix(flag, "…"), " ")
			if code != exitOK || !strings.Contains(out, "Usage: domicile "+path) || !strings.Contains(out, flag) {
				t.Errorf("%s: %q with %q is no command", r, path, flag)
			}
		}
	}
	var out bytes.Buffer
	denied := &client.Denied{Reason: "SAFEGUARD_MISSING", Clause: "product/x", Missing: []string{"safeguard", "notice"}}
	(&app{stderr: &out, flags: &commandLine{}}).exitCode(denied)
	for _, want := range []string{
		"clause    product/x\n            (this product's own rule", policy.Remedy(residency.RequireSafeguard), "(domicile disclosure notice)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestConsentForADecision(t *testing.T) {
	d := &residencyv1.Decision{
		Outcome: residencyv1.Outcome_OUTCOME_DENY, Missing: []string{"purpose", "opt-in", "consent"}, FromJurisdiction: "CH", ToJurisdiction: "US",
		DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, Purpose: residencyv1.Purpose_PURPOSE_MARKETING,
	}
	want := client.NeededConsent{Kind: "BORDER_CROSSING", DataClass: "PERSONAL_INFORMATION", Purpose: "MARKETING", From: "CH", To: "US"}
	if got := consentFor(d); got == nil || *got != want {
		t.Errorf("got %+v", got)
	}
	d.Missing = []string{"legal-order"}
	if got := consentFor(d); got != nil {
		t.Errorf("where none would help: %+v", got)
	}
	d.Missing, d.Outcome = []string{"consent"}, residencyv1.Outcome_OUTCOME_ALLOW
	if got := consentFor(d); got != nil {
		t.Errorf("where it is permitted: %+v", got)
	}
}

func TestDecisionTable(t *testing.T) {
	var out bytes.Buffer
	a := &app{flags: &commandLine{Output: "table"}, stdout: &out}
	records := []*residencyv1.DecisionRecord{{
		Caller: "spiffe://x/app", Method: "/residency.v1.RecordService/GetRecord", Decision: &residencyv1.Decision{
			Outcome: residencyv1.Outcome_OUTCOME_ALLOW, DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION,
			Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS, FromJurisdiction: "CH", ToJurisdiction: "CH",
		},
	}}
	if err := list(a, nil, records, decisionColumns); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "PLACE DECISION TIME OUTCOME CALLER METHOD CLASS PURPOSE WAY RESULT CLAUSE" {
		t.Errorf("heads: %s", got)
	}
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "0 ALLOW spiffe://x/app RecordService/GetRecord PERSONAL_INFORMATION PAYMENTS CH ok" {
		t.Errorf("row: %s", got)
	}
}

func TestDecisionNamesEveryConsent(t *testing.T) {
	var out bytes.Buffer
	a := &app{flags: &commandLine{Output: "table"}, stdout: &out}
	r := &residencyv1.DecisionRecord{Decision: &residencyv1.Decision{ConsentId: "c-1"}, ConsentIds: []string{"c-1", "c-2"}}
	if err := a.show(&residencyv1.GetDecisionResponse{Record: r}, r); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); got != "decision.consent_id c-1 consent_ids c-1, c-2" {
		t.Errorf("shown: %s", got)
	}
}

func TestProgress(t *testing.T) {
	p := &progress{verb: "written", total: 4 << 20, began: time.Now().Add(-time.Second), last: 1 << 20}
	if got := p.line(); !strings.Contains(got, " 25%  1.0 MiB written") || !strings.HasPrefix(got, "["+strings.Repeat("█", 7)+"·") {
		t.Errorf("%s", got)
	}
	p.total = -1
	if got := p.line(); !strings.HasPrefix(got, "1.0 MiB written, ") {
		t.Errorf("%s", got)
	}
	var out bytes.Buffer
	p = newProgress(&out, "read", 10)
	p.at(5)
	p.end()
	if out.Len() != 0 {
		t.Errorf("a bar where no terminal is: %q", out.String())
	}
}

func TestPage(t *testing.T) {
	var out bytes.Buffer
	p := newPage(&out)
	p.title("Domicile on one page", "gateway 127.0.0.1:8443")
	p.chapter("A chapter")
	p.denied("app-us", strings.Repeat("x", whatWidth), &client.Denied{
		Reason: "CROSS_BORDER_CONSENT_REQUIRED", Clause: "product/border", From: "CH", To: "US", DecisionID: strings.Repeat("d", 36),
		Consent: &client.NeededConsent{Kind: "BORDER_CROSSING", DataClass: "PERSONAL_INFORMATION", Purpose: "SERVICE_PROVISION"},
	})
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("colour where no terminal is: %q", out.String())
	}
}
