package policy

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/domicile-project/domicile/residency"
)

// promise is an invariant that a file states about its own rules, for Verify to prove.
type promise struct {
	says   string
	clause string
	over   matcher   // the cells that it is about
	except []matcher // and those of them that it is not about
	kind   promiseKind
	needs  residency.Requirements // for promiseNeeds
	line   int
}

type promiseKind uint8

const (
	promiseNever  promiseKind = iota // none of the cells is ever permitted
	promiseNeeds                     // none is permitted unless it requires all of needs
	promiseAlways                    // every one is permitted outright
)

// about reports whether a promise is about a cell.
func (p *promise) about(c cell) bool {
	if !p.over.matches(c) {
		return false
	}
	for i := range p.except {
		if p.except[i].matches(c) {
			return false
		}
	}
	return true
}

// keptBy reports whether a verdict keeps the promise.
func (p *promise) keptBy(v *verdict) bool {
	switch p.kind {
	case promiseAlways:
		return v.allow && v.requires == 0
	case promiseNeeds:
		return !v.allow || v.requires&p.needs == p.needs
	}
	return !v.allow
}

func (r *reader) promiseList(n ast.Node) {
	for _, m := range r.list(n, "invariants", maxPromises) {
		f := r.fields(m, "an invariant", withMatcher("says", "clause", "never", "needs", "always", "except")...)
		r.need(m, f, "an invariant", "says", "clause")
		if r.err != nil {
			return
		}
		p := promise{says: r.text(f["says"], "says"), clause: r.mention(f["clause"]), over: r.matcher(f), line: lineOf(m)}
		r.claim(m, f, &p)
		for _, e := range r.list(f["except"], "except", maxExceptions) {
			p.except = append(p.except, r.matcher(r.fields(e, "an exception", matcherKeys...)))
		}
		r.p.promises = append(r.p.promises, p)
	}
}

// claim reads what an invariant promises.
func (r *reader) claim(at ast.Node, f map[string]ast.Node, p *promise) {
	given := 0
	for i, key := range []string{"never", "needs", "always"} {
		n := f[key]
		if n == nil {
			continue
		}
		given++
		p.kind = promiseKind(i)
		if p.kind == promiseNeeds {
			p.needs = r.requirements(n)
		} else if !r.flag(n, key) {
			r.fail(n, "want %s: true", key)
		}
	}
	if given != 1 {
		r.fail(at, "an invariant says %d of never, needs and always: want exactly one", given)
	}
}
