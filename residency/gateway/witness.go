package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/store"
)

// maxWitnessed is how many logs of one other region a witness takes on.
const maxWitnessed = 64

// Cosigning asks a witness to sign a checkpoint of another region's log too.
type Cosigning struct {
	Key        string         // the log's public key
	Old        uint64         // the size that the proof goes from; 0 = there is none
	Proof      tlog.TreeProof // that the log of that size is the beginning of the checkpoint's
	Checkpoint []byte
}

// Cosigned is a witness's answer.
type Cosigned struct {
	Lines         []byte   // the signature lines; nil = it did not sign
	Keys          []string // the witness's public keys, each of which signed
	Known         uint64   // when it did not sign: the size from which the proof must go
	Contradiction bool     // what it has seen of the log contradicts the checkpoint

	why error // of a contradiction that was found in this process
}

// witnessed is what a witness knows of a log.
type witnessed struct {
	Of     string // the region whose log it is
	Key    string // the log's public key
	Size   uint64
	Head   tlog.Hash
	Seen   []byte // the checkpoint of that size
	SeenAt time.Time

	Conflict      []byte // the first checkpoint that contradicts what was seen before
	ConflictAt    time.Time
	Forked        bool   // it is of a size that was signed, with another root: that alone proves the fork
	ConflictProof []byte // else the hashes that show that its log had another root at the size that was signed

	Forgotten time.Time // when the witness was made to forget it; zero = it knows it

	before *witnessed // what it knew and was made to forget, of a log that it knows no more; nil = nothing
}

func (w *witnessed) layout(f *fields) {
	f.text(1, &w.Of)
	f.text(2, &w.Key)
	f.uint(3, &w.Size)
	f.hash(4, &w.Head)
	f.bytes(5, &w.Seen)
	f.time(6, &w.SeenAt)
	f.bytes(7, &w.Conflict)
	f.time(8, &w.ConflictAt)
	f.flag(9, &w.Forked)
	f.bytes(10, &w.ConflictProof)
	f.time(11, &w.Forgotten)
}

// witnessScope locks what a region's witness knows.
var witnessScope = store.Scope{Objects: []store.Lock{{Object: "witness", Exclusive: true}}}

// Cosign lets the witness of a region that is served here look at a checkpoint of another region's log. It signs what is
// consistent with all that it has seen of that log; no two checkpoints that it signed contradict each other. Only sizes
// and hashes come here.
func (g *Gateway) Cosign(ctx context.Context, of, by residency.Region, req Cosigning) (Cosigned, error) {
	r := g.region(by)
	if r == nil || r.Cosigner == nil {
		return Cosigned{}, residency.Bad("gateway.Cosign", "witness_region", "must be a region that is served here")
	}
	var trusted []string
	if e := g.elsewhere(of); e != nil {
		trusted = e.Logs
	}
	out, err := g.cosign(ctx, r, r.Cosigner, of, trusted, req)
	switch {
	case errors.Is(out.why, audit.ErrUnproven): // whose fault it is the log can tell, and not who sees the proof alone
		g.log.Warn("an audit log does not prove that it goes on from what was seen of it: it is not cosigned", "region", string(of), "err", out.why)
	case out.Contradiction:
		g.contradicted(of, out.why)
	}
	return out, err
}

func (g *Gateway) cosign(ctx context.Context, by *Region, signer *audit.Cosigner, of residency.Region, trusted []string, req Cosigning) (Cosigned, error) {
	const op = "gateway.Cosign"
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()
	key, shown, err := readCosigning(op, of, req, trusted)
	if err != nil {
		return Cosigned{}, err
	}
	var out Cosigned
	var before *witnessed
	err = by.Clusters[0].Rows.Update(ctx, witnessScope, func(tx store.Tx) error {
		out = Cosigned{Keys: signer.Verifiers()}
		seen, id, err := readWitnessed(tx, of, key.Origin())
		if err != nil {
			return err
		}
		before = seen.before
		if err := seen.isOf(tx, op, of, key, req, len(trusted) > 0); err != nil {
			return err
		}
		switch known, err := seen.weigh(&shown, req); {
		case errors.Is(err, audit.ErrOtherBeginning), errors.Is(err, audit.ErrUnproven):
			out.Contradiction, out.why = true, fmt.Errorf("log %s: %w", key.Origin(), err)
			if !seen.blame(&shown, req, err, tx.Now()) {
				return nil
			}
			return tx.Put(store.KindWitnessed, id, encodeRow(&seen))
		case err != nil:
			return residency.Bad(op, "consistency_proof", err.Error())
		case known > 0:
			out.Known = known
			return nil
		}
		seen.Key, seen.Size, seen.Head, seen.Seen, seen.SeenAt = req.Key, shown.Size, shown.Root, req.Checkpoint, tx.Now()
		if out.Lines, err = signer.Cosign(req.Checkpoint, tx.Now()); err != nil {
			return residency.E(op, residency.Internal, err)
		}
		return tx.Put(store.KindWitnessed, id, encodeRow(&seen))
	})
	if err != nil {
		return Cosigned{}, residency.E(op, residency.RegionUnavailable, err)
	}
	if before != nil {
		g.log.Warn("an audit log that was forgotten is cosigned anew, and may hold other entries than before", "region", string(of), "log", key.Origin(),
			"witness", string(by.Name), "size", shown.Size, "size_before", before.Size, "root_before", before.Head.String(), "forgotten", before.Forgotten)
	}
	return out, nil
}

// contradicted tells that a log was forked or went back, as its witness or as who keeps it.
func (g *Gateway) contradicted(of residency.Region, err error) {
	g.metrics.witnessFailures.WithLabelValues(string(of)).Inc()
	g.log.Error("an audit log contradicts what was seen of it: it is not cosigned", "region", string(of), "err", err)
}

// readCosigning reads what a witness is shown: a checkpoint that the log's key signed.
func readCosigning(op string, of residency.Region, req Cosigning, trusted []string) (key proof.Key, shown proof.Checkpoint, err error) {
	if key, err = proof.ParseKey(req.Key); err != nil {
		return key, shown, residency.Bad(op, "verifier_key", "must be the log's public key: "+err.Error())
	}
	if len(trusted) > 0 && !slices.Contains(trusted, req.Key) {
		return key, shown, residency.Bad(op, "verifier_key", "must be a key that the witness's configuration names")
	}
	if shown, err = key.OpenCheckpoint(req.Checkpoint); err != nil {
		return key, shown, residency.Bad(op, "checkpoint", "must be signed by the log's key: "+err.Error())
	}
	if key.Region() != string(of) {
		return key, shown, residency.Bad(op, "verifier_key", "must be of a log whose origin ends in /REGION/CLUSTER, with region "+string(of))
	}
	if empty, err := tlog.TreeHash(0, nil); err == nil && shown.Size == 0 && shown.Root != empty {
		return key, shown, residency.Bad(op, "checkpoint", "must have the root of nothing when it has no entries")
	}
	return key, shown, nil
}

func readWitnessed(tx store.Tx, of residency.Region, origin string) (w witnessed, id store.ID, err error) {
	id = witnessedRow(of, origin)
	b, err := tx.Get(store.KindWitnessed, id)
	if errors.Is(err, store.ErrNotFound) {
		if w.before, err = lastForgotten(tx, id); w.before != nil {
			w.Key = w.before.Key
		}
		return w, id, err
	}
	if err == nil {
		err = decodeRow(b, &w)
	}
	return w, id, err
}

// witnessedRow names the row of a log of a region.
func witnessedRow(of residency.Region, origin string) store.ID {
	name := sha256.Sum256([]byte(string(of) + "\x00" + origin))
	return store.ID(name[:idSize])
}

// isOf refuses a log whose key is not the one that it began with. A key follows another when both have signed.
func (w *witnessed) isOf(tx store.Tx, op string, of residency.Region, key proof.Key, req Cosigning, trusted bool) error {
	if w.Of == "" {
		w.Of = string(of)
		if err := roomToWitness(tx, op, of); err != nil {
			return err
		}
	}
	if w.Key == "" || w.Key == req.Key || trusted {
		return nil
	}
	before, err := proof.ParseKey(w.Key)
	if err == nil {
		_, err = before.OpenCheckpoint(req.Checkpoint)
	}
	if err != nil {
		return residency.Bad(op, "verifier_key", fmt.Sprintf("is not the key that the log %s began with, which must sign too while it is replaced", key.Origin()))
	}
	return nil
}

// roomToWitness bounds the logs of a region.
func roomToWitness(tx store.Tx, op string, of residency.Region) error {
	n, failed := 0, error(nil)
	err := tx.Scan(store.KindWitnessed, "", "", func(_ store.ID, b []byte) bool {
		var w witnessed
		if failed = decodeRow(b, &w); w.Of == string(of) {
			n++
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err == nil && n >= maxWitnessed {
		err = residency.E(op, residency.QuotaExceeded, fmt.Errorf("%d logs of region %s are witnessed, no more", n, of))
	}
	return err
}

// weigh compares a checkpoint with what was seen of its log: it is consistent, or must come with a proof from a known size, or
// contradicts it. An older one is as good as any that its leader signed before it was held up, and nothing shows that it is not: its
// keeper is told what is known, and sees whether its log has that (C2SP tlog-witness, add-checkpoint).
func (w *witnessed) weigh(shown *proof.Checkpoint, req Cosigning) (known uint64, err error) {
	switch {
	case shown.Size < w.Size:
		return w.Size, nil
	case w.Size == 0:
		return 0, nil
	case shown.Size == w.Size && shown.Root != w.Head:
		return 0, fmt.Errorf("with %d entries it has the root %v and had %v: it was forked: %w", w.Size, shown.Root, w.Head, audit.ErrOtherBeginning)
	case shown.Size == w.Size:
		return 0, nil
	case req.Old != w.Size:
		return w.Size, nil
	}
	if err := audit.CheckConsistency(shown.Size, shown.Root, w.Size, w.Head, req.Proof); err != nil {
		return 0, fmt.Errorf("its %d entries and the %d that it had: %w", shown.Size, w.Size, err)
	}
	return 0, nil
}

// blame keeps a checkpoint as the evidence that its log was forked, unless there is better, and reports whether it did.
func (w *witnessed) blame(shown *proof.Checkpoint, req Cosigning, why error, now time.Time) bool {
	forked := shown.Size == w.Size
	if errors.Is(why, audit.ErrUnproven) || w.Conflict != nil && (w.Forked || !forked) { // the first is kept, or the first that needs no proof
		return false
	}
	w.Conflict, w.ConflictAt, w.Forked, w.ConflictProof = req.Checkpoint, now, forked, nil
	for _, hash := range req.Proof {
		if !forked {
			w.ConflictProof = append(w.ConflictProof, hash[:]...)
		}
	}
	return true
}
