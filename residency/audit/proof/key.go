package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The algorithms of keys in signed notes that are known here.
const (
	algEd25519     = 1 // a log's signature
	algCosignature = 4 // a witness's, with the time of it
)

// Key is a log's public key. Its name is the log's origin. The zero Key verifies nothing.
type Key struct {
	verifier note.Verifier
	region   string
}

// ParseKey reads a log's key as it is given out: ORIGIN+HASH+BASE64 (C2SP signed-note).
func ParseKey(text string) (Key, error) {
	if _, _, err := parseKey(text, algEd25519); err != nil {
		return Key{}, err
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return Key{}, fmt.Errorf("the key is not of the form ORIGIN+HASH+BASE64: %w", err)
	}
	region, ok := regionOf(v.Name())
	if !ok {
		return Key{}, fmt.Errorf("the key is of %q: want a log's, whose origin ends in /REGION/CLUSTER", v.Name())
	}
	return Key{v, region}, nil
}

// regionOf gives the region that an origin, BASE/REGION/CLUSTER, names.
func regionOf(origin string) (region string, ok bool) {
	parts := strings.Split(origin, "/")
	if len(parts) < 3 || parts[0] == "" || parts[len(parts)-1] == "" {
		return "", false
	}
	region = parts[len(parts)-2]
	return region, region != "" && isRegion([]byte(region))
}

// Region gives the region whose log it is: every entry of the log names it.
func (k Key) Region() string { return k.region }

// Origin gives the name of the log whose key it is.
func (k Key) Origin() string {
	if k.verifier == nil {
		return ""
	}
	return k.verifier.Name()
}

// Witness is the public key of a witness, who cosigns the checkpoints that it has found consistent.
type Witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// ParseWitness reads a witness's key: NAME+HASH+BASE64, of the algorithm of Ed25519 cosignatures (C2SP tlog-cosignature).
func ParseWitness(text string) (Witness, error) {
	name, public, err := parseKey(text, algCosignature)
	if err != nil {
		return Witness{}, err
	}
	return Witness{name: name, hash: keyHash(name, algCosignature, public), key: public}, nil
}

// parseKey reads a verifier key of an algorithm in its one form.
func parseKey(text string, algorithm byte) (name string, public []byte, err error) {
	name, rest, _ := strings.Cut(text, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	key, err := decodeBase64(encoded)
	switch {
	case err != nil || len(key) == 0 || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '\u007f' }):
		return "", nil, fmt.Errorf("the key is not of the form NAME+HASH+BASE64")
	case len(key) != 1+ed25519.PublicKeySize || key[0] != algorithm:
		return "", nil, fmt.Errorf("the key is not one of algorithm %d, Ed25519", algorithm)
	case hash != fmt.Sprintf("%08x", keyHash(name, algorithm, key[1:])):
		return "", nil, fmt.Errorf("the key's hash is not that of its name and key: it was not copied as a whole")
	}
	return name, key[1:], nil
}

func keyHash(name string, algorithm byte, public []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), append([]byte{algorithm}, public...)...))
	return binary.BigEndian.Uint32(sum[:4])
}

var _ note.Verifier = Witness{}

// Name gives the witness's name.
func (w Witness) Name() string { return w.name }

// KeyHash gives the number of its key beside the name.
func (w Witness) KeyHash() uint32 { return w.hash }

// Verify reports whether sig is the witness's cosignature of a checkpoint's text: eight bytes of
// time and the signature of text and time (C2SP tlog-cosignature, Ed25519).
func (w Witness) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize || len(w.key) != ed25519.PublicKeySize || sig[0] > 127 {
		return false
	}
	signed := "cosignature/v1\ntime " + strconv.FormatUint(binary.BigEndian.Uint64(sig), 10) + "\n" + string(text)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

// cosignedAt gives the time in a cosignature that was verified.
func cosignedAt(s note.Signature) time.Time {
	sig, err := decodeBase64(s.Base64)
	if err != nil || len(sig) < 12 { // of the key's hash and the time
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(sig[4:])), 0).UTC()
}

// decodeBase64 reads standard base64 in its one form: no line breaks in between, no bits set in the padding.
func decodeBase64(text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("it is not standard base64")
	}
	return b, nil
}
