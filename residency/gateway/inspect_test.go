package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// inspect looks into a drive and gives all that is stored.
func (w *world) inspect(j residency.Jurisdiction, req InspectDrive) ([]byte, *Call, error) {
	c := as(j, "InspectDrive", residency.Inspect, residency.VirtualDriveData)
	var out []byte
	err := w.g.InspectDrive(w.t.Context(), c, req, func(b []byte, p *Passing) error {
		if p != nil {
			w.t.Error("what is stored is shown as passing")
		}
		out = append(out, b...)
		return nil
	})
	return out, c, err
}

// permit records a tenant's permission to inspect its drives.
func (w *world) permit(j residency.Jurisdiction, tenant string) ConsentNow {
	w.t.Helper()
	c := border("", residency.VirtualDriveData, residency.InspectionPurpose)
	c.Kind, c.From, c.To = residency.InspectionPermission, j, residency.Jurisdiction{}
	out, err := w.g.GrantConsent(w.t.Context(), as(j, "GrantConsent", residency.Govern, residency.PersonalInformation),
		GrantConsent{Tenant: tenant, Consent: c})
	w.ok(err)
	return out
}

// abuse opens a case about drives and has it approved.
func (w *world) abuse(j residency.Jurisdiction, tenant string, valid time.Duration, drives ...string) string {
	w.t.Helper()
	c, err := w.g.OpenAbuseCase(w.t.Context(), as(j, "OpenAbuseCase", residency.Govern, residency.PersonalInformation),
		OpenCase{Tenant: tenant, Case: Case{Suspicion: "unsolicited mail", Drives: drives, ValidUntil: time.Now().Add(valid)}})
	w.ok(err)
	w.approveCase(j, tenant, c.ID)
	return c.ID
}

func (w *world) approveCase(j residency.Jurisdiction, tenant, id string) {
	w.t.Helper()
	call := as(j, "ApproveAbuseCase", residency.Govern, residency.PersonalInformation)
	call.Caller.ID = "spiffe://example.org/officer"
	_, err := w.g.ApproveAbuseCase(w.t.Context(), call, GovernanceCall{Tenant: tenant, ID: id})
	w.ok(err)
}

func (w *world) closeCase(j residency.Jurisdiction, tenant, id string) {
	w.t.Helper()
	_, err := w.g.CloseAbuseCase(w.t.Context(), as(j, "CloseAbuseCase", residency.Govern, residency.PersonalInformation), GovernanceCall{Tenant: tenant, ID: id})
	w.ok(err)
}

func (w *world) wantDenied(err error, reason residency.Kind, clause string) {
	w.t.Helper()
	e := new(residency.Error)
	if !errors.As(err, &e) || e.Kind != reason || e.Decision == nil || e.Decision.Allow || e.Decision.Clause != clause {
		w.t.Errorf("got %v, want a decision for %v under %s", err, reason, clause)
	}
}

// driveAt makes a tenant of a jurisdiction with a drive that says "canary".
func (w *world) driveAt(j residency.Jurisdiction, tenant string) {
	w.t.Helper()
	w.tenant(tenant, j)
	_, err := w.g.CreateDrive(w.t.Context(), as(j, "CreateDrive", residency.Collect, residency.AccountData), NewDrive{Tenant: tenant, ID: "d1", Size: 64 << 20})
	w.ok(err)
	_, err = w.write(j, tenant, "d1", 0, []byte("canary"))
	w.ok(err)
}

// What is stored is looked into with the tenant's permission alone.
func TestInspectStored(t *testing.T) {
	for _, tt := range []struct {
		at      residency.Jurisdiction
		abroad  residency.Jurisdiction
		product string
	}{{ch, us, ""}, {us, ch, "product/"}} {
		w := newWorld(t)
		w.driveAt(tt.at, "alpen")
		req := InspectDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.InspectionPurpose, Offset: 1, Length: 5}
		_, _, err := w.inspect(tt.at, req)
		w.wantDenied(err, residency.InspectionPermissionRequired, tt.product+"no-inspection")
		permission := w.permit(tt.at, "alpen")
		got, call, err := w.inspect(tt.at, req)
		w.ok(err)
		if string(got) != "anary" || call.Decision.ConsentID != permission.ID || call.Decision.Clause != tt.product+"no-inspection" {
			t.Errorf("%s: inspected %q under %+v", tt.at, got, call.Decision)
		}
		_, _, err = w.inspect(tt.abroad, req)
		w.wantDenied(err, residency.InspectionPermissionRequired, tt.product+"no-inspection") // nothing is inspected abroad
		other := req
		other.Purpose = residency.ServiceProvision
		_, _, err = w.inspect(tt.at, other)
		w.wantDenied(err, residency.InspectionPermissionRequired, tt.product+"no-inspection")
		other.Purpose = residency.PurposeUnspecified
		_, _, err = w.inspect(tt.at, other)
		w.wantKind(err, residency.PurposeRequired)
		other = req
		other.Drive = "d2"
		_, _, err = w.inspect(tt.at, other)
		w.wantKind(err, residency.NotFound)
		w.ok(w.withdraw(tt.at, "alpen", permission.ID))
		_, _, err = w.inspect(tt.at, req)
		w.wantDenied(err, residency.ConsentIsWithdrawn, tt.product+"no-inspection")
	}
}

func TestInspectDriveForm(t *testing.T) {
	w := newWorld(t)
	w.driveAt(ch, "alpen")
	w.permit(ch, "alpen")
	id := w.abuse(ch, "alpen", time.Hour, "d1")
	for field, req := range map[string]InspectDrive{
		"offset":  {Purpose: residency.FraudPrevention, Case: id, Offset: 1},
		"length":  {Purpose: residency.FraudPrevention, Case: id, Length: 1},
		"case_id": {Purpose: residency.InspectionPurpose, Case: id},
	} {
		req.Tenant, req.Drive = "alpen", "d1"
		_, _, err := w.inspect(ch, req)
		e := new(residency.Error)
		if !errors.As(err, &e) || e.Kind != residency.BadRequest || len(e.Violations) != 1 || e.Violations[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, _, err := w.inspect(ch, InspectDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.InspectionPurpose, Offset: 65 << 20})
	w.wantKind(err, residency.BadRequest)
}

// A live inspection of what is stored ends with the permission.
func TestPermissionCutsInspection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driveAt(ch, "alpen")
		permission := w.permit(ch, "alpen")
		defer w.renewing()()
		sent, after := 0, time.Time{}
		err := w.g.InspectDrive(t.Context(), as(ch, "InspectDrive", residency.Inspect, residency.VirtualDriveData),
			InspectDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.InspectionPurpose}, func([]byte, *Passing) error {
				if sent++; sent == 5 {
					w.ok(w.withdraw(ch, "alpen", permission.ID))
					after = time.Now()
				} else if !after.IsZero() {
					t.Error("a piece was shown after the permission was withdrawn")
				}
				time.Sleep(50 * time.Millisecond)
				return nil
			})
		w.wantKind(err, residency.ConsentIsWithdrawn)
	})
}

// shown is a piece that an inspector saw.
type shown struct {
	data []byte
	Passing
}

// inspector is an inspection of passing transfers that is under way.
type inspector struct {
	call  *Call
	stop  context.CancelFunc
	ended chan error
	mu    sync.Mutex
	saw   []shown
}

// watch begins to watch a drive's transfers; slow is called before each piece is taken.
func (w *world) watch(j residency.Jurisdiction, tenant, caseID string, slow func()) *inspector {
	ctx, stop := context.WithCancel(w.t.Context())
	i := &inspector{call: as(j, "InspectDrive", residency.Inspect, residency.VirtualDriveData), stop: stop, ended: make(chan error, 1)}
	before := w.g.taps.n.Load()
	go func() {
		i.ended <- w.g.InspectDrive(ctx, i.call, InspectDrive{Tenant: tenant, Drive: "d1", Purpose: residency.FraudPrevention, Case: caseID},
			func(b []byte, p *Passing) error {
				if slow != nil {
					slow()
				}
				i.mu.Lock()
				defer i.mu.Unlock()
				i.saw = append(i.saw, shown{bytes.Clone(b), *p})
				return nil
			})
	}()
	for range 1000 { // until the tap is there, or the inspection refused
		if w.g.taps.n.Load() > before || len(i.ended) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return i
}

func (i *inspector) pieces() []shown {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]shown(nil), i.saw...)
}

// Transfers are shown as they pass, under an approved case that names the drive and nothing else.
func TestWatchTransfers(t *testing.T) {
	for _, tt := range []struct {
		at      residency.Jurisdiction
		product string
	}{{ch, ""}, {us, "product/"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.driveAt(tt.at, "alpen")
			id := w.abuse(tt.at, "alpen", time.Hour, "d1")
			opened := 0
			w.mem[residency.Region(map[residency.Jurisdiction]string{ch: "ch", us: "us"}[tt.at])].Fail(storetest.OpBlobOpen, func() storetest.Fault { opened++; return storetest.FaultNone })
			i := w.watch(tt.at, "alpen", id, nil)
			time.Sleep(100 * time.Millisecond)
			if len(i.pieces()) != 0 || opened != 0 {
				t.Fatal("what is stored is shown")
			}
			data := bytes.Repeat([]byte("0123456789"), 60_000)
			write := as(tt.at, "WriteDrive", residency.Collect, residency.VirtualDriveData)
			rest := data
			_, err := w.g.WriteDrive(t.Context(), write, WriteDrive{Tenant: "alpen", Drive: "d1", Offset: 1000, Purpose: residency.ServiceProvision}, func() ([]byte, error) {
				if len(rest) == 0 {
					return nil, io.EOF
				}
				n := min(len(rest), 250_000)
				b := rest[:n]
				rest = rest[n:]
				return b, nil
			})
			w.ok(err)
			synctest.Wait()
			wantShown(t, i.pieces(), true, write.Decision.ID, 1000, data)
			seen := len(i.pieces())
			read := as(tt.at, "ReadDrive", residency.Use, residency.VirtualDriveData)
			w.ok(w.g.ReadDrive(t.Context(), read, ReadDrive{Tenant: "alpen", Drive: "d1", Offset: 990, Length: 400_000, Purpose: residency.ServiceProvision},
				func([]byte) error { return nil }))
			synctest.Wait()
			wantShown(t, i.pieces()[seen:], false, read.Decision.ID, 990, append(make([]byte, 10), data[:399_990]...))
			i.stop()
			if err := <-i.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			if d := i.call.Decision; d.Clause != tt.product+"aup-inspection" || d.OrderID != id {
				t.Errorf("decided %+v", d)
			}
			w.wantWatched(tt.at, id, uint64(len(data)+400_000))
			w.wantNoTaps()
		})
	}
}

// wantShown fails unless pieces are one transfer's bytes, in order and without a gap.
func wantShown(t *testing.T, pieces []shown, write bool, decision string, from int64, want []byte) {
	t.Helper()
	var got []byte
	for _, p := range pieces {
		if p.Write != write || p.Decision != decision || p.Offset != from+int64(len(got)) || p.Missed != 0 || len(p.data) > seal.SegmentSize {
			t.Fatalf("shown %d bytes as %+v after %d bytes", len(p.data), p.Passing, len(got))
		}
		got = append(got, p.data...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("shown %d bytes, %d passed", len(got), len(want))
	}
}

// wantWatched fails unless the log has an inspection's intent and its end, both naming the case.
func (w *world) wantWatched(j residency.Jurisdiction, id string, n uint64) {
	w.t.Helper()
	var phases []audit.Phase
	for _, e := range w.entries(residency.Region(map[residency.Jurisdiction]string{ch: "ch", us: "us"}[j])) {
		if e.Action != residency.Inspect {
			continue
		}
		phases = append(phases, e.Phase)
		if e.OrderID != id || e.Phase == audit.Ended && e.Bytes != n {
			w.t.Errorf("the log has %q, %d bytes; want %q, %d", e.OrderID, e.Bytes, id, n)
		}
	}
	if len(phases) != 2 || phases[0] != audit.Intent || phases[1] != audit.Ended {
		w.t.Errorf("the log has %v", phases)
	}
}

func (w *world) wantNoTaps() {
	w.t.Helper()
	if n := w.g.taps.n.Load(); n != 0 || len(w.g.taps.on) != 0 {
		w.t.Errorf("%d taps are left, %d drives are watched", n, len(w.g.taps.on))
	}
}

func TestWatchNeedsACase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driveAt(ch, "alpen")
		w.drive("alpen", "d2", 10)
		refused := func(id string) {
			t.Helper()
			w.wantDenied(<-w.watch(ch, "alpen", id, nil).ended, residency.InspectionPermissionRequired, "aup-inspection")
		}
		refused("")
		refused(newRequestID())
		refused(w.abuse(ch, "alpen", time.Hour, "d2"))
		open, err := w.g.OpenAbuseCase(t.Context(), as(ch, "OpenAbuseCase", residency.Govern, residency.PersonalInformation),
			OpenCase{Tenant: "alpen", Case: Case{Suspicion: "x", Drives: []string{"d1"}, ValidUntil: time.Now().Add(time.Hour)}})
		w.ok(err)
		refused(open.ID)
		w.approveCase(ch, "alpen", open.ID)
		w.permit(ch, "alpen")
		w.tenant("fjord", ch)
		w.drive("fjord", "d1", 10)
		w.wantDenied(<-w.watch(ch, "fjord", open.ID, nil).ended, residency.InspectionPermissionRequired, "aup-inspection")
		w.wantDenied(<-w.watch(us, "alpen", open.ID, nil).ended, residency.InspectionPermissionRequired, "no-inspection")
		time.Sleep(2 * time.Hour)
		refused(open.ID)
		id := w.abuse(ch, "alpen", time.Hour, "d1")
		w.deleteDrive("alpen", "d1")
		w.wantKind(<-w.watch(ch, "alpen", id, nil).ended, residency.NotFound)
		w.suspend("alpen")
		w.wantKind(<-w.watch(ch, "alpen", id, nil).ended, residency.TenantSuspended)
		w.wantNoTaps()
	})
}

// An inspection ends with its case, however that ends, with the drive, and with
// the longest time that a stream may last.
func TestWatchEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		valid time.Duration
		end   func(w *world, id string)
		want  residency.Kind
		how   audit.StreamEnd
	}{
		"closed":    {10 * time.Hour, func(w *world, id string) { w.closeCase(ch, "alpen", id) }, residency.InspectionPermissionRequired, audit.Cut},
		"expired":   {time.Minute, func(*world, string) { time.Sleep(time.Minute) }, residency.InspectionPermissionRequired, audit.Cut},
		"suspended": {10 * time.Hour, func(w *world, _ string) { w.suspend("alpen") }, residency.TenantSuspended, audit.Cut},
		"deleted":   {10 * time.Hour, func(w *world, _ string) { w.deleteDrive("alpen", "d1") }, residency.NotFound, audit.Cut},
		"reborn": {10 * time.Hour, func(w *world, _ string) {
			w.deleteDrive("alpen", "d1")
			w.drive("alpen", "d1", 1<<20)
			w.mustWrite("d1", 0, "another drive's")
		}, residency.NotFound, audit.Cut},
		"over": {10 * time.Hour, func(*world, string) { time.Sleep(time.Hour) }, residency.OK, audit.Completed},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.driveAt(ch, "alpen")
			id := w.abuse(ch, "alpen", tt.valid, "d1")
			defer w.renewing()()
			i := w.watch(ch, "alpen", id, nil)
			w.mustWrite("d1", 0, "shown")
			time.Sleep(time.Second)
			tt.end(w, id)
			began := time.Now()
			if err := <-i.ended; residency.KindOf(err) != tt.want {
				t.Errorf("%s: ended with %v", name, err)
			}
			if late := time.Since(began); late > 1400*time.Millisecond {
				t.Errorf("%s: went on for %v", name, late)
			}
			if p := i.pieces(); len(p) != 1 || string(p[0].data) != "shown" {
				t.Errorf("%s: shown %d pieces", name, len(p))
			}
			entries := w.entries("ch")
			if e := entries[len(entries)-1]; e.Phase != audit.Ended || e.End != tt.how || e.Result != tt.want {
				t.Errorf("%s: the log has %v, %v, %v", name, e.Phase, e.End, e.Result)
			}
			w.wantNoTaps()
		})
	}
}

// A slow inspector holds no transfer up: it misses bytes, and is told how many.
func TestSlowInspectorMissesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driveAt(ch, "alpen")
		id := w.abuse(ch, "alpen", time.Hour, "d1")
		defer w.renewing()()
		free := make(chan struct{})
		i := w.watch(ch, "alpen", id, func() { <-free })
		began := time.Now()
		data := bytes.Repeat([]byte{7}, 24<<20)
		_, err := w.write(ch, "alpen", "d1", 0, data)
		w.ok(err)
		got, err := w.read(ch, "alpen", "d1", 0, 24<<20)
		w.ok(err)
		if !bytes.Equal(got, data) || time.Since(began) > time.Second {
			t.Error("the transfers waited for the inspector")
		}
		close(free)
		time.Sleep(time.Second)
		w.mustWrite("d1", 5, "after")
		time.Sleep(time.Second)
		var seen, missed int64
		for _, p := range i.pieces() {
			seen += int64(len(p.data))
			missed += p.Missed
		}
		if total := int64(2*len(data) + 5); seen+missed != total || missed == 0 || seen > tapQueue*seal.SegmentSize+5 {
			t.Errorf("shown %d and missed %d of %d bytes", seen, missed, total)
		}
		last := i.pieces()[len(i.pieces())-1]
		if string(last.data) != "after" || last.Missed != 0 || last.Offset != 5 {
			t.Errorf("the last piece is %+v", last.Passing)
		}
		i.stop()
		<-i.ended
	})
}

func TestInspectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driveAt(ch, "alpen")
		id := w.abuse(ch, "alpen", time.Hour, "d1")
		var all []*inspector
		for range maxTaps {
			all = append(all, w.watch(ch, "alpen", id, nil))
		}
		w.wantKind(<-w.watch(ch, "alpen", id, nil).ended, residency.Overloaded)
		w.mustWrite("d1", 0, "shown to all")
		synctest.Wait()
		for _, i := range all {
			if p := i.pieces(); len(p) != 1 || string(p[0].data) != "shown to all" {
				t.Errorf("shown %d pieces", len(p))
			}
			i.stop()
			<-i.ended
		}
		w.wantNoTaps()
	})
}

// Transfers and inspectors that come and go at once: nothing is shown that did not
// pass, and what passed was shown or counted as missed.
func TestWatchersAndTransfersAtOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.DenialsPerSecond = 100_000 })
	w.driveAt(ch, "alpen")
	id := w.abuse(ch, "alpen", time.Hour, "d1")
	stop := w.renewing()
	defer stop()
	steady := w.watch(ch, "alpen", id, nil)
	var wg sync.WaitGroup
	var total int64
	for range 4 {
		const n = 3 << 20
		total += n
		wg.Go(func() {
			got, err := w.read(ch, "alpen", "d1", 0, n)
			if err != nil || len(got) != n {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
		wg.Go(func() {
			i := w.watch(ch, "alpen", id, func() { time.Sleep(time.Millisecond) })
			time.Sleep(10 * time.Millisecond)
			i.stop()
			<-i.ended
		})
	}
	wg.Wait()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		var sum int64
		for _, p := range steady.pieces() {
			sum += int64(len(p.data)) + p.Missed
		}
		if sum == total {
			break
		}
	}
	steady.stop()
	<-steady.ended
	var sum int64
	for _, p := range steady.pieces() {
		sum += int64(len(p.data)) + p.Missed
		if !p.Write && p.Offset > 0 && bytes.ContainsAny(p.data, "canary") {
			t.Error("a piece is shown as another place's")
		}
	}
	if sum != total {
		t.Errorf("%d bytes passed, %d were shown or missed", total, sum)
	}
	w.wantNoTaps()
}

// Without an inspection a transfer does nothing more than look.
func TestNoTapCostsNothing(t *testing.T) {
	var ts taps
	s, b := &stream{}, make([]byte, seal.SegmentSize)
	if n := testing.AllocsPerRun(100, func() { ts.pass(s, true, 0, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPassWithoutTap(b *testing.B) {
	var ts taps
	s, data := &stream{}, make([]byte, seal.SegmentSize)
	for b.Loop() {
		ts.pass(s, true, 0, data)
	}
}
