package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// handover is a disclosure on its way: what was asked for, and what leaves.
type handover struct {
	g    *Gateway
	req  *Disclose
	plan plan // set once the decision stands, and not changed while the stream is being renewed
	send func(DisclosePiece) error

	scope   store.ID // under which it is on record: the person, or wholeTenant for a drive
	records uint64
	left    map[string]bool // the fields that left
}

// plan is which of a person's records leave, and which of their fields.
type plan struct {
	fields []string
	whole  bool              // the record's source, purposes and times too: an order is about what is held
	only   residency.Purpose // only records that were provided for it; unspecified = any
	window OrderScope        // only what was collected within
}

// Disclose hands to a recipient what its function, an order or a granted request covers (clauses processors, choice,
// fraud-exchange, business-transfer, legal-order, informal-request), and records what left.
//
// Everything that it rests on is looked at again whenever the stream's lease is renewed: a
// revoked order or recipient, an objection or a restriction cuts it within a lease.
func (g *Gateway) Disclose(ctx context.Context, call *Call, req Disclose, send func(DisclosePiece) error) error {
	const op = "gateway.Disclose"
	switch {
	case (req.Subject == "") == (req.Drive == ""):
		return residency.Bad(op, "object", "must be either a subject or a drive")
	case req.Purpose == residency.BusinessTransfer && req.Stage == StageUnspecified:
		return residency.Bad(op, "stage", "must be stated for BUSINESS_TRANSFER")
	}
	if err := refuseCards(op, text{"necessity", req.Necessity}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, g.limits.StreamLifetime)
	defer cancel()
	s := g.newStream(op, call)
	d := &handover{g: g, req: &req, send: send, left: make(map[string]bool)}
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Subject, drive: req.Drive, class: residency.PersonalInformation,
		purpose: req.Purpose, recipient: standIn(req.Purpose), stream: s, prepare: d.prepare,
		suspended: req.Purpose == residency.LegalObligation, fact: d.fact, refuse: d.refuse,
	}
	if req.Drive != "" {
		a.class = residency.VirtualDriveData
	}
	var p plan
	var img *image
	_, err := g.decide(ctx, a, func(t *txn) (err error) {
		if req.Drive != "" {
			img, err = d.beginDrive(t, s)
		} else {
			p, err = d.beginRecords(t)
		}
		return err
	})
	if err != nil {
		return err
	}
	d.plan = p
	g.keeper.add(s)
	defer g.keeper.remove(s)
	if req.Drive != "" {
		err = d.drive(ctx, s, img)
	} else {
		err = d.person(ctx, s)
	}
	return d.end(ctx, s, err)
}

// extent settles which records and fields may leave, once every requirement is met.
func (d *handover) extent(t *txn) (p plan, err error) {
	var needs residency.Requirements
	for _, q := range t.legs() {
		needs |= t.policy.Requirements(q)
	}
	switch {
	case needs.Has(residency.RequireLegalOrder):
		p = plan{fields: recordFields, whole: true, window: t.grounds.order.Scope}
	case needs.Has(residency.RequireInformalGrant):
		p = plan{fields: t.grounds.informal.Fields}
	case needs.Has(residency.RequireFunction):
		p = plan{fields: t.grounds.recipient.function(d.req.Purpose).Fields}
	default:
		return p, residency.E(t.a.op, residency.Internal, errors.New("the policy permits a disclosure but says nothing of its extent"))
	}
	if needs.Has(residency.RequirePurpose) {
		p.only = d.req.Purpose
	}
	return p, nil
}

// refuse cuts a disclosure, when its lease is renewed, of which more is on its way than might leave now: a
// function needs less than it did, a recipient or the policy is another one.
func (d *handover) refuse(t *txn) (*refusal, error) {
	if len(d.plan.fields) == 0 { // it has not begun, or is of a drive, of which all or nothing leaves
		return nil, nil //nolint:nilnil // nothing refuses it
	}
	now, err := d.extent(t)
	if err != nil || d.plan.within(&now) {
		return nil, err
	}
	return &refusal{residency.RecipientOutsideFunction, residency.Set(residency.RequireFunction), t.clause("processors")}, nil
}

// within reports whether all that leaves under a plan might leave under another.
func (p *plan) within(other *plan) bool {
	missing := func(name string) bool {
		single := strings.HasPrefix(name, "attributes.")
		return !slices.Contains(other.fields, name) && !(single && slices.Contains(other.fields, "attributes"))
	}
	return !slices.ContainsFunc(p.fields, missing) && (other.whole || !p.whole) &&
		(other.only == residency.PurposeUnspecified || other.only == p.only) &&
		other.window.From.Equal(p.window.From) && other.window.To.Equal(p.window.To)
}

// beginRecords settles which records and fields leave, and that there are any, and records the disclosure.
func (d *handover) beginRecords(t *txn) (plan, error) {
	p, err := d.extent(t)
	if err != nil {
		return p, err
	}
	some := false
	err = t.eachHead(func(h *recordHead) bool {
		some = p.takes(h)
		return !some
	})
	if err == nil && !some {
		err = residency.E(t.a.op, residency.NotFound, nil)
	}
	if err != nil {
		return p, err
	}
	d.scope = t.subject
	return p, t.beginDisclosure(d, p.fields)
}

// takes reports whether a record leaves.
func (p *plan) takes(h *recordHead) bool {
	return (p.only == residency.PurposeUnspecified || h.Purposes.Has(p.only)) && p.window.holds(h.Collected)
}

// end writes the stream's outcome, and of the disclosure what left, in one transaction.
func (d *handover) end(ctx context.Context, s *stream, err error) error {
	how, result := audit.Completed, residency.OK
	if err != nil {
		err = s.broke(err)
		how, result = audit.Cut, residency.KindOf(err)
	}
	fields := slices.DeleteFunc(slices.Clone(d.plan.fields), func(name string) bool { return !d.left[name] })
	locks := []store.Lock{{Object: d.scope, Exclusive: true}} // an erasure does not come in between
	return errors.Join(err, s.end(ctx, how, result, locks, func(t *txn) error {
		return t.changeDisclosure(d.scope, s.row(), func(row *Disclosure) {
			row.Fields, row.Records, row.Bytes, row.End = fields, d.records, s.bytes.Load(), how.String()
		})
	}))
}

// beginDrive settles where the drive's first bytes are, and records the disclosure.
func (d *handover) beginDrive(t *txn, s *stream) (*image, error) {
	row, _, err := t.readDrive()
	if err != nil {
		return nil, err
	}
	img, _, err := t.readImage(s, &ReadDrive{Tenant: d.req.Tenant, Drive: d.req.Drive, Length: min(row.Size, maxTransfer)})
	if err != nil {
		return nil, err
	}
	d.scope = wholeTenant
	return img, t.beginDisclosure(d, nil)
}
