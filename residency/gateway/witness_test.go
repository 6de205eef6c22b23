package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/store"
)

// cosigning gives the world's regions witnesses, and its clusters signers.
func cosigning(c *Config) {
	signed(c)
	c.Metrics = prometheus.NewPedanticRegistry()
	for i := range c.Regions {
		r := &c.Regions[i]
		w, err := audit.NewCosigner("example.org/"+string(r.Name)+"/witness", bytes.Repeat([]byte{byte(i + 10)}, audit.SeedSize))
		if err != nil {
			panic(err)
		}
		r.Cosigner = w
	}
}

// opened opens the newest checkpoint of a region's log, which all of the witnesses must have cosigned.
func (w *world) opened(r residency.Region, witnesses ...string) (proof.Checkpoint, error) {
	t := w.t.(*testing.T)
	t.Helper()
	c, err := w.g.GetCheckpoint(t.Context(), r, "")
	w.ok(err)
	key, err := proof.ParseKey(c.Verifier)
	w.ok(err)
	var known []proof.Witness
	for _, text := range witnesses {
		k, err := proof.ParseWitness(text)
		w.ok(err)
		known = append(known, k)
	}
	return key.OpenCheckpoint(c.Text, known...)
}

// value reads a counter or a gauge.
func value(c prometheus.Collector) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func (w *world) failures(r string) float64 {
	return value(w.g.metrics.witnessFailures.WithLabelValues(r))
}

// Where one process serves both regions each cosigns the other's log, and says that nobody else has seen it.
func TestOwnRegionsSignAsSelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cosigning)
		w.background()
		w.tenant("alpen", ch)
		_, call, err := w.put(ch, "alpen", aRecord("anna", "r1"), nil)
		w.ok(err)
		receipt, err := w.g.GetReceipt(t.Context(), as(ch, "GetReceipt", residency.Govern, residency.PersonalInformation), "alpen", call.Decision.ID)
		w.ok(err)
		witness := w.g.region("us").Cosigner
		known, err := proof.ParseWitness(witness.Self().Verifier())
		w.ok(err)
		key, err := proof.ParseKey(w.cluster("ch").Signer.Verifier())
		w.ok(err)
		unasked, err := key.VerifyReceipts(receipt)
		w.ok(err)
		if c := unasked[0].Checkpoint.Named; len(c) != 1 || c[0].Kind != "self" || !bytes.Contains(receipt, []byte("\nwitness: self ")) {
			t.Errorf("names %+v", c)
		}
		noBitChanges(t, key, receipt)
		got, err := key.VerifyReceipts(receipt, known)
		w.ok(err)
		if c := got[0].Checkpoint.Cosigned; len(c) != 1 || !audit.IsSelf(c[0].Witness) || time.Since(c[0].Time) > time.Minute {
			t.Errorf("cosigned by %+v", c)
		}
		if _, err := w.opened("ch", witness.Verifier()); err == nil {
			t.Error("a witness of the same operator signed as if it were another's")
		}
	})
}

// noBitChanges holds that who has only the log's key notices every change of a bit of a receipt.
func noBitChanges(t *testing.T, key proof.Key, receipt []byte) {
	t.Helper()
	for bit := range len(receipt) * 8 {
		changed := bytes.Clone(receipt)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, err := key.VerifyReceipts(changed); err == nil {
			t.Errorf("bit %d of byte %d (%q) can be changed", bit%8, bit/8, receipt[bit/8])
		}
	}
}

func TestPeersCosign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cosigning)
		p.ch.background()
		p.us.background()
		p.ch.tenant("alpen", ch)
		witness := p.us.g.region("us").Cosigner.Verifier()
		grow := func() {
			_, _, err := p.ch.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
			p.ch.ok(err)
			time.Sleep(2 * logEvery)
		}
		sizes := map[uint64]bool{}
		for range 5 {
			grow()
			c, err := p.ch.opened("ch", witness)
			p.ch.ok(err)
			sizes[c.Size] = true
		}
		if len(sizes) != 5 {
			t.Errorf("sizes %v were cosigned", sizes)
		}

		// The log goes on while its witness is away, and is cosigned when it is back, though nothing happens.
		p.toUS.down.Store(true)
		grow()
		if _, err := p.ch.opened("ch", witness); err == nil {
			t.Error("cosigned by one that is away")
		}
		time.Sleep(time.Minute)
		if age := value(p.ch.g.metrics.witnessAge.WithLabelValues("ch")); age < 60 || age > 65 {
			t.Errorf("unwitnessed for %v s", age)
		}
		p.toUS.down.Store(false)
		time.Sleep(witnessAgain + 2*logEvery)
		if _, err := p.ch.opened("ch", witness); err != nil {
			t.Error(err)
		}
		if c, err := p.ch.opened("ch"); err != nil || len(c.Named) != 1 || c.Named[0].Kind != "peer" {
			t.Errorf("%+v, %v", c, err)
		}
		if age := value(p.ch.g.metrics.witnessAge.WithLabelValues("ch")); age != 0 || p.ch.failures("ch")+p.us.failures("ch") != 0 {
			t.Errorf("unwitnessed for %v s, %v and %v failures", age, p.ch.failures("ch"), p.us.failures("ch"))
		}
	})
}

// A log that was set back, from a backup for example, is not cosigned any more, and both sides say so.
func TestALogThatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cosigning)
		end := p.run(t)
		p.ch.tenant("alpen", ch)
		for range 10 {
			_, _, err := p.ch.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
			p.ch.ok(err)
		}
		time.Sleep(2 * logEvery)
		end()
		again := newPair(t, cosigning) // nothing of the log is there, its key is
		again.toUS.to = p.us.g
		again.ch.background()
		again.ch.tenant("alpen", ch)
		time.Sleep(2 * logEvery)
		if _, err := again.ch.opened("ch"); err != nil {
			t.Error("the log does not go on:", err)
		}
		if _, err := again.ch.opened("ch", p.us.g.region("us").Cosigner.Verifier()); err == nil {
			t.Error("it was cosigned")
		}
		if again.ch.failures("ch") == 0 {
			t.Error("the log's gateway does not say so")
		}
		for range 20 {
			_, _, err := again.ch.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
			again.ch.ok(err)
		}
		time.Sleep(2 * logEvery)
		if p.us.failures("ch") == 0 {
			t.Error("the witness does not say so, though the log has grown beyond what it knows")
		}
	})
}

// A leader that was held up shows its witnesses, when it wakes, what others have left behind long since. That is nobody's fault, and
// the log goes on being cosigned.
func TestAnOlderCheckpointIsNoContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cosigning)
		witness := p.us.g.region("us").Cosigner
		p.ch.background()
		p.us.background()
		p.ch.tenant("alpen", ch)
		time.Sleep(2 * logEvery)
		log := p.ch.cluster("ch")
		before, err := log.logNow(t.Context())
		p.ch.ok(err)
		for range 3 {
			_, _, err := p.ch.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
			p.ch.ok(err)
			time.Sleep(2 * logEvery)
			synctest.Wait()                           // until that leader rests
			log.witnesses.list[0].known = before.Size // as far as that leader knows
			if err := log.sign(t.Context(), before); !errors.Is(err, store.ErrConflict) {
				t.Errorf("an older checkpoint was kept: %v", err)
			}
		}
		if p.ch.failures("ch")+p.us.failures("ch") != 0 {
			t.Errorf("%v failures at the log, %v at its witness", p.ch.failures("ch"), p.us.failures("ch"))
		}
		_, _, err = p.ch.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
		p.ch.ok(err)
		time.Sleep(2 * logEvery)
		if _, err := p.ch.opened("ch", witness.Verifier()); err != nil {
			t.Error("the log is not cosigned any more:", err)
		}
	})
}

// run runs both gateways' background work until end is called.
func (p *pair) run(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	for _, g := range []*Gateway{p.ch.g, p.us.g} {
		go func() { _ = g.Run(ctx); done <- struct{}{} }()
	}
	return func() { cancel(); <-done; <-done }
}

// past is one of the histories that a log's keeper could show.
type past struct {
	hashes []tlog.Hash
	n      int64
}

func (h *past) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = h.hashes[x]
	}
	return out, nil
}

func (h *past) add(t *testing.T, entry string) {
	stored, err := tlog.StoredHashes(h.n, []byte(entry), h)
	if err != nil {
		t.Fatal(err)
	}
	h.hashes, h.n = append(h.hashes, stored...), h.n+1
}

func (h *past) root(t *testing.T, size int64) tlog.Hash {
	r, err := tlog.TreeHash(size, h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shown makes what the keeper shows of a past.
func (h *past) shown(t *testing.T, s *audit.Signer, size, old int64) Cosigning {
	checkpoint, err := s.Checkpoint(uint64(size), h.root(t, size))
	if err != nil {
		t.Fatal(err)
	}
	req := Cosigning{Key: s.Verifier(), Old: uint64(old), Checkpoint: checkpoint}
	if old > 0 && old <= size {
		if req.Proof, err = tlog.ProveTree(size, old, h); err != nil {
			t.Fatal(err)
		}
	}
	return req
}

// Whatever a dishonest keeper shows, in whatever order, the witness never signs two checkpoints that contradict each other,
// and always signs what is consistent.
func TestNoTwoHistoriesAreCosigned(t *testing.T) {
	for seed := range 30 {
		synctest.Test(t, func(t *testing.T) { cosignAtRandom(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
	}
}

func cosignAtRandom(t *testing.T, r *rand.Rand) {
	w := newWorld(t, cosigning)
	keeper, err := audit.NewSigner("example.org/jp/jp-1", bytes.Repeat([]byte{9}, audit.SeedSize))
	w.ok(err)
	forks := []*past{{}, {}, {}} // the same up to some entry
	at := []int{r.IntN(40), r.IntN(40)}
	for i := range 60 {
		for f, h := range forks {
			entry := fmt.Sprint("entry ", i)
			if f > 0 && i >= at[f-1] {
				entry += fmt.Sprint(" of fork ", f)
			}
			h.add(t, entry)
		}
	}
	var size int64
	var root tlog.Hash
	for range 80 {
		h := forks[r.IntN(len(forks))]
		next, old := int64(r.IntN(61)), size
		if r.IntN(4) == 0 {
			old = int64(r.IntN(61))
		}
		if next == 0 {
			continue
		}
		req := h.shown(t, keeper, next, old)
		if len(req.Proof) > 0 && r.IntN(10) == 0 {
			req.Proof[r.IntN(len(req.Proof))][0] ^= 1
		}
		said, err := w.g.Cosign(t.Context(), "jp", "ch", req)
		if err != nil { // it is no proof
			w.wantKind(err, residency.BadRequest)
		}
		if next < size && said.Known != uint64(size) {
			t.Fatalf("%d was shown after %d: %+v", next, size, said)
		}
		consistent := next >= size && (size == 0 || h.root(t, size) == root)
		switch {
		case said.Lines != nil && !consistent:
			t.Fatalf("%d after %d was signed, which contradicts it", next, size)
		case said.Lines != nil:
			size, root = next, h.root(t, next)
		case said.Known > 0 && (said.Known != uint64(size) || next == size):
			t.Fatalf("asks for a proof from %d for %d; %d is known", said.Known, next, size)
		}
		if size > 0 && size < 60 && r.IntN(3) == 0 { // the honest keeper is signed, whatever came before
			honest := forkOf(t, forks, size, root)
			said, err := w.g.Cosign(t.Context(), "jp", "ch", honest.shown(t, keeper, size+1, size))
			if w.ok(err); said.Lines == nil {
				t.Fatalf("%d after %d was not signed: %+v", size+1, size, said)
			}
			size, root = size+1, honest.root(t, size+1)
		}
	}
}

func forkOf(t *testing.T, forks []*past, size int64, root tlog.Hash) *past {
	for _, h := range forks {
		if h.root(t, size) == root {
			return h
		}
	}
	t.Fatal("a root of no past was signed")
	return nil
}

// The first checkpoint that contradicts what was seen is kept: it is the evidence.
func TestTheEvidenceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cosigning)
		keeper, err := audit.NewSigner("example.org/jp/jp-1", bytes.Repeat([]byte{9}, audit.SeedSize))
		w.ok(err)
		one, two := &past{}, &past{}
		for i := range 5 {
			one.add(t, fmt.Sprint(i))
			two.add(t, fmt.Sprint(-i))
		}
		show := func(req Cosigning) Cosigned {
			said, err := w.g.Cosign(t.Context(), "jp", "ch", req)
			w.ok(err)
			return said
		}
		if said := show(one.shown(t, keeper, 3, 0)); said.Lines == nil {
			t.Fatalf("%+v", said)
		}
		if said := show(one.shown(t, keeper, 2, 2)); said.Contradiction || said.Known != 3 || said.Lines != nil || w.failures("jp") != 0 {
			t.Errorf("an older one: %+v, %v failures", said, w.failures("jp"))
		}
		for i, req := range []Cosigning{two.shown(t, keeper, 5, 3), two.shown(t, keeper, 3, 3), two.shown(t, keeper, 4, 3)} {
			if said := show(req); !said.Contradiction || said.Lines != nil || w.failures("jp") != float64(i+1) {
				t.Errorf("%d: %+v, %v failures", i, said, w.failures("jp"))
			}
		}
		w.ok(w.cluster("ch").Rows.View(t.Context(), witnessScope, func(tx store.Tx) error {
			seen, _, err := readWitnessed(tx, "jp", keeper.Name())
			if !bytes.Equal(seen.Conflict, two.shown(t, keeper, 3, 3).Checkpoint) || seen.Size != 3 || seen.ConflictAt.IsZero() {
				t.Errorf("%+v", seen)
			}
			return err
		}))
	})
}

// What is wrong with a proof says nothing of the log: it is refused, and neither counted nor kept as evidence.
func TestAProofThatIsNoneIsNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cosigning)
		keeper, err := audit.NewSigner("example.org/jp/jp-1", bytes.Repeat([]byte{9}, audit.SeedSize))
		w.ok(err)
		h := &past{}
		for i := range 9 {
			h.add(t, fmt.Sprint(i))
		}
		_, err = w.g.Cosign(t.Context(), "jp", "ch", h.shown(t, keeper, 3, 0))
		w.ok(err)
		for _, spoil := range []func(*Cosigning){
			func(req *Cosigning) { req.Proof = nil },
			func(req *Cosigning) { req.Proof = req.Proof[1:] },
			func(req *Cosigning) { req.Proof = append(req.Proof, tlog.Hash{}) },
			func(req *Cosigning) { req.Proof[0][0] ^= 1 },
			func(req *Cosigning) { req.Proof[len(req.Proof)-1][0] ^= 1 },
		} {
			req := h.shown(t, keeper, 7, 3)
			spoil(&req)
			_, err := w.g.Cosign(t.Context(), "jp", "ch", req)
			w.wantKind(err, residency.BadRequest)
		}
		said, err := w.g.Cosign(t.Context(), "jp", "ch", h.shown(t, keeper, 4, 3))
		if w.ok(err); said.Lines == nil {
			t.Fatalf("%+v", said)
		}
		req := h.shown(t, keeper, 9, 4)
		req.Proof[0][0] ^= 1 // from four entries on, the log's keeper alone can tell
		said, err = w.g.Cosign(t.Context(), "jp", "ch", req)
		if w.ok(err); said.Lines != nil || !said.Contradiction {
			t.Errorf("%+v", said)
		}
		if w.failures("jp") != 0 {
			t.Errorf("%v failures", w.failures("jp"))
		}
		w.ok(w.cluster("ch").Rows.View(t.Context(), witnessScope, func(tx store.Tx) error {
			seen, _, err := readWitnessed(tx, "jp", keeper.Name())
			if seen.Conflict != nil || seen.Size != 4 {
				t.Errorf("%+v", seen)
			}
			return err
		}))
	})
}

// While keys are replaced, the log's and its witness's, a receipt is verified in all its bits with either key.
func TestReceiptsWhileKeysAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seeds := [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
		w := newWorld(t, cosigning, func(c *Config) {
			for i := range c.Regions {
				r := &c.Regions[i]
				var err error
				if r.Clusters[0].Signer, err = audit.NewSigner("example.org/"+string(r.Name)+"/1", seeds...); err == nil {
					r.Cosigner, err = audit.NewCosigner("example.org/"+string(r.Name)+"/witness", seeds...)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
		w.background()
		w.tenant("alpen", ch)
		_, call, err := w.put(ch, "alpen", aRecord("anna", "r1"), nil)
		w.ok(err)
		receipt, err := w.g.GetReceipt(t.Context(), as(ch, "GetReceipt", residency.Govern, residency.PersonalInformation), "alpen", call.Decision.ID)
		w.ok(err)
		for _, seed := range seeds {
			s, err := audit.NewSigner("example.org/ch/1", seed)
			w.ok(err)
			key, err := proof.ParseKey(s.Verifier())
			w.ok(err)
			if got, err := key.VerifyReceipts(receipt); err != nil || len(got[0].Checkpoint.Named) != 2 {
				t.Errorf("%+v, %v", got, err)
			}
			noBitChanges(t, key, receipt)
		}
	})
}

// A log keeps its key, unless the key itself says that another follows.
func TestKeysOfWitnessedLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cosigning)
		seeds := [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)}
		signer := func(seeds ...[]byte) *audit.Signer {
			s, err := audit.NewSigner("example.org/jp/jp-1", seeds...)
			w.ok(err)
			return s
		}
		h := &past{}
		h.add(t, "entry")
		show := func(s *audit.Signer) error {
			h.add(t, "entry")
			said, err := w.g.Cosign(t.Context(), "jp", "ch", h.shown(t, s, h.n, h.n-1))
			if err != nil {
				h.n-- // it was not seen
				h.hashes = h.hashes[:tlog.StoredHashIndex(0, h.n)]
			} else if said.Lines == nil {
				t.Fatalf("%+v", said)
			}
			return err
		}
		w.ok(show(signer(seeds[0])))
		w.wantKind(show(signer(seeds[1])), residency.BadRequest)
		w.ok(show(signer(seeds[1], seeds[0])))
		w.ok(show(signer(seeds[1])))
		w.wantKind(show(signer(seeds[0])), residency.BadRequest)
		w.wantKind(show(signer(seeds[2], seeds[0])), residency.BadRequest)

		req := h.shown(t, signer(seeds[1]), h.n, h.n)
		req.Key = "no key"
		_, err := w.g.Cosign(t.Context(), "jp", "ch", req)
		w.wantKind(err, residency.BadRequest)
		req = h.shown(t, signer(seeds[1]), h.n, h.n)
		req.Checkpoint = bytes.Replace(req.Checkpoint, []byte("\n"), []byte("\n1"), 1)
		_, err = w.g.Cosign(t.Context(), "jp", "ch", req)
		w.wantKind(err, residency.BadRequest)
		_, err = w.g.Cosign(t.Context(), "kr", "ch", h.shown(t, signer(seeds[1]), h.n, h.n)) // another's log
		w.wantKind(err, residency.BadRequest)
		_, err = w.g.Cosign(t.Context(), "jp", "elsewhere", h.shown(t, signer(seeds[1]), h.n, h.n))
		w.wantKind(err, residency.BadRequest)
	})
}

// Which logs are cosigned can be configured; else each region has room for some.
func TestWhichLogsAreCosigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cosigning)
		h := &past{}
		h.add(t, "entry")
		signer := func(n int) *audit.Signer {
			seed := bytes.Repeat([]byte{4}, 32)
			s, err := audit.NewSigner(fmt.Sprint("example.org/us/us-", n), seed)
			p.ch.ok(err)
			return s
		}
		show := func(n int) error {
			_, err := p.ch.g.Cosign(t.Context(), "us", "ch", h.shown(t, signer(n), 1, 0))
			return err
		}
		for n := range maxWitnessed {
			p.ch.ok(show(n))
		}
		p.ch.wantKind(show(maxWitnessed), residency.QuotaExceeded)
		p.ch.ok(show(0))
		p.ch.g.elsewhere("us").Logs = []string{signer(7).Verifier()}
		p.ch.wantKind(show(8), residency.BadRequest)
		p.ch.ok(show(7))
	})
}

// answering is a witness outside that answers what a test says, and nothing before. Safe for concurrent use.
type answering struct {
	mu  sync.Mutex
	say func(Cosigning) (Cosigned, error)
}

func (*answering) Name() string { return "outside" }

func (*answering) Keys() []string { return nil }

func (a *answering) Cosign(_ context.Context, req Cosigning) (Cosigned, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.say == nil {
		return Cosigned{}, nil
	}
	return a.say(req)
}

func (a *answering) answers(say func(Cosigning) (Cosigned, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.say = say
}

// Nothing that a witness answers gets into a checkpoint, or keeps it from being published, but its own signature.
func TestWitnessesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outside := &answering{}
		other, err := audit.NewCosigner("example.org/other", bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, signed, func(c *Config) {
			c.Regions = c.Regions[:1]
			c.Regions[0].Witnesses = []Witness{outside}
		})
		line := func(req Cosigning) []byte {
			lines, err := other.Cosign(req.Checkpoint, time.Now())
			w.ok(err)
			return lines
		}
		say := map[string]func(req Cosigning) (Cosigned, error){
			"nothing": func(Cosigning) (Cosigned, error) { return Cosigned{}, nil },
			"an error": func(Cosigning) (Cosigned, error) {
				return Cosigned{}, residency.E("x", residency.RegionUnavailable, nil)
			},
			"a wrong key": func(req Cosigning) (Cosigned, error) {
				return Cosigned{Lines: line(req), Keys: other.Self().Verifiers()}, nil
			},
			"no key": func(req Cosigning) (Cosigned, error) { return Cosigned{Lines: line(req)}, nil },
			"another's line": func(Cosigning) (Cosigned, error) {
				return Cosigned{Lines: line(Cosigning{Checkpoint: []byte("x\n\n")}), Keys: other.Verifiers()}, nil
			},
			"no line": func(Cosigning) (Cosigned, error) {
				return Cosigned{Lines: []byte("hello\n"), Keys: other.Verifiers()}, nil
			},
			"text in its line": func(req Cosigning) (Cosigned, error) {
				return Cosigned{Lines: append(line(req), "\nmore\n"...), Keys: other.Verifiers()}, nil
			},
			"always less": func(req Cosigning) (Cosigned, error) { return Cosigned{Known: 1}, nil },
		}
		w.background()
		w.tenant("alpen", ch)
		for name, f := range say {
			outside.answers(f)
			_, _, err := w.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
			w.ok(err)
			time.Sleep(2 * logEvery)
			c, err := w.g.GetCheckpoint(t.Context(), "ch", "")
			w.ok(err)
			if c.Pending != 0 || strings.Count(string(c.Text), "\n— ") != 1 {
				t.Errorf("%s: %d pending, %q", name, c.Pending, c.Text)
			}
		}
		outside.answers(func(req Cosigning) (Cosigned, error) {
			return Cosigned{Lines: line(req), Keys: other.Verifiers()}, nil
		})
		_, _, err = w.put(ch, "alpen", aRecord("anna", newRequestID()), nil)
		w.ok(err)
		time.Sleep(2 * logEvery)
		if _, err := w.opened("ch", other.Verifier()); err != nil {
			t.Error(err)
		}
	})
}

// After a log was set back rightly, people let its witness begin anew: what it knew is kept, the log's key stays what it was,
// and from the next checkpoint on it contradicts itself as little as before.
func TestForgottenLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cosigning)
		rows := w.cluster("ch").Rows
		keeper, err := audit.NewSigner("example.org/jp/jp-1", bytes.Repeat([]byte{9}, audit.SeedSize))
		w.ok(err)
		other, err := audit.NewSigner("example.org/jp/jp-1", bytes.Repeat([]byte{8}, audit.SeedSize))
		w.ok(err)
		before, after := &past{}, &past{}
		for i := range 9 {
			before.add(t, fmt.Sprint(i))
			after.add(t, fmt.Sprint(i/3))
		}
		show := func(req Cosigning) Cosigned {
			said, err := w.g.Cosign(t.Context(), "jp", "ch", req)
			w.ok(err)
			return said
		}
		for round := range uint64(2) {
			show(before.shown(t, keeper, 5, 0))
			if said := show(after.shown(t, keeper, 5, 5)); !said.Contradiction {
				t.Fatalf("%+v", said)
			}
			list, err := WitnessedLogs(t.Context(), rows)
			w.ok(err)
			was, err := ForgetLog(t.Context(), rows, "jp", keeper.Name())
			w.ok(err)
			if len(list) != 1 || list[0].Origin != keeper.Name() || list[0].Size != 5 || fmt.Sprint(list[0]) != fmt.Sprint(was) {
				t.Errorf("%+v, then %+v", list, was)
			}
			if was.Root != before.root(t, 5) || !bytes.Equal(was.Conflict, after.shown(t, keeper, 5, 5).Checkpoint) {
				t.Errorf("%+v", was)
			}
			if _, err := ForgetLog(t.Context(), rows, "jp", keeper.Name()); !errors.Is(err, ErrNotWitnessed) {
				t.Errorf("twice: %v", err)
			}
			_, err = w.g.Cosign(t.Context(), "jp", "ch", after.shown(t, other, 3, 0))
			w.wantKind(err, residency.BadRequest)
			if said := show(after.shown(t, keeper, 3, 0)); said.Lines == nil {
				t.Fatalf("not signed: %+v", said)
			}
			if said := show(before.shown(t, keeper, 5, 3)); said.Lines != nil || !said.Contradiction {
				t.Errorf("what was forgotten is signed again: %+v", said)
			}
			w.ok(rows.Update(t.Context(), witnessScope, func(tx store.Tx) error {
				last, err := lastForgotten(tx, witnessedRow("jp", keeper.Name()))
				if err != nil || last == nil || last.Size != 5 || !bytes.Equal(last.Seen, was.Checkpoint) || time.Since(last.Forgotten) > time.Minute {
					t.Errorf("kept is %+v, %v", last, err)
				}
				n := uint64(0)
				w.ok(tx.Scan(store.KindForgotten, "", "", func(store.ID, []byte) bool { n++; return true }))
				if n != round+1 {
					t.Errorf("%d are kept after %d times", n, round+1)
				}
				return tx.Delete(store.KindWitnessed, witnessedRow("jp", keeper.Name())) // for the next round
			}))
			time.Sleep(time.Second)
		}
		if _, err := ForgetLog(t.Context(), rows, "us", keeper.Name()); !errors.Is(err, ErrNotWitnessed) {
			t.Errorf("of another region: %v", err)
		}
	})
}
