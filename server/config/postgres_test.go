package config

import (
	"strings"
	"testing"
)

func TestDatabasesAreTaken(t *testing.T) {
	for _, location := range []string{
		"postgres://127.0.0.1/x",
		"postgresql://gw@[::1]:5433/x?schema=ch",
		"postgres://gw@localhost,127.0.0.1:5433/x?sslmode=disable&pool_max_conns=8",
		"postgres://gw@a.example.org:5432,b.example.org/x?sslmode=verify-full&sslrootcert=/etc/ca.pem&passfile=/etc/pass",
		"postgres://a.example.org/x?sslmode=verify-full&sslrootcert=system",
	} {
		if _, err := parsePostgres(location); err != nil {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// Stores do not share tables, and keys are in no backup of what they seal.
func TestDatabasesAreApart(t *testing.T) {
	region := func(rows, keys string) Region { return Region{KeyStore: keys, Clusters: []Cluster{{Rows: rows}}} }
	for _, test := range []struct {
		name string
		c    Config
		want string // "" = nothing is wrong
	}{
		{"all apart", Config{Directory: "postgres://127.0.0.1/dir", Regions: map[string]Region{
			"ch": region("postgres://127.0.0.1/ch", "postgres://127.0.0.1/chkeys"), "us": region("postgres://127.0.0.1/us", "")}}, ""},
		{"schemas of one database", Config{Directory: "postgres://127.0.0.1/x?schema=directory", Regions: map[string]Region{
			"ch": region("postgres://127.0.0.1/x?schema=ch", ""), "us": region("postgres://gw@127.0.0.1/x?schema=us", "")}}, ""},
		{"one schema", Config{Regions: map[string]Region{
			"ch": region("postgres://127.0.0.1/x", ""), "us": region("postgres://gw@127.0.0.1/x?schema=domicile", "")}},
			"regions.us.clusters[0].rows: must have a schema apart from regions.ch.clusters[0].rows"},
		{"keys beside rows", Config{Regions: map[string]Region{"ch": region("postgres://127.0.0.1/x", "postgres://127.0.0.1/x?schema=keys")}},
			"regions.ch.key_store: must have a database apart from regions.ch.clusters[0].rows"},
		{"keys beside the directory", Config{Directory: "postgres://127.0.0.1/x", Regions: map[string]Region{"ch": region("pebble:/r", "postgres://127.0.0.1/x?schema=keys")}},
			"regions.ch.key_store: must have a database apart from directory"},
	} {
		v := &validation{src: test.c.source}
		v.databases(&test.c)
		got := ""
		if len(v.problems) > 0 {
			got = v.problems.Error()
		}
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
