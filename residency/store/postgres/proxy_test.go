package postgres

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// cut is what becomes of the next bytes that a client sends through a proxy.
type cut int32

const (
	pass    cut = iota
	lose        // they are lost, and the connection with them
	silence     // they arrive, and the connection is lost before the answer
)

// proxy stands between a cluster and its server, and cuts connections on request.
type proxy struct {
	l      net.Listener
	target atomic.Pointer[string]
	next   atomic.Int32 // a cut, for the connection that sends first
	frozen atomic.Bool  // nothing gets through, and no connection is lost
}

func newProxy(t testing.TB, s server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l}
	p.lead(s)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

// lead leads new connections to a server.
func (p *proxy) lead(s server) {
	address := fmt.Sprintf("127.0.0.1:%d", s.Port)
	p.target.Store(&address)
}

// through gives a connection string that leads through the proxy.
func (p *proxy) through(location string) string {
	return strings.Replace(location, *p.target.Load(), p.l.Addr().String(), 1)
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", *p.target.Load())
	if err != nil {
		return
	}
	defer server.Close()
	var mute atomic.Bool
	go func() {
		_, _ = io.Copy(writerFunc(func(b []byte) (int, error) {
			if mute.Load() {
				return len(b), nil
			}
			return client.Write(b)
		}), server)
		client.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		for p.frozen.Load() {
			time.Sleep(time.Millisecond)
		}
		switch cut(p.next.Swap(int32(pass))) {
		case lose:
			return
		case silence:
			mute.Store(true)
			_, _ = server.Write(buf[:n])
			time.Sleep(50 * time.Millisecond) // for the server to do what it was told
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
