package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
		_, _, gen := c.scope(key)
		c.keepScope(key, []scopedRow{{"a", make([]byte, i%500)}, {"b", nil}}, gen)
	}
	for i := range c.shards {
		s := &c.shards[i]
		size := 0
		for k, v := range s.rows {
			size += len(k) + len(v.value) + rowOverhead
		}
		for k, v := range s.scopes {
			size += scopeCost(k, v)
		}
		if size != s.size || size > shardBytes {
			t.Fatalf("shard %d holds %d bytes and counts %d", i, size, s.size)
		}
	}
}

// A cluster gives what was written to it, whatever of it is cached: rows, their
// absence, and scopes, with and without the transaction's own writes.
func TestRowCacheAgainstAModel(t *testing.T) {
	c, err := OpenCluster("db", memory())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(1, 2))
	m := &model{rows: map[modelKey]string{}}
	for i := range 4000 {
		err := c.Update(t.Context(), store.Scope{Tenant: store.Tenant{1}, Exclusive: true}, func(tx store.Tx) error {
			for range 1 + random.IntN(4) {
				if err := m.step(tx, random); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
}

type modelKey struct {
	kind store.Kind
	id   store.ID
}

type model struct{ rows map[modelKey]string }

// step does one thing at random and compares what comes of it.
func (m *model) step(tx store.Tx, random *rand.Rand) error {
	kinds := []store.Kind{store.KindRecord, store.KindConsent, store.KindLookup}
	scope := store.ID(bytes.Repeat([]byte{byte('a' + random.IntN(3))}, scopeSize))
	k := modelKey{kinds[random.IntN(len(kinds))], scope + store.ID(fmt.Sprintf("%03d", random.IntN(scopeRows+20)))}
	switch random.IntN(8) {
	case 0:
		delete(m.rows, k)
		return tx.Delete(k.kind, k.id)
	case 1, 2, 3:
		m.rows[k] = fmt.Sprint(random.Uint64())
		return tx.Put(k.kind, k.id, []byte(m.rows[k]))
	case 4:
		got, err := tx.Get(k.kind, k.id)
		want, there := m.rows[k]
		if string(got) != want || there != (err == nil) || err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("got %q, %v; want %q, %t", got, err, want, there)
		}
		return nil
	}
	return m.scan(tx, k.kind, scope, 1+random.IntN(200))
}

// scan compares the first rows of a scope.
func (m *model) scan(tx store.Tx, kind store.Kind, scope store.ID, most int) error {
	var got, want []string
	err := tx.Scan(kind, scope, "", func(id store.ID, value []byte) bool {
		got = append(got, string(id)+"="+string(value))
		return len(got) < most
	})
	for k, v := range m.rows {
		if k.kind == kind && strings.HasPrefix(string(k.id), string(scope)) {
			want = append(want, string(k.id)+"="+v)
		}
	}
	slices.Sort(want)
	if want = want[:min(most, len(want))]; err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("the scan gave %q, %v; want %q", got, err, want)
	}
	return nil
}
