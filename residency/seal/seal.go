// Package seal knows the keys: how they are made, wrapped, derived, cached and
// destroyed, and how rows, drive segments and lookups are put under them so
// that bytes open only where, and as what, they were sealed.
//
// The hierarchy: a region has two independent roots (Keyring). The data root
// wraps a random key per tenant; the tenant's key wraps a random key per
// subject and per drive. Drive segments lie under two layers, the drive's own
// key and one derived from the region's drive root. Wrapped keys are kept in a
// store.Keys, apart from what they seal, so that destroying a key erases.
//
// FORMAT.md specifies every byte, what each key's loss destroys, and how much may
// be sealed under a key. Key bytes are zeroed as soon as they are expanded into
// ciphers and MACs. What Go does not let a program zero stays until the garbage collector
// reuses it: expanded AES keys, MAC states, and what a moved stack left behind.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/domicile-project/domicile/residency"
)

// Root names one of a region's two root keys.
type Root uint8

// The roots. The zero value names none and is refused.
const (
	RootUnspecified Root = iota
	DataRoot             // wraps the tenants' keys
	DriveRoot            // the outer layer of the drive cascade is derived from it
	numRoots        = iota
)

// Keyring is a region's root keys: two, drawn independently, so that neither
// can be computed from the other. Safe for concurrent use.
//
// Errors wrap a residency.Error of kind KeysUnavailable when the ring cannot be
// asked, and of kind IntegrityFailure when wrapped bytes do not open.
type Keyring interface {
	// Wrap encrypts key under the root and binds it to ad: it opens under the
	// same root and ad only. Two calls with the same key give different bytes.
	Wrap(ctx context.Context, root Root, ad, key []byte) ([]byte, error)

	// Unwrap gives what Wrap was given, a slice of the caller's to keep and clear.
	Unwrap(ctx context.Context, root Root, ad, wrapped []byte) ([]byte, error)

	// DriveRoot derives 32 bytes from the drive root by HKDF-SHA256: the same for
	// the same info, independent for different ones, and the caller's to clear.
	DriveRoot(ctx context.Context, info []byte) ([]byte, error)
}

// KeySize is the length in bytes of every key: AES-256, and HMAC-SHA-256 keys alike.
const KeySize = 32

// gcmOverhead is what AES-256-GCM with a random nonce adds: 12 bytes of nonce
// before the ciphertext and 16 of tag after it.
const gcmOverhead = 28

// errSealed is the cause of every failure to open: it says what may have
// happened and nothing about the bytes.
var errSealed = errors.New("the sealed bytes do not open: damaged, moved, replayed, or sealed under another key")

// newAEAD expands a key of 32 bytes, which the caller may clear afterwards.
func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal: a key has %d bytes, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// keysUnavailable makes the error for keys that cannot be had, whatever the
// kind of its cause.
func keysUnavailable(op string, cause error) error {
	return &residency.Error{Op: op, Kind: residency.KeysUnavailable, Err: cause}
}

// broken makes the error for bytes that do not open.
func broken(op string, cause error) error {
	return &residency.Error{Op: op, Kind: residency.IntegrityFailure, Err: cause}
}

// misuse makes the error for a call that the program should not have made.
func misuse(op, what string) error {
	return &residency.Error{Op: op, Kind: residency.Internal, Err: errors.New(what)}
}
