package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/store"
)

// UpdateTenant changes a tenant's residence. The home stays: the new residence
// must be one that the home's policy takes, by agreement where it says so.
func (g *Gateway) UpdateTenant(ctx context.Context, call *Call, req UpdateTenant) (Tenant, error) {
	if err := refuseCardsIn("gateway.UpdateTenant", "agreement", req.Agreement); err != nil {
		return Tenant{}, err
	}
	a := &act{
		call: call, op: "gateway.UpdateTenant", tenant: req.Tenant, governs: true,
		refuse: func(t *txn) (*refusal, error) { return t.mayReside(&req) },
	}
	return g.changeTenant(ctx, a, req.RequestID,
		func(t *txn) store.ID { return t.residenceDigest(&req) },
		func(t *txn) (bool, error) { return t.changeResidence(&req) })
}

// mayReside says why a tenant that resides where it will may not stay where it is homed.
func (t *txn) mayReside(req *UpdateTenant) (*refusal, error) {
	placement := t.policy.Placement(req.Residence)
	refused := misplaced(placement, req.Agreement)
	if refused == nil || refused.reason != residency.AgreementRequired {
		return refused, nil
	}
	f, err := t.findConsent(consent.Query{
		Kind: residency.ResidenceAgreement, Class: residency.PersonalInformation,
		From: req.Residence, To: t.home.region.Jurisdiction, Purpose: residency.ServiceProvision,
	}, "")
	if err == nil && f.Active {
		return nil, nil
	}
	return refused, err
}

func (t *txn) residenceDigest(req *UpdateTenant) store.ID {
	parts := []string{req.Residence.String(), expectation(req.Expected)}
	if e := req.Agreement; e != nil {
		parts = append(parts, e.Method, e.Grantor, e.NoticeLanguage, e.NoticeDigest, fmt.Sprint(e.Stated.UnixNano()))
	}
	return t.tk.ID("update-tenant", parts...)
}

// changeResidence changes the tenant's residence and, where the new one needs an
// agreement, records the one that came along in place of the old.
func (t *txn) changeResidence(req *UpdateTenant) (bool, error) {
	if !matches(req.Expected, true, t.version) {
		return false, residency.E(t.a.op, residency.VersionMismatch, nil)
	}
	changed := t.row.Residence != req.Residence
	t.row.Residence = req.Residence
	if req.Agreement == nil || !t.policy.Placement(req.Residence).Agreement {
		return changed, nil
	}
	return true, t.recordAgreement(req.Agreement)
}

// SuspendTenant stops serving a tenant and cuts its live streams, those apart
// that protect people. Suspending a suspended tenant changes nothing.
func (g *Gateway) SuspendTenant(ctx context.Context, call *Call, req ChangeTenant) (Tenant, error) {
	a := &act{call: call, op: "gateway.SuspendTenant", tenant: req.Tenant, governs: true, suspended: true}
	return g.changeTenant(ctx, a, req.RequestID, stateDigest, func(t *txn) (bool, error) {
		t.later(func(context.Context) {
			g.keeper.cutWhere(residency.TenantSuspended, func(s *stream) bool {
				return s.home.tenant == t.home.tenant && !s.act.suspended
			})
		})
		return t.setState(TenantSuspended), nil
	})
}

// ResumeTenant serves a suspended tenant again. Resuming one that is served changes nothing.
func (g *Gateway) ResumeTenant(ctx context.Context, call *Call, req ChangeTenant) (Tenant, error) {
	a := &act{call: call, op: "gateway.ResumeTenant", tenant: req.Tenant, governs: true, suspended: true}
	return g.changeTenant(ctx, a, req.RequestID, stateDigest, func(t *txn) (bool, error) {
		return t.setState(TenantActive), nil
	})
}

func stateDigest(t *txn) store.ID { return t.tk.ID("change-tenant") } // the method is in the request's name

func (t *txn) setState(s TenantState) (changed bool) {
	changed = t.row.State != s
	t.row.State = s
	return changed
}

// changeTenant changes the tenant's row. The repeated call gets the tenant as
// the first one left it.
func (g *Gateway) changeTenant(ctx context.Context, a *act, requestID string, digest func(*txn) store.ID, change func(*txn) (bool, error)) (Tenant, error) {
	var row tenantRow
	var version uint64
	t, err := g.decide(ctx, a, func(t *txn) error {
		var damaged error
		found, err := t.replay(requestID, func() store.ID { return digest(t) }, func(b []byte) { row, version, damaged = splitTenant(b) })
		if found || err != nil {
			return integrity(a.op, damaged, err)
		}
		changed, err := change(t)
		if err != nil {
			return err
		}
		if changed {
			if err := t.putTenant(t.version + 1); err != nil {
				return err
			}
		}
		row, version = t.row, t.version
		return t.remember(requestID, joinTenant(&row, version))
	})
	if err != nil {
		return Tenant{}, err
	}
	return publicTenant(&row, version, t.home.region, t.policy), nil
}

// joinTenant lays out a tenant as a request_id keeps it: its version, then its row.
func joinTenant(row *tenantRow, version uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, version), row.encode()...)
}

func splitTenant(b []byte) (tenantRow, uint64, error) {
	if len(b) < 8 {
		return tenantRow{}, 0, errors.New("a tenant's result is cut short")
	}
	row, err := decodeTenant(b[8:])
	return row, binary.BigEndian.Uint64(b), err
}
