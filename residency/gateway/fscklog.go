package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// logCheck is the check of one cluster's audit log.
type logCheck struct {
	*fsck
	state       logState
	kept        bool // the state could be read
	first, last uint64

	usage     usageCheck
	witnessed []seenLog // what witnesses have seen of the log, in order, behind where the check is

	tree   audit.Tree // over the entries, as far as the check is
	broken bool       // a leaf was not to be had: no root can be compared any more
}

// fsckWindow is how many entries are read at once: those of four tiles.
const fsckWindow = 4 * audit.TileWidth

// checkLog looks at every entry, and builds the tree over them once more to compare it with what is stored. Of entries that
// were dropped the tiles give the leaves.
func (f *fsck) checkLog(ctx context.Context) error {
	l := &logCheck{fsck: f}
	if err := l.open(ctx); err != nil {
		return err
	}
	for start := uint64(0); start < l.last; start += fsckWindow {
		if err := l.window(ctx, start); err != nil {
			return err
		}
	}
	if l.kept {
		l.compareRoots() // of a tree over nothing
		l.checkCheckpoint()
	}
	return l.checkUsage(ctx)
}

func (l *logCheck) log(code FsckCode, what, detail string) {
	if what == "" {
		what = "the audit log"
	}
	l.tell(l.finding(code, what, detail))
}

// open reads how far the log goes. What is dropped first, then what is counted, then the state: what is counted, or dropped, a
// checkpoint holds by then; and what the state holds is in the outbox for good, unless it is dropped.
func (l *logCheck) open(ctx context.Context) (err error) {
	if l.first, err = l.cluster.Outbox.First(ctx); err != nil {
		return err
	}
	if err = l.openUsage(ctx); err != nil {
		return err
	}
	if err = l.openState(ctx); err != nil {
		return err
	}
	if l.last, err = l.cluster.Outbox.Last(ctx); err != nil {
		return err
	}
	l.checkState(l.first)
	l.checkFirst()
	if l.kept {
		l.openSeen()
	}
	if l.kept && l.state.Size > l.last {
		l.log(LogAhead, "", fmt.Sprintf("the tree holds %d entries, the newest entry is at place %d: entries at the end are lost", l.state.Size, l.last))
	}
	return nil
}

// openState reads the tree's state.
func (l *logCheck) openState(ctx context.Context) error {
	var there bool
	err := l.view(ctx, logScope, func(tx store.Tx) (err error) {
		if _, there, err = has(tx, store.KindLog, ""); err == nil {
			l.state, err = readLog(tx)
		}
		return err
	})
	l.kept, l.logSize = err == nil, l.state.Size
	switch {
	case residency.KindOf(err) == residency.IntegrityFailure:
		l.log(LogDamaged, "", "the row that says how far the tree goes is damaged: "+err.Error())
		return nil
	case err != nil || there:
		return err
	}
	why, err := l.stateLost(ctx)
	if why != "" {
		l.kept = false
		l.log(LogStateMissing, "", "the row that says how far the tree goes is gone: "+why)
	}
	return err
}

// checkFirst looks whether the log begins where a drop may have left it.
func (l *logCheck) checkFirst() {
	dropped := l.first - 1
	switch {
	case dropped%bundleEntries != 0:
		l.log(LogFirst, "", fmt.Sprintf("it begins at place %d, and only bundles of %d entries are dropped", l.first, bundleEntries))
	case l.kept && dropped > l.state.Signed:
		l.log(LogFirst, "", fmt.Sprintf("it begins at place %d, and the newest checkpoint holds %d entries: some were dropped that none holds", l.first, l.state.Signed))
	case l.usage.known && l.usage.state.Through > 0 && dropped > l.usage.state.Through:
		l.log(LogFirst, "", fmt.Sprintf("it begins at place %d, and entries are counted up to place %d: some were dropped that are not counted", l.first, l.usage.state.Through))
	}
}

// window looks at the entries behind a place, some of them.
func (l *logCheck) window(ctx context.Context, start uint64) error {
	end := min(start+fsckWindow, l.last)
	entries, err := l.read(ctx, start, end)
	if err != nil {
		return err
	}
	if !l.kept {
		return nil
	}
	for ; start < end; start += audit.TileWidth {
		if err := l.tile(ctx, start, entries[:min(audit.TileWidth, len(entries))]); err != nil {
			return err
		}
		entries = entries[min(audit.TileWidth, len(entries)):]
	}
	return nil
}

// leaf is an entry as it was found. The zero leaf is one that is not there.
type leaf struct {
	hash  tlog.Hash
	there bool
	bad   bool // it is reported
}

// read reads and parses the entries at the places after start, up to end.
func (l *logCheck) read(ctx context.Context, start, end uint64) ([]leaf, error) {
	entries, places := make([]leaf, end-start), make([]uint64, 0, end-start)
	for place := max(start+1, l.first); place <= end; place++ {
		places = append(places, place)
	}
	var sum error
	err := l.cluster.Outbox.At(ctx, places, func(place uint64, b []byte) bool {
		l.progress("log", l.checked.Entries)
		l.checked.Entries++
		x := leaf{hash: tlog.RecordHash(b), there: true}
		if e, err := audit.Parse(b); err != nil || e.Place != place || e.Region != l.region.Name {
			x.bad, l.usage.whole = true, false
			l.log(EntryDamaged, fmt.Sprintf("the entry at place %d", place), "it is no entry, or another place's or region's")
		} else {
			sum = l.add(ctx, place, &e)
		}
		entries[place-start-1] = x
		return sum == nil
	})
	if err = errors.Join(err, sum); err != nil {
		return nil, err
	}
	for _, place := range places {
		if !entries[place-start-1].there {
			if err := l.missing(ctx, place); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

// missing reports an entry that is not there, unless it was dropped meanwhile.
func (l *logCheck) missing(ctx context.Context, place uint64) (err error) {
	if place < l.first {
		return nil
	}
	l.usage.whole = false
	if l.first, err = l.cluster.Outbox.First(ctx); err == nil && place >= l.first {
		l.log(EntryMissing, fmt.Sprintf("the entry at place %d", place), "there is none, and it was not dropped")
	}
	return err
}

// tile takes the entries of one tile into the tree, and compares what is stored.
func (l *logCheck) tile(ctx context.Context, start uint64, entries []leaf) error {
	stored, err := l.storedLeaves(ctx, start)
	if err != nil {
		return err
	}
	if err := l.compareLeaves(ctx, start, entries, stored); err != nil {
		return err
	}
	for i, x := range entries {
		l.compareRoots()
		if !x.there && len(stored) > i {
			x.hash, x.there = stored[i], true
		}
		if l.broken = l.broken || !x.there; l.broken {
			return nil
		}
		for _, full := range l.tree.AppendHash(x.hash) {
			if err := l.compareTile(ctx, full); err != nil {
				return err
			}
		}
	}
	l.compareRoots()
	return nil
}

// storedLeaves gives the leaves of a tile as they are stored: of one that is full in its blob, else in the state. None when
// there are none, or the blob is damaged.
func (l *logCheck) storedLeaves(ctx context.Context, start uint64) ([]tlog.Hash, error) {
	var data []byte
	switch {
	case start+audit.TileWidth <= l.state.Size:
		var err error
		if data, err = l.tileBlob(ctx, 0, start/audit.TileWidth); err != nil {
			return nil, err
		}
	case start < l.state.Size:
		data = l.state.Edge[0]
	}
	leaves := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range leaves {
		leaves[i] = tlog.Hash(data[i*tlog.HashSize:])
	}
	return leaves, nil
}

// tileBlob reads a full tile; nil, which is reported, when it is missing or cut short.
func (l *logCheck) tileBlob(ctx context.Context, level int, n uint64) ([]byte, error) {
	name := tileBlob(level, n)
	data, err := l.cluster.wholeTile(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		l.log(TileMissing, "blob "+name, "the log's tile is full, and is not there")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, store.ErrCorrupt):
		l.log(TileDamaged, "blob "+name, "the log's tile is cut short or damaged")
	default:
		return data, err
	}
	return nil, nil
}

func (c *Cluster) wholeTile(ctx context.Context, name string) ([]byte, error) {
	r, err := c.Blobs.Open(ctx, name, 0, audit.TileWidth*tlog.HashSize)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, audit.TileWidth*tlog.HashSize)
	_, err = io.ReadFull(r, data)
	return data, err
}

// compareLeaves compares entries with the leaves that are stored. Where they differ, the tile above says which of the two is what it was.
func (l *logCheck) compareLeaves(ctx context.Context, start uint64, entries []leaf, stored []tlog.Hash) error {
	var differ []int
	for i := range entries {
		if entries[i].there && i < len(stored) && entries[i].hash != stored[i] {
			differ = append(differ, i)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	right, err := l.fitsAbove(ctx, start, stored)
	if err != nil {
		return err
	}
	if !right {
		l.log(TileDamaged, "blob "+tileBlob(0, start/audit.TileWidth), "the log's tile is not that of its entries")
		return nil
	}
	for _, i := range differ {
		if !entries[i].bad {
			l.log(EntryChanged, fmt.Sprintf("the entry at place %d", start+uint64(i)+1), "it is not what the tree was built over") //nolint:gosec // an index
		}
		entries[i].hash = stored[i]
	}
	return nil
}

// fitsAbove reports whether stored leaves are those that the rest of the tree was built over.
func (l *logCheck) fitsAbove(ctx context.Context, start uint64, stored []tlog.Hash) (bool, error) {
	if len(stored) < audit.TileWidth { // of the state, whose root was compared
		return true, nil
	}
	n := start / audit.TileWidth
	above := l.state.Edge[1]
	if n/audit.TileWidth < l.state.Size>>(2*audit.TileHeight) {
		var err error
		if above, err = l.cluster.wholeTile(ctx, tileBlob(1, n/audit.TileWidth)); err != nil { // which is reported where it is compared
			return false, unlessDamagedTile(err)
		}
	}
	at := int(n%audit.TileWidth) * tlog.HashSize
	if len(above) < at+tlog.HashSize {
		return false, nil
	}
	var own audit.Tree
	for _, h := range stored {
		own.AppendHash(h)
	}
	return own.Root() == tlog.Hash(above[at:]), nil
}

func unlessDamagedTile(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, store.ErrCorrupt) {
		return nil
	}
	return err
}

// compareTile compares a tile that has become full with the stored one. One that the tree does not hold yet may be there: a leader
// wrote it that did not come to its transaction, and the next relies on what it says.
func (l *logCheck) compareTile(ctx context.Context, full audit.Tile) error {
	beyond := (full.N+1)<<(audit.TileHeight*(full.Level+1)) > l.state.Size
	if full.Level == 0 && !beyond {
		return nil // its leaves were compared
	}
	name := tileBlob(full.Level, full.N)
	var data []byte
	var err error
	if beyond {
		if data, err = l.cluster.wholeTile(ctx, name); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if unlessDamagedTile(err) == nil && err != nil {
			data, err = []byte{}, nil
		}
	} else {
		data, err = l.tileBlob(ctx, full.Level, full.N)
	}
	if err == nil && data != nil && !bytes.Equal(data, full.Data) {
		l.log(TileDamaged, "blob "+name, "the log's tile is not that of its entries")
	}
	return err
}

// compareRoots compares the tree's root with the state's, where it goes as far.
func (l *logCheck) compareRoots() {
	if l.broken {
		return
	}
	l.compareSeen()
	if l.tree.Size == l.state.Size && l.tree.Root() != l.state.Head {
		l.log(LogRoot, "", fmt.Sprintf("the tree over the %d entries has another root than the stored one", l.tree.Size))
	}
	if l.tree.Size == l.state.Signed && l.state.Signed > 0 && l.tree.Root() != l.state.SignedHead {
		l.log(LogRoot, "", fmt.Sprintf("the tree over the %d entries has another root than the one that was signed", l.tree.Size))
	}
}

// checkCheckpoint looks whether the newest checkpoint is the region's, and of the size and root that are kept with it.
func (l *logCheck) checkCheckpoint() {
	s := &l.state
	if len(s.Checkpoint) == 0 {
		if s.Signed > 0 {
			l.log(CheckpointDamaged, "the newest checkpoint", "there is none, and the log was signed")
		}
		return
	}
	want := fmt.Sprintf("\n%d\n%s\n", s.Signed, base64.StdEncoding.EncodeToString(s.SignedHead[:]))
	_, rest, _ := strings.Cut(string(s.Checkpoint), "\n")
	switch {
	case !strings.HasPrefix("\n"+rest, want):
		l.log(CheckpointDamaged, "the newest checkpoint", "it is of another size or root than those that are kept with it")
	case s.Signed > s.Size:
		l.log(CheckpointDamaged, "the newest checkpoint", "it is of more entries than the tree holds")
	case l.cluster.Signer != nil && l.cluster.Signer.Mine(s.Checkpoint) != nil:
		l.log(CheckpointDamaged, "the newest checkpoint", "its signature is not of the region's key")
	}
}
