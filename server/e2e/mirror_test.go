package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// An export that is brought up to date has the same bytes as a fresh one, as often as it is done. A log that was set back or
// written anew in between is not taken, and the folder stays as it was.
func TestAnExportIsBroughtUpToDate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	d := start(t, data)
	register(t, d.dial(t, "admin-ch"), "alpen")
	mirror := filepath.Join(t.TempDir(), "mirror")
	for step, n := range []int{3, 0, 300, 40, 500} { // within a tile, nothing, over its end, within the next, over two
		writeEntries(t, d, fmt.Sprint(step), n)
		sameAsFresh(t, d, mirror)
	}
	d.must(t, "admin-ch", "audit", "verify", "--key", logKey(t, d), "--log", mirror)
	d.kill()
	old := filepath.Join(t.TempDir(), "old")
	if out, err := exec.Command("cp", "-a", data, old).CombinedOutput(); err != nil { // modes too
		t.Fatalf("%v: %s", err, out)
	}
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	writeEntries(t, d, "one", 20)
	sameAsFresh(t, d, mirror)
	d.kill()

	// The same log, with the same key, as it was before: shorter at first, then as it never went on.
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, data); err != nil {
		t.Fatal(err)
	}
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	before := tree(t, mirror)
	for _, step := range []struct {
		entries int
		want    string
	}{{0, "cut-off"}, {600, "forked"}} {
		writeEntries(t, d, "other", step.entries)
		_, stderr, code := d.domicile(t, "admin-ch", "audit", "export", "ch", mirror)
		if code != 1 || !strings.Contains(stderr, step.want) || !strings.Contains(stderr, "is as it was") {
			t.Errorf("a log that is %s: exit code %d: %s", step.want, code, stderr)
		}
		differ(t, before, tree(t, mirror))
	}
}

// What is no export is not written to.
func TestAFolderThatIsNoExport(t *testing.T) {
	d := gateway(t)
	allSigned(t, d, "ch")
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "notes"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := d.domicile(t, "admin-ch", "audit", "export", "ch", other)
	if code != 1 || !strings.Contains(stderr, "holds no export of a log: name a folder") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	differ(t, map[string]string{"notes": "mine"}, tree(t, other))

	// One that broke off begins anew; one of another log is left alone.
	broken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(broken, ".incoming", "tile"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.must(t, "admin-ch", "audit", "export", "ch", broken)
	before := tree(t, broken)
	allSigned(t, d, "us")
	_, stderr, code = d.domicile(t, "admin-us", "audit", "export", "us", broken)
	if code != 1 || !strings.Contains(stderr, "holds an export of another log") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	differ(t, before, tree(t, broken))
}

// writeEntries makes entries, and waits until a checkpoint holds them all.
func writeEntries(t *testing.T, d *daemon, name string, n int) {
	t.Helper()
	c := d.dialOnce(t, "admin-ch")
	defer c.Close()
	for i := range n {
		record := personalRecord("anna", fmt.Sprintf("r-%s-%d", name, i), "Anna")
		if _, err := c.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: "alpen", Record: record}); err != nil {
			t.Fatal(err)
		}
	}
	allSigned(t, d, "ch")
}

// allSigned waits until a checkpoint holds all entries of a region, of which there must be one.
func allSigned(t *testing.T, d *daemon, region string) {
	t.Helper()
	c := d.dialOnce(t, "admin-"+region)
	defer c.Close()
	if _, err := c.Tenants.ListTenants(t.Context(), &residencyv1.ListTenantsRequest{Region: region}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a checkpoint of all", func() bool {
		r, err := c.Audit.GetCheckpoint(t.Context(), &residencyv1.GetCheckpointRequest{Region: region})
		return err == nil && r.Pending == 0
	})
}

// sameAsFresh brings an export up to date and compares it with a fresh one. An export is in the log itself, so both must
// happen to be of the same checkpoint.
func sameAsFresh(t *testing.T, d *daemon, mirror string) {
	t.Helper()
	eventually(t, "two exports of one checkpoint", func() bool {
		fresh := filepath.Join(t.TempDir(), "fresh")
		d.must(t, "admin-ch", "audit", "export", "ch", mirror)
		d.must(t, "admin-ch", "audit", "export", "ch", fresh)
		got, want := tree(t, mirror), tree(t, fresh)
		if got["checkpoint"] != want["checkpoint"] {
			return false
		}
		differ(t, want, got)
		return true
	})
}

// tree reads every file of a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(dir, name)
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func differ(t *testing.T, want, got map[string]string) {
	t.Helper()
	for path := range want {
		if text, ok := got[path]; !ok || !bytes.Equal([]byte(text), []byte(want[path])) {
			t.Errorf("%s is missing, or has other bytes", path)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s should not be there", path)
		}
	}
}
