package gateway

import (
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/postgres"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// newReplicasOnPostgres makes replicas whose Swiss rows are in a PostgreSQL server of the test's own, each
// process with connections of its own. Time is real there.
func newReplicasOnPostgres(t *testing.T) *replicas {
	t.Helper()
	location := storetest.StartPostgres(t).URL("domicile", "domicile") + "&require_sync_standby=false&pool_max_conns=8"
	if _, _, err := postgres.Migrate(t.Context(), location, postgres.RoleCluster); err != nil {
		t.Fatal(err)
	}
	r := newReplicas(t, func() (store.Rows, store.Outbox) {
		c, err := postgres.OpenCluster(t.Context(), location, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return c, c
	})
	r.ahead = 15 * time.Second
	return r
}

func TestReplicasOnPostgres(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *replicas){
		"a stopped leader changes nothing":       stoppedLeader,
		"a withdrawal through another replica":   withdrawnElsewhere,
		"a policy switches on all replicas":      switched,
		"a policy of two digests":                twoDigests,
		"a leader dies in the middle of a write": func(t *testing.T, r *replicas) { deadLeader(t, r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			test(t, newReplicasOnPostgres(t))
		})
	}
}
