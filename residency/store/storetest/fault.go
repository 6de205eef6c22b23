package storetest

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/domicile-project/domicile/residency/store"
)

// Fault is what an operation is made to do instead of succeeding. The zero
// value is no fault.
type Fault uint8

// The faults. Every error that they cause wraps store.ErrUnavailable.
const (
	FaultNone          Fault = iota // the operation goes on as usual
	FaultFail                       // it fails and nothing of it persists
	FaultFailPersisted              // it is done, durably, and fails all the same
	FaultFull                       // like FaultFail; the error wraps syscall.ENOSPC too
	FaultHang                       // it does not answer until its context ends, and nothing of it persists
	FaultHangPersisted              // it is done, durably, and does not answer until its context ends
)

// persists reports whether the operation is done although it fails.
func (f Fault) persists() bool { return f == FaultFailPersisted || f == FaultHangPersisted }

// hangs reports whether the operation answers only when its context ends.
func (f Fault) hangs() bool { return f == FaultHang || f == FaultHangPersisted }

// Op names an operation that can be made to fail.
type Op string

// The operations. A read that is told to fail though persisted just fails.
const (
	OpUpdate Op = "rows.update" // the commit of a transaction, whatever it wrote; fn has run
	OpAppend Op = "rows.append" // Tx.Append itself; with a fault that persists, the commit of a transaction that appended
	OpView   Op = "rows.view"   // before fn runs
	OpDue    Op = "rows.due"
	OpLead   Op = "rows.lead"

	OpTenants Op = "rows.tenants"
	OpPurge   Op = "rows.purge"

	OpEntry   Op = "outbox.entry"
	OpEntries Op = "outbox.entries"
	OpLast    Op = "outbox.last"
	OpAt      Op = "outbox.at"
	OpFirst   Op = "outbox.first"
	OpDrop    Op = "outbox.drop"   // Drop until the first place is durable
	OpRemove  Op = "outbox.remove" // the rest of Drop: that the entries before it are removed

	OpBlobCreate Op = "blobs.create"
	OpBlobWrite  Op = "blobs.write"
	OpBlobCommit Op = "blobs.commit"
	OpBlobOpen   Op = "blobs.open"
	OpBlobRead   Op = "blobs.read"
	OpBlobDelete Op = "blobs.delete"
	OpBlobList   Op = "blobs.list"

	OpDirectoryFind    Op = "directory.find"
	OpDirectoryReserve Op = "directory.reserve"
	OpDirectoryUpdate  Op = "directory.update"
	OpDirectoryList    Op = "directory.list"

	OpKeysGet     Op = "keys.get"
	OpKeysCreate  Op = "keys.create"
	OpKeysDestroy Op = "keys.destroy"
	OpKeysList    Op = "keys.list"
	OpKeysPing    Op = "keys.ping"
)

// faults is which operations are to fail. The zero value fails none. Safe for
// concurrent use.
type faults struct {
	mu sync.Mutex
	of map[Op]func() Fault
}

// set makes an operation ask f each time; nil takes that back.
func (fs *faults) set(op Op, f func() Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.of == nil {
		fs.of = make(map[Op]func() Fault)
	}
	if f == nil {
		delete(fs.of, op)
		return
	}
	fs.of[op] = f
}

// next asks what an operation shall do now.
func (fs *faults) next(op Op) Fault {
	fs.mu.Lock()
	f := fs.of[op]
	fs.mu.Unlock()
	if f == nil {
		return FaultNone
	}
	return f()
}

// read waits as a fault says and gives the error of an operation that changes nothing.
func (fs *faults) read(ctx context.Context, op Op) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, op, err)
	}
	return fail(ctx, op, fs.next(op))
}

// write does what a fault says around do, the operation's effect.
func (fs *faults) write(ctx context.Context, op Op, do func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, op, err)
	}
	f := fs.next(op)
	if f == FaultNone || f.persists() {
		if err := do(); err != nil {
			return err
		}
	}
	return fail(ctx, op, f)
}

// fail gives a fault's error, when the context has ended if it hangs.
func fail(ctx context.Context, op Op, f Fault) error {
	switch {
	case f == FaultNone:
		return nil
	case f.hangs():
		<-ctx.Done()
		return fmt.Errorf("%w: %s did not answer: %w", store.ErrUnavailable, op, ctx.Err())
	case f == FaultFull:
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, op, syscall.ENOSPC)
	}
	return fmt.Errorf("%w: %s was made to fail", store.ErrUnavailable, op)
}

// Always gives the same fault every time, for Fail.
func Always(f Fault) func() Fault { return func() Fault { return f } }

// Once gives a fault the first time and none after that, for Fail.
func Once(f Fault) func() Fault {
	var once sync.Once
	return func() Fault {
		now := FaultNone
		once.Do(func() { now = f })
		return now
	}
}
