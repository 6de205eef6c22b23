package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// signed gives the world's clusters signers of their logs.
func signed(c *Config) {
	for i := range c.Regions {
		r := &c.Regions[i]
		for j := range r.Clusters {
			s, err := audit.NewSigner("example.org/"+string(r.Name)+"/"+r.Clusters[j].Name, bytes.Repeat([]byte{byte(i + 1)}, audit.SeedSize))
			if err != nil {
				panic(err)
			}
			r.Clusters[j].Signer = s
		}
	}
}

// background runs a world's background work until the test ends.
func (w *world) background() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.g.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) cluster(r residency.Region) *Cluster { return &w.g.region(r).Clusters[0] }

// head opens a checkpoint.
func head(t *testing.T, c *Cluster, text []byte) (size int64, root tlog.Hash) {
	t.Helper()
	v, err := note.NewVerifier(c.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	if _, err := fmt.Sscan(lines[1], &size); err != nil || lines[0] != c.Signer.Name() || len(lines) != 4 {
		t.Fatalf("the checkpoint is\n%s", n.Text)
	}
	b, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	return size, tlog.Hash(b)
}

func TestTheLogIsATree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.background()
		w.tenant("alpen", ch)
		for i := range 700 {
			_, _, err := w.put(ch, "alpen", aRecord("anna", fmt.Sprintf("r%d", i)), nil)
			w.ok(err)
		}
		_, call, err := w.get(us, "alpen", "anna", "r1")
		w.wantKind(err, residency.CrossBorderConsentRequired)
		ask := as(ch, "GetReceipt", residency.Govern, residency.PersonalInformation)
		receipt, err := w.g.GetReceipt(t.Context(), ask, "alpen", call.Decision.ID)
		w.ok(err)
		_, err = w.g.GetReceipt(t.Context(), as(us, "GetReceipt", residency.Govern, residency.PersonalInformation), "alpen", call.Decision.ID)
		w.wantKind(err, residency.CrossBorderConsentRequired)
		_, err = w.g.GetReceipt(t.Context(), ask, "alpen", newRequestID())
		w.wantKind(err, residency.NotFound)

		top, checkpoint, _ := bytes.Cut(receipt, []byte("\n\n"))
		lines := strings.Split(string(top), "\n")
		entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		w.ok(err)
		e, err := audit.Parse(entry)
		w.ok(err)
		if e.DecisionID != call.Decision.ID || lines[2] != fmt.Sprintf("index %d", e.Place-1) {
			t.Errorf("the receipt of %s is of %s, %s", call.Decision.ID, e.DecisionID, lines[2])
		}
		var proof tlog.RecordProof
		for _, line := range lines[3:] {
			h, err := base64.StdEncoding.DecodeString(line)
			w.ok(err)
			proof = append(proof, tlog.Hash(h))
		}
		size, root := head(t, w.cluster("ch"), checkpoint)
		w.ok(tlog.CheckRecord(proof, size, root, int64(e.Place-1), tlog.RecordHash(entry)))

		time.Sleep(2 * logEvery)
		w.wholeLog()
	})
}

// wholeLog exports the Swiss log and checks it against its checkpoint.
func (w *world) wholeLog() {
	t := w.t.(*testing.T)
	t.Helper()
	files := map[string][]byte{}
	call := as(ch, "ExportLog", residency.Govern, residency.AccountData)
	call.Caller.SeesAll = true
	w.ok(w.g.ExportLog(t.Context(), call, ExportLog{Region: "ch"}, func(path string, data []byte) error {
		files[path] = bytes.Clone(data)
		return nil
	}))
	size, root := head(t, w.cluster("ch"), files["checkpoint"])
	var again audit.Tree
	for n := int64(0); n*audit.TileWidth < size; n++ {
		bundle := files[audit.TilePath(-1, uint64(n), int(min(size-n*audit.TileWidth, audit.TileWidth)))]
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			e, err := audit.Parse(entry)
			w.ok(err)
			if e.Place != again.Size+1 {
				t.Fatalf("leaf %d is the entry of place %d", again.Size, e.Place)
			}
			for _, tile := range again.Append(entry) {
				if !bytes.Equal(files[audit.TilePath(tile.Level, tile.N, audit.TileWidth)], tile.Data) {
					t.Errorf("tile %d of level %d differs", tile.N, tile.Level)
				}
			}
		}
	}
	if int64(again.Size) != size || again.Root() != root {
		t.Errorf("the exported entries make %d, %v; the checkpoint says %d, %v", again.Size, again.Root(), size, root)
	}
	for level, edge := range again.Edge {
		if len(edge) > 0 && !bytes.Equal(files[audit.TilePath(level, again.Size>>(audit.TileHeight*(level+1)), len(edge)/tlog.HashSize)], edge) {
			t.Errorf("the partial tile of level %d differs", level)
		}
	}
}

func TestALogIsHandedOverAtHomeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		w.background()
		w.tenant("alpen", ch)
		time.Sleep(2 * logEvery)
		export := func(change func(*Call)) error {
			c := as(ch, "ExportLog", residency.Govern, residency.AccountData)
			c.Caller.SeesAll = true
			change(c)
			return w.g.ExportLog(t.Context(), c, ExportLog{Region: "ch", Cluster: "ch-1"}, func(string, []byte) error { return nil })
		}
		w.ok(export(func(*Call) {}))
		w.wantKind(export(func(c *Call) { c.Caller.Jurisdiction = us }), residency.CallerNotPermitted)
		w.wantKind(export(func(c *Call) { c.Caller.SeesAll = false }), residency.CallerNotPermitted)
		w.wantKind(export(func(c *Call) { by(c, us) }), residency.UseHomeEndpoint)
		gone := errors.New("gone")
		c := as(ch, "ExportLog", residency.Govern, residency.AccountData)
		c.Caller.SeesAll = true
		if err := w.g.ExportLog(t.Context(), c, ExportLog{Region: "ch"}, func(string, []byte) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("a receiver that fails gives %v", err)
		}
	})
}

// A leader that is stopped anywhere between its steps leaves a log that the next goes on with: no entry is lost, none
// is there twice, and no checkpoint is of less than an earlier one.
func TestTheNextLeaderGoesOnWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, signed)
		c := w.cluster("ch")
		w.tenant("alpen", ch)
		ctx := t.Context()
		last := uint64(0)
		for i := range 60 {
			for j := range 37 {
				_, _, err := w.put(ch, "alpen", aRecord("anna", fmt.Sprintf("r%d-%d", i, j)), nil)
				w.ok(err)
			}
			was, err := c.logNow(ctx)
			w.ok(err)
			now, full, err := c.taken(ctx, was)
			w.ok(err)
			switch i % 5 { // where it stops
			case 0:
			case 1:
				w.ok(c.putTiles(ctx, full))
			case 2:
				w.ok(c.putTiles(ctx, full))
				w.ok(c.advance(ctx, &was, &now))
			case 3: // another came before it
				_, err := w.g.extendLog(ctx, c)
				w.ok(err)
				w.ok(c.putTiles(ctx, full))
				if err := c.advance(ctx, &was, &now); err == nil {
					t.Fatal("a tree was advanced twice")
				}
			default:
				_, err := w.g.extendLog(ctx, c)
				w.ok(err)
			}
			s, err := c.logNow(ctx)
			w.ok(err)
			if s.Signed < last {
				t.Fatalf("the checkpoint went back from %d to %d", last, s.Signed)
			}
			last = s.Signed
		}
		_, err := w.g.extendLog(ctx, c)
		w.ok(err)
		w.wholeLog()

		other, err := audit.NewSigner(c.Signer.Name(), bytes.Repeat([]byte{99}, audit.SeedSize))
		w.ok(err)
		c.Signer = other
		_, _, err = w.put(ch, "alpen", aRecord("anna", "last"), nil)
		w.ok(err)
		if _, err := w.g.extendLog(ctx, c); !errors.Is(err, audit.ErrOtherKey) {
			t.Errorf("a gateway with another key signed: %v", err)
		}
	})
}

// A store that does not answer is no damage of the log.
func TestReadLogOfSilentStore(t *testing.T) {
	_, err := readLog(silentTx{})
	if !errors.Is(err, store.ErrUnavailable) || residency.KindOf(err) == residency.IntegrityFailure {
		t.Errorf("got %v, want that the store is not available", err)
	}
}

// silentTx is a transaction over a store that no longer answers.
type silentTx struct{ store.Tx }

func (silentTx) Get(store.Kind, store.ID) ([]byte, error) { return nil, store.ErrUnavailable }
