package seal

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/domicile-project/domicile/residency"
)

// The layout of a keyring file; FORMAT.md says the same.
const (
	ringMagic   = "domicile keyring" // 16 bytes
	ringVersion = 1
	ringBody    = len(ringMagic) + 1 + 2*KeySize
	ringSize    = ringBody + sha256.Size
)

// wrapVersion is the first byte of what a file keyring wraps.
const wrapVersion = 1

// fileKeyring is the roots of a file, expanded.
type fileKeyring struct {
	wraps [numRoots]cipher.AEAD // [0] is nil
	drive *mac
}

var _ Keyring = (*fileKeyring)(nil)

// OpenFileKeyring reads the region's roots from a file. If there is none it
// makes one of fresh random roots, with mode 0600 in a folder of mode 0700, and makes both
// durable before it returns; of several processes at once, one makes it and all
// use that one.
//
// It refuses, naming the fix, a file that its group or others may read or write, one
// of a wrong size or version, and one whose checksum is wrong. A file of root's may be readable
// by its group, to a process that is not root: so systems that hand secrets to services mount them. Whoever holds the file can open
// everything in the region's key store; whoever loses it has lost the region's data.
func OpenFileKeyring(path string) (Keyring, error) {
	raw, err := readRing(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createRing(path); err == nil {
			raw, err = readRing(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("seal: keyring: %w", err)
	}
	defer clear(raw)
	return parseRing(path, raw)
}

// readRing gives a file's bytes, once they and their name are durable.
func readRing(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case !private(info.Mode().Perm(), ownerOf(info), os.Geteuid()):
		return nil, fmt.Errorf("%s has mode %04o: others than its owner may use the roots; after making sure that nobody did, run: chmod 600 %s",
			path, info.Mode().Perm(), path)
	case info.Size() != int64(ringSize):
		return nil, fmt.Errorf("%s has %d bytes, a keyring has %d: restore it from its backup", path, info.Size(), ringSize)
	}
	raw := make([]byte, ringSize)
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), syncFolder(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("making %s durable: %w", path, err)
	}
	return raw, nil
}

// private reports whether nobody but this process's user, and root, can use a file of this mode and owner.
func private(mode fs.FileMode, owner, self int) bool {
	const others, othersButGroupReading = 0o077, 0o037
	return mode&others == 0 || owner == 0 && self != 0 && mode&othersButGroupReading == 0
}

// ownerOf is the user that a file belongs to, -1 when that cannot be told.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

// createRing writes a new file beside path, makes it durable and gives it the
// name path unless another process was first.
func createRing(path string) error {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".keyring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	raw := newRing()
	defer clear(raw)
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing a new keyring: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(dir)
}

// makeFolder makes a folder of mode 0700, and those above it, each durable in the one above.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	up := filepath.Dir(dir)
	if err := makeFolder(up); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(up)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newRing gives the bytes of a file with fresh roots.
func newRing() []byte {
	raw := make([]byte, 0, ringSize)
	raw = append(raw, ringMagic...)
	raw = append(raw, ringVersion)
	raw = raw[:ringBody]
	rand.Read(raw[len(ringMagic)+1:])
	sum := sha256.Sum256(raw)
	return append(raw, sum[:]...)
}

// parseRing checks a file's bytes and expands its roots.
func parseRing(path string, raw []byte) (*fileKeyring, error) {
	body, sum := raw[:ringBody], sha256.Sum256(raw[:ringBody])
	roots := body[len(ringMagic)+1:]
	switch {
	case string(body[:len(ringMagic)]) != ringMagic:
		return nil, fmt.Errorf("seal: keyring: %s is not a keyring: name the keyring file, or restore it from its backup", path)
	case body[len(ringMagic)] != ringVersion:
		return nil, fmt.Errorf("seal: keyring: %s is of version %d, this program reads version %d: run the program that wrote it",
			path, body[len(ringMagic)], ringVersion)
	case !bytes.Equal(sum[:], raw[ringBody:]):
		return nil, fmt.Errorf("seal: keyring: %s is damaged (its checksum is wrong): restore it from its backup", path)
	case bytes.Equal(roots[:KeySize], roots[KeySize:]):
		return nil, fmt.Errorf("seal: keyring: %s holds the same root twice, two independent ones are needed: restore it from its backup", path)
	}
	return expandRing(roots[:KeySize], roots[KeySize:])
}

// expandRing derives what a root's uses need; a root is never used itself.
func expandRing(data, drive []byte) (*fileKeyring, error) {
	r := &fileKeyring{}
	var key [KeySize]byte
	defer clear(key[:])
	for root, m := range map[Root]*mac{DataRoot: newMAC(data), DriveRoot: newMAC(drive)} {
		m.derive(&key, labelRootWrap)
		aead, err := newAEAD(key[:])
		if err != nil {
			return nil, err
		}
		r.wraps[root] = aead
		if root == DriveRoot {
			m.derive(&key, labelRootDrive)
			r.drive = newMAC(key[:])
		}
	}
	return r, nil
}

func (r *fileKeyring) aead(op string, root Root) (cipher.AEAD, error) {
	if root == RootUnspecified || root >= numRoots {
		return nil, misuse(op, "no such root")
	}
	return r.wraps[root], nil
}

// Wrap seals a key under a root.
func (r *fileKeyring) Wrap(_ context.Context, root Root, ad, key []byte) ([]byte, error) {
	aead, err := r.aead("seal.Wrap", root)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1, 1+len(key)+gcmOverhead)
	out[0] = wrapVersion
	return aead.Seal(out, nil, key, ad), nil
}

// Unwrap opens what Wrap sealed.
func (r *fileKeyring) Unwrap(_ context.Context, root Root, ad, wrapped []byte) ([]byte, error) {
	const op = "seal.Unwrap"
	aead, err := r.aead(op, root)
	if err != nil {
		return nil, err
	}
	return openWrapped(op, aead, ad, wrapped)
}

// DriveRoot derives a key from the drive root.
func (r *fileKeyring) DriveRoot(_ context.Context, info []byte) ([]byte, error) {
	var out [KeySize]byte
	r.drive.derive(&out, string(info))
	return out[:], nil
}

// openWrapped opens a wrapped key.
func openWrapped(op string, aead cipher.AEAD, ad, wrapped []byte) ([]byte, error) {
	if len(wrapped) == 0 || wrapped[0] != wrapVersion {
		return nil, &residency.Error{Op: op, Kind: residency.IntegrityFailure,
			Err: fmt.Errorf("a wrapped key starts with version %d", wrapVersion)}
	}
	key, err := aead.Open(nil, nil, wrapped[1:], ad)
	if err != nil {
		return nil, broken(op, errSealed)
	}
	return key, nil
}
