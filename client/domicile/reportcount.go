package main

import (
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// On what a permitted access rests, as its entry says.
const (
	restsOnHome     = "home"         // it stayed where it was at home, and needed nothing more
	restsOnInbound  = "inbound"      // data came home through a gateway abroad
	restsOnConsent  = "consent"      // recorded consents, which the entry names
	restsOnOrder    = "order"        // a legal order
	restsOnRequest  = "request"      // an authority's request that was granted
	restsOnCase     = "case"         // an abuse case
	restsOnFunction = "function"     // the recipient's function, within the jurisdiction
	restsOnAccount  = "account-data" // it crossed, and names nobody
	restsOnDeletion = "deletion"     // it was ordered from abroad and only removed; nothing left
	restsOnNothing  = "none"         // it crossed, and the entry names nothing that permits that
)

// basisOf says on what a permitted access rests. Consents and orders that calls which govern are about are no basis of theirs.
func basisOf(e *proof.Entry, via string) string {
	crossed := crosses(e)
	switch {
	case crossed && e.DataClass == "ACCOUNT_DATA":
		return restsOnAccount
	case crossed && e.Action == "ERASE" && e.DataClass == "VIRTUAL_DRIVE_DATA":
		return restsOnDeletion
	case crossed && (len(e.Consents) == 0 || e.Action == "GOVERN"):
		return restsOnNothing
	case e.Action == "DISCLOSE" && e.OrderID != "" && e.Purpose == "LEGAL_OBLIGATION":
		return restsOnOrder
	case e.Action == "DISCLOSE" && e.OrderID != "":
		return restsOnRequest
	case e.Action == "INSPECT" && e.OrderID != "":
		return restsOnCase
	case len(e.Consents) > 0 && e.Action != "GOVERN":
		return restsOnConsent
	case via != "":
		return restsOnInbound
	case e.Action == "DISCLOSE":
		return restsOnFunction
	}
	return restsOnHome
}

// crosses reports whether an access reached, or would have reached, another jurisdiction than its home.
func crosses(e *proof.Entry) bool { return e.From != "" && e.To != "" && e.From != e.To }

// passedBy gives the other jurisdictions whose gateways an access passed.
func passedBy(e *proof.Entry) string {
	var out []string
	for _, j := range e.Via {
		if j != e.From && j != e.To && !slices.Contains(out, j) {
			out = append(out, j)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// reportCounter counts the entries of logs. It keeps rows and what is in them, never entries.
type reportCounter struct {
	spans []span
	parts []map[string]*reportPart // of each span, by region
	room  reportRoom

	// erasing are the erasures that have begun and are not done, by their decisions: the entry that ends one
	// does not say what it was of. There are few at a time; of more than maxErasing some are told by that entry alone.
	erasing map[string]string

	part   *reportPart // of the entry at hand
	failed error       // what stopped the counting
}

const maxErasing = 1 << 20

func newReportCounter(spans []span) *reportCounter {
	c := &reportCounter{spans: spans, room: reportRoom{maxReportRows, maxDistinct}, erasing: make(map[string]string)}
	for range spans {
		c.parts = append(c.parts, make(map[string]*reportPart))
	}
	return c
}

// region makes a region appear in every span, if only to say that it has no entries there.
func (c *reportCounter) region(name string) {
	for _, parts := range c.parts {
		if parts[name] == nil {
			parts[name] = &reportPart{region: name}
		}
	}
}

// row gives a row of the part at hand. When there is no room for it, it is one that is not shown.
func (c *reportCounter) row(section int, texts ...string) *reportRow {
	r, err := c.part.row(&c.room, section, texts...)
	if err != nil {
		c.failed = err
		return &reportRow{counts: make([]uint64, len(reportSections[section].counts))}
	}
	return r
}

// entry counts an entry.
func (c *reportCounter) entry(e *proof.Entry) error {
	method := methodText(e.Method)
	what := c.erasureOf(e, method)
	at := spanOf(c.spans, e.Time)
	if at < 0 {
		return nil
	}
	c.region(e.Region)
	c.part = c.parts[at][e.Region]
	if !classified(method, e.Phase, e.End, e.Action, e.DataClass) {
		c.row(inUnclassified, method, e.Action).add(0, 1)
	}
	c.total(e)
	switch {
	case method == sweepMethod:
		c.swept(e, what)
	case e.Phase == phaseEnded:
		c.ended(e, method)
	default:
		c.decided(e, method)
	}
	return c.failed
}

// erasureOf keeps track of which erasures have begun, and gives what the one was of that an entry ends.
func (c *reportCounter) erasureOf(e *proof.Entry, method string) string {
	m := reportMethods[method]
	switch {
	case m.section == inErasures && e.Phase == phaseIntent && len(c.erasing) < maxErasing:
		c.erasing[e.DecisionID] = m.what
	case method == sweepMethod && e.Phase == phaseEnded:
		what, ok := c.erasing[e.DecisionID]
		delete(c.erasing, e.DecisionID)
		switch {
		case ok:
			return what
		case e.Tenant == "": // nothing of an erased tenant is left that could be named
			return erasedTenant
		}
		return erasedSubject
	}
	return ""
}

// total counts an entry among all.
func (c *reportCounter) total(e *proof.Entry) {
	t := c.row(inTotals)
	t.add(totalEntries, 1)
	if e.Tenant != "" {
		t.differ(&c.room, totalTenants, e.Tenant)
	}
	if e.Allow && e.Phase != phaseIntent {
		t.add(totalBytes, e.Bytes)
	}
	if e.Phase == phaseEnded {
		return
	}
	t.add(totalDecisions, 1)
	c.row(inPolicies, e.Controller, e.PolicyVersion, e.PolicyDigest).add(0, 1)
	switch {
	case !e.Allow:
		t.add(totalDenied, 1)
		return
	case e.Result != "":
		t.add(totalFailed, 1)
	}
	t.add(totalAllowed, 1)
}

// swept counts what was done when nobody called: ends of erasures, and of records whose time was over.
func (c *reportCounter) swept(e *proof.Entry, what string) {
	if e.Phase == phaseEnded {
		c.row(inErasures, what).add(erasureDone, 1)
		return
	}
	r := c.row(inErasures, erasedExpired)
	r.add(erasureBegun, 1)
	r.add(erasureDone, 1)
}

// decided counts a decision: all of a call, or a stream's or an erasure's beginning.
func (c *reportCounter) decided(e *proof.Entry, method string) {
	m := reportMethods[method]
	if m.section == inChecks {
		outcome := "DENY"
		if e.Allow {
			outcome = "ALLOW"
		}
		c.row(inChecks, e.From, e.To, e.DataClass, outcome, e.Clause, e.Reason).add(0, 1)
		return
	}
	if e.Allow {
		c.permitted(e)
	} else {
		c.denied(e)
	}
	if e.Phase == phaseIntent && m.section != inErasures {
		c.row(inTotals).add(totalStreams, 1)
	}
	switch m.section {
	case inErasures:
		c.erasure(e, m.what)
	case inRights:
		c.step(e, m.section, m.what)
	case inAuthorities:
		c.step(e, m.section, m.what, m.step)
	case inDisclosures, inInspections:
		c.handed(e, m.section)
	}
}

// permitted counts a permitted access.
func (c *reportCounter) permitted(e *proof.Entry) {
	r := c.transfer(e)
	r.add(transferAccesses, 1)
	if e.Result != "" {
		r.add(transferFailed, 1)
	}
	if e.Action != "GOVERN" {
		c.consents(r, transferConsents, e)
	}
	if crosses(e) {
		c.row(inTotals).add(totalCrossings, 1)
	}
	if basisOf(e, passedBy(e)) == restsOnNothing {
		c.row(inTotals).add(totalWithoutBasis, 1)
	}
	if e.Purpose != "" {
		c.row(inPurposes, e.Purpose, e.DataClass, e.Action).add(purposeAccesses, 1)
	}
	c.carried(e)
}

// transfer gives an access's row among transfers.
func (c *reportCounter) transfer(e *proof.Entry) *reportRow {
	via := passedBy(e)
	return c.row(inTransfers, e.From, e.To, via, e.DataClass, e.Action, basisOf(e, via))
}

// maxNamed is how many consents an entry names at the most; of more it names that many.
const maxNamed = 9

func (c *reportCounter) consents(r *reportRow, count int, e *proof.Entry) {
	for _, id := range e.Consents {
		r.differ(&c.room, count, id)
	}
	r.more = r.more || len(e.Consents) >= maxNamed
}

// carried counts the bytes of a call or of a stream that ended.
func (c *reportCounter) carried(e *proof.Entry) {
	if e.Bytes == 0 {
		return
	}
	c.transfer(e).add(transferBytes, e.Bytes)
	if e.Purpose != "" {
		c.row(inPurposes, e.Purpose, e.DataClass, e.Action).add(purposeBytes, e.Bytes)
	}
}

// denied counts a refusal.
func (c *reportCounter) denied(e *proof.Entry) {
	if crosses(e) {
		c.row(inTotals).add(totalBlocked, 1)
	}
	c.row(inDenials, e.Clause, e.Reason, e.From, e.To, e.Action).add(0, 1)
}

// erasure counts the decision of an erasure. What deletes at once is done with it; a person's or a
// tenant's has begun. A permitted call of these that begins none repeats one that did, or was told of a consent to keep what is held.
func (c *reportCounter) erasure(e *proof.Entry, what string) {
	r := c.row(inErasures, what)
	whole := what == erasedSubject || what == erasedTenant
	switch {
	case !e.Allow:
		r.add(erasureDenied, 1)
	case e.Result != "":
		r.add(erasureFailed, 1)
	case whole && e.Phase == phaseIntent:
		r.add(erasureBegun, 1)
	case !whole:
		r.add(erasureBegun, 1)
		r.add(erasureDone, 1)
	}
}

// step counts a call that records a wish or what an authority asks. A stream is done when it has ended.
func (c *reportCounter) step(e *proof.Entry, section int, texts ...string) {
	r := c.row(section, texts...)
	switch {
	case !e.Allow:
		r.add(stepDenied, 1)
	case e.Phase == phaseIntent:
	case e.Result != "" || e.End != "" && e.End != "completed":
		r.add(stepFailed, 1)
	default:
		r.add(stepDone, 1)
	}
}

// handed counts the decision of a disclosure or an inspection.
func (c *reportCounter) handed(e *proof.Entry, section int) {
	r := c.handedRow(e, section)
	switch {
	case !e.Allow:
		r.add(handedDenied, 1)
	case e.Phase == phaseIntent:
		r.add(handedBegun, 1)
	default:
		r.add(handedFailed, 1)
	}
	if section == inInspections && e.Allow {
		c.consents(r, handedConsents, e)
	}
}

func (c *reportCounter) handedRow(e *proof.Entry, section int) *reportRow {
	basis := ""
	if e.Allow {
		basis = basisOf(e, passedBy(e))
	}
	if section == inInspections {
		return c.row(section, e.OrderID, e.Purpose, basis)
	}
	return c.row(section, e.Recipient, e.OrderID, e.To, e.DataClass, e.Purpose, basis)
}

// ended counts the end of a stream.
func (c *reportCounter) ended(e *proof.Entry, method string) {
	c.carried(e)
	if e.End != "completed" {
		r := c.row(inStreams, method, e.End, e.Result)
		r.add(streamCount, 1)
		r.add(streamBytes, e.Bytes)
	}
	m := reportMethods[method]
	switch m.section {
	case inRights:
		c.step(e, m.section, m.what)
	case inDisclosures, inInspections:
		r := c.handedRow(e, m.section)
		r.add(handedBytes, e.Bytes)
		switch e.End {
		case "completed":
			r.add(handedCompleted, 1)
		case "cut":
			r.add(handedCut, 1)
		default:
			r.add(handedUnknown, 1)
		}
	}
}
