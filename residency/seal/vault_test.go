package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

func TestCreateIsIdempotent(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	first := seal.NewVault("ch", ring, keys, seal.Options{})
	second := seal.NewVault("ch", ring, keys, seal.Options{})
	p := personal(tenantA)
	sealed := must(subjectKeys(t, first, tenantA, subject1).Seal(p, store.KindRecord, record, 1, []byte("x")))(t)
	again := subjectKeys(t, second, tenantA, subject1)
	if _, _, err := again.Open(p, store.KindRecord, record, sealed); err != nil {
		t.Error(err)
	}
	if again.Pseudonym() != subjectKeys(t, first, tenantA, subject1).Pseudonym() {
		t.Error("one subject has two pseudonyms")
	}
	if len(keys.wrapped) != 2 {
		t.Errorf("%d keys are stored, want the tenant's and the subject's", len(keys.wrapped))
	}
}

func TestAbsentKeys(t *testing.T) {
	v := newVault(t)
	_, err := v.Tenant(ctx, tenantA)
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("tenant: %v", err)
	}
	wantKind(t, err, residency.NotFound, "an absent tenant")
	tk := tenantKeys(t, v, tenantA)
	if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("subject: %v", err)
	}
	if _, err := v.Drive(ctx, tk, drive1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("drive: %v", err)
	}
	if n := v.Cached(); n != 1 {
		t.Errorf("%d keys are cached, want the tenant's alone", n)
	}
}

func TestMisuse(t *testing.T) {
	v := newVault(t)
	tk := tenantKeys(t, v, tenantA)
	foreign := tenantKeys(t, seal.NewVault("us", newRing(t), newMemoryKeys(), seal.Options{}), tenantA)
	long := store.ID(make([]byte, 47))
	for name, f := range map[string]func() error{
		"the zero tenant":            func() error { _, err := v.Tenant(ctx, store.Tenant{}); return err },
		"no tenant's subject":        func() error { _, err := v.Subject(ctx, nil, subject1); return err },
		"no tenant's drive":          func() error { _, err := v.CreateDrive(ctx, nil, drive1); return err },
		"another region's":           func() error { _, err := v.CreateSubject(ctx, foreign, subject1); return err },
		"no subject":                 func() error { _, err := v.CreateSubject(ctx, tk, ""); return err },
		"a long subject":             func() error { _, err := v.CreateSubject(ctx, tk, long); return err },
		"a long drive":               func() error { _, err := v.Drive(ctx, tk, long); return err },
		"destroying the zero tenant": func() error { return v.DestroyTenant(ctx, store.Tenant{}) },
		"destroying every subject":   func() error { return v.DestroySubject(ctx, tenantA, "") },
		"destroying every drive":     func() error { return v.DestroyDrive(ctx, tenantA, "") },
		"destroying nobody's drive":  func() error { return v.DestroyDrive(ctx, store.Tenant{}, drive1) },
	} {
		wantKind(t, f(), residency.Internal, name)
	}
}

// TestManyCreateOne: of many creations at once, in two processes, all get the same keys.
func TestManyCreateOne(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	vaults := []*seal.Vault{seal.NewVault("ch", ring, keys, seal.Options{}), seal.NewVault("ch", ring, keys, seal.Options{})}
	names, segments := make([]string, 64), make([][]byte, 64)
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() {
			v := vaults[i%2]
			tk, err := v.CreateTenant(ctx, tenantA)
			if err != nil {
				t.Error(err)
				return
			}
			sk, err1 := v.CreateSubject(ctx, tk, subject1)
			dk, err2 := v.CreateDrive(ctx, tk, drive1)
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
				return
			}
			names[i] = tk.Pseudonym() + sk.Pseudonym() + fmt.Sprintf("%x", tk.ID("x"))
			segments[i], err = dk.SealSegment(driveData(tenantA), nil, "chunk", 0, []byte(canary))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	dk := driveKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA, drive1)
	for i := range names {
		if _, err := dk.OpenSegment(driveData(tenantA), nil, "chunk", 0, segments[i]); err != nil {
			t.Errorf("creation %d gave another drive key: %v", i, err)
		}
		if names[i] != names[0] {
			t.Errorf("creation %d gave other keys than creation 0", i)
		}
	}
	if len(keys.wrapped) != 3 {
		t.Errorf("%d keys are stored, want 3", len(keys.wrapped))
	}
}

// TestCreationOvertaken: a key that another process made between this one's look and its
// own creation is the key.
func TestCreationOvertaken(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	other := seal.NewVault("ch", ring, keys, seal.Options{})
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	var theirs *seal.TenantKeys
	keys.onGet = func(context.Context) {
		keys.onGet = nil
		theirs = tenantKeys(t, other, tenantA)
	}
	ours, err := v.CreateTenant(ctx, tenantA)
	if err != nil || ours.Pseudonym() != theirs.Pseudonym() || ours.ID("x") != theirs.ID("x") {
		t.Errorf("got other keys than the process that was first: %v", err)
	}
}

// TestOneLoadForMany: misses of one key at once ask the key store once.
func TestOneLoadForMany(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	tenantKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA)
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	release := make(chan struct{})
	keys.gets, keys.onGet = 0, func(context.Context) { <-release }
	var wg, asked sync.WaitGroup
	for range 32 {
		asked.Add(1)
		wg.Go(func() {
			asked.Done()
			if _, err := v.Tenant(ctx, tenantA); err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	close(release)
	wg.Wait()
	if keys.gets != 1 {
		t.Errorf("the key store was asked %d times, want once", keys.gets)
	}
}

// TestAgeOfCachedKeys: a key is served at most 60 s after it was asked for,
// whatever is asked of MaxAge, and not longer for being used.
func TestAgeOfCachedKeys(t *testing.T) {
	for _, c := range []struct{ asked, want time.Duration }{
		{0, 60 * time.Second}, {time.Hour, 60 * time.Second}, {-1, 60 * time.Second}, {5 * time.Second, 5 * time.Second},
	} {
		clk, keys := newClock(), newMemoryKeys()
		v := seal.NewVault("ch", newRing(t), keys, seal.Options{Clock: clk.Now, MaxAge: c.asked})
		tk := tenantKeys(t, v, tenantA)
		subjectKeys(t, v, tenantA, subject1)
		driveKeys(t, v, tenantA, drive1)
		keys.set(errDown, nil)
		for range 4 {
			if _, err := v.Subject(ctx, tk, subject1); err != nil {
				t.Errorf("MaxAge %v: the key store's failure is seen at once: %v", c.asked, err)
			}
			clk.advance(c.want / 4)
			if left := 3; v.Cached() != left && clk.Now().Sub(newClock().now) < c.want {
				t.Errorf("MaxAge %v: %d keys are cached, want %d", c.asked, v.Cached(), left)
			}
		}
		_, err := v.Tenant(ctx, tenantA)
		wantKind(t, err, residency.KeysUnavailable, "tenant")
		_, err = v.Subject(ctx, tk, subject1)
		wantKind(t, err, residency.KeysUnavailable, "subject")
		_, err = v.Drive(ctx, tk, drive1)
		wantKind(t, err, residency.KeysUnavailable, "drive")
		if !errors.Is(err, errDown) {
			t.Errorf("the cause is lost: %v", err)
		}
		if n := v.Cached(); n != 0 {
			t.Errorf("MaxAge %v: %d keys are cached after it", c.asked, n)
		}
		keys.set(nil, nil)
		if _, err := v.Subject(ctx, tk, subject1); err != nil {
			t.Errorf("MaxAge %v: the key store is back, but: %v", c.asked, err)
		}
	}
}

// TestAgeCountsFromTheRequest: the time that the key store took counts.
func TestAgeCountsFromTheRequest(t *testing.T) {
	clk, keys := newClock(), newMemoryKeys()
	keys.onGet = func(context.Context) { clk.advance(59 * time.Second / 2) } // for the key and for the erasure ledger
	v := seal.NewVault("ch", newRing(t), keys, seal.Options{Clock: clk.Now})
	tenantKeys(t, v, tenantA)
	if v.Cached() != 1 {
		t.Fatal("the key is not cached")
	}
	clk.advance(time.Second)
	if v.Cached() != 0 {
		t.Error("the key is cached for longer than 60 s after it was asked for")
	}
}

// TestClockBackwards: a clock that went backwards extends nothing.
func TestClockBackwards(t *testing.T) {
	clk, keys := newClock(), newMemoryKeys()
	v := seal.NewVault("ch", newRing(t), keys, seal.Options{Clock: clk.Now})
	tenantKeys(t, v, tenantA)
	keys.set(errDown, nil)
	clk.advance(-time.Nanosecond)
	_, err := v.Tenant(ctx, tenantA)
	wantKind(t, err, residency.KeysUnavailable, "after the clock went backwards")
}

func TestCacheIsBounded(t *testing.T) {
	keys := newMemoryKeys()
	v := seal.NewVault("ch", newRing(t), keys, seal.Options{MaxKeys: 10})
	tk := tenantKeys(t, v, tenantA)
	keys.gets = 0
	for i := range 50 {
		must(v.CreateSubject(ctx, tk, store.ID(fmt.Sprint("subject-", i))))(t)
		must(v.Tenant(ctx, tenantA))(t) // in use, so it stays
		if n := v.Cached(); n > 10 {
			t.Fatalf("%d keys are cached, at most 10 should be", n)
		}
	}
	if keys.gets != 100 { // for the key and for the erasure ledger
		t.Errorf("the key store was asked %d times, want twice for each subject: what is in use must stay", keys.gets)
	}
	keys.gets = 0
	must(v.Tenant(ctx, tenantA))(t)
	for i := 41; i < 50; i++ {
		must(v.Subject(ctx, tk, store.ID(fmt.Sprint("subject-", i))))(t)
	}
	if keys.gets != 0 {
		t.Errorf("%d of the keys used last were dropped", keys.gets)
	}
}

// TestUnstableKeyStore: creations that failed, and such that failed but persisted, are repeated
// with one outcome.
func TestUnstableKeyStore(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	keys.set(errDown, nil)
	_, err := v.CreateTenant(ctx, tenantA)
	wantKind(t, err, residency.KeysUnavailable, "the key store is down")
	if len(keys.wrapped) != 0 || v.Cached() != 0 {
		t.Error("a failed creation left something")
	}
	keys.set(nil, errDown)
	_, err = v.CreateTenant(ctx, tenantA)
	wantKind(t, err, residency.KeysUnavailable, "the answer was lost")
	keys.set(nil, nil)
	tk := must(v.CreateTenant(ctx, tenantA))(t)
	other := must(seal.NewVault("ch", ring, keys, seal.Options{}).Tenant(ctx, tenantA))(t)
	if tk.Pseudonym() != other.Pseudonym() || len(keys.wrapped) != 1 {
		t.Error("the repeated creation made another key")
	}
	wantKind(t, func() error { keys.set(errDown, nil); return v.DestroyTenant(ctx, tenantA) }(), residency.KeysUnavailable, "destroying failed")
	keys.set(nil, nil)
	if got := must(v.Tenant(ctx, tenantA))(t); got.Pseudonym() != tk.Pseudonym() {
		t.Error("a destruction that failed changed the key")
	}
	keys.set(nil, errDown)
	wantKind(t, v.DestroyTenant(ctx, tenantA), residency.KeysUnavailable, "the answer to destroying was lost")
	keys.set(nil, nil)
	if _, err := v.Tenant(ctx, tenantA); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("destroyed, answer lost: %v", err)
	}
	if err := v.DestroyTenant(ctx, tenantA); err != nil {
		t.Errorf("destroying again: %v", err)
	}
}

// TestWrappedKeysAreBound: a wrapped key that was changed or belongs elsewhere is none.
func TestWrappedKeysAreBound(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	subjectKeys(t, v, tenantA, subject1)
	subjectKeys(t, v, tenantA, subject2)
	driveKeys(t, v, tenantA, drive1)
	tenantKeys(t, v, tenantB)
	subjectKeys(t, v, tenantB, subject1)
	for name, original := range keys.wrapped {
		load := func() error {
			v, tenant := seal.NewVault("ch", ring, keys, seal.Options{}), store.Tenant([]byte(name[:16]))
			tk, err := v.Tenant(ctx, tenant)
			if err != nil || len(name) == 17 {
				return err
			}
			if name[16] == 2 {
				_, err = v.Subject(ctx, tk, store.ID(name[18:]))
			} else {
				_, err = v.Drive(ctx, tk, store.ID(name[18:]))
			}
			return err
		}
		if err := load(); err != nil {
			t.Fatal(err)
		}
		everyFlip(original, func(at int, b []byte) {
			if at%7 != 0 {
				return
			}
			keys.wrapped[name] = b
			wantKind(t, load(), residency.KeysUnavailable, fmt.Sprintf("bit %d", at))
		})
		for other, wrapped := range keys.wrapped {
			if other != name {
				keys.wrapped[name] = wrapped
				wantKind(t, load(), residency.KeysUnavailable, "another key's place")
			}
		}
		keys.wrapped[name] = nil
		wantKind(t, load(), residency.KeysUnavailable, "emptied")
		keys.wrapped[name] = original
	}
}

func TestDestroyMakesUnreadable(t *testing.T) {
	ring, keys, clk := newRing(t), newMemoryKeys(), newClock()
	here := seal.NewVault("ch", ring, keys, seal.Options{Clock: clk.Now})
	there := seal.NewVault("ch", ring, keys, seal.Options{Clock: clk.Now})
	near := subject1[:15] // whose id is the beginning of another's
	for _, v := range []*seal.Vault{here, there} {
		subjectKeys(t, v, tenantA, subject1)
		subjectKeys(t, v, tenantA, subject2)
		subjectKeys(t, v, tenantA, near)
		driveKeys(t, v, tenantA, drive1)
		driveKeys(t, v, tenantA, drive2)
		subjectKeys(t, v, tenantB, subject1)
	}
	tk := tenantKeys(t, here, tenantA)
	absent := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	subject := func(v *seal.Vault, s store.ID) error { _, err := v.Subject(ctx, tk, s); return err }
	drive := func(v *seal.Vault, d store.ID) error { _, err := v.Drive(ctx, tk, d); return err }

	if err := errors.Join(here.DestroySubject(ctx, tenantA, near), here.DestroyDrive(ctx, tenantA, drive1)); err != nil {
		t.Fatal(err)
	}
	absent("the destroyed subject", subject(here, near))
	absent("the destroyed drive", drive(here, drive1))
	if err := errors.Join(subject(here, subject1), subject(here, subject2), drive(here, drive2), subject(there, near)); err != nil {
		t.Errorf("others: %v", err)
	}
	clk.advance(seal.MaxAge)
	absent("the destroyed subject, in another process", subject(there, near))

	if err := here.DestroyTenant(ctx, tenantA); err != nil {
		t.Fatal(err)
	}
	_, err := here.Tenant(ctx, tenantA)
	absent("the destroyed tenant", err)
	absent("its subject", subject(here, subject1))
	absent("its drive", drive(here, drive2))
	if len(keys.wrapped) != 2 {
		t.Errorf("%d keys are left, want the other tenant's two", len(keys.wrapped))
	}
	if _, err := here.Subject(ctx, tenantKeys(t, here, tenantB), subject1); err != nil {
		t.Errorf("the other tenant's subject: %v", err)
	}
}

// TestNewKeyOpensNothingOld: what was sealed before a destruction stays sealed after a new creation.
func TestNewKeyOpensNothingOld(t *testing.T) {
	v, p := newVault(t), personal(tenantA)
	before := subjectKeys(t, v, tenantA, subject1)
	sealed := must(before.Seal(p, store.KindRecord, record, 1, []byte(canary)))(t)
	if err := v.DestroySubject(ctx, tenantA, subject1); err != nil {
		t.Fatal(err)
	}
	after := subjectKeys(t, v, tenantA, subject1)
	_, _, err := after.Open(p, store.KindRecord, record, sealed)
	wantKind(t, err, residency.IntegrityFailure, "sealed before the destruction")
	if before.Pseudonym() == after.Pseudonym() || bytes.Equal(before.ObjectPseudonym(record), after.ObjectPseudonym(record)) {
		t.Error("a pseudonym outlived the key")
	}
}

// TestDestroyDuringLoad: a load that had read the key before it was destroyed
// leaves nothing in the cache, and nobody who asks later joins it.
func TestDestroyDuringLoad(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	subjectKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA, subject1)
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	tk := tenantKeys(t, v, tenantA)
	read, release := make(chan struct{}), make(chan struct{})
	keys.onGet = func(context.Context) { close(read); <-release }
	early := make(chan error)
	go func() {
		_, err := v.Subject(ctx, tk, subject1)
		early <- err
	}()
	<-read
	keys.mu.Lock()
	keys.onGet = nil
	keys.mu.Unlock()
	if err := v.DestroySubject(ctx, tenantA, subject1); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("while the old load runs: %v", err)
	}
	close(release)
	if err := <-early; err != nil {
		t.Errorf("the load that began before: %v", err)
	}
	if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the old load: %v", err)
	}
}

// TestEndOfAnothersContext: the end of the request that loads a key fails nobody else.
func TestEndOfAnothersContext(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	tenantKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA)
	synctest.Test(t, func(t *testing.T) {
		v := seal.NewVault("ch", ring, keys, seal.Options{})
		var once sync.Once
		keys.onGet = func(c context.Context) { once.Do(func() { <-c.Done() }) }
		impatient, cancel := context.WithCancel(ctx)
		led, followed := make(chan error, 1), make(chan error, 1)
		go func() { _, err := v.Tenant(impatient, tenantA); led <- err }()
		synctest.Wait() // the leader waits for the key store
		go func() { _, err := v.Tenant(ctx, tenantA); followed <- err }()
		synctest.Wait() // the follower waits for the leader
		dead, kill := context.WithCancel(ctx)
		kill()
		_, err := v.Tenant(dead, tenantA)
		wantKind(t, err, residency.KeysUnavailable, "one whose own context has ended")
		cancel()
		err = <-led
		wantKind(t, err, residency.KeysUnavailable, "the leader")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the leader: %v", err)
		}
		if err := <-followed; err != nil {
			t.Errorf("the follower: %v", err)
		}
	})
}

// brokenRing derives and unwraps things of the wrong length, or fails.
type brokenRing struct {
	seal.Keyring
	derive int
	fail   error
}

func (r brokenRing) DriveRoot(c context.Context, info []byte) ([]byte, error) {
	return make([]byte, r.derive), r.fail
}

func (r brokenRing) Wrap(c context.Context, root seal.Root, ad, key []byte) ([]byte, error) {
	if r.fail != nil {
		return nil, r.fail
	}
	return r.Keyring.Wrap(c, root, ad, key[:r.derive])
}

func TestBrokenKeyring(t *testing.T) {
	for name, r := range map[string]brokenRing{
		"wrong lengths": {newRing(t), 31, nil},
		"down":          {newRing(t), 32, errDown},
		"damaged":       {newRing(t), 32, residency.E("kms", residency.IntegrityFailure, errDown)},
	} {
		v := seal.NewVault("ch", r, newMemoryKeys(), seal.Options{})
		_, err := v.CreateTenant(ctx, tenantA)
		wantKind(t, err, residency.KeysUnavailable, name)
	}
	ring, keys := newRing(t), newMemoryKeys()
	tk := tenantKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA)
	_, err := seal.NewVault("ch", brokenRing{ring, 31, nil}, keys, seal.Options{}).CreateDrive(ctx, tk, drive1)
	wantKind(t, err, residency.KeysUnavailable, "a drive root of 31 bytes")
}

func TestPing(t *testing.T) {
	keys := newMemoryKeys()
	v := seal.NewVault("ch", newRing(t), keys, seal.Options{})
	if err := v.Ping(ctx); err != nil {
		t.Error(err)
	}
	keys.set(errDown, nil)
	wantKind(t, v.Ping(ctx), residency.KeysUnavailable, "key store down")
	v = seal.NewVault("ch", brokenRing{newRing(t), 32, errDown}, newMemoryKeys(), seal.Options{})
	wantKind(t, v.Ping(ctx), residency.KeysUnavailable, "keyring down")
}

func BenchmarkTenantCached(b *testing.B) {
	v := newVault(b)
	tenantKeys(b, v, tenantA)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Tenant(ctx, tenantA)
	}
}

func BenchmarkSubjectCached(b *testing.B) {
	v := newVault(b)
	tk := tenantKeys(b, v, tenantA)
	subjectKeys(b, v, tenantA, subject1)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Subject(ctx, tk, subject1)
	}
}

// BenchmarkSubjectMiss reads a subject's key from a key store in memory each time.
func BenchmarkSubjectMiss(b *testing.B) {
	v := seal.NewVault("ch", newRing(b), newMemoryKeys(), seal.Options{MaxKeys: 1})
	tk := tenantKeys(b, v, tenantA)
	subjects := []store.ID{subject1, subject2}
	for _, s := range subjects {
		must(v.CreateSubject(ctx, tk, s))(b)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		_, _ = v.Subject(ctx, tk, subjects[i%2])
	}
}

// BenchmarkTenantMiss reads a tenant's key from a key store in memory each time.
func BenchmarkTenantMiss(b *testing.B) {
	v := seal.NewVault("ch", newRing(b), newMemoryKeys(), seal.Options{MaxKeys: 1})
	tenants := []store.Tenant{tenantA, tenantB}
	for _, t := range tenants {
		must(v.CreateTenant(ctx, t))(b)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		_, _ = v.Tenant(ctx, tenants[i%2])
	}
}
