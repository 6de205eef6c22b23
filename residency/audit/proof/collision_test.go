package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// Keys are told apart by their names, not by their hashes alone, which have 32 bits: a witness whose name makes its key's hash that
// of the log's does not sign for the log.
func TestAWitnessIsNotTheLog(t *testing.T) {
	sum := sha256.Sum256([]byte("witness"))
	private := ed25519.NewKeyFromSeed(sum[:])
	public := append([]byte{algCosignature}, private.Public().(ed25519.PublicKey)...)
	names := map[uint32]string{}
	for i := range 300_000 {
		name := fmt.Sprintf("w.example/%d", i)
		names[keyHash(name, algCosignature, public[1:])] = name
	}
	for i := 0; ; i++ {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i))
		log := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		hash := keyHash(origin, algEd25519, log)
		name, collides := names[hash]
		if !collides {
			continue
		}
		encoded := func(algorithm byte, key []byte) string {
			return base64.StdEncoding.EncodeToString(append([]byte{algorithm}, key...))
		}
		key, err := ParseKey(fmt.Sprintf("%s+%08x+%s", origin, hash, encoded(algEd25519, log)))
		if err != nil {
			t.Fatal(err)
		}
		known, err := ParseWitness(fmt.Sprintf("%s+%08x+%s", name, hash, encoded(algCosignature, public[1:])))
		if err != nil {
			t.Fatal(err)
		}
		l := build(t, entries(5))
		root := l.root(t, 5)
		text := fmt.Sprintf("%s\n5\n%s\n", origin, base64.StdEncoding.EncodeToString(root[:]))
		forged, err := note.Sign(&note.Note{Text: text}, witness{name: name, key: private, time: 1793664000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := key.OpenCheckpoint(forged, known); err == nil || !strings.Contains(err.Error(), "not signed by the key of") {
			t.Errorf("signed by the witness alone: %v", err)
		}
		return
	}
}

// Of two lines by one signer only the first would be looked at.
func TestNobodySignsTwice(t *testing.T) {
	l := build(t, entries(5))
	checkpoint := string(l.checkpoint(t, 5))
	line := checkpoint[strings.LastIndex(strings.TrimSuffix(checkpoint, "\n"), "\n")+1:]
	if _, err := l.key.OpenCheckpoint([]byte(checkpoint + line)); err == nil || !strings.Contains(err.Error(), "signed by somebody twice") {
		t.Errorf("%v", err)
	}
}
