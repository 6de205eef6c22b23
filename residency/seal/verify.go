package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// What checks stored bytes without reading them: nothing of a plaintext leaves these functions, so they take no permit.

// Verify reports whether a row of personal information opens as Open would open it, and gives the version that it was
// sealed with. What it opens it clears. Errors: of kind IntegrityFailure when the row does not open.
func (k *SubjectKeys) Verify(kind store.Kind, id store.ID, sealed []byte) (version uint64, err error) {
	b := k.binding(formPersonal, kind, id)
	plaintext, version, err := openRow("seal.Verify", k.aead, &b, sealed)
	clear(plaintext)
	return version, err
}

// VerifySegment reports whether a segment opens under both layers, as OpenSegment would open it, and gives how many bytes of
// plaintext it holds. What it opens it clears. Errors: as OpenSegment's.
func (k *DriveKeys) VerifySegment(chunk string, index uint32, sealed []byte) (length int, err error) {
	const op = "seal.VerifySegment"
	keys, err := k.chunk(op, chunk)
	if err != nil {
		return 0, err
	}
	plaintext, err := k.openSegment(op, keys, make([]byte, 0, SegmentSize), index, sealed)
	clear(plaintext)
	return len(plaintext), err
}

// Damaged reports whether an error says that stored bytes do not open, whatever was to be had by opening them: keys that
// cannot be had because their wrapped form is damaged are told from a key store that does not answer.
func Damaged(err error) bool {
	var e *residency.Error
	for errors.As(err, &e) {
		if e.Kind == residency.IntegrityFailure {
			return true
		}
		err = e.Err
	}
	return false
}

// KeyKind is whose a stored key is.
type KeyKind uint8

// The kinds of keys.
const (
	TenantKey  KeyKind = nameTenant
	SubjectKey KeyKind = nameSubject
	DriveKey   KeyKind = nameDrive
)

// StoredKey is a key in the key store, as a check finds it.
type StoredKey struct {
	Tenant store.Tenant
	Kind   KeyKind
	ID     store.ID // of the subject or the drive; "" for a tenant's
	Err    error    // why it does not unwrap; nil = it does
}

// ErrNoTenantKey says of a subject's or drive's key that the tenant's key, under which it lies, is missing or
// does not unwrap itself.
var ErrNoTenantKey = errors.New("seal: the tenant's key, under which this one is wrapped, is not there or does not unwrap")

// StoredKeys unwraps every key in the key store, none of which it keeps, and calls yield with each in the order of
// tenants, kinds and ids, until it returns false. Errors: of kind KeysUnavailable when the key store or the keyring cannot be
// asked, or has an entry that names nothing.
func (v *Vault) StoredKeys(ctx context.Context, yield func(StoredKey) bool) error {
	const op = "seal.StoredKeys"
	var tenant *TenantKeys
	var failed error
	err := v.keys.List(ctx, "", func(name string, wrapped []byte) bool {
		var key StoredKey
		var ok bool
		if key, ok, failed = parseName(name); failed != nil || !ok {
			return failed == nil
		}
		if key.Kind == TenantKey {
			tenant, key.Err = v.unwrapTenant(ctx, &key, wrapped)
		} else if tenant == nil || tenant.tenant != key.Tenant {
			key.Err = ErrNoTenantKey
		} else {
			key.Err = v.unwrapBelow(ctx, tenant, &key, wrapped)
		}
		if key.Err != nil && key.Err != ErrNoTenantKey && !Damaged(key.Err) { //nolint:errorlint // never wrapped
			failed = key.Err
			return false
		}
		return yield(key)
	})
	if err = errors.Join(err, failed); err != nil {
		return keysUnavailable(op, fmt.Errorf("key store: %w", err))
	}
	return nil
}

// parseName reads what appendName wrote; ok is false for an entry of the erasure ledger.
func parseName(name string) (key StoredKey, ok bool, err error) {
	const kindAt = len(store.Tenant{})
	if len(name) <= kindAt {
		return key, false, errors.New("a key has a malformed name")
	}
	copy(key.Tenant[:], name)
	if key.Tenant == (store.Tenant{}) {
		return key, false, nil
	}
	key.Kind = KeyKind(name[kindAt])
	rest := name[kindAt+1:]
	switch key.Kind {
	case TenantKey:
		ok = rest == ""
	case SubjectKey, DriveKey:
		ok = len(rest) > 1 && len(rest) == 1+int(rest[0])
		if ok {
			key.ID = store.ID(rest[1:])
		}
	}
	if !ok {
		err = errors.New("a key has a malformed name")
	}
	return key, ok, err
}

func (v *Vault) unwrapTenant(ctx context.Context, key *StoredKey, wrapped []byte) (*TenantKeys, error) {
	b := binding{form: formTenantKey, region: v.region, tenant: &key.Tenant}
	s, err := unwrap(ctx, rootWrapper{v.ring}, &b, wrapped, tenantSecretSize)
	if err != nil {
		return nil, err
	}
	defer clear(s)
	return newTenantKeys(v.region, key.Tenant, s)
}

func (v *Vault) unwrapBelow(ctx context.Context, tk *TenantKeys, key *StoredKey, wrapped []byte) error {
	b := binding{form: formSubjectKey, region: v.region, tenant: &key.Tenant, id: key.ID}
	size := subjectSecretSize
	if key.Kind == DriveKey {
		b.form, size = formDriveKey, driveSecretSize
	}
	s, err := unwrap(ctx, keyWrapper{tk.wrap}, &b, wrapped, size)
	clear(s)
	return err
}

// unwrap opens a wrapped key of a size, the caller's to clear.
func unwrap(ctx context.Context, w wrapper, b *binding, wrapped []byte, size int) ([]byte, error) {
	s, err := w.unwrapKey(ctx, b.append(nil), wrapped)
	if err == nil && len(s) != size {
		clear(s)
		return nil, broken("seal.StoredKeys", fmt.Errorf("a wrapped key holds %d bytes, not %d", len(s), size))
	}
	return s, err
}

// ReadFileKeyring reads the region's roots from a file as OpenFileKeyring does, and makes none.
func ReadFileKeyring(path string) (Keyring, error) {
	raw, err := readRing(path)
	if err != nil {
		return nil, fmt.Errorf("seal: keyring: %w", err)
	}
	defer clear(raw)
	return parseRing(path, raw)
}
