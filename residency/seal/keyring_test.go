package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
)

// ringOf names a ring by what it derives.
func ringOf(path string) (string, error) {
	ring, err := seal.OpenFileKeyring(path)
	if err != nil {
		return "", err
	}
	key, err := ring.DriveRoot(ctx, []byte("which"))
	return hex.EncodeToString(key), err
}

// TestMain lets this binary be one of several processes that open a keyring at once.
func TestMain(m *testing.M) {
	if path := os.Getenv("SEAL_TEST_KEYRING"); path != "" {
		name, err := ringOf(path)
		fmt.Print(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestKeyringIsMadePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "ring")
	first := must(ringOf(path))(t)
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o600}, {dir, os.ModeDir | 0o700}, {filepath.Dir(dir), os.ModeDir | 0o700}} {
		if got := must(os.Stat(c.path))(t).Mode(); got != c.mode {
			t.Errorf("%s has mode %v, want %v", filepath.Base(c.path), got, c.mode)
		}
	}
	if files := must(os.ReadDir(dir))(t); len(files) != 1 {
		t.Errorf("%d files are left in the folder, want the keyring alone", len(files))
	}
	if again := must(ringOf(path))(t); again != first {
		t.Error("the ring opens with other roots")
	}
	if other := must(ringOf(filepath.Join(dir, "other")))(t); other == first {
		t.Error("two rings have the same roots")
	}
}

func TestKeyringOfManyAtOnceIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "ring")
	var wg sync.WaitGroup
	names := make([]string, 16)
	for i := range names {
		wg.Go(func() {
			if i%2 == 0 {
				names[i], _ = ringOf(path)
				return
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SEAL_TEST_KEYRING="+path)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			names[i] = string(out)
		})
	}
	wg.Wait()
	for i, n := range names {
		if len(n) != 64 || n != names[0] {
			t.Errorf("opener %d has ring %.8s, opener 0 has %.8s", i, n, names[0])
		}
	}
	if files := must(os.ReadDir(filepath.Dir(path)))(t); len(files) != 1 {
		t.Errorf("%d files are left in the folder, want the keyring alone", len(files))
	}
}

func TestKeyringRefusesModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	must(ringOf(path))(t)
	for _, mode := range []os.FileMode{0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenFileKeyring(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenFileKeyring(path); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestKeyringRefusesContents(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "good")
	must(ringOf(path))(t)
	good := must(os.ReadFile(path))(t)
	resum := func(b []byte) []byte {
		sum := sha256.Sum256(b[:81])
		return append(b[:81:81], sum[:]...)
	}
	twice := bytes.Clone(good)
	copy(twice[49:81], twice[17:49])
	version := bytes.Clone(good)
	version[16] = 2
	magic := bytes.Clone(good)
	magic[0] ^= 1
	for _, c := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"empty", nil, "has 0 bytes, a keyring has 113"},
		{"short", good[:112], "has 112 bytes"},
		{"long", append(bytes.Clone(good), 0), "has 114 bytes"},
		{"not a keyring", resum(magic), "is not a keyring"},
		{"newer", resum(version), "is of version 2, this program reads version 1"},
		{"one root twice", resum(twice), "the same root twice"},
	} {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenFileKeyring(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if got := must(os.ReadFile(bad))(t); !bytes.Equal(got, c.content) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
	for i := range len(good) {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenFileKeyring(path); err == nil {
			t.Errorf("byte %d changed: opened", i)
		}
	}
	if _, err := seal.OpenFileKeyring(dir); err == nil {
		t.Error("a folder was opened as a keyring")
	}
	if _, err := seal.OpenFileKeyring(filepath.Join(path, "x")); err == nil {
		t.Error("a file was used as a folder")
	}
}

func TestWrapBindsRootAndPlace(t *testing.T) {
	ring := newRing(t)
	ad, key := []byte("where it belongs"), bytes.Repeat([]byte{7}, 48)
	for _, root := range []seal.Root{seal.DataRoot, seal.DriveRoot} {
		wrapped := must(ring.Wrap(ctx, root, ad, key))(t)
		if again := must(ring.Wrap(ctx, root, ad, key))(t); bytes.Equal(wrapped, again) {
			t.Error("the same key wraps to the same bytes")
		}
		if got, err := ring.Unwrap(ctx, root, ad, wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("got %x, %v", got, err)
		}
		_, err := ring.Unwrap(ctx, root, []byte("elsewhere"), wrapped)
		wantKind(t, err, residency.IntegrityFailure, "elsewhere")
		_, err = ring.Unwrap(ctx, seal.DataRoot+seal.DriveRoot-root, ad, wrapped)
		wantKind(t, err, residency.IntegrityFailure, "under the other root")
		_, err = newRing(t).Unwrap(ctx, root, ad, wrapped)
		wantKind(t, err, residency.IntegrityFailure, "under another ring")
		everyFlip(wrapped, func(at int, flipped []byte) {
			_, err := ring.Unwrap(ctx, root, ad, flipped)
			wantKind(t, err, residency.IntegrityFailure, fmt.Sprintf("bit %d flipped", at))
		})
		for n := range wrapped {
			_, err := ring.Unwrap(ctx, root, ad, wrapped[:n])
			wantKind(t, err, residency.IntegrityFailure, "cut short")
		}
	}
	for _, root := range []seal.Root{seal.RootUnspecified, 3, 255} {
		_, err := ring.Wrap(ctx, root, ad, key)
		wantKind(t, err, residency.Internal, "wrapping under no root")
		_, err = ring.Unwrap(ctx, root, ad, key)
		wantKind(t, err, residency.Internal, "unwrapping under no root")
	}
}

// everyFlip calls f with b once for each of its bits, that bit flipped.
func everyFlip(b []byte, f func(at int, flipped []byte)) {
	for i := range len(b) * 8 {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		f(i, flipped)
	}
}
