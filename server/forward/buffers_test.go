package forward

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// poisoned is a pool that spoils what is given back to it.
type poisoned struct{ given, back atomic.Int64 }

func (p *poisoned) Get(n int) *[]byte {
	p.given.Add(1)
	b := make([]byte, n)
	return &b
}

func (p *poisoned) Put(b *[]byte) {
	p.back.Add(1)
	for i := range *b {
		(*b)[i] = 0xDB
	}
}

// What is forwarded either way, by many at once, arrives as it was: no buffer is used after it was given back, and all are
// given back.
func TestBuffers(t *testing.T) {
	pool := &poisoned{}
	w := newWorld(t, experimental.WithBufferPool(pool))
	w.home.write = func(s grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
		h, n := sha256.New(), uint64(0)
		for {
			m, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			h.Write(m.GetData())
			n += uint64(len(m.GetData()))
		}
		if err := s.SetHeader(metadata.Pairs("sum", fmt.Sprintf("%x", h.Sum(nil)))); err != nil {
			return err
		}
		return s.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: int64(n)})
	}
	w.home.lease.Store(leaseFor(time.Hour)) // here it is about the bytes
	w.home.read = func(r *residencyv1.ReadDriveRequest, s sender) error {
		if err := s.SendHeader(metadata.Join(Lease(time.Hour), metadata.Pairs(DecisionKey, decision))); err != nil {
			return err
		}
		from := rand.New(rand.NewPCG(uint64(r.GetOffset()), 1))
		for range 40 {
			if err := s.Send(&residencyv1.ReadDriveResponse{Data: noise(from)}); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() { w.readNoise(int64(i), i%4 == 3) })
		wg.Go(func() { w.writeNoise(uint64(i)) })
	}
	wg.Wait()
	if pool.given.Load() == 0 {
		t.Fatal("the pool is not used: this finds nothing")
	}
	t.Logf("%d buffers were taken from the pool and %d given back", pool.given.Load(), pool.back.Load())
}

func noise(from *rand.Rand) []byte {
	b := make([]byte, 1+from.IntN(256<<10))
	for i := range b {
		b[i] = byte(from.Uint32())
	}
	return b
}

// readNoise reads and compares what it reads; given up in the middle when it says so.
func (w *world) readNoise(seed int64, giveUp bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := w.peer.Stream(ctx, methodRead, call(), true)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer s.Close()
	if err := errors.Join(s.Send(wire(w.t, &residencyv1.ReadDriveRequest{TenantId: "acme", Offset: seed})), s.CloseSend(), s.Begin()); err != nil {
		w.t.Error(err)
		return
	}
	from := rand.New(rand.NewPCG(uint64(seed), 1))
	for n := 0; ; n++ {
		data, err := take(ctx, s)
		if errors.Is(err, io.EOF) && n == 40 || giveUp && n == 10 {
			return
		}
		if err != nil || string(data) != string(noise(from)) {
			w.t.Errorf("message %d of stream %d arrived otherwise: %v", n, seed, err)
			return
		}
	}
}

func (w *world) writeNoise(seed uint64) {
	s, err := w.peer.Stream(context.Background(), methodWrite, call(), false)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer s.Close()
	from, h, total := rand.New(rand.NewPCG(seed, 2)), sha256.New(), int64(0)
	for range 40 {
		b := noise(from)
		h.Write(b)
		total += int64(len(b))
		if err := s.Send(wire(w.t, &residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: b}})); err != nil {
			w.t.Error(err)
			return
		}
	}
	if err := errors.Join(s.CloseSend(), s.Begin()); err != nil {
		w.t.Error(err)
		return
	}
	message, err := s.Recv()
	if err != nil {
		w.t.Error(err)
		return
	}
	defer message.Free()
	header, _ := s.stream.Header()
	if got := header.Get("sum"); !slices.Equal(got, []string{fmt.Sprintf("%x", h.Sum(nil))}) {
		w.t.Errorf("%d bytes of stream %d arrived otherwise", total, seed)
	}
}
