package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// governing is an app whose data folder has an embedded gateway's identities.
func governing(t *testing.T, identity, stdin string) (*app, *bytes.Buffer) {
	t.Helper()
	t.Setenv("DOMICILE_IDENTITY", "")
	t.Setenv("DOMICILE_DATA", "")
	data := t.TempDir()
	dir := filepath.Join(data, "identity")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"admin-ch", "officer-ch", "counsel-ch", "officer-us"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name+".crt"), nil, 0o600), os.WriteFile(filepath.Join(dir, name+".key"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var errs bytes.Buffer
	return &app{flags: &commandLine{Identity: identity, Data: data, Output: "table"}, stdin: strings.NewReader(stdin), stdout: io.Discard, stderr: &errs}, &errs
}

func TestOrdersSayWhatTheyNeed(t *testing.T) {
	approval := &residencyv1.Approval{}
	scope := &residencyv1.LegalOrderScope{SubjectIds: []string{"person-1"}}
	for _, tt := range []struct {
		name, identity string
		order          *residencyv1.LegalOrder
		want           []string
		not            string
	}{
		{"recorded", "admin-ch", &residencyv1.LegalOrder{OrderId: "o-1", State: 1},
			[]string{"two approvals", "-i officer-ch", "-i counsel-ch", "order approve acme o-1"}, "-us"},
		{"approved once", "officer-ch", &residencyv1.LegalOrder{OrderId: "o-1", State: 1, Approvals: []*residencyv1.Approval{approval}},
			[]string{"one more approval", "-i counsel-ch"}, "-i officer"},
		{"elsewhere", "./mine.crt", &residencyv1.LegalOrder{OrderId: "o-1", State: 1}, []string{"two approvals", "-i CALLER"}, "officer"},
		{"in effect", "counsel-ch", &residencyv1.LegalOrder{OrderId: "o-1", State: 2, Scope: scope},
			[]string{"-i admin-ch", "disclosure disclose acme RECIPIENT --subject person-1 --order o-1"}, "approve"},
		{"for a recipient and a drive", "counsel-ch", &residencyv1.LegalOrder{OrderId: "o-1", State: 2, RecipientId: "police", Scope: &residencyv1.LegalOrderScope{DriveIds: []string{"disk"}}},
			[]string{"disclose acme police --drive disk --order o-1"}, "RECIPIENT"},
		{"rejected", "officer-ch", &residencyv1.LegalOrder{OrderId: "o-1", State: 3}, nil, "next"},
	} {
		a, errs := governing(t, tt.identity, "")
		if err := a.afterOrder("acme", tt.order); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%s: %q is not in\n%s", tt.name, want, errs)
			}
		}
		if strings.Contains(errs.String(), tt.not) {
			t.Errorf("%s: %q is in\n%s", tt.name, tt.not, errs)
		}
		a.flags.Output = "json"
		errs.Reset()
		if err := a.afterOrder("acme", tt.order); err != nil || errs.Len() > 0 {
			t.Errorf("%s: programs are told %q, %v", tt.name, errs, err)
		}
	}
}

func TestRecipientsSayWhatTheyNeed(t *testing.T) {
	safe := &residencyv1.Safeguard{Reference: "x"}
	for want, r := range map[string]*residencyv1.Recipient{
		"order record":              {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_LAW_ENFORCEMENT},
		"disclosure request":        {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_PUBLIC_AUTHORITY},
		"notice acme --recipient r": {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_THIRD_PARTY, Safeguard: safe},
		"recipient update acme r":   {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_AGENT},
		"update acme r … --safeg":   {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_THIRD_PARTY},
		"":                          {RecipientId: "r", Kind: residencyv1.RecipientKind_RECIPIENT_KIND_AGENT, Safeguard: safe},
	} {
		a, errs := governing(t, "admin-ch", "")
		if err := a.afterRecipient("acme", r); err != nil || !strings.Contains(errs.String(), want) || want == "" && errs.Len() > 0 {
			t.Errorf("%v: %v, %q, want %q", r, err, errs, want)
		}
	}
}

// Erasing a tenant is confirmed by its identifier, and by nothing like it.
func TestEraseAsks(t *testing.T) {
	for typed, ok := range map[string]bool{"acme\n": true, "acme": true, " acme \r\n": true, "": false, "\n": false, "ACME\n": false, "y\n": false, "acme2\n": false} {
		a, errs := governing(t, "admin-ch", typed)
		err := (&tenantErase{TenantID: "acme"}).confirm(a)
		var usage usageError
		if (err == nil) != ok || err != nil && !errors.As(err, &usage) {
			t.Errorf("%q: %v", typed, err)
		}
		if !strings.Contains(errs.String(), "Type its identifier") {
			t.Errorf("nothing is asked: %q", errs)
		}
	}
	a, errs := governing(t, "admin-ch", "")
	if err := (&tenantErase{TenantID: "acme", Yes: true}).confirm(a); err != nil || errs.Len() > 0 {
		t.Errorf("with --yes: %v, %q", err, errs)
	}
}

func TestFunctions(t *testing.T) {
	var f functionFlag
	if err := f.UnmarshalText([]byte("payments=full_name,attributes.iban")); err != nil || f.GetPurpose() != residencyv1.Purpose_PURPOSE_PAYMENTS ||
		strings.Join(f.GetFields(), " ") != "full_name attributes.iban" {
		t.Errorf("%v, %v", f, err)
	}
	for _, text := range []string{"", "payments", "payments=", "=full_name", "nothing=full_name"} {
		if err := f.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a function", text)
		}
	}
}

func TestOrderFlags(t *testing.T) {
	a, _ := governing(t, "admin-ch", `{"authority": "Court", "legal_basis": "Law", "scope": {"subject_ids": ["person-1"], "data_classes": [1]}}`)
	c := &orderRecord{From: "-", Authority: "High Court", Drive: []string{"disk"}, ValidUntil: moment{time.Unix(2_000_000_000, 0)}}
	m, err := c.order(a)
	if err != nil || m.GetAuthority() != "High Court" || m.GetLegalBasis() != "Law" || m.GetScope().GetSubjectIds()[0] != "person-1" ||
		m.GetScope().GetDriveIds()[0] != "disk" || len(m.GetScope().GetDataClasses()) != 1 || m.GetValidUntil().GetSeconds() != 2_000_000_000 || m.GetValidFrom() != nil {
		t.Errorf("%v, %v", m, err)
	}
}

// A file that could not be written whole does not stay, and one that is there
// is not written over.
func TestWriteFile(t *testing.T) {
	a, _ := governing(t, "admin-ch", "")
	name := filepath.Join(t.TempDir(), "out")
	broken := errors.New("broken off")
	if err := a.writeFile(name, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file stays: %v", err)
	}
	whole := func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }
	if err := a.writeFile(name, whole); err != nil {
		t.Error(err)
	}
	if err := a.writeFile(name, whole); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that was there: %v", err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "whole" {
		t.Errorf("%q, %v", text, err)
	}
}
