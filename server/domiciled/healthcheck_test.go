package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/server/admin"
)

// checkHealth runs the verb as a supervisor would.
func checkHealth(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out output
	err := run(t.Context(), append([]string{"healthcheck"}, args...), &out, io.Discard)
	return strings.TrimSpace(out.String()), err
}

// A gateway that serves is ready and alive; one that has stopped is neither.
func TestHealthcheck(t *testing.T) {
	p := launch(t, filepath.Join(t.TempDir(), "data"))
	address := strings.TrimPrefix(p.admin, "http://")
	for _, args := range [][]string{{"--address", address}, {"--admin-listen", address}} {
		if got, err := checkHealth(t, args...); err != nil || got != "ready" {
			t.Errorf("%v: %q, %v", args, got, err)
		}
	}
	if got, err := checkHealth(t, "--alive", "--address", address); err != nil || got != "ok" {
		t.Errorf("alive: %q, %v", got, err)
	}
	t.Setenv("DOMICILE_GATEWAY_ADMIN_LISTEN", address)
	if got, err := checkHealth(t); err != nil || got != "ready" {
		t.Errorf("by the environment: %q, %v", got, err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := checkHealth(t); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("after the end: %v", err)
	}
}

// What the gateway says when it is not well is told in one line, and is a failure; so is an
// answer that is none of a gateway's.
func TestHealthcheckRefusals(t *testing.T) {
	asked := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if r.URL.Path == "/healthz" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "not ready\nregion ch: no answer from its rows\n")
	}))
	defer s.Close()
	address := s.Listener.Addr().String()
	_, err := checkHealth(t, "--address", address)
	if path := <-asked; path != "/readyz" || err == nil || err.Error() != "not ready; region ch: no answer from its rows" {
		t.Errorf("asked %s: %v", path, err)
	}
	if _, err := checkHealth(t, "--alive", "--address", address); err == nil || <-asked != "/healthz" || len(asked) > 0 {
		t.Errorf("a redirection: %v", err)
	}
}

// A bucket that is away takes no replica out of use: records need none. What else is missing does.
func TestServesWithoutDrives(t *testing.T) {
	for _, tt := range []struct {
		shown []string
		want  bool
	}{
		{[]string{"region ch: no answer from its blobs"}, true},
		{[]string{"region ch: no answer from its blobs", "region us: no answer from its blobs"}, true},
		{[]string{"region ch: no answer from its blobs", "region us: no answer from its rows"}, false},
		{[]string{"region ch: no answer from its keys"}, false},
		{[]string{"stopping"}, false},
		{nil, false},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, strings.Join(append([]string{"not ready"}, tt.shown...), "\n"))
		}))
		_, err := checkHealth(t, "--address", s.Listener.Addr().String())
		s.Close()
		if (err == nil) != tt.want {
			t.Errorf("%q: the check gives %v", tt.shown, err)
		}
		if got := serves(&admin.Problem{Shown: tt.shown, Err: errors.New("down")}); got != tt.want {
			t.Errorf("%q: serves: %v", tt.shown, got)
		}
	}
	if !serves(nil) || serves(errors.New("anything else")) {
		t.Error("whole, and down for another reason")
	}
}

// Only this machine is asked.
func TestHealthcheckAddress(t *testing.T) {
	for _, address := range []string{"192.0.2.1:9464", "example.org:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:", net.JoinHostPort("::", "9464")} {
		var wrong *usageError
		if _, err := checkHealth(t, "--address", address); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
