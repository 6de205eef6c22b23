package pebble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
	"github.com/domicile-project/domicile/residency/tlv"
)

// leaderKey is where a cluster keeps who leads its background work.
var leaderKey = []byte{prefixLeader}

// leader is who leads until when, in which epoch. The zero value is nobody.
type leader struct {
	holder string
	epoch  uint64
	until  time.Time
}

func (l *leader) encode() []byte {
	e := tlv.NewEncoder(nil, 1)
	e.String(1, l.holder)
	e.Uint(2, l.epoch)
	e.Time(3, l.until)
	return e.Encoded()
}

// leader reads who leads.
func (e *engine) leader() (l leader, err error) {
	b, err := e.get(leaderKey)
	if errors.Is(err, store.ErrNotFound) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	d := tlv.NewDecoder(b, 1)
	for d.Next() {
		switch d.Tag {
		case 1:
			l.holder = d.String()
		case 2:
			l.epoch = d.Uint()
		case 3:
			l.until = d.Time()
		}
	}
	if err := d.Err(); err != nil {
		return leader{}, fmt.Errorf("%w: the leadership: %w", store.ErrCorrupt, err)
	}
	return l, nil
}

// acquire takes a scope's locks, unless it is of another epoch than the leadership's.
func (e *engine) acquire(ctx context.Context, scope store.Scope, shared bool, held *lock.Held) error {
	if err := e.locks.Acquire(ctx, scope, shared, held); err != nil || scope.Epoch == 0 {
		return err
	}
	l, err := e.leader()
	if err == nil && l.epoch != scope.Epoch {
		err = fmt.Errorf("%w: epoch %d is not the leadership's", store.ErrDeposed, scope.Epoch)
	}
	if err != nil {
		held.Release()
	}
	return err
}

var (
	errFollow  = errors.New("the holder would have to change")
	errNothing = errors.New("there is nothing to change")
)

// Lead is store.Rows.
func (c *Cluster) Lead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, err error) {
	defer c.timed("lead")()
	if err := store.CheckLead(holder, ttl); err != nil {
		return 0, err
	}
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.leave()
	epoch, err = e.lead(ctx, holder, ttl, false)
	if errors.Is(err, errFollow) {
		epoch, err = e.lead(ctx, holder, ttl, true)
	}
	return epoch, err
}

// lead renews a leadership or, if it may, follows another; errFollow says that it may not and would
// have to. Its locks are free again once its write is ordered.
func (e *engine) lead(ctx context.Context, holder string, ttl time.Duration, follow bool) (epoch uint64, err error) {
	held := new(lock.Held)
	if err := e.locks.AcquireLeadership(ctx, follow, held); err != nil {
		return 0, err
	}
	err = e.change(ctx, held, store.Tenant{}, func(c *commit) error {
		l, err := e.leader()
		if err != nil {
			return err
		}
		now := e.now()
		switch {
		case l.holder == holder:
			l.until = now.Add(ttl)
		case now.Before(l.until):
			return fmt.Errorf("%w: another leads", store.ErrConflict)
		case ttl == 0:
			epoch = l.epoch
			return errNothing
		case !follow:
			return errFollow
		default:
			l = leader{holder, l.epoch + 1, now.Add(ttl)}
		}
		epoch = l.epoch
		c.writes = append(c.writes, write{key: leaderKey, value: l.encode()})
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return 0, err
	}
	return epoch, nil
}
