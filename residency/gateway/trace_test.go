package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// traced is a gateway on one set-up of stores, and what its answers named so far.
type traced struct {
	name   string
	g      *Gateway
	stores traceStores
	log    bytes.Buffer
	causes []string            // of each call's error, which may differ: stores have words of their own
	ids    map[string][]string // identifiers that it gave out, by what they name
	names  map[string]string   // what stands for an identifier or a time in its answers
	end    time.Time           // when what is limited in time ends
	passed atomic.Int64        // by the clock of leases, in nanoseconds
}

const traceLease = 100 * time.Millisecond

func newTraced(t *testing.T, s traceStores, rings string, shared *sharedKeys) *traced {
	t.Helper()
	w := &traced{
		name: s.name, stores: s, ids: map[string][]string{}, names: map[string]string{},
		end: time.Now().Add(20 * 24 * time.Hour).UTC().Truncate(time.Second).Add(123_456_789),
	}
	cfg := Config{
		Name: "test-1", Directory: s.directory, DirectoryKey: bytes.Repeat([]byte{7}, 32),
		Log:     slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: messageOnly})),
		Limits:  Limits{Lease: traceLease, DenialsPerSecond: 1 << 30},
		Elapsed: w.elapsed,
	}
	for _, r := range traceRegions {
		j, file := ch, "ch-2012-05-02.yaml"
		if r == "us" {
			j, file = us, "us-2011-10-07.yaml"
		}
		ring, err := seal.OpenFileKeyring(filepath.Join(rings, string(r)))
		if err != nil {
			t.Fatal(err)
		}
		p := shipped(t, file)
		cfg.Regions = append(cfg.Regions, Region{
			Name: r, Jurisdiction: j, Controller: p.Controller, Policies: []*policy.Policy{p},
			Vault:    seal.NewVault(r, ring, sameKeys{s.keys[r], r, shared}, seal.Options{}),
			Clusters: []Cluster{{Name: string(r) + "-1", Rows: s.rows[r], Outbox: s.outbox[r], Blobs: s.blobs[r]}},
		})
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.limits.Decide = time.Minute // a slow store is given its time: what it answers counts
	w.g = g
	return w
}

// elapsed is a clock that passes for who waits a lease out alone: no slow store lets one lapse, and no
// withdrawal takes a second.
func (w *traced) elapsed() time.Duration {
	if pc, _, _, ok := runtime.Caller(1); ok && strings.HasSuffix(runtime.FuncForPC(pc).Name(), ".waitOut") {
		w.passed.Add(int64(traceLease))
	}
	return time.Duration(w.passed.Load())
}

// messageOnly leaves of a log line what it says, without when and about whom.
func messageOnly(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.MessageKey || a.Key == slog.LevelKey {
		return a
	}
	return slog.Attr{}
}

var (
	traceUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	traceTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
)

// normal puts what first appeared in the place of each identifier and time. Of a time to the second nothing
// is left, since two may or may not be the same.
func (w *traced) normal(s string) string {
	s = traceUUID.ReplaceAllStringFunc(s, func(id string) string { return w.standIn("id", id) })
	return traceTime.ReplaceAllStringFunc(s, func(at string) string {
		if !strings.Contains(at, ".") {
			return "a time"
		}
		return w.standIn("time", at)
	})
}

func (w *traced) standIn(what, s string) string {
	n, ok := w.names[s]
	if !ok {
		n = fmt.Sprintf("%s-%d", what, len(w.names)+1)
		w.names[s] = n
	}
	return n
}

// answer does one operation and tells all that came of it.
func (w *traced) answer(ctx context.Context, o *traceOp) string {
	call := &Call{Caller: o.caller, Method: o.method, Action: o.action, Class: o.class, Via: o.via}
	w.log.Reset()
	value, err := o.do(ctx, w, call)
	if err == nil && call.Decision.ID != "" {
		w.ids["decision"] = append(w.ids["decision"], call.Decision.ID)
	}
	out := struct {
		Value      any
		Kind       string
		Violations []residency.Violation
		Decision   residency.Decision
		Log        string
	}{Value: value, Kind: residency.KindOf(err).String(), Decision: call.Decision, Log: w.log.String()}
	var e *residency.Error
	if errors.As(err, &e) {
		out.Violations = e.Violations
	}
	w.causes = append(w.causes, fmt.Sprint(err))
	text, failed := json.Marshal(out)
	if failed != nil {
		return failed.Error()
	}
	return w.normal(string(text))
}

// everything reads the logs of both regions, and what is left in the stores. Of an entry's pseudonyms the first
// appearance counts, as of identifiers: a drive's goes by its incarnation, which is drawn.
func (w *traced) everything(ctx context.Context) []string {
	var out []string
	for _, r := range traceRegions {
		err := w.stores.outbox[r].Entries(ctx, 1, func(_ uint64, b []byte) bool {
			e, err := audit.Parse(b)
			object, recipient := fmt.Sprintf("%x", e.Object), fmt.Sprintf("%x", e.Recipient)
			e.Object, e.Recipient = nil, nil
			text, failed := json.Marshal(e)
			out = append(out, w.normal(string(text))+w.standIn("object", object)+w.standIn("recipient", recipient)+fmt.Sprint(errors.Join(err, failed)))
			return true
		})
		out = append(out, fmt.Sprintf("the end of %s's log: %v", r, err), w.rowsLeft(ctx, r), w.keysLeft(ctx, r))
		objects := 0
		err = w.stores.blobs[r].List(ctx, "", func(string) bool { objects++; return true })
		out = append(out, fmt.Sprintf("%s has %d objects, %v", r, objects, err))
	}
	return out
}

// rowsLeft counts rows of each kind: identifiers that were drawn differ, and with them what is sealed.
func (w *traced) rowsLeft(ctx context.Context, r residency.Region) string {
	var out strings.Builder
	for _, tenant := range traceTenants {
		err := w.stores.rows[r].View(ctx, store.Scope{Tenant: w.g.pseudonym(tenant)}, func(tx store.Tx) error {
			for kind := store.Kind(1); kind < 30; kind++ {
				n := 0
				if err := tx.Scan(kind, "", "", func(store.ID, []byte) bool { n++; return true }); err != nil {
					return err
				}
				fmt.Fprintf(&out, "%d of %d, ", n, kind)
			}
			return nil
		})
		fmt.Fprintf(&out, "of %s in %s: %v; ", tenant, r, err)
	}
	return out.String()
}

// keysLeft lists the keys of tenants and people, whose names are the same, and counts the others.
func (w *traced) keysLeft(ctx context.Context, r residency.Region) string {
	var out strings.Builder
	others := 0
	err := w.stores.keys[r].List(ctx, "", func(name string, _ []byte) bool {
		if isShared(name) {
			fmt.Fprintf(&out, "%x ", name)
		} else {
			others++
		}
		return true
	})
	return fmt.Sprintf("keys of %s: %s and %d others, %v", r, out.String(), others, err)
}

var traceTenants = []string{"alpen", "basel", "chur", "boston", "austin", "nobody"}

// The first round's seed, and how many calls a round makes on stores of its own.
const (
	traceSeed     = 20111007
	tracePerRound = 2000
)

// The same calls have the same answers on every kind of stores, refused ones too, and leave the same log.
func TestTrace(t *testing.T) {
	rounds := storetest.Sample(t, "rounds of 2,000 calls, in -short 500, on each of three set-ups", 1, 50)
	calls := tracePerRound
	if testing.Short() {
		calls /= 4
	}
	servers := traceServers{s3: storetest.StartS3(t), postgres: storetest.StartPostgres(t)}
	var kinds counter
	t.Run("rounds", func(t *testing.T) {
		for round := range rounds {
			t.Run(fmt.Sprint(round), func(t *testing.T) {
				t.Parallel()
				rings, shared := t.TempDir(), &sharedKeys{made: map[string][]byte{}}
				var setups []*traced
				for _, s := range []traceStores{traceMemory(), traceEmbedded(t), servers.open(t, round)} {
					setups = append(setups, newTraced(t, s, rings, shared))
				}
				if err := replay(t.Context(), traceSeed+uint64(round), calls, &kinds, setups...); err != nil { //nolint:gosec // a small number
					t.Fatal(err)
				}
			})
		}
	})
	t.Logf("what came of the calls: %v", kinds.n)
	if testing.Short() {
		return
	}
	for _, k := range []residency.Kind{residency.OK, residency.CrossBorderConsentRequired, residency.ConsentIsWithdrawn, residency.NotFound, residency.Erased} {
		if kinds.n[k.String()] == 0 {
			t.Errorf("no call was answered %v: the trace does not go where it should", k)
		}
	}
}

// counter counts what came of calls.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]int)
	}
	c.n[kind]++
}

// replay does calls that a seed decides on several set-ups and compares the answers. It counts what came of them.
func replay(ctx context.Context, seed uint64, calls int, kinds *counter, setups ...*traced) error {
	ops := callsOf(seed, calls)
	answers := make([][]string, len(setups))
	var wg sync.WaitGroup
	for i, w := range setups {
		wg.Go(func() {
			for _, o := range callsOf(seed, calls) { // its own: a call completes what it asks for
				answers[i] = append(answers[i], w.answer(ctx, o))
			}
			answers[i] = append(answers[i], w.everything(ctx)...)
		})
	}
	wg.Wait()
	for n := range answers[0] {
		what := fmt.Sprintf("line %d of what is left", n-len(ops)+1)
		if n < len(ops) {
			what = fmt.Sprintf("step %d, %s", n+1, ops[n])
			kinds.add(traceKind(answers[0][n]))
		}
		for i := 1; i < len(setups); i++ {
			if n >= len(answers[i]) || answers[i][n] != answers[0][n] {
				return fmt.Errorf("seed %d, %s:\n%s answers: %s (%s)\n%s answers: %s (%s)", seed, what,
					setups[0].name, answers[0][n], at(setups[0].causes, n), setups[i].name, at(answers[i], n), at(setups[i].causes, n))
			}
		}
	}
	for i := range setups {
		if len(answers[i]) != len(answers[0]) {
			return fmt.Errorf("seed %d: %s has %d lines more left than %s", seed, setups[i].name, len(answers[i])-len(answers[0]), setups[0].name)
		}
	}
	return ctx.Err()
}

func callsOf(seed uint64, n int) []*traceOp {
	g := &callMaker{Rand: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // a test's
	ops := make([]*traceOp, 0, n)
	for i := range n {
		ops = append(ops, g.op(i))
	}
	return append(ops, decisions()...)
}

func at(list []string, n int) string {
	if n < len(list) {
		return list[n]
	}
	return "nothing"
}

var kindField = regexp.MustCompile(`"Kind":"([A-Z_]+)","Violations"`)

func traceKind(answer string) string {
	if m := kindField.FindStringSubmatch(answer); m != nil {
		return m[1]
	}
	return answer
}
