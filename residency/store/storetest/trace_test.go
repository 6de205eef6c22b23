package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
	"github.com/domicile-project/domicile/residency/store/postgres"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// closing closes a store at a test's end.
func closing[T interface{ Close() error }](t *testing.T) func(T, error) T {
	return func(s T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
}

// embedded is the stores of one machine, in folders.
func embedded(t *testing.T) storetest.Setup {
	t.Helper()
	at := func(name string) string { return filepath.Join(t.TempDir(), name) }
	cluster := closing[*pebble.Cluster](t)(pebble.OpenCluster(at("rows"), pebble.Options{}))
	return storetest.Setup{
		Name: "pebble and folders", Rows: cluster, Outbox: cluster,
		Blobs:     closing[*dir.Blobs](t)(dir.Open(at("blobs"))),
		Directory: closing[*pebble.Directory](t)(pebble.OpenDirectory(at("directory"), nil)),
		Keys:      closing[*pebble.Keys](t)(pebble.OpenKeys(at("keys"), nil)),
	}
}

// servers is the stores on a PostgreSQL and an S3 server of the test's own.
func servers(t *testing.T) storetest.Setup {
	t.Helper()
	objects := storetest.StartS3(t)
	server := storetest.StartPostgres(t)
	at := func(role postgres.Role, schema string) string {
		location := server.URL("domicile", "domicile") + "&require_sync_standby=false&pool_max_conns=4&schema=" + schema
		if _, _, err := postgres.Migrate(t.Context(), location, role); err != nil {
			t.Fatal(err)
		}
		return location
	}
	cluster := closing[*postgres.Cluster](t)(postgres.OpenCluster(t.Context(), at(postgres.RoleCluster, "cluster"), postgres.Options{}))
	return storetest.Setup{
		Name: "PostgreSQL and S3", Rows: cluster, Outbox: cluster,
		Blobs: closing[*s3.Blobs](t)(s3.Open(t.Context(), s3.Options{
			Endpoint: objects.Endpoint, Bucket: objects.Bucket, Region: objects.Region, Insecure: true,
			AccessKey: objects.AccessKey, SecretKey: objects.SecretKey,
		})),
		Directory: closing[*postgres.Directory](t)(postgres.OpenDirectory(t.Context(), at(postgres.RoleDirectory, "directory"), postgres.Options{})),
		Keys:      closing[*postgres.Keys](t)(postgres.OpenKeys(t.Context(), at(postgres.RoleKeys, "keys"), postgres.Options{})),
	}
}

const traceSeed = 20120502

// The three kinds of stores give the same answers, to the last one, to the same operations.
func TestTrace(t *testing.T) {
	few := 20_000
	if testing.Short() {
		few = 10_000
	}
	n := storetest.Sample(t, "operations on each of three set-ups", few, 100_000)
	if err := storetest.Trace(t.Context(), traceSeed, n, storetest.NewMemory(nil).Setup(), embedded(t), servers(t)); err != nil {
		t.Fatal(err)
	}
}
