package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
)

// A report is made of sections, each a table whose rows are told apart by their texts and hold counts. What a section and its
// columns are called in JSON and CSV is said here alone, and is only ever added to.

// reportSection is what a section is about.
type reportSection struct {
	name    string // in JSON and CSV
	title   string // for people
	none    string // what is said for people when it has no rows
	explain string // what its counts mean, where that does not go without saying
	texts   []reportColumn
	counts  []reportColumn
}

// reportColumn is a column of a section.
type reportColumn struct {
	name, head string
	distinct   bool // counts different things, of which there may be more than were counted
	group      bool // stands above the rows that share it, in tables on a terminal: it is too wide for a column
}

// The sections, in the order in which they are shown.
const (
	inTotals = iota
	inTransfers
	inPurposes
	inDisclosures
	inDenials
	inChecks
	inErasures
	inRights
	inAuthorities
	inInspections
	inStreams
	inPolicies
	inUnclassified
	numSections
)

func text(name, head string) reportColumn { return reportColumn{name: name, head: head} }
func heading(name, head string) reportColumn {
	return reportColumn{name: name, head: head, group: true}
}
func tally(name, head string) reportColumn { return reportColumn{name: name, head: head} }
func different(name, head string) reportColumn {
	return reportColumn{name: name, head: head, distinct: true}
}

// The counts of sections, by their position.
const (
	totalEntries = iota
	totalDecisions
	totalAllowed
	totalDenied
	totalFailed
	totalCrossings
	totalBlocked
	totalWithoutBasis
	totalStreams
	totalBytes
	totalTenants
)

const (
	transferAccesses = iota
	transferFailed
	transferConsents
	transferBytes
)

const (
	purposeAccesses = iota
	purposeBytes
)

const (
	handedBegun = iota // of disclosures and inspections
	handedCompleted
	handedCut
	handedUnknown
	handedFailed
	handedDenied
	handedBytes
	handedConsents // of inspections
)

const (
	erasureBegun = iota
	erasureDone
	erasureFailed
	erasureDenied
)

const (
	stepDone = iota // of rights and of what authorities ask
	stepFailed
	stepDenied
)

const (
	streamCount = iota
	streamBytes
)

var handedCounts = []reportColumn{
	tally("begun", "BEGUN"), tally("completed", "DONE"), tally("cut", "CUT"), tally("unknown", "UNKNOWN"),
	tally("failed", "FAILED"), tally("denied", "DENIED"), tally("bytes", "BYTES"),
}

var stepCounts = []reportColumn{tally("done", "DONE"), tally("failed", "FAILED"), tally("denied", "DENIED")}

var reportSections = [numSections]reportSection{
	inTotals: {
		name: "totals", title: "Totals", none: "No entries.",
		explain: "Denied crossings are those that were refused on the way to another jurisdiction. Failed are permitted calls that gave an error, for example that there is no such record.",
		counts: []reportColumn{
			tally("entries", "ENTRIES"), tally("decisions", "DECISIONS"), tally("allowed", "ALLOWED"), tally("denied", "DENIED"), tally("failed", "FAILED"),
			tally("crossings", "CROSSINGS"), tally("crossings_denied", "CROSSINGS DENIED"), tally("crossings_without_basis", "WITHOUT BASIS"),
			tally("streams", "STREAMS"), tally("bytes", "BYTES"), different("tenants", "TENANTS"),
		},
	},
	inTransfers: {
		name: "transfers", title: "Transfers by basis", none: "No access was permitted.",
		explain: "Permitted accesses, from the home to where they reached, and on what each rests. Calls count when they were decided, bytes when the call or stream ended. “Via” names other jurisdictions whose gateways they passed.",
		texts: []reportColumn{
			text("from", "FROM"), text("to", "TO"), text("via", "VIA"), text("data_class", "DATA"), text("action", "ACTION"), text("basis", "BASIS"),
		},
		counts: []reportColumn{tally("accesses", "ACCESSES"), tally("failed", "FAILED"), different("consents", "CONSENTS"), tally("bytes", "BYTES")},
	},
	inPurposes: {
		name: "purposes", title: "Purposes", none: "No permitted access stated a purpose.",
		texts:  []reportColumn{text("purpose", "PURPOSE"), text("data_class", "DATA"), text("action", "ACTION")},
		counts: []reportColumn{tally("accesses", "ACCESSES"), tally("bytes", "BYTES")},
	},
	inDisclosures: {
		name: "disclosures", title: "Disclosures by recipient and order", none: "No disclosures.",
		explain: "Recipients stand under pseudonyms. An order is a legal order or a granted request; without one a disclosure rests on the recipient's function.",
		texts: []reportColumn{
			heading("recipient", "RECIPIENT"), heading("order", "ORDER"), text("to", "TO"), text("data_class", "DATA"), text("purpose", "PURPOSE"), text("basis", "BASIS"),
		},
		counts: handedCounts,
	},
	inDenials: {
		name: "denials", title: "Denials by clause and reason", none: "Nothing was denied.",
		texts:  []reportColumn{text("clause", "CLAUSE"), text("reason", "REASON"), text("from", "FROM"), text("to", "TO"), text("action", "ACTION")},
		counts: []reportColumn{tally("denied", "DENIED")},
	},
	inChecks: {
		name: "checks", title: "Transfers that were only asked about", none: "Nobody asked whether data may move.",
		explain: "Nothing moved. These are in the totals, and neither among transfers nor denials.",
		texts: []reportColumn{
			text("from", "FROM"), text("to", "TO"), text("data_class", "DATA"), text("outcome", "OUTCOME"), text("clause", "CLAUSE"), text("reason", "REASON"),
		},
		counts: []reportColumn{tally("checks", "CHECKS")},
	},
	inErasures: {
		name: "erasures", title: "Erasures", none: "Nothing was erased.",
		explain: "Erasing a person or a tenant begins with its decision and is done when nothing is left. One that a refused write about a child set off has no beginning of its own in the log.",
		texts:   []reportColumn{text("what", "WHAT")},
		counts:  []reportColumn{tally("begun", "BEGUN"), tally("done", "DONE"), tally("failed", "FAILED"), tally("denied", "DENIED")},
	},
	inRights: {
		name: "rights", title: "Consents and people's wishes", none: "No consent or wish was recorded.",
		texts: []reportColumn{text("what", "WHAT")}, counts: stepCounts,
	},
	inAuthorities: {
		name: "authorities", title: "Legal orders, informal requests and abuse cases", none: "No order, request or case was recorded.",
		texts: []reportColumn{text("kind", "KIND"), text("step", "STEP")}, counts: stepCounts,
	},
	inInspections: {
		name: "inspections", title: "Inspections", none: "Nothing was inspected.",
		explain: "Of what is stored, with the tenant's permission (basis consent), or of transfers as they pass, under an abuse case.",
		texts:   []reportColumn{heading("case", "CASE"), text("purpose", "PURPOSE"), text("basis", "BASIS")},
		counts:  append(slices.Clone(handedCounts), different("consents", "CONSENTS")),
	},
	inStreams: {
		name: "streams", title: "Streams that did not complete", none: "Every stream that ended was completed.",
		explain: "Cut: ended before its end, for the reason given. Unknown: the gateway that served it was gone; bytes are as last counted.",
		texts:   []reportColumn{text("method", "METHOD"), text("end", "END"), text("result", "RESULT")},
		counts:  []reportColumn{tally("streams", "STREAMS"), tally("bytes", "BYTES")},
	},
	inPolicies: {
		name: "policies", title: "Who controls the data, and under which policy it was decided", none: "Nothing was decided.",
		texts:  []reportColumn{text("controller", "CONTROLLER"), text("policy_version", "POLICY"), heading("policy_digest", "DIGEST")},
		counts: []reportColumn{tally("decisions", "DECISIONS")},
	},
	inUnclassified: {
		name: "unclassified", title: "Entries that this program does not know", none: "Every entry was of a kind that this program knows.",
		explain: "They count in the totals, and by their action among transfers and denials. A newer program may tell more.",
		texts:   []reportColumn{text("method", "METHOD"), text("action", "ACTION")},
		counts:  []reportColumn{tally("entries", "ENTRIES")},
	},
}

// maxTexts is how many texts tell the rows of a section apart at the most.
const maxTexts = 6

// Bounds of what a report holds in memory, however long the log is.
const (
	maxReportRows = 200_000 // rows in all
	maxDistinct   = 2 << 20 // different things in all; of more it is said that there are more
)

// reportRow is a row of a section.
type reportRow struct {
	texts  [maxTexts]string
	counts []uint64
	more   bool // there are more different things than were counted
	seen   map[string]struct{}
}

func (r *reportRow) add(count int, n uint64) { r.counts[count] += n }

// reportPart is what a report says of one region in one period.
type reportPart struct {
	region string
	rows   [numSections]map[[maxTexts]string]*reportRow
}

// reportRoom is what is left of the bounds.
type reportRoom struct{ rows, distinct int }

var errReportTooLarge = errors.New("the report would have more than " + strconv.Itoa(maxReportRows) + " rows: choose a shorter period, or fewer parts of it")

// row gives the row of a section that texts tell apart; it is made when there is none.
func (p *reportPart) row(room *reportRoom, section int, texts ...string) (*reportRow, error) {
	var key [maxTexts]string
	copy(key[:], texts)
	if r := p.rows[section][key]; r != nil {
		return r, nil
	}
	if room.rows--; room.rows < 0 {
		return nil, errReportTooLarge
	}
	if p.rows[section] == nil {
		p.rows[section] = make(map[[maxTexts]string]*reportRow)
	}
	r := &reportRow{texts: key, counts: make([]uint64, len(reportSections[section].counts))}
	p.rows[section][key] = r
	return r, nil
}

// differ counts a thing that a row has not seen yet.
func (r *reportRow) differ(room *reportRoom, count int, thing string) {
	if _, ok := r.seen[thing]; ok {
		return
	}
	if room.distinct--; room.distinct < 0 {
		room.distinct, r.more = 0, true
		return
	}
	if r.seen == nil {
		r.seen = make(map[string]struct{})
	}
	r.seen[thing] = struct{}{}
	r.counts[count]++
}

// sorted gives a section's rows in the order of their texts.
func (p *reportPart) sorted(section int) []*reportRow {
	var out []*reportRow
	for _, r := range p.rows[section] {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *reportRow) int {
		for i := range a.texts {
			if c := cmp.Compare(a.texts[i], b.texts[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	return out
}

// count gives a count for people: with a plus when there are more.
func (r *reportRow) count(s *reportSection, i int) string {
	n := strconv.FormatUint(r.counts[i], 10)
	if s.counts[i].distinct && r.more {
		n += "+"
	}
	return n
}
