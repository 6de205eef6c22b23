package gateway

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
	"github.com/domicile-project/domicile/residency/store/postgres"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// traceStores is the stores of a gateway: a cluster and a key store per region, and a directory.
type traceStores struct {
	name      string
	rows      map[residency.Region]store.Rows
	outbox    map[residency.Region]store.Outbox
	blobs     map[residency.Region]store.Blobs
	keys      map[residency.Region]store.Keys
	directory store.Directory
}

var traceRegions = []residency.Region{"ch", "us"}

func newTraceStores(name string) traceStores {
	return traceStores{
		name: name, rows: map[residency.Region]store.Rows{}, outbox: map[residency.Region]store.Outbox{},
		blobs: map[residency.Region]store.Blobs{}, keys: map[residency.Region]store.Keys{},
	}
}

func traceMemory() traceStores {
	s := newTraceStores("memory")
	for _, r := range traceRegions {
		m := storetest.NewMemory(nil)
		s.rows[r], s.outbox[r], s.blobs[r], s.keys[r] = m.Rows(), m.Outbox(), m.Blobs(), m.Keys()
		s.directory = m.Directory()
	}
	return s
}

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

func traceEmbedded(t *testing.T) traceStores {
	s := newTraceStores("pebble and folders")
	for _, r := range traceRegions {
		root := filepath.Join(t.TempDir(), string(r))
		cluster := closing[*pebble.Cluster](t)(pebble.OpenCluster(filepath.Join(root, "rows"), pebble.Options{}))
		s.rows[r], s.outbox[r] = cluster, cluster
		s.blobs[r] = closing[*dir.Blobs](t)(dir.Open(filepath.Join(root, "blobs")))
		s.keys[r] = closing[*pebble.Keys](t)(pebble.OpenKeys(filepath.Join(root, "keys"), nil))
	}
	s.directory = closing[*pebble.Directory](t)(pebble.OpenDirectory(filepath.Join(t.TempDir(), "directory"), nil))
	return s
}

// traceServers is servers that rounds of a trace share; each has schemas and prefixes of its own.
type traceServers struct {
	postgres *storetest.PostgresServer
	s3       *storetest.S3Server
}

func (v traceServers) open(t *testing.T, round int) traceStores {
	s := newTraceStores("PostgreSQL and S3")
	at := func(role postgres.Role, name string) string {
		location := v.postgres.URL("domicile", "domicile") + fmt.Sprintf("&require_sync_standby=false&pool_max_conns=4&schema=%s%d", name, round)
		if _, _, err := postgres.Migrate(t.Context(), location, role); err != nil {
			t.Fatal(err)
		}
		return location
	}
	for _, r := range traceRegions {
		cluster := closing[*postgres.Cluster](t)(postgres.OpenCluster(t.Context(), at(postgres.RoleCluster, string(r)), postgres.Options{}))
		s.rows[r], s.outbox[r] = cluster, cluster
		s.blobs[r] = closing[*s3.Blobs](t)(s3.Open(t.Context(), s3.Options{
			Endpoint: v.s3.Endpoint, Bucket: v.s3.Bucket, Region: v.s3.Region, Insecure: true, Prefix: fmt.Sprintf("%s/%d", r, round),
			AccessKey: v.s3.AccessKey, SecretKey: v.s3.SecretKey,
		}))
		s.keys[r] = closing[*postgres.Keys](t)(postgres.OpenKeys(t.Context(), at(postgres.RoleKeys, string(r)+"_keys"), postgres.Options{}))
	}
	s.directory = closing[*postgres.Directory](t)(postgres.OpenDirectory(t.Context(), at(postgres.RoleDirectory, "directory"), postgres.Options{}))
	return s
}

// sharedKeys gives every set-up the same tenants' and people's keys, so that the digests that rows are ordered
// by are the same: whoever makes a key first makes it for all.
type sharedKeys struct {
	mu   sync.Mutex
	made map[string][]byte
}

type sameKeys struct {
	store.Keys
	region residency.Region
	shared *sharedKeys
}

// isShared says of a key's name that it is a tenant's or a person's; others are a drive's, which goes by its
// incarnation, and the entries of the ledger.
func isShared(name string) bool {
	const size = len(store.Tenant{})
	return len(name) > size && name[size] <= 2 && name[:size] != string(make([]byte, size))
}

func (k sameKeys) Create(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	if !isShared(name) {
		return k.Keys.Create(ctx, name, wrapped)
	}
	k.shared.mu.Lock()
	if made, ok := k.shared.made[string(k.region)+name]; ok {
		wrapped = made
	} else {
		k.shared.made[string(k.region)+name] = bytes.Clone(wrapped)
	}
	k.shared.mu.Unlock()
	if there, err := k.Keys.Create(ctx, name, wrapped); err != nil {
		return there, err
	}
	return wrapped, store.ErrExists // so that the caller takes this one, and not its own
}
