package seal_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

func ledger(t *testing.T, v *seal.Vault) (out []string) {
	t.Helper()
	err := v.Ledger(ctx, func(e seal.Erased) bool {
		out = append(out, fmt.Sprintf("%x %s %s", e.Tenant[:2], e.Subject, e.Note))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Who was erased gets no key again, in another process neither, and everybody else does.
func TestErased(t *testing.T) {
	keys, ring := newMemoryKeys(), newRing(t)
	open := func() *seal.Vault { return seal.NewVault("ch", ring, keys, seal.Options{}) }
	v := open()
	tk, err := v.CreateTenant(ctx, tenantA)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []store.ID{subject1, subject2} {
		if _, err := v.CreateSubject(ctx, tk, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(v.EraseSubject(ctx, tenantA, subject1, []byte("first")), v.EraseSubject(ctx, tenantA, subject1, []byte("again"))); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*seal.Vault{"here": v, "elsewhere": open()} {
		tk, err := v.Tenant(ctx, tenantA)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: an erased subject's key: %v", name, err)
		}
		if _, err := v.CreateSubject(ctx, tk, subject1); residency.KindOf(err) != residency.Erased {
			t.Errorf("%s: an erased subject is given a key: %v", name, err)
		}
		if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: the refused key stayed: %v", name, err)
		}
		if _, err := v.CreateSubject(ctx, tk, subject2); err != nil {
			t.Errorf("%s: another subject: %v", name, err)
		}
	}
	if err := v.EraseTenant(ctx, tenantA, []byte("all")); err != nil {
		t.Fatal(err)
	}
	if _, err := open().CreateTenant(ctx, tenantA); residency.KindOf(err) != residency.Erased {
		t.Errorf("an erased tenant is given a key: %v", err)
	}
	if _, err := open().CreateTenant(ctx, tenantB); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	want := []string{"aa01  all", "aa01 subject-00000001 first"}
	if got := ledger(t, v); !slices.Equal(got, want) {
		t.Errorf("the ledger has %q, want %q", got, want)
	}
	if note, ok, err := v.Erased(ctx, tenantA, subject1); string(note) != "first" || !ok || err != nil {
		t.Errorf("noted %q, %v, %v", note, ok, err)
	}
	if _, ok, err := v.Erased(ctx, tenantB, ""); ok || err != nil {
		t.Errorf("a tenant that was not erased is in the ledger: %v", err)
	}
}

// An erasure that fails half-way is no success, and can be done again.
func TestErasureFails(t *testing.T) {
	keys := newMemoryKeys()
	v := seal.NewVault("ch", newRing(t), keys, seal.Options{})
	tk, err := v.CreateTenant(ctx, tenantA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.CreateSubject(ctx, tk, subject1); err != nil {
		t.Fatal(err)
	}
	down := errors.New("down")
	for name, fail := range map[string][2]error{"and nothing is done": {down, nil}, "but persists": {nil, down}} {
		keys.set(fail[0], fail[1])
		if err := v.EraseSubject(ctx, tenantA, subject1, nil); residency.KindOf(err) != residency.KeysUnavailable {
			t.Errorf("the key store fails %s: %v", name, err)
		}
		keys.set(nil, nil)
	}
	if err := v.EraseSubject(ctx, tenantA, subject1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an erased subject's key: %v", err)
	}
	for _, bad := range []store.ID{"", "0123456789012345678901234567890"} {
		if err := v.EraseSubject(ctx, tenantA, bad, nil); residency.KindOf(err) != residency.Internal {
			t.Errorf("an id of %d bytes: %v", len(bad), err)
		}
	}
}
