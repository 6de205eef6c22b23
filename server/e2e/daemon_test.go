// Package e2e knows the product only from outside: it builds the real
// binaries, starts them as processes, and uses them as people and other
// programs do.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the folder that holds the binaries under test.
var bin string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "domicile-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-p", "2", "-o", bin+"/", "../domiciled", "../../client/domicile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	err = errors.Join(shared.stop(), sharedOnServers.stop())
	running.stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// daemon is a running gateway.
type daemon struct {
	data   string   // the folder of its identities, and on the embedded default of all that it has
	args   []string // what starts it
	config string   // its configuration's text; "" = the embedded default
	layout layout   // where its data lies
	grpc   string   // its address
	admin  string   // its admin listener's address

	cmd    *exec.Cmd
	output syncBuffer    // what it wrote to stdout and stderr
	before int           // how much of that is from before it was last launched
	exited chan struct{} // closed when the process is gone
	err    error         // how it ended; read after exited
}

// shared is one daemon on the embedded default for all tests that keep to their own tenants.
var shared sharedDaemon

type sharedDaemon struct {
	once sync.Once
	d    *daemon
	err  error
	dir  string
}

// gateway gives the shared daemon, started at its first use.
func gateway(t testing.TB) *daemon {
	t.Helper()
	return shared.get(t, func(dir string) (*daemon, error) { return startIn(filepath.Join(dir, "data")) })
}

func (s *sharedDaemon) get(t testing.TB, start func(dir string) (*daemon, error)) *daemon {
	t.Helper()
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "domicile-data-"); s.err == nil {
			s.d, s.err = start(s.dir)
		}
	})
	skipWithoutTool(t, s.err)
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.d
}

func (s *sharedDaemon) stop() error {
	if s.dir != "" {
		defer os.RemoveAll(s.dir)
	}
	if s.d == nil {
		return nil
	}
	return s.d.stop()
}

// start starts a daemon of the test's own in a data folder, and stops it with the test.
func start(t testing.TB, data string, args ...string) *daemon {
	t.Helper()
	d, err := startIn(data, args...)
	if err != nil {
		t.Fatal(err)
	}
	d.stopWith(t)
	return d
}

// stopWith stops the daemon with the test.
func (d *daemon) stopWith(t testing.TB) {
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// startLimit is how long a daemon may take until it serves. It bounds a hang;
// nothing is measured by it.
const startLimit = 2 * time.Minute

func startIn(data string, args ...string) (*daemon, error) {
	d := &daemon{data: data, args: append([]string{"--data", data}, args...), layout: embeddedLayout(data)}
	return d, d.launch()
}

// again starts a daemon that has ended once more, with all that it has.
func (d *daemon) again() (*daemon, error) {
	next := &daemon{data: d.data, args: d.args, config: d.config, layout: d.layout}
	return next, next.launch()
}

// launch starts the process and waits until it serves.
func (d *daemon) launch() error {
	if d.config == "" { // left by a daemon that was killed
		if err := os.Remove(filepath.Join(d.data, "addresses.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.exited, d.before = make(chan struct{}), len(d.output.String())
	d.cmd = exec.Command(filepath.Join(bin, "domiciled"), append([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, d.args...)...)
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	if err := d.cmd.Start(); err != nil {
		return err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	await := d.awaitLog
	if d.config == "" {
		await = d.awaitAddresses
	}
	if err := await(); err != nil {
		d.cmd.Process.Kill()
		<-d.exited
		return fmt.Errorf("%w; it wrote:\n%s", err, d.output.String())
	}
	return nil
}

// awaitAddresses waits until the daemon has written where it serves.
func (d *daemon) awaitAddresses() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		text, err := os.ReadFile(filepath.Join(d.data, "addresses.json"))
		if err == nil {
			var at struct{ GRPC, Admin string }
			if err := json.Unmarshal(text, &at); err != nil {
				return fmt.Errorf("addresses.json: %w", err)
			}
			d.grpc, d.admin = at.GRPC, at.Admin
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-d.exited:
			return fmt.Errorf("domiciled ended before it served: %w", d.err)
		case <-ctx.Done():
			return errors.New("domiciled did not serve")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the daemon as an operator would, and says when it did not end well.
// It may be called twice.
func (d *daemon) stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	<-d.exited
	if d.err != nil {
		return fmt.Errorf("domiciled ended with %w; it wrote:\n%s", d.err, d.output.String())
	}
	return nil
}

// kill ends the daemon without warning.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	<-d.exited
	d.err = nil // as asked
}

// syncBuffer is a buffer that a process writes while a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// domicile runs the command line as an identity and gives its output and exit code.
func (d *daemon) domicile(t testing.TB, identity string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "domicile"), args...)
	cmd.Env = append(os.Environ(), "DOMICILE_DATA="+d.data, "DOMICILE_IDENTITY="+identity)
	if d.config != "" { // in the folder of its identities another gateway may have left its address
		cmd.Env = append(cmd.Env, "DOMICILE_ADDRESS="+d.grpc)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs the command line and fails the test unless it exits 0.
func (d *daemon) must(t testing.TB, identity string, args ...string) string {
	t.Helper()
	out, errs, code := d.domicile(t, identity, args...)
	if code != 0 {
		t.Fatalf("domicile %v as %s: exit code %d\n%s%s", args, identity, code, out, errs)
	}
	return out
}
