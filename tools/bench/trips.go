package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// counter passes connections on to a PostgreSQL server and counts round trips:
// every message after which a client waits for the server, a Sync or a simple Query
// (PostgreSQL documentation, "Message Flow"). It is in the way only while trips are counted,
// since it costs time.
type counter struct {
	listener net.Listener
	server   string
	trips    atomic.Uint64
}

func newCounter(server string) (*counter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{listener: l, server: server}
	go c.serve()
	return c, nil
}

func (c *counter) address() string { return c.listener.Addr().String() }

// close takes no more connections; those that there are end with their clients.
func (c *counter) close() { c.listener.Close() }

func (c *counter) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.server)
		if err != nil {
			client.Close()
			continue
		}
		pass := func(to, from net.Conn, see io.Writer) {
			io.Copy(io.MultiWriter(see, to), from) //nolint:errcheck // whichever side ended, both do
			to.Close()
		}
		go pass(server, client, &frontend{trips: &c.trips})
		go pass(client, server, io.Discard)
	}
}

// frontend reads what a client sends, message by message.
type frontend struct {
	trips   *atomic.Uint64
	started bool   // the first message has no type
	header  []byte // of the message that begins
	rest    int    // bytes left of the message
}

var errMessage = errors.New("a message is shorter than its own length")

// Write is io.Writer.
func (f *frontend) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		if f.rest > 0 {
			n := min(f.rest, len(left))
			f.rest, left = f.rest-n, left[n:]
			continue
		}
		size := 5
		if !f.started {
			size = 4
		}
		n := min(size-len(f.header), len(left))
		f.header, left = append(f.header, left[:n]...), left[n:]
		if len(f.header) < size {
			break
		}
		length := int(binary.BigEndian.Uint32(f.header[size-4:]))
		if length < 4 {
			return 0, errMessage
		}
		if f.started && (f.header[0] == 'S' || f.header[0] == 'Q') {
			f.trips.Add(1)
		}
		f.started, f.header, f.rest = true, f.header[:0], length-4
	}
	return len(p), nil
}
