package policy

import (
	"math/bits"

	"github.com/domicile-project/domicile/residency"
)

// maxRules bounds the rules of a file, "otherwise" included: four words of a ruleSet.
const maxRules = 256

// ruleSet is a set of a file's rules, a bit each.
type ruleSet [maxRules / 64]uint64

func (s *ruleSet) add(i int) { s[i/64] |= 1 << (i % 64) }

// without gives the set without a rule, and whether it had it.
func (s ruleSet) without(i int) (ruleSet, bool) {
	bit := uint64(1) << (i % 64)
	had := s[i/64]&bit != 0
	s[i/64] &^= bit
	return s, had
}

func (s ruleSet) and(o ruleSet) ruleSet {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

func (s ruleSet) of(rules []rule) []*rule {
	var out []*rule
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			out = append(out, &rules[w*64+bits.TrailingZeros64(word)])
		}
	}
	return out
}

const (
	letters   = 'Z' - 'A' + 1
	placeNone = 255 // not a jurisdiction
)

// table is a compiled policy: for each cell the number of its verdict.
type table struct {
	cells    []uint16
	verdicts []verdict
	resting  resting                  // which cells rest on which consents
	sizes    cell                     // how many values each dimension has
	named    []residency.Jurisdiction // the jurisdictions that the rules name, in the order of their places
	place    [letters * letters]uint8 // the place of each jurisdiction, by its two letters
}

// sizesOf gives the size of each dimension for a file that names so many jurisdictions.
func sizesOf(named int) cell {
	return cell{
		byAction:    numActions,
		byClass:     numClasses,
		byPlace:     uint8(placeNamed + named),
		byPurpose:   numPurposes,
		bySource:    numSources,
		byRecipient: numRecipients,
		byParty:     numParties,
	}
}

// maxVerdicts bounds how many different answers a file may give, and with it the
// memory that a table takes: at most 1.3 MB of verdicts beside 1.7 MB of cells.
const maxVerdicts = 4096

// compile makes the table. Cells that the same rules match are judged once, so
// the work per cell is a few ANDs and one look-up. The rules must leave no cell unmatched. A table
// of more than maxVerdicts verdicts comes back empty, which denies everything.
func compile(rules []rule, home residency.Jurisdiction, named []residency.Jurisdiction) table {
	t := table{sizes: sizesOf(len(named)), named: named}
	t.place = placesOf(home, named)
	t.resting = newResting(t.sizes[byPlace])
	byValue := valueSets(rules, t.sizes)
	known := make(map[ruleSet]uint16)
	numbers := make(map[verdict]uint16)
	t.each(func(c cell) {
		if len(t.verdicts) > maxVerdicts {
			return
		}
		set := byValue[0][c[0]]
		for d := 1; d < numDimensions; d++ {
			set = set.and(byValue[d][c[d]])
		}
		n, ok := known[set]
		if !ok {
			n = t.number(judge(set.of(rules)), numbers)
			known[set] = n
		}
		t.rest(c, int32(len(t.cells)), &t.verdicts[n])
		t.cells = append(t.cells, n)
	})
	if len(t.verdicts) > maxVerdicts {
		return table{}
	}
	return t
}

// number gives a verdict's number, a new one if the table does not have it yet.
func (t *table) number(v verdict, numbers map[verdict]uint16) uint16 {
	n, ok := numbers[v]
	if !ok {
		n = uint16(len(t.verdicts))
		numbers[v] = n
		t.verdicts = append(t.verdicts, v)
	}
	return n
}

// each calls f with every cell, in ascending order of their numbers: the last dimension varies fastest.
func (t *table) each(f func(cell)) {
	var c cell
	for {
		f(c)
		d := numDimensions - 1
		for ; d >= 0; d-- {
			if c[d]++; c[d] < t.sizes[d] {
				break
			}
			c[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// valueSets says for each value of each dimension which rules match it.
func valueSets(rules []rule, sizes cell) [numDimensions][]ruleSet {
	var sets [numDimensions][]ruleSet
	for d := range sets {
		sets[d] = make([]ruleSet, sizes[d])
		for v := range sets[d] {
			for i := range rules {
				if rules[i].match[d]&(1<<v) != 0 {
					sets[d][v].add(i)
				}
			}
		}
	}
	return sets
}

func placesOf(home residency.Jurisdiction, named []residency.Jurisdiction) [letters * letters]uint8 {
	var place [letters * letters]uint8
	for i := range place {
		place[i] = placeNone
	}
	for _, j := range residency.Jurisdictions() {
		place[letterIndex(j)] = placeOther
	}
	for i, j := range named {
		place[letterIndex(j)] = uint8(placeNamed + i)
	}
	place[letterIndex(home)] = placeHome
	return place
}

// letterIndex is a jurisdiction's index by its two letters; of anything but two
// upper-case letters it is out of range.
func letterIndex(j residency.Jurisdiction) uint {
	a, b := uint(j[0]-'A'), uint(j[1]-'A')
	if a >= letters || b >= letters {
		return letters * letters
	}
	return a*letters + b
}

// placeOf gives the place of a destination; placeNone when it is no jurisdiction.
func (t *table) placeOf(to residency.Jurisdiction) uint8 {
	if to.IsZero() {
		return placeHome
	}
	if i := letterIndex(to); i < uint(len(t.place)) {
		return t.place[i]
	}
	return placeNone
}

// The verdicts that no file has to state.
var (
	malformed   = verdict{reason: residency.BadRequest}        // an unset or unknown value
	unavailable = verdict{reason: residency.PolicyUnavailable} // no policy
)

// The sizes of the dimensions that are the same for every file.
const (
	numActions    = residency.NumActions - 1
	numClasses    = residency.NumDataClasses - 1
	numPurposes   = residency.NumPurposes
	numSources    = residency.NumSources - 1
	numRecipients = residency.NumRecipientKinds
	numParties    = residency.NumParties - 1
)

// locate gives the number of a query's cell; false when one of its values is unset or
// unknown. It fills in the values that the zero value stands for. Written out, because it is on the path of every decision.
func (t *table) locate(q Query) (int, bool) {
	action, class := uint(q.Action)-1, uint(q.DataClass)-1 // 0 wraps to beyond every size
	place, purpose := uint(t.placeOf(q.To)), uint(q.Purpose)
	recipient := uint(q.Recipient)
	source, party := uint(q.Source), uint(q.Party)
	if source == 0 {
		source = uint(residency.Provided)
	}
	if party == 0 {
		party = uint(residency.ProviderParty)
	}
	source, party = source-1, party-1
	places := uint(t.sizes[byPlace])
	if action >= numActions || class >= numClasses || place >= places || purpose >= numPurposes ||
		source >= numSources || recipient >= numRecipients || party >= numParties {
		return 0, false
	}
	i := (action*numClasses+class)*places + place
	i = (i*numPurposes+purpose)*numSources + source
	return int((i*numRecipients+recipient)*numParties + party), true
}

// at gives a cell's verdict.
func (t *table) at(c cell) *verdict {
	i := 0
	for d, v := range c {
		i = i*int(t.sizes[d]) + int(v)
	}
	return &t.verdicts[t.cells[i]]
}

// find gives a query's verdict.
func (p *Policy) find(q Query) *verdict {
	if p == nil || len(p.table.cells) == 0 {
		return &unavailable
	}
	i, ok := p.table.locate(q)
	if !ok {
		return &malformed
	}
	return &p.table.verdicts[p.table.cells[i]]
}
