package seal_test

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// memoryKeys is a key store in memory that can be made to fail and to wait.
type memoryKeys struct {
	mu      sync.Mutex
	wrapped map[string][]byte
	gets    int
	fail    error                     // every call fails with it, having done nothing
	lost    error                     // every write fails with it, having been done
	onGet   func(ctx context.Context) // called by Get after the key was read, unlocked
}

var _ store.Keys = (*memoryKeys)(nil)

func newMemoryKeys() *memoryKeys { return &memoryKeys{wrapped: map[string][]byte{}} }

func (m *memoryKeys) Get(ctx context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	m.gets++
	wrapped, ok := m.wrapped[name]
	fail, onGet := m.fail, m.onGet
	m.mu.Unlock()
	if onGet != nil {
		onGet(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case fail != nil:
		return nil, fail
	case !ok:
		return nil, store.ErrNotFound
	}
	return wrapped, nil
}

func (m *memoryKeys) Create(_ context.Context, name string, wrapped []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	if old, ok := m.wrapped[name]; ok {
		return old, store.ErrExists
	}
	m.wrapped[name] = wrapped
	return nil, m.lost
}

func (m *memoryKeys) Destroy(_ context.Context, prefix string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	maps.DeleteFunc(m.wrapped, func(name string, _ []byte) bool { return strings.HasPrefix(name, prefix) })
	return m.lost
}

func (m *memoryKeys) List(_ context.Context, prefix string, yield func(string, []byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, name := range slices.Sorted(maps.Keys(m.wrapped)) {
		if strings.HasPrefix(name, prefix) && !yield(name, m.wrapped[name]) {
			return nil
		}
	}
	return nil
}

func (m *memoryKeys) Ping(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail
}

func (m *memoryKeys) set(fail, lost error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.lost = fail, lost
}

// clock is a clock that moves when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_793_664_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var (
	ctx      = context.Background()
	tenantA  = store.Tenant{0xaa, 1}
	tenantB  = store.Tenant{0xbb, 2}
	subject1 = store.ID("subject-00000001")
	subject2 = store.ID("subject-00000002")
	drive1   = store.ID("drive-0000000001")
	drive2   = store.ID("drive-0000000002")
)

func newRing(t testing.TB) seal.Keyring {
	t.Helper()
	ring, err := seal.OpenFileKeyring(filepath.Join(t.TempDir(), "ring"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newVault(t testing.TB) *seal.Vault {
	return seal.NewVault("ch", newRing(t), newMemoryKeys(), seal.Options{})
}

// must gives v of a call that cannot fail here.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func tenantKeys(t testing.TB, v *seal.Vault, tenant store.Tenant) *seal.TenantKeys {
	t.Helper()
	return must(v.CreateTenant(ctx, tenant))(t)
}

func subjectKeys(t testing.TB, v *seal.Vault, tenant store.Tenant, subject store.ID) *seal.SubjectKeys {
	t.Helper()
	return must(v.CreateSubject(ctx, tenantKeys(t, v, tenant), subject))(t)
}

func driveKeys(t testing.TB, v *seal.Vault, tenant store.Tenant, drive store.ID) *seal.DriveKeys {
	t.Helper()
	return must(v.CreateDrive(ctx, tenantKeys(t, v, tenant), drive))(t)
}

func personal(t store.Tenant) seal.Permit {
	return seal.NewPermit(t, residency.PersonalInformation, "")
}
func driveData(t store.Tenant) seal.Permit {
	return seal.NewPermit(t, residency.VirtualDriveData, "")
}

// wantKind checks an error's kind, and that it echoes nothing of what was sealed.
func wantKind(t testing.TB, err error, kind residency.Kind, what string) {
	t.Helper()
	if err == nil || residency.KindOf(err) != kind {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("%s: the error echoes what was sealed: %v", what, err)
	}
}

const canary = "Canary Muster, canary@example.ch"

var errDown = errors.New("key store is down")

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	return must(hex.DecodeString(s))(t)
}
