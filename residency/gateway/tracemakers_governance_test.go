package gateway

import (
	"context"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// governanceMakers make calls about recipients, notices, orders, requests, cases, disclosures and decisions.
var governanceMakers = []maker{
	{4, "RegisterRecipient", residency.Govern, pi, func(g *callMaker) (any, doing) { return g.putRecipient(true) }},
	{1, "UpdateRecipient", residency.Govern, pi, func(g *callMaker) (any, doing) { return g.putRecipient(false) }},
	{1, "RevokeRecipient", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := RecipientCall{Tenant: g.tenant(), Recipient: any1(g, "office", "buyer"), RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.RevokeRecipient(ctx, call, req)
		}
	}},
	{1, "ListRecipients", residency.Govern, pi, func(g *callMaker) (any, doing) {
		tenant, size := g.tenant(), g.size()
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Recipient, string, error) { return w.g.ListRecipients(ctx, call, tenant, p) })
		}
	}},
	{1, "GiveNotice", residency.Govern, pi, func(g *callMaker) (any, doing) {
		n := Notice{Subject: g.subject(), Recipient: g.recipient(), Purposes: g.purposes(), Language: "en", Digest: g.evidence().NoticeDigest}
		if g.one(2) {
			n.Subject, n.WholeTenant = "", true
		}
		req := GiveNotice{Tenant: g.tenant(), Notice: n, RequestID: g.requestID()}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) { return w.g.GiveNotice(ctx, call, req) }
	}},
	{1, "RecordObjection", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := RecordObjection{Tenant: g.tenant(), Objection: Objection{Subject: g.subject(), Recipient: any1(g, "", g.recipient())}, RequestID: g.requestID()}
		if g.one(3) {
			req.Objection.Subject, req.Objection.WholeTenant = "", true
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			out, err := w.g.RecordObjection(ctx, call, req)
			w.learn("objection", out.ID, err)
			return out, err
		}
	}},
	{2, "LiftObjection", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, id := GovernanceCall{Tenant: g.tenant(), RequestID: g.requestID()}, g.pick("objection")
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.ID = id(w)
			return w.g.LiftObjection(ctx, call, req)
		}
	}},
	{3, "RecordLegalOrder", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := RecordOrder{Tenant: g.tenant(), RequestID: g.requestID(), Order: Order{
			Authority: "Court", Jurisdiction: any1(g, ch, us), LegalBasis: "Art. 1", Reference: any1(g, "A-1", "A-2", ""),
			Scope: OrderScope{Classes: residency.DataClassSet(any1(g, pi, vd), any1(g, pi, vd)), Subjects: []string{g.subject(), g.subject()}, Drives: []string{g.drive()}},
		}}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Order.ValidUntil = w.end
			out, err := w.g.RecordLegalOrder(ctx, call, req)
			w.learn("order", out.ID, err)
			return out, err
		}
	}},
	{1, "GetLegalOrder", residency.Govern, pi, func(g *callMaker) (any, doing) {
		tenant, id := g.tenant(), g.pick("order")
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.GetLegalOrder(ctx, call, tenant, id(w))
		}
	}},
	{1, "ListLegalOrders", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, size := ListOrders{Tenant: g.tenant(), State: any1(g, OrderStateUnspecified, OrderApproved)}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Order, string, error) { req.Page = p; return w.g.ListLegalOrders(ctx, call, req) })
		}
	}},
	{8, "ApproveLegalOrder", residency.Govern, pi, govern("order", (*Gateway).ApproveLegalOrder)},
	{1, "RejectLegalOrder", residency.Govern, pi, govern("order", (*Gateway).RejectLegalOrder)},
	{1, "RevokeLegalOrder", residency.Govern, pi, govern("order", (*Gateway).RevokeLegalOrder)},
	{2, "RecordInformalRequest", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := RecordInformal{Tenant: g.tenant(), RequestID: g.requestID(), Informal: Informal{
			Recipient: g.recipient(), Class: any1(g, pi, vd), Subjects: []string{g.subject()}, Fields: []string{"full_name"}, Purpose: residency.LegalObligation, Reference: "B-1",
		}}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Informal.ValidUntil = w.end
			out, err := w.g.RecordInformalRequest(ctx, call, req)
			w.learn("informal", out.ID, err)
			return out, err
		}
	}},
	{2, "ApproveInformalRequest", residency.Govern, pi, govern("informal", (*Gateway).ApproveInformalRequest)},
	{2, "OpenAbuseCase", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := OpenCase{Tenant: g.tenant(), RequestID: g.requestID(), Case: Case{Suspicion: "spam", Drives: []string{g.drive()}}}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.Case.ValidUntil = w.end
			out, err := w.g.OpenAbuseCase(ctx, call, req)
			w.learn("case", out.ID, err)
			return out, err
		}
	}},
	{2, "ApproveAbuseCase", residency.Govern, pi, govern("case", (*Gateway).ApproveAbuseCase)},
	{1, "CloseAbuseCase", residency.Govern, pi, govern("case", (*Gateway).CloseAbuseCase)},
	{1, "ListAbuseCases", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, size := ListCases{Tenant: g.tenant()}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Case, string, error) { req.Page = p; return w.g.ListAbuseCases(ctx, call, req) })
		}
	}},
	{8, "Disclose", residency.Disclose, pi, func(g *callMaker) (any, doing) {
		req := Disclose{Tenant: g.tenant(), Recipient: g.recipient(), Purpose: g.purpose(), Stage: any1(g, StageUnspecified, DueDiligence, AssetTransfer), Necessity: any1(g, "", "to find out")}
		if g.one(4) {
			req.Drive = g.drive()
		} else {
			req.Subject = g.subject()
		}
		order, informal, ground := g.pick("order"), g.pick("informal"), 3
		if req.Recipient == "police" {
			req.Purpose, ground = residency.LegalObligation, g.IntN(3)
		}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			switch ground {
			case 0, 1:
				req.Order = order(w)
			case 2:
				req.Informal = informal(w)
			}
			var out []any
			err := w.g.Disclose(ctx, call, req, func(p DisclosePiece) error {
				out = append(out, p.Record, digestOf(p.Data))
				return nil
			})
			return out, err
		}
	}},
	{1, "ListDisclosures", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req, size := ListDisclosures{Tenant: g.tenant(), Subject: any1(g, "", g.subject()), Recipient: any1(g, "", g.recipient())}, g.size()
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return allPages(size, func(p Page) ([]Disclosure, string, error) { req.Page = p; return w.g.ListDisclosures(ctx, call, req) })
		}
	}},
	{2, "GetDecision", residency.Govern, pi, func(g *callMaker) (any, doing) {
		tenant, id := g.tenant(), g.pick("decision")
		return tenant, func(ctx context.Context, w *traced, call *Call) (any, error) {
			return w.g.GetDecision(ctx, call, tenant, id(w))
		}
	}},
	{1, "ListDecisions", residency.Govern, pi, func(g *callMaker) (any, doing) {
		req := ListDecisions{Tenant: g.tenant(), Only: any1(g, AllOutcomes, OnlyAllowed, OnlyDenied)}
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			list, next, err := w.g.ListDecisions(ctx, call, req)
			return []any{list, next != ""}, err
		}
	}},
}

// govern makes a call about something that was recorded.
func govern[T any](what string, do func(*Gateway, context.Context, *Call, GovernanceCall) (T, error)) func(*callMaker) (any, doing) {
	return func(g *callMaker) (any, doing) {
		req, id := GovernanceCall{Tenant: g.tenant(), RequestID: g.requestID()}, g.pick(what)
		return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
			req.ID = id(w)
			return do(w.g, ctx, call, req)
		}
	}
}

func (g *callMaker) putRecipient(fresh bool) (any, doing) {
	r := Recipient{
		ID: g.recipient(), Name: "Somebody", Jurisdiction: any1(g, ch, ch, us),
		Functions: []Function{{Purpose: g.purpose(), Fields: []string{"full_name", "email_address"}}},
	}
	r.Kind = map[string]residency.RecipientKind{
		"agent": residency.Agent, "police": residency.LawEnforcement, "office": residency.AssociateOffice, "buyer": residency.Acquirer,
	}[r.ID]
	safe := g.IntN(4) > 0
	req := PutRecipient{Tenant: g.tenant(), Recipient: r, Expected: g.expected(), RequestID: g.requestID()}
	return req, func(ctx context.Context, w *traced, call *Call) (any, error) {
		if safe {
			req.Recipient.Safeguard = Safeguard{Reference: "DPA 1", ValidUntil: w.end.Add(time.Hour)}
		}
		if fresh {
			return w.g.RegisterRecipient(ctx, call, req)
		}
		return w.g.UpdateRecipient(ctx, call, req)
	}
}
