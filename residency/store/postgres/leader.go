package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// serverNow is the server's clock in nanoseconds since 1970, read when it is asked, so after the locks.
const serverNow = "(extract(epoch from clock_timestamp()) * 1000000000)::bigint"

// leaderStatements are those about the leadership. Renewing and following exclude each other by the
// row's lock; following alone takes the advisory lock that transactions of an epoch hold.
type leaderStatements struct {
	renew, look, follow, epoch string
}

func newLeaderStatements(leader string) leaderStatements {
	return leaderStatements{
		renew:  "update " + leader + " set until = " + serverNow + " + $2 where holder = $1 returning epoch",
		look:   "select epoch, until > " + serverNow + " from " + leader,
		follow: "update " + leader + " set holder = $1, epoch = epoch + 1, until = " + serverNow + " + $2 where holder <> $1 and until <= " + serverNow + " returning epoch",
		epoch:  "select epoch from " + leader,
	}
}

// leadershipKey is the number of the leadership's advisory lock.
func leadershipKey(schema string) int64 { return lockKey("leader", schema) }

// Lead is store.Rows. A renewal is one round trip and one durable commit, and so is an attempt to follow
// a leader whose time has run out; seeing that it has not costs a round trip and no write.
func (c *Cluster) Lead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, err error) {
	defer c.timed("lead")()
	if err := store.CheckLead(holder, ttl); err != nil {
		return 0, err
	}
	if err := c.enter(ctx); err != nil {
		return 0, err
	}
	defer c.leave()
	epoch, done, err := c.renewLead(ctx, holder, ttl)
	if done || err != nil {
		return epoch, err
	}
	if epoch, done, err = c.followLeader(ctx, holder, ttl); done || err != nil {
		return epoch, err
	}
	if epoch, done, err = c.renewLead(ctx, holder, ttl); done || err != nil { // somebody was faster
		return epoch, err
	}
	return 0, fmt.Errorf("%w: the leadership", store.ErrConflict)
}

// renewLead does what needs no change of the holder; done is false when it needs one.
func (c *Cluster) renewLead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, done bool, err error) {
	var renewed, current *int64
	var led bool
	err = c.write(ctx, func(b *pgx.Batch) {
		b.Queue(c.lead.renew, []byte(holder), ttl.Nanoseconds()).Query(one(&renewed))
		b.Queue(c.lead.look).QueryRow(func(r pgx.Row) error { return r.Scan(&current, &led) })
	})
	switch {
	case err != nil:
		return 0, false, err
	case renewed != nil:
		return uint64(*renewed), true, nil
	case led:
		return 0, false, fmt.Errorf("%w: another leads", store.ErrConflict)
	case ttl == 0:
		return uint64(*current), true, nil
	}
	return 0, false, nil
}

// followLeader puts the holder in the place of one whose time has run out; done is false
// when there is none any more. It waits for the transactions of the old epoch.
func (c *Cluster) followLeader(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, done bool, err error) {
	var held lock.Held
	if err := c.locks.AcquireLeadership(ctx, true, &held); err != nil {
		return 0, false, err
	}
	defer held.Release()
	var followed *int64
	err = c.write(ctx, func(b *pgx.Batch) {
		b.Queue(lockSQL, []int64{leadershipKey(c.schema)}, []bool{true})
		b.Queue(c.lead.follow, []byte(holder), ttl.Nanoseconds()).Query(one(&followed))
	})
	if err != nil || followed == nil {
		return 0, false, err
	}
	return uint64(*followed), true, nil
}

// one reads a number from a row that may be there.
func one(n **int64) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(n); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// ofEpoch refuses a transaction that was begun for another epoch than the leadership's.
func (t *tx) ofEpoch(want uint64) error {
	if want != 0 && want != t.epoch {
		return deposed(want)
	}
	return nil
}

func deposed(epoch uint64) error {
	return fmt.Errorf("%w: epoch %d is not the leadership's", store.ErrDeposed, epoch)
}
