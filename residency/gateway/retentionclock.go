package gateway

import (
	"context"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
)

// maxLeap is how far the cluster's clock may go on between two entries, where a day ago lies between them, for entries to be dropped.
const maxLeap = 24 * time.Hour

// leap is a time for which the log has no entry: nothing was recorded, or the clock went ahead.
type leap struct{ from, to time.Time }

// leapt looks whether the last day has passed in the log bit by bit, or the clock may have gone ahead within it. By a clock that
// went ahead everything would be old. Entries that are made afterwards have its times, so the newest tells nothing: the day begins
// between two entries, and these must be near each other. So whoever sets a clock has a day to set it right again. The zero
// leap is none.
func (r *retention) leapt(ctx context.Context, now time.Time) (l leap, err error) {
	first, err := r.c.Outbox.First(ctx)
	if err != nil {
		return leap{}, err
	}
	last, err := r.c.Outbox.Last(ctx)
	if err != nil {
		return leap{}, err
	}
	l.to = now
	before, after := first-1, last+1 // the day begins somewhere between these places
	for after-before > 1 {
		place := before + (after-before)/2
		at, err := r.madeAt(ctx, place)
		switch {
		case err != nil:
			return leap{}, err
		case at.After(now.Add(-maxLeap)) && !at.After(now): // of the future is only what a clock made that was set right since
			after, l.to = place, at
		default:
			before, l.from = place, at
		}
	}
	if l.from.IsZero() || l.to.Sub(l.from) <= maxLeap {
		return leap{}, nil
	}
	return l, nil
}

// madeAt gives the time of the entry at a place.
func (r *retention) madeAt(ctx context.Context, place uint64) (time.Time, error) {
	b, err := r.c.Outbox.Entry(ctx, place)
	if err != nil {
		return time.Time{}, err
	}
	e, err := audit.Parse(b)
	if err != nil {
		return time.Time{}, residency.E("gateway.madeAt", residency.IntegrityFailure, err)
	}
	return e.Time, nil
}
