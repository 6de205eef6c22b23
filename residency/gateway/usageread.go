package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// GetUsage asks for a tenant's totals, of days of UTC.
type GetUsage struct {
	Tenant string
	Start  Date // the first day; zero = the first of the current month
	End    Date // the day after the last; zero = tomorrow
}

// Usage is what a tenant moved.
type Usage struct {
	Start, End Date // the days that were asked for
	Totals     []UsageTotal
	Region     residency.Region
	Cluster    string
	From       uint64    // the place from which the log's entries are counted; 0 = none is yet
	Through    uint64    // and up to which
	Pending    uint64    // entries behind it
	First      uint64    // the place of the oldest entry that the log still has
	Oldest     time.Time // and its time; zero = it has none
}

// UsageTotal is what went in one direction, of one class of data, on one day.
type UsageTotal struct {
	Day       Date
	Class     residency.DataClass
	Direction Direction
	Bytes     uint64
	Calls     uint64
}

// maxUsageDays is how many days are told at once: a year.
const maxUsageDays = 366

// check holds what is asked for to its form, as far as that does not depend on the time.
func (r *GetUsage) check(op string) error {
	if r.Start == (Date{}) || r.End == (Date{}) {
		return nil
	}
	return checkDays(op, r.Start, r.End)
}

// days gives the days that are asked for: unless they are stated, those of the current month so far.
func (r *GetUsage) days(op string, now time.Time) (start, end Date, err error) {
	start, end = r.Start, r.End
	today := dayOf(now)
	if start == (Date{}) {
		start = dateOf(today)
		start.Day = 1
	}
	if end == (Date{}) {
		end = dateOf(today + 1)
	}
	return start, end, checkDays(op, start, end)
}

func checkDays(op string, start, end Date) error {
	switch n := end.day() - start.day(); {
	case n <= 0:
		return residency.Bad(op, "end_date", "must be after start_date: it is the day after the last")
	case n > maxUsageDays:
		return residency.Bad(op, "end_date", "must be at most 366 days after start_date")
	}
	return nil
}

// GetUsage gives a tenant's totals: of its home's log, as far as it is counted. They name nobody, and answer from anywhere.
func (g *Gateway) GetUsage(ctx context.Context, call *Call, req GetUsage) (Usage, error) {
	const op = "gateway.GetUsage"
	if err := req.check(op); err != nil {
		return Usage{}, err
	}
	out := Usage{}
	t, err := g.decide(ctx, &act{call: call, op: op, tenant: req.Tenant, suspended: true}, func(t *txn) (err error) {
		out.Start, out.End, err = req.days(op, t.now)
		return err
	})
	if err != nil {
		return Usage{}, err
	}
	if err := t.usage(ctx, &out); err != nil {
		e := unread(ctx, op, err)
		e.Decision = &t.decision
		return Usage{}, e
	}
	return out, nil
}

// usage reads the tenant's totals of the days that are asked for, and how far they go.
func (t *txn) usage(ctx context.Context, out *Usage) error {
	c := t.home.cluster
	if c.Signer == nil {
		return errors.New("the cluster's log is not signed, so nothing is counted")
	}
	ctx, cancel := context.WithTimeout(ctx, t.g.limits.Decide)
	defer cancel()
	tenant, err := logPseudonym(t.tk.Pseudonym())
	if err != nil {
		return err
	}
	out.Region, out.Cluster = t.home.region.Name, c.Name
	var s usageState
	err = c.Rows.View(ctx, usageScope, func(tx store.Tx) (err error) {
		if s, err = readUsageState(tx); err == nil {
			out.Totals, err = usageOf(tx, tenant, storedDay(out.Start), storedDay(out.End))
		}
		return err
	})
	if err != nil {
		return err
	}
	out.From, out.Through = s.From, s.Through
	last, err := c.Outbox.Last(ctx)
	if err != nil {
		return err
	}
	out.Pending = last - min(last, s.Through)
	out.First, out.Oldest, err = c.oldestEntry(ctx)
	return err
}

// usageOf reads a tenant's totals from a day on and before another.
func usageOf(tx store.Tx, tenant [idSize]byte, start, end uint32) (list []UsageTotal, err error) {
	after := usageID(tenant, start-1)
	if start == 0 {
		after = ""
	}
	var damage error
	err = tx.Scan(store.KindUsage, store.ID(tenant[:]), after, func(id store.ID, b []byte) bool {
		var day uint32
		if day, damage = usageDay(id); damage != nil || day >= end {
			return false
		}
		var u dayUsage
		if u, damage = decodeUsage(b); damage != nil {
			return false
		}
		for _, c := range u.cells() {
			list = append(list, UsageTotal{Day: dateOf(day), Class: c.Class, Direction: c.Direction, Bytes: c.Bytes, Calls: c.Calls})
		}
		return true
	})
	if damage != nil {
		return nil, residency.E("gateway.usageOf", residency.IntegrityFailure, damage)
	}
	return list, err
}

// oldestEntry gives the place and the time of the oldest entry that the cluster's log still has.
func (c *Cluster) oldestEntry(ctx context.Context) (first uint64, at time.Time, err error) {
	first, err = c.Outbox.First(ctx)
	if err != nil {
		return 0, time.Time{}, err
	}
	var e audit.Entry
	var damage error
	err = c.Outbox.At(ctx, []uint64{first}, func(_ uint64, b []byte) bool { // none is there when all were dropped
		if e, damage = audit.Parse(b); damage != nil {
			damage = residency.E("gateway.oldestEntry", residency.IntegrityFailure, damage)
		}
		return false
	})
	return first, e.Time, errors.Join(err, damage)
}
