package seal_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// verified is a tenant with a person and a drive, whose keys are stored.
type verified struct {
	keys    *memoryKeys
	vault   *seal.Vault
	tenant  store.Tenant
	tk      *seal.TenantKeys
	subject *seal.SubjectKeys
	drive   *seal.DriveKeys
}

func newVerified(t *testing.T) *verified {
	t.Helper()
	ring, err := seal.OpenFileKeyring(filepath.Join(t.TempDir(), "ring"))
	if err != nil {
		t.Fatal(err)
	}
	v := &verified{keys: newMemoryKeys(), tenant: store.Tenant{1, 2, 3}}
	v.vault = seal.NewVault("ch", ring, v.keys, seal.Options{})
	if v.tk, err = v.vault.CreateTenant(t.Context(), v.tenant); err != nil {
		t.Fatal(err)
	}
	if v.subject, err = v.vault.CreateSubject(t.Context(), v.tk, "person"); err != nil {
		t.Fatal(err)
	}
	if v.drive, err = v.vault.CreateDrive(t.Context(), v.tk, "drive"); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyARow(t *testing.T) {
	v := newVerified(t)
	permit := seal.NewPermit(v.tenant, residency.PersonalInformation, "")
	sealed, err := v.subject.Seal(permit, store.KindRecord, "row", 7, []byte("canary"))
	if err != nil {
		t.Fatal(err)
	}
	if version, err := v.subject.Verify(store.KindRecord, "row", sealed); err != nil || version != 7 {
		t.Fatalf("version %d, %v", version, err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := v.subject.Verify(store.KindRecord, "row", changed); residency.KindOf(err) != residency.IntegrityFailure {
			t.Fatalf("byte %d was changed: %v", i, err)
		}
	}
	if _, err := v.subject.Verify(store.KindRecord, "another", sealed); residency.KindOf(err) != residency.IntegrityFailure {
		t.Fatalf("a moved row: %v", err)
	}
}

func TestVerifyASegment(t *testing.T) {
	v := newVerified(t)
	permit := seal.NewPermit(v.tenant, residency.VirtualDriveData, "")
	sealed, err := v.drive.SealSegment(permit, nil, "chunk", 3, []byte("canary"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := v.drive.VerifySegment("chunk", 3, sealed); err != nil || n != len("canary") {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := v.drive.VerifySegment("chunk", 3, changed); residency.KindOf(err) != residency.IntegrityFailure {
			t.Fatalf("byte %d was changed: %v", i, err)
		}
	}
	for name, verify := range map[string]func() (int, error){
		"another chunk":   func() (int, error) { return v.drive.VerifySegment("other", 3, sealed) },
		"another segment": func() (int, error) { return v.drive.VerifySegment("chunk", 4, sealed) },
		"nothing":         func() (int, error) { return v.drive.VerifySegment("chunk", 3, nil) },
	} {
		if _, err := verify(); residency.KindOf(err) != residency.IntegrityFailure {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stored gives the errors of the stored keys by kind.
func (v *verified) stored(t *testing.T) map[seal.KeyKind]error {
	t.Helper()
	out := make(map[seal.KeyKind]error)
	err := v.vault.StoredKeys(t.Context(), func(k seal.StoredKey) bool {
		if k.Tenant != v.tenant {
			t.Errorf("a key of the tenant %s", k.Tenant)
		}
		out[k.Kind] = k.Err
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// names gives the names of the stored keys: the tenant's, the person's, the drive's.
func (v *verified) names() []string { return slices.Sorted(maps.Keys(v.keys.wrapped)) }

func TestStoredKeysUnwrap(t *testing.T) {
	v := newVerified(t)
	if err := v.vault.EraseSubject(t.Context(), v.tenant, "somebody", []byte("note")); err != nil { // an entry of the ledger is no key
		t.Fatal(err)
	}
	got := v.stored(t)
	if want := (map[seal.KeyKind]error{seal.TenantKey: nil, seal.SubjectKey: nil, seal.DriveKey: nil}); !maps.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
}

func TestStoredKeysThatAreDamaged(t *testing.T) {
	for i, kind := range []seal.KeyKind{seal.TenantKey, seal.SubjectKey, seal.DriveKey} {
		v := newVerified(t)
		name := v.names()[i]
		v.keys.wrapped[name] = bytes.Clone(v.keys.wrapped[name])
		v.keys.wrapped[name][20] ^= 1
		got := v.stored(t)
		for k, err := range got {
			switch {
			case k == kind && !seal.Damaged(err):
				t.Errorf("a damaged key of kind %d: %v", k, err)
			case k != kind && kind == seal.TenantKey && !errors.Is(err, seal.ErrNoTenantKey):
				t.Errorf("a key of kind %d under a damaged one: %v", k, err)
			case k != kind && kind != seal.TenantKey && err != nil:
				t.Errorf("a key of kind %d beside a damaged one: %v", k, err)
			}
		}
	}
	v := newVerified(t)
	names := v.names()
	w := v.keys.wrapped
	w[names[1]], w[names[2]] = w[names[2]], w[names[1]]
	if got := v.stored(t); !seal.Damaged(got[seal.SubjectKey]) || !seal.Damaged(got[seal.DriveKey]) {
		t.Errorf("keys that changed places: %v", got)
	}
	delete(w, names[0])
	if got := v.stored(t); len(got) != 2 || !errors.Is(got[seal.SubjectKey], seal.ErrNoTenantKey) {
		t.Errorf("without the tenant's key: %v", got)
	}
}

func TestStoredKeysOfAKeyStoreThatFails(t *testing.T) {
	v := newVerified(t)
	v.keys.set(store.ErrUnavailable, nil)
	err := v.vault.StoredKeys(t.Context(), func(seal.StoredKey) bool { return true })
	if residency.KindOf(err) != residency.KeysUnavailable || seal.Damaged(err) {
		t.Fatalf("got %v", err)
	}
	v.keys.set(nil, nil)
	v.keys.wrapped["short"] = nil
	if err := v.vault.StoredKeys(t.Context(), func(seal.StoredKey) bool { return true }); err == nil {
		t.Fatal("a key without a proper name was passed over")
	}
}

func TestReadFileKeyringMakesNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "root")
	if _, err := seal.ReadFileKeyring(file); err == nil {
		t.Fatal("a keyring that is not there was read")
	}
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(file)), "*")); len(found) != 0 {
		t.Fatalf("it made %v", found)
	}
	if _, err := seal.OpenFileKeyring(file); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.ReadFileKeyring(file); err != nil {
		t.Fatal(err)
	}
}
