package postgres

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// Many writers share flushes: how many depends on how fast the disk is, so it is
// printed and not asserted.
func TestGroupCommit(t *testing.T) {
	s := sharedServer(t)
	n := storetest.Sample(t, "updates by 64 writers", 2000, 100_000)
	c := openAt(t, s.location(t, RoleCluster))
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start, used := time.Now(), processorTime()
	for w := range 64 {
		scope := store.Scope{Tenant: tenant(byte(w)), Objects: []store.Lock{{Object: "subject", Exclusive: true}}}
		wg.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				err := c.Update(within(t, time.Minute), scope, func(tx store.Tx) error { return both(tx, fmt.Sprint(i), nil) })
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	last, err := c.Last(t.Context())
	must(t, err)
	if last != uint64(n) {
		t.Errorf("the newest place is %d, want %d", last, n)
	}
	flushes := c.flusher.flushes.Load()
	t.Logf("%.0f updates/s, %.1f per flush, %v of this process's processor time each",
		float64(n)/took.Seconds(), float64(n)/float64(flushes), (processorTime()-used)/time.Duration(n))
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUpdate is a row of 512 bytes and an audit entry of 300 with its
// index, read first, locked and durable; 64 at a time.
func BenchmarkUpdate(b *testing.B) {
	s := sharedServer(b)
	c := openAt(b, s.location(b, RoleCluster))
	value, entry := make([]byte, 512), make([]byte, 300)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		w := n.Add(1)
		scope := store.Scope{Tenant: tenant(byte(w)), Objects: []store.Lock{{Object: "subject", Exclusive: true}}}
		for pb.Next() {
			id := store.ID(fmt.Sprint(n.Add(1)))
			err := c.Update(b.Context(), scope, func(tx store.Tx) error {
				if _, err := tx.Get(store.KindTenant, ""); err != nil && !strings.Contains(err.Error(), "not found") {
					return err
				}
				if err := tx.Put(store.KindRecord, id, value); err != nil {
					return err
				}
				return tx.Append(id, func(place uint64) []byte { return append(binary.AppendUvarint(nil, place), entry...) })
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBareInsert puts the same bytes in by a transaction of bare pgx, made
// durable by its own commit: what to compare BenchmarkUpdate with in the same run.
func BenchmarkBareInsert(b *testing.B) {
	s := sharedServer(b)
	pool, schema := bare(b, s)
	value, entry := make([]byte, 512), make([]byte, 300)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			batch := &pgx.Batch{}
			batch.Queue("begin")
			batch.Queue("insert into "+schema+".rows values ($1, 3, $2, $3)", make([]byte, 16), []byte(fmt.Sprint(i)), value)
			batch.Queue("insert into "+schema+".outbox values ($1, $2)", i, entry)
			batch.Queue("commit")
			if err := pool.SendBatch(b.Context(), batch).Close(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// bare gives a pool of bare connections to a server with an empty cluster.
func bare(b *testing.B, s server) (*pgxpool.Pool, string) {
	location := s.location(b, RoleCluster)
	pool, err := pgxpool.New(b.Context(), s.URL("domicile", "domicile")+"&pool_max_conns=16")
	must(b, err)
	b.Cleanup(pool.Close)
	return pool, location[strings.Index(location, "schema=")+len("schema="):]
}

// BenchmarkHotTenant compares what could lock a tenant that everybody uses and
// a subject each: advisory locks, and locks on rows made for it. Of 100
// transactions so many take the tenant exclusively.
func BenchmarkHotTenant(b *testing.B) {
	s := sharedServer(b)
	pool, schema := bare(b, s)
	_, err := pool.Exec(b.Context(), "create table "+schema+".locks (key bigint primary key); insert into "+schema+".locks select generate_series(0, 1000)")
	must(b, err)
	row := "select key from " + schema + ".locks where key = $1 for "
	ways := map[string]func(batch *pgx.Batch, exclusive bool, subject int64){
		"advisory": func(batch *pgx.Batch, exclusive bool, subject int64) {
			batch.Queue(lockSQL, []int64{0, subject}, []bool{exclusive, true})
		},
		"row": func(batch *pgx.Batch, exclusive bool, subject int64) {
			if exclusive {
				batch.Queue(row+"update", 0)
			} else {
				batch.Queue(row+"share", 0)
			}
			batch.Queue(row+"update", subject)
		},
	}
	for name, take := range ways {
		for _, percent := range []int64{0, 5} {
			b.Run(fmt.Sprintf("%s/%d%%", name, percent), func(b *testing.B) {
				var n, exclusives, longest atomic.Int64
				before := walBytes(b, pool)
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := n.Add(1)
						exclusive := i%100 < percent
						batch := &pgx.Batch{}
						batch.Queue("begin")
						batch.Queue("set local synchronous_commit = off")
						take(batch, exclusive, i%1000+1)
						batch.Queue("commit")
						start := time.Now()
						if err := pool.SendBatch(b.Context(), batch).Close(); err != nil {
							b.Error(err)
							return
						}
						if exclusive {
							exclusives.Add(1)
							for took := int64(time.Since(start)); ; {
								old := longest.Load()
								if old >= took || longest.CompareAndSwap(old, took) {
									break
								}
							}
						}
					}
				})
				b.ReportMetric((walBytes(b, pool)-before)/float64(b.N), "B-of-log/op")
				if exclusives.Load() > 0 {
					b.ReportMetric(float64(longest.Load())/1e6, "ms-longest-exclusive")
				}
			})
		}
	}
}

// walBytes is how much write-ahead log the server has written.
func walBytes(b *testing.B, pool *pgxpool.Pool) (n float64) {
	must(b, pool.QueryRow(b.Context(), "select pg_current_wal_insert_lsn() - '0/0'").Scan(&n))
	return n
}
