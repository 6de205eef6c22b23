package policy

import "github.com/domicile-project/domicile/residency"

// What a cell of a comparison is, when it is not the number of the way in which it changes.
const (
	unchanged = 0
	anyway    = -1 // malformed before and after: a box may hold it, and does not count it
	covered   = -2 // in a box already
)

// changeMap says of each cell of a comparison in which way it changes: a number
// from 1 for each pair of answers.
type changeMap struct {
	sizes cell
	ways  []int32
}

// growth is the order in which a box grows: what matters least to a reader first, so that it goes without saying.
var growth = [numDimensions]dimension{byParty, bySource, byRecipient, byPurpose, byPlace, byClass, byAction}

// hollow are the dimensions in which a box may grow by values that are malformed
// throughout, which lets it say "any" where an access does not have the dimension at all.
var hollow = [numDimensions]bool{byParty: true, bySource: true, byRecipient: true, byPurpose: true}

// grow gives a largest box around a cell that holds no cell that changes otherwise or not
// at all, and how many changing cells it holds, which are covered from then on.
func (m *changeMap) grow(seed cell, way int32) (matcher, int) {
	var box matcher
	for d, v := range seed {
		box[d] = 1 << v
	}
	for before := (matcher{}); box != before; { // again, while growth in one dimension makes room in another
		before = box
		for _, d := range growth {
			m.widen(&box, d, way)
		}
	}
	decisions := 0
	m.within(box, func(i int) bool {
		if m.ways[i] == way {
			m.ways[i] = covered
			decisions++
		}
		return true
	})
	return box, decisions
}

// widen adds to a box the values of one dimension that fit.
func (m *changeMap) widen(box *matcher, d dimension, way int32) {
	for v := range m.sizes[d] {
		if box[d]&(1<<v) != 0 {
			continue
		}
		slice := *box
		slice[d] = 1 << v
		if m.fits(slice, way, hollow[d]) {
			box[d] |= 1 << v
		}
	}
}

// fits reports whether every well-formed cell of a box changes in one way, and any does.
func (m *changeMap) fits(box matcher, way int32, empty bool) bool {
	some := empty
	return m.within(box, func(i int) bool {
		some = some || m.ways[i] == way
		return m.ways[i] == way || m.ways[i] == anyway
	}) && some
}

// within calls f with the number of each cell of a box until it returns false, and
// reports whether it never did.
func (m *changeMap) within(box matcher, f func(int) bool) bool {
	return m.below(box, 0, 0, f)
}

func (m *changeMap) below(box matcher, d dimension, base int, f func(int) bool) bool {
	if d == numDimensions {
		return f(base)
	}
	for v := range m.sizes[d] {
		if box[d]&(1<<v) != 0 && !m.below(box, d+1, base*int(m.sizes[d])+int(v), f) {
			return false
		}
	}
	return true
}

// comparison lays two policies over the same cells: those of a table whose places are
// those of both.
type comparison struct {
	from, to           *Policy
	sizes              cell
	places             []residency.Jurisdiction // a jurisdiction of each place; zero = home
	fromPlace, toPlace []uint8                  // each place's index in either table
}

func newComparison(from, to *Policy) *comparison {
	m := &comparison{from: from, to: to, places: []residency.Jurisdiction{{}, {}}}
	known := map[residency.Jurisdiction]bool{from.Jurisdiction: true, to.Jurisdiction: true}
	for _, p := range []*Policy{from, to} {
		for _, j := range p.table.named {
			if !known[j] {
				m.places = append(m.places, j)
			}
			known[j] = true
		}
	}
	for _, j := range residency.Jurisdictions() {
		if !known[j] {
			m.places[placeOther] = j
			break
		}
	}
	for _, j := range m.places {
		m.fromPlace = append(m.fromPlace, from.table.placeOf(j))
		m.toPlace = append(m.toPlace, to.table.placeOf(j))
	}
	m.sizes = sizesOf(len(m.places) - placeNamed)
	return m
}

// at gives both verdicts of a cell.
func (m *comparison) at(c cell) (before, after *verdict) {
	place := c[byPlace]
	c[byPlace] = m.fromPlace[place]
	before = m.from.table.at(c)
	c[byPlace] = m.toPlace[place]
	return before, m.to.table.at(c)
}
