package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The size of a batch of records that is opened at a time.
const (
	batchRecords = 64
	batchBytes   = 1 << 20
)

// leaving is a record that leaves, with the fields that do.
type leaving struct {
	row store.ID
	Record
}

// person hands over a person's records, some at a time. Each batch is read anew, and again once it
// is a lease old, however slowly it is taken: a record that is deleted meanwhile, or ends, does not leave any more.
func (d *handover) person(ctx context.Context, s *stream) error {
	after, more := store.ID(""), true
	for more {
		read := d.g.elapsed()
		batch, last, rest, err := d.batch(ctx, s, after)
		if err != nil {
			return err
		}
		after, more = last, rest
		for i := range batch {
			if err := s.check(ctx); err != nil {
				return err
			}
			if i > 0 && d.g.elapsed()-read >= d.g.limits.Lease {
				after, more = batch[i-1].row, true
				break
			}
			if err := d.give(s, &batch[i].Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// give hands over one record.
func (d *handover) give(s *stream, r *Record) error {
	if err := d.send(DisclosePiece{Record: r}); err != nil {
		return err
	}
	d.records++
	s.bytes.Add(uint64(len(encodeRecord(r))))
	d.note(r)
	return nil
}

// batch opens the next records that leave, and blanks of each what does not.
func (d *handover) batch(ctx context.Context, s *stream, after store.ID) (list []leaving, last store.ID, more bool, err error) {
	err = d.view(ctx, s, d.scope, func(t *txn) error {
		t.subject, list, last, more = d.scope, nil, after, false
		sk, err := t.subjectKeys(t.ctx)
		if err == nil && sk == nil {
			err = residency.E(s.op, residency.NotFound, nil) // erased meanwhile
		}
		if err != nil {
			return err
		}
		return t.scanRecords(after, func(id store.ID, h *recordHead, row []byte) (bool, error) {
			if more = len(list) >= batchRecords || t.bytes >= batchBytes; more {
				return false, nil
			}
			last = id
			if !d.plan.takes(h) {
				return true, nil
			}
			r, err := t.openRecord(sk, id, row)
			if err != nil {
				return false, err
			}
			list = append(list, leaving{id, d.plan.keep(&r)})
			return true, nil
		})
	})
	return list, last, more, err
}

// view reads what the stream goes on with.
func (d *handover) view(ctx context.Context, s *stream, object store.ID, f func(*txn) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.g.limits.Decide)
	defer cancel()
	scope := store.Scope{Tenant: s.home.tenant, Objects: []store.Lock{{Object: object}}}
	err := s.home.cluster.Rows.View(ctx, scope, func(tx store.Tx) error { return f(s.txn(ctx, tx)) })
	if err != nil && !errors.Is(err, context.Canceled) {
		return residency.E(s.op, residency.RegionUnavailable, err)
	}
	return err
}

// drive hands over all of a drive as it is. Where the bytes of one longer than a
// call may read lie is read some at a time; it ends with VERSION_MISMATCH when the drive was changed before that.
func (d *handover) drive(ctx context.Context, s *stream, img *image) error {
	emit := func(b []byte) error {
		if err := s.check(ctx); err != nil {
			return err
		}
		if err := d.send(DisclosePiece{Data: b}); err != nil {
			return err
		}
		s.bytes.Add(uint64(len(b)))
		return nil
	}
	for from := int64(0); from < img.size; from += maxTransfer {
		to := min(from+maxTransfer, img.size)
		if from > 0 {
			if err := d.move(ctx, s, img, from, to); err != nil {
				return err
			}
		}
		if err := img.read(ctx, from, to, emit); err != nil {
			return err
		}
	}
	return nil
}

// move reads where a later part of the drive is.
func (d *handover) move(ctx context.Context, s *stream, img *image, from, to int64) error {
	return d.view(ctx, s, s.drive, func(t *txn) error {
		t.drive = s.drive
		row, version, err := t.readDrive()
		if err == nil && (row.Self != img.self || version != img.version) {
			err = residency.E(s.op, residency.VersionMismatch, nil)
		}
		if err != nil {
			return err
		}
		img.extents, err = t.extents(img.self, from/chunkSize, (to-1)/chunkSize)
		return err
	})
}
