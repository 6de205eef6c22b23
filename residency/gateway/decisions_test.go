package gateway

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// tail is an outbox whose entries beyond a place are not durable yet, though their commits are
// visible, and that may lack one.
type tail struct {
	store.Outbox
	durable uint64 // the newest place that is; 0 = all are
	lost    uint64 // the place of an entry that is missing; 0 = none
}

func (o *tail) Last(ctx context.Context) (uint64, error) {
	last, err := o.Outbox.Last(ctx)
	if o.durable != 0 {
		last = min(last, o.durable)
	}
	return last, err
}

func (o *tail) hidden(place uint64) bool {
	return o.durable != 0 && place > o.durable || o.lost != 0 && place == o.lost
}

func (o *tail) At(ctx context.Context, places []uint64, yield func(uint64, []byte) bool) error {
	return o.Outbox.At(ctx, slices.DeleteFunc(slices.Clone(places), o.hidden), yield)
}

func (o *tail) Entry(ctx context.Context, place uint64) ([]byte, error) {
	if o.hidden(place) {
		return nil, fmt.Errorf("%w: place %d", store.ErrNotFound, place)
	}
	return o.Outbox.Entry(ctx, place)
}

// What is not durable yet has not happened: a stream's end is not told, and a decision is not
// there. An entry that is missing among the durable ones is damage.
func TestDecisionsThatAreNotDurableYet(t *testing.T) {
	o := &tail{}
	w := newWorld(t, func(c *Config) {
		cl := &c.Regions[0].Clusters[0]
		o.Outbox, cl.Outbox = cl.Outbox, o
	})
	w.tenant("alpen", ch)
	w.drive("alpen", "d1", 1<<20)
	_, err := w.write(ch, "alpen", "d1", 0, bytes.Repeat([]byte{1}, 1000))
	w.ok(err)
	log := w.entries("ch")
	intent, ended := log[len(log)-2], log[len(log)-1]
	govern := func() *Call { return as(ch, "GetDecision", residency.Govern, residency.PersonalInformation) }
	listed := func() bool {
		t.Helper()
		list, _, err := w.g.ListDecisions(t.Context(), govern(), ListDecisions{Tenant: "alpen"})
		w.ok(err)
		for _, r := range list {
			if r.Decision.ID == intent.DecisionID {
				return true
			}
		}
		return false
	}
	for _, step := range []struct {
		durable, lost uint64
		want          residency.Kind
		end, listed   bool
	}{
		{0, 0, residency.OK, true, true},
		{ended.Place, 0, residency.OK, true, true},
		{intent.Place, 0, residency.OK, false, true},
		{intent.Place - 1, 0, residency.NotFound, false, false},
		{0, ended.Place, residency.IntegrityFailure, false, false},
	} {
		o.durable, o.lost = step.durable, step.lost
		r, err := w.g.GetDecision(t.Context(), govern(), "alpen", intent.DecisionID)
		if residency.KindOf(err) != step.want || (r.Stream != nil) != step.end {
			t.Errorf("durable up to %d, without %d: %+v (%v)", step.durable, step.lost, r.Stream, err)
		}
		if step.lost == 0 && listed() != step.listed {
			t.Errorf("durable up to %d: listed is %v", step.durable, !step.listed)
		}
	}
}
