package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/policy"
)

// InspectDrive looks into a drive. For InspectionPurpose it reads what is stored,
// as ReadDrive does, with the tenant's permission (clause no-inspection). For
// FraudPrevention it shows transfers of the drive as they pass this gateway from then on,
// under an approved abuse case (clause aup-inspection), and opens nothing that is stored; it
// ends with the case, with the caller or after the longest time that a stream may last.
//
// passing is nil for what is stored; data is good until send returns.
func (g *Gateway) InspectDrive(ctx context.Context, call *Call, req InspectDrive, send func(data []byte, passing *Passing) error) error {
	if err := req.check(); err != nil {
		return err
	}
	if req.Purpose == residency.FraudPrevention {
		return g.watchDrive(ctx, call, &req, send)
	}
	stored := ReadDrive{Tenant: req.Tenant, Drive: req.Drive, Offset: req.Offset, Length: req.Length, Purpose: req.Purpose}
	return g.readDrive(ctx, opInspect, call, &stored, func(_ *stream, b []byte) error { return send(b, nil) })
}

const opInspect = "gateway.InspectDrive"

// check refuses what belongs to the other kind of inspection.
func (req *InspectDrive) check() error {
	passing := req.Purpose == residency.FraudPrevention
	switch {
	case passing && req.Offset != 0:
		return residency.Bad(opInspect, "offset", "must be 0 for FRAUD_PREVENTION: transfers are shown as they pass")
	case passing && req.Length != 0:
		return residency.Bad(opInspect, "length", "must be 0 for FRAUD_PREVENTION: transfers are shown as they pass")
	case !passing && req.Case != "":
		return residency.Bad(opInspect, "case_id", "must be empty unless the purpose is FRAUD_PREVENTION: no case opens what is stored")
	}
	return nil
}

// errLifetime ends a stream that has no end of its own.
var errLifetime = errors.New("the longest time that a stream may last is over")

// watchDrive shows transfers as they pass.
func (g *Gateway) watchDrive(ctx context.Context, call *Call, req *InspectDrive, send func([]byte, *Passing) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.limits.StreamLifetime, errLifetime)
	defer cancel()
	s := g.newStream(opInspect, call)
	a := &act{call: call, op: opInspect, tenant: req.Tenant, drive: req.Drive, purpose: req.Purpose, fact: req.fact, stream: s}
	_, err := g.decide(ctx, a, func(t *txn) error {
		row, _, err := t.readDrive()
		s.self = row.Self
		return err
	})
	if err != nil {
		return err
	}
	g.keeper.add(s)
	defer g.keeper.remove(s)
	err = g.watch(ctx, s, send)
	if errors.Is(err, errLifetime) {
		return s.end(ctx, audit.Completed, residency.OK, nil, nil)
	}
	err = s.broke(err)
	return errors.Join(err, s.end(ctx, audit.Cut, residency.KindOf(err), nil, nil))
}

// fact says whether the case that the inspection names covers it.
func (req *InspectDrive) fact(t *txn, r residency.Requirement) (policy.Finding, bool, error) {
	if r != residency.RequireAbuseCase {
		return policy.Finding{}, false, nil
	}
	f, err := t.caseCovers(req.Case, req.Drive)
	return f, true, err
}

// watch has a tap on the stream's drive until something ends it.
func (g *Gateway) watch(ctx context.Context, s *stream, send func([]byte, *Passing) error) error {
	t := g.taps.open(s)
	if t == nil {
		return residency.E(s.op, residency.Overloaded, errors.New("too many inspections of transfers at once"))
	}
	defer g.taps.close(t)
	err := t.watch(ctx, s, send)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = context.Cause(ctx)
	}
	return err
}
