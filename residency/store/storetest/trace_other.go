package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

var traceRegions = []residency.Region{"c", "ch", "ch-1", "us"}

// aPlacement gives one of few placements, so that what is expected is often there.
func (g *tracer) aPlacement() store.Placement {
	return store.Placement{
		Region: pick(g, traceRegions), Cluster: pick(g, []string{"zrh-1", "Zrh-1", "a.b_c"}), Epoch: uint64(1 + g.IntN(2)), //nolint:gosec // small
		State: store.PlacementState(1 + g.IntN(2)), Time: time.Unix(1_700_000_000, int64(g.IntN(2))), //nolint:gosec // small
	}
}

func placed(p store.Placement, err error) string {
	if p == (store.Placement{}) {
		return class(err)
	}
	return fmt.Sprintf("%s %s %d %d %d %s", p.Region, p.Cluster, p.Epoch, p.State, p.Time.UnixNano(), class(err))
}

func (g *tracer) directoryStep() traceStep {
	t, p := pick(g, traceTenants[1:]), g.aPlacement() // the zero tenant lives nowhere
	step := traceStep{operations: 1}
	switch g.IntN(4) {
	case 0:
		step.text = fmt.Sprintf("find %s", t)
		step.run = func(ctx context.Context, s *Setup) string { return placed(s.Directory.Find(ctx, t)) }
	case 1:
		step.text = fmt.Sprintf("reserve %s %+v", t, p)
		step.run = func(ctx context.Context, s *Setup) string { return placed(s.Directory.Reserve(ctx, t, p)) }
	case 2:
		stale := g.IntN(3) == 0
		step.text = fmt.Sprintf("update %s to %+v, of what was never there %v", t, p, stale)
		step.operations = 2
		step.run = func(ctx context.Context, s *Setup) string { return replace(ctx, s.Directory, t, p, stale) }
	case 3:
		if t = pick(g, traceTenants); g.IntN(3) == 0 {
			t = store.Tenant{}
		}
		most := g.atMost()
		step.text = fmt.Sprintf("list %s after %s, at most %d", p.Region, t, most)
		step.run = func(ctx context.Context, s *Setup) string { return placements(ctx, s.Directory, p.Region, t, most) }
	}
	return step
}

// replace replaces the placement that is there, or one that differs from it a little.
func replace(ctx context.Context, d store.Directory, t store.Tenant, p store.Placement, stale bool) string {
	old, found := d.Find(ctx, t)
	if stale {
		old.Time = old.Time.Add(1)
	}
	if found != nil {
		old = p
	}
	return class(found) + " " + class(d.Update(ctx, t, old, p))
}

func placements(ctx context.Context, d store.Directory, r residency.Region, after store.Tenant, most int) string {
	l := list{most: most}
	err := d.List(ctx, r, after, func(t store.Tenant, p store.Placement) bool { return l.add("%s %s", t, placed(p, nil)) })
	return l.String() + class(err)
}

// keyName gives a key's name; one in twenty is too long.
func (g *tracer) keyName() string {
	if g.IntN(20) == 0 {
		return strings.Repeat("k", 64+g.IntN(2))
	}
	return string(pick(g, awkward)) + string(pick(g, awkward))
}

func (g *tracer) keysStep() traceStep {
	name, wrapped, most := g.keyName(), g.aValue(), g.atMost()
	step := traceStep{operations: 1}
	switch g.IntN(10) {
	case 0, 1, 2:
		step.text = fmt.Sprintf("get key %q", name)
		step.run = func(ctx context.Context, s *Setup) string { return told(s.Keys.Get(ctx, name)) }
	case 3, 4, 5, 6:
		step.text = fmt.Sprintf("create key %q, %d bytes", name, len(wrapped))
		step.run = func(ctx context.Context, s *Setup) string {
			return told(s.Keys.Create(ctx, name, bytes.Clone(wrapped)))
		}
	case 7:
		if g.IntN(3) > 0 {
			name = string(pick(g, awkward))
		}
		step.text = fmt.Sprintf("destroy keys %q", name)
		step.run = func(ctx context.Context, s *Setup) string { return class(s.Keys.Destroy(ctx, name)) }
	case 8:
		step.text = "ping the keys"
		step.run = func(ctx context.Context, s *Setup) string { return class(s.Keys.Ping(ctx)) }
	case 9:
		prefix := pick(g, []string{"", "a", "\x00", "\xff", "\xff\xff", name})
		step.text = fmt.Sprintf("list keys %q, at most %d", prefix, most)
		step.run = func(ctx context.Context, s *Setup) string { return wrappedKeys(ctx, s.Keys, prefix, most) }
	}
	return step
}

func wrappedKeys(ctx context.Context, k store.Keys, prefix string, most int) string {
	l := list{most: most}
	err := k.List(ctx, prefix, func(name string, wrapped []byte) bool { return l.add("%q=%d:%x", name, len(wrapped), digest(wrapped)) })
	return l.String() + class(err)
}

// blobName gives an object's name; some are prefixes of others, sort differently as paths, or are not allowed.
func (g *tracer) blobName() string {
	switch g.IntN(12) {
	case 0:
		return pick(g, []string{"", "/", "a//b", "a/", "/a", "A", "a.b", "..", "\xff", strings.Repeat("n", 201), strings.Repeat("n", 200)})
	case 1, 2, 3, 4, 5:
		if len(g.blobs) > 0 {
			return pick(g, g.blobs)
		}
	}
	parts := []string{"a", "a-b", "a0", "b", "0", "-"}
	name := pick(g, parts)
	for range g.IntN(3) {
		name += "/" + pick(g, parts)
	}
	g.blobs = append(g.blobs, name)
	return name
}

func (g *tracer) blobsStep() traceStep {
	name := g.blobName()
	switch g.IntN(10) {
	case 0, 1, 2:
		return g.createStep(name)
	case 3, 4, 5, 6:
		from, length := pick(g, []int64{0, 1, 39, 1 << 20, -1}), pick(g, []int64{0, 1, 40, 4096, -1})
		return traceStep{fmt.Sprintf("open %q at %d, %d bytes", name, from, length), 1, func(ctx context.Context, s *Setup) string {
			return opened(ctx, s.Blobs, name, from, length)
		}}
	case 7:
		return traceStep{fmt.Sprintf("delete %q", name), 1, func(ctx context.Context, s *Setup) string { return class(s.Blobs.Delete(ctx, name)) }}
	}
	prefix, most := pick(g, []string{"", "a", "a/", "a-", "b", "zz"}), g.atMost()
	return traceStep{fmt.Sprintf("list %q, at most %d", prefix, most), 1, func(ctx context.Context, s *Setup) string {
		return objects(ctx, s.Blobs, prefix, most)
	}}
}

// createStep writes an object in two parts and commits or drops it; sometimes another writer was first.
func (g *tracer) createStep(name string) traceStep {
	one, two, how := g.aValue(), g.aValue(), g.IntN(4)
	if g.IntN(100) == 0 {
		one = g.bytes(6 << 20) // more than one part where objects have parts
	}
	return traceStep{fmt.Sprintf("create %q, %d+%d bytes, way %d", name, len(one), len(two), how), 4, func(ctx context.Context, s *Setup) string {
		w, err := s.Blobs.Create(ctx, name)
		if err != nil {
			return class(err)
		}
		defer w.Abort()
		_, first := w.Write(one)
		_, second := w.Write(two)
		answers := []string{class(first), class(second)}
		switch how {
		case 0:
			w.Abort()
		case 1:
			answers = append(answers, overtake(ctx, s.Blobs, name))
		}
		answers = append(answers, class(w.Commit()))
		_, late := w.Write([]byte("late"))
		return strings.Join(append(answers, class(late), class(w.Commit())), " ")
	}}
}

// overtake commits an object while another writer of the same name is at work.
func overtake(ctx context.Context, b store.Blobs, name string) string {
	w, err := b.Create(ctx, name)
	if err != nil {
		return class(err)
	}
	defer w.Abort()
	_, err = w.Write([]byte("first"))
	return class(errors.Join(err, w.Commit()))
}

func opened(ctx context.Context, b store.Blobs, name string, from, length int64) string {
	r, err := b.Open(ctx, name, from, length)
	if err != nil {
		return class(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return told(data, nil) + " " + class(err)
}

func objects(ctx context.Context, b store.Blobs, prefix string, most int) string {
	l := list{most: most}
	err := b.List(ctx, prefix, func(name string) bool { return l.add("%s", name) })
	return l.String() + class(err)
}

// everything reads all that is there.
func (g *tracer) everything() []traceStep {
	const all = 1 << 30
	var steps []traceStep
	add := func(text string, run func(context.Context, *Setup) string) {
		steps = append(steps, traceStep{"in the end: " + text, 1, run})
	}
	for _, t := range traceTenants {
		for kind := store.Kind(1); kind < 30; kind++ {
			add(fmt.Sprintf("rows of kind %d of %s", kind, t), func(ctx context.Context, s *Setup) string {
				l := list{most: all}
				err := s.Rows.View(ctx, store.Scope{Tenant: t}, func(tx store.Tx) error {
					l = list{most: all}
					return tx.Scan(kind, "", "", func(id store.ID, v []byte) bool { return l.add("%q=%d:%x", id, len(v), digest(v)) })
				})
				return l.String() + class(err)
			})
		}
	}
	add("the tenants", func(ctx context.Context, s *Setup) string { return tenantsOf(ctx, s, store.Tenant{}, all) })
	add("the outbox's ends", endsOf)
	add("the outbox", func(ctx context.Context, s *Setup) string { return entriesOf(ctx, s, 1, all) })
	add("the agenda", func(ctx context.Context, s *Setup) string { return dueOf(ctx, s, all) })
	add("the keys", func(ctx context.Context, s *Setup) string { return wrappedKeys(ctx, s.Keys, "", all) })
	for _, r := range traceRegions {
		add("the directory of "+string(r), func(ctx context.Context, s *Setup) string {
			return placements(ctx, s.Directory, r, store.Tenant{}, all)
		})
	}
	add("the objects", func(ctx context.Context, s *Setup) string {
		answer := objects(ctx, s.Blobs, "", all)
		for name := range strings.SplitSeq(answer, "; ") {
			if checkName(name) == nil {
				answer += opened(ctx, s.Blobs, name, 0, 16<<20)
			}
		}
		return answer
	})
	return steps
}
