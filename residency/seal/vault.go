package seal

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// MaxAge is the longest that a key is served from memory, and the default.
const MaxAge = 60 * time.Second

// DefaultMaxKeys is how many keys are held in memory unless Options say
// otherwise: about 75 MB when all are subjects' keys.
const DefaultMaxKeys = 65536

// maxKeyID is the longest id of a subject or drive that a key's name has room for, in bytes.
const maxKeyID = 46

// Options are a vault's. The zero value is good.
type Options struct {
	// Clock tells the age of cached keys; nil is time.Now. Give one that counts
	// the time that the machine is suspended where that can happen.
	Clock func() time.Time

	// MaxAge is how long a key is served from memory after it was asked for in
	// the key store; 0, and anything above 60 s, is 60 s.
	MaxAge time.Duration

	// MaxKeys is how many keys are held, the least recently used making room; 0 is 65536.
	MaxKeys int
}

// Vault makes, finds and destroys a region's keys. Safe for concurrent use.
//
// Keys are served from memory for at most MaxAge after they were read from the key
// store, so that within that time of the key store failing, or of another process destroying
// a key, they are gone here too. Whoever keeps the keys that a method returned for
// longer than one request (a stream) asks again at each lease renewal; it costs
// less than a microsecond while they are cached.
//
// An id must never be given a new key after its old one was destroyed: another process
// may still seal under the old one until MaxAge is over. Where a name can come
// back (a drive deleted and created again) the id is made of the name and something random.
//
// Errors: one that wraps store.ErrNotFound, of kind NotFound, when there is no such key; of
// kind KeysUnavailable when the key store, the keyring or the wrapped key fails;
// of kind Erased when a key was to be made for what the erasure ledger has; of
// kind Internal for a call that makes no sense.
type Vault struct {
	region residency.Region
	ring   Keyring
	keys   store.Keys
	cache  *cache
}

// NewVault makes the vault of a region, which every sealed byte is bound to.
func NewVault(region residency.Region, ring Keyring, keys store.Keys, o Options) *Vault {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.MaxAge <= 0 || o.MaxAge > MaxAge {
		o.MaxAge = MaxAge
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = DefaultMaxKeys
	}
	return &Vault{region: region, ring: ring, keys: keys, cache: newCache(o.Clock, o.MaxAge, o.MaxKeys)}
}

// The kinds of keys in a name. The tenant's own sorts first, so that a key
// store that destroys in order destroys it first, and with it the use of the others.
const (
	nameTenant  = 1
	nameSubject = 2
	nameDrive   = 3
)

// appendName gives the name of a wrapped key: tenant, kind, and for subjects and
// drives the id after its length, so that no name is the beginning of another's.
func appendName(dst []byte, t *store.Tenant, kind byte, id store.ID) []byte {
	dst = append(dst, t[:]...)
	dst = append(dst, kind)
	if kind != nameTenant {
		dst = append(dst, byte(len(id)))
		dst = append(dst, id...)
	}
	return dst
}

// CreateTenant gives the tenant's keys, making them if there are none. Of several
// callers at once, in any number of processes, all get the same; they are
// durable before any of them does.
func (v *Vault) CreateTenant(ctx context.Context, t store.Tenant) (*TenantKeys, error) {
	return v.tenant(ctx, "seal.CreateTenant", t, true)
}

// Tenant gives the tenant's keys.
func (v *Vault) Tenant(ctx context.Context, t store.Tenant) (*TenantKeys, error) {
	return v.tenant(ctx, "seal.Tenant", t, false)
}

func (v *Vault) tenant(ctx context.Context, op string, t store.Tenant, create bool) (*TenantKeys, error) {
	if t == (store.Tenant{}) {
		return nil, misuse(op, "the zero tenant has no keys")
	}
	var buf [64]byte
	name := appendName(buf[:0], &t, nameTenant, "")
	if keys, ok := v.cache.get(name); ok {
		return keys.(*TenantKeys), nil
	}
	return v.loadTenant(ctx, op, string(name), t, create)
}

func (v *Vault) loadTenant(ctx context.Context, op, name string, t store.Tenant, create bool) (*TenantKeys, error) {
	return loadAs[*TenantKeys](ctx, v, op, name, create, func() (any, error) {
		b := binding{form: formTenantKey, region: v.region, tenant: &t}
		s, err := v.secret(ctx, rootWrapper{v.ring}, &b, name, tenantSecretSize, create)
		if err != nil {
			return nil, err
		}
		defer clear(s)
		return newTenantKeys(v.region, t, s)
	})
}

// CreateSubject gives a subject's keys, making them if there are none, as CreateTenant does.
func (v *Vault) CreateSubject(ctx context.Context, tk *TenantKeys, subject store.ID) (*SubjectKeys, error) {
	return v.subject(ctx, "seal.CreateSubject", tk, subject, true)
}

// Subject gives a subject's keys.
func (v *Vault) Subject(ctx context.Context, tk *TenantKeys, subject store.ID) (*SubjectKeys, error) {
	return v.subject(ctx, "seal.Subject", tk, subject, false)
}

func (v *Vault) subject(ctx context.Context, op string, tk *TenantKeys, subject store.ID, create bool) (*SubjectKeys, error) {
	if err := v.check(op, tk, subject); err != nil {
		return nil, err
	}
	var buf [64]byte
	name := appendName(buf[:0], &tk.tenant, nameSubject, subject)
	if keys, ok := v.cache.get(name); ok {
		return keys.(*SubjectKeys), nil
	}
	return v.loadSubject(ctx, op, string(name), tk, subject, create)
}

func (v *Vault) loadSubject(ctx context.Context, op, name string, tk *TenantKeys, subject store.ID, create bool) (*SubjectKeys, error) {
	return loadAs[*SubjectKeys](ctx, v, op, name, create, func() (any, error) {
		b := binding{form: formSubjectKey, region: v.region, tenant: &tk.tenant, id: subject}
		s, err := v.secret(ctx, keyWrapper{tk.wrap}, &b, name, subjectSecretSize, create)
		if err != nil {
			return nil, err
		}
		defer clear(s)
		return newSubjectKeys(tk, subject, s)
	})
}

// CreateDrive gives a drive's keys, making them if there are none, as CreateTenant does.
func (v *Vault) CreateDrive(ctx context.Context, tk *TenantKeys, drive store.ID) (*DriveKeys, error) {
	return v.drive(ctx, "seal.CreateDrive", tk, drive, true)
}

// Drive gives a drive's keys.
func (v *Vault) Drive(ctx context.Context, tk *TenantKeys, drive store.ID) (*DriveKeys, error) {
	return v.drive(ctx, "seal.Drive", tk, drive, false)
}

func (v *Vault) drive(ctx context.Context, op string, tk *TenantKeys, drive store.ID, create bool) (*DriveKeys, error) {
	if err := v.check(op, tk, drive); err != nil {
		return nil, err
	}
	var buf [64]byte
	name := appendName(buf[:0], &tk.tenant, nameDrive, drive)
	if keys, ok := v.cache.get(name); ok {
		return keys.(*DriveKeys), nil
	}
	return v.loadDrive(ctx, op, string(name), tk, drive, create)
}

func (v *Vault) loadDrive(ctx context.Context, op, name string, tk *TenantKeys, drive store.ID, create bool) (*DriveKeys, error) {
	return loadAs[*DriveKeys](ctx, v, op, name, create, func() (any, error) {
		b := binding{form: formDriveKey, region: v.region, tenant: &tk.tenant, id: drive}
		s, err := v.secret(ctx, keyWrapper{tk.wrap}, &b, name, driveSecretSize, create)
		if err != nil {
			return nil, err
		}
		defer clear(s)
		b.form = formDriveRoot
		outer, err := v.ring.DriveRoot(ctx, b.append(nil))
		if err != nil {
			return nil, err
		}
		defer clear(outer)
		return newDriveKeys(tk, drive, s, outer)
	})
}

// check refuses calls that make no sense.
func (v *Vault) check(op string, tk *TenantKeys, id store.ID) error {
	switch {
	case tk == nil:
		return misuse(op, "no tenant keys")
	case tk.region != v.region:
		return misuse(op, "the tenant keys are another region's")
	case len(id) == 0 || len(id) > maxKeyID:
		return misuse(op, fmt.Sprintf("the id of a subject or drive has 1 to %d bytes", maxKeyID))
	}
	return nil
}

// loadAs loads keys through the cache and gives failures their kind.
func loadAs[T any](ctx context.Context, v *Vault, op, name string, create bool, load func() (any, error)) (T, error) {
	var none T
	keys, err := v.cache.load(ctx, name, create, load)
	switch {
	case errors.Is(err, errNoKey):
		return none, &residency.Error{Op: op, Kind: residency.NotFound, Err: err}
	case residency.KindOf(err) == residency.Erased:
		return none, err
	case err != nil:
		return none, keysUnavailable(op, err)
	}
	return keys.(T), nil
}

// errNoKey is the answer of a key store that has no key of the name.
var errNoKey = fmt.Errorf("no such key: %w", store.ErrNotFound)

// wrapper wraps and unwraps keys.
type wrapper interface {
	wrapKey(ctx context.Context, ad, key []byte) ([]byte, error)
	unwrapKey(ctx context.Context, ad, wrapped []byte) ([]byte, error)
}

// rootWrapper wraps under the region's data root.
type rootWrapper struct{ ring Keyring }

func (w rootWrapper) wrapKey(ctx context.Context, ad, key []byte) ([]byte, error) {
	return w.ring.Wrap(ctx, DataRoot, ad, key)
}

func (w rootWrapper) unwrapKey(ctx context.Context, ad, wrapped []byte) ([]byte, error) {
	return w.ring.Unwrap(ctx, DataRoot, ad, wrapped)
}

// keyWrapper wraps under a tenant's key.
type keyWrapper struct{ aead cipher.AEAD }

func (w keyWrapper) wrapKey(_ context.Context, ad, key []byte) ([]byte, error) {
	return w.aead.Seal([]byte{wrapVersion}, nil, key, ad), nil
}

func (w keyWrapper) unwrapKey(_ context.Context, ad, wrapped []byte) ([]byte, error) {
	return openWrapped("seal.Unwrap", w.aead, ad, wrapped)
}

// secret gives what is wrapped under a name: size bytes, the caller's to clear.
// With create it makes them at random where there are none, durably.
func (v *Vault) secret(ctx context.Context, w wrapper, b *binding, name string, size int, create bool) ([]byte, error) {
	ad := b.append(nil)
	wrapped, err := v.keys.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		if !create {
			return nil, errNoKey
		}
		if wrapped, err = v.createSecret(ctx, w, ad, name, size); err == nil {
			err = v.mayCreate(ctx, b)
		}
	}
	if residency.KindOf(err) == residency.Erased {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("key store: %w", err)
	}
	s, err := w.unwrapKey(ctx, ad, wrapped)
	if err != nil {
		return nil, err
	}
	if len(s) != size {
		clear(s)
		return nil, fmt.Errorf("a wrapped key holds %d bytes, not %d", len(s), size)
	}
	return s, nil
}

// mayCreate refuses the key of a tenant or subject that was erased.
func (v *Vault) mayCreate(ctx context.Context, b *binding) error {
	switch b.form {
	case formTenantKey:
		return v.unerased(ctx, "seal.CreateTenant", b.tenant, "")
	case formSubjectKey:
		return v.unerased(ctx, "seal.CreateSubject", b.tenant, b.id)
	}
	return nil
}

// createSecret stores random bytes, wrapped, and gives what is stored then: its own or,
// when another was first, the other's.
func (v *Vault) createSecret(ctx context.Context, w wrapper, ad []byte, name string, size int) ([]byte, error) {
	fresh := make([]byte, size)
	defer clear(fresh)
	rand.Read(fresh)
	wrapped, err := w.wrapKey(ctx, ad, fresh)
	if err != nil {
		return nil, err
	}
	stored, err := v.keys.Create(ctx, name, wrapped)
	if errors.Is(err, store.ErrExists) {
		return stored, nil
	}
	return wrapped, err
}

// DestroySubject destroys a subject's key, durably: no call that begins after it
// returned nil gives it in this process, nor after MaxAge in any. What it sealed cannot be
// opened again. Destroying a key that does not exist succeeds. After an error the
// key may be destroyed or not; call again.
func (v *Vault) DestroySubject(ctx context.Context, t store.Tenant, subject store.ID) error {
	return v.destroyObject(ctx, "seal.DestroySubject", &t, nameSubject, subject)
}

// DestroyDrive destroys a drive's key, as DestroySubject does a subject's.
func (v *Vault) DestroyDrive(ctx context.Context, t store.Tenant, drive store.ID) error {
	return v.destroyObject(ctx, "seal.DestroyDrive", &t, nameDrive, drive)
}

// DestroyTenant destroys a tenant's key and those of all its subjects and
// drives, as DestroySubject does a subject's.
func (v *Vault) DestroyTenant(ctx context.Context, t store.Tenant) error {
	if t == (store.Tenant{}) {
		return misuse("seal.DestroyTenant", "the zero tenant has no keys")
	}
	return v.destroy(ctx, "seal.DestroyTenant", string(t[:]))
}

func (v *Vault) destroyObject(ctx context.Context, op string, t *store.Tenant, kind byte, id store.ID) error {
	if *t == (store.Tenant{}) || len(id) == 0 || len(id) > maxKeyID {
		return misuse(op, fmt.Sprintf("a key is named by a tenant and an id of 1 to %d bytes", maxKeyID))
	}
	return v.destroy(ctx, op, string(appendName(nil, t, kind, id)))
}

// destroy forgets the keys of a prefix whatever the key store says: they are
// read again by who may.
func (v *Vault) destroy(ctx context.Context, op, prefix string) error {
	err := v.keys.Destroy(ctx, prefix)
	v.cache.drop(prefix)
	if err != nil {
		return keysUnavailable(op, fmt.Errorf("key store: %w", err))
	}
	return nil
}

// Cached counts the keys in memory that may still be served.
func (v *Vault) Cached() int { return v.cache.size() }

// Ping reports whether keys can be had now: whether the key store and the keyring answer.
func (v *Vault) Ping(ctx context.Context) error {
	const op = "seal.Ping"
	if err := v.keys.Ping(ctx); err != nil {
		return keysUnavailable(op, fmt.Errorf("key store: %w", err))
	}
	probe, err := v.ring.DriveRoot(ctx, []byte("ping"))
	clear(probe)
	if err != nil {
		return keysUnavailable(op, fmt.Errorf("keyring: %w", err))
	}
	return nil
}
