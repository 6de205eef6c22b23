package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patroni is three PostgreSQL servers under Patroni, with one etcd, on loopback.
// A commit is on the leader and on one standby before it is acknowledged, or it is not.
type patroni struct {
	dir     string
	program string // Patroni's
	members []*member
	who     *syscall.Credential // PostgreSQL refuses to run as root
}

// member is one Patroni and its PostgreSQL.
type member struct {
	name       string
	port, rest int // of PostgreSQL and of Patroni's REST API
	manager    *process
	watcher    *pgx.Conn // asks whether it was promoted; nil = not asked yet
}

// startPatroni starts a cluster and waits until it is whole. It ends with the
// test, and leaves no process and no file behind.
func startPatroni(t testing.TB) *patroni {
	t.Helper()
	etcd, manager := installed(t, "etcd"), installed(t, "patroni")
	reap(t)
	dir, err := os.MkdirTemp("", "domicile-patroni-")
	if err != nil {
		t.Fatal(err)
	}
	p := &patroni{dir: dir, program: manager}
	t.Cleanup(func() { p.stop(t) })
	if p.who, err = databaseUser(); err != nil {
		t.Fatal(err)
	}
	p.own(t, dir)
	ports := freePorts(t, 8)
	client, peer := loopbackURL(ports[6]), loopbackURL(ports[7])
	launch(t, dir, "etcd", nil, syscall.SIGKILL, etcd, "--name", "one", "--data-dir", filepath.Join(dir, "etcd"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "one="+peer)
	await(t, "etcd answers", func() error { return get(client+"/health", nil) })
	for i, name := range []string{"a", "b", "c"} {
		m := &member{name: name, port: ports[2*i], rest: ports[2*i+1]}
		p.members = append(p.members, m)
		p.configure(t, m, ports[6])
		p.begin(t, m)
	}
	p.awaitWhole(t)
	return p
}

func loopbackURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// databaseUser is who runs Patroni and PostgreSQL; nil is whoever runs the test.
func databaseUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil is whoever runs the test
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("as root the servers are run by the user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// own gives a file to the servers' user.
func (p *patroni) own(t testing.TB, name string) {
	t.Helper()
	if p.who == nil {
		return
	}
	if err := os.Chown(name, int(p.who.Uid), int(p.who.Gid)); err != nil {
		t.Fatal(err)
	}
}

// patroniYAML is a member's configuration. The time to live is the shortest that
// Patroni's manual allows: a leader that is gone is replaced after about so long.
const patroniYAML = `scope: domicile
name: %[1]s
restapi: {listen: "127.0.0.1:%[3]d", connect_address: "127.0.0.1:%[3]d"}
etcd3: {host: "127.0.0.1:%[4]d"}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: "on", shared_buffers: 16MB, max_connections: 200, wal_retrieve_retry_interval: 500ms}
  initdb: [{encoding: UTF8}, {locale: C}, {auth: trust}]
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
postgresql:
  listen: "127.0.0.1:%[2]d"
  connect_address: "127.0.0.1:%[2]d"
  data_dir: %[5]s
  bin_dir: %[6]s
  pgpass: %[5]s.pass
  authentication: {superuser: {username: postgres}, replication: {username: replicator, password: replicator}}
  parameters: {unix_socket_directories: %[7]s}
`

// configure writes a member's configuration.
func (p *patroni) configure(t testing.TB, m *member, etcd int) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not below /usr/lib/postgresql: on Debian, apt-get install postgresql")
	}
	text := fmt.Sprintf(patroniYAML, m.name, m.port, m.rest, etcd, p.data(m), found[len(found)-1], p.dir)
	if err := os.WriteFile(p.file(m), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.own(t, p.file(m))
}

func (p *patroni) file(m *member) string { return filepath.Join(p.dir, m.name+".yaml") }
func (p *patroni) data(m *member) string { return filepath.Join(p.dir, m.name) }

// begin starts a member's Patroni, which starts PostgreSQL. Should the test
// process die, Patroni is asked to stop and stops PostgreSQL.
func (p *patroni) begin(t testing.TB, m *member) {
	t.Helper()
	m.manager = launch(t, p.dir, "patroni-"+m.name, p.who, syscall.SIGTERM, p.program, p.file(m))
}

// seen is what Patroni says of a member.
type seen struct{ Name, Role, State string }

// view asks Patroni what it knows of the members.
func (p *patroni) view() (map[string]seen, error) {
	var errs []error
	for _, m := range p.members {
		var answer struct{ Members []seen }
		if err := get(loopbackURL(m.rest)+"/cluster", &answer); err != nil {
			errs = append(errs, err)
			continue
		}
		out := make(map[string]seen)
		for _, s := range answer.Members {
			out[s.Name] = s
		}
		return out, nil
	}
	return nil, errors.Join(errs...)
}

// awaitWhole waits until there are a leader, a synchronous standby and another standby, and both
// get the leader's log: Patroni calls one that has yet to be rewound a running replica too.
func (p *patroni) awaitWhole(t testing.TB) {
	t.Helper()
	await(t, "the cluster is whole", func() error {
		all, err := p.view()
		if err != nil {
			return err
		}
		roles := make(map[string]*member)
		for _, m := range p.members {
			if s := all[m.name]; s.State == "running" || s.State == "streaming" {
				roles[s.Role] = m
			}
		}
		if roles["leader"] == nil || roles["sync_standby"] == nil || roles["replica"] == nil {
			return fmt.Errorf("the members are %v", all)
		}
		return roles["leader"].feedsTwo(t.Context())
	})
}

// feedsTwo returns nil when two standbys get a member's log, one of them synchronously.
func (m *member) feedsTwo(ctx context.Context) error {
	c, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var all, synchronous int
	err = c.QueryRow(ctx, "select count(*), count(*) filter (where sync_state = 'sync') from pg_stat_replication where state = 'streaming'").Scan(&all, &synchronous)
	if err == nil && (all != 2 || synchronous != 1) {
		err = fmt.Errorf("%d standbys get the log of %s, %d of them synchronously", all, m.name, synchronous)
	}
	return err
}

// leader gives the member that takes writes.
func (p *patroni) leader(t testing.TB) *member {
	t.Helper()
	all, err := p.view()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.members {
		if all[m.name].Role == "leader" {
			return m
		}
	}
	t.Fatalf("there is no leader: %v", all)
	return nil
}

// murder ends a member's Patroni and then all of its PostgreSQL, without warning.
func (p *patroni) murder(m *member) {
	m.manager.kill()
	for _, pid := range processesIn(p.data(m)) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// url is the location of a database: all the members, of which the leader is meant.
func (p *patroni) url(database, schema string) string {
	hosts := make([]string, len(p.members))
	for i, m := range p.members {
		hosts[i] = fmt.Sprintf("127.0.0.1:%d", m.port)
	}
	return fmt.Sprintf("postgres://domicile@%s/%s?sslmode=disable&schema=%s", strings.Join(hosts, ","), database, schema)
}

// connect connects to a member as its superuser.
func (m *member) connect(ctx context.Context) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", m.port))
}

// exec runs statements on the leader.
func (p *patroni) exec(t testing.TB, statements ...string) {
	t.Helper()
	c, err := p.leader(t).connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, sql := range statements {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitPromotion waits until a member other than the old leader takes writes, and
// gives it, and when that was seen.
func (p *patroni) awaitPromotion(t testing.TB, old *member) (*member, time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		for _, m := range p.members {
			if m != old && m.promoted(ctx) {
				return m, time.Now()
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("no standby was promoted; Patroni's logs:\n%s", p.logs())
	return nil, time.Time{}
}

// commits waits until a member has made a transaction of nothing durable, on a
// standby too, and gives when that was: what any program has to wait for.
func (m *member) commits(t testing.TB) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := m.watcher.Exec(ctx, "select pg_logical_emit_message(true, 'test', '')"); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

// promoted reports whether a member takes writes.
func (m *member) promoted(ctx context.Context) bool {
	if m.watcher == nil || m.watcher.IsClosed() {
		var err error
		if m.watcher, err = m.connect(ctx); err != nil {
			return false
		}
	}
	standby := true
	err := m.watcher.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&standby)
	return err == nil && !standby
}

// logs is what the programs have written.
func (p *patroni) logs() string {
	var out strings.Builder
	files, _ := filepath.Glob(filepath.Join(p.dir, "*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&out, "%s:\n%s\n", filepath.Base(f), text[max(0, len(text)-4000):])
	}
	return out.String()
}

// stop ends everything: Patroni first, so that it starts nothing again, then PostgreSQL by the signal
// on which it cleans up what it shares, then whatever is left.
func (p *patroni) stop(t testing.TB) {
	for _, m := range p.members {
		if m.watcher != nil {
			m.watcher.Close(context.Background())
		}
		if m.manager != nil {
			m.manager.kill()
		}
	}
	for _, m := range p.members {
		if pid := p.postmaster(m); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGQUIT)
		}
	}
	for _, m := range p.members {
		for end := time.Now().Add(5 * time.Second); len(processesIn(p.data(m))) > 0 && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	await(t, "everything has ended", func() error {
		left := processesIn(p.dir)
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("%d processes are left", len(left))
		}
		return nil
	})
	if err := os.RemoveAll(p.dir); err != nil {
		t.Error(err)
	}
}

// postmaster gives the process id of a member's PostgreSQL; 0 for none.
func (p *patroni) postmaster(m *member) int {
	text, err := os.ReadFile(filepath.Join(p.data(m), "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || !runsIn(pid, p.data(m)) { // it is long gone, and the number may be another's
		return 0
	}
	return pid
}
