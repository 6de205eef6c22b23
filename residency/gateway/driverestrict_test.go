package gateway

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// restrict takes service provision, which reads of drives are for, away from a drive.
func (w *world) restrict(j residency.Jurisdiction, req RestrictDrive) (Drive, *Call, error) {
	c := as(j, "RestrictDrive", residency.Restrict, residency.VirtualDriveData)
	out, err := w.g.RestrictDrive(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) lift(j residency.Jurisdiction, req RestrictDrive) (Drive, *Call, error) {
	c := as(j, "LiftDriveRestriction", residency.Restrict, residency.VirtualDriveData)
	out, err := w.g.LiftDriveRestriction(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) suspend(tenant string) { w.t.Helper(); w.setState(tenant, TenantSuspended) }

var services = residency.PurposeSet(residency.ServiceProvision)

// TestClauseChangeUseOfDrives: a purpose that was taken away refuses reads, and they come back with it.
func TestClauseChangeUseOfDrives(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	written, err := w.write(ch, "alpen", "d1", 0, []byte("canary"))
	w.ok(err)
	req := RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services}
	out, call, err := w.restrict(ch, req)
	w.ok(err)
	if out.Restricted != services || out.Version != written.Version+1 || call.Decision.Clause != "change-use" {
		t.Errorf("restricted: %+v, clause %q", out, call.Decision.Clause)
	}
	_, err = w.read(ch, "alpen", "d1", 0, 6)
	w.wantKind(err, residency.Restricted)
	if e := new(residency.Error); !errors.As(err, &e) || e.Decision == nil || e.Decision.Clause != "change-use" {
		t.Errorf("the refusal cites no clause: %v", err)
	}
	again, _, err := w.restrict(ch, req)
	w.ok(err)
	if again.Version != out.Version {
		t.Errorf("nothing was changed, and the version went from %d to %d", out.Version, again.Version)
	}
	other := req
	other.Purposes = residency.PurposeSet(residency.Marketing)
	out, _, err = w.restrict(us, other) // a wish comes home from anywhere
	w.ok(err)
	if out.Restricted != services|other.Purposes {
		t.Errorf("restricted: %v", out.Restricted.List())
	}
	out, _, err = w.lift(ch, req)
	w.ok(err)
	if out.Restricted != other.Purposes || out.Version != again.Version+2 {
		t.Errorf("lifted: %+v", out)
	}
	if b, err := w.read(ch, "alpen", "d1", 0, 6); err != nil || string(b) != "canary" {
		t.Errorf("read %q, %v", b, err)
	}
}

// The American text knows of no such right for drives.
func TestDrivesAreNotRestrictedInTheUnitedStates(t *testing.T) {
	w := newWorld(t)
	w.tenant("plains", us)
	_, err := w.g.CreateDrive(t.Context(), as(us, "CreateDrive", residency.Collect, residency.AccountData), NewDrive{Tenant: "plains", ID: "d1", Size: 10})
	w.ok(err)
	req := RestrictDrive{Tenant: "plains", Drive: "d1", Purposes: services}
	_, call, err := w.restrict(us, req)
	w.wantKind(err, residency.PurposeNotPermitted)
	if call.Decision.Clause != "product/default" {
		t.Errorf("clause %q", call.Decision.Clause)
	}
	_, _, err = w.lift(us, req)
	w.wantKind(err, residency.PurposeNotPermitted)
}

func TestRestrictDriveRefuses(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	req := RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services}
	for name, tt := range map[string]struct {
		change func(*RestrictDrive)
		want   residency.Kind
	}{
		"no purpose":     {func(r *RestrictDrive) { r.Purposes = 0 }, residency.BadRequest},
		"absent drive":   {func(r *RestrictDrive) { r.Drive = "d2" }, residency.NotFound},
		"absent tenant":  {func(r *RestrictDrive) { r.Tenant = "nobody" }, residency.PurposeNotPermitted}, // as one abroad
		"other version":  {func(r *RestrictDrive) { r.Expected = ptr(uint64(7)) }, residency.VersionMismatch},
		"version 0":      {func(r *RestrictDrive) { r.Expected = ptr(uint64(0)) }, residency.VersionMismatch},
		"as it is there": {func(r *RestrictDrive) { r.Expected = ptr(uint64(1)) }, residency.OK},
	} {
		r := req
		tt.change(&r)
		_, _, err := w.restrict(ch, r)
		if residency.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	w.suspend("alpen")
	_, _, err := w.lift(ch, req)
	w.wantKind(err, residency.TenantSuspended)
	req.Purposes = residency.PurposeSet(residency.Marketing)
	_, _, err = w.restrict(ch, req) // it protects
	w.ok(err)
}

// A repeated call gives what the first one gave, and changes nothing.
func TestRestrictDriveRepeated(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	req := RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services, Expected: ptr(uint64(1)), RequestID: newRequestID()}
	first, _, err := w.restrict(ch, req)
	w.ok(err)
	_, _, err = w.lift(ch, RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services})
	w.ok(err)
	again, _, err := w.restrict(ch, req)
	w.ok(err)
	if again.Version != first.Version || again.Restricted != first.Restricted || again.ID != "d1" || !again.Created.Equal(first.Created) {
		t.Errorf("first %+v, then %+v", first, again)
	}
	_, err = w.read(ch, "alpen", "d1", 0, 1)
	w.ok(err) // it was lifted meanwhile
	req.Purposes = residency.PurposeSet(residency.Marketing)
	_, _, err = w.restrict(ch, req)
	w.wantKind(err, residency.RequestIDReused)
}

// A read that is under way ends within a lease of the restriction, and says why.
func TestRestrictionCutsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 64<<20)
		stop := w.renewing()
		defer stop()
		var restricted time.Time
		sent := 0
		err := w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
			ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
				if sent++; sent == 8 {
					_, _, err := w.restrict(ch, RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services})
					w.ok(err)
					restricted = time.Now()
				}
				time.Sleep(100 * time.Millisecond)
				if !restricted.IsZero() && time.Since(restricted) > 1200*time.Millisecond {
					t.Fatal("a read goes on although its purpose was taken away")
				}
				return nil
			})
		w.wantKind(err, residency.Restricted)
		if sent < 8 {
			t.Errorf("cut after %d sends", sent)
		}
	})
}

// renewing renews leases in the background until it is stopped.
func (w *world) renewing() (stop func()) {
	ticker := time.NewTicker(w.g.limits.Lease / 3)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				w.g.keeper.renewAll(w.t.Context())
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}

// Whatever becomes of the entry, the restriction and the entry share it.
func TestRestrictDriveWithoutAnEntry(t *testing.T) {
	for fault, persists := range map[storetest.Fault]bool{storetest.FaultFail: false, storetest.FaultFailPersisted: true} {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 1<<20)
		req := RestrictDrive{Tenant: "alpen", Drive: "d1", Purposes: services, RequestID: newRequestID()}
		before := len(w.entries("ch"))
		w.mem["ch"].Fail(storetest.OpAppend, storetest.Always(fault))
		_, _, err := w.restrict(ch, req)
		w.wantKind(err, residency.AuditUnavailable)
		w.mem["ch"].Fail(storetest.OpAppend, nil)
		if recorded := len(w.entries("ch")) > before; recorded != persists {
			t.Errorf("fault %d: recorded %v", fault, recorded)
		}
		_, err = w.read(ch, "alpen", "d1", 0, 1)
		if restricted := residency.KindOf(err) == residency.Restricted; restricted != persists {
			t.Errorf("fault %d: restricted %v", fault, restricted)
		}
		out, _, err := w.restrict(ch, req)
		w.ok(err)
		if out.Version != 2 || out.Restricted != services {
			t.Errorf("fault %d: repeated, %+v", fault, out)
		}
	}
}
