package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

// leader is who leads the cluster's background work, guarded by memoryRows.mu.
// The zero value is nobody.
type leader struct {
	holder string
	epoch  uint64
	until  time.Time
}

// mayRun refuses a scope of another epoch than the leadership's. The leadership's lock is held.
func (r *memoryRows) mayRun(scope store.Scope) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if scope.Epoch != 0 && scope.Epoch != r.leader.epoch {
		return fmt.Errorf("%w: epoch %d is not the leadership's", store.ErrDeposed, scope.Epoch)
	}
	return nil
}

func (r *memoryRows) Lead(ctx context.Context, holder string, ttl time.Duration) (epoch uint64, err error) {
	if err := store.CheckLead(holder, ttl); err != nil {
		return 0, err
	}
	err = r.faults.write(ctx, OpLead, func() (err error) {
		epoch, err = r.lead(ctx, holder, ttl)
		return err
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

func (r *memoryRows) lead(ctx context.Context, holder string, ttl time.Duration) (uint64, error) {
	if epoch, done, err := r.renew(holder, ttl); done || err != nil {
		return epoch, err
	}
	var held lock.Held
	if err := r.locks.AcquireLeadership(ctx, true, &held); err != nil {
		return 0, err
	}
	defer held.Release()
	if epoch, done, err := r.renew(holder, ttl); done || err != nil { // somebody was faster
		return epoch, err
	}
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = leader{holder, r.leader.epoch + 1, now.Add(ttl)}
	return r.leader.epoch, nil
}

// renew does what needs no change of the holder; done is false when it needs one.
func (r *memoryRows) renew(holder string, ttl time.Duration) (epoch uint64, done bool, err error) {
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.leader
	switch {
	case l.holder == holder:
		l.until = now.Add(ttl)
	case now.Before(l.until):
		return 0, false, fmt.Errorf("%w: another leads", store.ErrConflict)
	case ttl > 0:
		return 0, false, nil
	}
	return l.epoch, true, nil
}
