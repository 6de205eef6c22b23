package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store/storetest"
	"github.com/domicile-project/domicile/server/embedded"
)

// A gateway keeps rows, directory and wrapped keys in databases once their
// tables are there, and finds everything again after a restart.
func TestGatewayOnDatabases(t *testing.T) {
	server := storetest.StartPostgres(t)
	if err := server.Exec("postgres", "postgres", "create database keys owner domicile"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	home, err := embedded.Open(filepath.Join(dir, "certs"), time.Now())
	if err = errors.Join(err, home.Close()); err != nil {
		t.Fatal(err)
	}
	at := func(database, schema string) string {
		return server.URL("domicile", database) + "&require_sync_standby=false&schema=" + schema
	}
	file := filepath.Join(dir, "domicile.yaml")
	text := fmt.Sprintf(`gateway: {name: zrh-1, jurisdiction: CH, listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}
tls: {certificate: certs/identity/server.crt, key: certs/identity/server.key, client_ca: certs/identity/ca.crt}
regions:
  ch:
    jurisdiction: CH
    controller: CloudSigma AG
    policies: [ch-2012-05-02.yaml]
    keys: "file:secrets/ch"
    key_store: "%s"
    clusters: [{name: zrh-1, location: CH, owner: CloudSigma AG, rows: "%s", blobs: "file:ch/blobs"}]
directory: "%s"
directory_key: "file:secrets/directory.key"
callers:
  - {id: "spiffe://domicile.local/ch/admin-ch", jurisdiction: CH, permissions: [tenants.read, tenants.write], tenants: ["*"], party: provider}
  - {id: "spiffe://domicile.local/ch/app-ch", jurisdiction: CH, permissions: [records.read, records.write], tenants: [acme], party: tenant}
`, at("keys", "keys"), at("domicile", "ch"), at("domicile", "directory"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		err := run(t.Context(), []string{"--config", file}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got the error %v, want one that says %q", err, want)
		}
	}
	refused("copy it from another gateway")
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", "directory.key"), make([]byte, keySize), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("run domiciled migrate")
	for _, first := range []bool{true, false} {
		var out output
		if err := run(t.Context(), []string{"migrate", "--config", file}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"directory", "region ch keys", "region ch cluster zrh-1"} {
			steps := regexp.MustCompile(regexp.QuoteMeta(what) + `: step (\d+) -> (\d+)\n`).FindStringSubmatch(out.String())
			if steps == nil || first != (steps[1] == "0") || !first && steps[1] != steps[2] {
				t.Errorf("migrate says %q, first %v", out.String(), first)
			}
		}
	}
	for round := range 2 {
		p := launch(t, filepath.Join(dir, "certs"), "--config", file)
		if round == 0 {
			if err := register(t.Context(), p.as("admin-ch"), "acme", "CH"); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(t.Context(), p.as("app-ch"), "acme"); err != nil {
			t.Fatal(err)
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingToMigrate(t *testing.T) {
	var out output
	if err := run(t.Context(), []string{"migrate", "--data", filepath.Join(t.TempDir(), "data")}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "nothing to migrate") {
		t.Errorf("got %q", out.String())
	}
}
