package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

// Options say what a log must agree with beside itself, and how much of it is looked at. The zero Options
// look at all of it, and compare it with nothing.
type Options struct {
	// Witnesses must all have cosigned the checkpoint.
	Witnesses []Witness

	// Remembered are checkpoints of the log that were seen earlier: kept ones, and those in receipts. Only they show that the end
	// of the log was not cut off, and that it was not written anew.
	Remembered []Checkpoint

	// First and Last are the places of the entries to look at, 0 for the log's first and last. The tiles above them
	// are read too, and whole bundles. In a part, bundles may be missing before the first that is there, as in a whole.
	First, Last uint64

	// Each, if set, is given every verified entry between First and Last, in the order of their places, once the bundle that
	// it is in was found right. What it is given is good until it returns; an error of its own ends the walk and is VerifyLog's. What comes later in
	// the log has not been looked at yet: only when VerifyLog returns nil were the entries given all that there are.
	Each func(*Entry) error
}

// Report says what was verified.
type Report struct {
	Checkpoint  Checkpoint
	First, Last uint64 // the places that were looked at; 0 of an empty log
	Verified    uint64 // entries whose bytes, places and hashes are right
	Dropped     uint64 // entries at the beginning of the log that are there by their hashes alone
	Tiles       int    // tiles whose every hash is right
	Remembered  []Checkpoint
}

// Caveat says what the report does not show: "" when the log was compared with an earlier checkpoint.
func (r *Report) Caveat() string {
	if len(r.Remembered) > 0 {
		return ""
	}
	return "consistent with itself only; a cut-off tail would not be noticed"
}

// VerifyLog verifies a log from its entries up to the root that its key signed: every entry is hashed, its place
// compared with where it stands, its region with the origin's, and every tile with what is below it. Entries whose time was over may have been
// dropped: their bundles, which were full, are missing, and all before them. It keeps a few tiles and one bundle in memory. A log in which something is wrong gives a *Fault, the
// first one by place; other errors say that a file could not be read or that the checkpoint is not signed as it must be.
func VerifyLog(ctx context.Context, src Source, key Key, o Options) (Report, error) {
	signed, err := src.ReadFile(ctx, "checkpoint", MaxCheckpoint)
	if err != nil {
		return Report{}, fmt.Errorf("the log's checkpoint: %w", err)
	}
	c, err := key.OpenCheckpoint(signed, o.Witnesses...)
	if err != nil {
		return Report{}, err
	}
	w := &walk{ctx: ctx, src: src, each: o.Each, region: key.Region(), report: Report{Checkpoint: c, First: max(o.First, 1), Last: o.Last}}
	if o.Last == 0 || o.Last > c.Size {
		w.report.Last = c.Size
	}
	if c.Size == 0 {
		w.report.First = 0
	} else if w.report.First > w.report.Last {
		return Report{}, fmt.Errorf("places %d to %d are not in a log of %d entries", o.First, o.Last, c.Size)
	}
	for _, old := range o.Remembered { // before all else: a log that was set back is right in itself
		if err := notNewer(old, c); err != nil {
			return Report{}, err
		}
	}
	if err := w.log(); err != nil {
		return Report{}, err
	}
	for _, old := range o.Remembered {
		if err := w.contains(old); err != nil {
			return Report{}, err
		}
	}
	w.report.Remembered = o.Remembered
	return w.report, nil
}

// notNewer compares a log with a checkpoint of the same size or more.
func notNewer(old, c Checkpoint) error {
	switch {
	case old.Origin != c.Origin:
		return fmt.Errorf("the earlier checkpoint is of the log %q, this is %q", old.Origin, c.Origin)
	case old.Size > c.Size:
		return &Fault{Kind: CutOff, Place: c.Size + 1, Detail: fmt.Sprintf(
			"an earlier checkpoint was of %d entries, this log has %d: its end was cut off, or it was set back", old.Size, c.Size)}
	case old.Size == c.Size && old.Root != c.Root:
		return &Fault{Kind: Forked, Detail: fmt.Sprintf("two checkpoints of %d entries were signed, with different roots", c.Size)}
	}
	return nil
}

// walk goes through a log from the root down, so that what it comes to is compared with what is known to be right.
type walk struct {
	ctx    context.Context //nolint:containedctx // a walk is one call
	src    Source
	each   func(*Entry) error // nil = nobody wants them
	region string             // whose log it is
	report Report
	held   bool    // a bundle was there: none may be missing any more
	read   []Entry // those of the bundle at hand
}

func (w *walk) size() uint64 { return w.report.Checkpoint.Size }

// tree reads hashes that are checked against the root on the way.
func (w *walk) tree() tlog.HashReader {
	c := w.report.Checkpoint
	return tlog.TileHashReader(tlog.Tree{N: int64(c.Size), Hash: c.Root}, tiles{w.ctx, w.src})
}

// contains compares the log's beginning with an earlier checkpoint.
func (w *walk) contains(old Checkpoint) error {
	root, err := tlog.TreeHash(int64(old.Size), w.tree())
	if err != nil {
		return err
	}
	if root != old.Root {
		return &Fault{Kind: Forked, Detail: fmt.Sprintf("its first %d entries are not those of the earlier checkpoint of as many", old.Size)}
	}
	return nil
}

// log goes through everything: from the right edge, whose tiles give the root, down to the entries, in their order.
func (w *walk) log() error {
	e := edgeOf(w.size())
	for level, t := range e.tiles {
		if t.W == 0 {
			continue
		}
		data, err := readTile(w.ctx, w.src, t)
		if err != nil {
			return err
		}
		e.data[level] = data
	}
	root, err := e.root(w.size())
	if err != nil {
		return err
	}
	if root != w.report.Checkpoint.Root {
		return w.wrongEdge(e)
	}
	for level := len(e.tiles) - 1; level >= 0; level-- { // the higher a level, the further left is what is under it
		if e.tiles[level].W == 0 {
			continue
		}
		if err := w.below(e.tiles[level], e.data[level]); err != nil {
			return err
		}
	}
	return nil
}

// below goes through what is under a tile that is right.
func (w *walk) below(t tlog.Tile, data []byte) error {
	if !w.wanted(t) {
		return nil
	}
	w.report.Tiles++
	if t.L == 0 {
		return w.bundle(t, data)
	}
	for k := range t.W {
		child := childOf(t, k)
		if !w.wanted(child) {
			continue
		}
		below, err := readTile(w.ctx, w.src, child)
		if err != nil {
			return err
		}
		if subtree(below) != hashAt(data, k) {
			return w.wrongTile(child, below, hashAt(data, k))
		}
		if err := w.below(child, below); err != nil {
			return err
		}
	}
	return nil
}

// childOf gives the full tile whose root is a tile's hash at a position.
func childOf(t tlog.Tile, k int) tlog.Tile {
	return tlog.Tile{H: tileHeight, L: t.L - 1, N: t.N*tileWidth + int64(k), W: tileWidth}
}

// firstPlace gives the place of the first entry that is under a tile's hash at a position.
func firstPlace(t tlog.Tile, k int) uint64 {
	level := max(t.L, 0)
	return (uint64(t.N)*tileWidth+uint64(k))<<(tileHeight*level) + 1
}

// wanted reports whether anything under a tile is to be looked at.
func (w *walk) wanted(t tlog.Tile) bool {
	return firstPlace(t, 0) <= w.report.Last && firstPlace(t, t.W) > w.report.First
}

// bundle holds the entries to the hashes of their tile, which are right.
func (w *walk) bundle(t tlog.Tile, leaves []byte) error {
	t.L = bundles
	entries, whole, err := readBundle(w.ctx, w.src, t)
	switch {
	case errors.Is(err, fs.ErrNotExist) && w.held:
		return &Fault{Kind: Missing, Place: firstPlace(t, 0), Path: tilePath(t), Detail: "there is no such bundle, though there are earlier ones"}
	case errors.Is(err, fs.ErrNotExist) && t.W < tileWidth:
		return &Fault{Kind: Missing, Place: firstPlace(t, 0), Path: tilePath(t), Detail: "there is no such bundle, and only full ones are ever dropped"}
	case errors.Is(err, fs.ErrNotExist):
		w.report.Dropped += uint64(t.W)
		return nil
	case err != nil:
		return err
	}
	w.held = true
	for i, entry := range entries {
		if i >= t.W || tlog.RecordHash(entry) != hashAt(leaves, i) {
			return w.wrongEntry(t, entries, leaves, i)
		}
	}
	w.read = w.read[:0]
	if f := wrongPlace(w.region, t, entries, &w.read); f != nil {
		return f
	}
	if len(entries) < t.W {
		return &Fault{Kind: Missing, Place: firstPlace(t, len(entries)), Path: tilePath(t), Detail: "the bundle ends before this entry"}
	}
	if !whole {
		return &Fault{Kind: Inserted, Place: firstPlace(t, t.W), Path: tilePath(t), Detail: "bytes follow the bundle's last entry"}
	}
	w.report.Verified += uint64(t.W)
	return w.give()
}

// give hands over the entries of a bundle that is right.
func (w *walk) give() error {
	for i := range w.read {
		e := &w.read[i]
		if w.each == nil || e.Place < w.report.First || e.Place > w.report.Last {
			continue
		}
		if err := w.each(e); err != nil {
			return err
		}
	}
	return w.ctx.Err()
}
