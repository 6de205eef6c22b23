// Package forward knows how calls go from the gateways of one region to those of
// another: over which connections, on whose behalf, and for how long what comes back may be passed on.
//
// Calls are forwarded as they are, by their own methods; the bytes of their messages are not
// looked into here. Who calls stands in CallerKey and is believed by the other side
// because this gateway's certificate is a peer's there. Nothing is kept or queued, and nothing
// that may have left is tried again: a peer that does not answer is REGION_UNAVAILABLE at once.
package forward

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// The metadata keys between gateways.
const (
	CallerKey   = "residency-forwarded-caller" // in a request: the identity of whom it is (a URI)
	LeaseKey    = "residency-lease-ms"         // in an answer: how long from the call's begin it may be passed on
	DecisionKey = "residency-decision-id"      // in an answer, as callers get it
)

// Refused is the status that a peer's gateway answered. It is passed on as it is.
type Refused struct{ Status *status.Status }

// Error gives the code alone: the rest is the caller's.
func (r *Refused) Error() string { return "refused by the home region: " + r.Status.Code().String() }

// GRPCStatus is the status.
func (r *Refused) GRPCStatus() *status.Status { return r.Status }

// Lease gives the metadata that tells a peer how long an answer may be passed on.
func Lease(d time.Duration) metadata.MD {
	return metadata.MD{LeaseKey: []string{strconv.FormatInt(d.Milliseconds(), 10)}}
}

// leaseOf reads a lease; ok is false when there is none, and the answer may be passed on without.
func leaseOf(md metadata.MD) (d time.Duration, ok bool) {
	v := md.Get(LeaseKey)
	if len(v) == 0 {
		return 0, false
	}
	ms, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil { // what cannot be read is no permission
		return 0, true
	}
	return time.Duration(ms) * time.Millisecond, true
}

// noteDecision notes the decision that an answer names in its call.
func noteDecision(call *gateway.Call, md metadata.MD) {
	if v := md.Get(DecisionKey); len(v) == 1 {
		call.Decision.ID = v[0]
	}
}

// attest says on whose behalf a call is made.
func attest(ctx context.Context, call *gateway.Call) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.MD{CallerKey: []string{call.Caller.ID}})
}

// unavailable is the error of a call that could not be forwarded. A refusal that is its cause is not the caller's: it must
// not be found in it.
func unavailable(err error) error {
	if errors.As(err, new(*Refused)) {
		err = errors.New(err.Error())
	}
	return residency.E("forward", residency.RegionUnavailable, err)
}
