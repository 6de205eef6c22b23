package dir

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

func openTest(t testing.TB, root string) *Blobs {
	t.Helper()
	b, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func put(ctx context.Context, b *Blobs, name string, data []byte) error {
	w, err := b.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

func get(ctx context.Context, b *Blobs, name string, length int64) ([]byte, error) {
	r, err := b.Open(ctx, name, 0, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func TestBlobs(t *testing.T) {
	storetest.RunBlobs(t, func(t *testing.T) store.Blobs { return openTest(t, t.TempDir()) })
}

func TestOneProcessOwnsTheFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	b := openTest(t, root)
	if _, err := Open(root); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("the folder was opened a second time: %v", err)
	}
	if err := put(t.Context(), b, "a/b", []byte("data")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("a second Close: %v", err)
	}
	if err := put(t.Context(), b, "c", nil); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("Create after Close: %v", err)
	}
	b = openTest(t, root)
	if data, err := get(t.Context(), b, "a/b", 4); string(data) != "data" || err != nil {
		t.Fatalf("after opening again: %q, %v", data, err)
	}
}

func TestAnotherFormatIsRefused(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, formatFile), []byte("domicile blobs 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("got the error %v, want one that wraps ErrCorrupt", err)
	}
	if err := os.WriteFile(filepath.Join(root, formatFile), []byte(format), 0o600); err != nil {
		t.Fatal(err)
	}
	openTest(t, root)
}

// TestLayout holds where objects are, and that nobody else can read them.
func TestLayout(t *testing.T) {
	root := t.TempDir()
	b := openTest(t, root)
	for _, name := range []string{"0123abcd/drive-1/ff", "0123abcd", "a"} {
		if err := put(t.Context(), b, name, []byte("data")); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"objects/01/d-0123abcd/dr/d-drive-1/ff/o-ff", "objects/01/o-0123abcd", "objects/a/o-a"} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
	}
	err := filepath.WalkDir(filepath.Join(root, objectsDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v, %v", path, info.Mode(), err)
		}
		if strings.Trim(d.Name(), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("the name %q has bytes outside the alphabet", d.Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unfinished(t *testing.T, root string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, unfinishedDir))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestUnfinishedObjectsAreRemoved(t *testing.T) {
	root := t.TempDir()
	b := openTest(t, root)
	aborted, err := b.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	aborted.Abort()
	for _, name := range []string{"b", "b"} { // the second is refused
		_ = put(t.Context(), b, name, []byte("data"))
	}
	if n := unfinished(t, root); n != 0 {
		t.Fatalf("%d unfinished objects are left over", n)
	}
	left, err := b.Create(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := unfinished(t, root); n != 1 {
		t.Fatalf("%d unfinished objects, want one", n)
	}
	b = openTest(t, root)
	if n := unfinished(t, root); n != 0 {
		t.Fatalf("%d unfinished objects are left over", n)
	}
	if _, err := get(t.Context(), b, "c", 1); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the unfinished object: %v", err)
	}
}

// TestAReaderKeepsADeletedObject holds that a range which is being read is whole.
func TestAReaderKeepsADeletedObject(t *testing.T) {
	b := openTest(t, t.TempDir())
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	if err := put(t.Context(), b, "a", data); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), "a", 10, int64(len(data))-10)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data[10:]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Fatal("a closed reader was read")
	}
}

func TestADiskThatHangs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	err := bounded(ctx, func() error { <-release; return nil })
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got the error %v, want one that wraps ErrUnavailable and DeadlineExceeded", err)
	}
}

// TestSharedSyncs holds that whoever asks while a folder is being synced waits
// for a sync that begins after that.
func TestSharedSyncs(t *testing.T) {
	f := folders{root: t.TempDir()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := f.sync(f.root); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := f.sync(filepath.Join(f.root, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("syncing an absent folder: %v", err)
	}
	// Waiters are told before the folder is forgotten; one that stays hangs the test.
	for left := 1; left > 0; runtime.Gosched() {
		f.mu.Lock()
		left = len(f.syncing)
		f.mu.Unlock()
	}
}

// victim is the environment variable that makes the test program write objects
// into the folder that it names until it is killed.
const victim = "DOMICILE_TEST_DIR_VICTIM"

func TestMain(m *testing.M) {
	if root := os.Getenv(victim); root != "" {
		writeForEver(root)
	}
	os.Exit(m.Run())
}

// writeForEver writes objects, and says of each when it is committed. Its
// contents follow from its name.
func writeForEver(root string) {
	b, err := Open(root)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%02x/%d-%06d", i%7, w, i)
				err := put(context.Background(), b, name, contents(name))
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(name)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

func contents(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return bytes.Repeat([]byte(hex.EncodeToString(sum[:])), 1+int(sum[0]))
}

// TestAKilledProcess kills a process that writes objects and checks that each one
// it had committed is there, and each that is there is whole.
func TestAKilledProcess(t *testing.T) {
	kills := storetest.Sample(t, "kills", 3, 100)
	root := t.TempDir()
	objects := 0
	for k := range kills {
		root := filepath.Join(root, fmt.Sprint(k))
		committed := killed(t, root, 10+k%40)
		objects += len(committed)
		b := openTest(t, root)
		if n := unfinished(t, root); n != 0 {
			t.Fatalf("%d unfinished objects are left over", n)
		}
		there := map[string]bool{}
		err := b.List(t.Context(), "", func(name string) bool {
			there[name] = true
			want := contents(name)
			if got, err := get(t.Context(), b, name, int64(len(want))); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range committed {
			if !there[name] {
				t.Errorf("%s was committed and is not there", name)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d objects committed, all there", kills, objects)
}

// killed runs a process that writes objects, kills it after so many, and gives
// the names of all that it said it had committed.
func killed(t *testing.T, root string, after int) (committed []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Errorf("the process says %s", lines.Text())
		}
		committed = append(committed, lines.Text())
		if len(committed) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return committed
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 10, 4 << 20} {
		for _, callers := range []int{1, 8} {
			b.Run(fmt.Sprintf("bytes=%d/callers=%d", size, callers), func(b *testing.B) {
				blobs := openTest(b, b.TempDir())
				data := make([]byte, size)
				b.SetBytes(int64(size))
				next := make(chan int)
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for i := range next {
							if err := put(b.Context(), blobs, fmt.Sprintf("drive/%08x", i*0x9e3779b1&0xffffffff), data); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ResetTimer()
				for i := range b.N {
					next <- i
				}
				close(next)
				wg.Wait()
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	blobs := openTest(b, b.TempDir())
	const size = 4 << 20
	if err := put(b.Context(), blobs, "a", make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 256<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := blobs.Open(b.Context(), "a", 0, size)
		if err != nil {
			b.Fatal(err)
		}
		for range size / len(buf) {
			if _, err := io.ReadFull(r, buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
