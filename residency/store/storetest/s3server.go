package storetest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// S3Server is an S3 server of its own process that keeps objects in a folder.
type S3Server struct {
	Endpoint             string // host:port, plain HTTP
	AccessKey, SecretKey string
	Region               string
	Bucket               string // there, and empty

	t       testing.TB
	root    string
	process *exec.Cmd
}

// StartS3 starts a server, which is stopped when the test ends. The test is
// skipped when the server's program is not installed, unless $DOMICILE_TOOLS says where it must be.
func StartS3(t testing.TB) *S3Server {
	t.Helper()
	s := &S3Server{
		AccessKey: "access-" + filepath.Base(t.TempDir()), SecretKey: "secret-key", Region: "ch", Bucket: "objects",
		t: t, root: t.TempDir(),
	}
	must(t, os.Mkdir(s.Folder(), 0o700))
	s.Endpoint = freeAddress(t)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Folder is where the bucket's objects are.
func (s *S3Server) Folder() string { return filepath.Join(s.root, s.Bucket) }

// Start starts the server again, with what was there, and waits until it answers.
func (s *S3Server) Start() {
	s.t.Helper()
	s.process = exec.Command(tool(s.t, "versitygw"), "--quiet", "--keep-alive", "--port", s.Endpoint, //nolint:noctx // Stop ends it
		"--region", s.Region, "posix", s.root)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	must(s.t, s.process.Start())
	for late := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Endpoint)
		if err == nil {
			must(s.t, c.Close())
			return
		}
		if time.Now().After(late) {
			s.t.Fatalf("the S3 server does not listen: %v", err)
		}
	}
}

// Stop kills the server. One that is stopped already stays so.
func (s *S3Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait() // it was killed
	s.process = nil
}

// tool finds a program that tools/setup installs.
func tool(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("DOMICILE_TOOLS")
	if dir == "" {
		dir = toolsAbove()
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("DOMICILE_TOOLS") != "" {
			t.Fatalf("DOMICILE_TOOLS names no %s: %v", name, err)
		}
		t.Skipf("no .tools/bin/%s: `make test` installs it", name)
	}
	return path
}

// toolsAbove looks for .tools/bin beside go.mod, in the folders above.
func toolsAbove() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, ".tools", "bin")
}

// freeAddress gives an address on loopback that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
