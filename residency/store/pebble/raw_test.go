package pebble

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// BenchmarkEngineAlone is the same bytes in one batch, committed by Pebble
// itself: what BenchmarkUpdate is to be compared with.
func BenchmarkEngineAlone(b *testing.B) {
	row, entry := make([]byte, 512), make([]byte, 300)
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			e := openBench(b).engine
			callers(b, n, func(caller, i int) error {
				batch := e.db.NewBatch()
				k := rowKey(nil, [16]byte{byte(caller)}, 3, id(uint64(i)))
				_ = batch.Set(k, row, nil)
				_ = batch.Set(outboxKey(nil, uint64(i)), entry, nil)
				k[17] = 10
				_ = batch.Merge(k, binary.BigEndian.AppendUint64(nil, uint64(i)), nil)
				if err := batch.Commit(pebble.Sync); err != nil {
					return err
				}
				return batch.Close()
			})
		})
	}
}
