package storetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// PostgresServer is a PostgreSQL server of its own processes and folder. It has a
// database "domicile" that belongs to a user "domicile", who is no superuser; nobody needs a password.
type PostgresServer struct {
	Port int

	dir     string // its data, below a folder of its own
	process *exec.Cmd
	ended   chan struct{}
}

// StartPostgres starts a server, which is stopped when the test ends. The test
// fails when PostgreSQL is not installed.
func StartPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	s, err := NewPostgres(settings...)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// NewPostgres starts a server, which must be closed. Settings are of the form name=value.
func NewPostgres(settings ...string) (*PostgresServer, error) {
	s, err := emptyPostgres()
	if err != nil {
		return nil, err
	}
	err = s.run("initdb", "-D", s.dir, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
	if err == nil {
		err = s.Start(settings...)
	}
	if err == nil {
		err = s.Exec("postgres", "postgres", "create role domicile login", "create database domicile owner domicile")
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// emptyPostgres makes a folder that the server's user owns and chooses a port.
func emptyPostgres() (*PostgresServer, error) {
	dir, err := os.MkdirTemp("", "domicile-postgres-")
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{dir: filepath.Join(dir, "data")}
	who, err := postgresUser()
	if err == nil && who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	if err == nil {
		s.Port, err = freePort()
	}
	return s, err
}

// postgresUser is who runs the programs: the server refuses to run as root.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil is whoever runs the test
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
func (s *PostgresServer) program(name string, args ...string) (*exec.Cmd, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		p, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL's %s is neither below /usr/lib/postgresql nor in the path: install it, on Debian by apt-get install postgresql", name)
		}
		found = []string{p}
	}
	who, err := postgresUser()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(found[len(found)-1], args...) //nolint:noctx // Stop ends it
	cmd.Dir = filepath.Dir(s.dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd, nil
}

// run runs one of the programs to its end.
func (s *PostgresServer) run(name string, args ...string) error {
	cmd, err := s.program(name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Dump gives everything that some of the server's databases hold, as text.
func (s *PostgresServer) Dump(databases ...string) ([]byte, error) {
	var out bytes.Buffer
	for _, name := range databases {
		cmd, err := s.program("pg_dump", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", name)
		if err != nil {
			return nil, err
		}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("pg_dump: %w\n%s", err, said.String())
		}
	}
	return out.Bytes(), nil
}

// Start starts a server that was stopped, with what was there, and waits until
// it takes connections.
func (s *PostgresServer) Start(settings ...string) error {
	args := []string{"-D", s.dir, "-p", strconv.Itoa(s.Port)}
	for _, set := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=" + filepath.Dir(s.dir), "shared_buffers=16MB", "log_min_messages=fatal",
	}, settings...) {
		args = append(args, "-c", set)
	}
	cmd, err := s.program("postgres", args...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.process, s.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	return s.ready()
}

func (s *PostgresServer) log() string { return filepath.Join(filepath.Dir(s.dir), "log") }

func (s *PostgresServer) ready() error {
	for late := time.Now().Add(patience); ; {
		err := s.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port))
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			text, _ := os.ReadFile(s.log())
			return fmt.Errorf("the PostgreSQL server has ended:\n%s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(late) {
			return fmt.Errorf("the PostgreSQL server takes no connections: %w", err)
		}
	}
}

// Stop sends the server a signal and waits for its end: SIGINT closes it in
// order, SIGQUIT ends it as a crash does.
func (s *PostgresServer) Stop(signal syscall.Signal) {
	if s.process != nil {
		_ = s.process.Process.Signal(signal) // it may have ended
		<-s.ended
	}
}

// Close stops the server and removes its data.
func (s *PostgresServer) Close() {
	s.Stop(syscall.SIGINT)
	_ = os.RemoveAll(filepath.Dir(s.dir)) // it is in the system's temporary folder
}

// Folder is where all that the server keeps is.
func (s *PostgresServer) Folder() string { return filepath.Dir(s.dir) }

// URL is the location of a database as a user sees it.
func (s *PostgresServer) URL(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", user, s.Port, database)
}

// Exec runs statements as a user, each in a transaction of its own.
func (s *PostgresServer) Exec(user, database string, statements ...string) error {
	args := []string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", s.URL(user, database)}
	for _, sql := range statements {
		args = append(args, "-c", sql)
	}
	return s.run("psql", args...)
}

// Standby starts a standby of the server and makes it the synchronous one.
func (s *PostgresServer) Standby() (*PostgresServer, error) {
	other, err := emptyPostgres()
	if err != nil {
		return nil, err
	}
	err = other.run("pg_basebackup", "-D", other.dir, "-R", "-X", "stream", "-c", "fast", "--no-sync",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=other", s.Port))
	if err == nil {
		err = other.Start()
	}
	if err == nil {
		err = s.Exec("postgres", "postgres", "alter system set synchronous_standby_names = 'other'", "select pg_reload_conf()")
	}
	if err != nil {
		other.Close()
		return nil, err
	}
	return other, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
