package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// reference is a tree kept by x/mod's way of storing hashes.
type reference struct {
	hashes []tlog.Hash
	n      int64
}

func (r *reference) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = r.hashes[x]
	}
	return out, nil
}

func (r *reference) append(t *testing.T, entry []byte) {
	t.Helper()
	stored, err := tlog.StoredHashes(r.n, entry, r)
	if err != nil {
		t.Fatal(err)
	}
	r.hashes, r.n = append(r.hashes, stored...), r.n+1
}

// The tree and its tiles are those of x/mod's reading of RFC 6962, at every size.
func TestTreeIsTheReferences(t *testing.T) {
	const entries = 70_000
	var tree Tree
	ref := &reference{}
	full := map[string][]byte{}
	read := func(level int, n uint64, width int) ([]byte, error) {
		if n == tree.Size>>(TileHeight*(level+1)) {
			return tree.Edge[level][:width*tlog.HashSize], nil
		}
		data, ok := full[TilePath(level, n, TileWidth)]
		if !ok {
			return nil, errors.New("no such tile")
		}
		return data[:width*tlog.HashSize], nil
	}
	for i := range entries {
		entry := fmt.Appendf(nil, "entry %d", i)
		ref.append(t, entry)
		for _, tile := range tree.Append(entry) {
			full[TilePath(tile.Level, tile.N, TileWidth)] = tile.Data
		}
		if i > 600 && i%997 != 0 && i < entries-300 {
			continue
		}
		want, err := tlog.TreeHash(ref.n, ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := tree.Root(); got != want {
			t.Fatalf("the root of %d entries is %v, want %v", i+1, got, want)
		}
		if err := tree.Valid(); err != nil {
			t.Fatal(err)
		}
		leaf := rand.N(tree.Size)
		proof, err := Prove(tree.Size, tree.Root(), leaf, read)
		if err != nil {
			t.Fatalf("leaf %d of %d: %v", leaf, tree.Size, err)
		}
		if err := tlog.CheckRecord(proof, ref.n, want, int64(leaf), tlog.RecordHash(fmt.Appendf(nil, "entry %d", leaf))); err != nil {
			t.Fatalf("leaf %d of %d: %v", leaf, tree.Size, err)
		}
	}
	for path, data := range full {
		level, n, _, err := ParseTilePath(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tlog.ReadTileData(tlog.Tile{H: TileHeight, L: level, N: int64(n), W: TileWidth}, ref)
		if err != nil || !bytes.Equal(data, want) {
			t.Fatalf("%s differs: %v", path, err)
		}
	}
	if len(full) != entries/TileWidth+entries/TileWidth/TileWidth {
		t.Errorf("%d tiles are full", len(full))
	}
	broken := tree
	broken.Size++
	if broken.Valid() == nil {
		t.Error("the edge of another size is valid")
	}
}

func TestTilePaths(t *testing.T) {
	for path, want := range map[string][3]int64{
		"tile/0/000": {0, 0, 256}, "tile/0/x001/x234/067": {0, 1234067, 256}, "tile/1/x001/000.p/17": {1, 1000, 17},
		"tile/entries/273.p/112": {-1, 273, 112},
	} {
		level, n, width, err := ParseTilePath(path)
		if got := [3]int64{int64(level), int64(n), int64(width)}; err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", path, got, err, want)
		}
		if back := TilePath(int(want[0]), uint64(want[1]), int(want[2])); back != path {
			t.Errorf("%v is %s, want %s", want, back, path)
		}
	}
	for _, bad := range []string{
		"", "tile", "tile/0", "tile/0/", "tile/00/000", "tile/9/000", "tile/-1/000", "tile/0/0", "tile/0/1234", "tile/0/x000/001", "tile/0/001/x002",
		"tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/data/000", "/tile/0/000", "tile/0/000/../../checkpoint",
		"tile/0/x999/x999/x999/x999/x999/x999/999", "tile/0/+01", "tile/0/000 ", "tile/ 1/000",
	} {
		if level, n, width, err := ParseTilePath(bad); err == nil {
			t.Errorf("%q is read as %d, %d, %d", bad, level, n, width)
		}
	}
}

func TestCheckpointsAreSignedNotes(t *testing.T) {
	s, err := NewSigner("example.org/ch/zrh-1", bytes.Repeat([]byte{1}, SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	var tree Tree
	tree.Append([]byte("entry"))
	text, err := s.Checkpoint(tree.Size, tree.Root())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(s.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	if want := "example.org/ch/zrh-1\n1\nw7zGqQ38EHfJGlXhXxXDrhMOTqCsM1AWA0lHvZ9kEks=\n"; len(n.Text) != len(want) || n.Text[:23] != want[:23] {
		t.Errorf("the checkpoint is\n%s", n.Text)
	}
	if err := s.Mine(text); err != nil {
		t.Error(err)
	}
	other, err := NewSigner("example.org/ch/zrh-1", bytes.Repeat([]byte{2}, SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Mine(text); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another's checkpoint: %v", err)
	}
	for _, origin := range []string{"", "two words", "a+b"} {
		if _, err := NewSigner(origin, make([]byte, SeedSize)); err == nil {
			t.Errorf("the origin %q is accepted", origin)
		}
	}
}
