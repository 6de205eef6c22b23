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

// allow reports whether the caller may cause another refusal.
func (d *denials) allow(caller string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.m[caller]
	return b == nil || d.refill(b) >= 1
}

// denied counts a refusal.
func (d *denials) denied(caller string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.m[caller]
	if b == nil {
		b = &bucket{left: d.perSecond * burst, at: d.elapsed()}
		d.m[caller] = b
	}
	d.refill(b)
	b.left--
}

func (d *denials) refill(b *bucket) float64 {
	now := d.elapsed()
	b.left = min(d.perSecond*burst, b.left+(now-b.at).Seconds()*d.perSecond)
	b.at = now
	return b.left
}
