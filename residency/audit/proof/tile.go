package proof

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

// The shape of tiles (C2SP tlog-tiles).
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	fullTile   = tileWidth * tlog.HashSize
	maxBundle  = tileWidth * (2 + MaxEntry)
	bundles    = -1 // the level of entries
)

// tilePath gives the path of a tile or, of level bundles, of a bundle of entries.
func tilePath(t tlog.Tile) string {
	level := "entries"
	if t.L != bundles {
		level = fmt.Sprint(t.L)
	}
	n := fmt.Sprintf("%03d", t.N%1000)
	for rest := t.N / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	path := "tile/" + level + "/" + n
	if t.W < tileWidth {
		path += fmt.Sprintf(".p/%d", t.W)
	}
	return path
}

// hashAt gives a tile's hash at a position.
func hashAt(data []byte, k int) tlog.Hash {
	return tlog.Hash(data[k*tlog.HashSize : (k+1)*tlog.HashSize])
}

// subtree gives the root over the hashes of a full tile.
func subtree(data []byte) tlog.Hash {
	if len(data) == tlog.HashSize {
		return tlog.Hash(data)
	}
	half := len(data) / 2
	return tlog.NodeHash(subtree(data[:half]), subtree(data[half:]))
}

// edge holds the tiles at the right end of a tree, by level, of each the one that is not full. All that is left of
// it is in their hashes, so that the root can be had from them.
type edge struct {
	tiles []tlog.Tile // of width 0 where the level has none
	data  [][]byte
}

func edgeOf(size uint64) edge {
	var e edge
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		hashes := int64(size >> (tileHeight * level))
		e.tiles = append(e.tiles, tlog.Tile{H: tileHeight, L: level, N: hashes / tileWidth, W: int(hashes % tileWidth)})
	}
	e.data = make([][]byte, len(e.tiles))
	return e
}

// ReadHashes gives the hashes that a root is made of, as package tlog numbers them.
func (e edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level := tlog.TileForIndex(tileHeight, index).L
		h, err := tlog.HashFromTile(e.tiles[level], e.data[level], index)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

func (e edge) root(size uint64) (tlog.Hash, error) { return tlog.TreeHash(int64(size), e) }

// readTile reads a tile's hashes. In place of a tile that is not full there may be the full one that it has become since.
func readTile(ctx context.Context, src Source, t tlog.Tile) ([]byte, error) {
	want := t.W * tlog.HashSize
	data, err := src.ReadFile(ctx, tilePath(t), fullTile)
	if errors.Is(err, fs.ErrNotExist) && t.W < tileWidth {
		whole := t
		whole.W = tileWidth
		if data, err = src.ReadFile(ctx, tilePath(whole), fullTile); err == nil && len(data) > want {
			data = data[:want]
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Fault{Kind: Missing, Path: tilePath(t), Detail: "there is no such tile"}
	}
	if err == nil && len(data) != want {
		return nil, &Fault{Kind: BadTile, Path: tilePath(t), Detail: fmt.Sprintf("it has %d bytes, want %d", len(data), want)}
	}
	return data, err
}

// readBundle reads entries as they stand; whole is false when bytes follow that are no entry, as far as lengths tell. Of
// the full bundle that one that was not full has become since, the first entries are given.
func readBundle(ctx context.Context, src Source, t tlog.Tile) (entries [][]byte, whole bool, err error) {
	data, err := src.ReadFile(ctx, tilePath(t), maxBundle)
	most := tileWidth + 1 // one more than there can be, so that it is seen
	if errors.Is(err, fs.ErrNotExist) && t.W < tileWidth {
		grown := t
		grown.W, most = tileWidth, t.W
		data, err = src.ReadFile(ctx, tilePath(grown), maxBundle)
	}
	if err != nil {
		return nil, false, err
	}
	entries, rest := cutEntries(data, most)
	return entries, len(rest) == 0 || len(entries) == most, nil
}

// cutEntries reads a bundle: each entry after its length in two bytes, big endian.
func cutEntries(data []byte, most int) (entries [][]byte, rest []byte) {
	for len(data) >= 2 && len(entries) < most {
		n := int(binary.BigEndian.Uint16(data))
		if n > len(data)-2 {
			break
		}
		entries, data = append(entries, data[2:2+n]), data[2+n:]
	}
	return entries, data
}

// tiles reads a log's tiles for package tlog, which checks them against a root.
type tiles struct {
	ctx context.Context //nolint:containedctx // the reader lives for one call of package tlog, which passes none
	src Source
}

func (t tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(want))
	for i, tile := range want {
		data, err := readTile(t.ctx, t.src, tile)
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
