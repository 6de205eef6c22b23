package pebble

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/domicile-project/domicile/residency/store"
)

func openKeysTest(t *testing.T, fs vfs.FS) *Keys {
	t.Helper()
	o := memory()
	o.FS, o.Logger = fs, quiet
	k, err := openKeys("keys", o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// files gives the names of the files that hold some bytes.
func files(t *testing.T, fs vfs.FS, hold []byte) (found []string) {
	t.Helper()
	names, err := fs.List("keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin("keys", name))
		if errors.Is(err, vfs.ErrUnsupported) || err != nil {
			continue // a file that was removed since
		}
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, hold) {
			found = append(found, name)
		}
	}
	return found
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func create(t *testing.T, k *Keys, name string, wrapped []byte) {
	t.Helper()
	if _, err := k.Create(t.Context(), name, wrapped); err != nil {
		t.Fatal(err)
	}
}

// TestADestroyedKeyIsGoneFromTheFiles destroys keys that lie in every kind of
// file: the log, fresh sorted files and old ones.
func TestADestroyedKeyIsGoneFromTheFiles(t *testing.T) {
	fs := vfs.NewMem()
	k := openKeysTest(t, fs)
	closer(t, k)
	old, young, kept := random(t, 32), random(t, 32), random(t, 32)
	create(t, k, "a/old", old)
	create(t, k, "b/kept", kept)
	for i := range 6000 {
		create(t, k, fmt.Sprintf("%c/%d", 'a'+byte(i%3), i), random(t, 60))
	}
	if err := k.engine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	create(t, k, "a/young", young)
	for _, canary := range [][]byte{old, young, kept} {
		if len(files(t, fs, canary)) == 0 {
			t.Fatal("a key cannot be found in the files, so its absence would show nothing")
		}
	}
	if err := k.Destroy(t.Context(), "a/"); err != nil {
		t.Fatal(err)
	}
	if err := k.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, canary := range [][]byte{old, young} {
		awaitGone(t, fs, canary)
	}
	if got, err := k.Get(t.Context(), "b/kept"); !bytes.Equal(got, kept) || err != nil {
		t.Fatalf("a key that was kept: %v", err)
	}
	if _, err := k.Get(t.Context(), "a/young"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a destroyed key: %v", err)
	}
}

// awaitGone waits until no file holds a key: files that are not in use any more
// are removed after Purge has returned. A key that stays fails the test.
func awaitGone(t *testing.T, fs vfs.FS, canary []byte) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		found := files(t, fs, canary)
		if len(found) == 0 {
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("a destroyed key is still in %v", found)
		}
	}
}

// TestAPurgeGoesOnAfterACrash destroys a key and opens what a power failure
// leaves right then.
func TestAPurgeGoesOnAfterACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	k := openKeysTest(t, fs)
	canary := random(t, 32)
	create(t, k, "a/1", canary)
	create(t, k, "b/1", []byte("kept"))
	if err := k.engine.db.Flush(); err != nil {
		t.Fatal(err)
	}
	k.purger.stop() // as if the process ended before it came to it
	if err := k.Destroy(t.Context(), "a/"); err != nil {
		t.Fatal(err)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := k.engine.close(); err != nil {
		t.Fatal(err)
	}
	if len(files(t, crashed, canary)) == 0 {
		t.Fatal("the key is gone from the files already, so the test shows nothing")
	}
	k = openKeysTest(t, crashed)
	closer(t, k)
	if err := k.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, crashed, canary)
	if marked, err := k.purger.marked(); len(marked) > 0 || err != nil {
		t.Fatalf("%d ranges are still marked, %v", len(marked), err)
	}
}

func TestAFileIsOverwrittenBeforeItIsRemoved(t *testing.T) {
	fs := vfs.NewMem()
	secret := random(t, 200<<10)
	f, err := fs.Create("secret", vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(secret)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	held, err := fs.Open("secret") // sees what becomes of the file after its name is gone
	if err != nil {
		t.Fatal(err)
	}
	cleaner := newOverwriter(pebble.ArchiveCleaner.Clean)
	if err := cleaner.Clean(fs, 0, "secret"); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(held)
	if err != nil || len(data) != len(secret) || len(bytes.Trim(data, "\x00")) != 0 {
		t.Fatalf("the file has %d bytes that are not all zero, %v", len(data), err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat("secret"); err == nil {
		t.Fatal("the file is still there")
	}
}

func TestKeysAfterAPowerFailure(t *testing.T) {
	fs := vfs.NewCrashableMem()
	k := openKeysTest(t, fs)
	for i := range 50 {
		create(t, k, fmt.Sprint(i), []byte{byte(i)})
	}
	if err := k.Destroy(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = openKeysTest(t, crashed)
	closer(t, k)
	for i := range 50 {
		name := fmt.Sprint(i)
		got, err := k.Get(t.Context(), name)
		if name[0] == '1' {
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("the destroyed key %s: %v", name, err)
			}
		} else if err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Fatalf("the key %s: %x, %v", name, got, err)
		}
	}
}

func TestPurgeKeepsItsDeadline(t *testing.T) {
	k := openKeysTest(t, vfs.NewMem())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantUnavailable(t, k.Purge(ctx))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := k.Purge(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("Purge after Close: %v", err)
	}
}
