package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// RunBlobs holds a backend against the contract of store.Blobs. open gives an
// empty store and closes it by t.Cleanup.
func RunBlobs(t *testing.T, open func(t *testing.T) store.Blobs) {
	for name, test := range blobTests {
		t.Run(name, func(t *testing.T) { test(blobFixture{t, contextFor(t), open(t)}) })
	}
}

type blobFixture struct {
	t     testing.TB
	ctx   context.Context
	blobs store.Blobs
}

func (f blobFixture) put(name string, data []byte) {
	f.t.Helper()
	w, err := f.blobs.Create(f.ctx, name)
	must(f.t, err)
	_, err = w.Write(data)
	must(f.t, err)
	must(f.t, w.Commit())
}

func (f blobFixture) read(name string, offset, length int64) ([]byte, error) {
	r, err := f.blobs.Open(f.ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func (f blobFixture) want(name string, want []byte) {
	f.t.Helper()
	got, err := f.read(name, 0, int64(len(want)))
	must(f.t, err)
	if !bytes.Equal(got, want) {
		f.t.Fatalf("object %q: got %d bytes that are not the %d wanted", name, len(got), len(want))
	}
	if got, err := f.read(name, int64(len(want)), 1); len(got) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		f.t.Fatalf("object %q has more than %d bytes: %d, %v", name, len(want), len(got), err)
	}
}

func (f blobFixture) wantNone(name string) {
	f.t.Helper()
	_, err := f.read(name, 0, 1)
	wantErr(f.t, err, store.ErrNotFound)
}

func (f blobFixture) list(prefix string) []string {
	f.t.Helper()
	var names []string
	must(f.t, f.blobs.List(f.ctx, prefix, func(n string) bool { names = append(names, n); return true }))
	return names
}

// names is objects' names in ascending byte order, as folders would not keep them.
var names = []string{
	"-", "--", "-/a", "0", "a", "a-", "a-b", "a-b/c", "a/-", "a/b", "a/b-", "a/b/c", "a/b/c/d", "a/b0", "a/bc", "a/bc/d", "a0",
	"a0/b", "aa", "aa-", "aa-/b", "aa/a", "aa0", "ab", "ab-c", "ab/a", "abc", "abc-d", "abc/d", "abcd", "b", "b/a", "z", "zz/zz",
}

var badNames = []string{
	"", "/", "/a", "a/", "a//b", "A", "aB", "a.b", ".", "..", "a/../b", "a_b", "a b", "ä", "a\x00", "a\n", "a\\b", "%61",
	strings.Repeat("a", 201),
}

var blobTests = map[string]func(blobFixture){
	"an absent object is not found": func(f blobFixture) {
		f.wantNone("a")
		must(f.t, f.blobs.Delete(f.ctx, "a"))
		f.put("a/b", []byte("data"))
		f.wantNone("a")
		f.wantNone("a/b/c")
		must(f.t, f.blobs.Delete(f.ctx, "a"))
		must(f.t, f.blobs.Delete(f.ctx, "a/b/c"))
		f.want("a/b", []byte("data"))
	},
	"an object is as it was written": func(f blobFixture) {
		f.put("empty", nil)
		f.want("empty", nil)
		large := make([]byte, 20<<20+1)
		for i := range large {
			large[i] = byte(i * 31 >> 7)
		}
		w, err := f.blobs.Create(f.ctx, "large")
		must(f.t, err)
		for part := range slices.Chunk(large, 256<<10+13) {
			n, err := w.Write(part)
			must(f.t, err)
			if n != len(part) {
				f.t.Fatalf("wrote %d of %d bytes without an error", n, len(part))
			}
		}
		must(f.t, w.Commit())
		f.want("large", large)
	},
	"a range is read": func(f blobFixture) {
		data := []byte("0123456789")
		f.put("a", data)
		for offset := range int64(11) {
			for length := range 11 - offset {
				got, err := f.read("a", offset, length)
				must(f.t, err)
				if !bytes.Equal(got, data[offset:offset+length]) {
					f.t.Fatalf("%d bytes from %d on are %q", length, offset, got)
				}
			}
		}
	},
	"a range past the end is an unexpected end": func(f blobFixture) {
		f.put("a", []byte("0123456789"))
		got, err := f.read("a", 8, 5)
		wantErr(f.t, err, io.ErrUnexpectedEOF)
		if string(got) != "89" {
			f.t.Fatalf("before the unexpected end came %q, want what there is", got)
		}
		for _, offset := range []int64{10, 11, 1 << 40} {
			_, err = f.read("a", offset, 1)
			wantErr(f.t, err, io.ErrUnexpectedEOF)
		}
	},
	"a range is not negative": func(f blobFixture) {
		f.put("a", []byte("0123456789"))
		for _, r := range [][2]int64{{-1, 1}, {0, -1}} {
			if _, err := f.read("a", r[0], r[1]); err == nil {
				f.t.Errorf("%d bytes from %d on were read", r[1], r[0])
			}
		}
	},
	"nothing is visible before it is committed": func(f blobFixture) {
		w, err := f.blobs.Create(f.ctx, "a")
		must(f.t, err)
		defer w.Abort()
		_, err = w.Write([]byte("data"))
		must(f.t, err)
		f.wantNone("a")
		if got := f.list(""); len(got) != 0 {
			f.t.Fatalf("an unfinished object is listed: %q", got)
		}
		must(f.t, w.Commit())
		f.want("a", []byte("data"))
		w.Abort()
		f.want("a", []byte("data"))
	},
	"an aborted object was never there": func(f blobFixture) {
		w, err := f.blobs.Create(f.ctx, "a")
		must(f.t, err)
		_, err = w.Write([]byte("data"))
		must(f.t, err)
		w.Abort()
		w.Abort()
		if w.Commit() == nil {
			f.t.Error("an aborted object was committed")
		}
		if _, err := w.Write(nil); err == nil {
			f.t.Error("an aborted object was written on")
		}
		f.wantNone("a")
	},
	"an object is never overwritten": func(f blobFixture) {
		first, err := f.blobs.Create(f.ctx, "a")
		must(f.t, err)
		f.put("a", []byte("old"))
		_, err = first.Write([]byte("new"))
		must(f.t, err)
		wantErr(f.t, first.Commit(), store.ErrExists)
		f.want("a", []byte("old"))
		must(f.t, f.blobs.Delete(f.ctx, "a"))
		f.wantNone("a")
		f.put("a", []byte("newer"))
		f.want("a", []byte("newer"))
	},
	"of several at once one wins": func(f blobFixture) {
		for round := range 10 {
			name := fmt.Sprintf("race/%d", round)
			var wins atomic.Int32
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					w, err := f.blobs.Create(f.ctx, name)
					if err == nil {
						_, err = w.Write(bytes.Repeat([]byte{byte(i)}, 100))
					}
					if err == nil {
						err = w.Commit()
					}
					switch {
					case err == nil:
						wins.Add(1)
					case !errors.Is(err, store.ErrExists):
						f.t.Error(err)
					}
				})
			}
			wg.Wait()
			if wins.Load() != 1 {
				f.t.Fatalf("%d writers committed, want one", wins.Load())
			}
			got, err := f.read(name, 0, 100)
			must(f.t, err)
			if !bytes.Equal(got, bytes.Repeat(got[:1], 100)) {
				f.t.Fatal("the object is a mixture")
			}
		}
	},
	"a reader keeps what it has opened": func(f blobFixture) {
		f.put("a", []byte("data"))
		r, err := f.blobs.Open(f.ctx, "a", 0, 4)
		must(f.t, err)
		got := make([]byte, 2)
		_, err = io.ReadFull(r, got)
		must(f.t, err)
		must(f.t, r.Close())
		if string(got) != "da" {
			f.t.Fatalf("got %q", got)
		}
	},
	"names are listed in ascending byte order": func(f blobFixture) {
		for i := range names {
			f.put(names[(i*11+5)%len(names)], []byte(names[i]))
		}
		if got := f.list(""); !slices.Equal(got, names) {
			f.t.Fatalf("got %q, want %q", got, names)
		}
		for _, prefix := range append([]string{"nothing", "a/b/", "aa-/", "a//", "A", "zz/"}, names...) {
			var want []string
			for _, n := range names {
				if strings.HasPrefix(n, prefix) {
					want = append(want, n)
				}
			}
			if got := f.list(prefix); !slices.Equal(got, want) {
				f.t.Fatalf("with the prefix %q: got %q, want %q", prefix, got, want)
			}
		}
		calls := 0
		must(f.t, f.blobs.List(f.ctx, "a", func(string) bool { calls++; return calls < 3 }))
		if calls != 3 {
			f.t.Fatalf("yield was called %d times, want 3", calls)
		}
		for _, n := range names {
			must(f.t, f.blobs.Delete(f.ctx, n))
			f.wantNone(n)
		}
		if got := f.list(""); len(got) != 0 {
			f.t.Fatalf("after all were deleted there are %q", got)
		}
	},
	"names have bounds": func(f blobFixture) {
		longest := strings.Repeat("a", 100) + "/" + strings.Repeat("b", 99)
		f.put(longest, []byte("data"))
		f.put(strings.Repeat("c", 200), []byte("data"))
		f.want(longest, []byte("data"))
		for _, name := range badNames {
			if w, err := f.blobs.Create(f.ctx, name); err == nil {
				w.Abort()
				f.t.Errorf("Create took the name %q", name)
			}
			if _, err := f.blobs.Open(f.ctx, name, 0, 0); err == nil {
				f.t.Errorf("Open took the name %q", name)
			}
			if f.blobs.Delete(f.ctx, name) == nil {
				f.t.Errorf("Delete took the name %q", name)
			}
		}
	},
	"a context that has ended": func(f blobFixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		w, err := f.blobs.Create(ctx, "a")
		must(f.t, err)
		defer w.Abort()
		cancel()
		wantErr(f.t, w.Commit(), store.ErrUnavailable)
		_, err = f.blobs.Create(ctx, "b")
		wantErr(f.t, err, store.ErrUnavailable)
		_, err = f.blobs.Open(ctx, "b", 0, 1)
		wantErr(f.t, err, store.ErrUnavailable)
		wantErr(f.t, f.blobs.Delete(ctx, "b"), store.ErrUnavailable)
		wantErr(f.t, f.blobs.List(ctx, "", func(string) bool { return true }), store.ErrUnavailable)
	},
}

// RunDirectory holds a backend against the contract of store.Directory. open
// gives an empty directory and closes it by t.Cleanup.
func RunDirectory(t *testing.T, open func(t *testing.T) store.Directory) {
	for name, test := range directoryTests {
		t.Run(name, func(t *testing.T) { test(t, contextFor(t), open(t)) })
	}
}

func placement(region residency.Region, epoch uint64) store.Placement {
	return store.Placement{
		Region: region, Cluster: string(region) + "-1", Epoch: epoch, State: store.PlacementReserved,
		Time: time.Unix(1_700_000_000, 123_456_789).UTC(),
	}
}

func wantPlacement(t testing.TB, got store.Placement, err error, want store.Placement) {
	t.Helper()
	must(t, err)
	same := got.Time.Equal(want.Time)
	got.Time = want.Time
	if !same || got != want {
		t.Fatalf("got the placement %+v, want %+v", got, want)
	}
}

var directoryTests = map[string]func(testing.TB, context.Context, store.Directory){
	"an absent tenant is not found": func(t testing.TB, ctx context.Context, d store.Directory) {
		_, err := d.Find(ctx, tenant(1))
		wantErr(t, err, store.ErrNotFound)
		wantErr(t, d.Update(ctx, tenant(1), store.Placement{}, placement("ch", 1)), store.ErrConflict)
		wantErr(t, d.Update(ctx, tenant(1), placement("ch", 1), placement("ch", 2)), store.ErrConflict)
		_, err = d.Find(ctx, tenant(1))
		wantErr(t, err, store.ErrNotFound)
	},
	"a placement is reserved once": func(t testing.TB, ctx context.Context, d store.Directory) {
		first := placement("ch", 1)
		got, err := d.Reserve(ctx, tenant(1), first)
		wantPlacement(t, got, err, first)
		got, err = d.Reserve(ctx, tenant(1), placement("us", 9))
		wantErr(t, err, store.ErrExists)
		wantPlacement(t, got, nil, first)
		got, err = d.Find(ctx, tenant(1))
		wantPlacement(t, got, err, first)
		_, err = d.Find(ctx, tenant(2))
		wantErr(t, err, store.ErrNotFound)
	},
	"a placement is replaced if it still is what it was": func(t testing.TB, ctx context.Context, d store.Directory) {
		old := placement("ch", 1)
		_, err := d.Reserve(ctx, tenant(1), old)
		must(t, err)
		for _, wrong := range []func(*store.Placement){
			func(p *store.Placement) { p.Region = "us" }, func(p *store.Placement) { p.Cluster = "CH-1" },
			func(p *store.Placement) { p.Epoch++ }, func(p *store.Placement) { p.State = store.PlacementActive },
			func(p *store.Placement) { p.Time = p.Time.Add(1) },
		} {
			not := old
			wrong(&not)
			wantErr(t, d.Update(ctx, tenant(1), not, placement("us", 7)), store.ErrConflict)
		}
		moved := placement("us", 2)
		moved.State = store.PlacementActive
		same := old
		same.Time = same.Time.In(time.FixedZone("", 3600))
		must(t, d.Update(ctx, tenant(1), same, moved))
		got, err := d.Find(ctx, tenant(1))
		wantPlacement(t, got, err, moved)
		wantErr(t, d.Update(ctx, tenant(1), old, moved), store.ErrConflict)
		wantTenants(t, ctx, d, "ch", store.Tenant{})
		wantTenants(t, ctx, d, "us", store.Tenant{}, tenant(1))
	},
	"of several at once one wins": func(t testing.TB, ctx context.Context, d store.Directory) {
		var wins, swaps atomic.Int32
		var wg sync.WaitGroup
		for i := range uint64(8) {
			wg.Go(func() {
				if _, err := d.Reserve(ctx, tenant(1), placement("ch", i)); err == nil {
					wins.Add(1)
				} else if !errors.Is(err, store.ErrExists) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		there, err := d.Find(ctx, tenant(1))
		must(t, err)
		for i := range uint64(8) {
			wg.Go(func() {
				if err := d.Update(ctx, tenant(1), there, placement("ch", 100+i)); err == nil {
					swaps.Add(1)
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 || swaps.Load() != 1 {
			t.Fatalf("%d reserved and %d replaced, want one each", wins.Load(), swaps.Load())
		}
	},
	"the tenants of a region are listed in order": func(t testing.TB, ctx context.Context, d store.Directory) {
		var ch []store.Tenant
		for _, n := range []byte{0xff, 3, 0x80, 1, 0x41, 0x61} {
			_, err := d.Reserve(ctx, tenant(n), placement("ch", uint64(n)))
			must(t, err)
			_, err = d.Reserve(ctx, store.Tenant{n, 1}, placement("c", 1))
			must(t, err)
			ch = append(ch, tenant(n))
		}
		slices.SortFunc(ch, func(a, b store.Tenant) int { return bytes.Compare(a[:], b[:]) })
		wantTenants(t, ctx, d, "ch", store.Tenant{}, ch...)
		wantTenants(t, ctx, d, "ch", ch[1], ch[2:]...)
		wantTenants(t, ctx, d, "ch", store.Tenant{3, 15: 2}, ch[1:]...)
		wantTenants(t, ctx, d, "ch", ch[5])
		wantTenants(t, ctx, d, "us", store.Tenant{})
		calls := 0
		must(t, d.List(ctx, "ch", store.Tenant{}, func(id store.Tenant, p store.Placement) bool {
			wantPlacement(t, p, nil, placement("ch", uint64(id[0])))
			calls++
			return calls < 2
		}))
		if calls != 2 {
			t.Fatalf("yield was called %d times, want 2", calls)
		}
	},
	"a context that has ended": func(t testing.TB, ctx context.Context, d store.Directory) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err := d.Find(ended, tenant(1))
		wantErr(t, err, store.ErrUnavailable)
		_, err = d.Reserve(ended, tenant(1), placement("ch", 1))
		wantErr(t, err, store.ErrUnavailable)
		wantErr(t, d.Update(ended, tenant(1), placement("ch", 1), placement("ch", 2)), store.ErrUnavailable)
		_, err = d.Find(ctx, tenant(1))
		wantErr(t, err, store.ErrNotFound)
	},
}

func wantTenants(t testing.TB, ctx context.Context, d store.Directory, r residency.Region, after store.Tenant, want ...store.Tenant) {
	t.Helper()
	var got []store.Tenant
	must(t, d.List(ctx, r, after, func(id store.Tenant, _ store.Placement) bool { got = append(got, id); return true }))
	if !slices.Equal(got, want) {
		t.Fatalf("region %s after %v has %v, want %v", r, after, got, want)
	}
}

// RunKeys holds a backend against the contract of store.Keys. open gives an
// empty key store and closes it by t.Cleanup.
func RunKeys(t *testing.T, open func(t *testing.T) store.Keys) {
	for name, test := range keyTests {
		t.Run(name, func(t *testing.T) { test(t, contextFor(t), open(t)) })
	}
}

func wantKey(t testing.TB, ctx context.Context, k store.Keys, name, want string) {
	t.Helper()
	got, err := k.Get(ctx, name)
	must(t, err)
	if string(got) != want {
		t.Fatalf("key %q is %q, want %q", name, got, want)
	}
}

func wantNoKey(t testing.TB, ctx context.Context, k store.Keys, name string) {
	t.Helper()
	_, err := k.Get(ctx, name)
	wantErr(t, err, store.ErrNotFound)
}

func create(t testing.TB, ctx context.Context, k store.Keys, name string) {
	t.Helper()
	got, err := k.Create(ctx, name, []byte("key "+name))
	must(t, err)
	if string(got) != "key "+name {
		t.Fatalf("Create gave %q", got)
	}
}

var keyTests = map[string]func(testing.TB, context.Context, store.Keys){
	"a key is created once": func(t testing.TB, ctx context.Context, k store.Keys) {
		wantNoKey(t, ctx, k, "a")
		create(t, ctx, k, "a")
		got, err := k.Create(ctx, "a", []byte("another"))
		wantErr(t, err, store.ErrExists)
		if string(got) != "key a" {
			t.Fatalf("Create gave %q, want the key that is there", got)
		}
		wantKey(t, ctx, k, "a", "key a")
		must(t, k.Ping(ctx))
	},
	"names are any bytes and compared byte for byte": func(t testing.TB, ctx context.Context, k store.Keys) {
		all := []string{"", strings.Repeat("\xff", 64), strings.Repeat("a", 64)}
		for _, id := range awkward {
			all = append(all, string(id))
		}
		for _, name := range all {
			create(t, ctx, k, name)
		}
		for _, name := range all {
			wantKey(t, ctx, k, name, "key "+name)
		}
		long := strings.Repeat("a", 65)
		if _, err := k.Create(ctx, long, nil); err == nil {
			t.Error("a name of 65 bytes was taken")
		}
		if _, err := k.Get(ctx, long); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("a name of 65 bytes gave %v", err)
		}
	},
	"a prefix is destroyed and nothing else": func(t testing.TB, ctx context.Context, k store.Keys) {
		gone := []string{"ab", "abc", "ab\x00", "ab\xff", "ab\xff\xff"}
		kept := []string{"", "a", "a\xff", "AB", "Ab", "ac", "b", "aab"}
		for _, name := range slices.Concat(gone, kept) {
			create(t, ctx, k, name)
		}
		must(t, k.Destroy(ctx, "ab"))
		must(t, k.Destroy(ctx, "not there"))
		for _, name := range gone {
			wantNoKey(t, ctx, k, name)
		}
		for _, name := range kept {
			wantKey(t, ctx, k, name, "key "+name)
		}
		create(t, ctx, k, "ab")
		wantKey(t, ctx, k, "ab", "key ab")
		must(t, k.Destroy(ctx, "a\xff"))
		wantNoKey(t, ctx, k, "a\xff")
		wantKey(t, ctx, k, "b", "key b")
		must(t, k.Destroy(ctx, ""))
		for _, name := range append(kept, "ab") {
			wantNoKey(t, ctx, k, name)
		}
	},
	"a prefix of the highest bytes is destroyed": func(t testing.TB, ctx context.Context, k store.Keys) {
		create(t, ctx, k, "\xff\xff\xff")
		create(t, ctx, k, "\xff")
		must(t, k.Destroy(ctx, "\xff\xff"))
		wantNoKey(t, ctx, k, "\xff\xff\xff")
		wantKey(t, ctx, k, "\xff", "key \xff")
	},
	"keys are listed in byte order": func(t testing.TB, ctx context.Context, k store.Keys) {
		for _, name := range []string{"b", "ab\xff", "ab", "a", "ab\x00", "B", "ac"} {
			create(t, ctx, k, name)
		}
		list := func(prefix string, most int) (names []string) {
			t.Helper()
			must(t, k.List(ctx, prefix, func(name string, wrapped []byte) bool {
				if string(wrapped) != "key "+name {
					t.Errorf("key %q is listed as %q", name, wrapped)
				}
				names = append(names, name)
				return len(names) < most
			}))
			return names
		}
		if got, want := list("ab", 10), []string{"ab", "ab\x00", "ab\xff"}; !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		if got, want := list("", 3), []string{"B", "a", "ab"}; !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		must(t, k.Destroy(ctx, "ab"))
		if got := list("ab", 10); got != nil {
			t.Errorf("listed %q, which are destroyed", got)
		}
		if err := k.List(ctx, strings.Repeat("a", 65), func(string, []byte) bool { return true }); err == nil {
			t.Error("a prefix of 65 bytes was taken")
		}
	},
	"of several at once one wins": func(t testing.TB, ctx context.Context, k store.Keys) {
		var wins atomic.Int32
		var wg sync.WaitGroup
		got := make([]string, 16)
		for i := range got {
			wg.Go(func() {
				w, err := k.Create(ctx, "a", []byte{byte(i)})
				if err == nil {
					wins.Add(1)
				} else if !errors.Is(err, store.ErrExists) {
					t.Error(err)
				}
				got[i] = string(w)
			})
		}
		wg.Wait()
		there, err := k.Get(ctx, "a")
		must(t, err)
		for i := range got {
			if got[i] != string(there) {
				t.Fatalf("Create gave %q, but the key is %q", got[i], there)
			}
		}
		if wins.Load() != 1 {
			t.Fatalf("%d created the key, want one", wins.Load())
		}
	},
	"slices belong to who made or got them": func(t testing.TB, ctx context.Context, k store.Keys) {
		wrapped := []byte("key")
		got, err := k.Create(ctx, "a", wrapped)
		must(t, err)
		wrapped[0], got[0] = 'X', 'Y'
		again, err := k.Get(ctx, "a")
		must(t, err)
		again[0] = 'Z'
		wantKey(t, ctx, k, "a", "key")
	},
	"a context that has ended": func(t testing.TB, ctx context.Context, k store.Keys) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err := k.Create(ended, "a", nil)
		wantErr(t, err, store.ErrUnavailable)
		_, err = k.Get(ended, "a")
		wantErr(t, err, store.ErrUnavailable)
		wantErr(t, k.Destroy(ended, "a"), store.ErrUnavailable)
		wantErr(t, k.Ping(ended), store.ErrUnavailable)
		wantNoKey(t, ctx, k, "a")
	},
}
