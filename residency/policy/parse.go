package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/domicile-project/domicile/residency"
)

// Bounds on what a file may list.
const (
	maxClauses    = 256
	maxPlacements = 64
	maxPromises   = 64
	maxExceptions = 16
	maxMonths     = 120 // of a consent without an end
	maxAge        = 25  // years, for minimum_age
)

// Parse reads a policy file, checks it and compiles it. The format is
// specified in README.md.
//
// It is strict: an unknown key, a duplicate, a value outside its set, a clause
// that is cited but not declared or declared but neither cited nor said to be kept elsewhere
// are errors. Every error is a *FileError. Parse takes files of at most 1 MiB.
func Parse(file []byte) (*Policy, error) {
	r := reader{p: &Policy{}, clauses: make(map[string]*clause)}
	r.policy(r.root(file))
	if r.err != nil {
		return nil, r.err
	}
	if r.p.table = compile(r.p.rules, r.p.Jurisdiction, r.named); len(r.p.table.cells) == 0 {
		return nil, &FileError{1, 1, fmt.Sprintf("the rules give more than %d different answers: want fewer combinations of requirements and clauses", maxVerdicts)}
	}
	sum := sha256.Sum256(file)
	r.p.Digest = "sha256:" + hex.EncodeToString(sum[:])
	r.p.file = bytes.Clone(file)
	return r.p, nil
}

// reader builds a policy from a file's nodes.
type reader struct {
	source
	p       *Policy
	clauses map[string]*clause
	order   []*clause
	named   []residency.Jurisdiction // in the order of their places
}

// clause is a declared clause and what became of it.
type clause struct {
	Clause
	at        ast.Node
	elsewhere bool // kept by something other than this file's rules
	cited     bool
}

func (r *reader) policy(root ast.Node) {
	f := r.fields(root, "the file", "version", "effective", "jurisdiction", "controller", "consent_months",
		"minimum_age", "voids", "clauses", "placement", "rules", "otherwise", "invariants")
	r.need(root, f, "the file", "version", "effective", "jurisdiction", "controller", "consent_months",
		"clauses", "placement", "rules", "otherwise", "invariants")
	if r.err != nil {
		return
	}
	r.heading(f)
	r.declare(f["clauses"])
	r.p.voids = r.consentKinds(f["voids"])
	r.placements(f["placement"])
	r.ruleList(f["rules"])
	r.otherwise(f["otherwise"])
	r.promiseList(f["invariants"])
	r.settle(f)
}

func (r *reader) heading(f map[string]ast.Node) {
	r.p.Version = r.text(f["version"], "version")
	if !residency.ValidID(r.p.Version) {
		r.fail(f["version"], "want a version of 1 to %d of [A-Za-z0-9._-], the first a letter or digit", residency.MaxID)
	}
	r.p.Effective = r.moment(f["effective"])
	r.p.Jurisdiction = r.jurisdiction(f["jurisdiction"])
	r.p.Controller = r.text(f["controller"], "controller")
	r.p.ConsentMonths = r.number(f["consent_months"], "consent_months", 1, maxMonths)
	r.p.MinimumAge = r.number(f["minimum_age"], "minimum_age", 1, maxAge)
}

// moment reads a date, which begins at midnight UTC, or a time of RFC 3339.
func (r *reader) moment(n ast.Node) time.Time {
	text := r.text(n, "effective")
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	r.fail(n, "want effective: a date like 2012-05-02 (from midnight UTC) or a time like 2012-05-02T00:00:00+02:00")
	return time.Time{}
}

func (r *reader) jurisdiction(n ast.Node) residency.Jurisdiction {
	j, err := residency.ParseJurisdiction(r.text(n, "a jurisdiction"))
	if err != nil {
		r.fail(n, "%v", err)
	}
	return j
}

// declare reads the clauses.
func (r *reader) declare(n ast.Node) {
	for _, m := range r.list(n, "clauses", maxClauses) {
		f := r.fields(m, "a clause", "id", "title", "elsewhere")
		r.need(m, f, "a clause", "id", "title")
		c := &clause{at: m}
		c.ID, c.Title = r.text(f["id"], "id"), r.text(f["title"], "title")
		c.Said = !strings.HasPrefix(c.ID, ours)
		if f["elsewhere"] != nil {
			r.text(f["elsewhere"], "elsewhere")
			c.elsewhere = true
		}
		switch {
		case r.err != nil:
		case !validClause(c.ID):
			r.fail(f["id"], "want an id of 1 to %d of [a-z0-9-], after %q where the policy's text is silent", residency.MaxID, ours)
		case r.clauses[c.ID] != nil:
			r.fail(f["id"], "clause %q is declared twice: want it once", c.ID)
		}
		r.clauses[c.ID] = c
		r.order = append(r.order, c)
	}
}

// ours begins the ids of clauses that are the product's own and are never
// attributed to the policy's text.
const ours = "product/"

func validClause(id string) bool {
	name := strings.TrimPrefix(id, ours)
	if name == "" || len(id) > residency.MaxID {
		return false
	}
	for _, c := range name {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// mention reads the id of a declared clause.
func (r *reader) mention(n ast.Node) string {
	id := r.text(n, "clause")
	if r.err == nil && r.clauses[id] == nil {
		r.fail(n, "clause %s is not declared: want the id of one under clauses", quote(id))
	}
	return id
}

// cite reads the id of a declared clause, which is thereby enforced.
func (r *reader) cite(n ast.Node) string {
	id := r.mention(n)
	if r.err == nil {
		r.clauses[id].cited = true
	}
	return id
}

func (r *reader) placements(n ast.Node) {
	for _, m := range r.list(n, "placement", maxPlacements) {
		f := r.fields(m, "a placement", "residence", "default", "agreement", "clause")
		r.need(m, f, "a placement", "residence", "default", "agreement", "clause")
		if r.err != nil {
			return
		}
		r.p.placement = append(r.p.placement, placementRule{
			residences: r.residences(f["residence"]),
			placement: Placement{
				Default:   r.flag(f["default"], "default"),
				Permitted: true,
				Agreement: r.flag(f["agreement"], "agreement"),
				Clause:    r.cite(f["clause"]),
			},
		})
	}
}

// residences reads who a placement is about: nil = everyone.
func (r *reader) residences(n ast.Node) map[residency.Jurisdiction]bool {
	out := make(map[residency.Jurisdiction]bool)
	switch word(n) {
	case "any":
		return nil
	case "home":
		out[r.p.Jurisdiction] = true
		return out
	case "eea":
		for _, j := range residency.Jurisdictions() {
			if j.InEEA() {
				out[j] = true
			}
		}
		return out
	}
	for _, m := range r.words(n, "residence") {
		out[r.jurisdiction(m)] = true
	}
	return out
}

func (r *reader) ruleList(n ast.Node) {
	for _, m := range r.list(n, "rules", maxRules) {
		f := r.fields(m, "a rule", withMatcher("allow", "deny", "require", "clause")...)
		r.need(m, f, "a rule", "clause")
		if r.err != nil {
			return
		}
		r.rule(m, f)
	}
}

func (r *reader) rule(at ast.Node, f map[string]ast.Node) {
	x := rule{match: r.matcher(f), clause: r.cite(f["clause"]), line: lineOf(at)}
	given := 0
	if n := f["allow"]; n != nil {
		given++
		x.effect = effectAllow
		if !r.flag(n, "allow") {
			r.fail(n, "want allow: true; a rule that refuses says deny: and a reason")
		}
	}
	if n := f["deny"]; n != nil {
		given++
		x.effect, x.reason = effectDeny, r.reason(n)
	}
	if n := f["require"]; n != nil {
		given++
		x.effect, x.requires = effectRequire, r.requirements(n)
	}
	if given != 1 {
		r.fail(at, "a rule says %d of allow, deny and require: want exactly one", given)
	}
	r.p.rules = append(r.p.rules, x)
}

// otherwise reads the denials of what no rule matches; the last is of everything.
func (r *reader) otherwise(n ast.Node) {
	members := r.list(n, "otherwise", maxRules)
	for i, m := range members {
		f := r.fields(m, "a rule of otherwise", withMatcher("deny", "clause")...)
		r.need(m, f, "a rule of otherwise", "deny", "clause")
		if r.err != nil {
			return
		}
		x := rule{match: r.matcher(f), effect: effectOtherwise, reason: r.reason(f["deny"]), clause: r.cite(f["clause"]), line: lineOf(m)}
		if x.match.all() != (i == len(members)-1) {
			r.fail(m, "want the last rule of otherwise, and no other, to match everything")
		}
		r.p.rules = append(r.p.rules, x)
	}
	if len(r.p.rules) > maxRules {
		r.fail(n, "%d rules, otherwise included: want at most %d", len(r.p.rules), maxRules)
	}
}

// deniable are the reasons that a policy file may give: those about the policy, not
// about identities, objects or machines.
var deniable = map[residency.Kind]bool{
	residency.CrossBorderConsentRequired: true, residency.PurposeRequired: true, residency.BadRequest: true,
	residency.PurposeNotPermitted: true, residency.Restricted: true, residency.MarketingOptInRequired: true,
	residency.CollectionDeclined: true, residency.ParentalConsentRequired: true, residency.DriveDataNeverShared: true,
	residency.RecipientNotRegistered: true, residency.RecipientOutsideFunction: true, residency.SafeguardMissing: true,
	residency.NoticeRequired: true, residency.ObjectionRecorded: true, residency.LegalOrderRequired: true,
	residency.LegalOrderOutOfScope: true, residency.LegalOrderWrongJurisdiction: true, residency.InformalRequestRefused: true,
	residency.InspectionPermissionRequired: true, residency.AgreementRequired: true, residency.PlacementNotPermitted: true,
}

func (r *reader) reason(n ast.Node) residency.Kind {
	name := r.text(n, "deny")
	if r.err != nil {
		return residency.OK
	}
	k, err := residency.ParseKind(name)
	if err != nil || !deniable[k] {
		r.fail(n, "%s is not a reason that a policy gives: want one of %s", quote(name), strings.Join(deniableNames(), ", "))
	}
	return k
}

func deniableNames() []string {
	var names []string
	for k := range residency.Kind(residency.NumKinds) {
		if deniable[k] {
			names = append(names, k.String())
		}
	}
	return names
}

func (r *reader) requirements(n ast.Node) residency.Requirements {
	var set residency.Requirements
	for _, m := range r.words(n, "require") {
		q, err := residency.ParseRequirement(r.text(m, "a requirement"))
		if err != nil {
			r.fail(m, "%s", brief(err))
		}
		set |= residency.Set(q)
	}
	return set
}

// settle checks what can only be said of the whole file.
func (r *reader) settle(f map[string]ast.Node) {
	for _, c := range r.order {
		if !c.cited && !c.elsewhere {
			r.fail(c.at, "clause %q is cited by nothing: cite it, or say under elsewhere what keeps it", c.ID)
		}
		r.p.Clauses = append(r.p.Clauses, c.Clause)
	}
	parental := false
	for _, x := range r.p.rules {
		parental = parental || x.requires.Has(residency.RequireParentalConsent)
	}
	switch {
	case parental && r.p.MinimumAge == 0:
		r.fail(f["rules"], "a rule requires parental-consent: want minimum_age, the age from which none is needed")
	case !parental && r.p.MinimumAge != 0:
		r.fail(f["minimum_age"], "no rule requires parental-consent: want one, or no minimum_age")
	}
}

// word gives a node's plain text, "" when it is none.
func word(n ast.Node) string {
	if t, ok := n.(*ast.StringNode); ok {
		return t.Value
	}
	return ""
}

func lineOf(n ast.Node) int {
	if pos := position(n); pos != nil {
		return pos.Line
	}
	return 0
}

// brief gives an error's text, cut before it could flood a terminal.
func brief(err error) string {
	const most = 2 * maxText
	if text := err.Error(); len(text) <= most {
		return text
	}
	return "unknown name"
}
