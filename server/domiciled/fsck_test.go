package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
)

// stored is a data folder with a record, a drive and what comes of them; no gateway uses it.
func stored(t *testing.T) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	p := launch(t, data)
	drives := residencyv1.NewDriveServiceClient(p.as("app-ch"))
	purpose := residencyv1.Purpose_PURPOSE_SERVICE_PROVISION
	write := func() error {
		w, err := drives.WriteDrive(t.Context())
		if err != nil {
			return err
		}
		header := &residencyv1.WriteDriveHeader{TenantId: "acme", DriveId: "d", Purpose: purpose}
		err = errors.Join(
			w.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: header}}),
			w.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: []byte(canary)}}))
		_, closed := w.CloseAndRecv()
		return errors.Join(err, closed)
	}
	create := func() error {
		_, err := drives.CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 20})
		return err
	}
	for _, do := range []func() error{
		func() error { return register(t.Context(), p.as("admin-ch"), "acme", "CH") },
		func() error { return register(t.Context(), p.as("admin-us"), "usco", "US") },
		func() error { return put(t.Context(), p.as("app-ch"), "acme") },
		func() error { return put(t.Context(), p.as("app-us"), "usco") },
		create, write,
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"fsck", "--data", data}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "in use by a gateway: stop it first") {
		t.Fatalf("beside a gateway: %v", err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	return data
}

// everything gives the digest of every file below a folder, and the mode of all that is there.
func everything(t *testing.T, root string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			out[path] = info.Mode().String()
			return err
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		out[path] = info.Mode().String() + hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checked is what a check said, as scripts read it.
type checked struct {
	codes   []string
	summary summaryLine
	text    string
	err     error
}

// fsckOf runs the command on a data folder, which it must not change.
func fsckOf(t *testing.T, data string, args ...string) (c checked) {
	t.Helper()
	before := everything(t, data)
	var stdout bytes.Buffer
	c.err = run(t.Context(), append([]string{"fsck", "--data", data, "-o", "json"}, args...), &stdout, io.Discard)
	c.text = stdout.String()
	for line := range strings.Lines(c.text) {
		var f findingLine
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if f.Code == "" {
			if err := json.Unmarshal([]byte(line), &c.summary); err != nil || !c.summary.Summary {
				t.Fatalf("%s: %v", line, err)
			}
			continue
		}
		c.codes = append(c.codes, string(f.Code))
	}
	if after := everything(t, data); !maps.Equal(before, after) {
		for path := range after {
			if before[path] != after[path] {
				t.Errorf("fsck changed %s", path)
			}
		}
		t.Errorf("%d files before, %d after", len(before), len(after))
	}
	for _, name := range []string{canary, "acme", "usco"} {
		if strings.Contains(c.text, name) {
			t.Errorf("it names %q:\n%s", name, c.text)
		}
	}
	return c
}

func TestFsckOfAFolderThatIsWhole(t *testing.T) {
	data := stored(t)
	for _, args := range [][]string{nil, {"--deep"}, {"--region", "ch"}} {
		c := fsckOf(t, data, args...)
		if c.err != nil || len(c.codes) != 0 || c.summary.Rows < 8 || c.summary.Entries == 0 || c.summary.Keys < 3 || c.summary.Blobs == 0 {
			t.Errorf("%q: %v\n%s", args, c.err, c.text)
		}
	}
	var text, log bytes.Buffer
	if err := run(t.Context(), []string{"fsck", "--data", data}, &text, &log); err != nil || !strings.HasPrefix(text.String(), "all is well: ") {
		t.Errorf("for people: %v\n%s%s", err, text.String(), log.String())
	}
	launch(t, data) // and a gateway starts on it as before
}

func TestFsckOfWhatIsNotThere(t *testing.T) {
	parent := t.TempDir()
	if err := run(t.Context(), []string{"fsck", "--data", filepath.Join(parent, "data")}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no gateway's data folder") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 0 {
		t.Errorf("it made %v, %v", entries, err)
	}
	data := stored(t)
	if err := os.RemoveAll(filepath.Join(data, "ch", "rows")); err != nil {
		t.Fatal(err)
	}
	if c := fsckOf(t, data); c.err == nil || !strings.Contains(c.err.Error(), "region ch: cluster ch-1") {
		t.Errorf("without the rows: %v", c.err)
	}
	var wrong *usageError
	if err := run(t.Context(), []string{"fsck", "--data", data, "--region", "de"}, io.Discard, io.Discard); !errors.As(err, &wrong) {
		t.Errorf("an unknown region: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spoilRow changes or, with nil, removes the first row of a kind.
func spoilRow(kind store.Kind, change func([]byte) []byte) func(t *testing.T, data string) {
	return func(t *testing.T, data string) {
		t.Helper()
		c, err := pebble.OpenCluster(filepath.Join(data, "ch", "rows"), pebble.Options{Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		var tenant store.Tenant
		must(t, c.Tenants(t.Context(), tenant, func(found store.Tenant) bool { tenant = found; return false }))
		must(t, c.Update(t.Context(), store.Scope{Tenant: tenant, Exclusive: true}, func(tx store.Tx) error {
			var id store.ID
			var value []byte
			err := tx.Scan(kind, "", "", func(found store.ID, b []byte) bool { id, value = found, bytes.Clone(b); return false })
			switch {
			case err != nil:
				return err
			case value == nil:
				return errors.New("there is no row of the kind")
			case change == nil:
				return tx.Delete(kind, id)
			}
			return tx.Put(kind, id, change(value))
		}))
		must(t, c.Close())
	}
}

func flip(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

// eachBlob does something to each of the blobs of tenants.
func eachBlob(do func(t *testing.T, path string)) func(t *testing.T, data string) {
	return func(t *testing.T, data string) {
		t.Helper()
		n := 0
		must(t, filepath.WalkDir(filepath.Join(data, "ch", "blobs", "objects"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
				do(t, path)
			}
			return err
		}))
		if n == 0 {
			t.Fatal("there is no blob")
		}
	}
}

func TestFsckFindsWhatWasSpoilt(t *testing.T) {
	data := stored(t)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, data string)
		args  []string
		want  []string
		whole bool // nothing is damaged
	}{
		"a row's byte":     {spoil: spoilRow(store.KindRecord, flip), want: []string{"row-damaged"}},
		"a row is gone":    {spoil: spoilRow(store.KindRecord, nil), want: []string{"subject-empty"}},
		"a blob is gone":   {spoil: eachBlob(func(t *testing.T, path string) { must(t, os.Remove(path)) }), want: []string{"blob-missing"}},
		"a blob's byte":    {spoil: eachBlob(flipFile), args: []string{"--deep"}, want: []string{"blob-damaged"}},
		"a blob of nobody": {spoil: strayBlob, want: []string{"blob-stray"}, whole: true},
		"a key is gone":    {spoil: loseKeys, want: []string{"key-missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			own := filepath.Join(t.TempDir(), "data")
			must(t, os.CopyFS(own, os.DirFS(data)))
			private(t, own)
			c.spoil(t, own)
			got := fsckOf(t, own, c.args...)
			if strings.Join(got.codes, " ") != strings.Join(c.want, " ") {
				t.Errorf("found %q, want %q\n%s", got.codes, c.want, got.text)
			}
			if (got.err == nil) != c.whole || !c.whole && !strings.Contains(got.err.Error(), "findings of damage") {
				t.Errorf("it ended with %v", got.err)
			}
		})
	}
}

// private gives copied files the modes that a gateway gives them.
func private(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	}))
}

func flipFile(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, flip(b), 0o600))
}

func strayBlob(t *testing.T, data string) {
	t.Helper()
	b, err := dir.Open(filepath.Join(data, "ch", "blobs"))
	must(t, err)
	w, err := b.Create(t.Context(), strings.Repeat("0123456789abcdef", 2)+"/stream/000000")
	must(t, err)
	_, err = w.Write([]byte("whose?"))
	must(t, errors.Join(err, w.Commit(), b.Close()))
}

// loseKeys removes the key of the Swiss tenant's person.
func loseKeys(t *testing.T, data string) {
	t.Helper()
	k, err := pebble.OpenKeys(filepath.Join(data, "keys", "ch", "store"), slog.New(slog.DiscardHandler))
	must(t, err)
	var person string
	const kindAt, subjectKind = 16, 2
	must(t, k.List(t.Context(), "", func(name string, _ []byte) bool {
		if name[kindAt] == subjectKind {
			person = name
		}
		return true
	}))
	if person == "" {
		t.Fatal("there is no person's key")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, errors.Join(k.Destroy(ctx, person), k.Close()))
}

func TestFindingsForPeople(t *testing.T) {
	var b bytes.Buffer
	o := newFindings("text", &b)
	for range shown + 5 {
		o.take(gateway.Finding{Code: gateway.BlobMissing, Region: "ch", Cluster: "ch-1", What: "blob a", Detail: "gone"})
	}
	o.take(gateway.Finding{Code: gateway.KeyUnused, Region: "ch", What: "tenant b", Detail: "no rows"})
	must(t, o.end(gateway.FsckChecked{Damage: shown + 5, Leftovers: 1, Rows: 7}))
	for _, want := range []string{"blob-missing (damage): 25\n", "  and 5 more; -o json lists all\n", "key-unused (leftover): 1\n", "what to do: ", "25 findings of damage, 1 leftovers: ", " 7 rows"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "ch/ch-1: blob a: gone"); n != shown {
		t.Errorf("%d are shown", n)
	}
}

// Whoever looks a code up finds it.
func TestEveryCodeIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "OPERATIONS.md"))
	must(t, err)
	for _, code := range gateway.FsckCodes() {
		if !bytes.Contains(manual, []byte("`"+string(code)+"`")) {
			t.Errorf("server/OPERATIONS.md does not say what %s means", code)
		}
	}
}
