package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
)

// A caller that goes away in the middle of a stream is what the log says cut it, and no
// fault of the gateway's; whether its context tells of it or the transport.
func TestACallerThatGoesAwayCutsItsStream(t *testing.T) {
	type leaving func(context.Context) error
	for name, stream := range map[string]func(*desk, context.Context, *Call, leaving) error{
		"ReadDrive": func(d *desk, ctx context.Context, c *Call, leave leaving) error {
			req := ReadDrive{Tenant: d.id, Drive: "d1", Purpose: residency.ServiceProvision}
			return d.g.ReadDrive(ctx, c, req, func([]byte) error { return leave(ctx) })
		},
		"WriteDrive": func(d *desk, ctx context.Context, c *Call, leave leaving) error {
			c.Action = residency.Collect
			req := WriteDrive{Tenant: d.id, Drive: "d1", Purpose: residency.ServiceProvision}
			_, err := d.g.WriteDrive(ctx, c, req, func() ([]byte, error) { return []byte{1}, leave(ctx) })
			return err
		},
		"InspectDrive": func(d *desk, ctx context.Context, c *Call, leave leaving) error {
			c.Action = residency.Inspect
			d.permit(ch, d.id)
			req := InspectDrive{Tenant: d.id, Drive: "d1", Purpose: residency.InspectionPurpose}
			return d.g.InspectDrive(ctx, c, req, func([]byte, *Passing) error { return leave(ctx) })
		},
		"ExportSubject": func(d *desk, ctx context.Context, c *Call, leave leaving) error {
			c.Action, c.Class = residency.Export, residency.PersonalInformation
			return d.g.ExportSubject(ctx, c, SubjectCall{Tenant: d.id, Subject: "s1"}, func(FilePiece) error { return leave(ctx) })
		},
		"Disclose": func(d *desk, ctx context.Context, c *Call, leave leaving) error {
			c.Action, c.Class = residency.Disclose, residency.PersonalInformation
			d.register(aRecipient("r", residency.Subcontractor, ch, contacts(residency.Payments)))
			req := to("r", residency.Payments)
			req.Tenant = d.id
			return d.g.Disclose(ctx, c, req, func(DisclosePiece) error { return leave(ctx) })
		},
	} {
		for how, byTransport := range map[string]bool{"its context": false, "the transport": true} {
			t.Run(name+" by "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDesk(t, ch)
					d.drive(d.id, "d1", 1<<20)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					call := as(ch, name, residency.Use, residency.VirtualDriveData)
					err := stream(d, ctx, call, func(ctx context.Context) error {
						if byTransport {
							return fmt.Errorf("%w: the connection is closed", context.Canceled)
						}
						cancel()
						return ctx.Err()
					})
					d.wantKind(err, residency.Canceled)
					d.wantCanceled(call.Decision.ID)
				})
			})
		}
	}
}

// wantCanceled fails unless a stream's last entry, and its decision as it is told, say that the caller went away.
func (d *desk) wantCanceled(decision string) {
	d.t.Helper()
	log := d.entries("ch")
	if e := log[len(log)-1]; e.DecisionID != decision || e.Phase != audit.Ended || e.End != audit.Cut || e.Result != residency.Canceled {
		d.t.Errorf("the log ends with %v, %v, %v", e.Phase, e.End, e.Result)
	}
	r, err := d.g.GetDecision(d.t.Context(), d.by("admin", "GetDecision"), d.id, decision)
	if err != nil || r.Result != residency.Canceled || r.Stream == nil || r.Stream.End != "cut" || !r.Decision.Allow {
		d.t.Errorf("the decision is told as %+v, %+v (%v)", r, r.Stream, err)
	}
}

// A caller that goes away before its call is decided leaves no entry, and no fault of the gateway's;
// one whose time is over does not count as gone.
func TestACallerThatGoesAwayBeforeTheDecision(t *testing.T) {
	w := newWorld(t)
	w.tenant("alpen", ch)
	_, _, err := w.put(ch, "alpen", aRecord("s1", "r1"), nil)
	w.ok(err)
	before := len(w.entries("ch"))
	get := func(ctx context.Context) error {
		_, err := w.g.GetRecord(ctx, as(ch, "GetRecord", residency.Use, residency.PersonalInformation),
			GetRecord{Tenant: "alpen", Subject: "s1", Record: "r1", Purpose: residency.Payments})
		return err
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := get(gone); residency.KindOf(err) != residency.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := get(late); err == nil || residency.KindOf(err) == residency.Canceled {
		t.Errorf("late: %v", err)
	}
	if n := len(w.entries("ch")) - before; n != 0 {
		t.Errorf("%d entries", n)
	}
}
