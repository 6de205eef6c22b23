package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// appendMany appends entries, eight at a time.
func appendMany(t *testing.T, c *Cluster, n int) {
	t.Helper()
	for range n / 8 {
		must(t, c.Update(within(t, time.Minute), alone(1), func(tx store.Tx) (err error) {
			for range 8 {
				err = errors.Join(err, tx.Append("", func(place uint64) []byte { return varint("e", place) }))
			}
			return err
		}))
	}
}

// stored counts the entries that the table still has, given or not.
func stored(t *testing.T, c *Cluster) (n int) {
	t.Helper()
	must(t, c.pool.QueryRow(t.Context(), "select count(*) from "+c.table("outbox")).Scan(&n))
	return n
}

// A process that dies in the middle of a drop leaves entries that nobody is given, and that the next drop
// removes, whichever process does. The first place is there after a restart.
func TestADropGoesOnAfterACrash(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	dying := openAt(t, location)
	appendMany(t, dying, 2400)
	must(t, s.Exec("domicile", "domicile", "update "+dying.table("kept")+" set first = 2200", "delete from "+dying.table("outbox")+" where place < 1000"))
	c := openAt(t, location)
	for _, c := range []*Cluster{dying, c} {
		want := uint64(2200)
		must(t, c.Entries(t.Context(), 1, func(place uint64, _ []byte) bool {
			if place != want {
				t.Fatalf("place %d is given, want %d", place, want)
			}
			want++
			return true
		}))
		if want != 2401 || stored(t, c) != 1401 {
			t.Fatalf("entries up to %d are given and %d are stored", want-1, stored(t, c))
		}
		_, err := c.Entry(t.Context(), 2199)
		wantErr(t, err, store.ErrNotFound)
		must(t, c.At(t.Context(), []uint64{1500, 2199}, func(place uint64, _ []byte) bool {
			t.Fatalf("place %d is given", place)
			return false
		}))
	}
	must(t, c.Drop(t.Context(), 3, 0))
	if n := stored(t, c); n != 201 {
		t.Fatalf("%d entries are stored after another drop, want 201", n)
	}
	if first, err := dying.First(t.Context()); first != 2200 || err != nil {
		t.Fatalf("the first place is %d: %v", first, err)
	}
}

// A hole after the first place is damage, at the end of a page and of the outbox too.
func TestAHoleIsNotTakenForADrop(t *testing.T) {
	for _, hole := range []uint64{101, 100 + entriesPage, 101 + entriesPage, 400} {
		c := openAt(t, sharedServer(t).location(t, RoleCluster))
		appendMany(t, c, 400)
		must(t, c.Drop(t.Context(), 100, 0))
		must(t, sharedServer(t).Exec("domicile", "domicile", fmt.Sprintf("delete from %s where place = %d", c.table("outbox"), hole)))
		given := uint64(100)
		err := c.Entries(t.Context(), 1, func(place uint64, _ []byte) bool { given = place; return true })
		wantErr(t, err, store.ErrCorrupt)
		if given != hole-1 {
			t.Fatalf("without place %d the entries up to %d were given", hole, given)
		}
	}
}

// Dropping keeps nobody from appending: it takes no lock that they do.
func TestNobodyWaitsForADrop(t *testing.T) {
	c := openAt(t, sharedServer(t).location(t, RoleCluster))
	appendMany(t, c, 80)
	hold, err := c.pool.Begin(t.Context())
	must(t, err)
	defer hold.Rollback(t.Context()) //nolint:errcheck // it holds what a drop holds, and writes nothing
	for _, sql := range []string{"update " + c.table("kept") + " set first = 41", "delete from " + c.table("outbox") + " where place < 41"} {
		_, err := hold.Exec(t.Context(), sql)
		must(t, err)
	}
	appendMany(t, c, 80)
	if n, err := c.Last(t.Context()); n != 160 || err != nil {
		t.Fatalf("the newest place is %d: %v", n, err)
	}
	if first, err := c.First(t.Context()); first != 1 || err != nil {
		t.Fatalf("the first place is %d before the drop is committed: %v", first, err)
	}
}
