package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// traceKinds are the kinds of rows that a trace writes. Those of KindDecision come with entries alone.
var traceKinds = []store.Kind{store.KindTenant, store.KindRecord, store.KindConsent, store.KindExtent}

func digest(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// txStep is one operation within a transaction.
type txStep struct {
	text string
	do   func(tx store.Tx) string
}

// transaction makes an Update or a View of a few operations, which may end in being undone.
func (g *tracer) transaction() traceStep {
	scope := store.Scope{Tenant: pick(g, traceTenants), Exclusive: g.IntN(2) == 0}
	for range g.IntN(4) {
		scope.Objects = append(scope.Objects, store.Lock{Object: g.anID(), Exclusive: g.IntN(2) == 0})
	}
	if g.IntN(100) == 0 {
		scope.Objects = make([]store.Lock, 65) // a duplicate counts once
		for i := range scope.Objects {
			scope.Objects[i].Object = store.ID([]byte{byte(i)})
		}
	}
	view, undone, led := g.IntN(4) == 0, g.IntN(8) == 0, g.IntN(16)
	var steps []txStep
	for range 1 + g.IntN(12) {
		steps = append(steps, g.txStep(scope.Tenant))
	}
	if g.IntN(60) == 0 {
		for range 9 {
			steps = append(steps, g.appendStep())
		}
	}
	text := make([]string, len(steps))
	for i, s := range steps {
		text[i] = s.text
	}
	name := map[bool]string{true: "View", false: "Update"}[view]
	return traceStep{
		text:       fmt.Sprintf("%s of %s, %d objects, undone %v, led %d: %s", name, scope.Tenant, len(scope.Objects), undone, led, strings.Join(text, "; ")),
		operations: len(steps) + 1,
		run: func(ctx context.Context, s *Setup) string {
			do := s.Rows.Update
			if view {
				do = s.Rows.View
			}
			scope := scope
			switch led {
			case 0: // by who leads, or did until a moment ago
				scope.Epoch = s.epoch
			case 1:
				scope.Epoch = s.epoch + 1
			}
			return runTransaction(ctx, do, scope, steps, undone)
		},
	}
}

func runTransaction(ctx context.Context, do func(context.Context, store.Scope, func(store.Tx) error) error, scope store.Scope, steps []txStep, undone bool) string {
	var answers []string
	var after store.Tx
	err := do(ctx, scope, func(tx store.Tx) error {
		answers, after = nil, tx // it may run again
		now := tx.Now()
		for _, s := range steps {
			answers = append(answers, s.do(tx))
		}
		if !tx.Now().Equal(now) {
			answers = append(answers, "the transaction's clock went on")
		}
		if undone {
			return errOwn
		}
		return nil
	})
	if after != nil {
		_, dead := after.Get(store.KindTenant, "")
		answers = append(answers, "afterwards "+class(dead))
	}
	return strings.Join(append(answers, class(err)), "; ")
}

func (g *tracer) txStep(tenant store.Tenant) txStep {
	kind, id := pick(g, traceKinds), g.anID()
	switch n := g.IntN(100); {
	case n < 25:
		if g.IntN(6) == 0 {
			kind = store.KindDecision
		}
		return txStep{fmt.Sprintf("get %d %q", kind, id), func(tx store.Tx) string { return told(tx.Get(kind, id)) }}
	case n < 40:
		return g.scanStep()
	case n < 70:
		value := g.aValue()
		return txStep{
			fmt.Sprintf("put %d %q %d bytes", kind, id, len(value)),
			func(tx store.Tx) string { return class(tx.Put(kind, id, slices.Clone(value))) },
		}
	case n < 80:
		return txStep{fmt.Sprintf("delete %d %q", kind, id), func(tx store.Tx) string { return class(tx.Delete(kind, id)) }}
	case n < 92:
		return g.taskStep(tenant)
	}
	return g.appendStep()
}

func (g *tracer) scanStep() txStep {
	kind, prefix, after, most := pick(g, traceKinds), store.ID(""), store.ID(""), g.atMost()
	if g.IntN(4) > 0 {
		prefix = g.anID()
	}
	if g.IntN(2) == 0 {
		after = g.anID()
	}
	inner := g.IntN(5) == 0 // a row is looked up while the scan is under way
	return txStep{fmt.Sprintf("scan %d %q after %q, at most %d, looking %v", kind, prefix, after, most, inner), func(tx store.Tx) string {
		l := list{most: most}
		err := tx.Scan(kind, prefix, after, func(id store.ID, value []byte) bool {
			more := l.add("%q=%d:%x", id, len(value), digest(value))
			if inner {
				l.WriteString(told(tx.Get(kind, id)))
			}
			return more
		})
		return l.String() + class(err)
	}}
}

// traceTimes are when tasks are due: long ago and in a long time, so that what is due does not depend on when a trace runs.
var traceTimes = []time.Time{
	time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 999_999_999), time.Unix(1_500_000_000, 1), time.Unix(1_500_000_000, 2),
	time.Unix(7_000_000_000, 0), time.Unix(0, math.MaxInt64),
}

// taskStep puts a task on the agenda or takes one off. Each has a time of its own, as equal ones have no order.
func (g *tracer) taskStep(tenant store.Tenant) txStep {
	n := g.IntN(len(traceTimes))
	task := store.Task{Tenant: tenant, Kind: store.TaskKind(1 + n), ID: pick(g, awkward), Value: g.aValue()}
	at := traceTimes[n].UnixNano()
	if at < math.MaxInt64 {
		at += 1000 * int64(slices.Index(traceTenants, tenant)*len(awkward)+slices.Index(awkward, task.ID))
	}
	task.At = time.Unix(0, at)
	off, foreign := g.IntN(3) == 0, g.IntN(12) == 0
	if foreign {
		task.Tenant = store.Tenant{1, 2, 3}
	}
	return txStep{fmt.Sprintf("task %d %q at %d, off %v, foreign %v", task.Kind, task.ID, at, off, foreign), func(tx store.Tx) string {
		if off {
			return class(tx.Unschedule(task))
		}
		return class(tx.Schedule(task))
	}}
}

func (g *tracer) appendStep() txStep {
	index, body := store.ID(""), g.aValue()
	if g.IntN(3) > 0 {
		index = g.anID()
	}
	return txStep{fmt.Sprintf("append %q %d bytes", index, len(body)), func(tx store.Tx) string {
		return class(tx.Append(index, func(place uint64) []byte {
			return append(binary.BigEndian.AppendUint64(nil, place), body...)
		}))
	}}
}

// outboxStep reads entries or the agenda.
func (g *tracer) outboxStep() traceStep {
	place, most := pick(g, []uint64{0, 1, 2, 17, uint64(g.IntN(5000)), 1 << 40, math.MaxInt64, math.MaxUint64}), pick(g, []int{1, 20})
	step := traceStep{operations: 1}
	switch g.IntN(8) {
	case 7:
		return g.dropStep()
	case 6:
		return g.atStep(most)
	case 5:
		return g.leadStep()
	case 0:
		step.text = fmt.Sprintf("entry %d", place)
		step.run = func(ctx context.Context, s *Setup) string { return told(s.Outbox.Entry(ctx, place)) }
	case 1:
		step.text = fmt.Sprintf("entries from %d, at most %d", place, most)
		step.run = func(ctx context.Context, s *Setup) string { return entriesOf(ctx, s, place, most) }
	case 2:
		step.text = "first and last"
		step.run = func(ctx context.Context, s *Setup) string {
			return endsOf(ctx, s)
		}
	default:
		limit := pick(g, []int{0, 1, 3, 10_000})
		step.text = fmt.Sprintf("due, at most %d", limit)
		step.run = func(ctx context.Context, s *Setup) string { return dueOf(ctx, s, limit) }
	}
	return step
}

// leadStep asks for the leadership for a time that outlasts the trace, or gives it up.
func (g *tracer) leadStep() traceStep {
	holder := pick(g, []string{"one", "one", "two", "\x00\xff", "", strings.Repeat("h", 129)})
	ttl := pick(g, []time.Duration{24 * time.Hour, 0, 0, -1})
	return traceStep{fmt.Sprintf("lead %q for %v", holder, ttl), 1, func(ctx context.Context, s *Setup) string {
		epoch, err := s.Rows.Lead(ctx, holder, ttl)
		if err == nil {
			s.epoch = epoch
		}
		return fmt.Sprint(epoch, " ", class(err))
	}}
}

// dropStep drops some of the entries that are left, and now and then would drop some that are not there yet.
func (g *tracer) dropStep() traceStep {
	n, beyond := uint64(g.IntN(8)), g.IntN(10) == 0 //nolint:gosec // small
	return traceStep{fmt.Sprintf("drop %d more, beyond %v", n, beyond), 2, func(ctx context.Context, s *Setup) string {
		place, err := s.Outbox.First(ctx)
		if beyond {
			place, err = s.Outbox.Last(ctx)
		}
		if err != nil {
			return class(err)
		}
		return class(s.Outbox.Drop(ctx, place-1+n, 0)) + endsOf(ctx, s)
	}}
}

// atStep reads entries at places near the newest.
func (g *tracer) atStep(most int) traceStep {
	before := make([]uint64, g.IntN(8))
	if g.IntN(20) == 0 {
		before = make([]uint64, store.MaxPlaces-1+g.IntN(2))
	}
	for i := range before {
		before[i] = uint64(g.IntN(20)) //nolint:gosec // not negative
	}
	return traceStep{fmt.Sprintf("entries at %d before the newest, at most %d", before, most), 2, func(ctx context.Context, s *Setup) string {
		last, err := s.Outbox.Last(ctx)
		if err != nil {
			return class(err)
		}
		places := []uint64{math.MaxUint64}
		for _, n := range before {
			places = append(places, last+2-n)
		}
		l := list{most: most}
		err = s.Outbox.At(ctx, places, func(place uint64, entry []byte) bool { return l.add("%d=%s", place, told(entry, nil)) })
		return l.String() + class(err)
	}}
}

// endsOf gives the first place and the last.
func endsOf(ctx context.Context, s *Setup) string {
	first, one := s.Outbox.First(ctx)
	last, two := s.Outbox.Last(ctx)
	return fmt.Sprint(first, class(one), last, class(two))
}

// tenantsStep lists tenants.
func (g *tracer) tenantsStep() traceStep {
	after, most := pick(g, traceTenants), g.atMost()
	return traceStep{fmt.Sprintf("tenants after %s, at most %d", after, most), 1, func(ctx context.Context, s *Setup) string {
		return tenantsOf(ctx, s, after, most)
	}}
}

func tenantsOf(ctx context.Context, s *Setup, after store.Tenant, most int) string {
	l := list{most: most}
	err := s.Rows.Tenants(ctx, after, func(t store.Tenant) bool { return l.add("%s", t) })
	return l.String() + class(err)
}

func entriesOf(ctx context.Context, s *Setup, from uint64, most int) string {
	l := list{most: most}
	err := s.Outbox.Entries(ctx, from, func(place uint64, entry []byte) bool { return l.add("%d=%s", place, told(entry, nil)) })
	return l.String() + class(err)
}

func dueOf(ctx context.Context, s *Setup, limit int) string {
	tasks, err := s.Rows.Due(ctx, limit)
	l := list{most: limit}
	for _, t := range tasks {
		l.add("%d %s %d %q=%x", t.At.UnixNano(), t.Tenant, t.Kind, t.ID, digest(t.Value))
	}
	return l.String() + class(err)
}
