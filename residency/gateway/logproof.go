package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// How long a receipt waits for a checkpoint that holds its entries.
const (
	receiptWait = 4 * time.Second
	receiptLook = 200 * time.Millisecond
)

// GetReceipt gives the proof that a decision's entries are in the log, for keeping: whoever has it and the log's
// public key needs nothing else to check it. The newest entries wait for the next checkpoint.
func (g *Gateway) GetReceipt(ctx context.Context, call *Call, tenant, decisionID string) ([]byte, error) {
	const op = "gateway.GetReceipt"
	var places []uint64
	t, err := g.decide(ctx, &act{call: call, op: op, tenant: tenant, suspended: true}, func(t *txn) (err error) {
		places, err = t.placesOf(decisionID)
		return err
	})
	if err != nil {
		return nil, err
	}
	receipt, err := g.receipt(ctx, t.home.cluster, places)
	if err != nil {
		e := unread(ctx, op, err)
		e.Decision = &t.decision
		return nil, e
	}
	return receipt, nil
}

// unread says why what a log has could not be had, as unanswered does; a call that its caller ended stays one.
func unread(ctx context.Context, op string, err error) *residency.Error {
	e, cause := unanswered(op, err), context.Cause(ctx)
	switch {
	case e.Kind == residency.IntegrityFailure || e.Kind == residency.NotFound:
	case errors.Is(cause, context.Canceled):
		return &residency.Error{Op: op, Kind: residency.Canceled, Err: cause}
	case errors.Is(cause, context.DeadlineExceeded): // its status is that of a deadline
		return &residency.Error{Op: op, Kind: residency.Internal, Err: cause}
	}
	return e
}

// unanswered says why what a log has could not be had. What was dropped since it was looked up is not found; what is gone, cut
// short or contradicts itself is damage; of all else the log does not answer.
func unanswered(op string, err error) *residency.Error {
	kind := residency.AuditUnavailable
	for _, damage := range []error{store.ErrNotFound, store.ErrCorrupt, io.ErrUnexpectedEOF} {
		if errors.Is(err, damage) {
			kind = residency.IntegrityFailure
		}
	}
	return residency.E(op, kind, err)
}

// placesOf gives the places of a decision's entries.
func (t *txn) placesOf(decisionID string) (places []uint64, err error) {
	id, err := uuid.Parse(decisionID)
	if err != nil {
		return nil, residency.E(t.a.op, residency.NotFound, nil)
	}
	b, err := t.Get(store.KindDecision, newestFirst(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, residency.E(t.a.op, residency.NotFound, nil)
	}
	if err != nil {
		return nil, err
	}
	if _, err := t.readDecision(id, b); err != nil { // what is not durable yet has not happened
		return nil, err
	}
	for ; len(b) >= 8; b = b[8:] {
		places = append(places, binary.BigEndian.Uint64(b))
	}
	return places, nil
}

func (g *Gateway) receipt(ctx context.Context, c *Cluster, places []uint64) ([]byte, error) {
	s, err := c.covering(ctx, places[len(places)-1])
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, place := range places {
		entry, err := c.Outbox.Entry(ctx, place)
		if errors.Is(err, store.ErrNotFound) {
			err = c.gone(ctx, place, err)
		}
		if err != nil {
			return nil, err
		}
		proof, err := c.prove(ctx, &s, place-1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		out.Write(audit.Receipt(entry, place-1, proof, s.Checkpoint))
	}
	return out.Bytes(), nil
}

// prove gives the proof that a leaf is in the tree that was signed. Tiles that can be read and do not give its root are damaged.
func (c *Cluster) prove(ctx context.Context, s *logState, leaf uint64) (tlog.RecordProof, error) {
	var missing error // a tile that could not be read
	proof, err := audit.Prove(s.Signed, s.SignedHead, leaf, func(level int, n uint64, width int) (data []byte, err error) {
		data, err = c.tile(ctx, s, level, n, width)
		if err != nil {
			missing = err
		}
		return data, err
	})
	if err != nil && missing == nil {
		err = residency.E("gateway.prove", residency.IntegrityFailure, err)
	}
	return proof, err
}

// covering waits for a checkpoint that holds a place.
func (c *Cluster) covering(ctx context.Context, place uint64) (logState, error) {
	if c.Signer == nil {
		return logState{}, errors.New("the cluster's log is not signed")
	}
	ctx, cancel := context.WithTimeout(ctx, receiptWait)
	defer cancel()
	for {
		s, err := c.logNow(ctx)
		if err != nil || s.Signed >= place {
			return s, err
		}
		look := time.NewTimer(receiptLook)
		select {
		case <-look.C:
		case <-ctx.Done():
			look.Stop()
			return s, fmt.Errorf("no checkpoint holds the entry yet: %w", ctx.Err())
		}
	}
}

// clusterOf finds a cluster of a region by its name; "" is the only one that there is.
func (r *Region) clusterOf(op, name string) (*Cluster, error) {
	for i := range r.Clusters {
		if c := &r.Clusters[i]; c.Name == name || name == "" && len(r.Clusters) == 1 {
			return c, nil
		}
	}
	return nil, residency.Bad(op, "cluster", "must name one of the region's storage clusters: "+r.clusterNames())
}

func (r *Region) clusterNames() string {
	var b bytes.Buffer
	for i := range r.Clusters {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.Clusters[i].Name)
	}
	return b.String()
}

// Newest gives the newest checkpoint of the cluster's log, nil when nothing was signed yet, and whether all its witnesses have
// signed it. It reads the rows alone.
func (c *Cluster) Newest(ctx context.Context) (checkpoint []byte, witnessed bool, err error) {
	s, err := c.logNow(ctx)
	return s.Checkpoint, s.UnwitnessedSince.IsZero(), err
}

// GetCheckpoint gives the newest checkpoint of a cluster's log: a size and a root, which name nobody.
func (g *Gateway) GetCheckpoint(ctx context.Context, name residency.Region, cluster string) (Checkpoint, error) {
	const op = "gateway.GetCheckpoint"
	look, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	region := g.region(name)
	if region == nil {
		return Checkpoint{}, residency.Bad(op, "region", "must be one of "+g.regionNames())
	}
	c, err := region.clusterOf(op, cluster)
	if err != nil {
		return Checkpoint{}, err
	}
	s, err := c.logNow(look)
	var last uint64
	if err == nil {
		last, err = c.Outbox.Last(look)
	}
	if err == nil && len(s.Checkpoint) == 0 {
		err = errors.New("nothing is signed yet")
	}
	if err != nil {
		return Checkpoint{}, unread(ctx, op, err)
	}
	return Checkpoint{
		Cluster: c.Name, Text: s.Checkpoint, Verifier: c.Signer.Verifier(), Size: s.Signed, Signed: s.SignedAt,
		Pending: last - min(last, s.Signed),
	}, nil
}

// ExportLog asks for a cluster's log.
type ExportLog struct {
	Region  residency.Region
	Cluster string // "" = the region's only one
	From    uint64 // only files that hold something behind so many entries; 0 = all
}

// ExportLog hands over a cluster's log as it is at its newest checkpoint, file by file, in the layout of C2SP
// tlog-tiles: every tile, every bundle of entries, and the checkpoint last. It is about all tenants and answers inside the
// region's jurisdiction alone, to callers that may see every tenant. data is the receiver's until it returns; an error of its own ends it and is returned as it is.
func (g *Gateway) ExportLog(ctx context.Context, call *Call, req ExportLog, send func(path string, data []byte) error) error {
	const op = "gateway.ExportLog"
	region := g.region(req.Region)
	if region == nil {
		return residency.Bad(op, "region", "must be one of "+g.regionNames())
	}
	c, err := region.clusterOf(op, req.Cluster)
	if err != nil {
		return err
	}
	if call.Caller.Jurisdiction != region.Jurisdiction || !call.Caller.SeesAll {
		return residency.E(op, residency.CallerNotPermitted, errors.New("a log is handed over inside its jurisdiction, to who may see every tenant"))
	}
	if call.Peer != "" {
		return &residency.Error{Op: op, Kind: residency.UseHomeEndpoint, Endpoint: region.Endpoint}
	}
	if _, err := g.decide(ctx, &act{call: call, op: op, region: region}, func(*txn) error { return nil }); err != nil {
		return err
	}
	var refused error // by who receives it
	err = c.export(ctx, req.From, func(path string, data []byte) error {
		refused = send(path, data)
		return refused
	})
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return unread(ctx, op, err)
	}
	return nil
}

func (c *Cluster) export(ctx context.Context, from uint64, send func(string, []byte) error) error {
	s, err := c.logNow(ctx)
	if err != nil {
		return err
	}
	if len(s.Checkpoint) == 0 {
		return errors.New("nothing is signed yet")
	}
	if s.Signed <= from {
		return send("checkpoint", s.Checkpoint)
	}
	if err := c.exportBundles(ctx, from, s.Signed, send); err != nil {
		return err
	}
	for level := 0; s.Signed>>(audit.TileHeight*level) > 0; level++ {
		hashes := s.Signed >> (audit.TileHeight * level)
		for n := from >> (audit.TileHeight * (level + 1)); n*audit.TileWidth < hashes; n++ {
			width := int(min(hashes-n*audit.TileWidth, audit.TileWidth)) //nolint:gosec // at most 256
			data, err := c.tile(ctx, &s, level, n, width)
			if err == nil {
				err = send(audit.TilePath(level, n, width), data)
			}
			if err != nil {
				return err
			}
		}
	}
	return send("checkpoint", s.Checkpoint)
}

// exportBundles hands over the entries of a log of a size behind others, without those that were dropped when their time
// was over. Nothing is held open while one is sent.
func (c *Cluster) exportBundles(ctx context.Context, from, size uint64, send func(string, []byte) error) error {
	first, err := c.Outbox.First(ctx)
	if err != nil {
		return err
	}
	for n := max(first-1, from) / audit.TileWidth; n*audit.TileWidth < size; n++ {
		bundle, width, err := c.bundle(ctx, n, size)
		if err == nil && width > 0 {
			err = send(audit.TilePath(-1, n, width), bundle)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bundle reads the entries of a tile, as far as the tree of a size has them; none if they were dropped. They are dropped together.
func (c *Cluster) bundle(ctx context.Context, n, size uint64) (bundle []byte, width int, err error) {
	want, end := n*audit.TileWidth+1, min((n+1)*audit.TileWidth, size)
	dropped := false
	err = c.Outbox.Entries(ctx, want, func(place uint64, entry []byte) bool {
		if dropped = place != want; dropped {
			return false
		}
		bundle = audit.Bundle(bundle, entry)
		width++
		want++
		return place < end
	})
	if err != nil || !dropped && want > end {
		return bundle, width, err
	}
	first, err := c.Outbox.First(ctx)
	if err == nil && first <= want { // it was not dropped: it is not there
		err = residency.E("gateway.bundle", residency.IntegrityFailure, fmt.Errorf("the entry at place %d is missing", want))
	}
	return nil, 0, err
}
