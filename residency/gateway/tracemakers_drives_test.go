package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/domicile-project/domicile/residency"
)

// driveMakers make calls about drives and snapshots, and about what may move.
var driveMakers = []maker{
	{4, "CreateDrive", residency.Collect, acc, func(g *callMaker) (any, doing) {
		req := NewDrive{Tenant: g.tenant(), ID: g.drive(), Name: any1(g, "system", "data"), Size: any1[int64](g, 1<<20, 8<<20, 0), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.CreateDrive(ctx, call, req) }
	}},
	{2, "GetDrive", residency.Use, acc, func(g *callMaker) (any, doing) {
		tenant, drive := g.tenant(), g.drive()
		return tenant + " " + drive, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.GetDrive(ctx, call, tenant, drive)
		}
	}},
	{2, "ListDrives", residency.Use, acc, func(g *callMaker) (any, doing) {
		tenant, size := g.tenant(), g.size()
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Drive, string, error) { return w.g.ListDrives(ctx, call, tenant, p) })
		}
	}},
	{1, "DeleteDrive", residency.Erase, vd, func(g *callMaker) (any, doing) {
		req := DeleteDrive{Tenant: g.tenant(), Drive: g.drive(), Expected: g.expected(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return nil, w.g.DeleteDrive(ctx, call, req)
		}
	}},
	{6, "WriteDrive", residency.Collect, vd, func(g *callMaker) (any, doing) {
		req := WriteDrive{Tenant: g.tenant(), Drive: g.drive(), Offset: any1[int64](g, 0, 1, 262_143, 4<<20-3, 1<<30), Purpose: residency.ServiceProvision, RequestID: g.requestID()}
		length, seed := any1(g, 0, 1, 5000, 300_000), g.Uint64()
		return fmt.Sprintf("%+v, %d bytes", req, length), func(ctx context.Context, w *traced, call *Call) (any, error) {
			data, from := make([]byte, length), rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
			for i := range data {
				data[i] = byte(from.Uint32()) //nolint:gosec // the low bits
			}
			return w.g.WriteDrive(ctx, call, req, chunks(data))
		}
	}},
	{6, "ReadDrive", residency.Use, vd, func(g *callMaker) (any, doing) {
		req := ReadDrive{Tenant: g.tenant(), Drive: g.drive(), Offset: any1[int64](g, 0, 2, 4<<20-3, 1<<30), Length: any1[int64](g, 0, 1, 300_000), Purpose: any1(g, residency.ServiceProvision, residency.ServiceProvision, residency.Marketing)}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return readAll(func(send func([]byte) error) error { return w.g.ReadDrive(ctx, call, req, send) })
		}
	}},
	{2, "InspectDrive", residency.Inspect, vd, func(g *callMaker) (any, doing) {
		req := InspectDrive{Tenant: g.tenant(), Drive: g.drive(), Purpose: residency.InspectionPurpose, Length: 1000}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return readAll(func(send func([]byte) error) error {
				return w.g.InspectDrive(ctx, call, req, func(b []byte, _ *Passing) error { return send(b) })
			})
		}
	}},
	{1, "RestrictDrive", residency.Restrict, vd, func(g *callMaker) (any, doing) {
		req := RestrictDrive{Tenant: g.tenant(), Drive: g.drive(), Purposes: g.purposes(), Expected: g.expected(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.RestrictDrive(ctx, call, req)
		}
	}},
	{2, "LiftDriveRestriction", residency.Restrict, vd, func(g *callMaker) (any, doing) {
		req := RestrictDrive{Tenant: g.tenant(), Drive: g.drive(), Purposes: g.purposes() | residency.PurposeSet(residency.ServiceProvision), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.LiftDriveRestriction(ctx, call, req)
		}
	}},
	{3, "SnapshotDrive", residency.Collect, acc, func(g *callMaker) (any, doing) {
		req := SnapshotDrive{Tenant: g.tenant(), Drive: g.drive(), Name: "before", RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			out, err := w.g.SnapshotDrive(ctx, call, req)
			w.learn("snapshot", out.ID, err)
			return out, err
		}
	}},
	{2, "ListSnapshots", residency.Use, acc, func(g *callMaker) (any, doing) {
		tenant, drive, size := g.tenant(), g.drive(), g.size()
		return tenant + " " + drive, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Snapshot, string, error) { return w.g.ListSnapshots(ctx, call, tenant, drive, p) })
		}
	}},
	{3, "RestoreDrive", residency.Collect, acc, func(g *callMaker) (any, doing) {
		req, id := SnapshotCall{Tenant: g.tenant(), Drive: g.drive(), Expected: g.expected(), RequestID: g.requestID()}, g.pick("snapshot")
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Snapshot = id(w)
			return w.g.RestoreDrive(ctx, call, req)
		}
	}},
	{1, "DeleteSnapshot", residency.Erase, vd, func(g *callMaker) (any, doing) {
		req, id := SnapshotCall{Tenant: g.tenant(), Drive: g.drive(), RequestID: g.requestID()}, g.pick("snapshot")
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Snapshot = id(w)
			return nil, w.g.DeleteSnapshot(ctx, call, req)
		}
	}},
	{2, "CheckTransfer", residency.Transfer, pi, func(g *callMaker) (any, doing) {
		req := CheckTransfer{Tenant: g.tenant(), Subject: any1(g, "", g.subject()), Class: any1(g, pi, vd, acc), To: any1[residency.Region](g, "ch", "us", "mars"), Purpose: g.purpose()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.CheckTransfer(ctx, call, req)
		}
	}},
}
