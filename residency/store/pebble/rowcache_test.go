package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
)

// A row that is read while it is overwritten is the old one or the new one, and
// a read that begins after the write is acknowledged never gives the old one.
func TestRowCacheFollowsCommits(t *testing.T) {
	c, err := OpenCluster(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	tenant, object := store.Tenant{1}, store.ID("0123456789abcdef")
	scope := func(exclusive bool) store.Scope {
		return store.Scope{Tenant: tenant, Objects: []store.Lock{{Object: object, Exclusive: exclusive}}}
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for last := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				var got int
				err := c.View(t.Context(), scope(false), func(tx store.Tx) error {
					b, err := tx.Get(store.KindRecord, object)
					if errors.Is(err, store.ErrNotFound) {
						return nil
					}
					_, scanErr := fmt.Sscan(string(b), &got)
					return errors.Join(err, scanErr)
				})
				if got == 0 { // deleted, or not there yet
					last = 0
				}
				if err != nil || got < last {
					t.Errorf("read %d after %d: %v", got, last, err)
					return
				}
				last = got
			}
		})
	}
	for i := 1; i <= 500; i++ {
		err := c.Update(t.Context(), scope(true), func(tx store.Tx) error {
			return tx.Put(store.KindRecord, object, fmt.Append(nil, i))
		})
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 { // and gone, and back
			if err := c.Update(t.Context(), scope(true), func(tx store.Tx) error { return tx.Delete(store.KindRecord, object) }); err != nil {
				t.Fatal(err)
			}
			err := c.View(t.Context(), scope(false), func(tx store.Tx) error {
				_, err := tx.Get(store.KindRecord, object)
				return err
			})
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("a deleted row: %v", err)
			}
		}
	}
	close(done)
	wg.Wait()
}

func TestRowCacheIsBounded(t *testing.T) {
	c := newRowCache()
	load := func(key []byte) ([]byte, error) { return bytes.Repeat(key[:1], 1000), nil }
	for i := range 100_000 {
		key := fmt.Appendf(nil, "%018d-%d", i, i)
		if _, err := c.read(key, load); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		size := 0
		for k, v := range s.rows {
			size += len(k) + len(v) + rowOverhead
		}
		if size != s.size || size > shardBytes {
			t.Fatalf("shard %d holds %d bytes and counts %d", i, size, s.size)
		}
	}
}
