package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

var (
	seedNew = bytes.Repeat([]byte{1}, SeedSize)
	seedOld = bytes.Repeat([]byte{2}, SeedSize)
)

func TestCosignersThatAreNone(t *testing.T) {
	for name, make := range map[string]func() (*Cosigner, error){
		"no name":          func() (*Cosigner, error) { return NewCosigner("", seedNew) },
		"a space":          func() (*Cosigner, error) { return NewCosigner("a b", seedNew) },
		"a plus":           func() (*Cosigner, error) { return NewCosigner("a+b", seedNew) },
		"no seed":          func() (*Cosigner, error) { return NewCosigner("a") },
		"a seed too short": func() (*Cosigner, error) { return NewCosigner("a", seedNew, seedOld[:31]) },
		"nothing to sign of": func() (*Cosigner, error) {
			c, _ := NewCosigner("a", seedNew)
			_, err := c.Cosign([]byte("text\n"), time.Now())
			return nil, err
		},
		"before 1970": func() (*Cosigner, error) {
			c, _ := NewCosigner("a", seedNew)
			_, err := c.Cosign([]byte("text\n\n"), time.Unix(-1, 0))
			return nil, err
		},
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSelfIsSaidByTheName(t *testing.T) {
	c, err := NewCosigner("example.org/us/witness", seedNew)
	if err != nil {
		t.Fatal(err)
	}
	line, err := c.Self().Cosign([]byte("example.org/ch/ch-1\n0\nAAAA\n\n— x AAAA\n"), time.Unix(1, 0))
	if err != nil || !strings.HasPrefix(string(line), "— example.org/us/witness/self ") || bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("%q, %v", line, err)
	}
	if !IsSelf("example.org/us/witness/self") || IsSelf("example.org/us/witness") || c.keys[0].Equal(c.Self().keys[0]) {
		t.Error("a witness of the log's own operator cannot be told from another")
	}
}

// While a key is replaced whoever knows one of the two can verify.
func TestBothKeysSignWhileOneIsReplaced(t *testing.T) {
	before, _ := NewSigner("example.org/ch/ch-1", seedOld)
	both, err := NewSigner("example.org/ch/ch-1", seedNew, seedOld)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := NewSigner("example.org/ch/ch-1", seedNew)
	if both.Verifier() != after.Verifier() {
		t.Error("the new key is not the one that is given out")
	}
	checkpoint, err := both.Checkpoint(3, tlog.Hash{1})
	if err != nil || before.Mine(checkpoint) != nil || after.Mine(checkpoint) != nil {
		t.Errorf("%s, %v", checkpoint, err)
	}
	alone, _ := after.Checkpoint(4, tlog.Hash{2})
	if both.Mine(alone) != nil || before.Mine(alone) == nil {
		t.Error("what the new key alone signed")
	}
}

// reading gives a log of n entries: its roots and its tiles.
func reading(t *testing.T, n int) (root func(size int64) tlog.Hash, read TileReader) {
	ref := &reference{}
	for i := range n {
		ref.append(t, []byte{byte(i), byte(i >> 8)})
	}
	root = func(size int64) tlog.Hash {
		h, err := tlog.TreeHash(size, ref)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	return root, func(level int, n uint64, width int) ([]byte, error) {
		return tlog.ReadTileData(tlog.Tile{H: TileHeight, L: level, N: int64(n), W: width}, ref)
	}
}

func TestConsistencyIsProved(t *testing.T) {
	r, read := reading(t, 600)
	for _, old := range []uint64{1, 2, 255, 256, 257, 599, 600} {
		p, err := ProveConsistency(600, r(600), old, read)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(p, 600, r(600), int64(old), r(int64(old))); err != nil {
			t.Errorf("from %d: %v", old, err)
		}
	}
	for _, old := range []uint64{0, 601} {
		if _, err := ProveConsistency(600, r(600), old, read); err == nil {
			t.Errorf("from %d: no error", old)
		}
	}
	if _, err := ProveConsistency(600, r(599), 5, read); err == nil {
		t.Error("tiles of another root")
	}
}

// A proof of consistency is taken when package tlog takes it. What is wrong with another is told apart: that it is of another
// tree, which is evidence, from that it is no proof.
func TestCheckConsistency(t *testing.T) {
	const most = 33
	seen, other := treeOf(t, most, "a"), treeOf(t, most, "b")
	for size := uint64(1); size <= most; size++ {
		for old := uint64(1); old <= size; old++ {
			proof := proofOf(t, seen, size, old)
			check := func(with *savedTree, proof tlog.TreeProof) error {
				err := CheckConsistency(size, seen.root(t, size), old, with.root(t, old), proof)
				theirs := tlog.CheckTree(proof, int64(size), seen.root(t, size), int64(old), with.root(t, old))
				if (err == nil) != (theirs == nil) {
					t.Fatalf("%d to %d: %v, package tlog says %v", old, size, err, theirs)
				}
				return err
			}
			if err := check(seen, proof); err != nil {
				t.Fatalf("%d to %d: %v", old, size, err)
			}
			want := ErrOtherBeginning
			if old < size && old&(old-1) == 0 {
				want = ErrUnproven
			}
			if err := check(other, proof); !errors.Is(err, want) {
				t.Fatalf("%d to %d of another tree: %v, want %v", old, size, err, want)
			}
			spoilt := append(slices.Clone(proof), tlog.Hash{1})
			if err := check(seen, spoilt); isEvidence(err) {
				t.Fatalf("%d to %d with a hash too many: %v", old, size, err)
			}
			if len(proof) == 0 {
				continue
			}
			if err := check(other, proof[:len(proof)-1]); isEvidence(err) {
				t.Fatalf("%d to %d with a hash too few: %v", old, size, err)
			}
			spoilt = slices.Clone(proof)
			spoilt[len(spoilt)-1][0] ^= 1
			if err := check(seen, spoilt); isEvidence(err) {
				t.Fatalf("%d to %d with a wrong hash: %v", old, size, err)
			}
		}
	}
	for _, sizes := range [][2]uint64{{0, 1}, {2, 1}, {1, 1<<62 + 1}} {
		if err := CheckConsistency(sizes[1], tlog.Hash{}, sizes[0], tlog.Hash{1}, nil); err == nil || isEvidence(err) {
			t.Errorf("%v: %v", sizes, err)
		}
	}
}

// isEvidence reports whether it follows that two trees were signed, and that there was a fault at all.
func isEvidence(err error) bool { return err == nil || errors.Is(err, ErrOtherBeginning) }

// savedTree is a tree with all its hashes.
type savedTree struct {
	hashes []tlog.Hash
}

func (s *savedTree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = s.hashes[x]
	}
	return out, nil
}

func (s *savedTree) root(t *testing.T, size uint64) tlog.Hash {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), s)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func treeOf(t *testing.T, size int64, what string) *savedTree {
	t.Helper()
	s := &savedTree{}
	for n := range size {
		stored, err := tlog.StoredHashes(n, fmt.Append(nil, what, n), s)
		if err != nil {
			t.Fatal(err)
		}
		s.hashes = append(s.hashes, stored...)
	}
	return s
}

func proofOf(t *testing.T, s *savedTree, size, old uint64) tlog.TreeProof {
	t.Helper()
	proof, err := tlog.ProveTree(int64(size), int64(old), s)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}
