package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The algorithm of witnesses' keys in signed notes, and what is before the text that they sign.
const (
	noteCosignature = 4
	cosignatureV1   = "cosignature/v1\n"
)

// Cosigner signs checkpoints of other regions' logs as a witness (C2SP tlog-cosignature, Ed25519). What it
// signs it says to have found consistent with all that it signed before of the same log: that is for who calls it to see to.
type Cosigner struct {
	name  string
	keys  []ed25519.PrivateKey
	seeds [][]byte
}

// NewCosigner makes a witness from the seeds of its region's log keys, from which its own are derived. While the
// region changes its key there are several, and each signs.
func NewCosigner(name string, seeds ...[]byte) (*Cosigner, error) {
	if err := checkSeeds(seeds); err != nil {
		return nil, err
	}
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return nil, fmt.Errorf("audit: %q is no name of a witness: want one without spaces and plus signs", name)
	}
	return newCosigner(name, "domicile witness key", seeds), nil
}

func newCosigner(name, label string, seeds [][]byte) *Cosigner {
	c := &Cosigner{name: name, seeds: seeds}
	for _, seed := range seeds {
		mac := hmac.New(sha256.New, seed)
		mac.Write([]byte(label))
		c.keys = append(c.keys, ed25519.NewKeyFromSeed(mac.Sum(nil)))
	}
	return c
}

func checkSeeds(seeds [][]byte) error {
	if len(seeds) == 0 {
		return errors.New("audit: a log key's seed is required")
	}
	for _, seed := range seeds {
		if len(seed) != SeedSize {
			return fmt.Errorf("audit: a log key's seed has %d bytes, want %d", len(seed), SeedSize)
		}
	}
	return nil
}

// selfName is what a witness is called that is under the same control as the log.
const selfName = "/self"

// Self gives the witness as it signs for a log that the same process keeps: by its name, what it signs says that
// nobody else has seen the log. Its keys are others, since a name is not part of what is signed.
func (c *Cosigner) Self() *Cosigner {
	return newCosigner(c.name+selfName, "domicile self witness key", c.seeds)
}

// IsSelf reports whether a witness's name says that it is under the same control as the log.
func IsSelf(witness string) bool { return strings.HasSuffix(witness, selfName) }

// WitnessKind is what a log says of a witness that it names.
type WitnessKind string

// The kinds.
const (
	SelfWitness    WitnessKind = "self"    // under the same control as the log: nobody else has seen it
	PeerWitness    WitnessKind = "peer"    // another region's gateways
	OutsideWitness WitnessKind = "outside" // somebody else
)

// NameWitness gives the line by which a checkpoint names a witness.
func NameWitness(kind WitnessKind, key string) string { return "witness: " + string(kind) + " " + key }

// Verifiers gives the witness's public keys as verifiers are given them: NAME+HASH+BASE64, the newest first.
func (c *Cosigner) Verifiers() (keys []string) {
	for _, key := range c.keys {
		public := cosignatureKey(key)
		keys = append(keys, fmt.Sprintf("%s+%08x+%s", c.name, c.hash(public), base64.StdEncoding.EncodeToString(public)))
	}
	return keys
}

// Verifier gives the newest of the witness's public keys.
func (c *Cosigner) Verifier() string { return c.Verifiers()[0] }

func cosignatureKey(key ed25519.PrivateKey) []byte {
	return append([]byte{noteCosignature}, key.Public().(ed25519.PublicKey)...) //nolint:forcetypeassert // it is one
}

func (c *Cosigner) hash(public []byte) uint32 {
	sum := sha256.Sum256(append([]byte(c.name+"\n"), public...))
	return binary.BigEndian.Uint32(sum[:4])
}

// Cosign gives the signature lines that the witness adds to a checkpoint.
func (c *Cosigner) Cosign(checkpoint []byte, at time.Time) ([]byte, error) {
	end := bytes.LastIndex(checkpoint, []byte("\n\n"))
	if end < 0 || at.Unix() < 0 {
		return nil, errors.New("audit: what is to be cosigned is no checkpoint")
	}
	now := binary.BigEndian.AppendUint64(nil, uint64(at.Unix())) //nolint:gosec // checked
	text := fmt.Appendf(nil, "%stime %d\n%s", cosignatureV1, at.Unix(), checkpoint[:end+1])
	var lines []byte
	for _, key := range c.keys {
		sig := binary.BigEndian.AppendUint32(nil, c.hash(cosignatureKey(key)))
		sig = append(append(sig, now...), ed25519.Sign(key, text)...)
		lines = fmt.Appendf(lines, "— %s %s\n", c.name, base64.StdEncoding.EncodeToString(sig))
	}
	return lines, nil
}

// ProveConsistency gives the proof that the tree of an earlier size is the beginning of a tree of a size with a root
// (RFC 6962, 2.1.2). What the reader gives is checked against the root.
func ProveConsistency(size uint64, root tlog.Hash, old uint64, read TileReader) (tlog.TreeProof, error) {
	if size > 1<<62 || old == 0 || old > size {
		return nil, fmt.Errorf("audit: a tree of %d entries is no beginning of one of %d", old, size)
	}
	r := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, tiles(read))
	return tlog.ProveTree(int64(size), int64(old), r)
}

// ErrOtherBeginning says that a proof of consistency is that of another tree than the one that was seen: who signed both
// roots has signed two trees.
var ErrOtherBeginning = errors.New("audit: the tree does not begin with the one that was seen")

// ErrUnproven says that a proof of consistency does not lead to the root that was signed, and does not show why: from an old
// size that is a power of two it takes the old root for granted, so that either of the two roots, or the proof, can be wrong.
var ErrUnproven = errors.New("audit: the proof does not lead from the tree that was seen to the one that is shown")

// CheckConsistency returns nil when a proof of consistency (RFC 6962, 2.1.2) shows that the tree of an old size and root is the
// beginning of the tree of a size and root. Else it is ErrOtherBeginning or ErrUnproven, or an error that
// says what is wrong with the proof, from which nothing follows about the trees.
func CheckConsistency(size uint64, root tlog.Hash, old uint64, oldRoot tlog.Hash, proof tlog.TreeProof) error {
	if old == 0 || old > size || size > 1<<62 {
		return fmt.Errorf("audit: a tree of %d entries is no beginning of one of %d", old, size)
	}
	if old == size {
		if len(proof) > 0 {
			return errors.New("audit: the proof between trees of the same size has no hashes")
		}
		if root != oldRoot {
			return ErrOtherBeginning
		}
		return nil
	}
	granted := old&(old-1) == 0
	if granted {
		proof = append(tlog.TreeProof{oldRoot}, proof...)
	}
	first, last, ok := consistency(size, old, proof)
	switch {
	case !ok:
		return fmt.Errorf("audit: a proof between trees of %d and %d entries has another number of hashes", old, size)
	case last != root && granted:
		return ErrUnproven
	case last != root:
		return errors.New("audit: the proof does not give the root that was signed")
	case first != oldRoot:
		return ErrOtherBeginning
	}
	return nil
}

// consistency gives the two roots that a proof comes to (RFC 9162, 2.1.4.2); the first of its hashes is of the beginning.
func consistency(size, old uint64, proof tlog.TreeProof) (first, last tlog.Hash, ok bool) {
	fn, sn := old-1, size-1
	for ; fn&1 == 1; fn, sn = fn>>1, sn>>1 {
	}
	if len(proof) == 0 {
		return first, last, false
	}
	first, last = proof[0], proof[0]
	for _, hash := range proof[1:] {
		switch {
		case sn == 0:
			return first, last, false
		case fn&1 == 1 || fn == sn:
			first, last = tlog.NodeHash(hash, first), tlog.NodeHash(hash, last)
			for ; fn&1 == 0 && fn != 0; fn, sn = fn>>1, sn>>1 {
			}
		default:
			last = tlog.NodeHash(last, hash)
		}
		fn, sn = fn>>1, sn>>1
	}
	return first, last, sn == 0
}
