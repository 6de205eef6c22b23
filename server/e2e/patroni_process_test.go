package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds a wait for other programs. It bounds a hang; nothing is
// measured by it.
const patience = 2 * time.Minute

// process is a program that the test started, in a process group of its own.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts a program in a folder, where its output goes to a file. When the
// test process dies the program gets the last signal.
func launch(t testing.TB, dir, name string, who *syscall.Credential, last syscall.Signal, program string, args ...string) *process {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: last, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v; `make test` installs what is missing", program, err)
	}
	out := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(out.ended)
	}()
	return out
}

// kill ends a program without warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// processes gives the numbers of all processes.
func processes() (out []int) {
	entries, _ := os.ReadDir("/proc") // none on a system without it
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// processesIn gives the processes that work in a folder or below. It is this test's own folder, so
// they are this test's own processes, however they were started.
func processesIn(dir string) (out []int) {
	for _, pid := range processes() {
		if runsIn(pid, dir) {
			out = append(out, pid)
		}
	}
	return out
}

// runsIn reports whether a process works in a folder or below.
func runsIn(pid int, dir string) bool {
	at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && (at == dir || strings.HasPrefix(at, dir+"/"))
}

// await waits until something is so, and fails the test when it does not become so.
func await(t testing.TB, what string, so func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = so(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, patience, err)
}

// get asks a program on loopback over HTTP.
func get(url string, answer any) error {
	c := http.Client{Timeout: 5 * time.Second}
	r, err := c.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, r.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(r.Body).Decode(answer)
}

// freePorts gives ports on loopback that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// installed finds a program that `make test` installs: in $DOMICILE_TOOLS, where it must be, in
// .tools/bin, or in the path. Without it the test is skipped, unless $DOMICILE_TOOLS is set.
func installed(t testing.TB, name string) string {
	t.Helper()
	must := os.Getenv("DOMICILE_TOOLS")
	for _, dir := range []string{must, "../../.tools/bin"} {
		if path, err := filepath.Abs(filepath.Join(dir, name)); err == nil && dir != "" {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case must != "":
		t.Fatalf("there is no %s, neither in DOMICILE_TOOLS nor in the path", name)
	default:
		t.Skipf("there is no %s: `make test` installs it", name)
	}
	return path
}

// reap makes this process the parent of what its programs leave behind, and
// takes the end of every PostgreSQL process among it to notice, until the test ends. Where nobody does, as in
// a container whose first process does not, they would stay as zombies, which Patroni takes for alive.
func reap(t testing.TB) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			reapOnce()
			select {
			case <-stop:
				reapOnce()
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
}

func reapOnce() {
	for _, pid := range processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		var parent int
		if n, _ := fmt.Sscanf(string(text), strconv.Itoa(pid)+" (postgres) Z %d", &parent); n == 1 && parent == os.Getpid() {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // how it ended is of no interest
		}
	}
}
