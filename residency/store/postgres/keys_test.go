package postgres

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// A commit that gives up waiting for the standby is there for all to see, and is lost with the
// primary. So while the standby is away no key is given that it has not got, and no key
// is said to be destroyed that it still has.
func TestKeysAreDurableBeforeTheyAreUsed(t *testing.T) {
	first := server{storetest.StartPostgres(t)}
	other, err := first.Standby()
	must(t, err)
	t.Cleanup(other.Close)
	location := strings.Replace(first.location(t, RoleKeys), "standby=false", "standby=true", 1)
	k, err := OpenKeys(within(t, time.Minute), location, Options{})
	must(t, err)
	closer(t, k)
	for _, name := range []string{"old", "kept"} {
		_, err = k.Create(within(t, time.Minute), name, []byte(name))
		must(t, err)
		_, err = k.Get(within(t, time.Minute), name)
		must(t, err)
	}

	other.Stop(syscall.SIGQUIT)
	short := func() context.Context { return within(t, 500*time.Millisecond) }
	_, err = k.Create(short(), "new", []byte("new"))
	wantErr(t, err, store.ErrUnavailable)
	wantErr(t, k.Destroy(short(), "old"), store.ErrUnavailable)
	visible(t, first, k, 2) // both were given up, and both are there to see

	_, err = k.Get(short(), "new")
	wantErr(t, err, store.ErrUnavailable)
	_, err = k.Create(short(), "new", []byte("another"))
	wantErr(t, err, store.ErrUnavailable)
	if errors.Is(err, store.ErrExists) {
		t.Error("a key that may be lost was said to exist")
	}
	_, err = k.Get(short(), "old")
	wantErr(t, err, store.ErrUnavailable)
	wantErr(t, k.Destroy(short(), "old"), store.ErrUnavailable)

	if got, err := k.Get(short(), "kept"); err != nil || !bytes.Equal(got, []byte("kept")) {
		t.Errorf("a key that was known to be durable before is %q, %v", got, err)
	}

	must(t, other.Start())
	for range 2 { // proving it, and from then on without
		got, err := k.Get(within(t, time.Minute), "new")
		if err != nil || !bytes.Equal(got, []byte("new")) {
			t.Errorf("with the standby there is %q, %v", got, err)
		}
	}
	_, err = k.Get(within(t, time.Minute), "old")
	wantErr(t, err, store.ErrNotFound)
}

// visible waits until so many keys are there for whoever asks the primary alone, and "new" is one of them.
func visible(t *testing.T, s server, k *Keys, want int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var all, made int
		err := k.pool.QueryRow(t.Context(), "select count(*), count(*) filter (where name = 'new') from "+k.table("keys")).Scan(&all, &made)
		if err == nil && all == want && made == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("on port %d there are %d keys, %d of them new: %v", s.Port, all, made, err)
		}
	}
}
