package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The erasure ledger: which subjects and tenants were erased. It is kept in the
// key store, apart from rows, blobs and their backups, so that what a backup brings back stays
// unreadable, is not given a new key, and can be found and deleted again. Its
// entries name people and tenants by keyed digests, and are never removed.

// Erased is an entry of the erasure ledger.
type Erased struct {
	Tenant  store.Tenant
	Subject store.ID // "" = the whole tenant
	Note    []byte   // what was noted with the erasure; never personal information
}

// nameErased is the kind of a ledger entry's name, which the zero tenant, who has no keys, precedes.
const nameErased = 1

func ledgerPrefix() []byte { return append(make([]byte, len(store.Tenant{})), nameErased) }

// appendErased gives the name of a ledger entry: the erased tenant and, after its length, the
// subject; a tenant's own has length 0, and so comes before its subjects'.
func appendErased(dst []byte, t *store.Tenant, subject store.ID) []byte {
	dst = append(dst, ledgerPrefix()...)
	dst = append(dst, t[:]...)
	dst = append(dst, byte(len(subject)))
	return append(dst, subject...)
}

// maxErasedID is the longest subject that a ledger entry's name has room for, in bytes.
const maxErasedID = 30

// EraseSubject enters a subject in the erasure ledger and destroys its key, both
// durably and in this order: from then on CreateSubject refuses, and what the key
// sealed opens nowhere. Erasing again keeps the first entry and destroys again. After an
// error call again.
func (v *Vault) EraseSubject(ctx context.Context, t store.Tenant, subject store.ID, note []byte) error {
	const op = "seal.EraseSubject"
	if len(subject) == 0 || len(subject) > maxErasedID {
		return misuse(op, fmt.Sprintf("an erased subject's id has 1 to %d bytes", maxErasedID))
	}
	if err := v.enter(ctx, op, t, subject, note); err != nil {
		return err
	}
	return v.DestroySubject(ctx, t, subject)
}

// EraseTenant enters a tenant in the erasure ledger and destroys its keys, as
// EraseSubject does a subject's.
func (v *Vault) EraseTenant(ctx context.Context, t store.Tenant, note []byte) error {
	if err := v.enter(ctx, "seal.EraseTenant", t, "", note); err != nil {
		return err
	}
	return v.DestroyTenant(ctx, t)
}

func (v *Vault) enter(ctx context.Context, op string, t store.Tenant, subject store.ID, note []byte) error {
	if t == (store.Tenant{}) {
		return misuse(op, "the zero tenant cannot be erased")
	}
	_, err := v.keys.Create(ctx, string(appendErased(nil, &t, subject)), note)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return keysUnavailable(op, fmt.Errorf("key store: %w", err))
	}
	return nil
}

// Erased gives what was noted when a subject ("" = the tenant itself) was
// erased; ok is false when it was not. A subject is not erased with its tenant here.
func (v *Vault) Erased(ctx context.Context, t store.Tenant, subject store.ID) (note []byte, ok bool, err error) {
	note, err = v.keys.Get(ctx, string(appendErased(nil, &t, subject)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, keysUnavailable("seal.Erased", fmt.Errorf("key store: %w", err))
	}
	return note, true, nil
}

// Ledger calls yield with every entry of the erasure ledger, until it returns
// false; a tenant's own entry comes before its subjects'.
func (v *Vault) Ledger(ctx context.Context, yield func(Erased) bool) error {
	prefix := ledgerPrefix()
	size := len(prefix) + len(store.Tenant{}) + 1
	var malformed error
	err := v.keys.List(ctx, string(prefix), func(name string, note []byte) bool {
		if len(name) < size || len(name) != size+int(name[size-1]) {
			malformed = errors.New("an entry of the erasure ledger has a malformed name")
			return false
		}
		e := Erased{Subject: store.ID(name[size:]), Note: note}
		copy(e.Tenant[:], name[len(prefix):])
		return yield(e)
	})
	if err == nil {
		err = malformed
	}
	if err != nil {
		return keysUnavailable("seal.Ledger", fmt.Errorf("key store: %w", err))
	}
	return nil
}

// unerased refuses, with kind Erased, what the ledger has. It is asked after a key was made: an
// erasure that enters the ledger later destroys that key.
func (v *Vault) unerased(ctx context.Context, op string, t *store.Tenant, subject store.ID) error {
	_, ok, err := v.Erased(ctx, *t, subject)
	if err != nil || !ok {
		return err
	}
	if subject == "" {
		err = v.DestroyTenant(ctx, *t)
	} else {
		err = v.DestroySubject(ctx, *t, subject)
	}
	return errors.Join(&residency.Error{Op: op, Kind: residency.Erased}, err)
}
