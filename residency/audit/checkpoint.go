package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// SeedSize is the length of a log key's seed in bytes.
const SeedSize = ed25519.SeedSize

// Signer signs a log's checkpoints with the region's key.
type Signer struct {
	signers   []note.Signer // the region's key and, while it is being changed, those before it
	checkers  []note.Verifier
	verifiers []string // as verifiers are given them
}

// The algorithm of Ed25519 keys in signed notes.
const noteEd25519 = 1

// NewSigner makes the signer of a log from its region's seed. The origin is the log's name, which no other log has.
// While the region changes its key there are several seeds, the new one first: each signs, so that whoever knows one of the keys
// can verify.
func NewSigner(origin string, seeds ...[]byte) (*Signer, error) {
	if err := checkSeeds(seeds); err != nil {
		return nil, err
	}
	s := &Signer{}
	for _, seed := range seeds {
		if err := s.add(origin, seed); err != nil {
			return nil, fmt.Errorf("audit: the origin %q: %w", origin, err)
		}
	}
	return s, nil
}

func (s *Signer) add(origin string, seed []byte) error {
	public := append([]byte{noteEd25519}, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)...) //nolint:forcetypeassert // it is one
	sum := sha256.Sum256(append([]byte(origin+"\n"), public...))
	hash := fmt.Sprintf("%08x", binary.BigEndian.Uint32(sum[:4]))
	encoded := func(key []byte) string { return base64.StdEncoding.EncodeToString(key) }
	verifier := origin + "+" + hash + "+" + encoded(public)
	signer, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + hash + "+" + encoded(append([]byte{noteEd25519}, seed...)))
	if err != nil {
		return err
	}
	checker, err := note.NewVerifier(verifier)
	if err != nil {
		return err
	}
	s.signers, s.checkers, s.verifiers = append(s.signers, signer), append(s.checkers, checker), append(s.verifiers, verifier)
	return nil
}

// Name gives the log's origin.
func (s *Signer) Name() string { return s.signers[0].Name() }

// Verifier gives the log's public key as verifiers are given it: ORIGIN+HASH+BASE64.
func (s *Signer) Verifier() string { return s.verifiers[0] }

// Checkpoint signs a tree head, and names who else signs it: the witnesses (see NameWitness), and its own keys while there are
// several. So the signatures of all can be verified by who knows one key of the log.
func (s *Signer) Checkpoint(size uint64, root tlog.Hash, witnesses ...string) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.Name(), size, base64.StdEncoding.EncodeToString(root[:]))
	if len(s.verifiers) > 1 {
		for _, key := range s.verifiers {
			text += "key: " + key + "\n"
		}
	}
	for _, line := range witnesses {
		text += line + "\n"
	}
	return note.Sign(&note.Note{Text: text}, s.signers...)
}

// ErrOtherKey says that a checkpoint was signed by another key than the region's.
var ErrOtherKey = errors.New("audit: the newest checkpoint was signed by another key: this gateway's key file is not the region's")

// Mine returns nil when a checkpoint was signed by this signer, with any of its keys.
func (s *Signer) Mine(checkpoint []byte) error {
	if _, err := note.Open(checkpoint, note.VerifierList(s.checkers...)); err != nil {
		return fmt.Errorf("%w: %w", ErrOtherKey, err)
	}
	return nil
}

// Receipt writes the proof that an entry is in the tree of a checkpoint (C2SP tlog-proof), the entry itself as
// its extra data.
func Receipt(entry []byte, leaf uint64, proof tlog.RecordProof, checkpoint []byte) []byte {
	var b strings.Builder
	b.WriteString("c2sp.org/tlog-proof@v1\n")
	fmt.Fprintf(&b, "extra %s\nindex %d\n", base64.StdEncoding.EncodeToString(entry), leaf)
	for _, h := range proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(checkpoint)
	return []byte(b.String())
}
