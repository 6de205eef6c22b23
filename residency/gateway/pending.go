package gateway

import (
	"context"
	"errors"

	"github.com/domicile-project/domicile/residency"
)

var errPending = residency.E("gateway.pending", residency.Internal, errors.New("not there yet"))

// InspectDrive: passing is nil for what is stored; data is good until send returns.
func (g *Gateway) InspectDrive(ctx context.Context, call *Call, req InspectDrive, send func(data []byte, passing *Passing) error) error {
	return errPending
}
