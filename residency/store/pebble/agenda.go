package pebble

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency/store"
)

var _ store.Agenda = (*Cluster)(nil)

// Tasks is store.Agenda. It sees the agenda as it was when it was called.
func (c *Cluster) Tasks(ctx context.Context, yield func(store.Task) bool) error {
	defer c.timed("tasks")()
	e := c.engine
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.leave()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAgenda}, UpperBound: []byte{prefixAgenda + 1}})
	if err != nil {
		return wrap(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		task, err := parseTask(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if !yield(task) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return wrap(it.Error())
}
