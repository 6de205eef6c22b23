package forward

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

// An address that takes connections and says nothing hinders no other.
func TestAnAddressThatSwallows(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	w := &world{t: t, ca: newAuthority(t)}
	t.Cleanup(func() {
		_ = lis.Close()
		<-done
		for _, c := range held {
			_ = c.Close()
		}
	})
	w.home = newHome(t, w.ca.files(t.TempDir(), gatewayLeaf(idThere), w.ca), "127.0.0.1:0")
	answerTo(w.home)
	w.run(w.ca.files(t.TempDir(), gatewayLeaf(idHere), w.ca), lis.Addr().String()+","+w.home.address)
	w.until("the peer is up", w.peer.Up)
	for range 100 {
		if _, err := w.unary(t.Context(), call()); err != nil {
			t.Fatal(err)
		}
	}
}

// wireTap is a way to a gateway that can be cut without a word.
type wireTap struct {
	lis net.Listener
	cut atomic.Bool
	wg  sync.WaitGroup
}

func newTap(t testing.TB, to string) *wireTap {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tap := &wireTap{lis: lis}
	var mu sync.Mutex
	var open []net.Conn
	pass := func(from, to net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				_ = to.Close()
				return
			}
			if tap.cut.Load() {
				continue // swallowed
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	tap.wg.Go(func() {
		for {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			tap.wg.Go(func() { pass(in, out) })
			tap.wg.Go(func() { pass(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = lis.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		tap.wg.Wait()
	})
	return tap
}

// A connection that is open on this side alone is found out; what waits on it ends by its deadline, and nothing of a stream is
// passed on beyond its lease.
func TestAHalfOpenConnection(t *testing.T) {
	w := &world{t: t, ca: newAuthority(t)}
	w.home = newHome(t, w.ca.files(t.TempDir(), gatewayLeaf(idThere), w.ca), "127.0.0.1:0")
	tap := newTap(t, w.home.address)
	w.run(w.ca.files(t.TempDir(), gatewayLeaf(idHere), w.ca), tap.lis.Addr().String())
	w.wantTold(true)
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		for range 2 {
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: []byte("data")}); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return s.Context().Err()
	})
	s := w.open(t.Context(), call())
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	tap.cut.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := w.unary(ctx, call())
	if !errors.Is(err, context.DeadlineExceeded) && residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("a call without an answer: %v", err)
	}
	w.wantTold(false)
	w.until("the lease has lapsed", func() bool { return int64(elapsed()) > s.until.Load() })
	if data, err := take(t.Context(), s); residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("beyond the lease came %q, %v", data, err)
	}
	tap.cut.Store(false) // what was swallowed is gone: only new connections work
	w.until("the peer is up again", w.peer.Up)
}
