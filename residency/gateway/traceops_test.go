package gateway

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
)

// traceOp is one call of the gateway.
type traceOp struct {
	method string
	action residency.Action
	class  residency.DataClass
	caller Caller
	via    []residency.Jurisdiction
	args   string
	do     func(ctx context.Context, w *traced, call *Call) (any, error)
}

// String tells the call without what it names of another answer.
func (o *traceOp) String() string {
	return fmt.Sprintf("%s by %s via %v of %s", o.method, o.caller.ID, o.via, o.args)
}

// callMaker makes up calls. All its randomness is used when they are made.
type callMaker struct {
	*rand.Rand
	home residency.Jurisdiction // where the tenant lives that was named last
}

func any1[T any](g *callMaker, from ...T) T { return from[g.IntN(len(from))] }

func (g *callMaker) one(in int) bool { return g.IntN(in) == 0 }

func (g *callMaker) tenant() string {
	t := any1(g, "alpen", "alpen", "alpen", "alpen", "basel", "chur", "boston", "boston", "boston", "austin", "nobody")
	if g.home = ch; t == "boston" || t == "austin" {
		g.home = us
	}
	return t
}

func (g *callMaker) subject() string { return any1(g, "s0", "s0", "s1", "s2", "S2", "s3") }
func (g *callMaker) record() string  { return any1(g, "r0", "r0", "r1", "R1") }
func (g *callMaker) drive() string   { return any1(g, "d0", "d0", "d1", "d2") }
func (g *callMaker) recipient() string {
	return any1(g, "agent", "agent", "police", "police", "office", "buyer")
}

func (g *callMaker) purpose() residency.Purpose {
	return any1(g, residency.Payments, residency.Payments, residency.ServiceProvision, residency.Marketing, residency.Records,
		residency.FraudPrevention, residency.LegalObligation, residency.BusinessTransfer)
}

func (g *callMaker) purposes() residency.Purposes {
	return residency.PurposeSet(g.purpose(), g.purpose())
}

// requestID gives none, or one of few, so that some are used again.
func (g *callMaker) requestID() string {
	if g.IntN(3) > 0 {
		return ""
	}
	return fmt.Sprintf("0188c000-0000-7000-8000-00000000000%d", g.IntN(10))
}

func (g *callMaker) expected() *uint64 {
	if g.IntN(3) > 0 {
		return nil
	}
	return ptr(uint64(g.IntN(4))) //nolint:gosec // small
}

// pick chooses an identifier of a kind that the gateway gave out; with an odd one of eight, one that it did not.
func (g *callMaker) pick(what string) func(*traced) string {
	n, none := g.IntN(1<<20), g.one(8)
	return func(w *traced) string {
		known := w.ids[what]
		if none || len(known) == 0 {
			return "0188c000-0000-7000-8000-ffffffffffff"
		}
		return known[n%len(known)]
	}
}

func (w *traced) learn(what, id string, err error) {
	if err == nil {
		w.ids[what] = append(w.ids[what], id)
	}
}

// caller gives one from the tenant's home more often than not: software of either jurisdiction and of a third, of the company and of a tenant, and people who approve.
func (g *callMaker) caller() Caller {
	j := g.home
	if j.IsZero() || g.one(3) {
		j = any1(g, ch, us, us, residency.Jurisdiction{'D', 'E'})
	}
	who := any1(g, "app", "app", "billing", "officer", "counsel")
	c := Caller{ID: "spiffe://example.org/" + strings.ToLower(j.String()) + "/" + who, Jurisdiction: j, Party: residency.ProviderParty}
	if who == "app" {
		c.Party = residency.TenantParty
	}
	switch g.IntN(8) {
	case 0: // sees nobody
	case 1:
		c.Sees = func(tenant string) bool { return tenant == "alpen" }
	default:
		c.Sees = func(string) bool { return true }
	}
	return c
}

// maker makes one kind of call.
type maker struct {
	weight int
	method string
	action residency.Action
	class  residency.DataClass
	args   func(g *callMaker) (args any, do func(ctx context.Context, w *traced, call *Call) (any, error))
}

type doing = func(ctx context.Context, w *traced, call *Call) (any, error)

const (
	pi  = residency.PersonalInformation
	vd  = residency.VirtualDriveData
	acc = residency.AccountData
)

// op makes a call; the first ones register the tenants and what the others need.
func (g *callMaker) op(i int) *traceOp {
	if i < len(openings) {
		return openings[i](g)
	}
	var total int
	for _, m := range makers {
		total += m.weight
	}
	n := g.IntN(total)
	for _, m := range makers {
		if n -= m.weight; n < 0 {
			return g.make(m)
		}
	}
	return nil
}

func (g *callMaker) make(m maker) *traceOp {
	args, do := m.args(g)
	o := &traceOp{method: m.method, action: m.action, class: m.class, caller: g.caller(), args: fmt.Sprintf("%+v", args), do: do}
	if g.one(10) {
		o.via = []residency.Jurisdiction{any1(g, ch, us)}
	}
	return o
}

// openings register tenants at home.
var openings = func() (out []func(*callMaker) *traceOp) {
	for _, r := range []struct {
		id string
		j  residency.Jurisdiction
	}{{"alpen", ch}, {"basel", ch}, {"boston", us}, {"austin", us}} {
		out = append(out, func(g *callMaker) *traceOp {
			req := NewTenant{ID: r.id, Residence: r.j}
			return &traceOp{
				method: "RegisterTenant", action: residency.Collect, class: acc, args: fmt.Sprint(req),
				caller: Caller{ID: "spiffe://example.org/admin", Jurisdiction: r.j},
				do: func(ctx context.Context, w *traced, call *Call) (any, error) {
					return w.g.RegisterTenant(ctx, call, req)
				},
			}
		})
	}
	return out
}()

// allPages walks a list from its first page to its last, and tells how they were cut.
func allPages[T any](size int, page func(Page) ([]T, string, error)) (any, error) {
	var all [][]T
	for p := (Page{Size: size}); ; {
		list, next, err := page(p)
		if err != nil {
			return all, err
		}
		all = append(all, list)
		if p.Token = next; next == "" || len(all) == 30 {
			return all, nil
		}
	}
}

func (g *callMaker) size() int { return any1(g, 1, 3, 100) }

func (g *callMaker) evidence() consent.Evidence {
	return consent.Evidence{
		Method: any1(g, "form", "telephone"), Grantor: "Canary Kanarek", NoticeLanguage: any1(g, "de-CH", "en", "bg"),
		NoticeDigest: "sha256:" + strings.Repeat(any1(g, "0", "a"), 64),
	}
}

func (g *callMaker) aConsent() consent.Consent {
	c := consent.Consent{
		Kind: any1(g, residency.BorderCrossing, residency.BorderCrossing, residency.BorderCrossing, residency.MarketingOptIn,
			residency.InspectionPermission, residency.Parental),
		Classes: residency.DataClassSet(any1(g, pi, pi, vd), any1(g, pi, acc)), Purposes: residency.PurposeSet(g.purpose(), g.purpose(), g.purpose(), g.purpose()), Evidence: g.evidence(),
		From: any1(g, ch, us), To: any1(g, ch, us),
	}
	if c.From == ch && g.one(2) {
		c.To = us
	}
	if g.one(3) {
		c.WholeTenant = true
	} else {
		c.Subject = g.subject()
	}
	if g.one(4) {
		c.Recipients = []string{g.recipient()}
	}
	if c.Kind == residency.InspectionPermission {
		c.Classes, c.Purposes, c.To = residency.DataClassSet(vd), residency.PurposeSet(residency.InspectionPurpose), c.From
	}
	return c
}

func (g *callMaker) aRecord() Record {
	r := aRecord(g.subject(), g.record())
	r.FullName = any1(g, "Canary Kanarek", "C. Kanarek", "")
	r.Email = any1(g, "canary@example.org", "CANARY@example.org", "other@example.org", "")
	r.Phone = any1(g, "+41 44 000 00 00", "+41440000000", "")
	r.Purposes = g.purposes()
	r.Residence = any1(g, residency.Jurisdiction{}, ch, us)
	switch g.IntN(12) {
	case 0:
		r.Source, r.Expires = residency.Automatic, time.Date(2100, 1, 1, 0, 0, 0, 5, time.UTC)
	case 1:
		r.Source, r.SourceParty = residency.FromThirdParty, "a bureau"
	case 2:
		r.BirthDate = Date{2020, 2, 29}
	case 3:
		r.BirthDate = Date{1970, 1, 1}
	case 4:
		r.Address = "4111 1111 1111 1111" // a payment-card number, which is refused
	}
	return r
}

func digestOf(b []byte) string {
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf("%d bytes %x", len(b), h.Sum64())
}

// readAll gathers what a stream sends.
func readAll(read func(send func([]byte) error) error) (any, error) {
	var got bytes.Buffer
	err := read(func(b []byte) error {
		got.Write(b)
		return nil
	})
	return digestOf(got.Bytes()), err
}

// chunks gives data in messages.
func chunks(data []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(data) == 0 {
			return nil, io.EOF
		}
		n := min(len(data), 100_000)
		b := data[:n]
		data = data[n:]
		return b, nil
	}
}

// decisions lists what was decided about every tenant, at its home.
func decisions() (out []*traceOp) {
	for _, tenant := range traceTenants {
		j := ch
		if tenant == "boston" || tenant == "austin" {
			j = us
		}
		out = append(out, &traceOp{
			method: "ListDecisions", action: residency.Govern, class: pi, args: tenant, caller: Caller{ID: "spiffe://example.org/admin", Jurisdiction: j},
			do: func(ctx context.Context, w *traced, call *Call) (any, error) {
				return allPages(1000, func(p Page) ([]DecisionRecord, string, error) {
					return w.g.ListDecisions(ctx, call, ListDecisions{Tenant: tenant, Page: p})
				})
			},
		})
	}
	return out
}
