package gateway

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// versions is what a cluster knows of a region's policy versions at a moment.
type versions struct {
	now       time.Time
	recorded  map[string]policyRow // those that were in force
	announced []policyRow          // those that a gateway has said it has, lately or not
}

func readVersions(tx store.Tx) (versions, error) {
	v := versions{now: tx.Now(), recorded: make(map[string]policyRow)}
	err := errors.Join(
		scanPolicies(tx, store.KindPolicy, func(r policyRow) { v.recorded[r.Version] = r }),
		scanPolicies(tx, store.KindAnnounced, func(r policyRow) { v.announced = append(v.announced, r) }))
	return v, err
}

func scanPolicies(tx store.Tx, kind store.Kind, take func(policyRow)) error {
	var failed error
	err := tx.Scan(kind, "", "", func(_ store.ID, b []byte) bool {
		var r policyRow
		if failed = decodeRow(b, &r); failed == nil {
			take(r)
		}
		return failed == nil
	})
	return errors.Join(err, failed)
}

// lately reports whether an announcement is not older than that.
func (v *versions) lately(r *policyRow, age time.Duration) bool { return v.now.Sub(r.Announced) <= age }

// announces reports whether a version that is to come needs no announcement now.
func (v *versions) announces(p *policy.Policy) bool {
	return slices.ContainsFunc(v.announced, func(r policyRow) bool {
		return r.Version == p.Version && r.Digest == p.Digest && v.lately(&r, announceEvery)
	})
}

// haveAll reports whether there is nothing to write about a gateway's own versions.
func (v *versions) haveAll(own []*policy.Policy) bool {
	return !slices.ContainsFunc(own, func(p *policy.Policy) bool {
		if p.Effective.After(v.now) {
			return !v.announces(p)
		}
		_, ok := v.recorded[p.Version]
		return !ok
	})
}

// write records the versions that came into force, of which the first with a name stays, and announces those that
// will. Announcements that count no more go.
func (v *versions) write(tx store.Tx, own []*policy.Policy) error {
	for _, p := range own {
		r := policyRow{Version: p.Version, Digest: p.Digest, Effective: p.Effective}
		_, known := v.recorded[p.Version]
		switch {
		case p.Effective.After(v.now) && !v.announces(p):
			r.Announced = v.now
			if err := tx.Put(store.KindAnnounced, announcementID(&r), encodeRow(&r)); err != nil {
				return err
			}
			v.announced = append(v.announced, r)
		case !p.Effective.After(v.now) && !known:
			r.Recorded = v.now
			if err := tx.Put(store.KindPolicy, store.ID(p.Version), encodeRow(&r)); err != nil {
				return err
			}
			v.recorded[p.Version] = r
		}
	}
	return v.forget(tx)
}

// forget deletes the announcements of before that nobody has renewed.
func (v *versions) forget(tx store.Tx) error {
	for _, r := range v.announced {
		renewed := slices.ContainsFunc(v.announced, func(o policyRow) bool {
			return announcementID(&o) == announcementID(&r) && v.lately(&o, announcedStays)
		})
		if !renewed {
			if err := tx.Delete(store.KindAnnounced, announcementID(&r)); err != nil {
				return err
			}
		}
	}
	return nil
}

func announcementID(r *policyRow) store.ID { return store.ID(r.Version + "\x00" + r.Digest) }

// standing is what speaks against deciding by a gateway's own versions, from when on each.
type standing struct {
	lacking  []policyRow // versions that the gateway does not have
	disputed []policyRow // versions that it has with another digest

	complaints map[complaint]bool
}

// complaint is what the log is to say once.
type complaint struct {
	problem, version, digest string
	effective                time.Time
}

// standing compares a gateway's own versions with what the cluster knows. Whatever was announced lately when the
// cluster was looked at counts until the next look, however late that is.
func (v *versions) standing(own []*policy.Policy) *standing {
	s := &standing{complaints: make(map[complaint]bool)}
	active := policy.Active(own, v.now)
	for _, r := range v.recorded {
		s.compare(&r, own, active)
	}
	for _, r := range v.announced {
		if _, settled := v.recorded[r.Version]; !settled && v.lately(&r, announcedStays) {
			s.compare(&r, own, active)
		}
	}
	return s
}

// compare adds what a version says against a gateway's own.
func (s *standing) compare(r *policyRow, own []*policy.Policy, active *policy.Policy) {
	recorded := !r.Recorded.IsZero()
	i := slices.IndexFunc(own, func(p *policy.Policy) bool { return p.Version == r.Version })
	what := complaint{version: r.Version, digest: r.Digest, effective: r.Effective}
	switch {
	case i < 0:
		s.lacking = append(s.lacking, *r)
		if active != nil && !r.Effective.After(active.Effective) {
			return // it is in force no more
		}
		what.problem = "a policy version is to come into force that this gateway does not have"
		if recorded {
			what.problem = "a policy version is in force that this gateway does not have"
		}
	case own[i].Digest != r.Digest:
		s.disputed = append(s.disputed, *r)
		what.problem = "a policy version is announced with another digest than its file has here; the one that is recorded in force first will count"
		if recorded {
			what.problem = "a policy version is in force with another digest than its file has here"
		} else if own[i].Effective.Before(r.Effective) {
			s.disputed[len(s.disputed)-1].Effective = own[i].Effective
		}
	default:
		return
	}
	s.complaints[what] = true
}

// against reports whether another version than the gateway's own decides at a moment, or may: of a version
// that two files claim to be, none does before it is recorded which it is.
func (s *standing) against(active *policy.Policy, now time.Time) bool {
	return slices.ContainsFunc(s.disputed, func(r policyRow) bool { return !r.Effective.After(now) }) ||
		slices.ContainsFunc(s.lacking, func(r policyRow) bool { return !r.Effective.After(now) && r.Effective.After(active.Effective) })
}

// refused says why a gateway must not serve; nil when it may.
func (s *standing) refused(own []*policy.Policy) error {
	for _, r := range s.disputed {
		if r.Recorded.IsZero() {
			continue
		}
		i := slices.IndexFunc(own, func(p *policy.Policy) bool { return p.Version == r.Version })
		return residency.E("gateway.Prepare", residency.PolicyUnavailable, fmt.Errorf(
			"policy version %s was in force with digest %s, and its file has %s: a changed file needs a version of its own", r.Version, r.Digest, own[i].Digest))
	}
	return nil
}
