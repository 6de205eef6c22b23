package policy

import (
	"slices"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// Direction says whether a change permits more or less.
type Direction uint8

// The directions. Their numbers are those of the residency.v1 protos.
const (
	DirectionUnspecified Direction = iota
	Looser                         // what was refused may be permitted, or less is required
	Stricter                       // what was permitted is refused, or more is required
	Otherwise                      // something else is required, or another clause or reason is given
)

// Difference is what becomes different from one version of a policy to another.
type Difference struct {
	From, To             string    // the versions
	FromDigest, ToDigest string    // their digests
	Effective            time.Time // from when the later one applies
	Compared             int       // how many decisions were compared
	Changed              int       // how many of them differ
	Changes              []Change  // looser ones first, then stricter ones, each in the tables' order
	Unlisted             int       // how many of those that differ are in no change, because there are too many to read
	Restated             []Restated
	Voided               []VoidedConsents
}

// Change is a group of accesses that are decided otherwise in the same way.
type Change struct {
	Direction Direction
	Accesses  string // which, in the terms of policy files, for example "USE PERSONAL_INFORMATION abroad for PAYMENTS"
	Decisions int    // how many cells the group holds
	Before    string // what the earlier version says
	After     string // what the later one says
}

// Restated is something beside the decisions that the two files say differently.
type Restated struct {
	What   string // for example "consent_months" or "placement of residents of DE"
	Before string // "" = the earlier file does not say it
	After  string // "" = the later one does not
}

// VoidedConsents are consents of a shape that served under the earlier version and do no
// longer under the later one. A recorded consent is voided when every shape that it covers and that served is.
type VoidedConsents struct {
	Kind      residency.ConsentKind
	DataClass residency.DataClass
	To        string // where they lead: a jurisdiction, "home", "abroad", or "abroad but" and jurisdictions
	Purpose   residency.Purpose
	Clause    string // under which they no longer serve
}

// maxChanges bounds how many changes are listed, so that two files that have nothing
// in common make an answer that fits a message.
const maxChanges = 1000

// Compare compares two policies decision by decision: over every access that either
// tells apart. The later one is taken to follow the earlier whatever times they state. A policy
// that was not parsed differs in nothing.
//
// What changes in the same way is one change where it is one box over the dimensions; boxes are
// as large as they can be made one after the other, and no decision is in two. At most a
// thousand are listed, the looser ones first. The same policies always give the same difference.
func Compare(from, to *Policy) Difference {
	if from == nil || to == nil || len(from.table.cells) == 0 || len(to.table.cells) == 0 {
		return Difference{}
	}
	m := newComparison(from, to)
	d := Difference{
		From: from.Version, To: to.Version, FromDigest: from.Digest, ToDigest: to.Digest, Effective: to.Effective,
		Restated: restated(from, to), Voided: m.voided(),
	}
	m.changes(&d)
	return d
}

// patterns are the ways in which decisions change: a change without accesses for each,
// numbered from 1.
type patterns struct {
	changes []Change
	byText  map[Change]int32
	of      map[answers]int32
}

// number gives the way in which a pair of answers changes: pairs that read the same change alike.
func (p *patterns) number(a answers) int32 {
	if way, ok := p.of[a]; ok {
		return way
	}
	c := Change{Direction: a.direction()}
	c.Before, c.After = a.plain()
	way, ok := p.byText[c]
	if !ok {
		p.changes = append(p.changes, c)
		way = int32(len(p.changes))
		p.byText[c] = way
	}
	p.of[a] = way
	return way
}

// answers are what both versions say of an access.
type answers struct{ before, after *verdict }

// changes groups the decisions that differ.
func (m *comparison) changes(d *Difference) {
	grid, ways := m.survey(d)
	t := table{sizes: m.sizes}
	d.Unlisted = d.Changed
	for _, direction := range []Direction{Looser, Stricter, Otherwise} {
		i := 0
		t.each(func(c cell) {
			if way := grid.ways[i]; way > 0 && ways[way-1].Direction == direction && len(d.Changes) < maxChanges {
				change := ways[way-1]
				box, decisions := grid.grow(c, way)
				change.Accesses, change.Decisions = m.words(box), decisions
				d.Changes = append(d.Changes, change)
				d.Unlisted -= decisions
			}
			i++
		})
	}
}

// survey compares every decision, and says of each in which way it changes.
func (m *comparison) survey(d *Difference) (changeMap, []Change) {
	grid := changeMap{sizes: m.sizes, ways: make([]int32, 0, len(m.from.table.cells))}
	p := patterns{byText: make(map[Change]int32), of: make(map[answers]int32)}
	t := table{sizes: m.sizes}
	t.each(func(c cell) {
		d.Compared++
		var a answers
		a.before, a.after = m.at(c)
		way := int32(unchanged)
		switch {
		case *a.before != *a.after:
			d.Changed++
			way = p.number(a)
		case a.before.reason == residency.BadRequest:
			way = anyway
		}
		grid.ways = append(grid.ways, way)
	})
	return grid, p.changes
}

func (a answers) direction() Direction {
	before, after := a.before, a.after
	switch {
	case before.allow != after.allow:
		if after.allow {
			return Looser
		}
		return Stricter
	case !before.allow, before.requires == after.requires:
		return Otherwise
	case after.requires&^before.requires == 0:
		return Looser
	case before.requires&^after.requires == 0:
		return Stricter
	}
	return Otherwise
}

// voided lists the shapes of consents that no longer serve.
func (m *comparison) voided() []VoidedConsents {
	var out []VoidedConsents
	for kind := residency.ConsentKind(1); kind < residency.NumConsentKinds; kind++ {
		for class := residency.DataClass(1); class < residency.NumDataClasses; class++ {
			for purpose := residency.Purpose(1); purpose < residency.NumPurposes; purpose++ {
				out = append(out, m.voidedShape(VoidedConsents{Kind: kind, DataClass: class, Purpose: purpose})...)
			}
		}
	}
	return out
}

// voidedShape finds the places that voided consents of one kind, class and purpose lead to.
func (m *comparison) voidedShape(v VoidedConsents) []VoidedConsents {
	classes, purposes := residency.DataClassSet(v.DataClass), residency.PurposeSet(v.Purpose)
	under := make(map[string][]int)
	var order []string
	for place, j := range m.places {
		if m.from.rests(v.Kind, v.DataClass, j, v.Purpose) == nothing {
			continue
		}
		voided, clause := m.to.Voids(m.from, v.Kind, classes, j, purposes)
		if !voided {
			continue
		}
		if under[clause] == nil {
			order = append(order, clause)
		}
		under[clause] = append(under[clause], place)
	}
	var out []VoidedConsents
	for _, clause := range order {
		v.Clause = clause
		for _, v.To = range m.destinations(under[clause]) {
			out = append(out, v)
		}
	}
	return out
}

// destinations names places: home, abroad, and single jurisdictions where that does not cover it.
func (m *comparison) destinations(places []int) []string {
	var out []string
	if places[0] == placeHome {
		out, places = append(out, "home"), places[1:]
	}
	other := slices.Contains(places, placeOther)
	var has, lacks []string
	for place := placeNamed; place < len(m.places); place++ {
		if name := m.places[place].String(); slices.Contains(places, place) {
			has = append(has, name)
		} else {
			lacks = append(lacks, name)
		}
	}
	switch {
	case !other:
		return append(out, has...)
	case len(lacks) == 0:
		return append(out, "abroad")
	}
	return append(out, "abroad but "+listWords(lacks))
}
