package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// Whoever keeps the log's tree is killed, again and again, under load: no entry is lost, none is there twice, callers' orders are
// kept, and no checkpoint says less than, or anything else than, an earlier one. A cycle waits for somebody to lead, which
// takes until the dead leader's time has run out; so several logs are kept side by side.
func TestLogKeepersKilled(t *testing.T) {
	t.Parallel()
	logs, kills := count(2, 5), count(5, 100)
	var wg sync.WaitGroup
	for n := range logs {
		wg.Go(func() {
			t.Run(fmt.Sprint("embedded-", n+1), func(t *testing.T) {
				data := filepath.Join(t.TempDir(), "data")
				killLogKeepers(t, kills, &daemon{data: data, args: []string{"--data", data}})
			})
		})
		wg.Go(func() {
			t.Run(fmt.Sprint("servers-", n+1), func(t *testing.T) {
				first, err := prepareOnServers(t, t.TempDir())
				if errors.Is(err, storetest.ErrNoTool) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				second := &daemon{data: first.data, args: first.args, config: first.config, layout: first.layout}
				killLogKeepers(t, kills, first, second)
			})
		})
	}
	wg.Wait()
}

func killLogKeepers(t *testing.T, kills int, gateways ...*daemon) {
	for _, d := range gateways {
		if err := d.launch(); err != nil {
			t.Fatal(err)
		}
		d.stopWith(t)
	}
	l := &keptLog{
		tenant: "log-" + randomID(), gateways: gateways,
		acknowledged: map[string][]string{}, checkpoints: map[string]*residencyv1.GetCheckpointResponse{},
	}
	register(t, gateways[0].dial(t, "admin-ch"), l.tenant)
	for cycle := range kills {
		leader := l.leader(t)
		l.keepReceipt(t, leader)
		l.load(t, fmt.Sprint(cycle), leader)
		if t.Failed() {
			t.Fatalf("cycle %d", cycle)
		}
		if err := leader.launch(); err != nil {
			t.Fatal(err)
		}
	}
	leader := l.leader(t)
	l.keepReceipt(t, leader)
	l.quiet(t, leader)
	l.verify(t, leader, kills)
}

// keptLog is what callers and auditors of one log have kept while its keepers were killed.
type keptLog struct {
	tenant   string
	gateways []*daemon

	mu           sync.Mutex
	acknowledged map[string][]string                           // by caller: the decisions that it was told, in their order
	newest       string                                        // the decision that was told last
	checkpoints  map[string]*residencyv1.GetCheckpointResponse // by text: each that anybody was shown
	size         int64                                         // the most that any of them was of
	looks        int                                           // how often somebody was shown one
	receipts     [][]byte
	pending      float64 // the most that the gauge of entries that wait has shown
}

// leader waits until one of the gateways keeps the log.
func (l *keptLog) leader(t *testing.T) *daemon {
	t.Helper()
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, d := range l.gateways {
			if leads, ok := d.gauge(t.Context(), `residency_region_leader{region="ch"}`); ok && leads == 1 {
				return d
			}
		}
	}
	t.Fatal("nobody keeps the log")
	return nil
}

// load writes through every gateway, and looks at the log through each, kills the one that keeps it in the midst of that,
// and ends when the others have gone on for a moment.
func (l *keptLog) load(t *testing.T, name string, leader *daemon) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n, d := range l.gateways {
		app, admin := d.dialOnce(t, "app-ch"), d.dialOnce(t, "admin-ch")
		for lane := range 4 {
			caller := fmt.Sprintf("%s-%d-%d", name, n, lane)
			wg.Go(func() { l.write(ctx, app, caller) })
		}
		wg.Go(func() { l.watch(ctx, t, admin, d.admin) })
		defer app.Close()
		defer admin.Close()
	}
	time.Sleep(time.Duration(200+rand.IntN(1200)) * time.Millisecond) // the tree is brought up to the entries once a second
	leader.kill()
	time.Sleep(100 * time.Millisecond)
	stop()
	wg.Wait()
}

// write is one caller: its calls follow one another, so their entries must do so too.
func (l *keptLog) write(ctx context.Context, c *client.Client, caller string) {
	for i := 0; ctx.Err() == nil; i++ {
		record := personalRecord("anna-"+caller, fmt.Sprint("r-", i%50), "Anna")
		var decision string
		_, err := c.Records.PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: l.tenant, Record: record}, client.DecisionID(&decision))
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		l.mu.Lock()
		l.acknowledged[caller], l.newest = append(l.acknowledged[caller], decision), decision
		l.mu.Unlock()
	}
}

// watch looks at the newest checkpoint again and again: it is never of less than one that anybody was shown before it was asked for.
func (l *keptLog) watch(ctx context.Context, t *testing.T, c *client.Client, metrics string) {
	d := &daemon{admin: metrics}
	for ; ctx.Err() == nil; time.Sleep(30 * time.Millisecond) {
		l.look(ctx, t, c)
		if n, ok := d.gauge(ctx, `residency_audit_pending_entries{region="ch"}`); ok {
			l.mu.Lock()
			l.pending = max(l.pending, n)
			l.mu.Unlock()
		}
	}
}

// look asks for the newest checkpoint and keeps it; nil = it was not given.
func (l *keptLog) look(ctx context.Context, t *testing.T, c *client.Client) *residencyv1.GetCheckpointResponse {
	l.mu.Lock()
	before := l.size
	l.mu.Unlock()
	r, err := c.Audit.GetCheckpoint(ctx, &residencyv1.GetCheckpointRequest{Region: "ch"})
	if err != nil {
		return nil
	}
	if r.Size < before {
		t.Errorf("the checkpoint went back from %d to %d", before, r.Size)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size, l.checkpoints[string(r.Checkpoint)] = max(l.size, r.Size), r
	l.looks++
	return r
}

// keepReceipt keeps the receipt of the decision that was told last, from before the log's keeper was killed.
func (l *keptLog) keepReceipt(t *testing.T, d *daemon) {
	t.Helper()
	if l.newest == "" {
		return
	}
	c := d.dialOnce(t, "admin-ch")
	defer c.Close()
	for end := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
		r, err := c.Audit.GetReceipt(t.Context(), &residencyv1.GetReceiptRequest{TenantId: l.tenant, DecisionId: l.newest})
		if err == nil {
			l.receipts = append(l.receipts, r.Receipt)
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the receipt of an acknowledged decision: %v", err)
		}
	}
}

// quiet waits, now that nobody writes, until no entry waits for a checkpoint: as the gateway says, and its gauge.
func (l *keptLog) quiet(t *testing.T, d *daemon) {
	t.Helper()
	c := d.dialOnce(t, "admin-ch")
	defer c.Close()
	eventually(t, "no entry waits", func() bool {
		r := l.look(t.Context(), t, c)
		n, ok := d.gauge(t.Context(), `residency_audit_pending_entries{region="ch"}`)
		return r != nil && r.Size > 0 && r.Pending == 0 && ok && n == 0
	})
}

// gauge reads one series of the gateway's metrics; false when it does not answer or has none.
func (d *daemon) gauge(ctx context.Context, series string) (float64, bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false
	}
	defer answer.Body.Close()
	return seriesIn(answer.Body, series)
}
