package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// printed is the embedded default's configuration with its data in a folder, and with the
// certificates of the shared daemon.
func printed(t testing.TB, data string) string {
	t.Helper()
	out, err := domiciled("--print-config", "--data", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.ReplaceAll(out, filepath.Join(data, "identity"), filepath.Join(gateway(t).data, "identity"))
}

// configured starts a daemon on a configuration, and stops it with the test. It is called as the
// shared daemon's identities.
func configured(t testing.TB, text string) *daemon {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &daemon{data: gateway(t).data, args: []string{"--config", file}, config: text}
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	d.stopWith(t)
	return d
}

var serving = regexp.MustCompile(`msg=serving .*listen=(\S+) admin=(\S+)`)

// awaitLog waits until the daemon has logged, since it was launched, where it serves.
func (d *daemon) awaitLog() error {
	for end := time.Now().Add(startLimit); time.Now().Before(end); {
		if at := serving.FindStringSubmatch(d.output.String()[d.before:]); at != nil {
			d.grpc, d.admin = at[1], at[2]
			return nil
		}
		select {
		case <-d.exited:
			return errors.New("domiciled ended before it served")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("domiciled did not serve")
}

// alsoPermitted gives a caller of a configuration one more permission.
func alsoPermitted(t testing.TB, text, caller, permission string) string {
	t.Helper()
	of := regexp.MustCompile(`(- id: spiffe://domicile\.local/\w+/` + caller + `\n(?:  .*\n)*?  permissions:\n)`)
	if !of.MatchString(text) {
		t.Fatalf("no caller %s in\n%s", caller, text)
	}
	return of.ReplaceAllString(text, "${1}  - "+permission+"\n")
}
