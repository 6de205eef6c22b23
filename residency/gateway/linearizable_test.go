package gateway

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
)

// onDisk puts a region on the embedded engines.
func onDisk(t testing.TB, r *Region) {
	t.Helper()
	root := t.TempDir()
	rows, err := pebble.OpenCluster(filepath.Join(root, "rows"), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pebble.OpenKeys(filepath.Join(root, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := dir.Open(filepath.Join(root, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.OpenFileKeyring(filepath.Join(root, "ring", "ring"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{rows, keys} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	r.Vault = seal.NewVault(r.Name, ring, keys, seal.Options{})
	r.Clusters = []Cluster{{Name: "disk", Rows: rows, Outbox: rows, Blobs: blobs}}
}

// What one call of a history did.
type recordOp struct {
	verb     string // put, get, delete
	value    string
	expected *uint64
}

type recordResult struct {
	kind    residency.Kind
	value   string
	version uint64
}

// recordState is a record as the model has it: version 0 = none.
type recordState struct {
	value   string
	version uint64
}

// recordModel is what one record does when nothing else happens.
var recordModel = porcupine.Model{
	Init: func() any { return recordState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(recordState), input.(recordOp), output.(recordResult)
		switch in.verb {
		case "get":
			if out.kind == residency.AuditUnavailable { // too slow to be relied on: it told nothing
				return true, s
			}
			if s.version == 0 {
				return out.kind == residency.NotFound, s
			}
			return out.kind == residency.OK && out.value == s.value && out.version == s.version, s
		case "put":
			if in.expected != nil && *in.expected != s.version {
				return out.kind == residency.VersionMismatch, s
			}
			next := recordState{in.value, s.version + 1}
			return out.kind == residency.OK && out.version == next.version, next
		}
		if s.version == 0 {
			return out.kind == residency.NotFound, s
		}
		return out.kind == residency.OK, recordState{}
	},
}

// consentOp is what one call did about a person's consent to cross the border.
type consentOp struct{ verb string } // grant, withdraw, read

// consentModel: a read from abroad is permitted exactly while the consent is active.
var consentModel = porcupine.Model{
	Init: func() any { return "none" },
	Step: func(state, input, output any) (bool, any) {
		s, in, kind := state.(string), input.(consentOp), output.(residency.Kind)
		switch in.verb {
		case "grant":
			return kind == residency.OK, "active"
		case "withdraw":
			return kind == residency.OK, "withdrawn"
		}
		if kind == residency.AuditUnavailable { // too slow to be relied on: it told nothing
			return true, s
		}
		want := map[string]residency.Kind{
			"none": residency.CrossBorderConsentRequired, "active": residency.OK, "withdrawn": residency.ConsentIsWithdrawn,
		}
		return kind == want[s], s
	},
}

// history collects the calls of concurrent clients.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []porcupine.Operation
}

func (h *history) do(client int, input any, call func() any) {
	from := time.Since(h.start).Nanoseconds()
	output := call()
	to := time.Since(h.start).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: input, Output: output, Call: from, Return: to})
}

func (h *history) check(t *testing.T, m porcupine.Model) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(m, h.ops, time.Minute) {
	case porcupine.Illegal:
		t.Errorf("a history of %d calls is not linearizable", len(h.ops))
	case porcupine.Unknown:
		t.Errorf("a history of %d calls could not be checked", len(h.ops))
	}
}

// Concurrent calls on one record, and on one person's consent, behave as if
// they had come one after the other, on the real engines.
func TestLinearizable(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		onDisk(t, &c.Regions[0])
		c.Limits.Lease = 500 * time.Millisecond // withdrawals wait it out
	})
	w.tenant("alpen", ch)
	rounds := races() / 60
	for round := range rounds {
		subject := fmt.Sprintf("s%d", round)
		w.linearizeRecord(t, subject)
		w.linearizeConsent(t, subject+"c")
	}
	if !t.Failed() {
		t.Logf("%d histories of records and %d of consents, all linearizable", rounds, rounds)
	}
}

func (w *world) linearizeRecord(t *testing.T, subject string) {
	h := history{start: time.Now()}
	var wg sync.WaitGroup
	for client := range 6 {
		rng := rand.New(rand.NewPCG(uint64(client), uint64(len(subject))))
		wg.Go(func() {
			for i := range 15 {
				op := recordOp{verb: []string{"get", "put", "put", "get", "delete"}[rng.IntN(5)], value: fmt.Sprintf("%d-%d", client, i)}
				if op.verb == "put" && rng.IntN(2) == 0 {
					op.expected = ptr(uint64(rng.IntN(4)))
				}
				h.do(client, op, func() any { return w.recordCall(subject, op) })
			}
		})
	}
	wg.Wait()
	h.check(t, recordModel)
}

func (w *world) recordCall(subject string, op recordOp) recordResult {
	switch op.verb {
	case "get":
		r, _, err := w.get(ch, "alpen", subject, "r1")
		return recordResult{residency.KindOf(err), r.FullName, r.Version}
	case "put":
		r := aRecord(subject, "r1")
		r.FullName = op.value
		out, _, err := w.put(ch, "alpen", r, op.expected)
		return recordResult{kind: residency.KindOf(err), version: out.Version}
	}
	err := w.g.DeleteRecord(w.t.Context(), as(ch, "DeleteRecord", residency.Erase, residency.PersonalInformation),
		DeleteRecord{Tenant: "alpen", Subject: subject, Record: "r1"})
	return recordResult{kind: residency.KindOf(err)}
}

func (w *world) linearizeConsent(t *testing.T, subject string) {
	_, _, err := w.put(ch, "alpen", aRecord(subject, "r1"), nil)
	w.ok(err)
	h := history{start: time.Now()}
	var wg sync.WaitGroup
	wg.Go(func() { // one grants and withdraws in turn
		for range 3 {
			var id string
			h.do(0, consentOp{"grant"}, func() any {
				c, err := w.g.GrantConsent(w.t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation),
					GrantConsent{Tenant: "alpen", Consent: border(subject, residency.PersonalInformation, residency.Payments)})
				id = c.ID
				return residency.KindOf(err)
			})
			h.do(0, consentOp{"withdraw"}, func() any { return residency.KindOf(w.withdraw(ch, "alpen", id)) })
		}
	})
	for client := 1; client < 5; client++ {
		wg.Go(func() {
			for range 25 {
				h.do(client, consentOp{"read"}, func() any {
					_, _, err := w.get(us, "alpen", subject, "r1")
					return residency.KindOf(err)
				})
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	h.check(t, consentModel)
}
