package policy

import (
	"errors"
	"fmt"
	"time"
)

// Active gives the version in force at a time: of those that are effective by
// then the newest. It is nil when there is none. Versions that Check accepts have at most one answer.
func Active(versions []*Policy, now time.Time) *Policy {
	var active *Policy
	for _, p := range versions {
		if p != nil && !p.Effective.After(now) && (active == nil || p.Effective.After(active.Effective)) {
			active = p
		}
	}
	return active
}

// Check reports what is wrong with a region's set of versions: none at all,
// one version string with two digests, two versions effective at the same time, or versions of
// different jurisdictions or controllers. Listing the same file twice is harmless.
func Check(versions []*Policy) error {
	if len(versions) == 0 {
		return errors.New("policy: no version: want at least one policy file")
	}
	for i, p := range versions {
		if p == nil || len(p.table.cells) == 0 {
			return errors.New("policy: a version was not parsed: want what Parse returns")
		}
		for _, o := range versions[:i] {
			if err := compatible(o, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func compatible(a, b *Policy) error {
	switch {
	case a.Digest == b.Digest:
		return nil
	case a.Version == b.Version:
		return fmt.Errorf("policy: version %s has two digests, %s and %s: a changed file needs a version of its own", a.Version, a.Digest, b.Digest)
	case a.Effective.Equal(b.Effective):
		return fmt.Errorf("policy: versions %s and %s are effective at the same time: want one later than the other", a.Version, b.Version)
	case a.Jurisdiction != b.Jurisdiction:
		return fmt.Errorf("policy: versions %s and %s are of %s and %s: want one jurisdiction", a.Version, b.Version, a.Jurisdiction, b.Jurisdiction)
	case a.Controller != b.Controller:
		return fmt.Errorf("policy: versions %s and %s name different controllers: want one", a.Version, b.Version)
	}
	return nil
}
