package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// levels says of every method what its proto does (idempotency_level): one that changes nothing but the audit log may be
// repeated, and one that is idempotent once its request has a request_id. Whatever is neither is never repeated: a disclosure, of
// which each call is one.
var levels = sync.OnceValue(func() map[string]level {
	out := make(map[string]level)
	pkg := residencyv1.File_residency_v1_types_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				options, _ := m.Options().(*descriptorpb.MethodOptions)
				out[fmt.Sprintf("/%s/%s", s.FullName(), m.Name())] = options.GetIdempotencyLevel()
			}
		}
		return true
	})
	return out
})

type level = descriptorpb.MethodOptions_IdempotencyLevel

const (
	read       = descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	idempotent = descriptorpb.MethodOptions_IDEMPOTENT
)

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

// isUnavailable reports whether the gateway, or the endpoint that it named, was not
// available.
func isUnavailable(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == codes.Unavailable || isUnavailable(e.NotFollowed))
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
