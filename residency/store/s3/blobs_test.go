package s3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// options says how a test's server is reached.
func options(s *storetest.S3Server) Options {
	return Options{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region, Insecure: true,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey, pause: 10 * time.Millisecond,
	}
}

func openTest(t testing.TB, o Options) *Blobs {
	t.Helper()
	b, err := Open(t.Context(), o)
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
	server := storetest.StartS3(t)
	n := 0
	storetest.RunBlobs(t, func(t *testing.T) store.Blobs {
		o := options(server)
		o.page = 4
		o.Prefix = fmt.Sprintf("test/%d", n)
		n++
		return openTest(t, o)
	})
}

// TestAListThatIsCutShort holds that a listing whose context ends says so, between
// two answers of the server too.
func TestAListThatIsCutShort(t *testing.T) {
	server := storetest.StartS3(t)
	o := options(server)
	o.page = 1
	b := openTest(t, o)
	for _, name := range []string{"a", "b", "c"} {
		if err := put(t.Context(), b, name, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var names []string
	err := b.List(ctx, "", func(name string) bool {
		names = append(names, name)
		cancel()
		return true
	})
	if !errors.Is(err, store.ErrUnavailable) || len(names) != 1 {
		t.Errorf("listed %q: %v", names, err)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	good := Options{Endpoint: "s3.example.com", Bucket: "b", AccessKey: "a", SecretKey: "s"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Options){
		"no endpoint":            func(o *Options) { o.Endpoint = "" },
		"a URL":                  func(o *Options) { o.Endpoint = "https://s3.example.com" },
		"credentials in a host":  func(o *Options) { o.Endpoint = "a:b@s3.example.com" },
		"no bucket":              func(o *Options) { o.Bucket = "" },
		"a prefix with a slash":  func(o *Options) { o.Prefix = "a/" },
		"a prefix that leads up": func(o *Options) { o.Prefix = "../a" },
		"no access key":          func(o *Options) { o.AccessKey = "" },
		"no secret key":          func(o *Options) { o.SecretKey = "" },
		"plain HTTP elsewhere":   func(o *Options) { o.Insecure = true },
		"little memory":          func(o *Options) { o.Memory = minMemory - 1 },
	} {
		o := good
		spoil(&o)
		if _, err := Open(t.Context(), o); err == nil || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: got the error %v, want a refusal", what, err)
		}
	}
}

// TestServersThatAreRefused opens buckets of servers that break one promise each.
func TestServersThatAreRefused(t *testing.T) {
	server := storetest.StartS3(t)
	openTest(t, options(server)) // writes the format
	answer := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			fmt.Fprint(w, body)
		}
	}
	for what, lie := range map[string]struct {
		to     func(*http.Request) bool
		answer func(http.ResponseWriter)
		says   string
	}{
		"replaces on PutObject": {
			func(r *http.Request) bool { return r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "" },
			answer(""), "If-None-Match",
		},
		"replaces on CompleteMultipartUpload": {
			func(r *http.Request) bool { return r.Method == http.MethodPost && r.Header.Get("If-None-Match") != "" },
			answer("<CompleteMultipartUploadResult><Bucket>objects</Bucket><ETag>e</ETag></CompleteMultipartUploadResult>"), "If-None-Match",
		},
		"takes a wrong checksum": {
			func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, probeKey)
			},
			answer(""), "checksum",
		},
		"is versioned": {
			func(r *http.Request) bool { return r.URL.Query().Has("versioning") },
			answer("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"), "versioned",
		},
		"was versioned": {
			func(r *http.Request) bool { return r.URL.Query().Has("versioning") },
			answer("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"), "versioned",
		},
	} {
		front := newFront(t, server.Endpoint, false, func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			if !lie.to(r) {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			lie.answer(w)
			return true
		})
		o := options(server)
		o.Endpoint = front.endpoint()
		b, err := Open(t.Context(), o)
		if err == nil {
			_ = b.Close()
		}
		if err == nil || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), lie.says) {
			t.Errorf("a server that %s: %v", what, err)
		}
	}
}

func TestAnotherFormatIsRefused(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	if err := b.remove(t.Context(), formatKey); err != nil {
		t.Fatal(err)
	}
	w := b.create(t.Context(), formatKey)
	if _, err := io.WriteString(w, "domicile s3 blobs 2\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), options(server)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got the error %v, want one that wraps ErrCorrupt", err)
	}
}

// TestClosed holds that a bucket is given up, also with an upload half way.
func TestClosed(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	w, err := b.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(pattern(partSize + 1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	w.Abort()
	if err := put(t.Context(), b, "b", nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Create after Close: %v", err)
	}
	again := openTest(t, options(server))
	wantNoUploads(t, again)
	if got := list(t, again); len(got) > 0 {
		t.Errorf("there are %q", got)
	}
}

// TestConflictsOfLargeObjects holds for objects of several parts what the suite
// holds for small ones.
func TestConflictsOfLargeObjects(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range byte(4) {
		wg.Go(func() {
			err := put(t.Context(), b, "a", bytes.Repeat([]byte{i}, partSize+1000))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers committed, want one", won.Load())
	}
	got, err := get(t.Context(), b, "a", partSize+1000)
	if err != nil || !bytes.Equal(got, bytes.Repeat(got[:1], partSize+1000)) {
		t.Errorf("%d bytes, or a mixture: %v", len(got), err)
	}
	wantNoUploads(t, b)
}

// TestMemoryIsBounded writes 64 MiB, and then by many writers at once, within the
// least memory that is allowed.
func TestMemoryIsBounded(t *testing.T) {
	server := storetest.StartS3(t)
	o := options(server)
	o.Memory = minMemory
	b := openTest(t, o)
	piece := pattern(1 << 20)
	var before, now runtime.MemStats
	for range 3 { // what earlier tests left in pools goes too
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	most := uint64(0)
	w, err := b.Create(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	t.Logf("writing 64 MiB took at most %d KiB", most>>10)
	if most > minMemory+4<<20 {
		t.Errorf("writing 64 MiB took %d bytes", most)
	}
	want(t, b, "large", bytes.Repeat(piece, 64))

	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := put(t.Context(), b, fmt.Sprintf("many/%d", i), pattern(partSize+1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(b.memory.parts); n != 0 {
		t.Errorf("memory for %d parts was not given back", n)
	}
}

// TestSweep holds that old uploads are removed, and neither young ones nor objects are.
func TestSweep(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	wantNoUploads(t, b)
	if err := put(t.Context(), b, "object", pattern(1000)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w, err := b.Create(t.Context(), fmt.Sprintf("orphan/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(pattern(partSize + 1)); err != nil {
			t.Fatal(err)
		}
		if err := w.(*writer).wait(); err != nil {
			t.Fatal(err)
		}
		w.(*writer).upload = "" // forgotten, as by a process that died
		w.Abort()
	}
	if err := openTest(t, options(server)).Close(); err != nil { // sweeps, but these are young
		t.Fatal(err)
	}
	for _, sweep := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-orphanAge), 0}, {time.Now().Add(time.Minute), 3}, {time.Now().Add(time.Minute), 0}} {
		if n, err := b.sweep(t.Context(), sweep.before); n != sweep.want || err != nil {
			t.Errorf("%d uploads were removed, %v; want %d", n, err, sweep.want)
		}
	}
	wantNoUploads(t, b)
	want(t, b, "object", pattern(1000))
}

// victim is the environment variable that makes the test program write objects,
// by the options that it holds, until it is killed.
const victim = "DOMICILE_TEST_S3_VICTIM"

func TestMain(m *testing.M) {
	if o := os.Getenv(victim); o != "" {
		writeForEver(o)
	}
	os.Exit(m.Run())
}

// writeForEver writes objects, and says of each when it is committed. Its
// contents follow from its name.
func writeForEver(encoded string) {
	var o Options
	err := json.Unmarshal([]byte(encoded), &o)
	var b *Blobs
	if err == nil {
		b, err = Open(context.Background(), o)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for w := range 2 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d/%d-%06d", os.Getpid(), w, i)
				if err := put(context.Background(), b, name, contents(name)); err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(name)
				}
			}
		}()
	}
	select {}
}

// contents is what an object holds; every fourth is sent in two parts.
func contents(name string) []byte {
	size := 1000
	if name[len(name)-1]%4 == 1 {
		size = partSize + 1000
	}
	return bytes.Repeat([]byte(name), size/len(name)+1)
}

// TestAKilledClient kills a process that writes objects and checks that each one
// it had committed is there, each that is there is whole, and of the others nothing is left after a sweep.
func TestAKilledClient(t *testing.T) {
	server := storetest.StartS3(t)
	o := options(server)
	b := openTest(t, o)
	kills, objects := storetest.Sample(t, "kills", 3, 100), 0
	for k := range kills {
		committed := killed(t, o, 5+k%11)
		objects += len(committed)
		there := map[string]bool{}
		for _, name := range list(t, b) {
			there[name] = true
			want(t, b, name, contents(name))
			if err := b.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range committed {
			if !there[name] {
				t.Errorf("%s was committed and is not there", name)
			}
		}
		if _, err := b.sweep(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		wantNoUploads(t, b)
	}
	t.Logf("%d kills, %d objects committed, all there", kills, objects)
}

// killed runs a process that writes objects, kills it after so many, and gives
// the names of all that it said it had committed.
func killed(t *testing.T, o Options, after int) (committed []string) {
	t.Helper()
	encoded, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+string(encoded))
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
