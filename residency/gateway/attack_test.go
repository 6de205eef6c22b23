package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// hooked runs something between the steps of transactions.
type hooked struct {
	store.Rows
	got     func(store.Kind) // after each Get
	scanned func(store.Kind) // before each Scan
	updated func()           // after each Update
}

func (r *hooked) Update(ctx context.Context, s store.Scope, fn func(store.Tx) error) error {
	err := r.Rows.Update(ctx, s, func(tx store.Tx) error { return fn(&hookedTx{tx, r}) })
	if r.updated != nil {
		r.updated()
	}
	return err
}

type hookedTx struct {
	store.Tx
	rows *hooked
}

func (t *hookedTx) Get(kind store.Kind, id store.ID) ([]byte, error) {
	b, err := t.Tx.Get(kind, id)
	if t.rows.got != nil {
		t.rows.got(kind)
	}
	return b, err
}

func (t *hookedTx) Scan(kind store.Kind, prefix, after store.ID, yield func(store.ID, []byte) bool) error {
	if t.rows.scanned != nil {
		t.rows.scanned(kind)
	}
	return t.Tx.Scan(kind, prefix, after, yield)
}

// hook puts a hook in front of the Swiss rows.
func hook(h *hooked) option {
	return func(c *Config) {
		h.Rows = c.Regions[0].Clusters[0].Rows
		c.Regions[0].Clusters[0].Rows = h
	}
}

// openBlobs counts the objects that are being written.
type openBlobs struct {
	store.Blobs
	open atomic.Int64
}

type openBlob struct {
	store.BlobWriter
	once sync.Once
	of   *openBlobs
}

func (b *openBlobs) Create(ctx context.Context, name string) (store.BlobWriter, error) {
	w, err := b.Blobs.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	b.open.Add(1)
	return &openBlob{BlobWriter: w, of: b}, nil
}

func (b *openBlob) Commit() error {
	b.once.Do(func() { b.of.open.Add(-1) })
	return b.BlobWriter.Commit()
}

func (b *openBlob) Abort() {
	b.once.Do(func() { b.of.open.Add(-1) })
	b.BlobWriter.Abort()
}

// deleteDrive deletes a Swiss tenant's drive.
func (w *world) deleteDrive(tenant, drive string) {
	w.t.Helper()
	w.ok(w.g.DeleteDrive(w.t.Context(), as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData), DeleteDrive{Tenant: tenant, Drive: drive}))
}

// writing begins a write of a megabyte of ones at the start of a drive, which
// waits for finish before its end.
func (w *world) writing(drive string, finish <-chan struct{}) <-chan error {
	ended := make(chan error, 1)
	go func() {
		sent := 0
		_, err := w.g.WriteDrive(w.t.Context(), as(ch, "WriteDrive", residency.Collect, residency.VirtualDriveData),
			WriteDrive{Tenant: "alpen", Drive: drive, Purpose: residency.ServiceProvision},
			func() ([]byte, error) {
				if sent++; sent <= 4 {
					return bytes.Repeat([]byte{1}, len(zeros)), nil
				}
				<-finish
				return nil, io.EOF
			})
		ended <- err
	}()
	return ended
}

// wantOnes fails unless an acknowledged write of ones is there to be read.
func (w *world) wantOnes(drive string) {
	w.t.Helper()
	got, err := w.read(ch, "alpen", drive, 0, 16)
	if err != nil {
		w.t.Fatalf("an acknowledged write cannot be read: %v", err)
	}
	if !bytes.Equal(got, bytes.Repeat([]byte{1}, 16)) {
		w.t.Fatalf("an acknowledged write is gone: %v", got)
	}
}

// A drive that takes the name of a deleted one survives the sweep of the old one.
func TestAttackSweepOfTheOldDrive(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	w.deleteDrive("alpen", "d1")
	w.drive("alpen", "d1", 1<<20)
	_, err := w.write(ch, "alpen", "d1", 0, bytes.Repeat([]byte{1}, 1000))
	w.ok(err)
	w.wantOnes("d1")
	w.g.sweepAll(t.Context())
	w.wantOnes("d1")
}

// A drive that takes the name of one whose deletion has not answered yet keeps its key.
func TestAttackCreateBeforeTheKeyIsDestroyed(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	created := make(chan struct{})
	var once sync.Once
	w.mem["ch"].Fail(storetest.OpKeysDestroy, func() storetest.Fault {
		once.Do(func() {
			defer close(created)
			_, err := w.g.CreateDrive(t.Context(), as(ch, "CreateDrive", residency.Collect, residency.AccountData), NewDrive{Tenant: "alpen", ID: "d1", Size: 1 << 20})
			if err != nil {
				t.Logf("refused meanwhile, which is right: %v", err)
				return
			}
			_, err = w.write(ch, "alpen", "d1", 0, bytes.Repeat([]byte{1}, 1000))
			w.ok(err)
		})
		return storetest.FaultNone
	})
	w.deleteDrive("alpen", "d1")
	<-created
	if _, err := w.g.GetDrive(t.Context(), as(ch, "GetDrive", residency.Use, residency.AccountData), "alpen", "d1"); err == nil {
		w.wantOnes("d1")
	}
}

// A write that began before its drive was deleted and created anew is not acknowledged.
func TestAttackWriteAcrossARebirth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 16<<20)
		finish := make(chan struct{})
		ended := w.writing("d1", finish)
		time.Sleep(10 * time.Millisecond)
		w.deleteDrive("alpen", "d1")
		w.g.sweepAll(t.Context())
		w.drive("alpen", "d1", 16<<20)
		close(finish)
		if err := <-ended; err == nil {
			w.wantOnes("d1")
		}
	})
}

// A renewal that looks at a stream while the stream commits does not bring its
// row back, which would have its chunks taken for abandoned ones.
func TestAttackRenewalDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var armed atomic.Bool
		finish, resumed := make(chan struct{}), make(chan error, 1)
		var ended <-chan error
		h := &hooked{}
		h.got = func(k store.Kind) {
			if k != store.KindStream || !armed.CompareAndSwap(true, false) {
				return
			}
			close(finish)
			select {
			case err := <-ended:
				resumed <- err
			case <-time.After(500 * time.Millisecond):
			}
		}
		w := newWorld(t, hook(h))
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 16<<20)
		ended = w.writing("d1", finish)
		for range 70 { // past the first look of the agenda
			time.Sleep(time.Second)
			w.g.keeper.renewAll(t.Context())
			w.g.sweepAll(t.Context())
		}
		armed.Store(true)
		w.g.keeper.renewAll(t.Context())
		var err error
		select {
		case err = <-resumed:
		case err = <-ended:
		}
		w.ok(err)
		w.wantOnes("d1")
		for range 4 {
			time.Sleep(time.Minute)
			w.g.sweepAll(t.Context())
		}
		w.wantOnes("d1")
	})
}

// The same of a stream that ends before the agenda looks: nothing of it is left.
func TestAttackRenewalLeavesARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var armed atomic.Bool
		finish, resumed := make(chan struct{}), make(chan error, 1)
		var ended <-chan error
		h := &hooked{}
		h.got = func(k store.Kind) {
			if k != store.KindStream || !armed.CompareAndSwap(true, false) {
				return
			}
			close(finish)
			select {
			case err := <-ended:
				resumed <- err
			case <-time.After(500 * time.Millisecond):
			}
		}
		w := newWorld(t, hook(h))
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 16<<20)
		ended = w.writing("d1", finish)
		time.Sleep(100 * time.Millisecond)
		armed.Store(true)
		w.g.keeper.renewAll(t.Context())
		select {
		case <-resumed:
		case <-ended:
		}
		for range 4 {
			time.Sleep(time.Minute)
			w.g.sweepAll(t.Context())
		}
		if n := w.rows("ch", "alpen", store.KindStream); n != 0 {
			t.Fatalf("%d rows of ended streams are left for ever", n)
		}
	})
}

// rows counts a tenant's rows of a kind.
func (w *world) rows(r residency.Region, tenant string, kind store.Kind) (n int) {
	w.t.Helper()
	w.ok(w.mem[r].Rows().View(w.t.Context(), store.Scope{Tenant: w.tenantKeys(tenant)}, func(tx store.Tx) error {
		return tx.Scan(kind, "", "", func(store.ID, []byte) bool { n++; return true })
	}))
	return n
}

// blobs counts a region's objects.
func (w *world) blobs(r residency.Region) (n int) {
	w.t.Helper()
	w.ok(w.mem[r].Blobs().List(context.Background(), "", func(string) bool { n++; return true }))
	return n
}

// A stream that is closed as abandoned while it commits does one or the other.
func TestAttackClosedWhileItCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var armed atomic.Bool
		finish := make(chan struct{})
		h := &hooked{}
		var w *world
		h.got = func(k store.Kind) {
			if k != store.KindStream || !armed.CompareAndSwap(true, false) {
				return
			}
			swept := make(chan struct{})
			go func() { defer close(swept); w.g.sweepAll(t.Context()) }()
			select {
			case <-swept:
			case <-time.After(500 * time.Millisecond):
			}
		}
		w = newWorld(t, hook(h))
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 16<<20)
		ended := w.writing("d1", finish)
		time.Sleep(2 * time.Minute) // the store did not answer, so nothing was renewed
		armed.Store(true)
		close(finish)
		err := <-ended
		for range 4 {
			time.Sleep(time.Minute)
			w.g.sweepAll(t.Context())
		}
		if err == nil {
			w.wantOnes("d1")
		}
		closed, written := 0, ""
		for _, e := range w.entries("ch") {
			if e.Phase == audit.Intent && written == "" {
				written = e.DecisionID
			}
			if e.Phase == audit.Ended && e.DecisionID == written {
				closed++
			}
		}
		if closed != 1 {
			t.Errorf("the stream has %d ends in the log", closed)
		}
	})
}

// What a write leaves when the store fails it is removed at last.
func TestAttackFailedWriteLeavesNothing(t *testing.T) {
	for op, nth := range map[storetest.Op]int{storetest.OpBlobWrite: 3, storetest.OpBlobCommit: 1, storetest.OpAppend: 2, storetest.OpView: 2} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				count := &openBlobs{}
				w := newWorld(t, func(c *Config) {
					count.Blobs = c.Regions[0].Clusters[0].Blobs
					c.Regions[0].Clusters[0].Blobs = count
				})
				w.tenant("alpen", ch)
				w.drive("alpen", "d1", 16<<20)
				var n atomic.Int64
				w.mem["ch"].Fail(op, func() storetest.Fault {
					if n.Add(1) == int64(nth) {
						return storetest.FaultFail
					}
					return storetest.FaultNone
				})
				_, err := w.write(ch, "alpen", "d1", 0, make([]byte, 9<<20))
				if err == nil {
					t.Fatal("the fault did not show")
				}
				w.mem["ch"].Fail(op, nil)
				for range 4 {
					time.Sleep(time.Hour)
					w.g.sweepAll(t.Context())
				}
				if left := w.blobs("ch"); left != 0 {
					t.Errorf("%d chunks that nothing refers to are left for ever", left)
				}
				if open := count.open.Load(); open != 0 {
					t.Errorf("%d objects are still being written", open)
				}
			})
		})
	}
}

// A stream does not go on reading a drive whose deletion has answered, also when
// another has taken the drive's name.
func TestAttackStreamOutlivesItsDrive(t *testing.T) {
	for name, reborn := range map[string]bool{"deleted": false, "deleted and created anew": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outliving(t, reborn) })
		})
	}
}

// outliving deletes a drive, and perhaps creates it anew, under a slow reader.
func outliving(t *testing.T, reborn bool) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 16<<20)
	_, err := w.write(ch, "alpen", "d1", 0, bytes.Repeat([]byte{1}, 16<<20))
	w.ok(err)
	var deleted time.Time
	var late time.Duration
	sent := 0
	err = w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
		ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func(b []byte) error {
			if sent++; sent == 2 {
				w.deleteDrive("alpen", "d1")
				deleted = time.Now()
				if reborn {
					w.g.sweepAll(t.Context())
					w.drive("alpen", "d1", 16<<20)
				}
			}
			if sent > 2 && b[0] == 1 {
				late = time.Since(deleted)
			}
			time.Sleep(3 * time.Second)
			w.g.keeper.renewAll(t.Context())
			return nil
		})
	if late > time.Minute {
		t.Fatalf("plaintext was sent %v after the key had been destroyed (the stream ended with %v)", late, err)
	}
}

// An answer that rests on a consent is not given when its lease has lapsed,
// whatever it says.
func TestAttackLateAnswers(t *testing.T) {
	var jump, now atomic.Int64
	h := &hooked{}
	h.updated = func() { now.Add(jump.Load()) }
	w := newWorld(t, hook(h), func(c *Config) { c.Elapsed = func() time.Duration { return time.Duration(now.Load()) } })
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	w.grant("alpen", "", residency.PersonalInformation, residency.Records)
	jump.Store(int64(2 * time.Second))
	_, _, err = w.get(us, "alpen", "s1", "r1")
	w.wantKind(err, residency.AuditUnavailable)
	check := func(what string, err error) {
		t.Helper()
		if got := residency.KindOf(err); got != residency.AuditUnavailable {
			t.Errorf("%s: answered %v two seconds after the look at the consent", what, got)
		}
	}
	_, _, err = w.get(us, "alpen", "s1", "absent")
	check("a miss", err)
	_, _, err = w.put(us, "alpen", aRecord("s1", "r1"), ptr(uint64(9)))
	check("a version conflict", err)
	_, _, err = w.put(us, "alpen", aRecord("s1", "r1"), ptr(uint64(1)))
	check("a version", err)
}

// A refusal at the border takes the same steps whether the person is known or
// not, so neither its time nor a failing key store tells.
func TestAttackWhoIsKnown(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	var gets atomic.Int64
	w.mem["ch"].Fail(storetest.OpKeysGet, func() storetest.Fault { gets.Add(1); return storetest.FaultNone })
	steps := func(subject string) int64 {
		before := gets.Load()
		for range 10 {
			_, _, err := w.get(us, "alpen", subject, "r1")
			w.wantKind(err, residency.CrossBorderConsentRequired)
		}
		return gets.Load() - before
	}
	if known, unknown := steps("s1"), steps("nobody"); known != unknown {
		t.Errorf("ten refusals about a known person asked the key store %d times, about an unknown one %d", known, unknown)
	}
	w.mem["ch"].Fail(storetest.OpKeysGet, storetest.Always(storetest.FaultFail))
	_, _, known := w.get(us, "alpen", "s1", "r1")
	_, _, unknown := w.get(us, "alpen", "nobody", "r1")
	if residency.KindOf(known) != residency.KindOf(unknown) {
		t.Errorf("with the key store failing, a known person gives %v and an unknown one %v", residency.KindOf(known), residency.KindOf(unknown))
	}
}

// A listing over many people, each of whom is decided about, reads the whole
// tenant's consents once, so that a withdrawal beside it comes to its turn.
func TestAttackListingHoldsTheTenant(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	const people = 80
	reads := new(atomic.Int64)
	h := &hooked{scanned: func(k store.Kind) {
		if k == store.KindConsent {
			reads.Add(1)
		}
	}}
	w := newWorld(t, hook(h))
	w.tenant("alpen", ch)
	for range maxConsents - 1 {
		w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	}
	last := w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	for i := range people {
		_, _, err := w.put(ch, "alpen", aRecord(fmt.Sprint("s", i), "r1"), nil)
		w.ok(err)
	}
	reads.Store(0)
	list, _, err := w.g.ListSubjects(t.Context(), as(us, "ListSubjects", residency.Use, residency.PersonalInformation),
		ListSubjects{Tenant: "alpen", Purpose: residency.Payments, Page: Page{Size: 1000}})
	w.ok(err)
	if most := int64(2*people + 1); len(list) != people || reads.Load() > most {
		t.Errorf("%d of %d people, %d scans of consents, want at most %d", len(list), people, reads.Load(), most)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, _ = w.g.ListSubjects(t.Context(), as(us, "ListSubjects", residency.Use, residency.PersonalInformation),
			ListSubjects{Tenant: "alpen", Purpose: residency.Payments, Page: Page{Size: 1000}})
	})
	w.ok(w.withdraw(ch, "alpen", last.ID))
	wg.Wait()
}

// The reasons come in the documented order: the form, the border, the tenant,
// the policy, the object.
func TestAttackOrderOfReasons(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	card := aRecord("s1", "r1")
	card.Address = "4111 1111 1111 1111"
	expect := func(what string, err error, want residency.Kind) {
		t.Helper()
		if got := residency.KindOf(err); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	_, _, err = w.put(us, "alpen", card, ptr(uint64(1)))
	expect("a card number in a write that the border would refuse", err, residency.CardDataRefused)
	_, _, err = w.put(us, "absent", card, nil)
	expect("a card number in a write to no tenant", err, residency.CardDataRefused)
	w.setState("alpen", TenantSuspended)
	_, err = w.g.GetRecord(t.Context(), as(ch, "GetRecord", residency.Use, residency.PersonalInformation),
		GetRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Purpose: residency.Communication})
	expect("a purpose that was not stated, of a suspended tenant", err, residency.TenantSuspended)
}

// setState changes a Swiss tenant's state as nothing in the interface can yet.
func (w *world) setState(tenant string, s TenantState) {
	w.t.Helper()
	region := &w.g.cfg.Regions[0]
	id := w.tenantKeys(tenant)
	tk, err := region.Vault.Tenant(w.t.Context(), id)
	w.ok(err)
	w.ok(w.mem["ch"].Rows().Update(w.t.Context(), store.Scope{Tenant: id, Exclusive: true}, func(tx store.Tx) error {
		sealed, err := tx.Get(store.KindTenant, "")
		if err != nil {
			return err
		}
		plain, version, err := tk.OpenFact(store.KindTenant, "", sealed)
		if err != nil {
			return err
		}
		row, err := decodeTenant(plain)
		if err != nil {
			return err
		}
		row.State = s
		return tx.Put(store.KindTenant, "", tk.SealFact(store.KindTenant, "", version+1, row.encode()))
	}))
}

// Of two registrations of one name in two regions at most one is acknowledged,
// also when one takes over what the other left long ago.
func TestAttackTwoHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		register := func(home residency.Region, residence residency.Jurisdiction) error {
			_, err := w.g.RegisterTenant(t.Context(), as(residence, "RegisterTenant", residency.Collect, residency.AccountData),
				NewTenant{ID: "alpen", Residence: residence, Home: home})
			return err
		}
		w.mem["us"].Fail(storetest.OpUpdate, storetest.Once(storetest.FaultFail))
		if register("us", us) == nil {
			t.Fatal("the fault did not show")
		}
		time.Sleep(2 * time.Minute)
		again, taken := make(chan error, 1), make(chan struct{})
		var updates, finds atomic.Int64
		w.dir.Fail(storetest.OpDirectoryUpdate, func() storetest.Fault {
			if updates.Add(1) == 1 { // the takeover has seen that there is no row
				go func() { again <- register("us", us) }()
				time.Sleep(100 * time.Millisecond)
			}
			return storetest.FaultNone
		})
		w.dir.Fail(storetest.OpDirectoryFind, func() storetest.Fault {
			if finds.Add(1) == 1 { // the first registration wants to say that it is done
				select {
				case <-taken:
				case <-time.After(time.Second):
				}
			}
			return storetest.FaultNone
		})
		first := register("ch", ch)
		close(taken)
		second := <-again
		if first == nil && second == nil {
			p, err := w.dir.Directory().Find(t.Context(), w.tenantKeys("alpen"))
			t.Errorf("both regions acknowledged the tenant; the directory says %v, %v", p, err)
		}
	})
}

// One region that hangs does not end the other's streams.
func TestAttackOtherRegionHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("plains", us)
		_, err := w.g.CreateDrive(t.Context(), as(us, "CreateDrive", residency.Collect, residency.AccountData), NewDrive{Tenant: "plains", ID: "d1", Size: 64 << 20})
		w.ok(err)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 4 * maxRenewals {
			id := fmt.Sprint("alpen", i)
			w.tenant(id, ch)
			w.drive(id, "d1", 1<<20)
			wg.Go(func() {
				_ = w.g.ReadDrive(ctx, as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
					ReadDrive{Tenant: id, Drive: "d1", Purpose: residency.ServiceProvision},
					func([]byte) error { <-ctx.Done(); return ctx.Err() })
			})
		}
		wg.Go(func() { _ = w.g.Run(ctx) })
		time.Sleep(time.Second)
		w.mem["ch"].Fail(storetest.OpUpdate, storetest.Always(storetest.FaultHang))
		err = w.g.ReadDrive(t.Context(), as(us, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "plains", Drive: "d1", Purpose: residency.ServiceProvision},
			func([]byte) error { time.Sleep(50 * time.Millisecond); return nil })
		if err != nil {
			t.Errorf("a stream of a healthy region ended with %v", err)
		}
		w.mem["ch"].Fail(storetest.OpUpdate, nil)
		stop()
		wg.Wait()
	})
}

// Damaged rows and a lost key make background work fail, not the process.
func TestAttackDamageIsContained(t *testing.T) {
	contained := func(t *testing.T, f func()) {
		t.Helper()
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v", p)
			}
		}()
		f()
	}
	put := func(w *world, kind store.Kind, id store.ID, value []byte) {
		w.ok(w.mem["ch"].Rows().Update(w.t.Context(), store.Scope{Tenant: w.tenantKeys("alpen")}, func(tx store.Tx) error { return tx.Put(kind, id, value) }))
	}
	t.Run("sweep without the tenant's key", func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 1<<20)
		_, err := w.write(ch, "alpen", "d1", 0, []byte("x"))
		w.ok(err)
		w.deleteDrive("alpen", "d1")
		w.ok(w.g.cfg.Regions[0].Vault.DestroyTenant(t.Context(), w.tenantKeys("alpen")))
		contained(t, func() { w.g.sweepAll(t.Context()) })
	})
	t.Run("census of a short row", func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		put(w, store.KindConsent, "short", nil)
		contained(t, func() { _ = w.g.census(t.Context(), &w.g.cfg.Regions[0]) })
	})
	t.Run("a short extent", func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 1<<20)
		tk, err := w.g.cfg.Regions[0].Vault.Tenant(t.Context(), w.tenantKeys("alpen"))
		w.ok(err)
		var self store.ID
		w.ok(w.mem["ch"].Rows().View(t.Context(), store.Scope{Tenant: w.tenantKeys("alpen")}, func(tx store.Tx) error {
			sealed, err := tx.Get(store.KindDrive, tk.ID("drive", "d1"))
			w.ok(err)
			plain, _, err := tk.OpenFact(store.KindDrive, tk.ID("drive", "d1"), sealed)
			w.ok(err)
			row, err := decodeDrive(plain)
			self = row.Self
			return err
		}))
		put(w, store.KindExtent, self+"x", nil)
		contained(t, func() {
			_, err := w.read(ch, "alpen", "d1", 0, 1)
			w.wantKind(err, residency.IntegrityFailure)
		})
	})
	t.Run("one tenant in the listing", func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.tenant("jura", ch)
		put(w, store.KindTenant, "", []byte("damaged"))
		call := as(ch, "ListTenants", residency.Use, residency.AccountData)
		call.Caller.Sees = func(id string) bool { return id == "jura" }
		list, _, err := w.g.ListTenants(t.Context(), call, "ch", Page{})
		if err != nil || len(list) != 1 {
			t.Errorf("another tenant's damaged row gives %v, %v", list, err)
		}
	})
}

// A list tells a caller nothing about tenants outside its own.
func TestAttackListTenantsTellsNoOthers(t *testing.T) {
	w := newWorld(t)
	page := func() (list []Tenant, next string) {
		call := as(ch, "ListTenants", residency.Use, residency.AccountData)
		call.Caller.Sees = func(id string) bool { return id == "mine" }
		list, next, err := w.g.ListTenants(t.Context(), call, "ch", Page{Size: 1})
		w.ok(err)
		return list, next
	}
	w.tenant("mine", ch)
	_, alone := page()
	for i := range 20 {
		w.tenant(fmt.Sprint("theirs", i), ch)
	}
	_, among := page()
	if alone != among {
		t.Errorf("the next_page_token of a caller that sees one tenant tells that there are others: %q, then %q", alone, among)
	}
}

// A consent whose row is lost is damage, not an outage.
func TestAttackLostConsentRow(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	c := w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	scope := store.Scope{Tenant: w.tenantKeys("alpen")}
	w.ok(w.mem["ch"].Rows().Update(t.Context(), scope, func(tx store.Tx) error {
		var ids []store.ID
		err := tx.Scan(store.KindConsent, "", "", func(id store.ID, _ []byte) bool { ids = append(ids, id); return true })
		for _, id := range ids {
			err = errors.Join(err, tx.Delete(store.KindConsent, id))
		}
		return err
	}))
	_, err := w.g.GetConsent(t.Context(), as(ch, "GetConsent", residency.Govern, residency.PersonalInformation), "alpen", c.ID)
	w.wantKind(err, residency.IntegrityFailure)
}

// A deletion that could not destroy the key is not called done by its repetition.
func TestAttackDeletionRepeated(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	w.mem["ch"].Fail(storetest.OpKeysDestroy, storetest.Once(storetest.FaultFail))
	req := DeleteDrive{Tenant: "alpen", Drive: "d1", RequestID: newRequestID()}
	erase := func() error {
		return w.g.DeleteDrive(t.Context(), as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData), req)
	}
	w.wantKind(erase(), residency.KeysUnavailable)
	if erase() != nil {
		return
	}
	vault := w.g.cfg.Regions[0].Vault
	tk, err := vault.Tenant(t.Context(), w.tenantKeys("alpen"))
	w.ok(err)
	if _, err := vault.Drive(t.Context(), tk, tk.ID("drive", "d1")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the deletion was answered and the key is still there: %v", err)
	}
}

// Tasks that fail do not keep others from being done.
func TestAttackFailingTasksStarveOthers(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.tenant("jura", ch)
	w.drive("jura", "d1", 1<<20)
	_, err := w.write(ch, "jura", "d1", 0, []byte("x"))
	w.ok(err)
	damaged := w.tenantKeys("alpen")
	w.ok(w.mem["ch"].Rows().Update(t.Context(), store.Scope{Tenant: damaged}, func(tx store.Tx) error {
		for i := range sweepBatch {
			id := store.ID(fmt.Sprintf("damaged stream %04d", i))
			err := errors.Join(tx.Put(store.KindStream, id, []byte("damaged")),
				tx.Schedule(store.Task{At: tx.Now().Add(-time.Hour), Tenant: damaged, Kind: store.TaskCloseStream, ID: id}))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	w.deleteDrive("jura", "d1")
	for range 3 {
		w.g.sweepAll(t.Context())
	}
	if n := w.rows("ch", "jura", store.KindExtent); n != 0 {
		t.Errorf("%d extents of another tenant's deleted drive are never swept", n)
	}
}

// A blind write from abroad does not tell whether a parent agreed, which the
// writer may not read.
func TestAttackBlindWriteAboutAChild(t *testing.T) {
	w := newWorld(t)
	w.tenant("plains", us)
	parental := border("s1", residency.PersonalInformation, residency.Payments)
	parental.Kind, parental.From, parental.To = residency.Parental, us, us
	_, err := w.g.GrantConsent(t.Context(), as(us, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: "plains", Consent: parental})
	w.ok(err)
	write := func(subject string) residency.Kind {
		r := aRecord(subject, "r1")
		r.Purposes = residency.PurposeSet(residency.Payments)
		r.BirthDate = Date{Year: time.Now().Year() - 5, Month: 1, Day: 1}
		_, _, err := w.put(ch, "plains", r, nil)
		return residency.KindOf(err)
	}
	if with, without := write("s1"), write("s2"); with != without {
		t.Errorf("a writer abroad learns that there is a parent's consent: %v with it, %v without", with, without)
	}
}

// What one call reads is bounded, since where all of it lies is held in memory:
// more than the bound is refused, up to it is taken.
func TestAttackLargeImage(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 2*maxTransfer)
	first := errors.New("the first bytes came")
	read := func(length int64) error {
		return w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Length: length, Purpose: residency.ServiceProvision},
			func([]byte) error { return first })
	}
	w.wantKind(read(0), residency.BadRequest) // the whole drive
	w.wantKind(read(maxTransfer+1), residency.BadRequest)
	if err := read(maxTransfer); !errors.Is(err, first) {
		t.Errorf("a read of the bound: %v", err)
	}
}

// A person who narrows an own consent is not overruled by the tenant's.
func TestAttackNarrowedByThePerson(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	w.grant("alpen", "", residency.PersonalInformation, residency.Payments)
	wide := w.grant("alpen", "s1", residency.PersonalInformation, residency.Payments)
	narrow := border("s1", residency.PersonalInformation, residency.Records)
	narrow.Supersedes = wide.ID
	_, err = w.g.GrantConsent(t.Context(), as(ch, "GrantConsent", residency.Govern, residency.PersonalInformation), GrantConsent{Tenant: "alpen", Consent: narrow})
	w.ok(err)
	_, _, err = w.get(us, "alpen", "s1", "r1")
	w.wantKind(err, residency.ConsentIsSuperseded)
}

// Refusals at the same time keep to the bound of refusals too.
func TestAttackRefusalsAtOnce(t *testing.T) {
	h := &hooked{}
	w := newWorld(t, hook(h), func(c *Config) { c.Limits.DenialsPerSecond = 1 })
	w.tenant("alpen", ch)
	before := len(w.entries("ch"))
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range 200 {
		wg.Go(func() {
			<-gate
			_, _, _ = w.get(us, "alpen", "s1", "r1")
		})
	}
	h.got = func(store.Kind) { time.Sleep(20 * time.Millisecond) }
	close(gate)
	wg.Wait()
	if n := len(w.entries("ch")) - before; n > 2*burst {
		t.Errorf("%d refusals at once were written down; the bound is %d", n, burst)
	}
}
