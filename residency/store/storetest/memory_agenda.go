package storetest

import (
	"bytes"
	"context"
	"slices"

	"github.com/domicile-project/domicile/residency/store"
)

var _ store.Agenda = (*memoryRows)(nil)

func (r *memoryRows) Tasks(ctx context.Context, yield func(store.Task) bool) error {
	if err := r.faults.read(ctx, OpDue); err != nil {
		return err
	}
	r.mu.Lock()
	all := make([]store.Task, 0, len(r.agenda))
	for _, t := range r.agenda {
		t.Value = bytes.Clone(t.Value)
		all = append(all, t)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b store.Task) int { return keyOf(a).compare(keyOf(b)) })
	for _, t := range all {
		if !yield(t) {
			break
		}
	}
	return nil
}
