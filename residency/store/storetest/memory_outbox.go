package storetest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/lock"
)

var _ store.Outbox = (*memoryRows)(nil)

func (r *memoryRows) Entry(ctx context.Context, place uint64) ([]byte, error) {
	if err := r.faults.read(ctx, OpEntry); err != nil {
		return nil, err
	}
	if e, ok := r.entry(place); ok {
		return e, nil
	}
	return nil, fmt.Errorf("%w: no entry at place %d", store.ErrNotFound, place)
}

func (r *memoryRows) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	if err := store.CheckPlaces(places); err != nil {
		return err
	}
	if err := r.faults.read(ctx, OpAt); err != nil {
		return err
	}
	for _, place := range places {
		if e, ok := r.entry(place); ok && !yield(place, e) {
			return nil
		}
	}
	return nil
}

func (r *memoryRows) Entries(ctx context.Context, from uint64, yield func(uint64, []byte) bool) error {
	if err := r.faults.read(ctx, OpEntries); err != nil {
		return err
	}
	for {
		first, last := r.ends()
		if from = max(from, first); from > last {
			return nil
		}
		e, ok := r.entry(from)
		if !ok {
			continue // dropped a moment ago
		}
		if !yield(from, e) {
			return nil
		}
		from++
	}
}

// entry gives a copy of the entry at a place.
func (r *memoryRows) entry(place uint64) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place <= r.dropped || place > uint64(len(r.entries)) {
		return nil, false
	}
	return bytes.Clone(r.entries[place-1]), true
}

// ends gives the first place and the last.
func (r *memoryRows) ends() (first, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped + 1, uint64(len(r.entries))
}

func (r *memoryRows) First(ctx context.Context) (uint64, error) {
	if err := r.faults.read(ctx, OpFirst); err != nil {
		return 0, err
	}
	first, _ := r.ends()
	return first, nil
}

func (r *memoryRows) Last(ctx context.Context) (uint64, error) {
	if err := r.faults.read(ctx, OpLast); err != nil {
		return 0, err
	}
	_, last := r.ends()
	return last, nil
}

func (r *memoryRows) Drop(ctx context.Context, upTo, epoch uint64) error {
	_, last := r.ends()
	if err := store.CheckDrop(upTo, last); err != nil {
		return err
	}
	if err := r.forget(ctx, upTo, epoch); err != nil {
		return err
	}
	return r.faults.write(ctx, OpRemove, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		clear(r.entries[:r.dropped])
		return nil
	})
}

// forget moves the first place on, under an epoch.
func (r *memoryRows) forget(ctx context.Context, upTo, epoch uint64) error {
	var held lock.Held
	scope := store.Scope{Epoch: epoch}
	if err := r.locks.Acquire(ctx, scope, true, &held); err != nil {
		return err
	}
	defer held.Release()
	return r.faults.write(ctx, OpDrop, func() error {
		if err := r.mayRun(scope); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dropped = max(r.dropped, upTo)
		return nil
	})
}
