package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

// dropBatch is how many places a transaction empties.
const dropBatch = 1000

// Drop is store.Outbox: one durable commit for the first place, and then one for so many entries at a time. Nobody waits for it.
func (c *Cluster) Drop(ctx context.Context, upTo, epoch uint64) error {
	defer c.timed("drop")()
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	last, err := c.known(ctx, upTo)
	if err != nil {
		return err
	}
	if err := store.CheckDrop(upTo, last); err != nil {
		return err
	}
	first, err := c.forget(ctx, upTo, epoch)
	if err != nil {
		return err
	}
	var oldest *int64
	if err := wrap(ctx, c.pool.QueryRow(ctx, c.sql.oldest, first).Scan(&oldest)); err != nil || oldest == nil {
		return err
	}
	for from := *oldest; from < first; from += dropBatch {
		err := c.write(ctx, func(b *pgx.Batch) { b.Queue(c.sql.drop, from, min(from+dropBatch, first)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// forget makes the first place durable, and gives it. The epoch is compared in a statement of its own, which sees who leads once
// the leadership's lock is granted.
func (c *Cluster) forget(ctx context.Context, upTo, epoch uint64) (int64, error) {
	var first *int64
	err := c.write(ctx, func(b *pgx.Batch) {
		if epoch != 0 {
			b.Queue(lockSQL, []int64{leadershipKey(c.schema)}, []bool{false})
		}
		b.Queue(c.sql.forget, int64(upTo)+1, int64(epoch)).Query(one(&first)) //nolint:gosec // epochs are counted from 1
	})
	switch {
	case err != nil:
		return 0, err
	case first == nil:
		return 0, deposed(epoch)
	}
	return *first, nil
}
