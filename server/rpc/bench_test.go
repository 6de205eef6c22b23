package rpc

import (
	"testing"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// BenchmarkGetRecord runs whole calls over TLS, caller and server in one process,
// over stores in memory.
func BenchmarkGetRecord(b *testing.B) {
	w := newWorld(b)
	w.tenant("acme")
	records := residencyv1.NewRecordServiceClient(w.as(appCH))
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := records.GetRecord(b.Context(), getRequest("acme")); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
