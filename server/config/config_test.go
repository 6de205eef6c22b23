package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// good is a configuration that is safe and complete.
const good = `gateway:
  name: zrh-1
  jurisdiction: CH
  listen: 127.0.0.1:8443
  admin_listen: 127.0.0.1:9464
tls:
  certificate: server.crt
  key: server.key
  client_ca: clients.crt
regions:
  ch:
    jurisdiction: CH
    controller: CloudSigma AG
    policies: [ch-2012-05-02.yaml]
    keys: "file:keys/ch"
    clusters:
      - {name: zrh-1, location: CH, owner: CloudSigma AG, rows: "pebble:ch/rows", blobs: "file:ch/blobs"}
directory: "pebble:directory"
directory_key: "file:keys/directory.key"
callers:
  - {id: "spiffe://example.org/ch/billing", jurisdiction: CH, permissions: [records.read], tenants: ["*"], party: provider}
limits:
  connections: 10
  idle: 90s
  memory: 1GiB
`

// load reads a configuration text and validates it.
func load(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "domicile.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(name, environ)
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func TestLoad(t *testing.T) {
	c, err := load(t, good, "DOMICILE_GATEWAY_LISTEN=127.0.0.1:9999", "DOMICILE_LIMITS_DRAIN=3s", "DOMICILE_LIMITS_MEMORY=512MiB",
		"DOMICILE_GATEWAY_REFLECTION=true", "DOMICILE_DIRECTORY=pebble:/elsewhere", "DOMICILE_DATA=ignored", "PATH=/bin")
	if err != nil {
		t.Fatal(err)
	}
	folder := c.source.folder
	for _, tt := range []struct{ got, want any }{
		{c.Gateway.Listen, "127.0.0.1:9999"},
		{c.Gateway.Reflection, true},
		{c.Limits.Connections, 10},
		{c.Limits.Idle, 90 * time.Second},
		{c.Limits.Drain, 3 * time.Second},
		{c.Limits.Memory, 512 * MiB},
		{c.Limits.StreamLifetime, time.Hour}, // a default
		{c.Directory, "pebble:/elsewhere"},
		{c.TLS.Certificate, filepath.Join(folder, "server.crt")},
		{c.Regions["ch"].Keys, "file:" + filepath.Join(folder, "keys/ch")},
		{c.Regions["ch"].Clusters[0].Rows, "pebble:" + filepath.Join(folder, "ch/rows")},
		{c.Mixed(), false},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
	ids, err := c.Identities()
	if err != nil {
		t.Fatal(err)
	}
	id := ids["spiffe://example.org/ch/billing"]
	read, err := ParsePermission("records.read")
	if err != nil {
		t.Fatal(err)
	}
	if id == nil || id.Jurisdiction != (residency.Jurisdiction{'C', 'H'}) || id.Party != residency.ProviderParty || !id.Sees("any") ||
		id.Permissions != Permissions(0).With(read) {
		t.Errorf("identity: %+v", id)
	}
	policies, err := c.LoadPolicies("ch")
	if err != nil || len(policies) != 1 || policies[0].Controller != "CloudSigma AG" {
		t.Errorf("policies: %v, %v", policies, err)
	}
}

// A cluster's share of new tenants is 1 unless it is stated, and a closed one needs none.
func TestClusterShares(t *testing.T) {
	for _, tt := range []struct {
		add    string
		share  int
		closed bool
	}{
		{"", 1, false},
		{", weight: null", 1, false},
		{", weight: 1000", 1000, false},
		{", closed: true", 1, true},
		{", weight: 0, closed: true", 0, true},
	} {
		c, err := load(t, strings.Replace(good, "owner: CloudSigma AG", "owner: CloudSigma AG"+tt.add, 1))
		if err != nil {
			t.Fatalf("%q: %v", tt.add, err)
		}
		if cl := c.Regions["ch"].Clusters[0]; cl.Share() != tt.share || cl.Closed != tt.closed {
			t.Errorf("%q: a share of %d, closed %v", tt.add, cl.Share(), cl.Closed)
		}
		shown, err := c.Print()
		if err != nil || strings.Contains(string(shown), "weight:") != (strings.Contains(tt.add, "weight: 1") || tt.share == 0) {
			t.Errorf("%q: %v\n%s", tt.add, err, shown)
		}
	}
}

// What is unsafe, incomplete or not supported is refused, with the place in the file and what would
// be right.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to string // a change to the good file
		want     string // part of the error, "LINE:COLUMN: path: text" as far as given
	}{
		{"an unknown key", "  name: zrh-1", "  nmae: zrh-1", "2:3: gateway: unknown field \"nmae\""},
		{"a key twice", "  name: zrh-1", "  name: zrh-1\n  name: zrh-2", "3:3: mapping key \"name\" already defined"},
		{"no YAML", "gateway:", "gateway: [", ":"},
		{"text for a number", "connections: 10", "connections: ten", "23:16: limits.connections: want a whole number"},
		{"a bad duration", "idle: 90s", "idle: 90", "24:9: limits.idle: want a duration"},
		{"a bad size", "memory: 1GiB", "memory: 1GB", "25:11: limits.memory: want a number of bytes"},
		{"a tenant that YAML takes for a number", `tenants: ["*"]`, `tenants: [acme, 010]`, "21:108: callers[0].tenants[1]: want text, but YAML reads this as a number: put it in quotes"},
		{"another one", `tenants: ["*"]`, `tenants: [1.5]`, "callers[0].tenants[0]: want text, but YAML reads this as a number"},
		{"a name that YAML takes for true", "name: zrh-1\n", "name: true\n", "2:9: gateway.name: want text, but YAML reads this as true or false: put it in quotes"},
		{"a region that YAML takes for a number", "  ch:\n", "  010:\n", "11:3: regions.010: want a name that is text: put it in quotes"},
		{"a tag", `tenants: ["*"]`, `tenants: !!seq [010]`, "callers[0].tenants: want the value without a tag"},
		{"an octal limit", "connections: 10", "connections: 010", "23:16: limits.connections: want a decimal number without leading zeros"},
		{"a list for text", "  name: zrh-1", "  name: [zrh-1]", "gateway.name: want a single value"},
		{"text for a list", `tenants: ["*"]`, `tenants: "*"`, "callers[0].tenants: want a list"},
		{"text for a section", "limits:\n  connections: 10\n  idle: 90s\n  memory: 1GiB\n", "limits: none\n", "limits: want a mapping"},
		{"a limit below", "connections: 10", "connections: -1", "23:16: limits.connections: want 1 to 65536"},
		{"a limit above", "idle: 90s", "idle: 25h", "limits.idle: want 1s to 24h"},
		{"a long lease", "idle: 90s", "lease: 2s", "limits.lease: want 10ms to 1s"},
		{"no name", "  name: zrh-1\n", "", "gateway.name: want 1 to 64"},
		{"no certificate", "  certificate: server.crt\n", "", "tls.certificate: is required: every connection is TLS"},
		{"no client authority", "  client_ca: clients.crt\n", "", "tls.client_ca: is required"},
		{"an unknown jurisdiction", "    jurisdiction: CH", "    jurisdiction: UK", "12:19: regions.ch.jurisdiction: not an officially assigned"},
		{"a lower-case jurisdiction", "  jurisdiction: CH\n  listen", "  jurisdiction: ch\n  listen", "gateway.jurisdiction: not an officially"},
		{"no regions", strings.SplitN(good[strings.Index(good, "regions:"):], "directory:", 2)[0], "", "regions: want at least one region"},
		{"a region's name", "  ch:\n", "  CH_1:\n", "regions.CH_1: a region's name"},
		{"a cluster elsewhere", "location: CH", "location: DE", "regions.ch.clusters[0].location: is outside the region's jurisdiction CH (clause drive-storage)"},
		{"a foreign owner", "owner: CloudSigma AG", "owner: Somebody", "regions.ch.clusters[0].owner: must be the region's controller"},
		{"no share, but open", "owner: CloudSigma AG", "owner: CloudSigma AG, weight: 0", "17:67: regions.ch.clusters[0].weight: want 1 to 1000; for a cluster that takes no new tenants say closed: true"},
		{"a share below", "owner: CloudSigma AG", "owner: CloudSigma AG, weight: -1, closed: true", "regions.ch.clusters[0].weight: want 1 to 1000"},
		{"a share above", "owner: CloudSigma AG", "owner: CloudSigma AG, weight: 1001", "regions.ch.clusters[0].weight: want 1 to 1000"},
		{"half a share", "owner: CloudSigma AG", "owner: CloudSigma AG, weight: 1.5", "regions.ch.clusters[0].weight: want a whole number"},
		{"perhaps closed", "owner: CloudSigma AG", "owner: CloudSigma AG, closed: later", "regions.ch.clusters[0].closed: want true or false"},
		{"a foreign operator", "owner: CloudSigma AG", "owner: CloudSigma AG, operator: Somebody", "regions.ch.clusters[0].operator: must be"},
		{"no policy", "    policies: [ch-2012-05-02.yaml]\n", "", "regions.ch.policies: want at least one policy file"},
		{"postgres with a password", `"pebble:ch/rows"`, `"postgres://user:secret@db/x?sslmode=verify-full"`, "rows: a password does not belong here"},
		{"postgres with a password in its query", `"pebble:ch/rows"`, `"postgres://db/x?sslmode=verify-full&password=secret"`, "rows: a password does not belong here"},
		{"postgres in plaintext", `"pebble:ch/rows"`, `"postgres://user@db/x"`, "rows: want sslmode=verify-full"},
		{"postgres whose server proves nothing", `"pebble:ch/rows"`, `"postgres://user@127.0.0.1,db:5433/x?sslmode=require"`, "rows: want sslmode=verify-full"},
		{"postgres whose hosts are elsewhere", `"pebble:ch/rows"`, `"postgres://127.0.0.1/x?host=db"`, "rows: user, hosts and database stand before"},
		{"postgres without a database", `"pebble:ch/rows"`, `"postgres://127.0.0.1"`, "rows: want postgres://USER@HOST"},
		{"postgres without a host", `"pebble:ch/rows"`, `"postgres://user@/x"`, "rows: want a host"},
		{"postgres with a file somewhere", `"pebble:ch/rows"`, `"postgres://127.0.0.1/x?passfile=pass"`, "rows: want absolute paths"},
		{"keys in a folder of their own", "    keys: ", "    key_store: \"pebble:keys\"\n    keys: ", "key_store: want postgres://"},
		{"s3 without a bucket", `"file:ch/blobs"`, `"s3://host"`, "blobs: want a bucket"},
		{"s3 for rows", `"pebble:ch/rows"`, `"s3://host/bucket"`, "rows: s3 is not supported by this version"},
		{"another scheme", `"file:ch/blobs"`, `"ftp:x"`, "blobs: want file: and a path"},
		{"a peer beside clusters", "    keys: ", "    peer: {address: \"us:8443\", identity: \"spiffe://x/y\"}\n    keys: ", "regions.ch: is served by its peer"},
		{"keys inside rows", `"file:keys/ch"`, `"file:ch/rows/keys"`, "regions.ch.keys: must lie apart from regions.ch.clusters[0].rows: keys and what they seal"},
		{"rows inside keys", `"pebble:ch/rows"`, `"pebble:keys/ch/rows"`, "regions.ch.keys: must lie apart"},
		{"blobs in the rows' folder", `"file:ch/blobs"`, `"file:ch/rows"`, "blobs: must lie apart from regions.ch.clusters[0].rows"},
		{"the directory's key in the directory", "file:keys/directory.key", "file:directory/key", "directory_key: must lie apart from directory"},
		{"admin off loopback", "127.0.0.1:9464", "0.0.0.0:9464", "gateway.admin_listen: has no authentication"},
		{"admin on every address", "127.0.0.1:9464", `":9464"`, "gateway.admin_listen: has no authentication"},
		{"mixed off loopback", "  jurisdiction: CH\n  listen: 127.0.0.1:8443", "  jurisdiction: US\n  listen: 0.0.0.0:8443", "gateway.listen: plaintext of CH and US would exist"},
		{"no port", "127.0.0.1:8443", "127.0.0.1", "gateway.listen: want host:port"},
		{"an unknown permission", "[records.read]", "[records.read, records.reed]", "21:91: callers[0].permissions[1]: unknown permission: want one of"},
		{"a caller's jurisdiction", `billing", jurisdiction: CH`, `billing", jurisdiction: EU`, "callers[0].jurisdiction: not an officially"},
		{"a caller without one", `billing", jurisdiction: CH,`, `billing",`, "callers[0].jurisdiction: is required"},
		{"a party", "party: provider", "party: friend", `callers[0].party: want "provider" or "tenant"`},
		{"no party", ", party: provider", "", `callers[0].party: want "provider" or "tenant"`},
		{"a tenant", `tenants: ["*"]`, `tenants: ["a/b"]`, "callers[0].tenants[0]: want"},
		{"an identity", "spiffe://example.org/ch/billing", "billing", "callers[0].id: want an absolute URI"},
		{"an empty identity", "spiffe://example.org/ch/billing", "", "callers[0].id: want an absolute URI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the good file has no %q", tt.from)
			}
			_, err := load(t, strings.Replace(good, tt.from, tt.to, 1))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant a part\n%s", err, tt.want)
			}
			if problems[0].File == "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("without its place, or with a secret: %v", err)
			}
		})
	}
}

// Everything that is wrong is told at once, of whatever kind, and once.
func TestAllProblemsAtOnce(t *testing.T) {
	text := good
	for from, to := range map[string]string{
		"  admin_listen:": "  admin_lisen:", "connections: 10": "connections: ten", "idle: 90s": "idle: 25h",
		`tenants: ["*"]`: "tenants: [007]", "location: CH": "location: DE", "party: provider": "party: friend", "  key: server.key\n": "",
	} {
		text = strings.Replace(text, from, to, 1)
	}
	_, err := load(t, text, "DOMICILE_LIMITS_DRAIN=soon", "DOMICILE_GATEWAY_LISTN=x")
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`unknown field "admin_lisen"`, "gateway.admin_listen: want host:port", "limits.connections: want a whole number", "limits.idle: want 1s to 24h",
		"callers[0].tenants[0]: want text", "regions.ch.clusters[0].location: is outside", `callers[0].party: want "provider"`, "tls.key: is required",
		"DOMICILE_LIMITS_DRAIN: want a duration", "DOMICILE_GATEWAY_LISTN: no such setting",
	} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("not told, or not once: %s", want)
		}
	}
	if len(problems) != 10 {
		t.Errorf("%d problems:\n%v", len(problems), err)
	}
}

// A byte order mark is no matter; another encoding is named as what is wrong.
func TestEncodings(t *testing.T) {
	if _, err := load(t, "\xef\xbb\xbf"+good); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	_, err := load(t, "\xef\xbb\xbf"+strings.Replace(good, "  name: zrh-1", "  nmae: zrh-1", 1))
	if err == nil || !strings.Contains(err.Error(), "2:3:") {
		t.Errorf("its positions: %v", err)
	}
	utf16 := []byte{0xff, 0xfe}
	for _, r := range good {
		utf16 = append(utf16, byte(r), 0)
	}
	for _, text := range []string{string(utf16), strings.Replace(good, "AG", "\xc4G", 1)} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), "want UTF-8") {
			t.Errorf("another encoding: %v", err)
		}
	}
}

func TestEnvironmentRefusals(t *testing.T) {
	for _, tt := range []struct{ entry, want string }{
		{"DOMICILE_GATEWAY_LISTN=x", "DOMICILE_GATEWAY_LISTN: no such setting"},
		{"DOMICILE_LIMITS_IDLE=soon", "DOMICILE_LIMITS_IDLE: want a duration"},
		{"DOMICILE_GATEWAY_REFLECTION=perhaps", "DOMICILE_GATEWAY_REFLECTION: want true or false"},
		{"DOMICILE_LIMITS_CONNECTIONS=many", "DOMICILE_LIMITS_CONNECTIONS: want a whole number"},
	} {
		if _, err := load(t, good, tt.entry); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.entry, err)
		}
	}
}

// A configuration of two jurisdictions is good on loopback, and elsewhere only when it says so.
func TestMixedJurisdictions(t *testing.T) {
	two := strings.Replace(good, "directory: ", `  us:
    jurisdiction: US
    controller: CloudSigma Inc
    policies: [us-2011-10-07.yaml]
    keys: "file:keys/us"
    clusters:
      - {name: nyc-1, location: US, owner: CloudSigma Inc, rows: "pebble:us/rows", blobs: "file:us/blobs"}
directory: `, 1)
	if _, err := load(t, two); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	off := strings.Replace(two, "127.0.0.1:8443", "0.0.0.0:8443", 1)
	if _, err := load(t, off); err == nil {
		t.Error("off loopback it was taken")
	}
	if _, err := load(t, strings.Replace(off, "  listen:", "  mixed_jurisdictions: true\n  listen:", 1)); err != nil {
		t.Errorf("off loopback, stated: %v", err)
	}
	same := strings.Replace(two, `"file:us/blobs"`, `"file:ch/blobs"`, 1)
	if _, err := load(t, same); err == nil {
		t.Error("two regions in one folder were taken")
	}
}

// Keys that only a link puts inside the rows are found too.
func TestLinkedFolders(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "ch", "rows"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "ch", "rows"), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "domicile.yaml")
	if err := os.WriteFile(name, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "must lie apart") {
		t.Errorf("got %v", err)
	}
}

// A policy of another controller or jurisdiction than the region's is refused.
func TestPolicyMustBelong(t *testing.T) {
	for change, want := range map[string]string{
		"us-2011-10-07.yaml":  "is a policy of US",
		"nowhere.yaml":        "no such file, and none of that name is shipped",
		"CloudSigma GmbH":     "names the controller",
		"../../../etc/passwd": "", // found or not, it is no policy
	} {
		text := strings.Replace(good, "ch-2012-05-02.yaml", change, 1)
		if change == "CloudSigma GmbH" {
			text = strings.ReplaceAll(good, "CloudSigma AG", change)
		}
		c, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.LoadPolicies("ch"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "regions.ch.policies[0]") {
			t.Errorf("%s: got %v", change, err)
		}
	}
}

func TestPrintHasNoSecrets(t *testing.T) {
	c, err := load(t, good)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Regions["ch"]
	r.Clusters[0].Rows = "postgres://user:secret@db:5432/x"
	text, err := c.Print()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") || !strings.Contains(string(text), "postgres://…@db:5432/x") {
		t.Errorf("printed\n%s", text)
	}
	if r.Clusters[0].Rows != "postgres://user:secret@db:5432/x" {
		t.Error("printing changed the configuration")
	}
}

// What is printed can be loaded again and comes to the same.
func TestPrintedLoads(t *testing.T) {
	c, err := load(t, good)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Print()
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, string(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	c.source, again.source = nil, nil
	if !reflect.DeepEqual(c, again) {
		t.Errorf("got\n%+v\nwant\n%+v", again, c)
	}
}

func TestPermissions(t *testing.T) {
	for i, name := range PermissionNames() {
		p, err := ParsePermission(name)
		if err != nil || int(p) != i || p.String() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if Permissions(0).Has(p) || !Permissions(0).With(p).Has(p) {
			t.Errorf("%s: the empty set has it, or one with it does not", name)
		}
	}
	if _, err := ParsePermission(""); err == nil {
		t.Error("no permission is one")
	}
	if len(PermissionNames()) > 64 {
		t.Error("the set does not fit its bits")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "17": 17, "2KiB": 2048, "3 MiB": 3 << 20, "1GiB": 1 << 30} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "1TB", "KiB", "9999999999999GiB", "1.5GiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s: %d", text, b)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("a: &a [*a]")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if c, _ := parse([]byte(text), "fuzz.yaml", "/"); c != nil {
			_ = c.Validate() // must not panic
		}
	})
}

func TestExampleIsGood(t *testing.T) {
	c, err := Load("example.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := c.LoadPolicies("ch"); err != nil {
		t.Error(err)
	}
}
