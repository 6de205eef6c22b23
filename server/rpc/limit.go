package rpc

import (
	"container/list"
	"net"
	"sync"
)

// share counts what is in use, in all and by each identity, so that no caller can use
// up what is there for all. Safe for concurrent use.
type share struct {
	mu         sync.Mutex
	most, each int
	all        int
	by         map[string]int // an identity is in it while it uses anything
}

func newShare(most, each int) *share { return &share{most: most, each: each, by: map[string]int{}} }

// take counts one in for an identity, if there is room.
func (s *share) take(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.most || s.by[id] >= s.each {
		return false
	}
	s.all++
	s.by[id]++
	return true
}

// give counts out what take counted in.
func (s *share) give(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.by[id]--; s.by[id] <= 0 {
		delete(s.by, id)
	}
}

// used gives how many are counted in.
func (s *share) used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// limited is a listener that keeps at most so many connections open. A new one
// beyond that takes the place of the one that has been silent in its handshake for
// longest: whoever shows no certificate cannot keep others out. With none such
// it is closed at once: a caller then learns that it was turned away, instead of
// waiting in a queue that nobody sees.
type limited struct {
	net.Listener
	most    int
	callers *share // the connections whose caller is known
	metrics *metrics

	mu      sync.Mutex
	open    int
	pending *list.List // of *counted in their handshakes, the oldest first
}

func newLimited(lis net.Listener, most, each int, m *metrics) *limited {
	return &limited{Listener: lis, most: most, callers: newShare(most, each), metrics: m, pending: list.New()}
}

// Accept gives the next connection within the limit.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &counted{Conn: conn, owner: l}
		oldest, ok := l.enter(c)
		if oldest != nil {
			_ = oldest.Close() // its handshake ends with an error
		}
		if ok {
			return c, nil
		}
		l.metrics.turnedAway.Inc()
		_ = conn.Close() // nothing was said on it
	}
}

// enter counts a connection in, or says which one must give way to it.
func (l *limited) enter(c *counted) (oldest *counted, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most {
		front := l.pending.Front()
		if front == nil {
			return nil, false
		}
		oldest = front.Value.(*counted)
		l.leave(oldest)
		l.metrics.turnedAway.Inc()
	}
	l.open++
	l.metrics.connections.Inc()
	c.waiting = l.pending.PushBack(c)
	return oldest, true
}

// leave counts a connection out, once. l.mu must be held.
func (l *limited) leave(c *counted) {
	if c.gone {
		return
	}
	c.gone = true
	l.open--
	l.metrics.connections.Dec()
	l.settle(c)
	if c.claimed {
		l.callers.give(c.identity)
	}
}

// settle takes a connection off the list of those that may have to give way.
func (l *limited) settle(c *counted) {
	if c.waiting != nil {
		l.pending.Remove(c.waiting)
		c.waiting = nil
	}
}

// counted is a connection that counts itself out when it is closed. Its fields are
// the owner's, under its lock.
type counted struct {
	net.Conn
	owner    *limited
	waiting  *list.Element // its place while it is in its handshake
	gone     bool
	claimed  bool   // it counts as the identity's
	identity string // "" = a certificate without one
}

// claim ends the handshake: the connection is the identity's from now on. It
// reports whether that may have another one.
func (c *counted) claim(identity string) bool {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.gone || !c.owner.callers.take(identity) {
		c.owner.metrics.turnedAway.Inc()
		return false
	}
	c.owner.settle(c)
	c.claimed, c.identity = true, identity
	return true
}

// Close closes the connection.
func (c *counted) Close() error {
	c.owner.mu.Lock()
	c.owner.leave(c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}
