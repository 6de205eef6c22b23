package witness

import (
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

const key = "witness.example.org+00000000+AAAA"

// outside answers like a witness.
func outside(t *testing.T, answer http.HandlerFunc) *Witness {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	w, err := New(config.Witness{Key: key, URL: s.URL + "/witness/"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestRequest(t *testing.T) {
	proof := tlog.TreeProof{tlog.Hash{1}, tlog.Hash{2}}
	w := outside(t, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		want := "old 7\n" + base64.StdEncoding.EncodeToString(proof[0][:]) + "\n" + base64.StdEncoding.EncodeToString(proof[1][:]) + "\n\norigin\n9\n"
		if r.Method != http.MethodPost || r.URL.Path != "/witness/add-checkpoint" || string(b) != want {
			t.Errorf("%s %s\n%s", r.Method, r.URL.Path, b)
		}
		io.WriteString(rw, "— witness sig\n")
	})
	said, err := w.Cosign(t.Context(), gateway.Cosigning{Old: 7, Proof: proof, Checkpoint: []byte("origin\n9\n")})
	if err != nil || string(said.Lines) != "— witness sig\n" || len(said.Keys) != 1 || said.Keys[0] != key {
		t.Errorf("%+v, %v", said, err)
	}
	if w.Name() != "witness.example.org" {
		t.Error(w.Name())
	}
}

func TestAnswers(t *testing.T) {
	size := http.Header{"Content-Type": {"text/x.tlog.size"}}
	for name, c := range map[string]struct {
		status        int
		header        http.Header
		body          string
		old           uint64
		known         uint64
		contradiction bool
		err           string
	}{
		"conflict":              {status: 409, header: size, body: "12\n", known: 12},
		"conflict without size": {status: 409, body: "12\n", err: "without the size"},
		"conflict with words":   {status: 409, header: size, body: "many\n", err: "without the size"},
		"a bad proof":           {status: 422, old: 7, contradiction: true},
		"no proof at all":       {status: 422, err: "given none"},
		"an unknown log":        {status: 404, err: "does not know the log"},
		"another key":           {status: 403, err: "another public key"},
		"an error":              {status: 500, body: "secret", err: "status 500"},
		"nothing":               {status: 200, err: "without a signature"},
		"too much":              {status: 200, body: strings.Repeat("x", maxAnswer+1), err: "more than"},
		"elsewhere":             {status: 302, header: http.Header{"Location": {"/other"}}, err: "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			w := outside(t, func(rw http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					rw.Header()[k] = v
				}
				rw.WriteHeader(c.status)
				io.WriteString(rw, c.body)
			})
			said, err := w.Cosign(t.Context(), gateway.Cosigning{Old: c.old, Checkpoint: []byte("x")})
			if said.Known != c.known || said.Contradiction != c.contradiction || (err == nil) != (c.err == "") {
				t.Fatalf("%+v, %v", said, err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret")) {
				t.Error(err)
			}
		})
	}
}

// A witness behind TLS is believed by the configured authority alone.
func TestAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "line\n") }))
	defer s.Close()
	file := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := New(config.Witness{Key: key, URL: s.URL, CA: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Cosign(t.Context(), gateway.Cosigning{}); err != nil {
		t.Error(err)
	}
	if w, err = New(config.Witness{Key: key, URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Cosign(t.Context(), gateway.Cosigning{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
	for _, file := range []string{file + ".missing", os.DevNull} {
		if _, err := New(config.Witness{Key: key, URL: s.URL, CA: file}); err == nil {
			t.Errorf("%s was taken", file)
		}
	}
}
