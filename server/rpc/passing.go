package rpc

import (
	"context"
	"sync/atomic"
	"time"
)

// passing counts what the gateways of other regions are passing on for this one: streams that are open here, and
// those that have ended and whose leases they still ask for. A connection that is being closed takes no question any
// more, so a server that stops lets them come to their end before it closes any.
type passing struct {
	streams atomic.Int64
	asked   atomic.Int64 // when leases were last asked for, in nanoseconds since the server began
	began   time.Time
}

const (
	passingQuiet = time.Second // peers that pass something on ask four times as often
	passingLook  = 50 * time.Millisecond
)

func (p *passing) begin() { p.streams.Add(1) }
func (p *passing) end()   { p.streams.Add(-1) }
func (p *passing) ask()   { p.asked.Store(int64(time.Since(p.began))) }

// idle reports whether nothing is being passed on.
func (p *passing) idle() bool {
	asked := time.Duration(p.asked.Load())
	return p.streams.Load() == 0 && (asked == 0 || time.Since(p.began)-asked > passingQuiet)
}

// wait waits until nothing is being passed on, or half of the time that is left is over: the rest is for
// the calls that came directly.
func (p *passing) wait(ctx context.Context) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	look := time.NewTicker(passingLook)
	defer look.Stop()
	for !p.idle() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
