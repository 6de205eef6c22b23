package embedded

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/server/config"
)

func open(t *testing.T, dir string, now time.Time) *Home {
	t.Helper()
	h, err := Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// contents reads every identity file.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, "identity", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func TestFirstStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	now := time.Now()
	h := open(t, dir, now)
	defer h.Close()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", p, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range contents(t, dir) {
		names = append(names, name)
	}
	slices.Sort(names)
	var want []string
	for _, n := range strings.Fields("admin-ch admin-us app-ch app-us ca counsel-ch counsel-us officer-ch officer-us server sre") {
		want = append(want, n+".crt", n+".key")
	}
	if !slices.Equal(names, want) {
		t.Errorf("identities: %v\nwant %v", names, want)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(contents(t, dir)["ca.crt"]))
	for name, usage := range map[string]x509.ExtKeyUsage{"app-ch": x509.ExtKeyUsageClientAuth, "server": x509.ExtKeyUsageServerAuth} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "identity", name+".crt"), filepath.Join(dir, "identity", name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if life := pair.Leaf.NotAfter.Sub(now); life < 364*24*time.Hour || life > 366*24*time.Hour {
			t.Errorf("%s is good for %v", name, life)
		}
		if name == "app-ch" && (len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != "spiffe://domicile.local/ch/app-ch") {
			t.Errorf("app-ch is %v", pair.Leaf.URIs)
		}
		for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
			if err := pair.Leaf.VerifyHostname(host); name == "server" && err != nil {
				t.Error(err)
			}
		}
	}
}

func TestConfigIsSafe(t *testing.T) {
	h := open(t, t.TempDir(), time.Now())
	defer h.Close()
	c := h.Config()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ids, err := c.Identities()
	if err != nil {
		t.Fatal(err)
	}
	has := func(id, permission string) bool {
		p, err := config.ParsePermission(permission)
		if err != nil {
			t.Fatal(err)
		}
		return ids[id].Permissions.Has(p)
	}
	const prefix = "spiffe://domicile.local/"
	for _, tt := range []struct {
		id, permission string
		want           bool
	}{
		{"ch/admin-ch", "tenants.write", true}, {"ch/admin-ch", "orders.approve", false}, {"us/admin-us", "cases.approve", false},
		{"ch/officer-ch", "orders.approve", true}, {"us/counsel-us", "cases.approve", true}, {"ch/officer-ch", "records.read", true},
		{"ch/officer-ch", "records.write", false}, {"ch/officer-ch", "orders.write", false},
		{"ch/app-ch", "records.write", true}, {"ch/app-ch", "consents.withdraw", true}, {"us/app-us", "transfers.read", true},
		{"ch/app-ch", "tenants.write", false}, {"ch/app-ch", "audit.read", false},
		{"sre", "gateway.read", true}, {"sre", "policies.read", true}, {"sre", "tenants.read", false},
	} {
		if got := has(prefix+tt.id, tt.permission); got != tt.want {
			t.Errorf("%s: %s is %v", tt.id, tt.permission, got)
		}
	}
	if ids[prefix+"sre"].Sees("any") || !ids[prefix+"us/app-us"].Sees("any") {
		t.Error("sre sees a tenant, or app-us sees none")
	}
	if len(ids) != 9 || ids[prefix+"us/app-us"].Jurisdiction.String() != "US" || ids[prefix+"us/app-us"].Party.String() != "TENANT" {
		t.Errorf("%d callers, app-us %+v", len(ids), ids[prefix+"us/app-us"])
	}
	for _, name := range []string{"ch", "us"} {
		if _, err := c.LoadPolicies(name); err != nil {
			t.Error(err)
		}
	}
	off := h.Config()
	off.Gateway.Listen = "0.0.0.0:8443"
	if err := off.Validate(); err == nil || !strings.Contains(err.Error(), "plaintext of CH and US") {
		t.Errorf("off loopback: %v", err)
	}
}

// Later starts keep what is good and renew what ends within 30 days.
func TestLaterStarts(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	day := 24 * time.Hour
	open(t, dir, now).Close()
	first := contents(t, dir)
	open(t, dir, now.Add(334*day)).Close()
	if again := contents(t, dir); !mapsEqual(first, again) {
		t.Error("a start 31 days before the end changed something")
	}
	open(t, dir, now.Add(336*day)).Close()
	renewed := contents(t, dir)
	for name := range first {
		if changed := first[name] != renewed[name]; changed == strings.HasPrefix(name, "ca.") {
			t.Errorf("a start 29 days before the end: %s changed %v", name, changed)
		}
	}
	open(t, dir, now.Add((3650-20)*day)).Close()
	if contents(t, dir)["ca.crt"] == first["ca.crt"] {
		t.Error("the authority was not renewed before its end")
	}
}

func mapsEqual(a, b map[string]string) bool {
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

// A start that was interrupted is finished by the next, whatever files it left.
func TestInterruptedStarts(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, time.Now()).Close()
	identity := filepath.Join(dir, "identity")
	for _, missing := range []string{"app-ch.crt", "app-ch.key", "server.key", "sre.crt"} {
		if err := os.Remove(filepath.Join(identity, missing)); err != nil {
			t.Fatal(err)
		}
	}
	other, err := os.ReadFile(filepath.Join(identity, "app-us.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(identity, "admin-ch.key"), other, 0o600); err != nil { // renewed key, old certificate
		t.Fatal(err)
	}
	open(t, dir, time.Now()).Close()
	for _, id := range identities() {
		if _, err := tls.LoadX509KeyPair(filepath.Join(identity, id.name+".crt"), filepath.Join(identity, id.name+".key")); err != nil {
			t.Errorf("%s: %v", id.name, err)
		}
	}
}

func TestKeysOfOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, time.Now()).Close()
	if err := os.Chmod(filepath.Join(dir, "identity", "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "readable by others: make it 0600") {
		t.Errorf("got %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, time.Now())
	if _, err := Open(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "in use by another gateway") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second gateway: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, time.Now()).Close()
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "addresses.json")
	if err := os.WriteFile(name, []byte(`{"grpc": "127.0.0.1:1"}`), 0o600); err != nil { // of a process that was killed
		t.Fatal(err)
	}
	h := open(t, dir, time.Now())
	defer h.Close()
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it serves: %v", err)
	}
	if err := h.Publish("127.0.0.1:1234", "127.0.0.1:5678"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(bytes.TrimSpace(text), &got); err != nil || got["grpc"] != "127.0.0.1:1234" || got["admin"] != "127.0.0.1:5678" {
		t.Errorf("got %s, %v", text, err)
	}
	if err := errors.Join(h.Unpublish(), h.Unpublish()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("afterwards: %v", err)
	}
}
