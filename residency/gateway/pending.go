package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
)

var errPending = residency.E("gateway.pending", residency.Internal, errors.New("not there yet"))

func (g *Gateway) UpdateTenant(context.Context, *Call, UpdateTenant) (Tenant, error) {
	return Tenant{}, errPending
}
func (g *Gateway) SuspendTenant(context.Context, *Call, ChangeTenant) (Tenant, error) {
	return Tenant{}, errPending
}
func (g *Gateway) ResumeTenant(context.Context, *Call, ChangeTenant) (Tenant, error) {
	return Tenant{}, errPending
}
func (g *Gateway) EraseTenant(context.Context, *Call, ChangeTenant) (Erasure, error) {
	return Erasure{}, errPending
}
func (g *Gateway) GetErasure(ctx context.Context, call *Call, tenant, erasure string) (Erasure, error) {
	return Erasure{}, errPending
}

// RestrictSubject: a nil result = the call came from abroad and is told nothing.
func (g *Gateway) RestrictSubject(context.Context, *Call, RestrictSubject) (*Restrictions, error) {
	return nil, errPending
}
func (g *Gateway) LiftRestriction(context.Context, *Call, RestrictSubject) (*Restrictions, error) {
	return nil, errPending
}
func (g *Gateway) ObjectToCollection(context.Context, *Call, SubjectCall) (*Restrictions, error) {
	return nil, errPending
}
func (g *Gateway) WithdrawObjection(context.Context, *Call, SubjectCall) (*Restrictions, error) {
	return nil, errPending
}
func (g *Gateway) ReportChild(context.Context, *Call, SubjectCall) (ChildReported, error) {
	return ChildReported{}, errPending
}
func (g *Gateway) ExportSubject(ctx context.Context, call *Call, req SubjectCall, send func(FilePiece) error) error {
	return errPending
}
func (g *Gateway) EraseSubject(context.Context, *Call, SubjectCall) (Erasure, error) {
	return Erasure{}, errPending
}

// InspectDrive: passing is nil for what is stored; data is good until send returns.
func (g *Gateway) InspectDrive(ctx context.Context, call *Call, req InspectDrive, send func(data []byte, passing *Passing) error) error {
	return errPending
}
