package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/pebble"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// backup is a tenant's rows as they were.
type backup map[store.Kind]map[store.ID][]byte

func (w *world) backUp(r residency.Region, tenant string) backup {
	w.t.Helper()
	out := make(backup)
	w.ok(w.mem[r].Rows().View(context.Background(), store.Scope{Tenant: w.tenantKeys(tenant)}, func(tx store.Tx) error {
		for kind := store.KindTenant; kind <= store.KindPolicy; kind++ {
			out[kind] = make(map[store.ID][]byte)
			if err := tx.Scan(kind, "", "", func(id store.ID, value []byte) bool {
				out[kind][id] = bytes.Clone(value)
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return out
}

// putBack makes a tenant's rows what they were.
func (w *world) putBack(r residency.Region, tenant string, b backup) {
	w.t.Helper()
	now := w.backUp(r, tenant)
	w.ok(w.mem[r].Rows().Update(context.Background(), store.Scope{Tenant: w.tenantKeys(tenant), Exclusive: true}, func(tx store.Tx) error {
		for kind, rows := range now {
			for id := range rows {
				if err := tx.Delete(kind, id); err != nil {
					return err
				}
			}
		}
		for kind, rows := range b {
			for id, value := range rows {
				if err := tx.Put(kind, id, value); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// Rows restored from before an erasure do not bring the person back: unreadable
// at once, and swept again once the ledger is applied.
func TestRestoredSubjectStaysErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		own := w.person("alpen", "s1")
		w.person("alpen", "s2")
		before := w.backUp("ch", "alpen")
		out, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		w.g.sweepAll(t.Context())
		w.putBack("ch", "alpen", before)
		if w.rows("ch", "alpen", store.KindErasure) != 0 || len(w.kept("ch", "alpen", w.subjectID("alpen", "s1"))) == 0 {
			t.Fatal("the rows were not put back")
		}
		w.wantGone("alpen", "s1", own.ID) // whatever order things are done in
		w.ok(w.g.ApplyLedger(t.Context()))
		w.wantGone("alpen", "s1", own.ID)
		if now, err := w.erasure(ch, "alpen", out.ID); err != nil || now.State != ErasureSweeping || now.Created != out.Created || now.Clause != out.Clause {
			t.Fatalf("after the restore: %+v %v", now, err)
		}
		w.g.sweepAll(t.Context())
		if left := w.kept("ch", "alpen", w.subjectID("alpen", "s1")); len(left) > 0 {
			t.Fatalf("rows are left: %v", left)
		}
		now, err := w.erasure(ch, "alpen", out.ID)
		w.ok(err)
		if now.State != ErasureDone || now.Rows == 0 {
			t.Fatalf("after the sweep: %+v", now)
		}
		w.wantGone("alpen", "s1", own.ID)
		_, _, err = w.get(ch, "alpen", "s2", "r0")
		w.ok(err)
	})
}

// A tenant's rows and blobs that come back are swept again, and so are blobs alone.
func TestRestoredTenantStaysErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		w.drive("alpen", "d1", 1<<20)
		_, err := w.write(ch, "alpen", "d1", 0, []byte("canary"))
		w.ok(err)
		before := w.backUp("ch", "alpen")
		out, _, err := w.eraseTenant(ch, "alpen", "")
		w.ok(err)
		w.g.sweepAll(t.Context())
		for _, rows := range []bool{true, false} {
			if rows {
				w.putBack("ch", "alpen", before)
			}
			b, err := w.mem["ch"].Blobs().Create(t.Context(), w.tenantKeys("alpen").String()+"/stream/000000")
			w.ok(err)
			w.ok(b.Commit())
			_, _, err = w.get(ch, "alpen", "s1", "r0")
			w.wantKind(err, residency.NotFound)
			w.ok(w.g.ApplyLedger(t.Context()))
			w.g.sweepAll(t.Context())
			now, err := w.erasure(ch, "alpen", out.ID)
			w.ok(err)
			if left := w.kept("ch", "alpen", ""); len(left) > 0 || w.blobs("ch") > 0 || now.State != ErasureDone {
				t.Fatalf("rows %v and %d blobs are left, %+v", left, w.blobs("ch"), now)
			}
			_, err = w.g.RegisterTenant(t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: "alpen", Residence: ch})
			w.wantKind(err, residency.Erased)
		}
	})
}

// With nothing restored the ledger changes nothing: not what is done, nor what is under way.
func TestLedgerAppliesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		w.tenant("alpen", ch)
		w.tenant("other", ch)
		w.person("alpen", "s1")
		w.person("other", "s1")
		_, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		_, _, err = w.eraseTenant(ch, "other", "")
		w.ok(err)
		w.ok(w.g.ApplyLedger(t.Context())) // before the sweep: its tasks are on the agenda
		due, err := w.mem["ch"].Rows().Due(t.Context(), 100)
		w.ok(err)
		w.g.sweepAll(t.Context())
		entries := len(w.entries("ch"))
		for range 2 {
			w.ok(w.g.ApplyLedger(t.Context()))
			w.g.sweepAll(t.Context())
		}
		if len(due) != 2 || len(w.entries("ch")) != entries || log.Len() > 0 {
			t.Fatalf("%d tasks, %d entries after %d, log %q", len(due), len(w.entries("ch")), entries, log.String())
		}
	})
}

// The log of a restore counts and names nobody; a ledger that cannot be read, or
// says nothing that makes sense, keeps the gateway from serving.
func TestLedgerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		w.tenant("alpen", ch)
		w.person("alpen", "s1")
		before := w.backUp("ch", "alpen")
		_, _, err := w.eraseSubject(ch, "alpen", "s1", "")
		w.ok(err)
		w.g.sweepAll(t.Context())
		w.putBack("ch", "alpen", before)
		for _, op := range []storetest.Op{storetest.OpKeysList, storetest.OpView, storetest.OpUpdate, storetest.OpKeysDestroy} {
			w.mem["ch"].Fail(op, storetest.Always(storetest.FaultFail))
			if err := w.g.ApplyLedger(t.Context()); err == nil {
				t.Fatalf("%s failed, and the ledger was applied", op)
			}
			w.mem["ch"].Fail(op, nil)
		}
		w.ok(w.g.ApplyLedger(t.Context()))
		if line := log.String(); !strings.Contains(line, "found=1") || strings.Contains(line, "s1") || strings.Contains(line, "alpen") ||
			strings.Contains(line, fmt.Sprintf("%x", string(w.subjectID("alpen", "s1")))) || strings.Contains(line, w.tenantKeys("alpen").String()) {
			t.Fatalf("logged %q", line)
		}
		w.ok(w.g.region("ch").Vault.EraseSubject(t.Context(), w.tenantKeys("alpen"), "0123456789abcdef", []byte("made up")))
		w.wantKind(w.g.ApplyLedger(t.Context()), residency.IntegrityFailure)
	})
}

// folders is a gateway over real folders, which can be stopped, copied and started again.
type folders struct {
	t    testing.TB
	root string
	g    *Gateway
	rows *pebble.Cluster
	stop func()
}

func (f *folders) start() {
	f.t.Helper()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	for _, name := range []string{"rows", "blobs", "keys/store", "directory"} {
		must(os.MkdirAll(filepath.Join(f.root, name), 0o700))
	}
	log := slog.New(slog.DiscardHandler)
	rows, err := pebble.OpenCluster(filepath.Join(f.root, "rows"), pebble.Options{Logger: log})
	must(err)
	blobs, err := dir.Open(filepath.Join(f.root, "blobs"))
	must(err)
	keys, err := pebble.OpenKeys(filepath.Join(f.root, "keys/store"), log)
	must(err)
	directory, err := pebble.OpenDirectory(filepath.Join(f.root, "directory"), log)
	must(err)
	ring, err := seal.OpenFileKeyring(filepath.Join(f.root, "keys/root"))
	must(err)
	p := shipped(f.t, "ch-2012-05-02.yaml")
	f.rows = rows
	f.g, err = New(Config{
		Name: "test-1", Directory: directory, DirectoryKey: bytes.Repeat([]byte{7}, 32),
		Regions: []Region{{
			Name: "ch", Jurisdiction: ch, Controller: p.Controller, Policies: []*policy.Policy{p},
			Vault:    seal.NewVault("ch", ring, keys, seal.Options{}),
			Clusters: []Cluster{{Name: "ch-1", Rows: rows, Outbox: rows, Blobs: blobs}},
		}},
	})
	must(err)
	must(f.g.ApplyLedger(f.t.Context()))
	f.stop = func() {
		for _, c := range []io.Closer{blobs, rows, keys, directory} {
			must(c.Close())
		}
	}
}

// copyTo copies a folder of the gateway, whose stores are closed.
func (f *folders) copyTo(name, to string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.root, to)); err != nil {
		f.t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(f.root, to), os.DirFS(filepath.Join(f.root, name))); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folders) world() *world { return &world{t: f.t, g: f.g} }

// An erased person and an erased tenant stay so when the folders of rows and blobs
// are replaced by what they were before, with the keys as they are now.
func TestRestoredFoldersStayErased(t *testing.T) {
	f := &folders{t: t, root: t.TempDir()}
	f.start()
	w := f.world()
	w.tenant("alpen", ch)
	w.tenant("other", ch)
	own := w.person("alpen", "s1")
	w.person("alpen", "s2")
	w.person("other", "s1")
	w.drive("other", "d1", 9<<20)
	_, err := w.write(ch, "other", "d1", 0, bytes.Repeat([]byte("canary"), 1<<20))
	w.ok(err)
	f.stop()
	f.copyTo("rows", "before/rows")
	f.copyTo("blobs", "before/blobs")

	f.start()
	w = f.world()
	subject, _, err := w.eraseSubject(ch, "alpen", "s1", "")
	w.ok(err)
	tenant, _, err := w.eraseTenant(ch, "other", "")
	w.ok(err)
	w.g.sweepAll(t.Context())
	f.stop()
	f.copyTo("before/rows", "rows")
	f.copyTo("before/blobs", "blobs")

	f.start()
	w = f.world()
	for range 2 { // before the sweep and after it
		_, _, err = w.get(ch, "alpen", "s1", "r0")
		w.wantKind(err, residency.NotFound)
		_, _, err = w.put(ch, "alpen", aRecord("s1", "r0"), nil)
		w.wantKind(err, residency.Erased)
		_, err = w.g.GetConsent(t.Context(), as(ch, "GetConsent", residency.Govern, residency.PersonalInformation), "alpen", own.ID)
		w.wantKind(err, residency.NotFound)
		_, _, err = w.get(ch, "other", "s1", "r0")
		w.wantKind(err, residency.NotFound)
		_, err = w.read(ch, "other", "d1", 0, 6)
		w.wantKind(err, residency.NotFound)
		_, _, err = w.get(ch, "alpen", "s2", "r0")
		w.ok(err)
		w.g.sweepAll(t.Context())
	}
	for id, at := range map[string]string{subject.ID: "alpen", tenant.ID: "other"} {
		now, err := w.erasure(ch, at, id)
		w.ok(err)
		if now.State != ErasureDone || now.Rows == 0 || (now.Blobs != 0) != (at == "other") {
			t.Errorf("the erasure of %s is %+v", at, now)
		}
	}
	names, err := blobsUnder(t.Context(), w.g.cfg.Regions[0].Clusters[0].Blobs, "", 10)
	w.ok(err)
	if len(names) > 0 {
		t.Errorf("blobs are left: %v", names)
	}
	f.stop()
}

// A large tenant goes in short transactions, beside which others are served.
func TestEraseLargeTenant(t *testing.T) {
	if testing.Short() {
		t.Skip("writes many rows")
	}
	f := &folders{t: t, root: t.TempDir()}
	f.start()
	defer func() { f.stop() }()
	w := f.world()
	w.tenant("alpen", ch)
	w.tenant("other", ch)
	_, _, err := w.put(ch, "other", aRecord("s1", "r0"), nil)
	w.ok(err)
	const n = 3 * eraseRows
	id := w.tenantKeys("alpen")
	for from := 0; from < n; from += 500 { // rows that look like many decisions
		w.ok(f.rows.Update(t.Context(), store.Scope{Tenant: id}, func(tx store.Tx) error {
			for i := range 500 {
				if err := tx.Put(store.KindDecision, store.ID(fmt.Sprintf("%016d", from+i)), []byte("12345678")); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	out, _, err := w.eraseTenant(ch, "alpen", "")
	w.ok(err)
	h := home{tenant: id, region: &w.g.cfg.Regions[0], cluster: &w.g.cfg.Regions[0].Clusters[0]}
	row, _ := rowOf(out.ID)
	e := &erasing{g: w.g, home: h, task: store.Task{Tenant: id, Kind: store.TaskEraseTenant}, id: row, kinds: tenantKinds}
	w.ok(h.cluster.Rows.View(t.Context(), store.Scope{Tenant: id}, func(tx store.Tx) (err error) {
		e.row, err = readErasure(tx, row)
		return err
	}))
	was := uint64(0)
	for range 3 {
		more, err := e.step(t.Context())
		now, gerr := w.erasure(ch, "alpen", out.ID)
		if err != nil || gerr != nil || !more || now.Rows <= was || now.Rows-was > eraseRows+2 {
			t.Fatalf("a step went from %d rows to %+v, more %v: %v %v", was, now, more, err, gerr)
		}
		was = now.Rows
		_, _, err = w.get(ch, "other", "s1", "r0")
		w.ok(err)
	}
	w.g.sweepAll(t.Context())
	now, err := w.erasure(ch, "alpen", out.ID)
	w.ok(err)
	if now.State != ErasureDone || now.Rows < n {
		t.Fatalf("after the sweep: %+v", now)
	}
	_, _, err = w.get(ch, "other", "s1", "r0")
	w.ok(err)
}
