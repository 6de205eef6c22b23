package postgres

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/domicile-project/domicile/residency/store"
)

var _ store.Agenda = (*Cluster)(nil)

// tasksPage is how many tasks are read at once.
const tasksPage = 1000

// Tasks is store.Agenda. Each page is as the agenda was when it was read.
func (c *Cluster) Tasks(ctx context.Context, yield func(store.Task) bool) error {
	defer c.timed("tasks")()
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	sql := "select at, tenant, kind, id, value from " + c.table("agenda") +
		" where (at, tenant, kind, id) > ($1, $2, $3, $4) order by at, tenant, kind, id limit $5"
	after := []any{int64(math.MinInt64), []byte{}, int16(0), []byte{}}
	for {
		page, err := c.tasks(ctx, sql, append(after, tasksPage))
		if err != nil {
			return err
		}
		for _, task := range page {
			if !yield(task) {
				return nil
			}
		}
		if len(page) < tasksPage {
			return nil
		}
		last := &page[len(page)-1]
		after = []any{last.At.UnixNano(), last.Tenant[:], int16(last.Kind), []byte(last.ID)}
	}
}

// tasks reads a page of tasks.
func (c *Cluster) tasks(ctx context.Context, sql string, args []any) (page []store.Task, err error) {
	err = retry(ctx, func() (bool, error) {
		rows, err := c.pool.Query(ctx, sql, args...)
		if err == nil {
			page, err = pgx.CollectRows(rows, readTask)
		}
		err = wrap(ctx, err)
		return err != nil && passes(err), err
	})
	return page, err
}
