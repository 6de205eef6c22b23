package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/client"
)

// said gives what a command's failure says to people.
func said(program string, err error) string {
	var out bytes.Buffer
	(&app{program: program, stderr: &out, flags: &commandLine{Identity: "app-us", Data: defaultData}}).exitCode(err)
	return out.String()
}

// Who is not permitted to call learns which permission that takes, and what else.
func TestMissingPermissionsAreNamed(t *testing.T) {
	for method, wants := range map[string][]string{
		"/residency.v1.AuditService/GetDecision":    {"needed    the permission audit.read, and the tenant among those"},
		"/residency.v1.AuditService/GetCheckpoint":  {"needed    the permission audit.read\n", "table of callers"},
		"/residency.v1.AuditService/ExportLog":      {"the permission audit.read, every tenant", "inside the region's jurisdiction"},
		"/residency.v1.AuditService/ReadEntries":    {"the permission audit.read", "every tenant for a whole region's"},
		"/residency.v1.UsageService/GetUsage":       {"the permission usage.read, and the tenant"},
		"/residency.v1.ConsentService/GrantConsent": {"the permission consents.write", "in the jurisdiction that the consent leads from"},
	} {
		text := said("", &client.Error{Code: codes.PermissionDenied, Reason: "CALLER_NOT_PERMITTED", Method: method})
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", method, want, text)
			}
		}
	}
	for _, method := range []string{"", "/residency.v1.AuditService/Unheard", "/other.v1.Service/Method", "nonsense"} {
		if text := said("", &client.Error{Code: codes.PermissionDenied, Reason: "CALLER_NOT_PERMITTED", Method: method}); strings.Contains(text, "needed") {
			t.Errorf("%q: %s", method, text)
		}
	}
	for method := range furtherNeeded {
		if permission, _ := permissionOf("/residency.v1." + method); permission == "" {
			t.Errorf("%s is no method", method)
		}
	}
}

// What is answered at home alone says so: no consent is named that would not help.
func TestRefusalsAtTheBorderSayWhoIsAnswered(t *testing.T) {
	denied := &client.Denied{Reason: "CROSS_BORDER_CONSENT_REQUIRED", Clause: "product/border", From: "CH", To: "US"}
	if text := said("", denied); !strings.Contains(text, "needed    a caller in CH: it is answered there alone") {
		t.Error(text)
	}
	denied.Missing, denied.Consent = []string{"consent"}, &client.NeededConsent{Kind: "BORDER_CROSSING", DataClass: "PERSONAL_INFORMATION", From: "CH", To: "US"}
	if text := said("", denied); strings.Contains(text, "answered there alone") || !strings.Contains(text, "domicile -i CALLER consent grant") {
		t.Error(text)
	}
	domestic := &client.Denied{Reason: "PURPOSE_NOT_PERMITTED", From: "CH", To: "CH"}
	if text := said("", domestic); strings.Contains(text, "answered there alone") {
		t.Error(text)
	}
}

// Commands that are proposed begin with the program as it was called.
func TestHintsNameTheProgramAsItWasCalled(t *testing.T) {
	denied := &client.Denied{Reason: "CROSS_BORDER_CONSENT_REQUIRED", From: "CH", To: "US", Missing: []string{"consent", "safeguard"},
		Consent: &client.NeededConsent{Kind: "BORDER_CROSSING", DataClass: "PERSONAL_INFORMATION", From: "CH", To: "US"}}
	for program, want := range map[string]string{"bin/domicile": "bin/domicile", "./my tools/domicile": "'./my tools/domicile'", "domicile": "domicile"} {
		text := said(program, denied)
		if !strings.Contains(text, " "+want+" -i CALLER consent grant") || !strings.Contains(text, "("+want+" recipient update") {
			t.Errorf("called as %s:\n%s", program, text)
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{program, "tenant", "register"}, strings.NewReader(""), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "See `"+want+" tenant register --help`.") {
			t.Errorf("called as %s: exit code %d\n%s", program, code, errs.String())
		}
		a := &app{program: program, flags: &commandLine{Identity: "admin-ch", Data: defaultData}}
		if got := a.command("tenant", "resume", "t"); got != want+" -i admin-ch tenant resume t" {
			t.Errorf("called as %s: %s", program, got)
		}
	}
}

// Times of the past are written as how long ago, as a date or as a time, and what is none of them says all three.
func TestPastTimes(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-11-01":                time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01T12:00:00Z":      time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		"2026-11-01T00:30:00+01:00": time.Date(2026, 10, 31, 23, 30, 0, 0, time.UTC),
	} {
		var f past
		if err := f.UnmarshalText([]byte(text)); err != nil || !f.timestamp().AsTime().Equal(want) {
			t.Errorf("%s: %v, %v", text, f.Time, err)
		}
	}
	var f past
	before := time.Now().Add(-24 * time.Hour)
	if err := f.UnmarshalText([]byte("24h")); err != nil || f.Before(before) || f.After(time.Now().Add(-23*time.Hour)) {
		t.Errorf("24h: %v, %v", f.Time, err)
	}
	for _, text := range []string{"", "yesterday", "2026-13-01", "01.11.2026", "2026-11-01 12:00", "-1h"} {
		err := (&past{}).UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), "24h") || !strings.Contains(err.Error(), "a date such as 2026-01-31") || !strings.Contains(err.Error(), "2026-01-31T00:00:00Z") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A hint keeps within the tour's page, however the program was called.
func TestHintsAreWrapped(t *testing.T) {
	long := "/opt/tools/of/the/people/who/look/after/it/bin/domicile"
	for want, parts := range map[string][]string{
		"domicile -i admin-ch audit decisions alpine-1":        {"domicile -i admin-ch", "audit decisions alpine-1"},
		long + " -i admin-ch \\\n    audit decisions alpine-1": {long + " -i admin-ch", "audit decisions alpine-1"},
	} {
		if got := wrapped(parts...); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
