package postgres

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store/storetest"
)

// server is a PostgreSQL server of the tests' own.
type server struct{ *storetest.PostgresServer }

// shared is the server that most tests share; each has a schema of its own in it.
var shared struct {
	once sync.Once
	*storetest.PostgresServer
	err error
}

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		os.Exit(victim())
	}
	code := m.Run()
	if shared.PostgresServer != nil {
		shared.Close()
	}
	os.Exit(code)
}

func sharedServer(t testing.TB) server {
	t.Helper()
	shared.once.Do(func() { shared.PostgresServer, shared.err = storetest.NewPostgres() })
	must(t, shared.err)
	return server{shared.PostgresServer}
}

var schemas atomic.Int64

// location gives a connection string with a new schema of a role's tables.
func (s server) location(t testing.TB, role Role) string {
	t.Helper()
	l := s.URL("domicile", "domicile") + fmt.Sprintf("&require_sync_standby=false&pool_max_conns=16&schema=t%d", schemas.Add(1))
	if _, _, err := Migrate(t.Context(), l, role); err != nil {
		t.Fatal(err)
	}
	return l
}

// openAt opens a cluster and closes it at the test's end.
func openAt(t testing.TB, location string) *Cluster {
	t.Helper()
	c, err := OpenCluster(within(t, time.Minute), location, Options{})
	must(t, err)
	closer(t, c)
	return c
}

// closer closes a store at a test's end and fails the test if that fails.
func closer(t testing.TB, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
