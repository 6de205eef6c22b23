package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/domicile-project/domicile/residency/store"
)

// Setup is one of each kind of store, on which a trace runs.
type Setup struct {
	Name      string
	Rows      store.Rows
	Outbox    store.Outbox
	Blobs     store.Blobs
	Directory store.Directory
	Keys      store.Keys

	epoch uint64 // the leadership's, as a step learnt it
}

// Setup gives the memory's stores.
func (m *Memory) Setup() Setup {
	return Setup{Name: "memory", Rows: m.Rows(), Outbox: m.Outbox(), Blobs: m.Blobs(), Directory: m.Directory(), Keys: m.Keys()}
}

// Divergence is where two set-ups answered one operation differently.
type Divergence struct {
	Seed      uint64
	Step      int    // from 1
	Operation string // what was done
	Names     [2]string
	Answers   [2]string
}

// Error tells what is needed to see the divergence again.
func (d *Divergence) Error() string {
	return fmt.Sprintf("seed %d, step %d: %s\n%s answers: %s\n%s answers: %s",
		d.Seed, d.Step, d.Operation, d.Names[0], d.Answers[0], d.Names[1], d.Answers[1])
}

// Trace does one random sequence of operations, which the seed decides, on each of some
// empty set-ups, and compares all that they answer: values, orders, places, classes of
// errors, and in the end everything that is there. Its error is a *Divergence when they
// differ. An operation is one method call, in a transaction or not.
//
// What the contracts leave open is not done: what tasks of the same time are ordered
// by, what a reader gets of an object that is deleted meanwhile, where in a list the zero tenant is, who has no home.
func Trace(ctx context.Context, seed uint64, operations int, setups ...Setup) error {
	g := &tracer{Rand: rand.New(rand.NewPCG(seed, 0))}
	const batch = 200 // steps: each set-up does them in its own time
	step := 1
	for operations > 0 {
		var steps []traceStep
		for len(steps) < batch && operations > 0 {
			s := g.step()
			operations -= s.operations
			steps = append(steps, s)
		}
		if err := compare(ctx, seed, step, steps, setups); err != nil {
			return err
		}
		step += len(steps)
	}
	return compare(ctx, seed, step, g.everything(), setups)
}

// traceStep is something to do on every set-up.
type traceStep struct {
	text       string
	operations int
	run        func(ctx context.Context, s *Setup) string
}

// compare does steps on every set-up and holds the answers against the first one's.
func compare(ctx context.Context, seed uint64, from int, steps []traceStep, setups []Setup) error {
	answers := make([][]string, len(setups))
	var wg sync.WaitGroup
	for i := range setups {
		wg.Go(func() {
			for _, s := range steps {
				answers[i] = append(answers[i], s.run(ctx, &setups[i]))
			}
		})
	}
	wg.Wait()
	for n, s := range steps {
		for i := 1; i < len(setups); i++ {
			if answers[i][n] != answers[0][n] {
				return &Divergence{
					Seed: seed, Step: from + n, Operation: s.text,
					Names: [2]string{setups[0].Name, setups[i].Name}, Answers: [2]string{answers[0][n], answers[i][n]},
				}
			}
		}
	}
	return ctx.Err()
}

// tracer makes up operations. All of its randomness is used when they are made, so that each
// set-up does the same ones.
type tracer struct {
	*rand.Rand
	blobs []string // names that were used
}

func (g *tracer) step() traceStep {
	switch n := g.IntN(100); {
	case n < 66:
		return g.transaction()
	case n < 75:
		return g.outboxStep()
	case n < 76:
		return g.tenantsStep()
	case n < 86:
		return g.directoryStep()
	case n < 96:
		return g.keysStep()
	}
	return g.blobsStep()
}

func pick[T any](g *tracer, from []T) T { return from[g.IntN(len(from))] }

// anID gives an identifier: awkward ones as they are, behind a scope of 16 bytes, and cut to it.
func (g *tracer) anID() store.ID {
	switch g.IntN(4) {
	case 0:
		return pick(g, awkward)
	case 1:
		return g.scope()
	case 2:
		return ""
	}
	return g.scope() + pick(g, awkward)
}

// scope gives one of few identifiers of 16 bytes.
func (g *tracer) scope() store.ID {
	return store.ID(strings.Repeat(string(pick(g, []store.ID{"\x00", "a", "\xfe", "\xff"})), 16))
}

// aValue gives a value: often empty, seldom large.
func (g *tracer) aValue() []byte {
	switch n := g.IntN(200); {
	case n == 0:
		return g.bytes(100 << 10)
	case n < 40:
		return nil
	case n < 80:
		return []byte{}
	case n < 100:
		return []byte{0}
	case n < 120:
		return g.bytes(3000)
	}
	return g.bytes(1 + g.IntN(40))
}

func (g *tracer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// atMost gives how many answers of a list are taken.
func (g *tracer) atMost() int { return pick(g, []int{1, 2, 5, 1 << 20}) }

var traceTenants = func() (all []store.Tenant) {
	all = append(all, store.Tenant{}, store.Tenant{15: 1}, store.Tenant{1})
	for _, c := range []byte{'A', 'a', 0x7f, 0x80, 0xff} {
		var t store.Tenant
		for i := range t {
			t[i] = c
		}
		all = append(all, t)
	}
	return all
}()

// errOwn is what a transaction's function returns to undo it.
var errOwn = errors.New("undone")

// class tells errors apart as callers do.
func class(err error) string {
	for _, e := range []error{
		errOwn, store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrDeposed, store.ErrUnavailable, store.ErrCorrupt, store.ErrClosed, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	if err != nil {
		return "refused"
	}
	return "ok"
}

// told gives bytes and an error as text; the bytes of an error count too, as there must be none.
func told(b []byte, err error) string {
	if err == nil && b == nil {
		return "nil instead of bytes"
	}
	if len(b) > 40 {
		return fmt.Sprintf("%d bytes %x… %s", len(b), digest(b), class(err))
	}
	return fmt.Sprintf("%x %s", b, class(err))
}

// list gathers what a listing yields.
type list struct {
	strings.Builder
	n, most int
}

// add takes one more and reports whether the listing goes on.
func (l *list) add(format string, args ...any) bool {
	fmt.Fprintf(&l.Builder, format+"; ", args...)
	l.n++
	return l.n < l.most
}
