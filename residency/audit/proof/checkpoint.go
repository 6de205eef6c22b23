package proof

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxCheckpoint is the most bytes that a checkpoint may have.
const MaxCheckpoint = 64 << 10

// Checkpoint is the state of a log that was signed: how many entries it has, and the hash that all of them give.
type Checkpoint struct {
	Origin     string
	Size       uint64
	Root       tlog.Hash
	Extensions []string // further signed lines; of their kinds those that name a signer mean something here

	// Cosigned are the witnesses, of those who were asked for, who say that the log was consistent when they saw it.
	Cosigned []Cosignature

	// Named are the others whose signatures fit a key that the log itself names, on its own word.
	Named []Cosignature

	// Absent are the witnesses that the log names and whose signature is not there; they have no time.
	Absent []Cosignature

	// Unchecked are the names of those who signed too and whose key nobody has told: anybody can have written that.
	Unchecked []string
}

// Cosignature says when a witness signed a checkpoint too.
type Cosignature struct {
	Witness string
	Kind    string // what the log says of a witness that it names: "self", "peer" or "outside"; "" of one that was asked for
	Time    time.Time
}

// OpenCheckpoint reads a signed checkpoint (C2SP tlog-checkpoint): it must be of the key's log and signed by the key and
// by every one of the witnesses. The signatures of those whom the log names must fit too; those of others are ignored.
func (k Key) OpenCheckpoint(signed []byte, witnesses ...Witness) (Checkpoint, error) {
	if k.verifier == nil {
		return Checkpoint{}, errors.New("no key was given")
	}
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("the checkpoint has %d bytes, more than %d", len(signed), MaxCheckpoint)
	}
	known := []note.Verifier{k.verifier}
	for _, w := range witnesses {
		known = append(known, w)
	}
	named := namedIn(signed, k.Origin(), known)
	for _, s := range named {
		known = append(known, s)
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint: %w", signatureError(err, k))
	}
	if lines := strings.Count(string(signed), "\n— "); lines != len(n.Sigs)+len(n.UnverifiedSigs) {
		return Checkpoint{}, errors.New("the checkpoint is signed by somebody twice")
	}
	signatures, err := byKey(n.Sigs)
	if err != nil {
		return Checkpoint{}, err
	}
	if _, ok := signatures[signerOf(k.verifier)]; !ok {
		return Checkpoint{}, fmt.Errorf("the checkpoint is not signed by the key of %s", k.Origin())
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint: %w", err)
	}
	if c.Origin != k.Origin() {
		return Checkpoint{}, fmt.Errorf("the checkpoint is of the log %q, the key of %q", c.Origin, k.Origin())
	}
	for _, w := range witnesses {
		s, ok := signatures[signerOf(w)]
		if !ok {
			return Checkpoint{}, fmt.Errorf("the checkpoint is not cosigned by %s", w.name)
		}
		c.Cosigned = append(c.Cosigned, Cosignature{Witness: w.name, Time: cosignedAt(s)})
	}
	for _, w := range named {
		if s, ok := signatures[signerOf(w)]; ok && w.kind != "" {
			c.Named = append(c.Named, Cosignature{Witness: w.Name(), Kind: w.kind, Time: cosignedAt(s)})
		}
	}
	c.Absent = absent(named, n.Sigs)
	for _, s := range n.UnverifiedSigs {
		c.Unchecked = append(c.Unchecked, s.Name)
	}
	return c, nil
}

// absent gives the witnesses, of those who are named, none of whose keys signed.
func absent(witnesses []named, signatures []note.Signature) (out []Cosignature) {
	seen := make(map[string]bool, len(signatures))
	for _, s := range signatures {
		seen[s.Name] = true
	}
	for _, w := range witnesses {
		if w.kind != "" && !seen[w.Name()] {
			seen[w.Name()] = true
			out = append(out, Cosignature{Witness: w.Name(), Kind: w.kind})
		}
	}
	return out
}

// The lines by which a checkpoint names its further signers: the log's other keys, while they are being replaced, and the
// witnesses that it asks.
const (
	namesKey     = "key: "
	namesWitness = "witness: "
)

// named is a signer whom a checkpoint names.
type named struct {
	note.Verifier
	kind string // "" = a key of the log's own
}

// namedIn reads whom a checkpoint names, but for those who are known. That it is the log's word is certain only once its signature
// was verified.
func namedIn(signed []byte, origin string, known []note.Verifier) (out []named) {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	seen := make(map[signer]bool, len(known))
	for _, v := range known {
		seen[signerOf(v)] = true
	}
	for _, line := range strings.Split(text, "\n") {
		s, ok := parseNamed(line, origin)
		if ok && !seen[signerOf(s)] && len(out) < maxNamed {
			seen[signerOf(s)] = true
			out = append(out, s)
		}
	}
	return out
}

// maxNamed bounds the signers that are looked at.
const maxNamed = 64

func parseNamed(line, origin string) (named, bool) {
	if text, ok := strings.CutPrefix(line, namesKey); ok {
		k, err := ParseKey(text)
		return named{Verifier: k.verifier}, err == nil && k.Origin() == origin
	}
	text, ok := strings.CutPrefix(line, namesWitness)
	kind, text, cut := strings.Cut(text, " ")
	if !ok || !cut || kind != "self" && kind != "peer" && kind != "outside" {
		return named{}, false
	}
	w, err := ParseWitness(text)
	return named{w, kind}, err == nil
}

// signatureError says in the auditor's words what package note found.
func signatureError(err error, k Key) error {
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return fmt.Errorf("no signature in it is by the key of %s", k.Origin())
	case errors.As(err, &invalid):
		return fmt.Errorf("the signature of %s does not fit: it was changed, or signed by another key", invalid.Name)
	}
	return errors.New("it is not a signed note")
}

// signer says whose a signature is. The hash alone does not: it has 32 bits, and names can be chosen so that it comes out as
// somebody else's.
type signer struct {
	name string
	hash uint32
}

func signerOf(v note.Verifier) signer { return signer{v.Name(), v.KeyHash()} }

// byKey sorts signatures by their keys. Each must have the one form, since otherwise bits of it could be changed.
func byKey(signatures []note.Signature) (map[signer]note.Signature, error) {
	out := make(map[signer]note.Signature, len(signatures))
	for _, s := range signatures {
		if _, err := decodeBase64(s.Base64); err != nil {
			return nil, fmt.Errorf("the signature of %s: %w", s.Name, err)
		}
		out[signer{s.Name, s.Hash}] = s
	}
	return out, nil
}

// parseCheckpoint reads the lines that are signed.
func parseCheckpoint(text string) (Checkpoint, error) {
	body, ok := strings.CutSuffix(text, "\n")
	lines := strings.Split(body, "\n")
	if !ok || len(lines) < 3 {
		return Checkpoint{}, errors.New("it has not the three lines of origin, size and root")
	}
	for _, line := range lines {
		if line == "" {
			return Checkpoint{}, errors.New("it has an empty line")
		}
	}
	size, err := parseNumber(lines[1])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the size: %w", err)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the root: %w", err)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root, Extensions: lines[3:]}, nil
}

// parseNumber reads a decimal number in its one form.
func parseNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text || n > largest {
		return 0, errors.New("it is not a decimal number without leading zeroes of at most 2^62")
	}
	return n, nil
}

// parseHash reads a hash in base64.
func parseHash(text string) (tlog.Hash, error) {
	b, err := decodeBase64(text)
	if err != nil {
		return tlog.Hash{}, err
	}
	if len(b) != tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("it has %d bytes, want %d", len(b), tlog.HashSize)
	}
	return tlog.Hash(b), nil
}
