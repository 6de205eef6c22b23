package seal

import (
	"crypto/cipher"
	"encoding/binary"

	"github.com/domicile-project/domicile/residency/store"
)

// The layout of a sealed row: a format byte, the row's version in the clear, and
// AES-256-GCM output (nonce, ciphertext, tag).
const (
	rowFormat = 1
	rowHeader = 1 + 8

	// RowOverhead is how many bytes sealing adds to a row.
	RowOverhead = rowHeader + gcmOverhead
)

// sealRow seals a row under the binding b.
func sealRow(aead cipher.AEAD, b *binding, plaintext []byte) []byte {
	out := make([]byte, rowHeader, RowOverhead+len(plaintext))
	out[0] = rowFormat
	binary.BigEndian.PutUint64(out[1:], b.version)
	ad := bindings.Get().(*[]byte)
	*ad = b.append((*ad)[:0])
	out = aead.Seal(out, nil, plaintext, *ad)
	bindings.Put(ad)
	return out
}

// openRow opens a row sealed under the binding b, whose version it sets from the row.
func openRow(op string, aead cipher.AEAD, b *binding, sealed []byte) ([]byte, uint64, error) {
	if len(sealed) < RowOverhead || sealed[0] != rowFormat {
		return nil, 0, broken(op, errSealed)
	}
	b.version = binary.BigEndian.Uint64(sealed[1:])
	ad := bindings.Get().(*[]byte)
	*ad = b.append((*ad)[:0])
	plaintext, err := aead.Open(make([]byte, 0, len(sealed)-rowHeader), nil, sealed[rowHeader:], *ad)
	bindings.Put(ad)
	if err != nil {
		return nil, 0, broken(op, errSealed)
	}
	return plaintext, b.version, nil
}

// notAFact is why a record is neither sealed nor opened without a permit.
const notAFact = "a record is personal information: it takes a permit, by SubjectKeys.Seal and SubjectKeys.Open"

// mustBeFact panics when a record is about to be sealed as a fact: a mistake of
// the program that nothing of a request can bring about.
func mustBeFact(kind store.Kind) {
	if kind == store.KindRecord {
		panic("seal: " + notAFact)
	}
}
