package policy

import (
	"fmt"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

// Explanation is how a policy decides a kind of access, before any fact is looked at.
type Explanation struct {
	Allow        bool           // permitted once every requirement is met; else never
	Requirements []Demand       // in the order in which they are checked
	Clause       string         // the clause that decides
	Reason       residency.Kind // what a refusal says; OK when permitted
	Sentence     string         // the answer in plain language
	Line         int            // where the file has the rule that decides; 0 = no rule does
}

// Demand is one requirement of an explained access.
type Demand struct {
	Requirement residency.Requirement
	Clause      string         // the clause that asks for it
	Reason      residency.Kind // what a refusal says when it is not met
	Remedy      string         // what would meet it, in plain language
	Line        int            // where the file has the rule that asks for it
}

var remedies = [residency.NumRequirements]string{
	residency.RequireConsent:         "Record a border-crossing consent, granted where the data is homed, that covers the data class, the purpose and the destination.",
	residency.RequireAgreement:       "Record the tenant's agreement to where its data is held.",
	residency.RequirePurpose:         "Use the data for a purpose that it was provided for.",
	residency.RequireNotRestricted:   "Have the restriction of this purpose lifted by whoever asked for it.",
	residency.RequireOptIn:           "Record the person's opt-in to promotional offers.",
	residency.RequireCollection:      "Have the person's objection to automatic collection lifted.",
	residency.RequireParentalConsent: "Record the consent of a parent of the child.",
	residency.RequirePermission:      "Record the tenant's permission to inspect its stored data.",
	residency.RequireAbuseCase:       "Open an abuse case and have it approved.",
	residency.RequireRegistered:      "Register the recipient.",
	residency.RequireFunction:        "Disclose only for a purpose, and only fields, that belong to the recipient's registered function.",
	residency.RequireSafeguard:       "Record a safeguard agreement with the recipient that is not expired.",
	residency.RequireNotice:          "Give notice of the disclosure and wait until its period is over.",
	residency.RequireNoObjection:     "Have the recorded objection lifted by whoever raised it.",
	residency.RequireLegalOrder:      "Record a court or administrative order of this jurisdiction that covers the data, and have two people approve it.",
	residency.RequireInformalGrant:   "Have the authority's request recorded and approved.",
	residency.RequireNecessity:       "Record why the exchange is necessary.",
	residency.RequireAssetTransfer:   "Wait until the business itself passes, and disclose at that stage; due diligence is not enough.",
}

// Remedy says in plain language what would meet a requirement.
func Remedy(r residency.Requirement) string { return remedies[r] }

// Explain says how a kind of access is decided: which clause, what it requires
// and what would meet that.
func (p *Policy) Explain(q Query) Explanation {
	v := p.find(q)
	e := Explanation{Allow: v.allow, Clause: v.clause, Reason: v.reason}
	for r := range residency.Requirement(residency.NumRequirements) {
		if v.requires.Has(r) {
			e.Requirements = append(e.Requirements, Demand{r, v.clauses[r], defaultReasons[r], remedies[r], 0})
		}
	}
	p.lines(q, &e)
	e.Sentence = e.sentence(p.Decide(q, nil))
	return e
}

// lines finds the rules that an explanation rests on, in the file's order as judge does.
func (p *Policy) lines(q Query, e *Explanation) {
	if p == nil || len(p.table.cells) == 0 {
		return
	}
	n, ok := p.table.locate(q)
	if !ok {
		return
	}
	set := p.matching(p.table.cellOf(int32(n)))
	strongest := effectOtherwise
	for _, r := range set.of(p.rules) {
		if r.effect > strongest || e.Line == 0 {
			strongest, e.Line = max(strongest, r.effect), r.line
		}
		for i := range e.Requirements {
			if d := &e.Requirements[i]; d.Line == 0 && r.effect == effectRequire && r.requires.Has(d.Requirement) {
				d.Line = r.line
			}
		}
	}
	for _, d := range e.Requirements {
		if d.Requirement == p.table.verdicts[p.table.cells[n]].cites {
			e.Line = d.Line
		}
	}
}

func (e *Explanation) sentence(d residency.Decision) string {
	switch {
	case !e.Allow:
		return DecisionText(d)
	case len(e.Requirements) == 0:
		return fmt.Sprintf("%s is permitted%s.", access(d), under(e.Clause))
	}
	names := make([]string, len(e.Requirements))
	for i, r := range e.Requirements {
		names[i] = fmt.Sprintf("%s (%s)", r.Requirement, r.Clause)
	}
	return fmt.Sprintf("%s is permitted when these are met: %s.", access(d), strings.Join(names, ", "))
}

var actionWords = [residency.NumActions]string{
	residency.ActionUnspecified: "An access", residency.Collect: "Collecting", residency.Use: "Using", residency.Transfer: "Transferring",
	residency.Disclose: "Disclosing", residency.Inspect: "Inspecting", residency.Meter: "Metering", residency.Restrict: "Restricting",
	residency.Erase: "Erasing", residency.Export: "Exporting", residency.Govern: "Governing",
}

var classWords = [residency.NumDataClasses]string{
	residency.DataClassUnspecified: "data of no stated class", residency.PersonalInformation: "personal information",
	residency.VirtualDriveData: "virtual drive data", residency.AccountData: "account data",
}

// access puts what was to be done into words of the closed sets only.
func access(d residency.Decision) string {
	var b strings.Builder
	b.WriteString(pick(actionWords[:], uint8(d.Action)))
	b.WriteString(" ")
	b.WriteString(pick(classWords[:], uint8(d.DataClass)))
	if d.Purpose != residency.PurposeUnspecified && d.Purpose < residency.NumPurposes {
		fmt.Fprintf(&b, " for %s", d.Purpose)
	}
	switch {
	case d.From.IsZero():
	case d.To.IsZero():
		fmt.Fprintf(&b, " from %s to an unknown place", d.From)
	case d.From == d.To:
		fmt.Fprintf(&b, " within %s", d.From)
	default:
		fmt.Fprintf(&b, " from %s to %s", d.From, d.To)
	}
	return b.String()
}

// pick reads a catalogue; what it does not have reads as its first word.
func pick(catalogue []string, i uint8) string {
	if int(i) >= len(catalogue) {
		i = 0
	}
	return catalogue[i]
}

func under(clause string) string {
	if clause == "" {
		return ""
	}
	return fmt.Sprintf(" (clause %s)", clause)
}
