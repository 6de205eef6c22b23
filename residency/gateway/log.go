package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	logEvery   = time.Second // how often a tree is brought up to its entries, and a checkpoint signed
	logBatch   = 4096        // entries that one transaction takes into a tree
	logTimeout = 15 * time.Second
	tilePrefix = "log/"
)

// logState is how far a cluster's log goes: its tree, and the newest checkpoint.
type logState struct {
	audit.Tree
	Head       tlog.Hash // its root
	Checkpoint []byte    // "" = nothing was signed yet
	Signed     uint64    // the size that it is of
	SignedHead tlog.Hash // and the root
	SignedAt   time.Time

	UnwitnessedSince time.Time // when a checkpoint was first without the signature of one of them; zero = the newest has all
	WitnessedAt      time.Time // when a checkpoint last had the signatures of all of them; zero = none ever, or nobody is asked
}

func (s *logState) layout(f *fields) {
	f.uint(1, &s.Size)
	f.hash(2, &s.Head)
	f.bytes(3, &s.Checkpoint)
	f.uint(4, &s.Signed)
	f.hash(5, &s.SignedHead)
	f.time(6, &s.SignedAt)
	f.time(7, &s.UnwitnessedSince)
	f.time(8, &s.WitnessedAt)
	for level := range s.Edge {
		f.bytes(16+uint64(level), &s.Edge[level]) //nolint:gosec // of eight
	}
}

func (f *fields) hash(tag uint64, v *tlog.Hash) {
	b := v[:]
	f.bytes(tag, &b)
	copy(v[:], b)
}

// readLog reads how far a cluster's log goes.
func readLog(tx store.Tx) (s logState, err error) {
	b, there, err := has(tx, store.KindLog, "")
	if err != nil || !there {
		s.Head = s.Root()
		return s, err
	}
	damage := decodeRow(b, &s)
	if damage == nil {
		damage = s.Valid()
	}
	if damage == nil && s.Root() != s.Head {
		damage = errors.New("the tree's partial tiles are not of its root")
	}
	if damage != nil {
		return logState{}, residency.E("gateway.readLog", residency.IntegrityFailure, damage)
	}
	return s, nil
}

// logScope locks a cluster's log.
var logScope = store.Scope{Objects: []store.Lock{{Object: "log", Exclusive: true}}}

// logNow reads how far a cluster's log goes.
func (c *Cluster) logNow(ctx context.Context) (s logState, err error) {
	err = c.Rows.View(ctx, logScope, func(tx store.Tx) (err error) {
		s, err = readLog(tx)
		return err
	})
	return s, err
}

// keepLog keeps the cluster's tree up to its entries, and signs it, until the term ends.
func (l *leadership) keepLog(t *term) {
	if l.cluster.Signer == nil {
		return
	}
	for t.ctx.Err() == nil {
		began := l.g.elapsed()
		more, err := l.g.extendLog(t.ctx, t.cluster)
		if err != nil && t.ctx.Err() == nil {
			l.g.log.Error("the audit log's tree is not kept", "region", string(l.region.Name), "cluster", l.cluster.Name, "err", err)
		}
		if l.first {
			l.tellLogs(t.ctx)
		}
		if more && err == nil {
			continue
		}
		rest := time.NewTimer(max(logEvery-(l.g.elapsed()-began), logEvery/10))
		select {
		case <-rest.C:
		case <-t.ctx.Done():
			rest.Stop()
		}
	}
}

// logsTold is how far a region's logs are, of several the one that is furthest behind.
type logsTold struct {
	pending, signed       uint64 // entries in all
	oldest, unwitnessed   time.Duration
	signedAt, witnessedAt time.Time // zero = no log has been
}

// add takes a log into account, and the place of its newest entry.
func (l *logsTold) add(s *logState, last uint64, now time.Time) {
	if !s.UnwitnessedSince.IsZero() {
		l.unwitnessed = max(l.unwitnessed, now.Sub(s.UnwitnessedSince))
	}
	if last > s.Signed {
		l.pending += last - s.Signed
		if !s.SignedAt.IsZero() {
			l.oldest = max(l.oldest, now.Sub(s.SignedAt))
		}
	}
	l.signed += s.Signed
	l.signedAt, l.witnessedAt = earlier(l.signedAt, s.SignedAt), earlier(l.witnessedAt, s.WitnessedAt)
}

// earlier gives the earlier of two times that are not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tellLogs tells how far the region's logs are behind their entries. One that does not answer counts as
// it last did.
func (l *leadership) tellLogs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.g.limits.Decide)
	defer cancel()
	var told logsTold
	for i := range l.region.Clusters {
		c := &l.region.Clusters[i]
		s, err := c.logNow(ctx)
		if err != nil {
			return
		}
		last, err := c.Outbox.Last(ctx)
		if err != nil {
			return
		}
		told.add(&s, last, c.Rows.Now())
	}
	l.g.counted.Lock()
	defer l.g.counted.Unlock()
	if ctx.Err() != nil { // the term has ended: another tells
		return
	}
	l.g.metrics.logs(l.region.Name, &told)
}

// extendLog takes entries into the tree, some at a time, and signs it when it holds them all; more is
// true when there are others. The cluster is a leader's.
func (g *Gateway) extendLog(ctx context.Context, c *Cluster) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	was, err := c.logNow(ctx)
	if err != nil {
		return false, err
	}
	now, full, err := c.taken(ctx, was)
	if err != nil {
		return false, err
	}
	if now.Size > was.Size {
		if err := c.putTiles(ctx, full); err != nil {
			return false, err
		}
		if err := c.advance(ctx, &was, &now); err != nil {
			return false, err
		}
	}
	if more = now.Size-was.Size == logBatch; more || !c.toSign(&now) {
		return more, nil
	}
	return false, c.sign(ctx, now)
}

// taken gives what the log becomes with the entries behind it, some of them, and the tiles that become full.
func (c *Cluster) taken(ctx context.Context, s logState) (now logState, full []audit.Tile, err error) {
	for level := range s.Edge {
		s.Edge[level] = slices.Clone(s.Edge[level])
	}
	end := s.Size + logBatch
	var gap error
	err = c.Outbox.Entries(ctx, s.Size+1, func(place uint64, entry []byte) bool {
		if place != s.Size+1 {
			gap = residency.E("gateway.taken", residency.IntegrityFailure, fmt.Errorf("the entry at place %d is missing", s.Size+1))
			return false
		}
		full = append(full, s.Append(entry)...)
		return s.Size < end
	})
	s.Head = s.Root()
	return s, full, errors.Join(err, gap)
}

// tileWriters is how many tiles are stored at once: each waits for the disk, or for a bucket's answer, and for nothing else.
const tileWriters = 8

// putTiles stores full tiles, in any order: nothing reads them before the transaction that follows.
func (c *Cluster) putTiles(ctx context.Context, full []audit.Tile) error {
	failed := make([]error, len(full))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(tileWriters, len(full)) {
		wg.Go(func() {
			for i := range next {
				failed[i] = c.putTile(ctx, full[i])
			}
		})
	}
	for i := range full {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(failed...)
}

// putTile stores a full tile. One that is there was written for this one's sake before: by a leader that
// did not come to its transaction.
func (c *Cluster) putTile(ctx context.Context, tile audit.Tile) error {
	w, err := c.Blobs.Create(ctx, tileBlob(tile.Level, tile.N))
	if err == nil {
		if _, err = w.Write(tile.Data); err == nil {
			err = w.Commit()
		}
		w.Abort()
	}
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

func tileBlob(level int, n uint64) string {
	return tilePrefix + audit.TilePath(level, n, audit.TileWidth)
}

// advance makes the tree go as far as it was brought, if nobody else did meanwhile.
func (c *Cluster) advance(ctx context.Context, was, now *logState) error {
	return c.Rows.Update(ctx, logScope, func(tx store.Tx) error {
		there, err := readLog(tx)
		if err == nil && (there.Size != was.Size || there.Head != was.Head) {
			err = fmt.Errorf("%w: the audit log's tree", store.ErrConflict)
		}
		if err != nil {
			return err
		}
		now.Checkpoint, now.Signed, now.SignedHead, now.SignedAt = there.Checkpoint, there.Signed, there.SignedHead, there.SignedAt
		now.UnwitnessedSince, now.WitnessedAt = there.UnwitnessedSince, there.WitnessedAt
		return tx.Put(store.KindLog, "", encodeRow(now))
	})
}

// witnessAgain is how long an idle log waits until it asks a witness again that has not signed.
const witnessAgain = 10 * time.Second

// toSign reports whether the tree is to be signed: it has grown, or a witness is missing.
func (c *Cluster) toSign(s *logState) bool {
	return s.Size > s.Signed || !s.UnwitnessedSince.IsZero() && c.Rows.Now().Sub(s.SignedAt) >= witnessAgain
}

// sign signs the tree, has it cosigned and keeps the checkpoint.
func (c *Cluster) sign(ctx context.Context, s logState) error {
	if len(s.Checkpoint) > 0 {
		if err := c.Signer.Mine(s.Checkpoint); err != nil {
			return err
		}
	}
	said, err := c.witnesses.sign(ctx, c, &s)
	if err != nil {
		return err
	}
	return c.Rows.Update(ctx, logScope, func(tx store.Tx) error {
		there, err := readLog(tx)
		if err == nil && (there.Size < s.Size || there.Signed > s.Size) {
			err = fmt.Errorf("%w: the audit log's checkpoint", store.ErrConflict)
		}
		if err != nil {
			return err
		}
		there.Checkpoint, there.Signed, there.SignedHead, there.SignedAt = said.checkpoint, s.Size, s.Head, tx.Now()
		if said.all {
			there.UnwitnessedSince = time.Time{}
			if len(c.witnesses.list) > 0 {
				there.WitnessedAt = tx.Now()
			}
		} else if there.UnwitnessedSince.IsZero() {
			there.UnwitnessedSince = tx.Now()
		}
		return tx.Put(store.KindLog, "", encodeRow(&there))
	})
}

// tile reads hashes of a tile, from the first: of one that is full from its blob, else from the edge.
func (c *Cluster) tile(ctx context.Context, s *logState, level int, n uint64, width int) ([]byte, error) {
	size := width * tlog.HashSize
	if n == s.Size>>(audit.TileHeight*(level+1)) && len(s.Edge[level]) >= size {
		return s.Edge[level][:size], nil
	}
	r, err := c.Blobs.Open(ctx, tileBlob(level, n), 0, int64(size))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, size)
	_, err = io.ReadFull(r, b)
	return b, err
}
