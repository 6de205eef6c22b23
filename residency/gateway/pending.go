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

func (g *Gateway) RegisterRecipient(context.Context, *Call, PutRecipient) (Recipient, error) {
	return Recipient{}, errPending
}
func (g *Gateway) UpdateRecipient(context.Context, *Call, PutRecipient) (Recipient, error) {
	return Recipient{}, errPending
}
func (g *Gateway) ListRecipients(ctx context.Context, call *Call, tenant string, page Page) ([]Recipient, string, error) {
	return nil, "", errPending
}
func (g *Gateway) RevokeRecipient(context.Context, *Call, RecipientCall) (Recipient, error) {
	return Recipient{}, errPending
}
func (g *Gateway) GiveNotice(context.Context, *Call, GiveNotice) (Notice, error) {
	return Notice{}, errPending
}
func (g *Gateway) RecordObjection(context.Context, *Call, RecordObjection) (Objection, error) {
	return Objection{}, errPending
}
func (g *Gateway) LiftObjection(context.Context, *Call, GovernanceCall) (Objection, error) {
	return Objection{}, errPending
}
func (g *Gateway) RecordLegalOrder(context.Context, *Call, RecordOrder) (Order, error) {
	return Order{}, errPending
}
func (g *Gateway) GetLegalOrder(ctx context.Context, call *Call, tenant, order string) (Order, error) {
	return Order{}, errPending
}
func (g *Gateway) ApproveLegalOrder(context.Context, *Call, GovernanceCall) (Order, error) {
	return Order{}, errPending
}
func (g *Gateway) RejectLegalOrder(context.Context, *Call, GovernanceCall) (Order, error) {
	return Order{}, errPending
}
func (g *Gateway) RevokeLegalOrder(context.Context, *Call, GovernanceCall) (Order, error) {
	return Order{}, errPending
}
func (g *Gateway) ListLegalOrders(context.Context, *Call, ListOrders) ([]Order, string, error) {
	return nil, "", errPending
}
func (g *Gateway) RecordInformalRequest(context.Context, *Call, RecordInformal) (Informal, error) {
	return Informal{}, errPending
}
func (g *Gateway) ApproveInformalRequest(context.Context, *Call, GovernanceCall) (Informal, error) {
	return Informal{}, errPending
}
func (g *Gateway) OpenAbuseCase(context.Context, *Call, OpenCase) (Case, error) {
	return Case{}, errPending
}
func (g *Gateway) ApproveAbuseCase(context.Context, *Call, GovernanceCall) (Case, error) {
	return Case{}, errPending
}
func (g *Gateway) CloseAbuseCase(context.Context, *Call, GovernanceCall) (Case, error) {
	return Case{}, errPending
}
func (g *Gateway) ListAbuseCases(context.Context, *Call, ListCases) ([]Case, string, error) {
	return nil, "", errPending
}
func (g *Gateway) Disclose(ctx context.Context, call *Call, req Disclose, send func(DisclosePiece) error) error {
	return errPending
}
func (g *Gateway) ListDisclosures(context.Context, *Call, ListDisclosures) ([]Disclosure, string, error) {
	return nil, "", errPending
}
