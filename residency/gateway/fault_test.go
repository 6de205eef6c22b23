package gateway

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// everyAccess is one call of every method that decides, each told where data
// would leave by.
func (w *world) everyAccess(leak func()) map[string]func() error {
	ctx := w.t.Context()
	pi, acc, vd := residency.PersonalInformation, residency.AccountData, residency.VirtualDriveData
	got := func(err error) error {
		if err == nil {
			leak()
		}
		return err
	}
	return map[string]func() error{
		"RegisterTenant": func() error {
			_, err := w.g.RegisterTenant(ctx, as(ch, "RegisterTenant", residency.Collect, acc), NewTenant{ID: "new", Residence: ch})
			return got(err)
		},
		"GetTenant": func() error {
			_, err := w.g.GetTenant(ctx, as(ch, "GetTenant", residency.Use, acc), "alpen")
			return got(err)
		},
		"ListTenants": func() error {
			_, _, err := w.g.ListTenants(ctx, as(ch, "ListTenants", residency.Use, acc), "ch", Page{})
			return got(err)
		},
		"PutRecord": func() error { _, _, err := w.put(ch, "alpen", aRecord("s9", "r9"), nil); return got(err) },
		"GetRecord": func() error { _, _, err := w.get(ch, "alpen", "s1", "r1"); return got(err) },
		"ListRecords": func() error {
			_, _, err := w.g.ListRecords(ctx, as(ch, "ListRecords", residency.Use, pi), ListRecords{Tenant: "alpen", Subject: "s1", Purpose: residency.Payments})
			return got(err)
		},
		"ListSubjects": func() error {
			_, _, err := w.g.ListSubjects(ctx, as(ch, "ListSubjects", residency.Use, pi), ListSubjects{Tenant: "alpen", Purpose: residency.Payments})
			return got(err)
		},
		"FindRecords": func() error {
			_, _, err := w.g.FindRecords(ctx, as(ch, "FindRecords", residency.Use, pi), FindRecords{Tenant: "alpen", Email: "canary@example.org", Purpose: residency.Payments})
			return got(err)
		},
		"DeleteRecord": func() error {
			return got(w.g.DeleteRecord(ctx, as(ch, "DeleteRecord", residency.Erase, pi), DeleteRecord{Tenant: "alpen", Subject: "s1", Record: "r1"}))
		},
		"CreateDrive": func() error {
			_, err := w.g.CreateDrive(ctx, as(ch, "CreateDrive", residency.Collect, acc), NewDrive{Tenant: "alpen", ID: "d9", Size: 10})
			return got(err)
		},
		"GetDrive": func() error {
			_, err := w.g.GetDrive(ctx, as(ch, "GetDrive", residency.Use, acc), "alpen", "d1")
			return got(err)
		},
		"ListDrives": func() error {
			_, _, err := w.g.ListDrives(ctx, as(ch, "ListDrives", residency.Use, acc), "alpen", Page{})
			return got(err)
		},
		"WriteDrive": func() error { _, err := w.write(ch, "alpen", "d1", 0, []byte("x")); return got(err) },
		"ReadDrive": func() error {
			return w.g.ReadDrive(ctx, as(ch, "ReadDrive", residency.Use, vd), ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision},
				func([]byte) error { leak(); return nil })
		},
		"DeleteDrive": func() error {
			return got(w.g.DeleteDrive(ctx, as(ch, "DeleteDrive", residency.Erase, acc), DeleteDrive{Tenant: "alpen", Drive: "d1"}))
		},
		"GrantConsent": func() error {
			_, err := w.g.GrantConsent(ctx, as(ch, "GrantConsent", residency.Govern, pi), GrantConsent{Tenant: "alpen", Consent: border("s1", pi, residency.Payments)})
			return got(err)
		},
		"ListConsents": func() error {
			_, _, err := w.g.ListConsents(ctx, as(ch, "ListConsents", residency.Govern, pi), ListConsents{Tenant: "alpen"})
			return got(err)
		},
		"GetConsent": func() error {
			_, err := w.g.GetConsent(ctx, as(ch, "GetConsent", residency.Govern, pi), "alpen", newRequestID())
			return got(err)
		},
		"WithdrawConsent": func() error { return got(w.withdraw(ch, "alpen", newRequestID())) },
		"CheckTransfer": func() error {
			_, err := w.g.CheckTransfer(ctx, as(ch, "CheckTransfer", residency.Transfer, pi), CheckTransfer{Tenant: "alpen", Class: pi, To: "us", Purpose: residency.Payments})
			return got(err)
		},
		"GetUsage": func() error {
			_, _, err := w.usage(ch, GetUsage{Tenant: "alpen"})
			return got(err)
		},
		"GetDecision": func() error {
			_, err := w.g.GetDecision(ctx, as(ch, "GetDecision", residency.Govern, pi), "alpen", newRequestID())
			return got(err)
		},
		"ListDecisions": func() error {
			_, _, err := w.g.ListDecisions(ctx, as(ch, "ListDecisions", residency.Govern, pi), ListDecisions{Tenant: "alpen"})
			return got(err)
		},
	}
}

// When the audit entry cannot be written, whatever the reason, every access is
// answered UNAVAILABLE within two seconds and nothing leaves.
func TestNothingWithoutAnEntry(t *testing.T) {
	faults := map[string]storetest.Fault{
		"fails": storetest.FaultFail, "fails but persists": storetest.FaultFailPersisted,
		"is full": storetest.FaultFull, "hangs": storetest.FaultHang, "hangs but persists": storetest.FaultHangPersisted,
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tenant("alpen", ch)
				_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
				w.ok(err)
				w.drive("alpen", "d1", 1<<20)
				_, err = w.write(ch, "alpen", "d1", 0, []byte("canary"))
				w.ok(err)
				w.mem["ch"].Fail(storetest.OpAppend, storetest.Always(fault))
				for method, call := range w.everyAccess(func() { t.Error("an answer was given") }) {
					start := time.Now()
					err := call()
					if kind := residency.KindOf(err); kind != residency.AuditUnavailable {
						t.Errorf("%s: %v", method, err)
					}
					if took := time.Since(start); took > 2*time.Second {
						t.Errorf("%s answered after %v", method, took)
					}
				}
				w.mem["ch"].Fail(storetest.OpAppend, nil)
				if fault == storetest.FaultFail || fault == storetest.FaultFull || fault == storetest.FaultHang {
					_, _, err = w.get(ch, "alpen", "s1", "r1")
					w.ok(err)
				}
			})
		})
	}
}

// Keys, directory and region out of reach refuse; they never lead elsewhere.
func TestUnavailableParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
		w.ok(err)
		time.Sleep(2 * time.Minute) // no key is in memory any more
		w.mem["ch"].Fail(storetest.OpKeysGet, storetest.Always(storetest.FaultFail))
		_, _, err = w.get(ch, "alpen", "s1", "r1")
		w.wantKind(err, residency.KeysUnavailable)
		w.mem["ch"].Fail(storetest.OpKeysGet, nil)
		_, _, err = w.get(ch, "alpen", "s1", "r1")
		w.ok(err)

		w.g.hints.drop("alpen")
		w.dir.Fail(storetest.OpDirectoryFind, storetest.Always(storetest.FaultFail))
		_, _, err = w.get(ch, "alpen", "s1", "r1")
		w.wantKind(err, residency.RegionUnavailable)
	})
}

// A registration that stops between its reservation and its row, or between its
// row and its activation, is completed by the next one.
func TestRegistrationIsRepaired(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(*world)
		want   residency.Kind
	}{
		"reserved only": {func(w *world) { w.mem["ch"].Fail(storetest.OpUpdate, storetest.Once(storetest.FaultFail)) }, residency.OK},
		"row not acknowledged": {func(w *world) {
			w.mem["ch"].Fail(storetest.OpUpdate, storetest.Once(storetest.FaultFailPersisted))
		}, residency.OK},
		"not activated": {func(w *world) {
			w.dir.Fail(storetest.OpDirectoryUpdate, storetest.Once(storetest.FaultFail))
		}, residency.OK},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.break_(w)
			req := NewTenant{ID: "alpen", Residence: ch, RequestID: newRequestID()}
			register := func() error {
				_, err := w.g.RegisterTenant(t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData), req)
				return err
			}
			_ = register()
			w.wantKind(register(), c.want)
			_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
			w.ok(err)
		})
	}
}

// A stream whose gateway dies is closed as unknown, with what was last counted,
// and its chunks are removed; it can commit nothing after that.
func TestAbandonedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 16<<20)
		resume := make(chan struct{})
		ended := make(chan error)
		go func() {
			sent := 0
			_, err := w.g.WriteDrive(t.Context(), as(ch, "WriteDrive", residency.Collect, residency.VirtualDriveData),
				WriteDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision},
				func() ([]byte, error) {
					if sent++; sent <= 20 {
						return zeros[:], nil
					}
					<-resume // the machine sleeps
					return nil, io.EOF
				})
			ended <- err
		}()
		time.Sleep(300 * time.Millisecond)
		w.g.keeper.renewAll(t.Context())
		time.Sleep(2 * time.Minute)
		w.g.sweepAll(t.Context())
		close(resume)
		w.wantKind(<-ended, residency.AuditUnavailable)
		w.g.sweepAll(t.Context())

		var last audit.Entry
		for _, e := range w.entries("ch") {
			if e.Phase == audit.Ended {
				last = e
			}
		}
		if last.End != audit.Unknown || last.Bytes != 20*uint64(len(zeros)) {
			t.Fatalf("closed as %+v", last)
		}
		left := 0
		w.ok(w.mem["ch"].Blobs().List(t.Context(), "", func(string) bool { left++; return true }))
		if left != 0 {
			t.Fatalf("%d blobs are left", left)
		}
		got, err := w.read(ch, "alpen", "d1", 0, 4)
		w.ok(err)
		if string(got) != "\x00\x00\x00\x00" {
			t.Fatal("bytes of the abandoned write are visible")
		}
	})
}

// A commit whose outcome is not known must not cost the chunks that it may have
// put in place.
func TestUnknownCommitKeepsChunks(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FaultFail, storetest.FaultFailPersisted} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.tenant("alpen", ch)
			w.drive("alpen", "d1", 1<<20)
			n := 0
			w.mem["ch"].Fail(storetest.OpAppend, func() storetest.Fault {
				if n++; n == 2 { // the intent passes, the outcome does not
					return fault
				}
				return storetest.FaultNone
			})
			_, err := w.write(ch, "alpen", "d1", 0, []byte("canary"))
			w.wantKind(err, residency.AuditUnavailable)
			w.mem["ch"].Fail(storetest.OpAppend, nil)
			for range 3 {
				time.Sleep(2 * time.Minute)
				w.g.sweepAll(t.Context())
			}
			got, err := w.read(ch, "alpen", "d1", 0, 6)
			w.ok(err)
			if fault == storetest.FaultFailPersisted && string(got) != "canary" || fault == storetest.FaultFail && string(got) != "\x00\x00\x00\x00\x00\x00" {
				t.Fatalf("fault %d: read %q", fault, got)
			}
		})
	}
}

// The client going away ends the stream and says so in the log.
func TestStreamCutByClient(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	gone := errors.New("the client is gone")
	err := w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
		ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error { return gone })
	if !errors.Is(err, gone) {
		t.Fatal(err)
	}
	log := w.entries("ch")
	if last := log[len(log)-1]; last.Phase != audit.Ended || last.End != audit.Cut || last.Bytes != 0 {
		t.Fatalf("ended as %+v", last)
	}
}

// A stream holds keys; when they can no longer be had, or the drive is deleted,
// it ends.
func TestStreamNeedsItsKeys(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(*world)
		want residency.Kind
	}{
		"key store down": {func(w *world) { w.mem["ch"].Fail(storetest.OpKeysGet, storetest.Always(storetest.FaultFail)) }, residency.AuditUnavailable},
		"drive deleted": {func(w *world) {
			w.ok(w.g.DeleteDrive(w.t.Context(), as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData), DeleteDrive{Tenant: "alpen", Drive: "d1"}))
		}, residency.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tenant("alpen", ch)
				w.drive("alpen", "d1", 1<<40)
				ctx, cancel := context.WithCancel(t.Context())
				go every(ctx, w.g.limits.Lease/3, func() { w.g.keeper.renewAll(ctx) })
				start, stopped := time.Now(), false
				err := w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
					ReadDrive{Tenant: "alpen", Drive: "d1", Length: 32 << 30, Purpose: residency.ServiceProvision}, func([]byte) error {
						time.Sleep(100 * time.Millisecond)
						if !stopped && time.Since(start) > 10*time.Second {
							stopped = true
							c.stop(w)
						}
						return nil
					})
				cancel()
				w.wantKind(err, c.want)
				if took := time.Since(start); took > 75*time.Second {
					t.Errorf("the stream went on for %v", took)
				}
			})
		})
	}
}
