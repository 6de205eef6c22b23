package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/store"
)

// A log that was restored from a backup can never prove that it goes on from what its witnesses have signed. Only people can
// tell that from a fork, so they let a witness begin anew; what it knew is kept for good, beside the logs that it knows.

// WitnessedLog is what a region's witness knows of a log.
type WitnessedLog struct {
	Of         residency.Region // whose log it is
	Origin     string
	Key        string // its public key
	Size       uint64
	Root       tlog.Hash
	Checkpoint []byte // that was signed last: of this size and root
	Signed     time.Time

	Conflict   []byte // the checkpoint that contradicts it; nil = there is none
	ConflictAt time.Time
}

// ErrNotWitnessed says that a witness knows no log of a name.
var ErrNotWitnessed = errors.New("the witness knows no such log")

// WitnessedLogs lists what a witness knows of logs, by their origins. The rows are those of its region's first cluster.
func WitnessedLogs(ctx context.Context, rows store.Rows) (list []WitnessedLog, err error) {
	err = rows.View(ctx, witnessScope, func(tx store.Tx) error {
		list = nil
		var failed error
		err := tx.Scan(store.KindWitnessed, "", "", func(_ store.ID, b []byte) bool {
			var w witnessed
			var known WitnessedLog
			if failed = decodeRow(b, &w); failed == nil {
				known, failed = w.told()
			}
			list = append(list, known)
			return failed == nil
		})
		return errors.Join(err, failed)
	})
	slices.SortFunc(list, func(a, b WitnessedLog) int { return strings.Compare(a.Origin, b.Origin) })
	return list, err
}

func (w *witnessed) told() (WitnessedLog, error) {
	key, err := proof.ParseKey(w.Key)
	if err != nil {
		return WitnessedLog{}, residency.E("gateway.WitnessedLogs", residency.IntegrityFailure, fmt.Errorf("the key of a log that was cosigned: %w", err))
	}
	return WitnessedLog{
		Of: residency.Region(w.Of), Origin: key.Origin(), Key: w.Key, Size: w.Size, Root: w.Head, Checkpoint: w.Seen, Signed: w.SeenAt,
		Conflict: w.Conflict, ConflictAt: w.ConflictAt,
	}, nil
}

// ForgetLog lets a witness sign the next checkpoint of a log that it knows, whatever that holds, and from then on what is consistent
// with it. What it knew is kept, and returned; the log's key is what it was. It may be called while gateways serve. The
// rows are those of the witness's region's first cluster.
func ForgetLog(ctx context.Context, rows store.Rows, of residency.Region, origin string) (known WitnessedLog, err error) {
	err = rows.Update(ctx, witnessScope, func(tx store.Tx) error {
		id := witnessedRow(of, origin)
		b, err := tx.Get(store.KindWitnessed, id)
		if errors.Is(err, store.ErrNotFound) {
			return ErrNotWitnessed
		}
		var w witnessed
		if err == nil {
			err = decodeRow(b, &w)
		}
		if err == nil {
			known, err = w.told()
		}
		if err != nil {
			return err
		}
		w.Forgotten = tx.Now()
		at := binary.BigEndian.AppendUint64([]byte(id), uint64(w.Forgotten.UnixNano())) //nolint:gosec // after 1970
		if err := tx.Put(store.KindForgotten, store.ID(at), encodeRow(&w)); err != nil {
			return err
		}
		return tx.Delete(store.KindWitnessed, id)
	})
	return known, err
}

// lastForgotten gives what a witness knew of a log when it was made to forget it last; nil = it never was.
func lastForgotten(tx store.Tx, id store.ID) (last *witnessed, err error) {
	var failed error
	err = tx.Scan(store.KindForgotten, id, "", func(_ store.ID, b []byte) bool {
		last = &witnessed{}
		failed = decodeRow(b, last)
		return failed == nil
	})
	return last, errors.Join(err, failed)
}
