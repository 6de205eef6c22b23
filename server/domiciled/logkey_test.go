package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// signatures waits until the Swiss log's newest checkpoint holds everything, and tells how many keys signed it.
func signatures(t *testing.T, p *process, tenant string) int {
	t.Helper()
	if err := register(t.Context(), p.as("admin-ch"), tenant, "CH"); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := residencyv1.NewAuditServiceClient(p.as("admin-ch")).GetCheckpoint(t.Context(), &residencyv1.GetCheckpointRequest{Region: "ch"})
		if err == nil && c.GetPending() == 0 {
			return strings.Count(string(c.GetCheckpoint()), "\n— domicile.local/ch/ch-1 ")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A key is followed by another in two steps, the second of them only when the log was signed by it, and nothing else in the folder
// changes.
func TestRotateLogKey(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(data, "keys", "ch", "audit")
	rotate := func(more ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"rotate-log-key", "--data", data}, more...), &out, &out)
		return out.String(), err
	}
	refused := func(want string, more ...string) {
		t.Helper()
		before, _ := os.ReadFile(file)
		_, err := rotate(more...)
		if after, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), want) || !bytes.Equal(before, after) {
			t.Errorf("%q: %v", more, err)
		}
	}
	refused("--region must be one that is served here: ch, us")
	refused("no such file", "--region", "us")
	serve := func(tenant string, want int) {
		t.Helper()
		p := launch(t, data)
		if n := signatures(t, p, tenant); n != want {
			t.Errorf("%s: signed by %d keys, want %d", tenant, n, want)
		}
		if want > 1 {
			refused("in use by a gateway", "--region", "ch", "--finish")
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
	}
	serve("first", 1)
	first, _ := os.ReadFile(file)
	refused("no change of the key is under way", "--region", "ch", "--finish")
	out, err := rotate("--region", "ch")
	both, _ := os.ReadFile(file)
	if err != nil || len(both) != 2*keySize || !bytes.Equal(both[keySize:], first) || bytes.Equal(both[:keySize], first) {
		t.Fatalf("%v: %d bytes", err, len(both))
	}
	for _, want := range []string{"domicile.local/ch/ch-1+", "  before domicile.local/ch/ch-1+", "domicile.local/ch/witness+", "--finish"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	refused("the newest checkpoint of the log domicile.local/ch/ch-1 is not signed by the new key yet", "--region", "ch", "--finish")
	if _, err := os.Stat(file + ".former"); !os.IsNotExist(err) {
		t.Errorf("a step that was refused left keys behind: %v", err)
	}
	serve("second", 2)
	if out, err = rotate("--region", "ch", "--finish"); err != nil || strings.Contains(out, "  before ") {
		t.Errorf("%v\n%s", err, out)
	}
	if now, _ := os.ReadFile(file); !bytes.Equal(now, both[:keySize]) {
		t.Error("what is left is not the new key")
	}
	if former, _ := os.ReadFile(file + ".former"); !bytes.Equal(former, first) {
		t.Error("the key before is lost")
	}
	serve("third", 1)
	for range maxLogKeys - 1 {
		if _, err := rotate("--region", "ch"); err != nil {
			t.Fatal(err)
		}
	}
	refused("end the change", "--region", "ch")
	if left, _ := filepath.Glob(file + ".new-*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
