package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was acknowledged is there after a stop, and after a kill.
func TestRestartFindsEverythingAgain(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	d := start(t, data)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(t, "admin-ch", "tenant", "register", "kept", "--residence", "CH")
	d.must(t, "app-ch", "record", "put", "kept", "person-1", "contact", "--source", "PROVIDED", "--purpose", "PAYMENTS", "--full-name", "Anna Muster")
	d.must(t, "app-ch", "drive", "create", "kept", "disk-1", "--size", "1MiB")
	d.must(t, "app-ch", "drive", "write", "kept", "disk-1", file)
	d.must(t, "app-ch", "consent", "grant", "kept", "--kind", "BORDER_CROSSING", "--whole-tenant", "--class", "PERSONAL_INFORMATION",
		"--purpose", "PAYMENTS", "--from-jurisdiction", "CH", "--to-jurisdiction", "US", "--method", "form", "--grantor", "Anna",
		"--notice-language", "de", "--notice", file)

	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "addresses.json")); err == nil {
		t.Error("a stopped daemon still says where it serves")
	}
	d = start(t, data)
	keeps(t, d, content)
	d.kill()
	keeps(t, start(t, data), content)
}

func keeps(t *testing.T, d *daemon, content []byte) {
	t.Helper()
	for _, identity := range []string{"app-ch", "app-us"} { // at home, and abroad under the consent
		if out := d.must(t, identity, "record", "get", "kept", "person-1", "contact", "--purpose", "PAYMENTS"); !strings.Contains(out, "Anna Muster") {
			t.Errorf("the record as %s reads it:\n%s", identity, out)
		}
	}
	if out := d.must(t, "app-ch", "drive", "read", "kept", "disk-1", "-"); out != string(content) {
		t.Errorf("the drive holds %d other bytes", len(out))
	}
	if out := d.must(t, "admin-ch", "audit", "decisions", "kept"); !strings.Contains(out, "ConsentService/GrantConsent") {
		t.Errorf("the decisions:\n%s", out)
	}
}
