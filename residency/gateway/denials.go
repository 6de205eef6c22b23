package gateway

import (
	"sync"
	"time"
)

// denials bounds how many refusals one caller may cause, since each is an entry
// in the audit log. A caller over its bound is told OVERLOADED and nothing is
// decided. Callers are those of the configured table, so the map is bounded.
type denials struct {
	perSecond float64
	elapsed   func() time.Duration

	mu sync.Mutex
	m  map[string]*bucket
}

// bucket holds what is left of one caller's burst.
type bucket struct {
	left float64
	at   time.Duration
}

const burst = 5 // seconds' worth

// take reports whether the caller may cause another refusal, and counts it as
// caused until it is given back.
func (d *denials) take(caller string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.m[caller]
	if b == nil {
		b = &bucket{left: d.perSecond * burst, at: d.elapsed()}
		d.m[caller] = b
	}
	if b.left < 1 && d.refill(b) < 1 {
		return false
	}
	b.left--
	return true
}

// giveBack says that a call was not refused after all.
func (d *denials) giveBack(caller string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.m[caller]; b != nil {
		b.left = min(d.perSecond*burst, b.left+1)
	}
}

func (d *denials) refill(b *bucket) float64 {
	now := d.elapsed()
	b.left = min(d.perSecond*burst, b.left+(now-b.at).Seconds()*d.perSecond)
	b.at = now
	return b.left
}
