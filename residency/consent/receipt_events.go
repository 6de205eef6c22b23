package consent

import (
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// revised reports whether, by the time of issue, a revision of the policy voided
// the consent while it still ran.
func (w *writer) revised() bool {
	p := w.f.PolicySuperseded
	return !p.IsZero() && !p.After(w.f.Issued) && !w.endedBefore(p) && p.Before(w.c.Expires)
}

// expired reports whether the consent ran to its end. What was ended earlier
// does not expire as well.
func (w *writer) expired() bool {
	e := w.c.Expires
	return !e.After(w.f.Issued) && !w.endedBefore(e) && !w.revised()
}

// endedBefore reports whether somebody ended the consent before a moment.
func (w *writer) endedBefore(t time.Time) bool {
	c := w.c
	return !c.Withdrawn.IsZero() && c.Withdrawn.Before(t) || !c.Superseded.IsZero() && c.Superseded.Before(t)
}

// status says where the consent stands when the receipt is issued.
func (w *writer) status() term {
	state := w.c.State(w.f.Issued)
	if w.revised() && state != residency.ConsentWithdrawn {
		state = residency.ConsentSuperseded
	}
	return w.term("consent-state", stateConcepts[state], state.String())
}

// events are the consent's history in the order in which it was recorded.
// Nothing that is listed once is missing later: the acts never are, and what time alone
// brings about counts only if nothing ended the consent before.
func (w *writer) events() []event {
	var out []dated
	add := func(t time.Time, happened bool, e func(time.Time) event) {
		if happened {
			out = append(out, dated{t, e(t)})
		}
	}
	c := w.c
	add(c.Granted, true, w.recordedEvent)
	add(w.f.PolicySuperseded, w.revised(), w.revisedEvent)
	add(c.Expires, w.expired(), w.expiredEvent)
	add(c.Superseded, !c.Superseded.IsZero(), w.supersededEvent)
	add(c.Withdrawn, !c.Withdrawn.IsZero(), w.withdrawnEvent)
	// Of events at one moment, an act stands behind what time brought about.
	slices.SortStableFunc(out[1:], func(a, b dated) int { return a.at.Compare(b.at) })
	return undated(out)
}

type dated struct {
	at time.Time
	event
}

func undated(list []dated) []event {
	out := make([]event, len(list))
	for i := range list {
		out[i] = list[i].event
	}
	return out
}

// change makes an event that took place when it was recorded.
func (w *writer) change(name, concept string, at time.Time, by entity) event {
	return event{
		Type: []string{concept}, Change: name, Label: w.label("change:" + name),
		Indicated: stamp(at), Recorded: stamp(at), IndicatedBy: by,
		Duration: duration{Type: "dpv:EndlessDuration"},
	}
}

// recordedEvent: somebody consented, as the caller that recorded it asserts.
func (w *writer) recordedEvent(at time.Time) event {
	c := w.c
	grantor := entity{Type: "dpv:Entity", Name: c.Evidence.Grantor, AssertedBy: c.GrantedBy}
	if c.Kind == residency.Parental {
		grantor.Type = "dpv:ParentOfDataSubject"
	}
	e := w.change("RECORDED", "dpv:ConsentGiven", at, grantor)
	e.Type = append(e.Type, legalBasis)
	e.Indicated = stamp(c.Evidence.Stated)
	e.RecordedBy = caller(c.GrantedBy)
	e.Method = c.Evidence.Method
	e.Duration = w.untilEnd()
	return e
}

// revisedEvent: the controller's next policy does not uphold the consent.
func (w *writer) revisedEvent(at time.Time) event {
	by := entity{ID: w.controllerID(), Type: "dpv:DataController", Name: w.f.Controller}
	e := w.change("POLICY_REVISED", "dpv:ConsentInvalidated", at, by)
	e.PolicyVersion = w.f.SupersedingVersion
	return e
}

// expiredEvent: nobody acts; the region's clock passed the consent's end.
func (w *writer) expiredEvent(at time.Time) event {
	return w.change("EXPIRED", "dpv:ConsentExpired", at,
		entity{ID: urn("region", string(w.f.Region), "clock"), Type: "dpv:Entity", Label: w.label("clock")})
}

// supersededEvent: a later consent took its place.
func (w *writer) supersededEvent(at time.Time) event {
	e := w.change("SUPERSEDED", "dpv:ConsentInvalidated", at,
		entity{ID: w.consentID(w.c.SupersededBy), Type: "dpv:ConsentRecord", Identifier: w.c.SupersededBy})
	if w.f.SupersedingCaller != "" {
		e.RecordedBy = caller(w.f.SupersedingCaller)
	}
	return e
}

// withdrawnEvent: a caller took it back; whose wish that was is for it to say.
func (w *writer) withdrawnEvent(at time.Time) event {
	return w.change("WITHDRAWN", "dpv:ConsentWithdrawn", at, *caller(w.c.WithdrawnBy))
}

// caller names software by the identity in its certificate.
func caller(id string) *entity { return &entity{Type: "dpv:Entity", Identifier: id} }
