package proof

import (
	"errors"
	"testing"
)

// Entries are handed over once each, in the order of their places, and as they stand in the log; of a part
// only the part's, and none of those that were dropped.
func TestEachEntryIsGiven(t *testing.T) {
	all := entries(1000)
	l := build(t, all)
	for _, c := range []struct {
		name        string
		o           Options
		gone        []string
		first, last uint64
	}{
		{"the whole log", Options{}, nil, 1, 1000},
		{"a part", Options{First: 250, Last: 600}, nil, 250, 600},
		{"one entry", Options{First: 512, Last: 512}, nil, 512, 512},
		{"what is left", Options{}, []string{"tile/entries/000", "tile/entries/001"}, 513, 1000},
		{"nothing is left", Options{Last: 768}, []string{"tile/entries/000", "tile/entries/001", "tile/entries/002"}, 1, 0},
	} {
		s := l.serve(t)
		for _, path := range c.gone {
			s.gone[path] = true
		}
		next := c.first
		c.o.Each = func(e *Entry) error {
			want, err := ParseEntry(all[next-1])
			if err != nil || e.Place != next || e.DecisionID != want.DecisionID || !e.Time.Equal(want.Time) {
				t.Fatalf("%s: want the entry of place %d, got that of %d (%v)", c.name, next, e.Place, err)
			}
			next++
			return nil
		}
		if _, f := verify(t, s, l.key, c.o); f != nil || next != c.last+1 {
			t.Errorf("%s: given up to place %d, want %d; %v", c.name, next-1, c.last, f)
		}
	}
}

// Nothing of a bundle in which something is wrong is handed over, and an error of the reader's own ends the walk.
func TestEachEntryIsVerifiedBefore(t *testing.T) {
	l := build(t, entries(1000))
	s := l.serve(t)
	editEntry(s, 700)
	var last uint64
	o := Options{Each: func(e *Entry) error { last = e.Place; return nil }}
	if _, f := verify(t, s, l.key, o); f == nil || f.Place != 700 || last != 512 {
		t.Errorf("given up to place %d, want 512; %v", last, f)
	}
	enough := errors.New("enough")
	o.Each = func(e *Entry) error {
		if last = e.Place; last == 300 {
			return enough
		}
		return nil
	}
	if r, err := VerifyLog(t.Context(), l.serve(t), l.key, o); !errors.Is(err, enough) || last != 300 || r.Verified != 0 {
		t.Errorf("%v at place %d, %d verified", err, last, r.Verified)
	}
}
