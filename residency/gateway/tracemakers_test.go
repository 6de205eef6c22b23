package gateway

import (
	"context"
	"slices"

	"github.com/domicile-project/domicile/residency"
)

// makers are the calls of a trace and how often each is made.
var makers = slices.Concat(recordMakers, driveMakers, governanceMakers)

// recordMakers make calls about tenants, people, records and consents.
var recordMakers = []maker{
	{2, "RegisterTenant", residency.Collect, acc, func(g *callMaker) (any, doing) {
		req := NewTenant{ID: g.tenant(), Residence: any1(g, ch, us, residency.Jurisdiction{'D', 'E'}), Home: any1[residency.Region](g, "", "", "ch", "us", "mars"), RequestID: g.requestID()}
		if req.ID == "nobody" {
			req.ID = "chur"
		}
		if g.one(2) {
			e := g.evidence()
			req.Agreement = &e
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.RegisterTenant(ctx, call, req)
		}
	}},
	{2, "GetTenant", residency.Use, acc, func(g *callMaker) (any, doing) {
		tenant := g.tenant()
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.GetTenant(ctx, call, tenant) }
	}},
	{1, "ListTenants", residency.Use, acc, func(g *callMaker) (any, doing) {
		region, size := any1[residency.Region](g, "ch", "us"), g.size()
		return region, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Tenant, string, error) { return w.g.ListTenants(ctx, call, region, p) })
		}
	}},
	{1, "UpdateTenant", residency.Collect, acc, func(g *callMaker) (any, doing) {
		req := UpdateTenant{Tenant: g.tenant(), Residence: any1(g, ch, us, residency.Jurisdiction{'D', 'E'}), Expected: g.expected(), RequestID: g.requestID()}
		if g.one(2) {
			e := g.evidence()
			req.Agreement = &e
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.UpdateTenant(ctx, call, req) }
	}},
	{1, "SuspendTenant", residency.Restrict, acc, func(g *callMaker) (any, doing) {
		req := ChangeTenant{Tenant: g.tenant(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.SuspendTenant(ctx, call, req)
		}
	}},
	{10, "ResumeTenant", residency.Restrict, acc, func(g *callMaker) (any, doing) {
		req := ChangeTenant{Tenant: g.tenant(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.ResumeTenant(ctx, call, req) }
	}},
	{18, "PutRecord", residency.Collect, pi, func(g *callMaker) (any, doing) {
		req := PutRecord{Tenant: g.tenant(), Record: g.aRecord(), Expected: g.expected(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.PutRecord(ctx, call, req) }
	}},
	{14, "GetRecord", residency.Use, pi, func(g *callMaker) (any, doing) {
		req := GetRecord{Tenant: g.tenant(), Subject: g.subject(), Record: g.record(), Purpose: g.purpose()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.GetRecord(ctx, call, req) }
	}},
	{4, "ListRecords", residency.Use, pi, func(g *callMaker) (any, doing) {
		req, size := ListRecords{Tenant: g.tenant(), Subject: g.subject(), Purpose: g.purpose()}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Record, string, error) { req.Page = p; return w.g.ListRecords(ctx, call, req) })
		}
	}},
	{3, "ListSubjects", residency.Use, pi, func(g *callMaker) (any, doing) {
		req, size := ListSubjects{Tenant: g.tenant(), Purpose: g.purpose()}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Subject, string, error) { req.Page = p; return w.g.ListSubjects(ctx, call, req) })
		}
	}},
	{4, "FindRecords", residency.Use, pi, func(g *callMaker) (any, doing) {
		req, size := FindRecords{Tenant: g.tenant(), Purpose: g.purpose()}, g.size()
		if g.one(2) {
			req.Email = any1(g, "canary@example.org", "Other@example.org")
		} else {
			req.Phone = "+41 44 000 00 00"
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Record, string, error) { req.Page = p; return w.g.FindRecords(ctx, call, req) })
		}
	}},
	{3, "DeleteRecord", residency.Erase, pi, func(g *callMaker) (any, doing) {
		req := DeleteRecord{Tenant: g.tenant(), Subject: g.subject(), Record: g.record(), Expected: g.expected(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return nil, w.g.DeleteRecord(ctx, call, req)
		}
	}},
	{8, "GrantConsent", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, old, supersedes := GrantConsent{Tenant: g.tenant(), Consent: g.aConsent(), RequestID: g.requestID()}, g.pick("consent"), g.one(6)
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			if supersedes {
				req.Consent.Supersedes = old(w)
			}
			out, err := w.g.GrantConsent(ctx, call, req)
			w.learn("consent", out.ID, err)
			return out, err
		}
	}},
	{3, "WithdrawConsent", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, id := WithdrawConsent{Tenant: g.tenant(), RequestID: g.requestID()}, g.pick("consent")
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Consent = id(w)
			return w.g.WithdrawConsent(ctx, call, req)
		}
	}},
	{2, "GetConsent", residency.Govern, pi, func(g *callMaker) (any, doing) {
		tenant, id := g.tenant(), g.pick("consent")
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.GetConsent(ctx, call, tenant, id(w))
		}
	}},
	{2, "GetConsentReceipt", residency.Govern, pi, func(g *callMaker) (any, doing) {
		tenant, id := g.tenant(), g.pick("consent")
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			b, err := w.g.GetConsentReceipt(ctx, call, tenant, id(w))
			return string(b), err
		}
	}},
	{3, "ListConsents", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, size := ListConsents{Tenant: g.tenant(), Subject: any1(g, "", g.subject()), State: any1(g, residency.ConsentStateUnspecified, residency.ConsentActive)}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]ConsentNow, string, error) { req.Page = p; return w.g.ListConsents(ctx, call, req) })
		}
	}},
	{2, "RestrictSubject", residency.Restrict, pi, func(g *callMaker) (any, doing) {
		req := RestrictSubject{Tenant: g.tenant(), Subject: g.subject(), Purposes: g.purposes(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.RestrictSubject(ctx, call, req)
		}
	}},
	{2, "LiftRestriction", residency.Restrict, pi, func(g *callMaker) (any, doing) {
		req := RestrictSubject{Tenant: g.tenant(), Subject: g.subject(), Purposes: g.purposes(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.LiftRestriction(ctx, call, req)
		}
	}},
	{1, "ObjectToCollection", residency.Restrict, pi, func(g *callMaker) (any, doing) {
		req := SubjectCall{Tenant: g.tenant(), Subject: g.subject(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.ObjectToCollection(ctx, call, req)
		}
	}},
	{1, "WithdrawObjection", residency.Restrict, pi, func(g *callMaker) (any, doing) {
		req := SubjectCall{Tenant: g.tenant(), Subject: g.subject(), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.WithdrawObjection(ctx, call, req)
		}
	}},
	{1, "ReportChild", residency.Erase, pi, func(g *callMaker) (any, doing) {
		req := SubjectCall{Tenant: g.tenant(), Subject: any1(g, "s2", "s3"), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			out, err := w.g.ReportChild(ctx, call, req)
			if out.Erasure != nil {
				w.learn("erasure", out.Erasure.ID, err)
			}
			return out, err
		}
	}},
	{1, "ExportSubject", residency.Export, pi, func(g *callMaker) (any, doing) {
		req := SubjectCall{Tenant: g.tenant(), Subject: g.subject()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			var pieces []FilePiece
			err := w.g.ExportSubject(ctx, call, req, func(p FilePiece) error {
				pieces = append(pieces, p)
				return nil
			})
			return pieces, err
		}
	}},
	{1, "EraseSubject", residency.Erase, pi, func(g *callMaker) (any, doing) {
		req := SubjectCall{Tenant: g.tenant(), Subject: any1(g, "S2", "s3"), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			out, err := w.g.EraseSubject(ctx, call, req)
			w.learn("erasure", out.ID, err)
			return out, err
		}
	}},
	{1, "EraseTenant", residency.Erase, pi, func(g *callMaker) (any, doing) {
		req := ChangeTenant{Tenant: any1(g, "basel", "chur", "austin", "nobody"), RequestID: g.requestID()}
		if g.IntN(4) > 0 { // else few are left
			req.Tenant = "nobody"
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			out, err := w.g.EraseTenant(ctx, call, req)
			w.learn("erasure", out.ID, err)
			return out, err
		}
	}},
	{2, "GetErasure", residency.Govern, acc, func(g *callMaker) (any, doing) {
		tenant, id := g.tenant(), g.pick("erasure")
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.GetErasure(ctx, call, tenant, id(w))
		}
	}},
	{2, "sweep", 0, 0, func(*callMaker) (any, doing) {
		return nil, func(ctx context.Context, w *traced, _ *Call) (any, error) {
			w.g.sweepAll(ctx)
			return nil, nil
		}
	}},
}
