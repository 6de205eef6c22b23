package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

func tenant(n byte) store.Tenant { return store.Tenant{n, 15: n} }

func alone(n byte) store.Scope { return store.Scope{Tenant: tenant(n), Exclusive: true} }

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("got the error %v, want one that wraps %q", err, w)
		}
	}
}

// both writes a row and an entry of one name. The entry states its place as those of
// package audit do, so that the server can put it in.
func both(tx store.Tx, name string, build func()) error {
	return bothAs(tx, name, build, varint)
}

// varint and decimal are entries that state their place. The server cannot put in a decimal.
func varint(name string, place uint64) []byte {
	return append(binary.AppendUvarint([]byte(name+"@"), place), " is its place"...)
}
func decimal(name string, place uint64) []byte { return fmt.Appendf(nil, "%s@%d", name, place) }

func bothAs(tx store.Tx, name string, build func(), entry func(string, uint64) []byte) error {
	if err := tx.Put(store.KindRecord, store.ID(name), []byte(name)); err != nil {
		return err
	}
	return tx.Append(store.ID(name), func(place uint64) []byte {
		if build != nil {
			build()
		}
		return entry(name, place)
	})
}

// names lists the names whose rows of a tenant are there, and fails unless each
// has its entry and index and no other entry is there.
func names(t testing.TB, c *Cluster, of ...byte) map[string]bool {
	t.Helper()
	ctx := within(t, time.Minute)
	entries := map[string]uint64{}
	last := uint64(0)
	must(t, c.Entries(ctx, 1, func(place uint64, e []byte) bool {
		name, _, _ := strings.Cut(string(e), "@")
		right := bytes.Equal(e, varint(name, place)) || bytes.Equal(e, decimal(name, place))
		if place != last+1 || !right || entries[name] != 0 {
			t.Fatalf("place %d holds %q, after place %d", place, e, last)
		}
		entries[name], last = place, place
		return true
	}))
	there := map[string]bool{}
	for _, n := range of {
		must(t, c.View(ctx, alone(n), func(tx store.Tx) error {
			indexed := 0
			must(t, tx.Scan(store.KindDecision, "", "", func(store.ID, []byte) bool { indexed++; return true }))
			must(t, tx.Scan(store.KindRecord, "", "", func(id store.ID, _ []byte) bool { there[string(id)] = true; indexed--; return true }))
			if indexed != 0 {
				t.Fatalf("tenant %d has %d more indexes than rows", n, indexed)
			}
			return nil
		}))
	}
	for name := range there {
		if entries[name] == 0 {
			t.Fatalf("the row %q has no entry", name)
		}
	}
	if len(there) != len(entries) {
		t.Fatalf("there are %d rows and %d entries", len(there), len(entries))
	}
	return there
}

// A connection that is lost in the middle of a transaction costs a repetition
// before the commit was sent, and certainty after it. What is written goes with the commit, unless
// the places are asked for.
func TestConnectionIsCut(t *testing.T) {
	s := sharedServer(t)
	for _, test := range []struct {
		name          string
		entry         func(string, uint64) []byte
		during, build cut // set at the end of fn, and while the entry is built at its place
		known, there  bool
	}{
		{"nothing is cut", varint, pass, pass, true, true},
		{"the commit does not arrive", varint, lose, pass, false, false},
		{"the commit arrives and its confirmation does not", varint, silence, pass, false, true},
		{"nothing is cut, asking", decimal, pass, pass, true, true},
		{"what is written does not arrive", decimal, lose, pass, true, true},
		{"what is written arrives and the answer does not", decimal, silence, pass, true, true},
		{"the commit does not arrive, after asking", decimal, pass, lose, false, false},
		{"the commit arrives and its confirmation does not, after asking", decimal, pass, silence, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			location := s.location(t, RoleCluster)
			p := newProxy(t, s)
			c := openAt(t, p.through(location))
			// So that the connection knows every statement.
			must(t, c.Update(within(t, 20*time.Second), alone(2), func(tx store.Tx) error { return bothAs(tx, "before", nil, test.entry) }))
			first := true
			err := c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error {
				defer func() { first = false }()
				if first {
					p.next.Store(int32(test.during))
				}
				now, built := first, 0
				return bothAs(tx, "it", func() {
					if built++; now && test.build != pass && built == 3 { // after the two that find out what it is like
						p.next.Store(int32(test.build))
					}
				}, test.entry)
			})
			if test.known {
				must(t, err)
			} else {
				wantErr(t, err, store.ErrUnavailable)
			}
			if there := names(t, openAt(t, location), 1, 2)["it"]; there != test.there {
				t.Fatalf("there: %v, want %v", there, test.there)
			}
			must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "later", nil) }))
		})
	}
}

// A server that hangs holds nobody beyond the deadline, and serves again when it is back.
func TestServerHangs(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	p := newProxy(t, s)
	c := openAt(t, p.through(location))
	must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "before", nil) }))
	ways := map[string]func(ctx context.Context) error{
		"from the start": func(ctx context.Context) error {
			p.frozen.Store(true)
			return c.Update(ctx, alone(1), func(store.Tx) error { return nil })
		},
		"in fn": func(ctx context.Context) error {
			return c.Update(ctx, alone(1), func(tx store.Tx) error {
				p.frozen.Store(true)
				_, err := tx.Get(store.KindTenant, "")
				return err
			})
		},
		"in the commit": func(ctx context.Context) error {
			return c.Update(ctx, alone(1), func(tx store.Tx) error { return both(tx, "during", func() { p.frozen.Store(true) }) })
		},
		"in a view": func(ctx context.Context) error {
			return c.View(ctx, alone(1), func(store.Tx) error { p.frozen.Store(true); return nil })
		},
		"while the outbox is read": func(ctx context.Context) error {
			p.frozen.Store(true)
			_, err := c.Last(ctx)
			return err
		},
	}
	for name, hang := range ways {
		done := make(chan error, 1)
		ctx := within(t, 200*time.Millisecond)
		go func() { done <- hang(ctx) }()
		select {
		case err := <-done:
			if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got the error %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it holds the caller", name)
		}
		p.frozen.Store(false)
		for end := time.Now().Add(20 * time.Second); ; {
			if err := c.Update(within(t, 2*time.Second), alone(2), func(store.Tx) error { return nil }); err == nil {
				break
			} else if time.Now().After(end) {
				t.Fatalf("%s: it does not serve again: %v", name, err)
			}
		}
	}
	names(t, c, 1)
}

// A server that refuses for a reason that passes is asked again, and no other is.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	s := sharedServer(t)
	for _, test := range []struct {
		code  string
		again bool
		want  error
	}{
		{"40P01", true, nil},
		{"40001", true, nil},
		{"25006", true, nil},
		{"XX001", false, store.ErrCorrupt},
		{"53100", false, store.ErrUnavailable},
	} {
		t.Run(test.code, func(t *testing.T) {
			c := openAt(t, s.location(t, RoleCluster))
			schema := c.schema
			must(t, s.Exec("domicile", "domicile", "create sequence "+schema+".refused", fmt.Sprintf(
				`create function %s.refuse() returns trigger language plpgsql as $$ begin
					if nextval('%s.refused') <= 2 then raise exception using errcode = '%s', message = 'for now'; end if; return new; end $$`,
				schema, schema, test.code),
				fmt.Sprintf("create trigger refuse before insert on %s.rows execute function %s.refuse()", schema, schema)))
			runs := 0
			err := c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { runs++; return both(tx, "it", nil) })
			if test.want != nil {
				wantErr(t, err, test.want)
			} else {
				must(t, err)
			}
			if (runs > 1) != test.again {
				t.Errorf("fn ran %d times", runs)
			}
			if there := names(t, c, 1); there["it"] != (test.want == nil) {
				t.Errorf("there are %v", there)
			}
		})
	}
}

// Whoever waits for another process's lock leaves at the deadline, and the
// server's process that waited for it with it.
func TestDeadlineWhileAnotherProcessHoldsTheLock(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	one, two := openAt(t, location), openAt(t, location)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- one.Update(t.Context(), alone(1), func(store.Tx) error { close(inside); <-leave; return nil })
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := two.Update(ctx, alone(1), func(store.Tx) error { t.Error("fn ran without its locks"); return nil })
	wantErr(t, err, store.ErrUnavailable, context.DeadlineExceeded)
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	wantErr(t, two.Update(ctx, alone(1), func(store.Tx) error { return nil }), store.ErrUnavailable, context.Canceled)
	who, waiting := tenant(1), -1
	for end := time.Now().Add(20 * time.Second); waiting != 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		must(t, one.pool.QueryRow(t.Context(), "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid::bigint = $1 & 4294967295",
			lockKey(one.schema, string(who[:]))).Scan(&waiting))
	}
	if waiting != 0 {
		t.Errorf("%d processes of the server still wait for the lock", waiting)
	}
	close(leave)
	must(t, <-done)
	must(t, two.Update(within(t, 20*time.Second), alone(1), func(store.Tx) error { return nil }))
}

// A pool that is used up makes others wait, to their deadlines at most; and who
// waits for a lock of this process does not use it up.
func TestPoolIsUsedUp(t *testing.T) {
	s := sharedServer(t)
	c := openAt(t, strings.Replace(s.location(t, RoleCluster), "pool_max_conns=16", "pool_max_conns=2", 1))
	leave := make(chan struct{})
	var wg sync.WaitGroup
	hold := func(n byte) {
		inside := make(chan struct{})
		wg.Go(func() {
			err := c.Update(t.Context(), alone(n), func(store.Tx) error { close(inside); <-leave; return nil })
			if err != nil {
				t.Error(err)
			}
		})
		<-inside
	}
	hold(1)
	for range 8 { // the same tenant: they wait in this process
		wg.Go(func() {
			if err := c.Update(t.Context(), alone(1), func(store.Tx) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, c.Update(within(t, 20*time.Second), alone(2), func(store.Tx) error { return nil }))
	hold(2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantErr(t, c.Update(ctx, alone(3), func(store.Tx) error { return nil }), store.ErrUnavailable, context.DeadlineExceeded)
	close(leave)
	wg.Wait()
	must(t, c.Update(within(t, 20*time.Second), alone(3), func(store.Tx) error { return nil }))
}

// A process that is killed in a transaction leaves nothing, and no lock.
func TestKilledProcessHoldsNothing(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	c := openAt(t, location)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+location)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "inside\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error {
		if _, err := tx.Get(store.KindRecord, "victim"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the killed process's row gave %v", err)
		}
		return nil
	}))
}

// A process that stops for a while inside a transaction is not waited for.
func TestStoppedProcessIsNotWaitedFor(t *testing.T) {
	s := sharedServer(t)
	location := s.location(t, RoleCluster)
	one, two := openAt(t, location), openAt(t, location)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	runs := 0
	go func() {
		done <- one.Update(within(t, 30*time.Second), alone(1), func(tx store.Tx) error {
			runs++
			if runs == 1 {
				close(inside)
				<-leave
			}
			return both(tx, fmt.Sprint("run", runs), nil)
		})
	}()
	<-inside
	must(t, two.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, "meanwhile", nil) }))
	close(leave)
	must(t, <-done)
	if there := names(t, two, 1); !there["meanwhile"] || !there["run2"] || len(there) != 2 {
		t.Errorf("there are %v, want what was written meanwhile and by the second run", there)
	}
}

// Of a commit whose durability is awaited when the session that flushes is lost,
// nobody is told that it succeeded.
func TestFlushingSessionIsLost(t *testing.T) {
	s := sharedServer(t)
	c := openAt(t, s.location(t, RoleCluster))
	stop := make(chan struct{})
	acked := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	lost := 0
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%d-%d", w, i)
				err := c.Update(within(t, 20*time.Second), store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error { return both(tx, name, nil) })
				mu.Lock()
				if err == nil {
					acked[name] = true
				} else {
					wantErr(t, err, store.ErrUnavailable)
					lost++
				}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		time.Sleep(30 * time.Millisecond)
		session, err := c.flusher.session(within(t, 20*time.Second))
		must(t, err)
		must(t, s.Exec("postgres", "postgres", fmt.Sprintf("select pg_terminate_backend(%d)", session.pid)))
	}
	close(stop)
	wg.Wait()
	there := names(t, c, 1)
	for name := range acked {
		if !there[name] {
			t.Errorf("%s was acknowledged and is not there", name)
		}
	}
	t.Logf("%d acknowledged, %d unknown", len(acked), lost)
}

// The server refuses and the store says why, before anything is served.
func TestOpenRefuses(t *testing.T) {
	s := sharedServer(t)
	good := s.location(t, RoleCluster)
	newer := s.location(t, RoleCluster)
	schema := newer[strings.Index(newer, "schema=")+len("schema="):]
	must(t, s.Exec("domicile", "domicile", "update "+schema+".format set step = 99, compatible = 99"))
	for _, test := range []struct{ name, location, want string }{
		{"no synchronous standby", strings.Replace(good, "&require_sync_standby=false", "", 1), "require_sync_standby=false"},
		{"not migrated", strings.Replace(good, "schema=", "schema=no", 1), "run domiciled migrate"},
		{"a directory's schema", s.location(t, RoleDirectory), "holds the tables of a directory"},
		{"a newer program's schema", newer, "use a newer one"},
		{"a schema's name", strings.Replace(good, "schema=", "schema=A-", 1), "schema wants a name"},
		{"a word for true", strings.Replace(good, "standby=false", "standby=perhaps", 1), "wants true or false"},
		{"an unknown setting", good + "&colour=blue", "colour"},
		{"nobody listens", strings.Replace(good, fmt.Sprint(s.Port), "1", 1), "unavailable"},
	} {
		c, err := OpenCluster(within(t, 20*time.Second), test.location, Options{})
		if err == nil {
			c.Close()
			t.Errorf("%s: it was opened", test.name)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got the error %v, want one that says %q", test.name, err, test.want)
		}
	}
}

func TestClosed(t *testing.T) {
	s := sharedServer(t)
	c, err := OpenCluster(t.Context(), s.location(t, RoleCluster), Options{})
	must(t, err)
	must(t, c.Close())
	wantErr(t, c.Update(t.Context(), alone(1), func(store.Tx) error { return nil }), store.ErrClosed)
	_, err = c.Last(t.Context())
	wantErr(t, err, store.ErrClosed)
	wantErr(t, c.Close(), store.ErrClosed)
}

// Migrations may be run by several at once, again, and under load.
func TestMigrate(t *testing.T) {
	s := sharedServer(t)
	location := strings.Replace(s.location(t, RoleCluster), "schema=t", "schema=m", 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, to, err := Migrate(within(t, 30*time.Second), location, RoleCluster); err != nil || to != 3 {
				t.Errorf("migrated to step %d, %v", to, err)
			}
		})
	}
	wg.Wait()
	c := openAt(t, location)
	// As an older program left the tables; c is one that goes on by them.
	must(t, s.Exec("domicile", "domicile", "drop table "+c.table("leader")+", "+c.table("kept"), "update "+c.table("format")+" set step = 1, compatible = 1"))
	if _, err := OpenCluster(t.Context(), location, Options{}); err == nil || !strings.Contains(err.Error(), "migrate") {
		t.Errorf("tables that are a step behind: %v", err)
	}
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error { return both(tx, fmt.Sprint(i), nil) }); err != nil {
				t.Error(err)
			}
		}
	})
	for _, was := range []int{1, 3, 3} {
		from, to, err := Migrate(within(t, 30*time.Second), location, RoleCluster)
		if err != nil || from != was || to != 3 {
			t.Errorf("migrated from step %d to %d, %v", from, to, err)
		}
	}
	close(stop)
	wg.Wait()
	names(t, c, 1)
	if epoch, err := c.Lead(within(t, 20*time.Second), "one", time.Hour); err != nil || epoch != 1 {
		t.Errorf("after the migration: epoch %d, %v", epoch, err)
	}
	if _, _, err := Migrate(within(t, 30*time.Second), location, RoleKeys); err == nil {
		t.Error("a cluster's schema became one of keys")
	}
}

// Rows of the tables as FORMAT.md has them.
func TestFormat(t *testing.T) {
	s := sharedServer(t)
	c := openAt(t, s.location(t, RoleCluster))
	at := time.Unix(1_700_000_000, 123_456_789)
	must(t, c.Update(within(t, 20*time.Second), alone(1), func(tx store.Tx) error {
		must(t, tx.Put(store.KindSubject, "\x00\xff", []byte("value")))
		must(t, tx.Schedule(store.Task{At: at, Tenant: tenant(1), Kind: store.TaskDeleteBlob, ID: "id", Value: []byte("task")}))
		must(t, tx.Append("index", func(uint64) []byte { return []byte("entry") }))
		return tx.Append("index", func(uint64) []byte { return nil })
	}))
	before := strconv.FormatInt(time.Now().UnixNano(), 10)
	_, err := c.Lead(within(t, 20*time.Second), "\x00\xffa", time.Minute)
	must(t, err)
	conn, err := pgx.Connect(t.Context(), s.URL("domicile", "domicile"))
	must(t, err)
	defer conn.Close(t.Context())
	for sql, want := range map[string]string{
		"select string_agg(encode(tenant, 'hex') || ' ' || kind || ' ' || encode(id, 'hex') || ' ' || encode(value, 'hex'), '; ' order by kind) from %s.rows": "01000000000000000000000000000001 2 00ff 76616c7565; 01000000000000000000000000000001 10 696e646578 00000000000000010000000000000002",
		"select at || ' ' || encode(tenant, 'hex') || ' ' || kind || ' ' || encode(id, 'hex') || ' ' || encode(value, 'hex') from %s.agenda":                  "1700000000123456789 01000000000000000000000000000001 2 6964 7461736b",
		"select string_agg(place || ' ' || encode(entry, 'hex'), '; ' order by place) from %s.outbox":                                                         "1 656e747279; 2 ",
		"select last || '' from %s.head":                                 "2",
		"select role || ' ' || step || ' ' || compatible from %s.format": "cluster 3 1",
		"select first || '' from %s.kept":                                "1",
		"select encode(holder, 'hex') || ' ' || epoch || ' ' || (until between " + before + " and " + before + " + 70000000000) from %s.leader": "00ff61 1 true",
	} {
		var got string
		must(t, conn.QueryRow(t.Context(), strings.ReplaceAll(sql, "%s", c.schema)).Scan(&got))
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", sql, got, want)
		}
	}
}
