package storetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// S3Server is an S3 server of its own process that keeps objects in a folder.
type S3Server struct {
	Endpoint             string // host:port, plain HTTP
	AccessKey, SecretKey string
	Region               string
	Bucket               string // there, and empty

	t       testing.TB // nil = it belongs to no one test
	root    string
	process *exec.Cmd
}

// StartS3 starts a server, which is stopped when the test ends. The test is
// skipped when the server's program is not installed, unless $DOMICILE_TOOLS says where it must be.
func StartS3(t testing.TB) *S3Server {
	t.Helper()
	s, err := NewS3("ch")
	if errors.Is(err, ErrNoTool) {
		t.Skip(err)
	}
	must(t, err)
	s.t = t
	t.Cleanup(s.Close)
	return s
}

// NewS3 starts a server, which must be closed. Its error wraps ErrNoTool where the
// server's program is not installed and need not be.
func NewS3(region string) (*S3Server, error) {
	root, err := os.MkdirTemp("", "domicile-s3-")
	if err != nil {
		return nil, err
	}
	s := &S3Server{AccessKey: filepath.Base(root), SecretKey: "secret-key", Region: region, Bucket: "objects", root: root}
	err = os.Mkdir(s.Folder(), 0o700)
	if err == nil {
		s.Endpoint, err = freeAddress()
	}
	if err == nil {
		err = s.run()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Folder is where the bucket's objects are.
func (s *S3Server) Folder() string { return filepath.Join(s.root, s.Bucket) }

// Start starts the server again, with what was there, and waits until it answers.
func (s *S3Server) Start() {
	s.t.Helper()
	must(s.t, s.run())
}

func (s *S3Server) run() error {
	program, err := tool("versitygw")
	if err != nil {
		return err
	}
	s.process = exec.Command(program, "--quiet", "--keep-alive", "--port", s.Endpoint, //nolint:noctx // Stop ends it
		"--region", s.Region, "posix", s.root)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	for late := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Endpoint)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(late) {
			return fmt.Errorf("the S3 server does not listen: %w", err)
		}
	}
}

// Stop kills the server. One that is stopped already stays so.
func (s *S3Server) Stop() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait() // it was killed
	s.process = nil
}

// Close stops the server and removes its data.
func (s *S3Server) Close() {
	s.Stop()
	_ = os.RemoveAll(s.root) // it is in the system's temporary folder
}

// ErrNoTool says that a program is not installed, and need not be.
var ErrNoTool = errors.New("`make test` installs it")

// tool finds a program that tools/setup installs.
func tool(name string) (string, error) {
	dir := os.Getenv("DOMICILE_TOOLS")
	if dir == "" {
		dir = toolsAbove()
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("DOMICILE_TOOLS") != "" {
			return "", fmt.Errorf("DOMICILE_TOOLS names no %s: %w", name, err)
		}
		return "", fmt.Errorf("no .tools/bin/%s: %w", name, ErrNoTool)
	}
	return path, nil
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
func freeAddress() (string, error) {
	port, err := freePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
