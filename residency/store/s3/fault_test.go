package s3

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// pattern gives bytes no two blocks of which are alike.
func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i>>16 ^ i*31>>7 ^ i)
	}
	return data
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%s: got the error %v, want one that wraps ErrUnavailable", what, err)
	}
	for _, other := range []error{store.ErrNotFound, store.ErrExists, store.ErrCorrupt, io.ErrUnexpectedEOF} {
		if errors.Is(err, other) {
			t.Errorf("%s: the error %v says %v too", what, err, other)
		}
	}
}

func want(t *testing.T, b *Blobs, name string, data []byte) {
	t.Helper()
	if got, err := get(t.Context(), b, name, int64(len(data))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
	}
}

func list(t *testing.T, b *Blobs) (names []string) {
	t.Helper()
	if err := b.List(t.Context(), "", func(n string) bool { names = append(names, n); return true }); err != nil {
		t.Fatal(err)
	}
	return names
}

// uploads counts the uploads that are not completed.
func uploads(t *testing.T, b *Blobs) int {
	t.Helper()
	page, err := b.api.ListMultipartUploads(t.Context(), b.bucket, b.root, "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Uploads)
}

// wantNoUploads waits for what is removed on the side.
func wantNoUploads(t *testing.T, b *Blobs) {
	t.Helper()
	n := uploads(t, b)
	for late := time.Now().Add(abortTimeout); n > 0 && time.Now().Before(late); n = uploads(t, b) {
		time.Sleep(10 * time.Millisecond)
	}
	if n > 0 {
		t.Errorf("%d unfinished uploads are left over", n)
	}
}

// TestServerStoppedAndBack stops the server while objects are being written and
// read: everything is unavailable, and nothing that was there is lost.
func TestServerStoppedAndBack(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	ctx := t.Context()
	small, large := pattern(100_000), pattern(2*partSize+1)
	for name, data := range map[string][]byte{"old/small": small, "old/large": large} {
		if err := put(ctx, b, name, data); err != nil {
			t.Fatal(err)
		}
	}
	begun, err := b.Create(ctx, "begun")
	if err != nil {
		t.Fatal(err)
	}
	defer begun.Abort()
	if _, err := begun.Write(small); err != nil {
		t.Fatal(err)
	}
	parts, err := b.Create(ctx, "parts")
	if err != nil {
		t.Fatal(err)
	}
	defer parts.Abort()
	if _, err := parts.Write(large); err != nil {
		t.Fatal(err)
	}
	reader, err := b.Open(ctx, "old/large", 0, int64(len(large)))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()

	server.Stop()
	_, err = io.ReadAll(reader)
	wantUnavailable(t, "Read", err)
	wantUnavailable(t, "Create and Commit", put(ctx, b, "new", small))
	wantUnavailable(t, "Commit of parts", parts.Commit())
	_, err = b.Open(ctx, "old/small", 0, 1)
	wantUnavailable(t, "Open", err)
	_, err = b.Open(ctx, "old/small", 0, 0)
	wantUnavailable(t, "Open of nothing", err)
	wantUnavailable(t, "Delete", b.Delete(ctx, "old/small"))
	wantUnavailable(t, "List", b.List(ctx, "", func(string) bool { return true }))
	_, err = b.sweep(ctx, time.Now())
	wantUnavailable(t, "a sweep", err)
	if _, err := Open(ctx, options(server)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Open while the server is down: %v", err)
	}

	server.Start()
	if got := list(t, b); fmt.Sprint(got) != "[old/large old/small]" {
		t.Errorf("after the server is back there are %q", got)
	}
	want(t, b, "old/small", small)
	want(t, b, "old/large", large)
	if err := begun.Commit(); err != nil {
		t.Errorf("an object that was begun before: %v", err)
	}
	want(t, b, "begun", small)
	if err := put(ctx, b, "new", small); err != nil {
		t.Error(err)
	}
	if _, err := b.sweep(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	wantNoUploads(t, b)
}

func TestConnectionsCutWhileSending(t *testing.T) {
	server := storetest.StartS3(t)
	direct := openTest(t, options(server))
	for what, data := range map[string][]byte{"at-once": pattern(4 << 20), "in-parts": pattern(2*partSize + 1)} {
		relay := newRelay(t, server.Endpoint)
		o := options(server)
		o.Endpoint = relay.address
		b := openTest(t, o)
		w, err := b.Create(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		sending, whole := cut{up: 1 << 20, down: math.MaxInt64}, cut{math.MaxInt64, math.MaxInt64}
		relay.set(sending, sending, whole, sending)
		before := relay.connections()
		_, err = w.Write(data)
		if err = errors.Join(err, w.Commit()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := relay.connections() - before; n < 3 {
			t.Errorf("%s: %d connections: none was cut", what, n)
		}
		want(t, direct, what, data)

		relay.set(slices.Repeat([]cut{sending}, 100)...)
		wantUnavailable(t, what, put(t.Context(), b, what+"/never", data))
	}
	if got := list(t, direct); fmt.Sprint(got) != "[at-once in-parts]" {
		t.Errorf("there are %q", got)
	}
	sweepWhenQuiet(t, direct)
	wantNoUploads(t, direct)
}

// sweepWhenQuiet sweeps once the server is done with what it got of requests that were cut: it may answer an internal error while
// it still gives one of them up.
func sweepWhenQuiet(t *testing.T, b *Blobs) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = b.sweep(t.Context(), time.Now().Add(time.Hour)); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestConnectionsCutWhileReading(t *testing.T) {
	server := storetest.StartS3(t)
	relay := newRelay(t, server.Endpoint)
	o := options(server)
	o.Endpoint = relay.address
	b := openTest(t, o)
	data := pattern(4<<20 + 1)
	if err := put(t.Context(), b, "a", data); err != nil {
		t.Fatal(err)
	}
	reading := cut{up: math.MaxInt64, down: 1 << 20}
	relay.set(slices.Repeat([]cut{reading}, 100)...)
	before := relay.connections()
	want(t, b, "a", data)
	if n := relay.connections() - before; n < 5 {
		t.Errorf("%d connections: none was cut", n)
	}

	relay.set(slices.Concat([]cut{reading}, make([]cut, 100))...)
	got, err := get(t.Context(), b, "a", int64(len(data)))
	wantUnavailable(t, "a read that is cut for good", err)
	if !bytes.Equal(got, data[:len(got)]) || len(got) == 0 || len(got) == len(data) {
		t.Errorf("got %d bytes before", len(got))
	}
}

// TestAnswersWithoutTheirBytes holds that a connection which breaks again and again
// before the first byte is no object that is shorter than it should be.
func TestAnswersWithoutTheirBytes(t *testing.T) {
	server := storetest.StartS3(t)
	var begun atomic.Int32
	front := newFront(t, server.Endpoint, false, func(f *front, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/a") {
			return false
		}
		begun.Add(1)
		answer := httptest.NewRecorder()
		f.pass.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	o := options(server)
	o.Endpoint = front.endpoint()
	b := openTest(t, o)
	if err := put(t.Context(), b, "a", pattern(1000)); err != nil {
		t.Fatal(err)
	}
	got, err := get(t.Context(), b, "a", 1000)
	wantUnavailable(t, "an answer without its bytes", err)
	if len(got) > 0 || begun.Load() != attempts {
		t.Errorf("%d bytes after %d answers", len(got), begun.Load())
	}
}

// TestAnotherObjectMeanwhile holds that a read which goes on over a new
// connection never gives bytes of two objects.
func TestAnotherObjectMeanwhile(t *testing.T) {
	server := storetest.StartS3(t)
	relay := newRelay(t, server.Endpoint)
	o := options(server)
	o.Endpoint = relay.address
	b, direct := openTest(t, o), openTest(t, options(server))
	old := pattern(8 << 20)
	if err := put(t.Context(), direct, "a", old); err != nil {
		t.Fatal(err)
	}
	relay.set(slices.Repeat([]cut{{up: math.MaxInt64, down: 1 << 20}}, 100)...)
	r, err := b.Open(t.Context(), "a", 10, int64(len(old))-10)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := direct.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), direct, "a", make([]byte, len(old))); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got the error %v, want one that wraps ErrNotFound", err)
	}
	if !bytes.Equal(got, old[10:10+len(got)]) {
		t.Error("the bytes are a mixture")
	}
}

// TestLostAnswers lets the server do what it was asked and loses its answer:
// done twice, it is still done once, and whoever did it hears of success.
func TestLostAnswers(t *testing.T) {
	server := storetest.StartS3(t)
	var lost atomic.Int32
	front := newFront(t, server.Endpoint, false, func(f *front, _ http.ResponseWriter, r *http.Request) bool {
		conditional := r.Header.Get("If-None-Match") != ""
		if (conditional || r.Method == http.MethodDelete) && strings.Contains(r.URL.Path, "lossy") && lost.Add(1)%2 == 1 {
			f.lose(r)
		}
		return false
	})
	o := options(server)
	o.Endpoint = front.endpoint()
	b := openTest(t, o)
	for name, data := range map[string][]byte{"lossy/small": pattern(1000), "lossy/large": pattern(partSize + 1)} {
		if err := put(t.Context(), b, name, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want(t, b, name, data)
		if err := put(t.Context(), b, name, make([]byte, len(data))); !errors.Is(err, store.ErrExists) {
			t.Errorf("%s, a second time: %v", name, err)
		}
		want(t, b, name, data)
		if err := b.Delete(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lost.Load() < 6 {
		t.Errorf("%d requests that could lose their answer", lost.Load())
	}
	if got := list(t, b); len(got) > 0 {
		t.Errorf("there are %q", got)
	}
	wantNoUploads(t, b)
}

func TestDamagedObjects(t *testing.T) {
	server := storetest.StartS3(t)
	b := openTest(t, options(server))
	for name, size := range map[string]int{"small": 1000, "large": partSize + 1000} {
		data := pattern(size)
		if err := put(t.Context(), b, name, data); err != nil {
			t.Fatal(err)
		}
		want(t, b, name, data)
		file := filepath.Join(server.Folder(), objectsKey, name)
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{^data[17]}, 17); err != nil {
			t.Fatal(err)
		}
		got, err := get(t.Context(), b, name, int64(size))
		if !errors.Is(err, store.ErrCorrupt) || len(got) == size {
			t.Errorf("%s with a byte changed: %d bytes of %d, %v", name, len(got), size, err)
		}
		if _, err := f.WriteAt(data[17:18], 17); err != nil {
			t.Fatal(err)
		}
		want(t, b, name, data)
		if err := errors.Join(f.Truncate(int64(size)-1), f.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context(), b, name, int64(size)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s cut short: %v", name, err)
		}
	}
}

// TestServersThatHang holds that every call returns by its context's deadline, and
// without one when nothing has moved for a while.
func TestServersThatHang(t *testing.T) {
	server := storetest.StartS3(t)
	hang := make(chan struct{})
	var hanging atomic.Bool
	front := newFront(t, server.Endpoint, false, func(*front, http.ResponseWriter, *http.Request) bool {
		if hanging.Load() {
			<-hang
		}
		return false
	})
	defer close(hang)
	o := options(server)
	o.Endpoint = front.endpoint()
	patient := openTest(t, o)
	o.idle = 100 * time.Millisecond
	b := openTest(t, o)
	if err := put(t.Context(), b, "a", pattern(1000)); err != nil {
		t.Fatal(err)
	}
	hanging.Store(true)
	calls := map[string]func(*Blobs, context.Context) error{
		"Commit": func(b *Blobs, ctx context.Context) error { return put(ctx, b, "b", pattern(1000)) },
		"a part": func(b *Blobs, ctx context.Context) error { return put(ctx, b, "b", pattern(partSize+1)) },
		"Open": func(b *Blobs, ctx context.Context) error {
			_, err := b.Open(ctx, "a", 0, 1)
			return err
		},
		"Delete": func(b *Blobs, ctx context.Context) error { return b.Delete(ctx, "a") },
		"List":   func(b *Blobs, ctx context.Context) error { return b.List(ctx, "", func(string) bool { return true }) },
	}
	var wg sync.WaitGroup
	for what, call := range calls {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := call(patient, ctx)
			wantUnavailable(t, what, err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the error %v does not say that the deadline has passed", what, err)
			}
		})
		wg.Go(func() { wantUnavailable(t, what+" without a deadline", call(b, t.Context())) })
	}
	wg.Wait()
}

// TestTLS holds that a server is believed only when its certificate is.
func TestTLS(t *testing.T) {
	server := storetest.StartS3(t)
	front := newFront(t, server.Endpoint, true, nil)
	o := options(server)
	o.Endpoint, o.Insecure = front.endpoint(), false
	if _, err := Open(t.Context(), o); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(front.Certificate())
	b := openTest(t, o)
	data := pattern(partSize + 1)
	if err := put(t.Context(), b, "a", data); err != nil {
		t.Fatal(err)
	}
	want(t, b, "a", data)
}

// TestErrorsQuoteNothing provokes errors of all sorts and looks for names,
// addresses and credentials in them.
func TestErrorsQuoteNothing(t *testing.T) {
	server := storetest.StartS3(t)
	o := options(server)
	b := openTest(t, o)
	ctx := t.Context()
	if err := put(ctx, b, "canary/object", nil); err != nil {
		t.Fatal(err)
	}
	provoke := func(b *Blobs) (errs []error) {
		_, err := b.Open(ctx, "canary/other", 0, 1)
		errs = append(errs, err, put(ctx, b, "canary/object", nil), b.List(ctx, "canary", func(string) bool { return true }))
		_, err = b.Open(ctx, "canary/object", 0, 0)
		return append(errs, err, put(ctx, b, "canary/large", pattern(partSize+1)), b.Delete(ctx, "canary/object"))
	}
	errs := provoke(b)
	wrong := o
	wrong.SecretKey = "canary-secret"
	_, err := Open(ctx, wrong)
	errs = append(errs, err)
	wrong = o
	wrong.Bucket = "canary-bucket"
	_, err = Open(ctx, wrong)
	errs = append(errs, err)
	wrong = o
	wrong.Region = "canary-region"
	_, err = Open(ctx, wrong)
	errs = append(errs, err)
	front := newFront(t, server.Endpoint, false, func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "canary") {
			http.Error(w, "canary "+r.URL.Path+r.Header.Get("Authorization"), http.StatusTeapot)
		}
		return strings.Contains(r.URL.Path, "canary")
	})
	o.Endpoint = front.endpoint()
	errs = append(errs, provoke(openTest(t, o))...)
	server.Stop()
	errs = append(errs, provoke(b)...)

	host, port, _ := net.SplitHostPort(server.Endpoint)
	failed := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		failed++
		for _, secret := range []string{"canary", server.AccessKey, server.SecretKey, server.Bucket + "/", host, port} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error %q quotes %q", err, secret)
			}
		}
	}
	if failed < 15 {
		t.Errorf("%d errors were provoked", failed)
	}
}
