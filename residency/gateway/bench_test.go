package gateway

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/domicile-project/domicile/residency"
)

// cpu gives the process's CPU time so far, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// benchmark runs 64 callers on the embedded engines.
func benchmark(b *testing.B, call func(w *world, i int64) error) {
	w := newWorld(b, func(c *Config) { onDisk(b, &c.Regions[0]) })
	w.tenant("alpen", ch)
	for i := range 1000 {
		_, _, err := w.put(ch, "alpen", aRecord(fmt.Sprint("s", i%100), fmt.Sprint("r", i)), nil)
		w.ok(err)
	}
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(w, n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

func BenchmarkGetRecord(b *testing.B) {
	benchmark(b, func(w *world, i int64) error {
		_, _, err := w.get(ch, "alpen", fmt.Sprint("s", i%1000%100), fmt.Sprint("r", i%1000))
		return err
	})
}

func BenchmarkPutRecord(b *testing.B) {
	benchmark(b, func(w *world, i int64) error {
		_, _, err := w.put(ch, "alpen", aRecord(fmt.Sprint("s", i%1000%100), fmt.Sprint("r", i%1000)), nil)
		return err
	})
}

func BenchmarkCheckTransfer(b *testing.B) {
	benchmark(b, func(w *world, _ int64) error {
		_, err := w.g.CheckTransfer(b.Context(), as(ch, "CheckTransfer", residency.Transfer, residency.PersonalInformation),
			CheckTransfer{Tenant: "alpen", Subject: "s1", Class: residency.PersonalInformation, To: "us", Purpose: residency.Payments})
		return err
	})
}
