package pebble

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
)

func TestEverythingIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCluster(dir, Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	at := c.Now().Add(-time.Second)
	for _, name := range []store.ID{"a", "b"} {
		err := c.Update(t.Context(), one, func(tx store.Tx) error {
			return errors.Join(tx.Put(store.KindRecord, name, []byte(name)), tx.Append("index", func(uint64) []byte { return []byte(name) }),
				tx.Schedule(store.Task{At: at, Tenant: one.Tenant, Kind: store.TaskSweepDrive, ID: name}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenCluster(dir, Options{Logger: quiet}); err == nil {
		t.Fatal("the database was opened a second time")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c, err = OpenCluster(dir, Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	closer(t, c)
	if last, err := c.Last(t.Context()); last != 2 || err != nil {
		t.Fatalf("the newest place is %d, %v", last, err)
	}
	if due, err := c.Due(t.Context(), 10); len(due) != 2 || err != nil {
		t.Fatalf("due are %v, %v", due, err)
	}
	if err := put1(c, t.Context(), "index"); err != nil {
		t.Fatal(err)
	}
	err = c.View(t.Context(), one, func(tx store.Tx) error {
		v, err := tx.Get(store.KindDecision, "index")
		if got := hex.EncodeToString(v); got != "0000000000000001"+"0000000000000002"+"0000000000000003" {
			t.Errorf("the index holds the places %s", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsRefusedAtOpening(t *testing.T) {
	set := func(t *testing.T, fs vfs.FS, key, value string) {
		t.Helper()
		db, err := pebble.Open("db", &pebble.Options{FS: fs, Logger: engineLogger{&engine{log: quiet}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set([]byte(key), []byte(value), pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string][2]string{
		"a database that does not say what it is": {"r", ""},
		"another role":                      {"mf", "domicile directory 1"},
		"a later format":                    {"mf", "domicile cluster 2"},
		"something else":                    {"mf", ""},
		"an outbox key of the wrong length": {"o1", ""},
	}
	for name, kv := range cases {
		t.Run(name, func(t *testing.T) {
			o := memory()
			o.Logger = quiet
			if strings.HasPrefix(kv[0], "o") {
				set(t, o.FS, "mf", "domicile cluster 1")
			}
			set(t, o.FS, kv[0], kv[1])
			if _, err := OpenCluster("db", o); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("got the error %v, want one that wraps ErrCorrupt", err)
			}
		})
	}
}

// TestFormat holds the bytes that FORMAT.md specifies.
func TestFormat(t *testing.T) {
	o := memory()
	o.Clock = func() time.Time { return time.Unix(2, 5) }
	c := openTest(t, o)
	if v := c.engine.db.FormatMajorVersion(); v != 24 {
		t.Fatalf("the engine's format major version is %d, want 24", v)
	}
	tenant := store.Tenant{0: 0xaa, 15: 0xbb}
	err := c.Update(t.Context(), store.Scope{Tenant: tenant}, func(tx store.Tx) error {
		return errors.Join(
			tx.Put(store.KindRecord, "\x01\xff", []byte("value")),
			tx.Append("dec", func(uint64) []byte { return []byte("first") }),
			tx.Append("dec", func(uint64) []byte { return []byte("second") }),
			tx.Schedule(store.Task{At: tx.Now(), Tenant: tenant, Kind: store.TaskDeleteBlob, ID: "blob", Value: []byte("v")}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lead(t.Context(), "one", 3); err != nil {
		t.Fatal(err)
	}
	if err := c.Drop(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	d, err := openDirectory("directory", memory())
	if err != nil {
		t.Fatal(err)
	}
	closer(t, d)
	p := store.Placement{Region: "ch", Cluster: "zrh-1", Epoch: 7, State: store.PlacementActive, Time: time.Unix(0, 300)}
	if _, err := d.Reserve(t.Context(), tenant, p); err != nil {
		t.Fatal(err)
	}
	k, err := openKeys("keys", memory())
	if err != nil {
		t.Fatal(err)
	}
	closer(t, k)
	create(t, k, "t/s", []byte("wrapped"))
	const id = "aa0000000000000000000000000000bb"
	placement := "01" + "01026368" + "02057a72682d31" + "030107" + "040102" + "0502ac02"
	wantKeys(t, c.engine,
		"61"+"00000000773594"+"05"+id+"02"+hex.EncodeToString([]byte("blob"))+" "+hex.EncodeToString([]byte("v")),
		"66 "+"0000000000000002",
		"6c "+"01"+"0103"+hex.EncodeToString([]byte("one"))+"020101"+"0305"+"88a8d6b907",
		"6d66 "+hex.EncodeToString([]byte("domicile cluster 1")),
		"6f0000000000000002 "+hex.EncodeToString([]byte("second")),
		"72"+id+"0301ff "+hex.EncodeToString([]byte("value")),
		"72"+id+"0a"+hex.EncodeToString([]byte("dec"))+" 00000000000000010000000000000002")
	wantKeys(t, d.engine,
		"67"+"02"+"6368"+id+" "+placement,
		"6d66 "+hex.EncodeToString([]byte("domicile directory 1")),
		"70"+id+" "+placement)
	wantKeys(t, k.engine,
		"6b742f73 "+hex.EncodeToString([]byte("wrapped")),
		"6d66 "+hex.EncodeToString([]byte("domicile keys 1")))
}

// A leadership outlives the process, and its epoch goes on.
func TestLeadershipOutlivesARestart(t *testing.T) {
	o := memory()
	for i, holder := range []string{"one", "two"} {
		c, err := OpenCluster("db", o)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if _, err := c.Lead(t.Context(), holder, time.Hour); !errors.Is(err, store.ErrConflict) {
				t.Fatalf("after a restart another leads: %v", err)
			}
			if epoch, err := c.Lead(t.Context(), "one", 0); err != nil || epoch != 1 {
				t.Fatalf("after a restart the leader has epoch %d: %v", epoch, err)
			}
		}
		if epoch, err := c.Lead(t.Context(), holder, time.Hour); err != nil || epoch != uint64(i)+1 {
			t.Fatalf("%s has epoch %d: %v", holder, epoch, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantKeys checks everything that a database holds, in order.
func wantKeys(t *testing.T, e *engine, want ...string) {
	t.Helper()
	it, err := e.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for ok := it.First(); ok; ok = it.Next() {
		got = append(got, hex.EncodeToString(it.Key())+" "+hex.EncodeToString(it.Value()))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the database holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheClockStandsStillRatherThanRunBackwards(t *testing.T) {
	var mu sync.Mutex
	at := time.Unix(1000, 1)
	o := memory()
	o.Clock = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	c := openTest(t, o)
	first := c.Now()
	if !first.Equal(time.Unix(1000, 1)) {
		t.Fatalf("the clock says %v", first)
	}
	for _, step := range []struct{ wall, want int64 }{{500, 1000}, {999, 1000}, {1001, 1001}, {1, 1001}} {
		mu.Lock()
		at = time.Unix(step.wall, 1)
		mu.Unlock()
		if got := c.Now().Unix(); got != step.want {
			t.Fatalf("with the wall clock at %d the clock says %d, want %d", step.wall, got, step.want)
		}
	}
}

func TestClose(t *testing.T) {
	c, err := OpenCluster("db", memory())
	if err != nil {
		t.Fatal(err)
	}
	// Close waits for an operation that is under way.
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Update(t.Context(), one, func(tx store.Tx) error {
			close(inside)
			<-leave
			return tx.Put(store.KindTenant, "", nil)
		})
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	for {
		if err := put1(c, soon(t), "a"); errors.Is(err, store.ErrClosed) {
			break
		}
	}
	close(leave)
	if err := errors.Join(<-done, <-closed); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Close": c.Close(),
		"View":  c.View(t.Context(), one, func(store.Tx) error { return nil }),
		"Due":   func() error { _, err := c.Due(t.Context(), 1); return err }(),
		"Entry": func() error { _, err := c.Entry(t.Context(), 1); return err }(),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestTheObserverIsTold(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	o := memory()
	o.Observe = func(operation string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		seen[operation]++
		if took < 0 {
			t.Errorf("%s took %v", operation, took)
		}
	}
	c := openTest(t, o)
	if err := put1(c, t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := has(c, t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Due(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if seen["update"] != 1 || seen["view"] != 1 || seen["due"] != 1 {
		t.Fatalf("the observer was told of %v", seen)
	}
}

func TestTimesThatTheAgendaCannotHold(t *testing.T) {
	c := openTest(t, memory())
	err := c.Update(t.Context(), one, func(tx store.Tx) error {
		for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<40, 0)} {
			if tx.Schedule(store.Task{At: at, Tenant: one.Tenant, Kind: store.TaskSweepDrive}) == nil {
				t.Errorf("a task at %v was taken", at)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzParsePlacement(f *testing.F) {
	p, err := encodePlacement(store.Placement{Region: "ch", Cluster: "zrh-1", Epoch: 7, State: store.PlacementActive, Time: time.Unix(0, 300)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parsePlacement(b); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("got the error %v", err)
		}
	})
}

func FuzzParseTask(f *testing.F) {
	key, err := agendaKey(store.Task{At: time.Unix(1, 2), Tenant: store.Tenant{1}, Kind: 3, ID: "id"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key, []byte("value"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		task, err := parseTask(key, value)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("got the error %v", err)
			}
			return
		}
		if again, err := agendaKey(task); err == nil && string(again[1:]) != string(key[1:]) {
			t.Fatalf("%x became %x", key, again)
		}
	})
}
