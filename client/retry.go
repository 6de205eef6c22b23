package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// reads are the methods that change nothing but the audit log, so that a
// repeated call is as good as one. A method with a request_id may be repeated too, once it has
// one. Whatever is neither is never repeated: a disclosure, of which each call is one.
var reads = map[string]bool{
	residencyv1.TenantService_GetTenant_FullMethodName:           true,
	residencyv1.TenantService_ListTenants_FullMethodName:         true,
	residencyv1.TenantService_GetErasure_FullMethodName:          true,
	residencyv1.RecordService_GetRecord_FullMethodName:           true,
	residencyv1.RecordService_ListRecords_FullMethodName:         true,
	residencyv1.RecordService_ListSubjects_FullMethodName:        true,
	residencyv1.RecordService_FindRecords_FullMethodName:         true,
	residencyv1.RecordService_ExportSubject_FullMethodName:       true,
	residencyv1.DriveService_GetDrive_FullMethodName:             true,
	residencyv1.DriveService_ListDrives_FullMethodName:           true,
	residencyv1.DriveService_ReadDrive_FullMethodName:            true,
	residencyv1.DriveService_InspectDrive_FullMethodName:         true,
	residencyv1.DriveService_ListSnapshots_FullMethodName:        true,
	residencyv1.ConsentService_GetConsent_FullMethodName:         true,
	residencyv1.ConsentService_ListConsents_FullMethodName:       true,
	residencyv1.ConsentService_GetConsentReceipt_FullMethodName:  true,
	residencyv1.TransferService_CheckTransfer_FullMethodName:     true,
	residencyv1.DisclosureService_ListRecipients_FullMethodName:  true,
	residencyv1.DisclosureService_GetLegalOrder_FullMethodName:   true,
	residencyv1.DisclosureService_ListLegalOrders_FullMethodName: true,
	residencyv1.DisclosureService_ListAbuseCases_FullMethodName:  true,
	residencyv1.DisclosureService_ListDisclosures_FullMethodName: true,
	residencyv1.PolicyService_ListPolicies_FullMethodName:        true,
	residencyv1.PolicyService_GetPolicy_FullMethodName:           true,
	residencyv1.PolicyService_Explain_FullMethodName:             true,
	residencyv1.PolicyService_ComparePolicies_FullMethodName:     true,
	residencyv1.AuditService_GetDecision_FullMethodName:          true,
	residencyv1.AuditService_ListDecisions_FullMethodName:        true,
	residencyv1.GatewayService_GetGateway_FullMethodName:         true,
	residencyv1.GatewayService_ListRegions_FullMethodName:        true,
}

// Waits between attempts when the gateway names none: they double from
// firstWait to longestWait, each shortened by up to a half at random.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
)

// pushbackTrailer is gRPC's own word for how long to wait, in milliseconds;
// negative, or not a number = do not try again.
const pushbackTrailer = "grpc-retry-pushback-ms"

// retrier repeats calls that answered UNAVAILABLE and are safe to repeat. It
// waits as long as the gateway asks (RetryInfo, grpc-retry-pushback-ms), never past the
// context's deadline, and stops repeating while most calls fail.
type retrier struct {
	attempts int
	budget   budget
}

func newRetrier(attempts int) *retrier {
	return &retrier{attempts: attempts, budget: budget{tokens: fullBudget}}
}

// do makes a call until it succeeds, may not be repeated, or is out of attempts
// or time. It returns the last attempt's error.
func (r *retrier) do(ctx context.Context, safe bool, call func() (metadata.MD, error)) error {
	for attempt := 1; ; attempt++ {
		trailer, err := call()
		again := isUnavailable(err)
		r.budget.spend(again)
		if !again || !safe || attempt >= r.attempts || !r.budget.allows() {
			return err
		}
		wait, ok := pause(attempt, trailer, err)
		if !ok || !sleep(ctx, wait) {
			return err
		}
	}
}

func isUnavailable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codes.Unavailable
}

// pause is how long to wait after a failed attempt, counted from 1, and whether
// the gateway lets the call be repeated at all.
func pause(attempt int, trailer metadata.MD, err error) (time.Duration, bool) {
	if v := trailer.Get(pushbackTrailer); len(v) > 0 {
		ms, parseErr := strconv.Atoi(v[0])
		return time.Duration(ms) * time.Millisecond, parseErr == nil && ms >= 0 && len(v) == 1
	}
	wait := min(firstWait<<(attempt-1), longestWait)
	wait -= rand.N(wait/2 + 1)
	var e *Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	return wait, true
}

// sleep waits, unless ctx would end first: then it returns false at once.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// budget keeps clients from burying a gateway that is in trouble, as gRPC's
// retry throttling does (gRFC A6): an unavailable answer costs a token, another
// earns a tenth, and below half of the tokens nothing is repeated.
type budget struct {
	mu     sync.Mutex
	tokens float64
}

const fullBudget = 20

func (b *budget) spend(unavailable bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if unavailable {
		b.tokens = max(b.tokens-1, 0)
	} else {
		b.tokens = min(b.tokens+0.1, fullBudget)
	}
}

func (b *budget) allows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens > fullBudget/2
}
