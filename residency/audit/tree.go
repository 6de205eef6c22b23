package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// The shape of tiles (C2SP tlog-tiles).
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight // hashes in a full tile
	tileLevels = 8               // of a tree of up to 2^64 entries
)

// Tree is a log's Merkle tree (RFC 6962) as far as it goes: its size and, of every
// level, the tile that is not full. All else is in tiles that are full and never change. The zero Tree is empty.
type Tree struct {
	Size uint64
	Edge [tileLevels][]byte // by level, the hashes of the partial tile: 0 to 255 of 32 bytes
}

// Tile is a tile that has become full, or a partial one.
type Tile struct {
	Level int
	N     uint64
	Data  []byte // 1 to 256 hashes of 32 bytes
}

// Append adds an entry as the next leaf, and gives the tiles that became full by it, if any.
func (t *Tree) Append(entry []byte) (full []Tile) { return t.AppendHash(tlog.RecordHash(entry)) }

// AppendHash adds an entry of which only the leaf's hash is known, as Append does.
func (t *Tree) AppendHash(hash tlog.Hash) (full []Tile) {
	n := t.Size
	t.Size++
	for level := range t.Edge {
		t.Edge[level] = append(t.Edge[level], hash[:]...)
		if len(t.Edge[level]) < TileWidth*tlog.HashSize {
			break
		}
		tile := Tile{Level: level, N: n >> TileHeight, Data: t.Edge[level]}
		full = append(full, tile)
		t.Edge[level] = nil
		hash, n = root(tile.Data), tile.N
	}
	return full
}

// Root gives the tree's root hash; of the empty tree, the hash of nothing.
func (t *Tree) Root() tlog.Hash {
	h, err := tlog.TreeHash(0, nil) // of no entries
	if err != nil {
		panic(err) // it reads nothing that could fail
	}
	first := true
	for level := range t.Edge { // from the right: the lower a level, the further right are its hashes
		for rest := t.Edge[level]; len(rest) > 0; {
			// What is left of the tile is the right end of a perfect tree that is as wide as its lowest bit says.
			width := 1 << bits.TrailingZeros(uint(len(rest)/tlog.HashSize)) * tlog.HashSize
			sub := root(rest[len(rest)-width:])
			rest = rest[:len(rest)-width]
			if first {
				h, first = sub, false
			} else {
				h = tlog.NodeHash(sub, h)
			}
		}
	}
	return h
}

// root gives the root of a perfect tree over hashes, of which there are a power of two.
func root(hashes []byte) tlog.Hash {
	if len(hashes) == tlog.HashSize {
		return tlog.Hash(hashes)
	}
	half := len(hashes) / 2
	return tlog.NodeHash(root(hashes[:half]), root(hashes[half:]))
}

// Valid reports whether the edge is that of a tree of the size.
func (t *Tree) Valid() error {
	for level, edge := range t.Edge {
		want := t.Size >> (TileHeight * level) % TileWidth
		if uint64(len(edge)) != want*tlog.HashSize {
			return fmt.Errorf("audit: the partial tile of level %d has %d bytes, want %d hashes of a tree of %d entries", level, len(edge), want, t.Size)
		}
	}
	return nil
}

// TilePath gives a tile's path (C2SP tlog-tiles): of level -1 the bundle of entries'. Width 256 is a full one's.
func TilePath(level int, n uint64, width int) string {
	name := "entries"
	if level >= 0 {
		name = fmt.Sprint(level)
	}
	at := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		at = fmt.Sprintf("x%03d/%s", n%1000, at)
	}
	path := "tile/" + name + "/" + at
	if width < TileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

// ParseTilePath reads what TilePath gives, and nothing else.
func ParseTilePath(path string) (level int, n uint64, width int, err error) {
	bad := errors.New("audit: want tile/LEVEL/N, tile/entries/N or one of these with .p/W, as C2SP tlog-tiles has them")
	rest, ok := strings.CutPrefix(path, "tile/")
	name, rest, cut := strings.Cut(rest, "/")
	if !ok || !cut || len(path) > 64 {
		return 0, 0, 0, bad
	}
	level = -1
	if name != "entries" {
		if _, err := fmt.Sscanf(name, "%d", &level); err != nil || level < 0 || level >= tileLevels {
			return 0, 0, 0, bad
		}
	}
	width = TileWidth
	if at, w, partial := strings.Cut(rest, ".p/"); partial {
		if _, err := fmt.Sscanf(w, "%d", &width); err != nil || width < 1 || width >= TileWidth {
			return 0, 0, 0, bad
		}
		rest = at
	}
	for element := range strings.SplitSeq(rest, "/") {
		var digits uint64
		if _, err := fmt.Sscanf(strings.TrimPrefix(element, "x"), "%03d", &digits); err != nil || n > 1<<56/1000 {
			return 0, 0, 0, bad
		}
		n = n*1000 + digits
	}
	if TilePath(level, n, width) != path {
		return 0, 0, 0, bad
	}
	return level, n, width, nil
}

// Bundle appends an entry to a bundle of entries: its length in two bytes, big endian, and the entry.
func Bundle(dst, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(entry))), entry...) //nolint:gosec // an entry has at most MaxEncoded bytes
}

// TileReader reads a tile's hashes; width is how many are wanted, from the first.
type TileReader func(level int, n uint64, width int) ([]byte, error)

// Prove gives the proof that a leaf is in a tree of a size with a root: the hashes from the leaf's sibling up
// (RFC 6962, 2.1.1). What the reader gives is checked against the root.
func Prove(size uint64, root tlog.Hash, leaf uint64, read TileReader) (tlog.RecordProof, error) {
	if size > 1<<62 || leaf >= size {
		return nil, fmt.Errorf("audit: leaf %d is not in a tree of %d entries", leaf, size)
	}
	r := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, tiles(read))
	return tlog.ProveRecord(int64(size), int64(leaf), r)
}

// tiles is a TileReader as tlog wants it.
type tiles TileReader

func (tiles) Height() int { return TileHeight }

func (t tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(want))
	for i, tile := range want {
		data, err := t(tile.L, uint64(tile.N), tile.W) //nolint:gosec // never negative
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
