package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between a gateway and a server. It can be cut in two ways.
type proxy struct {
	l      net.Listener
	target string

	mu    sync.Mutex
	open  map[net.Conn]bool // of both sides
	cut   bool
	ended int           // connections that were refused while it was cut
	whole chan struct{} // closed while bytes get through
}

// newProxy listens until the test ends.
func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target, open: make(map[net.Conn]bool), whole: make(chan struct{})}
	close(p.whole)
	t.Cleanup(func() {
		l.Close()
		p.mend()
		p.sever()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// sever ends every connection, and new ones until mend, as a server does whose process has gone.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.open {
		c.Close()
	}
}

// refused tells how many connections came while it was cut.
func (p *proxy) refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// silence lets nothing through until mend, and ends no connection, as a broken network does.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = make(chan struct{})
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.whole:
	default:
		close(p.whole)
	}
}

// keep notes a connection, or ends it when connections are being refused.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		p.ended++
		c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.open, c)
	}
}

func (p *proxy) passing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole
}

func (p *proxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !p.keep(server) {
		p.drop(client)
		return
	}
	go p.copy(client, server)
	p.copy(server, client)
}

// copy carries bytes one way until either side ends.
func (p *proxy) copy(to, from net.Conn) {
	defer p.drop(to, from)
	_, _ = io.Copy(gated{p, to}, from) // how it ends is the other side's to see
}

// gated holds back what is written while nothing may get through.
type gated struct {
	p  *proxy
	to net.Conn
}

func (g gated) Write(b []byte) (int, error) {
	<-g.p.passing()
	return g.to.Write(b)
}
