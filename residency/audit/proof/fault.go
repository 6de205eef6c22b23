package proof

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// What is here runs once something is known to be wrong, and finds out what. It reads around in a log that is
// damaged, so what cannot be read is taken as not known.

// wrongEntry says what is wrong with the first entry whose hash is not the one that the tree has for its place.
func (w *walk) wrongEntry(t tlog.Tile, entries [][]byte, leaves []byte, i int) *Fault {
	f := &Fault{Place: firstPlace(t, i), Path: tilePath(t)}
	if i >= t.W {
		f.Kind, f.Detail = Inserted, fmt.Sprintf("the bundle has more than the %d entries that the tree has for it", t.W)
		return f
	}
	leaf := hashAt(leaves, i)
	shifted := i+1 < len(entries) && tlog.RecordHash(entries[i+1]) == leaf // what belongs here stands right behind
	other := w.placeOf(entries[i])
	switch {
	case other == 0 && shifted:
		f.Kind, f.Detail = Inserted, "before the entry of this place stands one that the log never had"
	case other == 0:
		f.Kind, f.Detail = Edited, "the entry's bytes are not those that the tree has"
	case other < f.Place:
		f.Kind, f.Detail = Duplicated, fmt.Sprintf("the entry of place %d stands here again", other)
	case w.standsAt(other, leaf):
		f.Kind, f.Detail = Swapped, fmt.Sprintf("this entry and that of place %d stand in each other's place", other)
	case shifted:
		f.Kind, f.Detail = Inserted, fmt.Sprintf("before the entry of this place stands that of place %d", other)
	default:
		f.Kind, f.Detail = Missing, fmt.Sprintf("here stands the entry of place %d", other)
	}
	return f
}

// placeOf gives the place at which the tree has an entry, 0 when it has it nowhere.
func (w *walk) placeOf(entry []byte) uint64 {
	e, err := ParseEntry(entry)
	if err != nil || e.Place > w.size() {
		return 0
	}
	hashes, err := w.tree().ReadHashes([]int64{tlog.StoredHashIndex(0, int64(e.Place-1))})
	if err != nil || hashes[0] != tlog.RecordHash(entry) {
		return 0
	}
	return e.Place
}

// standsAt reports whether the entry with a hash stands at a place.
func (w *walk) standsAt(place uint64, leaf tlog.Hash) bool {
	index := place - 1
	t := bundleAt(index/tileWidth, w.size())
	entries, _, err := readBundle(w.ctx, w.src, t)
	k := int(index % tileWidth)
	return err == nil && k < len(entries) && tlog.RecordHash(entries[k]) == leaf
}

// bundleAt gives the n-th bundle of a log of a size.
func bundleAt(n, size uint64) tlog.Tile {
	return tlog.Tile{H: tileHeight, L: bundles, N: int64(n), W: int(min(size-n*tileWidth, tileWidth))}
}

// wrongPlace holds entries to where they stand by what they say of themselves. It finds what a tree
// does not show, when the tree was made of the wrong entries. Those that are where they belong are added to read, unless that is nil.
func wrongPlace(region string, t tlog.Tile, entries [][]byte, read *[]Entry) *Fault {
	for i, entry := range entries {
		f := &Fault{Place: firstPlace(t, i), Path: tilePath(t)}
		e, err := ParseEntry(entry)
		switch {
		case err != nil:
			f.Kind, f.Detail = Malformed, err.Error()
		case e.Region != region:
			f.Kind, f.Detail = Foreign, fmt.Sprintf("here stands an entry of region %s, the log is of region %s", e.Region, region)
		case e.Place == f.Place:
			if read != nil {
				*read = append(*read, e)
			}
			continue
		case e.Place < f.Place:
			f.Kind, f.Detail = Duplicated, fmt.Sprintf("here stands an entry that says that its place is %d", e.Place)
		case i+1 < len(entries) && e.Place == f.Place+1 && saysPlace(entries[i+1], f.Place):
			f.Kind, f.Detail = Swapped, fmt.Sprintf("this entry and that of place %d stand in each other's place", e.Place)
		default:
			f.Kind, f.Detail = Missing, fmt.Sprintf("here stands an entry that says that its place is %d", e.Place)
		}
		return f
	}
	return nil
}

func saysPlace(entry []byte, place uint64) bool {
	e, err := ParseEntry(entry)
	return err == nil && e.Place == place
}

// wrongTile says what is wrong with a full tile that does not give the hash that the tile above has for it.
func (w *walk) wrongTile(t tlog.Tile, data []byte, want tlog.Hash) *Fault {
	under, err := w.under(t)
	if err == nil && len(under) == len(data) && subtree(under) == want {
		return differs(t, data, under)
	}
	if t.L == 0 { // the entries were changed too, or cannot be read
		b := t
		b.L = bundles
		if entries, _, err := readBundle(w.ctx, w.src, b); err == nil {
			if f := wrongPlace(w.region, b, entries, nil); f != nil {
				f.Detail += "; its tile was changed as well"
				return f
			}
		}
	}
	return &Fault{Kind: BadTile, Place: firstPlace(t, 0), Path: tilePath(t), Detail: "its hashes do not give the one that the tile above has for it, and neither does what is below it"}
}

// differs says where a tile is not what is below it, which is right.
func differs(t tlog.Tile, data, under []byte) *Fault {
	k := 0
	for k < t.W-1 && hashAt(data, k) == hashAt(under, k) {
		k++
	}
	return &Fault{Kind: BadTile, Place: firstPlace(t, k), Path: tilePath(t), Detail: fmt.Sprintf("its hash %d is not that of what is below it, which is right", k)}
}

// under gives the hashes that a tile should have, after what is below it: entries, or tiles.
func (w *walk) under(t tlog.Tile) ([]byte, error) {
	var out []byte
	if t.L == 0 {
		t.L = bundles
		entries, _, err := readBundle(w.ctx, w.src, t)
		for _, entry := range entries {
			h := tlog.RecordHash(entry)
			out = append(out, h[:]...)
		}
		return out, err
	}
	for k := range t.W {
		data, err := readTile(w.ctx, w.src, childOf(t, k))
		if err != nil {
			return nil, err
		}
		h := subtree(data)
		out = append(out, h[:]...)
	}
	return out, nil
}

// wrongEdge says what is wrong when the tiles at the right edge do not give the root that was signed.
func (w *walk) wrongEdge(served edge) *Fault {
	right := edgeOf(w.size())
	whole := true
	for level, t := range right.tiles {
		if t.W == 0 {
			continue
		}
		data, err := w.under(t)
		whole = whole && err == nil && len(data) == t.W*tlog.HashSize
		right.data[level] = data
	}
	if whole {
		if root, err := right.root(w.size()); err == nil && root == w.report.Checkpoint.Root {
			return firstDifference(served, right)
		}
	}
	if f := w.scanPlaces(); f != nil {
		f.Detail += "; the tiles were made of it, and do not give the root that was signed"
		return f
	}
	return &Fault{Kind: BadRoot, Detail: "the tiles do not give the root that was signed: entries or tiles were changed since, or the checkpoint is of another state"}
}

func firstDifference(served, right edge) *Fault {
	for level := len(right.tiles) - 1; level > 0; level-- {
		if string(served.data[level]) != string(right.data[level]) {
			return differs(right.tiles[level], served.data[level], right.data[level])
		}
	}
	return differs(right.tiles[0], served.data[0], right.data[0])
}

// scanPlaces looks for the first entry that stands where it does not belong.
func (w *walk) scanPlaces() *Fault {
	for n := uint64(0); n*tileWidth < w.size() && w.ctx.Err() == nil; n++ {
		t := bundleAt(n, w.size())
		if !w.wanted(t) {
			continue
		}
		entries, _, err := readBundle(w.ctx, w.src, t)
		if err != nil {
			continue
		}
		if f := wrongPlace(w.region, t, entries, nil); f != nil {
			return f
		}
	}
	return nil
}
