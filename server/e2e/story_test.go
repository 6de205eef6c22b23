package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	googleuuid "github.com/google/uuid"
)

// teller is a program that tells client/conformance/story.json with one language's client.
type teller struct {
	language string
	make     string   // the target of the Makefile that builds it; "" = Go, which is built here
	command  []string // from the repository's root
	lacks    []string // features that the client has not, as its README says
}

// tellers are one for each client.
var tellers = []teller{
	{language: "go", command: []string{filepath.Join("bin", "gostory")}},
}

// Every client tells the same story, against the same gateways.
func TestStory(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	stage := newStage(t)
	for _, who := range tellers {
		t.Run(who.language, func(t *testing.T) {
			command := who.build(t, root)
			args := append(command[1:], "--story", filepath.Join(root, "client", "conformance", "story.json"))
			for name, value := range stage.variables(t) {
				args = append(args, "--var", name+"="+value)
			}
			for _, feature := range who.lacks {
				args = append(args, "--skip", feature)
			}
			tell := exec.CommandContext(t.Context(), command[0], args...)
			tell.Dir = root
			out, err := tell.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
			whole(t, root, string(out), len(who.lacks) > 0)
		})
	}
}

// whole holds that a teller has told of every step.
func whole(t *testing.T, root, out string, maySkip bool) {
	t.Helper()
	var story struct{ Steps []struct{ Name string } }
	if err := json.Unmarshal(contents(t, filepath.Join(root, "client", "conformance", "story.json")), &story); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(out) {
		verdict, name, _ := strings.Cut(strings.TrimSpace(line), " - ")
		name, _, _ = strings.Cut(name, ": the client has no ")
		told[name] = strings.HasPrefix(verdict, "ok ") || maySkip && strings.HasPrefix(verdict, "skip ")
	}
	for _, step := range story.Steps {
		if !told[step.Name] {
			t.Errorf("the step %q was not told, or did not come out as told", step.Name)
		}
	}
}

func (who teller) build(t *testing.T, root string) []string {
	t.Helper()
	if who.make == "" {
		command := filepath.Join(bin, filepath.Base(who.command[0]))
		goBuild(t, command, "./client/conformance/gostory")
		return []string{command}
	}
	build := exec.CommandContext(t.Context(), "make", who.make)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", who.make, err, out)
	}
	return who.command
}

func goBuild(t *testing.T, to, what string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-p", "2", "-o", to, what)
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", what, err, out)
	}
}

// stage is what the story is told on.
type stage struct {
	embedded  *daemon
	shaky     *proxy
	strangers string
	control   string
	home      *twoRegions
	logKey    string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{embedded: gateway(t), home: newTwoRegions(t), strangers: t.TempDir()}
	receiptOf(t, s.embedded, "stage-"+randomID()) // until something is decided there is no checkpoint
	s.logKey = logKey(t, s.embedded)
	s.shaky = newProxy(t, s.embedded.grpc)
	strange(t, s.strangers)
	control := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(control.Close)
	s.control = control.URL
	return s
}

// variables are the story's, of one telling.
func (s *stage) variables(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"run": randomID(), "uuid": googleuuid.NewString(), "gateway": s.embedded.grpc, "shaky": s.shaky.l.Addr().String(),
		"identities": filepath.Join(s.embedded.data, "identity"), "strangers": s.strangers, "control": s.control, "logKey": s.logKey,
		"homeGateway": s.home.address["ch-1"], "awayGateway": s.home.address["us-1"], "homeEndpoint": s.home.address["ch-1"],
	}
}

// serve does what a teller asks for.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Do    string
		ForMS int
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&asked)
	later := func(do func()) { time.AfterFunc(time.Duration(asked.ForMS)*time.Millisecond, do) }
	switch {
	case err == nil && asked.Do == "interrupt":
		s.shaky.sever()
		later(s.shaky.mend)
	case err == nil && asked.Do == "hold":
		s.shaky.silence()
		later(s.shaky.mend)
	case err == nil && asked.Do == "refused" && s.shaky.refused() > 0:
	default:
		w.WriteHeader(http.StatusConflict)
	}
}

// strange makes an authority that nobody knows, and an identity of its own by the name of one that everybody knows.
func strange(t *testing.T, dir string) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a stranger's authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	write := func(name, kind string, der []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := pem.Encode(&out, &pem.Block{Type: kind, Bytes: der}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	write("ca.crt", "CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	write("app-ch.crt", "CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(leafKey)
	write("app-ch.key", "PRIVATE KEY", der, err)
}
