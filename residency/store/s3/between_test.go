package s3

import (
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// relay passes connections on to a server and cuts some of them after some bytes.
type relay struct {
	address string

	mu    sync.Mutex
	cuts  []cut // of the next connections; those after them go on for ever
	taken int
	open  []net.Conn
}

// cut is how many bytes of a connection are passed on. The zero cut refuses it.
type cut struct{ up, down int64 }

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c, target)
		}
	}()
	return r
}

// set breaks the connections that there are, and says what becomes of the next ones.
func (r *relay) set(cuts ...cut) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		_ = c.Close()
	}
	r.cuts, r.open = cuts, nil
}

// connections counts those that there were.
func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

func (r *relay) next(conn net.Conn) cut {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken++
	r.open = append(r.open, conn)
	if len(r.cuts) == 0 {
		return cut{math.MaxInt64, math.MaxInt64}
	}
	c := r.cuts[0]
	r.cuts = r.cuts[1:]
	return c
}

func (r *relay) pass(c net.Conn, target string) {
	defer c.Close()
	most := r.next(c)
	if most == (cut{}) {
		return
	}
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	over := make(chan struct{}, 2)
	carry := func(to, from net.Conn, most int64) {
		_, _ = io.CopyN(to, from, most)
		over <- struct{}{}
	}
	go carry(s, c, most.up)
	go carry(c, s, most.down)
	<-over
}

// front stands before a server and may answer a request in its place, or lose an answer.
type front struct {
	*httptest.Server
	pass *httputil.ReverseProxy
}

func (f *front) endpoint() string { return f.Listener.Addr().String() }

// newFront makes a front. meddle answers a request and reports true, or leaves it to the server.
func newFront(t *testing.T, target string, tls bool, meddle func(f *front, w http.ResponseWriter, r *http.Request) bool) *front {
	t.Helper()
	f := &front{pass: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: target})
		p.Out.Host = p.In.Host // it is signed
	}}}
	f.pass.ErrorLog = log.New(io.Discard, "", 0) // that a client has gone is no news
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle == nil || !meddle(f, w, r) {
			f.pass.ServeHTTP(w, r)
		}
	}))
	f.Config.ErrorLog = f.pass.ErrorLog
	if tls {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

// lose lets the server do what it is asked, and breaks the connection instead of answering.
func (f *front) lose(r *http.Request) {
	f.pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}
