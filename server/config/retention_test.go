package config

import (
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

// withRetention is a file whose first region keeps audit entries for a time.
func withRetention(t *testing.T, value string) string {
	t.Helper()
	text := strings.Replace(good, "    controller:", "    audit_retention: "+value+"\n    controller:", 1)
	if text == good {
		t.Fatal("nothing was changed")
	}
	return text
}

// A retention is read and printed as it is, and is for good without one.
func TestAuditRetention(t *testing.T) {
	for value, want := range map[string]time.Duration{"8760h": year, "87600h": 10 * year, `"8760h30m"`: year + 30*time.Minute, "0s": 0} {
		c, err := load(t, withRetention(t, value))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		kept := 0
		for _, r := range c.Regions {
			if r.AuditRetention == want {
				kept++
			} else if r.AuditRetention != 0 {
				t.Errorf("%s is read as %v", value, r.AuditRetention)
			}
		}
		if kept == 0 {
			t.Errorf("%s is read as nothing", value)
		}
		text, err := c.Print()
		if err != nil {
			t.Fatal(err)
		}
		if printed := strings.Contains(string(text), "audit_retention: "+want.String()); printed != (want != 0) {
			t.Errorf("%s is printed: %v\n%s", value, printed, text)
		}
	}
}

// What is dropped cannot be had again, so nobody drops by a slip what the year needs.
func TestAuditRetentionsThatAreRefused(t *testing.T) {
	const least = "audit_retention: want at least 8760h, which is 365 days"
	for value, want := range map[string]string{
		"8759h59m": least, "365h": least, "1ns": least, "-8760h": least,
		"365d": "want a duration with its unit", "8760": "want a duration with its unit", "forever": "want a duration with its unit",
	} {
		if _, err := load(t, withRetention(t, value)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
	text := strings.Replace(withPeer, "    peer:", "    audit_retention: 8760h\n    peer:", 1)
	if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), "audit_retention belong into") {
		t.Errorf("of a region that a peer serves: %v", err)
	}
}
