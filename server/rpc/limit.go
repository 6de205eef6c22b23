package rpc

import (
	"net"
	"sync"
	"sync/atomic"
)

// limited is a listener that keeps at most so many connections open. It closes
// further ones at once: a caller then learns that it was turned away, instead of waiting
// in a queue that nobody sees.
type limited struct {
	net.Listener
	most    int64
	open    atomic.Int64
	metrics *metrics
}

// Accept gives the next connection within the limit.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			l.metrics.connections.Inc()
			return &counted{Conn: conn, owner: l}, nil
		}
		l.open.Add(-1)
		l.metrics.turnedAway.Inc()
		_ = conn.Close() // nothing was said on it
	}
}

// counted is a connection that counts itself out when it is closed.
type counted struct {
	net.Conn
	owner *limited
	once  sync.Once
}

// Close closes the connection.
func (c *counted) Close() error {
	c.once.Do(func() {
		c.owner.open.Add(-1)
		c.owner.metrics.connections.Dec()
	})
	return c.Conn.Close()
}
