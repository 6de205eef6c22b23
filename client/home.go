package client

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// What is kept of other endpoints than Options.Address.
const (
	maxEndpoints  = 16              // connections
	maxRemembered = 4096            // tenants
	idleEndpoint  = 5 * time.Minute // after its last call a connection is closed
)

// homes knows at which endpoint each tenant is served, as far as gateways have said,
// and keeps the connections there. The endpoint "" is Options.Address itself. It is
// safe for concurrent use.
type homes struct {
	follow bool   // go where a gateway says
	own    string // Options.Address
	dial   func(endpoint string) (*grpc.ClientConn, error)
	idle   time.Duration
	wait   time.Duration // for the decision over a write

	mu     sync.Mutex
	of     map[string]home      // by tenant
	conns  map[string]*endpoint // by address
	closed bool
}

// home is where a tenant is served.
type home struct {
	endpoint string
	took     bool // it has taken data of the tenant's drives, so it is no third place
}

// endpoint is a connection to another endpoint than Options.Address.
type endpoint struct {
	conn  *grpc.ClientConn
	calls int         // that are under way
	used  time.Time   // when the last of them ended
	close *time.Timer // runs while there are none
}

func newHomes(o Options, dial func(string) (*grpc.ClientConn, error)) *homes {
	return &homes{
		follow: o.FollowHome == FollowOnce, own: o.Address, dial: dial, idle: idleEndpoint, wait: decisionWait,
		of: make(map[string]home), conns: make(map[string]*endpoint),
	}
}

// home gives where a tenant is served; the zero home when nothing is known.
func (h *homes) home(tenant string) home {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[tenant]
}

// remember notes where a tenant is served. Of too many tenants any other is forgotten.
func (h *homes) remember(tenant string, at home) {
	if tenant == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.of[tenant]; !known && len(h.of) >= maxRemembered {
		for other := range h.of {
			delete(h.of, other)
			break
		}
	}
	h.of[tenant] = at
}

// forget drops what was remembered of a tenant, unless that is another endpoint by now.
func (h *homes) forget(tenant, endpoint string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[tenant].endpoint == endpoint {
		delete(h.of, tenant)
	}
}

var (
	errClosed = errors.New("the client is closed")
	errNoRoom = fmt.Errorf("calls to %d other endpoints are under way: end some of them", maxEndpoints)
)

// take gives the connection to an endpoint, which is kept until release has been called.
func (h *homes) take(address string) (conn *grpc.ClientConn, release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errClosed
	}
	e := h.conns[address]
	if e == nil {
		if e, err = h.connect(address); err != nil {
			return nil, nil, err
		}
	}
	e.calls++
	if e.close != nil {
		e.close.Stop()
		e.close = nil
	}
	return e.conn, sync.OnceFunc(func() { h.release(address, e) }), nil
}

// connect makes room for a connection, and makes it. h.mu is held.
func (h *homes) connect(address string) (*endpoint, error) {
	if len(h.conns) >= maxEndpoints && !h.evict() {
		return nil, errNoRoom
	}
	conn, err := h.dial(address)
	if err != nil {
		return nil, err
	}
	e := &endpoint{conn: conn}
	h.conns[address] = e
	return e, nil
}

// evict closes the connection that has had no call for the longest. h.mu is held.
func (h *homes) evict() bool {
	var oldest string
	for address, e := range h.conns {
		if e.calls == 0 && (oldest == "" || e.used.Before(h.conns[oldest].used)) {
			oldest = address
		}
	}
	if oldest == "" {
		return false
	}
	h.drop(oldest)
	return true
}

// drop closes a connection. h.mu is held.
func (h *homes) drop(address string) {
	e := h.conns[address]
	if e.close != nil {
		e.close.Stop()
	}
	e.conn.Close()
	delete(h.conns, address)
}

// release counts a call out. What has no call is closed in a while.
func (h *homes) release(address string, e *endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.calls--
	if e.calls > 0 || h.conns[address] != e {
		return
	}
	e.used = time.Now()
	var timer *time.Timer
	timer = time.AfterFunc(h.idle, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.conns[address] == e && e.close == timer { // no call has come since
			h.drop(address)
		}
	})
	e.close = timer
}

// shut closes every connection, and lets no further be made.
func (h *homes) shut() {
	h.mu.Lock()
	conns := h.conns
	h.conns, h.closed = nil, true
	h.mu.Unlock()
	for _, e := range conns { // the calls on it end, and are counted out
		e.conn.Close()
	}
}

// endpointTarget makes a gRPC target of the endpoint that a gateway names. It is a
// host and a port and nothing else: no scheme, which could name a socket
// or a proxy of this machine.
func endpointTarget(endpoint string) (string, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil || !isPort(port) {
		return "", errEndpoint
	}
	if net.ParseIP(host) != nil {
		return "passthrough:///" + net.JoinHostPort(host, port), nil
	}
	if !isHostName(host) {
		return "", errEndpoint
	}
	return "dns:///" + net.JoinHostPort(host, port), nil
}

var errEndpoint = errors.New(`it is not of the form "host:port"`)

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// isHostName reports whether s can be a name in the DNS (RFC 1123; the underscore is for
// names within clusters).
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || strings.Trim(label, hostNameBytes) != "" {
			return false
		}
	}
	return true
}

const hostNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
