package seal

import (
	"crypto/cipher"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	// SegmentSize is the most plaintext of one segment, in bytes.
	SegmentSize = 256 << 10

	// SegmentOverhead is how many bytes sealing adds to a segment: a format byte
	// and, for each of two layers, a nonce and a tag.
	SegmentOverhead = 1 + 2*gcmOverhead

	segmentFormat = 1
	chunkSlots    = 8   // how many chunks' keys a drive keeps expanded
	maxChunkName  = 200 // bytes, as store.Blobs has it
)

// DriveKeys are a drive's keys: the two layers of the cascade (clause
// drive-cipher), one from the drive's own key, one from the region's drive root. Neither
// layer opens without its root, and no key of one can be computed from the other's. Safe
// for concurrent use.
//
// Each chunk has a key of its own in either layer, derived from its name, so
// that the number of segments a drive may ever hold is not bounded by what one key may seal.
type DriveKeys struct {
	tenant *TenantKeys
	drive  store.ID
	inner  *mac // derives the chunks' inner keys
	outer  *mac // derives the chunks' outer keys
	chunks [chunkSlots]atomic.Pointer[chunkKeys]
}

// chunkKeys are one chunk's keys, expanded.
type chunkKeys struct {
	name         string
	inner, outer cipher.AEAD
}

// newDriveKeys expands a drive's secret and its key from the drive root, both of
// which the caller clears.
func newDriveKeys(tk *TenantKeys, drive store.ID, secret, outer []byte) (*DriveKeys, error) {
	if len(outer) != KeySize {
		return nil, fmt.Errorf("the keyring derived %d bytes, not %d", len(outer), KeySize)
	}
	return &DriveKeys{
		tenant: tk, drive: drive, inner: newMAC(secret), outer: newMAC(outer),
	}, nil
}

// segments holds buffers for what lies between the layers: ciphertext, never plaintext.
var segments = sync.Pool{New: func() any { return new([SegmentSize + gcmOverhead]byte) }}

// SealSegment appends a sealed segment to dst: len(plaintext) + SegmentOverhead
// bytes. It opens only as this segment of this chunk of this drive. chunk is 1 to
// 200 bytes and must name nothing else, ever, in the tenant's drives; dst must
// not overlap plaintext. It allocates nothing when dst has room and the chunk was used lately.
//
// The permit must be for the tenant's drive data: all of it, or this drive's.
// Errors: of kind Internal when the permit does not fit or an argument is out of
// its bounds; nothing is sealed then.
func (k *DriveKeys) SealSegment(p Permit, dst []byte, chunk string, index uint32, plaintext []byte) ([]byte, error) {
	const op = "seal.SealSegment"
	if len(plaintext) > SegmentSize {
		return nil, misuse(op, fmt.Sprintf("a segment has at most %d bytes", SegmentSize))
	}
	keys, err := k.admit(op, &p, chunk)
	if err != nil {
		return nil, err
	}
	ad, between := bindings.Get().(*[]byte), segments.Get().(*[SegmentSize + gcmOverhead]byte)
	k.bind(ad, formSegmentInner, chunk, index)
	once := keys.inner.Seal(between[:0], nil, plaintext, *ad)
	k.bind(ad, formSegmentOuter, chunk, index)
	out := keys.outer.Seal(append(dst, segmentFormat), nil, once, *ad)
	bindings.Put(ad)
	segments.Put(between)
	return out, nil
}

// OpenSegment appends the plaintext of a segment to dst, which must not overlap
// sealed. It opens only what SealSegment sealed for the same chunk and index,
// and allocates nothing when dst has room and the chunk was used lately. On an
// error nothing is given, but dst's spare capacity may have been written to.
//
// Errors: as SealSegment's for the permit and the arguments; of kind IntegrityFailure
// when the segment does not open.
func (k *DriveKeys) OpenSegment(p Permit, dst []byte, chunk string, index uint32, sealed []byte) ([]byte, error) {
	const op = "seal.OpenSegment"
	keys, err := k.admit(op, &p, chunk)
	if err != nil {
		return nil, err
	}
	return k.openSegment(op, keys, dst, index, sealed)
}

// openSegment opens a segment under its chunk's keys.
func (k *DriveKeys) openSegment(op string, keys *chunkKeys, dst []byte, index uint32, sealed []byte) ([]byte, error) {
	if len(sealed) < SegmentOverhead || len(sealed) > SegmentOverhead+SegmentSize || sealed[0] != segmentFormat {
		return nil, broken(op, errSealed)
	}
	ad, between := bindings.Get().(*[]byte), segments.Get().(*[SegmentSize + gcmOverhead]byte)
	defer segments.Put(between)
	defer bindings.Put(ad)
	k.bind(ad, formSegmentOuter, keys.name, index)
	once, err := keys.outer.Open(between[:0], nil, sealed[1:], *ad)
	if err != nil {
		return nil, broken(op, errSealed)
	}
	k.bind(ad, formSegmentInner, keys.name, index)
	out, err := keys.inner.Open(dst, nil, once, *ad)
	if err != nil {
		return nil, broken(op, errSealed)
	}
	return out, nil
}

// bind encodes a segment's associated data.
func (k *DriveKeys) bind(ad *[]byte, f form, chunk string, index uint32) {
	b := binding{form: f, region: k.tenant.region, tenant: &k.tenant.tenant, id: k.drive, chunk: chunk, index: index}
	*ad = b.append((*ad)[:0])
}

// admit checks the permit and gives a chunk's keys.
func (k *DriveKeys) admit(op string, p *Permit, chunk string) (*chunkKeys, error) {
	if why := p.refuses(&k.tenant.tenant, residency.VirtualDriveData, k.drive, ""); why != "" {
		return nil, misuse(op, why)
	}
	return k.chunk(op, chunk)
}

// chunk gives a chunk's keys.
func (k *DriveKeys) chunk(op, chunk string) (*chunkKeys, error) {
	if chunk == "" || len(chunk) > maxChunkName {
		return nil, misuse(op, fmt.Sprintf("a chunk's name has 1 to %d bytes", maxChunkName))
	}
	slot := &k.chunks[slotOf(chunk)]
	if keys := slot.Load(); keys != nil && keys.name == chunk {
		return keys, nil
	}
	keys, err := k.expand(chunk)
	if err != nil {
		return nil, err
	}
	slot.Store(keys)
	return keys, nil
}

// slotOf says where a chunk's keys are kept: by the name's FNV-1a hash of 32 bits.
func slotOf(chunk string) uint32 {
	h := uint32(2166136261)
	for i := range len(chunk) {
		h = (h ^ uint32(chunk[i])) * 16777619
	}
	return h % chunkSlots
}

// expand derives a chunk's keys.
func (k *DriveKeys) expand(chunk string) (*chunkKeys, error) {
	keys := &chunkKeys{name: chunk}
	var key [KeySize]byte
	defer clear(key[:])
	var err error
	k.inner.derive(&key, labelInner, chunk)
	if keys.inner, err = newAEAD(key[:]); err != nil {
		return nil, err
	}
	k.outer.derive(&key, labelOuter, chunk)
	if keys.outer, err = newAEAD(key[:]); err != nil {
		return nil, err
	}
	return keys, nil
}
