package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

var (
	de = residency.Jurisdiction{'D', 'E'}
	jp = residency.Jurisdiction{'J', 'P'}
)

func (w *world) updateTenant(j residency.Jurisdiction, req UpdateTenant) (Tenant, *Call, error) {
	c := as(j, "UpdateTenant", residency.Collect, residency.AccountData)
	out, err := w.g.UpdateTenant(w.t.Context(), c, req)
	return out, c, err
}

func (w *world) suspendTenant(tenant, request string) (Tenant, error) {
	return w.g.SuspendTenant(w.t.Context(), as(ch, "SuspendTenant", residency.Restrict, residency.AccountData), ChangeTenant{Tenant: tenant, RequestID: request})
}

func (w *world) resumeTenant(tenant, request string) (Tenant, error) {
	return w.g.ResumeTenant(w.t.Context(), as(ch, "ResumeTenant", residency.Restrict, residency.AccountData), ChangeTenant{Tenant: tenant, RequestID: request})
}

func anAgreement() *consent.Evidence {
	e := border("", residency.PersonalInformation, residency.Payments).Evidence
	return &e
}

// A tenant that moves stays homed where it is if the policy there takes
// residents of the new place, by agreement where it says so (clauses eu-residents, us-residents).
func TestUpdateTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		_, call, err := w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: de})
		w.wantKind(err, residency.AgreementRequired)
		if d := call.Decision; d.Clause != "eu-residents" || !d.Missing.Has(residency.RequireAgreement) {
			t.Fatalf("refused under %+v", d)
		}
		req := UpdateTenant{Tenant: "alpen", Residence: de, Agreement: anAgreement(), Expected: ptr(uint64(1)), RequestID: newRequestID()}
		out, _, err := w.updateTenant(ch, req)
		w.ok(err)
		if out.Residence != de || out.Version != 2 || out.Home != "ch" {
			t.Fatalf("changed to %+v", out)
		}
		_, _, err = w.put(ch, "alpen", aRecord("s1", "r1"), nil) // under the agreement
		w.ok(err)
		if again, _, err := w.updateTenant(ch, req); err != nil || again != out {
			t.Fatalf("asked again: %+v %v, first %+v", again, err, out)
		}
		_, _, err = w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: ch, Expected: ptr(uint64(1))})
		w.wantKind(err, residency.VersionMismatch)
		other := req
		other.Residence = ch
		_, _, err = w.updateTenant(ch, other)
		w.wantKind(err, residency.RequestIDReused)

		// Another agreement takes the place of the one on record.
		second := UpdateTenant{Tenant: "alpen", Residence: de, Agreement: anAgreement()}
		_, _, err = w.updateTenant(ch, second)
		w.ok(err)
		list, _, err := w.g.ListConsents(t.Context(), as(ch, "ListConsents", residency.Govern, residency.PersonalInformation), ListConsents{Tenant: "alpen"})
		w.ok(err)
		if len(list) != 2 || list[0].State != residency.ConsentActive || list[1].State != residency.ConsentSuperseded || list[1].SupersededBy != list[0].ID {
			t.Fatalf("the agreements are %+v", list)
		}
		// While one is in force no other need come along; back home none is needed.
		out, _, err = w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: de})
		w.ok(err)
		if out.Version != 3 {
			t.Fatalf("nothing was changed, and the version is %d", out.Version)
		}
		out, _, err = w.updateTenant(us, UpdateTenant{Tenant: "alpen", Residence: ch}) // account data names nobody
		w.ok(err)
		if out.Residence != ch || out.Version != 4 {
			t.Fatalf("back home: %+v", out)
		}
		w.ok(w.withdraw(ch, "alpen", list[0].ID))
		_, _, err = w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: de})
		w.wantKind(err, residency.AgreementRequired)
	})
}

func TestUpdateTenantRefuses(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.updateTenant(ch, UpdateTenant{Tenant: "absent", Residence: ch})
	w.wantKind(err, residency.NotFound)
	_, call, err := w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: jp})
	if err == nil { // what the policy says of everywhere else
		t.Fatalf("a residence that needs an agreement was taken without: %+v", call.Decision)
	}
	w.suspend("alpen")
	_, _, err = w.updateTenant(ch, UpdateTenant{Tenant: "alpen", Residence: ch})
	w.wantKind(err, residency.TenantSuspended)
}

// A suspended tenant is not served, but what protects people goes on; resumed, all is as before.
func TestSuspendTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		own := w.person("alpen", "s1")
		request := newRequestID()
		out, err := w.suspendTenant("alpen", request)
		w.ok(err)
		if out.State != TenantSuspended || out.Version != 2 {
			t.Fatalf("suspended: %+v", out)
		}
		again, err := w.suspendTenant("alpen", "") // and once more, which changes nothing
		w.ok(err)
		if again != out {
			t.Fatalf("suspended again: %+v", again)
		}
		_, _, err = w.get(ch, "alpen", "s1", "r0")
		w.wantKind(err, residency.TenantSuspended)
		_, _, err = w.put(ch, "alpen", aRecord("s1", "r0"), nil)
		w.wantKind(err, residency.TenantSuspended)

		pi, ctx := residency.PersonalInformation, t.Context()
		_, err = w.g.GetTenant(ctx, as(ch, "GetTenant", residency.Use, residency.AccountData), "alpen")
		w.ok(err)
		_, err = w.g.GetConsent(ctx, as(ch, "GetConsent", residency.Govern, pi), "alpen", own.ID)
		w.ok(err)
		_, _, err = w.g.ListConsents(ctx, as(ch, "ListConsents", residency.Govern, pi), ListConsents{Tenant: "alpen"})
		w.ok(err)
		w.ok(w.withdraw(us, "alpen", own.ID))
		_, err = w.g.ObjectToCollection(ctx, as(ch, "ObjectToCollection", residency.Restrict, pi), SubjectCall{Tenant: "alpen", Subject: "s1"})
		w.ok(err)
		w.ok(w.g.ExportSubject(ctx, as(ch, "ExportSubject", residency.Export, pi), SubjectCall{Tenant: "alpen", Subject: "s1"}, func(FilePiece) error { return nil }))

		out, err = w.resumeTenant("alpen", request) // another method: the same id is another request's
		w.ok(err)
		if out.State != TenantActive || out.Version != 3 {
			t.Fatalf("resumed: %+v", out)
		}
		out, err = w.resumeTenant("alpen", "")
		w.ok(err)
		if out.Version != 3 {
			t.Fatalf("resumed again: %+v", out)
		}
		if first, err := w.suspendTenant("alpen", request); err != nil || first.State != TenantSuspended || first.Version != 2 {
			t.Fatalf("the repeated call got %+v %v", first, err)
		}
		_, _, err = w.get(ch, "alpen", "s1", "r0") // it gave the first result and did nothing
		w.ok(err)
		_, err = w.suspendTenant("absent", "")
		w.wantKind(err, residency.NotFound)
	})
}

// Suspending and erasing a tenant cut its live streams at once, not when their leases end.
func TestTenantStreamsAreCut(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(*world) error
		want residency.Kind
	}{
		"suspended": {func(w *world) error { _, err := w.suspendTenant("alpen", ""); return err }, residency.TenantSuspended},
		"erased":    {func(w *world) error { _, _, err := w.eraseTenant(ch, "alpen", ""); return err }, residency.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.tenant("alpen", ch)
				w.drive("alpen", "d1", 1<<30)
				sent := 0
				err := w.g.ReadDrive(t.Context(), as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
					ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func([]byte) error {
						if sent++; sent == 3 {
							w.ok(c.stop(w))
						}
						return nil
					})
				w.wantKind(err, c.want)
				if sent != 3 {
					t.Fatalf("%d pieces were sent, want none after the third", sent)
				}
			})
		})
	}
}

// Clause stop-holding for a whole tenant: rows, blobs and keys are gone, its
// identifier is never given out again, and its erasure is still told.
func TestEraseTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.tenant("other", ch)
		w.person("alpen", "s1")
		w.person("alpen", "s2")
		w.person("other", "s1")
		_, _, err := w.eraseSubject(ch, "alpen", "s2", "") // one erasure within the other
		w.ok(err)
		w.drive("alpen", "d1", 9<<20)
		for chunk := range int64(3) {
			_, err := w.write(ch, "alpen", "d1", chunk*chunkSize, []byte("canary"))
			w.ok(err)
		}
		_, _, err = w.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1", Name: "n"})
		w.ok(err)
		for _, tenant := range []string{"alpen", "absent"} {
			_, _, err = w.eraseTenant(us, tenant, "")
			w.wantKind(err, residency.CrossBorderConsentRequired)
		}

		request := newRequestID()
		out, call, err := w.eraseTenant(ch, "alpen", request)
		w.ok(err)
		if out.ID != call.Decision.ID || out.Kind != ErasureOfTenant || out.State != ErasureSweeping || out.Clause != "stop-holding" {
			t.Fatalf("erased as %+v", out)
		}
		wantAbsent := func() {
			t.Helper()
			_, _, err = w.get(ch, "alpen", "s1", "r0")
			w.wantKind(err, residency.NotFound)
			_, _, err = w.put(ch, "alpen", aRecord("s1", "r0"), nil)
			w.wantKind(err, residency.NotFound)
			_, err = w.read(ch, "alpen", "d1", 0, 1)
			w.wantKind(err, residency.NotFound)
			_, err = w.g.GetTenant(t.Context(), as(us, "GetTenant", residency.Use, residency.AccountData), "alpen")
			w.wantKind(err, residency.NotFound)
			_, _, err = w.eraseTenant(ch, "alpen", "")
			w.wantKind(err, residency.NotFound)
			repeated, _, err := w.eraseTenant(ch, "alpen", request)
			w.ok(err)
			if repeated.ID != out.ID {
				t.Fatalf("the repeated call gave %+v", repeated)
			}
			for _, residence := range []residency.Jurisdiction{ch, us} {
				_, err = w.g.RegisterTenant(t.Context(), as(residence, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: "alpen", Residence: residence})
				want := residency.Erased
				if residence == us {
					want = residency.AlreadyExists
				}
				w.wantKind(err, want)
			}
			if place, err := w.dir.Directory().Find(t.Context(), w.tenantKeys("alpen")); err != nil || place.State != store.PlacementActive || place.Region != "ch" {
				t.Fatalf("the directory has %+v %v", place, err)
			}
			tenants, _, err := w.g.ListTenants(t.Context(), as(ch, "ListTenants", residency.Use, residency.AccountData), "ch", Page{})
			w.ok(err)
			if len(tenants) != 1 || tenants[0].ID != "other" {
				t.Fatalf("the tenants are %+v", tenants)
			}
			w.ok(w.g.census(t.Context(), w.g.region("ch")))
		}
		wantAbsent()
		w.g.sweepAll(t.Context())
		now, err := w.erasure(us, "alpen", out.ID)
		w.ok(err)
		if now.State != ErasureDone || now.Rows < 10 || now.Blobs != 3 {
			t.Fatalf("after the sweep: %+v", now)
		}
		wantAbsent()
		if left := w.kept("ch", "alpen", ""); len(left) > 0 || w.blobs("ch") > 0 {
			t.Fatalf("rows %v and %d blobs are left", left, w.blobs("ch"))
		}
		if n := w.rows("ch", "alpen", store.KindDecision); n != 0 {
			t.Fatalf("%d decisions can still be found", n)
		}
		w.ok(w.mem["ch"].Keys().List(t.Context(), string(w.tenantPrefix("alpen")), func(string, []byte) bool {
			t.Fatal("a key is left")
			return false
		}))
		w.wantEnded("ch", out.ID, "")
		_, _, err = w.get(ch, "other", "s1", "r0")
		w.ok(err)
		time.Sleep(26 * time.Hour) // whatever is left on the agenda comes to its turn and finds nothing
		w.g.sweepAll(t.Context())
		wantAbsent()
		if tasks, err := w.mem["ch"].Rows().Due(t.Context(), 10); err != nil || len(tasks) > 0 {
			t.Fatalf("tasks are left: %v %v", tasks, err)
		}
	})
}

func (w *world) tenantPrefix(tenant string) []byte {
	id := w.tenantKeys(tenant)
	return id[:]
}

// The sweep of a tenant waits for streams that another gateway still has open,
// or left behind: their end is in the log before their rows go.
func TestEraseTenantWaitsForStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant("alpen", ch)
		w.drive("alpen", "d1", 9<<20)
		_, err := w.write(ch, "alpen", "d1", 0, []byte("canary"))
		w.ok(err)
		resume, ended := make(chan struct{}), make(chan error)
		go func() {
			first := true
			_, err := w.g.WriteDrive(t.Context(), as(ch, "WriteDrive", residency.Collect, residency.VirtualDriveData),
				WriteDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision},
				func() ([]byte, error) {
					if first {
						first = false
						return make([]byte, chunkSize+1), nil
					}
					<-resume // the process sleeps
					return []byte("more"), nil
				})
			ended <- err
		}()
		synctest.Wait()
		out, _, err := w.eraseTenant(ch, "alpen", "")
		w.ok(err)
		w.g.sweepAll(t.Context())
		now, err := w.erasure(ch, "alpen", out.ID)
		w.ok(err)
		if now.State != ErasureSweeping {
			t.Fatalf("swept under an open stream: %+v", now)
		}
		time.Sleep(2 * time.Minute)
		w.g.sweepAll(t.Context()) // the stream is closed as abandoned
		time.Sleep(2 * time.Second)
		w.g.sweepAll(t.Context())
		if now, err = w.erasure(ch, "alpen", out.ID); err != nil || now.State != ErasureDone {
			t.Fatalf("after the stream: %+v %v", now, err)
		}
		close(resume)
		if err := <-ended; err == nil {
			t.Fatal("the write succeeded")
		}
		if left := w.kept("ch", "alpen", ""); len(left) > 0 || w.blobs("ch") > 0 {
			t.Fatalf("rows %v and %d blobs are left", left, w.blobs("ch"))
		}
		var ends []audit.StreamEnd
		for _, e := range w.entries("ch") {
			if e.Method == "WriteDrive" && e.Phase == audit.Ended {
				ends = append(ends, e.End)
			}
		}
		if len(ends) != 2 || ends[1] != audit.Unknown {
			t.Fatalf("the writes ended as %v", ends)
		}
	})
}

// A name that was reserved and whose tenant was erased before the directory knew
// of it is not taken over by another region.
func TestErasedNameIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dir.Fail(storetest.OpDirectoryUpdate, storetest.Once(storetest.FaultFail))
		w.tenant("alpen", ch) // its directory entry stays a reservation
		_, _, err := w.eraseTenant(ch, "alpen", "")
		w.ok(err)
		w.g.sweepAll(t.Context())
		time.Sleep(2 * reservationAge)
		_, err = w.g.RegisterTenant(t.Context(), as(us, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: "alpen", Residence: us})
		w.wantKind(err, residency.AlreadyExists)
		_, err = w.g.RegisterTenant(t.Context(), as(ch, "RegisterTenant", residency.Collect, residency.AccountData), NewTenant{ID: "alpen", Residence: ch})
		w.wantKind(err, residency.Erased)
	})
}
