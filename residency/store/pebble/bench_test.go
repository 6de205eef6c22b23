package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// cpu is the time that this process has spent on its processors.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// callers runs op b.N times by so many goroutines at once, and reports the time
// on processors beside the time that passed.
func callers(b *testing.B, n int, op func(caller, i int) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpu(b)
	b.ResetTimer()
	for caller := range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := op(caller, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
}

func openBench(b *testing.B) *Cluster {
	c, err := OpenCluster(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	closer(b, c)
	return c
}

func id(n uint64) store.ID {
	return store.ID(binary.BigEndian.AppendUint64(make([]byte, 8, 16), n*0x9e3779b97f4a7c15))
}

// BenchmarkUpdate is a decided write: a read of the tenant, a row of 512 bytes
// and an audit entry of 300 with its index, durable.
func BenchmarkUpdate(b *testing.B) {
	row, entry := make([]byte, 512), make([]byte, 300)
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			c := openBench(b)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			callers(b, n, func(caller, i int) error {
				t := store.Tenant{byte(caller)}
				object := id(uint64(i))
				s := store.Scope{Tenant: t, Objects: []store.Lock{{Object: object, Exclusive: true}}}
				return c.Update(ctx, s, func(tx store.Tx) error {
					if err := tx.Put(store.KindRecord, object, row); err != nil {
						return err
					}
					return tx.Append(object, func(uint64) []byte { return entry })
				})
			})
		})
	}
}

// BenchmarkView is a read of one row out of 10,000.
func BenchmarkView(b *testing.B) {
	const rows = 10_000
	c := openBench(b)
	s := store.Scope{Tenant: store.Tenant{1}}
	err := c.Update(b.Context(), s, func(tx store.Tx) error {
		for i := range uint64(rows) {
			if err := tx.Put(store.KindRecord, id(i), make([]byte, 512)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(_, i int) error {
				object := id(uint64(i % rows))
				s := store.Scope{Tenant: store.Tenant{1}, Objects: []store.Lock{{Object: object}}}
				return c.View(b.Context(), s, func(tx store.Tx) error {
					_, err := tx.Get(store.KindRecord, object)
					return err
				})
			})
		})
	}
}
