package postgres

import (
	"sync"
	"time"
)

// clock is the server's clock, as far as this process knows it: each
// transaction reads it, and in between the process's own monotonic clock tells how far it has
// come. A reading arrives late and never early, so the clock lags by at most a round trip and
// is never ahead. It stands still instead of running backwards.
type clock struct {
	mu     sync.Mutex
	server time.Time // the last reading
	at     time.Time // when it arrived, by this process's clock
	latest time.Time // the newest time given out
}

// read takes a reading and gives the time that counts.
func (c *clock) read(server time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.at = server.UTC(), time.Now()
	return c.onward(c.server)
}

// now gives the time between readings.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.onward(c.server.Add(time.Since(c.at)))
}

func (c *clock) onward(t time.Time) time.Time {
	if t.After(c.latest) {
		c.latest = t
	}
	return c.latest
}
