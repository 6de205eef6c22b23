package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL server of the tests' own.
type server struct {
	dir  string // its data
	port int
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// shared is the server that most tests share; each has a schema of its own in it.
var shared struct {
	once sync.Once
	*server
	err error
}

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		os.Exit(victim())
	}
	code := m.Run()
	if shared.server != nil {
		shared.server.stop(syscall.SIGINT)
		_ = os.RemoveAll(filepath.Dir(shared.server.dir))
	}
	os.Exit(code)
}

func sharedServer(t testing.TB) *server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = newServer() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// ownServer is a server that a test may break.
func ownServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s, err := newServer(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop(syscall.SIGINT)
		_ = os.RemoveAll(filepath.Dir(s.dir))
	})
	return s
}

// executable finds one of PostgreSQL's programs.
func executable(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's %s is neither below /usr/lib/postgresql nor in the path: install it, on Debian by apt-get install postgresql", name)
	}
	return p, nil
}

// credential is who runs the server: it refuses to run as root.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("as root the server is run by the user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// program prepares one of PostgreSQL's programs, which ends with the test process.
func program(dir, name string, args ...string) (*exec.Cmd, error) {
	path, err := executable(name)
	if err != nil {
		return nil, err
	}
	who, err := credential()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd, nil
}

// folder makes an empty folder that the server's user owns.
func folder() (string, error) {
	dir, err := os.MkdirTemp("", "domicile-postgres-")
	if err != nil {
		return "", err
	}
	who, err := credential()
	if err == nil && who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	return dir, err
}

func newServer(settings ...string) (*server, error) {
	dir, err := folder()
	if err != nil {
		return nil, err
	}
	s := &server{dir: filepath.Join(dir, "data")}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	cmd, err := program(dir, "initdb", "-D", s.dir, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.start(settings...); err != nil {
		return nil, err
	}
	return s, s.as("postgres", "postgres", "create role domicile login", "create database domicile owner domicile")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start starts the server and waits until it takes connections.
func (s *server) start(settings ...string) error {
	args := []string{"-D", s.dir, "-p", strconv.Itoa(s.port)}
	settings = append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=" + filepath.Dir(s.dir), "shared_buffers=16MB",
		"max_connections=100", "log_min_messages=fatal", "wal_keep_size=64MB",
	}, settings...)
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	cmd, err := program(filepath.Dir(s.dir), "postgres", args...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.dir), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	log.Close()
	if err != nil {
		return err
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func() { _ = cmd.Wait(); close(s.done) }()
	return s.ready()
}

func (s *server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.url("postgres", "postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(filepath.Join(filepath.Dir(s.dir), "log"))
			return fmt.Errorf("the server has ended: %w\n%s", err, text)
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop sends the server a signal and waits for its end: SIGINT closes it in
// order, SIGQUIT ends it as a crash does.
func (s *server) stop(signal syscall.Signal) {
	_ = s.cmd.Process.Signal(signal)
	<-s.done
}

func (s *server) url(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", user, s.port, database)
}

// as runs statements as a user.
func (s *server) as(user, database string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url(user, database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

var schemas atomic.Int64

// location gives a connection string with a new schema of a role's tables.
func (s *server) location(t testing.TB, role Role) string {
	t.Helper()
	l := s.url("domicile", "domicile") + fmt.Sprintf("&require_sync_standby=false&pool_max_conns=16&schema=t%d", schemas.Add(1))
	if _, _, err := Migrate(t.Context(), l, role); err != nil {
		t.Fatal(err)
	}
	return l
}

// openAt opens a cluster and closes it at the test's end.
func openAt(t testing.TB, location string) *Cluster {
	t.Helper()
	c, err := OpenCluster(within(t, time.Minute), location, Options{})
	if err != nil {
		t.Fatal(err)
	}
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
