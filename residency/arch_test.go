// The architecture, held by a test: which package may import which, that each
// says what it knows, that one place alone makes permits, and that nothing is
// wired behind the reader's back.
package residency_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/domicile-project/domicile/"

// arrow says what the packages at a path may import: of this module by path (a
// trailing /... covers what is below), and of others by import path prefix. The
// first arrow whose path matches holds. Tests may import what inTests adds.
type arrow struct {
	from    string
	own     []string
	others  []string
	inTests []string
}

var (
	rapid = "pgregory.net/rapid"
	yaml  = "github.com/goccy/go-yaml"
	prom  = "github.com/prometheus/"
)

var arrows = []arrow{
	{from: "residency", inTests: []string{rapid}},
	{from: "residency/tlv", inTests: []string{rapid}},
	{from: "residency/policy", own: []string{"residency"}, others: []string{yaml}, inTests: []string{rapid}},
	{
		from: "residency/consent", own: []string{"residency", "residency/tlv"},
		inTests: []string{rapid, "github.com/santhosh-tekuri/jsonschema/v6"},
	},
	{
		from:    "residency/seal",
		own:     []string{"residency", "residency/tlv", "residency/store"},
		inTests: []string{"residency/store/storetest", rapid},
	},
	{
		from: "residency/audit", own: []string{"residency", "residency/tlv", "residency/store"},
		others: []string{"golang.org/x/mod/sumdb/"}, inTests: []string{rapid},
	},
	{from: "residency/audit/proof", others: []string{"golang.org/x/mod/"}, inTests: []string{rapid}},
	{from: "residency/store", own: []string{"residency"}},
	{from: "residency/store/lock", own: []string{"residency/store"}, inTests: []string{rapid}},
	{ // its traces run on every backend side by side
		from: "residency/store/storetest", own: []string{"residency", "residency/store", "residency/store/lock"},
		inTests: []string{"residency/store/...", rapid},
	},
	{ // the backends: they see the contracts, never each other
		from:    "residency/store/*",
		own:     []string{"residency", "residency/store", "residency/store/lock", "residency/tlv"},
		others:  []string{"github.com/cockroachdb/pebble/v2", "github.com/jackc/pgx/v5", "github.com/minio/minio-go/v7", "golang.org/x/sys/unix", prom},
		inTests: []string{"residency/store/storetest", rapid},
	},
	{
		from: "residency/gateway",
		own: []string{
			"residency", "residency/tlv", "residency/policy", "residency/consent", "residency/seal", "residency/store", "residency/audit", "residency/audit/proof",
		},
		others:  []string{prom, "go.opentelemetry.io/otel/trace", "golang.org/x/sys/unix", "golang.org/x/mod/sumdb/", "github.com/google/uuid"},
		inTests: []string{"residency/store/...", rapid, "github.com/anishathalye/porcupine", "go.uber.org/goleak", "github.com/cockroachdb/pebble/v2/vfs"},
	},
	{from: "server/config", own: []string{"residency", "residency/policy", "residency/gateway", "residency/audit/proof"}, others: []string{"*"}},
	{
		from:    "server/rpc",
		own:     []string{"proto/gen/...", "residency", "residency/policy", "residency/consent", "residency/gateway", "residency/store", "server/config", "server/forward", "server/redact"},
		others:  []string{"*"},
		inTests: []string{"residency/...", "client"},
	},
	{from: "server/forward", own: []string{"proto/gen/...", "residency", "residency/gateway", "residency/store", "server/config"}, others: []string{"*"}},
	{from: "server/domiciled", own: []string{"proto/gen/...", "residency/...", "server/..."}, others: []string{"*"}, inTests: []string{"client"}},
	{ // from outside: of what is below residency only what starts other servers, and what auditors have
		from: "server/e2e", own: []string{"proto/gen/...", "client"}, others: []string{"*"},
		inTests: []string{"residency/store/storetest", "residency/audit/proof"},
	},
	{from: "server/deploy/grafana"}, // dashboards are data: the standard library writes them
	{from: "server/*", own: []string{"residency", "residency/gateway", "server/config"}, others: []string{"*"}},
	{from: "client", own: []string{"proto/gen/...", "residency/audit/proof"}, others: []string{"*"}},
	{ // the vocabulary comes along: it is what the policy package speaks
		from:   "client/domicile",
		own:    []string{"client", "proto/gen/...", "residency/audit/proof", "residency/policy", "residency"},
		others: []string{"*"},
	},
	{from: "client/conformance/gostory", own: []string{"client", "proto/gen/...", "residency/audit/proof"}, others: []string{"*"}},
	{from: "tools/bench", own: []string{"proto/gen/...", "tools/bench/...", "residency/store/storetest"}, others: []string{"*"}},
	{from: "tools/bench/tree", own: []string{"residency/...", "residency"}, others: []string{prom}}, // the core alone, in its own process
	{from: "tools/bench/*", own: []string{"proto/gen/...", "tools/bench/..."}, others: []string{"*"}},
	{from: "tools/*", own: []string{"proto/gen/...", "client"}, others: []string{"*"}},
}

// source is one parsed Go file of the module that a person wrote.
type source struct {
	name string // path from the module's root, slashes
	dir  string // its folder, likewise
	test bool
	file *ast.File
}

// sources parses every Go file of the module but the generated ones.
func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	root := moduleRoot(t)
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return skip(rel, d.Name())
		}
		if path.Ext(rel) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(f) {
			out = append(out, source{name: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), file: f})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go file found: the test does not look where it should")
	}
	return fset, out
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}

// skip says which folders hold no code of ours.
func skip(rel, name string) error {
	hidden := strings.HasPrefix(name, ".") && rel != "."
	if hidden || name == "node_modules" || name == "testdata" || rel == "proto/gen" || rel == "third_party" || rel == "data" {
		return fs.SkipDir
	}
	return nil
}

func TestImportsGoOneWay(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		i := slices.IndexFunc(arrows, func(a arrow) bool { return covers(a.from, s.dir) })
		if i < 0 {
			t.Errorf("%s: the architecture names no package at %q; decide what it may import and add it to the arrows", s.name, s.dir)
			continue
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !allowed(arrows[i], s, imported) {
				t.Errorf("%s: %s may not import %s", fset.Position(spec.Pos()), s.dir, imported)
			}
		}
	}
}

// covers reports whether a pattern covers a path: itself, one level below for
// /*, or every level below for /....
func covers(pattern, p string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == base || strings.HasPrefix(p, base+"/")
	}
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(p) == base
	}
	return p == pattern
}

func allowed(a arrow, s source, imported string) bool {
	own, isOwn := strings.CutPrefix(imported, module)
	if isOwn {
		list := a.own
		if s.test {
			list = append(slices.Clone(list), a.inTests...)
		}
		return s.test && own == s.dir || slices.ContainsFunc(list, func(p string) bool { return covers(p, own) })
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	list := a.others
	if s.test {
		list = append(slices.Clone(list), a.inTests...)
	}
	return slices.ContainsFunc(list, func(p string) bool { return p == "*" || strings.HasPrefix(imported, p) })
}

// The domain knows no transport, not even through a dependency's dependency.
func TestDomainKnowsNoTransport(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./residency/...")
	cmd.Dir = moduleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	for imported := range strings.Lines(string(out)) {
		imported = strings.TrimSpace(imported)
		if strings.HasPrefix(imported, "google.golang.org/grpc") || strings.HasPrefix(imported, module+"proto/") {
			t.Errorf("residency depends on %s", imported)
		}
	}
}

func TestEveryPackageSaysWhatItKnows(t *testing.T) {
	_, all := sources(t)
	comments := map[string]string{}
	for _, s := range all {
		if _, ok := comments[s.dir]; !ok {
			comments[s.dir] = ""
		}
		if s.file.Doc != nil && (!s.test || comments[s.dir] == "") {
			comments[s.dir] = s.file.Doc.Text()
		}
	}
	for dir, text := range comments {
		if len(strings.Fields(text)) < 8 {
			t.Errorf("%s: no package comment that says what the package knows", dir)
		}
	}
}

func TestNoPackageIsADrawer(t *testing.T) {
	_, all := sources(t)
	drawers := []string{"util", "utils", "common", "internal", "pkg", "helper", "helpers", "misc", "shared", "lib", "base"}
	for _, s := range all {
		for part := range strings.SplitSeq(s.dir, "/") {
			if slices.Contains(drawers, part) {
				t.Errorf("%s: a package named %q says nothing about what it knows", s.name, part)
			}
		}
	}
}

// Opening and sealing take a permit, and the deciding code alone makes permits.
func TestOnlyTheDecisionMakesPermits(t *testing.T) {
	fset, all := sources(t)
	declared := false
	makers := map[string]bool{}
	for _, s := range all {
		if s.dir == "residency/seal" {
			declared = declared || declaresFunc(s.file, "NewPermit")
			if s.test {
				continue // the package's own tests
			}
		}
		for _, pos := range uses(s, module+"residency/seal", "NewPermit") {
			if s.dir != "residency/gateway" {
				t.Errorf("%s: seal.NewPermit belongs to residency/gateway alone", fset.Position(pos))
			} else if !s.test {
				makers[s.name] = true
			}
		}
	}
	if !declared {
		t.Error("residency/seal declares no NewPermit: this test guards nothing")
	}
	if len(makers) != 1 {
		t.Errorf("seal.NewPermit is used in %d files of residency/gateway, want 1", len(makers))
	}
}

func declaresFunc(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && fn.Name.Name == name
	})
}

// uses finds where a file names pkg.name, inside pkg itself by its bare name.
func uses(s source, pkg, name string) []token.Pos {
	local := importedAs(s.file, pkg)
	inside := module+s.dir == pkg
	var out []token.Pos
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && local != "" && x.Name == local && n.Sel.Name == name {
				out = append(out, n.Pos())
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && inside && fn.Name == name {
				out = append(out, n.Pos())
			}
		}
		return true
	})
	return out
}

// importedAs gives the name under which a file knows a package; "" when it does not.
func importedAs(f *ast.File, pkg string) string {
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil || p != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// Nothing is wired by being imported: no init, no registry that others fill.
func TestNothingIsWiredByImport(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if declaresFunc(s.file, "init") {
			t.Errorf("%s: an init function wires what main should", s.name)
		}
		if s.test {
			continue
		}
		for pkg, names := range globalRegistries {
			for _, name := range names {
				for _, pos := range uses(s, pkg, name) {
					t.Errorf("%s: %s.%s is a registry of the whole process; pass one in", fset.Position(pos), path.Base(pkg), name)
				}
			}
		}
		for _, pkg := range []string{"expvar", "net/http/pprof", "github.com/prometheus/client_golang/prometheus/promauto"} {
			if importedAs(s.file, pkg) != "" {
				t.Errorf("%s: importing %s registers things for the whole process", s.name, pkg)
			}
		}
	}
}

var globalRegistries = map[string][]string{
	"github.com/prometheus/client_golang/prometheus": {"MustRegister", "Register", "DefaultRegisterer", "DefaultGatherer"},
	"net/http":                        {"Handle", "HandleFunc", "DefaultServeMux"},
	"google.golang.org/grpc/encoding": {"RegisterCodec", "RegisterCodecV2", "RegisterCompressor"},
	"google.golang.org/grpc/resolver": {"Register"},
	"google.golang.org/grpc/balancer": {"Register"},
	"github.com/goccy/go-yaml":        {"RegisterCustomMarshaler", "RegisterCustomUnmarshaler"},
}

// A package's variables are constants that Go cannot express: nothing assigns to
// them once they are made.
func TestNoGlobalState(t *testing.T) {
	fset, all := sources(t)
	globals := map[string]map[string]bool{}
	for _, s := range all {
		if s.test {
			continue
		}
		if globals[s.dir] == nil {
			globals[s.dir] = map[string]bool{}
		}
		for _, name := range packageVars(s.file) {
			globals[s.dir][name] = true
		}
	}
	for _, s := range all {
		if s.test {
			continue
		}
		for _, id := range assigned(s.file) {
			if globals[s.dir][id.Name] && isPackageVar(s.file, id) {
				t.Errorf("%s: assigns to %s, a variable of the whole package", fset.Position(id.Pos()), id.Name)
			}
		}
	}
}

func packageVars(f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				out = append(out, name.Name)
			}
		}
	}
	return out
}

// assigned lists the identifiers at the root of what a file assigns to, so v of
// v = 1, v.f = 1, v[k] = 1 and v++.
func assigned(f *ast.File) []*ast.Ident {
	var out []*ast.Ident
	add := func(e ast.Expr) {
		if id := rootOf(e); id != nil {
			out = append(out, id)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		}
		return true
	})
	return out
}

func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isPackageVar reports whether an identifier means a variable declared outside
// every function: in this file, or in another one of the package.
func isPackageVar(f *ast.File, id *ast.Ident) bool {
	if slices.Contains(f.Unresolved, id) {
		return true
	}
	return id.Obj != nil && f.Scope.Lookup(id.Name) == id.Obj
}

// Keys, nonces, identifiers and permits come from the operating system's randomness.
func TestRandomnessIsCryptographic(t *testing.T) {
	_, all := sources(t)
	for _, s := range all {
		ours := strings.HasPrefix(s.dir, "residency") || strings.HasPrefix(s.dir, "server/")
		if s.test || !ours || s.dir == "residency/store/storetest" {
			continue
		}
		for _, pkg := range []string{"math/rand", "math/rand/v2"} {
			if importedAs(s.file, pkg) != "" {
				t.Errorf("%s: imports %s; use crypto/rand", s.name, pkg)
			}
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			for _, pos := range undocumented(d) {
				t.Errorf("%s: an exported name without a comment", fset.Position(pos))
			}
		}
	}
}

// obvious are methods whose interface documents them.
var obvious = []string{
	"String", "Error", "Unwrap", "Is", "Len", "Less", "Swap", "Read", "Write", "Close", "ServeHTTP",
	"MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "UnmarshalYAML", "MarshalYAML",
}

func undocumented(d ast.Decl) []token.Pos {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !(d.Recv != nil && slices.Contains(obvious, d.Name.Name)) {
			return []token.Pos{d.Pos()}
		}
	case *ast.GenDecl:
		if d.Doc != nil || d.Tok == token.IMPORT {
			return nil
		}
		var out []token.Pos
		for _, spec := range d.Specs {
			out = append(out, undocumentedSpec(spec)...)
		}
		return out
	}
	return nil
}

func undocumentedSpec(spec ast.Spec) []token.Pos {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
			return []token.Pos{spec.Pos()}
		}
	case *ast.ValueSpec:
		exported := slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported)
		if spec.Doc == nil && spec.Comment == nil && exported {
			return []token.Pos{spec.Pos()}
		}
	}
	return nil
}

// exportedReceiver reports whether a function has no receiver or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
